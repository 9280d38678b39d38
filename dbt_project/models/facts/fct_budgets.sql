with

budgets as (

    select * from {{ ref('stg_budgets') }}

),

posting_scopes as (

    select * from {{ ref('posting_scopes') }}

),

versions as (

    select
        source_instance,
        budget_month,
        budget_version,
        max(extract_date) as delivered_on

    from budgets

    group by source_instance, budget_month, budget_version

),

-- Of several versions of a month's budget the one delivered last holds; names decide between equals (v1 before v2).
current_versions as (

    select * from versions
    qualify row_number() over (
        partition by source_instance, budget_month
        order by delivered_on desc, budget_version desc
    ) = 1

),

budget_lines as (

    select
        budgets.source_instance,
        budgets.budget_version,
        {{ month_of('budgets.budget_month') }} as month,
        budgets.gl_account_number,
        budgets.cost_center_id,
        {{ cents('budgets.amount') }} as amount_cents,
        posting_scopes.role,
        posting_scopes.pool_id

    from budgets
    inner join current_versions
        on
            budgets.source_instance = current_versions.source_instance
            and budgets.budget_month = current_versions.budget_month
            and budgets.budget_version = current_versions.budget_version
    inner join posting_scopes
        on
            budgets.source_instance = posting_scopes.source_instance
            and budgets.gl_account_number = posting_scopes.gl_account_number
            and coalesce(budgets.cost_center_id, '') = coalesce(posting_scopes.cost_center_id, '')
            and budgets.budget_month = posting_scopes.posting_date

)

select * from budget_lines
