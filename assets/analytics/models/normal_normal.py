"""Normal-normal: values that differ between customers, each seen with noise that shrinks as more of the customer is seen.

Belongs here: the two variances and the drawing of each customer's value towards that of all (empirical Bayes; in
insurance, credibility after Buehlmann and Straub 1970). Not here: what the values mean. `margins` uses it for margin
ratios (seen over revenue) and, as the challenger, for profit per purchase (seen over purchases).

The model: value_i ~ N(mu_i, noise / exposure_i), mu_i ~ N(mean, between).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NAME = "normal_normal"

MOST_GROUPS = 4096
"""Customers of nearly equal exposure share one group when the variances are sought; a million cost what 4,096 do."""

WIDEST_CREDIBILITY = 1e6
"""Noise / between is sought between the median exposure divided and multiplied by this: from 'every customer is its own
estimate' to 'all are alike'."""

FARTHEST = 4.0
"""A value farther from the mean than this many standard deviations counts for the variances as if it were there: one
invoice of a cent with the cost of a delivery is no measure of how customers differ. It stays in every mean."""


PENALTY = 0.1
"""Times the squared logarithm of credibility / median exposure is taken off the log-likelihood: where all are seen equally
long, nothing tells noise from difference, and a customer's own value and the mean then count the same."""


class Components(NamedTuple):
    """mean: of all customers, each weighed by how well it is known; between: variance between customers' true values;
    noise: variance of a value seen over an exposure of 1; credibility: noise / between, the exposure at which a customer's own
    value and the mean count the same (infinite where all customers are alike)."""

    mean: float
    between: float
    noise: float
    credibility: float


def fit(value: np.ndarray, exposure: np.ndarray, *, noise: float | None = None) -> Components:
    """The variances under which the values are most likely; one entry per customer, exposure above 0.

    `noise`: the variance of a value seen over an exposure of 1, where it is known from repeated sights of the same customers;
    without it, it is told from the difference between customers by how the values scatter at small and at large
    exposures.

    With one customer, or where all values are equal, between and noise are 0 and each customer is its own estimate
    (credibility 0).
    """
    value, exposure = np.asarray(value, dtype="float64"), np.asarray(exposure, dtype="float64")
    if len(value) == 0:
        return Components(0.0, 0.0, 0.0, 0.0)
    # Sorted, so that the sums, and with them the last digits, do not depend on the order of the rows.
    order = np.lexsort((value, exposure))
    value, exposure = value[order], exposure[order]
    centre = float(np.average(value, weights=exposure))
    deviation = value - centre
    scale = float(np.max(np.abs(deviation)))
    if len(value) == 1 or scale <= 1e-12 * max(abs(centre), 1e-300):
        return Components(centre, 0.0, 0.0, 0.0)
    if noise is not None and noise <= 1e-12 * scale**2 * float(np.max(exposure)):
        return Components(centre, float(np.var(value)), 0.0, 0.0)
    deviation = deviation / scale

    distinct, group = np.unique(exposure, return_inverse=True)
    if len(distinct) > MOST_GROUPS:
        group = np.arange(len(exposure)) * MOST_GROUPS // len(exposure)
    customers = np.bincount(group).astype("float64")
    group_exposure = np.bincount(group, weights=exposure) / customers
    weight = np.ones(len(value))
    found = Components(0.0, 0.0, 0.0, 0.0)
    for _ in range(3):
        found = _most_likely(
            customers,
            group_exposure,
            np.bincount(group, weights=weight * deviation),
            np.bincount(group, weights=weight * deviation**2),
            np.bincount(group, weights=weight),
            None if noise is None else noise / scale**2,
        )
        expected = found.between + found.noise / exposure
        squares = (deviation - found.mean) ** 2
        weight = np.minimum(1.0, FARTHEST**2 * expected / np.maximum(squares, 1e-300))
    return Components(centre + scale * found.mean, scale**2 * found.between, scale**2 * found.noise, found.credibility)


def expected(components: Components, value: np.ndarray, exposure: np.ndarray) -> np.ndarray:
    """Each customer's value drawn towards the mean: (exposure * value + credibility * mean) / (exposure + credibility)."""
    value, exposure = np.asarray(value, dtype="float64"), np.asarray(exposure, dtype="float64")
    own = exposure / (exposure + components.credibility)
    return np.asarray(own * value + (1 - own) * components.mean)


def variance(components: Components, exposure: np.ndarray) -> np.ndarray:
    """How uncertain `expected` is: the posterior variance of each customer's true value."""
    exposure = np.asarray(exposure, dtype="float64")
    own = exposure / (exposure + components.credibility)
    return np.asarray((1 - own) * components.between)


def _most_likely(
    customers: np.ndarray,
    exposure: np.ndarray,
    sums: np.ndarray,
    squares: np.ndarray,
    weights: np.ndarray,
    noise: float | None,
) -> Components:
    """The maximum over credibility: given it, mean and between follow. A grid, then golden sections around its best point:
    the likelihood of the ratio of two variances has one peak but long flat ends."""
    middle = float(np.median(np.repeat(exposure, np.minimum(customers, 8).astype("int64"))))
    total = customers.sum()

    def profile(log_credibility: float) -> tuple[float, float, float]:
        inflation = 1 + np.exp(log_credibility) / exposure
        mean = float(np.sum(sums / inflation) / np.sum(weights / inflation))
        square = float(np.sum((squares - 2 * mean * sums + mean**2 * weights) / inflation))
        between = max(square / total if noise is None else noise / float(np.exp(log_credibility)), 1e-300)
        twice = total * np.log(between) + float(np.dot(customers, np.log(inflation))) + square / between
        return twice + 2 * PENALTY * (log_credibility - np.log(middle)) ** 2, mean, between

    edge = np.log(WIDEST_CREDIBILITY)
    grid = np.log(middle) + np.linspace(-edge, edge, 41)
    best = int(np.argmin([profile(at)[0] for at in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if profile(left)[0] <= profile(right)[0]:
            high = right
        else:
            low = left
    at = 0.5 * (low + high)
    _, mean, between = profile(at)
    credibility = float(np.exp(at))
    return Components(mean, between, credibility * between, credibility)
