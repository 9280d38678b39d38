"""What holds of BG/NBD and MBG/NBD alike: identities with brute force and simulation, limits, and input at the edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from purchase_histories import simulated_until_each_leaves
from scipy.special import hyp2f1
from scipy.stats import beta as beta_distribution
from scipy.stats import gamma as gamma_distribution

from assets.analytics.models import bg_nbd, mbg_nbd
from assets.analytics.models.summaries import compress

MODELS = [pytest.param(bg_nbd, id="bg_nbd"), pytest.param(mbg_nbd, id="mbg_nbd")]
CDNOW_LIKE = {"r": 0.55, "alpha": 10.6, "a": 0.8, "b": 2.4}
YEARS_AHEAD = np.arange(1, 37) * 4.35

X = np.array([0, 0, 0, 1, 1, 2, 5, 20, 400], dtype="float64")
T_X = np.array([0, 0, 0, 1, 30, 30.43, 38, 12, 519], dtype="float64")
AGE = np.array([0, 12, 520, 40, 40, 38.86, 38, 300, 520], dtype="float64")

positive = st.floats(-5, 5).map(np.exp)
parameter_sets = st.fixed_dictionaries({name: positive for name in ("r", "alpha", "a", "b")})
histories = st.lists(
    st.tuples(st.integers(0, 60), st.floats(0, 1), st.integers(0, 520)).map(
        lambda row: (row[0], row[1] * row[2] if row[0] else 0.0, row[2])
    ),
    min_size=1,
    max_size=8,
)


def columns(rows):
    return tuple(np.array([row[place] for row in rows], dtype="float64") for place in range(3))


@pytest.mark.parametrize("model", MODELS)
def test_the_likelihood_is_the_mean_over_rates_and_chances(model):
    """The customer's own likelihood, averaged over gamma rates and beta chances on a fine grid of their quantiles."""
    p = CDNOW_LIKE | {"r": 1.3, "a": 1.4}
    quantiles = (np.arange(2_000) + 0.5) / 2_000
    rate = gamma_distribution.ppf(quantiles, p["r"], scale=1 / p["alpha"])[:, np.newaxis]
    leaving = beta_distribution.ppf(quantiles, p["a"], p["b"])[np.newaxis, :]
    for x, t_x, age in ((0, 0.0, 12.0), (1, 3.0, 9.0), (3, 20.0, 38.86)):
        stays = (1 - leaving) ** (x + model.MODEL.at_start)
        own = stays * rate**x * np.exp(-rate * age)
        if x + model.MODEL.at_start:
            own = own + leaving * (1 - leaving) ** (x + model.MODEL.at_start - 1) * rate**x * np.exp(-rate * t_x)
        found = model.log_likelihood(p, np.array([x]), np.array([t_x]), np.array([age]))
        assert found[0] == pytest.approx(np.log(own.mean()), abs=2e-3)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("t", [0.5, 13.0, 156.0])
