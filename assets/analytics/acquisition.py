"""Customer acquisition: what the new customers of a channel and month cost, when they have paid that back, what they return.

Belongs here: who is new, whom a channel may claim, what is spent in it, and the cohort's contribution against that. Not here:
which cost is spent on winning customers, which the company says in costing/acquisition.csv.

Cost is divided in whole cents and contribution is summed in whole ten-thousandths; only rates and discounting are floats.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from assets.analytics.history import MONEY_SCALE, as_of_column, known_orders, money, month_number
from assets.costing.cents import largest_remainder

NOT_A_CUSTOMER = "UNMATCHED"

CUSTOMERS = f"""
    select customer_id, acquisition_source, acquired_date
    from facts.dim_customers
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

RESPONSES = f"""
    select customer_id, responded_on, channel
    from facts.fct_campaign_responses
    where customer_id <> '{NOT_A_CUSTOMER}' and channel is not null
"""

CAMPAIGNS = """
    select
        channel,
        cast(date_trunc('month', coalesce(start_date, end_date, extract_date)) as date) as month,
        sum(coalesce(actual_cost, budgeted_cost, 0)) as cost
    from staging.stg_campaigns
    where not coalesce(is_deleted, false)
    group by all
"""

SPENDING_RULES = """
    select pool_id, channel, cast(share as double) as share, divided_by, valid_from, valid_to
    from rules.acquisition_costs
"""

POOL_COSTS = """
    select month, pool_id, sum(gross_amount) as cost
    from marts.pool_results
    where pool_id in (select pool_id from rules.acquisition_costs)
    group by month, pool_id
"""

POOL_COSTS_OF_CUSTOMERS = f"""
    select customer_id, month, pool_id, sum(amount) as cost
    from marts.customer_cost_lines
    where stage <> 'sustaining' and customer_id <> '{NOT_A_CUSTOMER}'
        and pool_id in (select pool_id from rules.acquisition_costs)
    group by customer_id, month, pool_id
"""

CONTRIBUTIONS = f"""
    select customer_id, month, contribution_after_cost_to_serve as contribution
    from marts.customer_profitability
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

FIRST_TOUCH = "acquisition source, else first campaign response, else unattributed"
"""The rule by which a customer belongs to a channel, as published."""

UNATTRIBUTED = "Unattributed"
"""The channel of customers and cost that no channel can claim."""

SETTLING_MONTHS = 3
"""Of a customer without an acquired date, a first order this early in the record may be anything but the first."""

HORIZONS = (12, 24, 36)
"""Months of a customer's life, the month of the first order included, after which the return is measured."""

MONTHS_PER_YEAR = 12
SHARE_SCALE = 10_000

COLUMNS = (
    "channel",
    "month",
    "as_of_date",
    "attribution_rule",
    "cost_basis",
    "cost",
    "new_customers",
    "new_customers_by_response",
    "cac",
    "cost_12m",
    "new_customers_12m",
    "cac_12m",
    "months_observed",
    "contribution_to_date",
    "payback_months",
    "payback_status",
    *(f"roi_{horizon}m" for horizon in HORIZONS),
    "discount_rate",
)

ChannelMonth = tuple[str, int]
"""A channel, and a month as a consecutive whole number."""


class History(NamedTuple):
    """What acquisition is computed from; money in base currency, months as their first day.

    - orders: customer_id, order_date, net_revenue (credit notes netted), one row per order.
    - customers: customer_id, acquisition_source, acquired_date (may be missing), one row per customer.
    - responses: customer_id, responded_on, channel, one row per answer to a campaign.
    - campaigns: channel (may be missing), month, cost of the campaigns begun in it.
    - spending_rules: pool_id, channel, share (0 to 1, four decimals), divided_by (campaign_cost, new_customers; missing where
      the row names its channel), valid_from, valid_to (missing = open): the rows of acquisition.csv. May be empty.
    - pool_costs: month, pool_id, cost of the whole pool, after what it received from service pools.
    - pool_costs_of_customers: customer_id, month, pool_id, cost: what of it is in the customers' cost to serve.
    - contributions: customer_id, month, contribution after cost to serve (loss -).
    """

    orders: pd.DataFrame
    customers: pd.DataFrame
    responses: pd.DataFrame
    campaigns: pd.DataFrame
    spending_rules: pd.DataFrame
    pool_costs: pd.DataFrame
    pool_costs_of_customers: pd.DataFrame
    contributions: pd.DataFrame


