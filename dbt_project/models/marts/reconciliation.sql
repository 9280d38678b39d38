with

ledger_lines as (

    select * from {{ ref('fct_ledger') }}

),

customer_profitability as (

    select * from {{ ref('customer_profitability') }}

),

residual_cost_lines as (

    select * from {{ ref('residual_cost_lines') }}

),

invoices as (

    select * from {{ ref('fct_invoices') }}

),

payments as (

    select * from {{ ref('fct_payments') }}

),

delivered_invoices as (

    select * from {{ ref('stg_invoices') }}

),

delivered_lines as (

    select * from {{ ref('stg_invoice_lines') }}

),

unconverted_amounts as (

    select * from {{ ref('unconverted_amounts') }}

    where entity = 'invoice'

),

ledger_controls as (

    select * from {{ ref('ledger_controls') }}

),

policies as (

    select * from {{ source('rules', 'reconciliation_policies') }}

),

first_ledger_month as (

    select min(month) as month from ledger_lines

),

-- Every amount that takes part in a check, on the side it belongs to; the checks are sums of these.
cost_amounts as (

    select
        month,
        'cost_allocation' as check_name,
        {{ from_cents('amount_cents') }} as ledger_amount,
        0 as assigned_amount,
        0 as residual_amount

    from ledger_lines

    where role = 'cost'

    union all

    select
        month,
        'cost_allocation' as check_name,
        0 as ledger_amount,
        direct_cost_to_serve
        + activity_cost_variable + activity_cost_step_fixed + activity_cost_fixed
        + allocated_sustaining as assigned_amount,
        0 as residual_amount

    from customer_profitability

    union all

    select
        month,
        'cost_allocation' as check_name,
        0 as ledger_amount,
        0 as assigned_amount,
        amount as residual_amount

    from residual_cost_lines

),

sales_amounts as (

    select
        month,
        'revenue' as check_name,
        -functional_amount as ledger_amount,
        0 as assigned_amount,
        0 as residual_amount

    from ledger_lines

    where role = 'revenue'

    union all

    select
        month,
        'revenue' as check_name,
        0 as ledger_amount,
        net_revenue as assigned_amount,
        0 as residual_amount

    from customer_profitability

    union all

    select
        month,
        'cost_of_goods_sold' as check_name,
        functional_amount as ledger_amount,
        0 as assigned_amount,
        0 as residual_amount

    from ledger_lines

    where role = 'cost_of_goods_sold'

    union all

    select
        month,
        'cost_of_goods_sold' as check_name,
        0 as ledger_amount,
        cost_of_goods_sold as assigned_amount,
        0 as residual_amount

    from customer_profitability

),

receivable_movements as (

    select
        month,
        functional_amount as ledger_amount,
        0 as assigned_amount

    from ledger_lines

    where role = 'receivables'

    union all

    select
        month,
        0 as ledger_amount,
        gross_amount as assigned_amount

    from invoices

    union all

    select
        month,
        0 as ledger_amount,
        -amount as assigned_amount

    from payments

),

months as (

    select distinct month from ledger_lines
    union
    select distinct month from receivable_movements

),

monthly_movements as (

    select
        months.month,
        coalesce(sum(receivable_movements.ledger_amount), 0) as ledger_amount,
        coalesce(sum(receivable_movements.assigned_amount), 0) as assigned_amount

    from months
    left join receivable_movements
        on months.month = receivable_movements.month

    group by months.month

),

-- A balance, not a movement: what was open at the end of the month.
receivable_balances as (

    select
        month,
        'receivables' as check_name,
        sum(ledger_amount) over (order by month asc rows unbounded preceding) as ledger_amount,
        sum(assigned_amount) over (order by month asc rows unbounded preceding) as assigned_amount,
        0 as residual_amount

    from monthly_movements

),

ledger_balances as (

    select
        month,
        'ledger_balance' as check_name,
        functional_amount as ledger_amount,
        0 as assigned_amount,
        0 as residual_amount

    from ledger_lines

),

