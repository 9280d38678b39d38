{#
    The current version of every record of raw.<entity>.

    A record is a key of one source instance. Its current version is the one with the latest extract date; within one
    extract date the row the source changed last, then the last row of the last file. Quarantined rows are no versions:
    a record whose newest row cannot be read keeps its last readable one. A record whose current version is marked
    deleted is dropped, unless keep_deleted says that history still needs its name.
#}
{% macro current_version(entity, key, keep_deleted=false) -%}
with

versions as (

    select * from {{ source('raw', entity) }}
    where quarantine_reason is null

),

current_versions as (

    select * from versions
    qualify row_number() over (
        partition by source_instance, {{ key | join(', ') }}
        order by
            extract_date desc,
            source_modified_at desc nulls last,
            source_file desc,
            source_row desc
    ) = 1

),

kept as (

    select {{ all_columns_without(['load_id', 'quarantine_reason', 'source_record']) }}
    from current_versions
    {%- if not keep_deleted %}
    where not coalesce(is_deleted, false)
    {%- endif %}

)

select * from kept
{%- endmacro %}
