"""Newton's steps on likelihoods whose maxima are known."""

import numpy as np
import pytest

from assets.analytics.models import beta_geometric, estimation
from assets.analytics.models.summaries import compress


def exponential(x, t_x, T, weight):
    """One event each, at T, exponential with mean tau."""
    total, customers = float(np.dot(weight, T)), float(np.sum(weight))

    def evaluate(logs):
        tau = np.exp(logs[0])
        value = -customers * logs[0] - total / tau
        return value, np.array([total / tau - customers]), None

    return evaluate


def fitted(data, **options):
    return estimation.fit(
        "exponential", ("tau",), data, exponential, time_parameters=("tau",), starts=((1.0,),), **options
    )


def test_the_maximum_its_error_and_likelihood_are_those_of_the_formula():
    ages = np.random.default_rng(0).exponential(30.0, 4_000)
    found = fitted(compress(np.ones(4_000), np.zeros(4_000), ages))
    assert found.converged
    assert found.parameters["tau"] == pytest.approx(ages.mean(), rel=1e-7)
    assert found.standard_errors["tau"] == pytest.approx(ages.mean() / np.sqrt(4_000), rel=1e-6)
    assert found.covariance[0, 0] == pytest.approx(1 / 4_000, rel=1e-6)
    assert found.log_likelihood == pytest.approx(-4_000 * (np.log(ages.mean()) + 1), rel=1e-12)
    assert (found.customers, found.distinct_rows) == (4_000, 4_000)


@pytest.mark.parametrize("at_start", [0, 1])
@pytest.mark.parametrize("logs", [(0.0, 0.0, 0.0, 0.0), (-1.5, 2.0, -0.3, 1.0), (2.0, -1.0, 1.5, -2.0)])
def test_gradient_and_hessian_are_the_differences_of_the_likelihood(at_start, logs):
    rng = np.random.default_rng(1)
    x = np.array([0, 0, 1, 2, 7, 30, 1], dtype="float64")
    age = np.array([0, 9, 4, 8, 20, 52, 3], dtype="float64")
    t_x = np.where(x > 0, age * np.array([0, 0, 0.2, 1, 0.9, 0.4, 0.1]), 0.0)
    objective = beta_geometric.objective(x, t_x, age, rng.uniform(0.5, 3, 7), at_start)
    at = np.array(logs)
    _, gradient, hessian = objective(at)
    for place in range(4):
        shift = np.zeros(4)
        shift[place] = 1e-5
        up, down = objective(at + shift), objective(at - shift)
        assert (up[0] - down[0]) / 2e-5 == pytest.approx(gradient[place], rel=1e-6, abs=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / 2e-5, hessian[place], rtol=1e-6, atol=1e-6)


def test_without_a_hessian_the_gradient_differences_lead_to_the_same_estimates():
    x, t_x = np.array([0, 1, 2, 5, 0, 3, 1.0]), np.array([0, 4, 9, 30, 0, 20, 1.0])
    data = compress(np.tile(x, 40), np.tile(t_x, 40), np.tile(np.array([40, 30, 40, 33, 20, 26, 39.0]), 40))

    def objective_of(*rows, hessian):
        evaluate = beta_geometric.objective(*rows, 0)
        return evaluate if hessian else lambda logs: (*evaluate(logs)[:2], None)

    one, other = (
        estimation.fit(
            "bg",
            beta_geometric.PARAMETERS,
            data,
            lambda *rows, hessian=hessian: objective_of(*rows, hessian=hessian),
            time_parameters=("alpha",),
            starts=beta_geometric.STARTS,
        )
        for hessian in (True, False)
    )
    assert one.converged
    assert other.converged
    assert one.parameters == pytest.approx(other.parameters, rel=1e-6)


