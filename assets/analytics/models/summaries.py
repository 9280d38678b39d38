"""A customer's purchases in the few numbers the purchase models need, and many customers in few distinct rows.

Belongs here: counting purchase days, and compressing equal rows. Not here: any model, and the cleaning of orders
(`history.known_orders`).
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd

DAYS_PER_WEEK = 7.0
"""The models count time in weeks, as their published parameters do."""

LARGEST_CODE = 2**62
"""Beyond this the number of a row (x, t_x, T) would not fit in 64 bits, and the pairs (x, t_x) are numbered first."""

COLUMNS = (
    "repeat_purchases",
    "active_span_days",
    "customer_age_days",
    "days_since_last_purchase",
    "revenue",
    "repeat_revenue",
)


class Compressed(NamedTuple):
    """Distinct rows (x, t_x, T) in rising order with how many customers share each; times in weeks, as given.

    `inverse` has one entry per customer: the number of its row, so that `result[inverse]` is per customer again.
    """

    x: np.ndarray
    t_x: np.ndarray
    T: np.ndarray
    weight: np.ndarray
    customers: int
    inverse: np.ndarray


def summarise(known: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """One row per customer with a purchase on or before `as_of`, indexed by customer_id in sorted order.

    `known` comes from `history.known_orders`. A purchase is a customer's day with at least one order whose is_purchase;
    several orders of one day are one purchase. All columns are int64:

    - repeat_purchases: purchase days less the first.
    - active_span_days: from the first purchase day to the last.
    - customer_age_days: from the first purchase day to `as_of`.
    - days_since_last_purchase: customer_age_days - active_span_days.
    - revenue: of all purchase days, in ten-thousandths; repeat_revenue: the same without the first day.
    """
    is_known = known["is_purchase"].astype(bool) & (known["order_date"] <= pd.Timestamp(as_of))
    purchases = known.loc[is_known, ["customer_id", "order_date", "amount"]]
    days = purchases.assign(customer_id=purchases["customer_id"].astype("str"))
    days = days.groupby(["customer_id", "order_date"], sort=True)["amount"].sum().reset_index()
    by_customer = days.groupby("customer_id", sort=True)
    first, last = by_customer["order_date"].min(), by_customer["order_date"].max()
    span = (last - first).dt.days
    age = (pd.Timestamp(as_of) - first).dt.days
    revenue = by_customer["amount"].sum()
    summary = pd.DataFrame(
        {
            "repeat_purchases": by_customer.size() - 1,
            "active_span_days": span,
            "customer_age_days": age,
            "days_since_last_purchase": age - span,
            "revenue": revenue,
            "repeat_revenue": revenue - by_customer["amount"].first(),
        },
        columns=list(COLUMNS),
    )
    summary.index = pd.Index(summary.index.astype("str"), name="customer_id")
    return summary.astype("int64")


def compress(x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> Compressed:
    """The distinct rows of three arrays of one entry per customer; nothing is lost and the order of rows is irrelevant.

    `x` repeat purchases, `t_x` and `T` in weeks. Raises ValueError for lengths that differ, and for rows no customer can
    have: missing, infinite or negative values, t_x above T.
    """
    x, t_x, T = (np.asarray(values, dtype="float64").ravel() for values in (x, t_x, T))
    if not len(x) == len(t_x) == len(T):
        raise ValueError(f"x, t_x and T have {len(x)}, {len(t_x)} and {len(T)} entries; give one of each per customer.")
    possible = np.isfinite(x) & np.isfinite(t_x) & np.isfinite(T) & (x >= 0) & (t_x >= 0) & (t_x <= T)
    if not possible.all():
        row = int(np.argmin(possible))
        raise ValueError(
            f"row {row} (x={x[row]}, t_x={t_x[row]}, T={T[row]}) is no customer's history: give finite values with"
            " x >= 0 and 0 <= t_x <= T, as `summarise` does."
        )
    # Each row becomes one whole number whose order is that of (x, t_x, T): one search for duplicates instead of three.
    # Column by column and in place: with a million customers each array not kept saves 8 MB.
    number, counts = pd.factorize(x, sort=True)
    column, spans = pd.factorize(t_x, sort=True)
    number *= len(spans)
    number += column
    column, ages = pd.factorize(T, sort=True)
    pairs = None
    if len(counts) * len(spans) * len(ages) >= LARGEST_CODE:
        pairs, number = np.unique(number, return_inverse=True)
    number *= len(ages)
    number += column
    del column
    code, distinct = pd.factorize(number)
    del number
    order = np.argsort(distinct, kind="stable")
    pair_of_row, age_of_row = np.divmod(distinct[order], max(len(ages), 1))
    if pairs is not None:
        pair_of_row = pairs[pair_of_row]
    place = np.empty(len(order), dtype="intp")
    place[order] = np.arange(len(order))
    return Compressed(
        x=np.asarray(counts)[pair_of_row // max(len(spans), 1)],
        t_x=np.asarray(spans)[pair_of_row % max(len(spans), 1)],
        T=np.asarray(ages)[age_of_row],
        weight=np.bincount(code, minlength=len(order)).astype("float64")[order],
        customers=len(x),
        inverse=place[code],
    )
