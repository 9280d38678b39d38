"""The assets of the layer service_pools: who serves whom, and what it costs, solved for every month.

The arithmetic is in service_pools.py and knows neither Dagster nor the warehouse. Here its input is read, all methods are
computed, and the results are written. What is posted is the method of company.yml (`costing: {service_method: ...}`).
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, get_args

import dagster as dg
import duckdb
import pandas as pd

from assets.costing.service_pools import Method, Solution, solve
from assets.warehouse_table import write_table
from pipelines.resources import Workspace, owners

POOL_FLOWS = {
    **dict.fromkeys(("month", "driver_month"), "DATE"),
    **dict.fromkeys(("behaviour", "method"), "VARCHAR"),
    "is_posted": "BOOLEAN",
    **dict.fromkeys(("from_pool_id", "receiver_id"), "VARCHAR"),
    # Direct and step-down charge idle capacity its part of all use: such quantities are multiples of the driver's.
    **dict.fromkeys(("quantity", "total_quantity"), "DECIMAL(38,0)"),
    **dict.fromkeys(("total_cents", "amount_cents"), "BIGINT"),
}
POOL_ORIGINS = {
    **dict.fromkeys(("month", "driver_month"), "DATE"),
    **dict.fromkeys(("behaviour", "pool_id", "origin_pool_id"), "VARCHAR"),
    **dict.fromkeys(("total_cents", "amount_cents"), "BIGINT"),
}

DESCRIPTIONS = {
    "pool_flows": "One row per month, behaviour of cost, method, service pool and receiver: what the pool charges it. "
    "total_cents is all of the driver month's cost so far, amount_cents what this month posts of it.",
    "pool_origins": "One row per month, behaviour of cost, pool or residual line and pool of origin: on which pool the "
    "cost was booked that ended there, by the method that is posted.",
}

Round = tuple[Any, Any, str]
"""Month of posting, month whose quantities divide, behaviour of the cost."""


def service_charges(connection: duckdb.DuckDBPyConnection, posted: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Flows and origins of every round, as frames with the columns of POOL_FLOWS and POOL_ORIGINS."""
    uses: dict[tuple[Any, str], dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for month, pool, behaviour, receiver, quantity in connection.execute(
        "select month, pool_id, behaviour, receiver_id, quantity from pools.service_quantities order by all"
    ).fetchall():
        uses[month, behaviour][pool][receiver] = quantity
    costs: dict[Round, dict[str, int]] = defaultdict(dict)
    for month, driver_month, behaviour, pool, cents in connection.execute(
        "select month, driver_month, behaviour, pool_id, total_cents from pools.pool_costs order by all"
    ).fetchall():
        costs[month, driver_month, behaviour][pool] = cents
    service: dict[Any, list[str]] = defaultdict(list)
    for month, pool in connection.execute(
        "select month, pool_id from pools.pool_months where stage = 'service' order by month, step_order nulls last, pool_id"
    ).fetchall():
        service[month].append(pool)

    flows: list[tuple[Any, ...]] = []
    origins: list[tuple[Any, ...]] = []
    # What the earlier rounds of a driver month have told already: a later one posts the difference.
    flows_told: dict[Any, dict[tuple[str, str], int]] = defaultdict(dict)
    origins_told: dict[Any, dict[tuple[str, str], int]] = defaultdict(dict)
    for (month, driver_month, behaviour), own in sorted(costs.items()):
        served = {pool: uses[driver_month, behaviour].get(pool, {}) for pool in service[driver_month]}
        for method in get_args(Method):
            solution = solve(own, served, method, order=service[driver_month])
            told = flows_told[driver_month, behaviour, method]
            now = {(flow.from_pool, flow.receiver): flow for flow in solution.flows}
            for pair in sorted(told.keys() | now.keys()):
                flow = now.get(pair)
                cents = flow.cents if flow else 0
                flows.append(
                    (
                        *(month, driver_month, behaviour, method, method == posted, *pair),
                        *((flow.quantity, flow.total_quantity) if flow else (None, None)),
                        *(cents, cents - told.get(pair, 0)),
                    )
                )
                told[pair] = cents
            if method == posted:
                told = origins_told[driver_month, behaviour]
                parts = _origins(solution)
                for pair in sorted(told.keys() | parts.keys()):
                    cents = parts.get(pair, 0)
                    origins.append((month, driver_month, behaviour, *pair, cents, cents - told.get(pair, 0)))
                    told[pair] = cents
    return (
        pd.DataFrame(flows, columns=list(POOL_FLOWS), dtype=object),
        pd.DataFrame(origins, columns=list(POOL_ORIGINS), dtype=object),
    )


def _origins(solution: Solution) -> dict[tuple[str, str], int]:
    return {(pool, origin): cents for pool, parts in solution.origins.items() for origin, cents in parts.items()}


def write_service_charges(workspace: Workspace) -> dict[str, int]:
    """Solve and write both tables of schema service_pools. Returns table -> rows."""
    with workspace.warehouse(read_only=True) as connection:
        flows, origins = service_charges(connection, workspace.company().costing.service_method)
    write_table(workspace, "service_pools.pool_flows", flows, POOL_FLOWS, order_by=list(POOL_FLOWS)[:7])
    write_table(workspace, "service_pools.pool_origins", origins, POOL_ORIGINS, order_by=list(POOL_ORIGINS)[:5])
    return {"pool_flows": len(flows), "pool_origins": len(origins)}


@dg.multi_asset(
    name="service_charges",
    specs=[
        dg.AssetSpec(
            key=["service_pools", table],
            deps=[
                ["pools", "pool_costs"],
                ["pools", "pool_months"],
                ["pools", "service_quantities"],
                ["rules", "company"],
            ],
            group_name="service_pools",
            description=description,
            owners=owners()["controlling"],
            kinds={"python", "duckdb"},
        )
        for table, description in DESCRIPTIONS.items()
    ],
)
def solved_service_charges(workspace: Workspace) -> Iterator[dg.MaterializeResult]:
    """Solve the service pools of every month by all methods, and say which charges are posted."""
    for table, rows in write_service_charges(workspace).items():
        yield dg.MaterializeResult(
            asset_key=["service_pools", table],
            metadata={"dagster/row_count": rows, "relation": f"service_pools.{table}"},
        )
