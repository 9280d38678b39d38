{%- set unit = ['source_instance', 'case_id'] -%}
{{ config(
    materialized='incremental', unique_key=unit, meta={'logged': ['month']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'stg_service_cases': 'select source_instance, case_id from changes',
    'customer_keys': touched_by_customer_keys(ref('stg_service_cases'), unit),
}) %}

with

service_cases as (

    select * from {{ ref('stg_service_cases') }}
    {{ of_touched_units(unit) }}

),

customer_service_cases as (

    select
        service_cases.source_instance,
        service_cases.case_id,
        {{ resolved_customer('service_cases') }} as customer_id,
        service_cases.opened_at,
        cast(service_cases.opened_at as date) as opened_date,
        {{ month_of('service_cases.opened_at') }} as month,
        service_cases.first_response_at,
        service_cases.closed_at,
        coalesce(service_cases.handling_minutes, 0) as handling_minutes,
        service_cases.case_type,
        service_cases.category,
        service_cases.origin,
        service_cases.status_class,
        coalesce(service_cases.is_escalated, false) as is_escalated

    from service_cases
    {{ join_customer_keys('service_cases', on='cast(service_cases.opened_at as date)') }}

)

select * from customer_service_cases
