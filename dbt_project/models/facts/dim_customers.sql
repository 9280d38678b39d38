{{ config(materialized='incremental', unique_key=['customer_id'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

{%- set attributes = [
    'customer_name', 'customer_type', 'segment', 'level', 'industry', 'acquisition_source',
    'acquired_date', 'country', 'region', 'city', 'owner_ref', 'credit_limit', 'terms_due_days',
] -%}

with

stg_customers as (

    select * from {{ ref('stg_customers') }}

),

customer_xref as (

    select * from {{ ref('customer_xref') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

-- Every fact that carries money or a driver quantity; the ledger only where a cost is traced directly.
fact_customers as (

    select customer_id from {{ ref('fct_invoices') }}
    union
    select customer_id from {{ ref('fct_payments') }}
    union
    select customer_id from {{ ref('fct_activities') }}
    union
    select customer_id from {{ ref('fct_service_cases') }}
    union
    select customer_id from {{ ref('fct_survey_responses') }}
    union
    select customer_id from {{ ref('fct_campaign_responses') }}
    union
    select customer_id from {{ ref('fct_ledger') }}
    where customer_id is not null

),

-- Whom each record stands for, and whether it does so today: a link may have ended, or begin later.
memberships as (

    select
        customer_xref.customer_id as golden_id,
        stg_customers.source_instance,
        stg_customers.customer_id,
        bool_or(
            coalesce(customer_xref.valid_from <= as_of.as_of_date, true)
            and coalesce(customer_xref.valid_to >= as_of.as_of_date, true)
        ) as is_today

    from stg_customers
    inner join customer_xref
        on
            customer_xref.key_kind = 'id'
            and stg_customers.source_instance = customer_xref.source_instance
            and stg_customers.customer_id = customer_xref.source_customer_key
    cross join as_of

    group by customer_xref.customer_id, stg_customers.source_instance, stg_customers.customer_id

),

customers_today as (

    select distinct golden_id
    from memberships
    where is_today

),

-- A customer of other days than today who has facts is described by the records of those days.
crm_records as (

    select
        stg_customers.*,
        memberships.golden_id

    from memberships
    inner join stg_customers
        on
            memberships.source_instance = stg_customers.source_instance
            and memberships.customer_id = stg_customers.customer_id
    left join customers_today
        on memberships.golden_id = customers_today.golden_id
    left join fact_customers
        on memberships.golden_id = fact_customers.customer_id

    where
        memberships.is_today
        or (customers_today.golden_id is null and fact_customers.customer_id is not null)

),

-- What facts say of the name of a customer whom no record describes.
said_names as (

    select
        customer_xref.customer_id,
        min(customer_key_uses.customer_name) as customer_name

    from {{ ref('customer_key_uses') }} as customer_key_uses
    inner join customer_xref
        on
            customer_key_uses.source_instance = customer_xref.source_instance
            and customer_key_uses.key_kind = customer_xref.key_kind
            and customer_key_uses.customer_key = customer_xref.source_customer_key

    group by customer_xref.customer_id

),

-- Several sources may know one customer: the best record leads, the others fill what it does not say.
ranked_records as (

    select
        *,
        row_number() over (
            partition by golden_id
            order by
                coalesce(is_deleted, false) asc,
                (merged_into is not null) asc,
                coalesce(customer_account_id = golden_id, false) desc,
                (customer_account_id is null) asc,
                source_modified_at desc nulls last,
                extract_date desc,
                source_instance asc,
                customer_id asc
        ) as record_rank

    from crm_records

),

crm_customers as (

    select
        golden_id as customer_id,
        {% for attribute in attributes %}
            min_by({{ attribute }}, record_rank) filter (where {{ attribute }} is not null)
                as {{ attribute }},
        {% endfor %}
        min_by(source_instance, record_rank) as source_instance,
        min_by(customer_id, record_rank) as source_customer_id,
        bool_and(coalesce(is_deleted, false)) as is_deleted

    from ranked_records

    group by golden_id

),

all_customers as (

    select
        customer_id,
        {% for attribute in attributes %}
            {{ attribute }},
        {% endfor %}
        source_instance,
        source_customer_id,
        true as is_in_crm,
        is_deleted

    from crm_customers

    union all

    select
        fact_customers.customer_id,
        said_names.customer_name,
        {% for attribute in attributes[1:] %}
            crm_customers.{{ attribute }},
        {% endfor %}
        crm_customers.source_instance,
        crm_customers.source_customer_id,
        false as is_in_crm,
        false as is_deleted

    from fact_customers
    left join crm_customers
        on fact_customers.customer_id = crm_customers.customer_id
    left join said_names
        on fact_customers.customer_id = said_names.customer_id

    where crm_customers.customer_id is null

),

dim_customers as (

    select
        customer_id,
        customer_name,
        source_instance,
        source_customer_id,
        customer_type,
        segment,
        level,
        industry,
        acquisition_source,
        acquired_date,
        country,
        region,
        city,
        owner_ref,
        credit_limit,
        terms_due_days,
        is_in_crm,
        is_deleted

    from all_customers

)

select * from dim_customers
