{%- set unit = ['source_instance', 'invoice_id'] -%}
{{ config(
    materialized='incremental', unique_key=unit, meta={'logged': ['month', 'order_id']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'stg_invoices': 'select source_instance, invoice_id from changes',
    'customer_keys': touched_by_customer_keys(ref('stg_invoices'), unit),
    'conversion_rates': touched_by_conversion_rates(ref('stg_invoices'), unit, 'currency_code', 'invoice_date'),
}) %}

{%- set amounts = ['net_amount', 'functional_net_amount'] -%}
{%- set gross_amounts = ['gross_amount', 'functional_gross_amount'] -%}
with

invoices as (

    select * from {{ ref('stg_invoices') }}
    {{ of_touched_units(unit) }}

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
        invoices.currency_code,
        invoices.net_amount,
        coalesce(invoices.tax_amount, 0) as tax_amount,
        invoices.gross_amount,
        invoices.functional_tax_amount,
        invoices.functional_gross_amount,
        {{ document_rate('invoices', amounts, gross_amounts) | indent(8) }}

    from invoices
    {{ join_customer_keys('invoices', on='invoices.invoice_date') }}
    {{ join_conversion_rates('invoices', 'currency_code', 'invoice_date') }}

    where
        invoices.status in ('approved', 'paid')
        and invoices.document_type in ('invoice', 'credit_note', 'debit_note')
        and {{ rate_problem('invoices', amounts, gross_amounts) | indent(8) }} is null

),

converted_amounts as (

    select
        *,
        {{ converted('net_amount') | indent(8) }} as base_net_amount,
        coalesce(functional_gross_amount, {{ converted('gross_amount') | indent(8) }})
            as base_gross_amount,
        coalesce(functional_tax_amount, {{ converted('tax_amount') | indent(8) }}) as base_tax_amount,
        net_amount + tax_amount = gross_amount as adds_up

    from posted_invoices

),

-- What added up before still does: of three amounts converted one by one, the last follows from the other two.
invoices_in_base_currency as (

    select
        source_instance,
        invoice_id,
        invoice_number,
        customer_id,
        document_type,
        order_id,
        invoice_date,
        due_date,
        month,
        sales_channel,
        cast(base_net_amount as decimal(22, 4)) as net_amount,
        cast(
            case
                when adds_up and functional_gross_amount is not null and functional_tax_amount is null
                    then base_gross_amount - base_net_amount
                else base_tax_amount
            end
            as decimal(22, 4)
        ) as tax_amount,
        cast(
            case
                when adds_up and functional_gross_amount is null then base_net_amount + base_tax_amount
                else base_gross_amount
            end
            as decimal(22, 4)
        ) as gross_amount,
        currency_code,
        cast(rate_numerator as decimal(38, 0)) as rate_numerator,
        cast(rate_denominator as decimal(38, 0)) as rate_denominator

    from converted_amounts

)

select * from invoices_in_base_currency
