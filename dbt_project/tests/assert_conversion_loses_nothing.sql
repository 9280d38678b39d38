{#
    Every document and ledger line that counts is in its fact or in unconverted_amounts, once, and the ledger as booked is
    the ledger as delivered. Counted per month, ledger amounts without their sign: a whole ledger sums to zero, and so
    does whatever is lost of it. Returns the months where something is missing or too much.
#}
with

counted as (

    select
        'invoice' as entity,
        source_instance,
        {{ month_of('invoice_date') }} as month,
        1 as rows_delivered,
        0 as rows_found,
        0 as amount_delivered,
        0 as amount_found

    from {{ ref('stg_invoices') }}

    where
        status in ('approved', 'paid')
        and document_type in ('invoice', 'credit_note', 'debit_note')

    union all

    select
        'payment' as entity,
        source_instance,
        {{ month_of('payment_date') }} as month,
        1 as rows_delivered,
        0 as rows_found,
        0 as amount_delivered,
        0 as amount_found

    from {{ ref('stg_payments') }}

    union all

    select
        'gl_entry' as entity,
        source_instance,
        {{ month_of('effective_date') }} as month,
        1 as rows_delivered,
        0 as rows_found,
        abs(functional_amount) as amount_delivered,
        0 as amount_found

    from {{ ref('stg_gl_entries') }}

    union all

    select
        'invoice' as entity,
        source_instance,
        month,
        0 as rows_delivered,
        1 as rows_found,
        0 as amount_delivered,
        0 as amount_found

    from {{ ref('fct_invoices') }}

    union all

    select
        'payment' as entity,
        source_instance,
        month,
        0 as rows_delivered,
        1 as rows_found,
        0 as amount_delivered,
        0 as amount_found

    from {{ ref('fct_payments') }}

    union all

    select
        'gl_entry' as entity,
        source_instance,
        month,
        0 as rows_delivered,
        1 as rows_found,
        0 as amount_delivered,
        abs(ledger_amount) as amount_found

    from {{ ref('fct_ledger') }}

    union all

    select
        entity,
        source_instance,
        {{ month_of('document_date') }} as month,
        0 as rows_delivered,
        1 as rows_found,
        0 as amount_delivered,
        case when entity = 'gl_entry' then abs(amount) else 0 end as amount_found

    from {{ ref('unconverted_amounts') }}

)

select
    entity,
    source_instance,
    month,
    sum(rows_delivered) as rows_delivered,
    sum(rows_found) as rows_found,
    sum(amount_delivered) as amount_delivered,
    sum(amount_found) as amount_found

from counted

group by entity, source_instance, month

having
    sum(rows_delivered) != sum(rows_found)
    or sum(amount_delivered) != sum(amount_found)
