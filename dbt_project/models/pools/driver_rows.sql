{{ config(materialized='incremental', unique_key=['month'], post_hook='{{ record_build() }}') }}
{#- Of the customers only those count for whom a quantity is stated. -#}
{%- do plan_build(follows={
    'fct_invoices': 'select month from changes',
    'fct_invoice_lines': 'select month from changes',
    'fct_orders': 'select month from changes',
    'fct_payments': 'select month from changes',
    'fct_activities': 'select month from changes',
    'fct_service_cases': 'select month from changes',
    'fct_campaign_responses': 'select month from changes',
    'pool_months': 'select month from changes',
    'dim_products':
        'select month from facts.fct_invoice_lines where product_id in (select product_id from changes)',
    'dim_customers':
        'select month from pools.pool_months where exists (select 1 from changes where customer_id in '
        ~ '(select receiver_id from rules.stated_quantities))',
}) %}

with

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

time_equations as (

    select * from {{ source('rules', 'time_equations') }}

),

stated_quantities as (

    select * from {{ source('rules', 'stated_quantities') }}

),

invoices as (

    select * from {{ ref('fct_invoices') }}

),

invoice_lines as (

    select
        invoice_lines.*,
        products.product_family

    from {{ ref('fct_invoice_lines') }} as invoice_lines
    left join {{ ref('dim_products') }} as products
        on invoice_lines.product_id = products.product_id

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
        sales_channel as kind,
        cast(1 as decimal(22, 6)) as amount

    from orders

    union all

    select
        'invoices' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id as source_record_id,
        sales_channel as kind,
        1 as amount

    from invoices

    union all

    select
        'invoice_lines' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        product_family as kind,
        1 as amount

    from invoice_lines

    union all

    select
        'credit_note_lines' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        product_family as kind,
        1 as amount

    from invoice_lines

    where document_type = 'credit_note'

    union all

    select
        'units' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        product_family as kind,
        quantity as amount

    from invoice_lines

    union all

    select
        'net_revenue' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        product_family as kind,
        net_amount as amount

    from invoice_lines

    union all

    select
        'cost_of_goods_sold' as measure,
        month,
        customer_id,
        source_instance,
        invoice_id || '/' || line_number as source_record_id,
        product_family as kind,
        cost_amount as amount

    from invoice_lines

    union all

    select
        'service_cases' as measure,
        month,
        customer_id,
        source_instance,
        case_id as source_record_id,
        case_type as kind,
        1 as amount

    from service_cases

    union all

    select
        'handling_minutes' as measure,
        month,
        customer_id,
        source_instance,
        case_id as source_record_id,
        case_type as kind,
        handling_minutes as amount

    from service_cases

    union all

    select
        'visits' as measure,
        month,
        customer_id,
        source_instance,
        activity_id as source_record_id,
        cast(null as string) as kind,
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
        cast(null as string) as kind,
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
        activity_type as kind,
        1 as amount

    from activities

    union all

    select
        'payments' as measure,
        month,
        customer_id,
        source_instance,
        payment_id as source_record_id,
        cast(null as string) as kind,
        1 as amount

    from {{ ref('fct_payments') }}

    union all

    select
        'campaign_responses' as measure,
        month,
        customer_id,
        source_instance,
        campaign_member_id as source_record_id,
        channel as kind,
        1 as amount

    from {{ ref('fct_campaign_responses') }}

    union all

    select
        'active_customers' as measure,
        month,
        customer_id,
        cast(null as string) as source_instance,
        customer_id as source_record_id,
        cast(null as string) as kind,
        1 as amount

    from active_customers

),

counted as (

    select
        measured.month,
        drivers.driver_id,
        measured.customer_id,
        measured.source_instance,
        measured.source_record_id,
        cast(null as string) as term,
        {{ whole_quantity('measured.amount', 'drivers.decimals') }} as quantity

    from measured
    inner join drivers
        on measured.measure = drivers.measure

),

months as (

    select distinct month from {{ ref('pool_months') }}

),

-- Of several versions of a term that hold within a month, the one that began last.
valid_terms as (

    select
        months.month,
        drivers.decimals,
        time_equations.*

    from months
    inner join time_equations
        on
            months.month >= {{ month_of('coalesce(time_equations.valid_from, months.month)') }}
            and months.month <= coalesce(time_equations.valid_to, months.month)
    inner join drivers
        on time_equations.driver_id = drivers.driver_id

    qualify row_number() over (
        partition by months.month, time_equations.driver_id, time_equations.term
        order by time_equations.valid_from desc nulls last
    ) = 1

),

timed as (

    select
        measured.month,
        valid_terms.driver_id,
        measured.customer_id,
        measured.source_instance,
        measured.source_record_id,
        valid_terms.term,
        {{ whole_quantity('measured.amount * valid_terms.coefficient', 'valid_terms.decimals') }}
            as quantity

    from measured
    inner join valid_terms
        on
            measured.month = valid_terms.month
            and measured.measure = valid_terms.measure

    where coalesce(valid_terms.kind, measured.kind, '') = coalesce(measured.kind, '')

),

-- What no system counts holds for every month of its validity. A customer nobody knows is nobody's.
stated as (

    select
        months.month,
        drivers.driver_id,
        coalesce(customers.customer_id, 'UNMATCHED') as customer_id,
        cast(null as string) as source_instance,
        'quantities.csv: ' || stated_quantities.receiver_id as source_record_id,
        cast(null as string) as term,
        {{ whole_quantity('stated_quantities.quantity', 'drivers.decimals') }} as quantity

    from months
    inner join stated_quantities
        on
            months.month >= {{ month_of('coalesce(stated_quantities.valid_from, months.month)') }}
            and months.month <= coalesce(stated_quantities.valid_to, months.month)
    inner join drivers
        on stated_quantities.driver_id = drivers.driver_id
    left join {{ ref('dim_customers') }} as customers
        on stated_quantities.receiver_id = customers.customer_id

    where stated_quantities.receiver_kind = 'customer'

    qualify row_number() over (
        partition by months.month, drivers.driver_id, stated_quantities.receiver_id
        order by stated_quantities.valid_from desc nulls last
    ) = 1

),

driver_rows as (

    select * from counted
    union all
    select * from timed
    union all
    select * from stated

)

select * from driver_rows
{{ of_touched_months() }}
