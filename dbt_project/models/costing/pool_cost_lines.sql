with

ledger_lines as (

    select * from {{ ref('fct_ledger') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

cost_lines as (

    select
        ledger_lines.month,
        coalesce(ledger_lines.pool_id, 'UNASSIGNED') as pool_id,
        ledger_lines.source_instance,
        ledger_lines.journal_id,
        ledger_lines.journal_line_number,
        ledger_lines.effective_date,
        ledger_lines.gl_account_number,
        ledger_lines.gl_account_name,
        ledger_lines.cost_center_id,
        ledger_lines.customer_id,
        ledger_lines.scope_rule_id,
        case when company.publish_je_line_description then ledger_lines.je_line_description end
            as je_line_description,
        ledger_lines.amount_cents,
        ledger_lines.source_file,
        ledger_lines.source_row,
        ledger_lines.extract_date

    from ledger_lines
    cross join company

    where ledger_lines.role = 'cost'

)

select * from cost_lines
