{#
    Every key by which an explicit link can speak of a customer record: CTE record_keys of CTE customer_records.
    Who has an account code is moved by that code or by id, never by a tax number or name they may share with others.
#}
{% macro record_keys() -%}
record_keys as (

    {% for kind, column in [('id', 'customer_id'), ('code', 'account_code'), ('tin', 'tax_id'), ('name', 'name_key')] %}
        select
            source_instance,
            customer_id,
            '{{ kind }}' as key_kind,
            {{ column }} as customer_key
        from customer_records
        where {{ column }} is not null and (not has_account_code or '{{ kind }}' in ('id', 'code'))
        {{ 'union all' if not loop.last }}
    {% endfor %}

)
{%- endmacro %}
