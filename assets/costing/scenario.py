"""A what-if scenario: a few changes of rules, settings and prices, written by a person, and the company folder that follows.

    name: picking_by_orders
    rules:
      - {file: pools.csv, where: {pool_id: picking}, set: {driver_id: orders}}
    settings: {credit.cost_of_capital: "0.10"}
    prices:
      - {percent: 5, customer: C00042}
      - {percent: -2, attribute: industry, value: Construction}

Belongs here: what a scenario may say, and laying it over a copy of the company folder. Not here: computing it
(`pipelines/what_if.py`) and saying what it changes (`assets/publish/what_if.py`).
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from assets.company import company_files, load_company
from assets.costing.rule_files import RULE_FILES, load_rules
from assets.errors import ConfigurationError
from assets.yaml_files import read_yaml, shown_path, validated

SETTINGS = ("costing", "credit")
"""Sections of company.yml that a scenario may change: those that profit by customer follows from."""

ATTRIBUTES = (
    "segment",
    "level",
    "industry",
    "country",
    "region",
    "acquisition_source",
    "customer_tier",
    "lifecycle_stage",
)
"""Columns of the published table `customers` that a price change may select by."""

FILES = tuple(file.name for file in RULE_FILES.values())
SHOWN = 8


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class RuleChange(_Strict):
    """Cells of a rule file: in the rows where columns have these values, columns are set to those."""

    file: Literal[FILES]  # type: ignore[valid-type]
    where: dict[str, str] = Field(min_length=1)
    set: dict[str, str] = Field(min_length=1)


class PriceChange(_Strict):
    """Net revenue of a customer, of those with a value of an attribute, or of all, by so many percent; all else as it is."""

    percent: Annotated[Decimal, Field(gt=-100, le=1000, allow_inf_nan=False)]
    customer: str | None = None
    attribute: Literal[ATTRIBUTES] | None = None  # type: ignore[valid-type]
    value: str | None = None

    @model_validator(mode="after")
    def _selects_one_way(self) -> PriceChange:
        if (self.attribute is None) != (self.value is None):
            raise ValueError("`attribute` and `value` go together, such as attribute: industry, value: Construction")
        if self.customer is not None and self.attribute is not None:
            raise ValueError("name a customer, or an attribute with its value, not both")
        return self

    def __str__(self) -> str:
        whom = self.customer or (f"{self.attribute} {self.value}" if self.attribute else "all customers")
        return f"{self.percent:+}% for {whom}"


class Scenario(_Strict):
    """What is asked: by which changes, and over how many months up to the release's."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
    rules: tuple[RuleChange, ...] = ()
    settings: dict[str, str] = {}
    prices: tuple[PriceChange, ...] = ()
    months: Annotated[int, Field(ge=1, le=120)] = 12

    @model_validator(mode="after")
    def _changes_something(self) -> Scenario:
        if not (self.rules or self.settings or self.prices):
            raise ValueError("a scenario changes something: give rules, settings or prices")
        for setting in self.settings:
            section, _, name = setting.partition(".")
            if section not in SETTINGS or not name:
                raise ValueError(
                    f"'{setting}' is not a setting a scenario may change: those begin with "
                    f"{' or '.join(f'{known}.' for known in SETTINGS)}, such as credit.cost_of_capital"
                )
        return self


def load_scenario(path: Path) -> Scenario:
    """Read a scenario's file. Raises ConfigurationError naming key and reason."""
    return scenario_of(read_yaml(path), path)


def scenario_of(content: Mapping[str, Any], place: Path) -> Scenario:
    """A scenario from its keys and values; `place` is how an error names it."""
    return validated(Scenario, dict(content), place)


def lay_over(scenario: Scenario, company_folder: Path, folder: Path) -> list[str]:
    """Write the company folder as the scenario has it to `folder`; returns what it changes, one line each.

    Only what a company is made of is copied. Raises ConfigurationError where a change fits nothing, or what comes out cannot be.
    """
    for path in company_files(company_folder):
        place = folder / path.relative_to(company_folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    said = [line for change in scenario.rules for line in _change_cells(folder / "costing" / change.file, change)]
    said += _change_settings(folder / "company.yml", scenario.settings)
    load_company(folder)
    load_rules(folder)
    return said + [f"price {price}" for price in scenario.prices]


def _change_cells(path: Path, change: RuleChange) -> list[str]:
    if not path.exists():
        raise ConfigurationError(f"The company has no {change.file}, so the scenario cannot change it.")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        rows, columns = list(reader), list(reader.fieldnames or ())
    for column in (*change.where, *change.set):
        if column not in columns:
            raise ConfigurationError(f"{change.file} has no column '{column}'; its columns are {', '.join(columns)}.")
    chosen = [
        row for row in rows if all((row[column] or "").strip() == value for column, value in change.where.items())
    ]
    if not chosen:
        raise ConfigurationError(f"{change.file} has no row with {_said(change.where)}; {_near(rows, change.where)}.")
    said = []
    for row in chosen:
        which = ", ".join(value for value in (*change.where.values(), _since(row, change.where)) if value)
        said += [
            f"{change.file}, {which}: {column} {row[column] or 'blank'} -> {value or 'blank'}"
            for column, value in change.set.items()
        ]
        row.update(change.set)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return said


def _since(row: Mapping[str, Any], where: Mapping[str, str]) -> str:
    """Which of several validities a row is, where the scenario did not say so itself."""
    start = row.get("valid_from")
    return f"from {start}" if start and "valid_from" not in where else ""


def _near(rows: Sequence[Mapping[str, Any]], where: Mapping[str, str]) -> str:
    """What the file has in the first of the columns whose value is in no row, or that the values do not meet in one row."""
    for column, value in where.items():
        there = sorted({(row[column] or "").strip() or "blank" for row in rows})
        if value not in there:
            more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
            return f"{column} is one of {', '.join(there[:SHOWN])}{more}" if there else "it has no rows"
    return "no row has all of these"


def _said(cells: Mapping[str, str]) -> str:
    return ", ".join(f"{column} {value or 'blank'}" for column, value in cells.items())


def _change_settings(path: Path, settings: Mapping[str, str]) -> list[str]:
    if not settings:
        return []
    content = read_yaml(path)
    said = []
    for setting, value in settings.items():
        *sections, name = setting.split(".")
        here: Any = content
        for section in sections:
            here = here.setdefault(section, {})
            if not isinstance(here, dict):
                raise ConfigurationError(f"'{setting}': {section} in {shown_path(path)} holds no settings of its own.")
        said.append(f"{setting} {here.get(name, 'as by default')} -> {value}")
        here[name] = value
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return said
