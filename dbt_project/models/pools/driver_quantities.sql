{{ config(materialized='incremental', unique_key=['month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(follows={'driver_rows': 'select month from changes'}) %}

with

driver_rows as (

    select * from {{ ref('driver_rows') }}
    {{ of_touched_months() }}

),

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

net_quantities as (

    select
        month,
        driver_id,
        customer_id,
        sum(quantity) as net_quantity,
        count(*) as source_row_count

    from driver_rows

    group by month, driver_id, customer_id

),

-- Returns are netted per customer and driver. What is still below zero counts as nothing, or as its size where the
-- driver says so: nobody is paid for costing something.
floored as (

    select
        net_quantities.month,
        net_quantities.driver_id,
        net_quantities.customer_id,
        cast(
            case
                when drivers.negative_policy = 'absolute' then abs(net_quantities.net_quantity)
                else greatest(net_quantities.net_quantity, 0)
            end
            as bigint
        ) as quantity,
        cast(
            case
                when drivers.negative_policy = 'absolute' then 2
                else 1
            end * greatest(-net_quantities.net_quantity, 0)
            as bigint
        ) as floored_quantity,
        net_quantities.source_row_count

    from net_quantities
    inner join drivers
        on net_quantities.driver_id = drivers.driver_id

)

select * from floored
