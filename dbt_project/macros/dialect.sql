{#
    Where DuckDB and Spark write the same thing differently, and nothing else. A macro with one body says it in a way that
    both read; the others have one body for each. A port to a third engine changes this file.

    What needs no macro, because both read it: `string` for varchar, `instr`, `date + integer`, `filter (where ...)`, qualify,
    recursive CTEs. What they read differently and no model may write: `sign` of a decimal (a double on Spark), `round` of a
    double to digits (by its decimal text on Spark), `date - date` (an interval on Spark), a division of decimals.
#}

{% macro all_columns_without(columns) -%}
    {%- if target.type == 'spark' -%}
        * except ({{ columns | join(', ') }})
    {%- else -%}
        * exclude ({{ columns | join(', ') }})
    {%- endif -%}
{%- endmacro %}

{# A whole number wide enough for cents times driver quantity: 1e13 cents x 1e12 units = 1e25. #}
{% macro wide_integer(expression) -%}
    {# Both casts round a decimal half away from zero. #}
    {%- if target.type == 'spark' -%}
        cast({{ expression }} as decimal(38, 0))
    {%- else -%}
        cast({{ expression }} as hugeint)
    {%- endif -%}
{%- endmacro %}

{# Whole part of a division of wide integers: both zero or positive, and on Spark the result below 2^63. #}
{% macro int_div(dividend, divisor) -%}
    {%- if target.type == 'spark' -%}
        (({{ dividend }}) div ({{ divisor }}))
    {%- else -%}
        ({{ dividend }}) // ({{ divisor }})
    {%- endif -%}
{%- endmacro %}

{# 1, 0 or -1. #}
{% macro sign_of(number) -%}
    {%- if target.type == 'spark' -%}
        cast(sign({{ number }}) as int)
    {%- else -%}
        sign({{ number }})
    {%- endif -%}
{%- endmacro %}

{# A double to a number of digits, half away from zero in binary arithmetic: never for money. #}
{% macro rounded_double(number, digits) -%}
    {%- if target.type == 'spark' -%}
        (round(({{ number }}) * 1e{{ digits }}, 0) / 1e{{ digits }})
    {%- else -%}
        round({{ number }}, {{ digits }})
    {%- endif -%}
{%- endmacro %}

{# Text of the year of a date. #}
{% macro year_text(day) -%}
    cast(year({{ day }}) as string)
{%- endmacro %}

{# Text with every match of a regular expression taken out. #}
{% macro without(text, pattern) -%}
    {# To Java a vertical tab is a blank and a code point not assigned yet is in C; Spark wants \ twice in a literal. #}
    {%- if target.type == 'spark' -%}
        {%- set pattern = pattern | replace('\\p{C}', '\\p{Cc}\\p{Cf}\\p{Co}') | replace('\\s', ' \\t\\n\\f\\r')
            | replace('\\', '\\\\') -%}
        regexp_replace({{ text }}, '{{ pattern }}', '')
    {%- else -%}
        regexp_replace({{ text }}, '{{ pattern }}', '', 'g')
    {%- endif -%}
{%- endmacro %}

{# Lower case, letter by letter: Java would tell a final sigma and write one Turkish letter as two. #}
{% macro lower_case(text) -%}
    {%- if target.type == 'spark' -%}
        lower(translate({{ text }}, 'Σİ', 'σi'))
    {%- else -%}
        lower({{ text }})
    {%- endif -%}
{%- endmacro %}

{# Upper case, letter by letter: Java would write ß as two. #}
{% macro upper_case(text) -%}
    {%- if target.type == 'spark' -%}
        upper(translate({{ text }}, 'ß', 'ẞ'))
    {%- else -%}
        upper({{ text }})
    {%- endif -%}
{%- endmacro %}

{# Text with accents composed, so that the same letter is the same code point. #}
{% macro composed(text) -%}
    {# Spark has no function for it but brings the library; what reflects it takes for random, and not in a join. #}
    {%- if target.type == 'spark' -%}
        try_reflect('com.ibm.icu.text.Normalizer', 'compose', {{ text }}, false)
    {%- else -%}
        nfc_normalize({{ text }})
    {%- endif -%}
{%- endmacro %}

{# HMAC-SHA256 of a text in hex, under the key of the session (its two padded forms); null when it has none. #}
{% macro keyed_hash(text) -%}
    {# Spark puts the session's settings in for ${...} when it reads the statement; both are empty without a key. #}
    {%- if target.type == 'spark' -%}
        sha2(
            unhex(nullif('${spark.whalecurve.outer_key}', ''))
            || unhex(sha2(unhex(nullif('${spark.whalecurve.inner_key}', '')) || encode({{ text }}, 'UTF-8'), 256)),
            256
        )
    {%- else -%}
        sha256(
            getvariable('whalecurve_outer_key')
            || unhex(sha256(getvariable('whalecurve_inner_key') || encode({{ text }})))
        )
    {%- endif -%}
{%- endmacro %}

{# Whole days from one date to a later one. #}
{% macro days_between(from_day, to_day) -%}
    {%- if target.type == 'spark' -%}
        cast(datediff({{ to_day }}, {{ from_day }}) as bigint)
    {%- else -%}
        (({{ to_day }}) - ({{ from_day }}))
    {%- endif -%}
{%- endmacro %}

{# The first day of the month that lies a number of months after the one given; the number may be an expression. #}
{% macro months_after(month, months) -%}
    {%- if target.type == 'spark' -%}
        add_months({{ month }}, cast({{ months }} as int))
    {%- else -%}
        cast({{ month }} + to_months(cast({{ months }} as integer)) as date)
    {%- endif -%}
{%- endmacro %}

{# A double as a decimal, the last digit rounded half away from zero in binary arithmetic. #}
{% macro decimal_of_double(number, precision, scale) -%}
    {# The rounded double is the nearest one to its decimal text, and that text is what Spark casts. #}
    {%- if target.type == 'spark' -%}
        cast({{ rounded_double(number, scale) }} as decimal({{ precision }}, {{ scale }}))
    {%- else -%}
        cast({{ number }} as decimal({{ precision }}, {{ scale }}))
    {%- endif -%}
{%- endmacro %}

{# A decimal as a person writes it: without the zeros behind its last digit, and with one where nothing is left. #}
{% macro decimal_text(number) -%}
    {%- if target.type == 'spark' -%}
        regexp_replace(regexp_replace(cast({{ number }} as string), '0+$', ''), '[.]$', '.0')
    {%- else -%}
        cast(cast({{ number }} as double) as string)
    {%- endif -%}
{%- endmacro %}

{#
    Around a common table expression that is read several times on the way to a result:

        {{ keep('steps') }} steps as (select ...) {{ kept() }},

    DuckDB computes it once by itself. Spark puts its text in wherever it is read, and of a chain of them nothing is left but
    planning: so each is written aside as a table of its own first (macros/spark.sql).
#}
{% macro keep(name) -%}
    {%- if target.type == 'spark' -%}
        /*keep {{ name }} */
    {%- endif -%}
{%- endmacro %}

{% macro kept() -%}
    {%- if target.type == 'spark' -%}
        /*kept*/
    {%- endif -%}
{%- endmacro %}
