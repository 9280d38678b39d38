{{ current_version('campaign', key=['campaign_id']) }}
