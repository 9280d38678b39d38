"""What a customer's profit rests on: the assets of break-even levers, of profit under other methods and driver errors, of prices
and of credit.

The functions (`break_even`, `profit_sensitivity`, `price_sensitivity`, `credit`) know nothing of Dagster or of the warehouse.
"""

import duckdb
import pandas as pd

from assets.analytics import break_even, credit, price_sensitivity, profit_sensitivity
from assets.analytics.table_asset import analytics_asset
from pipelines.resources import Workspace


def _break_even(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    company = workspace.company()
    return break_even.break_even(
        connection.execute(break_even.INPUTS).df(),
        workspace.as_of(),
        capital_rate=company.credit.cost_of_capital,
        currency=company.base_currency,
    )


def _profit_sensitivity(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return profit_sensitivity.assess(
        connection.execute(profit_sensitivity.PROFITS).df(),
        connection.execute(profit_sensitivity.RATED_COSTS).df(),
        workspace.as_of(),
    )


def _price_sensitivity(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return price_sensitivity.estimate(connection.execute(price_sensitivity.PRICES).df(), workspace.as_of())


def _credit_risk(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return credit.advise(connection.execute(credit.INPUTS).df(), workspace.as_of(), workspace.company().credit)


ASSETS = [
    analytics_asset(
        "break_even",
        "One row per customer, horizon and lever: what would end the loss of the last 12 months, or how far price and "
        "discount may move before there is one.",
        (
            "marts.customer_profitability",
            "marts.customer_cost_lines",
            "rules.drivers",
            "rules.time_equations",
            "facts.as_of",
        ),
        break_even.TYPES,
        _break_even,
        order_by=("customer_id", "horizon", "lever"),
    ),
    analytics_asset(
        "profit_sensitivity",
        "One row per customer: profit of the last 12 months as posted and under each way to charge service pools, and the "
        "probability of a loss when the rates of pools are wrong.",
        ("marts.customer_profitability", "marts.customer_cost_lines", "costing.method_costs", "facts.as_of"),
        profit_sensitivity.TYPES,
        _profit_sensitivity,
    ),
    analytics_asset(
        "price_sensitivity",
        "One row per customer with priced purchases: how the quantities bought follow the prices paid, with its interval, or "
        "why that cannot be told.",
        ("facts.fct_invoice_lines", "facts.as_of"),
        price_sensitivity.TYPES,
        _price_sensitivity,
    ),
    analytics_asset(
        "credit_risk",
        "One row per customer who was ever invoiced or paid: what is open and how late, what it costs, the "
        "limit it bears, and advice with its rule, numbers and effect.",
        (
            "credit.receivable_months",
            "credit.receivable_items",
            "credit.expected_credit_losses",
            "credit.loss_rates",
            "credit.customer_credit_costs",
            "marts.customer_profitability",
            "facts.dim_customers",
            "facts.as_of",
        ),
        credit.TYPES,
        _credit_risk,
    ),
]
