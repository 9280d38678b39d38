with

driver_rows as (

    select * from {{ ref('driver_rows') }}

),

net_quantities as (

    select
        month,
        driver_id,
        customer_id,
        sum(quantity) as net_quantity,
        count(*) as source_row_count

    from driver_rows

    group by month, driver_id, customer_id

),

-- Returns are netted per customer and driver. What is still below zero is floored: nobody is paid for costing nothing.
floored as (

    select
        month,
        driver_id,
        customer_id,
        cast(greatest(net_quantity, 0) as bigint) as quantity,
        cast(greatest(-net_quantity, 0) as bigint) as floored_quantity,
        source_row_count

    from net_quantities

)

select * from floored