def test_a_likelihood_that_rises_for_ever_ends_at_the_wall():
    def rising(x, t_x, T, weight):
        return lambda logs: (100 * logs[0], np.array([100.0]), np.zeros((1, 1)))

    found = estimation.fit(
        "rising",
        ("theta",),
        compress(np.ones(10), np.ones(10), np.ones(10)),
        rising,
        time_parameters=(),
        starts=((1.0,),),
    )
    assert found.converged
    assert 8.0 < np.log(found.parameters["theta"]) < 80.0
    assert found.standard_errors == {"theta": None}
    assert np.isfinite(found.covariance).all()


def test_a_parameter_the_data_do_not_tell_stays_at_the_first_start():
    def flat(x, t_x, T, weight):
        return lambda logs: (0.0, np.zeros(1), np.zeros((1, 1)))

    found = estimation.fit(
        "flat",
        ("theta",),
        compress(np.zeros(10), np.zeros(10), np.ones(10)),
        flat,
        time_parameters=(),
        starts=((0.5,), (9.0,)),
    )
    assert found.parameters["theta"] == pytest.approx(0.5)
    assert (found.converged, found.log_likelihood) == (True, 0.0)


def test_the_best_of_several_starts_is_taken_also_where_a_sample_is_used(monkeypatch):
    def two_hills(x, t_x, T, weight):
        size = float(np.sum(weight))

        def evaluate(logs):
            low, high = np.exp(-((logs[0] + 2) ** 2)), 3 * np.exp(-((logs[0] - 2) ** 2))
            slope = -2 * (logs[0] + 2) * low - 2 * (logs[0] - 2) * high
            return size * (low + high), np.array([size * slope]), None

        return evaluate

    data = compress(np.zeros(50), np.zeros(50), np.arange(50.0))
    for rows in (10, 1_000):
        monkeypatch.setattr(estimation, "SAMPLE_ROWS", rows)
        found = estimation.fit(
            "hills", ("theta",), data, two_hills, time_parameters=(), starts=((np.exp(-2),), (np.exp(1.5),))
        )
        assert np.log(found.parameters["theta"]) == pytest.approx(2.0, abs=0.01)


def test_a_start_that_leads_nowhere_does_not_spoil_the_fit():
    data = compress(np.ones(100), np.zeros(100), np.linspace(1, 30, 100))
    usual = fitted(data)
    for bad in (float("nan"), 0.0, -1.0, 1e300, float("inf")):
        assert fitted(data, start={"tau": bad}).parameters == pytest.approx(usual.parameters, rel=1e-9)


def test_without_customers_the_fit_says_so():
    found = fitted(compress(np.array([]), np.array([]), np.array([])))
    assert (found.converged, found.customers, found.degenerate) == (False, 0, "there are no customers")
    assert np.isfinite(found.parameters["tau"])
    assert np.isfinite(found.covariance).all()


def test_an_earlier_fit_from_which_nothing_can_be_reached_gives_way_to_the_starts():
    def undefined_far_away(x, t_x, T, weight):
        usual = exponential(x, t_x, T, weight)
        return lambda logs: usual(logs) if logs[0] < 3 else (np.nan, np.array([np.nan]), None)

    data = compress(np.ones(100), np.zeros(100), np.linspace(1, 30, 100))
    found = estimation.fit(
        "exponential",
        ("tau",),
        data,
        undefined_far_away,
        time_parameters=("tau",),
        starts=((1.0,),),
        start={"tau": 1e4},
    )
    assert found.converged
    assert found.parameters["tau"] == pytest.approx(15.5, rel=1e-6)


def test_a_likelihood_that_cannot_be_computed_is_named():
    def undefined(x, t_x, T, weight):
        return lambda logs: (np.nan, np.full(1, np.nan), None)

    data = compress(np.ones(10), np.zeros(10), np.ones(10))
    found = estimation.fit("undefined", ("theta",), data, undefined, time_parameters=(), starts=((0.5,), (2.0,)))
    assert (found.converged, found.customers, found.parameters) == (False, 10, {"theta": 0.5})
    assert "cannot be computed" in found.degenerate
    assert np.isfinite(found.log_likelihood)
