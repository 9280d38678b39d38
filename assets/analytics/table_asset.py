"""How a table of the analytics layer becomes an asset: read what the marts have made, call a pure function, write its table."""

from collections.abc import Callable

import dagster as dg
import duckdb
import pandas as pd

from assets.warehouse_table import column_schema, write_table
from pipelines.resources import Workspace, owners

Score = Callable[[duckdb.DuckDBPyConnection, Workspace], pd.DataFrame]


def analytics_asset(
    name: str,
    description: str,
    inputs: tuple[str, ...],
    types: dict[str, str],
    score: Score,
    *,
    order_by: tuple[str, ...] = ("customer_id",),
) -> dg.AssetsDefinition:
    """The asset analytics.<name>: `score` reads the `inputs` (schema.table) and gives the columns of `types`."""

    @dg.asset(
        key=["analytics", name],
        deps=[dg.AssetKey(key.split(".")) for key in inputs],
        group_name="analytics",
        owners=owners()["analytics"],
        kinds={"python", "pandas", "duckdb"},
        description=description,
        metadata={"dagster/column_schema": column_schema(types)},
    )
    def scored(workspace: Workspace) -> dg.MaterializeResult:
        with workspace.warehouse(read_only=True) as connection:
            frame = score(connection, workspace)
        write_table(workspace, f"analytics.{name}", frame, types, order_by=order_by)
        return dg.MaterializeResult(metadata={"dagster/row_count": len(frame), "relation": f"analytics.{name}"})

    return scored
