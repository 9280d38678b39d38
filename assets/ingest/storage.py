"""The raw layer on disk: one Parquet file per entity, source and business date, replaced whole and atomically.

    raw/<entity>/source=<source>/extract_date=<YYYY-MM-DD>/load.parquet

A load's file holds the rows read, the rows quarantined (quarantine_reason is set) and, in its footer, its own entry of
the file registry: so the three can never disagree, whatever moment a run dies at.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import uuid
from pathlib import Path
from typing import Any

import duckdb

from assets.ingest.contract import Contract
from assets.ingest.sql import identifier, literal

LOAD_FILE = "load.parquet"
REGISTRY_KEY = "load"


@dataclasses.dataclass(frozen=True)
class Load:
    """The registry entry of one load: what was delivered and what became of its rows."""

    load_id: str
    entity: str
    source: str
    extract_date: str
    dialect: str
    files: list[dict[str, Any]]
    rows_in: int
    rows_out: int
    rows_quarantined: int
    rows_left_out: int
    unread_columns: list[str]


def load_path(raw: Path, entity: str, source: str, date: datetime.date) -> Path:
    return raw / entity / f"source={source}" / f"extract_date={date.isoformat()}" / LOAD_FILE


def remove_load(path: Path) -> None:
    """Take back a load whose files are no longer part of the delivery."""
    if path.exists():
        path.unlink()
        flush(path.parent)


def read_registry(connection: duckdb.DuckDBPyConnection, path: Path) -> Load | None:
    """The registry entry in a load's footer, or None when there is no such load."""
    if not path.exists():
        return None
    found = connection.execute(
        f"select value from parquet_kv_metadata({literal(str(path))}) where key = ?", [REGISTRY_KEY]
    ).fetchone()
    return Load(**json.loads(bytes(found[0]).decode("utf-8"))) if found else None


def write_load(connection: duckdb.DuckDBPyConnection, select: str, load: Load, path: Path) -> None:
    """Write the rows of `select` and the registry entry beside `path`, then rename: all of it or nothing."""
    aside = _aside(path)
    try:
        entry = json.dumps(dataclasses.asdict(load), ensure_ascii=True, sort_keys=True)
        connection.execute(
            f"copy ({select}) to {literal(str(aside))} "
            f"(format parquet, compression zstd, kv_metadata {{{REGISTRY_KEY}: {literal(entry)}}})"
        )
        flush(aside)
        os.replace(aside, path)
        flush(path.parent)
    finally:
        aside.unlink(missing_ok=True)


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
    entries = (
        f"select decode(value)::json as entry from parquet_kv_metadata([{loads}]) where decode(key) = '{REGISTRY_KEY}'"
        if loads
        else "select null::json as entry limit 0"
    )
    texts = ", ".join(f"entry ->> '$.{name}' as {name}" for name in ("entity", "source", "dialect", "load_id"))
    counts = ("rows_in", "rows_out", "rows_quarantined", "rows_left_out")
    rows = ", ".join(f"(entry ->> '$.{name}')::bigint as {name}" for name in counts)
    return (
        f"select {texts}, (entry ->> '$.extract_date')::date as extract_date, file ->> '$.name' as file_name, "
        f"(file ->> '$.size')::bigint as size_bytes, file ->> '$.sha256' as sha256, {rows} "
        f"from (select entry, unnest(from_json(entry -> '$.files', '[\"json\"]')) as file from ({entries}))"
    )


def flush(path: Path) -> None:
    """Make a file, or a folder's list of names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
