{{ config(severity='warn') }}

{#
    Lines whose document was not delivered, or was deleted: they have no customer, date or status, so they cannot be
    revenue. Few are normal where a source deletes documents; many say that an extract is incomplete.
#}
select
    lines.source_instance,
    lines.invoice_id,
    lines.line_number,
    lines.line_net_amount

from {{ ref('stg_invoice_lines') }} as lines
left join {{ ref('stg_invoices') }} as invoices
    on
        lines.source_instance = invoices.source_instance
        and lines.invoice_id = invoices.invoice_id

where invoices.invoice_id is null
