{{ config(materialized='incremental', unique_key=['currency_code', 'rate_date'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

company as (

    select * from {{ source('rules', 'company') }}

),

fx_rates as (

    select * from {{ ref('fx_rates') }}

),

mentioned_days as (

    select
        currency_code,
        invoice_date as rate_date

    from {{ ref('stg_invoices') }}

    union

    select
        currency_code,
        payment_date as rate_date

    from {{ ref('stg_payments') }}

    union

    select
        functional_currency_code as currency_code,
        effective_date as rate_date

    from {{ ref('stg_gl_entries') }}

),

foreign_days as (

    select
        mentioned_days.currency_code,
        mentioned_days.rate_date,
        company.base_currency

    from mentioned_days
    cross join company

    where
        mentioned_days.currency_code != company.base_currency
        and mentioned_days.currency_code != ''

),

-- The pair as it is quoted, else the opposite pair turned over.
conversion_rates as (

    select
        foreign_days.currency_code,
        foreign_days.rate_date,
        cast(
            case
                when direct_rates.rate is not null then {{ whole_rate('direct_rates.rate') }}
                when inverse_rates.rate is not null then {{ whole_rate('1') }}
            end
            as decimal(38, 0)
        ) as rate_numerator,
        cast(
            case
                when direct_rates.rate is not null then {{ whole_rate('1') }}
                when inverse_rates.rate is not null then {{ whole_rate('inverse_rates.rate') }}
            end
            as decimal(38, 0)
        ) as rate_denominator,
        coalesce(direct_rates.valid_from, inverse_rates.valid_from) as quoted_on,
        coalesce(direct_rates.source_instance, inverse_rates.source_instance) as source_instance,
        direct_rates.rate is null and inverse_rates.rate is not null as is_inverse

    from foreign_days
    left join fx_rates as direct_rates
        on
            foreign_days.currency_code = direct_rates.from_currency
            and foreign_days.base_currency = direct_rates.to_currency
            and foreign_days.rate_date between direct_rates.valid_from and direct_rates.valid_to
    left join fx_rates as inverse_rates
        on
            foreign_days.currency_code = inverse_rates.to_currency
            and foreign_days.base_currency = inverse_rates.from_currency
            and foreign_days.rate_date between inverse_rates.valid_from and inverse_rates.valid_to

)

select * from conversion_rates
