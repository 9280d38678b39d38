"""Intervals: the moments against simulated futures, and 70-90 % of customers inside, out of time."""

import datetime

import numpy as np
import pandas as pd
import pytest
from command import SHARED_DATA
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import intervals
from assets.analytics.history import known_orders
from assets.analytics.models import bg_nbd, margins, mbg_nbd, pareto_nbd
from assets.analytics.models.summaries import compress, summarise

# The published estimates of CDNOW.
PARETO = {"r": 0.5533, "alpha": 10.578, "s": 0.6062, "beta": 11.668}
BG = {"r": 0.2426, "alpha": 4.4135, "a": 0.7929, "b": 2.4258}
X = np.array([0, 0, 1, 2, 5, 10, 20, 26, 3], dtype="float64")
T_X = np.array([0, 0, 10, 30, 35, 38, 38.5, 30.9, 5])
T = np.array([38, 5, 38, 38.9, 38, 39, 39, 31, 39], dtype="float64")


@pytest.mark.parametrize("weeks", [4, 39, 156])
def test_the_moments_are_those_of_simulated_futures(weeks):
    found = intervals.purchases(pareto_nbd, PARETO, X, T_X, T, weeks)
    draws = 60_000
    simulated = pareto_nbd.simulate_purchases(PARETO, X, T_X, T, weeks, np.random.default_rng(1), draws)
    error = np.sqrt(simulated.var(axis=1) / draws)
    assert np.all(np.abs(found.mean - simulated.mean(axis=1)) < 4 * error + 1e-4)
    assert found.variance == pytest.approx(simulated.var(axis=1), rel=0.12)
    assert found.none == pytest.approx((simulated == 0).mean(axis=1), abs=0.01)


@pytest.mark.parametrize(("model", "parameters"), [(pareto_nbd, PARETO), (bg_nbd, BG), (mbg_nbd, BG)])
@pytest.mark.parametrize("weeks", [13, 39, 156])
def test_intervals_hold_four_fifths_of_simulated_futures_or_nothing_alone_does(model, parameters, weeks):
    found = intervals.purchases(model, parameters, X, T_X, T, weeks)
    rng = np.random.default_rng(2)
    counts = model.simulate_purchases(parameters, X, T_X, T, weeks, rng, 20_000)
    each, own, single = 12.0, 4.0, 5.0
    profit = rng.normal(each, own, counts.shape) * counts + single * rng.normal(size=counts.shape) * np.sqrt(counts)
    everybody = np.ones(len(X))
    stated = intervals.of_profit(found, each * everybody, own * everybody, single * everybody)
    inside = ((profit >= stated.low[:, None] - 1e-9) & (profit <= stated.high[:, None] + 1e-9)).mean(axis=1)
    real = found.none < intervals.LEVEL
    assert np.all(inside[real] > 0.68)
    assert np.all(inside[real & (found.none < 0.2)] < 0.90)
    assert np.all(inside[~real] > 0.77)
    assert 0.70 < inside[real].mean() < 0.90
    numbers = intervals.of_purchases(found)
    inside = ((counts >= numbers.low[:, None]) & (counts <= numbers.high[:, None])).mean(axis=1)
    assert np.all(inside > 0.68)


def test_losses_mirror_profits():
    found = intervals.purchases(pareto_nbd, PARETO, X, T_X, T, 39)
    each, own, single = np.full(9, 12.0), np.full(9, 2.0), np.full(9, 5.0)
    gains, losses = intervals.of_profit(found, each, own, single), intervals.of_profit(found, -each, own, single)
    assert losses.low == pytest.approx(-gains.high)
    assert losses.high == pytest.approx(-gains.low)


def test_an_interval_holds_its_forecast_and_nothing_uncertain_has_no_width():
    found = intervals.purchases(pareto_nbd, PARETO, X, T_X, T, 39)
    stated = intervals.of_profit(found, np.full(9, 5.0), np.full(9, 30.0), np.full(9, 3.0))
    assert np.all((stated.low <= found.mean * 5) & (found.mean * 5 <= stated.high))
    nothing = intervals.possible(np.zeros(3), np.zeros(3), np.ones(3))
    stated = intervals.of_profit(nothing, np.array([5.0, -5.0, 0.0]), np.ones(3), np.ones(3))
    assert not np.any(np.array(stated))
    certain = intervals.Purchases(np.array([4.0]), np.array([0.0]), np.array([0.0]))
    stated = intervals.of_profit(certain, np.array([5.0]), np.array([0.0]), np.array([0.0]))
    assert (stated.low[0], stated.high[0]) == (20, 20)


