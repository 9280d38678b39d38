"""Erasing one person: `whalecurve forget`.

The order makes it safe to be killed anywhere and run again: the register first, so that nothing read later brings the person
back; then the raw layer, load by load; then the warehouse, which is rebuilt from it; then a release without them; and only
then the releases that held them are removed. The entry `done` in the register ends it.

Belongs here: the order, and what is said of it. Not here: finding a person (`assets/ingest/person.py`), the register and
the rewriting of rows (`assets/ingest/erasure.py`).
"""

from __future__ import annotations

import collections
import datetime
import json
import mmap
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import duckdb

from assets import advice
from assets.errors import WhalecurveError
from assets.ingest import storage
from assets.ingest.contract import load_contract
from assets.ingest.engine import reading_connection
from assets.ingest.erasure import (
    TOKEN,
    Register,
    load_register,
    new_register,
    new_token,
    redacted_by,
    touched_by,
    with_marks,
    write_entry,
)
from assets.ingest.person import Person, delivered_files, find, left_in_clear
from assets.ingest.sql import identifier, literal
from assets.publish.release import Release, current, erase, releases
from assets.publish.targets.delivery import deliver, withdraw
from pipelines.as_known import FOLDER as AS_KNOWN
from pipelines.engines import engine_of
from pipelines.resources import Workspace, target_secrets
from pipelines.runs import rebuild
from pipelines.what_if import FOLDER as SCENARIOS
from pipelines.writer import single_writer

SHOWN = 12
LOGS = ("dagster", "dbt", "logs")
"""Folders of the data folder where tools keep what they were told; searched, never changed."""

MONEY = (
    ("net revenue", "customer_profitability", "net_revenue"),
    ("operating profit", "customer_profitability", "operating_profit"),
    ("cost on customers", "customer_cost_lines", "amount"),
    ("cost on residual lines", "residual_cost_lines", "amount"),
)
"""What a release must say the same of before and after: (words, table, column)."""


@dataclass
class Findings:
    """What of the person lies where."""

    loads: list[tuple[Path, storage.Load]] = field(default_factory=list)
    own_rows: collections.Counter[str] = field(default_factory=collections.Counter)
    other_rows: collections.Counter[str] = field(default_factory=collections.Counter)
    warehouse: dict[str, int] = field(default_factory=dict)
    releases: list[str] = field(default_factory=list)
    advice: int = 0
    files: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def anywhere(self) -> bool:
        """Whether anything of the person lies in what Whalecurve keeps."""
        return bool(self.loads or self.warehouse or self.releases or self.advice)


def forget(
    workspace: Workspace,
    who: str,
    *,
    source: str | None,
    reason: str,
    on: datetime.date | None,
    really: bool,
    say: Callable[[str], None],
) -> str:
    """Erase the person `who` stands for, and say what was touched; only say what would be when not `really`.

    `on` is the date the register notes (default: the latest business date of the raw layer). Raises WhalecurveError when
    nobody or several people are meant, or when no clean release can be published.
    """
    with single_writer(say, "whalecurve forget"), reading_connection() as connection:
        register = load_register(workspace.raw) or new_register()
        person = (
            None if TOKEN.fullmatch(who) else find(connection, workspace.raw, who, source, workspace.warehouse_path)
        )
        token = _token(connection, register, who, person)
        planned = with_marks(connection, register, token, person.marks() if person else [])
        findings = _findings(connection, workspace, planned, token)
        if not really:
            return "\n".join(
                [*_said(workspace, findings, person), "Nothing was changed: this was a dry run. Erase with --yes."]
            )
        day = on or _latest_date(workspace.raw)
        if planned.marks != register.marks:
            _refuse_reason(reason, who, person)
            new = {mark for mark in planned.marks if mark not in register.marks}
            entry = {"action": "erase", "token": token, "date": day.isoformat(), "reason": reason, "marks": sorted(new)}
            write_entry(workspace.raw, planned, entry)
        for path, load in findings.loads:
            _rewrite(connection, planned, path, load)
        left = left_in_clear(connection, workspace.raw, person) if person else []
        findings.files |= set(delivered_files(connection, workspace.raw, [token]))
    if token in register.finished and not findings.anywhere:
        return f"Nothing to do: this person was erased before, as {token}, and is nowhere in raw, warehouse, releases or advice."

    former = current(workspace.releases)
    before = _money(former) if former else None
    marks = {mark for mark, whose in planned.marks.items() if whose == token}
    with reading_connection() as connection:  # before the next release, which reports what became of earlier advice
        advice.erase(connection, workspace.data, _advised(planned, marks))
    _publish_without(workspace, say)
    published = current(workspace.releases)
    assert published is not None
    with duckdb.connect() as connection:
        if _holds(connection, planned, marks, published.path):
            raise WhalecurveError(
                f"The current release {published.release_id} still holds the person: it is of a later date than the raw layer. "
                "Run the dates up to it, or roll back, and forget the person again. The raw layer holds them no more."
            )
    removed = erase(workspace.releases, findings.releases, at=day.isoformat())
    withdrawn, unreached = _withdraw_from_targets(workspace, published)
    if not unreached:
        write_entry(workspace.raw, planned, {"action": "done", "token": token, "release": published.release_id})
    return "\n".join(
        [
            *_said(workspace, findings, person),
            f"Erased. In all of them this customer is now {token}; the register is {workspace.data / 'erasures.jsonl'}.",
            f"  raw layer   {len(findings.loads)} loads rewritten",
            "  warehouse   built anew from the raw layer",
            f"  advice      {findings.advice:,} earlier pieces removed",
            f"  releases    {len(removed)} removed: {', '.join(removed) or 'none'}; current: {published.release_id}",
            *withdrawn,
            *_money_said(before, _money(published)),
            *_left_said(workspace, findings, person, left),
            *unreached,
        ]
    )


