{#
    Actual cost is the plan and its variances, and what budget rates charge and what they do not, to the cent; and it is the
    cost of the pool's results. Returns pools where it is not.
#}
with

pool_variances as (

    select * from {{ ref('pool_variances') }}

),

pool_results as (

    select * from {{ ref('pool_results') }}

)

select
    pool_results.month,
    pool_results.pool_id,
    pool_results.own_amount,
    pool_results.gross_amount,
    pool_results.budget_amount,
    pool_variances.actual_amount,
    pool_variances.static_budget_amount,
    pool_variances.spending_variance,
    pool_variances.efficiency_variance,
    pool_variances.volume_variance,
    pool_variances.capacity_variance,
    pool_variances.charged_amount

from pool_results
left join pool_variances
    on
        pool_results.month = pool_variances.month
        and pool_results.pool_id = pool_variances.pool_id

where
    pool_results.budget_amount is not null
    and (
        pool_variances.pool_id is null
        or pool_variances.actual_amount
        != case
            when pool_variances.budget_source = 'rules' then pool_results.gross_amount
            else pool_results.own_amount
        end
        or pool_variances.actual_amount
        != pool_results.budget_amount
        + pool_variances.spending_variance
        + coalesce(pool_variances.efficiency_variance, 0)
        + coalesce(pool_variances.volume_variance, 0)
        or pool_variances.actual_amount
        != pool_variances.charged_amount + pool_variances.spending_variance + pool_variances.capacity_variance
        or pool_variances.total_variance != pool_variances.actual_amount - pool_results.budget_amount
    )
