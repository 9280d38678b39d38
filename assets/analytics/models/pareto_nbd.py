"""Pareto/NBD: purchases at a constant rate until the customer leaves for good, at any moment, seen or not.

Source: Schmittlein, Morrison and Colombo (1987), "Counting your customers: who are they and what will they do next?",
Management Science 33(1); formulas as in Fader and Hardie (2005), "A note on deriving the Pareto/NBD model and related
expressions". Belongs here: likelihood with gradient and Hessian, forecasts and their numerics. Not here: Newton's method and
the weak penalty (`estimation`), and the rows (`summaries`).

Rates of purchase are gamma(r, alpha) over customers, rates of leaving gamma(s, beta), independent of each other. The
likelihood of a customer is an integral over the moment of leaving. It is computed as such, by Gauss and Legendre's rule on
the logarithm of time, where the customary formula is a difference of two Gaussian hypergeometric functions that overflow for
frequent buyers and cancel for faithful ones. Relative error about 1e-12, 1e-10 at worst.

Throughout: `parameters` maps r, alpha, s and beta to positive numbers; `x` repeat purchases, `t_x` weeks from the first
purchase to the last, `T` weeks from the first purchase to today, one entry per customer; all results are finite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import digamma, expit, gammaln, polygamma

from assets.analytics.models import estimation
from assets.analytics.models.estimation import Evaluated, Fitted, Objective
from assets.analytics.models.summaries import Compressed

NAME = "pareto_nbd"
PARAMETERS = ("r", "alpha", "s", "beta")
TIME_PARAMETERS = ("alpha", "beta")
STARTS = ((1.0, 1.0, 0.5, 2.0), (0.5, 0.3, 0.6, 0.4), (1.0, 1.0, 0.5, 30.0), (5.0, 5.0, 2.0, 10.0))
"""Time rescaled to about one purchase per customer; customers who stay a few, less than one and many such times."""

NEGLIGIBLE = 38.0
"""Where the integrand has fallen to e^-38 of its start (3e-17), the rest of the integral is nothing."""

NODES = ((0.25, 4), (1.0, 6), (3.0, 8), (6.0, 12), (12.0, 16), (32.0, 24), (64.0, 32), (np.inf, 48))
"""How much the integrand bends (`_Integral.blocks`) up to a limit, and nodes enough there for eleven digits."""

BLOCK = 16_384
"""Points (rows times nodes) taken at a time, so that the tables between stay in the processor's cache."""

FIRST_SAMPLE = 30_000
"""With more than three times as many distinct rows, these many customers are fitted first, and all from there."""

LARGEST_MEAN = 1e15
"""Of a Poisson draw: beyond it numpy refuses, and a double counts no single purchases."""


def fit(data: Compressed, *, start: Mapping[str, float] | None = None) -> Fitted:
    """Maximum likelihood; `start` are the parameters of an earlier fit, from which Newton's steps begin."""
    if start is None and len(data.x) > 3 * FIRST_SAMPLE:
        start = _fit(_sample(data), None).parameters
    fitted = _fit(data, start)
    alive = probability_alive(fitted.parameters, data.x, data.t_x, data.T)
    return replace(fitted, degenerate=estimation.why_degenerate("s", fitted.parameters["s"], alive, data.x))


def _fit(data: Compressed, start: Mapping[str, float] | None) -> Fitted:
    return estimation.fit(
        NAME, PARAMETERS, data, objective, time_parameters=TIME_PARAMETERS, starts=STARTS, start=start
    )


def _sample(data: Compressed) -> Compressed:
    """Every so-many-th customer of the sorted rows, so that the sample does not depend on the order of the data."""
    customers = np.cumsum(data.weight)
    wanted = (np.arange(FIRST_SAMPLE) + 0.5) * customers[-1] / FIRST_SAMPLE
    rows = np.minimum(np.searchsorted(customers, wanted), len(customers) - 1)
    chosen, inverse, weight = np.unique(rows, return_inverse=True, return_counts=True)
    return Compressed(
        x=data.x[chosen],
        t_x=data.t_x[chosen],
        T=data.T[chosen],
        weight=weight.astype("float64"),
        customers=FIRST_SAMPLE,
        inverse=inverse,
    )


