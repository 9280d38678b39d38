with

advised_actions as (

    select * from {{ source('analytics', 'advised_actions') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

-- The owner is a person: in clear only where the company says so.
customer_actions as (

    select
        cast(advised_actions.customer_id as string) as customer_id,
        cast(advised_actions.as_of_date as date) as as_of_date,
        cast(advised_actions.action as string) as action,
        cast(advised_actions.action_rank as integer) as action_rank,
        cast(advised_actions.priority_rank as bigint) as priority_rank,
        cast(advised_actions.rule_id as string) as rule_id,
        cast(advised_actions.title as string) as title,
        cast(advised_actions.title_zh as string) as title_zh,
        cast(advised_actions.reason as string) as reason,
        cast(advised_actions.reason_zh as string) as reason_zh,
        cast(advised_actions.expected_effect as decimal(22, 4)) as expected_effect,
        cast(advised_actions.effect_basis as string) as effect_basis,
        cast(advised_actions.effect_basis_zh as string) as effect_basis_zh,
        case
            when company.publish_owner_ref then advised_actions.owner_ref
            else {{ pseudonym('internal_user', 'advised_actions.owner_ref') }}
        end as owner_ref,
        cast(advised_actions.owner_role as string) as owner_role,
        cast(advised_actions.due_date as date) as due_date,
        cast(advised_actions.playbook_version as string) as playbook_version

    from advised_actions
    cross join company

)

select * from customer_actions
