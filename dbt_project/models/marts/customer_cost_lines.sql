with

allocated_costs as (

    select * from {{ ref('allocated_costs') }}

    where receiver_kind = 'customer'

),

pool_months as (

    select * from {{ ref('pool_months') }}

),

in_units as (

    select
        allocated_costs.receiver_id as customer_id,
        allocated_costs.month,
        allocated_costs.pool_id,
        pool_months.pool_name,
        allocated_costs.stage,
        pool_months.behaviour,
        pool_months.driver_id,
        pool_months.driver_unit,
        {{ driver_units('allocated_costs.driver_quantity', 'pool_months.driver_decimals') }}
            as driver_quantity,
        {{ driver_units('allocated_costs.total_quantity', 'pool_months.driver_decimals') }}
            as total_driver_quantity,
        {{ from_cents('allocated_costs.pool_amount_cents') }} as pool_amount,
        {{ from_cents('allocated_costs.amount_cents') }} as amount,
        allocated_costs.rounding_cents

    from allocated_costs
    inner join pool_months
        on
            allocated_costs.month = pool_months.month
            and allocated_costs.pool_id = pool_months.pool_id

),

customer_cost_lines as (

    select
        customer_id,
        month,
        pool_id,
        pool_name,
        stage,
        behaviour,
        driver_id,
        driver_unit,
        driver_quantity,
        total_driver_quantity,
        pool_amount,
        amount,
        cast(pool_amount as double) / cast(total_driver_quantity as double) as rate,
        rounding_cents

    from in_units

)

select * from customer_cost_lines
