"""What BG/NBD and MBG/NBD share: Poisson purchases at a gamma-distributed rate, and a chance of leaving for good, beta-
distributed over customers, after each purchase.

The two differ in one number, `at_start`: 0 where a customer can leave only after a repeat purchase (BG/NBD), 1 where also
straight after the first (MBG/NBD). Belongs here: likelihood with gradient and Hessian, forecasts and their numerics. Not
here: the models' names and sources, which `bg_nbd` and `mbg_nbd` state.

Given alive at T, a customer's rate is gamma(r + x, alpha + T) and its chance of leaving beta(a, b + x + at_start),
independent of each other. Every forecast below is an expectation under these two, times P(alive): so nothing is divided
by a - 1 or a + b + x - 1, where the customary formulas with 2F1 have removable poles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import betaln, digamma, expit, gammaln, polygamma

from assets.analytics.models import estimation
from assets.analytics.models.estimation import Evaluated, Fitted, Objective
from assets.analytics.models.summaries import Compressed

PARAMETERS = ("r", "alpha", "a", "b")
TIME_PARAMETERS = ("alpha",)
STARTS = ((1.0, 1.0, 0.5, 2.0), (0.3, 0.3, 1.0, 2.0), (3.0, 3.0, 0.1, 1.0))

STEP = 0.4
"""Trapezoid step in the logit of the chance of leaving. The integrand is analytic to pi/2 at least to either side of the
real line, so the error falls like exp(-2 pi (pi/2) / STEP): 1e-10 and below."""

REACH = 20.0
"""In standard deviations of the logit: its slowest tail falls off like e^-|logit| where the deviation is 1.28."""

CURVE_NODES = 24
MOST_CURVE_NODES = 384
CURVE_PRECISION = 1e-9
"""Relative to the smallest value of the curve; ROUNDING, relative to the largest, is the best that doubles can do."""

ROUNDING = 1e-14

ROWS_AT_A_TIME = 16_384

BLOCK = 4_096
"""Points the trapezoid rule takes at a time, so that its table of points and logits stays small."""


@dataclass(frozen=True)
class BetaGeometric:
    """One of the two models, by its name and where a customer can leave first.

    Throughout: `parameters` maps r, alpha, a and b to positive numbers; `x` repeat purchases, `t_x` weeks from the first
    purchase to the last, `T` weeks from the first purchase to today, one entry per customer; all results are finite.
    """

    name: str
    at_start: int

    def fit(self, data: Compressed, *, start: Mapping[str, float] | None = None) -> Fitted:
        """Maximum likelihood; `start` are the parameters of an earlier fit, from which Newton's steps begin."""

        def objective_of(x: np.ndarray, t_x: np.ndarray, T: np.ndarray, weight: np.ndarray) -> Objective:
            return objective(x, t_x, T, weight, self.at_start)

        fitted = estimation.fit(
            self.name, PARAMETERS, data, objective_of, time_parameters=TIME_PARAMETERS, starts=STARTS, start=start
        )
        alive = self.probability_alive(fitted.parameters, data.x, data.t_x, data.T)
        reason = fitted.degenerate or estimation.why_degenerate("a", fitted.parameters["a"], alive, data.x)
        return replace(fitted, degenerate=reason)

    def log_likelihood(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
    ) -> np.ndarray:
        """Each customer's log-likelihood (BG/NBD: equation 6 of the paper), as a density of purchase times in weeks."""
        r, alpha, a, b = (parameters[name] for name in PARAMETERS)
        x, t_x, T = (np.asarray(values, dtype="float64") for values in (x, t_x, T))
        counts, place = np.unique(x, return_inverse=True)
        of_count = gammaln(r + counts) - gammaln(r) + betaln(a, b + counts + self.at_start) - betaln(a, b)
        alive = of_count[place] - x * np.log(alpha + T) - r * np.log1p(T / alpha)
        result: np.ndarray = alive + np.logaddexp(0.0, _log_odds_gone(parameters, x, t_x, T, self.at_start))
        return result

    def probability_alive(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
    ) -> np.ndarray:
        """P(has not left by T), in [0, 1]; 1 for every customer without a repeat purchase where nobody leaves at the start."""
        x, t_x, T = (np.asarray(values, dtype="float64") for values in (x, t_x, T))
        result: np.ndarray = expit(-_log_odds_gone(parameters, x, t_x, T, self.at_start))
        return result

    def probability_of_purchase(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
        t: float,
    ) -> np.ndarray:
        """P(at least one purchase in the t weeks after T), in [0, 1]: P(alive) times the chance of one, since nobody leaves
        between purchases."""
        r, alpha = parameters["r"], parameters["alpha"]
        x, T = np.asarray(x, dtype="float64"), np.asarray(T, dtype="float64")
        buys = -np.expm1(-(r + x) * np.log1p(max(t, 0.0) / (alpha + T)))
        result: np.ndarray = self.probability_alive(parameters, x, t_x, T) * buys
        return result

    def expected_purchases(
        self, parameters: Mapping[str, float], x: np.ndarray, t_x: np.ndarray, T: np.ndarray, t: float
    ) -> np.ndarray:
        """Purchases expected in the t weeks after T (BG/NBD: equation 10, without its poles)."""
        return self.expected_purchases_at(parameters, x, t_x, T, [t])[:, 0]

    def expected_purchases_at(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
        times: np.ndarray | Sequence[float],
    ) -> np.ndarray:
        """Purchases expected up to each of `times` (weeks after T), shape (customers, times); work is done once per distinct
        (x, T), so that a million customers take little more than writing the result."""
        x, T = np.asarray(x, dtype="float64").ravel(), np.asarray(T, dtype="float64").ravel()
        alive = self.probability_alive(parameters, x, np.asarray(t_x, dtype="float64").ravel(), T)
        pairs, place = distinct_pairs(x, T)
        expected = _expected_of_alive(parameters, pairs[0], pairs[1], np.asarray(times, dtype="float64"), self.at_start)
        result = expected[place]
        result *= alive[:, np.newaxis]
        return result

    def discounted_purchases(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
        times: np.ndarray | Sequence[float],
        factors: np.ndarray | Sequence[float],
    ) -> np.ndarray:
        """Sum over the intervals ending at each of `times` (rising, weeks after T) of expected purchases times the interval's
        discount factor, one number per customer: `expected_purchases_at` for a million customers without its large table."""
        x, T = np.asarray(x, dtype="float64").ravel(), np.asarray(T, dtype="float64").ravel()
        alive = self.probability_alive(parameters, x, np.asarray(t_x, dtype="float64").ravel(), T)
        pairs, place = distinct_pairs(x, T)
        expected = _expected_of_alive(parameters, pairs[0], pairs[1], np.asarray(times, dtype="float64"), self.at_start)
        present = np.diff(expected, axis=1, prepend=0.0) @ np.asarray(factors, dtype="float64")
        result: np.ndarray = present[place] * alive
        return result

    def expected_purchases_of_new(
        self, parameters: Mapping[str, float], t: np.ndarray | Sequence[float] | float
    ) -> np.ndarray:
        """Repeat purchases expected within t weeks of a first purchase (BG/NBD: equation 9), in the shape of `t`."""
        times = np.asarray(t, dtype="float64")
        expected = _expected_of_alive(parameters, np.zeros(1), np.zeros(1), times.ravel(), self.at_start)[0]
        stays = parameters["b"] / (parameters["a"] + parameters["b"]) if self.at_start else 1.0
        return stays * expected.reshape(times.shape)

    def simulate_purchases(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
        t: float,
        rng: np.random.Generator,
        draws: int,
    ) -> np.ndarray:
        """`draws` numbers of purchases in the t weeks after T from each customer's posterior predictive distribution, int64
        of shape (customers, draws): whether alive, the own rate and the own chance of leaving are drawn too. It holds some
        eight such tables at once: give many customers in portions."""
        r, alpha, a, b = (parameters[name] for name in PARAMETERS)
        x, t_x, T = (np.asarray(values, dtype="float64").ravel() for values in (x, t_x, T))
        shape = (len(x), draws)
        alive = rng.random(shape) < self.probability_alive(parameters, x, t_x, T)[:, np.newaxis]
        mean = rng.gamma((r + x)[:, np.newaxis], size=shape) / (alpha + T)[:, np.newaxis] * max(t, 0.0)
        leaving = rng.beta(a, (b + x + self.at_start)[:, np.newaxis], size=shape)
        wanted = rng.poisson(np.minimum(mean, 1e15)).astype("float64")
        with np.errstate(divide="ignore", over="ignore"):
            # The purchase after which the customer leaves, by inversion: infinite where the chance of leaving is 0.
            last = np.maximum(np.ceil(rng.exponential(size=shape) / -np.log1p(-leaving)), 1.0)
        result: np.ndarray = np.where(alive, np.minimum(wanted, last), 0.0).astype("int64")
        return result


