"""What winning and serving customers brings: the assets of acquisition channels and resource shares.

The functions (`acquisition`, `resources`) know nothing of Dagster or of the warehouse.
"""

import duckdb
import pandas as pd

from assets.analytics import acquisition, resources
from assets.analytics.scores import ORDERS
from assets.analytics.table_asset import analytics_asset
from pipelines.resources import Workspace


def _acquisition_channels(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    history = acquisition.History(
        *(
            connection.execute(query).df()
            for query in (
                ORDERS,
                acquisition.CUSTOMERS,
                acquisition.RESPONSES,
                acquisition.CAMPAIGNS,
                acquisition.SPENDING_RULES,
                acquisition.POOL_COSTS,
                acquisition.POOL_COSTS_OF_CUSTOMERS,
                acquisition.CONTRIBUTIONS,
            )
        )
    )
    return acquisition.channels(history, workspace.as_of(), discount_rate=workspace.company().value.discount_rate)


def _resource_shares(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    use, profits, tiers = (
        connection.execute(query).df() for query in (resources.USE, resources.PROFITS, resources.TIERS)
    )
    return resources.shares(use, profits, tiers, workspace.as_of())


_PRICE = "DECIMAL(22,4)"

ASSETS = [
    analytics_asset(
        "acquisition_channels",
        "One row per channel and month that cost something or won a customer: acquisition cost, new customers, when they "
        "paid it back and what they return.",
        (
            "facts.fct_invoice_lines",
            "facts.dim_customers",
            "facts.fct_campaign_responses",
            "facts.as_of",
            "staging.stg_campaigns",
            "rules.acquisition_costs",
            "marts.pool_results",
            "marts.customer_cost_lines",
            "marts.customer_profitability",
        ),
        {
            "channel": "VARCHAR",
            **dict.fromkeys(("month", "as_of_date"), "DATE"),
            **dict.fromkeys(("attribution_rule", "cost_basis"), "VARCHAR"),
            "cost": "DECIMAL(22,2)",
            **dict.fromkeys(("new_customers", "new_customers_by_response"), "BIGINT"),
            "cac": _PRICE,
            "cost_12m": "DECIMAL(22,2)",
            "new_customers_12m": "BIGINT",
            "cac_12m": _PRICE,
            "months_observed": "BIGINT",
            "contribution_to_date": _PRICE,
            "payback_months": "BIGINT",
            "payback_status": "VARCHAR",
            **dict.fromkeys(("roi_12m", "roi_24m", "roi_36m", "discount_rate"), "DOUBLE"),
        },
        _acquisition_channels,
        order_by=("channel", "month"),
    ),
    analytics_asset(
        "resource_shares",
        "One row per RFM tier and resource (sales hours, service hours, cost to serve) of the last 12 months: its share "
        "against the tier's share of revenue and contribution, and the shift that would pay most.",
        (
            "facts.fct_activities",
            "facts.fct_service_cases",
            "facts.as_of",
            "marts.customer_profitability",
            "analytics.customer_rfm",
        ),
        {
            **dict.fromkeys(("rfm_tier", "rfm_tier_zh", "resource"), "VARCHAR"),
            "as_of_date": "DATE",
            "customer_count": "BIGINT",
            **dict.fromkeys(("quantity", "estimated_share", "resource_share"), "DOUBLE"),
            "net_revenue": _PRICE,
            "revenue_share": "DOUBLE",
            "contribution": _PRICE,
            **dict.fromkeys(("contribution_share", "contribution_index"), "DOUBLE"),
            "contribution_per_unit": _PRICE,
            "shift_to_tier": "VARCHAR",
            "shift_quantity": "DOUBLE",
            "shift_effect": "DECIMAL(22,2)",
            "shift_sentence": "VARCHAR",
        },
        _resource_shares,
        order_by=("rfm_tier", "resource"),
    ),
]
