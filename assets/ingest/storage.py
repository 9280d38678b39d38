"""The raw layer on disk: one Parquet file per entity, source and business date, replaced whole and atomically.

    raw/<entity>/source=<source>/extract_date=<YYYY-MM-DD>/load.parquet

A load's file holds the rows read, the rows quarantined (quarantine_reason is set) and, in its footer, its own entry of
the file registry: so the three can never disagree, whatever moment a run dies at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from assets.ingest.contract import Contract
from assets.ingest.sql import identifier, literal

LOAD_FILE = "load.parquet"
REGISTRY_KEY = "load"


@dataclasses.dataclass(frozen=True)
class Entry:
    """The registry entry in a load's footer: what was delivered."""

    load_id: str
    entity: str
    source: str
    extract_date: str
    dialect: str
    files: list[dict[str, Any]]
    rows_in: int | None
    """None where every row delivered was kept: the file is written while the rows are read, and counts them itself."""
    unread_columns: list[str]


@dataclasses.dataclass(frozen=True)
class Load(Entry):
    """A load as it is on disk: the registry entry, and what became of the rows."""

    rows_in: int
    rows_out: int
    rows_quarantined: int

    @property
    def rows_left_out(self) -> int:
        """Rows the dialect's `where` leaves out: of another ledger, voided, totals of a report."""
        return self.rows_in - self.rows_out - self.rows_quarantined


def load_path(raw: Path, entity: str, source: str, date: datetime.date) -> Path:
    return raw / entity / f"source={source}" / f"extract_date={date.isoformat()}" / LOAD_FILE


def remove_load(path: Path) -> None:
    """Take back a load whose files are no longer part of the delivery."""
    if path.exists():
        path.unlink()
        flush(path.parent)


def read_registry(connection: duckdb.DuckDBPyConnection, path: Path) -> Load | None:
    """The load at `path`, or None when there is none."""
    return read_load(connection, path) if path.exists() else None


def read_load(connection: duckdb.DuckDBPyConnection, path: Path) -> Load:
    """A load: its entry from the footer, its rows counted by the statistics beside it."""
    file = literal(str(path))
    row = connection.execute(
        f"select (select value from parquet_kv_metadata({file}) where key = ?), "
        f"(select num_rows from parquet_file_metadata({file})), {_quarantined(file)}",
        [REGISTRY_KEY],
    ).fetchone()
    assert row is not None
    text, rows, quarantined = row
    entry = json.loads(bytes(text).decode("utf-8"))
    entry["rows_in"] = rows if entry["rows_in"] is None else entry["rows_in"]
    return Load(**entry, rows_out=rows - quarantined, rows_quarantined=quarantined)


def _quarantined(files: str) -> str:
    """SQL of the number of quarantined rows, from column statistics: no row is read for it."""
    return (
        f"(select coalesce(sum(num_values - stats_null_count), 0)::bigint from parquet_metadata({files}) "
        "where path_in_schema = 'quarantine_reason')"
    )


def write_load(connection: duckdb.DuckDBPyConnection, select: str, entry: Entry, path: Path) -> None:
    """Write the rows of `select` and the registry entry beside `path`, then rename: all of it or nothing."""
    with aside(path) as written:
        write(connection, select, entry, written)
        put(written, path)


def write(connection: duckdb.DuckDBPyConnection, select: str, entry: Entry, path: Path) -> None:
    """Write a load to a file nobody reads yet."""
    fields = {field.name: getattr(entry, field.name) for field in dataclasses.fields(Entry)}
    text = json.dumps(fields, ensure_ascii=True, sort_keys=True)
    connection.execute(
        f"copy ({select}) to {literal(str(path))} "
        f"(format parquet, compression zstd, kv_metadata {{{REGISTRY_KEY}: {literal(text)}}})"
    )


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A name to write `path` under before it is put in its place; gone afterwards, whatever happened."""
    written = _aside(path)
    try:
        yield written
    finally:
        written.unlink(missing_ok=True)


def put(written: Path, path: Path) -> None:
    """Put a written load in its place: readers see the former one until then, and this one from then on."""
    flush(written)
    os.replace(written, path)
    flush(path.parent)


def _aside(path: Path) -> Path:
    """A name to write `path` under before it is renamed; what a killed run left under such a name is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".*.tmp"):
        left.unlink()
    return path.with_name(f".{uuid.uuid4().hex}.tmp")


