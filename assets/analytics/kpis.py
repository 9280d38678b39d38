"""Key figures of the company on its customers, with target, status and the value a year before.

Belongs here: adding up what other tables know of single customers, cases and pools. Not here: what a figure means
(`kpi_catalogue`), and its target, which the company declares.

Money is summed as whole ten-thousandths; shares, hours and rates are floats.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from assets.analytics.features import COMPLAINT
from assets.analytics.history import (
    MONEY_SCALE,
    as_of_column,
    first_day_of_last_12_months,
    known_orders,
    money,
    month_number,
)
from assets.analytics.kpi_catalogue import KPIS
from assets.analytics.relationship import PASSIVE_FROM, PROMOTER_FROM

NOT_A_CUSTOMER = "UNMATCHED"
UNATTRIBUTED = "unattributed"

MONTHS_PER_YEAR = 12
DSO_MONTHS = 3
PROFIT_COLUMNS = ("net_revenue", "operating_profit", "cost_to_serve", "credit_cost")

MONTHLY = """
    select
        customer_id,
        month,
        net_revenue,
        operating_profit,
        direct_cost_to_serve + activity_cost_variable + activity_cost_step_fixed + activity_cost_fixed as cost_to_serve,
        expected_credit_loss + financing_cost as credit_cost
    from marts.customer_profitability
"""

SURVEYS = """
    select responded_on, survey_type, score_normalized as score
    from facts.fct_survey_responses
    where score_normalized is not null
"""

CASES = f"""
    select
        opened_at,
        first_response_at,
        closed_at,
        status_class,
        customer_id <> '{NOT_A_CUSTOMER}' as is_of_customer,
        regexp_matches(lower(concat_ws(' ', case_type, category)), '{COMPLAINT}') as is_complaint
    from facts.fct_service_cases
"""

RECEIVABLES = """
    select month, sum(closing_balance) as balance, sum(sales_amount) as sales, max(day_count) as days
    from credit.receivable_months
    group by month
"""

ACQUISITION = (
    "select channel, month, cost, new_customers, payback_months, payback_status from analytics.acquisition_channels"
)

POOLS = """
    select
        results.month,
        sum(results.own_amount) as cost,
        sum(results.unallocated_amount) as unallocated,
        sum(results.unused_amount) as unused,
        sum(variances.actual_amount) as budgeted_actual,
        sum(variances.static_budget_amount) as budget
    from marts.pool_results as results
    left join marts.pool_variances as variances
        on results.month = variances.month and results.pool_id = variances.pool_id
    group by results.month
