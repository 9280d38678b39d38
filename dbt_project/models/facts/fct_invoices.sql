with

invoices as (

    select * from {{ ref('stg_invoices') }}

),

-- A proforma or a request for an invoice is no sale; a draft is not one yet; a void one is one no more.
posted_invoices as (

    select
        invoices.source_instance,
        invoices.invoice_id,
        invoices.invoice_number,
        {{ resolved_customer('invoices') }} as customer_id,
        invoices.document_type,
        coalesce(invoices.order_id, invoices.invoice_id) as order_id,
        invoices.invoice_date,
        invoices.due_date,
        {{ month_of('invoices.invoice_date') }} as month,
        invoices.sales_channel,
        invoices.net_amount,
        coalesce(invoices.tax_amount, 0) as tax_amount,
        invoices.gross_amount

    from invoices
    {{ join_customer_keys('invoices') }}

    where
        invoices.status in ('approved', 'paid')
        and invoices.document_type in ('invoice', 'credit_note', 'debit_note')

)

select * from posted_invoices
