"""The connector to databases: each table, or what changed in it, as one Parquet file.

dlt's `sql_table` reads (reflection, the incremental query, pages of rows from a server-side cursor); no dlt pipeline runs,
because its loaders rename columns, add their own and keep a second state that cannot wait until our files are in place.
Times with a zone are written in UTC. Imported only when a pull runs: its libraries are an optional extra.
"""

from __future__ import annotations

import datetime
import decimal
import difflib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dlt
import duckdb
import sqlalchemy as sa
from dlt.sources.sql_database import sql_table

from assets.company import DatabasePull, TablePull
from assets.ingest.pull import Credentials, Landed, PullError, Reached, Say
from assets.ingest.sql import identifier, literal

PAGE = 10_000
LONGEST_ROW = 256 * 1024 * 1024
DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
DEFAULT_OVERLAP = datetime.timedelta(hours=1)
DEFAULT_COUNTING_OVERLAP = 1000
A_DATABASE_URL = "a database address such as postgresql://user:password@host:5432/database"

ZONED, TIME, DATE, NUMBER = "time with zone", "time", "date", "number"


def land_tables(
    setting: DatabasePull, aside: Path, since: Mapping[str, Reached], credentials: Credentials, say: Say
) -> dict[str, Landed]:
    """Write <table>.parquet into `aside` for every table of the setting."""
    engine = connect(credentials)
    try:
        metadata = sa.MetaData(schema=setting.db_schema)
        tables = {name: _table(engine, metadata, name, table) for name, table in setting.tables.items()}
        landed = {}
        for name, table in tables.items():
            landed[name] = _land(engine, metadata, table, setting.tables[name], since.get(name), aside, say)
        return landed
    finally:
        engine.dispose()


def connect(credentials: Credentials) -> sa.Engine:
    """An engine on the address in the environment, with the drivers of the extra where none is named."""
    try:
        url = sa.make_url(credentials.require("URL", A_DATABASE_URL))
    except (sa.exc.ArgumentError, ValueError):
        raise PullError(
            f"The environment variable {credentials.prefix}URL is not {A_DATABASE_URL}. Signs such as @ : / % in the "
            "password are written as %40 %3A %2F %25. Nothing was pulled."
        ) from None
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    # MySQL gives a TIMESTAMP in the session's zone, and says nothing of the zone.
    in_utc = {"init_command": "set time_zone = '+00:00'"} if url.drivername.endswith("+pymysql") else {}
    try:
        return sa.create_engine(url, hide_parameters=True, connect_args=in_utc)
    except sa.exc.NoSuchModuleError:
        raise PullError(f"There is no driver for '{url.drivername}'. Known are {', '.join(DRIVERS)}.") from None


def _table(engine: sa.Engine, metadata: sa.MetaData, name: str, setting: TablePull) -> sa.Table:
    """The table as the database describes it. Raises PullError when it, or a column the setting names, does not exist."""
    try:
        table = sa.Table(name, metadata, autoload_with=engine, resolve_fks=False)
    except sa.exc.NoSuchTableError:
        inspector = sa.inspect(engine)
        known = [*inspector.get_table_names(metadata.schema), *inspector.get_view_names(metadata.schema)]
        place = f"schema '{metadata.schema}'" if metadata.schema else "the database"
        raise PullError(f"There is no table '{name}' in {place}{_nearest(name, known)}. Nothing was pulled.") from None
    for role, column in (("cursor", setting.cursor), ("key", setting.key)):
        if column is not None and column not in table.columns:
            near = _nearest(column, list(table.columns.keys()))
            raise PullError(f"The table '{name}' has no column '{column}' (its {role}){near}. Nothing was pulled.")
    return table


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _land(
    engine: sa.Engine,
    metadata: sa.MetaData,
    table: sa.Table,
    setting: TablePull,
    since: Reached | None,
    aside: Path,
    say: Say,
) -> Landed:
    kind = _kind(table, setting.cursor) if setting.cursor else None
    if since and (since.cursor, since.kind) != (setting.cursor, kind):
        since = None  # company.yml or the table names another cursor now
    start = _minus(_value(since), setting.overlap, table.name) if since else None
    incremental = None
    # The source's own clock: a row stamped in the future must not keep all that comes before it from being pulled.
    clock = _clock(engine) if kind in (ZONED, TIME, DATE) else None
    if setting.cursor:
        # A row without a cursor value cannot be told apart from a changed one, so it comes each time.
        incremental = dlt.sources.incremental(setting.cursor, initial_value=start, on_cursor_value_missing="include")
    resource = sql_table(
        credentials=engine,
        metadata=metadata,
        table=table.name,
        incremental=incremental,
        chunk_size=PAGE,
        backend="sqlalchemy",
        reflection_level="minimal",
    )
    seen = _Highest(setting.cursor)
    path = aside / f"{table.name}.parquet"
    rows = _write(seen.watching(resource), {column.name: _parquet_type(column.type) for column in table.columns}, path)
    if setting.key:
        _require_unique(path, setting.key, table.name)
    say(f"  {table.name:<36}{rows:>12,} rows  {f'changed since {start}' if start is not None else 'whole'}")
    if setting.cursor is None or kind is None:
        return Landed(path.name, rows, None)
    value = _capped(seen.value, clock, kind)
    reached = Reached(setting.cursor, kind, _text(value) or "") if value is not None else since
    return Landed(path.name, rows, reached)


