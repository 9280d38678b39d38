with

pool_cost_lines as (

    select * from {{ ref('pool_cost_lines') }}

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

cost_sums as (

    select
        month,
        pool_id,
        cast(sum(amount_cents) as bigint) as amount_cents,
        count(*) as ledger_line_count

    from pool_cost_lines

    group by month, pool_id

),

pool_costs as (

    select
        cost_sums.month,
        cost_sums.pool_id,
        pool_months.stage,
        pool_months.driver_id,
        pool_months.sustaining_level,
        pool_months.behaviour,
        pool_months.capacity_quantity,
        cost_sums.amount_cents,
        cost_sums.ledger_line_count

    from cost_sums
    inner join pool_months
        on
            cost_sums.month = pool_months.month
            and cost_sums.pool_id = pool_months.pool_id

)

select * from pool_costs
