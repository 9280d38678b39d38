{#
    The customer a source's key stands for. In two parts, because the keys must be joined first:

        from {{ ref('stg_payments') }} as payments
        {{ join_customer_keys('payments') }}
        ... select {{ resolved_customer('payments') }} as customer_id

    A key that nobody knows stands for itself, so that its money stays visible; no key at all is UNMATCHED.
#}

{% macro join_customer_keys(relation) -%}
    left join {{ ref('customer_keys') }} as own_keys
        on {{ relation }}.source_instance || ':' || {{ relation }}.customer_id = own_keys.customer_key
    left join {{ ref('customer_keys') }} as shared_keys
        on {{ relation }}.customer_id = shared_keys.customer_key
{%- endmacro %}

{% macro resolved_customer(relation) -%}
    coalesce(own_keys.customer_id, shared_keys.customer_id, {{ relation }}.customer_id, 'UNMATCHED')
{%- endmacro %}
