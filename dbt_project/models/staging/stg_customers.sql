{{ current_version('customer', key=['customer_id'], keep_deleted=true, required=['customer_name']) }}
