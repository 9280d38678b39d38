"""The dry run of one source's delivery: what a run would read of it, and what it would say. Nothing is written.

Here is the finding; what a person is shown of it is in `check_text.py`. Each entity is read exactly as a run reads it, into
a scratch folder, and an entity that cannot be read does not keep the others from being looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb

from assets.errors import ConfigurationError, DeliveryError, WhalecurveError
from assets.ingest.compile import required_labels
from assets.ingest.contract import Entity, load_contract
from assets.ingest.controls import CONTROL_FILE
from assets.ingest.delivery import DeliveredFile, candidates
from assets.ingest.dialect import Dialect, EntityMapping
from assets.ingest.engine import (
    DICTIONARY,
    Delivery,
    FileRead,
    find_delivery,
    read_delivery,
    reading_connection,
    too_much,
    unmatched_files,
)
from assets.ingest.reading import Opener
from assets.ingest.sql import identifier, literal

SAMPLES = 3
UNKNOWN_VALUES = 8
EXAMPLES = 3
MASK = "***"
"""Shown for what stands in a personal column."""

CUSTOMER_COLUMNS = ("customer_id", "customer_name", "customer_account_id")


@dataclasses.dataclass(frozen=True)
class Missing:
    """A required column whose header a file does not have."""

    file: str
    column: str
    labels: tuple[str, ...]
    nearest: str


@dataclasses.dataclass(frozen=True)
class Reason:
    """Rows quarantined for one kind of reason: how many, the first of them, and what is said of that one."""

    rows: int
    file: str
    line: int
    words: str


@dataclasses.dataclass(frozen=True)
class Unmapped:
    """Values a `map` does not know, with their rows, and what becomes of them: error, keep or null."""

    column: str
    otherwise: str
    values: tuple[tuple[str, int], ...]
    more: int


@dataclasses.dataclass(frozen=True)
class Control:
    """One control: whether it holds (None: nothing to hold it against), and what was found."""

    name: str
    holds: bool | None
    words: str


@dataclasses.dataclass(frozen=True)
class EntityCheck:
    """What a run would make of one entity of the delivery."""

    entity: str
    status: Literal["loads", "refused", "absent"]
    problem: str = ""
    files: tuple[FileRead, ...] = ()
    delivered: tuple[str, ...] = ()
    rows_in: int = 0
    rows_out: int = 0
    rows_quarantined: int = 0
    rows_deleted: int = 0
    bound: dict[str, str] = dataclasses.field(default_factory=dict)
    unbound: tuple[str, ...] = ()
    without_value: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    samples: tuple[dict[str, str], ...] = ()
    reasons: tuple[Reason, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    controls: tuple[Control, ...] = ()

    @property
    def rows_left_out(self) -> int:
        return self.rows_in - self.rows_out - self.rows_quarantined


@dataclasses.dataclass(frozen=True)
class SourceCheck:
    """What a run would make of one source's delivery."""

    source: str
    dialect: str
    date: datetime.date
    entities: tuple[EntityCheck, ...]
    unmatched: tuple[str, ...]
    unread: dict[str, tuple[str, ...]]
    """File -> its columns that no entity reads."""
    problems: tuple[str, ...] = ()
    """What keeps a run from beginning at all."""

    @property
    def would_load(self) -> bool:
        """Whether a run would take the delivery, and find anything in it."""
        statuses = {check.status for check in self.entities}
        return not self.problems and "loads" in statuses and "refused" not in statuses


def newest_delivery(landing: Path, source: str) -> datetime.date:
    """The latest date for which a source has files. Raises DeliveryError when there is none."""
    found = []
    for folder in (landing / source).glob("????-??-??"):
        with contextlib.suppress(ValueError):
            if candidates(folder):
                found.append(datetime.date.fromisoformat(folder.name))
    if not found:
        raise DeliveryError(
            f"Nothing of {source} was delivered yet: {landing / source} holds no <YYYY-MM-DD>/ folder with files. Put an "
            "extract there, or check files that lie elsewhere with --files."
        )
    return max(found)


