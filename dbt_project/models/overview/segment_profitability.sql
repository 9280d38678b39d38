{%- set dimensions = [
    'segment',
    'level',
    'industry',
    'country',
    'region',
    'acquisition_source',
    'owner_ref',
    'owner_department',
    'customer_tier',
    'lifecycle_stage',
    'quadrant',
] -%}

with

customers as (

    select * from {{ ref('customers') }}

),

owners as (

    select * from {{ ref('dim_customers') }}

),

-- A department may be told where the person may not.
departments as (

    select
        source_instance,
        employee_id,
        max(department) as department

    from {{ ref('stg_employees') }}

    group by source_instance, employee_id

),

described as (

    select
        customers.*,
        departments.department as owner_department

    from customers
    inner join owners
        on customers.customer_id = owners.customer_id
    left join departments
        on
            owners.source_instance = departments.source_instance
            and owners.owner_ref = departments.employee_id

),

months as (

    select * from {{ ref('customer_profitability') }}

),

values_of_customers as (

    {% for dimension in dimensions %}
        select
            customer_id,
            '{{ dimension }}' as dimension,
            coalesce(cast({{ dimension }} as string), 'unknown') as dimension_value

        from described
        {% if not loop.last %}
            union all
        {% endif %}
    {% endfor %}
),

segments as (

    select
        values_of_customers.dimension,
        values_of_customers.dimension_value,
        months.month,
        count(*) as customer_count,
        count(*) filter (where months.operating_profit > 0) as profitable_customer_count,
        sum(months.order_count) as order_count,
        sum(months.net_revenue) as net_revenue,
        sum(months.gross_margin) as gross_margin,
        sum(
            months.direct_cost_to_serve
            + months.activity_cost_variable
            + months.activity_cost_step_fixed
            + months.activity_cost_fixed
        ) as cost_to_serve,
        sum(months.expected_credit_loss + months.financing_cost) as credit_cost,
        sum(months.allocated_sustaining) as allocated_sustaining,
        sum(months.operating_profit) as operating_profit

    from months
    inner join values_of_customers
        on months.customer_id = values_of_customers.customer_id

    group by
        values_of_customers.dimension,
        values_of_customers.dimension_value,
        months.month

),

segment_profitability as (

    select
        dimension,
        dimension_value,
        month,
        cast(customer_count as bigint) as customer_count,
        cast(profitable_customer_count as bigint) as profitable_customer_count,
        cast(order_count as bigint) as order_count,
        cast(net_revenue as decimal(22, 4)) as net_revenue,
        cast(gross_margin as decimal(22, 4)) as gross_margin,
        cast(cost_to_serve as decimal(22, 2)) as cost_to_serve,
        cast(credit_cost as decimal(22, 2)) as credit_cost,
        cast(allocated_sustaining as decimal(22, 2)) as allocated_sustaining,
        cast(operating_profit as decimal(22, 4)) as operating_profit

    from segments

)

select * from segment_profitability
