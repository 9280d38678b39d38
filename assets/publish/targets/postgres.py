"""A schema of a PostgreSQL database: built aside, checked against the release, swapped in by one transaction.

While readers run, tables are made and filled in `<schema>__next`; then the schemas change their names in one transaction, which
takes milliseconds and waits for nobody. A statement reads one release from beginning to end. Several statements of one
transaction may not: the table `release` says which release the others beside it are of. The schema readers have left is
dropped when nobody uses it any more, at the latest by the next delivery.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from assets.company import PostgresTarget
from assets.publish.release import Release
from assets.publish.targets.delivery import EXTRA_MISSING, Delivered, Secrets, TargetError

TYPES = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "HUGEINT": "numeric(39, 0)",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
}
"""DuckDB's type -> PostgreSQL's; DECIMAL(p,s) is numeric(p,s)."""

MARK = "Published by Whalecurve; replaced by each release."
CHUNK = 1 << 20
WAIT_FOR_READERS = "2s"


def deliver(name: str, target: PostgresTarget, release: Release, secrets: Secrets) -> Delivered:
    """Make the tables of the release those of the target's schema."""
    url = secrets.require("URL", "the address of the database, postgresql://user:password@host:5432/database")
    try:
        import psycopg
    except ImportError as error:
        raise TargetError(f"Target {name}: " + EXTRA_MISSING.format(module=error.name)) from None
    try:
        with psycopg.connect(url, autocommit=True, application_name="whalecurve") as connection:
            place = f"{connection.info.host}/{connection.info.dbname}, schema {target.db_schema}"
            with _only_publisher(connection, name, target.db_schema):
                was = _release_in(connection, target.db_schema)
                if was != release.release_id:
                    _require_nothing_foreign(connection, name, target.db_schema)
                    _build(connection, target, release)
                    _swap(connection, target.db_schema)
                _drop_what_was_left(connection, target.db_schema)
    except psycopg.Error as error:
        said = str(error).strip().splitlines()
        raise TargetError(
            f"Target {name}: PostgreSQL said no: {said[0] if said else type(error).__name__}. Readers of the schema "
            f"{target.db_schema} have the release they had. Mend it, then run `whalecurve deliver`."
        ) from None
    return Delivered(name, place, release.release_id, was)


@contextlib.contextmanager
def _only_publisher(connection: Any, name: str, schema: str) -> Iterator[None]:
    """The server gives the lock up when the connection ends, however it ends."""
    key = f"whalecurve:{schema}"
    if not connection.execute("select pg_try_advisory_lock(hashtext(%s))", [key]).fetchone()[0]:
        raise TargetError(
            f"Target {name}: another process is publishing to the schema {schema}. It will bring its own release; run "
            "`whalecurve deliver` afterwards if this one should be there."
        )
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("select pg_advisory_unlock(hashtext(%s))", [key])


def _release_in(connection: Any, schema: str) -> str | None:
    known = connection.execute("select to_regclass(%s)", [f"{_name(schema)}.release"]).fetchone()[0]
    row = connection.execute(f"select release_id from {_name(schema)}.release").fetchone() if known else None
    return str(row[0]) if row else None


def _require_nothing_foreign(connection: Any, name: str, schema: str) -> None:
    """The schema is replaced as a whole: what somebody else put into it would be gone, and a view elsewhere that reads its tables
    would go on reading those of the release before."""
    inside = connection.execute(
        "select relname from pg_class where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p', 'v', 'm', 'f', 'S') "
        "and coalesce(obj_description(oid, 'pg_class'), '') <> %s order by relname",
        [_name(schema), MARK],
    ).fetchall()
    outside = connection.execute(
        "select distinct view.oid::regclass::text from pg_depend join pg_rewrite on pg_rewrite.oid = objid "
        "join pg_class as view on view.oid = ev_class join pg_class as read on read.oid = refobjid "
        "where classid = 'pg_rewrite'::regclass and refclassid = 'pg_class'::regclass and read.relnamespace = "
        "to_regnamespace(%s) and view.relnamespace <> read.relnamespace order by 1",
        [_name(schema)],
    ).fetchall()
    if inside or outside:
        found = ", ".join(str(row[0]) for row in [*inside, *outside][:5])
        raise TargetError(
            f"Target {name}: the schema {schema} is replaced as a whole by each release, and {found} would be lost or "
            "stay behind with old figures. Nothing was changed. Give the target a schema of its own, and let views of "
            "yours be made by the tool that reads them, or copy what they hold."
        )


