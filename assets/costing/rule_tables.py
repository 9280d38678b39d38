"""The assets of the rules layer: the company's rules in force, checked, as tables SQL can read.

What a rule may say is in rules.py, how its files are read and checked in rule_files.py; here they become Parquet.
"""

import datetime
import os
import uuid
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import dagster as dg
import duckdb

from assets.company import (
    ALWAYS_BLOCKING,
    PUBLISHABLE,
    RECONCILIATION_CHECKS,
    Company,
    LossRates,
    ReconciliationPolicy,
)
from assets.costing import rules
from assets.costing.rule_files import RULE_FILES, load_customer_links, load_rules
from assets.ingest.sql import identifier, insert_rows, literal
from assets.warehouse_table import column_schema
from pipelines.resources import Workspace, owners

TABLES = {
    "pools": "One row per cost pool and validity: how its cost leaves it.",
    "drivers": "One row per driver: what is counted and in which unit.",
    "capacities": "One row per pool and validity: practical capacity in driver units per month.",
    "ledger_scope": "One row per range of ledger accounts, in order: what the accounts are for. The first match decides.",
    "behaviours": "One row per range of a pool's accounts, in order: how their cost behaves. The first match decides.",
    "time_equations": "One row per term of a time equation and validity: driver units per unit of a measure.",
    "stated_quantities": "One row per driver, receiver and validity: a monthly quantity that no system counts.",
    "pool_budgets": "One row per pool and validity: what it may cost per month, and at which quantity.",
    "pool_targets": "One row per pool, measure and validity: what the pool should cost at most.",
    "acquisition_costs": "One row per cost pool, channel and validity: the share of its cost that wins customers.",
    "reconciliation_policies": "One row per reconciliation check: what a difference does to the release.",
    "matching_order": "One row per method that may decide whose customer it is, in order.",
    "customer_links": "One row per link of links.csv: a key of a source, the customer it stands for, and from when to when.",
    "company": "One row: the company's settings that SQL needs.",
}

IN_ORDER = {"ledger_scope", "behaviours", "customer_links"}
"""Tables whose rows are read in the order of the file: they carry their place in it."""

TYPES = {
    str: "VARCHAR",
    datetime.date: "DATE",
    int: "INTEGER",
    Decimal: "DECIMAL(22,6)",
    bool: "BOOLEAN",
    float: "DOUBLE",
}

Table = tuple[dict[str, str], list[tuple[Any, ...]]]
"""Column -> DuckDB type, and the rows."""


def rule_tables(company: Company, company_folder: Path) -> dict[str, Table]:
    """Every table of schema `rules`. Raises ConfigurationError where a file cannot be used."""
    rule_set = load_rules(company_folder)
    tables = {
        table: _table_of(file.model, getattr(rule_set, table), in_order=table in IN_ORDER)
        for table, file in RULE_FILES.items()
    }
    tables["customer_links"] = _table_of(
        rules.CustomerLink, load_customer_links(company, company_folder), in_order=True
    )
    tables["matching_order"] = (
        {"position": "INTEGER", "method": "VARCHAR"},
        list(enumerate(company.matching.order, start=1)),
    )
    tables["reconciliation_policies"] = (
        {"check_name": "VARCHAR", "severity": "VARCHAR", "tolerance": "DECIMAL(22,4)", "reason": "VARCHAR"},
        [
            (check, *_policy(check, company.reconciliation.get(check, ReconciliationPolicy())))
            for check in RECONCILIATION_CHECKS
        ],
    )
    tables["company"] = _settings(company)
    return tables


