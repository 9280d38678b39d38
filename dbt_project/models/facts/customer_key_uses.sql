{%- set named = ['invoices', 'payments', 'gl_entries', 'activities', 'service_cases', 'opportunities'] -%}
{%- set unnamed = ['campaign_members', 'survey_responses'] -%}

with

uses as (

    {% for entity in named %}
        select
            source_instance,
            customer_id,
            customer_name
        from {{ ref('stg_' ~ entity) }}
        union
    {% endfor %}
    {% for entity in unnamed %}
        select
            source_instance,
            customer_id,
            cast(null as string) as customer_name
        from {{ ref('stg_' ~ entity) }}
        {{ 'union' if not loop.last }}
    {% endfor %}

),

keyed_uses as (

    select
        source_instance,
        customer_id,
        customer_name,
        {{ name_key('customer_name') }} as name_key

    from uses

),

customer_key_uses as (

    select
        source_instance,
        'id' as key_kind,
        customer_id as customer_key,
        {{ name_key('customer_id') }} as name_key,
        min(customer_name) as customer_name

    from keyed_uses

    where customer_id is not null

    group by source_instance, customer_id

    union all

    select
        source_instance,
        'name' as key_kind,
        name_key as customer_key,
        name_key,
        min(customer_name) as customer_name

    from keyed_uses

    where name_key is not null

    group by source_instance, name_key

)

select * from customer_key_uses