"""

CHURN = "select customer_id, churn_probability from analytics.churn_risk"

LIFETIME_VALUES = "select customer_id, clv from analytics.customer_clv"

TYPES = {
    "kpi": "VARCHAR",
    "as_of_date": "DATE",
    "title": "VARCHAR",
    "value": "DOUBLE",
    "unit": "VARCHAR",
    "target": "DOUBLE",
    "direction": "VARCHAR",
    "status": "VARCHAR",
    "previous_value": "DOUBLE",
    "previous_date": "DATE",
    "change": "DOUBLE",
    "formula": "VARCHAR",
    "note": "VARCHAR",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)


class History(NamedTuple):
    """What the figures are computed from, of any dates; money in base currency, months as their first day.

    - orders: customer_id, order_date, net_revenue (credit notes netted), one row per order.
    - monthly: customer_id (UNMATCHED for nobody), month, net_revenue, operating_profit (loss -), cost_to_serve, credit_cost.
    - surveys: responded_on, survey_type, score (0 to 1).
    - cases: opened_at, first_response_at, closed_at (the latter two may be missing), status_class, is_of_customer, is_complaint.
    - receivables: month, balance at its end, sales with tax, days of the month.
    - acquisition: channel, month, cost, new_customers, payback_months (missing while not paid back), payback_status.
    - pools: month, cost (booked), unallocated, unused, budgeted_actual, budget (the last two may be missing: of pools with one).
    - churn: customer_id, churn_probability, as of the as-of date. lifetime_values: customer_id, clv, likewise.
    """

    orders: pd.DataFrame
    monthly: pd.DataFrame
    surveys: pd.DataFrame
    cases: pd.DataFrame
    receivables: pd.DataFrame
    acquisition: pd.DataFrame
    pools: pd.DataFrame
    churn: pd.DataFrame
    lifetime_values: pd.DataFrame


def kpis(
    history: History, as_of: datetime.date, *, targets: Mapping[str, float], referral_sources: Iterable[str] = ()
) -> pd.DataFrame:
    """One row per key figure of the catalogue, in its order; nothing dated after `as_of` is seen.

    - value: rounded to six decimals, money and hours to four; missing where it cannot be measured, and `note` says why. A note
      beside a value says what it leaves out.
    - target: from `targets` (name -> value); missing without one. direction: higher or lower, what is better.
    - status: met (the value is the target or better), missed, no_target, not_measurable.
    - previous_value: the same figure twelve months before (previous_date), by what is known today of then; missing where the
      record does not reach back, and of scores, which nobody made then. change: value less previous_value.
    - formula: in words.

    "The last 12 months" are the as-of month and the eleven before it. Raises ValueError for a target of an unknown figure.
    """
    unknown = sorted(set(targets) - set(KPIS))
    if unknown:
        raise ValueError(f"There is no key figure {unknown[0]!r}; targets can be set for {', '.join(KPIS)}.")
    referrals = frozenset(_key(source) for source in referral_sources)
    earlier = (pd.Timestamp(as_of) - pd.DateOffset(years=1)).date()
    now = _Figures(history, as_of, referrals, is_past=False)
    before = _Figures(history, earlier, referrals, is_past=True)
    rows = []
    for name, kpi in KPIS.items():
        measured, previous = now.measure(name), before.measure(name)
        target = targets.get(name)
        value = measured.value
        rows.append(
            {
                "kpi": name,
                "title": kpi.title,
                "value": value,
                "unit": kpi.unit,
                "target": target,
                "direction": kpi.direction,
                "status": _status(value, target, kpi.direction),
                "previous_value": previous.value,
                "previous_date": earlier,
                "change": None if value is None or previous.value is None else round(value - previous.value, 6),
                "formula": kpi.formula,
                "note": measured.note or None,
            }
        )
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "as_of_date"], dtype="object")
    table["as_of_date"] = as_of_column(as_of, len(table))
    return table[list(COLUMNS)]


def _status(value: float | None, target: float | None, direction: str) -> str:
    if value is None:
        return "not_measurable"
    if target is None:
        return "no_target"
    return "met" if (value >= target if direction == "higher" else value <= target) else "missed"


class _Measured(NamedTuple):
    """A value, or the reason why there is none; beside a value, what it leaves out."""

    value: float | None
    note: str = ""


def _no(reason: str) -> _Measured:
    return _Measured(None, reason)


def _ratio(numerator: float, denominator: float, reason: str, *, scale: float = 1.0, digits: int = 6) -> _Measured:
    return _Measured(round(numerator * scale / denominator, digits)) if denominator > 0 else _no(reason)


class _Figures:
    """The figures as of one date. Of a past date, a sum over months the record does not cover is none, not a part of one."""

    def __init__(self, history: History, date: datetime.date, referrals: frozenset[str], *, is_past: bool) -> None:
        self.date, self.is_past, self.referrals = date, is_past, referrals
        self.this_month = date.year * MONTHS_PER_YEAR + date.month
        self.first_month = self.this_month - MONTHS_PER_YEAR + 1
        self.end = pd.Timestamp(date) + pd.Timedelta(days=1)
        self.year_begins = first_day_of_last_12_months(date)

        orders = known_orders(history.orders, date)
        orders = orders[orders["is_purchase"] & (orders["customer_id"] != NOT_A_CUSTOMER)]
        self.orders = orders.assign(month=month_number(orders["order_date"]))
        self.surveys = self._dated(history.surveys, "responded_on")
        cases = history.cases
        opened = pd.to_datetime(cases["opened_at"])
        self.cases = cases.assign(opened=opened)[opened < self.end]
        self.monthly, self.receivables, self.acquisition, self.pools = (
            self._of_months(frame)
            for frame in (history.monthly, history.receivables, history.acquisition, history.pools)
        )
        self.churn, self.lifetime_values = history.churn, history.lifetime_values
        recent = self._recent(self.monthly)
        self.amounts = recent[["customer_id"]].assign(**{name: money(recent[name]) for name in PROFIT_COLUMNS})
        customers = self.amounts[self.amounts["customer_id"].notna() & (self.amounts["customer_id"] != NOT_A_CUSTOMER)]
        self.by_customer = customers.groupby("customer_id")[list(PROFIT_COLUMNS)].sum()

    def measure(self, name: str) -> _Measured:
        measured = _MEASURES[name](self)
        return _Measured(None) if self.is_past and measured.value is None else measured

    def _dated(self, frame: pd.DataFrame, column: str) -> pd.DataFrame:
        dates = pd.to_datetime(frame[column])
        return frame[(dates < self.end) & (dates >= self.year_begins)]

    def _of_months(self, frame: pd.DataFrame) -> pd.DataFrame:
        months = month_number(frame["month"])
        return frame.assign(month=months)[months <= self.this_month]

    def _recent(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["month"] >= self.first_month]

    def _covered(self, frame: pd.DataFrame, measured: _Measured) -> _Measured:
        """A figure over twelve months, with what the record of them leaves out."""
        missing = int(frame["month"].min()) - self.first_month if len(frame) else MONTHS_PER_YEAR
        if missing <= 0 or measured.value is None:
            return measured
        if self.is_past:
            return _no("the record does not reach back")
        return measured._replace(note=f"The record covers {MONTHS_PER_YEAR - missing} of the 12 months.")

    def _total(self, column: str) -> float:
        return int(self.amounts[column].sum()) / MONEY_SCALE

    def _of_revenue(self, column: str) -> _Measured:
        measured = _ratio(
            self._total(column), self._total("net_revenue"), "No net revenue above zero in the last 12 months."
        )
        return self._covered(self.monthly, measured)

    def operating_profit(self) -> _Measured:
        if self.amounts.empty:
            return _no("No revenue or cost on customers in the last 12 months.")
        return self._covered(self.monthly, _Measured(round(self._total("operating_profit"), 4)))

    def operating_margin(self) -> _Measured:
        return self._of_revenue("operating_profit")

    def credit_cost_share(self) -> _Measured:
        return self._of_revenue("credit_cost")

    def cost_to_serve_share(self) -> _Measured:
        return self._of_revenue("cost_to_serve")

    def loss_making_share(self) -> _Measured:
        losing = int((self.by_customer["operating_profit"] < 0).sum())
        measured = _ratio(losing, len(self.by_customer), "No customer had revenue or cost in the last 12 months.")
        return self._covered(self.monthly, measured)

    def whale_peak_share(self) -> _Measured:
        earned = int(self.by_customer["operating_profit"].clip(lower=0).sum())
        total = int(self.by_customer["operating_profit"].sum())
        measured = _ratio(earned, total, "Customers together earn nothing: the curve has money and no share.")
        return self._covered(self.monthly, measured)

    def loss_destroyed(self) -> _Measured:
        if self.by_customer.empty:
            return _no("No customer had revenue or cost in the last 12 months.")
        lost = -int(self.by_customer["operating_profit"].clip(upper=0).sum())
        return self._covered(self.monthly, _Measured(round(lost / MONEY_SCALE, 4)))

    def top_fifth_revenue_share(self) -> _Measured:
        revenue = self.by_customer["net_revenue"]
        revenue = revenue[revenue > 0].sort_values(ascending=False)
        fifth = -(-len(revenue) // 5)
        measured = _ratio(int(revenue.iloc[:fifth].sum()), int(revenue.sum()), "No customer had revenue above zero.")
        return self._covered(self.monthly, measured)

    def _orders_12m(self) -> pd.Series:
        recent = self.orders[self.orders["month"] >= self.first_month]
        return recent.groupby("customer_id").size()

    def active_customers(self) -> _Measured:
        if self.orders.empty:
            return _no("There is no order.")
        return self._covered(self.orders, _Measured(float(len(self._orders_12m()))))

    def retention_rate(self) -> _Measured:
        before = self.orders[
            (self.orders["month"] < self.first_month) & (self.orders["month"] >= self.first_month - MONTHS_PER_YEAR)
        ]
        begins = int(self.orders["month"].min()) if len(self.orders) else self.this_month
        if begins > self.first_month - MONTHS_PER_YEAR:
            return _no("Needs orders of 24 months; the record is shorter.")
        at_risk = before["customer_id"].drop_duplicates()
        kept = int(at_risk.isin(self._orders_12m().index).sum())
        return _ratio(kept, len(at_risk), "Nobody ordered in the 12 months before the last 12.")

    def repeat_purchase_rate(self) -> _Measured:
        orders = self._orders_12m()
        return self._covered(
            self.orders, _ratio(int((orders >= 2).sum()), len(orders), "Nobody ordered in the last 12 months.")
        )

    def average_orders(self) -> _Measured:
        orders = self._orders_12m()
        return self._covered(
            self.orders, _ratio(int(orders.sum()), len(orders), "Nobody ordered in the last 12 months.")
        )

    def average_clv(self) -> _Measured:
        if self.is_past:
            return _no("scores of then are not kept")
        active = (
            self.lifetime_values["customer_id"].isin(self._orders_12m().index) & self.lifetime_values["clv"].notna()
        )
        total = int(money(self.lifetime_values["clv"][active]).sum()) / MONEY_SCALE
        return _ratio(total, int(active.sum()), "No customer who ordered in the last 12 months was valued.", digits=4)

    def revenue_at_churn_risk(self) -> _Measured:
        if self.is_past:
            return _no("scores of then are not kept")
        if self.churn.empty:
            return _no("No churn risk was scored.")
        risk = self.churn.drop_duplicates("customer_id").set_index("customer_id")["churn_probability"].astype("float64")
        revenue = self.by_customer["net_revenue"].clip(lower=0).reindex(risk.index).fillna(0)
        at_risk = int((revenue * risk.clip(0, 1).fillna(0)).round().sum())
        return self._covered(self.monthly, _Measured(round(at_risk / MONEY_SCALE, 4)))

    def csat(self) -> _Measured:
        scores = self.surveys[self.surveys["survey_type"] == "csat"]["score"].astype("float64").clip(0, 1)
        millionths = int((scores * 1e6).round().sum())
        return _ratio(millionths / 1e6, len(scores), "No CSAT answer in the last 12 months.")

    def nps(self) -> _Measured:
        scores = self.surveys[self.surveys["survey_type"] == "nps"]["score"].astype("float64")
        balance = int((scores >= PROMOTER_FROM).sum()) - int((scores < PASSIVE_FROM).sum())
        return _ratio(balance, len(scores), "No NPS answer in the last 12 months.", scale=100, digits=4)

    def complaints_per_100_orders(self) -> _Measured:
        cases = self.cases[self.cases["is_of_customer"].astype("bool")]
        if cases.empty:
            return _no("No service case is on record.")
        months = month_number(cases["opened"])
        # Orders before the first case on record have no complaints because nobody wrote them down.
        begins = max(self.first_month, int(months.min()))
        complaints = int((cases["is_complaint"].astype("bool") & (months >= begins)).sum())
        orders = int((self.orders["month"] >= begins).sum())
        measured = _ratio(complaints, orders, "Nobody ordered in the last 12 months.", scale=100, digits=4)
        return self._covered(pd.DataFrame({"month": months}), measured)

    def first_response_hours(self) -> _Measured:
        return self._median_hours("first_response_at", "No case of the last 12 months has a first response on record.")

    def resolution_hours(self) -> _Measured:
        return self._median_hours("closed_at", "No case of the last 12 months can be said to be closed or open.")

    def _median_hours(self, column: str, reason: str) -> _Measured:
        recent = self.cases[self.cases["opened"] >= self.year_begins]
        times = pd.to_datetime(recent[column])
        hours = (times - recent["opened"]).dt.total_seconds().clip(lower=0).astype("float64") / 3600
        ended = times < self.end
        if column == "closed_at":
            waiting = ~ended & ((recent["status_class"] == "open") | times.notna())
            hours = hours.where(ended, np.inf)[ended | waiting]
        else:
            hours = hours[ended]
        if hours.empty:
            return _no(reason)
        middle = np.sort(hours.to_numpy())[[(len(hours) - 1) // 2, len(hours) // 2]]
        if np.isinf(middle).any():
            return _no("More than half of the cases of the last 12 months are open.")
        return _Measured(round(float(middle.mean()), 4))

    def dso(self) -> _Measured:
        recent = self.receivables[self.receivables["month"] > self.this_month - DSO_MONTHS]
        now = recent[recent["month"] == self.this_month]
        if now.empty:
            return _no("No receivables are on record in the as-of month.")
        balance = int(money(now["balance"]).sum())
        return _ratio(
            balance,
            int(money(recent["sales"]).sum()),
            "No sales above zero in the last three months.",
            scale=float(recent["days"].sum()),
            digits=4,
        )

    def new_customers(self) -> _Measured:
        if self.acquisition.empty:
            return _no("No new customer or acquisition cost is on record.")
        count = int(self._recent(self.acquisition)["new_customers"].sum())
        return self._covered(self.acquisition, _Measured(float(count)))

    def cac(self) -> _Measured:
        recent = self._recent(self.acquisition)
        cost, won = int(money(recent["cost"]).sum()), int(recent["new_customers"].sum())
        if cost <= 0:
            return _no("No acquisition cost is known in the last 12 months.")
        measured = _ratio(cost / MONEY_SCALE, won, "No customer was won in the last 12 months.", digits=4)
        return self._covered(self.acquisition, measured)

    def payback_months(self) -> _Measured:
        cohorts = self.acquisition[
            (self.acquisition["month"] <= self.this_month - MONTHS_PER_YEAR)
            & (self.acquisition["month"] > self.this_month - 2 * MONTHS_PER_YEAR)
            & (self.acquisition["new_customers"] > 0)
        ]
        if cohorts.empty:
            return _no("No customer won 13 to 24 months ago is on record.")
        if not (cohorts["payback_status"] != "no_cost").any():
            return _no("Acquisition cost nothing that is known.")
        months = cohorts["payback_months"].astype("float64")
        is_known = months.notna() & (cohorts["month"] + months - 1 <= self.this_month)
        unpaid = np.where(cohorts["payback_status"] == "no_cost", 0.0, np.inf)
        paid = np.where(is_known, months, unpaid)
        each = np.sort(np.repeat(paid, cohorts["new_customers"].astype("int64").to_numpy()))
        median = float(each[(len(each) - 1) // 2])
        return (
            _Measured(median)
            if np.isfinite(median)
            else _no("The cohorts of half of the customers have not paid back.")
        )

    def referral_rate(self) -> _Measured:
        if not self.referrals:
            return _no("Name the sources that are referrals in company.yml, as referral_sources.")
        recent = self._recent(self.acquisition)
        channels = recent["channel"].map(_key)
        known = recent[channels != UNATTRIBUTED]
        referred = int(known["new_customers"][channels.isin(self.referrals)].sum())
        measured = _ratio(
            referred, int(known["new_customers"].sum()), "The source of no new customer of the last 12 months is known."
        )
        return self._covered(self.acquisition, measured)

    def _of_cost(self, column: str) -> _Measured:
        recent = self._recent(self.pools)
        part, cost = int(money(recent[column]).sum()), int(money(recent["cost"]).sum())
        return self._covered(self.pools, _ratio(part, cost, "No cost is in the ledger's pools in the last 12 months."))

    def unallocated_cost_share(self) -> _Measured:
        return self._of_cost("unallocated")

    def unused_capacity_share(self) -> _Measured:
        return self._of_cost("unused")

    def budget_deviation(self) -> _Measured:
        recent = self._recent(self.pools)
        actual, budget = int(money(recent["budgeted_actual"]).sum()), int(money(recent["budget"]).sum())
        measured = _ratio(actual - budget, budget, "No cost pool has a budget in the last 12 months.")
        return self._covered(self.pools[self.pools["budget"].notna()], measured)


_MEASURES: dict[str, Callable[[_Figures], _Measured]] = {
    "operating_profit_12m": _Figures.operating_profit,
    "operating_margin_12m": _Figures.operating_margin,
    "loss_making_customer_share": _Figures.loss_making_share,
    "whale_peak_share": _Figures.whale_peak_share,
    "loss_destroyed_12m": _Figures.loss_destroyed,
    "top_fifth_revenue_share": _Figures.top_fifth_revenue_share,
    "active_customers_12m": _Figures.active_customers,
    "retention_rate": _Figures.retention_rate,
    "repeat_purchase_rate": _Figures.repeat_purchase_rate,
    "average_orders_12m": _Figures.average_orders,
    "average_clv": _Figures.average_clv,
    "revenue_at_churn_risk": _Figures.revenue_at_churn_risk,
    "csat": _Figures.csat,
    "nps": _Figures.nps,
    "complaints_per_100_orders": _Figures.complaints_per_100_orders,
    "first_response_hours": _Figures.first_response_hours,
    "resolution_hours": _Figures.resolution_hours,
    "dso": _Figures.dso,
    "credit_cost_share": _Figures.credit_cost_share,
    "cost_to_serve_share": _Figures.cost_to_serve_share,
    "new_customers_12m": _Figures.new_customers,
    "cac": _Figures.cac,
    "payback_months": _Figures.payback_months,
    "referral_rate": _Figures.referral_rate,
    "unallocated_cost_share": _Figures.unallocated_cost_share,
    "unused_capacity_share": _Figures.unused_capacity_share,
    "budget_deviation": _Figures.budget_deviation,
}


def _key(source: object) -> str:
    """What two spellings of a source have in common."""
    return " ".join(str(source).split()).casefold()
