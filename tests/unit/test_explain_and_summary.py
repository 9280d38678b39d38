"""What `explain` and `summary` print, every figure computed again from the Parquet files of the release."""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from decimal import Decimal

import duckdb
import pytest
import release_fixture

from assets.errors import WhalecurveError
from assets.publish.explain import explain
from assets.publish.release import publish
from assets.publish.summary import summary

# The release takes most of a minute to make, once for all tests that read it.
pytestmark = pytest.mark.slow

COST = ("direct_cost_to_serve", "activity_cost_variable", "activity_cost_step_fixed", "activity_cost_fixed")
CREDIT = ("expected_credit_loss", "financing_cost")


@pytest.fixture(scope="module")
def release(small_demo):
    """Reads a published table from its Parquet file, as dictionaries."""

    def read(table):
        cursor = duckdb.execute(f"select * from read_parquet('{small_demo.release}/{table}.parquet')")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return read


@pytest.fixture(scope="module")
def said(small_demo):
    return summary(small_demo.data / "releases")


def number(text):
    return Decimal(text.replace(",", ""))


def cents(amount):
    return amount.quantize(Decimal("0.01"))


def totals(rows, *columns):
    found = defaultdict(lambda: [Decimal(0)] * len(columns))
    for row in rows:
        found[row["customer_id"]] = [
            total + sum(row[name] for name in (column if isinstance(column, tuple) else (column,)))
            for total, column in zip(found[row["customer_id"]], columns, strict=True)
        ]
    return found


# The summary


def test_the_heading_gives_the_totals_of_all_customers(said, release):
    rows = release("customer_profitability")
    profit = sum(row["operating_profit"] for row in rows)
    expected = [
        len({row["customer_id"] for row in rows}),
        *(cents(sum(row[name] for row in rows)) for name in ("net_revenue", "gross_margin")),
        cents(profit),
        cents(profit - sum(row["amount"] for row in release("residual_cost_lines"))),
    ]
    found = re.match(
        r"As of (\S+): ([\d,]+) customers, net revenue ([-\d,.]+), gross margin ([-\d,.]+)\.\n"
        r"Operating profit on customers ([-\d,.]+), after residual lines \(full absorption\) ([-\d,.]+)\.\n",
        said,
    )
    assert found[1] == str(max(row["as_of_date"] for row in release("customers")))
    assert [number(text) for text in found.groups()[1:]] == expected


def test_the_best_and_the_worst_customers_are_those_of_the_marts(said, release):
    found = totals(release("customer_profitability"), "net_revenue", "gross_margin", COST, CREDIT, "operating_profit")
    names = {row["customer_id"]: row["customer_name"] or "" for row in release("customers")}
    ranked = sorted(found, key=lambda customer: (-found[customer][4], customer))
    table = said.split("\n\n")[1].splitlines()
    assert re.sub(r" +", " ", table[0]) == "customer name net revenue gross margin cost to serve credit cost profit"
    for customer, line in zip(ranked[:5] + ranked[-5:], table[1:6] + table[7:], strict=True):
        assert line.startswith(customer)
        figures = line.split()[-5:]
        assert [number(text) for text in figures] == [cents(amount) for amount in found[customer]]
        shown = line[10 : line.index(figures[0])].strip()
        assert shown
        assert names[customer].startswith(shown)
    assert table[6].endswith(f"{len(ranked) - 10:,} more customers of {len(ranked)}")


def test_the_peak_of_the_whale_curve_is_where_profit_turns(said, release):
    found = totals(release("customer_profitability"), "operating_profit")
    profits = sorted((profit for (profit,) in found.values()), reverse=True)
    peak, total = sum(profit for profit in profits if profit > 0), sum(profits)
    earning = sum(profit > 0 for profit in profits)
    line = re.search(
        r"the best ([\d,]+) of ([\d,]+) customers earn ([\d,.]+), ([\d.]+)% of the total; "
        r"the other ([\d,]+) cost ([\d,.]+) of it",
        said,
    )
    assert [number(text) for text in line.groups()] == [
        earning,
        len(profits),
        cents(peak),
        (peak / total * 100).quantize(Decimal("0.1")),
        len(profits) - earning,
        cents(peak - total),
    ]


def test_the_ledger_identity_stands_on_three_tables_and_on_the_raw_ledger(said, small_demo, release):
    ledger = Decimal(sum(row["amount_cents"] for row in release("pool_cost_lines"))) / 100
    pools = sum(row["actual_amount"] for row in release("cost_pools"))
    on_customers = sum(row["amount"] for row in release("customer_cost_lines"))
    residual = sum(row["amount"] for row in release("residual_cost_lines"))
    assert ledger == pools == on_customers + residual

    shown = {name: number(text) for name, text in re.findall(r"^  (ledger|cost pools|assigned) +([\d,.]+)", said, re.M)}
    assert shown == {"ledger": ledger, "cost pools": pools, "assigned": on_customers + residual}
    parts = re.search(r"= ([\d,.]+) on customers \+ ([\d,.]+) on residual lines", said)
    assert [number(text) for text in parts.groups()] == [on_customers, residual]

    # The demo's cost accounts are 6601 and 6602. The raw layer holds some lines twice, and readable ones only once count.
    raw = duckdb.execute(
        f"""
        select sum(functional_amount) from (
            select * from read_parquet('{small_demo.data}/raw/gl_entry/*/*/load.parquet', hive_partitioning = false)
            where quarantine_reason is null
            qualify row_number() over (
                partition by journal_id, journal_line_number order by extract_date desc, source_file desc, source_row desc
            ) = 1
        ) where gl_account_number[:4] in ('6601', '6602')
        """
    ).fetchone()[0]
    assert raw == ledger