def channels(history: History, as_of: datetime.date, *, discount_rate: float) -> pd.DataFrame:
    """One row per channel and month in which it cost something or won somebody; nothing after the as-of month is seen.

    The customers of a row are the cohort whose first order lies in the month (see `new_customers`), and stay together: what
    others bring is not blended in. Cost is that of the month itself (see `spending`); no lead time between a campaign and the
    first order is assumed, which is why cost and customers of twelve months are given too.

    - attribution_rule: how a customer belongs to a channel. Unattributed is a channel like any other.
    - cost_basis: 'ledger_pools' by the rules of the company, or 'campaign_cost' of the CRM when there are none.
    - cost (two decimals), new_customers; new_customers_by_response: those claimed by a campaign, not by their record.
    - cac: cost / new_customers; missing without new customers.
    - cost_12m, new_customers_12m, cac_12m: the same over the month and the eleven before it.
    - months_observed: from the month to the as-of month, both included.
    - contribution_to_date: of the cohort, after cost to serve. What the customers bear of cost that counts as acquisition
      here is added back, or it would count twice; months before the first order count in the first.
    - payback_months: the first month, 1 = that of the first order, by whose end the cohort's contribution, undiscounted, has
      reached its cost. Missing when it has not.
    - payback_status: paid_back, not_yet, never (nobody of the cohort bought in the last 12 months, or 36 months were not
      enough), no_cost, no_customers.
    - roi_12m, roi_24m, roi_36m: (contribution of so many months, the first month undiscounted, each later one discounted to
      it, less cost) / cost. Missing where the cohort is younger or cost nothing.
    - discount_rate: per year, as given.

    Farris et al., Marketing Metrics, chapter 5 (acquisition cost per customer, first-touch).
    """
    if discount_rate <= -1:
        raise ValueError(f"discount_rate is {discount_rate}; give a yearly rate above -1, such as 0.10 for 10 %.")
    this_month = as_of.year * 12 + as_of.month
    names = _channel_names(history)
    won = new_customers(history, as_of)
    cohorts = won.groupby(["channel", "month"], as_index=False).agg(
        new_customers=("customer_id", "size"),
        new_customers_by_response=("is_by_response", "sum"),
        last_order_month=("last_order_month", "max"),
    )
    won_in: dict[ChannelMonth, _Cohort] = {
        (channel, month): _Cohort(*counts) for channel, month, *counts in cohorts.to_numpy(dtype="object").tolist()
    }
    spent = spending(history, as_of, {key: row.new_customers for key, row in won_in.items()})
    contributed = _contributions_by_age(history, won, this_month)

    rows = []
    for channel, month in sorted({*spent, *won_in}):
        cost_cents = spent.get((channel, month), 0)
        cohort = won_in.get((channel, month), _NOBODY)
        count = cohort.new_customers
        last_year = [(channel, earlier) for earlier in range(month - MONTHS_PER_YEAR + 1, month + 1)]
        cost_12m = sum(spent.get(key, 0) for key in last_year)
        count_12m = sum(won_in.get(key, _NOBODY).new_customers for key in last_year)
        amounts = contributed.get((channel, month), np.zeros(this_month - month + 1, dtype="int64"))
        paid_after = _payback(amounts, cost_cents) if count and cost_cents > 0 else None
        rows.append(
            {
                "channel": names[channel],
                "month": datetime.date((month - 1) // 12, (month - 1) % 12 + 1, 1),
                "cost": cost_cents / 100,
                "new_customers": count,
                "new_customers_by_response": cohort.new_customers_by_response,
                "cac": _per_customer(cost_cents, count),
                "cost_12m": cost_12m / 100,
                "new_customers_12m": count_12m,
                "cac_12m": _per_customer(cost_12m, count_12m),
                "months_observed": len(amounts),
                "contribution_to_date": int(amounts.sum()) / MONEY_SCALE,
                "payback_months": paid_after,
                "payback_status": _payback_status(
                    count, cost_cents, paid_after, len(amounts), this_month - cohort.last_order_month
                ),
                **{f"roi_{horizon}m": _roi(amounts, cost_cents, horizon, discount_rate) for horizon in HORIZONS},
            }
        )
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in _SAME_IN_ALL_ROWS])
    table["as_of_date"] = as_of_column(as_of, len(table))
    table["attribution_rule"] = pd.Series([FIRST_TOUCH] * len(table), dtype="str")
    basis = "campaign_cost" if history.spending_rules.empty else "ledger_pools"
    table["cost_basis"] = pd.Series([basis] * len(table), dtype="str")
    table["discount_rate"] = np.full(len(table), discount_rate, dtype="float64")
    table = table.astype({"payback_months": "Int64", **{f"roi_{horizon}m": "float64" for horizon in HORIZONS}})
    return table[list(COLUMNS)]


class _Cohort(NamedTuple):
    new_customers: int
    new_customers_by_response: int
    last_order_month: int


