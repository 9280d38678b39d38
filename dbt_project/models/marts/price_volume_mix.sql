{{ config(materialized='incremental', unique_key=['customer_id'], post_hook='{{ record_build() }}') }}
{#-
    A customer's rows depend on the customer's own lines, and on which months are compared: those change with the month of the
    as-of date, and with a month that only touched customers buy in, because it may have been empty before.
-#}
{%- do plan_build(follows={
    'fct_invoice_lines':
        'select customer_id from changes union all select customer_id from facts.fct_invoice_lines where exists ('
        ~ 'select month from changes except select month from facts.fct_invoice_lines '
        ~ 'where customer_id not in (select customer_id from changes))',
    'as_of':
        'select customer_id from facts.fct_invoice_lines '
        ~ 'where (select count(distinct as_of_month) from changes) > 1',
}) %}

{%- set measures = ['quantity', 'list_amount', 'net_amount', 'cost_amount'] -%}
{#- Fractions of whole numbers, by which an amount is exactly multiplied and rounded once. -#}
{%- set growth = {'numerator': 'quantity * 1000000', 'denominator': 'quantity_before * 1000000'} -%}
{%- set net_of_list = {'numerator': 'net_amount_before * 10000', 'denominator': 'list_amount_before * 10000'} -%}

with

invoice_lines as (

    select * from {{ ref('fct_invoice_lines') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

-- A month is compared from when the record holds the same month of the year before: both sides have equal months.
months_with_sales as (

    select month from invoice_lines
    union
    select {{ months_before('month', "'-12'") }} as month from invoice_lines

),

months as (

    select
        months_with_sales.month,
        {{ months_before('months_with_sales.month', 12) }} as month_before,
        {{ year_text('months_with_sales.month') }} as year_name,
        months_with_sales.month >= {{ months_before('as_of.as_of_month', 11) }} as is_recent

    from months_with_sales
    cross join as_of

    where
        months_with_sales.month <= as_of.as_of_month
        and {{ months_before('months_with_sales.month', 12) }} >= (select min(invoice_lines.month) from invoice_lines)

),

months_in_periods as (

    select
        year_name as period,
        month,
        month_before

    from months

    union all

    select
        'last_12_months' as period,
        month,
        month_before

    from months

    where is_recent

),

periods as (

    select
        period,
        min(month) as first_month,
        max(month) as last_month,
        min(month_before) as first_month_before,
        max(month_before) as last_month_before

    from months_in_periods

    group by period

),

product_months as (

    select
        customer_id,
        product_id,
        month,
        {% for measure in measures %}
            sum({{ measure }}) as {{ measure }},
        {% endfor %}
        count(*) as line_count

    from invoice_lines

    {{ of_touched_units(['customer_id']) }}

    group by customer_id, product_id, month

),

both_sides as (

    select
        months_in_periods.period,
        false as is_before,
        product_months.*

    from months_in_periods
    inner join product_months
        on months_in_periods.month = product_months.month

    union all

    select
        months_in_periods.period,
        true as is_before,
        product_months.*

    from months_in_periods
    inner join product_months
        on months_in_periods.month_before = product_months.month

),

products as (

    select
        period,
        customer_id,
        product_id,
        {% for measure in measures %}
            cast(sum(case when is_before then 0 else {{ measure }} end) as decimal(22, 6)) as {{ measure }},
            cast(sum(case when is_before then {{ measure }} else 0 end) as decimal(22, 6)) as {{ measure }}_before,
        {% endfor %}
        product_id is not null and sum(case when is_before then 0 else quantity end) > 0 as has_price,
        product_id is not null and sum(case when is_before then quantity else 0 end) > 0 as had_price

    from both_sides

    group by period, customer_id, product_id

),

-- What today's quantities would have brought and cost at the unit price and unit cost of before, and what today's list
-- sales at the discount rate of before. What had no price, cost or discount rate before is taken at today's.
repriced_products as (

    select
        *,
        case
            when not has_price then 0
            when had_price
                then {{ converted('net_amount_before', **growth) | indent(16) }}
            else net_amount
        end as repriced_amount,
        case
            when not has_price then 0
            when had_price
                then {{ converted('cost_amount_before', **growth) | indent(16) }}
            else cost_amount
        end as recosted_amount,
        case
            when not has_price then 0
            when had_price and list_amount_before > 0 and net_amount_before >= 0
                then {{ converted('list_amount', **net_of_list) | indent(16) }}
            else net_amount
        end as amount_at_discount_before

    from products

),

customers as (

    select
        period,
        customer_id,
        {% for side, priced in [('', 'has_price'), ('_before', 'had_price')] %}
            sum(net_amount{{ side }}) as net_revenue{{ side }},
            sum(cost_amount{{ side }}) as cost_of_goods_sold{{ side }},
            sum(case when {{ priced }} then quantity{{ side }} else 0 end) as quantity{{ side }},
            sum(case when {{ priced }} then net_amount{{ side }} else 0 end) as priced_amount{{ side }},
            sum(case when {{ priced }} then cost_amount{{ side }} else 0 end) as priced_cost{{ side }},
        {% endfor %}
        sum(repriced_amount) as repriced_amount,
        sum(recosted_amount) as recosted_amount,
        sum(amount_at_discount_before) as amount_at_discount_before,
        sum(case when has_price and not had_price then net_amount else 0 end) as new_product_revenue,
        sum(case when had_price and not has_price then net_amount_before else 0 end) as dropped_product_revenue

    from repriced_products

    group by period, customer_id

),

first_sales as (

    select
        customer_id,
        min(month) as first_sale_month

    from invoice_lines

    where
        net_amount > 0
    {{ of_touched_units(['customer_id'], also='and') }}

    group by customer_id

),

-- Bought is net revenue above zero: a credit note alone makes nobody a customer.
classified_customers as (

    select
        customers.*,
        case
            when customers.net_revenue > 0 and customers.net_revenue_before > 0 then 'kept'
            when customers.net_revenue > 0 and first_sales.first_sale_month < periods.first_month_before then 'regained'
            when customers.net_revenue > 0 then 'new'
            when customers.net_revenue_before > 0 then 'lost'
            else 'credits_only'
        end as customer_status,
        periods.first_month,
        periods.last_month,
        periods.first_month_before,
        periods.last_month_before

    from customers
    inner join periods
        on customers.period = periods.period
    left join first_sales
        on customers.customer_id = first_sales.customer_id

),

-- What all that was sold before would have brought, had each product grown as the quantity of all did.
at_new_volume as (

    select
        *,
        customer_status = 'kept' as is_kept,
        case
            when quantity_before > 0
                then {{ converted('priced_amount_before', **growth) | indent(16) }}
            else 0
        end as amount_at_new_volume,
        case
            when quantity_before > 0
                then {{ converted('priced_cost_before', **growth) | indent(16) }}
            else 0
        end as cost_at_new_volume

    from classified_customers

),

-- Each effect is the step from one of these sums to the next, so they add up to the change whatever was rounded.
price_volume_mix as (

    select
        period,
        customer_id,
        first_month,
        last_month,
        first_month_before,
        last_month_before,
        customer_status,
        cast(net_revenue_before as decimal(22, 4)) as net_revenue_before,
        cast(case when is_kept then amount_at_new_volume - priced_amount_before else 0 end as decimal(22, 4))
            as volume_effect,
        cast(case when is_kept then repriced_amount - amount_at_new_volume else 0 end as decimal(22, 4))
            as mix_effect,
        cast(case when is_kept then amount_at_discount_before - repriced_amount else 0 end as decimal(22, 4))
            as price_effect,
        cast(case when is_kept then priced_amount - amount_at_discount_before else 0 end as decimal(22, 4))
            as discount_effect,
        cast(
            case when customer_status in ('new', 'regained') then net_revenue - net_revenue_before else 0 end
            as decimal(22, 4)
        ) as new_customer_effect,
        cast(
            case when customer_status = 'lost' then net_revenue - net_revenue_before else 0 end
            as decimal(22, 4)
        ) as lost_customer_effect,
        cast(
            case
                when is_kept then (net_revenue - priced_amount) - (net_revenue_before - priced_amount_before)
                when customer_status = 'credits_only' then net_revenue - net_revenue_before
                else 0
            end
            as decimal(22, 4)
        ) as unpriced_effect,
        cast(net_revenue as decimal(22, 4)) as net_revenue,
        cast(case when is_kept then new_product_revenue else 0 end as decimal(22, 4))
            as new_product_revenue,
        cast(case when is_kept then dropped_product_revenue else 0 end as decimal(22, 4))
            as dropped_product_revenue,
        cast(cost_of_goods_sold_before as decimal(22, 4)) as cost_of_goods_sold_before,
        cast(case when is_kept then cost_at_new_volume - priced_cost_before else 0 end as decimal(22, 4))
            as volume_cost_effect,
        cast(case when is_kept then recosted_amount - cost_at_new_volume else 0 end as decimal(22, 4))
            as mix_cost_effect,
        cast(case when is_kept then priced_cost - recosted_amount else 0 end as decimal(22, 4))
            as unit_cost_effect,
        cast(
            case
                when is_kept then (cost_of_goods_sold - priced_cost) - (cost_of_goods_sold_before - priced_cost_before)
                else cost_of_goods_sold - cost_of_goods_sold_before
            end
            as decimal(22, 4)
        ) as other_cost_effect,
        cast(cost_of_goods_sold as decimal(22, 4)) as cost_of_goods_sold

    from at_new_volume

)

select * from price_volume_mix
