with

documents as (

    select * from {{ ref('receivable_documents') }}

),

clearings as (

    select * from {{ ref('receivable_clearings') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

sides as (

    select
        source_instance,
        document_kind,
        document_id,
        cleared_date,
        amount

    from clearings

    union all

    select
        credit_source_instance as source_instance,
        credit_kind as document_kind,
        credit_id as document_id,
        cleared_date,
        -amount as amount

    from clearings

),

cleared as (

    select
        source_instance,
        document_kind,
        document_id,
        max(cleared_date) as last_cleared_date,
        cast(sum(amount) as decimal(22, 4)) as amount

    from sides

    group by source_instance, document_kind, document_id

),

open_amounts as (

    select
        documents.*,
        as_of.as_of_date,
        coalesce(cleared.amount, 0) as cleared_amount,
        cast(documents.amount - coalesce(cleared.amount, 0) as decimal(22, 4)) as open_amount,
        cleared.last_cleared_date

    from documents
    cross join as_of
    left join cleared
        on
            documents.source_instance = cleared.source_instance
            and documents.document_kind = cleared.document_kind
            and documents.document_id = cleared.document_id

),

receivable_items as (

    select
        customer_id,
        as_of_date,
        source_instance,
        document_kind,
        document_id,
        document_date,
        month,
        due_date,
        is_due_date_assumed,
        amount,
        cast(cleared_amount as decimal(22, 4)) as cleared_amount,
        open_amount,
        last_cleared_date,
        case
            when open_amount > 0 then cast(greatest({{ days_between('due_date', 'as_of_date') }}, 0) as bigint)
        end as days_overdue

    from open_amounts

)

select * from receivable_items
