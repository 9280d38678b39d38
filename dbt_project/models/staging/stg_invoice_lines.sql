{%- set key = ['invoice_id', 'line_number'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('invoice_line', key=key, rows=versions_to_judge('invoice_line', key)) }}
