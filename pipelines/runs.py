"""Running the daily job from the command, on the same Dagster instance the UI shows."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assets.company import Company
from assets.costing.rule_files import load_rules
from assets.errors import ConfigurationError, WhalecurveError
from assets.ingest.raw import require_deliveries, source_dialects
from assets.publish.release import Release, current
from assets.quality_gate import CHANGED, since_last_release
from pipelines import alerts, due
from pipelines.builds import forget_builds
from pipelines.event_log import quick_event_log
from pipelines.resources import (
    INSTANCE_VARIABLE,
    Workspace,
    business_dates,
    dagster_home,
    data_folder,
    instance_choice,
    pseudonym_key,
    warehouse_kept_open,
)
from pipelines.writer import single_writer

INSTANCES = Path(__file__).with_name("instances")
LOCAL = "local"
PID_TAG = "whalecurve/pid"
DATA_TAG = "whalecurve/data"
PERSON_TAG = "whalecurve/asked_by_a_person"
"""Of the runs of jobs that a person starts with a launchpad and waits for."""
INTERRUPTS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")
INTERRUPTED_STATEMENT = "Query interrupted"
SHOWN_DIFFERENCES = 12
READING, PUBLISHING = ("landing", "raw"), ("release",)
"""Layers that read deliveries, and those that publish."""
DBT_STEPS = ("dbt_pools", "dbt_marts", "dbt_overview")


def prepare_instance() -> None:
    """Make DAGSTER_HOME in the data folder, with the settings a single-writer warehouse needs.

    The environment may choose another instance than SQLite's (pipelines/instances); a file that a person has edited is kept.
    Raises ConfigurationError when that choice is unknown, or another than such a file.
    """
    home, choice = dagster_home(), instance_choice()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if settings.exists() and choice is None:
        return
    chosen = _instance_file(choice or LOCAL)
    if settings.exists() and settings.read_bytes() != chosen.read_bytes():
        ours = {path.read_bytes() for path in INSTANCES.glob("*.yaml")}
        if settings.read_bytes() not in ours:
            raise ConfigurationError(
                f"{INSTANCE_VARIABLE} chooses {choice}, and {settings} says otherwise and is none of the files in {INSTANCES}: "
                "somebody has edited it. Put what it says into a file of your own and let the variable be its path, or unset "
                "the variable to keep it. Nothing was changed."
            )
    # Beside and renamed: the web server may be reading it.
    aside = settings.with_suffix(".new")
    shutil.copyfile(chosen, aside)
    os.replace(aside, settings)


def _instance_file(choice: str) -> Path:
    """The file of an instance by its name in pipelines/instances, or by its path."""
    found = Path(choice) if choice.endswith((".yaml", ".yml")) else INSTANCES / f"{choice}.yaml"
    if not found.is_file():
        known = ", ".join(sorted(path.stem for path in INSTANCES.glob("*.yaml")))
        raise ConfigurationError(
            f"{INSTANCE_VARIABLE} is {choice}, and there is no file {found}. It is one of {known}, or the path of a "
            "dagster.yaml. Nothing was changed."
        )
    return found


def run_dates(first: datetime.date, last: datetime.date, *, say: Callable[[str], None]) -> str:
    """Run the daily job for the business dates `first` to `last`, as one run. Returns the run's id.

    Raises WhalecurveError with the reason when a date is unknown, nothing was delivered, or a step fails.
    """
    from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

    from pipelines.definitions import definitions_here
    from pipelines.jobs import DAILY_RUN

    prepare_instance()
    workspace = Workspace.from_environment()
    job = definitions_here().resolve_job_def(DAILY_RUN)
    company = workspace.company()
    require_known(company, first, last)
    days = [first + datetime.timedelta(days=offset) for offset in range((last - first).days + 1)]
    require_deliveries(workspace.landing, list(company.sources), days)
    # A company folder or a key that cannot be used is refused before anything is read.
    source_dialects(company, workspace.company_folder)
    load_rules(workspace.company_folder)
    pseudonym_key()
    tags = {
        **_owner(),
        ASSET_PARTITION_RANGE_START_TAG: first.isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: last.isoformat(),
    }
    if first == last:  # so that the sensor does not run the same deliveries again
        arrived = due.day(company, first, due.deliveries(company, workspace.landing, first))
        tags[due.DELIVERIES_TAG] = arrived.tag
    return _execute(job, tags, say)


def rebuild(
    *, say: Callable[[str], None], publish_to_targets: bool = True, tell: bool = True, aside: bool = False
) -> str:
    """Run the daily job from the raw layer on, reading no deliveries; every table is built in full. Returns the run's id.

    Without `publish_to_targets` the release stays in the data folder; without `tell` nobody is alerted; `aside` keeps what
    the run made out of the assets' pages in the UI, which show the company's own.
    Raises WhalecurveError with the reason when a step fails.
    """
    prepare_instance()
    with single_writer(say, "whalecurve rebuild"), Workspace.from_environment().warehouse() as connection:
        forget_builds(connection)
    job, after = _after_raw(lambda layer: True)
    if not publish_to_targets:
        after = [key for key in after if key.path[0] not in PUBLISHING or key.path[1] == "current"]
    return _execute(job, _owner(), say, tell=tell, aside=aside, asset_selection=after)


def refresh(*, say: Callable[[str], None], only: Callable[[str], bool], aside: bool = False) -> str:
    """Run the layers after the raw one that `only` is true of, reading no deliveries; tables are brought up to date. Returns
    the run's id.

    Nobody is alerted: a person waits for it. `aside` as for `rebuild`. Raises WhalecurveError with the reason when a step fails.
    """
    prepare_instance()
    job, chosen = _after_raw(only)
    return _execute(job, _owner(), say, tell=False, aside=aside, asset_selection=chosen)


def _after_raw(only: Callable[[str], bool]) -> tuple[Any, list[Any]]:
    """The daily job, and the keys of the assets made from the raw layer, of the layers that `only` is true of."""
    from pipelines.definitions import definitions_here
    from pipelines.jobs import DAILY_RUN

    defs = definitions_here()
    keys = defs.resolve_asset_graph().executable_asset_keys
    chosen = [key for key in keys if key.path[0] not in READING and only(key.path[0])]
    return defs.resolve_job_def(DAILY_RUN), chosen


def _owner() -> dict[str, str]:
    """Tags that say whose run it is: several data folders may share one database of runs."""
    return {PID_TAG: str(os.getpid()), DATA_TAG: str(data_folder())}


def _execute(
    job: Any,
    tags: dict[str, str],
    say: Callable[[str], None],
    *,
    tell: bool = True,
    aside: bool = False,
    **selection: Any,
) -> str:
    import dagster as dg

    with (
        single_writer(say, "whalecurve run"),
        quick_event_log(),
        warehouse_kept_open(),
        dg.DagsterInstance.ephemeral() if aside else dg.DagsterInstance.get() as instance,
    ):
        dead = end_dead_runs(instance)
        before = current(Workspace.from_environment().releases)
        result = job.execute_in_process(
            instance=instance, tags=tags, run_config={"loggers": {"console": {}}}, raise_on_error=False, **selection
        )
    interrupted = _interrupted(result)
    if tell:
        _tell(dead, None if interrupted else result, before, say)
    if interrupted:
        raise KeyboardInterrupt
    if not result.success:
        raise WhalecurveError(_failure(result))
    return str(result.run_id)


def _tell(dead: list[Any], result: Any, before: Release | None, say: Callable[[str], None]) -> None:
    """Alert whom company.yml names of dead runs and of this one (`result`, None where a person sees it end). Never raises."""
    workspace = Workspace.from_environment()
    try:
        company = workspace.company()
        if not company.alerts:
            return
        told = [alerts.Alert("failed_run", company.company, alerts.dates_of(run), (), run.run_id) for run in dead]
        if result is not None and result.success:
            made = current(workspace.releases)
            told += alerts.of_release(company, result.dagster_run, made, before, late=True)
        elif result is not None:
            told.append(alerts.of_failure(company, result.dagster_run, result.all_events))
        alerts.tell(company, told, say, datetime.datetime.now(datetime.UTC))
    except Exception as error:  # the run has its own end; an alert must not give it another
        say(f"No alert was sent: {type(error).__name__}.")


def end_dead_runs(instance: Any) -> list[Any]:
    """Mark the runs of dead commands as failed, and return them: after a kill they would stay 'started' for ever.

    To be called by the holder of `single_writer`: whoever holds that lock is alone, so every other command's run is
    dead. Its process id would prove less, since the system gives it to somebody else. Runs of other data folders, which
    may be in the same database, are not ours to end.
    """
    import dagster as dg

    here = str(data_folder())
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    dead = [
        run
        for run in instance.get_runs(filters=unfinished)
        if PID_TAG in run.tags and run.tags.get(DATA_TAG, here) == here
    ]
    for run in dead:
        instance.report_run_failed(run, "The run's process ended without a word, as after a kill or a power cut.")
    return dead


def require_known(company: Company, *days: datetime.date) -> None:
    """Raise WhalecurveError for a day that is not one of the company's business dates."""
    known = business_dates(company).get_partition_keys()
    for day in days:
        if day.isoformat() not in known:
            raise WhalecurveError(
                f"{day} is not a business date of this company: its dates run from {known[0]} to {known[-1]} "
                "(company.yml, first_business_date and last_business_date). Choose one of them. Nothing was changed."
            )


