{{ current_version('cost_center', key=['cost_center_id']) }}
