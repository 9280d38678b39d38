"""Restating months that were over: their figures computed anew from what is known now, with a name and a reason.

What a restatement stands for and how it is published is `assets/restatements.py`. Deliveries are read by runs of their dates and
not here; here everything after them is computed, the months' figures are put into the register, and the release is made.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from assets import restatements
from assets.errors import WhalecurveError
from assets.publish.diff import Moved, moved_in, moved_text
from assets.publish.release import Release, require_current
from pipelines.resources import Workspace
from pipelines.runs import PUBLISHING, refresh
from pipelines.writer import single_writer


@dataclass(frozen=True)
class Restated:
    """What came of it: the release readers had, the one that says the months anew, and whose profit of them moved."""

    months: tuple[datetime.date, ...]
    by: str
    reason: str
    before: Release
    after: Release
    moved: tuple[Moved, ...]

    def __str__(self) -> str:
        months = ", ".join(f"{month:%Y-%m}" for month in self.months)
        return (
            f"Restated {months} by {self.by}: {self.reason}\n"
            f"Release {self.before.release_id} had it before, release {self.after.release_id} says it now.\n\n"
            f"In {months}: {moved_text(self.moved)}"
        )


def restate(months: Sequence[datetime.date], *, by: str, reason: str, say: Callable[[str], None]) -> Restated:
    """Compute everything from what was delivered and ruled until now, and publish with these months (first days) restated.

    Raises WhalecurveError before anything is computed where a month is not over or not known, or a name or reason is missing;
    and when a step or the gate says no: the last release stays then, and a restatement that was written already holds for
    exactly its figures.
    """
    by, reason = restatements.named(by, reason)
    workspace = Workspace.from_environment()
    before = require_current(workspace.releases)
    months = tuple(sorted(set(months)))
    with single_writer(say, "whalecurve restate"):
        _require_over(workspace, months)
    refresh(say=say, only=lambda layer: layer not in PUBLISHING)
    with single_writer(say, "whalecurve restate"):
        as_of = workspace.as_of()
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        for month, (revenue, profit) in _figures(workspace, months).items():
            restatements.restate(
                *(workspace.data, month),
                as_of=as_of,
                net_revenue=revenue,
                operating_profit=profit,
                by=by,
                reason=reason,
                at=at,
            )
    refresh(say=say, only=lambda layer: layer in PUBLISHING)
    after = require_current(workspace.releases)
    return Restated(months, by, reason, before, after, tuple(moved_in(before, after, months)))


def _require_over(workspace: Workspace, months: Collection[datetime.date]) -> None:
    if not months:
        raise WhalecurveError("No month was given; name those to restate, such as 2026-05. Nothing was changed.")
    as_of = workspace.as_of()
    known = _figures(workspace, None)
    for month in months:
        if month >= as_of.replace(day=1):
            raise WhalecurveError(
                f"{month:%Y-%m} is not over as of {as_of}: its figures move with every run and need no restatement. "
                "Nothing was changed."
            )
        if month not in known:
            lying = f"it knows {min(known):%Y-%m} to {max(known):%Y-%m}" if known else "it knows none"
            raise WhalecurveError(f"The warehouse has no figures of {month:%Y-%m}: {lying}. Nothing was changed.")


def _figures(
    workspace: Workspace, months: Collection[datetime.date] | None
) -> dict[datetime.date, tuple[Decimal, Decimal]]:
    """Month -> totals over all customers of the columns in `restatements.FIGURES`; of all months unless some are named.

    A month that is named and has no row any more has zeros.
    """
    sums = ", ".join(f"sum({column})" for column in restatements.FIGURES)
    with workspace.warehouse(read_only=True) as connection:
        rows = connection.execute(f"select month, {sums} from marts.{restatements.TABLE} group by month").fetchall()
    found = {month: (revenue, profit) for month, revenue, profit in rows}
    return found if months is None else {month: found.get(month, (Decimal(0), Decimal(0))) for month in months}
