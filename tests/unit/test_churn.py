"""The recency baseline: learned from the past only, monotone, calibrated, and with a named fallback."""

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import churn

AS_OF = datetime.date(2026, 6, 30)
CDNOW = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdnow"

orders = st.lists(
    st.tuples(
        st.sampled_from([f"C{n:02}" for n in range(60)]),
        st.dates(datetime.date(2025, 6, 1), datetime.date(2026, 12, 31)),
        st.sampled_from([-5.0, 0.0, 12.5, 100.0]),
    ),
    max_size=120,
)


def frame(rows):
    return pd.DataFrame(rows, columns=["customer_id", "order_date", "net_revenue"])


def days_ago(days):
    return AS_OF - datetime.timedelta(days=days)


def company(returning_share=0.5, customers=100):
    """Half the customers bought 10 days before the origin, half 100; of each half the first ones come back."""
    rows = []
    for n in range(customers):
        recent = n % 2 == 0
        rows.append((f"C{n:03}", days_ago(90 + (10 if recent else 100)), 50.0))
        if recent and n < customers * returning_share:
            rows.append((f"C{n:03}", days_ago(30), 50.0))
    return rows


def test_probabilities_by_hand():
    # At the origin 90 days ago: 50 customers silent for 10 days, 26 of whom bought again, and 50 silent for 100, none.
    rows = company(returning_share=0.52)
    result = churn.recency_baseline(frame(rows), AS_OF, horizon_days=90).set_index("customer_id")
    overall = 75 / 102  # 74 of 100 churned, plus one of two
    fresh = (24 + 10 * overall) / 60
    silent = (50 + 10 * overall) / 60
    assert set(result["model"]) == {"recency_baseline"}
    # Silent for 30 days now: between the two bins, 20 of 90 days along.
    assert result.loc["C000", "days_since_last_purchase"] == 30
    assert result.loc["C000", "churn_probability"] == pytest.approx(fresh + (silent - fresh) * 20 / 90, abs=1e-6)
    # Silent for 190 days, longer than anyone had been then: purchases thin out as 101 to 191.
    assert result.loc["C001", "days_since_last_purchase"] == 190
    assert result.loc["C001", "churn_probability"] == pytest.approx(1 - (1 - silent) * 101 / 191, abs=1e-6)


def test_rank_is_by_expected_profit_lost_and_losses_lose_nothing():
    profit = pd.DataFrame({"customer_id": ["C000", "C001", "C002"], "profit_12m": [1000.0, 3650.0, -9000.0]})
    result = churn.recency_baseline(frame(company()), AS_OF, horizon_days=90, profit_12m=profit)
    result = result.set_index("customer_id")
    assert result.loc["C001", "expected_profit"] == 900
    assert result.loc["C001", "expected_profit_lost"] == pytest.approx(
        900 * result.loc["C001", "churn_probability"], abs=1e-4
    )
    assert (result.loc["C001", "churn_rank"], result.loc["C000", "churn_rank"]) == (1, 2)
    assert result.loc["C002", "expected_profit"] < 0
    assert result.loc["C002", "expected_profit_lost"] == 0
    assert sorted(result["churn_rank"]) == list(range(1, 101))


def test_equal_losses_rank_by_probability_then_customer():
    result = churn.recency_baseline(frame(company()), AS_OF, horizon_days=90).set_index("churn_rank")
    assert result.loc[1, "customer_id"] == "C001"
    assert result.sort_index()["churn_probability"].is_monotonic_decreasing


def test_too_little_history_falls_back_by_name():
    result = churn.recency_baseline(frame([("A", days_ago(29), 5.0)]), AS_OF, horizon_days=90)
    assert list(result["model"]) == ["silence_ratio"]
    assert list(result["churn_probability"]) == [0.25]  # 30 of 30 + 90 days


