"""Churn risk: the probability that a customer buys nothing in the next H days, and what that would cost.

Belongs here: models that turn a purchase history into that probability. Not here: P(alive). A one-time buyer is
"alive" with certainty under the customary models and yet rarely comes back; nobody should be ranked by it.

`recency_baseline` is the model every other one has to beat.
"""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd

from assets.analytics.history import MONEY_SCALE, as_of_column, days_since_last_purchase, known_orders, money

BASELINE = "recency_baseline"
FALLBACK = "silence_ratio"

FEWEST_CUSTOMERS = 30
"""Below this many customers at the origin a curve is noise, and the silence ratio is used."""

MOST_BINS = 20
SMALLEST_BIN = 25
"""Bins of days hold at least this many customers, so that one customer moves a bin by at most 4 points."""

SHRINKAGE_CUSTOMERS = 10.0
"""A bin's rate is its own customers plus this many customers at the overall rate."""

DAYS_PER_YEAR = 365

COLUMNS = (
    "customer_id",
    "as_of_date",
    "horizon_days",
    "days_since_last_purchase",
    "churn_probability",
    "expected_profit",
    "expected_profit_lost",
    "churn_rank",
    "model",
)


def recency_baseline(
    purchases: pd.DataFrame,
    as_of: datetime.date,
    *,
    horizon_days: int,
    profit_12m: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row per customer who has ever purchased, as of one date; orders after `as_of` are not seen.

    `purchases` has one row per order: customer_id, order_date, net_revenue (base currency, credit notes netted).
    `profit_12m` has one row per customer: customer_id, profit_12m (operating profit of the last 12 months, base
    currency, loss -); customers it does not name, or all without it, expect 0.

    - days_since_last_purchase: whole days.
    - churn_probability: P(no purchase in the next `horizon_days`), 0 to 1, never falling as silence grows. The share
      who bought nothing is counted `horizon_days` ago, when the answer is already known: customers binned by their
      days since last purchase then, each bin shrunk towards the overall rate, made monotone by pooling adjacent
      violators (Ayer et al. 1955), and read off by linear interpolation between bin means. A silence longer than
      the curve has seen buys in inverse proportion to its length.
    - expected_profit: profit_12m * horizon_days / 365, what the customer brings if it goes on as it did.
    - expected_profit_lost: max(0, expected_profit) * churn_probability: nothing is lost with a loss-maker.
    - churn_rank: 1 = most profit to lose; then higher probability, then customer_id.
    - model: 'recency_baseline', or 'silence_ratio' when fewer than 30 customers had purchased `horizon_days` ago:
      a silence of d days lasts another H with probability (d + 1) / (d + 1 + H), the rule for a wait of which only
      its length so far is known (Gott 1993).
    """
    if horizon_days < 1:
        raise ValueError(f"horizon_days is {horizon_days}; give a whole number of days, 1 or more.")
    known = known_orders(purchases, as_of)
    days = days_since_last_purchase(known, as_of)
    curve = _learn_curve(known, as_of, horizon_days)
    if curve is None:
        model = FALLBACK
        probability = (days.to_numpy() + 1) / (days.to_numpy() + 1 + horizon_days)
    else:
        model = BASELINE
        probability = _read_off(days.to_numpy(dtype="float64"), *curve)
    # Six decimals: far below what the data can say, and the same on every machine.
    probability = np.clip(np.round(probability, 6), 0.0, 1.0)

    expected = np.round(_profit(profit_12m, days.index) * horizon_days / DAYS_PER_YEAR, 4)
    scored = pd.DataFrame(
        {
            "customer_id": pd.Series(days.index, dtype="str"),
            "as_of_date": as_of_column(as_of, len(days)),
            "horizon_days": np.full(len(days), horizon_days, dtype="int64"),
            "days_since_last_purchase": days.to_numpy(dtype="int64"),
            "churn_probability": probability,
            "expected_profit": expected,
            "expected_profit_lost": np.round(np.maximum(expected, 0.0) * probability, 4),
            "model": pd.Series([model] * len(days), dtype="str"),
        }
    )
    ranked = scored.sort_values(
        ["expected_profit_lost", "churn_probability", "customer_id"], ascending=[False, False, True]
    )
    scored["churn_rank"] = pd.Series(np.arange(1, len(ranked) + 1), index=ranked.index, dtype="int64")
    return scored[list(COLUMNS)]


def _learn_curve(known: pd.DataFrame, as_of: datetime.date, horizon_days: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Days since last purchase (rising) and P(no purchase in the next `horizon_days`) at them, or None when too few
    customers had purchased `horizon_days` before `as_of`."""
    origin = as_of - datetime.timedelta(days=horizon_days)
    days = days_since_last_purchase(known, origin)
    if len(days) < FEWEST_CUSTOMERS:
        return None
    bought_later = known[known["is_purchase"] & (known["order_date"] > pd.Timestamp(origin))]["customer_id"]
    churned = ~days.index.isin(bought_later.unique())

    bin_count = max(1, min(MOST_BINS, len(days) // SMALLEST_BIN))
    edges = np.unique(np.quantile(days.to_numpy(), np.linspace(0, 1, bin_count + 1)[1:-1], method="lower"))
    bins = np.searchsorted(edges, days.to_numpy(), side="left")
    binned = pd.DataFrame({"bin": bins, "days": days.to_numpy(), "churned": churned}).groupby("bin")
    customers = binned.size().to_numpy(dtype="float64")
    overall = (churned.sum() + 1) / (len(days) + 2)
    rates = (binned["churned"].sum().to_numpy() + SHRINKAGE_CUSTOMERS * overall) / (customers + SHRINKAGE_CUSTOMERS)
    return binned["days"].mean().to_numpy(), isotonic(rates, customers)


def _read_off(days: np.ndarray, curve_days: np.ndarray, curve_rates: np.ndarray) -> np.ndarray:
    """The curve at `days`. A young company has silences today that were impossible `horizon_days` ago: beyond its
    last point the curve goes on towards 1 instead of staying flat, so that longer silence still means higher risk."""
    longest = curve_days[-1]
    beyond = (longest + 1) / (np.maximum(days, longest) + 1)
    return 1 - (1 - np.interp(days, curve_days, curve_rates)) * beyond


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The never-falling sequence nearest to `values` in weighted least squares, by pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, members
    for mean, weight in zip(values, weights, strict=True):
        block = (float(mean), float(weight), 1)
        while blocks and blocks[-1][0] > block[0]:
            left = blocks.pop()
            total = left[1] + block[1]
            block = ((left[0] * left[1] + block[0] * block[1]) / total, total, left[2] + block[2])
        blocks.append(block)
    return np.array([mean for mean, _, members in blocks for _ in range(members)])


def _profit(profit_12m: pd.DataFrame | None, customers: pd.Index) -> np.ndarray:
    if profit_12m is None or profit_12m.empty:
        return np.zeros(len(customers))
    amounts = money(profit_12m["profit_12m"]).groupby(profit_12m["customer_id"]).sum()
    profit: np.ndarray = amounts.reindex(customers, fill_value=0).to_numpy(dtype="float64") / MONEY_SCALE
    return profit
