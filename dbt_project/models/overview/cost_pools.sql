with

pool_results as (

    select * from {{ ref('pool_results') }}

),

pool_variances as (

    select * from {{ ref('pool_variances') }}

),

pool_targets as (

    select * from {{ ref('pool_targets') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

cost_anomalies as (

    select * from {{ source('analytics', 'cost_anomalies') }}

),

-- A pool is as far as its worst target.
target_statuses as (

    select
        month,
        pool_id,
        case
            when count(*) filter (where status = 'missed') > 0 then 'missed'
            when count(*) filter (where status = 'watch') > 0 then 'watch'
            when count(*) filter (where status = 'on_target') > 0 then 'on_target'
        end as target_status

    from pool_targets

    group by month, pool_id

),

cost_pools as (

    select
        pool_results.month,
        pool_results.pool_id,
        pool_results.pool_name,
        pool_results.stage,
        pool_results.behaviour,
        pool_results.driver_id,
        pool_results.driver_unit,
        pool_results.own_amount as actual_amount,
        pool_results.budget_amount,
        pool_results.on_customers_amount,
        pool_results.unused_amount,
        pool_results.sustaining_amount,
        pool_results.unallocated_amount,
        pool_results.used_quantity,
        pool_results.capacity_quantity,
        pool_results.unused_quantity,
        pool_results.rate,
        pool_results.is_overloaded,
        pool_results.received_amount,
        pool_results.given_amount,
        pool_results.gross_amount,
        pool_results.variance_amount,
        pool_variances.budget_source,
        pool_variances.flexible_budget_amount,
        pool_variances.total_variance,
        pool_variances.spending_variance,
        pool_variances.efficiency_variance,
        pool_variances.volume_variance,
        pool_variances.capacity_variance,
        target_statuses.target_status,
        cast(cost_anomalies.expected_amount as decimal(22, 2)) as expected_amount,
        coalesce(cast(cost_anomalies.is_anomaly as boolean), false) as is_anomaly,
        cast(cost_anomalies.explanation as string) as anomaly_explanation

    from pool_results
    cross join as_of
    left join pool_variances
        on
            pool_results.month = pool_variances.month
            and pool_results.pool_id = pool_variances.pool_id
    left join target_statuses
        on
            pool_results.month = target_statuses.month
            and pool_results.pool_id = target_statuses.pool_id
    left join cost_anomalies
        on
            pool_results.month = cost_anomalies.month
            and pool_results.pool_id = cost_anomalies.pool_id
            and as_of.as_of_date = cost_anomalies.as_of_date

)

select * from cost_pools
