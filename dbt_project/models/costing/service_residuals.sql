{{ config(materialized='incremental', unique_key=['driver_month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

pool_flows as (

    select * from {{ source('service_pools', 'pool_flows') }}

    where is_posted

),

service_residuals as (

    select
        month,
        driver_month,
        from_pool_id as pool_id,
        behaviour,
        receiver_id,
        'service' as stage,
        amount_cents

    from pool_flows

    where receiver_id like 'UNUSED:%' or receiver_id like 'UNALLOCATED:%'

)

select * from service_residuals
