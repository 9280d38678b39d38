{%- set key = ['campaign_member_id'] -%}
{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}
{{ current_version('campaign_member', key=key, rows=versions_to_judge('campaign_member', key)) }}
