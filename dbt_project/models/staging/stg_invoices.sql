{%- set key = ['invoice_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('invoice', key=key, rows=versions_to_judge('invoice', key)) }}