class _Highest:
    """The highest cursor value of the rows that went by."""

    def __init__(self, column: str | None) -> None:
        self._column = column
        self.value: Any = None

    def watching(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            found = row[self._column] if self._column else None
            if found is not None and (self.value is None or found > self.value):
                self.value = found
            yield row


def _kind(table: sa.Table, cursor: str) -> str:
    written = table.columns[cursor].type
    if isinstance(written, sa.DateTime):
        return ZONED if written.timezone else TIME
    if isinstance(written, sa.Date):
        return DATE
    if isinstance(written, sa.Integer) or (isinstance(written, sa.Numeric) and not isinstance(written, sa.Float)):
        return NUMBER
    raise PullError(
        f"The cursor '{cursor}' of '{table.name}' is {written!r}; a cursor is a time, a date or a whole number that "
        "grows with every change. Leave it out and the whole table is pulled each time. Nothing was pulled."
    )


def _value(reached: Reached) -> Any:
    if reached.kind == ZONED:
        return datetime.datetime.fromisoformat(reached.value).replace(tzinfo=datetime.UTC)
    if reached.kind == TIME:
        return datetime.datetime.fromisoformat(reached.value)
    if reached.kind == DATE:
        return datetime.date.fromisoformat(reached.value)
    value = decimal.Decimal(reached.value)
    return int(value) if value == value.to_integral_value() else value


def _minus(value: Any, overlap: datetime.timedelta | int | None, table: str) -> Any:
    """The cursor value the pull begins at."""
    is_time = isinstance(value, datetime.date)
    if overlap is None:
        overlap = DEFAULT_OVERLAP if is_time else DEFAULT_COUNTING_OVERLAP
    if is_time != isinstance(overlap, datetime.timedelta):
        wanted = "a duration such as 1h" if is_time else "a number, since its cursor counts"
        raise PullError(f"The overlap of '{table}' should be {wanted}. Nothing was pulled.")
    if is_time and not isinstance(value, datetime.datetime):
        overlap = datetime.timedelta(days=math.ceil(overlap / datetime.timedelta(days=1)))  # type: ignore[operator]
    return value - overlap


def _clock(engine: sa.Engine) -> datetime.datetime:
    with engine.connect() as connection:
        now: datetime.datetime = connection.execute(sa.select(sa.func.current_timestamp())).scalar_one()
        return now


def _capped(value: Any, clock: datetime.datetime | None, kind: str) -> Any:
    if value is None or clock is None:
        return value
    if kind == DATE:
        return min(value, clock.date())
    if kind == TIME:
        return min(value, clock.replace(tzinfo=None))
    return min(value, clock if clock.tzinfo else clock.replace(tzinfo=datetime.UTC))


def _parquet_type(written: sa.types.TypeEngine[Any]) -> str:
    """DuckDB's type for a column; what has none that holds every value stays text."""
    if isinstance(written, sa.Boolean):
        return "boolean"
    if isinstance(written, sa.Integer):
        return "bigint"
    if isinstance(written, sa.Float):
        return "double"
    if isinstance(written, sa.Numeric) and written.precision and written.precision <= 38:
        return f"decimal({written.precision}, {written.scale or 0})"
    if isinstance(written, sa.DateTime):
        return "timestamp"
    return "date" if isinstance(written, sa.Date) else "varchar"


def _moment(value: datetime.datetime) -> str:
    return (value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat(" ")


TEXT_OF: dict[type, Callable[[Any], str | None]] = {
    type(None): lambda value: None,
    str: lambda value: value,
    bool: lambda value: "true" if value else "false",
    decimal.Decimal: lambda value: format(value, "f"),
    datetime.datetime: _moment,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    bytes: bytes.hex,
    bytearray: bytearray.hex,
    memoryview: memoryview.hex,
    dict: lambda value: json.dumps(value, ensure_ascii=False, default=str),
    list: lambda value: json.dumps(value, ensure_ascii=False, default=str),
}
"""How a value is written as the text that DuckDB reads it back from, by its exact type; all others as Python says them."""


def _text(value: Any) -> str | None:
    return TEXT_OF.get(type(value), str)(value)


def _write(rows: Iterable[dict[str, Any]], types: dict[str, str], path: Path) -> int:
    """The rows as Parquet. A column with a value that its type does not hold stays text: the dialect says what it means."""
    lines = path.with_suffix(".jsonl")
    encode = json.JSONEncoder(ensure_ascii=False).encode
    count = 0
    with lines.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(encode({name: _text(row[name]) for name in types}) + "\n")
            count += 1
    texts = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in types)
    source = (
        f"read_json({literal(str(lines))}, format = 'newline_delimited', columns = {{{texts}}}, "
        f"maximum_object_size = {LONGEST_ROW})"
    )
    with duckdb.connect() as connection:
        typed = [name for name, sql_type in types.items() if sql_type != "varchar"]
        if typed and count:
            checks = ", ".join(
                f"bool_and({identifier(name)} is null or try_cast({identifier(name)} as {types[name]}) is not null)"
                for name in typed
            )
            held = connection.execute(f"select {checks} from {source}").fetchone() or ()
            types = types | {name: "varchar" for name, holds in zip(typed, held, strict=True) if not holds}
        columns = ", ".join(f"cast({identifier(name)} as {types[name]}) as {identifier(name)}" for name in types)
        connection.execute(
            f"copy (select {columns} from {source}) to {literal(str(path))} (format parquet, compression zstd)"
        )
    lines.unlink()
    return count


def _require_unique(path: Path, key: str, table: str) -> None:
    """Reading takes the latest row of each key, so a key that is none would lose rows."""
    with duckdb.connect() as connection:
        found = connection.execute(
            f"select any_value({identifier(key)}::varchar), count(*) from read_parquet({literal(str(path))}) "
            f"group by {identifier(key)} having count(*) > 1 or {identifier(key)} is null limit 1"
        ).fetchone()
    if found:
        raise PullError(
            f"The key '{key}' of '{table}' does not name one row: {found[0] or 'NULL'} has {found[1]}. Choose the column "
            "that does, the one the dialect binds as the entity's id. Nothing was pulled."
        )
