{# Customers whose quantity of a driver is below zero in a month, where the driver's negative_policy is fail. #}
{% test no_forbidden_negatives(model) -%}

select
    quantities.month,
    quantities.driver_id,
    quantities.customer_id,
    quantities.floored_quantity

from {{ model }} as quantities
inner join {{ source('rules', 'drivers') }} as drivers
    on quantities.driver_id = drivers.driver_id

where
    drivers.negative_policy = 'fail'
    and quantities.floored_quantity > 0

{%- endtest %}