def _interrupted(result: Any) -> bool:
    """Did somebody press Ctrl+C? Dagster notes that as a failure, and DuckDB as an error of the statement it was in."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
        elif event.is_job_failure and event.job_failure_data.error is not None:
            error = event.job_failure_data.error
        else:
            continue
        if error.cls_name in INTERRUPTS or INTERRUPTED_STATEMENT in str(error.message):
            return True
    return False


def _failure(result: Any) -> str:
    """The sentence of the step that failed, without the machinery around it."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            said = str(error.message).strip()
            if error.cls_name == alerts.CHECK_FAILED:
                return f"The quality gate said no. The last release is untouched.\n{_said_no(result)}"
            if event.step_key in DBT_STEPS:
                said += f"\n{_changed()}"
            if error.cls_name in _said_to_people(WhalecurveError):
                said = said.partition(": ")[2]
            return f"The run stopped at {event.step_key.replace('__', '.')}. The last release is untouched.\n{said}"
    return "The run failed before its first step; the Dagster UI shows why under Runs."


def _said_no(result: Any) -> str:
    """One line per expectation that closed the gate: table, check, what was observed and what that means. Then what changed."""
    lines, changed = [], []
    for event in result.all_events:
        if event.event_type_value != "ASSET_CHECK_EVALUATION":
            continue
        check = event.asset_check_evaluation_data
        if check.passed or check.severity.value != "ERROR":
            continue
        said = check.metadata.get("said_no")
        failures = said.value if said else {check.check_name: "error: failed"}
        table = ".".join(check.asset_key.path)
        errors = {name: text.removeprefix("error: ") for name, text in failures.items() if text.startswith("error: ")}
        lines += [f"- {table}, {name}: {text}" for name, text in errors.items()]
        if table == "marts.reconciliation":
            lines += _differences()
        if CHANGED in check.metadata:
            changed = [str(check.metadata[CHANGED].value)]  # the same for all checks of a run
    return "\n".join([*lines, *changed])


