{#
    Net revenue before + effects = net revenue, and the same of cost of goods sold; and both sides of a period are all the
    sales of their months. Returns bridges that lead elsewhere.
#}
with

bridges as (

    select
        period,
        customer_id,
        net_revenue_before + volume_effect + mix_effect + price_effect + discount_effect
        + new_customer_effect + lost_customer_effect + unpriced_effect - net_revenue as revenue_gap,
        cost_of_goods_sold_before + volume_cost_effect + mix_cost_effect + unit_cost_effect
        + other_cost_effect - cost_of_goods_sold as cost_gap

    from {{ ref('price_volume_mix') }}

),

sides as (

    select
        customer_id,
        first_month as from_month,
        last_month as to_month,
        period,
        net_revenue,
        cost_of_goods_sold

    from {{ ref('price_volume_mix') }}

    union all

    select
        customer_id,
        first_month_before as from_month,
        last_month_before as to_month,
        period,
        net_revenue_before as net_revenue,
        cost_of_goods_sold_before as cost_of_goods_sold

    from {{ ref('price_volume_mix') }}

),

side_sums as (

    select
        period,
        from_month,
        to_month,
        sum(net_revenue) as net_revenue,
        sum(cost_of_goods_sold) as cost_of_goods_sold

    from sides

    group by period, from_month, to_month

),

sales as (

    select
        month,
        sum(net_amount) as net_revenue,
        sum(cost_amount) as cost_of_goods_sold

    from {{ ref('fct_invoice_lines') }}

    group by month

),

side_gaps as (

    select
        side_sums.period,
        cast(null as string) as customer_id,
        side_sums.net_revenue - coalesce(sum(sales.net_revenue), 0) as revenue_gap,
        side_sums.cost_of_goods_sold - coalesce(sum(sales.cost_of_goods_sold), 0) as cost_gap

    from side_sums
    left join sales
        on sales.month between side_sums.from_month and side_sums.to_month

    group by
        side_sums.period,
        side_sums.from_month,
        side_sums.to_month,
        side_sums.net_revenue,
        side_sums.cost_of_goods_sold

),

gaps as (

    select * from bridges
    union all
    select * from side_gaps

)

select * from gaps
where revenue_gap != 0 or cost_gap != 0
