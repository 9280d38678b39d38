"""Tables that Python makes: written to the warehouse in one transaction, in declared columns and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg
import pandas as pd

from assets.ingest.sql import identifier
from pipelines.resources import Workspace


def column_schema(types: Mapping[str, str]) -> dg.TableSchema:
    """The columns of a table as the UI shows them, from column -> DuckDB type. What dbt's YAML describes takes its place."""
    return dg.TableSchema(columns=[dg.TableColumn(name=column, type=kind.lower()) for column, kind in types.items()])


def write_table(
    workspace: Workspace, relation: str, frame: pd.DataFrame, types: dict[str, str], *, order_by: Sequence[str]
) -> None:
    """Replace `relation` (schema.table) by the columns of `frame` named in `types` (column -> DuckDB type)."""
    schema, name = relation.split(".")
    columns = ", ".join(
        f"cast({identifier(column)} as {kind}) as {identifier(column)}" for column, kind in types.items()
    )
    order = ", ".join(identifier(column) for column in order_by)
    with workspace.warehouse() as connection:
        connection.execute(f"create schema if not exists {identifier(schema)}")
        connection.register("frame", frame)
        connection.execute(
            f"create or replace table {identifier(schema)}.{identifier(name)} as "
            f"select {columns} from frame order by {order}"
        )
