"""Approving a release in spite of a named check: what stops it, and the entry in the register.

What an approval covers and what may be approved is `assets/approvals.py`; publishing asks the gate and the register itself.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

from assets import gate
from assets.approvals import Approvals, Failure
from assets.approvals import approve as enter
from assets.errors import WhalecurveError
from assets.quality_gate import stopping_checks
from pipelines.resources import EXPECTATIONS, Workspace
from pipelines.runs import single_writer


def approve(
    workspace: Workspace,
    check: str,
    *,
    table: str,
    reason: str,
    by: str,
    as_of: datetime.date | None,
    say: Callable[[str], None],
) -> str:
    """Approve the failure of a check on a table as it is in the warehouse now; returns what to do next.

    Raises WhalecurveError when the warehouse is of another date, no such check stops the release, or it may not be approved.
    """
    with single_writer(say):
        here = workspace.as_of()
        if as_of not in (None, here):
            raise WhalecurveError(
                f"The warehouse is as of {here} and the approval was to be as of {as_of}: only what was found in it now can be "
                "approved. Nothing was approved."
            )
        found = _stopping(workspace)
        named = [failure for failure, _ in found if (failure.check_name, failure.table) == (check, table)]
        if not named:
            raise WhalecurveError(
                f"No check {check} on {table} stops a release as of {here}. Nothing was approved.\n{_listed(workspace, found)}"
            )
        approvals = _approvals(workspace)
        for failure in named:
            if not approvals.may_be_given(failure):
                raise WhalecurveError(
                    f"{check} on {table} ({failure.stage}) may not be approved: it finds that something is wrong in itself, not "
                    "that it is unusual. Mend the input or the rule. Nothing was approved."
                )
        for failure in named:
            at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            enter(workspace.data, failure, as_of=here, by=by, reason=reason, at=at)
    observed = "\n".join(f"  {failure.observed}" for failure in named)
    return (
        f"Approved by {by}: {table}, {check}, as of {here}, for exactly this:\n{observed}\n"
        f"Release with `whalecurve run --date {here}`. Other content, or another result, needs another approval."
    )


def stopping_text(workspace: Workspace) -> str:
    """What stops a release of the warehouse as it is, for a person: one entry per check."""
    return _listed(workspace, _stopping(workspace))


def _stopping(workspace: Workspace) -> list[tuple[Failure, str]]:
    as_of = workspace.as_of()
    with workspace.warehouse(read_only=True) as connection:
        return stopping_checks(connection, workspace, as_of)


def _approvals(workspace: Workspace) -> Approvals:
    return Approvals.read(workspace.data, gate.load_suites(EXPECTATIONS), workspace.as_of())


def _listed(workspace: Workspace, found: list[tuple[Failure, str]]) -> str:
    if not found:
        return f"No check that was made stops a release as of {workspace.as_of()}."
    approvals = _approvals(workspace)
    lines = [f"{len(found)} checks stop a release as of {workspace.as_of()}:"]
    for failure, detail in found:
        given = approvals.of(failure)
        can = (
            f"approved by {given.approved_by}"
            if given
            else "may be approved"
            if approvals.may_be_given(failure)
            else ""
        )
        lines.append(
            f"- {failure.table}, {failure.check_name} ({can or 'may not be approved'}): {failure.observed}. {detail}"
        )
    return "\n".join(lines)