_NOBODY = _Cohort(0, 0, 0)
_SAME_IN_ALL_ROWS = ("as_of_date", "attribution_rule", "cost_basis", "discount_rate")


def new_customers(history: History, as_of: datetime.date) -> pd.DataFrame:
    """One row per customer won within the record: customer_id, month (number) of the first order, channel (key),
    is_by_response, last_order_month.

    A first order in the record need not be the first ever. A customer whose acquired date lies before the record begins was
    won before; of one without such a date, a first order in the record's first three months says nothing, and it is left out.

    First touch: the acquisition source of the customer's record; else the channel of the first campaign answered on or
    before the day of the first order (of several on one day, the name that sorts first); else unattributed.
    """
    known = known_orders(history.orders, as_of)
    purchases = known[known["is_purchase"]].groupby("customer_id")["order_date"].agg(["min", "max"])
    if purchases.empty:
        return pd.DataFrame(columns=["customer_id", "month", "channel", "is_by_response", "last_order_month"])
    record_begins = month_number(known["order_date"]).min()
    known_by_crm = history.customers.drop_duplicates("customer_id").set_index("customer_id").reindex(purchases.index)
    acquired = pd.to_datetime(known_by_crm["acquired_date"])
    first_month = month_number(purchases["min"])
    is_new = np.where(
        acquired.isna(),
        first_month >= record_begins + SETTLING_MONTHS,
        month_number(acquired.fillna(purchases["min"])) >= record_begins,
    )

    answers = pd.DataFrame(
        {
            "customer_id": history.responses["customer_id"],
            "responded_on": pd.to_datetime(history.responses["responded_on"]),
            "channel": [_key(channel) for channel in history.responses["channel"]],
            "first_order": pd.to_datetime(history.responses["customer_id"].map(purchases["min"])),
        }
    )
    answers = answers[(answers["responded_on"] <= answers["first_order"]) & (answers["channel"] != "")]
    first_answer = answers.sort_values(["responded_on", "channel"]).groupby("customer_id")["channel"].first()

    by_source = pd.Series([_key(source) for source in known_by_crm["acquisition_source"]], index=purchases.index)
    by_response = first_answer.reindex(purchases.index).fillna("")
    won = pd.DataFrame(
        {
            "customer_id": pd.Series(purchases.index, dtype="str"),
            "month": first_month.to_numpy(),
            "channel": np.where(
                by_source != "", by_source, np.where(by_response != "", by_response, _key(UNATTRIBUTED))
            ),
            "is_by_response": ((by_source == "") & (by_response != "")).to_numpy(),
            "last_order_month": month_number(purchases["max"]).to_numpy(),
        }
    )
    return won[is_new].reset_index(drop=True)


def spending(
    history: History, as_of: datetime.date, won: Mapping[ChannelMonth, int] | None = None
) -> dict[ChannelMonth, int]:
    """Cents spent per channel (key) and month (number), to the as-of month: all that is taken, and no cent twice.

    By rule: the share of each pool's cost of the month that the rules in force on its last day take, to the cent by largest
    remainder. A rule that names no channel is divided by the cost of the month's campaigns or by its new customers (`won`);
    in a month without either the cost is unattributed. Without any rule, cost is what the CRM says campaigns cost.
    """
    this_month = as_of.year * 12 + as_of.month
    campaign_cost: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    campaigns = history.campaigns
    for channel, month, cost in zip(
        campaigns["channel"], month_number(campaigns["month"]), _cents(campaigns["cost"]), strict=True
    ):
        if month <= this_month and cost > 0:
            campaign_cost[month][_key(channel) or _key(UNATTRIBUTED)] += cost
    if history.spending_rules.empty:
        return {(channel, month): cost for month, costs in campaign_cost.items() for channel, cost in costs.items()}

    new_in: dict[int, dict[str, int]] = defaultdict(dict)
    for (channel, month), count in (won or {}).items():
        new_in[month][channel] = count
    spent: dict[ChannelMonth, int] = defaultdict(int)
    pool_costs = history.pool_costs
    for pool_id, month, cost in zip(
        pool_costs["pool_id"], month_number(pool_costs["month"]), _cents(pool_costs["cost"]), strict=True
    ):
        if month > this_month:
            continue
        rules = _rules_in_force(history.spending_rules, pool_id, month)
        shares = {f"{place:06}": round(rule.share * SHARE_SCALE) for place, rule in enumerate(rules)}
        parts = largest_remainder(cost, {**shares, "kept": max(SHARE_SCALE - sum(shares.values()), 0)})
        for place, rule in enumerate(rules):
            part = parts[f"{place:06}"]
            if _key(rule.channel):
                spent[_key(rule.channel), month] += part
                continue
            weights = campaign_cost[month] if rule.divided_by == "campaign_cost" else new_in[month]
            for channel, cents in largest_remainder(part, weights or {_key(UNATTRIBUTED): 1}).items():
                spent[channel, month] += cents
    return {key: cents for key, cents in spent.items() if cents}


