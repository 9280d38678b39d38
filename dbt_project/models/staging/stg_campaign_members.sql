{{ current_version('campaign_member', key=['campaign_member_id']) }}
