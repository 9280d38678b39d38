"""Dagster's event log in SQLite, written as quickly as the one writer of a data folder may.

Dagster opens and closes a connection for every event, and each event reaches the disk before the next step goes on: a third
of a small run. Within `quick_event_log` one connection to each file stays open, so that closing the others does not write
the log of changes back to the file, and an event is handed to the operating system without waiting for the disk. After a
kill everything is there; after a power cut the last events of a run may be missing, and the run is begun anew anyway.

It also makes an engine of SQLAlchemy's for every event, and so has every statement compiled again: here each file has one.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def quick_event_log() -> Iterator[None]:
    """Connections that SQLAlchemy opens to SQLite files meanwhile do not wait for the disk."""
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import Pool

    kept: dict[str, sqlite3.Connection] = {}

    def opened(connection: Any, _record: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        connection.execute("pragma synchronous = normal")
        file = connection.execute("pragma database_list").fetchone()[2]
        if file and file not in kept:
            kept[file] = sqlite3.connect(file, check_same_thread=False)
        if file:  # a read each time: a file that was new becomes one with a log of changes only later
            kept[file].execute("pragma schema_version").fetchone()

    engines: dict[str, Any] = {}

    def engine_of(file: str, **options: Any) -> Any:
        if file not in engines:
            engines[file] = create_engine(file, **options)
        return engines[file]

    storages = (sqlite_event_log, sqlite_run_storage)
    event.listen(Pool, "connect", opened)
    for storage in storages:
        storage.create_engine = engine_of  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for storage in storages:
            storage.create_engine = create_engine  # type: ignore[attr-defined]
        event.remove(Pool, "connect", opened)
        for connection in kept.values():
            connection.close()
