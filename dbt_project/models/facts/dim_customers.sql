{%- set attributes = [
    'customer_name', 'customer_type', 'segment', 'level', 'industry', 'acquisition_source',
    'acquired_date', 'country', 'region', 'city', 'owner_ref', 'credit_limit', 'terms_due_days',
] -%}

with

crm_records as (

    select
        *,
        coalesce(customer_account_id, customer_id) as golden_id

    from {{ ref('stg_customers') }}

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

-- Several sources may know one customer: the best record leads, the others fill what it does not say.
ranked_records as (

    select
        *,
        row_number() over (
            partition by golden_id
            order by
                coalesce(is_deleted, false) asc,
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
        {% for attribute in attributes %}
            crm_customers.{{ attribute }},
        {% endfor %}
        crm_customers.source_instance,
        crm_customers.source_customer_id,
        false as is_in_crm,
        false as is_deleted

    from fact_customers
    left join crm_customers
        on fact_customers.customer_id = crm_customers.customer_id

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
