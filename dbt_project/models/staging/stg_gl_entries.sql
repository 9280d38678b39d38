{%- set key = ['journal_id', 'journal_line_number'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('gl_entry', key=key, rows=versions_to_judge('gl_entry', key)) }}