def test_widening_by_hand():
    # Forecast 10, interval 5 to 15, deviation 4: the eighth and ninth of ten outcomes lie 4 and 6 above the interval.
    actual = np.repeat([10.0, 6, 8, 14, 15, 5, 12, 19, 21, 3], 10)
    customers = len(actual)
    stated = intervals.Interval(np.full(customers, 5.0), np.full(customers, 15.0), np.full(customers, 4.0))
    learned = intervals.learn(actual, np.full(customers, 10.0), stated, np.full(customers, 0.1))
    # 81st of a hundred: ten outcomes are 2 below (half a deviation), the next ten 4 above (one).
    assert learned.deviations == (1.0,)
    assert learned.cuts == ()
    assert learned.customers == 100
    low, high = intervals.widen(np.full(customers, 10.0), stated, np.full(customers, 0.1), learned)
    assert (low[0], high[0]) == (1, 19)
    assert intervals.coverage(actual, low, high) == 0.9
    assert learned.never_below_zero


def test_a_zero_that_is_an_end_stays_and_no_end_passes_the_forecast():
    narrower = intervals.Widening(deviations=(-5.0,), customers=100)
    point, none = np.array([10.0, 10.0, -10.0]), np.array([0.3, 0.0, 0.3])
    stated = intervals.Interval(np.array([0.0, 5.0, -15.0]), np.array([15.0, 15.0, 0.0]), np.full(3, 2.0))
    low, high = intervals.widen(point, stated, none, narrower)
    assert low.tolist() == [0, 10, -10]
    assert high.tolist() == [10, 10, 0]
    wider = intervals.Widening(deviations=(1.0,), never_below_zero=True, customers=100)
    low, high = intervals.widen(point, stated, none, wider)
    assert low.tolist() == [0, 3, -15]
    assert high.tolist() == [17, 17, 2]


def test_too_few_outcomes_widen_nothing():
    stated = intervals.Interval(np.zeros(29), np.ones(29), np.ones(29))
    assert intervals.learn(np.full(29, 9.0), np.full(29, 0.5), stated, np.full(29, 0.5)).deviations == (0.0,)
    low, high = intervals.widen(np.full(29, 0.5), stated, np.full(29, 0.5), None)
    assert (low[0], high[0]) == (0, 1)


def test_a_total_is_as_uncertain_as_past_totals_were():
    low, high = intervals.of_total(1000.0, [0.9, 1.1, 1.0, 0.95, 1.05, 1.0])
    # t(5) at 90 % = 1.4759, standard deviation 0.0707, * sqrt(7/6)
    assert (low, high) == pytest.approx((1000 - 112.7, 1000 + 112.7), abs=0.2)
    assert intervals.of_total(-1000.0, [0.9, 1.1]) == pytest.approx((-1533.1, -466.9), abs=0.1)
    assert intervals.of_total(1000.0, [0.9, float("nan")]) is None


def forecast(orders, origin, days, model):
    """Of each customer: forecast profit, its interval, P(none), and what came."""
    summary = summarise(known_orders(orders, origin), origin)
    margin = orders.drop_duplicates("customer_id").set_index("customer_id")["margin"].reindex(summary.index).to_numpy()
    rows = compress(
        summary["repeat_purchases"].to_numpy(float),
        summary["active_span_days"].to_numpy(float) / 7,
        summary["customer_age_days"].to_numpy(float) / 7,
    )
    fitted = model.fit(rows)
    moments = intervals.purchases(model, fitted.parameters, rows.x, rows.t_x, rows.T, days / 7)
    moments = intervals.Purchases(*(part[rows.inverse] for part in moments))
    profit = margins.estimate(summary, summary["revenue"].to_numpy() * margin)
    stated = intervals.of_profit(moments, profit.expected, profit.spread, profit.purchase_spread)
    until = pd.Timestamp(origin) + pd.Timedelta(days=days)
    later = orders[(orders["order_date"] > pd.Timestamp(origin)) & (orders["order_date"] <= until)]
    actual = later.groupby("customer_id")["net_revenue"].sum().reindex(summary.index, fill_value=0) * margin * 10_000
    return actual.to_numpy(), moments.mean * profit.expected, stated, moments.none