@contextlib.contextmanager
def as_delivery(files: Sequence[Path]) -> Iterator[Path]:
    """A folder in which the files lie as if they had been delivered together."""
    for file in files:
        if not file.is_file():
            raise ConfigurationError(f"{file} is not a file. Give the files to check, each by its path.")
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"Two of the files are called {twice}: a delivery holds each name once.")
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            _place(file.resolve(), Path(folder) / file.name)
        yield Path(folder)


def _place(file: Path, target: Path) -> None:
    """The same file under another name, without copying where the disk allows it; a link in a delivery is never read."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def check_delivery(
    folder: Path,
    source: str,
    dialect: Dialect,
    date: datetime.date,
    *,
    max_share: float,
    problems: Sequence[str] = (),
) -> SourceCheck:
    """Read a delivery as a run would, and say what came of each entity of the dialect."""
    checks = []
    with reading_connection() as connection, tempfile.TemporaryDirectory() as scratch:
        for entity in dialect.entities:
            checks.append(_check_entity(connection, Path(scratch), folder, source, dialect, entity, date, max_share))
        checks = _with_revenue_side(connection, Path(scratch), checks)
    try:
        unmatched = unmatched_files(folder, dialect, source, date)
    except DeliveryError:
        unmatched = []  # an archive that cannot be read is told by every entity
    return SourceCheck(
        *(source, dialect.dialect, date, tuple(checks)),
        unmatched=tuple(name for name in unmatched if name != CONTROL_FILE),
        unread=_unread(checks),
        problems=tuple(problems),
    )


def _check_entity(
    connection: duckdb.DuckDBPyConnection,
    scratch: Path,
    folder: Path,
    source: str,
    dialect: Dialect,
    entity: str,
    date: datetime.date,
    max_share: float,
) -> EntityCheck:
    try:
        delivery = find_delivery(folder, source, dialect, entity, date)
    except WhalecurveError as error:
        return EntityCheck(entity, "refused", str(error))
    names = tuple(dict.fromkeys(file.name for file in delivery.files))
    if not delivery.has_records:
        return EntityCheck(entity, "absent", delivered=names)
    path = scratch / f"{entity}.parquet"
    try:
        with read_delivery(connection, delivery) as read:
            load = read.write(path)
            files = tuple(read.files)
            unmapped = tuple(_unmapped(connection, files))
    except (WhalecurveError, duckdb.Error) as error:
        missing = tuple(_missing(connection, delivery))
        return EntityCheck(entity, "refused", str(error), delivered=names, missing=missing)
    spec = load_contract().entities[entity]
    refused = too_much(load, max_share)
    problem = (
        f"{load.rows_quarantined} of {load.rows_in} rows cannot be read; the company allows {max_share:.1%} "
        "(company.yml, quarantine.max_share)."
    )
    bound: dict[str, str] = {}
    for file in files:
        for column, words in file.bound.items():
            if column not in bound or bound[column].startswith("(none of"):
                bound[column] = words
    filled = _filled(connection, path, spec)
    return EntityCheck(
        *(entity, "refused" if refused else "loads", problem if refused else ""),
        files=files,
        delivered=names,
        rows_in=load.rows_in,
        rows_out=load.rows_out,
        rows_quarantined=load.rows_quarantined,
        rows_deleted=_count(connection, path, "is_deleted and quarantine_reason is null"),
        bound={column: bound[column] for column in (*spec.columns, "source_modified_at") if column in bound},
        unbound=tuple(column for column in spec.columns if column not in bound and not filled.get(column)),
        without_value=tuple(column for column in spec.columns if column in bound and not filled.get(column)),
        samples=tuple(_samples(connection, path, spec)),
        reasons=tuple(_reasons(connection, path, spec)),
        unmapped=unmapped,
        controls=tuple(_controls(connection, path, folder, entity, spec, files, date)),
    )


def _read(path: Path) -> str:
    return f"read_parquet({literal(str(path))}, file_row_number = true)"


GOOD = "quarantine_reason is null and not is_deleted"


def _count(connection: duckdb.DuckDBPyConnection, path: Path, condition: str) -> int:
    return int(_row(connection, f"select count(*) from {_read(path)} where {condition}")[0])


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return tuple(row)


def _filled(connection: duckdb.DuckDBPyConnection, path: Path, spec: Entity) -> dict[str, int]:
    """Column -> good rows that have a value there."""
    counts = ", ".join(f"count({identifier(column)})" for column in spec.columns)
    row = _row(connection, f"select {counts} from {_read(path)} where quarantine_reason is null")
    return dict(zip(spec.columns, row, strict=True))


def _samples(connection: duckdb.DuckDBPyConnection, path: Path, spec: Entity) -> Iterator[dict[str, str]]:
    """The first good rows as text, personal columns masked."""
    columns = (*spec.columns, "source_modified_at")
    texts = ", ".join(f"cast({identifier(column)} as varchar)" for column in columns)
    rows = connection.execute(
        f"select {texts} from {_read(path)} where {GOOD} order by file_row_number limit {SAMPLES}"
    ).fetchall()
    for row in rows:
        yield {
            column: MASK if column in spec.columns and spec.columns[column].pii else _short_number(value)
            for column, value in zip(columns, row, strict=True)
            if value is not None
        }


def _short_number(text: str) -> str:
    """`113000.0000` as `113000.00`: the places after the cent are nothing but noise here."""
    return re.sub(r"^(-?\d+\.\d{2}\d*?)0+$", r"\1", text)


def _reasons(connection: duckdb.DuckDBPyConnection, path: Path, spec: Entity) -> Iterator[Reason]:
    """The quarantined rows by kind of reason, most first; a personal value is not shown."""
    rows = connection.execute(
        "select count(*), arg_min(source_file, file_row_number), arg_min(source_row, file_row_number), "
        "arg_min(quarantine_reason, file_row_number), regexp_replace(quarantine_reason, '''[^'']*''', '...', 'g') as kind "
        f"from {_read(path)} where quarantine_reason is not null group by kind order by count(*) desc, kind"
    ).fetchall()
    for count, file, line, words, _ in rows:
        parts = [_without_person(part, spec) for part in words.split("; ")]
        yield Reason(int(count), file, int(line or 0), "; ".join(parts))


def _without_person(reason: str, spec: Entity) -> str:
    column = reason.split(":", 1)[0]
    personal = column in spec.columns and spec.columns[column].pii
    return re.sub(r"'.*'", f"'{MASK}'", reason) if personal else reason


def _unmapped(connection: duckdb.DuckDBPyConnection, files: Sequence[FileRead]) -> Iterator[Unmapped]:
    """Values the dialect's maps do not know, over all files of an entity."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for file in files:
        for column, binding in file.compiled.mapping.columns.items():
            text = file.compiled.texts.get(column)
            if binding.map is None or text is None:
                continue
            known = ", ".join(literal(value) for value in binding.map)
            rows = connection.execute(
                f"select text, count(*) from (select {text} as text from ({file.compiled.source})) "
                f"where text not in ({known}) group by text"
            ).fetchall()
            for value, count in rows:
                values = found.setdefault((column, binding.otherwise), {})
                values[value] = values.get(value, 0) + int(count)
    spec_columns = {
        name: column for entity in load_contract().entities.values() for name, column in entity.columns.items()
    }
    for (column, otherwise), values in found.items():
        ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
        personal = column in spec_columns and spec_columns[column].pii
        shown = [(MASK if personal else value, count) for value, count in ordered[:UNKNOWN_VALUES]]
        yield Unmapped(column, otherwise, tuple(shown), max(0, len(ordered) - UNKNOWN_VALUES))


