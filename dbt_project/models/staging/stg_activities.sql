{%- set key = ['activity_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('activity', key=key, rows=versions_to_judge('activity', key)) }}
