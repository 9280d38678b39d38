{{ config(
    materialized='incremental',
    unique_key=['source_instance', 'key_kind', 'customer_key'],
    post_hook='{{ record_build() }}'
) }}
{%- do plan_build(whole=true) %}

with

customer_xref as (

    select * from {{ ref('customer_xref') }}

),

known_keys as (

    select
        source_instance,
        key_kind,
        source_customer_key as customer_key,
        customer_id,
        match_method,
        coalesce(valid_from, {{ ever() }}) as valid_from,
        coalesce(valid_to, {{ forever() }}) as valid_to

    from customer_xref

    where match_method != 'unknown'

)

select * from known_keys
