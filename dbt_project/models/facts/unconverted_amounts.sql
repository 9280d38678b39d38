{%- set invoice_amounts = ['net_amount', 'functional_net_amount'] -%}
{%- set invoice_gross_amounts = ['gross_amount', 'functional_gross_amount'] -%}
{%- set payment_amounts = ['amount', 'functional_amount'] -%}
with

invoices as (

    select * from {{ ref('stg_invoices') }}

    where
        status in ('approved', 'paid')
        and document_type in ('invoice', 'credit_note', 'debit_note')

),

payments as (

    select * from {{ ref('stg_payments') }}

),

gl_entries as (

    select * from {{ ref('stg_gl_entries') }}

),

-- The lines of an invoice go with it and are not listed again.
rated_amounts as (

    select
        'invoice' as entity,
        invoices.source_instance,
        invoices.invoice_id as record_key,
        invoices.source_file,
        invoices.source_row,
        invoices.invoice_date as document_date,
        invoices.currency_code,
        invoices.net_amount as amount,
        {{ rate_problem('invoices', invoice_amounts, invoice_gross_amounts) | indent(8) }} as reason

    from invoices
    {{ join_conversion_rates('invoices', 'currency_code', 'invoice_date') }}

    union all

    select
        'payment' as entity,
        payments.source_instance,
        payments.payment_id as record_key,
        payments.source_file,
        payments.source_row,
        payments.payment_date as document_date,
        payments.currency_code,
        payments.amount,
        {{ rate_problem('payments', payment_amounts) | indent(8) }} as reason

    from payments
    {{ join_conversion_rates('payments', 'currency_code', 'payment_date') }}

    union all

    select
        'gl_entry' as entity,
        gl_entries.source_instance,
        gl_entries.journal_id || '/' || gl_entries.journal_line_number as record_key,
        gl_entries.source_file,
        gl_entries.source_row,
        gl_entries.effective_date as document_date,
        gl_entries.functional_currency_code as currency_code,
        gl_entries.functional_amount as amount,
        case
            when conversion_rates.currency_code is not null and conversion_rates.rate_numerator is null
                then '{{ no_rate() }}'
        end as reason

    from gl_entries
    {{ join_conversion_rates('gl_entries', 'functional_currency_code', 'effective_date') }}

),

unconverted_amounts as (

    select
        entity,
        source_instance,
        record_key,
        source_file,
        source_row,
        document_date,
        currency_code,
        amount,
        reason

    from rated_amounts

    where reason is not null

)

select * from unconverted_amounts
