"""The SQL that divides cents, run over random pools against a second implementation in exact fractions.

The text under test is the dbt macro itself, rendered with plain Jinja and run on an empty DuckDB. Which pools are
divided among whom is no matter of this file: unit tests beside the dbt models say that.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import duckdb
import jinja2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.ingest.sql import insert_rows

MACROS = Path(__file__).parents[2] / "dbt_project" / "macros"

Receiver = tuple[int, str, str, int, int]
"""Month, pool, receiver, quantity (> 0), cents of the whole pool."""

Parts = dict[tuple[int, str, str], int]
"""Cents by month, pool and receiver."""


def render(call: str) -> str:
    """Return the SQL of a macro call, with the project's own macros in scope as in dbt."""
    files = (MACROS / "dialect.sql", MACROS / "largest_remainder.sql")
    return (
        jinja2.Environment()
        .from_string("".join(path.read_text(encoding="utf-8") for path in files) + call)
        .render(target={"type": "duckdb"})
    )


DIVISION = render("{{ largest_remainder('receivers', group_by=['month', 'pool_id']) }}")


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute(
            "create table receivers "
            "(month integer, pool_id varchar, receiver_id varchar, quantity bigint, amount_cents bigint)"
        )
        yield connection


def divide_in_sql(connection: duckdb.DuckDBPyConnection, receivers: list[Receiver]) -> tuple[Parts, dict]:
    """Return cents per receiver and the columns beside them."""
    connection.execute("truncate receivers")
    insert_rows(connection, "receivers", receivers)
    rows = connection.execute(
        f"select month, pool_id, receiver_id, received_cents, rounding_cents, quantity, total_quantity, amount_cents "
        f"from ({DIVISION})"
    ).fetchall()
    assert len(rows) == len(receivers)
    return {row[:3]: row[3] for row in rows}, {row[:3]: row[4:] for row in rows}


def divide_in_fractions(receivers: list[Receiver]) -> Parts:
    """Divide one pool after another by largest remainder, the slow way."""
    pools: dict[tuple[int, str], list[Receiver]] = defaultdict(list)
    for receiver in receivers:
        pools[receiver[:2]].append(receiver)
    parts: Parts = {}
    for pool, members in pools.items():
        cents, total = members[0][4], sum(member[3] for member in members)
        exact = {member[2]: Fraction(abs(cents) * member[3], total) for member in members}
        quantity = {member[2]: member[3] for member in members}
        whole = {receiver: share.numerator // share.denominator for receiver, share in exact.items()}
        by_claim = sorted(exact, key=lambda r: (whole[r] - exact[r], -quantity[r], r))
        for receiver in by_claim[: abs(cents) - sum(whole.values())]:
            whole[receiver] += 1
        for receiver, part in whole.items():
            parts[*pool, receiver] = -part if cents < 0 else part
    return parts


CENTS = st.one_of(st.integers(-200, 200), st.integers(-(10**13), 10**13))
QUANTITIES = st.one_of(st.integers(1, 5), st.integers(1, 10**12))


@st.composite
def pools_of_receivers(draw: st.DrawFn) -> list[Receiver]:
    """Draw a few pools in a few months, each with its cents and its receivers."""
    receivers: list[Receiver] = []
    for month, pool in draw(st.lists(st.tuples(st.integers(1, 3), st.sampled_from("pqr")), min_size=1, unique=True)):
        cents = draw(CENTS)
        ids = draw(st.lists(st.text("abAB:é客", min_size=1, max_size=3), min_size=1, max_size=12, unique=True))
        receivers += [(month, pool, receiver_id, draw(QUANTITIES), cents) for receiver_id in ids]
    return receivers


PUBLISHED = [
    (1, "odoo issue 214736", "a", 98, 18225),
    (1, "odoo issue 214736", "b", 2, 18225),
    (1, "erpnext issue 35091", "a", 95, 1),
    (1, "erpnext issue 35091", "b", 5, 1),
]

LARGEST = [(1, "p", f"c{number}", 10**12 - number, 10**13) for number in range(7)]
"""A hundred billion in base currency and a million million units: 1e25 in the product."""


@settings(max_examples=150, deadline=None)
@given(receivers=pools_of_receivers())
@example(receivers=PUBLISHED)
@example(receivers=LARGEST)
def test_the_sql_divides_like_exact_fractions(connection, receivers):
    parts, _ = divide_in_sql(connection, receivers)
    assert parts == divide_in_fractions(receivers)


@settings(max_examples=75, deadline=None)
@given(receivers=pools_of_receivers())
@example(receivers=LARGEST)
def test_every_cent_is_given_out_and_nobody_is_a_cent_off(connection, receivers):
    parts, columns = divide_in_sql(connection, receivers)
    given_out: dict[tuple[int, str], int] = defaultdict(int)
    for (month, pool, receiver), cents in parts.items():
        given_out[month, pool] += cents
        rounding, quantity, total, pool_cents = columns[month, pool, receiver]
        assert abs(cents - Fraction(pool_cents * quantity, total)) < 1
        sign = -1 if pool_cents < 0 else 1
        assert cents == sign * (abs(pool_cents) * quantity // total) + rounding
        assert rounding in (0, sign)
    assert given_out == {receiver[:2]: receiver[4] for receiver in receivers}


@settings(max_examples=75, deadline=None)
@given(receivers=pools_of_receivers())
def test_a_reversal_cancels_receiver_by_receiver(connection, receivers):
    parts, _ = divide_in_sql(connection, receivers)
    reversed_parts, _ = divide_in_sql(connection, [(*receiver[:4], -receiver[4]) for receiver in receivers])
    assert reversed_parts == {receiver: -cents for receiver, cents in parts.items()}


@settings(max_examples=75, deadline=None)
@given(receivers=pools_of_receivers(), data=st.data())
def test_the_order_of_rows_does_not_matter(connection, receivers, data):
    shuffled = data.draw(st.permutations(receivers))
    assert divide_in_sql(connection, shuffled) == divide_in_sql(connection, receivers)