def _changed() -> str:
    """What came since the last release, where a step did not say it itself."""
    workspace = Workspace.from_environment()
    with workspace.warehouse(read_only=True) as connection:
        return since_last_release(connection, workspace)


def _differences() -> list[str]:
    """What does not tie between the ledger and the customers' money, by month and check."""
    with Workspace.from_environment().warehouse(read_only=True) as connection:
        rows = connection.execute(
            "select month, check_name, ledger_amount, assigned_amount, residual_amount, difference, tolerance "
            "from marts.reconciliation where status = 'fail' order by month, check_name"
        ).fetchall()
    shown = [
        f"    {month:%Y-%m} {name}: ledger {ledger:,.2f}, here {assigned + residual:,.2f}, difference {difference:,.2f} "
        f"(allowed {tolerance:,.2f})"
        for month, name, ledger, assigned, residual, difference, tolerance in rows[:SHOWN_DIFFERENCES]
    ]
    return [*shown, f"    and {len(rows) - len(shown)} more"] if len(rows) > len(shown) else shown


def _said_to_people(kind: type[WhalecurveError]) -> set[str]:
    """Names of the errors whose message is written for a person; Dagster puts the name before the message."""
    return {kind.__name__}.union(*(_said_to_people(below) for below in kind.__subclasses__()))
