"""The register of restated months: who said that the figures of a month that was over may be others now, and why.

    <data>/restatements.jsonl      one line per restatement, appended and never changed

A restatement stands for one month and for exactly the figures the month had when it was restated, from the as-of date of that
day on: should the month move again, it needs another. It excuses the month where the gate asks whether a past month has moved
(`publish/comparisons.py`), and is itself published with every later release, as a check of stage `restatement`.

Belongs here: writing and reading the register, and what a restatement excuses. Not here: computing a month anew and telling
what moved (`pipelines/restate.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from assets import registers
from assets.errors import WhalecurveError
from assets.gate import CheckResult

REGISTER = "restatements.jsonl"
"""Of the data folder."""

STAGE = "restatement"
"""Of the checks that say on `data_quality` which months were restated."""

TABLE = "customer_profitability"
FIGURES = ("net_revenue", "operating_profit")
"""Columns of TABLE whose totals of the month stand in the register: those the gate compares."""


@dataclass(frozen=True)
class Restatement:
    """One line of the register: the month's totals over all customers as text with four decimals; `restated_at` is a note."""

    month: str
    as_of_date: str
    net_revenue: str
    operating_profit: str
    restated_by: str
    reason: str
    restated_at: str | None

    def is_of(self, month: datetime.date, column: str, amount: Decimal) -> bool:
        """Whether it says that the month's total of a column is exactly this."""
        try:
            return self.month == f"{month:%Y-%m}" and Decimal(str(getattr(self, column))) == amount
        except InvalidOperation:
            return False


class Restatements:
    """The restatements that a release as of a date knows."""

    def __init__(self, given: Sequence[Restatement] = ()) -> None:
        self.given = tuple(given)

    @classmethod
    def read(cls, data: Path, as_of: datetime.date) -> Restatements:
        """Those in the register of a data folder up to a date."""
        known = registers.lines(data / REGISTER, Restatement)
        return cls([each for each in known if str(each.as_of_date) <= as_of.isoformat()])

    def excuse(self, month: datetime.date, column: str, amount: Decimal, since: datetime.date) -> bool:
        """Whether a month may have moved to this total since a release as of `since`."""
        return any(each.as_of_date >= since.isoformat() and each.is_of(month, column, amount) for each in self.given)

    def results(self) -> dict[str, list[CheckResult]]:
        """Stage -> one passed check per restatement, in the order they were made; nothing where there is none."""
        said = [
            CheckResult(
                f"restated__{each.month}__{number}",
                TABLE,
                "warn",
                True,
                f"{each.month} restated as of {each.as_of_date}: net revenue {Decimal(each.net_revenue):,.2f}, operating "
                f"profit {Decimal(each.operating_profit):,.2f}",
                f"{each.restated_by}: {each.reason}",
            )
            for number, each in enumerate(self.given, start=1)
        ]
        return {STAGE: said} if said else {}


def restate(
    data: Path,
    month: datetime.date,
    *,
    as_of: datetime.date,
    net_revenue: Decimal,
    operating_profit: Decimal,
    by: str,
    reason: str,
    at: str | None = None,
) -> Restatement:
    """Append a restatement to the register, or return the one there that says the same of these figures.

    To be called by the one writer of the data folder. Raises WhalecurveError without a name or a reason.
    """
    by, reason = named(by, reason)
    new = Restatement(
        month=f"{month:%Y-%m}",
        as_of_date=as_of.isoformat(),
        net_revenue=f"{net_revenue:.4f}",
        operating_profit=f"{operating_profit:.4f}",
        restated_by=by,
        reason=reason,
        restated_at=at,
    )

    def said(each: Restatement) -> tuple[str, ...]:
        return (*(each.month, each.as_of_date, each.net_revenue, each.operating_profit, each.restated_by, each.reason),)

    for each in registers.lines(data / REGISTER, Restatement):
        if said(each) == said(new):  # the same command again, after it broke off
            return each
    registers.append(data / REGISTER, new)
    return new


def named(by: str, reason: str) -> tuple[str, str]:
    """Name and reason on one line each. Raises WhalecurveError where one is missing."""
    by, reason = " ".join(by.split()), " ".join(reason.split())
    if not by or not reason:
        raise WhalecurveError(
            "A restatement needs the name of who restates and a reason: both are published with the release. Nothing was changed."
        )
    return by, reason
