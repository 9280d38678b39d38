"""Does this customer buy in the next days: a logistic regression, gradient boosting, and their average.

Belongs here: training both on features and labels of past dates, their probabilities, and the exact share of every group of
features in the log odds of the logistic regression. Not here: what the features are (`assets.analytics.features`), which dates
to train on and which model scores (`assets.analytics.churn`).

scikit-learn is imported where it is used: it takes longer to load than most commands of this project take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOGIT = "logit"
BOOSTING = "boosting"
AVERAGE = "average"

FEWEST_ROWS = 200
FEWEST_OF_A_CLASS = 20
"""Below these nothing is fitted: some thirty coefficients cannot be told from that little."""

FEWEST_TO_RECALIBRATE = 10
"""Of each class: two numbers held weakly at no change need less than thirty coefficients."""

INVERSE_PENALTY = 0.01
"""scikit-learn's C of the ridge penalty on standardised terms: of 0.003 to 0.1 the best on companies of 1,500 to 24,000
customers, and the strength at which correlated terms share their weight, so that reasons keep their sign."""

KNOTS = (7, 14, 30, 60, 90, 180, 365)
"""Days since the last purchase at which the odds may bend: who buys every four weeks is unlikely to after two."""

WINDOWS = (30, 60, 90, 180, 365)
SHORT_WINDOW = 90

IDENTIFYING = ("customer_age_days", "rested_log_odds", "mean_gap_days", "probability_alive")
REPEATED = ("own_survey_score", "own_days_late")
"""Not seen by boosting. Of one-time buyers the first have one value per date, or nearly: trees learn from them which date a
row is from, and a new date then falls on either side of a cut by accident. The others stand beside a shrunk value of
the same; they are for sentences."""

ROUNDS = 120
LEARNING_RATE = 0.06
MOST_LEAVES = 8
SMALLEST_LEAF = 60
RIDGE = 5.0

RHYTHM_WEIGHT = 0.5
"""The mean probability is put halfway between what was learned and what the purchase rhythms of today add up to (see
`PurchaseModels.follows_rhythm`): labels of one horizon carry its season to the next."""

MOST_MISS = 0.25
"""The rhythms are followed only where, on the training dates, they had added up to within this much of what came."""

MOST_SHIFT = 0.5
"""Log odds the level is moved by at most."""

NOBODY_LEAVES = 0.999
"""Above this least P(alive) the rhythm model says that nobody ever leaves, and its total is none."""

SEED = 20_260_630

BLOCK_ROWS = 100_000


@dataclass(frozen=True)
class Term:
    """One term of the logistic regression: its name, the group of reasons it counts in, and its values. `direction` is +1 where
    more of it can only make a purchase likelier, -1 where it can only make it less likely, 0 where the data decides."""

    name: str
    group: str
    values: Floats
    direction: int = 0


def terms(features: pd.DataFrame) -> list[Term]:
    """The terms of the logistic regression: counts, days and money as logarithms, in which odds are close to linear."""

    def column(name: str) -> Floats:
        return features[name].to_numpy(dtype="float64")

    def log(name: str) -> Floats:
        return np.log1p(np.maximum(column(name), 0.0))

    since = log("days_since_last_purchase")
    found = [
        Term("silence_log_odds", "overdue", column("silence_log_odds")),
        Term("log_overdue_ratio", "overdue", log("overdue_ratio")),
        Term("gap_variation", "overdue", column("gap_variation")),
        Term("log_last_gap_ratio", "overdue", log("last_gap_ratio")),
        Term("log_days_since", "overdue", since),
        *(Term(f"log_days_since_above_{knot}", "overdue", np.maximum(since - np.log1p(knot), 0.0)) for knot in KNOTS),
        Term("is_one_time_buyer", "few_purchases", (column("purchases") == 1).astype("float64")),
        Term("log_purchases", "few_purchases", log("purchases")),
        Term("log_age", "few_purchases", log("customer_age_days")),
        Term("rested_log_odds", "few_purchases", column("rested_log_odds")),
    ]
    # Counts of a window and of the one before it, as their sum and their change: how much somebody buys, and what became of
    # it. A sum over half a year or less says more about the last months than about the customer.
    for window in WINDOWS:
        now, before = log(f"purchases_{window}"), log(f"purchases_{window}_before")
        group = "falling_purchases" if window <= SHORT_WINDOW else "few_purchases"
        found.append(Term(f"log_purchases_{window}_twice", group, now + before))
        found.append(Term(f"log_purchases_{window}_change", "falling_purchases", now - before))
    found += [
        Term("log_revenue_per_purchase", "spending", log("revenue_per_purchase")),
        Term("log_last_revenue_ratio", "spending", log("last_revenue_ratio")),
        Term("margin_12m", "margin_drop", column("margin_12m")),
        Term("margin_change", "margin_drop", column("margin_change"), +1),
        Term("log_complaints", "complaints", log("complaints_365"), -1),
        Term("complaint_rate", "complaints", column("complaint_rate"), -1),
        Term("log_cases", "service", log("cases_365"), -1),
        Term("log_escalations", "service", log("escalations_365"), -1),
        Term("survey_score", "service", column("survey_score"), +1),
        Term("log_days_late", "payment", log("days_late"), -1),
        Term("days_late_change", "payment", column("days_late_change"), -1),
        Term("log_same_season", "seasonality", log("same_season_last_year"), +1),
    ]
    return found


GROUPS = (
    "overdue",
    "few_purchases",
    "falling_purchases",
    "spending",
    "margin_drop",
    "complaints",
    "service",
    "payment",
    "seasonality",
)
"""The groups of reasons, in the order in which equal contributions are named."""


@dataclass(frozen=True)
class PurchaseModels:
    """What was learned. `lowest` and `highest` are the values of the terms seen in training: no straight line is drawn
    beyond them. `centre` and `scale` standardise; the average customer of the training dates has log odds `intercept`.
    `follows_rhythm`: whether the purchase rhythms had added up to what came, so that today's are asked for the level."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    lowest: Floats
    highest: Floats
    centre: Floats
    scale: Floats
    coefficients: Floats
    intercept: float
    columns: tuple[str, ...]
    boosting: Any
    follows_rhythm: bool
    rows: int
    share_bought: float


