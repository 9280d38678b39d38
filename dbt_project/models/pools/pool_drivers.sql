with

pool_months as (

    select * from {{ ref('pool_months') }}

    where driver_id is not null

),

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

used_quantities as (

    select
        month,
        driver_id,
        cast(sum(quantity) as bigint) as quantity

    from {{ ref('driver_quantities') }}

    group by month, driver_id

    having sum(quantity) > 0

),

-- A pool can receive cost of every behaviour from the pools that serve it, whatever its own is.
behaviours as (

    select 'variable' as behaviour
    union all
    select 'step_fixed' as behaviour
    union all
    select 'fixed' as behaviour
    union all
    select 'sustaining' as behaviour

),

-- Capacity idles where cost is committed: what varies with use is never unused. Where the fixed part has a driver of
-- its own, the capacity is the one reserved by it.
declared as (

    select
        pool_months.month,
        pool_months.pool_id,
        pool_months.stage,
        pool_months.sustaining_level,
        pool_months.overload,
        behaviours.behaviour,
        case
            when behaviours.behaviour = 'fixed'
                then coalesce(pool_months.fixed_driver_id, pool_months.driver_id)
            else pool_months.driver_id
        end as driver_id,
        case
            when pool_months.rate_basis = 'actual' or behaviours.behaviour = 'variable' then null
            when
                pool_months.fixed_driver_id is null or behaviours.behaviour = 'fixed'
                then pool_months.capacity_quantity
        end as capacity_quantity

    from pool_months
    cross join behaviours

),

-- Without use and without capacity the declared driver divides nothing: the driver's policy says what then does.
earlier_months as (

    select
        declared.month,
        declared.driver_id,
        max(used_quantities.month) as quantity_month

    from declared
    inner join drivers
        on declared.driver_id = drivers.driver_id
    inner join used_quantities
        on
            declared.driver_id = used_quantities.driver_id
            and declared.month > used_quantities.month

    where drivers.zero_policy = 'previous_month'

    group by declared.month, declared.driver_id

),

resolved as (

    select
        declared.month,
        declared.pool_id,
        declared.stage,
        declared.behaviour,
        declared.sustaining_level,
        declared.overload,
        declared.driver_id as declared_driver_id,
        drivers.zero_policy,
        declared.stage = 'service'
        or used.quantity is not null
        or declared.capacity_quantity is not null as is_usable,
        declared.capacity_quantity,
        earlier_months.quantity_month as earlier_month,
        case when fallback.quantity is not null then drivers.fallback_driver_id end
            as fallback_driver_id

    from declared
    inner join drivers
        on declared.driver_id = drivers.driver_id
    left join used_quantities as used
        on
            declared.month = used.month
            and declared.driver_id = used.driver_id
    left join used_quantities as fallback
        on
            declared.month = fallback.month
            and drivers.fallback_driver_id = fallback.driver_id
    left join earlier_months
        on
            declared.month = earlier_months.month
            and declared.driver_id = earlier_months.driver_id

),

chosen as (

    select
        month,
        pool_id,
        stage,
        behaviour,
        overload,
        case
            when is_usable or earlier_month is not null then declared_driver_id
            else fallback_driver_id
        end as driver_id,
        case
            when not is_usable and earlier_month is not null then earlier_month
            else month
        end as quantity_month,
        case when is_usable then capacity_quantity end as capacity_quantity,
        case
            when zero_policy = 'sustaining' then 'SUSTAINING:' || coalesce(sustaining_level, 'facility')
            else 'UNALLOCATED:ZERO_DRIVER'
        end as zero_receiver_id

    from resolved

),

pool_drivers as (

    select
        chosen.month,
        chosen.pool_id,
        chosen.stage,
        chosen.behaviour,
        chosen.driver_id,
        drivers.unit as driver_unit,
        drivers.decimals as driver_decimals,
        chosen.quantity_month,
        coalesce(used_quantities.quantity, 0) as used_quantity,
        chosen.capacity_quantity,
        chosen.overload,
        chosen.zero_receiver_id

    from chosen
    left join drivers
        on chosen.driver_id = drivers.driver_id
    left join used_quantities
        on
            chosen.quantity_month = used_quantities.month
            and chosen.driver_id = used_quantities.driver_id

)

select * from pool_drivers
