{{ config(severity='warn') }}

{#
    Ledger lines that went out of scope because no chart of accounts knows their account, and cost lines finer than a
    cent, which are counted in whole cents. Neither is lost silently: it is listed here.
#}
select
    source_instance,
    journal_id,
    journal_line_number,
    gl_account_number,
    functional_amount,
    out_of_scope_reason

from {{ ref('fct_ledger') }}

where
    out_of_scope_reason = 'account not in the chart of accounts'
    or (role = 'cost' and functional_amount * 100 != amount_cents)