def _build(connection: Any, target: PostgresTarget, release: Release) -> None:
    aside = _name(f"{target.db_schema}__next")
    connection.execute(f"drop schema if exists {aside} cascade")
    connection.execute(f"create schema {aside}")
    for table, described in sorted(release.manifest["tables"].items()):
        relation = f"{aside}.{_name(table)}"
        columns = [(column["name"], _type(table, column)) for column in described["columns"]]
        connection.execute(
            f"create table {relation} ({', '.join(f'{_name(name)} {type_}' for name, type_ in columns)})"
        )
        _fill(connection, relation, release.path / described["file"], columns)
        _check(connection, relation, release.path / described["file"], columns)
        if described["key"]:
            connection.execute(f"create unique index on {relation} ({', '.join(map(_name, described['key']))})")
        connection.execute(f"comment on table {relation} is '{MARK}'")
        connection.execute(f"analyze {relation}")
    connection.execute(f"create table {aside}.release (release_id text, as_of_date date, published_at text)")
    connection.execute(f"comment on table {aside}.release is '{MARK}'")
    manifest = release.manifest
    connection.execute(
        f"insert into {aside}.release values (%s, %s, %s)",
        [release.release_id, manifest["as_of_date"], manifest.get("published_at")],
    )
    for role in target.readers:
        connection.execute(f"grant usage on schema {aside} to {_name(role)}")
        connection.execute(f"grant select on all tables in schema {aside} to {_name(role)}")


def _type(table: str, column: dict[str, str]) -> str:
    written = column["type"]
    if written.startswith("DECIMAL"):
        return written.replace("DECIMAL", "numeric")
    if written not in TYPES:
        raise TargetError(
            f"{table}.{column['name']} has the type {written}, which has no form in PostgreSQL here. Cast it in its model."
        )
    return TYPES[written]


def _fill(connection: Any, relation: str, file: Path, columns: list[tuple[str, str]]) -> None:
    """Through a file of CSV: DuckDB writes it and PostgreSQL reads it, no row passes through Python."""
    # PostgreSQL's text cannot hold the character 0. Empty text is quoted and null is not, so that they stay apart.
    selected = ", ".join(
        f"replace({_name(name)}, chr(0), '') as {_name(name)}" if type_ == "text" else _name(name)
        for name, type_ in columns
    )
    texts = ", ".join(_name(name) for name, type_ in columns if type_ == "text")
    with tempfile.TemporaryDirectory(prefix="whalecurve-") as scratch, duckdb.connect() as engine:
        rows = Path(scratch) / "rows.csv"
        engine.execute(
            f"copy (select {selected} from read_parquet({_literal(file)})) to {_literal(rows)} "
            f"(format csv, header false{f', force_quote ({texts})' if texts else ''})"
        )
        with rows.open("rb") as stream, connection.cursor().copy(f"copy {relation} from stdin (format csv)") as copy:
            while chunk := stream.read(CHUNK):
                copy.write(chunk)


def _check(connection: Any, relation: str, file: Path, columns: list[tuple[str, str]]) -> None:
    """Rows, values that are there, and the sum of every amount, on both sides."""
    asked = ["count(*)", *(f"count({_name(name)})" for name, _ in columns)]
    asked += [f"coalesce(sum({_name(name)}), 0)" for name, type_ in columns if type_.startswith("numeric")]
    with duckdb.connect() as engine:
        wanted = engine.execute(f"select {', '.join(asked)} from read_parquet({_literal(file)})").fetchone()
    found = connection.execute(f"select {', '.join(asked)} from {relation}").fetchone()
    if [Decimal(value) for value in wanted or ()] != [Decimal(value) for value in found]:
        raise TargetError(
            f"{relation} does not hold what {file.name} holds after it was filled. Readers have the release they had; this is a "
            "fault of Whalecurve or of the server, so please report it."
        )


def _swap(connection: Any, schema: str) -> None:
    now, following, left = (_name(f"{schema}{part}") for part in ("", "__next", "__former"))
    connection.execute(f"drop schema if exists {left} cascade")
    with connection.transaction():
        if connection.execute("select to_regnamespace(%s)", [now]).fetchone()[0]:
            connection.execute(f"alter schema {now} rename to {left}")
        connection.execute(f"alter schema {following} rename to {now}")


def _drop_what_was_left(connection: Any, schema: str) -> None:
    """At once if nobody reads it; readers are not waited for, they end when they end."""
    import psycopg

    left = _name(f"{schema}__former")
    with contextlib.suppress(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute(f"set local lock_timeout = '{WAIT_FOR_READERS}'")
        connection.execute(f"drop schema if exists {left} cascade")


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
