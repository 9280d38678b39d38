with

pool_results as (

    select * from {{ ref('pool_results') }}

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

pool_budgets as (

    select * from {{ ref('valid_pool_budgets') }}

),

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

driver_quantities as (

    select * from {{ ref('driver_quantities') }}

),

driver_totals as (

    select
        driver_quantities.month,
        driver_quantities.driver_id,
        {{ driver_units('sum(driver_quantities.quantity)', 'max(drivers.decimals)') }} as quantity

    from driver_quantities
    inner join drivers
        on driver_quantities.driver_id = drivers.driver_id

    group by driver_quantities.month, driver_quantities.driver_id

),

-- A budget of the rules covers what other pools charge as well; the ledger's budget is for what is booked on the pool.
budgeted_pools as (

    select
        pool_results.month,
        pool_results.pool_id,
        pool_results.driver_unit,
        pool_results.behaviour,
        pool_results.used_quantity,
        pool_months.fixed_driver_id,
        pool_months.overload,
        pool_months.rate_basis,
        case when pool_months.rate_basis != 'actual' then pool_results.capacity_quantity end
            as capacity_quantity,
        pool_budgets.output_driver_id,
        cast(pool_budgets.standard_per_output as decimal(18, 6)) as standard_per_output,
        cast(pool_budgets.quantity as decimal(26, 6)) as budget_quantity,
        case when pool_budgets.pool_id is not null then 'rules' else 'ledger' end as budget_source,
        {{ cents('pool_budgets.fixed_amount') }} as rule_fixed_cents,
        coalesce(
            {{ cents('(pool_budgets.fixed_amount + pool_budgets.variable_amount)') }},
            {{ cents('pool_results.budget_amount') }}
        ) as static_cents,
        case
            when pool_budgets.pool_id is not null then {{ cents('pool_results.gross_amount') }}
            else {{ cents('pool_results.own_amount') }}
        end as actual_cents

    from pool_results
    inner join pool_months
        on
            pool_results.month = pool_months.month
            and pool_results.pool_id = pool_months.pool_id
    left join pool_budgets
        on
            pool_results.month = pool_budgets.month
            and pool_results.pool_id = pool_budgets.pool_id

    where
        pool_budgets.pool_id is not null
        or pool_results.budget_amount is not null

),

-- No output in a month needs nothing. Where the fixed part has a driver of its own, that one takes up the capacity.
quantities as (

    select
        budgeted_pools.*,
        case
            when budgeted_pools.output_driver_id is not null
                then cast(coalesce(outputs.quantity, 0) as decimal(26, 6))
        end as output_quantity,
        case
            when budgeted_pools.output_driver_id is not null
                then cast(
                    cast(coalesce(outputs.quantity, 0) as decimal(18, 6))
                    * budgeted_pools.standard_per_output
                    as decimal(26, 6)
                )
        end as standard_quantity,
        case
            when budgeted_pools.fixed_driver_id is null then budgeted_pools.used_quantity
            else cast(coalesce(fixed_uses.quantity, 0) as decimal(26, 6))
        end as capacity_used,
        coalesce(
            budgeted_pools.capacity_quantity,
            case when budgeted_pools.rate_basis = 'budget' then budgeted_pools.budget_quantity end
        ) as fixed_quantity

    from budgeted_pools
    left join driver_totals as outputs
        on
            budgeted_pools.month = outputs.month
            and budgeted_pools.output_driver_id = outputs.driver_id
    left join driver_totals as fixed_uses
        on
            budgeted_pools.month = fixed_uses.month
            and budgeted_pools.fixed_driver_id = fixed_uses.driver_id

),

-- The ledger's budget knows no quantity, so all of it is static; only committed cost can idle.
budget_parts as (

    select
        *,
        coalesce(rule_fixed_cents, static_cents) as fixed_cents,
        static_cents - coalesce(rule_fixed_cents, static_cents) as variable_cents,
        coalesce(used_quantity, standard_quantity) as flexed_quantity,
        coalesce(standard_quantity, used_quantity) as flexed_standard_quantity,
        case
            when
                (budget_source = 'rules' or behaviour in ('fixed', 'step_fixed'))
                and fixed_quantity is not null
                and capacity_used is not null
                then
                    case
                        when capacity_quantity is null or overload = 'standard' then capacity_used
                        else least(capacity_used, fixed_quantity)
                    end
        end as charged_quantity

    from quantities

),

budgets as (

    select
        *,
        fixed_cents
        + coalesce({{ rounded_share('variable_cents', 'flexed_quantity', 'budget_quantity') }}, variable_cents)
            as flexible_cents,
        fixed_cents
        + coalesce(
            {{ rounded_share('variable_cents', 'flexed_standard_quantity', 'budget_quantity') }}, variable_cents
        ) as standard_cents,
        {{ rounded_share('fixed_cents', 'charged_quantity', 'fixed_quantity') }} as charged_fixed_cents,
        budget_quantity is not null and flexed_quantity is not null as is_flexible

    from budget_parts

),

variances as (

    select
        *,
        actual_cents - static_cents as total_cents,
        actual_cents - flexible_cents as spending_cents,
        case
            when is_flexible and used_quantity is not null and standard_quantity is not null
                then flexible_cents - standard_cents
        end as efficiency_cents,
        case when is_flexible then standard_cents - static_cents end as volume_cents,
        fixed_cents - charged_fixed_cents as capacity_cents,
        charged_fixed_cents + flexible_cents - fixed_cents as charged_cents

    from budgets

),

pool_variances as (

    select
        month,
        pool_id,
        budget_source,
        driver_unit,
        budget_quantity,
        output_quantity,
        standard_quantity,
        used_quantity,
        capacity_quantity,
        {{ from_cents('fixed_cents') }} as budget_fixed_amount,
        {{ from_cents('variable_cents') }} as budget_variable_amount,
        {{ from_cents('static_cents') }} as static_budget_amount,
        {{ from_cents('standard_cents') }} as standard_budget_amount,
        {{ from_cents('flexible_cents') }} as flexible_budget_amount,
        {{ from_cents('actual_cents') }} as actual_amount,
        {{ from_cents('total_cents') }} as total_variance,
        {{ from_cents('spending_cents') }} as spending_variance,
        {{ from_cents('efficiency_cents') }} as efficiency_variance,
        {{ from_cents('volume_cents') }} as volume_variance,
        {{ from_cents('capacity_cents') }} as capacity_variance,
        {{ from_cents('charged_cents') }} as charged_amount

    from variances

)

select * from pool_variances
