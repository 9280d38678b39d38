"""The register of advice given: what each published release told account managers to do.

    <data>/advice/<as-of date>.parquet      one row per customer and action

A release is immutable and may be pruned; what was advised must stay known for a year and longer, or nobody learns whether it
helped. The register holds no names and no sentences: ids, the rule, the figures. One file per as-of date, replaced when the
same date is published again.

Belongs here: writing and reading the register, and taking a customer out of it. Not here: what became of the advice
(`assets/analytics/action_outcomes.py`).
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import duckdb
import pandas as pd

from assets.errors import WhalecurveError
from assets.ingest import storage
from assets.ingest.sql import literal

FOLDER = "advice"
"""Of the data folder."""

COLUMNS = {
    "advised_on": "DATE",
    "customer_id": "VARCHAR",
    "action": "VARCHAR",
    "action_rank": "INTEGER",
    "priority_rank": "BIGINT",
    "rule_id": "VARCHAR",
    "expected_effect": "DECIMAL(22,4)",
    "owner_role": "VARCHAR",
    "due_date": "DATE",
    "playbook_version": "VARCHAR",
}
"""Columns of the register and their types."""


def folder(data: Path) -> Path:
    """Where the register of a data folder lies."""
    return data / FOLDER


def record(
    connection: duckdb.DuckDBPyConnection,
    data: Path,
    as_of: datetime.date,
    *,
    relation: str = "analytics.advised_actions",
) -> Path:
    """Write what the release of `as_of` advises; in place of what an earlier release of that date did. All of it or nothing.

    `relation` has the columns of advised_actions. Raises WhalecurveError when its rows are as of another date.
    """
    other = connection.execute(
        f"select as_of_date from {relation} where as_of_date is distinct from ? limit 1", [as_of]
    ).fetchone()
    if other:
        raise WhalecurveError(
            f"{relation} holds advice as of {other[0]} and the release is as of {as_of}: build the table anew and publish again. "
            "No advice was recorded."
        )
    shown = ", ".join(
        f"cast({'as_of_date' if name == 'advised_on' else name} as {kind}) as {name}" for name, kind in COLUMNS.items()
    )
    path = folder(data) / f"{as_of.isoformat()}.parquet"
    _write(connection, f"select {shown} from {relation} order by customer_id, action", path)
    return path


def dates(data: Path, before: datetime.date | None = None) -> list[datetime.date]:
    """The as-of dates advice was given on, rising; only those before a date where one is given."""
    found = [datetime.date.fromisoformat(path.stem) for path in _files(data)]
    return [date for date in found if before is None or date < before]


def read(data: Path, on: list[datetime.date]) -> pd.DataFrame:
    """The advice of these dates, in COLUMNS, by date, customer and action. Raises WhalecurveError for an unreadable file."""
    parts = []
    with duckdb.connect() as connection:
        for date in sorted(on):
            path = folder(data) / f"{date.isoformat()}.parquet"
            try:
                parts.append(
                    connection.execute(
                        f"select {', '.join(COLUMNS)} from read_parquet({literal(str(path))}) order by customer_id, action"
                    ).df()
                )
            except duckdb.Error as error:
                raise WhalecurveError(
                    f"The register of advice {path} cannot be read ({str(error).splitlines()[0]}). Put back its last good copy, "
                    "or remove it: then nothing is said of what became of that day's advice."
                ) from None
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def count(connection: duckdb.DuckDBPyConnection, data: Path, condition: str) -> dict[datetime.date, int]:
    """Date -> rows for which the SQL `condition` over the columns holds, for the dates that have any."""
    found = {}
    for path in _files(data):
        row = connection.execute(
            f"select count(*) from read_parquet({literal(str(path))}) where {condition}"
        ).fetchone()
        if row and row[0]:
            found[datetime.date.fromisoformat(path.stem)] = int(row[0])
    return found


def erase(connection: duckdb.DuckDBPyConnection, data: Path, condition: str) -> int:
    """Take the rows for which the SQL `condition` holds out of every file; returns how many. Killed anywhere, it may run again.

    `whalecurve forget` gives the marks of the person's customer id: `<mark of customer_id> in (...)`.
    """
    found = count(connection, data, condition)
    for date in found:
        path = folder(data) / f"{date.isoformat()}.parquet"
        kept = (
            f"select * from read_parquet({literal(str(path))}) where not coalesce({condition}, false) "
            "order by customer_id, action"
        )
        _write(connection, kept, path)
    return sum(found.values())


def _files(data: Path) -> list[Path]:
    return sorted(path for path in folder(data).glob("*.parquet") if not path.name.startswith("."))


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    """Beside it first, then in its place: a reader sees the old file or the new one, after a power cut too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    connection.execute(f"copy ({query}) to {literal(str(aside))} (format parquet, compression zstd)")
    storage.flush(aside)
    os.replace(aside, path)
    storage.flush(path.parent)
