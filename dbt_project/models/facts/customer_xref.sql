{%- set owner = ['source_instance', 'key_kind', 'source_customer_key'] -%}

with

customer_records as (

    select * from {{ ref('customer_records') }}

),

explicit_links as (

    select
        *,
        10 * layer + case key_kind
            when 'id' then 1
            when 'tin' then 3
            when 'name' then 4
            else 2
        end as link_layer

    from {{ ref('explicit_links') }}

),

customer_successions as (

    select * from {{ ref('customer_successions') }}

),

methods as (

    select
        count(*) filter (where method = 'shared_id') > 0 as ids_are_shared,
        count(*) filter (where method = 'name') > 0 as names_match

    from {{ source('rules', 'matching_order') }}

),

{{ record_keys() }},

-- Every key a source has a record of, and every key or name its facts use.
{{ keep('owners') }} owners as (

    select
        source_instance,
        'id' as key_kind,
        customer_id as source_customer_key,
        {{ name_key('customer_id') }} as name_key
    from customer_records

    union

    select
        source_instance,
        key_kind,
        customer_key as source_customer_key,
        name_key
    from {{ ref('customer_key_uses') }}

) {{ kept() }},

recordless_keys as (

    select
        owners.source_instance,
        owners.source_customer_key

    from owners
    left join customer_records
        on
            owners.source_instance = customer_records.source_instance
            and owners.source_customer_key = customer_records.customer_id

    where owners.key_kind = 'id' and customer_records.customer_id is null

),

known_codes as (

    select distinct account_code from customer_records

),

-- An id that one record of another source has means that record.
foreign_records as (

    select
        customer_id,
        min(source_instance) as source_instance

    from customer_records

    group by customer_id

    having count(*) = 1

),

-- What a key can mean without a link, best reading first. A key that still means several customers says nothing.
{{ keep('meanings') }} meanings as (

    select
        source_instance,
        'id' as key_kind,
        customer_id as source_customer_key,
        100 as layer,
        match_method,
        golden_id
    from customer_records

    union

    select
        recordless_keys.source_instance,
        'id' as key_kind,
        recordless_keys.source_customer_key,
        case when customer_records.golden_id = customer_records.account_code then 101 else 102 end as layer,
        'shared_id' as match_method,
        customer_records.golden_id
    from recordless_keys
    inner join customer_records
        on recordless_keys.source_customer_key = customer_records.account_code
    cross join methods
    where methods.ids_are_shared or recordless_keys.source_instance = customer_records.source_instance

    union

    select
        recordless_keys.source_instance,
        'id' as key_kind,
        recordless_keys.source_customer_key,
        103 as layer,
        'shared_id' as match_method,
        customer_records.golden_id
    from recordless_keys
    inner join customer_records
        on recordless_keys.source_customer_key = customer_records.customer_id
    cross join methods
    where methods.ids_are_shared

    union

    select
        owners.source_instance,
        owners.key_kind,
        owners.source_customer_key,
        104 as layer,
        'name' as match_method,
        customer_records.golden_id
    from owners
    inner join customer_records
        on owners.name_key = customer_records.name_key
    cross join methods
    where methods.names_match

) {{ kept() }},

-- Each meaning followed through the links that move whole customers.
followed_meanings as (

    select
        meanings.source_instance,
        meanings.key_kind,
        meanings.source_customer_key,
        meanings.layer,
        meanings.match_method,
        meanings.golden_id,
        case
            when customer_successions.customer_id != meanings.golden_id then 'explicit'
            else meanings.match_method
        end as followed_method,
        coalesce(customer_successions.customer_id, meanings.golden_id) as customer_id,
        coalesce(customer_successions.valid_from, {{ ever() }}) as valid_from,
        coalesce(customer_successions.valid_to, {{ forever() }}) as valid_to

    from meanings
    left join customer_successions
        on meanings.golden_id = customer_successions.golden_id

),

ambiguous_keys as (

    select
        source_instance,
        key_kind,
        source_customer_key,
        layer

    from meanings

    group by source_instance, key_kind, source_customer_key, layer

    having count(distinct golden_id) > 1

),

-- Several customers that are one on some days: on those days the key has a meaning.
{{ keep('ambiguous_meanings') }} ambiguous_meanings as (

    select followed_meanings.*
    from followed_meanings
    inner join ambiguous_keys
        on
            followed_meanings.source_instance = ambiguous_keys.source_instance
            and followed_meanings.key_kind = ambiguous_keys.key_kind
            and followed_meanings.source_customer_key = ambiguous_keys.source_customer_key
            and followed_meanings.layer = ambiguous_keys.layer

) {{ kept() }},

ambiguous_bounds as (

    select
        source_instance,
        key_kind,
        source_customer_key,
        layer,
        valid_from as bound
    from ambiguous_meanings

    union

    select
        source_instance,
        key_kind,
        source_customer_key,
        layer,
        valid_to + 1 as bound
    from ambiguous_meanings
    where valid_to < {{ forever() }}

),

ambiguous_segments as (

    select
        *,
        coalesce(
            lead(bound) over (
                partition by source_instance, key_kind, source_customer_key, layer order by bound
            ) - 1,
            {{ forever() }}
        ) as valid_to

    from ambiguous_bounds

),

clear_segments as (

    select
        segments.source_instance,
        segments.key_kind,
        segments.source_customer_key,
        segments.layer,
        min(meanings.match_method) as match_method,
        min(meanings.customer_id) as customer_id,
        segments.bound as valid_from,
        segments.valid_to

    from ambiguous_segments as segments
    inner join ambiguous_meanings as meanings
        on
            segments.source_instance = meanings.source_instance
            and segments.key_kind = meanings.key_kind
            and segments.source_customer_key = meanings.source_customer_key
            and segments.layer = meanings.layer
            and segments.bound >= meanings.valid_from
            and segments.valid_to <= meanings.valid_to

    group by
        segments.source_instance,
        segments.key_kind,
        segments.source_customer_key,
        segments.layer,
        segments.bound,
        segments.valid_to

    having count(distinct meanings.customer_id) = 1

),