def fit(features: pd.DataFrame, bought: NDArray[np.bool_] | pd.Series) -> PurchaseModels | None:
    """Logistic regression and boosting trained on rows of `features.build` and whether each of them bought, in any order
    and of any number of dates. None with too few rows, or where too few bought or too few did not."""
    label = np.asarray(bought, dtype=bool)
    if len(label) < FEWEST_ROWS or min(int(label.sum()), int((~label).sum())) < FEWEST_OF_A_CLASS:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    order = _fixed_order(features, label)
    features, label = features.iloc[order], label[order]
    found = terms(features)
    raw = np.column_stack([term.values for term in found])
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    # A term that never varied, such as complaints of a company that records none, gets no weight whatever it becomes.
    scale = np.where(spread > 1e-9, spread, 1.0)
    standardised = (raw - centre) / scale
    direction = np.array([term.direction for term in found])
    is_used = spread > 1e-9
    with threadpool_limits(limits=1):
        # Who complains and buys all the same teaches no model that complaints keep customers: a term whose weight comes out
        # against its direction is left out, and the others are fitted again. Every round leaves out at least one.
        while True:
            logit = LogisticRegression(C=INVERSE_PENALTY, solver="newton-cholesky", tol=1e-8, max_iter=200)
            logit.fit(np.where(is_used, standardised, 0.0), label)
            coefficients = np.where(is_used, logit.coef_[0], 0.0)
            is_against = coefficients * direction < 0
            if not is_against.any():
                break
            is_used = is_used & ~is_against
        boosting = HistGradientBoostingClassifier(
            max_iter=ROUNDS,
            learning_rate=LEARNING_RATE,
            max_leaf_nodes=MOST_LEAVES,
            min_samples_leaf=SMALLEST_LEAF,
            l2_regularization=RIDGE,
            early_stopping=False,
            random_state=SEED,
        )
        columns = tuple(name for name in features.columns if name not in IDENTIFYING + REPEATED)
        boosting.fit(features[list(columns)].to_numpy(dtype="float64"), label)
    share = float(label.mean())
    return PurchaseModels(
        names=tuple(term.name for term in found),
        groups=tuple(term.group for term in found),
        lowest=raw.min(axis=0),
        highest=raw.max(axis=0),
        centre=centre,
        scale=scale,
        coefficients=coefficients,
        intercept=float(logit.intercept_[0]),
        columns=columns,
        boosting=boosting,
        follows_rhythm=_has_rhythm(features) and abs(float(_rhythm(features).mean()) / share - 1) <= MOST_MISS,
        rows=len(label),
        share_bought=share,
    )


def probabilities(models: PurchaseModels, features: pd.DataFrame) -> dict[str, Floats]:
    """P(at least one purchase in the horizon) of each row by 'logit', 'boosting' and 'average'. `features` are those of all
    customers of one date: their rhythms together decide the level."""
    if features.empty:
        return {name: np.zeros(0) for name in (LOGIT, BOOSTING, AVERAGE)}
    from threadpoolctl import threadpool_limits

    log_odds = models.intercept + _of_groups(models, features).sum(axis=1)
    with threadpool_limits(limits=1):
        boosted = _log_odds(
            np.concatenate(
                [
                    models.boosting.predict_proba(rows[list(models.columns)].to_numpy(dtype="float64"))[:, 1]
                    for rows in _blocks(features)
                ]
            )
        )
    logit = _logistic(log_odds + _shift(models, features, log_odds))
    boosting = _logistic(boosted + _shift(models, features, boosted))
    return {LOGIT: logit, BOOSTING: boosting, AVERAGE: (logit + boosting) / 2}


