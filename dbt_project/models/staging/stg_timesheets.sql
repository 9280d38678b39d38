{%- set key = ['timesheet_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('timesheet', key=key, rows=versions_to_judge('timesheet', key)) }}
