"""The SQL that turns other currencies into base currency, over random amounts and rates, against exact fractions.

The text under test is the dbt macros themselves, rendered with plain Jinja and run on an empty DuckDB. Where a rate comes
from is no matter of this file: unit tests beside the dbt models say that.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import duckdb
import jinja2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.ingest.sql import insert_rows

MACROS = Path(__file__).parents[2] / "dbt_project" / "macros"
TEN_THOUSANDTHS = 10_000

Part = tuple[int, int, int]
"""Document, line, amount in ten-thousandths."""


def render(call: str) -> str:
    """Return the SQL of a macro call, with the project's own macros in scope as in dbt."""
    files = (MACROS / "dialect.sql", MACROS / "currency.sql")
    text = "".join(path.read_text(encoding="utf-8") for path in files) + call
    return jinja2.Environment().from_string(text).render(target={"type": "duckdb"})


AMOUNT = render("{{ converted('amount') }}")
CONVERTED = f"select document, line, amount, rate_numerator, rate_denominator, {AMOUNT} as converted_amount from parts"
RESTS = render("{{ conversion_rests('converted_parts', ['document'], 'line') }}")


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute(
            "create table parts (document integer, line integer, amount decimal(22, 4), "
            "rate_numerator decimal(38, 0), rate_denominator decimal(38, 0))"
        )
        yield connection


def convert_in_sql(connection, parts: list[Part], rate: Fraction) -> tuple[dict, dict]:
    """Document and line -> ten-thousandths converted, and -> the rest put onto the line."""
    connection.execute("truncate parts")
    insert_rows(
        connection,
        "parts",
        [(d, line, Decimal(amount) / TEN_THOUSANDTHS, rate.numerator, rate.denominator) for d, line, amount in parts],
    )
    connection.execute(f"create or replace table converted_parts as {CONVERTED}")
    converted = connection.execute("select document, line, converted_amount from converted_parts").fetchall()
    rests = connection.execute(f"select document, line, rest from ({RESTS})").fetchall()
    assert len(rests) == len({row[0] for row in rests}), "one line of a document carries the rest"
    whole = [{row[:2]: int(row[2] * TEN_THOUSANDTHS) for row in rows} for rows in (converted, rests)]
    return whole[0], whole[1]


def rounded(amount: Fraction) -> int:
    """Half away from zero."""
    return (1 if amount >= 0 else -1) * int((abs(amount) * 2 + 1) // 2)


AMOUNTS = st.one_of(st.integers(-100, 100), st.integers(-(10**15), 10**15))
RATES = st.one_of(
    st.integers(1, 10**15).map(lambda units: Fraction(units, 10**10)),
    st.integers(10**5, 10**15).map(lambda units: Fraction(10**10, units)),
)
"""As quoted and turned over, with ten decimals: from a hundred-thousandth to a hundred thousand."""


@st.composite
def documents(draw: st.DrawFn) -> list[Part]:
    """A few documents, each of a few lines."""
    return [
        (document, line, amount)
        for document in range(draw(st.integers(1, 3)))
        for line, amount in enumerate(draw(st.lists(AMOUNTS, min_size=1, max_size=8)), start=1)
    ]


@settings(max_examples=150, deadline=None)
@given(parts=documents(), rate=RATES)
@example(parts=[(1, 1, 333_300), (1, 2, 333_300), (1, 3, 333_400)], rate=Fraction(10_000, 1275))
@example(parts=[(1, 1, 1), (1, 2, -1)], rate=Fraction(1, 2))
@example(parts=[(1, 1, 10**15), (1, 2, 10**15)], rate=Fraction(10**5, 1))
def test_every_amount_is_converted_exactly_and_documents_keep_their_sum(connection, parts, rate):
    converted, rests = convert_in_sql(connection, parts, rate)
    assert converted == {(document, line): rounded(amount * rate) for document, line, amount in parts}

    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    sizes: dict[int, int] = defaultdict(int)
    for document, line, amount in parts:
        sums[document][0] += amount
        sums[document][1] += converted[document, line] + rests.get((document, line), 0)
        sizes[document] += 1
    for amount, base in sums.values():
        assert base == rounded(amount * rate)
    for (document, line), rest in rests.items():
        largest = max(abs(converted[document, other]) for other in range(1, sizes[document] + 1))
        assert abs(converted[document, line]) == largest
        assert abs(rest) <= sizes[document]


@settings(max_examples=75, deadline=None)
@given(parts=documents(), rate=RATES)
def test_a_reversal_converts_to_the_opposite(connection, parts, rate):
    converted, _ = convert_in_sql(connection, parts, rate)
    reversed_parts = [(document, line, -amount) for document, line, amount in parts]
    assert convert_in_sql(connection, reversed_parts, rate)[0] == {key: -amount for key, amount in converted.items()}
