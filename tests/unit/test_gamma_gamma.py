"""Gamma-Gamma: published estimates, its derivatives, and what it does where it has no mean."""

import numpy as np
import pandas as pd
import pytest
from command import SHARED_DATA
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics.models import gamma_gamma

PUBLISHED = {"p": 6.249, "q": 3.745, "gamma": 15.448}


def simulated(customers, seed, *, p=6.0, q=4.0, gamma=15.0):
    rng = np.random.default_rng(seed)
    count = rng.geometric(0.3, customers).astype("float64")
    rate = rng.gamma(q, 1 / gamma, customers)
    return count, rng.gamma(p * count) / rate / count, p / rate


@pytest.mark.skipif(not (SHARED_DATA / "cdnow").exists(), reason="needs the CDNOW data in shared/data/cdnow")
def test_cdnow_gives_the_published_estimates():
    lines = pd.read_csv(
        SHARED_DATA / "cdnow" / "CDNOW_sample.txt",
        sep=r"\s+",
        header=None,
        names=["master_id", "customer_id", "date", "units", "amount"],
    )
    days = lines[lines["date"] <= 19970930].groupby(["customer_id", "date"], as_index=False)["amount"].sum()
    repeats = days[days["date"] > days.groupby("customer_id")["date"].transform("min")]
    means = repeats.groupby("customer_id")["amount"].agg(["count", "mean"])
    fitted = gamma_gamma.fit(means["count"], means["mean"])
    assert fitted.converged
    assert fitted.customers == 946
    assert {name: fitted.parameters[name] for name in PUBLISHED} == pytest.approx(PUBLISHED, rel=5e-4)
    assert fitted.log_likelihood == pytest.approx(-4055.92, abs=0.005)
    # The note's example: the mean of all customers, about 35 dollars, is what nobody in particular spends.
    assert gamma_gamma.expected_spend(fitted.parameters, 0, 0) == pytest.approx(35.17, abs=0.05)
    assert all(fitted.standard_errors[name] > 0 for name in PUBLISHED)


def test_parameters_of_a_simulation_are_found_in_any_unit_and_order():
    count, mean, _ = simulated(20_000, 1)
    fitted = gamma_gamma.fit(count, mean)
    for name, truth in (("p", 6.0), ("q", 4.0), ("gamma", 15.0)):
        assert abs(fitted.parameters[name] - truth) < 4 * fitted.standard_errors[name]
    order = np.random.default_rng(2).permutation(len(count))
    in_cents = gamma_gamma.fit(count[order], mean[order] * 10_000)
    assert in_cents.parameters["p"] == pytest.approx(fitted.parameters["p"], rel=1e-8)
    assert in_cents.parameters["gamma"] == pytest.approx(fitted.parameters["gamma"] * 10_000, rel=1e-8)
    usable = gamma_gamma.log_likelihood(fitted.parameters, count, mean)
    assert usable.sum() == pytest.approx(fitted.log_likelihood)


def test_a_weight_is_so_many_equal_customers():
    count, mean, _ = simulated(50, 3)
    weight = np.arange(50) % 3 + 1.0
    weighted = gamma_gamma.fit(count, mean, weight)
    repeated = gamma_gamma.fit(np.repeat(count, weight.astype(int)), np.repeat(mean, weight.astype(int)))
    assert weighted.customers == repeated.customers == weight.sum()
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-9)
    assert weighted.parameters == pytest.approx(repeated.parameters, rel=1e-5)


def test_gradient_and_hessian_are_those_of_the_likelihood():
    count, mean, _ = simulated(40, 4)
    evaluate = gamma_gamma._objective(count, mean, np.arange(40) % 4 + 1.0)
    logs = np.log([3.0, 2.0, 9.0])
    _, gradient, hessian = evaluate(logs)
    for place in range(3):
        step = np.zeros(3)
        step[place] = 1e-5
        above, below = evaluate(logs + step), evaluate(logs - step)
        assert gradient[place] == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-5)
        assert hessian[place] == pytest.approx((above[1] - below[1]) / 2e-5, rel=1e-5)


