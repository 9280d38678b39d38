{{ config(materialized='incremental', unique_key=['product_id'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

products as (

    select * from {{ ref('stg_products') }}

),

-- Two sources that know the same product: the one that learned of it last describes it.
one_per_product as (

    select
        product_id,
        product_code,
        product_name,
        product_family,
        list_price,
        standard_cost

    from products

    qualify row_number() over (
        partition by product_id
        order by extract_date desc, source_instance asc
    ) = 1

)

select * from one_per_product
