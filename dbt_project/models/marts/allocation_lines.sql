{{ config(materialized='incremental', unique_key=['driver_month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(follows={'allocated_costs': 'select driver_month from changes'}) %}

with

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

    where
        driver_quantity is not null
    {{ of_touched_months('driver_month', also='and') }}

),

allocation_lines as (

    select
        receiver_id,
        month,
        driver_month,
        pool_id,
        behaviour,
        driver_quantity,
        cast(rounding_cents as tinyint) as rounding_cents

    from allocated_costs

)

select * from allocation_lines
