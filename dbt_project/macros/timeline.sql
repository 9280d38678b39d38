{# Open ends of a period, as days that can be compared. #}
{% macro ever() -%}
    cast('0001-01-01' as date)
{%- endmacro %}

{% macro forever() -%}
    cast('9999-12-31' as date)
{%- endmacro %}

{#
    Periods that overlap, made into periods that do not. Reads the CTE `<periods>` with the columns of `owner`, customer_id,
    match_method, layer, valid_from and valid_to (no nulls); makes `<periods>_timeline` without layer. On every day the lowest layer
    holds, within it the one that began last. Neighbours that say the same become one.
#}
{% macro timeline(periods, owner) -%}
    {%- set keys = owner | join(', ') -%}
    {{ periods }}_bounds as (

    select {{ keys }}, valid_from as bound
    from {{ periods }}
    union
    select {{ keys }}, valid_to + 1 as bound
    from {{ periods }}
    where valid_to < {{ forever() }}

),

{{ periods }}_segments as (

    select
        {{ keys }},
        bound as valid_from,
        coalesce(lead(bound) over (partition by {{ keys }} order by bound) - 1, {{ forever() }}) as valid_to

    from {{ periods }}_bounds

),

{{ keep(periods ~ '_chosen') }} {{ periods }}_chosen as (

    select
        {% for column in owner %}
        segments.{{ column }},
        {% endfor %}
        segments.valid_from,
        segments.valid_to,
        periods.customer_id,
        periods.match_method

    from {{ periods }}_segments as segments
    inner join {{ periods }} as periods
        on
            {% for column in owner %}
            segments.{{ column }} = periods.{{ column }} and
            {% endfor %}
            segments.valid_from >= periods.valid_from
            and segments.valid_to <= periods.valid_to

    qualify row_number() over (
        partition by
            {% for column in owner %}
            segments.{{ column }},
            {% endfor %}
            segments.valid_from
        order by periods.layer asc, periods.valid_from desc, periods.customer_id asc
    ) = 1

) {{ kept() }},

{{ joined_neighbours(periods ~ '_chosen', owner, periods ~ '_timeline') }}
{%- endmacro %}

{# Periods of one owner that follow each other and say the same, as one period: CTE `<joined>` of CTE `<periods>`. #}
{% macro joined_neighbours(periods, owner, joined) -%}
    {%- set keys = owner | join(', ') -%}
    {{ joined }}_starts as (

    select
        *,
        case
            when
                lag(valid_to) over (partition by {{ keys }} order by valid_from) = valid_from - 1
                and lag(customer_id) over (partition by {{ keys }} order by valid_from) = customer_id
                and lag(match_method) over (partition by {{ keys }} order by valid_from) = match_method
                then 0
            else 1
        end as starts

    from {{ periods }}

),

{{ joined }}_runs as (

    select
        *,
        sum(starts) over (
            partition by {{ keys }} order by valid_from
            rows between unbounded preceding and current row
        ) as run

    from {{ joined }}_starts

),

{{ keep(joined) }} {{ joined }} as (

    select
        {{ keys }},
        min(valid_from) as valid_from,
        max(valid_to) as valid_to,
        min(customer_id) as customer_id,
        min(match_method) as match_method

    from {{ joined }}_runs

    group by {{ keys }}, run

) {{ kept() }}
{%- endmacro %}
