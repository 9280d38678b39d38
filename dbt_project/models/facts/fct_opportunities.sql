with

opportunities as (

    select * from {{ ref('stg_opportunities') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

fx_rates as (

    select * from {{ ref('fx_rates') }}

),

-- What will be paid one day is worth what it is worth today: no rate of a day to come is known.
dated_opportunities as (

    select
        opportunities.*,
        company.base_currency,
        coalesce(
            cast(opportunities.created_at as date), opportunities.close_date, opportunities.extract_date
        ) as created_date,
        least(coalesce(opportunities.close_date, as_of.as_of_date), as_of.as_of_date) as rate_date

    from opportunities
    cross join as_of
    cross join company

    where not coalesce(opportunities.is_deleted, false)

),

-- The pair as it is quoted, else the opposite pair turned over. Without a currency it is base currency.
rated_opportunities as (

    select
        dated_opportunities.source_instance,
        dated_opportunities.opportunity_id,
        {{ resolved_customer('dated_opportunities') }} as customer_id,
        dated_opportunities.stage_class,
        dated_opportunities.stage_source,
        dated_opportunities.probability,
        dated_opportunities.created_date,
        dated_opportunities.close_date,
        dated_opportunities.lead_source,
        dated_opportunities.campaign_id,
        dated_opportunities.owner_ref,
        dated_opportunities.currency_code,
        dated_opportunities.amount,
        case
            when coalesce(dated_opportunities.currency_code, '') in ('', dated_opportunities.base_currency)
                then {{ wide_integer(1) }}
            when direct_rates.rate is not null then {{ whole_rate('direct_rates.rate') }}
            when inverse_rates.rate is not null then {{ whole_rate('1') }}
        end as rate_numerator,
        case
            when coalesce(dated_opportunities.currency_code, '') in ('', dated_opportunities.base_currency)
                then {{ wide_integer(1) }}
            when direct_rates.rate is not null then {{ whole_rate('1') }}
            when inverse_rates.rate is not null then {{ whole_rate('inverse_rates.rate') }}
        end as rate_denominator

    from dated_opportunities
    {{ join_customer_keys('dated_opportunities', on='dated_opportunities.created_date') }}
    left join fx_rates as direct_rates
        on
            dated_opportunities.currency_code = direct_rates.from_currency
            and dated_opportunities.base_currency = direct_rates.to_currency
            and dated_opportunities.rate_date >= direct_rates.valid_from
            and dated_opportunities.rate_date <= direct_rates.valid_to
    left join fx_rates as inverse_rates
        on
            dated_opportunities.currency_code = inverse_rates.to_currency
            and dated_opportunities.base_currency = inverse_rates.from_currency
            and dated_opportunities.rate_date >= inverse_rates.valid_from
            and dated_opportunities.rate_date <= inverse_rates.valid_to

),

opportunities_in_base_currency as (

    select
        source_instance,
        opportunity_id,
        customer_id,
        stage_class,
        stage_source,
        probability,
        created_date,
        close_date,
        lead_source,
        campaign_id,
        owner_ref,
        currency_code,
        cast(case when rate_numerator is not null then {{ converted('amount') }} end as decimal(22, 4)) as amount,
        amount is not null and rate_numerator is null as is_unconverted

    from rated_opportunities

)

select * from opportunities_in_base_currency
