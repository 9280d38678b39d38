"""The jobs a person starts from the Dagster UI with a few words: a typed launchpad, and the function the command calls too.

Belongs here: the fields of each launchpad and what a person reads of them, and what a finished run shows. Not here: what is
done (`as_known.py`, `restate.py`, `what_if.py`), and the daily run, which takes business dates instead (`jobs.py`).

A job of these holds no data folder while it begins: the function it calls takes it, and waits for others like a command.
"""

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.costing.scenario import ATTRIBUTES, Scenario, scenario_of
from assets.errors import WhalecurveError
from assets.publish.diff import Moved
from assets.publish.plots import curves
from assets.publish.release import require_current
from assets.publish.summary import summary
from assets.publish.what_if import curves_of
from pipelines.as_known import run_as_known_then
from pipelines.restate import restate
from pipelines.runs import PERSON_TAG
from pipelines.what_if import what_if

ASKED = {PERSON_TAG: "yes"}
SHOWN = 50
"""Customers in a table of the UI."""


class AsKnownThen(dg.Config):
    """A business date, to be made again from what was delivered up to it."""

    date: str = Field(
        description="Business date, such as 2026-06-01. Its release is made again from the deliveries up to that day and "
        "nothing later, in as_known/<date>/releases of the data folder; the company's own releases stay as they are."
    )


@dg.op(out=dg.Out(dg.Nothing), description="Make the release of a business date again from what was known then.")
def make_as_known_then(context: dg.OpExecutionContext, config: AsKnownThen) -> Iterator[Any]:
    releases, standing = run_as_known_then(_date(config.date), say=context.log.info)
    made = require_current(releases)
    yield _done(
        standing=standing,
        release_id=made.release_id,
        folder=dg.MetadataValue.path(str(made.path)),
        report=dg.MetadataValue.path(str(made.path / "report.html")),
        summary=dg.MetadataValue.md(f"```\n{summary(releases)}\n```"),
    )


@dg.job(
    executor_def=dg.in_process_executor,
    tags=ASKED,
    description="A business date as it was known then: its release made again from the deliveries up to that day, beside the "
    "company's releases, and held against the one that was kept. Fill in the date in the launchpad.",
)
def as_known_then() -> None:
    make_as_known_then()


class RestatedMonths(dg.Config):
    """Months that were over and may have other figures now, with who says so and why."""

    months: list[str] = Field(description="The months to restate, such as 2026-05; each must be over.")
    reason: str = Field(description="Why their figures are others now. Published with every later release.")
    by: str = Field(description="Who says so. Published with every later release.")


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Publish months that were over with the figures they have now, and say what moved.",
)
def publish_restated(context: dg.OpExecutionContext, config: RestatedMonths) -> Iterator[Any]:
    months = [_month(text) for text in config.months]
    restated = restate(months, by=config.by, reason=config.reason, say=context.log.info)
    yield _done(
        release_id=restated.after.release_id,
        release_before=restated.before.release_id,
        folder=dg.MetadataValue.path(str(restated.after.path)),
        report=dg.MetadataValue.path(str(restated.after.path / "report.html")),
        customers_moved=len(restated.moved),
        profit_moved=f"{sum((each.change for each in restated.moved), Decimal(0)):+,.2f}",
        moved=_moved(restated.moved),
        summary=dg.MetadataValue.md(f"```\n{restated}\n```"),
    )


@dg.job(
    executor_def=dg.in_process_executor,
    tags=ASKED,
    description="Months that were over, published with the figures they have now: everything after the deliveries is computed "
    "anew, name and reason go into the register and the release, and what moved is said customer by customer. A gate "
    "that lets no past month move unsaid (closed_months_... in company.yml) lets these.",
)
def restate_months() -> None:
    publish_restated()


