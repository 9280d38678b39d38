{%- set attributes = [
    'customer_type', 'segment', 'level', 'industry', 'acquisition_source', 'acquired_date', 'country', 'region', 'city',
    'owner_ref', 'credit_limit', 'terms_due_days',
] -%}

with

-- Which customer a record is, as far as is known today: who was merged later was one customer all along.
record_customers as (

    select
        customer_xref.source_instance,
        customer_xref.source_customer_key,
        customer_xref.customer_id

    from {{ ref('customer_xref') }} as customer_xref
    cross join {{ ref('as_of') }} as as_of

    where
        customer_xref.key_kind = 'id'
        and coalesce(customer_xref.valid_from <= as_of.as_of_date, true)
        and coalesce(customer_xref.valid_to >= as_of.as_of_date, true)

),

-- Every version of every record, from the day it was delivered for to the day before the next one.
versions as (

    select *
    from {{ source('raw', 'customer') }}

    where quarantine_reason is null

    qualify row_number() over (
        partition by source_instance, customer_id, extract_date
        order by {{ latest_version_first() }}
    ) = 1

),

dated_versions as (

    select
        record_customers.customer_id as golden_id,
        versions.*,
        lead(versions.extract_date) over (
            partition by versions.source_instance, versions.customer_id order by versions.extract_date
        ) as next_extract_date

    from versions
    inner join record_customers
        on
            versions.source_instance = record_customers.source_instance
            and versions.customer_id = record_customers.source_customer_key

),

days_of_change as (

    select distinct
        golden_id,
        extract_date as valid_from

    from dated_versions

),

-- What was known on each of these days: the best record leads, as in dim_customers.
known_versions as (

    select
        days_of_change.valid_from,
        dated_versions.*,
        row_number() over (
            partition by days_of_change.golden_id, days_of_change.valid_from
            order by
                coalesce(dated_versions.is_deleted, false) asc,
                (dated_versions.merged_into is not null) asc,
                coalesce(dated_versions.customer_account_id = dated_versions.golden_id, false) desc,
                (dated_versions.customer_account_id is null) asc,
                dated_versions.source_modified_at desc nulls last,
                dated_versions.extract_date desc,
                dated_versions.source_instance asc,
                dated_versions.customer_id asc
        ) as record_rank

    from days_of_change
    inner join dated_versions
        on
            days_of_change.golden_id = dated_versions.golden_id
            and days_of_change.valid_from >= dated_versions.extract_date
            and days_of_change.valid_from < coalesce(dated_versions.next_extract_date, {{ forever() }})

),

states as (

    select
        golden_id as customer_id,
        valid_from,
        {% for attribute in attributes %}
            min_by({{ attribute }}, record_rank) filter (where {{ attribute }} is not null)
                as {{ attribute }},
        {% endfor %}
        bool_and(coalesce(is_deleted, false)) as is_deleted

    from known_versions

    group by golden_id, valid_from

),

compared_states as (

    select
        *,
        {% for attribute in attributes + ['is_deleted'] %}
            lag({{ attribute }}) over (partition by customer_id order by valid_from) as former_{{ attribute }},
        {% endfor %}
        row_number() over (partition by customer_id order by valid_from) as state_number

    from states

),

changes as (

    select * from compared_states

    where
        state_number = 1
        {% for attribute in attributes + ['is_deleted'] %}
            or {{ attribute }} is distinct from former_{{ attribute }}
        {% endfor %}

),

customer_history as (

    select
        customer_id,
        valid_from,
        lead(valid_from) over (partition by customer_id order by valid_from) - 1 as valid_to,
        {% for attribute in attributes %}
            {{ attribute }},
        {% endfor %}
        is_deleted

    from changes

)

select * from customer_history