def objective(x: np.ndarray, t_x: np.ndarray, T: np.ndarray, weight: np.ndarray) -> Objective:
    """The log-likelihood of weighted rows with its gradient and Hessian in (ln r, ln alpha, ln s, ln beta).

    Were the moment of leaving known, the likelihood would be a product of powers. So gradient and Hessian are those of the
    powers, averaged over that moment given the data, and the Hessian has the covariance of the gradient added (Louis 1982).
    """
    counts, count_place = np.unique(x, return_inverse=True)
    count_weight = np.bincount(count_place, weights=weight)
    purchases = float(np.dot(weight, x))

    def evaluate(logs: np.ndarray) -> Evaluated:
        r, alpha, s, beta = np.exp(logs)
        shape = r + x
        of_alpha, of_beta = T / (alpha + T), T / (beta + T)
        log_alpha, log_beta = np.log1p(T / alpha), np.log1p(T / beta)

        # Every customer as if known to be alive at T ...
        value = float(np.dot(count_weight, gammaln(r + counts) - gammaln(r))) - purchases * logs[1]
        value -= float(np.dot(weight, shape * log_alpha) + s * np.dot(weight, log_beta))
        slope = float(np.dot(count_weight, digamma(r + counts) - digamma(r)))
        curve = float(np.dot(count_weight, polygamma(1, r + counts) - polygamma(1, r)))
        gradient = np.array(
            [
                r * (slope - float(np.dot(weight, log_alpha))),
                float(np.dot(weight, shape * of_alpha)) - purchases,
                -s * float(np.dot(weight, log_beta)),
                s * float(np.dot(weight, of_beta)),
            ]
        )
        hessian = np.zeros((4, 4))
        hessian[0, 0] = gradient[0] + r * r * curve
        hessian[0, 1] = r * float(np.dot(weight, of_alpha))
        hessian[1, 1] = -float(np.dot(weight, shape * of_alpha * (1 - of_alpha)))
        hessian[2, 2] = gradient[2]
        hessian[2, 3] = gradient[3]
        hessian[3, 3] = -s * float(np.dot(weight, of_beta * (1 - of_beta)))

        # ... and what changes where the customer has left before.
        scale = _log_scale(shape, alpha, s, beta, t_x, T)
        log_odds = np.full(len(x), -np.inf)
        means = np.zeros((6, len(x)))
        products = np.zeros((4, 4))
        silence = _Integral(alpha, beta, shape, s + 1.0, t_x, T)
        for rows, points in silence.blocks():
            total = points.values.sum(axis=0)
            log_odds[rows] = scale[rows] + np.log(total)
            left = expit(log_odds[rows])
            moments = points.values * (weight[rows] * left / total)
            tau = t_x[rows] + points.later
            u, w = tau / (alpha + tau), tau / (beta + tau)
            # Differences of the gradient, left at tau against alive at T, in the order of the parameters.
            change = np.empty((4, *tau.shape))
            change[0] = r * ((log_alpha[rows] - np.log1p(t_x[rows] / alpha)) - points.log_alpha)
            change[1] = shape[rows] * (u - of_alpha[rows])
            change[2] = 1.0 + s * ((log_beta[rows] - np.log1p(t_x[rows] / beta)) - points.log_beta)
            change[3] = (s + 1.0) * w - 1.0 - s * of_beta[rows]
            weighted = change * moments
            products += weighted.reshape(4, -1) @ change.reshape(4, -1).T
            means[:4, rows] = weighted.sum(axis=1)
            means[4, rows] = np.einsum("ij,ij->j", moments, u * (1 - u))
            means[5, rows] = np.einsum("ij,ij->j", moments, w * (1 - w))
        value += float(np.dot(weight, np.logaddexp(0.0, log_odds)))
        gradient += means[:4].sum(axis=1)
        # The products are weighted; of the product of two weighted means one weight is too many.
        hessian += products - (means[:4] / weight) @ means[:4].T
        left = expit(log_odds)
        gone = weight * left
        hessian[0, 0] += float(means[0].sum())
        hessian[0, 1] += r * float(np.sum(means[1] / shape))
        hessian[1, 1] += float(np.dot(gone, shape * of_alpha * (1 - of_alpha)) - np.dot(shape, means[4]))
        hessian[2, 2] += float(means[2].sum() - gone.sum())
        # Of change[3] the share that is s (w - w at T).
        hessian[2, 3] += s / (s + 1.0) * float(np.sum(means[3] + gone * (1.0 - of_beta)))
        hessian[3, 3] += float(s * np.dot(gone, of_beta * (1 - of_beta)) - (s + 1.0) * means[5].sum())
        for row in range(4):
            for column in range(row):
                hessian[row, column] = hessian[column, row]
        return value, gradient, hessian

    return evaluate