def _missing(connection: duckdb.DuckDBPyConnection, delivery: Delivery) -> Iterator[Missing]:
    """All required columns the files of an entity lack: a run stops at the first."""
    spec = load_contract().entities[delivery.entity]
    for mapping, group in zip(delivery.dialect.entities[delivery.entity], delivery.groups, strict=True):
        if mapping.select is not None:
            continue
        for file in group.get("", ()):
            with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(WhalecurveError):
                yield from _missing_in(
                    connection, Path(scratch), delivery, spec, mapping, file, group.get(DICTIONARY, [])
                )


def _missing_in(
    connection: duckdb.DuckDBPyConnection,
    scratch: Path,
    delivery: Delivery,
    spec: Entity,
    mapping: EntityMapping,
    file: DeliveredFile,
    dictionaries: Sequence[DeliveredFile],
) -> Iterator[Missing]:
    required = required_labels(spec, mapping)
    frame = Opener(connection, scratch, delivery.where).open(
        file, delivery.dialect.reading(mapping.read), required=required, dictionaries=tuple(dictionaries)
    )
    taken = {name for binding in mapping.columns.values() for name in frame.find(binding.source or ())}
    for column, binding in mapping.columns.items():
        needed = binding.required or (column in spec.columns and spec.columns[column].required)
        for labels in (binding.source, binding.debit, binding.credit, *((label,) for label in binding.concat or ())):
            if needed and labels and binding.default is None and not frame.find(labels):
                yield Missing(file.name, column, labels, frame.nearest(labels, taken))


