with

dim_customers as (

    select * from {{ ref('dim_customers') }}

),

orders as (

    select * from {{ ref('fct_orders') }}

),

customer_profitability as (

    select * from {{ ref('customer_profitability') }}

),

as_of as (

    select * from {{ ref('as_of') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

customer_rfm as (

    select * from {{ source('analytics', 'customer_rfm') }}

),

customer_clv as (

    select * from {{ source('analytics', 'customer_clv') }}

),

churn_risk as (

    select * from {{ source('analytics', 'churn_risk') }}

),

customer_lifecycle as (

    select * from {{ source('analytics', 'customer_lifecycle') }}

),

relationship_strength as (

    select * from {{ source('analytics', 'relationship_strength') }}

),

profitability_matrix as (

    select * from {{ source('analytics', 'profitability_matrix') }}

),

customer_potential as (

    select * from {{ source('analytics', 'customer_potential') }}

),

credit_risk as (

    select * from {{ source('analytics', 'credit_risk') }}

),

-- What to do first about each customer.
first_actions as (

    select * from {{ source('analytics', 'advised_actions') }}

    where action_rank = 1

),

order_dates as (

    select
        orders.customer_id,
        min(orders.order_date) as first_order_date,
        max(orders.order_date) as last_order_date

    from orders
    inner join as_of
        on orders.order_date <= as_of.as_of_date

    group by orders.customer_id

),

known_months as (

    select
        customer_profitability.*,
        customer_profitability.direct_cost_to_serve
        + customer_profitability.activity_cost_variable
        + customer_profitability.activity_cost_step_fixed
        + customer_profitability.activity_cost_fixed as cost_to_serve,
        customer_profitability.expected_credit_loss
        + customer_profitability.financing_cost as credit_cost,
        customer_profitability.month >= {{ months_before('as_of.as_of_month', 11) }} as is_recent

    from customer_profitability
    inner join as_of
        on customer_profitability.month <= as_of.as_of_month

),

sums as (

    select
        customer_id,
        sum(order_count) filter (where is_recent) as orders_12m,
        sum(net_revenue) filter (where is_recent) as net_revenue_12m,
        sum(cost_of_goods_sold) filter (where is_recent) as cost_of_goods_sold_12m,
        sum(gross_margin) filter (where is_recent) as gross_margin_12m,
        sum(cost_to_serve) filter (where is_recent) as cost_to_serve_12m,
        sum(credit_cost) filter (where is_recent) as credit_cost_12m,
        sum(allocated_sustaining) filter (where is_recent) as allocated_sustaining_12m,
        sum(operating_profit) filter (where is_recent) as operating_profit_12m,
        sum(net_revenue) as net_revenue_total,
        sum(operating_profit) as operating_profit_total

    from known_months

    group by customer_id

),

customers as (

    select
        dim_customers.customer_id,
        as_of.as_of_date,
        case
            when company.publish_customer_name then dim_customers.customer_name
            else {{ pseudonym('name', 'dim_customers.customer_name') }}
        end as customer_name,
        dim_customers.is_in_crm,
        dim_customers.is_deleted,
        dim_customers.segment,
        dim_customers.level,
        dim_customers.industry,
        dim_customers.country,
        dim_customers.region,
        dim_customers.city,
        dim_customers.acquisition_source,
        dim_customers.acquired_date,
        case
            when company.publish_owner_ref then dim_customers.owner_ref
            else {{ pseudonym('internal_user', 'dim_customers.owner_ref') }}
        end as owner_ref,
        dim_customers.source_instance,
        dim_customers.source_customer_id,
        order_dates.first_order_date,
        order_dates.last_order_date,
        cast(coalesce(sums.orders_12m, 0) as bigint) as orders_12m,
        cast(coalesce(sums.net_revenue_12m, 0) as decimal(22, 4)) as net_revenue_12m,
        cast(coalesce(sums.cost_of_goods_sold_12m, 0) as decimal(22, 4)) as cost_of_goods_sold_12m,
        cast(coalesce(sums.gross_margin_12m, 0) as decimal(22, 4)) as gross_margin_12m,
        cast(coalesce(sums.cost_to_serve_12m, 0) as decimal(22, 2)) as cost_to_serve_12m,
        cast(coalesce(sums.credit_cost_12m, 0) as decimal(22, 2)) as credit_cost_12m,
        cast(coalesce(sums.allocated_sustaining_12m, 0) as decimal(22, 2))
            as allocated_sustaining_12m,
        cast(coalesce(sums.operating_profit_12m, 0) as decimal(22, 4)) as operating_profit_12m,
        cast(coalesce(sums.net_revenue_total, 0) as decimal(22, 4)) as net_revenue_total,
        cast(coalesce(sums.operating_profit_total, 0) as decimal(22, 4)) as operating_profit_total,
        cast(customer_rfm.rfm_tier as string) as rfm_tier,
        cast(customer_rfm.customer_tier as string) as customer_tier,
        cast(customer_lifecycle.stage as string) as lifecycle_stage,
        cast(customer_lifecycle.stage_since as date) as lifecycle_stage_since,
        cast(customer_clv.clv as decimal(22, 4)) as clv,
        cast(customer_clv.clv_low as decimal(22, 4)) as clv_low,
        cast(customer_clv.clv_high as decimal(22, 4)) as clv_high,
        cast(customer_clv.value_tier as string) as value_tier,
        cast(customer_clv.clv_discounted as double) as clv_discounted,
        cast(churn_risk.churn_probability as double) as churn_probability,
        cast(churn_risk.expected_profit_lost as decimal(22, 4)) as expected_profit_lost,
        cast(churn_risk.churn_rank as bigint) as churn_rank,
        cast(relationship_strength.strength as double) as relationship_strength,
        cast(relationship_strength.strength_class as string) as relationship_class,
        cast(profitability_matrix.quadrant as string) as quadrant,
        cast(credit_risk.suggestion as string) as credit_suggestion,
        cast(customer_potential.potential_value as decimal(22, 4)) as potential_value,
        cast(first_actions.action as string) as action,
        cast(first_actions.reason as string) as action_reason,
        cast(first_actions.expected_effect as decimal(22, 4)) as action_expected_effect,
        cast(first_actions.due_date as date) as action_due_date

    from dim_customers
    cross join as_of
    cross join company
    left join order_dates
        on dim_customers.customer_id = order_dates.customer_id
    left join sums
        on dim_customers.customer_id = sums.customer_id
    left join customer_rfm
        on
            dim_customers.customer_id = customer_rfm.customer_id
            and as_of.as_of_date = customer_rfm.as_of_date
    left join customer_clv
        on
            dim_customers.customer_id = customer_clv.customer_id
            and as_of.as_of_date = customer_clv.as_of_date
    left join churn_risk
        on
            dim_customers.customer_id = churn_risk.customer_id
            and as_of.as_of_date = churn_risk.as_of_date
    left join customer_lifecycle
        on
            dim_customers.customer_id = customer_lifecycle.customer_id
            and as_of.as_of_date = customer_lifecycle.as_of_date
    left join relationship_strength
        on
            dim_customers.customer_id = relationship_strength.customer_id
            and as_of.as_of_date = relationship_strength.as_of_date
    left join profitability_matrix
        on
            dim_customers.customer_id = profitability_matrix.customer_id
            and as_of.as_of_date = profitability_matrix.as_of_date
    left join customer_potential
        on
            dim_customers.customer_id = customer_potential.customer_id
            and as_of.as_of_date = customer_potential.as_of_date
    left join credit_risk
        on
            dim_customers.customer_id = credit_risk.customer_id
            and as_of.as_of_date = credit_risk.as_of_date
    left join first_actions
        on
            dim_customers.customer_id = first_actions.customer_id
            and as_of.as_of_date = first_actions.as_of_date

)

select * from customers