-- Links of the key itself come first, then those of the record behind it.
linked_keys as (

    select
        owners.source_instance,
        owners.key_kind,
        owners.source_customer_key,
        explicit_links.link_layer,
        explicit_links.customer_id,
        explicit_links.valid_from,
        explicit_links.valid_to
    from owners
    inner join explicit_links
        on owners.source_customer_key = explicit_links.customer_key
    where
        owners.key_kind = 'id'
        and explicit_links.key_kind not in ('name', 'tin')
        and owners.source_instance = coalesce(explicit_links.source_instance, owners.source_instance)

    union all

    select
        owners.source_instance,
        owners.key_kind,
        owners.source_customer_key,
        explicit_links.link_layer,
        explicit_links.customer_id,
        explicit_links.valid_from,
        explicit_links.valid_to
    from owners
    inner join explicit_links
        on owners.name_key = explicit_links.customer_key
    where
        explicit_links.key_kind = 'name'
        and owners.source_instance = coalesce(explicit_links.source_instance, owners.source_instance)

    union all

    select
        record_keys.source_instance,
        'id' as key_kind,
        record_keys.customer_id as source_customer_key,
        explicit_links.link_layer,
        explicit_links.customer_id,
        explicit_links.valid_from,
        explicit_links.valid_to
    from record_keys
    inner join explicit_links
        on
            record_keys.key_kind = explicit_links.key_kind
            and record_keys.customer_key = explicit_links.customer_key
    where record_keys.source_instance = coalesce(explicit_links.source_instance, record_keys.source_instance)

    union all

    select
        recordless_keys.source_instance,
        'id' as key_kind,
        recordless_keys.source_customer_key,
        50 + explicit_links.link_layer as link_layer,
        explicit_links.customer_id,
        explicit_links.valid_from,
        explicit_links.valid_to
    from recordless_keys
    inner join foreign_records
        on recordless_keys.source_customer_key = foreign_records.customer_id
    inner join record_keys
        on
            foreign_records.source_instance = record_keys.source_instance
            and foreign_records.customer_id = record_keys.customer_id
    inner join explicit_links
        on
            record_keys.key_kind = explicit_links.key_kind
            and record_keys.customer_key = explicit_links.customer_key
    left join known_codes
        on recordless_keys.source_customer_key = known_codes.account_code
    cross join methods
    where
        methods.ids_are_shared
        and known_codes.account_code is null
        and record_keys.source_instance = coalesce(explicit_links.source_instance, record_keys.source_instance)

),

{{ keep('readings') }} readings as (

    select
        linked_keys.source_instance,
        linked_keys.key_kind,
        linked_keys.source_customer_key,
        linked_keys.link_layer as layer,
        'explicit' as match_method,
        coalesce(customer_successions.customer_id, linked_keys.customer_id) as customer_id,
        greatest(linked_keys.valid_from, coalesce(customer_successions.valid_from, {{ ever() }})) as valid_from,
        least(linked_keys.valid_to, coalesce(customer_successions.valid_to, {{ forever() }})) as valid_to
    from linked_keys
    left join customer_successions
        on
            linked_keys.customer_id = customer_successions.golden_id
            and linked_keys.valid_from <= customer_successions.valid_to
            and linked_keys.valid_to >= customer_successions.valid_from

    union all

    select
        followed_meanings.source_instance,
        followed_meanings.key_kind,
        followed_meanings.source_customer_key,
        followed_meanings.layer,
        followed_meanings.followed_method as match_method,
        followed_meanings.customer_id,
        followed_meanings.valid_from,
        followed_meanings.valid_to
    from followed_meanings
    left join ambiguous_keys
        on
            followed_meanings.source_instance = ambiguous_keys.source_instance
            and followed_meanings.key_kind = ambiguous_keys.key_kind
            and followed_meanings.source_customer_key = ambiguous_keys.source_customer_key
            and followed_meanings.layer = ambiguous_keys.layer
    where ambiguous_keys.layer is null

    union all

    select
        source_instance,
        key_kind,
        source_customer_key,
        layer,
        match_method,
        customer_id,
        valid_from,
        valid_to
    from clear_segments

    union all

    select
        source_instance,
        key_kind,
        source_customer_key,
        999 as layer,
        'unknown' as match_method,
        source_customer_key as customer_id,
        {{ ever() }} as valid_from,
        {{ forever() }} as valid_to
    from owners

) {{ kept() }},

{{ timeline('readings', owner) }},

merged_records as (

    select
        source_instance,
        'id' as key_kind,
        customer_id as source_customer_key,
        merged_into

    from customer_records

    where merged_into is not null

),

customer_xref as (

    select
        timeline.source_instance,
        timeline.source_customer_key,
        timeline.key_kind,
        timeline.customer_id,
        timeline.match_method,
        cast(case when timeline.match_method = 'unknown' then 0 else 1 end as decimal(20, 10))
            as match_confidence,
        nullif(timeline.valid_from, {{ ever() }}) as valid_from,
        nullif(timeline.valid_to, {{ forever() }}) as valid_to,
        merged_records.merged_into

    from readings_timeline as timeline
    left join merged_records
        on
            timeline.source_instance = merged_records.source_instance
            and timeline.key_kind = merged_records.key_kind
            and timeline.source_customer_key = merged_records.source_customer_key

)

select * from customer_xref
