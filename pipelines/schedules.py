"""When the jobs run by themselves."""

from __future__ import annotations

import dagster as dg

HOUR = 5
"""Local hour of the daily run: after the night's extracts, before the working day."""


def daily_schedule(job: object) -> object:
    """Run yesterday's business date every morning, in the company's time zone; off until somebody turns it on."""
    return dg.build_schedule_from_partitioned_job(
        job,  # type: ignore[arg-type]
        name="daily_run_schedule",
        hour_of_day=HOUR,
        description="Every morning, the business date that ended at midnight in the company's time zone.",
    )
