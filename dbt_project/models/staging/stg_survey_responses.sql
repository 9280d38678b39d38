{{ current_version('survey_response', key=['survey_response_id']) }}
