"""The register of approvals: who let a release out in spite of a check that said no, and why.

    <data>/approvals.jsonl      one line per approval, appended and never changed

An approval stands for one check on one table as of one date, for exactly the content that was checked and exactly what was
found there: another failure needs another approval. What was found is kept as a hash only, since it may name a customer; the
release that was approved says it in full.

Belongs here: writing and reading the register, and what may be approved at all. Not here: making the checks (`gate.py`,
`publish/comparisons.py`) or refusing a release, which publishing does itself and for every failure no approval covers.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assets import registers
from assets.errors import WhalecurveError
from assets.gate import EXPECTATIONS, Suite

REGISTER = "approvals.jsonl"
"""Of the data folder."""

COMPARISONS = ("freshness", "volume", "drift")
"""Stages whose checks ask whether something is usual: a person may know that it is right. All of them may be approved."""


@dataclass(frozen=True)
class Failure:
    """A check of severity error that said no: the content it was made on, and what it observed."""

    stage: str
    check_name: str
    table: str
    fingerprint: str
    observed: str


@dataclass(frozen=True)
class Approval:
    """One line of the register; `approved_at` is a note for people."""

    as_of_date: str
    stage: str
    check_name: str
    table_name: str
    fingerprint: str
    observed_sha256: str
    approved_by: str
    reason: str
    approved_at: str | None


class Approvals:
    """The approvals of one as-of date, and the checks that may be approved."""

    def __init__(self, given: Sequence[Approval], suites: Mapping[str, Suite], as_of: datetime.date) -> None:
        self._suites, self._as_of = suites, as_of
        self._given = {_failed(each): each for each in given if each.as_of_date == as_of.isoformat()}

    @classmethod
    def read(cls, data: Path, suites: Mapping[str, Suite], as_of: datetime.date) -> Approvals:
        """Those in the register of a data folder. A line that is not whole approves nothing."""
        return cls(list(registers.lines(data / REGISTER, Approval)), suites, as_of)

    def may_be_given(self, failure: Failure) -> bool:
        """Whether anybody may approve such a failure: a comparison, or an expectation its suite declares `approvable`.

        Never a test of dbt or an identity between tables: those find that Whalecurve's own arithmetic is wrong.
        """
        if failure.stage == EXPECTATIONS:
            expectations = self._suites[failure.table].expectations if failure.table in self._suites else ()
            return any(each.check_name == failure.check_name and each.is_approvable for each in expectations)
        return failure.stage in COMPARISONS

    def of(self, failure: Failure) -> Approval | None:
        """The approval that covers exactly this failure, when it is one that may be approved."""
        observed = hashlib.sha256(failure.observed.encode()).hexdigest()
        found = self._given.get((failure.stage, failure.check_name, failure.table, failure.fingerprint, observed))
        return found if found is not None and self.may_be_given(failure) else None


def _failed(approval: Approval) -> tuple[str, str, str, str, str]:
    return (
        *(approval.stage, approval.check_name, approval.table_name, approval.fingerprint),
        approval.observed_sha256,
    )


def approve(
    data: Path, failure: Failure, *, as_of: datetime.date, by: str, reason: str, at: str | None = None
) -> Approval:
    """Append an approval of a failure to the register; to be called by the one writer of the data folder.

    Raises WhalecurveError without a name or a reason.
    """
    by, reason = " ".join(by.split()), " ".join(reason.split())
    if not by or not reason:
        raise WhalecurveError(
            "An approval needs the name of who gives it and a reason: both are published with the release. Nothing was approved."
        )
    given = Approval(
        as_of_date=as_of.isoformat(),
        stage=failure.stage,
        check_name=failure.check_name,
        table_name=failure.table,
        fingerprint=failure.fingerprint,
        observed_sha256=hashlib.sha256(failure.observed.encode()).hexdigest(),
        approved_by=by,
        reason=reason,
        approved_at=at,
    )
    registers.append(data / REGISTER, given)
    return given
