with

pool_months as (

    select * from {{ ref('pool_months') }}

),

pool_budgets as (

    select * from {{ source('rules', 'pool_budgets') }}

),

-- Of several budgets that hold within a month, the one that began last.
valid_pool_budgets as (

    select
        pool_months.month,
        pool_months.pool_id,
        pool_budgets.fixed_amount,
        pool_budgets.variable_amount,
        pool_budgets.quantity,
        pool_budgets.output_driver_id,
        pool_budgets.standard_per_output

    from pool_months
    inner join pool_budgets
        on
            pool_months.pool_id = pool_budgets.pool_id
            and pool_months.month >= {{ month_of('coalesce(pool_budgets.valid_from, pool_months.month)') }}
            and pool_months.month <= coalesce(pool_budgets.valid_to, pool_months.month)

    qualify row_number() over (
        partition by pool_months.month, pool_months.pool_id
        order by pool_budgets.valid_from desc nulls last
    ) = 1

)

select * from valid_pool_budgets
