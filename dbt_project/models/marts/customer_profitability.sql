{{ config(materialized='incremental', unique_key=['month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(follows={
    'fct_invoice_lines': 'select month from changes',
    'fct_orders': 'select month from changes',
    'allocated_costs': 'select month from changes',
    'customer_credit_costs': 'select month from changes',
}) %}

with

invoice_lines as (

    select * from {{ ref('fct_invoice_lines') }}
    {{ of_touched_months() }}

),

orders as (

    select * from {{ ref('fct_orders') }}
    {{ of_touched_months() }}

),

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

    where
        receiver_kind = 'customer'
    {{ of_touched_months(also='and') }}

),

credit_costs as (

    select * from {{ ref('customer_credit_costs') }}
    {{ of_touched_months() }}

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

-- Every cost of a customer is in one of these, by its pool's stage and by how it behaves.
costs as (

    select
        receiver_id as customer_id,
        month,
        sum(case when stage = 'direct' then amount_cents else 0 end) as direct_cents,
        sum(
            case when stage = 'activity' and behaviour = 'variable' then amount_cents else 0 end
        ) as variable_cents,
        sum(
            case when stage = 'activity' and behaviour = 'step_fixed' then amount_cents else 0 end
        ) as step_fixed_cents,
        sum(
            case
                when stage != 'activity' or behaviour in ('variable', 'step_fixed') then 0
                else amount_cents
            end
        ) as fixed_cents,
        sum(case when stage = 'sustaining' then amount_cents else 0 end) as sustaining_cents

    from allocated_costs

    group by receiver_id, month

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

    union

    select
        customer_id,
        month

    from credit_costs

    where expected_credit_loss != 0 or financing_cost != 0

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
        {{ from_cents('coalesce(costs.step_fixed_cents, 0)') }} as activity_cost_step_fixed,
        {{ from_cents('coalesce(costs.fixed_cents, 0)') }} as activity_cost_fixed,
        cast(coalesce(credit_costs.expected_credit_loss, 0) as decimal(22, 2))
            as expected_credit_loss,
        cast(coalesce(credit_costs.financing_cost, 0) as decimal(22, 2)) as financing_cost,
        {{ from_cents('coalesce(costs.sustaining_cents, 0)') }} as allocated_sustaining

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
    left join credit_costs
        on
            customer_months.customer_id = credit_costs.customer_id
            and customer_months.month = credit_costs.month

),

profits as (

    select
        *,
        cast(net_revenue - cost_of_goods_sold as decimal(22, 4)) as gross_margin,
        cast(
            net_revenue - cost_of_goods_sold
            - direct_cost_to_serve
            - activity_cost_variable - activity_cost_step_fixed - activity_cost_fixed
            - expected_credit_loss - financing_cost
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
        activity_cost_step_fixed,
        activity_cost_fixed,
        expected_credit_loss,
        financing_cost,
        contribution_after_cost_to_serve,
        allocated_sustaining,
        cast(contribution_after_cost_to_serve - allocated_sustaining as decimal(22, 4))
            as operating_profit

    from profits

)

select * from customer_profitability
