{#
    The two reconciliation checks this project answers for itself: whatever the company tolerates between its systems,
    cost and revenue read must be cost and revenue published. Returns the months where they are not.
#}
select *
from {{ ref('reconciliation') }}

where
    check_name in ('cost_allocation', 'revenue_on_customers')
    and difference != 0
