{{ config(materialized='incremental', unique_key=['as_of_month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

extracts as (

    select * from {{ ref('stg_extracts') }}

),

as_of as (

    select
        max(extract_date) as as_of_date,
        {{ month_of('max(extract_date)') }} as as_of_month

    from extracts

)

select * from as_of
