"""Where customers stand and what to do about them: the assets of lifecycle, profitability matrix, actions and their outcomes.

The functions (`lifecycle`, `profitability_matrix`, `playbook`, `actions`, `action_outcomes`) know nothing of Dagster or of the
warehouse.
"""

import dagster as dg
import duckdb
import pandas as pd

from assets import advice
from assets.analytics import action_outcomes, actions, lifecycle, playbook, profitability_matrix
from assets.analytics.scores import ORDERS
from assets.analytics.table_asset import analytics_asset
from assets.warehouse_table import column_schema, write_table
from pipelines.resources import Workspace, owners

LIFECYCLE = "customer_lifecycle"
FLOWS = "customer_stage_flows"

_LIFECYCLE_INPUTS = ("facts.fct_invoice_lines", "facts.dim_customers", "facts.as_of")
_DESCRIPTIONS = {
    LIFECYCLE: "One row per customer who ever bought, and per prospect of the CRM: the lifecycle stage, by the probability of "
    "a purchase against the customer's own earlier one, since when, and the stage before.",
    FLOWS: "One row per month and pair of stages: customers by their stage at the end of the month before and of this one.",
}


def _lifecycle_assets() -> dg.AssetsDefinition:
    """Both tables come from one replay."""
    types = {LIFECYCLE: lifecycle.TYPES, FLOWS: lifecycle.FLOW_TYPES}

    @dg.multi_asset(
        name="customer_lifecycle_and_flows",
        specs=[
            dg.AssetSpec(
                key=["analytics", name],
                deps=[dg.AssetKey(key.split(".")) for key in _LIFECYCLE_INPUTS],
                group_name="analytics",
                owners=owners()["analytics"],
                kinds={"python", "pandas", "duckdb"},
                description=_DESCRIPTIONS[name],
                metadata={"dagster/column_schema": column_schema(types[name])},
            )
            for name in types
        ],
    )
    def replayed(workspace: Workspace):  # type: ignore[no-untyped-def]
        with workspace.warehouse(read_only=True) as connection:
            orders, crm_customers = (connection.execute(sql).df() for sql in (ORDERS, lifecycle.CRM_CUSTOMERS))
        found = lifecycle.replay(
            orders, crm_customers, workspace.as_of(), horizon_days=workspace.company().value.churn_horizon_days
        )
        for name, frame, order_by in (
            (LIFECYCLE, found.customers, ("customer_id",)),
            (FLOWS, found.flows, ("month", "from_stage", "to_stage")),
        ):
            write_table(workspace, f"analytics.{name}", frame, types[name], order_by=order_by)
            yield dg.MaterializeResult(
                asset_key=["analytics", name],
                metadata={"dagster/row_count": len(frame), "relation": f"analytics.{name}"},
            )

    return replayed


def _profitability_matrix(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    profits, relationships, avoidable = (
        connection.execute(sql).df()
        for sql in (
            profitability_matrix.PROFITS,
            profitability_matrix.RELATIONSHIP_STRENGTH,
            profitability_matrix.AVOIDABLE,
        )
    )
    cut = playbook.read_playbook(workspace.company_folder).cut
    return profitability_matrix.place(profits, relationships, avoidable, workspace.as_of(), cut=cut)


def _advised_actions(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    company = workspace.company()
    inputs = actions.Inputs(
        *(
            connection.execute(sql).df()
            for sql in (
                actions.CUSTOMERS,
                profitability_matrix.PROFITS,
                actions.LEVERS,
                actions.CREDIT,
                actions.CHURN,
                actions.VALUES,
                actions.LIFECYCLES,
                actions.MATRIX,
                actions.POTENTIALS,
                actions.RFM,
            )
        )
    )
    measured = actions.measures(inputs, workspace.as_of(), horizon_months=company.value.horizon_months)
    book = playbook.read_playbook(workspace.company_folder)
    return actions.advise(measured, workspace.as_of(), book, currency=company.base_currency)


def _action_outcomes(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    as_of = workspace.as_of()
    given = advice.read(workspace.data, action_outcomes.looked_back_on(advice.dates(workspace.data, as_of), as_of))
    profits, orders, lifecycles, advice_now = (
        connection.execute(sql).df()
        for sql in (profitability_matrix.PROFITS, ORDERS, action_outcomes.LIFECYCLES, action_outcomes.ADVICE_NOW)
    )
    return action_outcomes.assess(given, profits, orders, lifecycles, advice_now, as_of)


ASSETS = [
    _lifecycle_assets(),
    analytics_asset(
        "profitability_matrix",
        "One row per customer with revenue or cost in the last 12 months: profit high or low against a strong or weak "
        "relationship, the quadrant and its strategy.",
        (
            "marts.customer_profitability",
            "analytics.relationship_strength",
            "analytics.break_even",
            "facts.as_of",
        ),
        profitability_matrix.TYPES,
        _profitability_matrix,
    ),
    analytics_asset(
        "advised_actions",
        "One row per customer and action the playbook advises: why, with the customer's own figures, what it may bring a year, "
        "who does it and until when. Owners are in clear here; overview.customer_actions publishes it.",
        (
            "facts.dim_customers",
            "facts.as_of",
            "marts.customer_profitability",
            "analytics.break_even",
            "analytics.credit_risk",
            "analytics.churn_risk",
            "analytics.customer_clv",
            "analytics.customer_rfm",
            "analytics.customer_lifecycle",
            "analytics.profitability_matrix",
            "analytics.customer_potential",
        ),
        actions.TYPES,
        _advised_actions,
        order_by=("customer_id", "action_rank"),
    ),
    analytics_asset(
        "action_outcomes",
        "One row per earlier advice of about 28, 90, 180 and 365 days ago: profit before and since, whether the customer "
        "bought or lapsed, and what that makes of it. A comparison and no proof.",
        (
            "facts.fct_invoice_lines",
            "facts.as_of",
            "marts.customer_profitability",
            "analytics.customer_lifecycle",
            "analytics.advised_actions",
        ),
        action_outcomes.TYPES,
        _action_outcomes,
        order_by=("advised_on", "customer_id", "action"),
    ),
]
