{#
    What a pool cost and received is what it gave, put on customers and left on named residual lines, and nothing else.
    Returns pools where it is not.
#}
select
    month,
    pool_id,
    gross_amount,
    given_amount,
    on_customers_amount,
    unused_amount,
    sustaining_amount,
    unallocated_amount,
    variance_amount

from {{ ref('pool_results') }}

where
    gross_amount
    != given_amount + on_customers_amount + unused_amount + sustaining_amount
    + unallocated_amount + variance_amount
