with

customers as (

    select
        *,
        coalesce(customer_account_id, customer_id) as golden_id

    from {{ ref('stg_customers') }}

),

customer_xrefs as (

    select * from {{ ref('stg_customer_xrefs') }}

),

account_codes as (

    select distinct customer_account_id as customer_key
    from customers
    where customer_account_id is not null

),

-- A source id stands for a customer everywhere only when all sources that use it mean the same one.
shared_source_ids as (

    select
        customer_id as customer_key,
        min(golden_id) as customer_id

    from customers

    group by customer_id

    having count(distinct golden_id) = 1

),

-- A link may name its customer by account code or by source id. Of several links of one key the latest one holds.
links as (

    select
        customer_xrefs.source_customer_key as customer_key,
        coalesce(
            account_codes.customer_key,
            shared_source_ids.customer_id,
            customer_xrefs.customer_account_id
        ) as customer_id

    from customer_xrefs
    left join account_codes
        on customer_xrefs.customer_account_id = account_codes.customer_key
    left join shared_source_ids
        on customer_xrefs.customer_account_id = shared_source_ids.customer_key

    qualify row_number() over (
        partition by customer_xrefs.source_customer_key
        order by
            customer_xrefs.valid_from desc nulls last,
            customer_xrefs.key_kind asc,
            customer_xrefs.source_instance asc
    ) = 1

),

candidates as (

    select
        customer_key,
        customer_id,
        'xref' as match_method,
        1 as precedence

    from links

    union all

    select
        customer_key,
        customer_key as customer_id,
        'account_code' as match_method,
        2 as precedence

    from account_codes

    union all

    select
        customer_key,
        customer_id,
        'source_id' as match_method,
        3 as precedence

    from shared_source_ids

),

shared_keys as (

    select
        customer_key,
        customer_id,
        match_method

    from candidates

    qualify row_number() over (partition by customer_key order by precedence asc) = 1

),

-- An id that means somebody else elsewhere is known together with its source, and there it comes first.
own_keys as (

    select
        customers.source_instance || ':' || customers.customer_id as customer_key,
        customers.golden_id as customer_id,
        'source_id' as match_method

    from customers
    left join shared_keys
        on customers.customer_id = shared_keys.customer_key

    where
        shared_keys.customer_id is null
        or (
            shared_keys.match_method = 'account_code'
            and shared_keys.customer_id != customers.golden_id
        )

),

all_keys as (

    select * from shared_keys
    union all
    select * from own_keys

)

select * from all_keys
