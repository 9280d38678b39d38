"""What each customer is worth: the assets of RFM, CLV and churn.

The functions (`rfm`, `clv`, `churn`) know nothing of Dagster or of the warehouse, and see nothing after the as-of date. Which
model scores is said by the month's backtest (`model_studies`), and by every row in its column of the model.
"""

import duckdb
import pandas as pd

from assets.analytics import churn, clv, features, gates, model_studies, rfm
from assets.analytics.table_asset import analytics_asset
from pipelines.resources import Workspace

NOT_A_CUSTOMER = features.NOT_A_CUSTOMER
"""The line that collects money without any customer; it has no behaviour to score."""

ORDERS = features.ORDERS


def _rfm(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return rfm.score(
        connection.execute(ORDERS).df(),
        workspace.as_of(),
        tiers=rfm.read_tiers(),
        rules=rfm.read_rules(workspace.company_folder),
    )


def _clv(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    settings = workspace.company().value
    month = model_studies.month_of_models(connection, workspace)
    plan = model_studies.clv_plan(month, settings.horizon_months)
    return clv.value(
        month.history.monthly_profit,
        month.as_of,
        discount_rate=settings.discount_rate,
        horizon_months=settings.horizon_months,
        orders=month.history.orders,
        fit_as_of=month.fit_as_of,
        model=plan.model,
        profit_method=plan.profit_method,
        measured=plan.measured,
    )


def _churn(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    month = model_studies.month_of_models(connection, workspace)
    horizon = workspace.company().value.churn_horizon_days
    return churn.score(
        month.history,
        month.as_of,
        horizon_days=horizon,
        fit_as_of=month.fit_as_of,
        model=gates.choose(month.quality)[gates.BUYS, horizon].model,
    )


ASSETS = [
    analytics_asset(
        "customer_rfm",
        "One row per customer who ever bought: days since the last purchase, orders and net revenue of the last 12 "
        "months, their scores from 1 to 5 and the tier of the cell.",
        ("facts.fct_invoice_lines", "facts.as_of"),
        rfm.TYPES,
        _rfm,
    ),
    analytics_asset(
        "customer_clv",
        "One row per customer with revenue or cost: profit so far, lifetime value by the customary formula, as discounted cash "
        "flow and as predicted with its interval, after every cost traced to the customer, and by which model.",
        ("analytics.model_quality", "facts.as_of"),
        clv.TYPES,
        _clv,
    ),
    analytics_asset(
        "churn_risk",
        "One row per customer who ever bought: probability of no purchase in the horizon, why, by which model, and the profit "
        "that would be lost, ranked.",
        ("analytics.model_quality", "facts.as_of"),
        churn.TYPES,
        _churn,
    ),
]