def _settings(company: Company) -> Table:
    """What SQL needs of company.yml, in one row."""
    columns: dict[str, tuple[str, Any]] = {
        "company": ("VARCHAR", company.company),
        "company_name": ("VARCHAR", company.name),
        "base_currency": ("VARCHAR", company.base_currency),
        "discount_rate": ("DOUBLE", company.value.discount_rate),
        "horizon_months": ("INTEGER", company.value.horizon_months),
        "churn_horizon_days": ("INTEGER", company.value.churn_horizon_days),
        "service_method": ("VARCHAR", company.costing.service_method),
        **{f"publish_{column}": ("BOOLEAN", column in company.privacy.publish) for column in PUBLISHABLE},
        "cost_of_capital": ("DECIMAL(9,6)", Decimal(str(company.credit.cost_of_capital))),
        "default_payment_days": ("INTEGER", company.credit.default_payment_days),
        "write_off_after_days": ("INTEGER", company.credit.write_off_after_days),
        "forward_looking_factor": ("DECIMAL(9,6)", Decimal(str(company.credit.forward_looking_factor))),
        "declares_loss_rates": ("BOOLEAN", company.credit.loss_rates is not None),
        **{
            f"loss_rate_{age}": ("DECIMAL(9,6)", Decimal(str(rate)))
            for age, rate in company.credit.loss_rates or dict.fromkeys(LossRates.model_fields, 0).items()
        },
        "first_business_date": ("DATE", company.first_business_date),
    }
    return {name: kind for name, (kind, _) in columns.items()}, [tuple(value for _, value in columns.values())]


def _table_of(model: type[rules.Rule], rows: Iterable[rules.Rule], *, in_order: bool) -> Table:
    """A rule file as a table: one column per field of its model, typed as the model says."""
    columns = {name: TYPES[_plain_type(field.annotation)] for name, field in model.model_fields.items()}
    values = [tuple(row.model_dump().values()) for row in rows]
    if not in_order:
        return columns, values
    return {"position": "INTEGER", **columns}, [(position, *value) for position, value in enumerate(values, start=1)]


def _columns(table: str) -> dict[str, Any]:
    """Metadata that says the columns of a table that is one rule file; dbt's YAML says those of the others."""
    if table not in RULE_FILES:
        return {}
    columns, _ = _table_of(RULE_FILES[table].model, (), in_order=table in IN_ORDER)
    return {"dagster/column_schema": column_schema(columns)}


def _plain_type(annotation: Any) -> type:
    """`str` of `Annotated[str | None, ...]` or of `Literal["a", "b"]`."""
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0])
    options = [option for option in get_args(annotation) if option is not type(None)]
    return _plain_type(options[0]) if options else annotation


def _policy(check: str, policy: ReconciliationPolicy) -> tuple[str, Decimal, str | None]:
    # Checks of Whalecurve's own arithmetic know no tolerance: a lost cent is a defect, not a difference.
    tolerance = Decimal(0) if check in ALWAYS_BLOCKING else Decimal(str(policy.tolerance))
    return policy.severity, tolerance, policy.reason or None


def write_rules(company: Company, company_folder: Path, folder: Path) -> dict[str, int]:
    """Write every rule table to `folder`/<table>.parquet, each beside and renamed. Returns table -> rows."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = rule_tables(company, company_folder)
    with duckdb.connect() as connection:
        for name, (columns, rows) in tables.items():
            types = ", ".join(f"{identifier(column)} {sql_type}" for column, sql_type in columns.items())
            connection.execute(f"create or replace temp table written ({types})")
            insert_rows(connection, "written", rows)
            aside = folder / f".{uuid.uuid4().hex}.tmp"
            connection.execute(f"copy written to {literal(str(aside))} (format parquet)")
            os.replace(aside, folder / f"{name}.parquet")
    return {name: len(rows) for name, (_, rows) in tables.items()}


@dg.multi_asset(
    name="costing_rules",
    specs=[
        dg.AssetSpec(
            key=["rules", table],
            group_name="rules",
            description=description,
            owners=owners()["controlling"],
            kinds={"csv", "parquet"},
            metadata=_columns(table),
        )
        for table, description in TABLES.items()
    ],
)
def costing_rules(workspace: Workspace) -> Iterator[dg.MaterializeResult]:
    """Check the company's costing/*.csv, customers/links.csv and company.yml and write every table of schema `rules`."""
    counts = write_rules(workspace.company(), workspace.company_folder, workspace.rules)
    for table, rows in counts.items():
        yield dg.MaterializeResult(asset_key=["rules", table], metadata={"dagster/row_count": rows})
