{{ config(materialized='incremental', unique_key=['driver_month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(follows={
    'allocated_costs': 'select driver_month from changes',
    'pool_months': 'select month as driver_month from changes',
}) %}

with

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

    where
        receiver_kind = 'customer'
    {{ of_touched_months('driver_month', also='and') }}

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

in_units as (

    select
        allocated_costs.receiver_id as customer_id,
        allocated_costs.month,
        allocated_costs.driver_month,
        allocated_costs.pool_id,
        allocated_costs.behaviour,
        pool_months.pool_name,
        allocated_costs.stage,
        allocated_costs.driver_id,
        drivers.unit as driver_unit,
        allocated_costs.quantity_month,
        {{ driver_units('allocated_costs.driver_quantity', 'drivers.decimals') }} as driver_quantity,
        {{ driver_units('allocated_costs.total_quantity', 'drivers.decimals') }}
            as total_driver_quantity,
        {{ from_cents('allocated_costs.previous_pool_amount_cents') }} as previous_pool_amount,
        {{ from_cents('allocated_costs.pool_amount_cents') }} as pool_amount,
        {{ from_cents('allocated_costs.amount_cents') }} as amount,
        allocated_costs.rounding_cents

    from allocated_costs
    inner join pool_months
        on
            allocated_costs.driver_month = pool_months.month
            and allocated_costs.pool_id = pool_months.pool_id
    left join drivers
        on allocated_costs.driver_id = drivers.driver_id

),

customer_cost_lines as (

    select
        customer_id,
        month,
        driver_month,
        pool_id,
        behaviour,
        pool_name,
        stage,
        driver_id,
        driver_unit,
        quantity_month,
        driver_quantity,
        total_driver_quantity,
        previous_pool_amount,
        pool_amount,
        amount,
        cast(pool_amount - previous_pool_amount as double)
        / cast(total_driver_quantity as double) as rate,
        rounding_cents

    from in_units

)

select * from customer_cost_lines
