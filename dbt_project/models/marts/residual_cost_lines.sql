with

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

    where receiver_kind != 'customer'

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

drivers as (

    select * from {{ source('rules', 'drivers') }}

),

residual_cost_lines as (

    select
        allocated_costs.month,
        allocated_costs.driver_month,
        allocated_costs.pool_id,
        allocated_costs.behaviour,
        allocated_costs.receiver_id as residual_line,
        pool_months.pool_name,
        allocated_costs.stage,
        {{ driver_units('allocated_costs.driver_quantity', 'drivers.decimals') }} as driver_quantity,
        {{ driver_units('allocated_costs.total_quantity', 'drivers.decimals') }}
            as total_driver_quantity,
        {{ from_cents('allocated_costs.previous_pool_amount_cents') }} as previous_pool_amount,
        {{ from_cents('allocated_costs.pool_amount_cents') }} as pool_amount,
        {{ from_cents('allocated_costs.amount_cents') }} as amount,
        allocated_costs.rounding_cents

    from allocated_costs
    inner join pool_months
        on
            allocated_costs.driver_month = pool_months.month
            and allocated_costs.pool_id = pool_months.pool_id
    left join drivers
        on allocated_costs.driver_id = drivers.driver_id

)

select * from residual_cost_lines
