"""Reading the rule files of a company, and checking what they say together.

A rule that cannot be used is refused with file, row, column and remedy, before anything is computed from it.
"""

from __future__ import annotations

import csv
import datetime
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from assets.company import Company
from assets.costing import rules
from assets.costing.acquisition_rules import AcquisitionCost, overspent
from assets.errors import ConfigurationError
from assets.yaml_files import shown_path

AnyRule = TypeVar("AnyRule", bound=rules.Rule)


class RuleSet(BaseModel):
    """All costing rules of one company, each table in the order of its file."""

    pools: list[rules.Pool]
    drivers: list[rules.Driver]
    ledger_scope: list[rules.ScopeRule]
    capacities: list[rules.Capacity] = []
    behaviours: list[rules.Behaviour] = []
    time_equations: list[rules.TimeEquationTerm] = []
    stated_quantities: list[rules.StatedQuantity] = []
    pool_budgets: list[rules.PoolBudget] = []
    pool_targets: list[rules.PoolTarget] = []
    acquisition_costs: list[AcquisitionCost] = []


class RuleFile(NamedTuple):
    """A file of `<company>/costing/` and what a row of it is."""

    name: str
    model: type[rules.Rule]
    optional: bool = True


RULE_FILES = {
    "pools": RuleFile("pools.csv", rules.Pool, optional=False),
    "drivers": RuleFile("drivers.csv", rules.Driver, optional=False),
    "ledger_scope": RuleFile("ledger_scope.csv", rules.ScopeRule, optional=False),
    "capacities": RuleFile("capacities.csv", rules.Capacity),
    "behaviours": RuleFile("behaviours.csv", rules.Behaviour),
    "time_equations": RuleFile("time_equations.csv", rules.TimeEquationTerm),
    "stated_quantities": RuleFile("quantities.csv", rules.StatedQuantity),
    "pool_budgets": RuleFile("budgets.csv", rules.PoolBudget),
    "pool_targets": RuleFile("targets.csv", rules.PoolTarget),
    "acquisition_costs": RuleFile("acquisition.csv", AcquisitionCost),
}
"""Table of schema `rules` -> the file it is read from."""


def load_rules(company_folder: Path) -> RuleSet:
    """Read and check `<company>/costing/`. Raises ConfigurationError with file, row, column and remedy of each fault.

    A company without that folder has no rules (one without a ledger needs none): what its ledger holds is then on no customer,
    and the release says so.
    """
    folder = company_folder / "costing"
    if not folder.exists():
        return RuleSet(pools=[], drivers=[], ledger_scope=[])
    known = {file.name for file in RULE_FILES.values()}
    strangers = sorted(path.name for path in folder.glob("*.csv") if path.name not in known)
    if strangers:
        raise ConfigurationError(
            f"{shown_path(folder)}: nothing reads {', '.join(strangers)}; rename or remove it. "
            f"Rule files are {', '.join(sorted(known))}."
        )
    rule_set = RuleSet(
        **{
            table: read_rules(folder / file.name, file.model, optional=file.optional)
            for table, file in RULE_FILES.items()
        }
    )
    faults = [*_unknown_names(rule_set, folder), *_overlaps(rule_set, folder), *_contradictions(rule_set, folder)]
    if faults:
        raise ConfigurationError("\n".join(faults))
    return rule_set


def load_customer_links(company: Company, company_folder: Path) -> list[rules.CustomerLink]:
    """Read and check `<company>/customers/links.csv`, if there is one. Raises ConfigurationError naming each fault."""
    path = company_folder / "customers" / "links.csv"
    links = read_rules(path, rules.CustomerLink, optional=True)
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


