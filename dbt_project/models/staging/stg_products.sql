{{ current_version('product', key=['product_id']) }}
