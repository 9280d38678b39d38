{%- set key = ['payment_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('payment', key=key, rows=versions_to_judge('payment', key)) }}
