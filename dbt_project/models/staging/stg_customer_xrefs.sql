{{ current_version('customer_xref', key=['source_customer_key', 'key_kind', 'valid_from']) }}
