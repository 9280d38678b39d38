{{ current_version('trial_balance', key=['gl_account_number', 'fiscal_year', 'period_number']) }}
