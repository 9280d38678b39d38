-- noqa: disable=LT02
{# Age bucket -> the first day after the due date that belongs to it; the last begins where a debt is given up. #}
{% set buckets = [
    ('not_due', none),
    ('overdue_1_30', '1'),
    ('overdue_31_60', '31'),
    ('overdue_61_90', '61'),
    ('overdue_over_90', '91'),
    ('past_write_off', 'write_off_after_days + 1'),
] %}
with

items as (

    select * from {{ ref('receivable_items') }}

),

clearings as (

    select * from {{ ref('receivable_clearings') }}

),

months as (

    select distinct month from {{ ref('receivable_balances') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

parts as (

    select
        items.due_date,
        clearings.cleared_date,
        clearings.amount

    from clearings
    inner join items
        on
            clearings.source_instance = items.source_instance
            and clearings.document_kind = items.document_kind
            and clearings.document_id = items.document_id

    where items.document_kind not in ('payment', 'refund')

    union all

    select
        due_date,
        {{ forever() }} as cleared_date,
        open_amount as amount

    from items

    where document_kind not in ('payment', 'refund') and open_amount > 0

),

-- What has become of a sale is known once its debt is either settled or given up: only such sales are evidence.
decided_parts as (

    select
        parts.*,
        company.write_off_after_days,
        {{ month_of('parts.due_date + cast(company.write_off_after_days + 1 as integer)') }} as month

    from parts
    cross join company
    inner join as_of
        on parts.due_date + cast(company.write_off_after_days + 1 as integer) <= as_of.as_of_date

),

monthly_evidence as (

    select
        month,
        {% for bucket, first_day in buckets %}
        {% if first_day %}
        sum(amount) filter (
            where cleared_date > due_date + cast({{ first_day }} as integer)
        ) as {{ bucket }}{{ ',' if not loop.last }}
        {% else %}
        sum(amount) as {{ bucket }},
        {% endif %}
        {% endfor %}

    from decided_parts

    group by month

),

-- Three years of evidence, month by month as it was known then.
evidence as (

    select
        months.month,
        count(*) over (order by months.month rows unbounded preceding) as known_months,
        {% for bucket, first_day in buckets %}
        coalesce(sum(monthly_evidence.{{ bucket }}) over (
            order by months.month rows between 35 preceding and current row
        ), 0) as {{ bucket }}{{ ',' if not loop.last }}
        {% endfor %}

    from months
    left join monthly_evidence
        on months.month = monthly_evidence.month

),

bucket_evidence as (

    {% for bucket, first_day in buckets %}
    select
        evidence.month,
        '{{ bucket }}' as ageing_bucket,
        evidence.known_months,
        evidence.{{ bucket }} as reached_amount,
        evidence.{{ buckets[loop.index][0] if not loop.last else bucket }} as passed_on_amount,
        evidence.past_write_off as lost_amount,
        {% if loop.last %}
        cast(1 as decimal(9, 6)) as stated_rate,
        cast(1 as decimal(9, 6)) as forward_looking_factor,
        case when company.declares_loss_rates or evidence.known_months >= 36 then 'written_off' else 'none' end
            as stated_by
        {% else %}
        company.loss_rate_{{ bucket }} as stated_rate,
        company.forward_looking_factor,
        case when company.declares_loss_rates then 'declared' else 'none' end as stated_by
        {% endif %}

    from evidence
    cross join company
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

-- What the company says comes before its history; until there is either, no loss is expected.
chosen as (

    select
        *,
        case
            when stated_by = 'none' and known_months >= 36 and reached_amount > 0 then 'flow_rates'
            else stated_by
        end as rate_source

    from bucket_evidence

),

loss_rates as (

    select
        month,
        ageing_bucket,
        cast(reached_amount as decimal(22, 4)) as reached_amount,
        cast(lost_amount as decimal(22, 4)) as lost_amount,
        case
            when reached_amount > 0
                then {{ rounded_double('cast(passed_on_amount as double) / cast(reached_amount as double)', 6) }}
        end as flow_rate,
        {{ decimal_of_double(
            "
            least(
                case
                    when rate_source = 'flow_rates' then cast(lost_amount as double) / cast(reached_amount as double)
                    when rate_source = 'none' then 0.0
                    else cast(stated_rate as double)
                end * cast(forward_looking_factor as double),
                1
            )",
            9, 6,
        ) }} as loss_rate,
        rate_source

    from chosen

)

select * from loss_rates
