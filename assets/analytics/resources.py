"""Where hours and service go, against where the contribution comes from, by RFM tier; and which shift of hours would pay most.

Belongs here: shares of a tier in what the company's people do and in what it earns. Not here: the tier itself (`rfm`), and
what an hour costs, which the costing has put into the contribution.

Amounts are summed as whole ten-thousandths; shares and rates are floats.
"""

from __future__ import annotations

import datetime
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from assets.analytics.history import MONEY_SCALE, as_of_column, money

NOT_A_CUSTOMER = "UNMATCHED"

_LAST_12_MONTHS = "month > as_of.as_of_month - interval 12 month and month <= as_of.as_of_month"

USE = f"""
    with contacts as (
        select customer_id, 'sales' as work, activity_type as kind, 1 as contacts, duration_minutes as minutes
        from facts.fct_activities, facts.as_of as as_of
        where {_LAST_12_MONTHS}
        union all
        select customer_id, 'service' as work, 'case' as kind, 1 as contacts, handling_minutes as minutes
        from facts.fct_service_cases, facts.as_of as as_of
        where {_LAST_12_MONTHS}
    )

    select
        customer_id,
        work,
        kind,
        sum(contacts) as contacts,
        count(*) filter (where minutes > 0) as timed_contacts,
        sum(case when minutes > 0 then minutes else 0 end) as minutes
    from contacts
    group by customer_id, work, kind
"""
"""Contacts of the last 12 months by customer, work (sales: visits, calls and the like; service: cases) and kind."""

PROFITS = f"""
    select
        customer_id,
        sum(net_revenue) as net_revenue,
        sum(gross_margin - contribution_after_cost_to_serve) as cost_to_serve,
        sum(contribution_after_cost_to_serve) as contribution
    from marts.customer_profitability, facts.as_of as as_of
    where {_LAST_12_MONTHS}
    group by customer_id
"""

TIERS = "select customer_id, rfm_tier, rfm_tier_zh from analytics.customer_rfm"

NEVER_BOUGHT = ("Not a customer yet", "尚未成交")
UNMATCHED = ("Unmatched", "未匹配")
"""Who has no RFM tier: those who never bought, and work and money on no known customer. Their work is shown, never shifted."""

RESOURCES = ("sales_hours", "service_hours", "cost_to_serve")

SHIFTED_SHARE = 0.10
"""A shift moves a tenth of the hours of the smaller of the two tiers: little enough for an average to describe both."""

COLUMNS = (
    "rfm_tier",
    "rfm_tier_zh",
    "resource",
    "as_of_date",
    "customer_count",
    "quantity",
    "estimated_share",
    "resource_share",
    "net_revenue",
    "revenue_share",
    "contribution",
    "contribution_share",
    "contribution_index",
    "contribution_per_unit",
    "shift_to_tier",
    "shift_quantity",
    "shift_effect",
    "shift_sentence",
)


