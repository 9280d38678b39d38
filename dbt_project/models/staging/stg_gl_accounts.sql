{{ current_version('gl_account', key=['gl_account_number']) }}
