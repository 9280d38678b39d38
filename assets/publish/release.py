"""Releases: immutable folders of published tables, and the one pointer that says which is current.

    <releases>/2026-06-30-1f0c5a9be214/    <as-of date>-<hash of the content>
        <table>.parquet ...                each published table, in key order: same content, same bytes
        whalecurve.duckdb                  the same tables in one file
        report.html  lists/<list>.csv      what people read
        check.py                           recomputes every cost line, by arithmetic of its own
        manifest.json                      what it was made of, and the sha256 of everything
    <releases>/current                     symbolic link to one of them
    <releases>/history.jsonl               what became current, in order

Publishing is write, audit, publish: the release is built aside, read back, flushed to disk, renamed to its name, and
then the pointer is swapped by an atomic rename. At every moment `current` leads to one whole release, also when the
process is killed. A reader should resolve `current` once and read below that folder.

Belongs here: everything that touches the releases folder. Not here: what the report or a list says.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from assets import gate
from assets.approvals import Approval, Approvals, Failure
from assets.errors import GateClosed, WhalecurveError
from assets.publish import checker, contract

POINTER = "current"
MANIFEST = "manifest.json"
CHECKER = "check.py"
HISTORY = "history.jsonl"
DATABASE = "whalecurve.duckdb"
DATA_QUALITY = "data_quality"
DELIVERIES = "deliveries"
DELIVERIES_RELATION = """(
    select source as source_instance, extract_date, entity, file_name, dialect, rows_in, rows_out, rows_quarantined,
        rows_left_out, size_bytes, sha256, load_id
    from raw.file_registry
)"""
"""One row per delivered file that the release was made of: two releases can be asked what came between them."""
QUALITY_RELATION = """(
    select * replace (
        as_of_date::date as as_of_date, approved_by::varchar as approved_by, approval_reason::varchar as approval_reason
    )
    from published_data_quality
)"""
CIRCUMSTANCES = ("volume", "drift")
"""Stages of the gate that say how a release stands beside earlier ones: not of its content, so not in its name, unless
somebody had to approve it."""
CIRCUMSTANCES_BEGIN, CIRCUMSTANCES_END = "<!-- beside earlier releases -->", "<!-- as everywhere -->"
"""The part of the report that shows them stands between these."""
Comparisons = Callable[[duckdb.DuckDBPyConnection], Mapping[str, list[gate.CheckResult]]]
Protected = Callable[[str, str, tuple[str, ...]], list[str]]
BUILDING, DISCARDED = ".building-", ".discarded-"

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Text that begins so is taken for a formula by spreadsheets, the full-width forms by Chinese and Japanese ones."""


class PublishRefused(GateClosed):
    """The gate said no. `problems` says why, one sentence each; `changed`, what came since the last release."""

    def __init__(self, problems: list[str], changed: str = "") -> None:
        self.problems = problems
        super().__init__(
            f"Nothing was published: {len(problems)} problem{'s' if len(problems) > 1 else ''}.\n"
            + "\n".join([*(f"- {problem}" for problem in problems), *([changed] if changed else [])])
        )


class ReleaseError(WhalecurveError):
    """A release that does not exist, is damaged or could not be made; the message says which and what to do."""


@dataclass(frozen=True)
class Release:
    """One release folder. `created` is false when publishing found the same content already there."""

    release_id: str
    path: Path
    as_of: datetime.date
    is_current: bool
    created: bool = False
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)


# Publishing


