{# The last customer of every curve brings the cumulative profit to the total. Returns curves that end elsewhere. #}
with

last_ranks as (

    select
        profit_level,
        period,
        max_by(cumulative_profit, customer_rank) as last_cumulative_profit,
        max(total_profit) as total_profit,
        sum(profit) as profit_sum,
        count(*) filter (where is_peak) as peak_count

    from {{ ref('whale_curve') }}

    group by profit_level, period

)

select * from last_ranks
where
    last_cumulative_profit != total_profit
    or profit_sum != total_profit
    or peak_count > 1
