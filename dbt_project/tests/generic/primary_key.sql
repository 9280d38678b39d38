{# One row per key, and no part of the key missing unless it may be. One query instead of one per column. #}
{% test primary_key(model, columns, may_be_null=[]) -%}

with

keys as (

    select
        {{ columns | join(', ') }},
        count(*) as row_count

    from {{ model }}

    group by {{ columns | join(', ') }}

)

select * from keys
where
    row_count > 1
    {%- for column in columns if column not in may_be_null %}
    or {{ column }} is null
    {%- endfor %}

{%- endtest %}