def publish(
    connection: duckdb.DuckDBPyConnection,
    releases: Path,
    *,
    as_of: datetime.date,
    company: str,
    run_id: str,
    git_sha: str,
    hashes: Mapping[str, str],
    tables: Mapping[str, str],
    suites: Mapping[str, gate.Suite],
    required_checks: Iterable[tuple[str, str, str]] = (),
    report_html: str | Callable[[pd.DataFrame], str] | None = None,
    lists: Mapping[str, pd.DataFrame] | None = None,
    published_at: str | None = None,
    privacy: Mapping[str, Any] | None = None,
    deliveries: str | None = None,
    late_sources: Sequence[Mapping[str, Any]] = (),
    comparisons: Comparisons | None = None,
    protected: Protected | None = None,
    approvals: Approvals | None = None,
) -> Release:
    """Publish the tables (name -> relation of `connection`) as one release and make it current.

    The gate is asked here, in the transaction that also reads the tables: what is written is what was checked. Raises
    PublishRefused with the reasons when it says no; nothing is changed then. The table `data_quality` is added: every
    result of the gate's ledger, of the identities between the tables and of `comparisons` (stage -> results), each with the
    tables that `protected` (check, table, what it reads) names. The report may be a function of it. So is `deliveries`,
    from that relation, where given.

    A failure that `approvals` cover does not refuse; who approved it and why stands on `data_quality` and in the manifest.

    The release id depends on the as-of date and the content of tables, report and lists alone; how the release stands beside
    earlier ones (CIRCUMSTANCES) is not content. Publishing the same
    content again gives the release that is there (`created` false). A release of an earlier date than the current one
    is kept beside it and does not become current: a backfill must not take readers back in time.

    `company`, `run_id`, `git_sha`, `hashes` (name -> hash of company and rule files), `published_at`, `privacy` (which
    personal columns are in clear, pseudonyms or withheld) and `late_sources` (whose delivery for the date is missing) are
    noted in the manifest of a release when it is first made.
    """
    releases.mkdir(parents=True, exist_ok=True)
    with only_publisher(releases):
        _sweep(releases)
        building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=releases))
        try:
            extra = {DELIVERIES: deliveries} if deliveries else {}
            described, quality = _build_tables(
                *(connection, building, tables, extra, suites, required_checks, as_of),
                comparisons=comparisons or (lambda _: {}),
                protected=protected or (lambda check, table, reads: sorted({table, *reads})),
                approvals=approvals or Approvals((), suites, as_of),
            )
            report = report_html(quality) if callable(report_html) else report_html
            if report is not None:
                (building / "report.html").write_text(report, encoding="utf-8")
            for name, rows in (lists or {}).items():
                (building / "lists").mkdir(exist_ok=True)
                write_list(building / "lists" / f"{name}.csv", rows)
            (building / CHECKER).write_text(Path(checker.__file__).read_text(encoding="utf-8"), encoding="utf-8")
            named_by = _named_by(quality, report)
            release_id = _release_id(as_of, _with_content(_files(building), named_by))
            final = releases / release_id
            created = not final.exists() or bool(verify(final))
            if created:
                _write_database(building, sorted(described))
                manifest = {
                    "release_id": release_id,
                    "as_of_date": as_of.isoformat(),
                    "company": company,
                    "run_id": run_id,
                    "git_sha": git_sha,
                    "hashes": dict(hashes),
                    "published_at": published_at,
                    "privacy": dict(privacy or {}),
                    "late_sources": list(late_sources),
                    "duckdb": duckdb.__version__,
                    "contract": contract.declared()["version"],
                    "tables": described,
                    "files": _with_content(_files(building), named_by),
                    "checks": _listed(quality),
                    "approvals": _approvals(quality),
                }
                _write_durably(building / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
                flush(building)
                if final.exists():  # damaged: a whole one takes its place
                    discard(final)
                os.rename(building, final)
                _flush_folder(releases)
        finally:
            if building.exists():
                shutil.rmtree(building)

        current = _current_id(releases)
        if current is None or _as_of(releases / current) <= as_of:
            point_to(releases, release_id, action="publish", run_id=run_id, at=published_at)
        return _release(releases, release_id, created=created)


def _build_tables(
    connection: duckdb.DuckDBPyConnection,
    building: Path,
    tables: Mapping[str, str],
    extra: Mapping[str, str],
    suites: Mapping[str, gate.Suite],
    required_checks: Iterable[tuple[str, str, str]],
    as_of: datetime.date,
    *,
    comparisons: Comparisons,
    protected: Protected,
    approvals: Approvals,
) -> tuple[dict[str, dict[str, Any]], pd.DataFrame]:
    """Ask the gate, write each table, read it back. Returns what the manifest says of the tables, and data_quality."""
    threads = connection.execute("select current_setting('threads')").fetchone()
    assert threads is not None
    connection.execute("begin transaction")
    try:
        present = {table: gate.fingerprint(connection, relation) for table, relation in tables.items()}
        checks = _checks(connection, tables, {**tables, **extra}, comparisons)
        checks = [replace(check, approval=approvals.of(check.failure) if check.failure else None) for check in checks]
        approved = {check.failure for check in checks if check.approval}
        problems = gate.verify(
            *(connection, tables),
            suites=suites,
            as_of=as_of,
            required_checks=required_checks,
            fingerprints=present,
            is_approved=lambda row: failure_in_ledger(row) in approved,
        )
        problems += [
            f"{check.result.table}: {check.result.check_name} failed: {check.result.observed}. {check.result.detail}"
            for check in checks
            if check.failure and not check.approval and check.recorded_as_of is None
        ]
        if problems:
            raise PublishRefused(problems)

        quality = _data_quality(checks, protected, as_of)
        connection.register("published_data_quality", quality)
        # One thread: with several, the rows of a file fall into groups by chance.
        connection.execute("set threads = 1")
        described = {}
        for table, relation in sorted({**tables, **extra, DATA_QUALITY: QUALITY_RELATION}.items()):
            key = suites[table].key if table in suites else ()
            content = present.get(table) or gate.fingerprint(connection, relation)
            described[table] = _write_table(connection, relation, building / f"{table}.parquet", key, content)
        return described, quality
    finally:
        connection.execute("rollback")
        connection.execute(f"set threads = {int(threads[0])}")
        connection.unregister("published_data_quality")


@dataclass(frozen=True)
class _Check:
    """One result of the gate: from its ledger, or computed just now. `failure` where it would stop the release."""

    stage: str
    result: gate.CheckResult
    recorded_as_of: Any
    """None when computed just now."""
    failure: Failure | None = None
    approval: Approval | None = None


def failure_in_ledger(row: Any) -> Failure:
    """The failure that a row of the gate's ledger stands for."""
    return Failure(row.stage, row.check_name, row.table_name, row.fingerprint, row.observed)


def failures(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    comparisons: Comparisons,
    deliveries: str = DELIVERIES_RELATION,
) -> list[tuple[Failure, str]]:
    """What would stop a release of the tables now, as far as checks were made, each with what it means."""
    checks = _checks(connection, tables, {**tables, DELIVERIES: deliveries}, comparisons)
    return [(check.failure, check.result.detail) for check in checks if check.failure]


def _checks(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    relations: Mapping[str, str],
    comparisons: Comparisons,
) -> list[_Check]:
    """The gate's ledger, the identities between the tables and the comparisons. `relations` are those to take the fingerprints
    of, which say on what content a computed check was made."""
    found = []
    for row in gate.results(connection).itertuples(index=False):
        values: Any = row
        result = gate.CheckResult(
            *(
                values.check_name,
                values.table_name,
                values.severity,
                bool(values.passed),
                values.observed,
                values.detail,
            )
        )
        stops = not result.passed and result.severity == "error"
        found.append(_Check(values.stage, result, values.as_of_date, failure_in_ledger(values) if stops else None))
    for stage, results in {gate.CONSISTENCY: gate.consistency(connection, tables), **comparisons(connection)}.items():
        for result in results:
            failure = None
            if not result.passed and result.severity == "error":
                content = gate.fingerprint(connection, relations[result.table])
                failure = Failure(stage, result.check_name, result.table, content, result.observed)
            found.append(_Check(stage, result, None, failure))
    return found


def _data_quality(checks: list[_Check], protected: Protected, as_of: datetime.date) -> pd.DataFrame:
    """One row per check, as of the release, with the tables it protects and who let the release out in spite of it."""
    rows = [
        {
            "as_of_date": as_of if check.recorded_as_of is None else check.recorded_as_of,
            "stage": check.stage,
            "check_name": check.result.check_name,
            "table_name": check.result.table,
            "severity": check.result.severity,
            "passed": check.result.passed,
            "observed": check.result.observed,
            "detail": check.result.detail,
            "protects": ", ".join(protected(check.result.check_name, check.result.table, check.result.reads)),
            "approved_by": check.approval.approved_by if check.approval else None,
            "approval_reason": check.approval.reason if check.approval else None,
        }
        for check in checks
    ]
    together = pd.DataFrame(rows)
    together = together.assign(
        as_of_date=pd.to_datetime(together["as_of_date"]).astype("datetime64[s]"),
        **{name: together[name].astype("string") for name in ("approved_by", "approval_reason")},
    )
    return together.sort_values(["stage", "table_name", "check_name"]).reset_index(drop=True)


def _listed(quality: pd.DataFrame) -> list[dict[str, Any]]:
    """data_quality as the manifest has it: which tables a check protects is said of those that did not pass."""
    rows: list[dict[str, Any]] = json.loads(quality.astype({"as_of_date": "str"}).to_json(orient="records"))
    of_failures = ("protects", "approved_by", "approval_reason")
    return [
        {name: value for name, value in row.items() if name not in of_failures or not row["passed"]} for row in rows
    ]


def _approvals(quality: pd.DataFrame) -> list[dict[str, Any]]:
    """The checks in spite of which the release was made, as the manifest has them."""
    columns = ["stage", "check_name", "table_name", "observed", "approved_by", "approval_reason"]
    rows: Any = quality[quality["approved_by"].notna()][columns].astype(str).to_dict("records")
    return list(rows)


def _named_by(quality: pd.DataFrame, report: str | None) -> dict[str, str]:
    """File -> hash of the part of it that is content, for the files that also show circumstances."""
    is_content = ~quality["stage"].isin(CIRCUMSTANCES) | quality["approved_by"].notna()
    content = quality[is_content].astype({"as_of_date": "str"}).to_json(orient="records")
    found = {f"{DATA_QUALITY}.parquet": content}
    if report is not None and CIRCUMSTANCES_BEGIN in report:
        before, _, after = report.partition(CIRCUMSTANCES_BEGIN)
        found["report.html"] = before + after.partition(CIRCUMSTANCES_END)[2]
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in found.items()}


