{%- set key = ['payment_application_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('payment_application', key=key, rows=versions_to_judge('payment_application', key)) }}
