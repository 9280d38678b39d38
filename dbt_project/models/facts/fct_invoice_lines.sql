{%- set unit = ['source_instance', 'invoice_id'] -%}
{{ config(
    materialized='incremental', unique_key=unit, meta={'logged': ['month', 'customer_id']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'fct_invoices': 'select source_instance, invoice_id from changes',
    'stg_invoice_lines': 'select source_instance, invoice_id from changes',
    'dim_products':
        'select source_instance, invoice_id from ' ~ ref('stg_invoice_lines')
        ~ ' where product_id in (select product_id from changes)',
}) %}

with

invoices as (

    select * from {{ ref('fct_invoices') }}
    {{ of_touched_units(unit) }}

),

lines as (

    select * from {{ ref('stg_invoice_lines') }}
    {{ of_touched_units(unit) }}

),

products as (

    select * from {{ ref('dim_products') }}

),

-- A document delivered without lines is one line of its own amount, converted already: its revenue must not be lost.
invoices_without_lines as (

    select
        invoices.source_instance,
        invoices.invoice_id,
        0 as line_number,
        cast(null as string) as product_id,
        cast(0 as decimal(20, 6)) as quantity,
        cast(0 as decimal(22, 4)) as discount_amount,
        invoices.net_amount,
        cast(0 as decimal(22, 4)) as cost_amount,
        cast(1 as decimal(38, 0)) as rate_numerator,
        cast(1 as decimal(38, 0)) as rate_denominator

    from invoices
    left join lines
        on
            invoices.source_instance = lines.source_instance
            and invoices.invoice_id = lines.invoice_id

    where lines.invoice_id is null

),

delivered_lines as (

    select
        lines.source_instance,
        lines.invoice_id,
        lines.line_number,
        lines.product_id,
        coalesce(lines.quantity, 0) as quantity,
        coalesce(lines.discount_amount, 0) as discount_amount,
        lines.line_net_amount as net_amount,
        coalesce(
            lines.line_cost_amount,
            round(
                cast(lines.quantity as decimal(20, 6))
                * cast(products.standard_cost as decimal(18, 4)),
                4
            ),
            0
        ) as cost_amount,
        cast(null as decimal(38, 0)) as rate_numerator,
        cast(null as decimal(38, 0)) as rate_denominator

    from lines
    left join products
        on lines.product_id = products.product_id

),

all_lines as (

    select * from delivered_lines
    union all
    select * from invoices_without_lines

),

invoice_lines as (

    select
        invoices.source_instance,
        invoices.invoice_id,
        cast(all_lines.line_number as bigint) as line_number,
        invoices.invoice_number,
        invoices.document_type,
        invoices.order_id,
        invoices.customer_id,
        invoices.invoice_date,
        invoices.month,
        invoices.sales_channel,
        all_lines.product_id,
        all_lines.quantity,
        all_lines.discount_amount,
        all_lines.net_amount,
        all_lines.cost_amount,
        coalesce(all_lines.rate_numerator, invoices.rate_numerator) as rate_numerator,
        coalesce(all_lines.rate_denominator, invoices.rate_denominator) as rate_denominator

    from invoices
    inner join all_lines
        on
            invoices.source_instance = all_lines.source_instance
            and invoices.invoice_id = all_lines.invoice_id

),

foreign_lines as (

    select
        lines.source_instance,
        lines.invoice_id,
        lines.line_number,
        lines.line_net_amount as amount,
        invoices.rate_numerator,
        invoices.rate_denominator,
        {{ converted('lines.line_net_amount') | indent(8) }} as converted_amount

    from invoices
    inner join lines
        on
            invoices.source_instance = lines.source_instance
            and invoices.invoice_id = lines.invoice_id

    where invoices.rate_numerator != invoices.rate_denominator

),

-- Lines that added up to their document in its own currency add up to it in base currency.
conversion_rests as (

    {{ conversion_rests('foreign_lines', ['source_instance', 'invoice_id'], 'line_number') | indent(4) }}

),

converted_lines as (

    select
        invoice_lines.*,
        {{ converted('invoice_lines.net_amount') | indent(8) }}
        + coalesce(conversion_rests.rest, 0) as base_net_amount,
        {{ converted('invoice_lines.discount_amount') | indent(8) }} as base_discount_amount

    from invoice_lines
    left join conversion_rests
        on
            invoice_lines.source_instance = conversion_rests.source_instance
            and invoice_lines.invoice_id = conversion_rests.invoice_id
            and invoice_lines.line_number = conversion_rests.line_number

),

lines_in_base_currency as (

    select
        source_instance,
        invoice_id,
        line_number,
        invoice_number,
        document_type,
        order_id,
        customer_id,
        invoice_date,
        month,
        sales_channel,
        product_id,
        cast(quantity as decimal(20, 6)) as quantity,
        cast(base_net_amount + base_discount_amount as decimal(22, 4)) as list_amount,
        cast(base_discount_amount as decimal(22, 4)) as discount_amount,
        cast(base_net_amount as decimal(22, 4)) as net_amount,
        cast(cost_amount as decimal(22, 4)) as cost_amount

    from converted_lines

)

select * from lines_in_base_currency