def log_likelihood(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
) -> np.ndarray:
    """Each customer's log-likelihood, as a density of purchase times in weeks."""
    r, alpha, s, beta = _values(parameters)
    x, t_x, T = _rows(x, t_x, T)
    counts, place = np.unique(x, return_inverse=True)
    of_count = (gammaln(r + counts) - gammaln(r))[place] - x * np.log(alpha + T)
    alive = of_count - r * np.log1p(T / alpha) - s * np.log1p(T / beta)
    result: np.ndarray = alive + np.logaddexp(0.0, _log_odds_gone(parameters, x, t_x, T))
    return result


def probability_alive(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
) -> np.ndarray:
    """P(has not left by T), in [0, 1]; 1 for those who bought today."""
    result: np.ndarray = expit(-_log_odds_gone(parameters, *_rows(x, t_x, T)))
    return result


def expected_purchases(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    t: float,
) -> np.ndarray:
    """Purchases expected in the t weeks after T, by the formula without its pole at s = 1."""
    return expected_purchases_at(parameters, x, t_x, T, [t])[:, 0]


def expected_purchases_at(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    times: np.ndarray | Sequence[float],
) -> np.ndarray:
    """Purchases expected up to each of `times` (weeks after T), shape (customers, times).

    Only how long a customer alive at T is expected to stay depends on the time, and it depends on T alone: a million customers
    take little more than writing the result.
    """
    x, t_x, T = _rows(x, t_x, T)
    rate = _expected_rate(parameters, x, t_x, T)
    ages, place = np.unique(T, return_inverse=True)
    result = _expected_stay(parameters, ages[:, np.newaxis], np.asarray(times, dtype="float64")[np.newaxis, :])[place]
    result *= rate[:, np.newaxis]
    return result


def discounted_purchases(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    times: np.ndarray | Sequence[float],
    factors: np.ndarray | Sequence[float],
) -> np.ndarray:
    """Sum over the intervals ending at each of `times` (rising, weeks after T) of expected purchases times the interval's
    discount factor, one number per customer: `expected_purchases_at` for a million customers without its large table."""
    x, t_x, T = _rows(x, t_x, T)
    ages, place = np.unique(T, return_inverse=True)
    stay = _expected_stay(parameters, ages[:, np.newaxis], np.asarray(times, dtype="float64")[np.newaxis, :])
    present = np.diff(stay, axis=1, prepend=0.0) @ np.asarray(factors, dtype="float64")
    result: np.ndarray = present[place] * _expected_rate(parameters, x, t_x, T)
    return result


def expected_purchases_of_new(parameters: Mapping[str, float], t: np.ndarray | Sequence[float] | float) -> np.ndarray:
    """Repeat purchases expected within t weeks of a first purchase, in the shape of `t`."""
    times = np.asarray(t, dtype="float64")
    result: np.ndarray = _expected_stay(parameters, np.zeros(1), times) * (parameters["r"] / parameters["alpha"])
    return result