def test_the_expectation_lies_between_the_own_mean_and_that_of_all_and_nears_the_own():
    parameters = {"p": 6.0, "q": 4.0, "gamma": 15.0, "typical_spend": 25.0}
    counts = np.array([0, 1, 5, 100, 1e6])
    expected = gamma_gamma.expected_spend(parameters, counts, np.full(5, 100.0))
    assert expected[0] == pytest.approx(30)  # 6 * 15 / 3
    assert np.all(np.diff(expected) > 0)
    assert expected[-1] == pytest.approx(100, rel=1e-3)


def test_estimates_beat_the_own_mean_and_the_mean_of_all():
    count, mean, truth = simulated(5_000, 5)
    expected = gamma_gamma.expected_spend(gamma_gamma.fit(count, mean).parameters, count, mean)

    def rmse(values):
        return float(np.sqrt(np.mean((values - truth) ** 2)))

    assert rmse(expected) < 0.95 * rmse(mean)
    assert rmse(expected) < 0.8 * rmse(np.full(len(truth), mean.mean()))
    assert expected.mean() == pytest.approx(truth.mean(), rel=0.02)


def test_without_a_mean_of_all_the_fallback_is_named_and_sane():
    count, mean, _ = simulated(5_000, 6, q=0.8)
    fitted = gamma_gamma.fit(count, mean)
    assert fitted.parameters["q"] < 1
    assert "infinite" in fitted.degenerate
    assert gamma_gamma.method(fitted.parameters) == gamma_gamma.FALLBACK
    expected = gamma_gamma.expected_spend(fitted.parameters, np.append(count, 0), np.append(mean, 0))
    assert np.all(expected > 0)
    typical = fitted.parameters["typical_spend"]
    assert expected[-1] == pytest.approx(typical)
    drawn = np.sign(typical - mean) * (expected[:-1] - mean)
    assert np.all(drawn >= 0)


@pytest.mark.parametrize(
    ("count", "mean", "reason"),
    [
        ([], [], "fewer than 5"),
        ([3], [20], "fewer than 5"),
        ([0] * 40, [0] * 40, "fewer than 5"),
        ([1] * 40, [-5] * 40, "fewer than 5"),
        ([2] * 40, [19.99] * 40, "spend the same"),
    ],
)
def test_where_nothing_tells_the_parameters_apart_the_fallback_is_used(count, mean, reason):
    fitted = gamma_gamma.fit(np.array(count), np.array(mean))
    assert reason in fitted.degenerate
    assert not fitted.converged
    assert gamma_gamma.method(fitted.parameters) == gamma_gamma.FALLBACK
    expected = gamma_gamma.expected_spend(fitted.parameters, np.array([0.0, 2.0]), np.array([0.0, 19.99]))
    assert np.all(np.isfinite(expected))
    if "same" in reason:
        assert expected == pytest.approx([19.99, 19.99])


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2, 1 and 2 entries"):
        gamma_gamma.fit(np.ones(2), np.ones(1), np.ones(2))


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 4000),
            st.one_of(st.floats(0, 1e12), st.sampled_from([0.01, 10.0, 10.0, 1e-4, -3.0])),
        ),
        max_size=30,
    )
)
def test_anything_gives_finite_spend(rows):
    count = np.array([row[0] for row in rows], dtype="float64")
    mean = np.array([row[1] if row[0] else 0.0 for row in rows], dtype="float64")
    fitted = gamma_gamma.fit(count, mean)
    numbers = [*fitted.parameters.values(), fitted.log_likelihood, *fitted.covariance.ravel()]
    assert np.all(np.isfinite(numbers))
    expected = gamma_gamma.expected_spend(fitted.parameters, count, np.maximum(mean, 0))
    own, single = gamma_gamma.spread(fitted.parameters, count)
    assert np.all(np.isfinite(expected))
    assert np.all(expected >= 0)
    assert np.all(np.isfinite(own))
    assert np.isfinite(single)
