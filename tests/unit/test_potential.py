"""Potential: pipeline, growth and the gap to peers by hand, as of a date."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import potential

AS_OF = datetime.date(2026, 6, 30)

OPPORTUNITIES = ["customer_id", "stage_class", "probability", "created_date", "close_date", "amount", "is_unconverted"]
MONTHLY = ["customer_id", "month", "net_revenue"]
CUSTOMERS = ["customer_id", "segment", "level", "industry", "acquired_date"]


def day(text):
    return None if text is None else datetime.date.fromisoformat(text)


def deal(customer, amount, *, stage="open", probability=0.5, created="2026-06-01", closes="2026-08-01"):
    return customer, stage, probability, day(created), day(closes), amount, False


def month(back):
    """The first day of the month so many months before June 2026."""
    return (pd.Timestamp(2026, 6, 1) - pd.DateOffset(months=back)).date()


def scored(deals=(), revenue=(), customers=(), as_of=AS_OF):
    frames = (
        rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=columns)
        for rows, columns in ((deals, OPPORTUNITIES), (revenue, MONTHLY), (customers, CUSTOMERS))
    )
    table = potential.potential(*frames, as_of)
    assert list(table.columns) == list(potential.COLUMNS)
    return table.set_index("customer_id")


def test_the_pipeline_is_what_is_open_and_not_stale():
    deals = [
        deal("A", 1000.0, probability=0.25, closes="2026-09-01"),
        deal("A", 200.0, probability=0.5, closes="2026-06-30"),
        deal("A", 50.0, closes="2026-06-29"),  # should have closed yesterday
        deal("A", 70.0, created="2025-12-31", closes=None),  # open for 181 days
        deal("A", 8.0, probability=1.0, created="2026-01-01", closes=None),  # open for 180
        deal("A", 999.0, stage="won", probability=1, closes="2026-06-01"),
        deal("A", 999.0, created="2026-07-01"),
        deal("B", 9.0, stage="lost", probability=0, closes="2026-06-10"),
    ]
    row = scored(deals).loc["A"]
    assert row[["open_opportunity_count", "pipeline_amount", "weighted_pipeline"]].tolist() == [3, 1208.0, 358.0]
    assert row[["stale_opportunity_count", "stale_amount", "estimated_probability_count"]].tolist() == [2, 120.0, 0]
    assert row["next_close_date"] == pd.Timestamp("2026-06-30")
    assert (row["potential_value"], row["potential_source"]) == (358.0, "pipeline")
    lost = scored(deals).loc["B"]
    assert (lost["open_opportunity_count"], lost["potential_source"]) == (0, "none")
    assert pd.isna(lost["next_close_date"])


def test_the_win_rate_stands_in_for_a_probability_that_nobody_said_or_that_the_end_has_overtaken():
    deals = [
        *[deal("W", 1.0, stage="won", closes="2026-06-01")] * 3,
        *[deal("W", 1.0, stage="lost", closes="2026-06-01")] * 4,
        deal("A", 100.0, probability=None),
        deal("A", 100.0, stage="won", probability=1.0, closes="2026-07-15"),
        deal("A", 100.0, stage="lost", probability=0.0, closes="2026-07-16"),
        ("A", "open", None, day("2026-06-01"), None, None, True),
    ]
    row = scored(deals).loc["A"]
    # (3 + 1) / (7 + 3) = 0.4 of each
    assert row[["open_opportunity_count", "pipeline_amount", "weighted_pipeline"]].tolist() == [4, 300.0, 120.0]
    assert row[["estimated_probability_count", "unconverted_opportunity_count"]].tolist() == [4, 1]


def test_growth_compares_months_that_are_over():
    revenue = [("A", month(23 - n), 10.0) for n in range(12)] + [("A", month(11 - n), 10.0 + n) for n in range(12)]
    revenue += [("new", month(3), 5.0), ("lost", month(20), 5.0), ("none", month(30), 5.0), ("steady", month(20), 50.0)]
    revenue += [("steady", month(2), 55.0), ("shrinks", month(20), 50.0), ("shrinks", month(2), 44.9)]
    result = scored(revenue=revenue)
    assert result.loc["A", ["net_revenue_last_year", "net_revenue_year_before"]].tolist() == [186.0, 120.0]
    assert result.loc["A", "growth_rate"] == 0.55
    assert result.loc["A", "monthly_slope"] == 1.0
    assert result["growth_status"].to_dict() == {
        **{"A": "growing", "new": "new", "lost": "lost", "none": "none", "steady": "steady", "shrinks": "shrinking"}
    }
    assert (result.loc["lost", "growth_rate"], result.loc["new", "growth_rate"]) == (-1.0, None)
    # In the middle of July the year that is over ends in June, and the last 12 months begin in August.
    july = scored(revenue=[*revenue, ("A", datetime.date(2026, 7, 1), 100.0)], as_of=datetime.date(2026, 7, 15))
    assert july.loc["A", ["growth_rate", "monthly_slope"]].tolist() == [0.55, 1.0]
    assert july.loc["A", "net_revenue_12m"] == 276.0


def test_a_record_too_short_for_growth_says_so():
    row = scored(revenue=[("A", month(22), 5.0), ("A", month(1), 5.0)]).loc["A"]
    assert (row["growth_status"], row["growth_rate"]) == ("unknown", None)
    assert scored(revenue=[("A", month(10), 5.0)]).loc["A", "monthly_slope"] is None


def peers(count, segment="S", level="L", industry="I", start=1):
    names = [f"{segment}{level}{n:02}" for n in range(count)]
    return (
        [(name, month(1), float(start + n)) for n, name in enumerate(names)],
        [(name, segment, level, industry, None) for name in names],
    )


def test_the_gap_is_to_the_75th_percentile_of_the_segment():
    revenue, customers = peers(21)
    revenue.append(("other", month(1), 10_000.0))
    customers += [("other", "T", None, None, None), ("lapsed", "S", None, None, None)]
    result = scored(revenue=revenue, customers=customers)
    row = result.loc["SL04"]  # revenue 1 to 21: the 75th percentile is 16
    assert row[["peer_group", "peer_value", "peer_count", "peer_net_revenue_p75"]].tolist() == [
        "segment",
        "S",
        21,
        16.0,
    ]
    assert (row["gap_to_peers"], row["potential_value"], row["potential_source"]) == (11.0, 11.0, "peers")
    assert result.loc["SL20", ["gap_to_peers", "potential_source"]].tolist() == [0.0, "none"]
    assert result.loc["lapsed", "gap_to_peers"] == 16.0
    assert result.loc["other", ["peer_group", "peer_value", "peer_count"]].tolist() == ["company", None, 22]


def test_fewer_than_20_peers_fall_back_to_level_then_industry_then_the_company():
    few, few_customers = peers(19, "S", "L", "I")
    more, more_customers = peers(1, "T", "L", "J", start=500)
    third, third_customers = peers(1, "U", "M", "I", start=900)
    fourth, fourth_customers = peers(1, "V", "N", "K", start=950)
    result = scored(
        revenue=few + more + third + fourth,
        customers=few_customers + more_customers + third_customers + fourth_customers,
    )
    assert result.loc["SL00", ["peer_group", "peer_value", "peer_count"]].tolist() == ["level", "L", 20]
    assert result.loc["UM00", ["peer_group", "peer_value", "peer_count"]].tolist() == ["industry", "I", 20]
    assert result.loc["VN00", ["peer_group", "peer_value", "peer_count"]].tolist() == ["company", None, 22]


def test_potential_is_the_larger_of_pipeline_and_gap_and_not_their_sum():
    revenue, customers = peers(21)
    result = scored([deal("SL04", 16.0, probability=0.5), deal("SL05", 100.0)], revenue, customers)
    assert result.loc["SL04", ["weighted_pipeline", "gap_to_peers", "potential_value"]].tolist() == [8.0, 11.0, 11.0]
    assert result.loc["SL05", ["potential_value", "potential_source"]].tolist() == [50.0, "pipeline"]


def test_nobody_is_measured_where_nobody_buys():
    assert scored().empty
    row = scored(customers=[("A", "S", None, None, None)]).loc["A"]
    assert (row["peer_count"], row["gap_to_peers"], row["potential_value"]) == (0, None, 0.0)
    losing = scored(revenue=[("A", month(0), -5.0)]).loc["A"]
    assert (losing["net_revenue_12m"], losing["gap_to_peers"], losing["growth_status"]) == (-5.0, None, "unknown")


@pytest.mark.parametrize("as_of", [datetime.date(2026, 6, 1), datetime.date(2024, 2, 29)])
def test_a_customer_acquired_later_is_not_there_yet(as_of):
    assert scored(customers=[("A", "S", None, None, datetime.date(2026, 6, 2))], as_of=as_of).empty


names = st.sampled_from(["A", "B", "C", "UNMATCHED", None])
dates = st.dates(datetime.date(2024, 1, 1), datetime.date(2027, 1, 1))
deals = st.lists(
    st.tuples(
        names,
        st.sampled_from(["open", "won", "lost"]),
        st.none() | st.floats(-0.5, 1.5),
        dates,
        st.none() | dates,
        st.none() | st.integers(-(10**6), 10**9).map(float),
        st.booleans(),
    ),
    max_size=10,
)
revenues = st.lists(
    st.tuples(names, st.integers(-8, 40).map(month), st.integers(-(10**5), 10**9).map(float)), max_size=20
)


@settings(max_examples=25, deadline=None)
@given(deals=deals, revenue=revenues, seed=st.integers(0, 1000))
def test_neither_row_order_nor_the_future_moves_a_figure(deals, revenue, seed):
    customers = [("A", "S", None, None, None), ("D", "S", "L", None, datetime.date(2026, 9, 1))]
    frames = [
        pd.DataFrame(rows, columns=columns)
        for rows, columns in ((deals, OPPORTUNITIES), (revenue, MONTHLY), (customers, CUSTOMERS))
    ]
    shuffled = [frame.sample(frac=1, random_state=seed) for frame in frames]
    # What was closed after the as-of date was open on it, with a probability nobody knows any more.
    past = []
    for row in deals:
        name, stage, probability, created, closes, *rest = row
        if created > AS_OF:
            continue
        if stage != "open" and closes is not None and closes > AS_OF:
            stage, probability = "open", None
        past.append((name, stage, probability, created, closes, *rest))
    known = [row for row in revenue if row[1] <= AS_OF]
    pd.testing.assert_frame_equal(scored(*shuffled), scored(past, known, customers[:1]))


@settings(max_examples=25, deadline=None)
@given(deals=deals, revenue=revenues)
def test_figures_are_finite_and_the_potential_is_no_less_than_either_part(deals, revenue):
    result = scored(deals, revenue)
    numbers = result[[name for name, kind in potential.TYPES.items() if kind not in ("VARCHAR", "DATE")]]
    assert not np.isinf(numbers.astype("float64")).any(axis=None)
    assert not set(result.index) & {"UNMATCHED", "None", "nan"}
    assert (result["potential_value"] >= result["weighted_pipeline"]).all()
    assert (result["potential_value"] >= result["gap_to_peers"].astype("float64").fillna(0)).all()
    assert result["growth_status"].isin(["unknown", "none", "new", "lost", "growing", "steady", "shrinking"]).all()