def test_the_expectation_is_the_published_formula_where_that_has_no_pole(model, t):
    r, alpha, a, b = CDNOW_LIKE.values()
    stayed = b + X + model.MODEL.at_start
    series = hyp2f1(r + X, stayed, a + stayed - 1, t / (alpha + AGE + t))
    formula = (a + stayed - 1) / (a - 1) * (1 - ((alpha + AGE) / (alpha + AGE + t)) ** (r + X) * series)
    formula *= model.probability_alive(CDNOW_LIKE, X, T_X, AGE)
    np.testing.assert_allclose(model.expected_purchases(CDNOW_LIKE, X, T_X, AGE, t), formula, rtol=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_the_formula_s_poles_are_no_poles(model):
    """a = 1, and a + b + x = 1 (BG/NBD, x = 0; MBG/NBD has none): the value lies between its neighbours'."""
    for pole, beside in (
        ({"a": 1.0}, {"a": 1.0 + 1e-6}),
        ({"a": 0.4, "b": 0.6}, {"a": 0.4, "b": 0.6 + 1e-6}),
        ({"a": 0.4, "b": 0.3}, {"a": 0.4, "b": 0.3 + 1e-6}),
    ):
        at = model.expected_purchases_at(CDNOW_LIKE | pole, X, T_X, AGE, YEARS_AHEAD)
        near = model.expected_purchases_at(CDNOW_LIKE | beside, X, T_X, AGE, YEARS_AHEAD)
        assert (at >= 0).all()
        np.testing.assert_allclose(at, near, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_buying_is_one_less_the_likelihood_of_silence(model):
    for t in (1.0, 13.0, 520.0):
        silent = model.log_likelihood(CDNOW_LIKE, X, T_X, AGE + t) - model.log_likelihood(CDNOW_LIKE, X, T_X, AGE)
        buys = model.probability_of_purchase(CDNOW_LIKE, X, T_X, AGE, t)
        np.testing.assert_allclose(buys, 1 - np.exp(silent), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_simulated_purchases_agree_with_expectation_and_probability(model):
    draws = 40_000
    simulated = model.simulate_purchases(CDNOW_LIKE, X, T_X, AGE, 26.0, np.random.default_rng(5), draws)
    assert simulated.shape == (len(X), draws)
    assert simulated.dtype == np.int64
    error = simulated.std(axis=1) / np.sqrt(draws)
    expected = model.expected_purchases(CDNOW_LIKE, X, T_X, AGE, 26.0)
    assert (np.abs(simulated.mean(axis=1) - expected) <= 4.5 * error + 1e-12).all()
    buys = model.probability_of_purchase(CDNOW_LIKE, X, T_X, AGE, 26.0)
    error = np.sqrt(buys * (1 - buys) / draws)
    assert (np.abs((simulated > 0).mean(axis=1) - buys) <= 4.5 * error + 1e-12).all()
    again = model.simulate_purchases(CDNOW_LIKE, X, T_X, AGE, 26.0, np.random.default_rng(5), draws)
    np.testing.assert_array_equal(simulated, again)


@pytest.mark.parametrize("model", MODELS)
def test_new_customers_buy_as_often_as_simulated_ones(model):
    """Repeat purchases of customers simulated from their first purchase, without any of the model's formulas."""
    x, _, age = simulated_until_each_leaves(CDNOW_LIKE, 60_000, 3, leaves_at_start=model is mbg_nbd)
    expected = model.expected_purchases_of_new(CDNOW_LIKE, age)
    assert expected.shape == age.shape
    assert abs(x.mean() - expected.mean()) <= 4.5 * x.std() / np.sqrt(len(x))


@pytest.mark.parametrize("model", MODELS)
def test_many_points_on_one_curve_equal_each_point_alone(model):
    """Many times of one count are read off a polynomial, single ones are integrated."""
    times = np.linspace(0, 520, 3_001)
    x, t_x, age = np.array([0, 3, 40.0]), np.array([0, 10, 51.0]), np.array([1, 30, 52.0])
    for p in (
        CDNOW_LIKE,
        {"r": 4.0, "alpha": 0.02, "a": 0.05, "b": 0.4},
        {"r": 900.0, "alpha": 90.0, "a": 40.0, "b": 3.0},
    ):
        curve = model.expected_purchases_at(p, x, t_x, age, times)
        for place in (0, 1, 17, 1_500, 3_000):
            alone = model.expected_purchases(p, x, t_x, age, float(times[place]))
            np.testing.assert_allclose(curve[:, place], alone, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_discounted_purchases_are_the_expected_ones_times_their_factors(model):
    factors = 1.1 ** (-np.arange(1, 37) / 12)
    expected = np.diff(model.expected_purchases_at(CDNOW_LIKE, X, T_X, AGE, YEARS_AHEAD), axis=1, prepend=0)
    found = model.discounted_purchases(CDNOW_LIKE, X, T_X, AGE, YEARS_AHEAD, factors)
    np.testing.assert_allclose(found, expected @ factors, rtol=1e-10)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=80, deadline=None)
@given(parameters=parameter_sets, rows=histories, t=st.floats(0, 520))
def test_every_result_is_finite_and_possible(model, parameters, rows, t):
    x, t_x, age = columns(rows)
    alive = model.probability_alive(parameters, x, t_x, age)
    buys = model.probability_of_purchase(parameters, x, t_x, age, t)
    times = np.array([0.0, t / 2, t])
    expected = model.expected_purchases_at(parameters, x, t_x, age, times)
    simulated = model.simulate_purchases(parameters, x, t_x, age, t, np.random.default_rng(0), 3)
    for values in (alive, buys, expected, model.log_likelihood(parameters, x, t_x, age)):
        assert np.isfinite(values).all()
    assert ((alive >= 0) & (alive <= 1)).all()
    assert ((buys >= 0) & (buys <= alive)).all()
    assert (expected[:, 0] == 0).all()
    assert (np.diff(expected, axis=1) >= -1e-9 * (1 + expected[:, 1:])).all()
    # Whoever buys at all buys at least once.
    assert (buys <= expected[:, 2] * (1 + 1e-6) + 1e-9).all()
    assert ((simulated >= 0).all(), simulated.shape) == (True, (len(rows), 3))


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60, deadline=None)
@given(parameters=parameter_sets, row=histories.map(lambda rows: rows[0]), longer=st.floats(0.1, 500))
def test_longer_silence_makes_leaving_likelier_and_buying_rarer(model, parameters, row, longer):
    x, t_x, age = columns([row, row])
    age = age + np.array([0, longer])
    alive = model.probability_alive(parameters, x, t_x, age)
    buys = model.probability_of_purchase(parameters, x, t_x, age, 13.0)
    expected = model.expected_purchases(parameters, x, t_x, age, 13.0)
    assert alive[1] <= alive[0]
    assert buys[1] <= buys[0] + 1e-12
    assert expected[1] <= expected[0] * (1 + 1e-7) + 1e-12


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "truth", [CDNOW_LIKE, {"r": 3.0, "alpha": 6.0, "a": 1.5, "b": 9.0}, {"r": 0.3, "alpha": 2.0, "a": 0.3, "b": 1.0}]
)
def test_the_parameters_of_simulated_customers_are_found_again(model, truth):
    data = compress(*simulated_until_each_leaves(truth, 20_000, 11, leaves_at_start=model is mbg_nbd))
    fitted = model.fit(data)
    assert fitted.converged
    assert fitted.degenerate == ""
    for name, value in truth.items():
        assert abs(fitted.parameters[name] - value) <= 4 * fitted.standard_errors[name]
        assert 0 < fitted.standard_errors[name] < value
    better = model.log_likelihood(fitted.parameters, data.x, data.t_x, data.T) @ data.weight
    assert better == pytest.approx(fitted.log_likelihood, rel=1e-10)
    assert better >= model.log_likelihood(truth, data.x, data.t_x, data.T) @ data.weight


@pytest.mark.parametrize("model", MODELS)
def test_the_fit_depends_neither_on_order_nor_on_start_nor_on_compression(model):
    x, t_x, age = simulated_until_each_leaves(CDNOW_LIKE, 6_000, 2, leaves_at_start=model is mbg_nbd)
    t_x = np.minimum(np.ceil(t_x), age)
    fitted = model.fit(compress(x, t_x, age))
    order = np.random.default_rng(0).permutation(len(x))
    assert model.fit(compress(x[order], t_x[order], age[order])).parameters == fitted.parameters
    for start in (fitted.parameters, {"r": 5.0, "alpha": 0.1, "a": 9.0, "b": 0.2}):
        warm = model.fit(compress(x, t_x, age), start=start)
        assert warm.parameters == pytest.approx(fitted.parameters, rel=1e-5)
    twice = model.fit(compress(np.tile(x, 2), np.tile(t_x, 2), np.tile(age, 2)))
    assert twice.parameters == pytest.approx(fitted.parameters, rel=1e-4)
    assert twice.log_likelihood == pytest.approx(2 * fitted.log_likelihood, rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_time_counted_in_days_gives_the_same_model(model):
    x, t_x, age = simulated_until_each_leaves(CDNOW_LIKE, 6_000, 4, leaves_at_start=model is mbg_nbd)
    weeks, days = model.fit(compress(x, t_x, age)), model.fit(compress(x, 7 * t_x, 7 * age))
    assert days.parameters["alpha"] == pytest.approx(7 * weeks.parameters["alpha"], rel=1e-6)
    assert days.parameters["b"] == pytest.approx(weeks.parameters["b"], rel=1e-6)
    assert days.log_likelihood == pytest.approx(weeks.log_likelihood - x.sum() * np.log(7), rel=1e-10)


EDGES = {
    "nobody": ([], [], []),
    "one who bought today": ([0], [0], [0]),
    "one who bought once": ([0], [0], [10]),
    "one who bought twice": ([1], [5], [10]),
    "nobody bought twice": ([0] * 50, [0] * 50, range(50)),
    "everybody bought today": ([0] * 50, [0] * 50, [0] * 50),
    "all identical": ([3] * 100, [20] * 100, [30] * 100),
    "regular to the day": (np.arange(1000) % 7 + 45, np.full(1000, 51.5), np.full(1000, 52.0)),
    "every day for ten years": ([3640] * 30, [520] * 30, [520] * 30),
    "one giant among others": ([5000, 2, 0, 1], [519, 100, 0, 3], [520] * 4),
    "ten years of silence": ([1, 2, 3, 0], [1, 2, 3, 0], [520] * 4),
    "repeats within the first day": ([2, 3], [0, 0], [10, 10]),
    "a few buy all": ([0] * 990 + [200] * 10, [0] * 990 + [100] * 10, [104] * 1000),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("edge", EDGES)
def test_input_at_the_edge_gives_finite_results_or_a_named_reason(model, edge):
    x, t_x, age = (np.array(list(values), dtype="float64") for values in EDGES[edge])
    data = compress(x, t_x, age)
    fitted = model.fit(data)
    p = fitted.parameters
    assert fitted.converged or edge == "nobody"
    assert all(np.isfinite(value) and value > 0 for value in p.values())
    assert np.isfinite(fitted.log_likelihood)
    assert np.isfinite(fitted.covariance).all()
    assert all(error is None or np.isfinite(error) for error in fitted.standard_errors.values())
    alive = model.probability_alive(p, data.x, data.t_x, data.T)
    expected = model.expected_purchases_at(p, data.x, data.t_x, data.T, YEARS_AHEAD)
    buys = model.probability_of_purchase(p, data.x, data.t_x, data.T, 13.0)
    simulated = model.simulate_purchases(p, data.x, data.t_x, data.T, 13.0, np.random.default_rng(0), 5)
    assert np.isfinite(alive).all()
    assert np.isfinite(expected).all()
    assert expected.shape == (len(data.x), 36)
    assert ((buys >= 0) & (buys <= 1) & (alive >= 0) & (alive <= 1)).all()
    assert (simulated >= 0).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("edge", "reason"),
    [
        ("nobody", "no customers"),
        ("nobody bought twice", "nobody has bought twice"),
        ("all identical", "nobody leaves"),
        ("regular to the day", "below 0.001: by this model nobody leaves"),
        ("every day for ten years", "below 0.001: by this model nobody leaves"),
    ],
)
def test_a_model_that_sees_nobody_leave_says_so(model, edge, reason):
    x, t_x, age = (np.array(list(values), dtype="float64") for values in EDGES[edge])
    assert reason in model.fit(compress(x, t_x, age)).degenerate


def test_the_expectation_of_those_alive_stays_between_its_bounds_in_absurd_corners():
    """No rate is so high and no chance so small that rounding may carry the mean purchases outside what is possible."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        r, alpha, a, b = np.exp(rng.uniform(-8, 8, 4))
        x, age, t = rng.choice([0.0, 1, 30, 3000]), rng.choice([0.0, 1, 500]), rng.choice([0.1, 52, 520])
        p = {"r": r, "alpha": alpha, "a": a, "b": b}
        expected = mbg_nbd.expected_purchases_at(p, np.array([x]), np.array([age]), np.array([age]), [t])[0, 0]
        assert 0 <= expected <= (r + x) * t / (alpha + age) * (1 + 1e-9)
