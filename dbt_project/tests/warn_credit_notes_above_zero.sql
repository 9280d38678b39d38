{{ config(severity='warn') }}

{# Credit notes that add revenue: usually a dialect that does not turn the sign, seldom a correction of a correction. #}
select
    source_instance,
    invoice_id,
    invoice_number,
    net_amount

from {{ ref('fct_invoices') }}

where
    document_type = 'credit_note'
    and net_amount > 0
