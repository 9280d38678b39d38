{{ current_version('service_case', key=['case_id']) }}
