"""What is known of a customer on a date: counted by hand, complete, and blind to everything after the date."""

import datetime

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import features
from assets.analytics.features import EMPTY, CustomerHistory
from assets.analytics.history import known_orders
from assets.analytics.models import mbg_nbd, summaries

AS_OF = datetime.date(2026, 6, 30)
COLUMNS = {kind: list(frame.columns) for kind, frame in EMPTY._asdict().items()}


def days_ago(days):
    return AS_OF - datetime.timedelta(days=days)


def frame(kind, rows):
    return pd.DataFrame(rows, columns=COLUMNS[kind])


def history(**kinds):
    return EMPTY._replace(**{kind: frame(kind, rows) for kind, rows in kinds.items()})


def bought_on(customer, *days, revenue=100.0):
    return [(customer, days_ago(day), revenue) for day in days]


CUSTOMERS = [f"C{number}" for number in range(8)]
days = st.dates(datetime.date(2024, 1, 1), datetime.date(2027, 6, 30))
customers = st.sampled_from(CUSTOMERS)
amounts = st.sampled_from([-80.0, 0.0, 12.5, 100.0, 2_000_000.0])
histories = st.builds(
    CustomerHistory,
    st.lists(st.tuples(customers, days, amounts), max_size=40).map(lambda rows: frame("orders", rows)),
    st.lists(st.tuples(customers, days.map(lambda day: day.replace(day=1)), amounts, amounts), max_size=20).map(
        lambda rows: frame("monthly_profit", rows)
    ),
    st.lists(st.tuples(customers, days, st.booleans(), st.booleans()), max_size=20).map(
        lambda rows: frame("cases", rows)
    ),
    st.lists(st.tuples(customers, days, st.none() | st.integers(-20, 200)), max_size=20).map(
        lambda rows: frame(
            "payments_late",
            [
                (who, due, None if late is None else due + datetime.timedelta(days=late), late)
                for who, due, late in rows
            ],
        )
    ),
    st.lists(st.tuples(customers, days, st.floats(0, 1)), max_size=20).map(lambda rows: frame("surveys", rows)),
)


def test_purchases_by_hand():
    rows = bought_on("A", 400, 100, 40, 10) + bought_on("A", 40, revenue=20.0) + bought_on("B", 70)
    found = features.build(history(orders=rows), AS_OF)
    a = found.loc["A"]
    assert list(found.index) == ["A", "B"]
    assert (a["days_since_last_purchase"], a["customer_age_days"], a["active_span_days"]) == (10, 400, 390)
    assert a["purchases"] == 4, "two orders of one day are one purchase"
    assert [a[f"purchases_{window}"] for window in features.WINDOWS] == [1, 2, 2, 3, 3]
    assert [a[f"purchases_{window}_before"] for window in features.WINDOWS] == [1, 1, 1, 0, 1]
    assert (a["revenue"], a["revenue_per_purchase"]) == (420, 105)
    assert a["last_revenue_ratio"] == pytest.approx(100 / 105, abs=1e-6)
    assert (a["revenue_365"], a["revenue_365_before"]) == (320, 100)
    # The company's mean gap is 130 days over three gaps, all of them A's; two more of it change nothing for A.
    assert a["mean_gap_days"] == 130
    assert a["overdue_ratio"] == pytest.approx(10 / 130, abs=1e-6)
    assert a["last_gap_ratio"] == pytest.approx(30 / 130, abs=1e-6)
    assert a["gap_variation"] == pytest.approx(np.std([300, 60, 30]) / 130, abs=1e-6)
    assert found.loc["B", "mean_gap_days"] == 130, "who bought once has the company's rhythm"


def test_every_customer_has_its_own_gaps():
    rows = (
        bought_on("A", 100, 90, 50) + bought_on("B", 40) + bought_on("C", 200, 190, 180, 170) + bought_on("D", 90, 10)
    )
    found = features.build(history(orders=rows), AS_OF)
    company = (50 + 30 + 80) / 6
    assert found["mean_gap_days"].to_numpy() == pytest.approx(
        [(50 + 2 * company) / 4, company, (30 + 2 * company) / 5, (80 + 2 * company) / 3], abs=1e-6
    )
    assert found["gap_variation"].to_numpy() == pytest.approx([15 / 25, 1, 0, 1], abs=1e-6)


def test_the_same_season_a_year_ago():
    rows = bought_on("A", 365, 364, 276, 275, 274, 5)
    # The 90 days that followed this day a year ago: 364 to 275 days ago.
    assert features.build(history(orders=rows), AS_OF, horizon_days=90).loc["A", "same_season_last_year"] == 3
    assert features.build(history(orders=rows), AS_OF, horizon_days=1095).loc["A", "same_season_last_year"] == 5


