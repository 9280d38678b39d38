"""What customers owe, from invoices and payments to both credit lines of their profit: published figures, corners, random books.

The dbt models are rendered by plain Jinja and run over a few rows each, against the same thing counted day by day.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import jinja2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.analytics import credit
from assets.company import Company
from assets.costing.rule_tables import write_rules
from assets.ingest.sql import insert_rows

PROJECT = Path(__file__).parents[2] / "dbt_project"
MODELS = (
    *("receivable_documents", "receivable_clearings", "receivable_items", "receivable_balances", "receivable_months"),
    *("loss_rates", "expected_credit_losses", "customer_credit_costs"),
)
AGES = ("not_due", "overdue_1_30", "overdue_31_60", "overdue_61_90", "overdue_over_90")
MUST_BE_EMPTY = "assert_receivables_add_up"


class Invoice(NamedTuple):
    date: str
    amount: str
    due: str | None = None
    customer: str = "c"
    kind: str = "invoice"


class Payment(NamedTuple):
    date: str
    amount: str
    customer: str = "c"
    document_amount: str | None = None
    """In the currency of the payment, where that is another one."""


class Applied(NamedTuple):
    """Positions of a payment and an invoice in their lists, and what of the one was applied to the other, on which day."""

    payment: int
    invoice: int
    date: str
    amount: str


def _render() -> dict[str, str]:
    folders = {path.stem: path.parent.name for path in PROJECT.glob("models/*/*.sql")}
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    environment.globals["target"] = {"type": "duckdb"}
    environment.globals |= {
        "config": lambda **settings: "",
        "ref": lambda model: f"{folders[model]}.{model}",
        "source": lambda schema, table: f"{schema}.{table}",
    }
    macros = "".join(
        (PROJECT / "macros" / f"{name}.sql").read_text()
        for name in ("dialect", "units", "currency", "timeline", "receivables", "incremental")
    )
    sql = {
        model: f"create or replace table credit.{model} as "
        + environment.from_string(macros + (PROJECT / "models" / "credit" / f"{model}.sql").read_text()).render()
        for model in MODELS
    }
    sql[MUST_BE_EMPTY] = environment.from_string(
        macros + (PROJECT / "tests" / f"{MUST_BE_EMPTY}.sql").read_text()
    ).render()
    return sql


_SQL = _render()


@pytest.fixture(scope="module")
def rules_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rules")


def company_table(folder: Path, **credit_settings: Any) -> str:
    costing = folder / "costing"
    costing.mkdir(exist_ok=True)
    (costing / "pools.csv").write_text("pool_id,pool_name,stage,behaviour,rule_id\nother,Other,direct,variable,R\n")
    (costing / "drivers.csv").write_text("driver_id,driver_name,unit,measure\norders,Orders,order,orders\n")
    (costing / "ledger_scope.csv").write_text("rule_id,gl_account_from,role,reason\nS,9,out_of_scope,none\n")
    company = Company.model_validate(
        {
            **{"company": "toy", "name": "Toy", "base_currency": "EUR", "first_business_date": "2026-01-01"},
            **{"sources": {"erp": {"dialect": "any"}}, "credit": {"cost_of_capital": 0.1, **credit_settings}},
        }
    )
    write_rules(company, folder, folder / "rules")
    return str(folder / "rules" / "company.parquet")


def books(
    folder: Path,
    as_of: str,
    invoices: Iterable[Invoice] = (),
    payments: Iterable[Payment] = (),
    applied: Iterable[Applied] = (),
    terms: dict[str, int] | None = None,
    **credit_settings: Any,
) -> duckdb.DuckDBPyConnection:
    """A database with the tables of schema credit. Payments are delivered, if only one of nothing."""
    payments = [*payments] or [Payment(as_of, "0", "nobody")]
    connection = duckdb.connect()
    for schema in ("rules", "facts", "staging", "credit"):
        connection.execute(f"create schema {schema}")
    connection.execute(f"create table rules.company as from '{company_table(folder, **credit_settings)}'")
    connection.execute("""
        create table facts.as_of (as_of_date date, as_of_month date);
        create table facts.fct_invoices (
            customer_id varchar, source_instance varchar, document_type varchar, invoice_id varchar, invoice_date date,
            due_date date, gross_amount decimal(22, 4));
        create table facts.fct_payments (
            customer_id varchar, source_instance varchar, payment_id varchar, payment_date date, amount decimal(22, 4));
        create table staging.stg_payments (source_instance varchar, payment_id varchar, amount decimal(22, 4));
        create table staging.stg_payment_applications (
            source_instance varchar, payment_application_id varchar, payment_id varchar, invoice_id varchar,
            applied_date date, applied_amount decimal(22, 4));
        create table facts.dim_customers (customer_id varchar, terms_due_days bigint);
    """)
    connection.execute("insert into facts.as_of select $1::date, date_trunc('month', $1::date)", [as_of])
    for table, rows in {
        "facts.fct_invoices": [
            (one.customer, "erp", one.kind, str(number), one.date, one.due, one.amount)
            for number, one in enumerate(invoices)
        ],
        "facts.fct_payments": [
            (one.customer, "erp", str(number), one.date, one.amount) for number, one in enumerate(payments)
        ],
        "staging.stg_payments": [
            ("erp", str(number), one.document_amount or one.amount) for number, one in enumerate(payments)
        ],
        "staging.stg_payment_applications": [
            ("erp", str(number), str(one.payment), str(one.invoice), one.date, one.amount)
            for number, one in enumerate(applied)
        ],
        "facts.dim_customers": list((terms or {}).items()),
    }.items():
        insert_rows(connection, table, rows)
    for model in MODELS:
        connection.execute(_SQL[model])
    assert connection.execute(_SQL[MUST_BE_EMPTY]).fetchall() == []
    return connection


def one_row(connection: duckdb.DuckDBPyConnection, table: str, month: str, customer: str = "c") -> dict[str, Any]:
    result = connection.execute(
        f"select * from credit.{table} where customer_id = ? and month = ?", [customer, f"{month}-01"]
    )
    names = [column[0] for column in result.description]
    (row,) = result.fetchall()
    return dict(zip(names, row, strict=True))


def ages(connection: duckdb.DuckDBPyConnection, month: str, customer: str = "c") -> list[Decimal]:
    row = one_row(connection, "receivable_balances", month, customer)
    return [row[age] for age in AGES]


def test_days_sales_outstanding_of_jd_edwards(rules_folder):
    """Oracle JD Edwards documentation: 10,869 open, 90 days, sales of three months 5,538 + 4,566 + 7,570 -> 55.35."""
    invoices = [Invoice("2026-01-10", "5538"), Invoice("2026-02-10", "4566"), Invoice("2026-03-10", "7570")]
    connection = books(rules_folder, "2026-03-31", invoices, [Payment("2026-03-20", "6805")])
    row = one_row(connection, "receivable_months", "2026-03")
    assert (row["closing_balance"], row["days_3m"], row["dso"]) == (10869, 90, 55.35)


def test_countback_of_one_month(rules_folder):
    """The Motley Fool: 18 open, sales of a month of 30 days 20 -> 27 days."""
    connection = books(rules_folder, "2026-04-30", [Invoice("2026-04-02", "20")], [Payment("2026-04-20", "2")])
    row = one_row(connection, "receivable_months", "2026-04")
    assert (row["dso"], row["countback_dso"]) == (27, 27)


def test_countback_eats_the_latest_months_first(rules_folder):
    """The figures of benjipays (212 against 100, 80, 70 thousand) on a calendar: 30 days of June, 31 of May, 32/70 of April."""
    invoices = [Invoice(f"2026-0{month}-05", amount) for month, amount in ((4, "70"), (5, "80"), (6, "100"))]
    connection = books(rules_folder, "2026-06-30", invoices, [Payment("2026-06-20", "38")])
    assert one_row(connection, "receivable_months", "2026-06")["countback_dso"] == round(30 + 31 + 32 / 70 * 30, 2)


def test_countback_stops_where_the_balance_is_used_up(rules_folder):
    """All of March and nothing before it is open: February, without sales, is not counted."""
    invoices = [Invoice("2026-01-05", "80"), Invoice("2026-03-05", "100")]
    connection = books(rules_folder, "2026-03-31", invoices, [Payment("2026-01-20", "80")])
    assert one_row(connection, "receivable_months", "2026-03")["countback_dso"] == 31


IFRS_9_EXAMPLE_12 = {
    **{"not_due": 0.003, "overdue_1_30": 0.016, "overdue_31_60": 0.036, "overdue_61_90": 0.066},
    "overdue_over_90": 0.106,
}


def test_provision_matrix_of_ifrs_9(rules_folder):
    """IFRS 9, illustrative example 12: 15/7.5/4/2.5/1 million at 0.3/1.6/3.6/6.6/10.6 % -> 580,000."""
    due = {"a": ("2026-07-10", 15), "b": ("2026-06-15", 7.5), "c": ("2026-05-15", 4), "d": ("2026-04-15", 2.5)}
    due["e"] = ("2026-03-01", 1)
    invoices = [
        Invoice("2026-02-01", str(Decimal(str(millions)) * 1_000_000), day, customer)
        for customer, (day, millions) in due.items()
    ]
    connection = books(rules_folder, "2026-06-30", invoices, loss_rates=IFRS_9_EXAMPLE_12)
    allowances = {
        customer: one_row(connection, "expected_credit_losses", "2026-06", customer)["allowance"] for customer in due
    }
    assert allowances == {"a": 45_000, "b": 120_000, "c": 144_000, "d": 165_000, "e": 106_000}
    assert sum(allowances.values()) == 580_000
    (total,) = connection.execute("select sum(expected_credit_loss) from credit.customer_credit_costs").fetchone()
    assert total == 580_000


def test_financing_is_balance_times_days_times_rate(rules_folder):
    """36,500 open for the 20 days from the 1st to the 20th, at 10 % a year: 20 x 10.00."""
    connection = books(rules_folder, "2026-06-30", [Invoice("2026-06-01", "36500")], [Payment("2026-06-21", "36500")])
    assert one_row(connection, "receivable_balances", "2026-06")["balance_days"] == 36500 * 20
    assert one_row(connection, "customer_credit_costs", "2026-06")["financing_cost"] == 200


def test_who_pays_in_advance_is_financed_below_zero(rules_folder):
    connection = books(rules_folder, "2026-06-30", [Invoice("2026-06-21", "36500")], [Payment("2026-06-11", "36500")])
    assert one_row(connection, "customer_credit_costs", "2026-06")["financing_cost"] == -100
    assert one_row(connection, "receivable_balances", "2026-06")["unapplied_credit"] == 0


def test_without_applications_the_oldest_is_paid_first(rules_folder):
    invoices = [Invoice("2026-04-01", "100", "2026-05-01"), Invoice("2026-05-01", "100", "2026-05-31")]
    connection = books(rules_folder, "2026-06-30", invoices, [Payment("2026-06-15", "150")])
    assert ages(connection, "2026-05") == [100, 100, 0, 0, 0]
    assert ages(connection, "2026-06") == [0, 50, 0, 0, 0]
    row = one_row(connection, "receivable_months", "2026-06")
    assert row["days_late_paid"] == round((100 * 45 + 50 * 15) / 150, 2)
    assert row["days_late_open"] == 30


def test_an_application_comes_before_the_order_of_dates(rules_folder):
    invoices = [Invoice("2026-04-01", "100", "2026-05-01"), Invoice("2026-05-01", "100", "2026-05-31")]
    payments = [Payment("2026-06-10", "100"), Payment("2026-06-15", "20")]
    connection = books(rules_folder, "2026-06-30", invoices, payments, [Applied(0, 1, "2026-06-12", "100")])
    assert ages(connection, "2026-06") == [0, 0, 80, 0, 0]
    said = connection.execute("select cleared_by, cleared_date, amount from credit.receivable_clearings order by 1")
    assert said.fetchall() == [
        ("application", datetime.date(2026, 6, 12), 100),
        ("oldest_first", datetime.date(2026, 6, 15), 20),
    ]


def test_a_credit_note_taken_off_a_payment_clears_what_the_payment_cleared(rules_folder):
    invoices = [
        Invoice("2026-04-01", "70"),
        Invoice("2026-05-01", "150"),
        Invoice("2026-05-05", "-50", kind="credit_note"),
    ]
    applied = [Applied(0, 1, "2026-06-01", "150"), Applied(0, 2, "2026-06-01", "-50")]
    connection = books(rules_folder, "2026-06-30", invoices, [Payment("2026-06-01", "100")], applied)
    still_open = connection.execute(
        "select document_id, open_amount from credit.receivable_items where open_amount != 0"
    ).fetchall()
    assert still_open == [("0", 70)]


def test_what_is_applied_twice_or_too_much_or_to_somebody_else(rules_folder):
    invoices = [Invoice("2026-05-01", "100"), Invoice("2026-05-02", "100", customer="d")]
    payments = [Payment("2026-05-10", "80"), Payment("2026-05-11", "70")]
    applied = [
        Applied(0, 0, "2026-05-10", "90"),
        Applied(1, 0, "2026-05-11", "70"),
        Applied(1, 1, "2026-05-11", "70"),
        Applied(1, 0, "2026-05-12", "-70"),
        Applied(7, 0, "2026-05-12", "5"),
        Applied(0, 7, "2026-05-12", "5"),
    ]
    connection = books(rules_folder, "2026-05-31", invoices, payments, applied)
    assert one_row(connection, "receivable_balances", "2026-05")["unapplied_credit"] == 50
    assert ages(connection, "2026-05", "d") == [100, 0, 0, 0, 0]


def test_an_application_taken_back_clears_nothing(rules_folder):
    invoices = [Invoice("2026-05-01", "100"), Invoice("2026-05-02", "100")]
    applied = [Applied(0, 1, "2026-05-10", "-80")]
    connection = books(rules_folder, "2026-05-31", invoices, [Payment("2026-05-10", "80")], applied)
    cleared = connection.execute("select document_id, cleared_by, amount from credit.receivable_clearings").fetchall()
    assert cleared == [("0", "oldest_first", 80)]


def test_an_application_in_the_currency_of_the_payment(rules_folder):
    """Half of 200 dollars that were worth 180 euros."""
    connection = books(
        rules_folder,
        "2026-05-31",
        [Invoice("2026-05-01", "50"), Invoice("2026-05-02", "90"), Invoice("2026-05-03", "90")],
        [Payment("2026-05-10", "180", document_amount="200")],
        [Applied(0, 1, "2026-05-10", "100"), Applied(0, 2, "2026-05-10", "100")],
    )
    assert connection.execute("select document_id from credit.receivable_items where open_amount > 0").fetchall() == [
        ("0",)
    ]


def test_a_due_date_nobody_said(rules_folder):
    """The customer's terms, else the company's; and one before its invoice is due with the invoice."""
    invoices = [
        Invoice("2026-05-01", "1", None, "known"),
        Invoice("2026-05-01", "1", None, "unknown"),
        Invoice("2026-05-01", "1", "1999-01-01", "wrong"),
    ]
    connection = books(rules_folder, "2026-05-31", invoices, terms={"known": 10}, default_payment_days=20)
    found = connection.execute(
        "select customer_id, due_date, is_due_date_assumed from credit.receivable_items order by 1"
    ).fetchall()
    assert found == [
        ("known", datetime.date(2026, 5, 11), True),
        ("unknown", datetime.date(2026, 5, 21), True),
        ("wrong", datetime.date(2026, 5, 1), False),
    ]


def test_overpaid_refunded_and_paid_without_any_invoice(rules_folder):
    connection = books(
        rules_folder,
        "2026-06-30",
        [Invoice("2026-05-01", "100")],
        [Payment("2026-05-05", "130"), Payment("2026-06-05", "-30"), Payment("2026-05-01", "7", "stranger")],
    )
    assert one_row(connection, "receivable_months", "2026-05")["unapplied_credit"] == 30
    june = one_row(connection, "receivable_months", "2026-06")
    assert (june["closing_balance"], june["unapplied_credit"], june["countback_dso"]) == (0, 0, 0)
    stranger = one_row(connection, "receivable_months", "2026-06", "stranger")
    assert (stranger["closing_balance"], stranger["dso"], stranger["countback_dso"]) == (-7, None, 0)
    assert one_row(connection, "expected_credit_losses", "2026-06", "stranger")["allowance"] == 0


def test_nothing_after_the_as_of_date_counts(rules_folder):
    connection = books(
        rules_folder,
        "2026-06-10",
        [Invoice("2026-06-01", "100"), Invoice("2026-06-02", "50"), Invoice("2026-06-11", "1000")],
        [Payment("2026-06-05", "50"), Payment("2026-06-20", "1000")],
        [Applied(0, 1, "2026-06-12", "50")],
    )
    row = one_row(connection, "receivable_months", "2026-06")
    assert (row["closing_balance"], row["day_count"], row["sales_amount"]) == (100, 10, 150)
    assert connection.execute("select cleared_by from credit.receivable_clearings").fetchall() == [("oldest_first",)]


def test_what_is_paid_on_the_as_of_date_is_paid(rules_folder):
    connection = books(rules_folder, "2026-06-10", [Invoice("2026-05-20", "100")], [Payment("2026-06-10", "100")])
    assert ages(connection, "2026-05") == [100, 0, 0, 0, 0]
    assert ages(connection, "2026-06") == [0, 0, 0, 0, 0]


def test_what_is_given_up_is_lost_whole_and_once(rules_folder):
    connection = books(
        rules_folder, "2026-06-30", [Invoice("2024-01-01", "100", "2024-01-31")], loss_rates=IFRS_9_EXAMPLE_12
    )
    row = one_row(connection, "receivable_balances", "2026-06")
    assert (row["overdue_over_90"], row["past_write_off"], row["overdue"]) == (100, 100, 100)
    assert one_row(connection, "expected_credit_losses", "2026-06")["allowance"] == 100


def test_one_wrong_year_makes_no_century_of_months(rules_folder):
    connection = books(rules_folder, "2026-06-30", [Invoice("0206-06-01", "100"), Invoice("2026-06-01", "1")])
    (months,) = connection.execute("select count(*) from credit.receivable_balances").fetchone()
    assert months == 120
    assert one_row(connection, "receivable_balances", "2026-06")["closing_balance"] == 101


def monthly_sales(months: int) -> tuple[list[Invoice], list[Payment]]:
    """100 a month, due and paid at once; but of twenty the first is never paid, and the eleventh after 50 days."""
    invoices, payments = [], []
    for number in range(months):
        day = datetime.date(2021 + number // 12, number % 12 + 1, 5)
        customer = f"c{number}"
        invoices.append(Invoice(day.isoformat(), "100", day.isoformat(), customer))
        late = {0: None, 10: 50}.get(number % 20, 0)
        if late is not None:
            payments.append(Payment((day + datetime.timedelta(days=late)).isoformat(), "100", customer))
    return invoices, payments


def test_three_years_of_history_make_the_matrix(rules_folder):
    """Of the 36 latest decided sales (months 12 to 47 of 60) 100 each, months 20 and 40 were lost, 30 paid after 50 days."""
    connection = books(rules_folder, "2025-12-31", *monthly_sales(60), forward_looking_factor=2)
    rates = connection.execute(
        "select ageing_bucket, reached_amount, lost_amount, loss_rate, rate_source from credit.loss_rates "
        "where month = '2025-12-01' order by ageing_bucket"
    ).fetchall()
    assert rates == [
        ("not_due", 3600, 200, Decimal("0.111111"), "flow_rates"),
        ("overdue_1_30", 300, 200, 1, "flow_rates"),
        ("overdue_31_60", 300, 200, 1, "flow_rates"),
        ("overdue_61_90", 200, 200, 1, "flow_rates"),
        ("overdue_over_90", 200, 200, 1, "flow_rates"),
        ("past_write_off", 200, 200, 1, "written_off"),
    ]
    sources = connection.execute(
        "select month, rate_source from credit.loss_rates where ageing_bucket = 'not_due' order by 1"
    ).fetchall()
    assert [source for _, source in sources] == ["none"] * 35 + ["flow_rates"] * 25


def test_declared_rates_come_before_history(rules_folder):
    declared = dict(zip(AGES, (0.01, 0.02, 0.03, 0.04, 0.05), strict=True))
    connection = books(rules_folder, "2025-12-31", *monthly_sales(60), loss_rates=declared)
    rates = dict(
        connection.execute(
            "select ageing_bucket, loss_rate from credit.loss_rates where month = '2025-12-01'"
        ).fetchall()
    )
    assert {age: float(rates[age]) for age in AGES} == declared
    assert rates["past_write_off"] == 1


# ---- random books against the same thing counted day by day ----

START = datetime.date(2025, 1, 1)
AS_OF = datetime.date(2025, 8, 17)
LENGTH = (AS_OF - START).days

days = st.integers(0, LENGTH + 20).map(lambda number: (START + datetime.timedelta(days=number)).isoformat())
invoice_lists = st.lists(
    st.builds(
        lambda day, cents, due, customer: Invoice(
            day,
            str(Decimal(cents) / 100),
            None if due is None else (datetime.date.fromisoformat(day) + datetime.timedelta(days=due)).isoformat(),
            customer,
            "credit_note" if cents < 0 else "invoice",
        ),
        days,
        st.integers(-3000, 9000),
        st.none() | st.integers(-5, 100),
        st.sampled_from("ab"),
    ),
    max_size=9,
)
payment_lists = st.lists(
    st.builds(
        lambda day, cents, customer: Payment(day, str(Decimal(cents) / 100), customer),
        days,
        st.integers(-2000, 9000),
        st.sampled_from("abx"),
    ),
    max_size=7,
)
application_lists = st.lists(
    st.builds(
        lambda payment, invoice, day, cents: Applied(payment, invoice, day, str(Decimal(cents) / 100)),
        st.integers(0, 7),
        st.integers(0, 9),
        days,
        st.integers(-3000, 9000),
    ),
    max_size=10,
)


def counted_by_day(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, datetime.date], dict[str, Any]]:
    """(customer, month) -> balance, balance_days, ages, from the documents and what cleared them, a day at a time."""
    documents = connection.execute(
        "select customer_id, document_kind, document_id, document_date, due_date, amount from credit.receivable_documents"
    ).fetchall()
    clearings = connection.execute(
        "select document_kind, document_id, cleared_date, amount from credit.receivable_clearings"
    ).fetchall()
    found: dict[tuple[str, datetime.date], dict[str, Any]] = {}
    for customer in {document[0] for document in documents}:
        own = [document for document in documents if document[0] == customer]
        balance_days = Decimal(0)
        day = min(document[3] for document in own).replace(day=1)
        while day <= AS_OF:
            balance = sum((amount for *_, date, _, amount in own if date <= day), Decimal(0))
            balance_days += balance
            if day == AS_OF or (day + datetime.timedelta(days=1)).day == 1:
                by_age = dict.fromkeys(AGES, Decimal(0))
                for _, kind, number, date, due, amount in own:
                    if amount > 0 and date <= day:
                        still = amount - sum(
                            part for k, n, cleared, part in clearings if (k, n) == (kind, number) and cleared <= day
                        )
                        late = (day - due).days
                        by_age[AGES[0 if late <= 0 else min((late - 1) // 30 + 1, 4)]] += still
                found[customer, day.replace(day=1)] = {
                    **by_age,
                    "closing_balance": balance,
                    "balance_days": balance_days,
                }
                balance_days = Decimal(0)
            day += datetime.timedelta(days=1)
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(invoice_lists, payment_lists, application_lists)
def test_intervals_find_what_counting_days_finds(rules_folder, invoices, payments, applied):
    connection = books(rules_folder, AS_OF.isoformat(), invoices, payments, applied)
    names = ["closing_balance", "balance_days", *AGES]
    rows = connection.execute(
        f"select customer_id, month, {', '.join(names)} from credit.receivable_balances"
    ).fetchall()
    assert {(customer, month): dict(zip(names, row, strict=True)) for customer, month, *row in rows} == counted_by_day(
        connection
    )
    (below_zero,) = connection.execute(
        "select count(*) from credit.receivable_balances where unapplied_credit < 0 or past_write_off > overdue_over_90"
    ).fetchone()
    assert below_zero == 0
    cent = Decimal("0.01")
    costs = {
        (customer, month): cost
        for customer, month, cost in connection.execute(
            "select customer_id, month, financing_cost from credit.customer_credit_costs"
        ).fetchall()
    }
    for (customer, month), row in counted_by_day(connection).items():
        expected = (row["balance_days"] * Decimal("0.1") / 365).quantize(cent, ROUND_HALF_UP)
        assert costs.get((customer, month), 0) == expected


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(invoice_lists, payment_lists, application_lists)
def test_no_document_gives_more_than_it_has(rules_folder, invoices, payments, applied):
    connection = books(rules_folder, AS_OF.isoformat(), invoices, payments, applied)
    items = connection.execute(
        "select customer_id, amount, cleared_amount, open_amount from credit.receivable_items"
    ).fetchall()
    for _, amount, cleared, still in items:
        assert cleared + still == amount
        assert min(amount, 0) <= still <= max(amount, 0)
    for customer in {item[0] for item in items}:
        signs = {still > 0 for owner, _, _, still in items if owner == customer and still != 0}
        assert len(signs) < 2, "a debt and a credit of one customer are both left over"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(invoice_lists, payment_lists)
def test_countback_is_the_walk_back_over_months(rules_folder, invoices, payments):
    connection = books(rules_folder, AS_OF.isoformat(), invoices, payments)
    rows = connection.execute(
        "select customer_id, month, closing_balance, sales_amount, day_count, countback_dso from credit.receivable_months "
        "order by 1, 2 desc"
    ).fetchall()
    for position, (customer, _, balance, _, _, counted) in enumerate(rows):
        earlier = [one for one in rows[position:] if one[0] == customer]
        expected = credit.countback_dso(
            float(balance), [float(one[3]) for one in earlier], [float(one[4]) for one in earlier]
        )
        assert counted == pytest.approx(expected, abs=0.011)


def test_without_payments_nobody_knows_what_is_owed(rules_folder):
    connection = books(rules_folder, "2026-06-30", [Invoice("2024-01-01", "500")], loss_rates=IFRS_9_EXAMPLE_12)
    assert connection.execute("select sum(closing_balance) from credit.receivable_balances").fetchone()[0] > 0
    connection.execute("delete from facts.fct_payments")
    connection.execute("drop table credit.receivable_documents")
    connection.execute(_SQL["receivable_documents"])
    assert connection.execute("select count(*) from credit.receivable_documents").fetchone() == (0,)


def test_a_company_that_says_nothing_of_credit_expects_no_loss(rules_folder):
    connection = books(rules_folder, "2026-06-30", [Invoice("2024-01-01", "500")], cost_of_capital=0)
    assert connection.execute("select distinct rate_source, loss_rate from credit.loss_rates").fetchall() == [
        ("none", 0)
    ]
    assert connection.execute("select count(*) from credit.customer_credit_costs").fetchone() == (0,)


def test_no_rows_at_all(rules_folder):
    connection = books(rules_folder, "2026-06-30")
    assert connection.execute("select count(*) from credit.customer_credit_costs").fetchone() == (0,)