def _write_table(
    connection: duckdb.DuckDBPyConnection, relation: str, file: Path, key: tuple[str, ...], content: str
) -> dict[str, Any]:
    order = ", ".join(f'"{name}" nulls last' for name in key) or "all"
    connection.execute(
        f"copy (select * from {relation} order by {order}) to {_literal(file)} (format parquet, compression zstd)"
    )
    written = f"read_parquet({_literal(file)})"
    if gate.fingerprint(connection, written) != content:
        raise ReleaseError(
            f"{file.name} does not hold what {relation} holds: {_lossy_columns(connection, relation, written)}. "
            "Cast the column in its model to a type Parquet can hold exactly, such as DECIMAL(38, 0) for HUGEINT."
        )
    shape = connection.sql(f"select * from {written} limit 0")
    rows = connection.execute(f"select count(*) from {written}").fetchone()
    assert rows is not None
    return {
        "file": file.name,
        "rows": rows[0],
        "sha256": _sha256(file),
        "key": list(key),
        "columns": [{"name": name, "type": str(type_)} for name, type_ in zip(shape.columns, shape.types, strict=True)],
    }


def _lossy_columns(connection: duckdb.DuckDBPyConnection, relation: str, written: str) -> str:
    wanted, got = (
        connection.sql(f"select * from {relation} limit 0"),
        connection.sql(f"select * from {written} limit 0"),
    )
    columns = zip(wanted.columns, wanted.types, got.types, strict=True)
    changed = [f"{name} was {before} and is {after}" for name, before, after in columns if before != after]
    return ", ".join(changed) or "its rows differ"


