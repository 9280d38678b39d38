"""Empty tables as the contract of published tables has them, for tests of what reads a release."""

import json
from pathlib import Path

import duckdb

from assets.ingest.sql import identifier
from assets.publish.tables import PUBLISHED

CONTRACT = json.loads(
    (Path(__file__).resolve().parents[2] / "assets" / "publish" / "contract.json").read_text(encoding="utf-8")
)


def columns(table):
    """Name -> type of a table's columns."""
    return CONTRACT["tables"][table]["columns"]


def released():
    """A connection with every published table under its name in a release, empty."""
    connection = duckdb.connect()
    for table in CONTRACT["tables"]:
        _create(connection, table, identifier(table))
    return connection


def warehouse():
    """A connection with every published table where the warehouse has it, empty."""
    connection = duckdb.connect()
    for table, relation in PUBLISHED.items():
        connection.execute(f"create schema if not exists {relation.split('.')[0]}")
        _create(connection, table, relation)
    return connection


def insert(connection, relation, **values):
    """One row; columns not named are null."""
    names = ", ".join(identifier(name) for name in values)
    places = ", ".join("?" for _ in values)
    connection.execute(f"insert into {relation} ({names}) values ({places})", list(values.values()))


def _create(connection, table, relation):
    said = ", ".join(f"{identifier(name)} {kind}" for name, kind in columns(table).items())
    connection.execute(f"create table {relation} ({said})")
