{{ current_version('budget', key=['budget_version', 'budget_month', 'gl_account_number', 'cost_center_id']) }}
