"""Profit per purchase: unbiased with its loss-makers in, better than an own mean and than the company's, finite always."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics.models import margins, normal_normal

MARGIN, MARGIN_SPREAD, NOISE = 0.10, 0.25, 20.0


def simulated(customers, seed):
    """Purchases, revenue and profit of customers of whom a third make a loss; with their true profit per purchase and their
    next purchases."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.6, 1 / 0.3, customers)
    purchases = 1 + rng.poisson(rate)
    spend = 6 / rng.gamma(4, 1 / 15, customers)
    revenue = rng.gamma(6.0 * purchases) * spend / 6
    margin = rng.normal(MARGIN, MARGIN_SPREAD, customers)
    profit = revenue * margin + rng.normal(size=customers) * np.sqrt(NOISE * revenue)
    summary = pd.DataFrame({"repeat_purchases": purchases - 1, "revenue": revenue})
    return summary, profit, spend * margin, rng.poisson(rate)


def rmse(values, truth):
    return float(np.sqrt(np.mean((values - truth) ** 2)))


@pytest.mark.parametrize("method", ["gamma_gamma_margin", "normal_normal"])
def test_better_than_the_own_mean_and_than_the_company_and_dropping_loss_makers_would_bias(method):
    promised, kept_promise, fell_short, errors = 0.0, 0.0, 0.0, []
    for seed in range(12):
        summary, profit, truth, future = simulated(4_000, seed)
        purchases = summary["repeat_purchases"].to_numpy() + 1
        expected = margins.profit_per_purchase(summary, profit, method=method)
        company = np.full(len(truth), profit.sum() / purchases.sum())
        gains = profit > 0
        dropped = np.zeros(len(truth))
        dropped[gains] = margins.profit_per_purchase(summary[gains], profit[gains], method=method)
        dropped[~gains] = np.average(dropped[gains], weights=purchases[gains])
        promised += float(future @ expected)
        fell_short += float(future @ dropped)
        kept_promise += float(future @ truth)
        errors.append([rmse(values, truth) for values in (expected, profit / purchases, company, dropped)])
    ours, own_mean, of_company, without_losses = np.mean(errors, axis=0)
    assert abs(promised / kept_promise - 1) < 0.05
    assert fell_short / kept_promise - 1 > 1.0
    assert ours < 0.9 * of_company
    assert ours < 0.6 * own_mean
    assert ours < 0.7 * without_losses


def test_the_variances_of_a_simulation_are_found():
    summary, profit, _, _ = simulated(40_000, 99)
    found = normal_normal.fit(profit / summary["revenue"].to_numpy(), summary["revenue"].to_numpy())
    assert found.mean == pytest.approx(MARGIN, abs=0.01)
    assert found.between == pytest.approx(MARGIN_SPREAD**2, rel=0.15)
    assert found.noise == pytest.approx(NOISE, rel=0.06)
    assert found.credibility == pytest.approx(NOISE / MARGIN_SPREAD**2, rel=0.2)


@pytest.mark.parametrize("method", margins.METHODS)
@pytest.mark.parametrize("shift", [0.0, -500.0, 3.0])
def test_purchases_times_expected_profit_is_the_profit_made(method, shift):
    summary, profit, _, _ = simulated(700, 7)
    profit = profit + shift
    expected = margins.profit_per_purchase(summary, profit, method=method)
    assert (summary["repeat_purchases"] + 1) @ expected == pytest.approx(profit.sum())


def test_margins_are_drawn_the_more_the_less_revenue_there_is():
    rng = np.random.default_rng(8)
    revenue = np.concatenate([rng.uniform(50, 5_000, 500), [50.0, 5_000.0]])
    margin = np.concatenate([rng.normal(0.2, 0.1, 500), [-1.0, -1.0]])
    ratios = margins.shrunk_margins(revenue, revenue * margin + rng.normal(size=502) * np.sqrt(5 * revenue))
    assert ratios[-1] < ratios[-2]
    assert ratios[-1] < 0  # a loss-maker with revenue enough to know it stays one


def in_months(summary, margin_of, seed):
    """Each customer's revenue and profit again, in as many months as purchases, at its own margin."""
    rng = np.random.default_rng(seed)
    purchases = summary["repeat_purchases"].to_numpy() + 1
    customer = np.repeat(np.arange(len(summary)), purchases)
    revenue = (summary["revenue"].to_numpy() / purchases)[customer] * rng.uniform(0.5, 1.5, len(customer))
    noise = rng.normal(size=len(customer)) * np.sqrt(NOISE * revenue)
    return customer, revenue, revenue * margin_of[customer] + noise


