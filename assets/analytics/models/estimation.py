"""Maximum likelihood for models with a handful of positive parameters and weighted rows (x, t_x, T).

Belongs here: Newton steps, starts, the weak penalty, the rescaling of time, standard errors. Not here: any model's
likelihood, which comes with its analytic gradient from the model's own module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from assets.analytics.models.summaries import Compressed

Evaluated = tuple[float, np.ndarray, np.ndarray | None]
"""Log-likelihood over all customers, its gradient and its Hessian with respect to the parameters' logarithms; None for a
Hessian means: take differences of the gradient."""

Objective = Callable[[np.ndarray], Evaluated]

SMALLEST_DROPOUT = 1e-3
"""Below this dropout parameter (a or s) the model says that nobody leaves."""

SURELY_ALIVE = 0.999
"""If even the least likely customer is alive with more than this, the model says that nobody leaves."""

PENALTY = 1e-5
"""Times half the squared distance of the logarithms (time rescaled) from the first start is taken off the log-likelihood,
so that data which say nothing of a parameter leave it there. It moves estimates published with four
digits by less than those."""

SMALL_SAMPLE_PENALTY = 10.0
"""Over the squared number of customers, added to PENALTY: of three customers nobody should conclude that all have left.
From some hundred customers on it is nothing."""

WALL = 8.0
"""Logarithms (time rescaled) beyond this are held back by WALL_HEIGHT per customer times the cube of the excess: a
likelihood that rises for ever (regular buyers, identical customers) ends near e^-8 or e^8."""

WALL_HEIGHT = 1e-3

SAMPLE_ROWS = 3_000
"""Starts are tried on about as many distinct rows; only the best goes on to all of them."""

MOST_STEPS = 200


@dataclass(frozen=True)
class Fitted:
    """A model's estimates.

    - parameters: in weeks; standard_errors: of these, None where the data do not tell (a parameter at its limit).
    - log_likelihood: over all customers, without the penalty.
    - covariance: of the parameters' logarithms in the order of `parameters` (Laplace: inverse curvature at the maximum).
    - degenerate: empty, or in words why P(alive) of this model is not to be used.
    """

    model: str
    parameters: dict[str, float]
    log_likelihood: float
    standard_errors: dict[str, float | None]
    covariance: np.ndarray
    customers: int
    distinct_rows: int
    converged: bool
    degenerate: str


class Maximum(NamedTuple):
    logs: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    converged: bool


def fit(
    model: str,
    parameters: Sequence[str],
    data: Compressed,
    objective_of: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Objective],
    *,
    time_parameters: Sequence[str],
    starts: Sequence[Sequence[float]],
    start: Mapping[str, float] | None = None,
) -> Fitted:
    """The parameters under which `data` is most likely; `degenerate` is left empty, the model's module fills it.

    - objective_of(x, t_x, T, weight): the log-likelihood of weighted rows as a function of the parameters' logarithms. It is
      called with times in units of `time_unit`, and once more for a sample.
    - time_parameters: those measured in weeks (alpha, beta); they are scaled back.
    - starts: parameter values to start from, in rescaled time: a mean purchase rate of about 1. The first is also where the
      penalty leads, so it should be what is customary.
    - start: the parameters (weeks) of an earlier fit. If Newton converges from there, no other start is tried.

    Never raises for rows that `compress` accepts. Without customers the parameters are the first start, converged is
    False.
    """
    unit = time_unit(data)
    weeks = np.array([unit if name in time_parameters else 1.0 for name in parameters])
    rows = (data.x, data.t_x / unit, data.T / unit, data.weight)
    logs = np.log(np.array([list(values) for values in starts], dtype="float64"))
    if data.customers == 0:
        return _without_estimates(model, parameters, np.exp(logs[0]) * weeks, data, "there are no customers")
    whole = penalised(objective_of(*rows), data.customers, logs[0])
    best: Maximum | None = None
    if start is not None:
        given = np.array([start[name] for name in parameters], dtype="float64")
        if np.all(np.isfinite(given)) and np.all(given > 0):
            warm = maximise(whole, np.clip(np.log(given / weeks), -WALL, WALL))
            best = warm if warm.converged else None
    if best is None:
        best = _best_of_starts(whole, objective_of, rows, logs)
    if not np.isfinite(best.value):
        reason = "the likelihood cannot be computed at any start"
        return _without_estimates(model, parameters, np.exp(logs[0]) * weeks, data, reason)
    added, _, _ = _penalty(best.logs, data.customers, logs[0])
    covariance, errors = _laplace(best)
    values = np.exp(best.logs) * weeks
    return Fitted(
        model=model,
        parameters={name: float(value) for name, value in zip(parameters, values, strict=True)},
        # Purchase times are densities: in another unit each purchase adds the logarithm of the unit.
        log_likelihood=float(best.value - added - np.dot(data.weight, data.x) * np.log(unit)),
        standard_errors={
            name: None if error is None else float(value * error)
            for name, value, error in zip(parameters, values, errors, strict=True)
        },
        covariance=covariance,
        customers=data.customers,
        distinct_rows=len(data.x),
        converged=best.converged,
        degenerate="",
    )


def time_unit(data: Compressed) -> float:
    """Weeks after which the customers together would expect about one purchase each; a year where nothing is known."""
    weeks = float(np.dot(data.weight, data.T))
    purchases = float(np.dot(data.weight, data.x))
    return weeks / (purchases + 1.0) if weeks > 0 else 52.0


def why_degenerate(dropout_parameter: str, dropout: float, alive: np.ndarray, x: np.ndarray) -> str:
    """In words why P(alive) says nothing, or empty. `alive` and `x` are of the rows the model was fitted to."""
    if len(x) == 0:
        return "there are no customers"
    if not np.any(x > 0):
        return "nobody has bought twice, so the data do not tell who has left"
    if dropout < SMALLEST_DROPOUT:
        return f"{dropout_parameter} is {dropout:.1e}, below {SMALLEST_DROPOUT}: by this model nobody leaves"
    if float(np.min(alive)) > SURELY_ALIVE:
        return f"every customer is alive with more than {SURELY_ALIVE}: by this model nobody leaves"
    return ""


def penalised(objective: Objective, customers: int, centre: np.ndarray) -> Objective:
    """The objective less the weak penalty around `centre` and the walls."""

    def evaluate(logs: np.ndarray) -> Evaluated:
        value, gradient, hessian = objective(logs)
        off, slope, curvature = _penalty(logs, customers, centre)
        return value + off, gradient + slope, None if hessian is None else hessian + np.diag(curvature)

    return evaluate


def maximise(objective: Objective, start: np.ndarray) -> Maximum:
    """The maximum near `start` by Newton steps in a trust region: quadratic convergence where the likelihood is concave,
    a step uphill of bounded length where it is not.

    Converged means that another Newton step would gain less than the arithmetic can tell.
    """
    logs = np.asarray(start, dtype="float64").copy()
    value, gradient, hessian = _with_hessian(objective, logs)
    radius = 1.0
    converged = False
    for _ in range(MOST_STEPS):
        if not (np.isfinite(value) and np.all(np.isfinite(gradient)) and np.all(np.isfinite(hessian))):
            return Maximum(logs, -np.inf, np.zeros(len(logs)), -np.eye(len(logs)), converged=False)
        step, decrement = _step(gradient, hessian, radius)
        noise = 1e-13 * (1.0 + abs(value))
        if decrement < 1e-12 + 1e-3 * noise:
            converged = True
            logs = logs + step  # already known, and it doubles the digits
            break
        candidate = logs + step
        found = objective(candidate)
        gained = found[0] - value if np.isfinite(found[0]) and np.all(np.isfinite(found[1])) else -np.inf
        predicted = float(gradient @ step + 0.5 * step @ hessian @ step)
        length = float(np.linalg.norm(step))
        if gained < -noise or gained < 1e-4 * predicted - noise:
            converged = decrement < noise
            radius = 0.25 * length
            if converged or radius < 1e-12:
                break
            continue
        if gained > 0.75 * predicted and length > 0.9 * radius:
            radius = min(2 * radius, 8.0)
        logs = candidate
        value, gradient, hessian = _with_hessian(objective, logs, found)
    return Maximum(logs, value, gradient, hessian, converged)


def _best_of_starts(
    whole: Objective,
    objective_of: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Objective],
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    logs: np.ndarray,
) -> Maximum:
    """Every start on a sample, the best of them on all rows; a sample that misled is tried again without it."""
    count = len(rows[0])
    if count > SAMPLE_ROWS:
        # Every so-many-th customer of the sorted rows, so that the sample does not depend on the order of the data.
        customers = np.cumsum(rows[3])
        chosen = np.searchsorted(customers, (np.arange(SAMPLE_ROWS) + 0.5) * customers[-1] / SAMPLE_ROWS)
        chosen, weight = np.unique(np.minimum(chosen, count - 1), return_counts=True)
        sample = penalised(
            objective_of(rows[0][chosen], rows[1][chosen], rows[2][chosen], weight.astype("float64")),
            SAMPLE_ROWS,
            logs[0],
        )
        tried = [maximise(sample, start) for start in logs]
        best = maximise(whole, max(tried, key=lambda maximum: maximum.value).logs)
        if best.converged:
            return best
    tried = [maximise(whole, start) for start in logs]
    return max(tried, key=lambda maximum: (maximum.converged, maximum.value))


def _penalty(logs: np.ndarray, customers: int, centre: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    strength = PENALTY + SMALL_SAMPLE_PENALTY / customers**2
    excess = np.maximum(np.abs(logs) - WALL, 0.0)
    height = WALL_HEIGHT * customers
    value = -float(np.sum(0.5 * strength * (logs - centre) ** 2 + height * excess**3))
    gradient = -(strength * (logs - centre) + 3 * height * excess**2 * np.sign(logs))
    return value, gradient, -(strength + 6 * height * excess)


def _with_hessian(
    objective: Objective, logs: np.ndarray, found: Evaluated | None = None
) -> tuple[float, np.ndarray, np.ndarray]:
    value, gradient, hessian = objective(logs) if found is None else found
    if hessian is None:
        # Central differences of the analytic gradient: an error of about 1e-9, where values alone would leave 1e-4.
        width = 1e-4
        columns = []
        for place in range(len(logs)):
            shift = np.zeros(len(logs))
            shift[place] = width
            columns.append((objective(logs + shift)[1] - objective(logs - shift)[1]) / (2 * width))
        hessian = np.array(columns)
    return value, gradient, 0.5 * (hessian + hessian.T)


def _step(gradient: np.ndarray, hessian: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """An uphill step within `radius`, and how much a full one promises."""
    curvature, directions = np.linalg.eigh(-hessian)
    along = directions.T @ gradient
    # Where the likelihood is not concave, its absolute curvature still sets a sensible step length uphill.
    floor = 1e-12 * max(1.0, float(np.max(np.abs(curvature))))
    size = np.maximum(np.abs(curvature), floor)
    step = along / size
    decrement = 0.5 * float(np.sum(along**2 / size))
    if np.linalg.norm(step) > radius:
        low, high = 0.0, float(np.linalg.norm(gradient)) / radius
        for _ in range(60):
            middle = 0.5 * (low + high)
            if np.linalg.norm(along / (size + middle)) > radius:
                low = middle
            else:
                high = middle
        step = along / (size + high)
    return directions @ step, decrement


def _laplace(maximum: Maximum) -> tuple[np.ndarray, list[float | None]]:
    curvature, directions = np.linalg.eigh(-maximum.hessian)
    floor = 1e-9 * max(1.0, float(np.max(np.abs(curvature))))
    covariance = (directions / np.maximum(curvature, floor)) @ directions.T
    told = bool(np.all(curvature > floor))
    errors: list[float | None] = []
    for place, log in enumerate(maximum.logs):
        error = float(np.sqrt(covariance[place, place]))
        errors.append(error if told and abs(log) <= WALL and error < WALL else None)
    return covariance, errors


def _without_estimates(
    model: str, parameters: Sequence[str], values: np.ndarray, data: Compressed, reason: str
) -> Fitted:
    return Fitted(
        model=model,
        parameters={name: float(value) for name, value in zip(parameters, values, strict=True)},
        log_likelihood=0.0,
        standard_errors=dict.fromkeys(parameters),
        covariance=np.eye(len(parameters)) / PENALTY,
        customers=data.customers,
        distinct_rows=len(data.x),
        converged=False,
        degenerate=reason,
    )
