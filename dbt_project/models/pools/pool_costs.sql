with

pool_cost_lines as (

    select * from {{ ref('pool_cost_lines') }}

),

budget_rates as (

    select * from {{ ref('budget_rates') }}

),

booked as (

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        sum(amount_cents) as amount_cents,
        count(*) as ledger_line_count

    from pool_cost_lines

    group by month, driver_month, pool_id, behaviour

    union all

    -- A budget rate charges whether or not the ledger has a line: what it charges is then variance.
    select
        month,
        month as driver_month,
        pool_id,
        behaviour,
        0 as amount_cents,
        0 as ledger_line_count

    from budget_rates

    where budget_cents != 0

),

-- A month is divided once by its own quantities, and once more for each later month that takes some of its cost back.
rounds as (

    select distinct
        month,
        driver_month

    from booked

),

pool_costs as (

    select
        rounds.month,
        rounds.driver_month,
        booked.pool_id,
        booked.behaviour,
        cast(
            sum(case when booked.month = rounds.month then booked.amount_cents else 0 end) as bigint
        ) as amount_cents,
        cast(sum(booked.amount_cents) as bigint) as total_cents,
        cast(
            sum(case when booked.month = rounds.month then booked.ledger_line_count else 0 end)
            as bigint
        ) as ledger_line_count

    from rounds
    inner join booked
        on
            rounds.driver_month = booked.driver_month
            and rounds.month >= booked.month

    group by rounds.month, rounds.driver_month, booked.pool_id, booked.behaviour

)

select * from pool_costs
