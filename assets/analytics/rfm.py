"""Recency, frequency and monetary value: which of eight customary segments a customer belongs to.

Belongs here: the three scores and their map to tiers. Not here: what a customer earns (`clv`) or will do (`churn`).
The map itself is data: `rfm_tiers.csv` beside this module names the tier of each of the 125 cells, `rfm.yml` the cuts of
frequency and the three tiers of customers.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from assets.analytics.history import (
    MONEY_SCALE,
    as_of_column,
    days_since_last_purchase,
    first_day_of_last_12_months,
    known_orders,
)
from assets.yaml_files import read_yaml, validated

TIERS_FILE = Path(__file__).with_name("rfm_tiers.csv")

RULES_FILE = "rfm.yml"
"""Of a company's folder; the one beside this module where a company has none."""

TIERS = (
    *("Champions", "Loyal", "Potential Loyalists", "Promising"),
    *("Cannot Lose", "Needs Attention", "At Risk", "Lost"),
)
"""The eight customary segments, as rfm_tiers.csv names them."""

CUSTOMER_TIERS = {"VIP": "VIP客户", "regular": "普通客户", "potential": "潜力客户"}
"""The three tiers of customers, with what they are called in Chinese."""

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "days_since_last_purchase": "BIGINT",
    "orders_12m": "BIGINT",
    "net_revenue_12m": "DECIMAL(22,4)",
    "recency_score": "INTEGER",
    "frequency_score": "INTEGER",
    "monetary_score": "INTEGER",
    "rfm_cell": "VARCHAR",
    "rfm_tier": "VARCHAR",
    "rfm_tier_zh": "VARCHAR",
    "customer_tier": "VARCHAR",
    "customer_tier_zh": "VARCHAR",
    "rules_version": "VARCHAR",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)


class Rules(BaseModel):
    """What of RFM is a convention: see rfm.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(min_length=1)
    frequency_cuts: tuple[int, int, int, int]
    customer_tiers: dict[str, tuple[str, ...]]

    @field_validator("frequency_cuts")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value[0] < 1 or any(later <= earlier for earlier, later in pairwise(value)):
            raise ValueError("give four rising numbers of orders, such as [2, 3, 4, 9]")
        return value

    @field_validator("customer_tiers")
    @classmethod
    def _each_once(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if set(value) != set(CUSTOMER_TIERS):
            raise ValueError(f"name exactly {', '.join(CUSTOMER_TIERS)}")
        named = [tier for tiers in value.values() for tier in tiers]
        for tier in sorted({*named, *TIERS}):
            if tier not in TIERS:
                raise ValueError(f"'{tier}' is not a segment; there are {', '.join(TIERS)}")
            if named.count(tier) != 1:
                raise ValueError(f"'{tier}' must be in exactly one tier and is in {named.count(tier)}")
        return value

    def customer_tier(self, tier: str) -> str:
        """The tier of customers a segment belongs to."""
        return next(name for name, tiers in self.customer_tiers.items() if tier in tiers)


def read_rules(company_folder: Path | None = None) -> Rules:
    """The cuts of a company, or the customary ones where it has no rfm.yml. Raises ConfigurationError naming the key."""
    own = company_folder / RULES_FILE if company_folder else None
    path = own if own and own.exists() else Path(__file__).with_name(RULES_FILE)
    return validated(Rules, read_yaml(path), path)


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
    problems += [f"{tier!r} is not a segment" for tier in sorted({row["rfm_tier"] for row in rows} - {"", *TIERS})]
    if problems:
        raise ValueError(
            f"{path}: {'; '.join(problems[:5])}. Each cell from 111 to 555 needs exactly one row "
            "with rfm_cell, rfm_tier and rfm_tier_zh."
        )
    return {row["rfm_cell"]: Tier(row["rfm_tier"], row["rfm_tier_zh"]) for row in rows}


def score(
    purchases: pd.DataFrame, as_of: datetime.date, *, tiers: Mapping[str, Tier], rules: Rules | None = None
) -> pd.DataFrame:
    """One row per customer who has ever purchased, as of one date; orders after `as_of` are not seen.

    `purchases` has one row per order: customer_id, order_date, net_revenue (base currency, credit notes netted).
    An order netted to zero or below is no purchase; its money still lowers net_revenue_12m.

    - days_since_last_purchase: whole days, 0 = purchased on the as-of date.
    - orders_12m, net_revenue_12m (base currency, four decimals): the as-of month and the eleven before it.
    - recency_score, monetary_score: 1 to 5, quintiles over all rows (5 = most recent, most money). Customers with
      equal values always get equal scores, whatever the order of the rows: a group of equals takes the quintile its
      middle falls in.
    - frequency_score: 1 to 5 by the fixed cuts of `rules`, customarily 0-1 / 2 / 3 / 4-8 / 9 and more orders in 12 months.
    - rfm_cell: the three digits, e.g. '543'; rfm_tier, rfm_tier_zh: its segment in `tiers`.
    - customer_tier, customer_tier_zh: VIP, regular or potential, by the segment; rules_version: that of `rules`, which are
      the customary ones of rfm.yml unless given.
    """
    rules = rules or read_rules()
    known = known_orders(purchases, as_of)
    days = days_since_last_purchase(known, as_of)
    recent = known[known["order_date"] >= first_day_of_last_12_months(as_of)]
    orders = recent[recent["is_purchase"]].groupby("customer_id").size().reindex(days.index, fill_value=0)
    amounts = recent.groupby("customer_id")["amount"].sum().reindex(days.index, fill_value=0)

    recency_score = _quintile(-days)
    frequency_score = 1 + np.searchsorted(rules.frequency_cuts, orders.to_numpy(), side="right")
    monetary_score = _quintile(amounts)
    cells = [f"{r}{f}{m}" for r, f, m in zip(recency_score, frequency_score, monetary_score, strict=True)]
    customer_tiers = {tier.name: rules.customer_tier(tier.name) for tier in tiers.values()}
    of_customers = [customer_tiers[tiers[cell].name] for cell in cells]
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
            "customer_tier": pd.Series(of_customers, dtype="str"),
            "customer_tier_zh": pd.Series([CUSTOMER_TIERS[tier] for tier in of_customers], dtype="str"),
            "rules_version": pd.Series([rules.version] * len(days), dtype="str"),
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