def objective(x: np.ndarray, t_x: np.ndarray, T: np.ndarray, weight: np.ndarray, at_start: int) -> Objective:
    """The log-likelihood of weighted rows with its gradient and Hessian in (ln r, ln alpha, ln a, ln b).

    What depends on x alone, or on T alone but for a factor x, is summed over the distinct values beforehand; only the
    chance of having left needs every row.
    """
    counts, count_place = np.unique(x, return_inverse=True)
    count_weight = np.bincount(count_place, weights=weight)
    ages, age_place = np.unique(T, return_inverse=True)
    age_weight = np.bincount(age_place, weights=weight)
    age_purchases = np.bincount(age_place, weights=weight * x)
    customers = float(np.sum(weight))
    may_have_left = np.ones(len(x), dtype=bool) if at_start else x > 0
    left_x, left_weight, left_age = x[may_have_left], weight[may_have_left], age_place[may_have_left]
    last, last_place = np.unique(t_x[may_have_left], return_inverse=True)
    del count_place, age_place

    def evaluate(logs: np.ndarray) -> Evaluated:
        r, alpha, a, b = np.exp(logs)
        age = np.log(alpha + ages)
        of_age = alpha / (alpha + ages)
        value = float(np.dot(count_weight, gammaln(r + counts) - gammaln(r)))
        value += customers * r * logs[1] - float(np.dot(r * age_weight + age_purchases, age))
        gradient = np.zeros(4)
        hessian = np.zeros((4, 4))

        slope = float(np.dot(count_weight, digamma(r + counts) - digamma(r)) - np.dot(age_weight, age))
        gradient[0] = r * (slope + customers * logs[1])
        curvature = float(np.dot(count_weight, polygamma(1, r + counts) - polygamma(1, r)))
        hessian[0, 0] = gradient[0] + r * r * curvature
        gradient[1] = customers * r - float(np.dot(r * age_weight + age_purchases, of_age))
        hessian[0, 1] = r * (customers - float(np.dot(age_weight, of_age)))
        hessian[1, 1] = -float(np.dot(r * age_weight + age_purchases, of_age * (1 - of_age)))

        stayed = b + counts + at_start
        total = a + stayed
        value += float(np.dot(count_weight, gammaln(stayed) - gammaln(total) + (gammaln(a + b) - gammaln(b))))
        of_total, of_both = digamma(total), digamma(a + b)
        slope_a = float(np.dot(count_weight, of_both - of_total))
        slope_b = float(np.dot(count_weight, digamma(stayed) - of_total + of_both - digamma(b)))
        of_total, of_both = polygamma(1, total), polygamma(1, a + b)
        curve_a = float(np.dot(count_weight, of_both - of_total))
        curve_b = float(np.dot(count_weight, polygamma(1, stayed) - of_total + of_both - polygamma(1, b)))
        gradient[2], gradient[3] = a * slope_a, b * slope_b
        hessian[2, 2] = a * slope_a + a * a * curve_a
        hessian[2, 3] = a * b * curve_a
        hessian[3, 3] = b * slope_b + b * b * curve_b

        # ln(1 + e^q): q is the log odds of having left straight after the last purchase. Block by block, so that a block's
        # arrays stay in the processor's cache.
        at_last = np.log(alpha + last)
        of_last = alpha / (alpha + last)
        bend_age, bend_last = of_age * (1 - of_age), of_last * (1 - of_last)
        for begin in range(0, len(left_x), ROWS_AT_A_TIME):
            rows = slice(begin, begin + ROWS_AT_A_TIME)
            of_row, last_of_row, row_weight = left_age[rows], last_place[rows], left_weight[rows]
            silence = age[of_row] - at_last[last_of_row]
            shape = r + left_x[rows]
            stayed_then = left_x[rows] + (b + at_start - 1.0)
            odds = logs[2] - np.log(stayed_then) + shape * silence
            value += float(np.dot(row_weight, np.logaddexp(0.0, odds)))
            gone = expit(odds)
            change = of_age[of_row] - of_last[last_of_row]
            slopes = np.empty((4, len(odds)))  # of the odds in ln r, ln alpha, ln a and ln b
            slopes[0] = r * silence
            slopes[1] = shape * change
            slopes[2] = 1.0
            slopes[3] = -b / stayed_then
            weighted = row_weight * gone
            gradient += slopes @ weighted
            hessian += (slopes * (weighted * (1 - gone))) @ slopes.T
            hessian[0, 0] += float(np.dot(weighted, slopes[0]))
            hessian[0, 1] += r * float(np.dot(weighted, change))
            hessian[1, 1] += float(np.dot(weighted, shape * (bend_age[of_row] - bend_last[last_of_row])))
            hessian[3, 3] += float(np.dot(weighted, slopes[3] * (1 + slopes[3])))
        for row, column in ((0, 1), (2, 3)):
            hessian[column, row] = hessian[row, column]
        return value, gradient, hessian

    return evaluate


