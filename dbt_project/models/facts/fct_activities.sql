{%- set unit = ['source_instance', 'activity_id'] -%}
{{ config(
    materialized='incremental', unique_key=unit, meta={'logged': ['month']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'stg_activities': 'select source_instance, activity_id from changes',
    'customer_keys': touched_by_customer_keys(ref('stg_activities'), unit),
}) %}

with

activities as (

    select * from {{ ref('stg_activities') }}
    {{ of_touched_units(unit) }}

),

-- Only what took place costs anything; a source that does not say is taken to log what took place.
customer_activities as (

    select
        activities.source_instance,
        activities.activity_id,
        activities.activity_type,
        {{ resolved_customer('activities') }} as customer_id,
        activities.activity_date,
        {{ month_of('activities.activity_date') }} as month,
        coalesce(activities.duration_minutes, 0) as duration_minutes

    from activities
    {{ join_customer_keys('activities', on='activities.activity_date') }}

    where coalesce(activities.is_completed, true)

)

select * from customer_activities
