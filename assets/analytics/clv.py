"""Customer lifetime value: what a customer has earned, and what it is worth over a stated horizon.

Belongs here: the customary formula and the discounted cash flow, side by side. Not here: predictive models of orders,
and any value on revenue: profit is revenue less every cost traced to the customer, and it may be negative.

Money columns are floats rounded to four decimals; the warehouse stores them as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd

from assets.analytics.history import MONEY_SCALE, as_of_column, money, month_number

MONTHS_PER_YEAR = 12

SHORTEST_AVERAGE_MONTHS = 3
"""A first order is not a monthly rate: a customer seen for less than a quarter is averaged over a quarter."""

HIGHEST_ANNUAL_RETENTION = 0.95
"""Caps the lifespan at 20 years. A retention measured over two years says nothing about longer times, and the
formula's lifespan 1 / (1 - retention) goes to infinity as retention goes to 1."""

COLUMNS = (
    "customer_id",
    "as_of_date",
    "historic_profit",
    "months_observed",
    "average_annual_profit",
    "expected_lifespan_years",
    "clv_formula",
    "monthly_retention",
    "expected_monthly_profit",
    "clv_discounted",
    "horizon_months",
    "discount_rate",
)


def value(monthly: pd.DataFrame, as_of: datetime.date, *, discount_rate: float, horizon_months: int) -> pd.DataFrame:
    """One row per customer with revenue or cost on or before the as-of month; later months are not seen.

    `monthly` has one row per customer and month (its first day): customer_id, month, net_revenue (revenue +) and cost
    (every cost traced to the customer, cost +), in base currency. Profit = net_revenue - cost, loss-makers included:
    a customer with a negative value is a result, not an error.

    - historic_profit: all profit so far.
    - months_observed: calendar months from the first revenue or cost to the as-of month, both included.
    - average_annual_profit: historic_profit / months_observed * 12.
    - monthly_retention: see `monthly_retention`; one rate for the whole company.
    - expected_lifespan_years: 1 / (1 - annual retention), at most 20.
    - clv_formula: average_annual_profit * expected_lifespan_years, the formula customary in business documents. **It
      overstates**: it carries past profit forward undiscounted, also that of customers who have stopped buying
      (+207 % measured on CDNOW). Published because people compute it by hand; decide on clv_discounted.
    - expected_monthly_profit: average of the last 12 months (of those observed, and at least 3). A customer who
      stopped buying more than a year ago expects no revenue.
    - clv_discounted: sum over t = 1 .. horizon_months of expected_monthly_profit * monthly_retention ** t
      / (1 + discount_rate) ** (t / 12). Known drawback: every customer survives at the company's rate.
    - horizon_months, discount_rate (per year, 0.10 = 10 %): as given.
    """
    if discount_rate <= -1:
        raise ValueError(f"discount_rate is {discount_rate}; give a yearly rate above -1, such as 0.10 for 10 %.")
    if horizon_months < 0:
        raise ValueError(f"horizon_months is {horizon_months}; give a whole number of months, 0 or more.")
    this_month = as_of.year * 12 + as_of.month
    known = pd.DataFrame(
        {
            "customer_id": monthly["customer_id"],
            "month": month_number(monthly["month"]),
            "revenue": money(monthly["net_revenue"]),
            "profit": money(monthly["net_revenue"]) - money(monthly["cost"]),
        }
    )
    known = known[known["customer_id"].notna() & (known["month"] <= this_month)]

    by_customer = known.groupby("customer_id")
    historic = by_customer["profit"].sum() / MONEY_SCALE
    months_observed = this_month - by_customer["month"].min() + 1
    in_last_year = known[known["month"] > this_month - MONTHS_PER_YEAR]
    recent = in_last_year.groupby("customer_id")["profit"].sum().reindex(historic.index, fill_value=0) / MONEY_SCALE
    recent_months = months_observed.clip(lower=SHORTEST_AVERAGE_MONTHS, upper=MONTHS_PER_YEAR)

    retention = _retention(known, this_month)
    lifespan = 1 / (1 - retention**MONTHS_PER_YEAR)
    months = np.arange(1, horizon_months + 1)
    present_months = float(np.sum(retention**months / (1 + discount_rate) ** (months / MONTHS_PER_YEAR)))

    average_annual = (historic / months_observed * MONTHS_PER_YEAR).round(4)
    expected_monthly = (recent / recent_months).round(4)
    rows = len(historic)
    return pd.DataFrame(
        {
            "customer_id": pd.Series(historic.index, dtype="str"),
            "as_of_date": as_of_column(as_of, rows),
            "historic_profit": historic.round(4).to_numpy(dtype="float64"),
            "months_observed": months_observed.to_numpy(dtype="int64"),
            "average_annual_profit": average_annual.to_numpy(dtype="float64"),
            "expected_lifespan_years": np.full(rows, lifespan),
            "clv_formula": (average_annual * lifespan).round(4).to_numpy(dtype="float64"),
            "monthly_retention": np.full(rows, retention),
            "expected_monthly_profit": expected_monthly.to_numpy(dtype="float64"),
            "clv_discounted": (expected_monthly * present_months).round(4).to_numpy(dtype="float64"),
            "horizon_months": np.full(rows, horizon_months, dtype="int64"),
            "discount_rate": np.full(rows, discount_rate, dtype="float64"),
        },
        columns=list(COLUMNS),
    )


def monthly_retention(monthly: pd.DataFrame, as_of: datetime.date) -> float:
    """The share of customers kept from one month to the next, between 0 and 1, as of one date.

    Retention is the share of the customers active (net revenue above 0) in the 12 months before the last 12 who are
    active again in the last 12: active customers kept / active customers at risk, as marketing metrics define it
    (Farris et al., Marketing Metrics, chapter 5). With less than 24 months of history both windows shrink to half of
    what there is. The share is Laplace's (kept + 1) / (at risk + 2), so that three customers cannot claim certainty,
    capped at 0.95 a year, and its root by the months of the window is the monthly rate. Known drawback: over windows
    shorter than the customers' own rhythm, who is silent counts as lost, and retention comes out too low.
    """
    known = pd.DataFrame(
        {
            "customer_id": monthly["customer_id"],
            "month": month_number(monthly["month"]),
            "revenue": money(monthly["net_revenue"]),
        }
    )
    return _retention(known[known["customer_id"].notna()], as_of.year * 12 + as_of.month)


def _retention(known: pd.DataFrame, this_month: int) -> float:
    active = known[(known["revenue"] > 0) & (known["month"] <= this_month)]
    history_months = 0 if active.empty else int(this_month - active["month"].min() + 1)
    window = min(MONTHS_PER_YEAR, history_months // 2) or MONTHS_PER_YEAR
    in_last = active["month"] > this_month - window
    in_previous = (active["month"] > this_month - 2 * window) & ~in_last
    at_risk = set(active.loc[in_previous, "customer_id"])
    kept = at_risk & set(active.loc[in_last, "customer_id"])
    share = (len(kept) + 1) / (len(at_risk) + 2)
    highest = HIGHEST_ANNUAL_RETENTION ** (1 / MONTHS_PER_YEAR)
    return float(min(share ** (1 / window), highest))
