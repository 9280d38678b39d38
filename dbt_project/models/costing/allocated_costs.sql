{#-
    The unit is the month whose quantities divide: what a later month takes back of it is the difference of two divisions of
    the same unit.
-#}
{{ config(
    materialized='incremental', unique_key=['driver_month'], meta={'logged': ['month']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'pool_charges': 'select driver_month from changes',
    'gross_pool_costs': 'select driver_month from changes',
    'pool_cost_lines': 'select driver_month from changes',
    'service_residuals': 'select driver_month from changes',
    'driver_quantities':
        'select driver_month from costing.pool_charges where quantity_month in (select month from changes)',
}) %}

{%- set group = ['month', 'driver_month', 'pool_id', 'behaviour'] -%}
with

pool_charges as (

    select * from {{ ref('pool_charges') }}

    where
        is_posted
    {{ of_touched_months('driver_month', also='and') }}

),

gross_pool_costs as (

    select * from {{ ref('gross_pool_costs') }}

    where
        is_posted
    {{ of_touched_months('driver_month', also='and') }}

),

pool_cost_lines as (

    select * from {{ ref('pool_cost_lines') }}
    {{ of_touched_months('driver_month') }}

),

-- What service pools could not pass on: capacity nobody used, and pools that only serve each other.
service_residuals as (

    select * from {{ ref('service_residuals') }}
    {{ of_touched_months('driver_month') }}

),

driver_quantities as (

    select * from {{ ref('driver_quantities') }}

    where quantity > 0

),

-- A later month that takes back cost of an earlier one divides what is left of that cost again, by the same quantities,
-- and posts the difference: what customers bear is then what it would be had the cost never been booked.
divided_pools as (

    select
        *,
        lag(charged_cents, 1, 0) over (
            partition by driver_month, pool_id, behaviour
            order by month asc
        ) as previous_charged_cents,
        lag(gross_cents, 1, 0) over (
            partition by driver_month, pool_id, behaviour
            order by month asc
        ) as previous_gross_cents

    from pool_charges

),

changed_pools as (

    select * from divided_pools
    where
        zero_receiver_id is null
        and (month = driver_month or charged_cents != previous_charged_cents)
        and (charged_cents != 0 or previous_charged_cents != 0 or gross_cents = 0)

),

-- Every customer by driver quantity. Unknown customers and unused capacity are receivers like others.
receivers as (

    select
        changed_pools.month,
        changed_pools.driver_month,
        changed_pools.pool_id,
        changed_pools.behaviour,
        case
            when driver_quantities.customer_id = 'UNMATCHED' then 'UNALLOCATED:UNMATCHED_CUSTOMER'
            else driver_quantities.customer_id
        end as receiver_id,
        driver_quantities.quantity,
        changed_pools.charged_cents as amount_cents

    from changed_pools
    inner join driver_quantities
        on
            changed_pools.quantity_month = driver_quantities.month
            and changed_pools.driver_id = driver_quantities.driver_id

    union all

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        'UNUSED:' || pool_id as receiver_id,
        unused_quantity as quantity,
        charged_cents as amount_cents

    from changed_pools

    where unused_quantity > 0

),

divided as (

    {{ largest_remainder('receivers', group_by=group) | indent(4) }}

),

first_rounds as (

    select
        *,
        cast(0 as bigint) as previous_received_cents,
        cast(0 as bigint) as previous_rounding_cents

    from divided

    where month = driver_month

),

-- Months that a later one takes cost of.
reopened_months as (

    select distinct driver_month as reopened_month
    from changed_pools
    where month != driver_month

),

later_rounds as (

    select
        divided.*,
        lag(divided.received_cents, 1, 0) over (
            partition by
                divided.driver_month, divided.pool_id, divided.behaviour, divided.receiver_id
            order by divided.month asc
        ) as previous_received_cents,
        lag(divided.rounding_cents, 1, 0) over (
            partition by
                divided.driver_month, divided.pool_id, divided.behaviour, divided.receiver_id
            order by divided.month asc
        ) as previous_rounding_cents

    from divided

    inner join reopened_months
        on divided.driver_month = reopened_months.reopened_month

),

posted_rounds as (

    select * from first_rounds
    union all
    select * from later_rounds
    where month != driver_month

),

customers_and_unused as (

    select
        posted_rounds.month,
        posted_rounds.driver_month,
        posted_rounds.pool_id,
        posted_rounds.behaviour,
        posted_rounds.receiver_id,
        changed_pools.stage,
        changed_pools.driver_id,
        changed_pools.quantity_month,
        posted_rounds.quantity as driver_quantity,
        posted_rounds.total_quantity,
        changed_pools.previous_charged_cents as previous_pool_amount_cents,
        posted_rounds.amount_cents as pool_amount_cents,
        posted_rounds.received_cents - posted_rounds.previous_received_cents as amount_cents,
        posted_rounds.rounding_cents - posted_rounds.previous_rounding_cents as rounding_cents

    from posted_rounds
    inner join changed_pools
        on
            posted_rounds.month = changed_pools.month
            and posted_rounds.driver_month = changed_pools.driver_month
            and posted_rounds.pool_id = changed_pools.pool_id
            and posted_rounds.behaviour = changed_pools.behaviour

),

-- What a budget rate did not charge of the cost, or charged beyond it.
variances as (

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        'VARIANCE:' || pool_id as receiver_id,
        stage,
        gross_cents - charged_cents
        - case
            when month = driver_month then 0
            else previous_gross_cents - previous_charged_cents
        end as amount_cents

    from divided_pools

    where zero_receiver_id is null

),

-- Pools that no driver divides: sustaining cost, cost without a rule or without any driver quantity.
whole_totals as (

    select
        gross_pool_costs.month,
        gross_pool_costs.driver_month,
        gross_pool_costs.pool_id,
        gross_pool_costs.behaviour,
        case
            when pool_charges.zero_receiver_id is not null then pool_charges.zero_receiver_id
            when gross_pool_costs.stage = 'sustaining'
                then 'SUSTAINING:' || coalesce(gross_pool_costs.sustaining_level, 'facility')
            when gross_pool_costs.stage = 'activity' then 'UNALLOCATED:ZERO_DRIVER'
            else 'UNALLOCATED:NO_RULE'
        end as receiver_id,
        gross_pool_costs.stage,
        gross_pool_costs.gross_cents as total_cents

    from gross_pool_costs
    left join pool_charges
        on
            gross_pool_costs.month = pool_charges.month
            and gross_pool_costs.driver_month = pool_charges.driver_month
            and gross_pool_costs.pool_id = pool_charges.pool_id
            and gross_pool_costs.behaviour = pool_charges.behaviour

    where
        gross_pool_costs.stage != 'direct'
        and (pool_charges.pool_id is null or pool_charges.zero_receiver_id is not null)

),

whole_pools as (

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        receiver_id,
        stage,
        total_cents - lag(total_cents, 1, 0) over (
            partition by driver_month, pool_id, behaviour
            order by month asc
        ) as amount_cents

    from whole_totals

),

-- Direct pools: the lines name their customer.
direct_lines as (

    select
        pool_cost_lines.month,
        pool_cost_lines.driver_month,
        pool_cost_lines.pool_id,
        pool_cost_lines.behaviour,
        coalesce(pool_cost_lines.customer_id, 'UNALLOCATED:UNMATCHED_CUSTOMER') as receiver_id,
        gross_pool_costs.stage,
        sum(pool_cost_lines.amount_cents) as amount_cents

    from pool_cost_lines
    inner join gross_pool_costs
        on
            pool_cost_lines.month = gross_pool_costs.month
            and pool_cost_lines.driver_month = gross_pool_costs.driver_month
            and pool_cost_lines.pool_id = gross_pool_costs.pool_id
            and pool_cost_lines.behaviour = gross_pool_costs.behaviour

    where gross_pool_costs.stage = 'direct'

    group by
        pool_cost_lines.month,
        pool_cost_lines.driver_month,
        pool_cost_lines.pool_id,
        pool_cost_lines.behaviour,
        coalesce(pool_cost_lines.customer_id, 'UNALLOCATED:UNMATCHED_CUSTOMER'),
        gross_pool_costs.stage

),

undivided as (

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        receiver_id,
        stage,
        amount_cents

    from variances

    where amount_cents != 0

    union all

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        receiver_id,
        stage,
        amount_cents

    from whole_pools

    where amount_cents != 0 or month = driver_month

    union all

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        receiver_id,
        stage,
        amount_cents

    from direct_lines

    union all

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        receiver_id,
        stage,
        amount_cents

    from service_residuals

    where amount_cents != 0

),

all_receivers as (

    select * from customers_and_unused

    union all

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        receiver_id,
        stage,
        cast(null as string) as driver_id,
        cast(null as date) as quantity_month,
        cast(null as bigint) as driver_quantity,
        cast(null as bigint) as total_quantity,
        cast(null as bigint) as previous_pool_amount_cents,
        cast(null as bigint) as pool_amount_cents,
        amount_cents,
        cast(0 as bigint) as rounding_cents

    from undivided

),

allocated_costs as (

    select
        month,
        driver_month,
        pool_id,
        behaviour,
        case
            when receiver_id like 'UNUSED:%' then 'unused'
            when receiver_id like 'SUSTAINING:%' then 'sustaining'
            when receiver_id like 'UNALLOCATED:%' then 'unallocated'
            when receiver_id like 'VARIANCE:%' then 'variance'
            else 'customer'
        end as receiver_kind,
        receiver_id,
        stage,
        driver_id,
        quantity_month,
        cast(driver_quantity as bigint) as driver_quantity,
        cast(total_quantity as bigint) as total_quantity,
        cast(previous_pool_amount_cents as bigint) as previous_pool_amount_cents,
        cast(pool_amount_cents as bigint) as pool_amount_cents,
        cast(amount_cents as bigint) as amount_cents,
        cast(rounding_cents as bigint) as rounding_cents

    from all_receivers

)

select * from allocated_costs
