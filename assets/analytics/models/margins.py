"""What a customer is expected to earn per purchase, which may be a loss.

Belongs here: the margin ratio drawn towards that of all customers, profit per purchase by each method, and the scale
to the profit really made. Not here: how often a customer buys, and the horizon (`assets.analytics.clv`).

Loss-makers stay in. A customer without profit so far is not a customer without a forecast: leaving those out measures
the survivors and promises their profit for everybody.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from assets.analytics.models import gamma_gamma, normal_normal
from assets.analytics.models.estimation import Fitted

DEFAULT = "gamma_gamma_margin"
METHODS = (DEFAULT, "normal_normal", "observed_mean")

WITHOUT_MODEL = "shrunken_spend_margin"
"""The name of the default method where Gamma-Gamma has no usable fit and its fallback gives the spend."""

MOST_NOISY = 16.0
"""A customer counts for the noise of all as at most this many times as noisy as the others."""

FEWEST_CUSTOMERS = 5
"""With fewer customers there is no distribution to draw anybody towards: each is expected to go on as observed."""


class ProfitPerPurchase(NamedTuple):
    """Per customer, in the unit of the money given: the expected profit of a purchase; the standard deviation of what is
    not known of that mean; the standard deviation of a single purchase around it. `method` says how, fallbacks included;
    `spend` is the Gamma-Gamma fit, where there is one."""

    expected: np.ndarray
    spread: np.ndarray
    purchase_spread: np.ndarray
    method: str
    spend: Fitted | None


def noise_of_months(customers: np.ndarray, revenue: np.ndarray, profit: np.ndarray) -> float | None:
    """k, by how much the profit of a customer's months scatters around its own margin: variance k * revenue.

    One entry per customer and month, in any unit of money, which is that of k. From customers with months of their own to
    compare: sum of (profit - own margin * revenue)^2 * months / (months - 1), over the sum of revenue. A customer counts for at
    most 16 times what its revenue would give: one odd invoice is no measure of all. None with fewer than 5 such customers.

    Worth its reading of the months: among customers of little revenue margins differ most, because deliveries and visits cost
    the same for all. Told from totals alone that difference passes for noise, and plain loss-makers are drawn to a profit.
    """
    codes, _ = pd.factorize(np.asarray(customers))
    revenue, profit = np.asarray(revenue, dtype="float64"), np.asarray(profit, dtype="float64")
    months = np.bincount(codes).astype("float64")
    # Sorted sums: the last digits must not depend on the order of the rows.
    order = np.lexsort((profit, revenue, codes))
    codes, revenue, profit = codes[order], revenue[order], profit[order]
    total = np.bincount(codes, weights=revenue)
    ratio = np.divide(np.bincount(codes, weights=profit), total, out=np.zeros(len(total)), where=total > 0)
    squares = np.bincount(codes, weights=(profit - ratio[codes] * revenue) ** 2)
    usable = (months > 1) & (total > 0)
    if np.count_nonzero(usable) < FEWEST_CUSTOMERS:
        return None
    each = squares[usable] * months[usable] / (months[usable] - 1) / total[usable]
    order = np.lexsort((total[usable], each))
    each, whole = each[order], total[usable][order]
    noise = float(np.dot(each, whole) / whole.sum())
    for _ in range(3):
        noise = float(np.dot(np.minimum(each, MOST_NOISY * noise), whole) / whole.sum())
    return noise


def shrunk_margins(revenue: np.ndarray, profit: np.ndarray, *, noise: float | None = None) -> np.ndarray:
    """Profit / revenue of each customer, drawn towards that of all: the more, the less revenue there is to judge by.

    One entry per customer, revenue above 0, both in the same unit. Empirical Bayes (Buehlmann and Straub 1970): the observed
    ratio has the variance k / revenue around the customer's true one, which varies between customers; both variances come
    from the ratios, or k from `noise_of_months`. Gives (profit + c * mean) / (revenue + c), c = k / variance between
    customers. May be negative.
    """
    return _margins(np.asarray(revenue, dtype="float64"), np.asarray(profit, dtype="float64"), noise)[0]


def profit_per_purchase(
    summary: pd.DataFrame, profit: np.ndarray, *, method: str = DEFAULT, noise: float | None = None
) -> np.ndarray:
    """`estimate(...).expected`: the expected profit per purchase of each row of `summary`, in the unit of the money."""
    return estimate(summary, profit, method=method, noise=noise).expected


def estimate(
    summary: pd.DataFrame, profit: np.ndarray, *, method: str = DEFAULT, noise: float | None = None
) -> ProfitPerPurchase:
    """Expected profit per purchase of each customer, with how uncertain it is.

    `summary` comes from `summaries.summarise` (repeat_purchases and revenue are read); `profit` has one entry per row of it:
    all profit of the customer so far (revenue less every cost traced to it, loss -), in the unit of revenue; `noise` is that of
    margins, `noise_of_months` in the same unit, where the months are at hand.

    - 'gamma_gamma_margin': Gamma-Gamma expected revenue per purchase x `shrunk_margins`. Spend is taken over all purchases,
      the first included: a customer who bought once has told its size.
    - 'normal_normal': profit per purchase drawn towards the mean, with variance noise / purchases.
    - 'observed_mean': profit / purchases, and always with fewer than 5 customers.

    The results are scaled to what really happened: over all customers, purchases x expected profit per purchase is the
    profit given. Raises ValueError for an unknown method, or for a profit of another length.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; give one of {', '.join(METHODS)}.")
    purchases = summary["repeat_purchases"].to_numpy(dtype="float64") + 1
    revenue = summary["revenue"].to_numpy(dtype="float64")
    earned = np.asarray(profit, dtype="float64").ravel()
    if len(earned) != len(purchases):
        raise ValueError(
            f"profit has {len(earned)} entries and summary {len(purchases)}; give one profit per customer."
        )
    if method == "observed_mean" or len(purchases) < FEWEST_CUSTOMERS:
        return _observed(purchases, earned)
    if method == "normal_normal":
        return _normal_normal(purchases, earned)
    return _gamma_gamma_margin(purchases, revenue, earned, noise)


