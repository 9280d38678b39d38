"""Pareto/NBD against what was published, against integrals and simulations that know nothing of its code, and at its limits."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from command import SHARED_DATA
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from assets.analytics.models import pareto_nbd
from assets.analytics.models.summaries import compress

CDNOW = SHARED_DATA / "cdnow" / "cdnow_customers_summary.csv"
PUBLISHED = {"r": 0.5533, "alpha": 10.578, "s": 0.6062, "beta": 11.668}
"""Fader, Hardie and Lee (2005), CDNOW, weeks."""

OTHERS = (
    PUBLISHED,
    {"r": 2.0, "alpha": 3.0, "s": 1.0, "beta": 20.0},
    {"r": 1.3, "alpha": 30.0, "s": 2.5, "beta": 4.0},
    {"r": 1.0, "alpha": 8.0, "s": 1.7, "beta": 8.0},
)

WEEKS = 39.0

needs_cdnow = pytest.mark.skipif(not CDNOW.exists(), reason="the CDNOW data are not on this machine")

parameters = st.fixed_dictionaries(
    {name: st.floats(np.log(low), np.log(high)).map(np.exp) for name, low, high in (
        ("r", 0.01, 1e3), ("alpha", 1e-2, 1e4), ("s", 1e-6, 1e3), ("beta", 1e-2, 1e4))}
)  # fmt: skip

histories = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 3650), st.integers(0, 3650)).map(
        # x repeat purchases need x days.
        lambda numbers: (min(numbers[0], numbers[1]), numbers[1] if min(numbers[:2]) else 0, numbers[1] + numbers[2])
    ),
    min_size=1,
    max_size=30,
)


def columns(rows):
    x, t_x, T = (np.array(column, dtype="float64") for column in zip(*rows, strict=True))
    return x, t_x / 7, T / 7


@pytest.fixture(scope="module")
def cdnow():
    table = pd.read_csv(CDNOW).rename(columns={"frequency": "x", "recency": "t_x"})
    return table["x"].to_numpy("float64"), table["t_x"].to_numpy(), table["T"].to_numpy()


@pytest.fixture(scope="module")
def fitted(cdnow):
    return pareto_nbd.fit(compress(*cdnow))


@pytest.fixture(scope="module")
def bought_later(cdnow):
    """Purchase days of each of the 2,357 customers in the 39 weeks held out."""
    orders = pd.read_csv(
        SHARED_DATA / "cdnow" / "CDNOW_sample.txt", sep=r"\s+", header=None, usecols=[1, 2], names=["customer", "day"]
    ).drop_duplicates()
    later = orders[orders["day"] > 19970930]["customer"].value_counts()
    return later.reindex(range(1, len(cdnow[0]) + 1), fill_value=0).to_numpy()


@needs_cdnow
def test_the_published_estimates_and_standard_errors(fitted):
    assert fitted.converged
    assert fitted.degenerate == ""
    assert (fitted.customers, fitted.log_likelihood) == (2357, pytest.approx(-9594.97, abs=0.01))
    assert fitted.parameters == pytest.approx({"r": 0.5533, "alpha": 10.578, "s": 0.6062, "beta": 11.668}, rel=2e-4)
    errors = {"r": 0.0476, "alpha": 0.843, "s": 0.187, "beta": 6.21}
    assert fitted.standard_errors == pytest.approx(errors, rel=0.01)


@needs_cdnow
def test_the_published_mean_of_customers_with_three_repeat_purchases(cdnow, fitted, bought_later):
    expected = pareto_nbd.expected_purchases(fitted.parameters, *cdnow, WEEKS)
    assert round(float(bought_later[cdnow[0] == 3].mean()), 2) == 1.56
    assert round(float(expected[cdnow[0] == 3].mean()), 2) == 1.71


@needs_cdnow
def test_the_published_correlation_with_the_weeks_held_out(cdnow, fitted, bought_later):
    expected = pareto_nbd.expected_purchases(fitted.parameters, *cdnow, WEEKS)
    assert np.corrcoef(expected, bought_later)[0, 1] == pytest.approx(0.630, abs=0.0005)


def test_the_published_conditional_expectation():
    assert pareto_nbd.expected_purchases(PUBLISHED, [26], [30.86], [31], 52) == pytest.approx(25.46, abs=0.005)


@needs_cdnow
def test_starting_from_an_earlier_fit_ends_at_the_same_estimates(cdnow, fitted):
    again = pareto_nbd.fit(compress(*cdnow), start={"r": 1.0, "alpha": 20.0, "s": 0.4, "beta": 5.0})
    assert again.parameters == pytest.approx(fitted.parameters, rel=1e-6)


def by_double_integral(values, x, t_x, T, left_at, alive_with):
    """The mean, over rates of purchase and of leaving, of the chance of a history times what is asked of the two rates.

    Given its two rates a customer bought x times and then left in silence (`left_at`), or is alive at T (`alive_with`). The
    integral is over the quantiles of both rates, by the double exponential rule.
    """
    step = 0.025
    far = np.arange(-3.4, 3.4, step)
    below, above = (special.expit(sign * np.pi * np.sinh(far)) for sign in (1, -1))
    weight = np.pi * np.cosh(far) * below * above * step

    def gamma_quantiles(shape):
        return np.where(far < 0, special.gammaincinv(shape, below), special.gammainccinv(shape, above))

    rate = gamma_quantiles(values["r"])[:, np.newaxis] / values["alpha"]
    leaving = gamma_quantiles(values["s"])[np.newaxis, :] / values["beta"]
    both = rate + leaving
    left = leaving / both * (np.exp(-both * t_x) - np.exp(-both * T)) * left_at
    chance = rate**x * (left + np.exp(-both * T) * alive_with(rate, leaving))
    return weight @ chance @ weight


@pytest.mark.parametrize("values", OTHERS, ids=str)
@pytest.mark.parametrize("history", [(0, 0.0, 20.0), (3, 12.0, 30.0), (8, 10.0, 100.0)], ids=str)
def test_everything_against_double_integrals_over_the_two_rates(values, history):
    weeks = 13.0

    def until_leaving(rate, leaving):
        return rate * -np.expm1(-leaving * weeks) / leaving

    def buys(rate, leaving):
        return rate / (rate + leaving) * -np.expm1(-(rate + leaving) * weeks)

    likelihood = by_double_integral(values, *history, 1.0, lambda *_: 1.0)
    alive = by_double_integral(values, *history, 0.0, lambda *_: 1.0) / likelihood
    expected = by_double_integral(values, *history, 0.0, until_leaving) / likelihood
    chance = by_double_integral(values, *history, 0.0, buys) / likelihood
    row = [np.array([value]) for value in history]
    assert np.exp(pareto_nbd.log_likelihood(values, *row)) == pytest.approx(likelihood, rel=1e-6)
    assert pareto_nbd.probability_alive(values, *row) == pytest.approx(alive, rel=1e-6)
    assert pareto_nbd.expected_purchases(values, *row, weeks) == pytest.approx(expected, rel=1e-6)
    assert pareto_nbd.probability_of_purchase(values, *row, weeks) == pytest.approx(chance, rel=1e-6)


def test_the_likelihood_against_an_adaptive_integral_over_the_moment_of_leaving():
    generator = np.random.default_rng(5)
    for _ in range(200):
        r, s = np.exp(generator.uniform(-2, 2, 2))
        alpha, beta = np.exp(generator.uniform(-2, 5, 2))
        T = generator.uniform(1, 500)
        x = generator.integers(0, 40)
        t_x = generator.uniform(0, T) if x else 0.0

        def of_leaving(log_time, r=r, alpha=alpha, s=s, beta=beta, x=x):
            time = np.exp(log_time)
            return time * s * (alpha + time) ** -(r + x) * (beta + time) ** -(s + 1)

        # Every tenth of a unit of ln(time) by itself: an adaptive rule may overlook a narrow peak.
        ends = np.append(np.arange(np.log(t_x or 1e-12), np.log(T), 0.25), np.log(T))
        left = sum(integrate.quad(of_leaving, *pair, epsabs=0, epsrel=1e-13)[0] for pair in pairwise(ends))
        alive = (alpha + T) ** -(r + x) * (beta + T) ** -s
        wanted = (
            special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) + s * np.log(beta) + np.log(left + alive)
        )
        values = {"r": r, "alpha": alpha, "s": s, "beta": beta}
        assert pareto_nbd.log_likelihood(values, [x], [t_x], [T])[0] == pytest.approx(wanted, abs=1e-9)
        assert pareto_nbd.probability_alive(values, [x], [t_x], [T])[0] == pytest.approx(
            alive / (left + alive), rel=1e-9
        )


@pytest.mark.parametrize("values", OTHERS, ids=str)
def test_the_likelihood_against_the_formula_with_hypergeometric_functions(values):
    """As in the note of Fader and Hardie (2005), for histories where the functions neither overflow nor cancel."""
    r, alpha, s, beta = (values[name] for name in pareto_nbd.PARAMETERS)
    x, t_x, T = columns([(0, 0, 200), (1, 20, 200), (2, 100, 260), (5, 210, 270), (9, 30, 365)])
    total = r + s + x
    second = s + 1 if alpha >= beta else r + x

    def integral_from(time):
        ratio = abs(alpha - beta) / (max(alpha, beta) + time)
        return special.hyp2f1(total, second, total + 1, ratio) / (max(alpha, beta) + time) ** total

    left = s / total * (integral_from(t_x) - integral_from(T))
    alive = (alpha + T) ** -(r + x) * (beta + T) ** -s
    wanted = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) + s * np.log(beta) + np.log(left + alive)
    assert pareto_nbd.log_likelihood(values, x, t_x, T) == pytest.approx(wanted, abs=1e-10)


def test_gradient_and_hessian_against_differences():
    generator = np.random.default_rng(11)
    x = generator.integers(0, 12, 60).astype("float64")
    T = generator.uniform(1, 80, 60)
    t_x = np.where(x > 0, T * generator.uniform(0, 1, 60), 0.0)
    t_x[:3] = T[:3]
    weight = generator.integers(1, 9, 60).astype("float64")
    objective = pareto_nbd.objective(x, t_x, T, weight)
    for values in OTHERS:
        logs = np.log([values[name] for name in pareto_nbd.PARAMETERS])
        value, gradient, hessian = objective(logs)
        assert value == pytest.approx(np.dot(weight, pareto_nbd.log_likelihood(values, x, t_x, T)), rel=1e-12)
        for place, shift in enumerate(np.eye(4) * 1e-5):
            above, below = objective(logs + shift), objective(logs - shift)
            assert gradient[place] == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-6, abs=1e-5)
            assert hessian[place] == pytest.approx((above[1] - below[1]) / 2e-5, rel=1e-6, abs=1e-5)


def population(count, values, seed, weeks=78.0, later=26.0):
    """Customers as the model tells it, lived through purchase by purchase: x, t_x, T, and purchases in `later` weeks."""
    generator = np.random.default_rng(seed)
    rate = generator.gamma(values["r"], 1 / values["alpha"], count)
    leaves = generator.exponential(1 / generator.gamma(values["s"], 1 / values["beta"], count))
    T = generator.uniform(0.2, 1.0, count) * weeks
    x, t_x, after, clock = np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
    living = np.arange(count)
    while len(living):
        clock[living] += generator.exponential(1 / rate[living])
        living = living[clock[living] < np.minimum(leaves, T + later)[living]]
        seen = living[clock[living] <= T[living]]
        x[seen] += 1
        t_x[seen] = clock[seen]
        after[living[clock[living] > T[living]]] += 1
    return x, t_x, T, after


LIVELY = {"r": 0.8, "alpha": 6.0, "s": 0.7, "beta": 15.0}


@pytest.fixture(scope="module")
def simulated():
    return population(150_000, LIVELY, seed=3)


def test_parameters_are_recovered_from_simulated_customers(simulated):
    x, t_x, T, _ = (column[:40_000] for column in simulated)
    result = pareto_nbd.fit(compress(x, t_x, T))
    assert result.converged
    for name, value in LIVELY.items():
        assert abs(result.parameters[name] - value) < 4 * result.standard_errors[name]
        assert result.standard_errors[name] < 0.15 * value


def test_many_rows_are_fitted_from_a_sample_to_the_same_maximum(simulated, monkeypatch):
    rows = compress(*(column[:10_000] for column in simulated[:3]))
    from_starts = pareto_nbd.fit(rows)
    monkeypatch.setattr(pareto_nbd, "FIRST_SAMPLE", 1_000)
    from_sample = pareto_nbd.fit(rows)
    assert from_sample.converged
    assert from_sample.parameters == pytest.approx(from_starts.parameters, rel=1e-6)
    assert from_sample.customers == 10_000


def test_forecasts_agree_with_what_simulated_customers_of_each_history_do(simulated):
    """The histories of many customers, grouped by count and silence: what they bought afterwards is what was expected."""
    x, t_x, T, after = simulated
    silence = np.digitize((T - t_x) / T, [0.1, 0.3, 0.6])
    groups = pd.Series(zip(np.minimum(x, 6), silence, strict=True))
    table = pd.DataFrame(
        {
            "bought": after,
            "bought_once": after > 0,
            "expected": pareto_nbd.expected_purchases(LIVELY, x, t_x, T, 26.0),
            "chance": pareto_nbd.probability_of_purchase(LIVELY, x, t_x, T, 26.0),
            "drawn": pareto_nbd.simulate_purchases(LIVELY, x, t_x, T, 26.0, np.random.default_rng(4), 1)[:, 0],
        }
    ).groupby(groups)
    checked = 0
    for _, group in table:
        if len(group) < 800:
            continue
        checked += 1
        error = group["bought"].std() / np.sqrt(len(group))
        assert abs(group["bought"].mean() - group["expected"].mean()) < 4 * error + 1e-3
        assert abs(group["drawn"].mean() - group["bought"].mean()) < 5 * error + 1e-3
        error = group["bought_once"].std() / np.sqrt(len(group))
        assert abs(group["bought_once"].mean() - group["chance"].mean()) < 4 * error + 1e-3
    assert checked > 15
    # Not the mean alone: the whole distribution of the draws is that of the customers.
    largest = 12
    drawn, bought = (np.bincount(np.minimum(table.obj[name].astype(int), largest)) for name in ("drawn", "bought"))
    assert stats.chi2_contingency([drawn, bought]).pvalue > 1e-4


def test_draws_have_the_expectation_and_the_chance_of_the_customer():
    history = [np.array([column]) for column in (5.0, 40.0, 52.0)]
    drawn = pareto_nbd.simulate_purchases(LIVELY, *history, 26.0, np.random.default_rng(1), 200_000)
    assert drawn.shape == (1, 200_000)
    assert drawn.dtype == np.int64
    assert drawn.mean() == pytest.approx(pareto_nbd.expected_purchases(LIVELY, *history, 26.0)[0], rel=0.02)
    chance = pareto_nbd.probability_of_purchase(LIVELY, *history, 26.0)[0]
    assert (drawn > 0).mean() == pytest.approx(chance, abs=0.005)


def test_a_new_customer_is_one_of_age_nought():
    times = np.array([[0.0, 1.0], [10.0, 520.0]])
    for values in OTHERS:
        new = pareto_nbd.expected_purchases_of_new(values, times)
        assert new == pytest.approx(
            pareto_nbd.expected_purchases_at(values, [0], [0], [0], times.ravel()).reshape(2, 2)
        )
    x, _, T, _ = population(100_000, LIVELY, seed=8, weeks=60.0, later=0.0)
    assert x.mean() == pytest.approx(pareto_nbd.expected_purchases_of_new(LIVELY, T).mean(), rel=0.02)


def test_at_s_of_one_the_expectation_is_the_limit_from_both_sides():
    history = [np.array([column]) for column in (4.0, 30.0, 40.0)]
    at, below, above = (
        pareto_nbd.expected_purchases({**LIVELY, "s": s}, *history, 52.0)[0] for s in (1.0, 1 - 1e-7, 1 + 1e-7)
    )
    assert at == pytest.approx((below + above) / 2, rel=1e-9)
    assert pareto_nbd.expected_purchases_of_new({"r": 2, "alpha": 4, "s": 1, "beta": 10}, 30.0) == pytest.approx(
        2 / 4 * 10 * np.log(4)
    )


def test_who_bought_today_is_alive_and_ten_silent_years_are_not():
    alive = pareto_nbd.probability_alive(
        PUBLISHED, [0, 3, 10_000, 40, 10_000], [0, 9, 500, 20, 500], [0, 9, 500, 540, 1020]
    )
    assert list(alive[:3]) == [1, 1, 1]
    assert alive[3] < 1e-30
    assert alive[4] == 0
    assert pareto_nbd.expected_purchases(PUBLISHED, [10_000], [500], [500], 1)[0] == pytest.approx(19.5, abs=0.2)


@given(parameters, histories, st.floats(0.1, 600))
@settings(max_examples=150, deadline=None)
def test_every_result_is_finite_in_range_and_rises_with_time(values, rows, weeks):
    x, t_x, T = columns(rows)
    likelihood = pareto_nbd.log_likelihood(values, x, t_x, T)
    alive = pareto_nbd.probability_alive(values, x, t_x, T)
    chances = np.array([pareto_nbd.probability_of_purchase(values, x, t_x, T, t) for t in (0, weeks, 2 * weeks)])
    expected = pareto_nbd.expected_purchases_at(values, x, t_x, T, [0, weeks, 2 * weeks]).T
    drawn = pareto_nbd.simulate_purchases(values, x, t_x, T, weeks, np.random.default_rng(0), 3)
    assert np.isfinite(likelihood).all()
    assert np.isfinite(expected).all()
    assert ((alive >= 0) & (alive <= 1)).all()
    assert (alive[t_x == T] == 1).all()
    assert ((chances >= 0) & (chances <= alive)).all()
    assert (np.diff(chances, axis=0) >= -1e-12).all()
    assert (np.diff(expected, axis=0) >= 0).all()
    assert (chances[0] == 0).all()
    assert (expected[0] == 0).all()
    assert (chances <= expected * (1 + 1e-9)).all()  # Markov's inequality
    assert (drawn >= 0).all()
    later = pareto_nbd.log_likelihood(values, x, t_x, T + weeks)
    noise = 1e-12 * (1 + np.abs(likelihood))
    assert (np.abs(chances[1] + np.expm1(later - likelihood)) < 1e-9 + noise).all()
    assert expected[1] == pytest.approx(pareto_nbd.expected_purchases(values, x, t_x, T, weeks))


@given(histories, st.integers(1, 500))
@settings(max_examples=25, deadline=None)
def test_every_history_can_be_fitted(rows, copies):
    x, t_x, T = columns(rows * copies)
    result = pareto_nbd.fit(compress(x, t_x, T))
    assert set(result.parameters) == set(pareto_nbd.PARAMETERS)
    assert all(np.isfinite(value) and value > 0 for value in result.parameters.values())
    assert np.isfinite(result.log_likelihood)
    assert np.isfinite(result.covariance).all()
    assert result.customers == len(rows) * copies


def days(*rows):
    return compress(*columns(rows))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "no customers"),
        ([(0, 0, 0)], "bought twice"),
        ([(0, 0, day) for day in range(300)], "bought twice"),
        ([(day // 7, day - day % 7, day) for day in range(60, 700)] * 5, "nobody leaves"),
    ],
    ids=["none", "one of today", "one-time buyers", "weekly buyers"],
)
def test_what_the_data_do_not_tell_is_said(rows, reason):
    data = days(*rows) if rows else compress(np.zeros(0), np.zeros(0), np.zeros(0))
    result = pareto_nbd.fit(data)
    assert reason in result.degenerate
    assert all(np.isfinite(value) and value > 0 for value in result.parameters.values())
    chance = pareto_nbd.probability_of_purchase(result.parameters, data.x, data.t_x, data.T, 13.0)
    assert ((chance >= 0) & (chance <= 1)).all()


@pytest.mark.parametrize("row", [(5, 100, 365), (200, 3_640, 3_650), (1, 1, 3_650), (7, 49, 49)], ids=str)
def test_identical_customers_are_fitted_and_expect_about_what_they_did(row):
    data = days(*[row] * 1_000)
    result = pareto_nbd.fit(data)
    assert result.converged
    seen = pareto_nbd.expected_purchases_of_new(result.parameters, float(data.T[0]))
    assert seen == pytest.approx(row[0], rel=0.25)


def test_results_do_not_depend_on_the_order_of_the_rows():
    generator = np.random.default_rng(2)
    x, t_x, T, _ = population(2_000, LIVELY, seed=9)
    shuffled = generator.permutation(len(x))
    first = pareto_nbd.fit(compress(x, t_x, T))
    second = pareto_nbd.fit(compress(x[shuffled], t_x[shuffled], T[shuffled]))
    assert first.parameters == second.parameters
    one = pareto_nbd.probability_of_purchase(LIVELY, x, t_x, T, 13.0)
    other = pareto_nbd.probability_of_purchase(LIVELY, x[shuffled], t_x[shuffled], T[shuffled], 13.0)
    assert np.abs(one[shuffled] - other).max() < 1e-12


def test_discounted_purchases_are_those_of_each_month_at_their_factor():
    x, t_x, T, _ = population(500, LIVELY, seed=10)
    months = np.arange(1, 37) * 365.25 / 12 / 7
    factors = 1.01 ** -np.arange(1.0, 37.0)
    by_month = np.diff(pareto_nbd.expected_purchases_at(LIVELY, x, t_x, T, months), axis=1, prepend=0.0)
    assert pareto_nbd.discounted_purchases(LIVELY, x, t_x, T, months, factors) == pytest.approx(by_month @ factors)
