{{ config(materialized='incremental', unique_key=['month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

ledger_lines as (

    select * from {{ ref('fct_ledger') }}

),

budgets as (

    select * from {{ ref('fct_budgets') }}

),

pools as (

    select * from {{ source('rules', 'pools') }}

),

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

capacities as (

    select * from {{ source('rules', 'capacities') }}

),

months as (

    select month from {{ ref('fct_ledger') }}
    union
    select month from {{ ref('fct_budgets') }}

),

-- What a pool was in a month: of several versions that hold within it, the one that began last.
valid_pools as (

    select
        months.month,
        pools.*

    from months
    inner join pools
        on
            {{ month_of("coalesce(pools.valid_from, months.month)") }} <= months.month
            and coalesce(pools.valid_to, months.month) >= months.month

    qualify row_number() over (
        partition by months.month, pools.pool_id
        order by pools.valid_from desc nulls last
    ) = 1

),

valid_capacities as (

    select
        months.month,
        capacities.pool_id,
        capacities.capacity

    from months
    inner join capacities
        on
            {{ month_of("coalesce(capacities.valid_from, months.month)") }} <= months.month
            and coalesce(capacities.valid_to, months.month) >= months.month

    qualify row_number() over (
        partition by months.month, capacities.pool_id
        order by capacities.valid_from desc nulls last
    ) = 1

),

-- A pool that money was booked to although no rule describes it in that month must not fall out.
booked_pools as (

    select
        month,
        coalesce(pool_id, 'UNASSIGNED') as pool_id

    from ledger_lines

    where role = 'cost'

    union

    select
        month,
        coalesce(pool_id, 'UNASSIGNED') as pool_id

    from budgets

    where role = 'cost'

),

all_pools as (

    select
        month,
        pool_id

    from booked_pools

    union

    select
        month,
        pool_id

    from valid_pools

),

pool_months as (

    select
        all_pools.month,
        all_pools.pool_id,
        coalesce(valid_pools.pool_name, all_pools.pool_id) as pool_name,
        case
            when
                valid_pools.stage in ('activity', 'service')
                and drivers.driver_id is null
                then 'unassigned'
            else coalesce(valid_pools.stage, 'unassigned')
        end as stage,
        valid_pools.behaviour,
        valid_pools.sustaining_level,
        drivers.driver_id,
        valid_pools.fixed_driver_id,
        drivers.unit as driver_unit,
        drivers.decimals as driver_decimals,
        case
            when drivers.driver_id is not null
                then {{ whole_quantity('valid_capacities.capacity', 'drivers.decimals') }}
        end as capacity_quantity,
        coalesce(valid_pools.rate_basis, 'practical') as rate_basis,
        coalesce(valid_pools.overload, 'used') as overload,
        valid_pools.step_order,
        valid_pools.rule_id,
        valid_pools.approved_by,
        valid_pools.approved_on

    from all_pools
    left join valid_pools
        on
            all_pools.month = valid_pools.month
            and all_pools.pool_id = valid_pools.pool_id
    left join drivers
        on valid_pools.driver_id = drivers.driver_id
    left join valid_capacities
        on
            all_pools.month = valid_capacities.month
            and all_pools.pool_id = valid_capacities.pool_id

)

select * from pool_months
