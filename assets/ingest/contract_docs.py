"""The canonical contract as dbt documentation: ``python -m assets.ingest.contract_docs``.

Writes ``models/staging/_raw__sources.yml`` and ``models/staging/_staging__models.yml`` of the dbt project, so that
entities and columns are described in ``contract.yml`` only. A test fails when the files on disk differ from what this
module would write. Reading deliveries, and what a dialect may say, do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

CONTRACT_PATH = Path(__file__).with_name("contract.yml")
STAGING_FOLDER = Path(__file__).parents[2] / "dbt_project" / "models" / "staging"

GENERATED_NOTICE = """\
# Written by `python -m assets.ingest.contract_docs` from assets/ingest/contract.yml: change the contract, then run it.

"""

SQL_TYPES = {
    "text": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "money": "DECIMAL(22,4)",
    "quantity": "DECIMAL(20,6)",
    "ratio": "DECIMAL(20,10)",
}
"""DuckDB type of each contract type."""

RAW_ONLY_COLUMNS = ("load_id", "quarantine_reason", "source_record")
"""Lineage columns that end with the raw layer: staging keeps the good rows that still hold."""

KEPT_WHEN_DELETED = ("customer",)
"""Entities whose deleted records stay in staging: their history still needs a name."""

BROUGHT_UP_TO_DATE = (
    *("invoice", "invoice_line", "payment", "payment_application", "gl_entry"),
    *("activity", "service_case", "survey_response", "campaign_member", "timesheet"),
)
"""Entities of which there may be many: their staging model is incremental."""

COUNTED_TABLES: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "stg_extracts": (
        "One row per entity, source instance and extract date: how much was delivered.",
        {
            "entity": ("VARCHAR", "Canonical entity."),
            "source_instance": ("VARCHAR", "The source of company.yml that delivered it."),
            "extract_date": ("DATE", "Business date the extract was delivered for."),
            "row_count": ("BIGINT", "Rows delivered, quarantined ones included."),
            "quarantined_row_count": ("BIGINT", "Rows that could not be read."),
        },
    ),
    "stg_quarantined_records": (
        "One row per delivered row, of any entity, that could not be read.",
        {
            "entity": ("VARCHAR", "Canonical entity the row was delivered for."),
            "source_instance": ("VARCHAR", "The source of company.yml that delivered it."),
            "source_file": ("VARCHAR", "Delivered file the row came from."),
            "source_row": ("BIGINT", "Line of the delivered file."),
            "extract_date": ("DATE", "Business date the extract was delivered for."),
            "quarantine_reason": ("VARCHAR", "Column, value and reason the row could not be read."),
            "source_record": ("VARCHAR", "The row as delivered, as JSON."),
        },
    ),
}
"""Staging models over all entities at once, which the contract does not describe: grain, and type and text per column."""


def staging_model_name(entity: str) -> str:
    """Return the staging model of an entity: ``stg_`` and its English plural."""
    return f"stg_{entity[:-1]}ies" if entity.endswith("y") else f"stg_{entity}s"


def staging_sql(entity: str, contract: Mapping[str, Any]) -> str:
    """Return the SQL of an entity's staging model: one call of the macro that picks the current version."""
    spec = contract["entities"][entity]
    if entity in BROUGHT_UP_TO_DATE:
        return (
            f"{{%- set key = {_sql_list(spec['key'])} -%}}\n"
            "{{ config(materialized='incremental', unique_key=['source_instance'] + key, post_hook='{{ record_build() }}') }}\n"
            f"{{{{ current_version('{entity}', key=key, rows=versions_to_judge('{entity}', key)) }}}}\n"
        )
    keep_deleted = ""
    if entity in KEPT_WHEN_DELETED:
        required = [
            name for name, column in spec["columns"].items() if column.get("required") and name not in spec["key"]
        ]
        keep_deleted = f", keep_deleted=true, required={_sql_list(required)}"
    return f"{{{{ current_version('{entity}', key={_sql_list(spec['key'])}{keep_deleted}) }}}}\n"


def sources_yaml(contract: Mapping[str, Any]) -> str:
    """Return the dbt sources of schema ``raw``: every entity with every column, as ingest writes it."""
    tables = [
        {
            "name": entity,
            "description": f"{spec['grain']} Every version ever delivered, unreadable rows included.",
            "columns": _columns({**spec["columns"], **contract["lineage_columns"]}),
        }
        for entity, spec in contract["entities"].items()
    ]
    source = {
        "name": "raw",
        "schema": "raw",
        "description": "What the sources said, once: views over the Parquet files of the raw layer.",
        "tables": tables,
    }
    return GENERATED_NOTICE + _dump({"version": 2, "sources": [source]})


def staging_yaml(contract: Mapping[str, Any]) -> str:
    """Return the dbt models of schema ``staging``: the contract's columns, and the key that must be unique."""
    models = []
    for entity, spec in contract["entities"].items():
        lineage = {k: v for k, v in contract["lineage_columns"].items() if k not in RAW_ONLY_COLUMNS}
        nullable = [column for column in spec["key"] if not spec["columns"][column].get("required")]
        key_test: dict[str, Any] = {"columns": ["source_instance", *spec["key"]]}
        if nullable:
            key_test["may_be_null"] = nullable
        deleted = "Deleted customers are kept." if entity in KEPT_WHEN_DELETED else "Deleted records are dropped."
        models.append(
            {
                "name": staging_model_name(entity),
                "description": f"{spec['grain']} The current version of each record. {deleted}",
                "data_tests": [{"primary_key": {"arguments": key_test}}],
                "columns": _columns({**spec["columns"], **lineage}),
            }
        )
    for name, (grain, columns) in COUNTED_TABLES.items():
        described = [{"name": n, "data_type": t, "description": d} for n, (t, d) in columns.items()]
        models.append({"name": name, "description": grain, "columns": described})
    return GENERATED_NOTICE + _dump({"version": 2, "models": models})


def write_staging_docs(contract: Mapping[str, Any], folder: Path = STAGING_FOLDER) -> None:
    """Write both YAML files into the staging folder of the dbt project."""
    (folder / "_raw__sources.yml").write_text(sources_yaml(contract), encoding="utf-8")
    (folder / "_staging__models.yml").write_text(staging_yaml(contract), encoding="utf-8")


def read_contract(path: Path = CONTRACT_PATH) -> dict[str, Any]:
    """Read the contract as plain data."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _sql_list(columns: Sequence[str]) -> str:
    return "[" + ", ".join(f"'{column}'" for column in columns) + "]"


def _columns(columns: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    described = []
    for name, spec in columns.items():
        column = {"name": name, "data_type": SQL_TYPES[spec["type"]], "description": spec["description"]}
        if "pii" in spec:
            column["config"] = {"meta": {"pii": spec["pii"]}}
        described.append(column)
    return described


def _dump(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=116)


if __name__ == "__main__":
    write_staging_docs(read_contract())