def _token(connection: duckdb.DuckDBPyConnection, register: Register, who: str, person: Person | None) -> str:
    """The token of the person: of an erasure begun before, or a new one. Raises WhalecurveError when nobody is meant."""
    if TOKEN.fullmatch(who):
        if who not in register.tokens:
            raise WhalecurveError(f"The erasure register knows no {who}. Nothing was changed.")
        return who
    values = [("golden", golden) for golden in sorted(person.golden)] if person else [("known", who)]
    for kind, value in values:
        row = connection.execute(f"select {register.mark(kind, '?')}", [value]).fetchone()  # type: ignore[arg-type]
        if row and row[0] in register.marks:
            return register.marks[row[0]]
    if person is None:
        raise WhalecurveError(
            "Nobody of that id, account code, e-mail address or exact name is in the raw layer. Give what a source knows them "
            "by, written as the source writes it. Nothing was changed."
        )
    return new_token()


def _refuse_reason(reason: str, who: str, person: Person | None) -> None:
    """The reason is kept in clear, so it must not say who it was."""
    said = reason.casefold()
    values = {who, *((person.names | person.shared_names | person.contacts) if person else ())}
    if any(value.casefold() in said for value in values):
        raise WhalecurveError("The reason names the person, and it is kept: say why, not who. Nothing was changed.")


def _latest_date(raw: Path) -> datetime.date:
    dates = [path.parent.name.partition("=")[2] for path in raw.glob(f"*/*/*/{storage.LOAD_FILE}")]
    return datetime.date.fromisoformat(max(dates))


# Finding


def _findings(connection: duckdb.DuckDBPyConnection, workspace: Workspace, register: Register, token: str) -> Findings:
    found = Findings()
    for path in sorted(workspace.raw.glob(f"*/*/*/{storage.LOAD_FILE}")):
        load = storage.read_registry(connection, path)
        if load is None or load.entity not in load_contract().entities:
            continue
        select, columns = _rows(connection, path)
        row = connection.execute(touched_by(register, load.entity, select, columns)).fetchone()
        own, changed, files = row or (0, 0, [])
        if changed:
            found.loads.append((path, load))
            found.own_rows[load.entity] += own
            found.other_rows[load.entity] += changed - own
            found.files |= {
                (load.source, load.extract_date, name) for names in files for name in str(names).split(", ")
            }
    marks = {mark for mark, whose in register.marks.items() if whose == token}
    found.warehouse = _in_warehouse(workspace, register, marks)
    found.advice = sum(advice.count(connection, workspace.data, _advised(register, marks)).values())
    held = current(workspace.releases)
    for release in releases(workspace.releases):
        if release != held and _holds(connection, register, marks, release.path):
            found.releases.append(release.release_id)
    if held is not None and _holds(connection, register, marks, held.path):
        found.releases.append(held.release_id)
    return found


