"""The lists account managers work: whom to protect, whom to repair, whom to learn from.

Belongs here: who is on a list, in which order, with which columns. Not here: writing the files (`release`).
Customers are named by the ids of their own CRM (source_instance, source_customer_id); those no CRM knows, and those
deleted there, are left out: nobody could act on them. Names are in a list only where the company publishes them.
"""

from __future__ import annotations

import duckdb
import pandas as pd

LONGEST = 500
"""Rows per list: what a team can work through before the next release."""

CUSTOMER = """
    customers.source_instance,
    customers.source_customer_id,
    customers.customer_name,
    customers.customer_id,
    customers.owner_ref,
    customers.segment,
    customers.rfm_tier,
    customers.last_order_date
"""

CHURN = f"""
    select
        {CUSTOMER},
        churn_risk.days_since_last_purchase,
        churn_risk.churn_probability,
        churn_risk.expected_profit,
        churn_risk.expected_profit_lost,
        churn_risk.churn_rank
    from overview.customers as customers
    inner join analytics.churn_risk as churn_risk on churn_risk.customer_id = customers.customer_id
    where customers.is_in_crm and not customers.is_deleted and churn_risk.expected_profit_lost > 0
    order by churn_risk.churn_rank, customers.customer_id
    limit {LONGEST}
"""

LOSS_MAKING = f"""
    with

    largest_costs as (

        select
            lines.customer_id,
            lines.pool_name as largest_cost_pool,
            sum(lines.amount) as largest_cost_12m

        from marts.customer_cost_lines as lines
        cross join (select max(as_of_date) as as_of_date from overview.customers) as as_of
        where lines.month > date_trunc('month', as_of.as_of_date) - interval 12 month
            and lines.month <= as_of.as_of_date
        group by lines.customer_id, lines.pool_name
        qualify row_number() over (partition by lines.customer_id order by sum(lines.amount) desc, lines.pool_name) = 1

    )

    select
        {CUSTOMER},
        customers.orders_12m,
        customers.net_revenue_12m,
        customers.gross_margin_12m,
        customers.cost_to_serve_12m,
        customers.operating_profit_12m,
        largest_costs.largest_cost_pool,
        largest_costs.largest_cost_12m
    from overview.customers as customers
    left join largest_costs on largest_costs.customer_id = customers.customer_id
    where customers.is_in_crm and not customers.is_deleted and customers.operating_profit_12m < 0
    order by customers.operating_profit_12m, customers.customer_id
    limit {LONGEST}
"""

BEST = f"""
    select
        {CUSTOMER},
        customers.orders_12m,
        customers.net_revenue_12m,
        customers.gross_margin_12m,
        customers.cost_to_serve_12m,
        customers.operating_profit_12m,
        customers.clv_discounted,
        customers.churn_probability
    from overview.customers as customers
    where customers.is_in_crm and not customers.is_deleted and customers.operating_profit_12m > 0
    order by customers.operating_profit_12m desc, customers.customer_id
    limit {LONGEST}
"""


MATCH_SUGGESTIONS = f"""
    select
        suggestions.suggestion_rank,
        suggestions.score,
        suggestions.reason,
        suggestions.customer_id,
        customers.customer_name,
        suggestions.linked_customer_id,
        linked.customer_name as linked_customer_name,
        suggestions.source,
        suggestions.source_customer_key,
        suggestions.key_kind,
        suggestions.links_csv_line
    from analytics.customer_match_suggestions as suggestions
    left join overview.customers as customers on customers.customer_id = suggestions.customer_id
    left join overview.customers as linked on linked.customer_id = suggestions.linked_customer_id
    order by suggestions.suggestion_rank
    limit {LONGEST}
"""


def lists(connection: duckdb.DuckDBPyConnection) -> dict[str, pd.DataFrame]:
    """The lists by file name, one row per customer each (the last: per pair), best first to work on. Amounts in base currency.

    - churn_list: customers with profit to lose, by expected_profit_lost (`analytics.churn_risk`).
    - loss_making_customers: operating profit of the last 12 months below 0, worst first, with the pool that cost most.
    - best_customers: operating profit of the last 12 months above 0, best first.
    - customer_match_suggestions: two that may be one customer, likeliest first, with the line for links.csv that says so.
    """
    queries = {
        "churn_list": CHURN,
        "loss_making_customers": LOSS_MAKING,
        "best_customers": BEST,
        "customer_match_suggestions": MATCH_SUGGESTIONS,
    }
    return {name: _plain(connection.execute(query)) for name, query in queries.items()}


def _plain(result: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Rows as Python objects: decimals keep the digits they have in the warehouse, and a missing name stays missing."""
    columns = [description[0] for description in result.description or []]
    return pd.DataFrame(result.fetchall(), columns=columns, dtype="object")