def test_the_customers_and_counts_are_those_of_the_summaries():
    rows = bought_on("B", 50, 20, 20) + bought_on("A", 3) + bought_on("C", 9, revenue=-5.0) + bought_on("D", -4)
    found = features.build(history(orders=rows), AS_OF)
    summary = summaries.summarise(known_orders(frame("orders", rows), AS_OF), AS_OF)
    assert list(found.index) == list(summary.index) == ["A", "B"]
    assert found.index.dtype == summary.index.dtype
    assert list(found["purchases"] - 1) == list(summary["repeat_purchases"])
    for name in ("active_span_days", "customer_age_days", "days_since_last_purchase"):
        assert list(found[name]) == list(summary[name])


def test_rhythm_is_that_of_the_model_fitted_on_the_same_day():
    random = np.random.default_rng(3)
    rows = [row for n in range(80) for row in bought_on(f"C{n:02}", *random.integers(0, 500, 1 + n % 6).tolist())]
    found = features.build(history(orders=rows), AS_OF, horizon_days=60)
    weeks = [found[name].to_numpy() / 7 for name in ("active_span_days", "customer_age_days")]
    x = found["purchases"].to_numpy() - 1
    parameters = mbg_nbd.fit(summaries.compress(x, *weeks)).parameters
    p = mbg_nbd.probability_of_purchase(parameters, x, *weeks, 60 / 7)
    log_odds = np.log(p / (1 - p))
    assert (found["rested_log_odds"] + found["silence_log_odds"]).to_numpy() == pytest.approx(log_odds, abs=2e-6)
    assert (found["silence_log_odds"] <= 1e-9).all(), "silence never makes a purchase likelier"


def test_margin_counts_months_that_have_ended():
    monthly = [
        ("A", datetime.date(2026, 6, 1), 100.0, 40.0),
        ("A", datetime.date(2025, 7, 1), 100.0, 60.0),
        ("A", datetime.date(2025, 6, 1), 100.0, 10.0),
        ("B", datetime.date(2026, 5, 1), 200.0, 300.0),
    ]
    known = history(orders=bought_on("A", 30) + bought_on("B", 30) + bought_on("C", 30), monthly_profit=monthly)
    found = features.build(known, AS_OF)
    assert found.loc["A", "margin_12m"] == 0.5
    assert found.loc["A", "margin_change"] == pytest.approx(0.5 - 0.9)
    assert found.loc["B", "margin_12m"] == -0.5
    assert found.loc["B", "margin_change"] == 0, "nothing is known of its year before"
    assert found.loc["C", "margin_12m"] == 0, "the company's: (60 + 40 - 100) of 400"
    # On the last day but one June has not ended: its row would hold the day that is missing.
    assert features.build(known, days_ago(1)).loc["A", "margin_12m"] == pytest.approx(0.65)


def test_an_invoice_is_as_late_as_it_was_known_to_be():
    due = days_ago(40)
    cleared = [("A", due, days_ago(10), 30)]
    known = history(orders=bought_on("A", 60), payments_late=cleared)
    shrunk = 1 + features.SHRINKAGE_INVOICES
    assert features.build(known, AS_OF).loc["A", "days_late"] == pytest.approx(30 / shrunk)
    # Twenty days ago it was open and twenty days late; that it would take thirty nobody knew.
    assert features.build(known, days_ago(20)).loc["A", "days_late"] == pytest.approx(20 / shrunk)
    still_open = history(orders=bought_on("A", 60), payments_late=[("A", due, None, None)])
    assert features.build(still_open, days_ago(20)).loc["A", "days_late"] == pytest.approx(20 / shrunk)
    assert features.build(still_open, days_ago(50)).loc["A", "days_late"] == 0, "not due yet"
    early = history(orders=bought_on("A", 60), payments_late=[("A", due, days_ago(55), -15)])
    assert features.build(early, AS_OF).loc["A", "days_late"] == 0


def test_cases_and_surveys_by_hand():
    known = history(
        orders=bought_on("A", 300, 10) + bought_on("B", 10),
        cases=[("A", days_ago(5), True, False), ("A", days_ago(6), False, True), ("A", days_ago(365), True, True)],
        surveys=[("A", days_ago(3), 0.0), ("B", days_ago(3), 1.0), ("B", days_ago(-1), 0.0)],
    )
    a = features.build(known, AS_OF).loc["A"]
    assert (a["complaints_365"], a["cases_365"], a["escalations_365"], a["surveys_365"]) == (1, 2, 1, 1)
    assert a["complaint_rate"] == pytest.approx((1 + 5 * 1 / 3) / (2 + 5), abs=1e-6)
    assert a["survey_score"] == pytest.approx((0 + 0.5) / 2)
    assert a["own_survey_score"] == 0


