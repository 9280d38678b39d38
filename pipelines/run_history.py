"""What ran, when, for how long and how it ended: Dagster's runs of one data folder as a table.

Belongs here: reading the runs, whoever started them, and the table `whalecurve runs` prints and writes. Not here: figures for
monitoring (`metrics.py`), and why a run failed, which its page in the Dagster UI says.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from assets.publish.release import releases
from pipelines.alerts import dates_of
from pipelines.resources import dagster_home
from pipelines.runs import DATA_TAG, PERSON_TAG, PID_TAG

LAUNCHPAD = "launchpad"
STARTED_BY = {
    PERSON_TAG: LAUNCHPAD,
    PID_TAG: "command",
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
}
"""Tag of a run -> who started it; one without any was started in the UI."""


@dataclass(frozen=True)
class Run:
    """One run. Times are in UTC, `seconds` of wall time; `failed_step` and `release_id` are empty where there is none.

    A run that publishes what was there before has the release it made again, and so several runs may have one.
    """

    run_id: str
    job: str
    dates: str
    started_by: str
    began_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    seconds: float | None
    status: str
    failed_step: str
    release_id: str


COLUMNS = tuple(field.name for field in fields(Run))


@contextlib.contextmanager
def instance() -> Iterator[Any]:
    """Dagster's instance of the data folder, or None before the first run: asking makes none."""
    import dagster as dg

    home = dagster_home()
    if not (home / "dagster.yaml").exists():
        yield None
        return
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


def run_history(instance: Any, data: Path, *, limit: int | None = None) -> list[Run]:
    """The runs of a data folder that Dagster keeps, the newest first. Runs of other folders in the same database are left out."""
    if instance is None:
        return []
    made = {str(release.manifest.get("run_id", "")): release.release_id for release in releases(data / "releases")}
    found = []
    for record in instance.get_run_records(limit=limit):
        run = record.dagster_run
        if _is_elsewhere(instance, run.tags, data):
            continue
        began, ended = _time(record.start_time), _time(record.end_time)
        found.append(
            Run(
                run_id=run.run_id,
                job=run.job_name,
                dates=dates_of(run),
                started_by=next((by for tag, by in STARTED_BY.items() if tag in run.tags), "UI"),
                began_at=began,
                ended_at=ended,
                seconds=round((ended - began).total_seconds(), 1) if began and ended else None,
                status=run.status.value.lower(),
                failed_step=_failed_step(instance, run) if run.is_failure else "",
                release_id=made.get(run.run_id, ""),
            )
        )
    return found


def _is_elsewhere(instance: Any, tags: Mapping[str, str], data: Path) -> bool:
    """Whether a run is of another data folder. SQLite lies in the folder and goes with it when it is moved or copied."""
    from dagster._core.storage.runs.sqlite import SqliteRunStorage

    if isinstance(instance.run_storage, SqliteRunStorage):
        return False
    return tags.get(DATA_TAG, str(data)) != str(data)


def _failed_step(instance: Any, run: Any) -> str:
    stats = instance.get_run_step_stats(run.run_id)
    failed = [step for step in stats if step.status is not None and step.status.value == "FAILURE"]
    return str(min(failed, key=lambda step: step.end_time or 0).step_key).replace("__", ".") if failed else ""


def _time(seconds: float | None) -> datetime.datetime | None:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC) if seconds else None


def text(runs: Sequence[Run], timezone: str) -> str:
    """A line per run, times in the company's zone."""
    if not runs:
        return "Nothing was run yet."
    zone = ZoneInfo(timezone)
    lines = [f"{'began':<17} {'dates':<24} {'by':<9} {'status':<9} {'seconds':>8}  release, or where it stopped"]
    for run in runs:
        began = f"{run.began_at.astimezone(zone):%Y-%m-%d %H:%M}" if run.began_at else "not yet"
        seconds = f"{run.seconds:,.1f}" if run.seconds is not None else ""
        lines.append(
            f"{began:<17} {run.dates:<24} {run.started_by:<9} {run.status:<9} {seconds:>8}  "
            f"{run.release_id or run.failed_step or (run.job if run.started_by == LAUNCHPAD else '')}".rstrip()
        )
    return "\n".join(lines)


def write(runs: Sequence[Run], path: Path) -> None:
    """All columns as CSV, times in ISO 8601, put in place whole."""
    aside = path.with_name(f".{path.name}.new")
    with aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for run in runs:
            row = asdict(run)
            for name in ("began_at", "ended_at"):
                row[name] = row[name].isoformat(timespec="seconds") if row[name] else ""
            writer.writerow(row)
    os.replace(aside, path)
