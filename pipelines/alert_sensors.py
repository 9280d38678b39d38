"""What makes Dagster tell people: runs of UI and schedule that end, and deliveries that are late. What: `alerts.py`."""

import datetime
from zoneinfo import ZoneInfo

import dagster as dg

from assets.company import Company
from assets.publish.release import current, releases
from pipelines.alerts import Alert, of_failure, of_release, tell
from pipelines.due import day, deliveries, is_over, last_ended, waits_until
from pipelines.resources import Workspace
from pipelines.runs import PERSON_TAG, PID_TAG

LOOK_EVERY = 60
ON = dg.DefaultSensorStatus.RUNNING
"""Whoever writes `alerts:` into company.yml wants them; nothing else has to be turned on."""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def alert_sensors(company: Company) -> list[dg.SensorDefinition]:
    """The sensors of a company that wants to be told of anything; none of one that does not."""
    return [failed_run_alerts, finished_run_alerts, late_data_alerts] if company.alerts else []


def _nobody_is_told(run: dg.DagsterRun) -> dg.SkipReason | None:
    """Why a run is none to tell of, where it is."""
    if PID_TAG in run.tags:
        return dg.SkipReason("A run of the command, which tells of it itself.")
    if PERSON_TAG in run.tags:
        return dg.SkipReason("A person started it with a launchpad and sees how it ends.")
    return None


@dg.run_failure_sensor(
    name="failed_run_alerts",
    default_status=ON,
    description="Tells the alert targets of company.yml of runs that failed and of releases the quality gate refused. "
    "The command tells of its own runs itself.",
)
def failed_run_alerts(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    run = context.dagster_run
    if unasked := _nobody_is_told(run):
        return unasked
    company = Workspace.from_environment().company()
    events = [entry.dagster_event for entry in context.instance.all_logs(run.run_id) if entry.dagster_event]
    tell(company, [of_failure(company, run, events)], context.log.warning, _now())
    return None


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    name="finished_run_alerts",
    default_status=ON,
    description="Tells the alert targets of company.yml when models have begun to drift.",
)
def finished_run_alerts(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
    if unasked := _nobody_is_told(context.dagster_run):
        return unasked
    workspace = Workspace.from_environment()
    company = workspace.company()
    made, *before = [current(workspace.releases), *reversed(releases(workspace.releases)[:-1])]
    # Late data was told of when it became late.
    alerts = of_release(company, context.dagster_run, made, before[0] if before else None, late=False)
    tell(company, alerts, context.log.warning, _now())
    return None


@dg.sensor(
    name="late_data_alerts",
    minimum_interval_seconds=LOOK_EVERY,
    default_status=ON,
    description="Tells the alert targets of company.yml, once a day at the time of the daily run, who has not delivered.",
)
def late_data_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    workspace = Workspace.from_environment()
    company = workspace.company()
    now = _now()
    date = last_ended(company, now)
    told = context.cursor or ""
    zone = ZoneInfo(company.timezone)
    at = datetime.datetime.combine(date + datetime.timedelta(days=1), company.schedule.at, tzinfo=zone)
    if now < at or told >= date.isoformat() or date < company.first_business_date or is_over(company, date, now):
        return dg.SensorResult(skip_reason="Nothing to tell at this time.", cursor=told)
    late = day(company, date, deliveries(company, workspace.landing, date)).late
    if late:
        until = waits_until(company, date)
        waits = f"{until:%H:%M} {company.timezone}" if now < until else ""
        tell(
            company,
            [Alert("late_data", company.company, date.isoformat(), late, until=waits)],
            context.log.warning,
            now,
        )
    return dg.SensorResult(skip_reason=f"{date}: {', '.join(late) or 'nobody'} late.", cursor=date.isoformat())
