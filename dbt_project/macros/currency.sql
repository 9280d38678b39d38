-- noqa: disable=LT02
{#
    Money of another currency in base currency, to four decimals, half away from zero.

    A rate is a fraction of two whole numbers, because the inverse of a rate and the rate a document implies have no end of
    decimals. It comes from the document before it comes from a table of rates:

        1. the amount in base currency the source gives beside the document's own
        2. the exchange rate the source gives
        3. of an invoice, the gross amount in base currency the source gives
        4. none is needed: the currency is the base currency, or none is said
        5. the dated rate of facts.conversion_rates

    What has none of these is left out of its fact and listed in facts.unconverted_amounts. In a model:

        from {{ ref('stg_payments') }} as payments
        {{ join_conversion_rates('payments', 'currency_code', 'payment_date') }}
        ... select {{ document_rate('payments', ['amount', 'functional_amount']) }}
        ... where {{ rate_problem('payments', ['amount', 'functional_amount']) }} is null

    which adds rate_numerator and rate_denominator.
#}

{% macro join_conversion_rates(relation, currency, day) -%}
    left join {{ ref('conversion_rates') }} as conversion_rates
        on
            {{ relation }}.{{ currency }} = conversion_rates.currency_code
            and {{ relation }}.{{ day }} = conversion_rates.rate_date
{%- endmacro %}

{#
    Why an amount cannot be converted; null when it can. `amounts` is the document's amount and the one in base
    currency.
#}
{% macro rate_problem(relation, amounts, gross_amounts=none) -%}
{%- set amount, functional = relation ~ '.' ~ amounts[0], relation ~ '.' ~ amounts[1] -%}
    case
        when sign({{ functional }}) != sign({{ amount }})
            then 'the amount given in base currency has another sign than the amount itself'
        {% if gross_amounts %}
        when sign({{ relation }}.{{ gross_amounts[1] }}) != sign({{ relation }}.{{ gross_amounts[0] }})
            then 'the gross amount given in base currency has another sign than the gross amount itself'
        {% endif %}
        when
            {{ _rate_comes_from(relation, amounts, gross_amounts) }} = 'conversion_rates'
            and conversion_rates.rate_numerator is null
            then '{{ no_rate() }}'
    end
{%- endmacro %}

{% macro no_rate() -%}
    no rate of the day or the {{ rate_holds_days() | int - 1 }} days before it
{%- endmacro %}

{% macro document_rate(relation, amounts, gross_amounts=none) -%}
    case {{ _rate_comes_from(relation, amounts, gross_amounts) }}
        when 'amount' then {{ whole_amount('abs(' ~ relation ~ '.' ~ amounts[1] ~ ')') }}
        when 'exchange_rate' then {{ whole_rate(relation ~ '.exchange_rate') }}
        {% if gross_amounts %}
        when 'gross_amount' then {{ whole_amount('abs(' ~ relation ~ '.' ~ gross_amounts[1] ~ ')') }}
        {% endif %}
        when 'conversion_rates' then {{ wide_integer('conversion_rates.rate_numerator') }}
        else {{ wide_integer(1) }}
    end as rate_numerator,
    case {{ _rate_comes_from(relation, amounts, gross_amounts) }}
        when 'amount' then {{ whole_amount('abs(' ~ relation ~ '.' ~ amounts[0] ~ ')') }}
        when 'exchange_rate' then {{ whole_rate('1') }}
        {% if gross_amounts %}
        when 'gross_amount' then {{ whole_amount('abs(' ~ relation ~ '.' ~ gross_amounts[0] ~ ')') }}
        {% endif %}
        when 'conversion_rates' then {{ wide_integer('conversion_rates.rate_denominator') }}
        else {{ wide_integer(1) }}
    end as rate_denominator
{%- endmacro %}

{% macro _rate_comes_from(relation, amounts, gross_amounts) -%}
    (case
        when {{ relation }}.{{ amounts[1] }} is not null and {{ relation }}.{{ amounts[0] }} != 0 then 'amount'
        when {{ relation }}.exchange_rate > 0 then 'exchange_rate'
        {% if gross_amounts %}
        when {{ relation }}.{{ gross_amounts[1] }} is not null and {{ relation }}.{{ gross_amounts[0] }} != 0
            then 'gross_amount'
        {% endif %}
        when conversion_rates.currency_code is not null then 'conversion_rates'
        else 'base'
    end)
{%- endmacro %}

{# How many days a rate holds when no newer one comes. #}
{% macro rate_holds_days() -%}31{%- endmacro %}

{# Whole ten-thousandths of an amount. #}
{% macro whole_amount(amount) -%}
    {{ wide_integer('(' ~ amount ~ ') * 10000') }}
{%- endmacro %}

{# A rate as the numerator of a fraction; whole_rate('1') is its denominator. #}
{% macro whole_rate(rate) -%}
    {{ wide_integer('cast(' ~ rate ~ ' as decimal(20, 10)) * 10000000000') }}
{%- endmacro %}

{# An amount times a rate. By whole numbers: a decimal divided is a double. #}
{% macro converted(amount, numerator='rate_numerator', denominator='rate_denominator') -%}
{%- set numerator, denominator = wide_integer(numerator), wide_integer(denominator) -%}
{%- set doubled = '2 * ' ~ whole_amount('abs(' ~ amount ~ ')') ~ ' * ' ~ numerator ~ ' + ' ~ denominator -%}
    case
        when {{ numerator }} = {{ denominator }} then {{ amount }}
        else cast(
            {{ sign_of(amount) }}
            * cast({{ int_div(doubled, '2 * ' ~ denominator) }} as decimal(30, 0))
            * cast(0.0001 as decimal(5, 4))
            as decimal(22, 4)
        )
    end
{%- endmacro %}

{#
    What is missing when parts are converted one by one: their converted sum less the sum of the converted. It goes onto the
    largest part of the group, the first by `part` of equals. Takes a relation of parts with amount, converted_amount,
    rate_numerator and rate_denominator; gives a row for every group with something missing.
#}
{% macro conversion_rests(parts, group_by, part) -%}
with

sums as (

    select
        {{ group_by | join(', ') }},
        {{ part }},
        sum(amount) over (partition by {{ group_by | join(', ') }}) as amount,
        sum(converted_amount) over (partition by {{ group_by | join(', ') }}) as converted_amount,
        row_number() over (
            partition by {{ group_by | join(', ') }}
            order by abs(converted_amount) desc, {{ part }} asc
        ) as size_rank,
        rate_numerator,
        rate_denominator

    from {{ parts }}

    where rate_numerator != rate_denominator

),

rests as (

    select
        {{ group_by | join(', ') }},
        {{ part }},
        {{ converted('amount') }} - converted_amount as rest

    from sums

    where size_rank = 1

)

select * from rests
where rest != 0
{%- endmacro %}
