{#
    Re-performance from the published columns alone, as an auditor would do it with a calculator: for every line of a
    divided pool, amount = sign * (|pool amount| * quantity div total quantity), less the same of what had been divided
    before, + rounding bit. Returns lines that differ.
#}
with

published_lines as (

    select
        month,
        driver_month,
        previous_pool_amount,
        pool_amount,
        amount,
        driver_quantity,
        total_driver_quantity,
        rounding_cents

    from {{ ref('customer_cost_lines') }}

    union all

    select
        month,
        driver_month,
        previous_pool_amount,
        pool_amount,
        amount,
        driver_quantity,
        total_driver_quantity,
        rounding_cents

    from {{ ref('residual_cost_lines') }}

),

whole_numbers as (

    select
        *,
        {{ wide_integer('abs(pool_amount) * 100') }} as pool_cents,
        {{ wide_integer('abs(previous_pool_amount) * 100') }} as previous_cents,
        {{ wide_integer('driver_quantity * 1000000') }} as quantity,
        {{ wide_integer('total_driver_quantity * 1000000') }} as total_quantity

    from published_lines

    where driver_quantity is not null

)

select * from whole_numbers
where
    amount * 100
    != {{ sign_of('pool_amount') }} * {{ int_div('pool_cents * quantity', 'total_quantity') }}
    - {{ sign_of('previous_pool_amount') }} * {{ int_div('previous_cents * quantity', 'total_quantity') }}
    + rounding_cents
    or abs(rounding_cents) > case when month = driver_month then 1 else 2 end
