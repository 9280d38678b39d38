{#
    Where DuckDB and other engines write the same thing differently, and nothing else.
    A port to another engine (Spark: `* except`, decimal(38, 0), `div`) changes this file.
#}

{% macro all_columns_without(columns) -%}
    * exclude ({{ columns | join(', ') }})
{%- endmacro %}

{# A whole number wide enough for cents times driver quantity: 1e13 cents x 1e12 units = 1e25. #}
{% macro wide_integer(expression) -%}
    cast({{ expression }} as hugeint)
{%- endmacro %}

{# Whole part of a division of wide integers; both operands must be zero or positive. #}
{% macro int_div(dividend, divisor) -%}
    ({{ dividend }}) // ({{ divisor }})
{%- endmacro %}

{# Text of the year of a date. #}
{% macro year_text(day) -%}
    cast(year({{ day }}) as varchar)
{%- endmacro %}

{# Text with every match of a regular expression taken out (Spark replaces all without being told). #}
{% macro without(text, pattern) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '', 'g')
{%- endmacro %}

{# Text with accents composed, so that the same letter is the same code point. #}
{% macro composed(text) -%}
    nfc_normalize({{ text }})
{%- endmacro %}

{# HMAC-SHA256 of a text in hex, under the key of the session (its two padded forms); null when it has none. #}
{% macro keyed_hash(text) -%}
    sha256(
        getvariable('whalecurve_outer_key')
        || unhex(sha256(getvariable('whalecurve_inner_key') || encode({{ text }})))
    )
{%- endmacro %}

{# Whole days from one date to a later one. #}
{% macro days_between(from_day, to_day) -%}
    (({{ to_day }}) - ({{ from_day }}))
{%- endmacro %}

{# The first day of the month that lies a number of months after the one given; the number may be an expression. #}
{% macro months_after(month, months) -%}
    cast({{ month }} + to_months(cast({{ months }} as integer)) as date)
{%- endmacro %}
