"""What became of earlier advice: profit before and since, and whether the customer still buys.

Belongs here: which advice is looked back on, and how its outcome is called. Not here: the register of advice
(`assets/advice.py`), and the advice of today (`actions`). **A comparison and no proof**: customers are advised because
something is unusual about them, and the unusual passes by itself. To learn what advice does, some customers would have to be
left alone on purpose.

Money columns are floats rounded to four decimals; the warehouse stores them as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics.history import MONEY_SCALE, as_of_column, known_orders, money

AGES_DAYS = (28, 90, 180, 365)
"""Advice is looked back on when it is at least so old: of each age the latest."""

MONTHS = 12

NOISE_SHARE = 0.05
"""Profit that changed by less than this share of what it was before has not changed. A convention."""

OUTCOMES = ("achieved", "improving", "no_change", "worsened", "customer_lost", "too_early")

COMES_BACK = ("win_back", "nurture")
"""Actions that want a purchase: one is what they are measured by."""

TYPES = {
    "advised_on": "DATE",
    "as_of_date": "DATE",
    "age_days": "BIGINT",
    "customer_id": "VARCHAR",
    "action": "VARCHAR",
    "rule_id": "VARCHAR",
    "expected_effect": "DECIMAL(22,4)",
    "months_compared": "BIGINT",
    "profit_before": "DECIMAL(22,4)",
    "profit_since": "DECIMAL(22,4)",
    "profit_change": "DECIMAL(22,4)",
    "expected_change": "DECIMAL(22,4)",
    "purchases_since": "BIGINT",
    "bought_since": "BOOLEAN",
    "stage_now": "VARCHAR",
    "has_lapsed": "BOOLEAN",
    "still_advised": "BOOLEAN",
    "outcome": "VARCHAR",
}
"""Columns of the table and their types, in order."""

LIFECYCLES = "select customer_id, stage, stage_since from analytics.customer_lifecycle"

ADVICE_NOW = "select customer_id, action from analytics.advised_actions"


def looked_back_on(dates: Sequence[datetime.date], as_of: datetime.date) -> list[datetime.date]:
    """Of the dates advice was given on: the latest that is at least 28 days old, and so for 90, 180 and 365 days."""
    chosen = set()
    for age in AGES_DAYS:
        old = [date for date in dates if date <= as_of - datetime.timedelta(days=age)]
        if old:
            chosen.add(max(old))
    return sorted(chosen)


def assess(
    advice: pd.DataFrame,
    profits: pd.DataFrame,
    orders: pd.DataFrame,
    lifecycles: pd.DataFrame,
    advice_now: pd.DataFrame,
    as_of: datetime.date,
) -> pd.DataFrame:
    """One row per earlier advice (date, customer and action), as of one date; nothing dated after it is seen.

    `advice` has advised_on, customer_id, action, rule_id, expected_effect; `profits` customer_id, month, operating_profit;
    `orders` customer_id, order_date, net_revenue; `lifecycles` customer_id, stage, stage_since; `advice_now` customer_id, action.

    - months_compared: whole calendar months since the advice, up to the last that has ended. The month it was given in counts for
      neither side, unless it was given on its last day.
    - profit_before, profit_since: operating profit of as many months before and since; profit_change: since less before.
    - expected_change: expected_effect (a year) x months_compared / 12.
    - purchases_since: days with a purchase after advised_on; bought_since, stage_now, has_lapsed (the stage now is lapsed),
      still_advised (the same action is advised today).
    - outcome: customer_lost where they lapsed after the advice and bought nothing since; achieved where expected_change is
      reached, or for win_back and nurture: bought; too_early before a whole month has passed; improving and worsened where
      profit changed by more than a twentieth of profit_before; else no_change.
    """
    known = advice[advice["customer_id"].notna() & (_dates(advice["advised_on"]) < np.datetime64(as_of, "D"))]
    known = known.drop_duplicates(["advised_on", "customer_id", "action"], keep="last").reset_index(drop=True)
    customers = known["customer_id"].astype("object")
    advised = _dates(known["advised_on"])
    months = _months_compared(advised, as_of)
    ends_month = (advised + np.timedelta64(1, "D")).astype("datetime64[M]") > advised.astype("datetime64[M]")
    month = advised.astype("datetime64[M]").astype("int64")
    first_since = month + 1
    end_before = np.where(ends_month, month + 1, month)
    earned = _Earned(profits)
    before = earned.between(customers, end_before - months, end_before)
    since = earned.between(customers, first_since, first_since + months)
    expected = money(known["expected_effect"]).to_numpy()
    expected_change = np.round(expected * months / MONTHS).astype("int64")

    purchases = _purchases_since(customers, advised, orders, as_of)
    stages = lifecycles.drop_duplicates("customer_id").set_index("customer_id").reindex(customers)
    stage = stages["stage"].astype("object").where(stages["stage"].notna(), None).to_numpy()
    lapsed = stage == "lapsed"
    stage_since = _dates(stages["stage_since"])
    lost = lapsed & (purchases == 0) & np.where(np.isnat(stage_since), False, stage_since > advised)
    today = set(zip(advice_now["customer_id"], advice_now["action"], strict=True))
    still = [pair in today for pair in zip(customers, known["action"], strict=True)]

    comes_back = known["action"].isin(COMES_BACK).to_numpy()
    change, noise = since - before, np.abs(before) * NOISE_SHARE
    achieved = np.where(comes_back, purchases > 0, (months > 0) & (expected > 0) & (change >= expected_change))
    outcome = np.select(
        [lost, achieved, months == 0, change > noise, change < -noise],
        ["customer_lost", "achieved", "too_early", "improving", "worsened"],
        "no_change",
    )
    table = pd.DataFrame(
        {
            "advised_on": advised.astype("datetime64[s]"),
            "as_of_date": as_of_column(as_of, len(known)),
            "age_days": (np.datetime64(as_of, "D") - advised).astype("int64"),
            "customer_id": customers,
            "action": known["action"].astype("object"),
            "rule_id": known["rule_id"].astype("object"),
            "expected_effect": expected / MONEY_SCALE,
            "months_compared": months,
            "profit_before": before / MONEY_SCALE,
            "profit_since": since / MONEY_SCALE,
            "profit_change": change / MONEY_SCALE,
            "expected_change": expected_change / MONEY_SCALE,
            "purchases_since": purchases,
            "bought_since": purchases > 0,
            "stage_now": stage,
            "has_lapsed": lapsed.astype(bool),
            "still_advised": np.array(still, dtype=bool),
            "outcome": outcome.astype("object"),
        },
        columns=list(TYPES),
    )
    return table.sort_values(["advised_on", "customer_id", "action"], kind="stable").reset_index(drop=True)


class _Earned:
    """Operating profit of any customer between any months, by running sums: money in ten-thousandths."""

    def __init__(self, profits: pd.DataFrame) -> None:
        rows = pd.DataFrame(
            {
                "customer_id": profits["customer_id"].astype("object"),
                "month": _dates(profits["month"]).astype("datetime64[M]").astype("int64"),
                "profit": money(profits["operating_profit"]),
            }
        )
        rows = (
            rows[rows["customer_id"].notna()].groupby(["customer_id", "month"], sort=True)["profit"].sum().reset_index()
        )
        codes, self.customers = pd.factorize(rows["customer_id"], sort=True)
        self.earliest = int(rows["month"].min()) if len(rows) else 0
        self.months = int(rows["month"].max()) - self.earliest + 2 if len(rows) else 1
        self.keys = codes * self.months + (rows["month"].to_numpy() - self.earliest)
        self.sums = np.concatenate([[0], np.cumsum(rows["profit"].to_numpy())])

    def between(self, customers: pd.Series, first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
        """Per row the sum from the month `first` up to but without `end`, counted from 1970-01; 0 for whom nothing is known."""
        place = pd.Index(self.customers).get_indexer(customers)
        low, high = (
            np.searchsorted(self.keys, place * self.months + np.clip(month - self.earliest, 0, self.months - 1))
            for month in (first, end)
        )
        found: NDArray[np.int64] = np.where(place >= 0, self.sums[high] - self.sums[low], 0).astype("int64")
        return found


def _months_compared(advised: NDArray[np.datetime64], as_of: datetime.date) -> NDArray[np.int64]:
    """Whole calendar months after the month of the advice that have ended by `as_of`."""
    ended = np.datetime64(as_of + datetime.timedelta(days=1), "M").astype("int64")  # the first month that has not
    passed: NDArray[np.int64] = np.maximum(ended - advised.astype("datetime64[M]").astype("int64") - 1, 0)
    return passed


def _purchases_since(
    customers: pd.Series, advised: NDArray[np.datetime64], orders: pd.DataFrame, as_of: datetime.date
) -> NDArray[np.int64]:
    """Days with a purchase after the advice."""
    known = known_orders(orders, as_of)
    days = known.loc[known["is_purchase"], ["customer_id", "order_date"]].drop_duplicates()
    codes, ids = pd.factorize(days["customer_id"].astype("object"), sort=True)
    span = 1_000_000  # more days than any calendar here has
    keys = np.sort(codes * span + days["order_date"].to_numpy().astype("datetime64[D]").astype("int64"))
    place = pd.Index(ids).get_indexer(customers)
    after = np.searchsorted(keys, place * span + advised.astype("int64"), side="right")
    end = np.searchsorted(keys, place * span + span // 2, side="right")
    found: NDArray[np.int64] = np.where(place >= 0, end - after, 0).astype("int64")
    return found


def _dates(column: pd.Series) -> NDArray[np.datetime64]:
    return pd.to_datetime(column).to_numpy().astype("datetime64[D]")
