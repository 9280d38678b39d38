with

pool_costs as (

    select * from {{ ref('pool_costs') }}

),

pool_cost_lines as (

    select * from {{ ref('pool_cost_lines') }}

),

driver_quantities as (

    select * from {{ ref('driver_quantities') }}

    where quantity > 0

),

-- Activity pools: every customer by driver quantity. Unknown customers and unused capacity are receivers like others.
users as (

    select
        pool_costs.month,
        pool_costs.pool_id,
        case
            when driver_quantities.customer_id = 'UNMATCHED' then 'UNALLOCATED:UNMATCHED_CUSTOMER'
            else driver_quantities.customer_id
        end as receiver_id,
        driver_quantities.quantity,
        pool_costs.amount_cents

    from pool_costs
    inner join driver_quantities
        on
            pool_costs.month = driver_quantities.month
            and pool_costs.driver_id = driver_quantities.driver_id

    where pool_costs.stage = 'activity'

),

used_quantities as (

    select
        month,
        pool_id,
        cast(sum(quantity) as bigint) as used_quantity

    from users

    group by month, pool_id

),

unused_capacity as (

    select
        pool_costs.month,
        pool_costs.pool_id,
        'UNUSED:' || pool_costs.pool_id as receiver_id,
        pool_costs.capacity_quantity - coalesce(used_quantities.used_quantity, 0) as quantity,
        pool_costs.amount_cents

    from pool_costs
    left join used_quantities
        on
            pool_costs.month = used_quantities.month
            and pool_costs.pool_id = used_quantities.pool_id

    where
        pool_costs.stage = 'activity'
        and pool_costs.capacity_quantity > coalesce(used_quantities.used_quantity, 0)

),

receivers as (

    select * from users
    union all
    select * from unused_capacity

),

divided as (

    {{ largest_remainder('receivers', group_by=['month', 'pool_id']) | indent(4) }}

),

activity_costs as (

    select
        month,
        pool_id,
        receiver_id,
        'activity' as stage,
        quantity as driver_quantity,
        total_quantity,
        amount_cents as pool_amount_cents,
        received_cents as amount_cents,
        rounding_cents

    from divided

),

-- Direct pools: the lines name their customer.
direct_costs as (

    select
        pool_costs.month,
        pool_costs.pool_id,
        coalesce(pool_cost_lines.customer_id, 'UNALLOCATED:UNMATCHED_CUSTOMER') as receiver_id,
        pool_costs.stage,
        cast(null as bigint) as driver_quantity,
        cast(null as bigint) as total_quantity,
        pool_costs.amount_cents as pool_amount_cents,
        cast(sum(pool_cost_lines.amount_cents) as bigint) as amount_cents,
        cast(0 as bigint) as rounding_cents

    from pool_costs
    inner join pool_cost_lines
        on
            pool_costs.month = pool_cost_lines.month
            and pool_costs.pool_id = pool_cost_lines.pool_id

    where pool_costs.stage = 'direct'

    group by
        pool_costs.month,
        pool_costs.pool_id,
        coalesce(pool_cost_lines.customer_id, 'UNALLOCATED:UNMATCHED_CUSTOMER'),
        pool_costs.stage,
        pool_costs.amount_cents

),

-- What is not traced to customers, whole and with its reason.
whole_pools as (

    select
        pool_costs.month,
        pool_costs.pool_id,
        case
            when pool_costs.stage = 'sustaining'
                then 'SUSTAINING:' || coalesce(pool_costs.sustaining_level, 'facility')
            when pool_costs.stage = 'activity' then 'UNALLOCATED:ZERO_DRIVER'
            else 'UNALLOCATED:NO_RULE'
        end as receiver_id,
        pool_costs.stage,
        cast(null as bigint) as driver_quantity,
        cast(null as bigint) as total_quantity,
        pool_costs.amount_cents as pool_amount_cents,
        pool_costs.amount_cents,
        cast(0 as bigint) as rounding_cents

    from pool_costs
    left join activity_costs
        on
            pool_costs.month = activity_costs.month
            and pool_costs.pool_id = activity_costs.pool_id

    where
        pool_costs.stage != 'direct'
        and activity_costs.receiver_id is null

),

all_receivers as (

    select * from activity_costs
    union all
    select * from direct_costs
    union all
    select * from whole_pools

),

allocated_costs as (

    select
        month,
        pool_id,
        case
            when receiver_id like 'UNUSED:%' then 'unused'
            when receiver_id like 'SUSTAINING:%' then 'sustaining'
            when receiver_id like 'UNALLOCATED:%' then 'unallocated'
            else 'customer'
        end as receiver_kind,
        receiver_id,
        stage,
        driver_quantity,
        total_quantity,
        pool_amount_cents,
        amount_cents,
        rounding_cents

    from all_receivers

)

select * from allocated_costs