def _rows(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, list[str]]:
    select = f"select * from read_parquet({literal(str(path))}, hive_partitioning = false)"
    return select, list(connection.sql(f"{select} limit 0").columns)


def _in_warehouse(workspace: Workspace, register: Register, marks: set[str]) -> dict[str, int]:
    """Table -> rows of the warehouse that hold the person."""
    if not workspace.warehouse_path.exists():
        return {}
    with workspace.warehouse(read_only=True) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE' order by all"
        ).fetchall()
        counted = {
            f"{schema}.{table}": _count(connection, register, marks, f"{identifier(schema)}.{identifier(table)}")
            for schema, table in tables
        }
    return {table: count for table, count in counted.items() if count}


def _advised(register: Register, marks: set[str]) -> str:
    """The condition by which earlier advice was about the person."""
    shown = ", ".join(literal(mark) for mark in sorted(marks))
    return f"{register.mark('golden', 'customer_id')} in ({shown})" if marks else "false"


def _holds(connection: duckdb.DuckDBPyConnection, register: Register, marks: set[str], release: Path) -> bool:
    return any(
        _count(connection, register, marks, f"read_parquet({literal(str(path))})")
        for path in sorted(release.glob("*.parquet"))
    )


def _count(connection: duckdb.DuckDBPyConnection, register: Register, marks: set[str], relation: str) -> int:
    """Rows of a relation in which a cell is the person's customer id, their name, or a text that named them."""
    shape = connection.sql(f"select * from {relation} limit 0")
    texts = [name for name, kind in zip(shape.columns, shape.types, strict=True) if str(kind) == "VARCHAR"]
    if not texts or not marks or connection.execute(f"select 1 from {relation} limit 1").fetchone() is None:
        return 0
    shown = ", ".join(literal(mark) for mark in sorted(marks))
    # One condition for all columns: to plan a keyed hash for each of them takes longer than to compute it.
    cells = f"select row_number() over () as row_number, unnest([{', '.join(map(identifier, texts))}]) as cell from {relation}"
    kinds = ("golden", "cell"), ("text", "cell"), ("name", "cell", literal("*"))
    condition = " or ".join(f"{register.mark(*kind)} in ({shown})" for kind in kinds)
    row = connection.execute(f"select count(distinct row_number) from ({cells}) where {condition}").fetchone()
    return int(row[0]) if row else 0


# Changing


def _rewrite(connection: duckdb.DuckDBPyConnection, register: Register, path: Path, load: storage.Load) -> None:
    """Write one load again without the person, under its own registry entry. Amounts must be what they were."""
    select, columns = _rows(connection, path)
    without = redacted_by(register, load.entity, select, columns)
    kinds = load_contract().entities[load.entity].columns
    sums = [
        f"sum({identifier(name)})" for name in columns if name in kinds and kinds[name].type in ("money", "quantity")
    ]
    query = f"select {', '.join(['count(*)', *sums])} from ({{}})"
    if connection.execute(query.format(select)).fetchone() != connection.execute(query.format(without)).fetchone():
        raise RuntimeError(f"{path}: the erasure would change an amount. Nothing of this load was changed.")
    storage.write_load(connection, without, load, path)


