with

pool_months as (

    select * from {{ ref('pool_months') }}

    where
        rate_basis = 'budget'
        and stage = 'activity'

),

valid_pool_budgets as (

    select * from {{ ref('valid_pool_budgets') }}

),

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

-- A budget has one variable and one fixed amount: the fixed one is for what of the pool is not variable.
parts as (

    select
        pool_months.month,
        pool_months.pool_id,
        case when pool_months.behaviour = 'variable' then 'fixed' else pool_months.behaviour end
            as behaviour,
        pool_months.driver_id,
        valid_pool_budgets.fixed_amount as amount,
        valid_pool_budgets.quantity

    from pool_months
    inner join valid_pool_budgets
        on
            pool_months.month = valid_pool_budgets.month
            and pool_months.pool_id = valid_pool_budgets.pool_id

    union all

    select
        pool_months.month,
        pool_months.pool_id,
        'variable' as behaviour,
        pool_months.driver_id,
        valid_pool_budgets.variable_amount as amount,
        valid_pool_budgets.quantity

    from pool_months
    inner join valid_pool_budgets
        on
            pool_months.month = valid_pool_budgets.month
            and pool_months.pool_id = valid_pool_budgets.pool_id

),

budget_rates as (

    select
        parts.month,
        parts.pool_id,
        parts.behaviour,
        {{ cents('parts.amount') }} as budget_cents,
        {{ whole_quantity('parts.quantity', 'drivers.decimals') }} as budget_quantity

    from parts
    inner join drivers
        on parts.driver_id = drivers.driver_id

)

select * from budget_rates
