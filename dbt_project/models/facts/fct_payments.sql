{%- set unit = ['source_instance', 'payment_id'] -%}
{{ config(
    materialized='incremental', unique_key=unit, meta={'logged': ['month']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'stg_payments': 'select source_instance, payment_id from changes',
    'customer_keys': touched_by_customer_keys(ref('stg_payments'), unit),
    'conversion_rates': touched_by_conversion_rates(ref('stg_payments'), unit, 'currency_code', 'payment_date'),
}) %}

{%- set amounts = ['amount', 'functional_amount'] -%}
with

payments as (

    select * from {{ ref('stg_payments') }}
    {{ of_touched_units(unit) }}

),

customer_payments as (

    select
        payments.source_instance,
        payments.payment_id,
        {{ resolved_customer('payments') }} as customer_id,
        payments.payment_date,
        {{ month_of('payments.payment_date') }} as month,
        payments.amount,
        payments.currency_code,
        {{ document_rate('payments', amounts) | indent(8) }}

    from payments
    {{ join_customer_keys('payments', on='payments.payment_date') }}
    {{ join_conversion_rates('payments', 'currency_code', 'payment_date') }}

    where {{ rate_problem('payments', amounts) | indent(4) }} is null

),

payments_in_base_currency as (

    select
        source_instance,
        payment_id,
        customer_id,
        payment_date,
        month,
        cast({{ converted('amount') | indent(8) }} as decimal(22, 4)) as amount,
        currency_code

    from customer_payments

)

select * from payments_in_base_currency