def write_schema(connection: duckdb.DuckDBPyConnection, raw: Path, contract: Contract, entity: str) -> Path:
    """A file without rows that gives an entity its columns even when no source delivers it."""
    path = raw / entity / "schema.parquet"
    columns = ", ".join(
        f"cast(null as {sql_type}) as {identifier(name)}" for name, sql_type in contract.raw_columns(entity).items()
    )
    aside = _aside(path)
    connection.execute(f"copy (select {columns} limit 0) to {literal(str(aside))} (format parquet)")
    os.replace(aside, path)
    return path


def relation(raw: Path, contract: Contract, entity: str) -> str:
    """SQL that reads all loads of an entity, in the contract's columns."""
    columns = ", ".join(identifier(name) for name in contract.raw_columns(entity))
    files = ", ".join(
        literal(str(path)) for path in [raw / entity / "schema.parquet", *sorted(raw.glob(f"{entity}/*/*/{LOAD_FILE}"))]
    )
    return f"select {columns} from read_parquet([{files}], union_by_name = true, hive_partitioning = false)"


def registry_relation(raw: Path) -> str:
    """SQL of the file registry: one row per delivered file of every load, from the loads' own footers."""
    loads = ", ".join(literal(str(path)) for path in sorted(raw.glob(f"*/*/*/{LOAD_FILE}")))
    columns = (
        "entity, source, dialect, load_id, extract_date, file_name, size_bytes, sha256, rows_in, rows_out, "
        "rows_quarantined, rows_in - rows_out - rows_quarantined as rows_left_out"
    )
    if not loads:
        types = [
            "varchar",
            "varchar",
            "varchar",
            "varchar",
            "date",
            "varchar",
            "bigint",
            "varchar",
            "bigint",
            "bigint",
            "bigint",
            "bigint",
        ]
        names = [part.split(" as ")[-1].strip() for part in columns.split(",")]
        nothing = ", ".join(f"null::{type_} as {name}" for type_, name in zip(types, names, strict=True))
        return f"select {nothing} limit 0"
    texts = ", ".join(f"entry ->> '$.{name}' as {name}" for name in ("entity", "source", "dialect", "load_id"))
    quarantined = (
        "select file_name as load_file, sum(num_values - stats_null_count)::bigint as rows_quarantined "
        f"from parquet_metadata([{loads}]) where path_in_schema = 'quarantine_reason' group by file_name"
    )
    return f"""with entries as (
  select file_name as load_file, decode(value)::json as entry
  from parquet_kv_metadata([{loads}]) where decode(key) = '{REGISTRY_KEY}'
),
quarantined as ({quarantined}),
sizes as (select file_name as load_file, num_rows from parquet_file_metadata([{loads}])),
loads as (
  select entries.entry, {texts}, (entry ->> '$.extract_date')::date as extract_date,
    coalesce((entry ->> '$.rows_in')::bigint, num_rows) as rows_in,
    num_rows - coalesce(rows_quarantined, 0) as rows_out, coalesce(rows_quarantined, 0) as rows_quarantined
  from entries left join sizes using (load_file) left join quarantined using (load_file)
),
files as (select *, unnest(from_json(entry -> '$.files', '["json"]')) as file from loads),
described as (
  select *, file ->> '$.name' as file_name, (file ->> '$.size')::bigint as size_bytes, file ->> '$.sha256' as sha256
  from files
)
select {columns} from described"""


def flush(path: Path) -> None:
    """Make a file, or a folder's list of names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
