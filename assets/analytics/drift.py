"""Do the customers the models score today still look like those they were fitted on?

Belongs here: how far each feature and score has moved since the fit. Not here: what to do about a model that no longer fits,
which the monthly backtest and its gates decide.
"""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd

from assets.analytics.history import as_of_column

BINS = 10

FEWEST_CUSTOMERS = 200
"""Below this many customers on either date ten bins of 20 move by chance alone more than the marks allow."""

WATCH_FROM, DRIFTED_FROM = 0.10, 0.25
"""The customary marks of the population stability index (Siddiqi 2006, Credit Risk Scorecards)."""

TOLERANCE = 0.05
"""Edges of bins lie this many standard deviations above their quantile. Where many customers share a value (a rate of all, to
which who bought little is drawn), it lies on an edge, and a hair's breadth would carry them all into the next bin."""

CLOCKS = ("customer_age_days", "active_span_days")
"""Features that grow by a day a day, the second while somebody buys, and tell nothing by it."""

STEADY, WATCH, DRIFTED, TOO_FEW = "steady", "watch", "drifted", "too few"

TYPES = {
    "as_of_date": "DATE",
    "fit_date": "DATE",
    "kind": "VARCHAR",
    "feature": "VARCHAR",
    "psi": "DOUBLE",
    "mean_at_fit": "DOUBLE",
    "mean_now": "DOUBLE",
    "customers_at_fit": "BIGINT",
    "customers_now": "BIGINT",
    "status": "VARCHAR",
}
"""Columns of model_drift and their types in the warehouse."""


def assess(
    at_fit: pd.DataFrame,
    now: pd.DataFrame,
    as_of: datetime.date,
    fit_as_of: datetime.date,
    *,
    scores: frozenset[str] = frozenset(),
) -> pd.DataFrame:
    """One row per column of `at_fit`: how its distribution over the customers has moved between the two dates.

    `at_fit` and `now` have one row per customer and the same numeric columns; those named in `scores` are results of a model, the
    others features.

    - psi: population stability index over up to 10 bins of equal size at the fit (fewer where many customers share a value):
      sum of (share now - share then) * ln(share now / share then), each bin counted half a customer fuller. 0 = the same.
      Missing below 200 customers on either date.
    - mean_at_fit, mean_now: over the customers of each date; missing where there are none.
    - status: 'steady' below 0.10, 'watch' below 0.25, 'drifted', or 'too few'.

    Features that only tell the time (`CLOCKS`) are left out.
    """
    few = min(len(at_fit), len(now)) < FEWEST_CUSTOMERS
    rows = []
    for name in at_fit.columns.drop(list(CLOCKS), errors="ignore"):
        then, today = at_fit[name].to_numpy(dtype="float64"), now[name].to_numpy(dtype="float64")
        moved = None if few else round(psi(then, today), 6)
        rows.append(
            {
                "kind": "score" if name in scores else "feature",
                "feature": name,
                "psi": moved,
                "mean_at_fit": _mean(then),
                "mean_now": _mean(today),
                "customers_at_fit": len(then),
                "customers_now": len(today),
                "status": status(moved),
            }
        )
    table = pd.DataFrame(rows, columns=[name for name in TYPES if name not in ("as_of_date", "fit_date")])
    table.insert(0, "as_of_date", as_of_column(as_of, len(table)))
    table.insert(1, "fit_date", as_of_column(fit_as_of, len(table)))
    return table.astype({"psi": "float64", "mean_at_fit": "float64", "mean_now": "float64"})


def psi(then: np.ndarray, now: np.ndarray, bins: int = BINS) -> float:
    """Population stability index of `now` against `then`, at least one value each."""
    edges = np.unique(np.quantile(then, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    edges = edges + TOLERANCE * float(np.std(np.clip(then, *np.quantile(then, [0.01, 0.99]))))
    shares = []
    for values in (then, now):
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    before, after = shares
    return float(np.sum((after - before) * np.log(after / before)))


def status(moved: float | None) -> str:
    """What a population stability index is called."""
    if moved is None:
        return TOO_FEW
    return STEADY if moved < WATCH_FROM else WATCH if moved < DRIFTED_FROM else DRIFTED


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None
