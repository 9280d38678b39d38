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