def _log_odds_gone(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    at_start: int,
) -> np.ndarray:
    """Log odds of having left straight after the last purchase; minus infinity where nobody can have."""
    r, alpha, a, b = (parameters[name] for name in PARAMETERS)
    may_have_left = x + at_start > 0
    stayed = np.where(may_have_left, b + x + at_start - 1.0, 1.0)
    odds = np.log(a) - np.log(stayed) + (r + x) * np.log((alpha + T) / (alpha + t_x))
    return np.where(may_have_left, odds, -np.inf)


def distinct_pairs(x: np.ndarray, T: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The distinct pairs (x, T), and for each entry the number of its pair: forecasts given alive need no more."""
    ages, distinct_ages = pd.factorize(T)
    counts, distinct_counts = pd.factorize(x)
    code, distinct = pd.factorize(counts.astype("int64") * max(len(distinct_ages), 1) + ages)
    width = max(len(distinct_ages), 1)
    return (np.asarray(distinct_counts)[distinct // width], np.asarray(distinct_ages)[distinct % width]), code


def _expected_of_alive(
    parameters: Mapping[str, float],
    x: np.ndarray,
    T: np.ndarray,
    times: np.ndarray,
    at_start: int,
) -> np.ndarray:
    """Purchases expected within each of `times` of customers known to be alive at T, shape (customers, times).

    It depends on x and on t / (alpha + T) alone: for each x one smooth curve, which Chebyshev's polynomials give to
    CURVE_PRECISION wherever more points are wanted than the polynomial needs.
    """
    r, alpha, a, b = (parameters[name] for name in PARAMETERS)
    relative = np.maximum(times, 0.0)[np.newaxis, :] / (alpha + T)[:, np.newaxis]
    expected = np.empty(relative.shape)
    if not relative.size:
        return expected
    order = np.argsort(x, kind="stable")
    starts = np.flatnonzero(np.diff(x[order], prepend=-1.0))
    for rows in np.split(order, starts[1:]):
        count = float(x[rows[0]])
        shape, stayed = r + count, b + count + at_start
        points = relative[rows]
        expected[rows] = points * _curve(np.log1p(points.ravel()), shape, a, stayed).reshape(points.shape)
    return expected


def _curve(log_times: np.ndarray, shape: float, a: float, stayed: float) -> np.ndarray:
    """`_rate` at each of `log_times`, by a Chebyshev polynomial where that is less work."""
    longest = float(np.max(log_times))
    nodes = CURVE_NODES
    while nodes < len(log_times) and nodes <= MOST_CURVE_NODES and longest > 0:
        angles = (np.arange(nodes) + 0.5) * np.pi / nodes
        values = _rate(0.5 * longest * (np.cos(angles) + 1), shape, a, stayed)
        coefficients = np.cos(np.outer(np.arange(nodes), angles)) @ values * (2.0 / nodes)
        coefficients[0] *= 0.5
        wanted = max(CURVE_PRECISION * float(np.min(values)), ROUNDING * float(np.max(values)))
        if float(np.max(np.abs(coefficients[-4:]))) <= wanted:
            return np.polynomial.chebyshev.chebval(log_times * (2.0 / longest) - 1.0, coefficients)
        nodes *= 2
    blocks = np.array_split(log_times, np.arange(BLOCK, len(log_times), BLOCK))
    return np.concatenate([_rate(block, shape, a, stayed) for block in blocks])


def _rate(log_times: np.ndarray, shape: float, a: float, stayed: float) -> np.ndarray:
    """E[(1 - (1 + p tau)^-shape) / (p tau)] for p ~ beta(a, stayed) at tau = e^log_times - 1; `shape` at tau = 0.

    The function is known at p = 0 (shape) and p = 1: the straight line between is taken out and its expectation, which
    is exact, added again. What remains vanishes at both ends, so that the trapezoid rule over the logit of p is short and
    exact for any a and stayed, however close to 0.
    """
    tau = np.expm1(log_times)[:, np.newaxis]
    at_one = _share(np.log1p(tau), tau, shape)
    centre = np.log(a + 1.0) - np.log(stayed + 1.0)
    width = np.sqrt(polygamma(1, a + 1.0) + polygamma(1, stayed + 1.0))
    step = min(STEP, 0.5 * float(width))
    # Below a chance of 1 / (shape tau) the remainder falls, above it stays: so far to the left the rule has to reach.
    left = REACH * float(width) + float(np.log1p(shape * np.max(tau)))
    logits = centre + np.arange(-np.ceil(left / step), np.ceil(REACH * float(width) / step) + 1) * step
    p = expit(logits)
    density = np.exp(a * np.log(p) + stayed * -np.logaddexp(0.0, logits) - betaln(a, stayed)) * step
    scaled = tau * p
    above_line = _share(np.log1p(scaled), scaled, shape) - (shape + (at_one - shape) * p)
    mean = a / (a + stayed)
    at_one = at_one[:, 0]
    # Between its two ends it lies by its meaning; rounding where the two are far apart must not carry it outside.
    return np.clip(shape + (at_one - shape) * mean + above_line @ density, at_one, shape)


def _share(log_growth: np.ndarray, growth: np.ndarray, shape: float) -> np.ndarray:
    """(1 - (1 + growth)^-shape) / growth, `shape` where growth is 0."""
    small = growth < 1e-12
    return np.where(small, shape, -np.expm1(-shape * log_growth) / np.where(small, 1.0, growth))
