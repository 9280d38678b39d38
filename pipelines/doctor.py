"""`whalecurve doctor`: is everything there that a run needs, and was the last one well? Looks, and changes nothing.

Belongs here: checks that need no run and take seconds, each a function that is given what it looks at, and their text. Not here:
whether the figures are right, which the quality gate decides in every run.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
from packaging.requirements import Requirement
from packaging.version import Version

from assets import gate
from assets.analytics.playbook import read_playbook
from assets.analytics.rfm import read_rules
from assets.company import Company, FolderTarget, ObjectTarget, PostgresTarget, load_company
from assets.costing.rule_files import load_customer_links, load_rules
from assets.errors import WhalecurveError
from assets.ingest.arrivals import look
from assets.ingest.raw import delivered_dates, source_dialects
from assets.publish.privacy import fingerprint, key_changed
from assets.publish.release import Release, current, verify
from pipelines import writer
from pipelines.due import last_ended
from pipelines.resources import (
    EXPECTATIONS,
    MACHINE_VARIABLE,
    PROJECT_ROOT,
    PSEUDONYM_KEY_VARIABLE,
    Workspace,
    alert_secrets,
    dagster_home,
    machine,
    pseudonym_key,
    pull_credentials,
    target_secrets,
)
from pipelines.runs import PERSON_TAG

OK, WARNING, PROBLEM = "OK", "WARNING", "PROBLEM"
EXTENSIONS = ("icu", "json", "parquet")
"""What the SQL needs of DuckDB; its wheels bring them along, and nothing is fetched from a network."""
PYTHON = (3, 11)
LEAST_FREE, FREE_FOR_A_RUN = 1 << 30, 3
"""Bytes below which no run fits, and how many times the warehouse should fit: a full build's copy, raw files, a release."""
CLOCK_TOLERANCE = datetime.timedelta(minutes=5)
SHOWN = 4
"""Findings of one kind that are listed one by one."""


class Finding(NamedTuple):
    """One line of the report: what was looked at, what is so, and what to do about it (empty when all is well)."""

    level: str
    subject: str
    said: str
    remedy: str = ""


def examine(workspace: Workspace, now: datetime.datetime) -> list[Finding]:
    """All findings on a company and its data folder, in the order in which a person would mend them. `now` has a zone."""
    company, of_company = company_folder(workspace.company_folder)
    release = current(workspace.releases)
    found = [*installation(_needed(company), _installed), *of_company, *data_folder(workspace)]
    if company is not None:
        found += [
            *clock(company, now, release),
            *landing(company, workspace.landing, now),
            *last_release(company, release, workspace.landing, now),
            *secrets(company, release),
        ]
    return [*found, *dagster_instance(dagster_home(), writer.is_locked(workspace.data))]


def text(findings: Sequence[Finding]) -> str:
    """The report: a line per finding, what to do below it, and the sum."""
    lines = []
    for finding in findings:
        first, *more = finding.said.splitlines()
        lines.append(f"{finding.level:<8} {finding.subject}: {first}")
        lines += [f"         {line}" for line in [*more, *finding.remedy.splitlines()]]
    counts = {level: sum(finding.level == level for finding in findings) for level in (PROBLEM, WARNING)}
    if not any(counts.values()):
        return "\n".join([*lines, "", "All is well."])
    said = [f"{count} {level.lower()}{'s' if count > 1 else ''}" for level, count in counts.items() if count]
    return "\n".join([*lines, "", f"{' and '.join(said)} found."])


# The installation


