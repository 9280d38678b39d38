"""How customers and the company get on, and how far that is from where it should be: the assets of relationship strength, service
quality, potential and key figures.

The functions (`relationship`, `service_quality`, `potential`, `kpis`) know nothing of Dagster or of the warehouse.
"""

import duckdb
import pandas as pd

from assets.analytics import kpis, potential, relationship, service_quality
from assets.analytics.features import ORDERS
from assets.analytics.table_asset import analytics_asset
from pipelines.resources import Workspace


def _relationship_strength(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    history = relationship.History(
        *(
            connection.execute(query).df()
            for query in (
                ORDERS,
                relationship.SURVEYS,
                relationship.CASES,
                relationship.CONTACTS,
                relationship.CUSTOMERS,
            )
        )
    )
    company = workspace.company()
    return relationship.strength(history, workspace.as_of(), company.relationship, company.service)


def _service_quality(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    cases, surveys, costs, quantities = (
        connection.execute(query).df()
        for query in (
            service_quality.CASES,
            service_quality.SURVEYS,
            service_quality.COSTS,
            service_quality.QUANTITIES,
        )
    )
    return service_quality.quality(cases, surveys, costs, quantities, workspace.as_of(), workspace.company().service)


def _customer_potential(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    opportunities, monthly, customers = (
        connection.execute(query).df()
        for query in (potential.OPPORTUNITIES, potential.MONTHLY_REVENUE, potential.CUSTOMERS)
    )
    return potential.potential(opportunities, monthly, customers, workspace.as_of())


def _kpis(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    history = kpis.History(
        *(
            connection.execute(query).df()
            for query in (
                ORDERS,
                kpis.MONTHLY,
                kpis.SURVEYS,
                kpis.CASES,
                kpis.RECEIVABLES,
                kpis.ACQUISITION,
                kpis.POOLS,
                kpis.CHURN,
                kpis.LIFETIME_VALUES,
            )
        )
    )
    company = workspace.company()
    return kpis.kpis(history, workspace.as_of(), targets=company.kpis, referral_sources=company.referral_sources)


ASSETS = [
    analytics_asset(
        "relationship_strength",
        "One row per customer on record: strength of the relationship from 0 to 100, strong or weak, with its parts, what they "
        "rest on, and how much of it is known.",
        (
            "facts.fct_invoice_lines",
            "facts.fct_survey_responses",
            "facts.fct_service_cases",
            "facts.fct_activities",
            "facts.fct_campaign_responses",
            "facts.dim_customers",
            "facts.as_of",
        ),
        relationship.TYPES,
        _relationship_strength,
    ),
    analytics_asset(
        "service_quality",
        "One row per channel and month: service cases opened, how fast they were answered and closed, satisfaction, complaints, "
        "escalations, and what a case cost.",
        (
            "facts.fct_service_cases",
            "facts.fct_survey_responses",
            "facts.as_of",
            "rules.drivers",
            "rules.time_equations",
            "pools.driver_rows",
            "marts.customer_cost_lines",
        ),
        service_quality.TYPES,
        _service_quality,
        order_by=("channel", "month"),
    ),
    analytics_asset(
        "customer_potential",
        "One row per customer on record: open pipeline, growth of revenue, gap to what peers buy, and the revenue that may "
        "come.",
        ("facts.fct_opportunities", "facts.dim_customers", "facts.as_of", "marts.customer_profitability"),
        potential.TYPES,
        _customer_potential,
    ),
    analytics_asset(
        "kpis",
        "One row per key figure: value, target, status and the value a year before, with its formula in words.",
        (
            "facts.fct_invoice_lines",
            "facts.fct_survey_responses",
            "facts.fct_service_cases",
            "facts.as_of",
            "credit.receivable_months",
            "marts.customer_profitability",
            "marts.pool_results",
            "marts.pool_variances",
            "analytics.acquisition_channels",
            "analytics.churn_risk",
            "analytics.customer_clv",
        ),
        kpis.TYPES,
        _kpis,
        order_by=("kpi",),
    ),
]
