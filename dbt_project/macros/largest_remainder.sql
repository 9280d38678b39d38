{#
    Divide the cents of every group among its receivers by largest remainder: every cent is given out, none is invented.

    Takes a relation of receivers with the group's columns, receiver_id, quantity (whole, > 0) and amount_cents (the
    whole amount of the group, the same on each of its rows; may be negative). Adds total_quantity, rounding_cents and
    received_cents, where

        received_cents = sign * (|amount_cents| * quantity div total_quantity) + rounding_cents

    and rounding_cents is sign * 1 for the receivers with the largest remainders, until the amount is used up. Ties go
    to the larger quantity, then to the receiver id that sorts first. Dividing the magnitude and giving the sign back
    makes the division of -A exactly the opposite of the division of A: a reversal cancels receiver by receiver.
#}
{% macro largest_remainder(receivers, group_by) -%}
with

totals as (

    select
        *,
        cast(sum(quantity) over (partition by {{ group_by | join(', ') }}) as bigint)
            as total_quantity,
        {{ wide_integer('abs(amount_cents)') }} * {{ wide_integer('quantity') }} as product

    from {{ receivers }}

),

parts as (

    select
        *,
        {{ int_div('product', wide_integer('total_quantity')) }} as whole_cents,
        product % {{ wide_integer('total_quantity') }} as remainder

    from totals

),

ranked as (

    select
        *,
        abs(amount_cents) - sum(whole_cents) over (partition by {{ group_by | join(', ') }})
            as leftover_cents,
        row_number() over (
            partition by {{ group_by | join(', ') }}
            order by remainder desc, quantity desc, receiver_id asc
        ) as remainder_rank

    from parts

),

signed as (

    select
        {{ group_by | join(', ') }},
        receiver_id,
        quantity,
        total_quantity,
        amount_cents,
        cast({{ sign_of('amount_cents') }} * whole_cents as bigint) as whole_cents,
        cast(
            case when remainder_rank <= leftover_cents then {{ sign_of('amount_cents') }} else 0 end
            as bigint
        ) as rounding_cents

    from ranked

)

select
    {{ group_by | join(', ') }},
    receiver_id,
    quantity,
    total_quantity,
    amount_cents,
    whole_cents + rounding_cents as received_cents,
    rounding_cents

from signed
{%- endmacro %}