def test_the_noise_of_months_is_found_and_fixed_costs_are_not_taken_for_it():
    rng = np.random.default_rng(12)
    summary, _, _, _ = simulated(4_000, 12)
    customer, revenue, profit = in_months(summary, rng.normal(MARGIN, MARGIN_SPREAD, 4_000), 13)
    noise = margins.noise_of_months(customer, revenue, profit)
    assert noise == pytest.approx(NOISE, rel=0.1)
    order = rng.permutation(len(customer))
    assert margins.noise_of_months(customer[order], revenue[order], profit[order]) == pytest.approx(noise, rel=1e-12)
    assert margins.noise_of_months(customer, revenue * 10_000, profit * 10_000) == pytest.approx(noise * 10_000)
    assert margins.noise_of_months(customer[:4], revenue[:4], profit[:4]) is None

    # Deliveries cost the same for all: small customers lose, and their loss is no noise.
    spend = np.exp(rng.normal(3, 1, 4_000))
    purchases = 2 + rng.poisson(6, 4_000)
    customer = np.repeat(np.arange(4_000), purchases)
    revenue = spend[customer] * rng.uniform(0.8, 1.2, len(customer))
    profit = revenue * 0.5 - 8 + rng.normal(size=len(customer)) * np.sqrt(0.5 * revenue)
    summary = pd.DataFrame({"repeat_purchases": purchases - 1, "revenue": np.bincount(customer, weights=revenue)})
    total = np.bincount(customer, weights=profit)
    noise = margins.noise_of_months(customer, revenue, profit)
    truth = spend * 0.5 - 8
    with_months = margins.profit_per_purchase(summary, total, noise=noise)
    without = margins.profit_per_purchase(summary, total)
    assert rmse(with_months, truth) < 0.9 * rmse(without, truth)
    is_loss = truth < -2
    assert np.mean(with_months[is_loss] < 0) > np.mean(without[is_loss] < 0) + 0.1


def test_profit_in_proportion_to_revenue_is_not_drawn_at_all():
    summary, _, _, _ = simulated(300, 14)
    own = np.random.default_rng(15).normal(MARGIN, MARGIN_SPREAD, 300)
    profit = summary["revenue"].to_numpy() * own
    assert margins.shrunk_margins(summary["revenue"].to_numpy(), profit, noise=0.0) == pytest.approx(own)


def test_one_wild_margin_does_not_stop_the_drawing_of_others():
    summary, profit, truth, _ = simulated(2_000, 9)
    plain = margins.profit_per_purchase(summary, profit)
    # One customer bought for a cent and cost what a delivery costs.
    summary = pd.concat([summary, pd.DataFrame({"repeat_purchases": [0], "revenue": [0.01]})], ignore_index=True)
    wild = margins.profit_per_purchase(summary, np.append(profit, -80.0))
    assert rmse(wild[:-1], truth) < 1.05 * rmse(plain, truth)


def test_all_loss_making_stays_negative():
    summary, profit, _, _ = simulated(500, 10)
    expected = margins.profit_per_purchase(summary, -np.abs(profit) - 1)
    assert expected.mean() < 0


@pytest.mark.parametrize("method", margins.METHODS)
def test_one_customer_and_a_few_go_on_as_observed(method):
    summary = pd.DataFrame({"repeat_purchases": [1, 0, 3], "revenue": [100, 50, 1]})
    for rows in (1, 3):
        found = margins.estimate(summary[:rows], np.array([-40.0, 5.0, 8.0])[:rows], method=method)
        assert found.method == "observed_mean"
        assert found.expected == pytest.approx(np.array([-20.0, 5.0, 2.0])[:rows])
    assert len(margins.profit_per_purchase(summary[:0], np.array([]), method=method)) == 0


def test_customers_all_alike_are_all_as_observed():
    summary = pd.DataFrame({"repeat_purchases": [1] * 50, "revenue": [100] * 50})
    found = margins.estimate(summary, np.full(50, 30.0))
    assert found.expected == pytest.approx(np.full(50, 15.0))
    assert found.method == margins.WITHOUT_MODEL
    assert found.spend is not None
    assert "spend the same" in found.spend.degenerate


def test_unknown_methods_and_lengths_are_refused_in_words():
    summary = pd.DataFrame({"repeat_purchases": [1], "revenue": [100]})
    with pytest.raises(ValueError, match="method is 'mean'; give one of gamma_gamma_margin"):
        margins.estimate(summary, np.ones(1), method="mean")
    with pytest.raises(ValueError, match="profit has 2 entries and summary 1"):
        margins.estimate(summary, np.ones(2))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3650), st.integers(1, 10**15), st.integers(-(10**15), 10**15) | st.just(0)),
        max_size=25,
    ),
    method=st.sampled_from(margins.METHODS),
    noise=st.sampled_from([None, 0.0, 1e-9, 5.0, 1e18]),
)
def test_anything_gives_finite_profit_in_any_order(rows, method, noise):
    summary = pd.DataFrame(rows, columns=["repeat_purchases", "revenue", "profit"])
    profit = summary.pop("profit").to_numpy(dtype="float64")
    found = margins.estimate(summary, profit, method=method, noise=noise)
    for values in (found.expected, found.spread, found.purchase_spread):
        assert len(values) == len(rows)
        assert np.all(np.isfinite(values))
    assert np.all(found.spread >= 0)
    order = np.arange(len(rows))[::-1]
    backwards = margins.profit_per_purchase(summary.iloc[order], profit[order], method=method, noise=noise)
    assert backwards == pytest.approx(found.expected[order], rel=1e-6, abs=1e-6 * (1 + np.abs(profit).max(initial=0)))
