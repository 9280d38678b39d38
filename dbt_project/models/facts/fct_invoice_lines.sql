with

invoices as (

    select * from {{ ref('fct_invoices') }}

),

lines as (

    select * from {{ ref('stg_invoice_lines') }}

),

products as (

    select * from {{ ref('dim_products') }}

),

-- A document delivered without lines is one line of its own amount: its revenue must not be lost.
invoices_without_lines as (

    select
        invoices.source_instance,
        invoices.invoice_id,
        0 as line_number,
        cast(null as varchar) as product_id,
        cast(0 as decimal(20, 6)) as quantity,
        cast(0 as decimal(22, 4)) as discount_amount,
        invoices.net_amount,
        cast(0 as decimal(22, 4)) as cost_amount

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
        ) as cost_amount

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
        cast(all_lines.quantity as decimal(20, 6)) as quantity,
        cast(all_lines.net_amount + all_lines.discount_amount as decimal(22, 4)) as list_amount,
        cast(all_lines.discount_amount as decimal(22, 4)) as discount_amount,
        cast(all_lines.net_amount as decimal(22, 4)) as net_amount,
        cast(all_lines.cost_amount as decimal(22, 4)) as cost_amount

    from invoices
    inner join all_lines
        on
            invoices.source_instance = all_lines.source_instance
            and invoices.invoice_id = all_lines.invoice_id

)

select * from invoice_lines
