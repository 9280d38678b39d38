with

ledger_controls as (

    select * from {{ ref('ledger_controls') }}

),

reconciliation as (

    select * from {{ ref('reconciliation') }}

),

-- What the tolerance of the month covers has not failed.
control_failures as (

    select
        ledger_controls.check_name,
        ledger_controls.month,
        ledger_controls.source_instance,
        ledger_controls.source_file,
        ledger_controls.source_row,
        ledger_controls.journal_id,
        ledger_controls.gl_account_number,
        ledger_controls.expected_amount,
        ledger_controls.found_amount,
        ledger_controls.difference,
        reconciliation.status,
        ledger_controls.explanation

    from ledger_controls
    inner join reconciliation
        on
            ledger_controls.check_name = reconciliation.check_name
            and ledger_controls.month = reconciliation.month

    where
        ledger_controls.difference != 0
        and reconciliation.status != 'pass'

)

select * from control_failures
