{# Per customer: invoiced less paid is what is owed, ages add up to the open items, and movements to the allowance. #}
with

as_of as (

    select * from {{ ref('as_of') }}

),

amounts as (

    select
        invoices.customer_id,
        'owed' as what_adds_up,
        invoices.gross_amount as there,
        0 as here

    from {{ ref('fct_invoices') }} as invoices
    inner join as_of
        on invoices.invoice_date <= as_of.as_of_date

    where exists (select any_payment.payment_id from {{ ref('fct_payments') }} as any_payment)

    union all

    select
        payments.customer_id,
        'owed' as what_adds_up,
        -payments.amount as there,
        0 as here

    from {{ ref('fct_payments') }} as payments
    inner join as_of
        on payments.payment_date <= as_of.as_of_date

    union all

    select
        balances.customer_id,
        'owed' as what_adds_up,
        0 as there,
        balances.closing_balance as here

    from {{ ref('receivable_balances') }} as balances
    inner join as_of
        on balances.month = as_of.as_of_month

    union all

    select
        items.customer_id,
        case when items.days_overdue > 0 then 'overdue' else 'not due' end as what_adds_up,
        items.open_amount as there,
        0 as here

    from {{ ref('receivable_items') }} as items

    where items.open_amount > 0

    union all

    select
        balances.customer_id,
        'overdue' as what_adds_up,
        0 as there,
        balances.overdue as here

    from {{ ref('receivable_balances') }} as balances
    inner join as_of
        on balances.month = as_of.as_of_month

    union all

    select
        balances.customer_id,
        'not due' as what_adds_up,
        0 as there,
        balances.not_due as here

    from {{ ref('receivable_balances') }} as balances
    inner join as_of
        on balances.month = as_of.as_of_month

    union all

    select
        losses.customer_id,
        'allowance' as what_adds_up,
        losses.allowance as there,
        0 as here

    from {{ ref('expected_credit_losses') }} as losses
    inner join as_of
        on losses.month = as_of.as_of_month

    union all

    select
        credit_costs.customer_id,
        'allowance' as what_adds_up,
        0 as there,
        credit_costs.expected_credit_loss as here

    from {{ ref('customer_credit_costs') }} as credit_costs

),

differences as (

    select
        customer_id,
        what_adds_up,
        sum(there) as there,
        sum(here) as here

    from amounts

    group by customer_id, what_adds_up

)

select * from differences
where there != here
