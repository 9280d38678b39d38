"""The published tables: the contract with everyone who reads a release. Name in the release -> relation of the warehouse."""

from __future__ import annotations

import dagster as dg

PUBLISHED = {
    "customers": "overview.customers",
    "customer_profitability": "marts.customer_profitability",
    "segment_profitability": "overview.segment_profitability",
    "customer_cost_lines": "marts.customer_cost_lines",
    "residual_cost_lines": "marts.residual_cost_lines",
    "cost_pools": "overview.cost_pools",
    "pool_variances": "marts.pool_variances",
    "pool_targets": "marts.pool_targets",
    "cost_anomalies": "analytics.cost_anomalies",
    "cost_driver_analysis": "analytics.cost_driver_analysis",
    "pool_cost_lines": "pools.pool_cost_lines",
    "pool_months": "pools.pool_months",
    "budget_rates": "pools.budget_rates",
    "drivers": "pools.drivers",
    "driver_quantities": "pools.driver_quantities",
    "driver_rows": "pools.driver_rows",
    "pool_flows": "service_pools.pool_flows",
    "pool_origins": "service_pools.pool_origins",
    "pool_charges": "costing.pool_charges",
    "allocation_lines": "marts.allocation_lines",
    "reconciliation": "marts.reconciliation",
    "control_failures": "marts.control_failures",
    "unconverted_amounts": "facts.unconverted_amounts",
    "whale_curve": "marts.whale_curve",
    "whale_curve_summary": "marts.whale_curve_summary",
    "price_volume_mix": "marts.price_volume_mix",
    "break_even": "analytics.break_even",
    "profit_sensitivity": "analytics.profit_sensitivity",
    "acquisition_channels": "analytics.acquisition_channels",
    "resource_shares": "analytics.resource_shares",
    "customer_credit_costs": "credit.customer_credit_costs",
    "credit_risk": "analytics.credit_risk",
    "customer_rfm": "analytics.customer_rfm",
    "customer_clv": "analytics.customer_clv",
    "churn_risk": "analytics.churn_risk",
    "customer_lifecycle": "analytics.customer_lifecycle",
    "customer_stage_flows": "analytics.customer_stage_flows",
    "relationship_strength": "analytics.relationship_strength",
    "profitability_matrix": "analytics.profitability_matrix",
    "customer_potential": "analytics.customer_potential",
    "price_sensitivity": "analytics.price_sensitivity",
    "service_quality": "analytics.service_quality",
    "customer_actions": "overview.customer_actions",
    "action_outcomes": "analytics.action_outcomes",
    "kpis": "analytics.kpis",
    "model_quality": "analytics.model_quality",
    "model_parameters": "analytics.model_parameters",
    "model_drift": "analytics.model_drift",
}


def asset_key(table: str) -> dg.AssetKey:
    """The Dagster asset of a published table."""
    return dg.AssetKey(PUBLISHED[table].split("."))