def _write_database(building: Path, tables: list[str]) -> None:
    with duckdb.connect(str(building / DATABASE), config={"threads": 1}) as database:
        for table in tables:
            file = _literal(building / f"{table}.parquet")
            database.execute(f'create table "{table}" as select * from read_parquet({file})')


def write_list(file: Path, rows: pd.DataFrame) -> None:
    """Write a list that opens safely and readably in a spreadsheet.

    UTF-8 with its mark, so that Excel shows Chinese names, and a quote before text that would run as a formula: names
    come from outside. Numbers stay numbers, negative ones too.
    """
    safe = rows.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_safe_cell)
    safe.columns = [_safe_cell(name) for name in safe.columns]
    safe.to_csv(file, index=False, encoding="utf-8-sig", lineterminator="\r\n")


def _safe_cell(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


# The pointer and its history


def releases(folder: Path) -> list[Release]:
    """All releases below the folder, in the order in which they were last published; those never current come first."""
    if not folder.exists():
        return []
    order = {entry["release_id"]: position for position, entry in enumerate(_history(folder))}
    found = [entry.name for entry in folder.iterdir() if entry.is_dir() and _is_release_name(entry)]
    return [_release(folder, name) for name in sorted(found, key=lambda name: (order.get(name, -1), name))]


def current(folder: Path) -> Release | None:
    """The release readers get, or None before the first."""
    release_id = _current_id(folder)
    return None if release_id is None else _release(folder, release_id)


def require_current(folder: Path) -> Release:
    """The release readers get. Raises ReleaseError before the first."""
    release = current(folder)
    if release is None:
        raise ReleaseError(f"There is no release in {folder} yet: run `whalecurve run` first.")
    return release


def find(folder: Path, release_id: str | None) -> Release:
    """The release with that id, or the only one whose id begins so; None is the current one. Raises ReleaseError."""
    if release_id is None:
        return require_current(folder)
    matching = [release for release in releases(folder) if release.release_id.startswith(release_id)]
    if len(matching) != 1:
        which = "No release begins" if not matching else f"{len(matching)} releases begin"
        raise ReleaseError(
            f"{which} with {release_id!r} in {folder}. Name one of those listed by `whalecurve releases`."
        )
    return matching[0]


def earlier(folder: Path, as_of: datetime.date) -> Release | None:
    """The release that one as of `as_of` is compared with; None before the first.

    It is the last one published of the latest date before; where there is none, the first one of that date itself, so that
    publishing again is compared with the same. One that was rolled back from is no measure of anything.
    """
    if not folder.exists():
        return None
    order = {entry["release_id"]: position for position, entry in enumerate(_history(folder))}
    left = set(order) - set(_trail(folder))
    names = [path.name for path in folder.iterdir() if path.is_dir() and _is_release_name(path)]
    known = sorted((name for name in names if name not in left), key=lambda name: (order.get(name, -1), name))
    before = [name for name in known if name[:10] < as_of.isoformat()]
    same = [name for name in known if name[:10] == as_of.isoformat()]
    # Sorting is stable: within a date the order of publication stays.
    for name in [*sorted(before, key=lambda name: name[:10])[::-1], *same]:
        release = _release(folder, name)
        if release.manifest.get("tables"):
            return release
    return None


def rollback(folder: Path, release_id: str | None = None, *, run_id: str = "", at: str | None = None) -> Release:
    """Make an earlier release current: the given one, or the one that was current before this one.

    Going back twice goes back two releases. The release left behind stays where it is; publishing its content again
    makes it current again. Raises ReleaseError when there is none to go back to, or it is damaged.
    """
    if not folder.exists():
        raise ReleaseError(f"{folder} does not exist: nothing has been published yet.")
    with only_publisher(folder):
        _sweep(folder)
        if release_id is None:
            earlier = [name for name in _trail(folder)[:-1] if (folder / name).exists()]
            if not earlier:
                raise ReleaseError(
                    f"{folder} holds no release from before the current one ({_current_id(folder) or 'none'}), so "
                    "there is nothing to go back to. Name one of the releases listed by `whalecurve releases`."
                )
            release_id = earlier[-1]
        target = folder / release_id
        if not (_is_release_name(target) and target.is_dir()):
            raise ReleaseError(
                f"There is no release {release_id} in {folder}. Name one of those listed by `whalecurve releases`."
            )
        if problems := verify(target):
            raise ReleaseError(f"Release {release_id} is damaged and was not made current: {'; '.join(problems)}.")
        point_to(folder, release_id, action="rollback", run_id=run_id, at=at)
        return _release(folder, release_id)


def prune(folder: Path, keep: int) -> list[str]:
    """Remove all but the `keep` releases published last, and never the current one. Returns the removed ids."""
    if keep < 1:
        raise ValueError(f"keep is {keep}; keep at least 1 release.")
    if not folder.exists():
        return []
    with only_publisher(folder):
        _sweep(folder)
        removed = [release for release in releases(folder)[:-keep] if not release.is_current]
        for release in removed:
            discard(release.path)
        return [release.release_id for release in removed]


def erase(folder: Path, release_ids: Iterable[str], *, at: str | None = None) -> list[str]:
    """Remove releases that may not be kept, never the current one. Returns the removed ids; the history notes them."""
    with only_publisher(folder):
        _sweep(folder)
        present = [release.release_id for release in releases(folder) if not release.is_current]
        removed = [release_id for release_id in present if release_id in set(release_ids)]
        pointed = _current_id(folder)
        if removed and pointed is not None:
            note = {"action": "erase", "release_id": pointed, "removed": removed, "run_id": "", "at": at}
            _write_history(folder, [*_history(folder), note])
        for release_id in removed:
            discard(folder / release_id)
        return removed


def verify(release: Path) -> list[str]:
    """What is wrong with a release: every file against the manifest, and that against the folder's name."""
    try:
        manifest = json.loads((release / MANIFEST).read_text(encoding="utf-8"))
        listed, as_of = manifest["files"], datetime.date.fromisoformat(manifest["as_of_date"])
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{release.name}: {MANIFEST} cannot be read ({type(error).__name__}: {error})"]
    problems = []
    found = {name: (entry["bytes"], entry["sha256"]) for name, entry in _files(release).items()}
    problems += [f"{release.name}: {name} is missing" for name in sorted(set(expected) - set(found))]
    problems += [
        f"{release.name}: {name} does not belong to the release" for name in sorted(set(found) - set(expected))
    ]
    problems += [
        f"{release.name}: {name} has changed since it was published"
        for name in sorted(set(expected) & set(found))
        if expected[name] != found[name]
    ]
    if _release_id(as_of, listed) != release.name:
        problems.append(f"{release.name}: {MANIFEST} is that of another release")
    return problems


def point_to(folder: Path, release_id: str, *, action: str, run_id: str, at: str | None = None) -> None:
    """Make a release the current one, by an atomic rename; ask it as the only publisher."""
    if _current_id(folder) == release_id:
        return
    # The history is written first and may say too much after a crash; _history() then believes the pointer.
    entries = [*_history(folder), {"action": action, "release_id": release_id, "run_id": run_id, "at": at}]
    _write_history(folder, entries)
    link = folder / f"{BUILDING}{POINTER}"
    os.symlink(release_id, link)
    os.replace(link, folder / POINTER)
    _flush_folder(folder)


def _write_history(folder: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    aside = folder / f"{BUILDING}history"
    _write_durably(aside, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries))
    os.replace(aside, folder / HISTORY)


def _current_id(folder: Path) -> str | None:
    try:
        target = os.readlink(folder / POINTER)
    except FileNotFoundError:
        return None
    return target if (folder / target).is_dir() else None


def _history(folder: Path) -> list[dict[str, Any]]:
    """What became current, oldest first; the last entry is what the pointer says."""
    entries = []
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / HISTORY).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                entries.append({**entry, "release_id": str(entry["release_id"])})
    pointed = _current_id(folder)
    if entries and entries[-1]["release_id"] != pointed:
        entries.pop()  # announced, and killed before the pointer was swapped
    if pointed is not None and (not entries or entries[-1]["release_id"] != pointed):
        entries.append({"action": "found", "release_id": pointed, "run_id": "", "at": None})
    return entries


