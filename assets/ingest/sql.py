"""Quoting for SQL text that is put together from names and values of files, and rows of Python values put into a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

ROWS_PER_STATEMENT = 300


def literal(value: str) -> str:
    """`value` as an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """The quoted name of a table in a schema."""
    return f"{identifier(schema)}.{identifier(name)}"


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Put rows of Python values into a table, a few hundred per statement: DuckDB plans each row of an executemany anew,
    which takes a hundred times as long."""
    for first in range(0, len(rows), ROWS_PER_STATEMENT):
        some = rows[first : first + ROWS_PER_STATEMENT]
        places = ", ".join(f"({', '.join('?' for _ in row)})" for row in some)
        connection.execute(f"insert into {table} values {places}", [cell for row in some for cell in row])
