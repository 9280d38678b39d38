"""Potential: what more a customer could bring - deals in the pipeline, the way their revenue goes, and what their peers buy.

Belongs here: revenue that is not there yet, per customer. Not here: what of it would be profit (break-even and the playbook), and
whether the customer stays (`churn`).

Money is summed as whole ten-thousandths; probabilities and rates are floats.
"""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd

from assets.analytics.history import MONEY_SCALE, as_of_column, money, month_number

NOT_A_CUSTOMER = "UNMATCHED"

OPPORTUNITIES = f"""
    select customer_id, stage_class, probability, created_date, close_date, amount, is_unconverted
    from facts.fct_opportunities
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

MONTHLY_REVENUE = f"""
    select customer_id, month, net_revenue
    from marts.customer_profitability
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

CUSTOMERS = f"""
    select customer_id, segment, level, industry, acquired_date
    from facts.dim_customers
    where customer_id <> '{NOT_A_CUSTOMER}' and not is_deleted
"""

PEER_COLUMNS = ("segment", "level", "industry")
"""By what customers are compared, in this order; the next where there are too few of the former, at last the whole company."""

FEWEST_PEERS = 20
PEER_PERCENTILE = 75

WIN_RATE_PRIOR = (1.0, 2.0)
"""(won + a) / (won + lost + a + b): of a company that has closed nothing, one deal in three is won."""

STALE_AFTER_DAYS = 180
"""An opportunity without a day of closing is stale half a year after it was created; one with it, the day after."""

MONTHS_PER_YEAR = 12
STEADY = 0.10
"""Revenue that grew or shrank by no more than a tenth is steady."""

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "open_opportunity_count": "BIGINT",
    "pipeline_amount": "DECIMAL(22,4)",
    "weighted_pipeline": "DECIMAL(22,4)",
    "estimated_probability_count": "BIGINT",
    "unconverted_opportunity_count": "BIGINT",
    "next_close_date": "DATE",
    "stale_opportunity_count": "BIGINT",
    "stale_amount": "DECIMAL(22,4)",
    "net_revenue_12m": "DECIMAL(22,4)",
    "net_revenue_last_year": "DECIMAL(22,4)",
    "net_revenue_year_before": "DECIMAL(22,4)",
    "growth_rate": "DOUBLE",
    "growth_status": "VARCHAR",
    "monthly_slope": "DECIMAL(22,4)",
    "peer_group": "VARCHAR",
    "peer_value": "VARCHAR",
    "peer_count": "BIGINT",
    "peer_net_revenue_p75": "DECIMAL(22,4)",
    "gap_to_peers": "DECIMAL(22,4)",
    "potential_value": "DECIMAL(22,4)",
    "potential_source": "VARCHAR",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)