def test_every_residual_line_is_listed_largest_first(said, release):
    expected = defaultdict(Decimal)
    for row in release("residual_cost_lines"):
        expected[row["residual_line"]] += row["amount"]
    shown = [(name, number(text)) for text, name in re.findall(r"^ +([-\d,.]+)  ([A-Z]+:\w+)$", said, re.M)]
    assert shown == sorted(expected.items(), key=lambda line: -line[1])


def test_a_release_without_warnings_has_none(said, release):
    assert all(row["status"] == "pass" for row in release("reconciliation"))
    assert "WARNING" not in said


# Explaining


@pytest.fixture(scope="module")
def ask(small_demo):
    def asked(customer, month=None, pool=None):
        return explain(small_demo.data / "releases", customer, month, pool)

    return asked


EQUATION = re.compile(
    r"^  (-?[\d,.]+) = ([\d,.]+) of ([\d,.]+) \S+ x (-?[\d,.]+)(?: less [\d,.]+ of [\d,.]+ \S+ x (-?[\d,.]+))? "
    r"\((?:no rounding cent|([+-][12]) cent rounding); pool ",
    re.M,
)


def block(text, line):
    """What an answer says of one cost line."""
    (found,) = [part for part in text.split("\n\n")[1:] if f"\n  {line['amount']:,.2f} " in part]
    return found


def months_of(rows, customer):
    return sorted({row["month"] for row in rows if row["customer_id"] == customer})


def test_every_cent_of_every_customer_can_be_worked_out_by_hand(ask, release):
    """The chain amount = pool x quantity / total + rounding cent, for all cost lines of a year's worth of customers."""
    lines = release("customer_cost_lines")
    customers = sorted({line["customer_id"] for line in lines})[::4]
    checked = 0
    for customer in customers:
        month = months_of(lines, customer)[-1]
        own = [line for line in lines if (line["customer_id"], line["month"]) == (customer, month)]
        text = ask(customer, month)
        head = re.match(rf"{customer}, {month:%Y-%m}: (-?[\d,.]+) on (\d+) cost line", text)
        assert (number(head[1]), int(head[2])) == (sum(line["amount"] for line in own), len(own))
        by_hand = []
        for amount, quantity, total, pool, before, bit in EQUATION.findall(text):
            whole = 0
            for sign, cost in ((1, pool), (-1, before)):
                share = number(cost or "0") * 100 * number(quantity) / number(total)
                whole += sign * int(share)  # towards zero, as the allocation rounds
            assert int(number(amount) * 100) == whole + int(bit or 0)
            by_hand.append(number(amount))
            checked += 1
        direct = [number(text) for text in re.findall(r"^  (-?[\d,.]+) posted with this customer", text, re.M)]
        assert sorted(by_hand + direct) == sorted(line["amount"] for line in own)
    assert checked > 30


def test_the_pool_of_an_explanation_is_the_sum_of_its_ledger_lines(ask, release):
    line = max(
        (line for line in release("customer_cost_lines") if line["pool_id"] == "customer_service"),
        key=lambda line: (line["amount"], line["customer_id"]),
    )
    same = ("month", "driver_month", "pool_id", "behaviour")
    ledger = [row for row in release("pool_cost_lines") if all(row[name] == line[name] for name in same)]
    text = block(ask(line["customer_id"], line["month"], line["pool_id"]), line)
    total, count = re.search(r"  ledger: ([-\d,.]+) in (\d+) lines?$", text, re.M).groups()
    assert number(total) == Decimal(sum(row["amount_cents"] for row in ledger)) / 100
    received = re.search(r"  received: ([-\d,.]+) from", text)
    assert line["pool_amount"] == number(total) + (number(received[1]) if received else 0)
    assert int(count) == len(ledger)
    text = text.partition("  received: ")[0]
    shown = re.findall(r"^ +(-?[\d,.]+)  (\S+)/(\S+)  .*\((\S+) line (\d+)\)$", text, re.M)
    keyed = {(row["journal_id"], str(row["journal_line_number"])): row for row in ledger}
    assert shown
    for amount, journal, number_in_journal, file, row in shown:
        found = keyed[journal, number_in_journal]
        assert (number(amount) * 100, file, int(row)) == (
            found["amount_cents"],
            found["source_file"],
            found["source_row"],
        )


