{{ current_version('timesheet', key=['timesheet_id']) }}
