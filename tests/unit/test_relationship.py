"""Relationship strength: each part by hand, what is missing, the class that does not flip, and blindness to the future."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import relationship
from assets.company import Relationship, RelationshipWeights, Service

AS_OF = datetime.date(2026, 6, 30)
TODAY = pd.Timestamp(AS_OF)

ORDERS = ["customer_id", "order_date", "net_revenue"]
SURVEYS = ["customer_id", "responded_on", "survey_type", "score"]
CASES = [
    *("customer_id", "source_instance", "opened_at", "first_response_at", "closed_at"),
    *("status_class", "is_complaint"),
]
CONTACTS = ["customer_id", "contacted_on"]
CUSTOMERS = ["customer_id", "acquired_date"]


def ago(days, hours=0):
    return TODAY - pd.Timedelta(days=days) + pd.Timedelta(hours=hours)


def case(customer, days, *, answered=None, closed=None, complaint=False, status=None, source="crm"):
    """A case opened at noon `days` ago, answered and closed so many hours later."""
    opened = ago(days, 12)
    answer = opened + pd.Timedelta(hours=answered) if answered is not None else None
    end = opened + pd.Timedelta(hours=closed) if closed is not None else None
    return customer, source, opened, answer, end, status or ("open" if closed is None else "closed"), complaint


def history(orders=(), surveys=(), cases=(), contacts=(), customers=()):
    return relationship.History(
        *(
            pd.DataFrame(list(rows), columns=columns)
            for rows, columns in (
                (orders, ORDERS),
                (surveys, SURVEYS),
                (cases, CASES),
                (contacts, CONTACTS),
                (customers, CUSTOMERS),
            )
        )
    )


def scored(known, as_of=AS_OF, *, settings=None, service=None):
    table = relationship.strength(known, as_of, settings or Relationship(), service or Service())
    assert list(table.columns) == list(relationship.COLUMNS)
    return table.set_index("customer_id")


def test_satisfaction_counts_nps_by_promoters_and_shrinks_few_answers():
    surveys = [
        ("csat", ago(10), "csat", 0.9),
        ("csat", ago(20), "ces", 0.5),
        ("promoter", ago(10), "nps", 0.9),
        ("passive", ago(10), "nps", 0.7),
        ("detractor", ago(10), "nps", 0.6),
        ("changed", ago(10), "nps", 0.2),
        ("changed", ago(40), "nps", 1.0),
        ("both on a day", ago(5), "nps", 0.2),
        ("both on a day", ago(5), "nps", 1.0),
        ("old", ago(400), "csat", 1.0),
        ("other", ago(4), "other", 1.0),
        ("no scale", ago(4), "csat", None),
    ]
    result = scored(history(surveys=surveys, customers=[("old", None), ("other", None), ("no scale", None)]))
    # (0.9 + 0.5 + 1.4) / (2 + 2) = 0.7; (0.7 - 0.4) / 0.5 = 60 %
    assert result.loc["csat", "satisfaction_score"] == 60.0
    assert result.loc["promoter", "satisfaction_score"] == 80.0  # 2.4 / 3 = 0.8
    assert result.loc["passive", "satisfaction_score"] == 46.67  # 1.9 / 3
    assert result.loc["detractor", "satisfaction_score"] == 13.33  # 1.4 / 3
    assert result.loc["changed", "satisfaction_score"] == 40.0  # 2.4 / 4 = 0.6
    assert result["nps_class"].dropna().to_dict() == {
        "promoter": "promoter",
        "passive": "passive",
        "detractor": "detractor",
        "changed": "detractor",
        "both on a day": "detractor",
    }
    assert result.loc["csat", "survey_answers_12m"] == 2
    assert result.loc[["old", "other", "no scale"], "strength_class"].eq("unknown").all()


def test_loyalty_is_tenure_and_the_trend_of_orders():
    steady = [("steady", ago(days), 1) for days in (10, 100, 400, 700, 729)]
    # Two recent of three in the last 730 days; the acquired date lies three years before the last purchase.
    result = scored(history(orders=steady, customers=[("steady", ago(10 + 1095)), ("acquired later", ago(3))]))
    row = result.loc["steady"]
    assert (row["tenure_days"], row["orders_recent"], row["orders_before"]) == (1095, 2, 3)
    # tenure 100; trend (2 + 1) / (5 + 2) = 0.428571, of 0.2 to 0.6: 57.14; mean 78.57
    assert row["loyalty_score"] == 78.57


def test_a_short_history_has_halves_and_a_shorter_one_no_trend():
    orders = [("halves", ago(199), 1), ("halves", ago(5), 1), ("halves", ago(3), 1), ("new", ago(178), 1)]
    result = scored(history(orders=orders))
    # 200 days: 100 and 100. Trend (2 + 1) / (3 + 2) = 0.6: 100; tenure 196 / 1095 = 17.9
    assert result.loc["halves", ["orders_recent", "orders_before", "loyalty_score"]].tolist() == [2, 1, 58.95]
    assert pd.isna(result.loc["new", "orders_recent"])
    assert result.loc["new", "loyalty_score"] == 0.0
    assert "too short for a trend" in result.loc["new", "explanation"]


def test_nobody_who_has_ordered_in_neither_year_is_loyal_for_his_trend():
    result = scored(history(orders=[("gone", ago(2000), 1), ("gone", ago(1999), 1)]))
    assert result.loc["gone", "loyalty_score"] == round((1 / 1095 * 100 + 0) / 2, 2)
    assert result.loc["gone", "engagement_score"] == 0
    assert result.loc["gone", "strength_class"] == "weak"


def test_complaints_are_shrunk_and_known_only_where_cases_are_recorded():
    orders = [(name, ago(day), 1) for name in ("none", "two") for day in range(1, 31)] + [("one order", ago(1), 1)]
    cases = [case("two", 3, closed=1, complaint=True), case("two", 4, closed=1, complaint=True)]
    result = scored(history(orders=orders, cases=cases))
    # (0 + 1) / (30 + 20) = 0.02: 100. (2 + 1) / 50 = 0.06: 77.78. (0 + 1) / (1 + 20) = 0.0476: 84.66
    assert result["complaints_score"].to_dict() == {"none": 100.0, "two": 77.78, "one order": 84.66}
    assert scored(history(orders=orders))["complaints_score"].isna().all()


def test_service_is_what_was_on_time_and_open_cases_count_once_they_are_late():
    cases = [
        case("A", 60, answered=4, closed=120),
        case("A", 50, answered=25, closed=121),
        case("A", 40, closed=2),  # closed without a response on record: only the resolution counts
        case("A", 6),  # open for 5.5 days and never answered: late on both
        case("A", 0),  # opened today: nothing is decided
        case("A", 30, status="closed"),  # closed on a day nobody noted
        case("other source", 6, source="desk"),  # the desk records no responses
    ]
    result = scored(history(cases=cases))
    # responses: 1 of 3 on time; resolutions: 2 of 4. (3 + 1.6) / (7 + 2) = 0.5111: 2.22
    assert result.loc["A", ["service_checks_12m", "service_on_time_12m", "service_score"]].tolist() == [7, 3, 2.22]
    assert result.loc["other source", "service_checks_12m"] == 1
    patient = scored(history(cases=cases), service=Service(response_hours=26, resolution_hours=480))
    assert patient.loc["A", ["service_checks_12m", "service_on_time_12m"]].tolist() == [6, 5]


def test_engagement_is_silence_against_the_own_rhythm_and_contacts():
    orders = [("A", ago(day), 1) for day in (130, 100)] + [("daily", ago(day), 1) for day in range(13, 200)]
    contacts = [("A", ago(day)) for day in (1, 2, 3)] + [("prospect", ago(1))]
    result = scored(history(orders=orders, contacts=contacts))
    # A: gap (30 + 90) / 2 = 60, silent for 100: 1.6667 of it; (4 - 1.6667) / 3 = 77.78. Contacts 3 of 12: 25. Two to one: 60.19
    assert result.loc["A", "usual_days_between_purchases"] == 60
    assert result.loc["A", "engagement_score"] == 60.19
    # Nobody is silent who bought within a fortnight.
    assert result.loc["daily", "usual_days_between_purchases"] == 14
    assert result.loc["daily", "engagement_score"] == round(2 / 3 * 100, 2)
    assert np.isnan(result.loc["prospect", "engagement_score"])
    assert result.loc["prospect", "contacts_12m"] == 1


def test_missing_parts_are_left_out_and_the_coverage_says_so():
    orders = [("A", ago(1095), 1), ("A", ago(0), 1)]
    result = scored(history(orders=orders, surveys=[("A", ago(1), "csat", 0.7)], customers=[("nobody", None)]))
    row = result.loc["A"]
    # tenure 100, trend (1 + 1) / (1 + 2) = 0.667: 100; engagement 100 (today); satisfaction 60
    assert row[["satisfaction_score", "loyalty_score", "engagement_score"]].tolist() == [60.0, 100.0, 100.0]
    assert row["coverage"] == 0.7
    assert row["strength"] == round((0.25 * 60 + 0.20 * 100 + 0.25 * 100) / 0.70, 2)
    assert row["weakest_part"] == "satisfaction"
    assert "Not known: complaints, service." in row["explanation"]
    assert np.isnan(result.loc["nobody", "strength"])
    assert result.loc["nobody", ["coverage", "strength_class"]].tolist() == [0.0, "unknown"]
    assert pd.isna(result.loc["nobody", "class_since"])
    assert pd.isna(result.loc["nobody", "weakest_part"])
    only = Relationship(weights=RelationshipWeights(loyalty=0, complaints=0, service=0, engagement=0, satisfaction=2))
    assert scored(history(orders=orders), settings=only).loc["A", "strength_class"] == "unknown"


def satisfied(levels, as_of=AS_OF):
    """A history in which the strength of A at the last month ends is as given: a hundred answers each month, nothing else."""
    ends = pd.date_range(end=as_of, periods=len(levels), freq="ME")
    surveys = []
    for end, level in zip(ends, levels, strict=True):
        value = 0.4 + level / 100 * 0.5
        # Shrunk to `value`: (100 v + 1.4) / 102
        surveys += [("A", end, "csat", (value * 102 - 1.4) / 100)] * 100
    return surveys


def monthly_strengths(levels, monkeypatch, strong_from=60):
    """The class at AS_OF when satisfaction is of the current month only."""
    monkeypatch.setattr(
        relationship, "first_day_of_last_12_months", lambda date: pd.Timestamp(date.year, date.month, 1)
    )
    return scored(history(surveys=satisfied(levels)), settings=Relationship(strong_from=strong_from)).loc["A"]


@pytest.mark.parametrize(
    ("levels", "expected", "since"),
    [
        ([61] * 13, "strong", "2025-06-30"),
        ([59] * 13, "weak", "2025-06-30"),
        ([59] * 10 + [61, 56, 55], "strong", "2026-04-30"),
        ([61] * 11 + [54, 59], "weak", "2026-05-31"),
        ([61, 59, 57, 56, 58, 59, 57, 56, 58, 59, 55, 58, 59], "strong", "2025-06-30"),
        ([61, 54, 59, 57, 56, 58, 59, 57, 56, 58, 59, 55, 58], "weak", "2025-07-31"),
        ([61, 54, 61, 54, 61, 59, 59, 59, 59, 59, 59, 59, 59], "strong", "2025-10-31"),
    ],
)
def test_the_class_changes_only_beyond_five_points(levels, expected, since, monkeypatch):
    row = monthly_strengths(levels, monkeypatch)
    assert row["strength"] == pytest.approx(levels[-1], abs=0.01)
    assert row["strength_12m_ago"] == pytest.approx(levels[0], abs=0.01)
    assert (row["strength_class"], str(row["class_since"].date())) == (expected, since)


def test_within_a_month_the_class_stays_what_it_was_at_its_beginning():
    """But somebody new has the class of the day, and somebody of whom nothing is known any more has none."""
    day = datetime.date(2026, 7, 20)
    orders = [("A", AS_OF, 1), ("A", AS_OF - datetime.timedelta(days=1200), 1), ("new", day, 1)]
    before = scored(history(orders=orders)).loc["A"]
    surveys = [("A", day, "csat", 0.0)] * 50
    answers_count = Relationship(weights=RelationshipWeights(satisfaction=1))
    after = scored(history(orders=orders, surveys=surveys), day, settings=answers_count).loc["A"]
    assert before["strength_class"] == "strong"
    assert after["strength"] < 55
    assert (after["strength_class"], after["class_since"]) == ("strong", before["class_since"])
    assert scored(history(orders=orders), day).loc["new", "class_since"] == pd.Timestamp(day)
    forgotten = [("B", datetime.date(2025, 7, 2), "csat", 1.0)]
    assert scored(history(surveys=forgotten)).loc["B", "strength_class"] == "strong"
    assert scored(history(surveys=forgotten), day).loc["B", "strength_class"] == "unknown"


@pytest.mark.parametrize("known", [history(), history(orders=[("A", datetime.date(2026, 7, 1), 5)])])
def test_nothing_known_gives_no_rows_with_all_columns(known):
    assert scored(known).empty


def test_a_year_of_identical_customers_is_identical():
    orders = [(f"C{n}", ago(day), 7) for n in range(40) for day in (5, 300)]
    result = scored(history(orders=orders))
    assert result.drop(columns="explanation").nunique(dropna=False).eq(1).all()


days = st.integers(-60, 900)
customers = st.sampled_from(["A", "B", "C", "UNMATCHED"])
hours = st.none() | st.integers(-10, 2000)
histories = st.builds(
    lambda orders, surveys, cases, contacts, records: history(
        [(c, ago(d), amount) for c, d, amount in orders],
        [(c, ago(d), kind, score) for c, d, kind, score in surveys],
        [case(c, d, answered=a, closed=b, complaint=x, status=s) for c, d, a, b, x, s in cases],
        [(c, ago(d)) for c, d in contacts],
        [(c, None if d is None else ago(d)) for c, d in records],
    ),
    st.lists(st.tuples(customers, days, st.integers(-50, 10**9)), max_size=25),
    st.lists(
        st.tuples(customers, days, st.sampled_from(["csat", "nps", "ces", "other"]), st.none() | st.floats(0, 1)),
        max_size=8,
    ),
    st.lists(
        st.tuples(customers, days, hours, hours, st.booleans(), st.sampled_from([None, "open", "closed"])), max_size=8
    ),
    st.lists(st.tuples(customers, days), max_size=8),
    st.lists(st.tuples(customers, st.none() | days), max_size=3),
)


def without_the_future(known):
    """The history as it stood at the end of AS_OF: what came later is not there, what ended later is open."""
    end = TODAY + pd.Timedelta(days=1)
    cases = known.cases[pd.to_datetime(known.cases["opened_at"]) < end].copy()
    ended_later = pd.to_datetime(cases["closed_at"]) >= end
    cases.loc[ended_later, "status_class"] = "open"
    for name in ("first_response_at", "closed_at"):
        times = pd.to_datetime(cases[name])
        cases[name] = times.where(times < end)
    acquired = pd.to_datetime(known.customers["acquired_date"])
    return relationship.History(
        known.orders[pd.to_datetime(known.orders["order_date"]) < end],
        known.surveys[pd.to_datetime(known.surveys["responded_on"]) < end],
        cases,
        known.contacts[pd.to_datetime(known.contacts["contacted_on"]) < end],
        known.customers[~(acquired >= end)],
    )


@settings(max_examples=25, deadline=None)
@given(known=histories, seed=st.integers(0, 1000))
def test_neither_row_order_nor_the_future_moves_a_score(known, seed):
    shuffled = relationship.History(*(frame.sample(frac=1, random_state=seed) for frame in known))
    pd.testing.assert_frame_equal(scored(shuffled), scored(without_the_future(known)))


@settings(max_examples=25, deadline=None)
@given(known=histories)
def test_scores_lie_between_0_and_100_and_agree_with_the_coverage(known):
    result = scored(known)
    numbers = result.select_dtypes("number")
    assert not np.isinf(numbers.astype("float64")).any(axis=None)
    for part in relationship.PARTS:
        assert result[f"{part}_score"].dropna().between(0, 100).all()
    assert result["strength"].dropna().between(0, 100).all()
    assert (result["strength"].isna() == (result["coverage"] == 0)).all()
    assert (result["strength"].isna() == (result["strength_class"] == "unknown")).all()
    assert (result["class_since"].isna() == (result["strength_class"] == "unknown")).all()
    assert "UNMATCHED" not in result.index
    assert result["explanation"].str.len().gt(10).all()