def read_rules(path: Path, model: type[AnyRule], *, optional: bool = False) -> list[AnyRule]:
    """Rows of one rule file. Raises ConfigurationError naming file, row and column of each cell that cannot be."""
    shown = shown_path(path)

    def blank(column: str, cell: str) -> bool:
        return column in model.model_fields and not model.model_fields[column].is_required() and not cell.strip()

    if not path.exists():
        if optional:
            return []
        raise ConfigurationError(f"{shown} is missing. Its columns are {', '.join(model.model_fields)}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.DictReader(stream))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown} is not UTF-8 (byte {error.start}): save it as 'CSV UTF-8'.") from None
    read, faults = [], []
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            faults.append(
                f"{shown}, row {number}: has more or fewer cells than the header; check its commas and quotes."
            )
            continue
        try:
            read.append(
                model.model_validate({key: value for key, value in line.items() if key and not blank(key, value)})
            )
        except ValidationError as error:
            faults += [_fault(shown, number, problem) for problem in error.errors()]
    if faults:
        raise ConfigurationError("\n".join(faults))
    return read


def _fault(shown: str, number: int, problem: Any) -> str:
    column = str(problem["loc"][0]) if problem["loc"] else "(whole row)"
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    if problem["type"] == "missing":
        message = "the column is missing from the header"
    elif problem["type"] == "extra_forbidden":
        message = "is not a column of this file; check its spelling"
    given = problem.get("input")
    return f"{shown}, row {number}, column {column}: {message}{f'; it is {given!r}' if isinstance(given, str) else ''}."


def _unknown_names(rule_set: RuleSet, folder: Path) -> Iterator[str]:
    """Rows that name a pool or a driver nobody defined."""
    names = {
        "pools": {pool.pool_id for pool in rule_set.pools},
        "drivers": {driver.driver_id for driver in rule_set.drivers},
    }
    for table, file in RULE_FILES.items():
        for column, target in file.model.POINTS_TO.items():
            for number, row in enumerate(getattr(rule_set, table), start=2):
                name = getattr(row, column)
                if name is not None and name not in names[target]:
                    yield (
                        f"{shown_path(folder / file.name)}, row {number}, column {column}: there is no {target[:-1]} "
                        f"'{name}'; add it to {RULE_FILES[target].name} or choose one of {', '.join(sorted(names[target]))}."
                    )


def _overlaps(rule_set: RuleSet, folder: Path) -> Iterator[str]:
    """Two rows that hold for the same thing on the same day: the result would depend on their order."""
    for table, file in RULE_FILES.items():
        seen: dict[tuple[Any, ...], list[tuple[int, datetime.date | None, datetime.date | None]]] = defaultdict(list)
        for number, row in enumerate(getattr(rule_set, table), start=2):
            key = tuple(getattr(row, column) for column in file.model.KEY)
            if not key:
                break
            start, end = getattr(row, "valid_from", None), getattr(row, "valid_to", None)
            for other, other_start, other_end in seen[key]:
                apart = (end and other_start and end < other_start) or (other_end and start and other_end < start)
                if not apart:
                    yield (
                        f"{shown_path(folder / file.name)}, row {number}: '{' / '.join(map(str, key))}' already holds for the "
                        f"same days in row {other}; end the earlier row with valid_to before this one begins."
                    )
            seen[key].append((number, start, end))


def _contradictions(rule_set: RuleSet, folder: Path) -> Iterator[str]:
    """What every row says rightly by itself, and the files wrongly together."""
    pools: dict[str, list[rules.Pool]] = defaultdict(list)
    for pool in rule_set.pools:
        pools[pool.pool_id].append(pool)
    drivers = {driver.driver_id: driver for driver in rule_set.drivers}

    def place(table: str, number: int, column: str) -> str:
        return f"{shown_path(folder / RULE_FILES[table].name)}, row {number}, column {column}"

    for number, capacity in enumerate(rule_set.capacities, start=2):
        if any(pool.stage not in ("activity", "service") for pool in pools[capacity.pool_id]):
            yield (
                f"{place('capacities', number, 'pool_id')}: '{capacity.pool_id}' is not an activity or service pool; only a pool "
                "that is divided by a driver has a capacity."
            )
    for number, row in enumerate(rule_set.behaviours, start=2):
        if any(pool.stage not in ("activity", "service") for pool in pools[row.pool_id]):
            yield (
                f"{place('behaviours', number, 'pool_id')}: '{row.pool_id}' is not an activity or service pool; only the cost "
                "of those is split by behaviour."
            )
    yield from _driver_faults(rule_set, drivers, place)
    for number, fault in overspent(rule_set.acquisition_costs):
        yield f"{place('acquisition_costs', number + 2, 'share')}: {fault}."
    budgeted = {budget.pool_id for budget in rule_set.pool_budgets}
    for number, pool in enumerate(rule_set.pools, start=2):
        if pool.rate_basis != "budget":
            continue
        if pool.pool_id not in budgeted:
            yield (
                f"{place('pools', number, 'rate_basis')}: '{pool.pool_id}' is charged at its budget and has none; add it to "
                "budgets.csv, or choose practical or actual."
            )
        parts = {pool.behaviour, *(row.behaviour for row in rule_set.behaviours if row.pool_id == pool.pool_id)}
        if any(row.fixed_amount for row in rule_set.behaviours if row.pool_id == pool.pool_id):
            parts.add("fixed")
        if {"fixed", "step_fixed"} <= parts:
            yield (
                f"{place('pools', number, 'rate_basis')}: the cost of '{pool.pool_id}' is part fixed, part step_fixed, and a "
                "budget has one fixed amount; call all of it one or the other in behaviours.csv."
            )


