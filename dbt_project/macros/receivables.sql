-- noqa: disable=LT02
{#
    What is owed, and for how long. An open item is worth its amount at the end of every day from the day of its document up to the
    day before it is cleared; it is n days overdue n days after its due date.
#}

{# Years of history that are kept day by day. What is older counts from the first day of them. #}
{% macro receivable_history_months() -%}120{%- endmacro %}

{#
    Debits and credits of one group set off against each other, each side in the order of its dates: CTE `<parts>` of the CTEs
    `<debits>` and `<credits>`, which name `group_by`, source_instance, document_kind, document_id, document_date and amount (above 0).

    Both sides are laid end to end from zero; between two neighbouring ends lies what one debit and one credit share.
    So it takes sorting and no loop, and nothing is multiplied: a document has as many parts as there are others in it.
#}
{% macro set_off(debits, credits, parts, group_by) -%}
{%- set keys = group_by | join(', ') -%}
{%- set in_order = 'partition by ' ~ keys ~ ' order by document_date, source_instance, document_kind, document_id' -%}
{% for side in ['debit', 'credit'] -%}
laid_{{ parts }}_{{ side }}s as (

    select
        *,
        row_number() over ({{ in_order }}) as position,
        sum(amount) over ({{ in_order }} rows unbounded preceding) as reached

    from {{ debits if side == 'debit' else credits }}

),

{% endfor -%}
{{ parts }}_ends as (

    select {{ keys }}, 0 as side, reached, position as debit_position, cast(null as bigint) as credit_position
    from laid_{{ parts }}_debits
    union all
    select {{ keys }}, 1 as side, reached, cast(null as bigint) as debit_position, position as credit_position
    from laid_{{ parts }}_credits

),

{{ parts }}_pieces as (

    select
        {{ keys }},
        reached - coalesce(lag(reached) over (partition by {{ keys }} order by reached, side), 0) as amount,
        min(debit_position) over (
            partition by {{ keys }} order by reached, side rows between current row and unbounded following
        ) as debit_position,
        min(credit_position) over (
            partition by {{ keys }} order by reached, side rows between current row and unbounded following
        ) as credit_position

    from {{ parts }}_ends

),

{{ keep(parts) }} {{ parts }} as (

    select
        debits.customer_id,
        debits.source_instance,
        debits.document_kind,
        debits.document_id,
        credits.source_instance as credit_source_instance,
        credits.document_kind as credit_kind,
        credits.document_id as credit_id,
        greatest(debits.document_date, credits.document_date) as cleared_date,
        cast(pieces.amount as decimal(22, 4)) as amount

    from {{ parts }}_pieces as pieces
    inner join laid_{{ parts }}_debits as debits
        on
            {% for key in group_by %}
            pieces.{{ key }} = debits.{{ key }} and
            {% endfor %}
            pieces.debit_position = debits.position
    inner join laid_{{ parts }}_credits as credits
        on
            {% for key in group_by %}
            pieces.{{ key }} = credits.{{ key }} and
            {% endfor %}
            pieces.credit_position = credits.position

    where pieces.amount > 0

) {{ kept() }}
{%- endmacro %}

{# A balance as days of the sales of three months; null without sales. #}
{% macro days_of_sales(balance) -%}
    case
        when laid_out.sales_3m > 0
            then {{ rounded_double(
                'cast(' ~ balance ~ ' as double) * cast(laid_out.days_3m as double) / cast(laid_out.sales_3m as double)', 2
            ) }}
    end
{%- endmacro %}

{# Days weighted by amount; null without an amount. #}
{% macro weighted_days(days_amount, amount) -%}
    case
        when {{ amount }} > 0
            then {{ rounded_double('cast(' ~ days_amount ~ ' as double) / cast(' ~ amount ~ ' as double)', 2) }}
    end
{%- endmacro %}