-- Counted from what was delivered, past every join that could lose or double a line.
sold_documents as (

    select
        source_instance,
        invoice_id,
        invoice_date,
        net_amount

    from delivered_invoices

    where
        status in ('approved', 'paid')
        and document_type in ('invoice', 'credit_note', 'debit_note')

),

line_sums as (

    select
        source_instance,
        invoice_id,
        sum(line_net_amount) as net_amount

    from delivered_lines

    group by source_instance, invoice_id

),

sold_amounts as (

    select
        {{ month_of('sold_documents.invoice_date') }} as month,
        cast(coalesce(line_sums.net_amount, sold_documents.net_amount) as decimal(22, 4)) as amount,
        coalesce(invoices.rate_numerator, 1) as rate_numerator,
        coalesce(invoices.rate_denominator, 1) as rate_denominator

    from sold_documents
    left join line_sums
        on
            sold_documents.source_instance = line_sums.source_instance
            and sold_documents.invoice_id = line_sums.invoice_id
    left join invoices
        on
            sold_documents.source_instance = invoices.source_instance
            and sold_documents.invoice_id = invoices.invoice_id
    left join unconverted_amounts
        on
            sold_documents.source_instance = unconverted_amounts.source_instance
            and sold_documents.invoice_id = unconverted_amounts.record_key

    where unconverted_amounts.record_key is null

),

delivered_amounts as (

    select
        month,
        'revenue_on_customers' as check_name,
        {{ converted('amount') | indent(8) }} as ledger_amount,
        0 as assigned_amount,
        0 as residual_amount

    from sold_amounts

    union all

    select
        month,
        'revenue_on_customers' as check_name,
        0 as ledger_amount,
        net_revenue as assigned_amount,
        0 as residual_amount

    from customer_profitability

    where invoice_line_count > 0

),

amounts as (

    select * from cost_amounts
    union all
    select * from sales_amounts
    union all
    select * from receivable_balances
    union all
    select * from ledger_balances

),

-- A check against the ledger needs a ledger: none where no line ever had the role, none before its first month.
known_checks as (

    select distinct case when role = 'cost' then 'cost_allocation' else role end as check_name
    from ledger_lines
    where role != 'out_of_scope'
    union
    select distinct 'ledger_balance' as check_name from ledger_lines

),

ledger_checks as (

    select amounts.*
    from amounts
    inner join known_checks
        on amounts.check_name = known_checks.check_name
    inner join first_ledger_month
        on amounts.month >= first_ledger_month.month

),

-- Controls of the ledger itself: how much is wrong, whatever the sign, so that two mistakes do not make one right.
control_amounts as (

    select
        month,
        check_name,
        abs(difference) as ledger_amount,
        0 as assigned_amount,
        0 as residual_amount

    from ledger_controls

),

all_amounts as (

    select * from ledger_checks
    union all
    select * from delivered_amounts
    union all
    select * from control_amounts

),

sums as (

    select
        month,
        check_name,
        cast(sum(ledger_amount) as decimal(22, 4)) as ledger_amount,
        cast(sum(assigned_amount) as decimal(22, 4)) as assigned_amount,
        cast(sum(residual_amount) as decimal(22, 4)) as residual_amount

    from all_amounts

    group by month, check_name

),

-- A company may tolerate that two of its systems disagree. It may not tolerate that this project loses money.
judged as (

    select
        sums.*,
        cast(
            sums.ledger_amount - sums.assigned_amount - sums.residual_amount as decimal(22, 4)
        ) as difference,
        cast(coalesce(policies.tolerance, 0) as decimal(22, 4)) as tolerance,
        coalesce(policies.severity, 'error') as severity,
        policies.reason

    from sums
    left join policies
        on
            sums.check_name = policies.check_name
            and sums.check_name not in ('cost_allocation', 'revenue_on_customers')

),

reconciliation as (

    select
        month,
        check_name,
        ledger_amount,
        assigned_amount,
        residual_amount,
        difference,
        tolerance,
        severity,
        case
            when abs(difference) <= tolerance then 'pass'
            when severity = 'warn' then 'warn'
            else 'fail'
        end as status,
        reason

    from judged

)

select * from reconciliation