def probability_of_purchase(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    t: float,
) -> np.ndarray:
    """P(at least one purchase in the t weeks after T), in [0, 1].

    It is 1 - L(no purchase until T + t) / L. Computed as P(alive) times the integral of the chance that the next purchase
    comes at each moment of the t weeks, which loses no digits where the difference would.
    """
    r, alpha, s, beta = _values(parameters)
    x, t_x, T = _rows(x, t_x, T)
    alive = probability_alive(parameters, x, t_x, T)
    pairs, place = _distinct(x, T)
    shape, ages = r + pairs[0], pairs[1]
    next_purchase = _Integral(alpha, beta, shape + 1.0, np.full(len(ages), s), ages, ages + max(float(t), 0.0))
    buys = np.zeros(len(ages))
    for rows, points in next_purchase.blocks():
        buys[rows] = points.values.sum(axis=0) * (next_purchase.unit[rows] / (alpha + ages[rows])) * shape[rows]
    return alive * np.minimum(buys, 1.0)[place]


def simulate_purchases(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    t: float,
    rng: np.random.Generator,
    draws: int,
) -> np.ndarray:
    """`draws` numbers of purchases in the t weeks after T from each customer's posterior predictive distribution, int64
    of shape (customers, draws): whether alive, the own rate and the own time of leaving are drawn too.

    Given alive at T, rate and time of leaving are independent: gamma(r + x, alpha + T), and Lomax(s, beta + T) from T on. Who
    has left buys nothing, whenever that was.
    """
    r, alpha, s, beta = _values(parameters)
    x, t_x, T = _rows(x, t_x, T)
    result = np.zeros((len(x), draws), dtype="int64")
    alive = rng.random(result.shape) < probability_alive(parameters, x, t_x, T)[:, np.newaxis]
    customer = np.nonzero(alive)[0]
    age = T[customer]
    with np.errstate(over="ignore"):
        stays = (beta + age) * np.expm1(rng.standard_exponential(len(age)) / s)
    mean = rng.standard_gamma(r + x[customer]) / (alpha + age) * np.minimum(stays, max(float(t), 0.0))
    result[alive] = rng.poisson(np.minimum(mean, LARGEST_MEAN))
    return result


def _values(parameters: Mapping[str, float]) -> tuple[float, float, float, float]:
    r, alpha, s, beta = (float(parameters[name]) for name in PARAMETERS)
    return r, alpha, s, beta


