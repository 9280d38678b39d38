{#
    Whole cents times quantity / total, half a cent away from zero. Cents may be negative, quantities (decimals of up to
    six digits after the point) may not; null where something is missing or the total is 0.
#}
{% macro rounded_share(amount_cents, quantity, total_quantity) -%}
    cast(
        {{ sign_of(amount_cents) }} * {{ int_div(
            wide_integer('abs(' ~ amount_cents ~ ')') ~ ' * ' ~ wide_integer(quantity ~ ' * 1000000') ~ ' * 2 + '
            ~ wide_integer(total_quantity ~ ' * 1000000'),
            'nullif(' ~ wide_integer(total_quantity ~ ' * 1000000') ~ ', 0) * 2',
        ) }}
        as bigint
    )
{%- endmacro %}
