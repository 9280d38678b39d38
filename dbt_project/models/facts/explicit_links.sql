with

customer_records as (

    select * from {{ ref('customer_records') }}

),

-- The company's own file comes first, there what names a source before what does not; then what sources deliver.
declared_links as (

    select
        case when source is null then 2 else 1 end as layer,
        source as source_instance,
        source_customer_key,
        key_kind,
        customer_id,
        valid_from,
        valid_to,
        cast(position as string) as tie_break

    from {{ source('rules', 'customer_links') }}

    union all

    select
        3 as layer,
        cast(null as string) as source_instance,
        source_customer_key,
        key_kind,
        customer_account_id as customer_id,
        valid_from,
        valid_to,
        source_instance as tie_break

    from {{ ref('stg_customer_xrefs') }}

),

-- A name may be given by its key, so that a file need not hold anybody's name.
keyed_links as (

    select
        layer,
        source_instance,
        key_kind,
        case
            when key_kind = 'name' and source_customer_key like 'name:%' then source_customer_key
            when key_kind = 'name' then {{ name_key('source_customer_key') }}
            when key_kind = 'tin' then {{ normalised_tax_id('source_customer_key') }}
            else source_customer_key
        end as customer_key,
        customer_id as named_customer,
        coalesce(valid_from, {{ ever() }}) as valid_from,
        coalesce(valid_to, {{ forever() }}) as valid_to,
        tie_break

    from declared_links

),

-- Of several links of a key from the same day, the order of the sources' names decides.
distinct_links as (

    select *
    from keyed_links

    where customer_key is not null

    qualify row_number() over (
        partition by layer, source_instance, key_kind, customer_key, valid_from
        order by tie_break, named_customer
    ) = 1

),

-- A later link of a key ends an earlier one.
successive_links as (

    select
        layer,
        source_instance,
        key_kind,
        customer_key,
        named_customer,
        valid_from,
        least(
            valid_to,
            coalesce(
                lead(valid_from) over (
                    partition by layer, source_instance, key_kind, customer_key order by valid_from
                ) - 1,
                {{ forever() }}
            )
        ) as valid_to

    from distinct_links

),

-- A link may name its customer by the id we publish, by account code, by a source's id or by `<source>:<id>`.
names_of_customers as (

    select
        golden_id as named_customer,
        golden_id,
        1 as precedence
    from customer_records

    union all

    select
        account_code as named_customer,
        min(golden_id) as golden_id,
        2 as precedence
    from customer_records
    where account_code is not null
    group by account_code
    having count(distinct golden_id) = 1

    union all

    select
        customer_id as named_customer,
        min(golden_id) as golden_id,
        3 as precedence
    from customer_records
    group by customer_id
    having count(distinct golden_id) = 1

    union all

    select
        source_instance || ':' || customer_id as named_customer,
        golden_id,
        4 as precedence
    from customer_records

),

named_customers as (

    select
        named_customer,
        golden_id

    from names_of_customers

    qualify row_number() over (partition by named_customer order by precedence asc, golden_id asc) = 1

),

explicit_links as (

    select
        successive_links.layer,
        successive_links.source_instance,
        successive_links.key_kind,
        successive_links.customer_key,
        coalesce(named_customers.golden_id, successive_links.named_customer) as customer_id,
        successive_links.valid_from,
        successive_links.valid_to

    from successive_links
    left join named_customers
        on successive_links.named_customer = named_customers.named_customer

    where successive_links.valid_to >= successive_links.valid_from

)

select * from explicit_links