def _rows(x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, t_x, T = (np.asarray(values, dtype="float64").ravel() for values in (x, t_x, T))
    return x, t_x, T


def _distinct(*columns: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """The distinct rows of some columns, and for each entry the number of its row. The order of the rows is of no meaning."""
    code = np.zeros(len(columns[0]), dtype="int64")
    for column in columns:
        place, values = pd.factorize(column)
        code, _ = pd.factorize(code * max(len(values), 1) + place)
    count = int(code.max()) + 1 if len(code) else 0
    representative = np.zeros(count, dtype="intp")
    representative[code] = np.arange(len(code))
    return tuple(column[representative] for column in columns), code


def _expected_rate(parameters: Mapping[str, float], x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> np.ndarray:
    """P(alive) times the expected rate of purchase of a customer alive at T, per week."""
    r, alpha, _, _ = _values(parameters)
    rate: np.ndarray = probability_alive(parameters, x, t_x, T) * (r + x) / (alpha + T)
    return rate


def _expected_stay(parameters: Mapping[str, float], T: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Weeks, of the `times` after T, that a customer alive at T is expected to stay: the integral of ((beta + T) / (beta + T
    + t))^s, which is a logarithm at s = 1."""
    _, _, s, beta = _values(parameters)
    growth = np.log1p(np.maximum(times, 0.0) / (beta + T))
    if abs(s - 1.0) < 1e-12:
        return (beta + T) * growth
    stay: np.ndarray = (beta + T) * np.expm1((1.0 - s) * growth) / (1.0 - s)
    return stay


def _log_scale(shape: np.ndarray, alpha: float, s: float, beta: float, t_x: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Logarithm of what the integral over [t_x, T], as `_Integral` gives it, is multiplied with to be the odds of having left."""
    silence = T - t_x
    unit = (min(alpha, beta) + t_x) / (beta + t_x)
    result: np.ndarray = (
        np.log(s * unit) + shape * np.log1p(silence / (alpha + t_x)) + s * np.log1p(silence / (beta + t_x))
    )
    return result


def _log_odds_gone(parameters: Mapping[str, float], x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Log odds of having left by T; minus infinity for those who bought at T."""
    r, alpha, s, beta = _values(parameters)
    (x, t_x, T), place = _distinct(x, t_x, T)
    log_odds = np.full(len(x), -np.inf)
    scale = _log_scale(r + x, alpha, s, beta, t_x, T)
    for rows, points in _Integral(alpha, beta, r + x, np.full(len(x), s + 1.0), t_x, T).blocks():
        log_odds[rows] = scale[rows] + np.log(points.values.sum(axis=0))
    return log_odds[place]


class _Points(NamedTuple):
    """Some rows of an integral at the nodes of the rule, all of shape (nodes, rows).

    - values: integrand times weight; their sum over the nodes is the integral.
    - later: weeks from the lower end to the node.
    - log_alpha, log_beta: ln((alpha + tau) / (alpha + lower)), the same of beta.
    """

    values: np.ndarray
    later: np.ndarray
    log_alpha: np.ndarray
    log_beta: np.ndarray


class _Integral:
    """((alpha + lower) / (alpha + tau))^p ((beta + lower) / (beta + tau))^q over tau from lower to upper, in units of `unit`
    = min(alpha, beta) + lower weeks.

    With z = ln((m + tau) / (m + lower)), m the smaller of alpha and beta, one factor is an exponential, the other is analytic
    to pi either side of the real line and the product has one peak at most (its logarithm is concave): a handful of nodes
    of Gauss and Legendre give it to the last digits, whatever the parameters. Where it falls steeply, the tail is cut off.
    """

    def __init__(
        self, alpha: float, beta: float, p: np.ndarray, q: np.ndarray | float, lower: np.ndarray, upper: np.ndarray
    ) -> None:
        self.alpha, self.beta = alpha, beta
        self.p = p
        self.q = np.broadcast_to(np.asarray(q, dtype="float64"), p.shape)
        self.lower, self.upper = lower, upper
        self.unit = min(alpha, beta) + lower

    def blocks(self) -> Iterator[tuple[np.ndarray, _Points]]:
        """Row numbers and their points, rows without a length left out: as many nodes as a row needs."""
        length = np.log1p((self.upper - self.lower) / self.unit)
        in_alpha, in_beta = self.unit / (self.alpha + self.lower), self.unit / (self.beta + self.lower)
        fall = self.p * in_alpha + self.q * in_beta - 1.0
        length = np.where(fall * length > NEGLIGIBLE, NEGLIGIBLE / np.maximum(fall, 1e-300), length)
        end, later = self.unit * np.exp(length), self.unit * np.expm1(length)
        fall_at_end = (
            self.p * end / (self.alpha + self.lower + later) + self.q * end / (self.beta + self.lower + later) - 1.0
        )
        bend = length * (1.0 + np.maximum(np.abs(fall), np.abs(fall_at_end)))
        rule = np.where(length > 0, np.searchsorted([limit for limit, _ in NODES], bend), -1)
        for place, (_, nodes) in enumerate(NODES):
            rows = np.flatnonzero(rule == place)
            at_most = BLOCK // nodes
            for first in range(0, len(rows), at_most):
                some = rows[first : first + at_most]
                yield some, self._points(some, nodes, length[some])

    def _points(self, rows: np.ndarray, nodes: int, length: np.ndarray) -> _Points:
        at, weights = _legendre(nodes)
        z = at[:, np.newaxis] * length
        later = np.expm1(z) * self.unit[rows]
        if self.alpha <= self.beta:
            log_alpha, log_beta = z, np.log1p(later / (self.beta + self.lower[rows]))
        else:
            log_alpha, log_beta = np.log1p(later / (self.alpha + self.lower[rows])), z
        values = np.exp(z - self.p[rows] * log_alpha - self.q[rows] * log_beta)
        values *= weights[:, np.newaxis] * length
        return _Points(values, later, log_alpha, log_beta)


@cache
def _legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre's rule on [0, 1]."""
    at, weights = np.polynomial.legendre.leggauss(nodes)
    return (at + 1.0) / 2.0, weights / 2.0