def _unread(checks: Sequence[EntityCheck]) -> dict[str, tuple[str, ...]]:
    """Columns that none of the entities made from a file reads."""
    found: dict[str, list[str]] = {}
    for check in checks:
        for file in check.files:
            before = found.get(file.name)
            unread = [column for column in file.unread if before is None or column in before]
            found[file.name] = unread
    return {name: tuple(columns) for name, columns in found.items() if columns}


# Controls


def _controls(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    folder: Path,
    entity: str,
    spec: Entity,
    files: Sequence[FileRead],
    date: datetime.date,
) -> Iterator[Control]:
    yield from _totals(folder, files)
    yield _key(connection, path, spec)
    if entity == "gl_entry":
        yield _vouchers(connection, path)
    if control := _dates(connection, path, spec, date):
        yield control
    yield from _customers(connection, path, entity, spec)


def _totals(folder: Path, files: Sequence[FileRead]) -> Iterator[Control]:
    """A total that does not hold has refused the entity already; here it is said which were there to be held against."""
    stated = [file.name for file in files if file.stated]
    if stated:
        yield Control("control totals", True, f"as {', '.join(stated)} states them")
    control = folder / CONTROL_FILE
    if control.exists():
        text = control.read_text(encoding="utf-8-sig", errors="replace")
        named = [file.name for file in files if Path(file.name).name in text]
        if named:
            yield Control("control totals", True, f"{', '.join(named)} as {CONTROL_FILE} says")
            return
    if not stated:
        yield Control("control totals", None, f"the source states none (a {CONTROL_FILE} beside the files could)")


def _key(connection: duckdb.DuckDBPyConnection, path: Path, spec: Entity) -> Control:
    keys = ", ".join(identifier(key) for key in spec.key)
    rows, distinct = _row(
        connection,
        f"select coalesce(sum(n), 0), count(*) from (select count(*) as n from {_read(path)} where {GOOD} group by {keys})",
    )
    shown = ", ".join(spec.key)
    if rows == distinct:
        return Control("key", True, f"{shown}: each once")
    return Control("key", False, f"{shown}: {rows - distinct:,} rows repeat a key; of each the newest holds")


