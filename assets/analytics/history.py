"""What the scores may know: a customer history cut off at the as-of date, with money as whole numbers.

Belongs here: the cut-off, the cleaning and the calendar shared by RFM, CLV and churn. Not here: any score.
"""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd

MONEY_SCALE = 10_000
"""Money is summed as whole ten-thousandths of the base currency, the four decimals of the marts: a sum of floats
depends on the order of its rows, and a score must not. Exact for single amounts below 900 billion."""


def money(amounts: pd.Series) -> pd.Series:
    """Amounts (Decimal, float or int; missing = 0) as whole ten-thousandths of the base currency."""
    whole: pd.Series = (amounts.astype("float64").fillna(0.0) * MONEY_SCALE).round().astype("int64")
    return whole


def known_orders(orders: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """One row per order dated on or before `as_of`: customer_id, order_date, amount (ten-thousandths, credit notes
    netted), is_purchase.

    An order whose net revenue is zero or negative was taken back whole, or is a credit note on its own: it lowers
    revenue and is no purchase. Rows without a customer or a date are left out: they are nobody's history.
    """
    known = pd.DataFrame(
        {
            "customer_id": orders["customer_id"],
            "order_date": pd.to_datetime(orders["order_date"]).dt.normalize(),
            "amount": money(orders["net_revenue"]),
        }
    )
    known = known[known["customer_id"].notna() & (known["order_date"] <= pd.Timestamp(as_of))]
    return known.assign(is_purchase=known["amount"] > 0).reset_index(drop=True)


def days_since_last_purchase(known: pd.DataFrame, as_of: datetime.date) -> pd.Series:
    """Whole days from a customer's last purchase to `as_of` (0 = that day), indexed by customer_id in sorted order.

    `known` comes from `known_orders`. Customers who never purchased are not in it.
    """
    purchases = known[known["is_purchase"] & (known["order_date"] <= pd.Timestamp(as_of))]
    last_purchase = purchases.groupby("customer_id")["order_date"].max()
    return (pd.Timestamp(as_of) - last_purchase).dt.days.astype("int64")


def first_day_of_last_12_months(as_of: datetime.date) -> pd.Timestamp:
    """First day of the calendar month eleven months before the as-of month.

    The same twelve calendar months as every `_12m` column of the marts, so that one name means one thing.
    """
    return pd.Timestamp(as_of.year, as_of.month, 1) - pd.DateOffset(months=11)


def month_number(dates: pd.Series) -> pd.Series:
    """Calendar months as consecutive whole numbers (year * 12 + month), so that months can be subtracted."""
    days = pd.to_datetime(dates)
    return (days.dt.year * 12 + days.dt.month).astype("int64")


def as_of_column(as_of: datetime.date, rows: int) -> np.ndarray:
    """`rows` times the as-of date, typed as a date even when there are no rows."""
    return np.full(rows, np.datetime64(as_of, "s"))
