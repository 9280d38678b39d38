with

documents as (

    select * from {{ ref('receivable_documents') }}

),

payments as (

    select * from {{ ref('stg_payments') }}

),

payment_applications as (

    select * from {{ ref('stg_payment_applications') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

payment_documents as (

    select * from documents
    where document_kind in ('payment', 'refund')

),

-- An application is in the currency of its payment. One between two customers is left aside: the balance of a customer
-- is what was invoiced to them less what they paid.
customer_applications as (

    select
        applications.source_instance,
        applications.payment_id,
        documents.customer_id,
        documents.document_kind,
        documents.document_id,
        documents.amount as document_amount,
        greatest(applications.applied_date, documents.document_date, payment_documents.document_date) as applied_date,
        {{ converted(
            'applications.applied_amount',
            numerator=whole_amount('abs(payment_documents.amount)'),
            denominator=whole_amount('abs(payments.amount)')
        ) | indent(8) }} as applied_amount

    from payment_applications as applications
    inner join as_of
        on applications.applied_date <= as_of.as_of_date
    inner join payment_documents
        on
            applications.source_instance = payment_documents.source_instance
            and applications.payment_id = payment_documents.document_id
    inner join payments
        on
            applications.source_instance = payments.source_instance
            and applications.payment_id = payments.payment_id
            and payments.amount != 0
    inner join documents
        on
            applications.source_instance = documents.source_instance
            and applications.invoice_id = documents.document_id
            and payment_documents.customer_id = documents.customer_id

    where documents.document_kind not in ('payment', 'refund')

),

application_sums as (

    select
        source_instance,
        payment_id,
        customer_id,
        document_kind,
        document_id,
        document_amount,
        max(applied_date) as applied_date,
        cast(sum(applied_amount) as decimal(22, 4)) as applied_amount

    from customer_applications

    group by source_instance, payment_id, customer_id, document_kind, document_id, document_amount

),

-- Not more than the document is worth, whatever was applied to it.
capped_applications as (

    select
        source_instance,
        payment_id,
        customer_id,
        document_kind,
        document_id,
        document_amount,
        applied_date,
        least(
            abs(applied_amount),
            abs(document_amount) - coalesce(
                sum(abs(applied_amount)) over (
                    partition by source_instance, document_kind, document_id
                    order by applied_date, payment_id
                    rows between unbounded preceding and 1 preceding
                ),
                0
            )
        ) as amount

    from application_sums

    where sign(applied_amount) = sign(document_amount)

),

applied_payments as (

    select distinct
        source_instance,
        payment_id

    from capped_applications

),

-- A payment with all it was applied to: the invoices it pays, and the credit notes that were taken off it.
{{ keep('members') }} members as (

    select
        source_instance,
        payment_id,
        customer_id,
        document_kind,
        document_id,
        applied_date as document_date,
        document_amount > 0 as is_debit,
        cast(amount as decimal(22, 4)) as amount

    from capped_applications

    where amount > 0

    union all

    select
        payment_documents.source_instance,
        payment_documents.document_id as payment_id,
        payment_documents.customer_id,
        payment_documents.document_kind,
        payment_documents.document_id,
        payment_documents.document_date,
        payment_documents.amount > 0 as is_debit,
        abs(payment_documents.amount) as amount

    from payment_documents
    inner join applied_payments
        on
            payment_documents.source_instance = applied_payments.source_instance
            and payment_documents.document_id = applied_payments.payment_id

) {{ kept() }},

applied_debits as (

    select * from members
    where is_debit

),

applied_credits as (

    select * from members
    where not is_debit

),

{{ set_off('applied_debits', 'applied_credits', parts='applied', group_by=['source_instance', 'payment_id']) }},

applied_sums as (

    select
        source_instance,
        document_kind,
        document_id,
        sum(amount) as amount

    from (
        select
            source_instance,
            document_kind,
            document_id,
            amount
        from applied
        union all
        select
            credit_source_instance as source_instance,
            credit_kind as document_kind,
            credit_id as document_id,
            amount
        from applied
    ) as sides

    group by source_instance, document_kind, document_id

),

{{ keep('rests') }} rests as (

    select
        documents.customer_id,
        documents.source_instance,
        documents.document_kind,
        documents.document_id,
        documents.document_date,
        documents.amount > 0 as is_debit,
        cast(abs(documents.amount) - coalesce(applied_sums.amount, 0) as decimal(22, 4)) as amount

    from documents
    left join applied_sums
        on
            documents.source_instance = applied_sums.source_instance
            and documents.document_kind = applied_sums.document_kind
            and documents.document_id = applied_sums.document_id

) {{ kept() }},

rest_debits as (

    select * from rests
    where is_debit and amount > 0

),

rest_credits as (

    select * from rests
    where not is_debit and amount > 0

),

{{ set_off('rest_debits', 'rest_credits', parts='oldest_first', group_by=['customer_id']) }},

receivable_clearings as (

    select
        *,
        'application' as cleared_by

    from applied

    union all

    select
        *,
        'oldest_first' as cleared_by

    from oldest_first

)

select * from receivable_clearings
