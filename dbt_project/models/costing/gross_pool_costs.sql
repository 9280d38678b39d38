{{ config(materialized='incremental', unique_key=['driver_month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

pool_costs as (

    select * from {{ ref('pool_costs') }}

),

pool_flows as (

    select * from {{ source('service_pools', 'pool_flows') }}

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

methods as (

    select 'direct' as method
    union all
    select 'step_down' as method
    union all
    select 'reciprocal' as method

),

amounts as (

    select
        pool_costs.month,
        pool_costs.driver_month,
        pool_costs.pool_id,
        pool_costs.behaviour,
        methods.method,
        pool_costs.total_cents as own_cents,
        cast(0 as bigint) as received_cents

    from pool_costs
    cross join methods

    union all

    select
        month,
        driver_month,
        receiver_id as pool_id,
        behaviour,
        method,
        cast(0 as bigint) as own_cents,
        total_cents as received_cents

    from pool_flows

    union all

    -- A pool that only some methods charge is there for all of them.
    select
        pool_flows.month,
        pool_flows.driver_month,
        pool_flows.receiver_id as pool_id,
        pool_flows.behaviour,
        methods.method,
        cast(0 as bigint) as own_cents,
        cast(0 as bigint) as received_cents

    from pool_flows
    cross join methods

),

-- A service pool passes on what it has, and a residual line is no pool.
gross_pool_costs as (

    select
        amounts.month,
        amounts.driver_month,
        amounts.pool_id,
        amounts.behaviour,
        amounts.method,
        amounts.method = company.service_method as is_posted,
        pool_months.stage,
        pool_months.sustaining_level,
        cast(sum(amounts.own_cents) as bigint) as own_cents,
        cast(sum(amounts.received_cents) as bigint) as received_cents,
        cast(sum(amounts.own_cents + amounts.received_cents) as bigint) as gross_cents

    from amounts
    inner join pool_months
        on
            amounts.driver_month = pool_months.month
            and amounts.pool_id = pool_months.pool_id
    cross join company

    where pool_months.stage != 'service'

    group by
        amounts.month,
        amounts.driver_month,
        amounts.pool_id,
        amounts.behaviour,
        amounts.method,
        company.service_method,
        pool_months.stage,
        pool_months.sustaining_level

)

select * from gross_pool_costs