@pytest.mark.parametrize("rows", [[], [("A", AS_OF + datetime.timedelta(days=1), 5.0)], [("A", AS_OF, -5.0)]])
def test_nobody_to_score_gives_no_rows_with_all_columns(rows):
    result = churn.recency_baseline(frame(rows), AS_OF, horizon_days=90)
    assert result.empty
    assert list(result.columns) == list(churn.COLUMNS)


@pytest.mark.parametrize("returning_share", [0.0, 1.0])
def test_nobody_or_everybody_coming_back_is_no_certainty(returning_share):
    rows = [(f"C{n:03}", days_ago(120), 5.0) for n in range(100)]
    rows += [(f"C{n:03}", days_ago(5), 5.0) for n in range(int(100 * returning_share))]
    probability = churn.recency_baseline(frame(rows), AS_OF, horizon_days=90)["churn_probability"]
    assert probability.gt(0).all()
    assert probability.lt(1).all()


def test_labels_end_at_the_as_of_date():
    """What is learned at the origin must not see orders after the as-of date, nor score a customer first seen then."""
    future = [(f"C{n:03}", AS_OF + datetime.timedelta(days=1 + n), 50.0) for n in range(200)]
    known = churn.recency_baseline(frame(company()), AS_OF, horizon_days=90)
    pd.testing.assert_frame_equal(known, churn.recency_baseline(frame(future + company()), AS_OF, horizon_days=90))


@settings(max_examples=60, deadline=None)
@given(rows=orders, horizon=st.integers(1, 400), seed=st.integers(0, 1000))
def test_probabilities_are_complete_monotone_and_blind_to_the_future(rows, horizon, seed):
    result = churn.recency_baseline(frame(rows), AS_OF, horizon_days=horizon)
    assert not result.isna().any(axis=None)
    assert result["churn_probability"].between(0, 1).all()
    assert result.sort_values("days_since_last_purchase")["churn_probability"].is_monotonic_increasing
    past = frame([row for row in rows if row[1] <= AS_OF]).sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(result, churn.recency_baseline(past, AS_OF, horizon_days=horizon))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 100)), min_size=1, max_size=30))
def test_isotonic_never_falls_and_keeps_the_weighted_mean(pairs):
    values, weights = map(np.array, zip(*pairs, strict=True))
    fitted = churn.isotonic(values, weights)
    assert (np.diff(fitted) >= -1e-12).all()
    assert np.average(fitted, weights=weights) == pytest.approx(np.average(values, weights=weights))


def test_isotonic_by_hand():
    assert churn.isotonic(np.array([0.1, 0.5, 0.2, 0.9]), np.array([1, 1, 2, 1])) == pytest.approx([0.1, 0.3, 0.3, 0.9])


@pytest.mark.skipif(not CDNOW.exists(), reason="needs the CDNOW data in shared/data/cdnow")
@pytest.mark.parametrize(("as_of", "least"), [("1997-12-31", 0.79), ("1998-03-31", 0.82)])
def test_cdnow_ranks_as_well_as_recency_itself_and_is_calibrated(as_of, least):
    purchases = pd.read_csv(
        CDNOW / "CDNOW_master.txt",
        sep=r"\s+",
        skiprows=1,
        names=["customer_id", "order_date", "units", "net_revenue"],
        dtype={"customer_id": str},
    )
    purchases["order_date"] = pd.to_datetime(purchases["order_date"].astype(str), format="%Y%m%d")
    result = churn.recency_baseline(purchases, datetime.date.fromisoformat(as_of), horizon_days=90)
    later = purchases[purchases["order_date"].gt(as_of) & purchases["net_revenue"].gt(0)]
    later = later[later["order_date"] <= pd.Timestamp(as_of) + pd.Timedelta(days=90)]
    churned = ~result["customer_id"].isin(later["customer_id"])
    ranks = result["churn_probability"].rank()
    auc = (ranks[churned].mean() - (churned.sum() + 1) / 2) / (~churned).sum()
    assert auc > least
    assert abs(result["churn_probability"].mean() - churned.mean()) < 0.02
