{{ config(
    materialized='incremental',
    unique_key=['source_instance', 'gl_account_number', 'posting_date'],
    post_hook='{{ record_build() }}'
) }}
{%- do plan_build(whole=true) %}

with

gl_entries as (

    select * from {{ ref('stg_gl_entries') }}

),

budgets as (

    select * from {{ ref('stg_budgets') }}

),

gl_accounts as (

    select * from {{ ref('stg_gl_accounts') }}

),

ledger_scope as (

    select * from {{ source('rules', 'ledger_scope') }}

),

postings as (

    select
        source_instance,
        gl_account_number,
        cost_center_id,
        effective_date as posting_date

    from gl_entries

    union

    select
        source_instance,
        gl_account_number,
        cost_center_id,
        budget_month as posting_date

    from budgets

),

account_cost_centers as (

    select distinct
        gl_account_number,
        cost_center_id

    from postings

),

-- Ranges are compared once per account and cost centre, not once per posting.
matching_rules as (

    select
        account_cost_centers.gl_account_number,
        account_cost_centers.cost_center_id,
        ledger_scope.position,
        ledger_scope.rule_id,
        ledger_scope.role,
        ledger_scope.pool_id,
        ledger_scope.reason,
        ledger_scope.valid_from,
        ledger_scope.valid_to

    from account_cost_centers
    inner join ledger_scope
        on
            account_cost_centers.gl_account_number >= ledger_scope.gl_account_from
            and account_cost_centers.gl_account_number
            <= coalesce(ledger_scope.gl_account_to, ledger_scope.gl_account_from)
            and (
                ledger_scope.cost_center_id is null
                or account_cost_centers.cost_center_id = ledger_scope.cost_center_id
            )

),

first_matches as (

    select
        postings.source_instance,
        postings.gl_account_number,
        postings.cost_center_id,
        postings.posting_date,
        matching_rules.rule_id,
        matching_rules.role,
        matching_rules.pool_id,
        matching_rules.reason

    from postings
    left join matching_rules
        on
            postings.gl_account_number = matching_rules.gl_account_number
            and coalesce(postings.cost_center_id, '') = coalesce(matching_rules.cost_center_id, '')
            and postings.posting_date >= coalesce(matching_rules.valid_from, postings.posting_date)
            and postings.posting_date <= coalesce(matching_rules.valid_to, postings.posting_date)

    qualify row_number() over (
        partition by
            postings.source_instance,
            postings.gl_account_number,
            postings.cost_center_id,
            postings.posting_date
        order by matching_rules.position asc
    ) = 1

),

-- A chart of accounts delivered by another source describes the account where its own source does not.
shared_accounts as (

    select * from gl_accounts
    qualify row_number() over (partition by gl_account_number order by source_instance asc) = 1

),

described as (

    select
        first_matches.*,
        coalesce(gl_accounts.gl_account_name, shared_accounts.gl_account_name) as gl_account_name,
        coalesce(gl_accounts.account_type, shared_accounts.account_type) as account_type

    from first_matches
    left join gl_accounts
        on
            first_matches.source_instance = gl_accounts.source_instance
            and first_matches.gl_account_number = gl_accounts.gl_account_number
    left join shared_accounts
        on first_matches.gl_account_number = shared_accounts.gl_account_number

),

-- Without a rule the account type decides: a cost nobody placed must show up as unallocated, not vanish.
scoped as (

    select
        source_instance,
        gl_account_number,
        gl_account_name,
        account_type,
        cost_center_id,
        posting_date,
        rule_id as scope_rule_id,
        case
            when role is not null then role
            when account_type = 'expense' then 'cost'
            when account_type = 'revenue' then 'revenue'
            else 'out_of_scope'
        end as role,
        case when role = 'cost' then pool_id end as pool_id,
        case
            when role is not null then reason
            when account_type in ('expense', 'revenue') then null
            when account_type = 'statistical' then 'statistical account'
            when account_type is null then 'account not in the chart of accounts'
            else 'balance sheet'
        end as out_of_scope_reason

    from described

)

select * from scoped
