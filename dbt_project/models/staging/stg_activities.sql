{{ current_version('activity', key=['activity_id']) }}