def test_a_direct_line_is_what_was_posted_with_the_customer(ask, release):
    line = max(
        (line for line in release("customer_cost_lines") if line["stage"] == "direct"),
        key=lambda line: (line["amount"], line["customer_id"]),
    )
    posted = [
        row["amount_cents"]
        for row in release("pool_cost_lines")
        if all(row[name] == line[name] for name in ("month", "driver_month", "pool_id", "behaviour", "customer_id"))
    ]
    text = ask(line["customer_id"], line["month"], line["pool_id"])
    assert Decimal(sum(posted)) / 100 == line["amount"]
    assert f"{line['amount']:,.2f} posted with this customer in the ledger" in text
    assert f"ledger: {line['amount']:,.2f} in {len(posted)} line" in text


@pytest.mark.parametrize(
    ("pool", "source"),
    [
        ("field_visits", "select activity_id from facts.fct_activities"),
        ("customer_service", "select case_id from facts.fct_service_cases"),
        ("collections", "select payment_id from facts.fct_payments"),
    ],
)
def test_the_driver_rows_are_records_of_the_customer_and_add_up(pool, source, ask, small_demo, release):
    line = max(
        (line for line in release("customer_cost_lines") if line["pool_id"] == pool),
        key=lambda line: (line["driver_quantity"], line["customer_id"]),
    )
    text = ask(line["customer_id"], line["month"], pool)
    count, quantity, listed = re.search(r"driver rows: (\d+) records? behind ([\d,.]+) \S+: (.*)$", text, re.M).groups()
    assert number(quantity) == line["driver_quantity"]
    records = re.findall(r"(\S+) \((-?[\d,.]+)\)", listed)
    with duckdb.connect(str(small_demo.data / "warehouse.duckdb"), read_only=True) as warehouse:
        known = {
            record
            for (record,) in warehouse.execute(
                f"{source} where customer_id = ? and month = ?", [line["customer_id"], line["month"]]
            ).fetchall()
        }
    assert records
    assert {record for record, _ in records} <= known
    if " more" not in listed:
        assert len(records) == int(count)
        assert sum(number(text) for _, text in records) == line["driver_quantity"]


def test_without_a_month_it_is_the_latest_with_cost(ask, release):
    lines = release("customer_cost_lines")
    customer = lines[0]["customer_id"]
    latest = months_of(lines, customer)[-1]
    assert ask(customer) == ask(customer, latest)
    assert ask(customer).startswith(f"{customer}, {latest:%Y-%m}: ")


def test_what_has_no_answer_says_which_part_and_what_would_have_one(ask, release):
    lines = release("customer_cost_lines")
    customer = lines[0]["customer_id"]
    months = months_of(lines, customer)
    with pytest.raises(WhalecurveError, match=r"no customer 'C0001'.*did you mean C000"):
        ask("C0001")
    with pytest.raises(
        WhalecurveError, match=rf"{customer} carries no cost in 1999-01; it does in {len(months)} months"
    ):
        ask(customer, datetime.date(1999, 1, 1))
    with pytest.raises(WhalecurveError, match="no cost of the pool 'no_such_pool'"):
        ask(customer, months[0], "no_such_pool")
    without = {row["customer_id"] for row in release("customers")} - {line["customer_id"] for line in lines}
    if without:
        with pytest.raises(WhalecurveError, match="carries no cost in the current release"):
            ask(min(without))


def test_accepted_failures_and_amounts_left_out_are_said_with_the_first_of_them(tmp_path):
    connection = release_fixture.build()
    connection.execute(
        "insert into marts.reconciliation select month, 'voucher_balance', 10, 0, 0, 10, 0, 'warn', 'warn', 'It is known.' "
        "from marts.control_failures"
    )
    suites = release_fixture.record_passes(connection)
    publish(
        *(connection, tmp_path),
        **{"as_of": release_fixture.AS_OF, "company": "test", "run_id": "run", "git_sha": "abc", "hashes": {}},
        tables=release_fixture.RELATIONS,
        suites=suites,
    )
    said = summary(tmp_path)
    assert (
        "voucher_balance does not tie in 24 months: ledger 240.00, here 0.00, difference 240.00. It is known.\n" in said
    )
    failure = "         ledger: voucher J-1 does not balance: debits 100.00, credits 90.00."
    assert said.count(f"\n{failure}") == 3
    assert "\n         and 21 more in control_failures" in said
    assert (
        "LEFT OUT  1 invoice rows of billing from 2026-06-30 to 2026-06-30, 12.50 USD in all: no rate of the day or the 30 "
        "days before it." in said
    )


def test_no_release_says_what_to_run(tmp_path):
    with pytest.raises(WhalecurveError, match=r"no release .* run `whalecurve run` first"):
        summary(tmp_path / "releases")
    with pytest.raises(WhalecurveError, match=r"no release .* run `whalecurve run` first"):
        explain(tmp_path / "releases", "C1", None, None)
