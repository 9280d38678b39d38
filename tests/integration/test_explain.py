"""What `explain` says of a company with every kind of cost, each figure redone from the sentence alone."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_checker import TABLES, WATERFALL, company

from assets.errors import WhalecurveError
from assets.publish import explain as module
from assets.publish.explain import ledger_parts

JANUARY, MARCH = datetime.date(2026, 1, 1), datetime.date(2026, 3, 1)
NUMBER = r"(-?[\d,]+(?:\.\d+)?)"
DIVIDED = re.compile(
    rf"^  {NUMBER} = {NUMBER} of {NUMBER} unit x {NUMBER}(?: less {NUMBER} of {NUMBER} unit x {NUMBER})? "
    r"\((?:no rounding cent|([+-]\d) cent rounding); pool (\w+), ([\w-]+) cost, rule R\)",
    re.M,
)


CREDIT = """
    create table release.customer_credit_costs as
    select 'a' as customer_id, date '2026-01-01' as month, 5.2 as expected_credit_loss, 1000::decimal(22, 2) as financing_cost,
        3650000::decimal(26, 4) as balance_days, 0.1::decimal(9, 6) as cost_of_capital, 90000::decimal(22, 4) as exposure,
        4.8::decimal(22, 2) as opening_allowance, 10::decimal(22, 2) as allowance, 'default' as loss_rate_source
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The tables of a release made from the company of the checker's tests."""
    file = tmp_path_factory.mktemp("release") / "whalecurve.duckdb"
    with company(tmp_path_factory.mktemp("company")) as connection:
        connection.execute(WATERFALL)
        connection.execute(f"attach '{file}' as release")
        for table, relation in TABLES.items():
            record = ", 'R' || row_number() over () as source_record_id" if table == "driver_rows" else ""
            connection.execute(f"create table release.{table} as select *{record} from {relation}")
        connection.execute(
            "create table release.customers as select distinct customer_id from marts.customer_cost_lines"
        )
        connection.execute(CREDIT)
    return file


@pytest.fixture
def ask(release, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "open_release", lambda _: (tmp_path, duckdb.connect(str(release), read_only=True)))

    def asked(name, month=None, pool=None, **options):
        return module.explain(tmp_path, name, month, pool, **options)

    return asked


@pytest.fixture
def rows(release):
    def read(query):
        with duckdb.connect(str(release), read_only=True) as connection:
            return connection.execute(query).fetchall()

    return read


def number(text):
    return Decimal(text.replace(",", ""))


def cut(quantity, total, amount):
    """What a pocket calculator shows, cut to the cent."""
    return int(Fraction(number(quantity)) / Fraction(number(total)) * Fraction(number(amount)) * 100)


def test_every_divided_line_can_be_redone_from_its_sentence(ask, rows):
    lines = rows(
        "select customer_id, month, amount, driver_quantity is not null from customer_cost_lines union all "
        "select residual_line, month, amount, driver_quantity is not null from residual_cost_lines"
    )
    redone = 0
    for name, month in sorted({line[:2] for line in lines}):
        said = ask(name, month)
        found = Counter()
        for amount, *now, q, total, before, bit, _, _ in DIVIDED.findall(said):
            share = cut(*now) - (cut(q, total, before) if q else 0)
            assert share + int(bit or 0) == number(amount) * 100, said
            found[number(amount)] += 1
        assert found == Counter(line[2] for line in lines if line[:2] == (name, month) and line[3])
        redone += found.total()
        total, count = re.match(rf"{re.escape(name)}, {month:%Y-%m}: {NUMBER} on (\d+) cost line", said).groups()
        own = [line[2] for line in lines if line[:2] == (name, month)]
        assert (number(total), int(count)) == (sum(own), len(own))
    assert redone > 40


