"""Purchase summaries: days counted by hand, and compression that loses nothing."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from purchase_histories import CALIBRATED_UNTIL, cdnow_orders, cdnow_summary, needs_cdnow

from assets.analytics.history import known_orders
from assets.analytics.models import summaries
from assets.analytics.models.summaries import compress, summarise

AS_OF = datetime.date(2026, 6, 30)

orders = st.lists(
    st.tuples(
        st.sampled_from(["C1", "C2", "C3"]),
        st.dates(datetime.date(2025, 1, 1), datetime.date(2026, 12, 31)),
        st.decimals(min_value=-900, max_value=900, places=2),
    ),
    max_size=30,
)
rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)).map(
        lambda row: (row[0], row[1], row[1] + row[2])
    ),
    max_size=40,
)


def known(entries, as_of=AS_OF):
    frame = pd.DataFrame(entries, columns=["customer_id", "order_date", "net_revenue"])
    return known_orders(frame, as_of)


def columns(entries):
    return tuple(np.array([entry[place] for entry in entries], dtype="float64") for place in range(3))


def test_two_orders_of_one_day_are_one_purchase():
    summary = summarise(
        known(
            [
                ("B", "2026-06-30", 5),
                ("A", "2026-01-01", 10),
                ("A", "2026-01-01", 20),
                ("A", "2026-01-31", 7),
                ("A", "2026-03-01", 1),
                ("A", "2026-05-01", -9),  # taken back: no purchase
            ]
        ),
        AS_OF,
    )
    assert summary.index.tolist() == ["A", "B"]
    assert summary.index.name == "customer_id"
    assert summary.loc["A"].to_dict() == {
        "repeat_purchases": 2,
        "active_span_days": 59,
        "customer_age_days": 180,
        "days_since_last_purchase": 121,
        "revenue": 380_000,
        "repeat_revenue": 80_000,
    }
    assert summary.loc["B"].tolist() == [0, 0, 0, 0, 50_000, 0]
    assert (summary.dtypes == "int64").all()


def test_nothing_after_the_as_of_date_is_seen():
    everything = known([("A", "2026-01-01", 10), ("A", "2026-08-01", 20), ("B", "2026-08-01", 20)], datetime.date.max)
    assert summarise(everything, AS_OF).to_dict("list") == summarise(known([("A", "2026-01-01", 10)]), AS_OF).to_dict(
        "list"
    )


def test_without_purchases_there_are_no_rows_but_all_columns():
    for entries in ([], [("A", "2026-01-01", -10)], [("A", "2027-01-01", 10)]):
        summary = summarise(known(entries), AS_OF)
        assert summary.empty
        assert tuple(summary.columns) == summaries.COLUMNS
        assert (summary.dtypes == "int64").all()
    empty = compress(*(np.array([]) for _ in range(3)))
    assert (empty.customers, len(empty.x), len(empty.inverse)) == (0, 0, 0)


@settings(max_examples=50, deadline=None)
@given(orders, st.randoms(use_true_random=False))
def test_the_order_of_orders_does_not_matter(entries, random):
    shuffled = list(entries)
    random.shuffle(shuffled)
    one, other = summarise(known(entries), AS_OF), summarise(known(shuffled), AS_OF)
    pd.testing.assert_frame_equal(one, other)
    assert (one["days_since_last_purchase"] == one["customer_age_days"] - one["active_span_days"]).all()
    assert (one[["repeat_purchases", "active_span_days", "days_since_last_purchase", "repeat_revenue"]] >= 0).all(None)
    assert ((one["active_span_days"] > 0) == (one["repeat_purchases"] > 0)).all()


@settings(max_examples=100, deadline=None)
@given(rows)
def test_compression_loses_nothing(entries):
    x, t_x, age = columns(entries)
    data = compress(x, t_x, age)
    for distinct, given_values in ((data.x, x), (data.t_x, t_x), (data.T, age)):
        np.testing.assert_array_equal(distinct[data.inverse], given_values)
    triples = list(zip(data.x, data.t_x, data.T, strict=True))
    assert triples == sorted(set(entries))
    assert data.weight.tolist() == [entries.count(triple) for triple in triples]
    assert data.customers == len(entries)


@settings(max_examples=50, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_customers_does_not_matter(entries, random):
    shuffled = list(entries)
    random.shuffle(shuffled)
    one, other = compress(*columns(entries)), compress(*columns(shuffled))
    for place in range(4):
        np.testing.assert_array_equal(one[place], other[place])


def test_rows_too_many_for_one_number_are_compressed_alike(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 500).astype(float)
    t_x = rng.integers(0, 400, 500).astype(float)
    usual = compress(x, t_x, t_x + 3)
    monkeypatch.setattr(summaries, "LARGEST_CODE", 1)
    for one, other in zip(usual, compress(x, t_x, t_x + 3), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "row",
    [(-1, 0, 1), (1, 2, 1), (1, -1, 1), (np.nan, 0, 1), (0, 0, np.inf)],
)
def test_rows_no_customer_can_have_are_refused(row):
    with pytest.raises(ValueError, match=r"row 1 .*no customer's history"):
        compress(*columns([(0, 0, 1), row]))


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2, 1 and 1 entries"):
        compress(np.zeros(2), np.zeros(1), np.zeros(1))


@needs_cdnow
def test_cdnow_is_summarised_as_published():
    summary = summarise(cdnow_orders(), CALIBRATED_UNTIL)
    x, t_x, age = cdnow_summary()
    assert len(summary) == 2_357
    np.testing.assert_array_equal(summary["repeat_purchases"], x)
    # The published table is rounded to hundredths of a week.
    np.testing.assert_allclose(summary["active_span_days"] / summaries.DAYS_PER_WEEK, t_x, atol=0.005)
    np.testing.assert_allclose(summary["customer_age_days"] / summaries.DAYS_PER_WEEK, age, atol=0.005)
