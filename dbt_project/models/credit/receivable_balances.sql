-- noqa: disable=LT02
{# Age bucket -> the first day after the due date that belongs to it; the last begins where a debt is given up. #}
{% set buckets = [
    ('not_due', none),
    ('overdue_1_30', '1'),
    ('overdue_31_60', '31'),
    ('overdue_61_90', '61'),
    ('overdue_over_90', '91'),
    ('past_write_off', 'company.write_off_after_days + 1'),
] %}
with

items as (

    select * from {{ ref('receivable_items') }}

),

clearings as (

    select * from {{ ref('receivable_clearings') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

-- Debits in parts that are cleared as one: what is still open is the last part.
parts as (

    select
        items.customer_id,
        items.document_kind,
        items.document_date,
        items.due_date,
        clearings.cleared_date,
        clearings.credit_kind = 'payment' as is_paid,
        clearings.amount

    from clearings
    inner join items
        on
            clearings.source_instance = items.source_instance
            and clearings.document_kind = items.document_kind
            and clearings.document_id = items.document_id

    union all

    select
        customer_id,
        document_kind,
        document_date,
        due_date,
        {{ forever() }} as cleared_date,
        false as is_paid,
        open_amount as amount

    from items

    where open_amount > 0

),

-- The days on which a part stands in a bucket: from the first day to the day before the last.
{% for bucket, first_day in buckets %}
{% set next_day = (buckets[loop.index][1]) if not loop.last else none %}
{{ bucket }}_spans as (

    select
        parts.customer_id,
        '{{ bucket }}' as bucket,
        {% if first_day %}
        parts.due_date + cast({{ first_day }} as integer) as begins_on,
        {% else %}
        parts.document_date as begins_on,
        {% endif %}
        {% if next_day %}
        least(parts.cleared_date, parts.due_date + cast({{ next_day }} as integer)) as ends_on,
        {% else %}
        parts.cleared_date as ends_on,
        {% endif %}
        parts.amount,
        {% if first_day %}
        parts.amount * {{ days_between(ever(), 'parts.due_date') }} as due_day_amount
        {% else %}
        0 as due_day_amount
        {% endif %}

    from parts
    cross join company

),

{% endfor %}
spans as (

    {% for bucket, first_day in buckets %}
    select * from {{ bucket }}_spans
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

-- Only a part that stands in a bucket at the end of a month is seen there: it comes in one month and goes in another.
seen_spans as (

    select
        spans.customer_id,
        spans.bucket,
        {{ month_of('spans.begins_on') }} as first_month,
        case when spans.ends_on <= as_of.as_of_date then {{ month_of('spans.ends_on') }} end as end_month,
        spans.amount,
        spans.due_day_amount

    from spans
    inner join as_of
        on spans.begins_on <= as_of.as_of_date

    where
        spans.begins_on < spans.ends_on
        and (
            spans.ends_on > as_of.as_of_date
            or {{ month_of('spans.begins_on') }} < {{ month_of('spans.ends_on') }}
        )

),

bucket_movements as (

    select
        customer_id,
        first_month as month,
        bucket,
        amount,
        due_day_amount

    from seen_spans

    union all

    select
        customer_id,
        end_month as month,
        bucket,
        -amount as amount,
        -due_day_amount as due_day_amount

    from seen_spans

    where end_month is not null

),

monthly_buckets as (

    select
        customer_id,
        month,
        {% for bucket, first_day in buckets %}
        sum(amount) filter (where bucket = '{{ bucket }}') as {{ bucket }},
        {% endfor %}
        sum(due_day_amount) as due_day_amount

    from bucket_movements

    group by customer_id, month

),

-- A document counts at the end of its own day and of every later day of its month.
monthly_documents as (

    select
        items.customer_id,
        items.month,
        sum(items.amount) filter (where items.document_kind not in ('payment', 'refund')) as sales_amount,
        -sum(items.amount) filter (where items.document_kind in ('payment', 'refund')) as paid_amount,
        sum(items.amount) as amount,
        sum(
            items.amount * ({{ days_between(
                'items.document_date', 'least(' ~ months_after('items.month', 1) ~ ', as_of.as_of_date + 1)'
            ) }})
        ) as day_amount

    from items
    cross join as_of

    group by items.customer_id, items.month

),

settlements as (

    select
        customer_id,
        {{ month_of('cleared_date') }} as month,
        sum(amount) as settled_amount,
        sum(amount * {{ days_between('due_date', 'cleared_date') }}) as settled_day_amount

    from parts

    where is_paid and document_kind != 'refund'

    group by customer_id, {{ month_of('cleared_date') }}

),

digits as (

    {% for digit in range(10) %}
    select {{ digit }} as digit
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

month_numbers as (

    select hundreds.digit * 100 + tens.digit * 10 + ones.digit as month_number
    from digits as hundreds
    cross join digits as tens
    cross join digits as ones
    where hundreds.digit < 2

),

first_months as (

    select
        customer_id,
        min(month) as month

    from items

    group by customer_id

),

-- Every month from a customer's first document to the as-of month, also those in which nothing happened.
customer_months as (

    select
        first_months.customer_id,
        {{ months_after('first_months.month', 'month_numbers.month_number') }} as month

    from first_months
    cross join month_numbers
    inner join as_of
        on {{ months_after('first_months.month', 'month_numbers.month_number') }} <= as_of.as_of_month

),

movements as (

    select
        customer_months.customer_id,
        customer_months.month,
        {{ days_between(
            'customer_months.month', 'least(' ~ months_after('customer_months.month', 1) ~ ', as_of.as_of_date + 1)'
        ) }} as day_count,
        coalesce(monthly_documents.sales_amount, 0) as sales_amount,
        coalesce(monthly_documents.paid_amount, 0) as paid_amount,
        coalesce(monthly_documents.amount, 0) as amount,
        coalesce(monthly_documents.day_amount, 0) as day_amount,
        coalesce(settlements.settled_amount, 0) as settled_amount,
        coalesce(settlements.settled_day_amount, 0) as settled_day_amount,
        {% for bucket, first_day in buckets %}
        coalesce(monthly_buckets.{{ bucket }}, 0) as {{ bucket }},
        {% endfor %}
        coalesce(monthly_buckets.due_day_amount, 0) as due_day_amount

    from customer_months
    cross join as_of
    left join monthly_documents
        on
            customer_months.customer_id = monthly_documents.customer_id
            and customer_months.month = monthly_documents.month
    left join settlements
        on
            customer_months.customer_id = settlements.customer_id
            and customer_months.month = settlements.month
    left join monthly_buckets
        on
            customer_months.customer_id = monthly_buckets.customer_id
            and customer_months.month = monthly_buckets.month

),

running as (

    select
        customer_id,
        month,
        day_count,
        sales_amount,
        paid_amount,
        amount,
        day_amount,
        settled_amount,
        settled_day_amount,
        sum(amount) over (partition by customer_id order by month rows unbounded preceding) as closing_balance,
        {% for bucket, first_day in buckets %}
        sum({{ bucket }}) over (
            partition by customer_id order by month rows unbounded preceding
        ) as {{ bucket }},
        {% endfor %}
        sum(due_day_amount) over (partition by customer_id order by month rows unbounded preceding) as due_day_amount

    from movements

),

totals as (

    select
        *,
        {% for bucket, first_day in buckets if first_day %}
        {{ bucket }}{{ ' +' if not loop.last }}
        {% endfor %}
        as overdue,
        overdue_over_90 + past_write_off as overdue_over_90_in_all

    from running

),

receivable_balances as (

    select
        customer_id,
        month,
        cast(day_count as bigint) as day_count,
        cast(sales_amount as decimal(22, 4)) as sales_amount,
        cast(paid_amount as decimal(22, 4)) as paid_amount,
        cast(closing_balance - amount as decimal(22, 4)) as opening_balance,
        cast(closing_balance as decimal(22, 4)) as closing_balance,
        cast((closing_balance - amount) * day_count + day_amount as decimal(26, 4)) as balance_days,
        cast(not_due as decimal(22, 4)) as not_due,
        cast(overdue_1_30 as decimal(22, 4)) as overdue_1_30,
        cast(overdue_31_60 as decimal(22, 4)) as overdue_31_60,
        cast(overdue_61_90 as decimal(22, 4)) as overdue_61_90,
        cast(overdue_over_90_in_all as decimal(22, 4)) as overdue_over_90,
        cast(past_write_off as decimal(22, 4)) as past_write_off,
        cast(overdue as decimal(22, 4)) as overdue,
        cast(not_due + overdue - closing_balance as decimal(22, 4)) as unapplied_credit,
        cast(
            overdue * ({{ days_between(ever(), 'month') }} + day_count - 1) - due_day_amount as decimal(26, 4)
        ) as overdue_days_amount,
        cast(settled_amount as decimal(22, 4)) as settled_amount,
        cast(settled_day_amount as decimal(26, 4)) as settled_days_amount

    from totals

)

select * from receivable_balances