def potential(
    opportunities: pd.DataFrame, monthly: pd.DataFrame, customers: pd.DataFrame, as_of: datetime.date
) -> pd.DataFrame:
    """One row per customer on record, with revenue or with an opportunity by `as_of`; nothing dated after it is seen.

    `opportunities` has one row each: customer_id, stage_class (open, won, lost), probability (0 to 1, may be missing),
    created_date, close_date (may be missing), amount (base currency, missing where unknown), is_unconverted. `monthly`:
    customer_id, month, net_revenue. `customers`: customer_id, segment, level, industry, acquired_date (all may be missing).

    - open_opportunity_count, pipeline_amount: open and not stale. What was won or lost after `as_of` was open then.
    - weighted_pipeline: amount x probability. Where that is missing, or was overtaken by the end after `as_of`, the company's win
      rate by `as_of` stands in: estimated_probability_count. An opportunity without an amount brings nothing:
      unconverted_opportunity_count counts those whose currency has no rate.
    - next_close_date: the earliest expected day of closing of those. stale_opportunity_count, stale_amount: still open though the
      day of closing is over, or without one for 180 days; no part of the pipeline.
    - net_revenue_12m: the as-of month and the eleven before it.
    - net_revenue_last_year, net_revenue_year_before: twelve months that are over, and the twelve before them. growth_rate: the
      former / the latter - 1. growth_status: growing, steady (within 10 %), shrinking, new (nothing before), lost (nothing
      since), none (nothing in either), unknown (the company's record does not reach back that far).
    - monthly_slope: base currency per month, least squares through the twelve months that are over.
    - peer_group, peer_value, peer_count: the customers with revenue in 12 months of the same segment, else level, else industry,
      where there are 20 or more; else of the company. peer_net_revenue_p75: 75th percentile of their net_revenue_12m.
    - gap_to_peers: peer_net_revenue_p75 less net_revenue_12m, not below 0: what three quarters of the peers do not reach either.
    - potential_value: a year's revenue that may come: the larger of weighted_pipeline and gap_to_peers, not their sum, because a
      deal closes part of the gap. potential_source: pipeline, peers, or none. Revenue, not profit.
    """
    this_month = as_of.year * MONTHS_PER_YEAR + as_of.month
    revenue = pd.DataFrame(
        {
            "customer_id": monthly["customer_id"],
            "month": month_number(monthly["month"]),
            "amount": money(monthly["net_revenue"]),
        }
    )
    revenue = revenue[_is_customer(revenue["customer_id"]) & (revenue["month"] <= this_month)]
    known = opportunities[
        _is_customer(opportunities["customer_id"])
        & (pd.to_datetime(opportunities["created_date"]) <= pd.Timestamp(as_of))
    ]
    acquired = pd.to_datetime(customers["acquired_date"])
    on_record = customers[_is_customer(customers["customer_id"]) & ~(acquired > pd.Timestamp(as_of))]
    frames = (revenue, known, on_record)
    index = pd.Index(sorted(set(pd.concat([f["customer_id"] for f in frames]).astype("str"))), dtype="str")

    table = pd.DataFrame(index=index)
    table = table.join(_pipeline(known, as_of))
    whole = ["open_opportunity_count", "estimated_probability_count", "unconverted_opportunity_count"]
    whole += ["stale_opportunity_count", "pipeline_amount", "weighted_pipeline", "stale_amount"]
    table[whole] = table[whole].fillna(0).astype("int64")
    recent = revenue[revenue["month"] > this_month - MONTHS_PER_YEAR]
    table["net_revenue_12m"] = _sums(recent, index)
    table = table.join(_growth(revenue, index, as_of)).join(_peers(table["net_revenue_12m"], on_record))
    gap = table["peer_net_revenue_p75"] - table["net_revenue_12m"]
    table["gap_to_peers"] = gap.clip(lower=0)
    from_peers = table["gap_to_peers"].fillna(0)
    table["potential_value"] = np.maximum(table["weighted_pipeline"], from_peers)
    table["potential_source"] = pd.Series(
        np.where(
            table["potential_value"] <= 0,
            "none",
            np.where(table["weighted_pipeline"] >= from_peers, "pipeline", "peers"),
        ),
        index=index,
        dtype="str",
    )
    for name, kind in TYPES.items():
        if kind.startswith("DECIMAL"):
            table[name] = table[name] / MONEY_SCALE
    table["customer_id"] = pd.Series(index, index=index, dtype="str")
    table["as_of_date"] = as_of_column(as_of, len(table))
    for name in ("growth_rate", "monthly_slope", "peer_value", "peer_net_revenue_p75", "gap_to_peers"):
        # nothing to measure is null in the warehouse, not "not a number"
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table.reset_index(drop=True)[list(COLUMNS)]


def _is_customer(customer_id: pd.Series) -> pd.Series:
    return customer_id.notna() & (customer_id != NOT_A_CUSTOMER)


def _sums(revenue: pd.DataFrame, index: pd.Index) -> pd.Series:
    return revenue.groupby("customer_id")["amount"].sum().reindex(index, fill_value=0).astype("int64")


