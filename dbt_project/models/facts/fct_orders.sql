{%- set unit = ['source_instance', 'order_id'] -%}
{{ config(
    materialized='incremental', unique_key=unit, meta={'logged': ['month']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'fct_invoices': 'select source_instance, order_id from changes',
}) %}

with

invoices as (

    select * from {{ ref('fct_invoices') }}
    {{ of_touched_units(unit) }}

),

-- A credit or debit note corrects an order; it is none.
orders as (

    select
        source_instance,
        order_id,
        customer_id,
        min(invoice_date) as order_date,
        min(month) as month,
        min(sales_channel) as sales_channel

    from invoices

    where document_type = 'invoice'

    group by source_instance, order_id, customer_id

)

select * from orders
