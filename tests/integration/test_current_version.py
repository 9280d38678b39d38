"""The SQL that says which records hold, over random deliveries, against a replay of them day by day.

The text under test is the dbt macro itself, rendered with plain Jinja and run on an empty DuckDB: snapshots, restated
periods, deltas, deletions and unreadable rows, in any order of the rows.
"""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path

import duckdb
import jinja2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

MACROS = Path(__file__).parents[2] / "dbt_project" / "macros"
FIRST_DAY = datetime.date(2026, 6, 1)

COLUMNS = (
    "source_instance varchar, extract_date date, restates varchar, record_id varchar, name varchar, is_deleted boolean, "
    "quarantine_reason varchar, source_modified_at timestamp, source_file varchar, source_row bigint, load_id varchar, "
    "source_record varchar"
)

Row = tuple[str, str, str | None, str]
"""Record, name, scope it is part of, and what the row is: live, deleted, bare (a deletion of the key alone) or unreadable."""

Delivery = tuple[str, int, list[Row]]
"""Source, day, rows."""


def render(call: str) -> str:
    """Return the SQL of a macro call, with the project's own macros in scope as in dbt."""
    files = (MACROS / "dialect.sql", MACROS / "current_version.sql")
    text = "".join(path.read_text(encoding="utf-8") for path in files) + call
    return (
        jinja2.Environment()
        .from_string(text)
        .render(source=lambda schema, table: "raw_rows", target={"type": "duckdb"})
    )


DROPPED = render("{{ current_version('record', key=['record_id']) }}")
KEPT = render("{{ current_version('record', key=['record_id'], keep_deleted=true, required=['name']) }}")


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute(f"create table raw_rows ({COLUMNS})")
        yield connection


def in_sql(connection, deliveries: list[Delivery]) -> tuple[dict, dict]:
    """Source and record -> name of what holds, and -> (name, is gone) of all that had a name."""
    connection.execute("truncate raw_rows")
    for source, day, rows in deliveries:
        for number, (record, name, scope, kind) in enumerate(rows, start=1):
            connection.execute(
                "insert into raw_rows values (?, ?, ?, ?, ?, ?, ?, null, 'file', ?, 'load', null)",
                [
                    *(source, FIRST_DAY + datetime.timedelta(days=day), scope, record),
                    name if kind in ("live", "deleted") else None,
                    kind in ("deleted", "bare"),
                    "cannot be read" if kind == "unreadable" else None,
                    number,
                ],
            )
    dropped = connection.execute(f"select source_instance, record_id, name from ({DROPPED})").fetchall()
    kept = connection.execute(f"select source_instance, record_id, name, is_deleted from ({KEPT})").fetchall()
    assert len({row[:2] for row in dropped}) == len(dropped)
    assert len({row[:2] for row in kept}) == len(kept)
    return {row[:2]: row[2] for row in dropped}, {row[:2]: row[2:] for row in kept}


class Record:
    """What a reader of the deliveries knows of one record after some of the days."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.described: str | None = None
        self.scope: str | None = None
        self.is_known = self.is_deleted = self.is_missing = False


def replayed(deliveries: list[Delivery]) -> tuple[dict, dict]:
    """The same by going through the days in their order, as somebody keeping a list would."""
    records: dict[tuple[str, str], Record] = {}
    for source, _, rows in sorted(deliveries, key=lambda delivery: delivery[1]):
        carried = {record for record, *_ in rows}
        for (owner, record_id), record in records.items():
            stated = {scope for _, _, scope, _ in rows}
            if owner == source and record_id not in carried and ("*" in stated or record.scope in stated - {None}):
                record.is_missing = True
        for record_id, name, scope, kind in rows:
            record = records.setdefault((source, record_id), Record())
            record.is_missing = False
            if kind != "unreadable":
                record.name = None if kind == "bare" else name
                record.described = record.described if kind == "bare" else name
                record.scope, record.is_deleted, record.is_known = scope, kind in ("deleted", "bare"), True
    known = {key: record for key, record in records.items() if record.is_known}
    return (
        {key: record.name for key, record in known.items() if not (record.is_deleted or record.is_missing)},
        {
            key: (record.described, record.is_deleted or record.is_missing)
            for key, record in known.items()
            if record.described is not None
        },
    )


@st.composite
def days_of_deliveries(draw: st.DrawFn) -> list[Delivery]:
    """A few deliveries on different days; a record stands once in a delivery."""
    deliveries = []
    for source, day in draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=8, unique=True)):
        scopes = draw(st.sampled_from([(None,), ("*",), ("2026-03",), ("2026-03", "2026-04"), (None, "2026-03")]))
        rows = [
            (record, f"{record} of {source} on day {day}", draw(st.sampled_from(scopes)), kind)
            for record, kind in draw(
                st.dictionaries(
                    st.sampled_from("rstuv"),
                    st.sampled_from(["live", "live", "live", "deleted", "bare", "unreadable"]),
                    min_size=1,
                )
            ).items()
        ]
        deliveries.append((source, day, rows))
    return deliveries


@settings(max_examples=120, deadline=None)
@given(deliveries=days_of_deliveries())
@example(
    deliveries=[("a", 0, [("r", "r", "*", "live"), ("s", "s", "*", "live")]), ("a", 1, [("s", "s", "*", "unreadable")])]
)
def test_the_records_that_hold_are_those_of_a_day_by_day_replay(connection, deliveries):
    assert in_sql(connection, deliveries) == replayed(deliveries)


def test_every_order_of_three_restated_deliveries_gives_the_same_records(connection):
    deliveries: list[Delivery] = [
        (
            "a",
            0,
            [
                ("J1/1", "ten", "2026-03", "live"),
                ("J1/2", "minus ten", "2026-03", "live"),
                ("J2/1", "seven", None, "live"),
            ],
        ),
        ("a", 1, [("J1/1", "eleven", "2026-03", "live"), ("J3/1", "three", "2026-04", "live")]),
        ("a", 2, [("J3/2", "four", "2026-04", "live"), ("J1/9", "nine", "2026-05", "unreadable")]),
    ]
    expected = {("a", "J1/1"): "eleven", ("a", "J2/1"): "seven", ("a", "J3/2"): "four"}
    for order in itertools.permutations(deliveries):
        holds, _ = in_sql(connection, list(order))
        assert holds == expected
