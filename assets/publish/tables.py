"""The published tables: the contract with everyone who reads a release. Name in the release -> relation of the warehouse."""

from __future__ import annotations

import dagster as dg

PUBLISHED = {
    "customers": "overview.customers",
    "customer_profitability": "marts.customer_profitability",
    "customer_cost_lines": "marts.customer_cost_lines",
    "residual_cost_lines": "marts.residual_cost_lines",
    "cost_pools": "marts.cost_pools",
    "pool_cost_lines": "costing.pool_cost_lines",
    "driver_quantities": "costing.driver_quantities",
    "reconciliation": "marts.reconciliation",
    "control_failures": "marts.control_failures",
    "unconverted_amounts": "facts.unconverted_amounts",
    "whale_curve": "marts.whale_curve",
    "customer_rfm": "analytics.customer_rfm",
    "customer_clv": "analytics.customer_clv",
    "churn_risk": "analytics.churn_risk",
}


def asset_key(table: str) -> dg.AssetKey:
    """The Dagster asset of a published table."""
    return dg.AssetKey(PUBLISHED[table].split("."))
