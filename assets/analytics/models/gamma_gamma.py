"""Gamma-Gamma: what a customer spends per purchase, its own mean drawn towards that of all customers.

Belongs here: the model's likelihood, estimates and conditional expectation. Not here: profit (`margins`), which may be
negative where spend may not, and how often a customer buys.

Source: Fader and Hardie (2013), The Gamma-Gamma model of monetary value; Fader, Hardie and Lee (2005), RFM and CLV.
A purchase is gamma(p, nu), nu differs between customers as gamma(q, gamma). Its assumption: how much is spent does not
depend on how often.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import gammaln, polygamma, psi

from assets.analytics.models.estimation import Evaluated, Fitted, Maximum, Objective, maximise, penalised

NAME = "gamma_gamma"
FALLBACK = "shrunken_own_mean"
PARAMETERS = ("p", "q", "gamma")

LOWEST_Q = 1.05
"""The mean of all customers is p * gamma / (q - 1): at q <= 1 there is none, and just above it is larger than any spend
ever ever seen. From here down the customers' typical spend takes its place: the geometric mean of their means, because the
arithmetic one is then that of a few giants."""

FALLBACK_PURCHASES = 1.0
"""The fallback weighs the typical spend as this many purchases."""

FEWEST_CUSTOMERS = 5
"""Fewer customers do not tell three parameters apart."""

STARTS = ((6.0, 4.0), (1.0, 2.0), (60.0, 30.0))
"""Values of p and q to start from; gamma follows, so that the mean is the observed one. The first is also where the weak
penalty leaves what the data do not tell."""


def fit(purchases_count: np.ndarray, mean_spend: np.ndarray, weight: np.ndarray | None = None) -> Fitted:
    """Maximum likelihood of p, q (no unit) and gamma (money, in the unit of `mean_spend`).

    One entry per customer: `purchases_count` (purchases the mean is of), `mean_spend` (money per purchase), `weight`
    (customers that share the row, 1 without it). Customers without a purchase or without a positive mean say nothing
    of spend and are not counted. `parameters` also holds typical_spend, the geometric mean of the means, for the fallback.

    Never raises for arrays of equal length: where there are too few customers, or all spend alike, `converged` is
    False and `degenerate` says why; `expected_spend` then uses the fallback. `degenerate` is also filled for q <= 1.05.
    """
    count = np.asarray(purchases_count, dtype="float64").ravel()
    mean = np.asarray(mean_spend, dtype="float64").ravel()
    weights = np.ones(len(count)) if weight is None else np.asarray(weight, dtype="float64").ravel()
    if not len(count) == len(mean) == len(weights):
        raise ValueError(
            f"purchases_count, mean_spend and weight have {len(count)}, {len(mean)} and {len(weights)} entries; "
            "give one of each per customer."
        )
    usable = (count > 0) & (mean > 0) & np.isfinite(mean) & (weights > 0)
    # Nobody's money, and as a share of the mean it could round to zero.
    usable &= mean > 1e-100 * float(np.max(mean, where=usable, initial=0.0))
    count, mean, weights = count[usable], mean[usable], weights[usable]
    customers = float(weights.sum())
    unit = float(np.dot(weights, mean) / customers) if customers else 0.0
    typical = float(np.exp(np.dot(weights, np.log(mean)) / customers)) if customers else 0.0
    if customers < FEWEST_CUSTOMERS:
        return _unusable(typical, int(customers), len(mean), f"fewer than {FEWEST_CUSTOMERS} customers with a purchase")
    if np.ptp(mean) <= 1e-9 * unit:
        return _unusable(typical, int(customers), len(mean), "all customers spend the same")

    # Sorted, so that the sums, and with them the last digits, do not depend on the order of the rows.
    order = np.lexsort((weights, mean, count))
    count, mean, weights = count[order], mean[order], weights[order]
    evaluate = _objective(count, mean / unit, weights)
    starts = [np.log([p, q, (q - 1) / p]) for p, q in STARTS]
    objective = penalised(evaluate, int(customers), starts[0])
    best = maximise(objective, max(starts, key=lambda logs: objective(logs)[0]))
    if not best.converged:
        best = max((maximise(objective, logs) for logs in starts), key=lambda tried: (tried.converged, tried.value))
    p, q, scale = (float(value) for value in np.exp(best.logs))
    gamma = scale * unit
    covariance, errors = _laplace(best)
    degenerate = ""
    if not best.converged:
        degenerate = "the likelihood has no maximum that could be found"
    elif q <= LOWEST_Q:
        degenerate = f"q is {q:.3f}: by this model the mean spend of all customers is infinite"
    return Fitted(
        model=NAME,
        parameters={"p": p, "q": q, "gamma": gamma, "typical_spend": typical},
        # A density of money: in another unit each customer adds the logarithm of the unit.
        log_likelihood=float(evaluate(best.logs)[0] - customers * np.log(unit)),
        standard_errors={"p": p * errors[0], "q": q * errors[1], "gamma": gamma * errors[2], "typical_spend": None},
        covariance=covariance,
        customers=int(customers),
        distinct_rows=len(mean),
        converged=best.converged,
        degenerate=degenerate,
    )


def log_likelihood(parameters: Mapping[str, float], count: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Per customer, of a mean spend over `count` purchases; both above 0."""
    p, q, gamma = (parameters[name] for name in PARAMETERS)
    count, mean = np.asarray(count, dtype="float64"), np.asarray(mean, dtype="float64")
    shape = p * count
    likelihood: np.ndarray = (
        gammaln(shape + q)
        - gammaln(shape)
        - gammaln(q)
        + q * np.log(gamma)
        + (shape - 1) * np.log(mean)
        + shape * np.log(count)
        - (shape + q) * np.log(gamma + count * mean)
    )
    return likelihood