def contributions(models: PurchaseModels, features: pd.DataFrame) -> tuple[float, pd.DataFrame]:
    """The log odds of **no** purchase, taken apart: those of the average customer of the training dates (at today's level),
    and per row what each group of `GROUPS` adds to them (raises the risk +). Their sum is -ln(p / (1 - p)) of the
    logistic regression. `features` as `probabilities` takes them."""
    groups = _of_groups(models, features)
    level = models.intercept + _shift(models, features, models.intercept + groups.sum(axis=1))
    return -level, pd.DataFrame(0.0 - groups, index=features.index, columns=list(GROUPS))


def recalibrate(log_odds: Floats, bought: NDArray[np.bool_]) -> tuple[float, float] | None:
    """(intercept, slope) of the log odds of a purchase over a model's own, by maximum likelihood with a weak pull towards
    (0, 1), by Newton steps (Platt 1999). None with too few rows, or where too few bought or too few did not."""
    label = np.asarray(bought, dtype=bool)
    if min(int(label.sum()), int((~label).sum())) < FEWEST_TO_RECALIBRATE:
        return None
    rows = np.column_stack([np.ones(len(label)), log_odds])
    prior = np.array([0.0, 1.0])
    estimate = prior.copy()
    for _ in range(50):
        p = _logistic(rows @ estimate)
        slope = rows.T @ (label - p) - (estimate - prior)
        step = np.linalg.solve((rows * (p * (1 - p))[:, None]).T @ rows + np.eye(2), slope)
        estimate = estimate + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    # A slope below 0 would turn the order round: then the model has told nothing.
    return float(estimate[0]), max(float(estimate[1]), 0.0)


def _of_groups(models: PurchaseModels, features: pd.DataFrame) -> Floats:
    """What each group of `GROUPS` adds to the log odds of a purchase: (rows, groups)."""
    place = [GROUPS.index(group) for group in models.groups]
    weight = models.coefficients / models.scale
    blocks = [np.zeros((0, len(GROUPS)))]
    for rows in _blocks(features):
        raw = np.column_stack([term.values for term in terms(rows)])
        # Not a matrix product: its sums depend on the machine's library, and on how many rows are scored together.
        centred = np.clip(raw, models.lowest, models.highest) - models.centre
        block = np.zeros((len(rows), len(GROUPS)))
        for term, group in enumerate(place):
            block[:, group] += centred[:, term] * weight[term]
        blocks.append(block)
    return np.concatenate(blocks)


def _blocks(features: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows in blocks: a million customers times all terms at once would take a gigabyte."""
    for start in range(0, len(features), BLOCK_ROWS):
        yield features.iloc[start : start + BLOCK_ROWS]


def _shift(models: PurchaseModels, features: pd.DataFrame, log_odds: Floats) -> float:
    """What to add to all log odds, so that their mean probability is where `RHYTHM_WEIGHT` puts it; by Newton steps."""
    if not models.follows_rhythm or not _has_rhythm(features):
        return 0.0
    mean = float(_logistic(log_odds).mean())
    target = mean + RHYTHM_WEIGHT * (float(_rhythm(features).mean()) - mean)
    shift = 0.0
    for _ in range(20):
        p = _logistic(log_odds + shift)
        step = (target - float(p.mean())) / max(float((p * (1 - p)).mean()), 1e-9)
        shift = float(np.clip(shift + step, -MOST_SHIFT, MOST_SHIFT))
        if abs(step) < 1e-10:
            break
    return shift


def _rhythm(features: pd.DataFrame) -> Floats:
    return _logistic((features["rested_log_odds"] + features["silence_log_odds"]).to_numpy(dtype="float64"))


def _has_rhythm(features: pd.DataFrame) -> bool:
    return len(features) > 0 and float(features["probability_alive"].min()) <= NOBODY_LEAVES


def _logistic(log_odds: Floats) -> Floats:
    p: Floats = 1 / (1 + np.exp(-np.clip(log_odds, -30.0, 30.0)))
    return p


def _log_odds(probability: Floats) -> Floats:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: Floats = np.log(p / (1 - p))
    return odds


def _fixed_order(features: pd.DataFrame, label: NDArray[np.bool_]) -> NDArray[np.intp]:
    """One order of the training rows whatever order they came in: sums of floats depend on it in their last bits."""
    keys: Iterable[Floats] = [
        label.astype("float64"),
        *(features[name].to_numpy() for name in reversed(features.columns)),
    ]
    return np.lexsort(list(keys))
