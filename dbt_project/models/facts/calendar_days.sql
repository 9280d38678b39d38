{{ config(materialized='table' if target.type == 'spark' else 'view') }}

with

as_of as (

    select * from {{ ref('as_of') }}

),

digits as (

    {% for digit in range(10) %}
        select {{ digit }} as digit
        {{ 'union all' if not loop.last }}
    {% endfor %}

),

days_back as (

    select ones.digit + 10 * tens.digit + 100 * hundreds.digit + 1000 * thousands.digit as day_count
    from digits as ones
    cross join digits as tens
    cross join digits as hundreds
    cross join digits as thousands

),

calendar_days as (

    select cast(as_of.as_of_date - days_back.day_count as date) as calendar_day
    from as_of
    cross join days_back

)

select * from calendar_days
