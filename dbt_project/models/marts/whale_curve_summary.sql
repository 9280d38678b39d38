with

whale_curve as (

    select * from {{ ref('whale_curve') }}

),

-- The top fifth, rounded up: of five customers one, of six two.
steps as (

    select
        *,
        customer_rank - 1 < 0.2 * count(*) over (partition by profit_level, period) as is_top_fifth

    from whale_curve

),

curves as (

    select
        profit_level,
        period,
        count(*) as customer_count,
        sum(case when profit > 0 then 1 else 0 end) as profitable_customer_count,
        sum(case when profit < 0 then 1 else 0 end) as loss_making_customer_count,
        max(total_profit) as total_profit,
        sum(case when profit > 0 then profit else 0 end) as peak_profit,
        sum(case when profit < 0 then -profit else 0 end) as loss_destroyed,
        sum(case when is_top_fifth then 1 else 0 end) as top_fifth_customer_count,
        sum(case when is_top_fifth then profit else 0 end) as top_fifth_profit

    from steps

    group by profit_level, period

),

-- A share of a total that is not above zero says nothing, and its sign misleads: then there is money only.
whale_curve_summary as (

    select
        profit_level,
        period,
        customer_count,
        cast(profitable_customer_count as bigint) as profitable_customer_count,
        cast(loss_making_customer_count as bigint) as loss_making_customer_count,
        cast(total_profit as decimal(22, 4)) as total_profit,
        cast(peak_profit as decimal(22, 4)) as peak_profit,
        case when peak_profit > 0 then cast(profitable_customer_count as bigint) end as peak_customer_rank,
        case
            when total_profit > 0
                then cast(peak_profit as double) / cast(total_profit as double)
        end as peak_share,
        cast(loss_destroyed as decimal(22, 4)) as loss_destroyed,
        case
            when total_profit > 0
                then cast(loss_destroyed as double) / cast(total_profit as double)
        end as loss_destroyed_share,
        cast(top_fifth_customer_count as bigint) as top_fifth_customer_count,
        cast(top_fifth_profit as decimal(22, 4)) as top_fifth_profit,
        case
            when total_profit > 0
                then cast(top_fifth_profit as double) / cast(total_profit as double)
        end as top_fifth_share

    from curves

)

select * from whale_curve_summary
