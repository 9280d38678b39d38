with

spot_rates as (

    select * from {{ ref('stg_fx_rates') }}

    where
        rate_type = 'spot'
        and rate > 0
        and from_currency != to_currency

),

-- Two sources may quote the same pair on the same day: names decide, so that the choice is the same every time.
quoted_rates as (

    select * from spot_rates
    qualify row_number() over (
        partition by from_currency, to_currency, rate_date
        order by source_instance asc
    ) = 1

),

next_rates as (

    select
        *,
        lead(rate_date) over (partition by from_currency, to_currency order by rate_date asc)
            as next_rate_date

    from quoted_rates

),

-- Weekends and holidays have no rate of their own; after a month without one, none is better than a stale one.
fx_rates as (

    select
        from_currency,
        to_currency,
        rate_type,
        rate_date as valid_from,
        least(
            cast(rate_date + interval {{ rate_holds_days() | int - 1 }} day as date),
            coalesce(
                cast(next_rate_date - interval 1 day as date),
                cast(rate_date + interval {{ rate_holds_days() | int - 1 }} day as date)
            )
        ) as valid_to,
        rate,
        source_instance

    from next_rates

)

select * from fx_rates