def _rules_in_force(rules: pd.DataFrame, pool_id: str, month: int) -> list:
    last_day = pd.Timestamp((month - 1) // 12, (month - 1) % 12 + 1, 1) + pd.offsets.MonthEnd(0)
    begun = ~(pd.to_datetime(rules["valid_from"]) > last_day)
    not_ended = ~(pd.to_datetime(rules["valid_to"]) < last_day)
    return list(rules[(rules["pool_id"] == pool_id) & begun & not_ended].itertuples(index=False))


def _contributions_by_age(history: History, won: pd.DataFrame, this_month: int) -> dict[ChannelMonth, np.ndarray]:
    """Contribution of each cohort in ten-thousandths, by month of its life, without the cost that counts as acquisition."""
    contributions = history.contributions
    lines = history.pool_costs_of_customers
    months = month_number(lines["month"])
    rules = history.spending_rules
    taken = {
        (pool_id, month): sum(round(rule.share * SHARE_SCALE) for rule in _rules_in_force(rules, pool_id, month))
        for pool_id, month in set(zip(lines["pool_id"], months, strict=True))
    }
    shares = np.array([taken[key] for key in zip(lines["pool_id"], months, strict=True)], dtype="float64")
    added_back = np.rint(money(lines["cost"]).to_numpy() * shares / SHARE_SCALE).astype("int64")
    amounts = pd.DataFrame(
        {
            "customer_id": pd.concat([contributions["customer_id"], lines["customer_id"]], ignore_index=True),
            "month": np.concatenate([month_number(contributions["month"]), months]),
            "amount": np.concatenate([money(contributions["contribution"]), added_back]),
        }
    )
    amounts = amounts[amounts["month"] <= this_month].merge(
        won[["customer_id", "channel", "month"]], on="customer_id", suffixes=("", "_of_cohort")
    )
    amounts["age"] = (amounts["month"] - amounts["month_of_cohort"]).clip(lower=0)
    by_age: dict[ChannelMonth, np.ndarray] = {}
    sums = amounts.groupby(["channel", "month_of_cohort", "age"], as_index=False)["amount"].sum()
    for channel, month, age, amount in sums.itertuples(index=False):
        by_age.setdefault((channel, month), np.zeros(this_month - month + 1, dtype="int64"))[age] = amount
    return by_age


def _payback(amounts: np.ndarray, cost_cents: int) -> int | None:
    reached = np.flatnonzero(np.cumsum(amounts) >= cost_cents * (MONEY_SCALE // 100))
    return int(reached[0]) + 1 if len(reached) else None


def _payback_status(count: int, cost_cents: int, paid_after: int | None, months: int, months_silent: int) -> str:
    if not count:
        return "no_customers"
    if cost_cents <= 0:
        return "no_cost"
    if paid_after is not None:
        return "paid_back"
    return "never" if months >= HORIZONS[-1] or months_silent >= MONTHS_PER_YEAR else "not_yet"


def _roi(amounts: np.ndarray, cost_cents: int, horizon: int, discount_rate: float) -> float | None:
    if cost_cents <= 0 or len(amounts) < horizon:
        return None
    present = amounts[:horizon] / (1 + discount_rate) ** (np.arange(horizon) / MONTHS_PER_YEAR)
    cost = cost_cents * (MONEY_SCALE // 100)
    return round(float(present.sum() - cost) / cost, 6)


def _per_customer(cost_cents: int, count: int) -> float | None:
    return round(cost_cents / 100 / count, 4) if count else None


def _cents(amounts: pd.Series) -> list[int]:
    return [int(cents) for cents in (amounts.astype("float64").fillna(0.0) * 100).round()]


def _key(channel: Any) -> str:
    """What two spellings of a channel have in common; empty when there is none."""
    return "" if pd.isna(channel) else " ".join(str(channel).split()).casefold()


def _channel_names(history: History) -> dict[str, str]:
    """The name of each channel: of several spellings the one that sorts first."""
    names = {_key(UNATTRIBUTED): UNATTRIBUTED}
    for frame, column in (
        (history.customers, "acquisition_source"),
        (history.responses, "channel"),
        (history.campaigns, "channel"),
        (history.spending_rules, "channel"),
    ):
        for channel in frame[column].dropna().unique():
            spelled = " ".join(str(channel).split())
            names[_key(channel)] = min(names.get(_key(channel), spelled), spelled)
    return names
