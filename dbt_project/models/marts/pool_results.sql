with

pool_months as (

    select * from {{ ref('pool_months') }}

),

pool_costs as (

    select * from {{ ref('pool_costs') }}

),

pool_flows as (

    select * from {{ source('service_pools', 'pool_flows') }}

    where is_posted

),

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

),

budgets as (

    select * from {{ ref('fct_budgets') }}

),

pool_budgets as (

    select * from {{ ref('valid_pool_budgets') }}

),

driver_quantities as (

    select * from {{ ref('driver_quantities') }}

),

service_quantities as (

    select * from {{ ref('service_quantities') }}

),

-- What a pool cost, what others charged it and what it charged them, each in the month it is posted.
amounts as (

    select
        month,
        pool_id,
        amount_cents as own_cents,
        0 as received_cents,
        0 as given_cents

    from pool_costs

    union all

    select
        pool_flows.month,
        pool_flows.receiver_id as pool_id,
        0 as own_cents,
        pool_flows.amount_cents as received_cents,
        0 as given_cents

    from pool_flows

    union all

    select
        month,
        from_pool_id as pool_id,
        0 as own_cents,
        0 as received_cents,
        amount_cents as given_cents

    from pool_flows

    where receiver_id not like 'UNUSED:%' and receiver_id not like 'UNALLOCATED:%'

),

pool_amounts as (

    select
        month,
        pool_id,
        sum(own_cents) as own_cents,
        sum(received_cents) as received_cents,
        sum(given_cents) as given_cents

    from amounts

    group by month, pool_id

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
            as unallocated_cents,
        sum(case when receiver_kind = 'variance' then amount_cents else 0 end) as variance_cents

    from allocated_costs

    group by month, pool_id

),

ledger_budgets as (

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
        pool_months.month,
        pool_months.pool_id,
        sum(driver_quantities.quantity) as used_quantity

    from pool_months
    inner join driver_quantities
        on
            pool_months.month = driver_quantities.month
            and pool_months.driver_id = driver_quantities.driver_id

    group by pool_months.month, pool_months.pool_id

    union all

    select
        month,
        pool_id,
        sum(quantity) as used_quantity

    from service_quantities

    where
        behaviour = 'variable'
        and receiver_id not like 'UNUSED:%'

    group by month, pool_id

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
        pool_months.rate_basis,
        coalesce(
            {{ cents('(pool_budgets.fixed_amount + pool_budgets.variable_amount)') }},
            ledger_budgets.budget_cents
        ) as budget_cents,
        coalesce(pool_amounts.own_cents, 0) as own_cents,
        coalesce(pool_amounts.received_cents, 0) as received_cents,
        coalesce(pool_amounts.given_cents, 0) as given_cents,
        coalesce(destinations.on_customers_cents, 0) as on_customers_cents,
        coalesce(destinations.unused_cents, 0) as unused_cents,
        coalesce(destinations.sustaining_cents, 0) as sustaining_cents,
        coalesce(destinations.unallocated_cents, 0) as unallocated_cents,
        coalesce(destinations.variance_cents, 0) as variance_cents,
        case
            when pool_months.driver_id is not null
                then coalesce(used_quantities.used_quantity, 0)
        end as used_quantity

    from pool_months
    left join pool_amounts
        on
            pool_months.month = pool_amounts.month
            and pool_months.pool_id = pool_amounts.pool_id
    left join destinations
        on
            pool_months.month = destinations.month
            and pool_months.pool_id = destinations.pool_id
    left join ledger_budgets
        on
            pool_months.month = ledger_budgets.month
            and pool_months.pool_id = ledger_budgets.pool_id
    left join pool_budgets
        on
            pool_months.month = pool_budgets.month
            and pool_months.pool_id = pool_budgets.pool_id
    left join used_quantities
        on
            pool_months.month = used_quantities.month
            and pool_months.pool_id = used_quantities.pool_id

),

in_units as (

    select
        *,
        {{ from_cents('own_cents') }} as own_amount,
        {{ from_cents('received_cents') }} as received_amount,
        {{ from_cents('own_cents + received_cents') }} as gross_amount,
        {{ driver_units('used_quantity', 'driver_decimals') }} as used_units,
        {{ driver_units('capacity_quantity', 'driver_decimals') }} as capacity_units

    from in_cents

),

pool_results as (

    select
        month,
        pool_id,
        pool_name,
        stage,
        behaviour,
        driver_id,
        driver_unit,
        own_amount,
        received_amount,
        gross_amount,
        {{ from_cents('given_cents') }} as given_amount,
        {{ from_cents('budget_cents') }} as budget_amount,
        {{ from_cents('on_customers_cents') }} as on_customers_amount,
        {{ from_cents('unused_cents') }} as unused_amount,
        {{ from_cents('sustaining_cents') }} as sustaining_amount,
        {{ from_cents('unallocated_cents') }} as unallocated_amount,
        {{ from_cents('variance_cents') }} as variance_amount,
        used_units as used_quantity,
        capacity_units as capacity_quantity,
        cast(
            case when capacity_units is not null then greatest(capacity_units - used_units, 0) end
            as decimal(26, 6)
        ) as unused_quantity,
        cast(gross_amount as double)
        / nullif(
            cast(
                case
                    when rate_basis = 'actual' then used_units
                    else greatest(used_units, coalesce(capacity_units, 0))
                end
                as double
            ),
            0
        ) as rate,
        coalesce(used_units > capacity_units, false) as is_overloaded

    from in_units

)

select * from pool_results
