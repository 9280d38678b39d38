{# Months, cents and driver units: the three units everything downstream is counted in. #}

{# First day of the calendar month of a date. #}
{% macro month_of(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}

{# First day of the month that lies `months` before the month given. #}
{% macro months_before(month, months) -%}
    cast({{ month }} - interval {{ months }} month as date)
{%- endmacro %}

{# Whole cents of a decimal amount, half away from zero. #}
{% macro cents(amount) -%}
    cast(round({{ amount }} * 100, 0) as bigint)
{%- endmacro %}

{# Base currency of whole cents. By multiplication: a decimal divided is a double. #}
{% macro from_cents(cents) -%}
    cast(cast({{ cents }} as decimal(20, 0)) * cast(0.01 as decimal(3, 2)) as decimal(22, 2))
{%- endmacro %}

{# Whole driver quantity of an amount: scaled by 10^decimals and rounded. #}
{% macro whole_quantity(amount, decimals) -%}
    cast(round({{ amount }} * cast(power(10, {{ decimals }}) as decimal(10, 0)), 0) as bigint)
{%- endmacro %}

{# Driver units of a whole driver quantity. #}
{% macro driver_units(quantity, decimals) -%}
    cast(
        cast({{ quantity }} as decimal(20, 0))
        * cast(power(10, -1 * {{ decimals }}) as decimal(7, 6))
        as decimal(26, 6)
    )
{%- endmacro %}

{# An amount as a person writes it in a sentence: two decimals, and more only where there are more. #}
{% macro amount_text(amount) -%}
    case
        when {{ amount }} = round({{ amount }}, 2)
            then cast(cast({{ amount }} as decimal(22, 2)) as string)
        else cast(cast({{ amount }} as decimal(22, 4)) as string)
    end
{%- endmacro %}

{# The year and month of a date, as in 2026-06. #}
{% macro month_text(day) -%}
    substr(cast({{ day }} as string), 1, 7)
{%- endmacro %}

{# Where a row came from. #}
{% macro place_text(file, row) -%}
    coalesce({{ file }}, 'no file') || coalesce(' line ' || {{ row }}, '')
{%- endmacro %}