def _publish_without(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Build the warehouse from nothing and publish. The file is removed first: freed pages of it still hold the person."""
    for name in (".duckdb", ".duckdb.wal"):
        workspace.warehouse_path.with_suffix(name).unlink(missing_ok=True)
    shutil.rmtree(workspace.spark, ignore_errors=True)  # also of a company that has left Spark since
    for folder in (AS_KNOWN, SCENARIOS):  # can be made again, without them
        shutil.rmtree(workspace.data / folder, ignore_errors=True)
    try:
        engine_of(workspace).remove_tables()
        rebuild(say=say, publish_to_targets=False)
    except WhalecurveError as error:
        raise WhalecurveError(
            "The raw layer holds the person no more and the warehouse was removed, but no release without them could be "
            f"published, so the releases still hold them:\n{error}\n"
            "Mend that and run the same command again; it goes on from here."
        ) from None


def _withdraw_from_targets(workspace: Workspace, published: Release) -> tuple[list[str], list[str]]:
    """Bring each release target to the clean release and remove there what the data folder does not keep: nobody knows
    of those whether they hold the person. Returns what was done, and what is left because a target was not reached."""
    kept = [release.release_id for release in releases(workspace.releases)]
    done, left = [], []
    for name, target in workspace.company().releases.targets.items():
        try:
            deliver(name, target, published, target_secrets(name))
            gone = withdraw(name, target, kept, target_secrets(name))
            done.append(f"  target      {name} has the current release; {len(gone)} earlier removed there")
        except WhalecurveError as error:
            left.append(
                f"Left: the release target {name} was not reached and may hold the person still. {error} Run the same command "
                "again when it is there; it goes on from here."
            )
    return done, left


# Saying


def _said(workspace: Workspace, findings: Findings, person: Person | None) -> list[str]:
    lines = []
    if person is not None:
        sources = sorted({source for source, _ in person.records})
        known = f"{len(person.records)} customer records of {', '.join(sources)}" if sources else "no customer record"
        lines.append(f"Found one customer: {known}, {len(person.keys)} keys, {len(person.names)} names of their own.")
        if person.namesakes:
            lines.append(
                f"{len(person.namesakes)} other customers bear the same name: {', '.join(sorted(person.namesakes)[:SHOWN])}. "
                "They are not touched; rows that say the name alone are nobody's in particular and stay."
            )
    lines.append("Rows of them, and other rows that name them:")
    for entity in sorted({*findings.own_rows, *findings.other_rows}):
        lines.append(f"  raw.{entity:<26}{findings.own_rows[entity]:>9,}{findings.other_rows[entity]:>9,}")
    if not findings.loads:
        lines.append("  none in the raw layer")
    lines += [f"  {table:<30}{count:>9,}" for table, count in findings.warehouse.items()]
    if findings.advice:
        lines.append(f"Earlier advice about them: {findings.advice:,}")
    if findings.releases:
        lines.append(f"Releases that hold them: {', '.join(findings.releases)}")
    return lines


def _left_said(
    workspace: Workspace, findings: Findings, person: Person | None, left: Iterable[tuple[str, str, int]]
) -> list[str]:
    lines = []
    files = [workspace.landing / source / date / name for source, date, name in sorted(findings.files)]
    lying = [path for path in files if path.exists()]
    if lying:
        lines.append(
            f"Left: {len(lying)} delivered files hold the person still. They belong to their sources: have them delivered anew "
            "or remove them there. Reading them again is safe, the register keeps the person out:"
        )
        lines += [f"  {path}" for path in lying[:SHOWN]]
        lines += [f"  and {len(lying) - SHOWN} more"] if len(lying) > SHOWN else []
    lines += [
        f"Left: raw.{entity}.{column} names the person in {count} rows that are not theirs; the contract does not call it "
        "personal, or the row has another customer's key. Ask the source to correct it."
        for entity, column, count in left
    ]
    if person is not None:
        lines += [
            f"Left: {path} holds a name or address of theirs, kept by the company or noted by a former run. Take it out there."
            for path in _said_elsewhere(workspace, person)
        ]
    return lines


def _said_elsewhere(workspace: Workspace, person: Person) -> Iterator[Path]:
    wanted = set()
    for value in person.names | person.contacts:
        if len(value.encode()) > 3:
            wanted |= {value.encode(), json.dumps(value)[1:-1].encode()}
    for folder in (workspace.company_folder, *(workspace.data / name for name in LOGS)):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size:
                with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if any(content.find(value) >= 0 for value in wanted):
                        yield path


def _money(release: Release) -> dict[str, Decimal]:
    with duckdb.connect() as connection:
        found = {}
        for words, table, column in MONEY:
            path = literal(str(release.path / f"{table}.parquet"))
            row = connection.execute(f"select coalesce(sum({column}), 0) from read_parquet({path})").fetchone()
            found[words] = row[0] if row else Decimal(0)
    return found


def _money_said(before: dict[str, Decimal] | None, after: dict[str, Decimal]) -> list[str]:
    if before is None:
        return []
    if before == after:
        shown = ", ".join(f"{words} {amount:,.2f}" for words, amount in after.items())
        return [f"  money       conserved: {shown}"]
    return [
        f"  money       {words} was {before[words]:,.2f} and is {amount:,.2f}"
        f"{'' if before[words] == amount else ': the release before was made of other deliveries'}"
        for words, amount in after.items()
    ]
