with

payments as (

    select * from {{ ref('stg_payments') }}

),

customer_payments as (

    select
        payments.source_instance,
        payments.payment_id,
        {{ resolved_customer('payments') }} as customer_id,
        payments.payment_date,
        {{ month_of('payments.payment_date') }} as month,
        payments.amount

    from payments
    {{ join_customer_keys('payments') }}

)

select * from customer_payments