def _driver_faults(rule_set: RuleSet, drivers: dict[str, rules.Driver], place: Any) -> Iterator[str]:
    """Drivers without what their measure needs, figures nobody reads, and receivers that cannot receive."""
    terms = {row.driver_id for row in rule_set.time_equations}
    figures: dict[str, set[str]] = defaultdict(set)
    for row in rule_set.stated_quantities:
        figures[row.driver_id].add(row.receiver_kind)
    for number, driver in enumerate(rule_set.drivers, start=2):
        if driver.measure == rules.TIME_EQUATION and driver.driver_id not in terms:
            yield f"{place('drivers', number, 'measure')}: '{driver.driver_id}' has no terms; add them to time_equations.csv."
        if driver.measure == rules.STATED and driver.driver_id not in figures:
            yield f"{place('drivers', number, 'measure')}: '{driver.driver_id}' has no figures; add them to quantities.csv."
    for table, measure in (("time_equations", rules.TIME_EQUATION), ("stated_quantities", rules.STATED)):
        for number, row in enumerate(getattr(rule_set, table), start=2):
            if row.driver_id in drivers and drivers[row.driver_id].measure != measure:
                yield (
                    f"{place(table, number, 'driver_id')}: '{row.driver_id}' is counted as {drivers[row.driver_id].measure}, so "
                    f"nobody would read this row; give the driver the measure {measure} or remove the row."
                )
    stages: dict[str, set[str]] = defaultdict(set)
    for pool in rule_set.pools:
        stages[pool.pool_id].add(pool.stage)
    for number, stated in enumerate(rule_set.stated_quantities, start=2):
        if stated.receiver_kind == "pool" and stated.receiver_id not in stages:
            yield (
                f"{place('stated_quantities', number, 'receiver_id')}: there is no pool '{stated.receiver_id}'; add it to "
                f"pools.csv or choose one of {', '.join(sorted(stages))}."
            )
        elif stated.receiver_kind == "pool" and "direct" in stages[stated.receiver_id]:
            yield (
                f"{place('stated_quantities', number, 'receiver_id')}: '{stated.receiver_id}' is a direct pool, whose cost "
                "stands on ledger lines that name the customer; it cannot receive the cost of another pool."
            )
    for number, pool in enumerate(rule_set.pools, start=2):
        for column in ("driver_id", "fixed_driver_id"):
            used = drivers.get(getattr(pool, column) or "")
            if used is None:
                continue
            if pool.stage == "service" and (used.measure != rules.STATED or figures[used.driver_id] - {"pool"}):
                yield (
                    f"{place('pools', number, column)}: '{pool.pool_id}' serves pools, so its driver must say how much each pool "
                    f"uses: measure stated, with rows of receiver_kind pool in quantities.csv, which '{used.driver_id}' is not. "
                    "What it does for customers is an activity pool of its own."
                )
            if pool.stage != "service" and "pool" in figures[used.driver_id]:
                yield (
                    f"{place('pools', number, column)}: '{pool.pool_id}' is divided among customers, and '{used.driver_id}' "
                    "states quantities of pools; choose another driver, or make it a service pool."
                )
