"""Figures for monitoring, in Prometheus' text format: rows, seconds, lag, and cents that are on nobody.

They are read from the current release and from Dagster's runs when somebody asks, so that it does not matter who started a run
and a run has nothing more to do. Node exporter's textfile collector takes the file that `whalecurve metrics --output` writes.
Names of tables, sources, checks, steps and residual lines are labels; of customers, nothing.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from assets.company import Company
from assets.publish.release import Release
from pipelines.due import last_ended
from pipelines.run_history import LAUNCHPAD, Run

PREFIX = "whalecurve_"
CENTS = 100
COUNTED_RUNS = 200


@dataclass(frozen=True)
class Metric:
    """One gauge: its name without the prefix, what it is, and its values by labels."""

    name: str
    help: str
    values: Sequence[tuple[Mapping[str, str], int | float]]


def of_release(
    release: Release, connection: duckdb.DuckDBPyConnection, company: Company, now: datetime.datetime
) -> Iterator[Metric]:
    """What a release says of itself. `connection` has its tables by their names; `now` has a zone."""
    manifest = release.manifest
    published = datetime.datetime.fromisoformat(str(manifest["published_at"]))
    midnight = datetime.datetime.combine(release.as_of, datetime.time(), tzinfo=datetime.UTC)
    lag = max((last_ended(company, now) - release.as_of).days, 0)
    yield _one(
        "release_as_of_timestamp_seconds", "As-of date of the current release, midnight UTC.", midnight.timestamp()
    )
    yield _one("release_published_timestamp_seconds", "When the current release was published.", published.timestamp())
    yield _one("release_lag_days", "Business dates that have ended and that the current release does not know.", lag)
    yield Metric(
        "table_rows",
        "Rows of each published table.",
        [({"table": name}, int(table["rows"])) for name, table in sorted(manifest["tables"].items())],
    )
    yield Metric("checks_failed", "Checks of the current release that said no, by severity.", list(_failed(manifest)))
    sources = connection.execute(
        "select source_instance, max(extract_date), sum(rows_in)::bigint, sum(rows_quarantined)::bigint "
        "from deliveries group by all order by 1"
    ).fetchall()
    yield Metric(
        "source_lag_days",
        "Days from the latest delivery of a source to the as-of date.",
        [({"source": source}, (release.as_of - latest).days) for source, latest, _, _ in sources],
    )
    yield Metric(
        "delivered_rows",
        "Rows delivered by a source, in all deliveries of the current release.",
        [({"source": source}, rows) for source, _, rows, _ in sources],
    )
    yield Metric(
        "quarantined_rows",
        "Rows of them that could not be read.",
        [({"source": source}, rows) for source, _, _, rows in sources],
    )
    costs = connection.execute(
        """
        select 'customers' as line, coalesce(sum(amount), 0) as amount from customer_cost_lines
        where month = date_trunc('month', ?::date)
        union all
        select residual_line, sum(amount) from residual_cost_lines where month = date_trunc('month', ?::date) group by all
        order by line
        """,
        [release.as_of, release.as_of],
    ).fetchall()
    yield Metric(
        "month_cost_cents",
        "Cost of the as-of date's month by where it ended: customers, or a residual line; minor units.",
        [({"line": line}, round(Decimal(amount) * CENTS)) for line, amount in costs],
    )
    differences = connection.execute(
        "select check_name, max(abs(difference)) from reconciliation group by all order by 1"
    ).fetchall()
    yield Metric(
        "reconciliation_difference_cents",
        "Largest difference of a reconciliation check in any month, minor units.",
        [({"check": name}, round(Decimal(amount) * CENTS)) for name, amount in differences],
    )


def _failed(manifest: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, str], int]]:
    for severity in ("error", "warn"):
        failed = sum(not check["passed"] and check["severity"] == severity for check in manifest["checks"])
        yield {"severity": severity}, failed


def of_runs(runs: Sequence[Run], steps: Mapping[str, float]) -> Iterator[Metric]:
    """What Dagster's runs say, the newest first; `steps` are the seconds of each step of the last that ended."""
    states = sorted({run.status for run in runs})
    counted = [({"status": state}, sum(run.status == state for run in runs)) for state in states]
    yield Metric("runs", f"The newest {COUNTED_RUNS} runs, by status.", counted)
    last = last_ended_run(runs)
    if last is None or last.ended_at is None:
        return
    yield _one(
        "last_run_succeeded", "Whether the last run that ended succeeded: 1 or 0.", int(last.status == "success")
    )
    yield _one("last_run_end_timestamp_seconds", "When it ended.", last.ended_at.timestamp())
    if last.seconds is not None:
        yield _one("last_run_seconds", "How long it took.", last.seconds)
    yield Metric(
        "last_run_step_seconds",
        "How long each of its steps took.",
        [({"step": name}, took) for name, took in steps.items()],
    )


def last_ended_run(runs: Sequence[Run]) -> Run | None:
    """The newest run that has ended, well or not, but none that a person started with a launchpad: a slip of the pen there is
    nobody's alarm."""
    return next((run for run in runs if run.ended_at is not None and run.started_by != LAUNCHPAD), None)


def step_seconds(instance: Any, run_id: str) -> dict[str, float]:
    """Step -> seconds, of the steps of a run that ran, by name."""
    stats = instance.get_run_step_stats(run_id)
    took = {
        step.step_key.replace("__", "."): step.end_time - step.start_time
        for step in stats
        if step.start_time and step.end_time
    }
    return {name: round(took[name], 3) for name in sorted(took)}


def exposition(metrics: Iterable[Metric], company: str) -> str:
    """The metrics in Prometheus' text format, each value with the company's name as a label."""
    lines = []
    for metric in metrics:
        if not metric.values:
            continue
        name = PREFIX + metric.name
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} gauge"]
        for labels, value in metric.values:
            written = ",".join(f'{label}="{_escaped(text)}"' for label, text in {"company": company, **labels}.items())
            lines.append(f"{name}{{{written}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def write(text: str, path: Path) -> None:
    """Put the file in place whole, readable for the collector: it reads at any moment."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.chmod(0o644)
    os.replace(aside, path)


def _one(name: str, help_: str, value: int | float) -> Metric:
    return Metric(name, help_, [({}, value)])


def _number(value: int | float) -> str:
    """A whole number without a point: a count of cents must not be rounded to six digits."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
