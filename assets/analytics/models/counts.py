"""How many purchases a customer makes in a horizon: three regressions of counts beside the rhythm of the customer.

Belongs here: Poisson regression, boosted counts and boosted residuals over the terms and features of `purchase`, and their mean
with what MBG/NBD expects (the feature `expected_purchases`). Not here: whether somebody buys at all (`purchase`), what
features are (`features`), which model is used (`gates`).

The four err in different ways: the rhythm knows no season and no trend, the regressions carry one horizon's level into the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics.models import purchase

Floats = NDArray[np.float64]

AVERAGE = "average_of_counts"

FEWEST_ROWS = 200
FEWEST_WITH_PURCHASES = 20
"""Below these nothing is learned."""

PENALTY = 0.02
ROUNDS, LEARNING_RATE, MOST_LEAVES, SMALLEST_LEAF, RIDGE = 120, 0.06, 8, 60, 5.0

RESIDUAL_ROUNDS, RESIDUAL_RATE, RESIDUAL_LEAVES, RESIDUAL_LEAF, RESIDUAL_RIDGE = 60, 0.05, 6, 150, 10.0
"""Of what the rhythm missed there is less to learn, and a few heavy buyers weigh most in squares."""

SMALLEST_EXPECTATION = 1e-3
"""Added to an expectation before its logarithm is taken."""


@dataclass(frozen=True)
class CountModels:
    """What was learned. No straight line is drawn beyond `lowest` and `highest`, the values of the terms seen in training, and
    nobody is expected to buy more often than `most`, the largest count seen."""

    lowest: Floats
    highest: Floats
    centre: Floats
    scale: Floats
    regression: Any
    columns: tuple[str, ...]
    boosting: Any
    residuals: Any
    most: float


def fit(features: pd.DataFrame, purchases: NDArray[Any]) -> CountModels | None:
    """The regressions trained on rows of `features.build` and the days with a purchase each of them had in the horizon, in
    any order and of any number of dates. None with too few rows, or too few who bought."""
    count = np.asarray(purchases, dtype="float64")
    if len(count) < FEWEST_ROWS or int((count > 0).sum()) < FEWEST_WITH_PURCHASES:
        return None
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import PoissonRegressor
    from threadpoolctl import threadpool_limits

    # One order whatever order the rows came in: sums of floats depend on it in their last bits.
    order = np.lexsort([count, *(features[name].to_numpy() for name in reversed(features.columns))])
    features, count = features.iloc[order], count[order]
    raw = _terms(features)
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf)  # a term that never varied gets no weight whatever it becomes
    columns = tuple(name for name in features.columns if name not in purchase.IDENTIFYING + purchase.REPEATED)
    with threadpool_limits(limits=1):
        regression = PoissonRegressor(alpha=PENALTY, max_iter=500).fit((raw - centre) / scale, count)
        boosting = HistGradientBoostingRegressor(
            loss="poisson",
            max_iter=ROUNDS,
            learning_rate=LEARNING_RATE,
            max_leaf_nodes=MOST_LEAVES,
            min_samples_leaf=SMALLEST_LEAF,
            l2_regularization=RIDGE,
            early_stopping=False,
            random_state=purchase.SEED,
        ).fit(_boosted(features, columns), count)
        residuals = HistGradientBoostingRegressor(
            max_iter=RESIDUAL_ROUNDS,
            learning_rate=RESIDUAL_RATE,
            max_leaf_nodes=RESIDUAL_LEAVES,
            min_samples_leaf=RESIDUAL_LEAF,
            l2_regularization=RESIDUAL_RIDGE,
            early_stopping=False,
            random_state=purchase.SEED,
        ).fit(_boosted(features, columns), count - _rhythm(features))
    return CountModels(
        *(raw.min(axis=0), raw.max(axis=0), centre, scale),
        *(regression, columns, boosting, residuals, float(count.max())),
    )


def expected_purchases(models: CountModels, features: pd.DataFrame) -> Floats:
    """Days with a purchase expected in the horizon, per row of `features`: the mean of the three regressions and the rhythm."""
    if features.empty:
        return np.zeros(0)
    from threadpoolctl import threadpool_limits

    terms = np.clip(_terms(features), models.lowest, models.highest)
    boosted, rhythm = _boosted(features, models.columns), _rhythm(features)
    with threadpool_limits(limits=1):
        said = (
            models.regression.predict((terms - models.centre) / models.scale),
            models.boosting.predict(boosted),
            rhythm + models.residuals.predict(boosted),
        )
    mean: Floats = (sum(np.clip(count, 0.0, models.most) for count in said) + rhythm) / 4
    return mean


def _terms(features: pd.DataFrame) -> Floats:
    return np.column_stack([term.values for term in purchase.terms(features)] + [_log_expected(features)])


def _boosted(features: pd.DataFrame, columns: tuple[str, ...]) -> Floats:
    return np.column_stack([features[list(columns)].to_numpy(dtype="float64"), _log_expected(features)])


def _rhythm(features: pd.DataFrame) -> Floats:
    return np.maximum(features["expected_purchases"].to_numpy(dtype="float64"), 0.0)


def _log_expected(features: pd.DataFrame) -> Floats:
    return np.log(_rhythm(features) + SMALLEST_EXPECTATION)
