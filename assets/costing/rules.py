"""The company's rules: `<company>/costing/*.csv`, `<company>/customers/links.csv` and the settings SQL needs, validated and
written as Parquet.

What the rules mean is computed in dbt_project (models/costing; models/facts for links). Here they are only read and
checked: a rule that cannot be used is refused with file, row, column and remedy, before anything is computed from it.
"""

from __future__ import annotations

import csv
import datetime
import os
import uuid
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import duckdb
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from assets.company import (
    ALWAYS_BLOCKING,
    PUBLISHABLE,
    RECONCILIATION_CHECKS,
    Company,
    Name,
    ReconciliationPolicy,
)
from assets.errors import ConfigurationError
from assets.ingest.sql import identifier, literal
from assets.yaml_files import shown_path

MEASURES = (
    "orders",
    "invoices",
    "invoice_lines",
    "units",
    "net_revenue",
    "cost_of_goods_sold",
    "service_cases",
    "handling_minutes",
    "visits",
    "calls",
    "activities",
    "payments",
    "campaign_responses",
    "active_customers",
)
"""What dbt_project/models/costing/driver_rows.sql can count; a driver chooses one."""


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Text = Annotated[str | None, BeforeValidator(_blank_is_none)]
Day = Annotated[datetime.date | None, BeforeValidator(_blank_is_none)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class _Effective(_Rule):
    """A rule that holds from a day to a day, both included; blank is open."""

    valid_from: Day = None
    valid_to: Day = None

    @model_validator(mode="after")
    def _dates_in_order(self) -> _Effective:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("valid_to lies before valid_from")
        return self


class Pool(_Effective):
    """A cost pool and how it leaves: traced to customers, divided by a driver, or kept as a sustaining line."""

    pool_id: Name
    pool_name: str = Field(min_length=1)
    stage: Literal["direct", "activity", "sustaining"]
    driver_id: Annotated[Name | None, BeforeValidator(_blank_is_none)] = None
    sustaining_level: Annotated[
        Literal["facility", "product", "channel", "market"] | None, BeforeValidator(_blank_is_none)
    ] = None
    behaviour: Literal["variable", "step_fixed", "fixed", "sustaining"]
    rule_id: str = Field(min_length=1)
    approved_by: Text = None
    approved_on: Day = None

    @model_validator(mode="after")
    def _leaves_one_way(self) -> Pool:
        if (self.driver_id is not None) != (self.stage == "activity"):
            raise ValueError("driver_id is for pools of stage activity, which need one, and for no others")
        if (self.sustaining_level is not None) != (self.stage == "sustaining"):
            raise ValueError("sustaining_level is for pools of stage sustaining, which need one, and for no others")
        return self


class Driver(_Rule):
    """What a pool is divided by."""

    driver_id: Name
    driver_name: str = Field(min_length=1)
    unit: str = Field(min_length=1)
    measure: Literal[MEASURES]  # type: ignore[valid-type]
    decimals: int = Field(default=0, ge=0, le=6)
    zero_policy: Literal["unallocated"] = "unallocated"
    negative_policy: Literal["net_floor_zero"] = "net_floor_zero"


class Capacity(_Effective):
    """Practical capacity of a pool, in units of its driver per month."""

    pool_id: Name
    capacity: Decimal = Field(gt=0)


class ScopeRule(_Effective):
    """What a range of ledger accounts is for. The first row of the file that matches a ledger line decides."""

    rule_id: str = Field(min_length=1)
    gl_account_from: str = Field(min_length=1)
    gl_account_to: Text = None
    cost_center_id: Text = None
    role: Literal["revenue", "cost_of_goods_sold", "cost", "receivables", "out_of_scope"]
    pool_id: Annotated[Name | None, BeforeValidator(_blank_is_none)] = None
    reason: Text = None

    @model_validator(mode="after")
    def _complete(self) -> ScopeRule:
        if (self.pool_id is not None) != (self.role == "cost"):
            raise ValueError("pool_id is for rows of role cost, which need one, and for no others")
        if self.role == "out_of_scope" and not self.reason:
            raise ValueError("a row of role out_of_scope needs a reason: it is listed for the auditor")
        if self.gl_account_to and self.gl_account_to < self.gl_account_from:
            raise ValueError("gl_account_to lies before gl_account_from (compared as text)")
        return self


class CustomerLink(_Effective):
    """A person's decision: this key of a source (blank: of any source) stands for this customer."""

    source: Text = None
    source_customer_key: str = Field(min_length=1)
    key_kind: Literal["id", "code", "name", "tin"]
    customer_id: str = Field(min_length=1)
    decided_by: str = Field(min_length=1)
    reason: Text = None


Rule = TypeVar("Rule", bound=_Rule)


class RuleSet(BaseModel):
    """All rules of one company."""

    pools: list[Pool]
    drivers: list[Driver]
    capacities: list[Capacity]
    ledger_scope: list[ScopeRule]


def load_rules(company_folder: Path) -> RuleSet:
    """Read and check `<company>/costing/`. Raises ConfigurationError with file, row, column and remedy of each fault."""
    folder = company_folder / "costing"
    rules = RuleSet(
        pools=_read(folder / "pools.csv", Pool),
        drivers=_read(folder / "drivers.csv", Driver),
        capacities=_read(folder / "capacities.csv", Capacity, optional=True),
        ledger_scope=_read(folder / "ledger_scope.csv", ScopeRule),
    )
    faults = [*_references(rules, folder), *_overlaps(rules, folder)]
    if faults:
        raise ConfigurationError("\n".join(faults))
    return rules


def load_customer_links(company: Company, company_folder: Path) -> list[CustomerLink]:
    """Read and check `<company>/customers/links.csv`, if there is one. Raises ConfigurationError naming each fault."""
    path = company_folder / "customers" / "links.csv"
    links = _read(path, CustomerLink, optional=True)
    faults: list[str] = []
    seen: dict[tuple[Any, ...], int] = {}
    for number, link in enumerate(links, start=2):
        if link.source and link.source not in company.sources:
            faults.append(
                f"{shown_path(path)}, row {number}, column source: there is no source '{link.source}'; leave it blank for "
                f"any source, or choose one of {', '.join(sorted(company.sources))}."
            )
        if not any(sign.isalnum() for sign in link.source_customer_key):
            faults.append(
                f"{shown_path(path)}, row {number}, column source_customer_key: has neither letter nor digit, so nothing "
                f"could be known by it; it is {link.source_customer_key!r}."
            )
        key = (link.source, link.key_kind, link.source_customer_key, link.valid_from)
        if key in seen:
            faults.append(
                f"{shown_path(path)}, row {number}, column valid_from: the {link.key_kind} '{link.source_customer_key}' is "
                f"already linked from the same day in row {seen[key]}; keep one of the two rows, or let this one begin later: "
                "it then ends the other."
            )
        seen.setdefault(key, number)
    if faults:
        raise ConfigurationError("\n".join(faults))
    return links


def _read(path: Path, model: type[Rule], *, optional: bool = False) -> list[Rule]:
    shown = shown_path(path)
    if not path.exists():
        if optional:
            return []
        raise ConfigurationError(f"{shown} is missing. Its columns are {', '.join(model.model_fields)}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.DictReader(stream))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown} is not UTF-8 (byte {error.start}): save it as 'CSV UTF-8'.") from None
    rules, faults = [], []
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            faults.append(
                f"{shown}, row {number}: has more or fewer cells than the header; check its commas and quotes."
            )
            continue
        try:
            rules.append(model.model_validate({key: value for key, value in line.items() if key}))
        except ValidationError as error:
            faults += [_fault(shown, number, problem) for problem in error.errors()]
    if faults:
        raise ConfigurationError("\n".join(faults))
    return rules


def _fault(shown: str, number: int, problem: Any) -> str:
    column = str(problem["loc"][0]) if problem["loc"] else "(whole row)"
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    if problem["type"] == "missing":
        message = "the column is missing from the header"
    elif problem["type"] == "extra_forbidden":
        message = "is not a column of this file; check its spelling"
    given = problem.get("input")
    return f"{shown}, row {number}, column {column}: {message}{f'; it is {given!r}' if isinstance(given, str) else ''}."


def _references(rules: RuleSet, folder: Path) -> Iterable[str]:
    """Rows that name a pool or a driver nobody defined."""
    pools = {pool.pool_id for pool in rules.pools}
    drivers = {driver.driver_id for driver in rules.drivers}
    for number, pool in enumerate(rules.pools, start=2):
        if pool.driver_id and pool.driver_id not in drivers:
            yield (
                f"{shown_path(folder / 'pools.csv')}, row {number}, column driver_id: there is no driver "
                f"'{pool.driver_id}'; add it to drivers.csv or choose one of {', '.join(sorted(drivers))}."
            )
    named: dict[str, list[str | None]] = {
        "ledger_scope.csv": [scope.pool_id for scope in rules.ledger_scope],
        "capacities.csv": [capacity.pool_id for capacity in rules.capacities],
    }
    for file, names in named.items():
        for number, name in enumerate(names, start=2):
            if name is not None and name not in pools:
                yield (
                    f"{shown_path(folder / file)}, row {number}, column pool_id: there is no pool '{name}'; "
                    f"add it to pools.csv or choose one of {', '.join(sorted(pools))}."
                )
    stages = {pool.pool_id: pool.stage for pool in rules.pools}
    for number, row in enumerate(rules.capacities, start=2):
        if stages.get(row.pool_id, "activity") != "activity":
            yield (
                f"{shown_path(folder / 'capacities.csv')}, row {number}, column pool_id: '{row.pool_id}' is not an "
                "activity pool; only a pool with a driver has a capacity."
            )


def _overlaps(rules: RuleSet, folder: Path) -> Iterable[str]:
    """Two rows that hold for the same pool or driver on the same day: the result would depend on their order."""
    files: list[tuple[str, list[tuple[str, datetime.date | None, datetime.date | None]]]] = [
        ("pools.csv", [(pool.pool_id, pool.valid_from, pool.valid_to) for pool in rules.pools]),
        ("capacities.csv", [(row.pool_id, row.valid_from, row.valid_to) for row in rules.capacities]),
        ("drivers.csv", [(driver.driver_id, None, None) for driver in rules.drivers]),
    ]
    for file, rows in files:
        for index, (name, start, end) in enumerate(rows):
            for other, (other_name, other_start, other_end) in enumerate(rows[:index]):
                apart = (end and other_start and end < other_start) or (other_end and start and other_end < start)
                if name == other_name and not apart:
                    yield (
                        f"{shown_path(folder / file)}, row {index + 2}: '{name}' already holds for the same days in row "
                        f"{other + 2}; end the earlier row with valid_to before this one begins."
                    )


def rule_tables(company: Company, company_folder: Path) -> dict[str, tuple[dict[str, str], list[tuple[Any, ...]]]]:
    """Every table of schema `rules`: name -> (column -> DuckDB type, rows)."""
    rules = load_rules(company_folder)
    links = load_customer_links(company, company_folder)
    effective = {"valid_from": "DATE", "valid_to": "DATE"}
    policies = [
        (check, *_policy(check, company.reconciliation.get(check, ReconciliationPolicy())))
        for check in RECONCILIATION_CHECKS
    ]
    return {
        "pools": (
            {
                **dict.fromkeys(
                    (
                        "pool_id",
                        "pool_name",
                        "stage",
                        "driver_id",
                        "sustaining_level",
                        "behaviour",
                        "rule_id",
                        "approved_by",
                    ),
                    "VARCHAR",
                ),
                "approved_on": "DATE",
                **effective,
            },
            [
                (
                    *(pool.pool_id, pool.pool_name, pool.stage, pool.driver_id, pool.sustaining_level, pool.behaviour),
                    *(pool.rule_id, pool.approved_by, pool.approved_on, pool.valid_from, pool.valid_to),
                )
                for pool in rules.pools
            ],
        ),
        "drivers": (
            {
                **dict.fromkeys(("driver_id", "driver_name", "unit", "measure"), "VARCHAR"),
                "decimals": "INTEGER",
                **dict.fromkeys(("zero_policy", "negative_policy"), "VARCHAR"),
            },
            [tuple(driver.model_dump().values()) for driver in rules.drivers],
        ),
        "capacities": (
            {"pool_id": "VARCHAR", "capacity": "DECIMAL(20,6)", **effective},
            [(row.pool_id, row.capacity, row.valid_from, row.valid_to) for row in rules.capacities],
        ),
        "ledger_scope": (
            {
                "position": "INTEGER",
                **dict.fromkeys(
                    ("rule_id", "gl_account_from", "gl_account_to", "cost_center_id", "role", "pool_id", "reason"),
                    "VARCHAR",
                ),
                **effective,
            },
            [
                (
                    *(position, row.rule_id, row.gl_account_from, row.gl_account_to or row.gl_account_from),
                    *(row.cost_center_id, row.role, row.pool_id, row.reason, row.valid_from, row.valid_to),
                )
                for position, row in enumerate(rules.ledger_scope, start=1)
            ],
        ),
        "reconciliation_policies": (
            {"check_name": "VARCHAR", "severity": "VARCHAR", "tolerance": "DECIMAL(22,4)", "reason": "VARCHAR"},
            policies,
        ),
        "matching_order": (
            {"position": "INTEGER", "method": "VARCHAR"},
            list(enumerate(company.matching.order, start=1)),
        ),
        "customer_links": (
            {
                "position": "INTEGER",
                **dict.fromkeys(("source", "source_customer_key", "key_kind", "customer_id"), "VARCHAR"),
                **effective,
                **dict.fromkeys(("decided_by", "reason"), "VARCHAR"),
            },
            [
                (
                    *(position, link.source, link.source_customer_key, link.key_kind, link.customer_id),
                    *(link.valid_from, link.valid_to, link.decided_by, link.reason),
                )
                for position, link in enumerate(links, start=1)
            ],
        ),
        "company": (
            {
                **dict.fromkeys(("company", "company_name", "base_currency"), "VARCHAR"),
                "discount_rate": "DOUBLE",
                "horizon_months": "INTEGER",
                "churn_horizon_days": "INTEGER",
                **{f"publish_{column}": "BOOLEAN" for column in PUBLISHABLE},
                "first_business_date": "DATE",
            },
            [
                (
                    *(company.company, company.name, company.base_currency, company.value.discount_rate),
                    *(company.value.horizon_months, company.value.churn_horizon_days),
                    *(column in company.privacy.publish for column in PUBLISHABLE),
                    company.first_business_date,
                )
            ],
        ),
    }


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
            if rows:
                marks = ", ".join("?" for _ in columns)
                connection.executemany(f"insert into written values ({marks})", rows)
            aside = folder / f".{uuid.uuid4().hex}.tmp"
            connection.execute(f"copy written to {literal(str(aside))} (format parquet)")
            os.replace(aside, folder / f"{name}.parquet")
    return {name: len(rows) for name, (_, rows) in tables.items()}