def method(parameters: Mapping[str, float]) -> str:
    """Which formula `expected_spend` uses with these parameters: 'gamma_gamma' or the fallback 'shrunken_own_mean'."""
    values = [parameters[name] for name in PARAMETERS]
    usable = bool(np.all(np.isfinite(values))) and min(values) > 0 and parameters["q"] > LOWEST_Q
    return NAME if usable else FALLBACK


def expected_spend(parameters: Mapping[str, float], count: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Expected money per future purchase, in the unit of `mean`; finite, and never negative for means that are not.

    `count` = 0 gives the mean of all customers. E = p (gamma + count * mean) / (p * count + q - 1); for q <= 1.05, where the
    customers have no mean, the fallback is (parameters' typical_spend + count * mean) / (1 + count).
    """
    count, mean = np.asarray(count, dtype="float64"), np.asarray(mean, dtype="float64")
    if method(parameters) == FALLBACK:
        drawn = FALLBACK_PURCHASES * parameters["typical_spend"] + count * mean
        return np.asarray(drawn / (FALLBACK_PURCHASES + count))
    p, q, gamma = (parameters[name] for name in PARAMETERS)
    return np.asarray(p * (gamma + count * mean) / (p * count + q - 1))


def spread(parameters: Mapping[str, float], count: np.ndarray) -> tuple[np.ndarray, float]:
    """How uncertain `expected_spend` is, as a share of it: of the customer's own mean (standard deviation, one per
    entry of `count`), and of a single purchase around that mean.

    The posterior of p / nu has the squared coefficient of variation 1 / (p * count + q - 2). Where that variance does
    not exist (p * count + q <= 2), and with the fallback, it counts as 1.
    """
    count = np.asarray(count, dtype="float64")
    if method(parameters) == FALLBACK:
        return np.sqrt(1 / (FALLBACK_PURCHASES + count)), 1.0
    freedom = np.maximum(parameters["p"] * count + parameters["q"] - 2, 1.0)
    return np.sqrt(1 / freedom), float(1 / np.sqrt(parameters["p"]))


def _objective(count: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> Objective:
    """The log-likelihood of the logarithms of p, q and gamma (money in units of the mean).

    Everything that needs a gamma function depends on the count alone and is evaluated once per distinct count; what is
    left per customer is one logarithm and two divisions."""
    counts, place = np.unique(count, return_inverse=True)
    customers = np.bincount(place, weights=weight)
    log_mean = np.bincount(place, weights=weight * np.log(mean))
    spent = count * mean

    def evaluate(logs: np.ndarray) -> Evaluated:
        p, q, gamma = np.exp(logs)
        shape = p * counts
        total = gamma + spent
        log_total = np.bincount(place, weights=weight * np.log(total))
        per_total = np.bincount(place, weights=weight / total)
        per_square = np.bincount(place, weights=weight / total**2)
        value = (
            customers * (gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(gamma) + shape * np.log(counts))
            + (shape - 1) * log_mean
            - (shape + q) * log_total
        )
        both, shape_only, q_only = psi(shape + q), psi(shape), psi(q)
        d_p = counts * (customers * (both - shape_only + np.log(counts)) + log_mean - log_total)
        d_q = customers * (both - q_only + np.log(gamma)) - log_total
        d_gamma = customers * q / gamma - (shape + q) * per_total
        curve = polygamma(1, shape + q)
        d_pp = customers * counts**2 * (curve - polygamma(1, shape))
        d_pq = customers * counts * curve
        d_qq = customers * (curve - polygamma(1, q))
        d_pg = -counts * per_total
        d_qg = customers / gamma - per_total
        d_gg = -customers * q / gamma**2 + (shape + q) * per_square
        values = np.array([p, q, gamma])
        gradient = np.array([d_p.sum(), d_q.sum(), d_gamma.sum()]) * values
        plain = np.array(
            [
                [d_pp.sum(), d_pq.sum(), d_pg.sum()],
                [d_pq.sum(), d_qq.sum(), d_qg.sum()],
                [d_pg.sum(), d_qg.sum(), d_gg.sum()],
            ]
        )
        return float(value.sum()), gradient, plain * np.outer(values, values) + np.diag(gradient)

    return evaluate


def _laplace(best: Maximum) -> tuple[np.ndarray, list[float]]:
    """Covariance and standard errors of the parameters' logarithms."""
    curvature, directions = np.linalg.eigh(-best.hessian)
    floor = 1e-9 * max(1.0, float(np.max(np.abs(curvature))))
    covariance = (directions / np.maximum(curvature, floor)) @ directions.T
    return covariance, [float(error) for error in np.sqrt(np.diag(covariance))]


def _unusable(typical_spend: float, customers: int, rows: int, reason: str) -> Fitted:
    """A fit whose parameters send `expected_spend` to the fallback."""
    return Fitted(
        model=NAME,
        parameters={"p": 1.0, "q": 1.0, "gamma": typical_spend or 1.0, "typical_spend": typical_spend},
        log_likelihood=0.0,
        standard_errors=dict.fromkeys((*PARAMETERS, "typical_spend")),
        covariance=np.zeros((len(PARAMETERS), len(PARAMETERS))),
        customers=customers,
        distinct_rows=rows,
        converged=False,
        degenerate=reason,
    )
