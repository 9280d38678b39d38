"""Drift: the index by hand, its marks, and what must not be taken for drift."""

import datetime

import numpy as np
import pandas as pd
import pytest

from assets.analytics import drift

AS_OF = datetime.date(2026, 6, 30)
FIT = datetime.date(2026, 5, 31)


def frame(**columns):
    return pd.DataFrame(columns)


def test_index_by_hand():
    then = np.repeat([0.0, 1.0], 50)
    now = np.repeat([0.0, 1.0], [20, 80])
    # Each bin half a customer fuller; nobody is above the highest value of the fit.
    before = np.array([50.5, 50.5, 0.5]) / 101.5
    after = np.array([20.5, 80.5, 0.5]) / 101.5
    assert drift.psi(then, now) == pytest.approx(float(np.sum((after - before) * np.log(after / before))))


def test_the_same_customers_have_not_moved():
    values = np.random.default_rng(1).gamma(2, 10, 500)
    assert drift.psi(values, values[::-1]) == 0.0


def test_marks():
    assert [drift.status(value) for value in (None, 0.0999, 0.10, 0.2499, 0.25)] == [
        "too few",
        "steady",
        "watch",
        "watch",
        "drifted",
    ]


def test_what_has_moved_is_found_and_what_has_not_is_steady():
    rng = np.random.default_rng(2)
    at_fit = frame(moved=rng.normal(0, 1, 2000), same=rng.gamma(2, 1, 2000), risk=rng.random(2000))
    now = frame(moved=rng.normal(1, 1, 1900), same=rng.gamma(2, 1, 1900), risk=rng.random(1900))
    table = drift.assess(at_fit, now, AS_OF, FIT, scores=frozenset(["risk"])).set_index("feature")
    assert table["status"].to_dict() == {"moved": "drifted", "same": "steady", "risk": "steady"}
    assert table["kind"].to_dict() == {"moved": "feature", "same": "feature", "risk": "score"}
    assert table.loc["moved", "mean_now"] == pytest.approx(now["moved"].mean(), abs=1e-6)
    assert table.loc["moved", ["customers_at_fit", "customers_now"]].tolist() == [2000, 1900]
    assert list(drift.assess(at_fit, now, AS_OF, FIT).columns) == list(drift.TYPES)


def test_few_customers_say_so_and_move_nothing():
    at_fit, now = frame(a=np.zeros(199)), frame(a=np.ones(500))
    row = drift.assess(at_fit, now, AS_OF, FIT).iloc[0]
    assert row["status"] == "too few"
    assert np.isnan(row["psi"])


@pytest.mark.parametrize("customers", [0, 1])
def test_no_customers_are_no_error(customers):
    table = drift.assess(frame(a=np.zeros(customers)), frame(a=np.zeros(0)), AS_OF, FIT)
    assert table["status"].tolist() == ["too few"]
    assert np.isnan(table.loc[0, "mean_now"])


def test_a_shared_value_that_moves_a_hairs_breadth_is_no_drift():
    rng = np.random.default_rng(3)
    own = rng.normal(0, 0.3, 700)
    then, now = np.r_[own, np.full(300, -0.036)], np.r_[own, np.full(300, -0.031)]
    assert drift.psi(then, now) < drift.WATCH_FROM


def test_clocks_are_left_out():
    days = np.arange(300.0)
    at_fit = frame(customer_age_days=days, overdue_ratio=days)
    table = drift.assess(at_fit, at_fit + 30, AS_OF, FIT)
    assert table["feature"].tolist() == ["overdue_ratio"]


def test_constant_features_are_steady_until_they_change():
    assert drift.psi(np.zeros(300), np.zeros(300)) == 0.0
    assert drift.status(drift.psi(np.zeros(300), np.ones(300))) == "drifted"
