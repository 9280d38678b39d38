"""How good a forecast was, in one number each: errors, order, probabilities, intervals.

Belongs here: measures of predictions against what came to pass, as functions of two arrays. Not here: where the arrays come
from (`backtest`), and how good is good enough (`gates`).

Every function takes arrays of one length, one element per customer, and gives a float, or None where the measure means
nothing (no rows, one class only, nothing to capture). None depends on the order of the rows: ties are shared out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

CALIBRATION_BINS = 10

CANCELLING_SHARE = 0.10
"""Where gains and losses cancel to less than this share of what moved, the bias is measured against that share: a
percentage of a total near zero says nothing of the forecast."""


def bias(predicted: np.ndarray, actual: np.ndarray) -> float | None:
    """(sum of predicted - sum of actual) / |sum of actual|; +0.15 = 15 % too much. None when nothing happened at all."""
    base = max(abs(float(actual.sum())), CANCELLING_SHARE * float(np.abs(actual).sum()))
    return float(predicted.sum() - actual.sum()) / base if base > 0 else None


def rmse(predicted: np.ndarray, actual: np.ndarray) -> float | None:
    """Root mean squared error, in the unit of the arrays."""
    return float(np.sqrt(np.mean((predicted - actual) ** 2))) if len(actual) else None


def mae(predicted: np.ndarray, actual: np.ndarray) -> float | None:
    """Mean absolute error, in the unit of the arrays."""
    return float(np.mean(np.abs(predicted - actual))) if len(actual) else None


def top_decile_capture(predicted: np.ndarray, actual: np.ndarray) -> float | None:
    """What the tenth of customers ranked highest by the forecast brought, as a share of what the best tenth brought.

    The best tenth is the oracle's: those with the highest actual value. Customers tied at the cut count in part. None when
    even the oracle's tenth brought nothing.
    """
    count = -(-len(actual) // 10)
    best = float(np.sort(actual)[::-1][:count].sum()) if count else 0.0
    if best <= 0:
        return None
    cut = np.sort(predicted)[::-1][count - 1]
    above, tied = predicted > cut, predicted == cut
    shared = (count - int(above.sum())) / int(tied.sum())
    return float(actual[above].sum() + shared * actual[tied].sum()) / best


def auc(probability: np.ndarray, happened: np.ndarray) -> float | None:
    """Area under the ROC curve: how often one to whom it happened was ranked above one to whom it did not; ties count half."""
    positives = int(happened.sum())
    negatives = len(happened) - positives
    if not positives or not negatives:
        return None
    _, rank_of, counts = np.unique(probability, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - (counts - 1) / 2  # ranks from 1; ties share the mean of theirs
    ranks = float(middle[rank_of][happened].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def brier(probability: np.ndarray, happened: np.ndarray) -> float | None:
    """Mean squared error of the probabilities (Brier 1950); 0 = certain and right."""
    return float(np.mean((probability - happened) ** 2)) if len(happened) else None


class CalibrationBin(NamedTuple):
    """Customers of about one probability: how many, the mean of their probabilities, and the share to whom it happened."""

    customers: int
    predicted: float
    observed: float


def calibration(probability: np.ndarray, happened: np.ndarray, bins: int = CALIBRATION_BINS) -> list[CalibrationBin]:
    """`bins` groups of (nearly) equal size by rising probability. Customers of equal probability share their outcomes, so
    that which of them falls on which side of an edge changes nothing."""
    if not len(happened):
        return []
    values, value_of, counts = np.unique(probability, return_inverse=True, return_counts=True)
    share = np.bincount(value_of, weights=happened.astype("float64")) / counts
    observed = np.repeat(share, counts)
    predicted = np.repeat(values, counts)
    edges = np.linspace(0, len(happened), min(bins, len(happened)) + 1).round().astype(int)
    return [
        CalibrationBin(int(stop - start), float(predicted[start:stop].mean()), float(observed[start:stop].mean()))
        for start, stop in pairwise(edges)
    ]


def ece(probability: np.ndarray, happened: np.ndarray, bins: int = CALIBRATION_BINS) -> float | None:
    """Expected calibration error: |mean probability - observed share| averaged over `bins` groups of equal size."""
    groups = calibration(probability, happened, bins)
    if not groups:
        return None
    gaps = sum(group.customers * abs(group.predicted - group.observed) for group in groups)
    return float(gaps / sum(group.customers for group in groups))


def coverage(low: np.ndarray, high: np.ndarray, actual: np.ndarray) -> float | None:
    """The share of actual values within [low, high], ends included."""
    return float(np.mean((actual >= low) & (actual <= high))) if len(actual) else None


def central_share(draws: np.ndarray, actual: np.ndarray, share: float = 0.80) -> float | None:
    """How much of the central `share` of what a model thought possible the actual counts fell into.

    `draws` (customers, draws) are whole numbers from each customer's predictive distribution. Counts lie in lumps: where 9
    of 10 customers buy nothing, an interval that holds 80 % of a customer's chances always holds far more, and even a perfect
    model would seem too careful. So an outcome that straddles an end counts by the part of its probability that lies
    inside: for a right model the mean is exactly `share` (the non-randomised PIT of Czado, Gneiting and Held 2009).
    """
    if not len(actual):
        return None
    below = np.mean(draws < actual[:, None], axis=1)
    upto = np.mean(draws <= actual[:, None], axis=1)
    low, high = (1 - share) / 2, (1 + share) / 2
    inside = np.clip(np.minimum(upto, high) - np.maximum(below, low), 0, None)
    mass = upto - below
    # What no draw reached lies beyond every draw, or in a gap between two: inside when its place is.
    point = (below >= low) & (below <= high)
    return float(np.mean(np.where(mass > 0, inside / np.where(mass > 0, mass, 1.0), point)))


def gains(predicted: np.ndarray, actual: np.ndarray, points: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Share of customers, best forecast first, and the share of all that was brought by them: the curve of cumulative gains.

    Both go from 0 to 1 over `points` + 1 values, the second above 1 on its way where some brought losses; ties are shared out.
    Two empty arrays when nothing was brought in total.
    """
    total = float(actual.sum())
    if not len(actual) or total <= 0:
        return np.zeros(0), np.zeros(0)
    _, value_of, counts = np.unique(-predicted, return_inverse=True, return_counts=True)
    brought = np.bincount(value_of, weights=actual.astype("float64"))
    customers = np.concatenate([[0], np.cumsum(counts)]) / len(actual)
    share = np.concatenate([[0], np.cumsum(brought)]) / total
    places = np.linspace(0, 1, points + 1)
    return places, np.interp(places, customers, share)
