{{ current_version('opportunity', key=['opportunity_id']) }}
