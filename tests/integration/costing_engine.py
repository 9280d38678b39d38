"""The costing engine as a function: rule files, ledger lines and driver rows in, a database of its tables out.

The rules are read, the dbt models run and the service pools solved as in a run; only what lies before costing (facts and
the counting of drivers) is given. The models are rendered by plain Jinja, so that hundreds of small companies can be tried.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb
import jinja2

from assets.company import Company
from assets.costing import service_charges
from assets.costing.rule_tables import write_rules
from assets.ingest.sql import insert_rows

PROJECT = Path(__file__).parents[2] / "dbt_project"
MODELS = {path.stem: path for path in PROJECT.glob("models/*/*.sql")}
BEFORE_SERVICE = (
    *("pool_months", "valid_pool_budgets", "budget_rates", "pool_cost_lines", "pool_costs"),
    *("driver_quantities", "pool_drivers", "service_quantities"),
)
AFTER_SERVICE = (
    *("gross_pool_costs", "pool_charges", "service_residuals", "allocated_costs", "method_costs"),
    *("customer_cost_lines", "residual_cost_lines", "pool_results", "allocation_lines"),
)
MUST_BE_EMPTY = ("assert_amounts_can_be_recomputed", "assert_pool_destinations_add_up")

AS_PUBLISHED = """
    create schema overview;
    create view overview.cost_pools as select *, own_amount as actual_amount from marts.pool_results;
"""
ONCE_EACH = """
    select journal_id, journal_line_number, behaviour from pools.pool_cost_lines group by all having count(*) > 1
    union all
    select pool_id, null, receiver_id from costing.allocated_costs
    group by month, driver_month, pool_id, behaviour, receiver_id having count(*) > 1
