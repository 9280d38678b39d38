{{ config(materialized='view') }}

with

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

invoices as (

    select * from {{ ref('fct_invoices') }}

),

invoice_lines as (

    select * from {{ ref('fct_invoice_lines') }}

),

activities as (

    select * from {{ ref('fct_activities') }}

),

service_cases as (

    select * from {{ ref('fct_service_cases') }}

),

orders as (

    select * from {{ ref('fct_orders') }}

),

active_customers as (

    select distinct
        month,
        customer_id

    from invoices

    where document_type = 'invoice'

),

measured as (

    select
        'orders' as measure,
        month,
        customer_id,
        source_instance,
        order_id as source_record_id,
        cast(1 as decimal(22, 6)) as amount

    from orders

    union all

    select
        'invoices' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id as source_record_id,
        1 as amount

    from invoices

    union all

    select
        'invoice_lines' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        1 as amount

    from invoice_lines

    union all

    select
        'units' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        quantity as amount

    from invoice_lines

    union all

    select
        'net_revenue' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        net_amount as amount

    from invoice_lines

    union all

    select
        'cost_of_goods_sold' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        cost_amount as amount

    from invoice_lines

    union all

    select
        'service_cases' as measure,
        month,
        customer_id,
        source_instance,
        case_id as source_record_id,
        1 as amount

    from service_cases

    union all

    select
        'handling_minutes' as measure,
        month,
        customer_id,
        source_instance,
        case_id as source_record_id,
        handling_minutes as amount

    from service_cases

    union all

    select
        'visits' as measure,
        month,
        customer_id,
        source_instance,
        activity_id as source_record_id,
        1 as amount

    from activities

    where activity_type = 'visit'

    union all

    select
        'calls' as measure,
        month,
        customer_id,
        source_instance,
        activity_id as source_record_id,
        1 as amount

    from activities

    where activity_type = 'call'

    union all

    select
        'activities' as measure,
        month,
        customer_id,
        source_instance,
        activity_id as source_record_id,
        1 as amount

    from activities

    union all

    select
        'payments' as measure,
        month,
        customer_id,
        source_instance,
        payment_id as source_record_id,
        1 as amount

    from {{ ref('fct_payments') }}

    union all

    select
        'campaign_responses' as measure,
        month,
        customer_id,
        source_instance,
        campaign_member_id as source_record_id,
        1 as amount

    from {{ ref('fct_campaign_responses') }}

    union all

    select
        'active_customers' as measure,
        month,
        customer_id,
        cast(null as varchar) as source_instance,
        customer_id as source_record_id,
        1 as amount

    from active_customers

),

driver_rows as (

    select
        measured.month,
        drivers.driver_id,
        measured.customer_id,
        measured.source_instance,
        measured.source_record_id,
        {{ whole_quantity('measured.amount', 'drivers.decimals') }} as quantity

    from measured
    inner join drivers
        on measured.measure = drivers.measure

)

select * from driver_rows
