with

ledger_lines as (

    select * from {{ ref('fct_ledger') }}

),

cost_lines as (

    select
        month,
        coalesce(pool_id, 'UNASSIGNED') as pool_id,
        source_instance,
        journal_id,
        journal_line_number,
        effective_date,
        gl_account_number,
        gl_account_name,
        cost_center_id,
        customer_id,
        scope_rule_id,
        je_line_description,
        amount_cents,
        source_file,
        source_row,
        extract_date

    from ledger_lines

    where role = 'cost'

)

select * from cost_lines