def test_kinds_a_company_does_not_keep_are_the_same_for_all_customers():
    found = features.build(history(orders=bought_on("A", 300, 10) + bought_on("B", 10)), AS_OF)
    kinds = ["margin_12m", "margin_change", "complaints_365", "complaint_rate", "cases_365", "escalations_365"]
    kinds += ["survey_score", "surveys_365", "days_late", "days_late_change"]
    assert (found[kinds].nunique() == 1).all()


def test_the_label_is_a_purchase_within_the_horizon():
    rows = bought_on("A", 100, 9) + bought_on("B", 100, 10) + bought_on("C", 100) + bought_on("D", 15)
    rows += bought_on("C", 15, revenue=-100.0)
    found = features.bought(history(orders=rows), days_ago(20), 10)
    assert found.to_dict() == {"A": False, "B": True, "C": False}


def test_a_sample_is_the_same_customers_whatever_comes_later():
    rows = [row for n in range(300) for row in bought_on(f"C{n:03}", 50, 5)]
    known = history(orders=rows, surveys=[(f"C{n:03}", days_ago(3), 0.5) for n in range(300)])
    sampled = features.sample(known, AS_OF, 100)
    chosen = sorted(sampled.orders["customer_id"].unique())
    assert len(chosen) == 100
    assert len(sampled.orders) == 200
    assert sorted(sampled.surveys["customer_id"].unique()) == chosen
    assert chosen != [f"C{n:03}" for n in range(100)]
    later = [row for n in range(5000) for row in bought_on(f"L{n}", -3)]
    again = features.sample(known._replace(orders=frame("orders", later + rows[::-1])), AS_OF, 100)
    assert sorted(again.orders["customer_id"].unique()) == chosen
    assert features.sample(known, AS_OF, 300) is known


def known_by(known, as_of):
    """The history as it would have been delivered on a day: without what lies after it."""
    day = pd.Timestamp(as_of)

    def until(frame, date):
        return frame[pd.to_datetime(frame[date]) <= day]

    ended = pd.to_datetime(known.monthly_profit["month"]) + pd.offsets.MonthEnd(0) <= day
    late = until(known.payments_late, "due_date").copy()
    paid = pd.to_datetime(late["learned_on"]) <= day
    return CustomerHistory(
        until(known.orders, "order_date"),
        known.monthly_profit[ended],
        until(known.cases, "opened_on"),
        late.assign(learned_on=late["learned_on"].where(paid), days_late=late["days_late"].where(paid)),
        until(known.surveys, "responded_on"),
    )


@settings(max_examples=40, deadline=None)
@given(known=histories, seed=st.integers(0, 1000), horizon=st.sampled_from([1, 90, 365, 1095]))
def test_features_are_complete_and_see_nothing_of_the_future_nor_of_row_order(known, seed, horizon):
    found = features.build(known, AS_OF, horizon_days=horizon)
    assert np.isfinite(found.to_numpy()).all()
    assert all(dtype == "float64" for dtype in found.dtypes)
    past = CustomerHistory(*(kind.sample(frac=1, random_state=seed) for kind in known_by(known, AS_OF)))
    pd.testing.assert_frame_equal(found, features.build(past, AS_OF, horizon_days=horizon), check_exact=True)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        bought_on("A", -5),
        bought_on("A", 5, revenue=-5.0),
        bought_on("A", 0),
        bought_on("A", 3650),
        bought_on("A", *range(400)),
        [row for n in range(50) for row in bought_on(f"C{n}", 10)],
        [row for n in range(50) for row in bought_on(f"C{n}", *range(0, 700, 7))],
        bought_on("A", 10, revenue=9e11) + bought_on("B", 10, revenue=0.0001),
        [(None, AS_OF, 5.0), ("A", AS_OF, None)],
    ],
)
def test_any_company_has_features(rows):
    found = features.build(history(orders=rows), AS_OF)
    assert np.isfinite(found.to_numpy()).all()
    assert list(found.columns) == list(features.build(history(orders=bought_on("A", 5)), AS_OF).columns)


@pytest.mark.parametrize(
    ("case_type", "expected"),
    [
        *[(text, True) for text in ("Complaint", "complaint - delivery", "投诉", "Reklamation")],
        *[(text, False) for text in ("Return", "Question", "退货", None)],
    ],
)
def test_what_counts_as_a_complaint(case_type, expected):
    connection = duckdb.connect()
    connection.execute("create schema facts")
    connection.execute(
        "create table facts.fct_service_cases as select 'A' as customer_id, date '2026-06-01' as opened_date,"
        " cast($1 as varchar) as case_type, null::varchar as category, false as is_escalated",
        [case_type],
    )
    assert list(connection.execute(features.CASES).df()["is_complaint"]) == [expected]
