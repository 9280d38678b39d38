-- noqa: disable=LT02
{#
    The current version of every record of raw.<entity>.

    A record is a key of one source instance. Its current version is the one with the latest extract date; within one
    extract date the row the source changed last, then the last row of the last file, and a deletion that does not say
    when comes after all of them. Quarantined rows are no versions: a record whose newest row cannot be read keeps its
    last readable one.

    A record is gone when its current version is marked deleted, or when a later delivery states anew what the version
    was part of (`restates`: the same ledger period, the same voucher, or everything the source has) and does not carry
    the record, not even in quarantine. What is gone is dropped, unless keep_deleted says that history still needs its
    name: then it is marked deleted. A deletion that brings no more than the key (all of `required` are null) has no
    name to keep, so the version before it describes the record.

    All of it is a function of the rows and not of the order in which they were loaded. `rows` judges fewer of them: see
    versions_to_judge.
#}
{% macro current_version(entity, key, keep_deleted=false, required=[], rows=none) -%}
{%- set raw = rows or source('raw', entity) -%}
{%- set raw_only = ['load_id', 'quarantine_reason', 'source_record'] -%}
with

versions as (

    select * from {{ raw }}
    where quarantine_reason is null

),

current_versions as (

    select * from versions
    qualify row_number() over (
        partition by source_instance, {{ key | join(', ') }}
        order by
            {{ latest_version_first() }}
    ) = 1

),

-- The last time each scope was stated as a whole: a period, a voucher, or * for all the source has.
restatements as (

    select
        source_instance,
        restates,
        max(extract_date) as extract_date

    from {{ raw }}

    where restates is not null

    group by source_instance, restates

),

unreadable_records as (

    select
        source_instance,
        {{ key | join(',\n        ') }},
        max(extract_date) as extract_date

    from {{ raw }}

    where quarantine_reason is not null

    group by source_instance, {{ key | join(', ') }}

),

judged as (

    select
        current_versions.*,
        coalesce(current_versions.is_deleted, false)
        or greatest(
            coalesce(scopes.extract_date, current_versions.extract_date),
            coalesce(snapshots.extract_date, current_versions.extract_date)
        )
        > greatest(
            current_versions.extract_date,
            coalesce(unreadable_records.extract_date, current_versions.extract_date)
        ) as is_gone

    from current_versions
    left join restatements as scopes
        on
            current_versions.source_instance = scopes.source_instance
            and current_versions.restates = scopes.restates
    left join restatements as snapshots
        on
            current_versions.source_instance = snapshots.source_instance
            and snapshots.restates = '*'
    left join unreadable_records
        on
            current_versions.source_instance = unreadable_records.source_instance
            {%- for column in key %}
            and current_versions.{{ column }} is not distinct from unreadable_records.{{ column }}
            {%- endfor %}

),
{% if keep_deleted %}
-- The last version that says more than that the record is gone.
described_versions as (

    select * from versions
    where not (coalesce(is_deleted, false) and {{ required | join(' is null and ') }} is null)
    qualify row_number() over (
        partition by source_instance, {{ key | join(', ') }}
        order by
            {{ latest_version_first() }}
    ) = 1

),

kept as (

    select
        described_versions.{{ all_columns_without(raw_only + ['is_deleted']) }},
        judged.is_gone as is_deleted

    from described_versions
    inner join judged
        on
            described_versions.source_instance = judged.source_instance
            {%- for column in key %}
            and described_versions.{{ column }} is not distinct from judged.{{ column }}
            {%- endfor %}

)
{%- else %}
kept as (

    select {{ all_columns_without(raw_only + ['is_gone']) }}
    from judged

    where not is_gone

)
{%- endif %}

select * from kept
{%- endmacro %}

{% macro latest_version_first() -%}
    extract_date desc,
            (coalesce(is_deleted, false) and source_modified_at is null) desc,
            source_modified_at desc nulls last,
            source_file desc,
            source_row desc
{%- endmacro %}
