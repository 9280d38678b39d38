{#
    Money is neither made nor lost: per period (and whatever else `per` names) the sum here is the sum there, to the
    last digit. Both sides may be expressions; `where` and `there_where` restrict a side.
#}
{% test conserves(
    model, amount, there, per=['month'], there_amount=none, there_per=none, where='true', there_where='true'
) -%}

with

amounts as (

    select
        0 as amount_there,
        {{ amount }} as amount_here,
        {% for expression in per %}
        {{ expression }} as key_{{ loop.index }}{{ ',' if not loop.last }}
        {% endfor %}

    from {{ model }}

    where {{ where }}

    union all

    select
        {{ there_amount or amount }} as amount_there,
        0 as amount_here,
        {% for expression in there_per or per %}
        {{ expression }} as key_{{ loop.index }}{{ ',' if not loop.last }}
        {% endfor %}

    from {{ there }}

    where {{ there_where }}

),

sums as (

    select
        {% for expression in per %}
        key_{{ loop.index }},
        {% endfor %}
        sum(amount_here) as sum_here,
        sum(amount_there) as sum_there

    from amounts

    group by {% for expression in per %}key_{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}

)

select * from sums
where sum_here != sum_there

{%- endtest %}
