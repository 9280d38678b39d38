with

invoices as (

    select * from {{ ref('fct_invoices') }}

),

payments as (

    select * from {{ ref('fct_payments') }}

),

customers as (

    select * from {{ ref('dim_customers') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

documents as (

    select
        customer_id,
        source_instance,
        document_type as document_kind,
        invoice_id as document_id,
        invoice_date as document_date,
        due_date,
        gross_amount as amount

    from invoices
    -- Where nobody delivers payments, nobody can know what is still owed: there are no receivables then.
    where exists (select payments.payment_id from payments)

    union all

    select
        customer_id,
        source_instance,
        case when amount < 0 then 'refund' else 'payment' end as document_kind,
        payment_id as document_id,
        payment_date as document_date,
        payment_date as due_date,
        -amount as amount

    from payments

),

-- What is older than the history kept is owed from its first day on: one wrong year must not make a century of months.
known_documents as (

    select
        documents.customer_id,
        documents.source_instance,
        documents.document_kind,
        documents.document_id,
        documents.document_date as original_date,
        greatest(
            documents.document_date,
            {{ months_before('as_of.as_of_month', receivable_history_months() | int - 1) }}
        ) as document_date,
        documents.due_date,
        least(
            greatest(coalesce(customers.terms_due_days, company.default_payment_days), 0), 3650
        ) as payment_days,
        documents.amount

    from documents
    inner join as_of
        on documents.document_date <= as_of.as_of_date
    cross join company
    left join customers
        on documents.customer_id = customers.customer_id

    where documents.amount != 0

),

receivable_documents as (

    select
        customer_id,
        source_instance,
        document_kind,
        document_id,
        document_date,
        {{ month_of('document_date') }} as month,
        greatest(coalesce(due_date, original_date + cast(payment_days as integer)), document_date) as due_date,
        due_date is null as is_due_date_assumed,
        cast(amount as decimal(22, 4)) as amount

    from known_documents

)

select * from receivable_documents