def test_a_pool_is_its_ledger_lines_and_what_it_received(ask):
    said = ask("a", JANUARY, "dock")
    assert (
        "; the pool is 50.05 of its own (1 ledger line) + 6,969.19 received from hr, rooms; 3 unit = 1 record" in said
    )
    assert "  received: 6,969.19 from 2 service pools\n            6,436.50  from hr: 30 of 39 unit x 8,367.45" in said
    booked = [number(text) for text in re.findall(rf"of it {NUMBER} booked on", said)]
    assert sum(booked) == Decimal("6969.19")
    assert (
        "of it 496.95 booked on it, ledger: 10,543.24 in 2 lines\n           10,000.03  J0/0  6000   (gl.csv line 0)"
        in said
    )
    assert "driver rows: 1 record behind 3 unit: R5 (3)" in said
    assert "rule R); the pool is 8,217.49 received from it, rooms; 1.01 unit = 1 record" in ask("a", JANUARY, "desk")


def test_a_reversal_says_what_was_divided_before(ask):
    said = ask("c", MARCH, "desk")
    assert "-22.31 = 3.07 of 9 unit x 1,000.01 less 3.07 of 9 unit x 1,065.44 (+1 cent rounding; " in said
    assert "this month took back cost of 2026-01" in said
    assert "              -65.43  UNDO/22" in said
    assert "from it: 40 of 60 unit x 11,245.33, less what was charged before" in said


def test_a_budget_says_what_is_charged_and_where_the_rest_is(ask):
    assert (
        "; 933.35 charged by budget = 700.01 a month x 16 / 12 planned unit; the pool is 800.00 of its own (1 ledger line), "
        "and the difference of -133.35 is VARIANCE:visits" in ask("a", JANUARY, "visits")
    )
    assert "-133.35 = 800.00 that the pool cost - 933.35 charged by budget" in ask("VARIANCE:visits", JANUARY)
    assert "177.56 = 177.56 that the pool cost - 0.00 charged by budget, which plans no such cost" in ask(
        "VARIANCE:visits", JANUARY
    )
    assert "105.81 charged by budget = 123.45 a month x 6 / 7 planned unit" in ask("VARIANCE:calls", JANUARY)


@pytest.mark.parametrize(
    ("name", "month", "pool", "expected"),
    [
        ("a", JANUARY, "freight", "2.50 posted with this customer in the ledger (pool freight, variable cost, rule R)"),
        ("a", JANUARY, "late", "by the quantities of 2025-11, as 2026-01 has none (zero_policy of driver before)"),
        ("a", JANUARY, "spared", "by driver lines, as other has no quantity in the month (its zero_policy)"),
        ("a", JANUARY, "brand", "3.00 = 3 of 10 unit x 10.00 (no rounding cent; pool brand, sustaining cost, rule R)"),
        ("UNUSED:desk", JANUARY, None, "2.78 unit of the capacity were idle"),
        (
            "UNUSED:it",
            JANUARY,
            None,
            "2,751.83 = 14 of 60 unit x 11,793.55 that nobody used (pool it, fixed cost, rule R)",
        ),
        ("UNALLOCATED:NO_RULE", None, None, "0.07 is all of the pool's cost: no rule of the month says how"),
        (
            "UNALLOCATED:ZERO_DRIVER",
            JANUARY,
            "nothing",
            "0.17 is all of the pool's cost: nobody used anything of its driver",
        ),
        (
            "UNALLOCATED:CLOSED_LOOP",
            None,
            "loop_a",
            "0.70 of the pool's cost: these service pools serve only each other",
        ),
        ("UNALLOCATED:UNMATCHED_CUSTOMER", JANUARY, "freight", "0.99 posted with no known customer in the ledger"),
        ("SUSTAINING:facility", MARCH, None, "-9.14 is all of the pool's cost: no driver divides it"),
    ],
)
def test_every_kind_of_line_says_what_it_is(name, month, pool, expected, ask):
    assert expected in ask(name, month, pool)


