{{ current_version('invoice_line', key=['invoice_id', 'line_number']) }}
