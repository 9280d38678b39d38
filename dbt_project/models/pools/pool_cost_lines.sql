{{ config(materialized='incremental', unique_key=['driver_month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

ledger_lines as (

    select
        *,
        coalesce(pool_id, 'UNASSIGNED') as cost_pool_id

    from {{ ref('fct_ledger') }}

    where role = 'cost'

),

behaviours as (

    select * from {{ source('rules', 'behaviours') }}

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

-- The month whose quantities divided what a later voucher takes back: its reversal is divided by the same ones.
reversed_months as (

    select
        reversals.source_instance,
        reversals.journal_id,
        reversals.journal_line_number,
        max(originals.month) as month

    from ledger_lines as reversals
    inner join ledger_lines as originals
        on
            reversals.source_instance = originals.source_instance
            and reversals.reversal_journal_id = originals.journal_id
            and reversals.cost_pool_id = originals.cost_pool_id

    where originals.month < reversals.month

    group by reversals.source_instance, reversals.journal_id, reversals.journal_line_number

),

dated_lines as (

    select
        ledger_lines.*,
        coalesce(reversed_months.month, ledger_lines.month) as driver_month

    from ledger_lines
    left join reversed_months
        on
            ledger_lines.source_instance = reversed_months.source_instance
            and ledger_lines.journal_id = reversed_months.journal_id
            and ledger_lines.journal_line_number = reversed_months.journal_line_number

),

-- Ranges are compared once per pool and account, not once per line.
pool_accounts as (

    select distinct
        cost_pool_id,
        gl_account_number

    from ledger_lines

),

account_behaviours as (

    select
        pool_accounts.cost_pool_id,
        pool_accounts.gl_account_number,
        behaviours.position,
        behaviours.behaviour,
        behaviours.valid_from,
        behaviours.valid_to,
        {{ cents('behaviours.fixed_amount') }} as fixed_cents

    from pool_accounts
    inner join behaviours
        on
            pool_accounts.cost_pool_id = behaviours.pool_id
            and pool_accounts.gl_account_number >= behaviours.gl_account_from
            and pool_accounts.gl_account_number
            <= coalesce(behaviours.gl_account_to, behaviours.gl_account_from)

),

ruled_lines as (

    select
        dated_lines.*,
        account_behaviours.position,
        account_behaviours.behaviour,
        account_behaviours.fixed_cents

    from dated_lines
    inner join account_behaviours
        on
            dated_lines.cost_pool_id = account_behaviours.cost_pool_id
            and dated_lines.gl_account_number = account_behaviours.gl_account_number

    where
        dated_lines.effective_date >= coalesce(account_behaviours.valid_from, dated_lines.effective_date)
        and dated_lines.effective_date <= coalesce(account_behaviours.valid_to, dated_lines.effective_date)

    qualify row_number() over (
        partition by
            dated_lines.source_instance, dated_lines.journal_id, dated_lines.journal_line_number
        order by account_behaviours.position asc
    ) = 1

),

-- A fixed amount is used up by the lines in the order of their posting; a reversal gives back what was booked last.
used_up as (

    select
        *,
        sum(amount_cents) over (
            partition by driver_month, cost_pool_id, position
            order by
                month asc,
                effective_date asc,
                source_instance asc,
                journal_id asc,
                journal_line_number asc
            rows unbounded preceding
        ) as running_cents

    from ruled_lines

),

fixed_shares as (

    select
        *,
        case
            when fixed_cents is null then 0
            else least(running_cents, fixed_cents) - least(running_cents - amount_cents, fixed_cents)
        end as fixed_part_cents

    from used_up

),

-- What each line is made of, where a rule says more than its pool does.
line_parts as (

    select
        source_instance,
        journal_id,
        journal_line_number,
        behaviour,
        amount_cents - fixed_part_cents as part_cents

    from fixed_shares

    where amount_cents != fixed_part_cents or amount_cents = 0

    union all

    select
        source_instance,
        journal_id,
        journal_line_number,
        'fixed' as behaviour,
        fixed_part_cents as part_cents

    from fixed_shares

    where fixed_part_cents != 0

),

cost_lines as (

    select
        dated_lines.month,
        dated_lines.driver_month,
        dated_lines.cost_pool_id as pool_id,
        coalesce(line_parts.behaviour, pool_months.behaviour, 'unassigned') as behaviour,
        dated_lines.source_instance,
        dated_lines.journal_id,
        dated_lines.journal_line_number,
        dated_lines.effective_date,
        dated_lines.gl_account_number,
        dated_lines.gl_account_name,
        dated_lines.cost_center_id,
        dated_lines.customer_id,
        dated_lines.scope_rule_id,
        case when company.publish_je_line_description then dated_lines.je_line_description end
            as je_line_description,
        cast(coalesce(line_parts.part_cents, dated_lines.amount_cents) as bigint) as amount_cents,
        dated_lines.source_file,
        dated_lines.source_row,
        dated_lines.extract_date

    from dated_lines
    cross join company
    left join line_parts
        on
            dated_lines.source_instance = line_parts.source_instance
            and dated_lines.journal_id = line_parts.journal_id
            and dated_lines.journal_line_number = line_parts.journal_line_number
    left join pool_months
        on
            dated_lines.driver_month = pool_months.month
            and dated_lines.cost_pool_id = pool_months.pool_id

)

select * from cost_lines
