"""How far off a forecast may be: 80 % intervals of purchases, of profit and of totals.

Belongs here: the spread the models themselves state, and its widening by what earlier forecasts really missed. Not here: the
forecasts (`assets.analytics.models`), and the backtest that measures the misses.

Two steps. First what the model says: the mean, the variance and the chance of none of a customer's future purchases,
times a profit per purchase that is itself uncertain. These moments are those of the model's posterior predictive distribution;
a distribution with them (nothing, or a gamma-shaped amount) stands in for drawing a few hundred futures of each of a million
customers, which would take minutes. Then what happened: intervals of earlier forecasts are compared with the outcome, and by
how many of the model's standard deviations they would have had to reach farther (or less far), today's do (split-conformal
prediction of quantiles: Romano, Patterson and Candes 2019), per bin of the chance of no purchase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

LEVEL = 0.80
"""The share of customers, and of totals, that an interval is to hold."""

STEPS = 12
"""Points in time at which the expected purchases are looked up for their variance."""

MOST_SKEWED = 1.5
"""Profit whose standard deviation is at most this times its mean is gamma-shaped, of the sign of the mean; beyond it the
sign itself is open, and the normal distribution is used."""

SMALLEST_BIN = 100
"""Customers in a bin of the widening: fewer do not tell a quantile of 80 % from one of 75 %."""

MOST_BINS = 5

FEWEST_CUSTOMERS = 30
"""With fewer customers to learn from nothing is widened."""

NEXT_TO_NOTHING = 1e-9
"""Chances and expected numbers below this are rounding."""

MOST_WIDENING = 10.0
"""Standard deviations. More says that the model is of no use, which is for the gates to say."""


class PurchaseModel(Protocol):
    """What the intervals ask of a module of `assets.analytics.models`."""

    def expected_purchases_at(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
        times: np.ndarray,
        /,
    ) -> np.ndarray: ...

    def probability_of_purchase(
        self,
        parameters: Mapping[str, float],
        x: np.ndarray,
        t_x: np.ndarray,
        T: np.ndarray,
        t: float,
        /,
    ) -> np.ndarray: ...


class Purchases(NamedTuple):
    """Moments of the number of purchases in a horizon, one entry per customer: mean, variance, P(none)."""

    mean: np.ndarray
    variance: np.ndarray
    none: np.ndarray


class Interval(NamedTuple):
    """Per customer: both ends as the model states them, and the standard deviation it states."""

    low: np.ndarray
    high: np.ndarray
    deviation: np.ndarray


def purchases(
    model: PurchaseModel,
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    t: float,
) -> Purchases:
    """Mean, variance and P(none) of the purchases in (T, T + t], times in weeks; see `moments`."""
    times = np.linspace(0, t, STEPS + 1)
    expected = np.asarray(model.expected_purchases_at(parameters, x, t_x, T, times[1:]), dtype="float64")
    delayed = np.diff(expected, prepend=0.0, axis=1) @ (0.5 * (times[:-1] + times[1:]))
    bought = model.probability_of_purchase(parameters, x, t_x, T, t)
    return moments(parameters, x, T, expected[:, -1], delayed, 1 - np.asarray(bought, dtype="float64"))


def moments(
    parameters: Mapping[str, float],
    x: np.ndarray,
    T: np.ndarray,
    mean: np.ndarray,
    delayed: np.ndarray,
    none: np.ndarray,
) -> Purchases:
    """The moments of the purchases in a horizon from the time course of what is expected in it.

    `delayed` is the integral of s dE[N(s)] over the horizon: the expected purchases, each times the weeks until it. A
    customer who is alive buys at a rate with the posterior gamma(r + x, alpha + T), whenever it leaves, so that
    E[N (N - 1)] = 2 (r + x + 1) / (alpha + T) * delayed. Exact for Pareto/NBD; too wide for BG/NBD and MBG/NBD, where who buys
    faster leaves sooner: by a tenth for frequent buyers, by up to half for one-time buyers.
    """
    rate = (parameters["r"] + np.asarray(x) + 1) / (parameters["alpha"] + np.asarray(T))
    return possible(mean, mean + 2 * rate * delayed - mean**2, none)


def possible(mean: np.ndarray, variance: np.ndarray, none: np.ndarray) -> Purchases:
    """The nearest moments a number of purchases can have: rounding, or a model's approximation, may have left them.

    P(none) is at least 1 - mean (who buys, buys at least once) and at least exp(-mean) (purchases of unlike customers cluster);
    the variance is at least that of buying either nothing or always the same.
    """
    mean = np.maximum(np.asarray(mean, dtype="float64"), 0.0)
    least_none = np.maximum(1 - mean, np.exp(-np.minimum(mean, 700.0)))
    none = np.clip(np.maximum(none, least_none), 0.0, 1.0)
    least = mean * (np.maximum(mean / np.maximum(1 - none, NEXT_TO_NOTHING), 1.0) - mean)
    return Purchases(mean, np.maximum(np.asarray(variance, dtype="float64"), np.maximum(least, 0.0)), none)


def without_model(mean: np.ndarray) -> Purchases:
    """Moments for a rate without a model: geometric, as wide as purchases are among customers who were all expected to buy
    `mean` times and differ as an exponential distribution does."""
    mean = np.maximum(np.asarray(mean, dtype="float64"), 0.0)
    return possible(mean, mean + mean**2, 1 / (1 + mean))


def scaled(moments: Purchases, factor: float) -> Purchases:
    """The moments when a backtest says that everybody buys `factor` times what the model expects."""
    if factor == 1.0:
        return moments
    none = np.power(np.clip(moments.none, 1e-300, 1.0), factor)
    over = moments.variance - moments.mean
    return possible(moments.mean * factor, moments.mean * factor + over * factor**2, none)


def of_purchases(moments: Purchases, *, level: float = LEVEL) -> Interval:
    """Lowest and highest number of purchases: whole numbers, unless moved to hold the mean."""
    mean, variance = _given_any(moments)
    # Half a purchase below the count, so that the gamma begins where the counts do.
    low, high = _quantiles(mean - 0.5, np.sqrt(variance), moments.none, level)
    low, high = np.where(low > 0, np.round(low + 0.5), 0.0), np.where(high > 0, np.round(high + 0.5), 0.0)
    return Interval(
        np.minimum(low, moments.mean), np.maximum(high, moments.mean), np.sqrt(np.maximum(moments.variance, 0.0))
    )


def of_profit(
    moments: Purchases,
    expected: np.ndarray,
    spread: np.ndarray,
    purchase_spread: np.ndarray,
    *,
    level: float = LEVEL,
) -> Interval:
    """Low and high end of the profit in the horizon, in the unit of `expected`; they hold mean purchases * expected.

    - expected, spread, purchase_spread: per customer, as `models.margins.ProfitPerPurchase` has them.

    Who buys nothing makes no profit, often the likeliest outcome. Where zero is inside the tail of one side, the whole of
    1 - `level` is left to the other side: an interval from 0 that leaves out 20 % above, not 10 % above and nothing below.
    """
    mean, variance = _given_any(moments)
    expected = np.asarray(expected, dtype="float64")
    squares = variance + mean**2
    profit = expected * mean
    total = (expected**2 + np.asarray(spread) ** 2) * squares + np.asarray(purchase_spread) ** 2 * mean - profit**2
    low, high = _quantiles(profit, np.sqrt(np.maximum(total, 0.0)), moments.none, level)
    point = moments.mean * expected
    every = (expected**2 + np.asarray(spread) ** 2) * (moments.variance + moments.mean**2)
    every = every + np.asarray(purchase_spread) ** 2 * moments.mean - point**2
    return Interval(np.minimum(low, point), np.maximum(high, point), np.sqrt(np.maximum(every, 0.0)))


@dataclass(frozen=True)
class Widening:
    """What a backtest learned: by how much intervals must be widened, in bins of the chance of no purchase.

    - cuts: upper ends of all bins but the last, rising. The chance of none in the horizon, and not the number expected, because
      it is what shapes an interval: what was learned over a year then serves three.
    - deviations: one per bin, by how many standard deviations both ends move out; negative = in.
    - never_below_zero: no outcome was; then no interval reaches below zero either, unless the forecast itself does.
    - customers: outcomes it was learned from.
    """

    cuts: tuple[float, ...] = ()
    deviations: tuple[float, ...] = (0.0,)
    never_below_zero: bool = False
    customers: int = 0


def learn(
    actual: np.ndarray, point: np.ndarray, interval: Interval, none: np.ndarray, *, level: float = LEVEL
) -> Widening:
    """The widening under which the intervals of an earlier forecast would have held `level` of the outcomes.

    One entry per customer (several origins may be stacked): the outcome, the forecast, its interval before any
    widening, and the forecast chance of no purchase (`Purchases.none`). Per bin, the ceil((n + 1) * level)-th smallest of: how
    many standard deviations the outcome lies outside the interval (negative: inside). Outcomes that `widen` never lets go, the
    forecast itself and a zero that is an end, are inside for ever. Below 30 customers nothing is widened.
    """
    actual, point, low, high, deviation, none = (
        np.asarray(values, dtype="float64").ravel() for values in (actual, point, *interval, none)
    )
    known = np.isfinite(actual) & (deviation > 0)
    actual, point, low, high, deviation, none = (
        values[known] for values in (actual, point, low, high, deviation, none)
    )
    if len(actual) < FEWEST_CUSTOMERS:
        return Widening(customers=len(actual))
    outside = np.where(actual > point, actual - high, low - actual) / deviation
    is_kept = (actual == point) | ((low == 0) & (actual >= 0) & (actual < point))
    is_kept |= (high == 0) & (actual <= 0) & (actual > point)
    outside[is_kept] = -np.inf
    cuts = _cuts(none, level)
    place = np.searchsorted(cuts, none, side="left")
    deviations = []
    for number in range(len(cuts) + 1):
        ranked = np.sort(outside[place == number])
        rank = min(int(np.ceil((len(ranked) + 1) * level)), len(ranked))
        deviations.append(float(np.clip(ranked[rank - 1], -MOST_WIDENING, MOST_WIDENING)))
    return Widening(
        cuts=tuple(float(cut) for cut in cuts),
        deviations=tuple(deviations),
        never_below_zero=bool(np.all(actual >= 0)),
        customers=len(actual),
    )


def widen(
    point: np.ndarray, interval: Interval, none: np.ndarray, widening: Widening | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends, moved out (or in) by what the bin has learned; as they are without a widening.

    An end never moves in beyond the forecast, and one that is zero never moves in: zero is what happens to most.
    """
    point, low, high, deviation = (np.asarray(values, dtype="float64") for values in (point, *interval))
    if widening is None:
        return low, high
    place = np.searchsorted(np.array(widening.cuts), np.asarray(none, dtype="float64"), side="left")
    reach = np.array(widening.deviations)[place] * deviation
    lower, upper = np.minimum(low - reach, point), np.maximum(high + reach, point)
    lower = np.where(low == 0, np.minimum(lower, 0.0), lower)
    upper = np.where(high == 0, np.maximum(upper, 0.0), upper)
    if widening.never_below_zero:
        lower = np.maximum(lower, np.minimum(low, 0.0))
    return lower, upper