def _pipeline(known: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """Per customer with an open opportunity; money in ten-thousandths."""
    today = pd.Timestamp(as_of)
    closes = pd.to_datetime(known["close_date"])
    created = pd.to_datetime(known["created_date"])
    # What ends after `as_of` had not ended yet; what ended on a day nobody noted is over.
    ended_later = known["stage_class"].isin(["won", "lost"]) & (closes > today)
    is_open = (known["stage_class"] == "open") | ended_later
    over = known[~is_open]
    won = int((over["stage_class"] == "won").sum())
    win_rate = round((won + WIN_RATE_PRIOR[0]) / (len(over) + sum(WIN_RATE_PRIOR)), 6)

    stated = known["probability"].astype("float64")
    is_estimated = is_open & (stated.isna() | ended_later)
    probability = stated.where(~is_estimated, win_rate).clip(0.0, 1.0).fillna(0.0)
    is_stale = is_open & ((closes < today) | (closes.isna() & ((today - created).dt.days > STALE_AFTER_DAYS)))
    is_live = is_open & ~is_stale
    amount = money(known["amount"])
    rows = pd.DataFrame(
        {
            "customer_id": known["customer_id"].astype("str"),
            "open_opportunity_count": is_live.astype("int64"),
            "pipeline_amount": amount.where(is_live, 0),
            "weighted_pipeline": (amount * probability).round().astype("int64").where(is_live, 0),
            "estimated_probability_count": (is_live & is_estimated).astype("int64"),
            "unconverted_opportunity_count": (is_open & known["is_unconverted"].astype("bool")).astype("int64"),
            "stale_opportunity_count": is_stale.astype("int64"),
            "stale_amount": amount.where(is_stale, 0),
            "next_close_date": closes.where(is_live),
        }
    )
    by_customer = rows.groupby("customer_id")
    totals = by_customer[[name for name in rows if name not in ("customer_id", "next_close_date")]].sum()
    return totals.assign(next_close_date=by_customer["next_close_date"].min())


def _growth(revenue: pd.DataFrame, index: pd.Index, as_of: datetime.date) -> pd.DataFrame:
    """Revenue of the last twelve months that are over and of the twelve before, in ten-thousandths, and what follows."""
    next_day = as_of + datetime.timedelta(days=1)
    last = next_day.year * MONTHS_PER_YEAR + next_day.month - 1
    recent = revenue[(revenue["month"] > last - MONTHS_PER_YEAR) & (revenue["month"] <= last)]
    earlier = revenue[(revenue["month"] > last - 2 * MONTHS_PER_YEAR) & (revenue["month"] <= last - MONTHS_PER_YEAR)]
    now, before = _sums(recent, index), _sums(earlier, index)
    reaches_back = not revenue.empty and int(revenue["month"].min()) <= last - 2 * MONTHS_PER_YEAR + 1
    growth = pd.Series(np.nan, index=index)
    measurable = reaches_back & (before > 0)
    growth[measurable] = (now[measurable] / before[measurable] - 1).round(6)
    status = np.select(
        [
            np.full(len(index), not reaches_back),
            (now <= 0) & (before <= 0),
            before <= 0,
            now <= 0,
            growth > STEADY,
            growth < -STEADY,
        ],
        ["unknown", "none", "new", "lost", "growing", "shrinking"],
        default="steady",
    )
    # Least squares in whole numbers: twice the months' distances from their middle, -11 to 11, over twice the sum of squares.
    distance = 2 * (recent["month"] - last + MONTHS_PER_YEAR) - MONTHS_PER_YEAR - 1
    slope = _sums(recent.assign(amount=recent["amount"] * distance), index) / 286
    begun = not revenue.empty and int(revenue["month"].min()) <= last - MONTHS_PER_YEAR + 1
    return pd.DataFrame(
        {
            "net_revenue_last_year": now,
            "net_revenue_year_before": before,
            "growth_rate": growth,
            "growth_status": pd.Series(status, index=index, dtype="str"),
            "monthly_slope": slope.round() if begun else pd.Series(np.nan, index=index),
        }
    )


def _peers(revenue: pd.Series, on_record: pd.DataFrame) -> pd.DataFrame:
    """The peers of every customer, and the 75th percentile of their revenue in ten-thousandths."""
    traits = on_record.drop_duplicates("customer_id").set_index("customer_id").reindex(revenue.index)
    active = revenue[revenue > 0]
    peers = pd.DataFrame(
        {
            "peer_group": pd.Series("company", index=revenue.index, dtype="object"),
            "peer_value": pd.Series(None, index=revenue.index, dtype="object"),
            "peer_count": len(active),
            "peer_net_revenue_p75": _percentile(active),
        }
    )
    for column in reversed(PEER_COLUMNS):
        groups = active.groupby(traits[column].reindex(active.index))
        sizes, percentiles = groups.size(), groups.agg(_percentile)
        has_peers = traits[column].isin(sizes.index[sizes >= FEWEST_PEERS])
        mine = traits[column][has_peers]
        peers.loc[has_peers, "peer_group"] = column
        peers.loc[has_peers, "peer_value"] = mine.astype("str").astype("object")
        peers.loc[has_peers, "peer_count"] = mine.map(sizes).astype("int64")
        peers.loc[has_peers, "peer_net_revenue_p75"] = mine.map(percentiles).astype("float64")
    return peers


def _percentile(revenue: pd.Series) -> float:
    return round(float(np.percentile(revenue.to_numpy(), PEER_PERCENTILE))) if len(revenue) else np.nan
