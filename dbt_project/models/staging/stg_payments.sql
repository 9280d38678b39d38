{{ current_version('payment', key=['payment_id']) }}
