"""MBG/NBD: purchases at a constant rate until the customer leaves for good after any purchase, the first included.

Source: Batislam, Denizel and Filiztekin (2007), "Empirical validation and comparison of models for customer base
analysis", International Journal of Research in Marketing 24(3). Belongs here: the model's interface. Not here: the
arithmetic it shares with BG/NBD (`beta_geometric`).

Rates are gamma(r, alpha) over customers, the chances of leaving beta(a, b). Times are in weeks. Unlike in BG/NBD a one-time
buyer may have left.

Throughout: `parameters` maps r, alpha, a and b to positive numbers; `x` repeat purchases, `t_x` weeks from the first
purchase to the last, `T` weeks from the first purchase to today, one entry per customer; all results are finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from assets.analytics.models import beta_geometric
from assets.analytics.models.estimation import Fitted
from assets.analytics.models.summaries import Compressed

NAME = "mbg_nbd"
PARAMETERS = beta_geometric.PARAMETERS

AT_START = 1
"""A customer may leave straight after the first purchase."""


def fit(data: Compressed, *, start: Mapping[str, float] | None = None) -> Fitted:
    """Maximum likelihood; `start` are the parameters of an earlier fit, from which Newton's steps begin."""
    return beta_geometric.fit(NAME, data, AT_START, start)


def log_likelihood(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
) -> np.ndarray:
    """Each customer's log-likelihood, as a density of purchase times in weeks."""
    return beta_geometric.log_likelihood(parameters, x, t_x, T, AT_START)


def probability_alive(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
) -> np.ndarray:
    """P(has not left by T), in [0, 1]."""
    return beta_geometric.probability_alive(parameters, x, t_x, T, AT_START)


def expected_purchases(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    t: float,
) -> np.ndarray:
    """Purchases expected in the t weeks after T (without the poles of the formula with 2F1)."""
    return beta_geometric.expected_purchases_at(parameters, x, t_x, T, [t], AT_START)[:, 0]


def expected_purchases_at(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    times: np.ndarray | Sequence[float],
) -> np.ndarray:
    """Purchases expected up to each of `times` (weeks after T), shape (customers, times); work is done once per distinct
    (x, T), so that a million customers take little more than writing the result."""
    return beta_geometric.expected_purchases_at(parameters, x, t_x, T, times, AT_START)


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
    return beta_geometric.discounted_purchases(parameters, x, t_x, T, times, factors, AT_START)


def expected_purchases_of_new(parameters: Mapping[str, float], t: np.ndarray | Sequence[float] | float) -> np.ndarray:
    """Repeat purchases expected within t weeks of a first purchase, in the shape of `t`."""
    return beta_geometric.expected_purchases_of_new(parameters, t, AT_START)


def probability_of_purchase(
    parameters: Mapping[str, float],
    x: np.ndarray,
    t_x: np.ndarray,
    T: np.ndarray,
    t: float,
) -> np.ndarray:
    """P(at least one purchase in the t weeks after T), in [0, 1]."""
    return beta_geometric.probability_of_purchase(parameters, x, t_x, T, t, AT_START)


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
    of shape (customers, draws): whether alive, the own rate and the own chance of leaving are drawn too. It holds some
    eight such tables at once: give many customers in portions."""
    return beta_geometric.simulate_purchases(parameters, x, t_x, T, t, rng, draws, AT_START)
