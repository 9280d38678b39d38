{#
    Every customer has one value of each attribute: whatever the attribute, a month adds up to the company's. Returns the
    months where it does not.
#}
with

dimensions as (

    select
        dimension,
        month,
        sum(net_revenue) as net_revenue,
        sum(operating_profit) as operating_profit

    from {{ ref('segment_profitability') }}

    group by dimension, month

),

company as (

    select
        month,
        sum(net_revenue) as net_revenue,
        sum(operating_profit) as operating_profit

    from {{ ref('customer_profitability') }}

    group by month

)

select
    dimensions.dimension,
    coalesce(dimensions.month, company.month) as month,
    dimensions.operating_profit,
    company.operating_profit as company_profit

from dimensions
full join company
    on dimensions.month = company.month

where
    dimensions.operating_profit is distinct from company.operating_profit
    or dimensions.net_revenue is distinct from company.net_revenue