def _gamma_gamma_margin(
    purchases: np.ndarray, revenue: np.ndarray, earned: np.ndarray, known_noise: float | None
) -> ProfitPerPurchase:
    spend = gamma_gamma.fit(purchases, revenue / purchases)
    of_purchase = gamma_gamma.expected_spend(spend.parameters, purchases, revenue / purchases)
    of_purchase = of_purchase * _ratio(revenue.sum(), float(np.dot(purchases, of_purchase)))
    margin, margin_variance, noise = _margins(revenue, earned, known_noise)
    # The total is met by adding to every margin, not by multiplying: a factor has no sense where profit is near zero,
    # and it would make every loss-maker worse whenever the company does better.
    future_revenue = purchases * of_purchase
    margin = margin + _ratio(earned.sum() - float(np.dot(future_revenue, margin)), future_revenue.sum())
    own_spread, single_spread = gamma_gamma.spread(spend.parameters, purchases)
    own_variance = margin_variance * (1 + own_spread**2) + (margin * own_spread) ** 2
    return ProfitPerPurchase(
        expected=of_purchase * margin,
        spread=of_purchase * np.sqrt(own_variance),
        purchase_spread=np.sqrt((of_purchase * margin * single_spread) ** 2 + noise * of_purchase),
        method=DEFAULT if gamma_gamma.method(spend.parameters) == gamma_gamma.NAME else WITHOUT_MODEL,
        spend=spend,
    )


def _normal_normal(purchases: np.ndarray, earned: np.ndarray) -> ProfitPerPurchase:
    components = normal_normal.fit(earned / purchases, purchases)
    expected = normal_normal.expected(components, earned / purchases, purchases)
    expected = expected + _ratio(earned.sum() - float(np.dot(purchases, expected)), purchases.sum())
    return ProfitPerPurchase(
        expected=expected,
        spread=np.sqrt(normal_normal.variance(components, purchases)),
        purchase_spread=np.full(len(purchases), np.sqrt(components.noise)),
        method="normal_normal",
        spend=None,
    )


def _observed(purchases: np.ndarray, earned: np.ndarray) -> ProfitPerPurchase:
    """As observed. What is not known is taken to be as large as what is: one purchase is one measurement."""
    expected = earned / purchases
    return ProfitPerPurchase(
        expected=expected,
        spread=np.abs(expected) / np.sqrt(purchases),
        purchase_spread=np.abs(expected),
        method="observed_mean",
        spend=None,
    )


def _margins(revenue: np.ndarray, profit: np.ndarray, noise: float | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Shrunk margin ratios, the variance of what is not known of each, and k (in units of money)."""
    usable = revenue > 0
    ratio = np.divide(profit, revenue, out=np.zeros(len(revenue)), where=usable)
    components = normal_normal.fit(ratio[usable], revenue[usable], noise=noise)
    exposure = np.where(usable, revenue, 0.0)
    if components.credibility == 0.0:
        # All alike (or one customer): nothing to draw, and a customer without revenue has the ratio of the others.
        return np.where(usable, ratio, components.mean), np.zeros(len(revenue)), 0.0
    return (
        normal_normal.expected(components, ratio, exposure),
        normal_normal.variance(components, exposure),
        components.noise,
    )


def _ratio(part: float, whole: float) -> float:
    """part / whole, and 0 where there is no whole."""
    if whole == 0.0:
        return 0.0
    return float(part) / float(whole)
