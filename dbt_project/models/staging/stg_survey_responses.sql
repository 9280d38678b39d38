{%- set key = ['survey_response_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('survey_response', key=key, rows=versions_to_judge('survey_response', key)) }}