def shares(use: pd.DataFrame, profits: pd.DataFrame, tiers: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """One row per tier and resource the tier used, in the last 12 months as of.

    `use` has one row per customer, work ('sales', 'service') and kind: contacts, timed_contacts (those with minutes), minutes.
    `profits` has one row per customer: net_revenue, cost_to_serve (cost +), contribution (after cost to serve, loss -), base
    currency. `tiers` has one row per customer who ever bought: rfm_tier, rfm_tier_zh. Customers without a tier are on a line
    of their own, UNMATCHED on another. A tier has a row per resource that anybody used.

    - resource: sales_hours, service_hours (hours), cost_to_serve (base currency).
    - quantity: what the tier used. A contact without minutes counts as the average of its kind (of its work, where none of the
      kind has minutes; one hour, where none of the work has): estimated_share says how much of the quantity is such.
    - resource_share, revenue_share, contribution_share: of all tiers, 1 = 100 %; missing where the total is not above zero.
    - contribution_index: contribution_share / resource_share; above 1, the tier brings more than it takes.
    - contribution_per_unit: per hour, or per unit of cost.
    - shift_to_tier, shift_quantity, shift_effect, shift_sentence: of each kind of hours, on the row of the tier that gives
      some, the shift that would pay most: a tenth of the hours of the smaller of two tiers, times the difference of their
      contribution per hour. Not from the lowest to the highest whatever their size: a tier of two hours has little to give or
      to teach. An upper bound: further hours bring less than the average, and contribution has other causes than hours.
    """
    tier_of = tiers.drop_duplicates("customer_id").set_index("customer_id")[["rfm_tier", "rfm_tier_zh"]]
    names_zh = {**dict(tier_of.itertuples(index=False)), **dict([NEVER_BOUGHT, UNMATCHED])}

    def tier(customers: pd.Series) -> pd.Series:
        known = customers.map(tier_of["rfm_tier"]).astype("object")
        return known.where(known.notna(), NEVER_BOUGHT[0]).where(customers != NOT_A_CUSTOMER, UNMATCHED[0])

    minutes = _with_estimates(use)
    money_of = pd.DataFrame(
        {
            "rfm_tier": tier(profits["customer_id"]),
            **{name: money(profits[name]) for name in ("net_revenue", "cost_to_serve", "contribution")},
        }
    )
    earned = money_of.groupby("rfm_tier").sum()
    used = pd.concat(
        [
            pd.DataFrame(
                {
                    "rfm_tier": tier(minutes["customer_id"]),
                    "resource": minutes["work"].astype("object") + "_hours",
                    "quantity": minutes["minutes"] / 60,
                    "estimated": minutes["estimated_minutes"] / 60,
                }
            ),
            pd.DataFrame(
                {
                    "rfm_tier": earned.index,
                    "resource": "cost_to_serve",
                    "quantity": earned["cost_to_serve"] / MONEY_SCALE,
                    "estimated": 0.0,
                }
            ),
        ],
        ignore_index=True,
    )
    # Summed in the order of the values: a sum of floats depends on its order, and the result must not depend on the rows'.
    used = used.sort_values(["rfm_tier", "resource", "quantity", "estimated"])
    used = used.groupby(["rfm_tier", "resource"])[["quantity", "estimated"]].sum().round(6)
    customers = pd.concat([profits["customer_id"], use["customer_id"]]).drop_duplicates()
    counts = tier(customers).value_counts()

    resources = [name for name in RESOURCES if name in used.index.get_level_values("resource")]
    index = pd.MultiIndex.from_product([sorted(counts.index), resources], names=["rfm_tier", "resource"])
    table = used.reindex(index, fill_value=0.0).reset_index()
    for name in ("net_revenue", "contribution"):
        table[name] = table["rfm_tier"].map(earned[name]).fillna(0) / MONEY_SCALE
    table["customer_count"] = table["rfm_tier"].map(counts).astype("int64")
    table["rfm_tier_zh"] = table["rfm_tier"].map(names_zh)
    table["as_of_date"] = as_of_column(as_of, len(table))
    table["estimated_share"] = _ratio(table["estimated"], table["quantity"])
    totals = table.groupby("resource")[["quantity", "net_revenue", "contribution"]].transform("sum")
    table["resource_share"] = _ratio(table["quantity"], totals["quantity"])
    table["revenue_share"] = _ratio(table["net_revenue"], totals["net_revenue"])
    table["contribution_share"] = _ratio(table["contribution"], totals["contribution"])
    table["contribution_index"] = _ratio(table["contribution_share"], table["resource_share"])
    table["contribution_per_unit"] = _ratio(table["contribution"], table["quantity"]).round(4)
    return _with_shifts(table)[list(COLUMNS)]


def _with_estimates(use: pd.DataFrame) -> pd.DataFrame:
    """Minutes with those of untimed contacts estimated: at the average of the kind, else of the work, else an hour."""
    known = use.assign(
        **{name: use[name].astype("float64").fillna(0.0) for name in ("contacts", "timed_contacts", "minutes")}
    ).sort_values(["work", "kind", "customer_id"])
    of_kind = known.groupby(["work", "kind"], dropna=False)[["timed_contacts", "minutes"]].transform("sum")
    of_work = known.groupby("work")[["timed_contacts", "minutes"]].transform("sum")
    average = _ratio(of_kind["minutes"], of_kind["timed_contacts"])
    average = average.fillna(_ratio(of_work["minutes"], of_work["timed_contacts"])).fillna(60.0)
    estimated = (known["contacts"] - known["timed_contacts"]).clip(lower=0) * average
    return known.assign(estimated_minutes=estimated, minutes=known["minutes"] + estimated)


def _ratio(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    """The quotient to six decimals, missing where the denominator is not above zero."""
    quotient = numerator.astype("float64") / denominator.astype("float64").where(denominator > 0)
    return quotient.replace([np.inf, -np.inf], np.nan).round(6)


def _with_shifts(table: pd.DataFrame) -> pd.DataFrame:
    """The shift of each kind of hours that would pay most, on the row it takes hours from."""
    table = table.assign(shift_to_tier=None, shift_quantity=np.nan, shift_effect=np.nan, shift_sentence=None)
    table = table.astype({"shift_to_tier": "object", "shift_sentence": "object"})
    movable = table[
        table["resource"].str.endswith("_hours")
        & table["contribution_per_unit"].notna()
        & ~table["rfm_tier"].isin([NEVER_BOUGHT[0], UNMATCHED[0]])
    ]
    for resource, rows in movable.groupby("resource"):
        shifts = [_shift(giving, taking) for giving, taking in permutations(rows.itertuples(), 2)]
        best = max(shifts, key=lambda shift: shift.effect, default=None)
        if best is None or best.effect <= 0:
            continue
        sentence = (
            f"Moving {best.hours:,.1f} {str(resource).replace('_', ' ')} from {best.giving.rfm_tier} "
            f"({best.giving.contribution_per_unit:,.2f} of contribution per hour) to {best.taking.rfm_tier} "
            f"({best.taking.contribution_per_unit:,.2f}) would bring at most {best.effect:,.2f} a year: an upper bound, as "
            "further hours bring less than the average one."
        )
        table.loc[best.giving.Index, ["shift_to_tier", "shift_quantity", "shift_effect", "shift_sentence"]] = [
            best.taking.rfm_tier,
            best.hours,
            best.effect,
            sentence,
        ]
    return table


class _Shift(NamedTuple):
    giving: Any
    taking: Any
    hours: float
    effect: float


def _shift(giving: Any, taking: Any) -> _Shift:
    hours = round(min(giving.quantity, taking.quantity) * SHIFTED_SHARE, 1)
    gained = taking.contribution_per_unit - giving.contribution_per_unit
    return _Shift(giving, taking, hours, round(hours * gained, 2))
