"""Recency, frequency and monetary value: which of eight customary segments a customer belongs to.

Belongs here: the three scores and their map to tiers. Not here: what a customer earns (`clv`) or will do (`churn`).
The map itself is data: `rfm_tiers.csv` beside this module names the tier of each of the 125 cells.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from assets.analytics.history import (
    MONEY_SCALE,
    as_of_column,
    days_since_last_purchase,
    first_day_of_last_12_months,
    known_orders,
)

TIERS_FILE = Path(__file__).with_name("rfm_tiers.csv")

FREQUENCY_CUTS = (2, 3, 4, 9)
"""Orders in 12 months from which frequency scores 2, 3, 4 and 5. Fixed and not quintiles: most customers of most
companies order once, and quintiles of a column of ones are noise."""

COLUMNS = (
    "customer_id",
    "as_of_date",
    "days_since_last_purchase",
    "orders_12m",
    "net_revenue_12m",
    "recency_score",
    "frequency_score",
    "monetary_score",
    "rfm_cell",
    "rfm_tier",
    "rfm_tier_zh",
)


@dataclass(frozen=True)
class Tier:
    """The segment of one RFM cell, in English and in Chinese."""

    name: str
    name_zh: str


def read_tiers(path: Path = TIERS_FILE) -> dict[str, Tier]:
    """The tier of each cell '111' to '555' (recency, frequency, monetary score).

    Raises ValueError naming the cells that are missing, unknown or given twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    cells = [row["rfm_cell"] for row in rows]
    expected = {"".join(scores) for scores in product("12345", repeat=3)}
    problems = [f"no tier for cell {cell}" for cell in sorted(expected - set(cells))]
    problems += [f"{cell!r} is not a cell" for cell in sorted(set(cells) - expected)]
    problems += [f"cell {cell} is given more than once" for cell in sorted(set(cells)) if cells.count(cell) > 1]
    problems += [f"cell {row['rfm_cell']} has no name" for row in rows if not (row["rfm_tier"] and row["rfm_tier_zh"])]
    if problems:
        raise ValueError(
            f"{path}: {'; '.join(problems[:5])}. Each cell from 111 to 555 needs exactly one row "
            "with rfm_cell, rfm_tier and rfm_tier_zh."
        )
    return {row["rfm_cell"]: Tier(row["rfm_tier"], row["rfm_tier_zh"]) for row in rows}


def score(purchases: pd.DataFrame, as_of: datetime.date, *, tiers: Mapping[str, Tier]) -> pd.DataFrame:
    """One row per customer who has ever purchased, as of one date; orders after `as_of` are not seen.

    `purchases` has one row per order: customer_id, order_date, net_revenue (base currency, credit notes netted).
    An order netted to zero or below is no purchase; its money still lowers net_revenue_12m.

    - days_since_last_purchase: whole days, 0 = purchased on the as-of date.
    - orders_12m, net_revenue_12m (base currency, four decimals): the as-of month and the eleven before it.
    - recency_score, monetary_score: 1 to 5, quintiles over all rows (5 = most recent, most money). Customers with
      equal values always get equal scores, whatever the order of the rows: a group of equals takes the quintile its
      middle falls in.
    - frequency_score: 1 to 5 by fixed cuts, 0-1 / 2 / 3 / 4-8 / 9 and more orders in 12 months.
    - rfm_cell: the three digits, e.g. '543'; rfm_tier, rfm_tier_zh: its segment in `tiers`.
    """
    known = known_orders(purchases, as_of)
    days = days_since_last_purchase(known, as_of)
    recent = known[known["order_date"] >= first_day_of_last_12_months(as_of)]
    orders = recent[recent["is_purchase"]].groupby("customer_id").size().reindex(days.index, fill_value=0)
    amounts = recent.groupby("customer_id")["amount"].sum().reindex(days.index, fill_value=0)

    recency_score = _quintile(-days)
    frequency_score = 1 + np.searchsorted(FREQUENCY_CUTS, orders.to_numpy(), side="right")
    monetary_score = _quintile(amounts)
    cells = [f"{r}{f}{m}" for r, f, m in zip(recency_score, frequency_score, monetary_score, strict=True)]
    return pd.DataFrame(
        {
            "customer_id": pd.Series(days.index, dtype="str"),
            "as_of_date": as_of_column(as_of, len(days)),
            "days_since_last_purchase": days.to_numpy(dtype="int64"),
            "orders_12m": orders.to_numpy(dtype="int64"),
            "net_revenue_12m": amounts.to_numpy(dtype="int64") / MONEY_SCALE,
            "recency_score": recency_score,
            "frequency_score": frequency_score.astype("int64"),
            "monetary_score": monetary_score,
            "rfm_cell": pd.Series(cells, dtype="str"),
            "rfm_tier": pd.Series([tiers[cell].name for cell in cells], dtype="str"),
            "rfm_tier_zh": pd.Series([tiers[cell].name_zh for cell in cells], dtype="str"),
        },
        columns=list(COLUMNS),
    )


def _quintile(values: pd.Series) -> np.ndarray:
    """1 to 5, larger = higher, equal values together: the fifth in which the middle of their ranks lies.

    In whole numbers, so that no rounding can move a customer across a cut. A single customer, or a company of
    identical ones, scores 3.
    """
    doubled_ranks = (values.rank(method="average") * 2).to_numpy().astype("int64")
    return 1 + (5 * (doubled_ranks - 1)) // (2 * max(len(values), 1))
