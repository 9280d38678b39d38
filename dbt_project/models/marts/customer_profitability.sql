with

invoice_lines as (

    select * from {{ ref('fct_invoice_lines') }}

),

orders as (

    select * from {{ ref('fct_orders') }}

),

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

    where receiver_kind = 'customer'

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

sales as (

    select
        customer_id,
        month,
        count(*) as invoice_line_count,
        sum(quantity) as quantity,
        sum(list_amount) as list_revenue,
        sum(discount_amount) as discounts,
        sum(net_amount) as net_revenue,
        sum(cost_amount) as cost_of_goods_sold

    from invoice_lines

    group by customer_id, month

),

order_counts as (

    select
        customer_id,
        month,
        count(*) as order_count

    from orders

    group by customer_id, month

),

costs as (

    select
        allocated_costs.receiver_id as customer_id,
        allocated_costs.month,
        sum(case when allocated_costs.stage = 'direct' then allocated_costs.amount_cents else 0 end)
            as direct_cents,
        sum(
            case
                when allocated_costs.stage != 'direct' and pool_months.behaviour = 'variable'
                    then allocated_costs.amount_cents
                else 0
            end
        ) as variable_cents,
        sum(
            case
                when allocated_costs.stage = 'direct' or pool_months.behaviour = 'variable' then 0
                else allocated_costs.amount_cents
            end
        ) as fixed_cents

    from allocated_costs
    inner join pool_months
        on
            allocated_costs.month = pool_months.month
            and allocated_costs.pool_id = pool_months.pool_id

    group by allocated_costs.receiver_id, allocated_costs.month

),

customer_months as (

    select
        customer_id,
        month

    from sales

    union

    select
        customer_id,
        month

    from costs

),

waterfall as (

    select
        customer_months.customer_id,
        customer_months.month,
        cast(coalesce(order_counts.order_count, 0) as bigint) as order_count,
        cast(coalesce(sales.invoice_line_count, 0) as bigint) as invoice_line_count,
        cast(coalesce(sales.quantity, 0) as decimal(24, 6)) as quantity,
        cast(coalesce(sales.list_revenue, 0) as decimal(22, 4)) as list_revenue,
        cast(coalesce(sales.discounts, 0) as decimal(22, 4)) as discounts,
        cast(coalesce(sales.net_revenue, 0) as decimal(22, 4)) as net_revenue,
        cast(coalesce(sales.cost_of_goods_sold, 0) as decimal(22, 4)) as cost_of_goods_sold,
        {{ from_cents('coalesce(costs.direct_cents, 0)') }} as direct_cost_to_serve,
        {{ from_cents('coalesce(costs.variable_cents, 0)') }} as activity_cost_variable,
        {{ from_cents('coalesce(costs.fixed_cents, 0)') }} as activity_cost_fixed

    from customer_months
    left join sales
        on
            customer_months.customer_id = sales.customer_id
            and customer_months.month = sales.month
    left join order_counts
        on
            customer_months.customer_id = order_counts.customer_id
            and customer_months.month = order_counts.month
    left join costs
        on
            customer_months.customer_id = costs.customer_id
            and customer_months.month = costs.month

),

profits as (

    select
        *,
        cast(net_revenue - cost_of_goods_sold as decimal(22, 4)) as gross_margin,
        cast(
            net_revenue - cost_of_goods_sold
            - direct_cost_to_serve - activity_cost_variable - activity_cost_fixed
            as decimal(22, 4)
        ) as contribution_after_cost_to_serve

    from waterfall

),

customer_profitability as (

    select
        customer_id,
        month,
        order_count,
        invoice_line_count,
        quantity,
        list_revenue,
        discounts,
        net_revenue,
        cost_of_goods_sold,
        gross_margin,
        direct_cost_to_serve,
        activity_cost_variable,
        activity_cost_fixed,
        contribution_after_cost_to_serve,
        contribution_after_cost_to_serve as operating_profit

    from profits

)

select * from customer_profitability