def check_out_of_time(orders, earlier, earlier_days, origin, days, model):
    learned = intervals.learn(*forecast(orders, earlier, earlier_days, model))
    actual, point, stated, none = forecast(orders, origin, days, model)
    low, high = intervals.widen(point, stated, none, learned)
    assert np.all((low <= point) & (point <= high))
    assert 0.70 <= intervals.coverage(actual, low, high) <= 0.90
    uncertain = none < intervals.LEVEL
    assert 0.68 <= intervals.coverage(actual[uncertain], low[uncertain], high[uncertain]) <= 0.92
    # And no wider than need be: intervals of everything would hold everybody.
    assert np.mean(high - low) < 6 * np.sqrt(np.mean((actual - point) ** 2))


@pytest.mark.skipif(not (SHARED_DATA / "cdnow").exists(), reason="needs the CDNOW data in shared/data/cdnow")
@pytest.mark.parametrize("margin_spread", [0.0, 0.25])
@pytest.mark.parametrize("model", [pareto_nbd, bg_nbd])
def test_on_cdnow_intervals_learned_before_hold_in_the_held_out_weeks(model, margin_spread):
    orders = pd.read_csv(
        SHARED_DATA / "cdnow" / "CDNOW_sample.txt",
        sep=r"\s+",
        header=None,
        names=["master_id", "customer_id", "order_date", "units", "net_revenue"],
        dtype={"customer_id": "str", "order_date": "str"},
    )
    orders["order_date"] = pd.to_datetime(orders["order_date"])
    names = orders["customer_id"].unique()
    # CDNOW has no cost: with a spread, every third customer is given a loss.
    own = np.random.default_rng(5).normal(0.1, margin_spread, len(names)) if margin_spread else np.full(len(names), 0.3)
    orders["margin"] = orders["customer_id"].map(dict(zip(names, own, strict=True)))
    check_out_of_time(orders, datetime.date(1997, 5, 31), 122, datetime.date(1997, 9, 30), 273, model)


@pytest.mark.parametrize("seed", [1, 2])
def test_on_simulated_customers_intervals_learned_before_hold_later(seed):
    rng = np.random.default_rng(seed)
    customers, days = 3_000, 900
    began = rng.integers(0, 360, customers)
    rate = rng.gamma(0.8, 1 / 6.0, customers)
    stays = rng.exponential(size=customers) / rng.gamma(0.7, 1 / 15.0, customers)
    count = rng.poisson(rate * np.minimum(stays, (days - began) / 7)) + 1
    customer = np.repeat(np.arange(customers), count)
    after = rng.random(len(customer)) * np.minimum(stays * 7, days - began)[customer]
    after[np.r_[True, customer[1:] != customer[:-1]]] = 0
    spend = 6 / rng.gamma(4, 1 / 15, customers)
    orders = pd.DataFrame(
        {
            "customer_id": customer.astype("str"),
            "order_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(began[customer] + after.astype(int), unit="D"),
            "net_revenue": np.round(rng.gamma(6, size=len(customer)) * spend[customer] / 6 + 0.01, 2),
            "margin": rng.normal(0.1, 0.25, customers)[customer],
        }
    )
    check_out_of_time(orders, datetime.date(2024, 12, 31), 180, datetime.date(2025, 6, 29), 360, pareto_nbd)


numbers = st.floats(0, 1e6) | st.sampled_from([0.0, 1e-12, 1e-300, 0.5])


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(numbers, numbers, st.floats(0, 1), st.floats(-1e9, 1e9), numbers, numbers), min_size=1, max_size=20
    ),
    factor=st.sampled_from([1.0, 0.5, 3.0]),
)
def test_any_moments_give_finite_intervals_around_the_forecast(rows, factor):
    mean, variance, none, each, own, single = np.array(rows).T
    moments = intervals.scaled(intervals.possible(mean, variance, none), factor)
    for stated, point in (
        (intervals.of_profit(moments, each, own, single), moments.mean * each),
        (intervals.of_purchases(moments), moments.mean),
    ):
        assert np.all(np.isfinite(np.array(stated)))
        assert np.all((stated.low <= point) & (point <= stated.high))
        learned = intervals.learn(point + 1, point, stated, moments.none)
        assert np.all(np.isfinite(np.array(intervals.widen(point, stated, moments.none, learned))))