class RuleChange(dg.Config):
    """Cells of a costing rule file: in the rows where columns have these values, columns are set to those."""

    file: str = Field(description="A file of the company's costing folder, such as pools.csv or capacities.csv.")
    where: dict[str, str] = Field(
        description="Column and value that choose the rows, such as pool_id: picking; dates and numbers in quotes."
    )
    set: dict[str, str] = Field(
        description="Column and new value, such as driver_id: orders; dates and numbers in quotes."
    )


class PriceChange(dg.Config):
    """Net revenue of a customer, of those with a value of an attribute, or of all where neither is named; all else as it is."""

    percent: float = Field(description="By how many percent, such as 5 or -2.5.")
    customer: str | None = Field(default=None, description="A customer id, such as C00042.")
    attribute: str | None = Field(
        default=None, description=f"With `value`: a column of the table customers, one of {', '.join(ATTRIBUTES)}."
    )
    value: str | None = Field(default=None, description="The attribute's value, such as Construction.")


class WhatIf(dg.Config):
    """A scenario: a few changes, and over how many months up to the release's their effect is told."""

    name: str = Field(
        description="Name of the scenario and of its folder: small letters, digits and _, such as dearer_picking."
    )
    rules: list[RuleChange] = Field(default=[], description="Changes of costing rules.")
    settings: dict[str, str] = Field(
        default={},
        description="Settings of company.yml below costing or credit, such as credit.cost_of_capital: '0.10'.",
    )
    prices: list[PriceChange] = Field(default=[], description="Price changes; several for one customer add up.")
    months: int = Field(default=12, description="Months up to that of the release, 1 to 120.")


def asked(config: WhatIf) -> Scenario:
    """The scenario of what was filled in. Raises ConfigurationError naming field and reason."""
    return scenario_of(config.model_dump(exclude_none=True), Path("launchpad"))


@dg.op(out=dg.Out(dg.Nothing), description="Compute customer profit under a scenario, and say what it changes.")
def compute_what_if(context: dg.OpExecutionContext, config: WhatIf) -> Iterator[Any]:
    answer = what_if(asked(config), say=context.log.info)
    found = answer.outcome
    yield _done(
        release_id=answer.release.release_id,
        folder=dg.MetadataValue.path(str(answer.folder)),
        customers=dg.MetadataValue.path(str(answer.folder / "customers.csv")),
        customers_moved=len(found.moved),
        profit_published=f"{found.profit[0]:,.2f}",
        profit_scenario=f"{found.profit[1]:,.2f}",
        moved=_moved(found.moved),
        whale_curve=dg.MetadataValue.md(curves(curves_of(found))),
        summary=dg.MetadataValue.md(f"```\n{answer.text}\n```"),
    )


@dg.job(
    name="what_if",
    executor_def=dg.in_process_executor,
    tags=ASKED,
    description="A what-if scenario: customer profit under other costing rules, settings or prices, against the current release. "
    "Publishes nothing; its files are in scenarios/<name> of the data folder.",
)
def what_if_job() -> None:
    compute_what_if()


JOBS = [as_known_then, restate_months, what_if_job]


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise WhalecurveError(f"'{text}' is not a date such as 2026-06-30. Nothing was changed.") from None


def _month(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(f"{text}-01")
    except ValueError:
        raise WhalecurveError(f"'{text}' is not a month such as 2026-05. Nothing was changed.") from None


def _moved(moved: Sequence[Moved]) -> dg.TableMetadataValue:
    """The customers whose profit moved most, as a table in the UI."""
    columns = [dg.TableColumn(name, type="string") for name in ("customer", "before", "after", "change", "through")]
    records = [
        dg.TableRecord(
            {
                "customer": each.customer_id,
                **{name: f"{getattr(each, name):,.2f}" for name in ("before", "after")},
                "change": f"{each.change:+,.2f}",
                "through": ", ".join(f"{part} {change:+,.2f}" for part, change in each.parts[:3]),
            }
        )
        for each in moved[:SHOWN]
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _done(**shown: Any) -> dg.Output[None]:
    """The end of a job: what a person reads of it, on the run's page."""
    return dg.Output(None, metadata=shown)