"""


class Line(NamedTuple):
    """One ledger line in role cost."""

    pool: str | None
    cents: int
    month: str = "2026-01"
    account: str = "6000"
    journal: str | None = None
    reverses: str | None = None
    customer: str | None = None


class Used(NamedTuple):
    """One driver row: what a customer used."""

    driver: str
    customer: str
    quantity: int
    month: str = "2026-01"


def pool(pool_id: str, stage: str = "activity", **settings: object) -> dict[str, object]:
    """A row of pools.csv."""
    level = "facility" if stage == "sustaining" else None
    behaviour = "sustaining" if stage == "sustaining" else "step_fixed"
    return {
        "pool_id": pool_id,
        "pool_name": pool_id,
        "stage": stage,
        "sustaining_level": level,
        "behaviour": behaviour,
        "rule_id": "R",
        **settings,
    }


def driver(driver_id: str, measure: str = "orders", **settings: object) -> dict[str, object]:
    """A row of drivers.csv."""
    return {"driver_id": driver_id, "driver_name": driver_id, "unit": "unit", "measure": measure, **settings}


def run_engine(
    folder: Path,
    *,
    lines: Iterable[Line],
    used: Iterable[Used] = (),
    method: str = "reciprocal",
    **rules: Iterable[Mapping[str, object]],
) -> duckdb.DuckDBPyConnection:
    """Write the rule files (`pools=`, `drivers=`, `quantities=`, ...), run the engine in memory, return the database."""
    costing = folder / "costing"
    costing.mkdir(parents=True, exist_ok=True)
    for old in costing.glob("*.csv"):
        old.unlink()
    files = {
        "ledger_scope": [{"rule_id": "S", "gl_account_from": "9", "role": "out_of_scope", "reason": "none"}],
        **rules,
    }
    for name, rows in files.items():
        (costing / f"{name}.csv").write_text(_csv(list(rows)))
    company = Company.model_validate(
        {
            **{
                "company": "toy",
                "name": "Toy",
                "base_currency": "EUR",
                "first_business_date": datetime.date(2026, 1, 1),
            },
            **{"sources": {"erp": {"dialect": "any"}}, "costing": {"service_method": method}},
        }
    )
    write_rules(company, folder, folder / "rules")
    connection = duckdb.connect()
    for schema in ("rules", "facts", "pools", "service_pools", "costing", "marts"):
        connection.execute(f"create schema {schema}")
    for path in (folder / "rules").glob("*.parquet"):
        connection.execute(f"create table rules.{path.stem} as from '{path}'")
    _facts(connection, list(lines), list(used))
    for model in BEFORE_SERVICE:
        connection.execute(_SQL[model])
    flows, origins = service_charges.service_charges(connection, method)
    for name, frame, types in (
        ("pool_flows", flows, service_charges.POOL_FLOWS),
        ("pool_origins", origins, service_charges.POOL_ORIGINS),
    ):
        columns = ", ".join(f"cast({column} as {kind}) as {column}" for column, kind in types.items())
        connection.register("frame", frame)
        connection.execute(f"create table service_pools.{name} as select {columns} from frame")
    for model in AFTER_SERVICE:
        connection.execute(_SQL[model])
    connection.execute(AS_PUBLISHED)
    assert connection.execute(ONCE_EACH).fetchall() == []
    for check in MUST_BE_EMPTY:
        assert connection.execute(_SQL[check]).fetchall() == [], check
    return connection


def costs_by_receiver(connection: duckdb.DuckDBPyConnection, where: str = "true") -> dict[str, int]:
    """Posted cents by receiver."""
    return dict(
        connection.execute(
            f"select receiver_id, sum(amount_cents)::bigint from costing.allocated_costs where {where} group by 1"
        ).fetchall()
    )


def _csv(rows: list[Mapping[str, object]]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [["" if row.get(column) is None else str(row.get(column)) for column in columns] for row in rows]
    return "\n".join(",".join(line) for line in [columns, *cells]) + "\n"


def _facts(connection: duckdb.DuckDBPyConnection, lines: list[Line], used: list[Used]) -> None:
    connection.execute("""
        create table facts.fct_ledger (
            month date, role varchar, pool_id varchar, source_instance varchar, journal_id varchar,
            journal_line_number bigint, effective_date date, gl_account_number varchar, gl_account_name varchar,
            cost_center_id varchar, customer_id varchar, scope_rule_id varchar, reversal_journal_id varchar,
            je_line_description varchar, amount_cents bigint, source_file varchar, source_row bigint, extract_date date);
        create table facts.fct_budgets (month date, role varchar, pool_id varchar, amount_cents bigint);
        create table pools.driver_rows (month date, driver_id varchar, customer_id varchar, quantity bigint)
    """)
    ledger = [
        (
            *(f"{line.month}-01", "cost", line.pool, "erp", line.journal or f"J{number}", number, f"{line.month}-01"),
            *(line.account, None, None, line.customer, None, line.reverses, None, line.cents, "gl.csv", number, None),
        )
        for number, line in enumerate(lines)
    ]
    insert_rows(connection, "facts.fct_ledger", ledger)
    rows = [(f"{row.month}-01", row.driver, row.customer, row.quantity) for row in used]
    insert_rows(connection, "pools.driver_rows", rows)


def _render() -> dict[str, str]:
    """SQL that creates each model's table, and that of the tests that must return nothing."""

    def relation(model: str) -> str:
        return f"{MODELS[model].parent.name}.{model}"

    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    environment.globals["target"] = {"type": "duckdb"}
    environment.globals |= {
        "ref": relation,
        "source": lambda schema, table: f"{schema}.{table}",
        "config": lambda **settings: "",
    }
    macros = "".join(
        (PROJECT / "macros" / f"{name}.sql").read_text()
        for name in ("dialect", "units", "largest_remainder", "incremental")
    )
    sql = {
        model: f"create table {relation(model)} as "
        + environment.from_string(macros + MODELS[model].read_text()).render()
        for model in (*BEFORE_SERVICE, *AFTER_SERVICE)
    }
    for check in MUST_BE_EMPTY:
        sql[check] = environment.from_string(macros + (PROJECT / "tests" / f"{check}.sql").read_text()).render()
    return sql


_SQL = _render()
