{{ current_version('employee', key=['employee_id']) }}