def installation(
    needed: Iterable[Requirement],
    installed: Callable[[str], str | None],
    *,
    python: tuple[int, int] | None = None,
    extensions: Iterable[str] | None = None,
) -> Iterator[Finding]:
    """Python, the libraries against the caps of pyproject.toml, and DuckDB's extensions.

    `installed` gives the version of a library or None; `python` and `extensions` are those of this process when not given.
    """
    import sys

    python = python or (sys.version_info.major, sys.version_info.minor)
    remedy = "Install the lock anew: pip install --no-deps --require-hashes -r requirements.lock (`make` does it)."
    if python < PYTHON:
        yield Finding(
            *(PROBLEM, "Python", f"is {python[0]}.{python[1]}, and {PYTHON[0]}.{PYTHON[1]} or later is needed."),
            "Make a new environment with a later Python: make clean, then make PYTHON=python3.12.",
        )
    wrong, count = [], 0
    for requirement in needed:
        count += 1
        version = installed(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is not installed (needed: {requirement.specifier or 'any'})")
        elif not requirement.specifier.contains(Version(version), prereleases=True):
            wrong.append(f"{requirement.name} is {version} (needed: {requirement.specifier})")
    yield from (Finding(PROBLEM, "versions", f"{said}.", remedy) for said in wrong)
    if not wrong:
        yield Finding(
            OK, "versions", f"Python {python[0]}.{python[1]} and {count} libraries are within what is needed."
        )
    missing = sorted(set(EXTENSIONS) - set(_loaded_extensions() if extensions is None else extensions))
    if missing:
        yield Finding(PROBLEM, "DuckDB", f"{duckdb.__version__} comes without {', '.join(missing)}.", remedy)
    else:
        yield Finding(OK, "DuckDB", f"{duckdb.__version__} with {', '.join(EXTENSIONS)}.")


def _loaded_extensions() -> list[str]:
    with duckdb.connect() as connection:
        rows = connection.execute("select extension_name from duckdb_extensions() where loaded").fetchall()
    return [name for (name,) in rows]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _needed(company: Company | None) -> list[Requirement]:
    """The project's requirements, with the extras that company.yml makes use of."""
    extras = set()
    if company is not None:
        kinds = {type(target) for target in company.releases.targets.values()}
        extras |= {"pull"} if any(source.pull for source in company.sources.values()) else set()
        extras |= {"targets"} if kinds & {PostgresTarget, ObjectTarget} else set()
        extras |= {"spark"} if company.engine.spark else set()
        extras |= {"ducklake"} if company.engine.ducklake else set()
    declared = PROJECT_ROOT / "pyproject.toml"
    if declared.exists():
        project = tomllib.loads(declared.read_text(encoding="utf-8"))["project"]
        lines = [
            *project["dependencies"],
            *(line for extra in extras for line in project["optional-dependencies"][extra]),
        ]
        return [Requirement(line) for line in lines]
    said = [Requirement(line) for line in importlib.metadata.requires("whalecurve") or []]
    wanted = [{"extra": extra} for extra in ("", *extras)]
    return [line for line in said if line.marker is None or any(line.marker.evaluate(choice) for choice in wanted)]


# The company's folder


def company_folder(folder: Path) -> tuple[Company | None, list[Finding]]:
    """The company, or None when company.yml cannot be used; and what is to be said of its files."""
    remedy = "Correct it as the sentence says; nothing runs before."
    try:
        company = load_company(folder)
    except WhalecurveError as error:
        return None, [Finding(PROBLEM, "company", str(error), remedy)]
    checks: Mapping[str, Callable[[], Any]] = {
        "dialects": lambda: source_dialects(company, folder),
        "cost rules": lambda: load_rules(folder),
        "customer links": lambda: load_customer_links(company, folder),
        "playbook": lambda: read_playbook(folder),
        "RFM rules": lambda: read_rules(folder),
        "expectations": lambda: gate.load_suites(EXPECTATIONS),
    }
    found = []
    for subject, check in checks.items():
        try:
            check()
        except WhalecurveError as error:
            found.append(Finding(PROBLEM, subject, str(error), remedy))
    read = [subject for subject in checks if subject not in {finding.subject for finding in found}]
    return company, [Finding(OK, "company", f"{company.name}: company.yml, {', '.join(read)} can be used."), *found]


# The data folder


def data_folder(workspace: Workspace, *, usage: Callable[[Path], Any] = shutil.disk_usage) -> Iterator[Finding]:
    """Is it there, may we write, is there room, who writes, and does the warehouse open?"""
    data = workspace.data
    if not data.is_dir():
        yield Finding(
            WARNING, "data folder", f"{data} does not exist yet.", "The first run makes it; is it the one you mean?"
        )
        return
    kept = [data, *(data / name for name in ("landing", "raw", "releases", "dagster") if (data / name).is_dir())]
    closed = [
        path for path in kept if not os.access(path, os.R_OK | os.X_OK | (0 if path.name == "landing" else os.W_OK))
    ]
    yield from (
        Finding(
            PROBLEM, "data folder", f"{path} is closed to this account.", f"Give it the right: chown -R $USER {path}"
        )
        for path in closed
    )
    if not closed:
        yield Finding(OK, "data folder", f"{data} can be read and written.")
    yield _disk(workspace, usage(data).free)
    locked, by = writer.is_locked(data), writer.holder(data)
    if by is not None and by.machine != machine():
        yield Finding(
            *(PROBLEM, "writer", f"{by} has the data folder, and this is {machine()}."),
            f"Wait for it, or delete {data / writer.HOLDER} if it ended without a word. "
            f"Containers that share one disk: give all of them the same {MACHINE_VARIABLE}.",
        )
    elif locked:
        yield Finding(OK, "writer", f"{by or 'a run'} is at work; others wait.")
    else:
        left = " (one before was killed; the next run goes on from there)" if by else ""
        yield Finding(OK, "writer", f"nobody is writing{left}.")
    if workspace.warehouse_path.exists() and not locked:
        yield _warehouse(workspace.warehouse_path)


def _disk(workspace: Workspace, free: int) -> Finding:
    size = workspace.warehouse_path.stat().st_size if workspace.warehouse_path.exists() else 0
    said = f"{_size(free)} free where {workspace.data} lies"
    remedy = "Make room: fewer releases (releases: keep in company.yml), or a larger disk."
    if free < max(LEAST_FREE, size):
        return Finding(PROBLEM, "disk", f"{said}; a run needs {_size(max(LEAST_FREE, size))} at least.", remedy)
    if free < FREE_FOR_A_RUN * size:
        return Finding(
            WARNING, "disk", f"{said}, and the warehouse has {_size(size)}: a full build may not fit.", remedy
        )
    return Finding(OK, "disk", f"{said}.")


def _size(number: int) -> str:
    return f"{number / (1 << 30):,.1f} GB"


def _warehouse(path: Path) -> Finding:
    try:
        duckdb.connect(str(path), read_only=True).close()
    except duckdb.Error as error:
        return Finding(
            *(PROBLEM, "warehouse", f"{path} cannot be opened ({str(error).splitlines()[0]})."),
            f"All of it can be made again: mv {path} {path}.damaged, then whalecurve rebuild.",
        )
    return Finding(OK, "warehouse", f"{path} opens.")


# Time


def clock(company: Company, now: datetime.datetime, release: Release | None) -> Iterator[Finding]:
    """The clock against the last release, which cannot have been made later than now."""
    local = now.astimezone(ZoneInfo(company.timezone))
    published = _published_at(release)
    if published and now < published - CLOCK_TOLERANCE:
        yield Finding(
            *(
                PROBLEM,
                "clock",
                f"it is {local:%Y-%m-%d %H:%M} in {company.timezone}, before the last release ({published:%Y-%m-%d %H:%M} UTC).",
            ),
            "Set the machine's clock (timedatectl set-ntp true): the schedule would run dates of the past.",
        )
    else:
        yield Finding(OK, "clock", f"it is {local:%Y-%m-%d %H:%M} in {company.timezone}, the company's time zone.")


def _published_at(release: Release | None) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(str(release.manifest["published_at"])) if release else None
    except (KeyError, ValueError):
        return None


# What was delivered


def landing(company: Company, folder: Path, now: datetime.datetime) -> list[Finding]:
    """Sources without a delivery or behind the others, deliveries cut off or of no day, folders that nobody reads."""
    found = []
    try:
        delivered = delivered_dates(folder, list(company.sources))
    except WhalecurveError as error:
        return [Finding(PROBLEM, "landing", str(error), "Rename or remove the folder.")]
    newest = max(set().union(*delivered.values()), default=None)
    for source, dates in delivered.items():
        expected = company.sources[source].arrival
        if not dates:
            remedy = f"Put its files into {folder / source}/<YYYY-MM-DD>/, or take it out of company.yml."
            found.append(Finding(WARNING, "landing", f"{source} has never delivered.", remedy))
        elif newest is not None and (missed := _missed(expected.expects, max(dates), newest)):
            said = f"{source} delivered last for {max(dates)}, others for {newest}: {missed} of its days are missing."
            found.append(Finding(WARNING, "landing", said, "Ask who sends it; a run goes on without it and says so."))
        for date in sorted(dates)[-SHOWN:]:
            now_there = look(folder, source, date, expected)
            where = f"{source}, {date}"
            for name in now_there.unfinished:
                found.append(
                    Finding(
                        *(WARNING, "landing", f"{where}: {name} is still being written, or was left half-copied."),
                        "When its transfer has ended it has another name; if none is under way, deliver it again.",
                    )
                )
            found += [
                Finding(WARNING, "landing", f"{where}: {said}.", "Deliver it again, then run the date.")
                for said in now_there.damaged
            ]
            if now_there.is_awaited and not now_there.damaged:
                said = f"{where}: is not complete by its own word ({expected.promise})."
                remedy = "Ask who sends it; a run leaves it out until then. Or mend `arrival:` in company.yml."
                found.append(Finding(WARNING, "landing", said, remedy))
    today = now.astimezone(ZoneInfo(company.timezone)).date()
    early = sorted({date for dates in delivered.values() for date in dates if date > today})
    if early:
        said = f"deliveries lie there for days to come, up to {early[-1]} (today is {today})."
        found.append(Finding(WARNING, "landing", said, "Is the folder's name right, and the clock?"))
    strangers = [
        path.name for path in sorted(folder.glob("[!.]*")) if path.is_dir() and path.name not in company.sources
    ]
    if strangers:
        said = f"nobody reads {', '.join(strangers[:SHOWN])}: no source of company.yml has that name."
        found.append(Finding(WARNING, "landing", said, "Rename the folder to its source, or add the source."))
    if not found:
        found.append(Finding(OK, "landing", f"every source has delivered up to {newest}."))
    return found


def _missed(expects: Callable[[datetime.date], bool], last: datetime.date, newest: datetime.date) -> int:
    days = ((last + datetime.timedelta(days=offset)) for offset in range(1, (newest - last).days + 1))
    return sum(expects(day) for day in days)


# The last release


def last_release(
    company: Company, release: Release | None, landing_folder: Path, now: datetime.datetime
) -> Iterator[Finding]:
    """Is it as it was published, and does it follow what was delivered and the calendar?"""
    if release is None:
        yield Finding(WARNING, "release", "nothing has been published yet.", "Run: whalecurve run")
        return
    damage = verify(release.path)
    if damage:
        shown = [*damage[:SHOWN], *([f"and {len(damage) - SHOWN} more"] if len(damage) > SHOWN else [])]
        yield Finding(
            *(PROBLEM, "release", "\n".join(["is not as it was published:", *shown])),
            "Publish it again (whalecurve rebuild), or go back to the one before (whalecurve rollback).",
        )
    else:
        yield Finding(OK, "release", f"{release.release_id} is as it was published.")
    try:
        delivered = set().union(*delivered_dates(landing_folder, list(company.sources)).values())
    except WhalecurveError:
        delivered = set()  # said above
    due = last_ended(company, now)
    unread = sorted(date for date in delivered if release.as_of < date <= due)
    if unread:
        span = str(unread[0]) if len(unread) == 1 else f"{unread[0]} to {unread[-1]}"
        remedy = f"whalecurve run --from {unread[0]} --to {unread[-1]}; if one was refused, the Dagster UI says why under Runs."
        yield Finding(WARNING, "release", f"is of {release.as_of}, and deliveries of {span} are in none.", remedy)
    elif (behind := (due - release.as_of).days) > 0:
        days = f"{behind} day{'s' if behind > 1 else ''}"
        remedy = "Nothing was delivered since: ask who sends the extracts."
        yield Finding(WARNING, "release", f"is of {release.as_of}, {days} behind {due}.", remedy)


# Secrets


def secrets(company: Company, release: Release | None) -> list[Finding]:
    """The pseudonym key, and what each source, target and alert needs from the environment. No value is ever shown."""
    found = _pseudonym_key(release)
    for source, setting in company.sources.items():
        if setting.pull:
            needed = ("URL",) if setting.pull.connector == "sql_database" else ()
            credentials = pull_credentials(source)
            missing = [name for name in needed if not credentials.get(name)]
            if missing or not credentials.values:
                names = ", ".join(credentials.prefix + name for name in missing or ("...",))
                said = f"{source} is pulled, and {names} is not set."
                found.append(
                    Finding(
                        PROBLEM,
                        "secrets",
                        said,
                        "Set it in the environment of whoever pulls; see docs/how-to/fetch-a-source.md.",
                    )
                )
    for name, target in company.releases.targets.items():
        given = target_secrets(name)
        if isinstance(target, PostgresTarget) and not given.get("URL"):
            said = f"release target {name} has no address: {given.prefix}URL is not set."
            found.append(Finding(PROBLEM, "secrets", said, "Set it in the environment of whoever runs or delivers."))
        if isinstance(target, ObjectTarget) and bool(given.get("ACCESS_KEY_ID")) != bool(
            given.get("SECRET_ACCESS_KEY")
        ):
            said = f"release target {name} has half a key: of {given.prefix}ACCESS_KEY_ID and _SECRET_ACCESS_KEY, one is set."
            found.append(
                Finding(PROBLEM, "secrets", said, "Set both, or neither where the machine has a role of its own.")
            )
        if isinstance(target, FolderTarget) and not _writable(Path(target.path)):
            said = f"release target {name}: {target.path} cannot be written."
            found.append(
                Finding(PROBLEM, "targets", said, "Mount the share, or give this account the right to write there.")
            )
    for name, alert in company.alerts.items():
        address = alert_secrets(name)
        schemes = ("smtp://", "smtps://") if alert.kind == "email" else ("https://", "http://")
        if not (address.get("URL") or "").startswith(schemes):
            said = f"alert {name} reaches nobody: {address.prefix}URL is not set to an address that begins with {schemes[0]}."
            found.append(
                Finding(PROBLEM, "secrets", said, "Set it in the environment of the command and of Dagster's daemon.")
            )
    return found or [Finding(OK, "secrets", "all that company.yml asks for is set.")]


def _writable(path: Path) -> bool:
    """Whether the folder, or the nearest above it that exists, takes new files."""
    nearest = next((above for above in (path, *path.parents) if above.exists()), path)
    return os.access(nearest, os.W_OK | os.X_OK)


def _pseudonym_key(release: Release | None) -> list[Finding]:
    noted = release.manifest.get("privacy", {}) if release else {}
    try:
        key = pseudonym_key()
    except WhalecurveError as error:
        return [Finding(PROBLEM, "secrets", str(error))]
    if key is None and noted.get("key_fingerprint"):
        said = f"{PSEUDONYM_KEY_VARIABLE} is not set, and the last release has pseudonyms made with one."
        return [
            Finding(PROBLEM, "secrets", said, "Set the same key; without it the next release withholds those columns.")
        ]
    if changed := key_changed({"key_fingerprint": fingerprint(key)}, noted):
        return [Finding(PROBLEM, "secrets", changed)]
    return []


# Dagster


def dagster_instance(home: Path, writing: bool) -> list[Finding]:
    """Can its storage be reached, do schedules that are on have a daemon, and how did the last run end?"""
    import dagster as dg
    from dagster._core.scheduler.instigation import InstigatorStatus

    if not (home / "dagster.yaml").exists():
        return [Finding(OK, "Dagster", f"has no instance in {home} yet; the first run makes one.")]
    found = []
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            storage = type(instance.run_storage).__name__
            runs = [run for run in instance.get_runs(limit=20) if PERSON_TAG not in run.tags]
            unfinished = instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            running = [
                state.name for state in instance.all_instigator_state() if state.status == InstigatorStatus.RUNNING
            ]
            watched = bool(running) and all(status.healthy for status in instance.get_daemon_statuses().values())
    except Exception as error:  # whatever a database, its driver or Dagster raises: all mean that it cannot be used
        said = f"its instance in {home} cannot be used ({_root(error)})."
        return [
            Finding(
                PROBLEM,
                "Dagster",
                said,
                "Look at dagster.yaml there, the WHALECURVE_DAGSTER_ variables, and the database.",
            )
        ]
    found.append(Finding(OK, "Dagster", f"runs are kept in {home} ({storage})."))
    if running and not watched:
        said = (
            f"{', '.join(sorted(running))} {'is' if len(running) == 1 else 'are'} turned on, and no daemon is at work."
        )
        found.append(
            Finding(PROBLEM, "Dagster", said, "Start it: whalecurve ui, or the service that runs dagster-daemon.")
        )
    if unfinished and not writing:
        said = f"{len(unfinished)} run{'s' if len(unfinished) > 1 else ''} stands as started, and nobody writes: it was killed."
        found.append(
            Finding(WARNING, "Dagster", said, "The next run from the command marks it as failed; or end it under Runs.")
        )
    if runs and runs[0].status == dg.DagsterRunStatus.FAILURE:
        said = f"the last run ({runs[0].run_id[:8]}) failed; readers have the release before it."
        found.append(
            Finding(
                WARNING, "Dagster", said, "Its page in the UI says why, under Runs; mend it and run the dates again."
            )
        )
    return found


def _root(error: BaseException) -> str:
    """The first line of what lies at the bottom, without addresses, which may hold a password."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return type(error).__name__ if "://" in first else f"{type(error).__name__}: {first}"