def _vouchers(connection: duckdb.DuckDBPyConnection, path: Path) -> Control:
    """Debits and credits of each voucher."""
    per_voucher = (
        "select legal_entity_id, journal_id, min(coalesce(journal_number, journal_id)) as shown, "
        "arg_min(source_file, file_row_number) as file, min(source_row) as line, "
        "sum(greatest(functional_amount, 0)) as debit, sum(greatest(-functional_amount, 0)) as credit "
        f"from {_read(path)} where {GOOD} group by legal_entity_id, journal_id"
    )
    vouchers, debit, credit, wrong = _row(
        connection,
        "select count(*), coalesce(sum(debit), 0), coalesce(sum(credit), 0), count(*) filter (where debit <> credit) "
        f"from ({per_voucher})",
    )
    words = f"{vouchers:,} vouchers, debit {_money(debit)}, credit {_money(credit)}"
    if not wrong:
        return Control("voucher balance", True, words)
    examples = connection.execute(
        f"select shown, debit, credit, file, line from ({per_voucher}) where debit <> credit "
        f"order by abs(debit - credit) desc, shown limit {EXAMPLES}"
    ).fetchall()
    listed = "; ".join(
        f"{shown}: debit {_money(debit)}, credit {_money(credit)} ({file} line {line})"
        for shown, debit, credit, file, line in examples
    )
    return Control("voucher balance", False, f"{wrong:,} of {words} do not balance: {listed}")


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _dates(connection: duckdb.DuckDBPyConnection, path: Path, spec: Entity, date: datetime.date) -> Control | None:
    """The range of the date that decides where a row belongs: the entity's first required one."""
    dated = [name for name, column in spec.columns.items() if column.type in ("date", "timestamp")]
    column = next((name for name in dated if spec.columns[name].required), None)
    if column is None:
        return None
    name = identifier(column)
    first, last, later = _row(
        connection,
        f"select min({name})::date, max({name})::date, count(*) filter (where {name}::date > date {literal(str(date))}) "
        f"from {_read(path)} where {GOOD}",
    )
    if first is None:
        return None
    words = f"{column} {first} to {last}"
    if later:
        return Control("dates", False, f"{words}; {later:,} rows lie after the delivery's date {date}")
    return Control("dates", True, words)


def _customers(connection: duckdb.DuckDBPyConnection, path: Path, entity: str, spec: Entity) -> Iterator[Control]:
    """How many rows say whose they are."""
    columns = [column for column in CUSTOMER_COLUMNS if column in spec.columns]
    if not columns or entity == "customer_xref":
        return
    counts = ", ".join(f"count({identifier(column)})" for column in columns)
    rows, *filled = _row(connection, f"select count(*), {counts} from {_read(path)} where {GOOD}")
    if rows:
        words = ", ".join(f"{column} in {_share(n, rows)}" for column, n in zip(columns, filled, strict=True))
        yield Control("customers named", any(filled) or entity == "gl_entry", words)


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" if part else "none"


def _with_revenue_side(
    connection: duckdb.DuckDBPyConnection, scratch: Path, checks: list[EntityCheck]
) -> list[EntityCheck]:
    """Revenue is net credit, where the delivery says which accounts are revenue: debit and credit swapped still balance."""
    ledger, chart = scratch / "gl_entry.parquet", scratch / "gl_account.parquet"
    if not (ledger.exists() and chart.exists()):
        return checks
    rows, amount = _row(
        connection,
        f"select count(*), coalesce(sum(functional_amount), 0) from {_read(ledger)} where {GOOD} and gl_account_number in "
        f"(select gl_account_number from {_read(chart)} where {GOOD} and account_type = 'revenue')",
    )
    if not rows:
        control = Control("revenue side", None, "no line stands on a revenue account of the delivered chart")
    elif amount <= 0:
        control = Control("revenue side", True, f"revenue is net credit, {_money(-amount)} in {rows:,} lines")
    else:
        control = Control(
            *("revenue side", False),
            f"revenue is net debit, {_money(amount)} in {rows:,} lines: are debit and credit swapped?",
        )
    return [
        dataclasses.replace(check, controls=(*check.controls, control)) if check.entity == "gl_entry" else check
        for check in checks
    ]