def _trail(folder: Path) -> list[str]:
    """The way to the current release: a publish goes one on, a rollback back to where its release was."""
    trail: list[str] = []
    for entry in _history(folder):
        release_id = entry["release_id"]
        if entry.get("action") == "rollback" and release_id in trail:
            del trail[len(trail) - trail[::-1].index(release_id) :]
        elif not trail or trail[-1] != release_id:
            trail.append(release_id)
    return trail


def _release(folder: Path, release_id: str, *, created: bool = False) -> Release:
    manifest: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        manifest = json.loads((folder / release_id / MANIFEST).read_text(encoding="utf-8"))
    return Release(
        release_id=release_id,
        path=folder / release_id,
        as_of=_as_of(folder / release_id),
        is_current=_current_id(folder) == release_id,
        created=created,
        manifest=manifest,
    )


def _as_of(release: Path) -> datetime.date:
    return datetime.date.fromisoformat(release.name[:10])


def _is_release_name(path: Path) -> bool:
    return not path.is_symlink() and is_release_id(path.name)


def is_release_id(name: str) -> bool:
    """Whether a name is one that releases have: an as-of date and twelve figures of a hash."""
    try:
        datetime.date.fromisoformat(name[:10])
    except ValueError:
        return False
    return re.fullmatch("-[0-9a-f]{12}", name[10:]) is not None


