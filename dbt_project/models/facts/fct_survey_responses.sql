with

survey_responses as (

    select * from {{ ref('stg_survey_responses') }}

),

-- Scores of different scales are put on 0 to 1; a scale that is unknown or empty gives no score.
customer_survey_responses as (

    select
        survey_responses.source_instance,
        survey_responses.survey_response_id,
        {{ resolved_customer('survey_responses', named=false) }} as customer_id,
        survey_responses.survey_type,
        survey_responses.case_id,
        survey_responses.channel,
        survey_responses.responded_on,
        {{ month_of('survey_responses.responded_on') }} as month,
        cast(survey_responses.score_raw - survey_responses.scale_min as double)
        / nullif(cast(survey_responses.scale_max - survey_responses.scale_min as double), 0)
            as score_normalized

    from survey_responses
    {{ join_customer_keys('survey_responses', on='survey_responses.responded_on', named=false) }}

)

select * from customer_survey_responses
