"""What people are told without having asked: a failed run, a refused release, late data, models that drift.

An alert is made of names alone: of steps, checks, tables and features, which this project gives, and of sources, which
company.yml does. What a step said is left out, because it may quote a customer, a file or a value: the text says where to read
it. How an alert travels is in `channels.py`; when one is sent, in `alert_sensors.py` and `runs.py`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from assets.company import Company
from assets.errors import GateClosed
from assets.publish.release import Release
from pipelines import channels
from pipelines.resources import alert_secrets

CHECK_FAILED = "DagsterAssetCheckFailedError"
SAFE = re.compile(r"[A-Za-z0-9_.:/ -]{1,120}")
"""What a name may be made of: no address, no quoted value, nothing in a script a name of a person could be in."""
WITHHELD = "(name withheld)"
SHOWN = 8
MODEL_DRIFT = "model_drift"

TITLES = {
    "failed_run": ("Run failed", "运行失败"),
    "blocked_release": ("Release blocked", "发布被拦截"),
    "late_data": ("Data is late", "数据延迟"),
    "drift": ("Models drift", "模型漂移"),
}
TEXTS = {
    "failed_run": (
        "The run{of} stopped{at}. Readers have the release before it.",
        "运行{of}已中断{at}。读者仍使用上一版发布。",
    ),
    "blocked_release": (
        "The quality gate said no to the run{of}{at}. Readers have the release before it.",
        "质量门未通过运行{of}{at}。读者仍使用上一版发布。",
    ),
    "late_data": (
        "Not delivered{of}{at}. The run {waits}.",
        "尚未交付{of}{at}。{waits}。",
    ),
    "drift": (
        "What the models score no longer looks like what they were fitted on{of}{at}. Table model_drift says by how much.",
        "模型评分的客户与拟合时已有差异{of}{at}。详见 model_drift 表。",
    ),
}
RUNBOOK = "docs/runbook.md"
"""Says of each event what it means, how to look, what to do and who; its headings are the events' names."""
WHAT_TO_DO = ("What to do: {entry}", "处理办法：{entry}")
WHERE = (
    "Why: run {run} in the Dagster UI; `whalecurve doctor` looks at the rest.",
    "原因：见 Dagster 界面运行 {run}；可用 `whalecurve doctor` 检查其余部分。",
)


@dataclass(frozen=True)
class Alert:
    """One thing to tell: the event, whose, the business date or range, what it is about, the run, and until when is waited."""

    event: str
    company: str
    of: str = ""
    names: tuple[str, ...] = ()
    run_id: str = ""
    until: str = ""

    def subject(self, language: str = "en") -> str:
        """One line that says which company and what happened."""
        return f"Whalecurve {safe(self.company)}: {TITLES[self.event][language == 'zh']}"

    def text(self, language: str = "en") -> str:
        """One to three sentences, plain text, and the entry of the runbook that says what to do."""
        zh = language == "zh"
        shown = [safe(name) for name in self.names[:SHOWN]]
        more = len(self.names) - len(shown)
        listed = ", ".join([*shown, *([f"+{more}"] if more else [])])
        if zh:
            waits = f"等待至 {self.until}" if self.until else "将先用已有数据运行"
        else:
            waits = f"waits for it until {self.until}" if self.until else "goes on without it"
        said = TEXTS[self.event][zh].format(
            of=(f"（{safe(self.of)}）" if zh else f" for {safe(self.of)}") if self.of else "",
            at=(f"：{listed}" if zh else f": {listed}") if listed else "",
            waits=waits,
        )
        where = [WHERE[zh].format(run=safe(self.run_id[:8]))] if self.run_id else []
        return " ".join([said, *where, WHAT_TO_DO[zh].format(entry=f"{RUNBOOK}#{self.event}")])


def safe(name: str) -> str:
    """The name, or a note that it was left out because it is not made of the signs names here are made of."""
    return name if SAFE.fullmatch(name) else WITHHELD


def tell(company: Company, alerts: Iterable[Alert], log: Callable[[str], object], now: datetime.datetime) -> list[str]:
    """Send each alert to the targets of company.yml that asked for its event; returns which were reached.

    Never raises: whoever could not be told is logged, by name and without anything secret.
    """
    reached = []
    for alert in alerts:
        for name, target in company.alerts.items():
            if alert.event not in target.on:
                continue
            message = channels.Message(alert.subject(target.language), alert.text(target.language))
            try:
                channels.send(target, alert_secrets(name), message, now)
            except channels.NotSent as error:
                log(f"The alert '{alert.event}' could not be sent to {name}: {error}")
            except Exception as error:  # what a library raises here may hold the address
                log(f"The alert '{alert.event}' could not be sent to {name}: {type(error).__name__}.")
            else:
                reached.append(name)
    return reached


# What happened


def of_failure(company: Company, run: Any, events: Iterable[Any]) -> Alert:
    """What is told of a run that did not succeed. `events` are Dagster's events of it."""
    steps, blocked, refused = [], False, []
    for event in events:
        if event.is_step_failure:
            steps.append(event.step_key.replace("__", "."))
            blocked = blocked or bool({CHECK_FAILED, *_gate_errors()} & set(_error_names(event)))
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed and check.severity.value == "ERROR":
                refused.append(f"{'.'.join(check.asset_key.path)} {check.check_name}")
    names = tuple(refused) if blocked and refused else tuple(steps)
    return Alert("blocked_release" if blocked else "failed_run", company.company, dates_of(run), names, run.run_id)


def of_release(
    company: Company, run: Any, made: Release | None, before: Release | None, *, late: bool
) -> Iterator[Alert]:
    """What is told of a run that succeeded: features that drift and did not in the release before; `late`: and late sources."""
    if made is None or made.manifest.get("run_id") != run.run_id:
        return  # the same content as before: all was said then
    missing = tuple(str(one["source"]) for one in made.manifest.get("late_sources", []))
    if late and missing:
        yield Alert("late_data", company.company, str(made.as_of), missing, run.run_id)
    new = sorted(_drifted(made) - (_drifted(before) if before else set()))
    if new:
        yield Alert("drift", company.company, str(made.as_of), tuple(new), run.run_id)


def dates_of(run: Any) -> str:
    """The business date of a run, or its first and last."""
    tags = run.tags
    one = tags.get("dagster/partition")
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return one or ("" if not first else first if first == last else f"{first} to {last}")


def _error_names(event: Any) -> Iterator[str]:
    error = event.step_failure_data.error
    while error is not None:
        yield error.cls_name
        error = error.cause


def _gate_errors() -> set[str]:
    return {GateClosed.__name__, *(kind.__name__ for kind in GateClosed.__subclasses__())}


def _drifted(release: Release) -> set[str]:
    file = release.path / f"{MODEL_DRIFT}.parquet"
    if not file.exists():
        return set()
    with duckdb.connect() as connection:
        rows = connection.execute("select distinct feature from read_parquet(?) where status = 'drifted'", [str(file)])
        return {name for (name,) in rows.fetchall()}
