{# A pool's cost is on customers or on a named residual line, and nowhere else. Returns pools where it is not. #}
select
    month,
    pool_id,
    actual_amount,
    on_customers_amount,
    unused_amount,
    sustaining_amount,
    unallocated_amount

from {{ ref('cost_pools') }}

where
    actual_amount
    != on_customers_amount + unused_amount + sustaining_amount + unallocated_amount
