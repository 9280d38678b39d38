{{ config(
    materialized='incremental',
    unique_key=['source_instance', 'campaign_member_id'],
    meta={'logged': ['month']},
    post_hook='{{ record_build() }}'
) }}
{%- do plan_build(whole=true) %}

with

campaign_members as (

    select * from {{ ref('stg_campaign_members') }}

),

campaigns as (

    select * from {{ ref('stg_campaigns') }}

),

-- The day of the answer; where it is not said, the nearest day that is.
dated_responses as (

    select
        campaign_members.*,
        campaigns.channel,
        coalesce(
            campaign_members.first_responded_date,
            campaign_members.created_on,
            campaigns.start_date,
            campaign_members.extract_date
        ) as responded_on

    from campaign_members
    left join campaigns
        on
            campaign_members.source_instance = campaigns.source_instance
            and campaign_members.campaign_id = campaigns.campaign_id

    where campaign_members.has_responded

),

customer_campaign_responses as (

    select
        dated_responses.source_instance,
        dated_responses.campaign_member_id,
        dated_responses.campaign_id,
        {{ resolved_customer('dated_responses', named=false) }} as customer_id,
        dated_responses.channel,
        dated_responses.responded_on,
        {{ month_of('dated_responses.responded_on') }} as month

    from dated_responses
    {{ join_customer_keys('dated_responses', on='dated_responses.responded_on', named=false) }}

)

select * from customer_campaign_responses
