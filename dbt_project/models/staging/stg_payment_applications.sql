{{ current_version('payment_application', key=['payment_application_id']) }}
