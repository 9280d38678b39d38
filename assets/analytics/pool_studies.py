"""What the cost pools tell: the assets of cost anomalies and cost-driver analysis.

The functions (`pool_anomalies`, `cost_drivers`) know nothing of Dagster or of the warehouse.
"""

import duckdb
import pandas as pd

from assets.analytics import cost_drivers, pool_anomalies
from assets.analytics.table_asset import analytics_asset
from pipelines.resources import Workspace

# Booked cost only: a dear service pool would otherwise make every pool it serves look unusual. The ledger's budget plans
# booked cost; one of budgets.csv plans all cost, of which what service pools charged is taken off.
POOL_MONTHS = """
    select
        results.month, results.pool_id, results.pool_name, results.behaviour, results.driver_id, results.driver_unit,
        results.own_amount as cost, results.used_quantity as driver_quantity,
        variances.flexible_budget_amount
        - case when variances.budget_source = 'rules' then results.received_amount else 0 end as budget_amount
    from marts.pool_results as results
    left join marts.pool_variances as variances
        on results.month = variances.month and results.pool_id = variances.pool_id
"""

POOL_COST_PARTS = """
    select
        month, pool_id, gl_account_number || coalesce(' ' || max(gl_account_name), '') as part,
        sum(amount_cents) * 0.01 as amount
    from pools.pool_cost_lines
    group by month, pool_id, gl_account_number
"""

DRIVER_MONTHS = """
    select
        quantities.month, quantities.driver_id, drivers.unit as driver_unit,
        cast(sum(quantities.quantity) as double) / power(10, drivers.decimals) as quantity
    from pools.driver_quantities as quantities
    inner join rules.drivers as drivers on quantities.driver_id = drivers.driver_id
    group by quantities.month, quantities.driver_id, drivers.unit, drivers.decimals
"""


def _cost_anomalies(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return pool_anomalies.judge(
        connection.execute(POOL_MONTHS).df(), workspace.as_of(), parts=connection.execute(POOL_COST_PARTS).df()
    )


def _cost_driver_analysis(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return cost_drivers.analyse(
        connection.execute(POOL_MONTHS).df(), connection.execute(DRIVER_MONTHS).df(), workspace.as_of()
    )


_MONEY = "DECIMAL(22,2)"

ASSETS = [
    analytics_asset(
        "cost_anomalies",
        "One row per cost pool and complete month: what it should have cost by the months before it, and whether the "
        "difference is unusual, material and more than chance.",
        ("marts.pool_results", "marts.pool_variances", "pools.pool_cost_lines", "facts.as_of"),
        {
            "month": "DATE",
            "as_of_date": "DATE",
            **dict.fromkeys(("pool_id", "pool_name", "method"), "VARCHAR"),
            "months_known": "INTEGER",
            "actual_amount": _MONEY,
            "driver_quantity": "DOUBLE",
            "fixed_amount": _MONEY,
            "variable_rate": "DOUBLE",
            **dict.fromkeys(("expected_amount", "residual_amount"), _MONEY),
            **dict.fromkeys(("score", "threshold", "p_value", "q_value"), "DOUBLE"),
            "materiality": _MONEY,
            **dict.fromkeys(("is_signal", "is_anomaly"), "BOOLEAN"),
            "money_rank": "INTEGER",
            **dict.fromkeys(("rate", "expected_rate", "rate_score"), "DOUBLE"),
            "is_rate_anomaly": "BOOLEAN",
            "mix_part": "VARCHAR",
            **dict.fromkeys(("mix_share", "expected_mix_share", "mix_score"), "DOUBLE"),
            "is_mix_anomaly": "BOOLEAN",
            "explanation": "VARCHAR",
        },
        _cost_anomalies,
        order_by=("month", "money_rank", "pool_id"),
    ),
    analytics_asset(
        "cost_driver_analysis",
        "One row per cost pool and driver: how much of the pool's ups and downs the driver explains, at what rate, and "
        "which behaviour that suggests. Never applied by itself.",
        ("marts.pool_results", "marts.pool_variances", "pools.driver_quantities", "rules.drivers", "facts.as_of"),
        {
            **dict.fromkeys(("pool_id", "pool_name", "driver_id", "driver_unit"), "VARCHAR"),
            "as_of_date": "DATE",
            "is_declared": "BOOLEAN",
            "status": "VARCHAR",
            "months": "INTEGER",
            "fixed_amount": _MONEY,
            **dict.fromkeys(
                ("variable_rate", "rate_low", "rate_high", "r_squared", "correlation", "p_value"), "DOUBLE"
            ),
            "driver_rank": "INTEGER",
            "best_driver_id": "VARCHAR",
            "is_declared_best": "BOOLEAN",
            **dict.fromkeys(("declared_behaviour", "suggested_behaviour", "explanation"), "VARCHAR"),
        },
        _cost_driver_analysis,
        order_by=("pool_id", "driver_id"),
    ),
]
