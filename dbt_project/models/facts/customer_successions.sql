{#
    A link of a code, or of all that is known of a customer without code, moves the whole customer, and the customer it
    moves to may have been moved as well: here each is followed to the end, day by day.
#}
with recursive

customer_records as (

    select * from {{ ref('customer_records') }}

),

explicit_links as (

    select * from {{ ref('explicit_links') }}

),

{{ record_keys() }},

record_ids as (

    select distinct
        'id' as key_kind,
        customer_id as customer_key
    from customer_records

),

-- Links of the records of customers without code: they move the customer when all of them name the same one.
linked_records as (

    select
        customer_records.golden_id,
        explicit_links.layer,
        explicit_links.customer_id,
        explicit_links.valid_from,
        explicit_links.valid_to

    from customer_records
    inner join record_keys
        on
            customer_records.source_instance = record_keys.source_instance
            and customer_records.customer_id = record_keys.customer_id
    inner join explicit_links
        on
            record_keys.key_kind = explicit_links.key_kind
            and record_keys.customer_key = explicit_links.customer_key
            and record_keys.source_instance
            = coalesce(explicit_links.source_instance, record_keys.source_instance)

    where not customer_records.has_account_code

),

agreed_moves as (

    select golden_id
    from linked_records
    group by golden_id
    having count(distinct customer_id) = 1

),

moves as (

    select
        linked_records.golden_id,
        linked_records.layer,
        linked_records.customer_id,
        linked_records.valid_from,
        linked_records.valid_to

    from linked_records
    inner join agreed_moves
        on linked_records.golden_id = agreed_moves.golden_id

    union all

    select
        explicit_links.customer_key as golden_id,
        explicit_links.layer,
        explicit_links.customer_id,
        explicit_links.valid_from,
        explicit_links.valid_to

    from explicit_links
    left join record_ids
        on
            explicit_links.key_kind = record_ids.key_kind
            and explicit_links.customer_key = record_ids.customer_key

    where
        explicit_links.source_instance is null
        and explicit_links.key_kind in ('id', 'code')
        and record_ids.customer_key is null

),

-- Outside of its links a customer is itself.
{{ keep('periods') }} periods as (

    select
        golden_id,
        customer_id,
        'explicit' as match_method,
        layer,
        valid_from,
        valid_to
    from moves
    where golden_id != customer_id

    union all

    select distinct
        golden_id,
        golden_id as customer_id,
        'itself' as match_method,
        9 as layer,
        {{ ever() }} as valid_from,
        {{ forever() }} as valid_to
    from moves

) {{ kept() }},

{{ timeline('periods', owner=['golden_id']) }},

moving as (

    select distinct golden_id from periods

),

-- Whoever comes back to where they were has gone in a circle: the smallest of it stands for all.
{{ keep('followed') }} followed as (

    select
        golden_id,
        customer_id,
        valid_from,
        valid_to,
        least(golden_id, customer_id) as smallest,
        chr(31) || golden_id || chr(31) || customer_id || chr(31) as way,
        match_method = 'itself' as has_ended

    from periods_timeline

    union all

    select
        followed.golden_id,
        case
            when onward.match_method = 'itself' then followed.customer_id
            when instr(followed.way, chr(31) || onward.customer_id || chr(31)) > 0 then followed.smallest
            else onward.customer_id
        end as customer_id,
        greatest(followed.valid_from, onward.valid_from) as valid_from,
        least(followed.valid_to, onward.valid_to) as valid_to,
        least(followed.smallest, onward.customer_id) as smallest,
        followed.way || onward.customer_id || chr(31) as way,
        onward.match_method = 'itself'
        or instr(followed.way, chr(31) || onward.customer_id || chr(31)) > 0 as has_ended

    from followed
    inner join periods_timeline as onward
        on
            followed.customer_id = onward.golden_id
            and followed.valid_from <= onward.valid_to
            and followed.valid_to >= onward.valid_from

    where not followed.has_ended

) {{ kept() }},

-- Whoever is moved to somebody no link speaks of has arrived.
arrived as (

    select
        followed.golden_id,
        followed.customer_id,
        'explicit' as match_method,
        followed.valid_from,
        followed.valid_to

    from followed
    left join moving
        on followed.customer_id = moving.golden_id

    where followed.has_ended or moving.golden_id is null

),

{{ joined_neighbours('arrived', ['golden_id'], 'successions') }},

customer_successions as (

    select
        golden_id,
        customer_id,
        valid_from,
        valid_to

    from successions

)

select * from customer_successions
