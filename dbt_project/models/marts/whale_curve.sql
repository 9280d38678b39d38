with

customer_profitability as (

    select * from {{ ref('customer_profitability') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

-- Every customer-month counts in the whole history, in its year and, where it is recent enough, in the last 12 months.
months_in_periods as (

    select
        'all' as period,
        customer_profitability.*

    from customer_profitability

    union all

    select
        {{ year_text('customer_profitability.month') }} as period,
        customer_profitability.*

    from customer_profitability

    union all

    select
        'last_12_months' as period,
        customer_profitability.*

    from customer_profitability
    cross join as_of

    where
        customer_profitability.month <= as_of.as_of_month
        and customer_profitability.month >= {{ months_before('as_of.as_of_month', 11) }}

),

customer_periods as (

    select
        period,
        customer_id,
        sum(invoice_line_count) as invoice_line_count,
        sum(gross_margin) as gross_margin,
        sum(operating_profit) as operating_profit

    from months_in_periods

    group by period, customer_id

),

profits as (

    select
        'gross_margin' as profit_level,
        period,
        customer_id,
        gross_margin as profit

    from customer_periods

    where invoice_line_count > 0

    union all

    select
        'operating_profit' as profit_level,
        period,
        customer_id,
        operating_profit as profit

    from customer_periods

),

ranked as (

    select
        *,
        cast(row_number() over (
            partition by profit_level, period
            order by profit desc, customer_id asc
        ) as bigint) as customer_rank,
        sum(profit) over (
            partition by profit_level, period
            order by profit desc, customer_id asc
            rows unbounded preceding
        ) as cumulative_profit,
        sum(profit) over (partition by profit_level, period) as total_profit

    from profits

),

-- The peak is the last customer who adds anything: where the whale turns.
whale_curve as (

    select
        profit_level,
        period,
        customer_rank,
        customer_id,
        cast(profit as decimal(22, 4)) as profit,
        cast(cumulative_profit as decimal(22, 4)) as cumulative_profit,
        cast(total_profit as decimal(22, 4)) as total_profit,
        case
            when total_profit > 0
                then cast(cumulative_profit as double) / cast(total_profit as double)
        end as cumulative_share,
        profit > 0
        and coalesce(
            lead(profit) over (
                partition by profit_level, period
                order by customer_rank asc
            ),
            0
        ) <= 0 as is_peak

    from ranked

)

select * from whale_curve
