{{ config(materialized='incremental', unique_key=['driver_month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

gross_pool_costs as (

    select * from {{ ref('gross_pool_costs') }}

),

pool_drivers as (

    select * from {{ ref('pool_drivers') }}

),

budget_rates as (

    select * from {{ ref('budget_rates') }}

),

budgeted_pools as (

    select distinct
        month,
        pool_id

    from budget_rates

),

-- Pools that are divided, and what divides them. A budget is for all of a pool's cost: what it does not plan, such as
-- what service pools charge, it charges nobody for.
divided_pools as (

    select
        gross_pool_costs.*,
        pool_drivers.driver_id,
        pool_drivers.quantity_month,
        pool_drivers.used_quantity,
        pool_drivers.capacity_quantity,
        pool_drivers.overload,
        pool_drivers.zero_receiver_id,
        case
            when budgeted_pools.pool_id is not null then coalesce(budget_rates.budget_cents, 0)
        end as budget_cents,
        budget_rates.budget_quantity,
        greatest(
            coalesce(pool_drivers.capacity_quantity, 0) - pool_drivers.used_quantity, 0
        ) as unused_quantity

    from gross_pool_costs
    inner join pool_drivers
        on
            gross_pool_costs.driver_month = pool_drivers.month
            and gross_pool_costs.pool_id = pool_drivers.pool_id
            and gross_pool_costs.behaviour = pool_drivers.behaviour
    left join budget_rates
        on
            gross_pool_costs.driver_month = budget_rates.month
            and gross_pool_costs.pool_id = budget_rates.pool_id
            and gross_pool_costs.behaviour = budget_rates.behaviour
    left join budgeted_pools
        on
            gross_pool_costs.driver_month = budgeted_pools.month
            and gross_pool_costs.pool_id = budgeted_pools.pool_id

    where gross_pool_costs.stage in ('activity', 'sustaining')

),

-- What the quantity charged at the budget rate was planned for: the capacity, or else the planned quantity. A budget
-- for which nothing was planned is charged as a whole.
standard_quantities as (

    select
        *,
        case
            when budget_cents is null then null
            when behaviour = 'variable' then budget_quantity
            else coalesce(capacity_quantity, budget_quantity)
        end as standard_quantity,
        case
            when
                behaviour != 'variable' and capacity_quantity is not null
                then
                    case
                        when overload = 'standard' then greatest(used_quantity, capacity_quantity)
                        else capacity_quantity
                    end
            else used_quantity
        end as charged_quantity

    from divided_pools

),

pool_charges as (

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        method,
        is_posted,
        stage,
        driver_id,
        quantity_month,
        cast(used_quantity as bigint) as used_quantity,
        cast(unused_quantity as bigint) as unused_quantity,
        case
            when driver_id is null or used_quantity + unused_quantity = 0 then zero_receiver_id
        end as zero_receiver_id,
        gross_cents,
        cast(
            case
                when budget_cents is null then gross_cents
                when standard_quantity is null then budget_cents
                else
                    {{ sign_of('budget_cents') }} * {{ int_div(
                        wide_integer('abs(budget_cents)') ~ ' * ' ~ wide_integer('charged_quantity')
                        ~ ' * 2 + ' ~ wide_integer('standard_quantity'),
                        wide_integer('standard_quantity') ~ ' * 2',
                    ) }}
            end
            as bigint
        ) as charged_cents

    from standard_quantities

)

select * from pool_charges
