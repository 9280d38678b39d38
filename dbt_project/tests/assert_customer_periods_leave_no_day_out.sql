-- Every key stands for exactly one customer on every day: its periods follow each other without gap or overlap.
with

periods as (

    select
        *,
        row_number() over (
            partition by source_instance, key_kind, source_customer_key order by valid_from nulls first
        ) as period_number,
        lead(valid_from) over (
            partition by source_instance, key_kind, source_customer_key order by valid_from nulls first
        ) as next_valid_from

    from {{ ref('customer_xref') }}

)

select * from periods
where
    (valid_from is null) != (period_number = 1)
    or valid_to is distinct from next_valid_from - 1
