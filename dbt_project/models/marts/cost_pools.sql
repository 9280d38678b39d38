with

pool_months as (

    select * from {{ ref('pool_months') }}

),

pool_costs as (

    select * from {{ ref('pool_costs') }}

),

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

),

budgets as (

    select * from {{ ref('fct_budgets') }}

),

driver_quantities as (

    select * from {{ ref('driver_quantities') }}

),

destinations as (

    select
        month,
        pool_id,
        sum(case when receiver_kind = 'customer' then amount_cents else 0 end)
            as on_customers_cents,
        sum(case when receiver_kind = 'unused' then amount_cents else 0 end) as unused_cents,
        sum(case when receiver_kind = 'sustaining' then amount_cents else 0 end)
            as sustaining_cents,
        sum(case when receiver_kind = 'unallocated' then amount_cents else 0 end)
            as unallocated_cents

    from allocated_costs

    group by month, pool_id

),

budget_sums as (

    select
        month,
        coalesce(pool_id, 'UNASSIGNED') as pool_id,
        sum(amount_cents) as budget_cents

    from budgets

    where role = 'cost'

    group by month, coalesce(pool_id, 'UNASSIGNED')

),

used_quantities as (

    select
        month,
        driver_id,
        sum(quantity) as used_quantity

    from driver_quantities

    group by month, driver_id

),

in_cents as (

    select
        pool_months.month,
        pool_months.pool_id,
        pool_months.pool_name,
        pool_months.stage,
        pool_months.behaviour,
        pool_months.driver_id,
        pool_months.driver_unit,
        pool_months.driver_decimals,
        pool_months.capacity_quantity,
        budget_sums.budget_cents,
        coalesce(pool_costs.amount_cents, 0) as actual_cents,
        coalesce(destinations.on_customers_cents, 0) as on_customers_cents,
        coalesce(destinations.unused_cents, 0) as unused_cents,
        coalesce(destinations.sustaining_cents, 0) as sustaining_cents,
        coalesce(destinations.unallocated_cents, 0) as unallocated_cents,
        case
            when pool_months.driver_id is not null
                then coalesce(used_quantities.used_quantity, 0)
        end as used_quantity

    from pool_months
    left join pool_costs
        on
            pool_months.month = pool_costs.month
            and pool_months.pool_id = pool_costs.pool_id
    left join destinations
        on
            pool_months.month = destinations.month
            and pool_months.pool_id = destinations.pool_id
    left join budget_sums
        on
            pool_months.month = budget_sums.month
            and pool_months.pool_id = budget_sums.pool_id
    left join used_quantities
        on
            pool_months.month = used_quantities.month
            and pool_months.driver_id = used_quantities.driver_id

),

in_units as (

    select
        *,
        {{ from_cents('actual_cents') }} as actual_amount,
        {{ driver_units('used_quantity', 'driver_decimals') }} as used_units,
        {{ driver_units('capacity_quantity', 'driver_decimals') }} as capacity_units

    from in_cents

),

cost_pools as (

    select
        month,
        pool_id,
        pool_name,
        stage,
        behaviour,
        driver_id,
        driver_unit,
        actual_amount,
        {{ from_cents('budget_cents') }} as budget_amount,
        {{ from_cents('on_customers_cents') }} as on_customers_amount,
        {{ from_cents('unused_cents') }} as unused_amount,
        {{ from_cents('sustaining_cents') }} as sustaining_amount,
        {{ from_cents('unallocated_cents') }} as unallocated_amount,
        used_units as used_quantity,
        capacity_units as capacity_quantity,
        cast(
            case when capacity_units is not null then greatest(capacity_units - used_units, 0) end
            as decimal(26, 6)
        ) as unused_quantity,
        cast(actual_amount as double)
        / nullif(cast(greatest(used_units, coalesce(capacity_units, 0)) as double), 0) as rate,
        coalesce(used_units > capacity_units, false) as is_overloaded

    from in_units

)

select * from cost_pools
