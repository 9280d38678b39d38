-- noqa: disable=LT02
{% set buckets = [
    'not_due', 'overdue_1_30', 'overdue_31_60', 'overdue_61_90', 'overdue_over_90', 'past_write_off'
] %}
with

balances as (

    select * from {{ ref('receivable_balances') }}

),

loss_rates as (

    select * from {{ ref('loss_rates') }}

),

monthly_rates as (

    select
        month,
        {% for bucket in buckets %}
        max(loss_rate) filter (where ageing_bucket = '{{ bucket }}') as {{ bucket }}_rate,
        {% endfor %}
        max(rate_source) filter (where ageing_bucket = 'not_due') as rate_source

    from loss_rates

    group by month

),

-- The matrix of the month on the ages of the month; to cents once, at the end.
allowances as (

    select
        balances.customer_id,
        balances.month,
        cast(balances.not_due + balances.overdue as decimal(22, 4)) as exposure,
        cast(
            round(
                balances.not_due * monthly_rates.not_due_rate
                + balances.overdue_1_30 * monthly_rates.overdue_1_30_rate
                + balances.overdue_31_60 * monthly_rates.overdue_31_60_rate
                + balances.overdue_61_90 * monthly_rates.overdue_61_90_rate
                + (balances.overdue_over_90 - balances.past_write_off) * monthly_rates.overdue_over_90_rate
                + balances.past_write_off * monthly_rates.past_write_off_rate,
                2
            )
            as decimal(22, 2)
        ) as allowance,
        monthly_rates.rate_source

    from balances
    inner join monthly_rates
        on balances.month = monthly_rates.month

),

expected_credit_losses as (

    select
        customer_id,
        month,
        exposure,
        cast(
            coalesce(lag(allowance) over (partition by customer_id order by month), 0) as decimal(22, 2)
        ) as opening_allowance,
        allowance,
        cast(
            allowance - coalesce(lag(allowance) over (partition by customer_id order by month), 0) as decimal(22, 2)
        ) as movement,
        rate_source

    from allowances

)

select * from expected_credit_losses
