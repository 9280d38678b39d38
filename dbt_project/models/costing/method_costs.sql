{{ config(materialized='incremental', unique_key=['month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(follows={
    'pool_charges': 'select driver_month as month from changes',
    'allocated_costs': 'select month from changes',
    'driver_quantities':
        'select month from costing.pool_charges where quantity_month in (select month from changes)',
}) %}

{%- set group = ['method', 'month', 'pool_id', 'behaviour'] -%}
with

pool_charges as (

    select * from {{ ref('pool_charges') }}

    where
        month = driver_month
        and zero_receiver_id is null
    {{ of_touched_months('month', also='and') }}

),

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

    where
        receiver_kind = 'customer'
    {{ of_touched_months('month', also='and') }}

),

driver_quantities as (

    select * from {{ ref('driver_quantities') }}

    where quantity > 0

),

methods as (

    select 'direct' as method
    union all
    select 'step_down' as method
    union all
    select 'reciprocal' as method

),

-- Only pools that another method would charge otherwise are divided again.
other_charges as (

    select
        alternatives.method,
        alternatives.month,
        alternatives.pool_id,
        alternatives.behaviour,
        alternatives.driver_id,
        alternatives.quantity_month,
        alternatives.unused_quantity,
        alternatives.charged_cents

    from pool_charges as alternatives
    left join pool_charges as posted
        on
            alternatives.month = posted.month
            and alternatives.pool_id = posted.pool_id
            and alternatives.behaviour = posted.behaviour
            and posted.is_posted

    where
        not alternatives.is_posted
        and alternatives.charged_cents != coalesce(posted.charged_cents, 0)

),

receivers as (

    select
        other_charges.method,
        other_charges.month,
        other_charges.pool_id,
        other_charges.behaviour,
        driver_quantities.customer_id as receiver_id,
        driver_quantities.quantity,
        other_charges.charged_cents as amount_cents

    from other_charges
    inner join driver_quantities
        on
            other_charges.quantity_month = driver_quantities.month
            and other_charges.driver_id = driver_quantities.driver_id

    union all

    select
        method,
        month,
        pool_id,
        behaviour,
        'UNUSED:' || pool_id as receiver_id,
        unused_quantity as quantity,
        charged_cents as amount_cents

    from other_charges

    where unused_quantity > 0

),

divided as (

    {{ largest_remainder('receivers', group_by=group) | indent(4) }}

),

-- What is posted, less what is posted of the pools divided again, plus what the other method gives.
amounts as (

    select
        methods.method,
        allocated_costs.month,
        allocated_costs.receiver_id as customer_id,
        allocated_costs.amount_cents

    from allocated_costs
    cross join methods

    union all

    select
        other_charges.method,
        allocated_costs.month,
        allocated_costs.receiver_id as customer_id,
        -allocated_costs.amount_cents as amount_cents

    from allocated_costs
    inner join other_charges
        on
            allocated_costs.month = other_charges.month
            and allocated_costs.driver_month = other_charges.month
            and allocated_costs.pool_id = other_charges.pool_id
            and allocated_costs.behaviour = other_charges.behaviour

    union all

    select
        method,
        month,
        receiver_id as customer_id,
        received_cents as amount_cents

    from divided

    where receiver_id not like 'UNUSED:%' and receiver_id != 'UNMATCHED'

),

method_costs as (

    select
        month,
        customer_id,
        method,
        cast(sum(amount_cents) as bigint) as amount_cents

    from amounts

    group by month, customer_id, method

)

select * from method_costs