def coverage(actual: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The share of outcomes inside their intervals, the ends included; 0 for none."""
    actual = np.asarray(actual, dtype="float64")
    return float(np.mean((actual >= low) & (actual <= high))) if len(actual) else 0.0


def of_total(predicted: float, past_ratios: Sequence[float], *, level: float = LEVEL) -> tuple[float, float] | None:
    """Low and high end of a total, by how past totals compared: `past_ratios` are actual / predicted, one per origin.

    A sum over many customers hardly varies by chance; what misses is the level, the same for all of them. So the ratios speak:
    their mean and their standard deviation * sqrt(1 + 1/n), with Student's t. Origins that overlap are fewer than they count,
    and the interval is then too narrow. None with fewer than two ratios.
    """
    ratios = np.array([ratio for ratio in past_ratios if np.isfinite(ratio)], dtype="float64")
    if len(ratios) < 2:
        return None
    reach = float(stdtrit(len(ratios) - 1, 0.5 + level / 2) * np.std(ratios, ddof=1) * np.sqrt(1 + 1 / len(ratios)))
    ends = (predicted * (float(ratios.mean()) - reach), predicted * (float(ratios.mean()) + reach))
    return min(ends), max(ends)


def _cuts(none: np.ndarray, level: float) -> np.ndarray:
    """Bins of about equally many customers; those whom 'nothing' alone covers, and who have no real interval, apart from
    the others. Equal chances stay together, and a customer on a cut belongs to the bin below it."""
    cuts: list[float] = []
    for part in (none[none < level], none[none >= level]):
        bins = min(len(part) // SMALLEST_BIN, MOST_BINS)
        if bins:
            inner = np.unique(np.quantile(part, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
            cuts += [float(cut) for cut in inner if cut < part.max()] + [float(part.max())]
    return np.array(cuts[:-1])


def _given_any(moments: Purchases) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the purchases of a customer who makes at least one; one purchase where that is next to
    impossible, and the quotients of two nothings would be anything."""
    is_possible = (1 - moments.none > NEXT_TO_NOTHING) & (moments.mean > NEXT_TO_NOTHING)
    bought = np.where(is_possible, 1 - moments.none, 1.0)
    mean = np.where(is_possible, np.maximum(moments.mean / bought, 1.0), 1.0)
    squares = np.where(is_possible, (moments.variance + moments.mean**2) / bought, 1.0)
    return mean, np.maximum(squares - mean**2, 0.0)


def _quantiles(
    mean: np.ndarray, deviation: np.ndarray, none: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of an amount that is zero with probability `none` and otherwise has this mean and deviation."""
    tail = (1 - level) / 2
    size = np.abs(mean)
    is_normal = deviation > MOST_SKEWED * size
    is_loss = mean < 0
    share_below = np.where(
        is_normal, ndtr(np.divide(-mean, deviation, out=np.zeros_like(mean), where=deviation > 0)), is_loss
    )
    below = (1 - none) * share_below

    def quantile(at: np.ndarray) -> np.ndarray:
        """Of the mixture: below zero, zero itself, above zero."""
        result = np.zeros(len(mean))
        amount = np.where(at < below, at, at - none) / np.maximum(1 - none, 1e-300)
        outside = ((at < below) | (at > below + none)) & (amount > 0) & (amount < 1)
        normal = outside & is_normal
        result[normal] = mean[normal] + deviation[normal] * ndtri(amount[normal])
        fixed = outside & ~is_normal & (deviation <= 1e-9 * size)
        result[fixed] = mean[fixed]
        gamma = outside & ~is_normal & ~fixed
        probability = np.where(is_loss, 1 - amount, amount)[gamma]
        shape = (mean[gamma] / deviation[gamma]) ** 2
        result[gamma] = np.sign(mean[gamma]) * gammaincinv(shape, probability) * deviation[gamma] ** 2 / size[gamma]
        return result

    above = 1 - none - below
    # A tail that ends in the zero gives what it does not use to the other.
    zero_is_lowest, zero_is_highest = (below <= tail) & (below + none >= tail), (above <= tail) & (above + none >= tail)
    low = quantile(np.where(zero_is_highest & ~zero_is_lowest, 2 * tail - above, tail))
    high = quantile(np.where(zero_is_lowest & ~zero_is_highest, 1 - 2 * tail + below, 1 - tail))
    return np.where(zero_is_lowest, 0.0, low), np.where(zero_is_highest, 0.0, high)
