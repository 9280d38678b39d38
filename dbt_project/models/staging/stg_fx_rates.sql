{{ current_version('fx_rate', key=['from_currency', 'to_currency', 'rate_date', 'rate_type']) }}
