with

pool_drivers as (

    select * from {{ ref('pool_drivers') }}

    where stage = 'service'

),

pool_months as (

    select * from {{ ref('pool_months') }}

    where stage in ('service', 'activity', 'sustaining')

),

stated_quantities as (

    select * from {{ source('rules', 'stated_quantities') }}

    where receiver_kind = 'pool'

),

-- Of several figures that hold within a month, the one that began last. A pool that is not there uses nothing, and what
-- a pool does for itself is no service to anybody.
used as (

    select
        pool_drivers.month,
        pool_drivers.pool_id,
        pool_drivers.behaviour,
        pool_months.pool_id as receiver_id,
        {{ whole_quantity('stated_quantities.quantity', 'pool_drivers.driver_decimals') }} as quantity

    from pool_drivers
    inner join stated_quantities
        on
            pool_drivers.driver_id = stated_quantities.driver_id
            and pool_drivers.pool_id != stated_quantities.receiver_id
            and pool_drivers.month
            >= {{ month_of('coalesce(stated_quantities.valid_from, pool_drivers.month)') }}
            and pool_drivers.month <= coalesce(stated_quantities.valid_to, pool_drivers.month)
    inner join pool_months
        on
            pool_drivers.month = pool_months.month
            and stated_quantities.receiver_id = pool_months.pool_id

    qualify row_number() over (
        partition by pool_drivers.month, pool_drivers.pool_id, pool_drivers.behaviour, pool_months.pool_id
        order by stated_quantities.valid_from desc nulls last
    ) = 1

),

used_sums as (

    select
        month,
        pool_id,
        behaviour,
        sum(quantity) as quantity

    from used

    group by month, pool_id, behaviour

),

unused as (

    select
        pool_drivers.month,
        pool_drivers.pool_id,
        pool_drivers.behaviour,
        'UNUSED:' || pool_drivers.pool_id as receiver_id,
        cast(pool_drivers.capacity_quantity - coalesce(used_sums.quantity, 0) as bigint) as quantity

    from pool_drivers
    left join used_sums
        on
            pool_drivers.month = used_sums.month
            and pool_drivers.pool_id = used_sums.pool_id
            and pool_drivers.behaviour = used_sums.behaviour

    where pool_drivers.capacity_quantity > coalesce(used_sums.quantity, 0)

),

service_quantities as (

    select * from used
    where quantity > 0

    union all

    select * from unused

)

select * from service_quantities
