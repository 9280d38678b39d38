{{ current_version('invoice', key=['invoice_id']) }}
