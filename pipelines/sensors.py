"""What starts a run because something happened. Not here: when a day may be run, which `due.py` decides."""

import datetime
from typing import Any

import dagster as dg

from pipelines.due import Memory, due, tags, waiting_for
from pipelines.resources import Workspace
from pipelines.schedules import was_run

LOOK_EVERY = 60
"""Seconds between two looks at the landing folder; a delivery without a word of its own is whole when two found it the same."""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def delivery_sensor(job: Any) -> dg.SensorDefinition:
    """Run a business date when its deliveries are whole, and again when one of them comes late; off until turned on."""

    @dg.sensor(
        job=job,
        name="delivery_sensor",
        minimum_interval_seconds=LOOK_EVERY,
        description="Starts a business date as soon as every source has delivered for it whole (a marker, a control file, or "
        "files that no longer change, by company.yml), at the latest at the time up to which late sources are waited for, and "
        "again when a delivery of the last days comes late or changes. Dates before it was turned on are left alone.",
    )
    def delivery_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        workspace = Workspace.from_environment()
        company = workspace.company()

        def seen(tag: str) -> bool:
            # One that failed as well: the same deliveries would fail again, and a person is asked for.
            return was_run(context.instance, tag, failed_counts=True)

        run, waiting, memory = due(company, workspace.landing, Memory.read(context.cursor), _now(), seen)
        reasons = [waiting_for(company, one) for one in waiting if one.anything]
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(run_key=one.tag, partition_key=one.date.isoformat(), tags=tags(one)) for one in run
            ],
            cursor=memory.write(),
            skip_reason=None if run else " ".join(reasons) or "Nothing new was delivered.",
        )

    return delivery_sensor