def test_a_pool_says_where_its_cost_came_from_and_went(ask):
    said = ask("desk", JANUARY)
    assert "9,282.93 = 1,065.44 of its own + 8,217.49 received\n" in said
    assert "9,282.93 = 6,302.08 on customers + 2,867.39 UNUSED:desk + 113.46 UNALLOCATED\n" in said
    assert "customers: 3 receivers, the largest:\n            3,166.51  c\n" in said
    passed_on = ask("it", JANUARY)
    assert "passed on: 11,793.55\n" in passed_on
    assert "            7,862.36  to desk: 40 of 60 unit x 11,793.55" in passed_on
    assert ask("it").startswith("it, 2026-03: ")


def test_of_every_ledger_line_the_part_in_a_cost_line_can_be_shown(ask, rows):
    """Customer x ledger line: the parts add up to the line, whatever it is made of."""
    shown = 0
    for name, month in rows("select distinct customer_id, month from customer_cost_lines order by all") + rows(
        "select distinct residual_line, month from residual_cost_lines order by all"
    ):
        for block in ask(name, month, by_ledger_line=True).split("\n\n")[1:]:
            if "(here, booked)" in block:
                total = number(re.search(rf"ledger: {NUMBER} of \d+ lines? \(here, booked\)", block)[1])
                parts = [
                    number(text)
                    for text in re.findall(rf"^ +{NUMBER} +{NUMBER}  \S+/\d+ ", block, re.M)
                    for text in text[:1]
                ]
                assert sum(parts) == total == number(re.match(rf".*\n  {NUMBER} ", block)[1])
                shown += len(parts)
    assert shown > 100
    assert "187.00          7,777.77  J1/1  6000   (gl.csv line 1)  on hr" in ask(
        "b", JANUARY, "desk", by_ledger_line=True
    )


@given(
    weights=st.dictionaries(st.text(max_size=3), st.integers(-(10**9), 10**9), min_size=1, max_size=12),
    quantity=st.integers(0, 500),
    extra=st.integers(-2, 2),
)
def test_parts_of_ledger_lines_add_up_and_are_within_a_cent(weights, quantity, extra):
    share = Fraction(quantity, 500)
    cents = round(share * sum(weights.values()))
    parts = ledger_parts(cents, weights, share)
    assert sum(parts.values()) == cents
    assert all(abs(parts[key] - weight * share) <= 1 for key, weight in weights.items())
    assert sum(ledger_parts(cents + extra, weights, share).values()) == cents + extra
    turned = dict(reversed(weights.items()))
    assert sorted(ledger_parts(cents, turned, share).values()) == sorted(parts.values())


def test_what_is_not_there_says_what_is(ask):
    with pytest.raises(
        WhalecurveError, match=r"no customer 'A'.*A residual line .* or a pool can be explained as well"
    ):
        ask("A")
    with pytest.raises(
        WhalecurveError, match="UNUSED:desk carries no cost in 2025-01; it does in 2 months, 2026-01 to 2026-03"
    ):
        ask("UNUSED:desk", datetime.date(2025, 1, 1))
    with pytest.raises(WhalecurveError, match="a carries no cost of the pool 'board' in 2026-01"):
        ask("a", JANUARY, "board")
    with pytest.raises(WhalecurveError, match="it carries no cost in 2020-01"):
        ask("it", datetime.date(2020, 1, 1))


def test_credit_is_explained_beside_the_cost_lines(ask):
    said = ask("a", datetime.date(2026, 1, 1))
    assert "1,000.00 = 3,650,000.00 of open balance x days x 0.1 a year / 365" in said
    assert (
        "5.20 = 10.00 expected to be lost of 90,000.00 owed - 4.80 at the end of the month before (default rates)"
        in said
    )
    assert "Credit" not in ask("a", datetime.date(2026, 1, 1), pool="desk")
    assert "Credit" not in ask("b", datetime.date(2026, 1, 1))