# Files


def _with_content(files: dict[str, dict[str, Any]], named_by: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The files, those that also show circumstances with the hash of their content beside that of their bytes."""
    return {name: entry | ({"content": named_by[name]} if name in named_by else {}) for name, entry in files.items()}


def _release_id(as_of: datetime.date, files: Mapping[str, Mapping[str, Any]]) -> str:
    """The as-of date and a hash of what was published. The database file is left out: it repeats the tables, and
    DuckDB does not promise the same bytes for the same rows."""
    content = hashlib.sha256(f"{as_of.isoformat()}\n".encode())
    for name, entry in sorted(files.items()):
        if name != DATABASE:
            content.update(f"{entry.get('content', entry['sha256'])} {name}\n".encode())
    return f"{as_of.isoformat()}-{content.hexdigest()[:12]}"


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of every file below the folder but the manifest, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


@contextlib.contextmanager
def only_publisher(folder: Path) -> Iterator[None]:
    """One publisher at a time. The kernel gives the lock up when its holder dies, however it dies."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(folder: Path) -> None:
    """Remove what dead runs left. Under the lock, everything that is being built or discarded is dead."""
    for path in folder.iterdir():
        if path.name.startswith((BUILDING, DISCARDED)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def discard(release: Path) -> None:
    """Take a release away in one step; removing its files one by one would leave half a release under its name."""
    aside = release.with_name(DISCARDED + release.name)
    os.rename(release, aside)
    shutil.rmtree(aside)


def _write_durably(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def flush(folder: Path) -> None:
    """Give all below the folder the modes readers need, and wait until it is on disk."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
