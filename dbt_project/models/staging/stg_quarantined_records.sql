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

quarantined_records as (

    {% for entity in entities %}
        select
            '{{ entity }}' as entity,
            source_instance,
            source_file,
            source_row,
            extract_date,
            quarantine_reason,
            source_record

        from {{ source('raw', entity) }}

        where quarantine_reason is not null
        {% if not loop.last %}
            union all
        {% endif %}
    {% endfor %}
)

select * from quarantined_records
