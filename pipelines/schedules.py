"""When the jobs run by themselves: the daily run at the company's time. What starts a day earlier: `sensors.py`."""

from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from assets.company import Company
from pipelines.due import DELIVERIES_TAG, day, deliveries, is_over, last_ended, tags, waiting_for, waits_until
from pipelines.resources import Workspace

NOT_WORTH_WAITING = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING]


def daily_schedule(job: Any, company: Company) -> dg.ScheduleDefinition:
    """Run the business date that has ended, at the company's time in its zone; off until somebody turns it on.

    Where the company waits for late sources it looks twice: at `at`, and at `wait_until` for what was not whole by then.
    """
    plan = company.schedule
    times = [plan.at] if plan.wait_until is None else [plan.at, plan.wait_until]

    @dg.schedule(
        job=job,
        name="daily_run_schedule",
        cron_schedule=[f"{time.minute} {time.hour} * * *" for time in times],
        execution_timezone=company.timezone,
        description="Every morning, the business date that ended at midnight in the company's time zone. company.yml says when, "
        "and whether sources that are late are waited for.",
    )
    def daily_run_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        workspace = Workspace.from_environment()
        company = workspace.company()
        now = context.scheduled_execution_time.astimezone(ZoneInfo(company.timezone))
        date = last_ended(company, now)
        if date < company.first_business_date:
            return dg.SkipReason(
                f"The company's first business date, {company.first_business_date}, has not ended yet."
            )
        if is_over(company, date, now):
            return dg.SkipReason(f"The company's last business date, {date}, is over.")
        now_there = day(company, date, deliveries(company, workspace.landing, date))
        if not now_there.late and not now_there.anything:
            return dg.SkipReason(f"No source delivers for {date}.")
        if now_there.late and now < waits_until(company, date):
            return dg.SkipReason(waiting_for(company, now_there))
        if was_run(context.instance, now_there.tag):
            return dg.SkipReason(f"The deliveries of {date} have had their run.")
        # Also when nothing was delivered at all: the run then says so where everybody looks.
        return dg.RunRequest(partition_key=date.isoformat(), tags=tags(now_there))

    return daily_run_schedule


def was_run(instance: dg.DagsterInstance, tag: str, *, failed_counts: bool = False) -> bool:
    """Whether a run was started for these deliveries, and is not one that failed unless that counts too."""
    runs = instance.get_runs(filters=dg.RunsFilter(tags={DELIVERIES_TAG: tag}))
    return any(failed_counts or run.status not in NOT_WORTH_WAITING for run in runs)
