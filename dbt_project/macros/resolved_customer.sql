-- noqa: disable=LT02
{#
    The customer a source's key stands for on a day. In two parts, because the keys must be joined first:

        from {{ ref('stg_payments') }} as payments
        {{ join_customer_keys('payments', on='payments.payment_date') }}
        ... select {{ resolved_customer('payments') }} as customer_id

    The key comes before the name said beside it. A key that nobody knows stands for itself, so that its money stays
    visible, and a name that nobody knows for a customer of its own; neither of them is UNMATCHED.
    `named` is false for what says no customer_name. Plain comparisons and no `or`: a left join with one is a nested loop.
#}

{% macro join_customer_keys(relation, on, named=true) -%}
    left join {{ ref('customer_keys') }} as id_keys
        on
            id_keys.key_kind = 'id'
            and {{ relation }}.source_instance = id_keys.source_instance
            and {{ relation }}.customer_id = id_keys.customer_key
            and {{ on }} >= id_keys.valid_from
            and {{ on }} <= id_keys.valid_to
    {%- if named %}
    {{ join_said_names(relation) }}
    left join {{ ref('customer_keys') }} as name_keys
        on
            name_keys.key_kind = 'name'
            and {{ relation }}.source_instance = name_keys.source_instance
            and case when id_keys.customer_id is null then {{ said_name_key(relation) }} end
            = name_keys.customer_key
            and {{ on }} >= name_keys.valid_from
            and {{ on }} <= name_keys.valid_to
    {%- endif %}
{%- endmacro %}

{#
    The key of the name said beside the key of a customer, where it may be joined on: an expression on DuckDB; on Spark, which
    wants none that reflects in a join (`composed`), a column of the names joined first.
#}
{% macro join_said_names(relation) -%}
    {%- if target.type == 'spark' -%}
        left join (
            select
                customer_name,
                {{ name_key('customer_name') }} as name_key
            from (select distinct customer_name from {{ relation }}) as distinct_names
        ) as said_names
            on {{ relation }}.customer_name = said_names.customer_name
    {%- endif -%}
{%- endmacro %}

{% macro said_name_key(relation) -%}
    {%- if target.type == 'spark' -%}
        said_names.name_key
    {%- else -%}
        {{ name_key(relation ~ '.customer_name') }}
    {%- endif -%}
{%- endmacro %}

{% macro resolved_customer(relation, named=true) -%}
    coalesce({{ known_customer(relation, named) }}, {{ unknown_customer(relation, named) }}, 'UNMATCHED')
{%- endmacro %}

{# The customer somebody knows; null when nobody does. #}
{% macro known_customer(relation, named=true) -%}
    {%- if named -%}
        coalesce(id_keys.customer_id, name_keys.customer_id)
    {%- else -%}
        id_keys.customer_id
    {%- endif -%}
{%- endmacro %}

{# What a key or a name that nobody knows stands for. #}
{% macro unknown_customer(relation, named=true) -%}
    {%- if named -%}
        coalesce({{ relation }}.customer_id, {{ name_key(relation ~ '.customer_name') }})
    {%- else -%}
        {{ relation }}.customer_id
    {%- endif -%}
{%- endmacro %}
