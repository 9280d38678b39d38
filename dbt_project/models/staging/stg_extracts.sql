{%- set entities = [
    'customer',
    'customer_xref',
    'product',
    'invoice',
    'invoice_line',
    'payment',
    'payment_application',
    'gl_entry',
    'gl_account',
    'trial_balance',
    'cost_center',
    'budget',
    'fx_rate',
    'employee',
    'activity',
    'service_case',
    'survey_response',
    'campaign',
    'campaign_member',
    'opportunity',
    'timesheet',
] -%}

with

extracts as (

    {% for entity in entities %}
        select
            '{{ entity }}' as entity,
            source_instance,
            extract_date,
            count(*) as row_count,
            count(quarantine_reason) as quarantined_row_count

        from {{ source('raw', entity) }}

        group by source_instance, extract_date
        {% if not loop.last %}
            union all
        {% endif %}
    {% endfor %}
)

select * from extracts
