"""The datasets of the BI dashboards, made from the contract (columns) and from dbt's metrics.

Superset reads what lies in bi/export, in its own format for exports. Its datasets are written by this module; databases,
charts and dashboards are kept by hand, or exported from Superset again. Belongs here: what a dataset says. Not here: where a
release is read (`bi_bundle`).

    python -m assets.publish.bi_datasets     writes bi/export/datasets anew
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import yaml

from assets.publish import contract, metrics

FOLDER = Path(__file__).parents[2] / "bi" / "export"
DATABASE_UUID = "4ab9a3d1-0a54-5a9b-9f5c-3f3c7f9d7e10"
NAMES = uuid.UUID("b1c6f1de-6d0f-5f0e-8d39-0d7c1a4c3b5a")
"""Namespace of the datasets' ids: the same table has the same id in every installation."""
MOST_POINTS = 1000
AS_THEY_ARE = {
    "whale_curve": (
        "select * from (select whale_curve.*, count(*) over (partition by profit_level, period) as customer_count "
        "from whale_curve) as curve where customer_rank = 1 or customer_rank = customer_count or is_peak "
        f"or mod(customer_rank, cast(ceil(customer_count / {MOST_POINTS}.0) as bigint)) = 0"
    )
}
"""Tables that charts draw without a metric -> the rows they draw. More points of a curve cannot be told apart, and Superset
would cut a long one off."""
FORMATS = {"base currency": ",.0f", "share": ".1%", "customers": ",d", "actions": ",d"}
TEMPORAL = ("DATE", "TIMESTAMP")


def datasets() -> dict[str, dict[str, Any]]:
    """Table -> its dataset, as Superset exports one: every column of the contract, every metric declared on the table."""
    tables = {metric.table for metric in metrics.declared().values()} | set(AS_THEY_ARE)
    return {table: _dataset(table) for table in sorted(tables)}


def _dataset(table: str) -> dict[str, Any]:
    declared = metrics.of_table(table)
    latest = {metric.latest for metric in declared}
    assert len(latest) <= 1, f"{table} has metrics of all its rows and of the latest ones: they cannot share a dataset."
    over = next(iter(latest), None)
    of_latest = f"select * from {table} where {over} = (select max({over}) from {table})" if over else None
    columns = contract.declared()["tables"][table]["columns"]
    return {
        "table_name": table,
        "schema": None,
        "sql": AS_THEY_ARE.get(table, of_latest),
        "main_dttm_col": next((name for name, type_ in columns.items() if type_ in TEMPORAL), None),
        "description": None,
        "normalize_columns": False,
        "always_filter_main_dttm": False,
        "uuid": str(uuid.uuid5(NAMES, table)),
        "database_uuid": DATABASE_UUID,
        "version": "1.0.0",
        "metrics": [
            {
                "metric_name": metric.name,
                "verbose_name": metric.label,
                "description": metric.description,
                "expression": metric.sql,
                "d3format": FORMATS[metric.unit],
            }
            for metric in declared
        ],
        "columns": [
            {
                "column_name": name,
                "verbose_name": name.replace("_", " ").capitalize(),
                "type": type_,
                "is_dttm": type_ in TEMPORAL,
                "is_active": True,
                "groupby": True,
                "filterable": True,
            }
            for name, type_ in columns.items()
        ],
    }


def written(dataset: dict[str, Any]) -> str:
    """A dataset as the file that is shipped."""
    return "# Made from the contract and from dbt's metrics: python -m assets.publish.bi_datasets\n" + yaml.safe_dump(
        dataset, sort_keys=False, allow_unicode=True, width=120
    )


def main() -> None:
    """Write bi/export/datasets anew."""
    folder = FOLDER / "datasets" / "release"
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.yaml"):
        file.unlink()
    for table, dataset in datasets().items():
        (folder / f"{table}.yaml").write_text(written(dataset), encoding="utf-8")


if __name__ == "__main__":
    main()
