{#
    Which records are one customer, by what the sources themselves say. Nobody's decision is in here: links and their
    days come after (customer_xref), so that taking a link back leaves what was here before it.

    A `node` is a customer in the making: `:<account code>`, or `<source>:<id>` of the record that stands for those
    without a code. A source's name never begins with a colon.
#}
{%- set last_position = 4 -%}

with recursive

matching_order as (

    select
        position,
        method

    from {{ source('rules', 'matching_order') }}

),

-- Without shared_id a code or an id means something in its own source only.
shared_ids as (

    select count(*) > 0 as are_shared
    from matching_order
    where method = 'shared_id'

),

{{ keep('records') }} records as (

    select
        customers.source_instance,
        customers.customer_id,
        customers.source_instance || ':' || customers.customer_id as record_key,
        customers.customer_account_id as source_code,
        case
            when shared_ids.are_shared then customers.customer_account_id
            else customers.source_instance || ':' || customers.customer_account_id
        end as account_code,
        {{ normalised_tax_id('customers.customer_tin') }} as tax_id,
        {{ name_key('customers.customer_name') }} as name_key,
        customers.source_instance || ':' || nullif(customers.merged_into, customers.customer_id) as merged_key,
        shared_ids.are_shared

    from {{ ref('stg_customers') }} as customers
    cross join shared_ids

) {{ kept() }},

-- Merged accounts: from each one to whom it was merged into, and on until nobody follows or somebody comes again.
{{ keep('merge_steps') }} merge_steps as (

    select
        record_key,
        merged_key as at_key,
        chr(31) || record_key || chr(31) || merged_key || chr(31) as way

    from records

    where merged_key is not null

    union all

    select
        merge_steps.record_key,
        records.merged_key as at_key,
        merge_steps.way || records.merged_key || chr(31) as way

    from merge_steps
    inner join records
        on merge_steps.at_key = records.record_key

    where
        records.merged_key is not null
        and instr(merge_steps.way, chr(31) || records.merged_key || chr(31)) = 0

) {{ kept() }},

merged_in_a_circle as (

    select distinct merge_steps.record_key
    from merge_steps
    inner join records
        on merge_steps.at_key = records.record_key
    where records.merged_key = merge_steps.record_key

),

-- The account a merged one became; in a circle, the smallest of it.
survivors as (

    select
        merge_steps.record_key,
        coalesce(
            min(merge_steps.at_key) filter (where records.merged_key is null),
            least(
                min(merge_steps.at_key) filter (where at_circle.record_key is not null),
                min(own_circle.record_key)
            ),
            min(merge_steps.at_key) filter (where at_circle.record_key is not null)
        ) as survivor_key

    from merge_steps
    left join records
        on merge_steps.at_key = records.record_key
    left join merged_in_a_circle as at_circle
        on merge_steps.at_key = at_circle.record_key
    left join merged_in_a_circle as own_circle
        on merge_steps.record_key = own_circle.record_key

    group by merge_steps.record_key

),

{{ keep('accounts') }} accounts as (

    select
        records.*,
        coalesce(survivors.survivor_key, records.record_key) as survivor_key,
        survivors.survivor_key is not null and survivors.survivor_key != records.record_key as is_merged

    from records
    left join survivors
        on records.record_key = survivors.record_key

) {{ kept() }},

-- An account and those merged into it have one code: its own, else the smallest of theirs.
account_codes as (

    select
        survivor_key,
        coalesce(
            min(account_code) filter (where not is_merged),
            min(account_code)
        ) as account_code

    from accounts

    group by survivor_key

),

-- A code whose accounts were merged away follows them, unless their own source still uses it for somebody.
{{ keep('merged_codes') }} merged_codes as (

    select
        merged.account_code,
        min(account_codes.account_code) as next_code

    from accounts as merged
    inner join account_codes
        on merged.survivor_key = account_codes.survivor_key
    left join accounts as living
        on
            merged.source_instance = living.source_instance
            and merged.account_code = living.account_code
            and not living.is_merged

    where
        merged.is_merged
        and merged.account_code is not null

    group by merged.account_code

    having
        count(living.record_key) = 0
        and count(distinct account_codes.account_code) = 1
        and min(account_codes.account_code) != merged.account_code

) {{ kept() }},

{{ keep('code_merges') }} code_merges as (

    select
        account_code,
        next_code as at_code,
        chr(31) || account_code || chr(31) || next_code || chr(31) as way,
        1 as step

    from merged_codes

    union all

    select
        code_merges.account_code,
        merged_codes.next_code as at_code,
        code_merges.way || merged_codes.next_code || chr(31) as way,
        code_merges.step + 1 as step

    from code_merges
    inner join merged_codes
        on code_merges.at_code = merged_codes.account_code

    where instr(code_merges.way, chr(31) || merged_codes.next_code || chr(31)) = 0

) {{ kept() }},

-- Two sources that merge two codes in opposite directions leave both as they are.
surviving_codes as (

    select
        code_merges.account_code,
        max_by(code_merges.at_code, code_merges.step) as survivor_code

    from code_merges
    left join merged_codes
        on code_merges.at_code = merged_codes.account_code

    group by code_merges.account_code

    having count(merged_codes.account_code) < count(*)

),

-- What the sources' merges and account codes say; what follows joins those that have no code.
{{ keep('matched_0') }} matched_0 as (

    select
        accounts.record_key,
        coalesce(
            ':' || coalesce(surviving_codes.survivor_code, account_codes.account_code),
            accounts.survivor_key
        ) as node,
        case
            when accounts.is_merged then 'merged_into'
            when surviving_codes.survivor_code is not null then 'merged_into'
            when account_codes.account_code is not null and accounts.are_shared then 'shared_id'
        end as match_method

    from accounts
    inner join account_codes
        on accounts.survivor_key = account_codes.survivor_key
    left join surviving_codes
        on account_codes.account_code = surviving_codes.account_code

) {{ kept() }},

known_codes as (

    select distinct account_code
    from records
    where account_code is not null

),

-- One name with two tax numbers is two customers, whatever the name says.
contradicted_names as (

    select name_key
    from records
    group by name_key
    having count(distinct tax_id) > 1

),

-- By which values a record can be the same customer as another one. An id that is a code means that code.
{{ keep('match_values') }} match_values as (

    select
        records.record_key,
        'shared_id' as matched_by,
        records.customer_id as match_value

    from records
    left join known_codes
        on records.customer_id = known_codes.account_code

    where records.account_code is null or known_codes.account_code is null

    union all

    select
        record_key,
        'shared_id' as matched_by,
        account_code as match_value

    from records

    where account_code is not null

    union all

    select
        record_key,
        'tax_id' as matched_by,
        tax_id as match_value

    from records

    where tax_id is not null

    union all

    select
        records.record_key,
        'name' as matched_by,
        records.name_key as match_value

    from records
    left join contradicted_names
        on records.name_key = contradicted_names.name_key

    where records.name_key is not null and contradicted_names.name_key is null

) {{ kept() }},

{% for position in range(2, last_position + 1) %}
    {%- set before = position - 2 -%}
    {%- set after = position - 1 -%}
    {{ matching_step(before, after, position) }}

{% endfor -%}

-- The id of a customer without code is that of its record, with the source where the id alone means somebody else.
id_nodes as (

    select
        records.customer_id,
        min(final_nodes.node) as node,
        count(distinct final_nodes.node) as node_count

    from matched_{{ last_position - 1 }} as final_nodes
    inner join records
        on final_nodes.record_key = records.record_key

    group by records.customer_id

),

node_ids as (

    select distinct
        final_nodes.node,
        case
            when substr(final_nodes.node, 1, 1) = ':' then substr(final_nodes.node, 2)
            when not shared_ids.are_shared then final_nodes.node
            when known_codes.account_code is not null then final_nodes.node
            when id_nodes.node_count > 1 or id_nodes.node != final_nodes.node then final_nodes.node
            else substr(final_nodes.node, instr(final_nodes.node, ':') + 1)
        end as golden_id

    from matched_{{ last_position - 1 }} as final_nodes
    cross join shared_ids
    left join known_codes
        on substr(final_nodes.node, instr(final_nodes.node, ':') + 1) = known_codes.account_code
    left join id_nodes
        on substr(final_nodes.node, instr(final_nodes.node, ':') + 1) = id_nodes.customer_id

),

customer_records as (

    select
        accounts.source_instance,
        accounts.customer_id,
        node_ids.golden_id,
        accounts.source_code as account_code,
        substr(final_nodes.node, 1, 1) = ':' as has_account_code,
        accounts.tax_id,
        accounts.name_key,
        coalesce(final_nodes.match_method, 'source_id') as match_method,
        case
            when accounts.is_merged then substr(accounts.survivor_key, instr(accounts.survivor_key, ':') + 1)
        end as merged_into

    from accounts
    inner join matched_{{ last_position - 1 }} as final_nodes
        on accounts.record_key = final_nodes.record_key
    inner join node_ids
        on final_nodes.node = node_ids.node

)

select * from customer_records
