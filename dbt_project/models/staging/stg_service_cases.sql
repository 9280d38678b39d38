{%- set key = ['case_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('service_case', key=key, rows=versions_to_judge('service_case', key)) }}
