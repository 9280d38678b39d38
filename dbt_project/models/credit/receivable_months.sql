with

balances as (

    select * from {{ ref('receivable_balances') }}

),

-- Sales and days laid end to end from a customer's first month on. A month of more credit notes than invoices sells
-- nothing.
laid_out as (

    select
        *,
        greatest(sales_amount, 0) as sold_amount,
        sum(greatest(sales_amount, 0)) over (
            partition by customer_id order by month rows unbounded preceding
        ) as sold_so_far,
        sum(day_count) over (partition by customer_id order by month rows unbounded preceding) as days_so_far,
        sum(sales_amount) over (partition by customer_id order by month rows between 2 preceding and current row)
            as sales_3m,
        sum(day_count) over (partition by customer_id order by month rows between 2 preceding and current row)
            as days_3m,
        sum(settled_amount) over (partition by customer_id order by month rows between 2 preceding and current row)
            as settled_3m,
        sum(settled_days_amount) over (
            partition by customer_id order by month rows between 2 preceding and current row
        ) as settled_days_3m

    from balances

),

-- Countback: the latest sales that add up to the balance. Where they begin on the line of sales is a point between two
-- months.
marks as (

    select
        customer_id,
        month,
        0 as is_question,
        sold_so_far as mark,
        month as boundary

    from laid_out

    union all

    select
        customer_id,
        month,
        1 as is_question,
        sold_so_far - closing_balance as mark,
        cast(null as date) as boundary

    from laid_out

    where closing_balance > 0

),

-- The last month whose sales are all paid; none when the balance is older than the second month.
paid_up as (

    select
        customer_id,
        month,
        is_question,
        mark,
        max(boundary) over (
            partition by customer_id order by mark, is_question, month rows unbounded preceding
        ) as paid_up_month

    from marks

),

first_months as (

    select
        customer_id,
        sold_amount,
        day_count

    from laid_out

    where days_so_far = day_count

),

starts as (

    select
        paid_up.customer_id,
        paid_up.month,
        paid_up.mark,
        coalesce(paid_months.sold_so_far, 0) as sold_before,
        coalesce(paid_months.days_so_far, 0) as days_before,
        coalesce(start_months.sold_amount, first_months.sold_amount) as sold_amount,
        coalesce(start_months.day_count, first_months.day_count) as day_count

    from paid_up
    left join laid_out as paid_months
        on
            paid_up.customer_id = paid_months.customer_id
            and paid_up.paid_up_month = paid_months.month
    left join laid_out as start_months
        on
            paid_up.customer_id = start_months.customer_id
            and {{ months_after('paid_up.paid_up_month', 1) }} = start_months.month
    inner join first_months
        on paid_up.customer_id = first_months.customer_id

    where paid_up.is_question = 1

),

countbacks as (

    select
        laid_out.customer_id,
        laid_out.month,
        laid_out.days_so_far - starts.days_before - case
            when starts.mark <= starts.sold_before or starts.sold_amount = 0 then 0
            else
                starts.day_count * cast(starts.mark - starts.sold_before as double)
                / cast(starts.sold_amount as double)
        end as countback_dso

    from laid_out
    inner join starts
        on
            laid_out.customer_id = starts.customer_id
            and laid_out.month = starts.month

),

receivable_months as (

    select
        laid_out.customer_id,
        laid_out.month,
        laid_out.day_count,
        laid_out.sales_amount,
        laid_out.paid_amount,
        laid_out.opening_balance,
        laid_out.closing_balance,
        laid_out.balance_days,
        laid_out.not_due,
        laid_out.overdue_1_30,
        laid_out.overdue_31_60,
        laid_out.overdue_61_90,
        laid_out.overdue_over_90,
        laid_out.past_write_off,
        laid_out.overdue,
        laid_out.unapplied_credit,
        cast(laid_out.sales_3m as decimal(22, 4)) as sales_3m,
        cast(laid_out.days_3m as bigint) as days_3m,
        {{ days_of_sales('laid_out.closing_balance') }} as dso,
        case
            when laid_out.closing_balance > 0 then {{ rounded_double('countbacks.countback_dso', 2) }}
            else cast(0 as double)
        end as countback_dso,
        {{ days_of_sales('laid_out.not_due') }} as best_possible_dso,
        {{ rounded_double(days_of_sales('laid_out.closing_balance') ~ ' - ' ~ days_of_sales('laid_out.not_due'), 2) }}
            as average_days_delinquent,
        {{ weighted_days('laid_out.settled_days_amount', 'laid_out.settled_amount') }} as days_late_paid,
        {{ weighted_days('laid_out.settled_days_3m', 'laid_out.settled_3m') }} as days_late_paid_3m,
        {{ weighted_days('laid_out.overdue_days_amount', 'laid_out.overdue') }} as days_late_open,
        laid_out.settled_amount,
        laid_out.settled_days_amount

    from laid_out
    left join countbacks
        on
            laid_out.customer_id = countbacks.customer_id
            and laid_out.month = countbacks.month

)

select * from receivable_months
