"""What the warehouse remembers of how its large tables were built: schema `builds`, which is no layer and holds no data.

Belongs here: the tables, the loads of the raw layer as they are now, and the identity of the code. Not here: what is decided
from them (dbt_project/macros/incremental.sql).
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import duckdb

from assets.ingest.sql import insert_rows
from assets.ingest.storage import LOAD_FILE

CODE_VARIABLE = "whalecurve_code"
"""The session variable by which dbt's SQL knows the code it is."""

CREATE_TABLES = """
    create schema if not exists builds;
    create table if not exists builds.models (
        model varchar not null, epoch varchar not null, build bigint not null, code varchar
    );
    create table if not exists builds.inputs (
        model varchar not null, input varchar not null, epoch varchar, build bigint, fingerprint varchar
    );
    create table if not exists builds.planned_inputs (
        model varchar not null, input varchar not null, epoch varchar, build bigint, fingerprint varchar
    );
    create table if not exists builds.plans (
        model varchar not null, invocation varchar not null, mode varchar, reason varchar, entity varchar
    );
    create table if not exists builds.loads (
        model varchar not null, source varchar not null, extract_date date not null, stamp varchar not null
    );
    create or replace table builds.raw_loads (
        entity varchar not null, source varchar not null, extract_date date not null, stamp varchar not null,
        size_bytes bigint not null
    );
"""


def note_loads(connection: duckdb.DuckDBPyConnection, raw: Path) -> None:
    """Make schema `builds` and write the loads that lie in the raw layer into builds.raw_loads.

    A load is known by its place, its size and the time it was written: a load that did not change is never written again,
    and to open the footers of ten thousands of files takes longer than a day's work. A copy of the data folder may have
    other times; that costs one comparison of everything, and changes nothing.
    """
    rows = []
    for path in sorted(raw.glob(f"*/source=*/extract_date=*/{LOAD_FILE}")):
        found = path.stat()
        entity, source, date = path.relative_to(raw).parts[:3]
        stamp = f"{found.st_size}-{found.st_mtime_ns}"
        rows.append((entity, source.removeprefix("source="), date.removeprefix("extract_date="), stamp, found.st_size))
    connection.execute(CREATE_TABLES)
    insert_rows(connection, "builds.raw_loads", rows)


def forget_builds(connection: duckdb.DuckDBPyConnection) -> None:
    """Forget what the tables were made from, so that the next run builds each of them in full."""
    connection.execute(CREATE_TABLES)
    connection.execute("delete from builds.models")


@functools.cache
def code_identity(dbt_project: Path) -> str:
    """Hash of what makes rows out of rows: the SQL of models and macros, the project's settings and the engine."""
    digest = hashlib.sha256(duckdb.__version__.encode())
    for path in sorted([dbt_project / "dbt_project.yml", *dbt_project.glob("m*/**/*.sql")]):
        digest.update(path.relative_to(dbt_project).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
