"""Credit advice: how much a customer may owe, what their credit costs, and which change of terms would pay.

Belongs here: the limit and the ladder of rules, over one row per customer. Not here: what is owed, how old it is and what it
costs, which SQL has counted (dbt_project/models/credit), nor the decision: nothing here changes a limit by itself.

Money columns are floats rounded to four decimals; the warehouse stores them as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from assets.analytics.history import as_of_column
from assets.company import Credit

NOT_A_CUSTOMER = "UNMATCHED"

SMALLEST_AMOUNT = 0.0001
"""Of money in the facts: what is less is nothing."""

DAYS_PER_MONTH = 30
DAYS_PER_YEAR = 365

SHORTEST_AVERAGE_MONTHS = 3
"""Sales of a customer seen for less than a quarter are averaged over a quarter: a first order is not a monthly rate."""

LIMIT_IN_USE = 0.8
"""A limit is in somebody's way when four fifths of it were used at the end of some month of the last twelve. A convention."""

AMOUNTS = (
    "exposure",
    "not_due",
    "overdue_1_30",
    "overdue_31_60",
    "overdue_61_90",
    "overdue_over_90",
    "overdue",
    "unapplied_credit",
    "allowance",
    "sales_12m",
    "balance_days_12m",
    "highest_balance_12m",
    "financing_cost_12m",
    "expected_credit_loss_12m",
    "contribution_12m",
)
"""Columns of money `advise` reads, base currency; missing is 0. Sales and what is owed include tax."""

MEASURES = (
    "dso",
    "countback_dso",
    "best_possible_dso",
    "average_days_delinquent",
    "days_late_paid_3m",
    "previous_days_late_paid_3m",
    "days_late_paid_12m",
    "days_late_open",
)
"""Columns of days `advise` reads; missing where there is nothing to measure."""

_CREDIT_AMOUNTS = ",\n        ".join(
    f"cast(months.{name} as double) as {name}"
    for name in (
        *("not_due", "overdue_1_30", "overdue_31_60", "overdue_61_90", "overdue_over_90", "overdue"),
        *("unapplied_credit", "dso", "countback_dso", "best_possible_dso", "average_days_delinquent"),
        *("days_late_paid_3m", "days_late_open"),
    )
)

INPUTS = f"""
    with known_months as (
        select months.*
        from credit.receivable_months as months
        inner join facts.as_of as as_of
            on months.month > as_of.as_of_month - interval 12 month and months.month <= as_of.as_of_month
        where months.customer_id <> '{NOT_A_CUSTOMER}'
    ),

    years as (
        select
            customer_id,
            count(*) as months_12m,
            sum(day_count) as days_12m,
            sum(sales_amount) as sales_12m,
            sum(balance_days) as balance_days_12m,
            max(closing_balance) as highest_balance_12m,
            case when sum(settled_amount) > 0
                then cast(sum(settled_days_amount) as double) / cast(sum(settled_amount) as double) end as days_late_paid_12m
        from known_months
        group by customer_id
    ),

    terms as (
        select
            items.customer_id,
            sum(items.amount * (items.due_date - items.document_date)) as payment_day_amount,
            sum(items.amount) as amount
        from credit.receivable_items as items
        inner join facts.as_of as as_of
            on items.month > as_of.as_of_month - interval 12 month
        where items.document_kind in ('invoice', 'debit_note') and items.amount > 0
        group by items.customer_id
    ),

    credit_costs as (
        select
            costs.customer_id,
            sum(costs.financing_cost) as financing_cost_12m,
            sum(costs.expected_credit_loss) as expected_credit_loss_12m
        from credit.customer_credit_costs as costs
        inner join facts.as_of as as_of
            on costs.month > as_of.as_of_month - interval 12 month and costs.month <= as_of.as_of_month
        group by costs.customer_id
    ),

    profits as (
        select profits.customer_id, sum(profits.contribution_after_cost_to_serve) as contribution_12m
        from marts.customer_profitability as profits
        inner join facts.as_of as as_of
            on profits.month > as_of.as_of_month - interval 12 month and profits.month <= as_of.as_of_month
        group by profits.customer_id
    )

    select
        months.customer_id,
        cast(customers.credit_limit as double) as credit_limit,
        cast(losses.exposure as double) as exposure,
        {_CREDIT_AMOUNTS},
        earlier.days_late_paid_3m as previous_days_late_paid_3m,
        cast(losses.allowance as double) as allowance,
        losses.rate_source as loss_rate_source,
        cast(rates.loss_rate as double) as loss_rate_not_due,
        years.months_12m,
        years.days_12m,
        cast(years.sales_12m as double) as sales_12m,
        cast(years.balance_days_12m as double) as balance_days_12m,
        cast(years.highest_balance_12m as double) as highest_balance_12m,
        years.days_late_paid_12m,
        cast(terms.payment_day_amount as double) / cast(terms.amount as double) as payment_days,
        cast(credit_costs.financing_cost_12m as double) as financing_cost_12m,
        cast(credit_costs.expected_credit_loss_12m as double) as expected_credit_loss_12m,
        cast(profits.contribution_12m as double) as contribution_12m
    from known_months as months
    inner join facts.as_of as as_of on months.month = as_of.as_of_month
    inner join years on months.customer_id = years.customer_id
    inner join credit.expected_credit_losses as losses
        on months.customer_id = losses.customer_id and months.month = losses.month
    inner join credit.loss_rates as rates on months.month = rates.month and rates.ageing_bucket = 'not_due'
    left join known_months as earlier
        on months.customer_id = earlier.customer_id and earlier.month = as_of.as_of_month - interval 3 month
    left join terms on months.customer_id = terms.customer_id
    left join credit_costs on months.customer_id = credit_costs.customer_id
    left join profits on months.customer_id = profits.customer_id
    left join facts.dim_customers as customers on months.customer_id = customers.customer_id
    order by months.customer_id
"""
"""One row per customer who was ever invoiced or paid, as of, in the columns `advise` reads."""

SUGGESTIONS = ("prepay", "lower_limit", "shorter_terms", "raise_limit", "none")

RULES = {"prepay": "CR-1", "lower_limit": "CR-2", "shorter_terms": "CR-3", "raise_limit": "CR-4", "none": "CR-0"}
"""Suggestion -> the rule that makes it, in the order in which they are asked."""

MONEY = "DECIMAL(22,4)"

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "exposure": MONEY,
    "overdue": MONEY,
    "unapplied_credit": MONEY,
    "share_not_due": "DOUBLE",
    "share_overdue_1_30": "DOUBLE",
    "share_overdue_31_60": "DOUBLE",
    "share_overdue_61_90": "DOUBLE",
    "share_overdue_over_90": "DOUBLE",
    "dso": "DOUBLE",
    "countback_dso": "DOUBLE",
    "best_possible_dso": "DOUBLE",
    "average_days_delinquent": "DOUBLE",
    "payment_days": "DOUBLE",
    "days_late_paid_12m": "DOUBLE",
    "days_late_paid_3m": "DOUBLE",
    "days_late_trend": "DOUBLE",
    "days_late_open": "DOUBLE",
    "loss_rate": "DOUBLE",
    "loss_rate_source": "VARCHAR",
    "expected_credit_loss": MONEY,
    "expected_credit_loss_12m": MONEY,
    "average_balance_12m": MONEY,
    "financing_cost_12m": MONEY,
    "contribution_12m": MONEY,
    "credit_limit": MONEY,
    "needed_limit": MONEY,
    "risk_cap": MONEY,
    "recommended_limit": MONEY,
    "suggestion": "VARCHAR",
    "rule_id": "VARCHAR",
    "expected_effect": MONEY,
    "explanation": "VARCHAR",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)


def period_dso(balance: float, sales: float, days: float) -> float | None:
    """Days sales outstanding over a period: balance x days / sales of the period; None without sales."""
    return balance * days / sales if sales > 0 else None


def countback_dso(balance: float, sales: Sequence[float], days: Sequence[float]) -> float:
    """Days over which the latest sales add up to the balance.

    `sales` and `days` are per month, the latest first; a month of negative sales counts as one without. 0 without a balance, all
    days when the balance is more than all sales.
    """
    remaining, counted = balance, 0.0
    for sold, length in zip(sales, days, strict=True):
        if remaining <= 0:
            break
        sold = max(sold, 0.0)
        counted += length if sold <= remaining else length * remaining / sold
        remaining -= sold
    return counted


def advise(customers: pd.DataFrame, as_of: datetime.date, settings: Credit) -> pd.DataFrame:
    """One row per customer of `customers`: what they owe, how late they pay, which limit fits, and what to change.

    `customers` has one row per customer: customer_id, the money of AMOUNTS and the days of MEASURES, payment_days (agreed,
    weighted by amount), months_12m and days_12m (observed, of the last 12 months), loss_rate_not_due (0 to 1),
    loss_rate_source, and credit_limit (missing when none is known). contribution_12m is after cost to serve and after both
    credit costs.

    - loss_rate: allowance / exposure, the probability that what is owed today is never paid (nothing is recovered of what is
      lost); of a customer who owes nothing, the rate of what is not due.
    - days_late_trend: days late of what was paid in the last three months less the same of the three before.
    - needed_limit: monthly sales of the last 12 months (with tax, of at least 3 months) x (payment_days + days late) / 30
      x need_factor.
    - risk_cap: the debt whose expected loss and yearly financing are max_risk_share of the contribution before credit costs:
      max_risk_share x contribution / (loss_rate + cost_of_capital), at most max_equity_share of the equity where that is
      known; missing where credit costs nothing and equity is unknown.
    - recommended_limit: the lower of both, 0 or more.
    - suggestion, rule_id: the first rule that holds. CR-1 prepay: of what is owed more than prepay_overdue_share is over 90 days
      overdue, or loss_rate is prepay_loss_rate or more. CR-2 lower_limit, CR-3 shorter_terms: days late rose by more than
      late_trend_days and the contribution before credit costs is less than they are; CR-2 where more is owed than
      recommended. CR-4 raise_limit: contribution above zero, at most punctual_days late, nothing over 30 days overdue,
      the limit (where none is known: the highest balance) lower than recommended and in use. CR-0: none of them.
      Amounts below small_balance are no reason for anything.
    - expected_effect: profit a year, base currency. CR-1: what credit cost in the last 12 months. CR-2: the part of it
      above the recommended limit. CR-3: the part of it that the days late make up. CR-4: the contribution of the sales
      that fit under the difference, at most need_factor - 1 of the sales of 12 months. What customers do in answer is not in it.
    """
    known = customers[customers["customer_id"].notna() & (customers["customer_id"] != NOT_A_CUSTOMER)]
    known = known.sort_values("customer_id", kind="stable").reset_index(drop=True)
    amounts = {name: _numbers(known, name, missing=0.0) for name in AMOUNTS}
    measures = {name: _numbers(known, name) for name in MEASURES}
    credit_limit = _numbers(known, "credit_limit")
    payment_days = _numbers(known, "payment_days", missing=0.0).clip(min=0)

    exposure = amounts["exposure"]
    owes, days = exposure >= SMALLEST_AMOUNT, _numbers(known, "days_12m", missing=0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        loss_rate = np.where(
            owes, amounts["allowance"] / exposure, _numbers(known, "loss_rate_not_due", missing=0.0)
        ).clip(0, 1)
        average_balance = np.where(days >= 1, amounts["balance_days_12m"] / days, 0.0)
    trend = measures["days_late_paid_3m"] - measures["previous_days_late_paid_3m"]
    days_late = np.nan_to_num(measures["days_late_paid_12m"]).clip(min=0)

    months = _numbers(known, "months_12m", missing=0.0).clip(min=SHORTEST_AVERAGE_MONTHS)
    monthly_sales = amounts["sales_12m"].clip(min=0) / months
    needed = monthly_sales * (payment_days + days_late) / DAYS_PER_MONTH * settings.need_factor
    credit_cost = amounts["financing_cost_12m"] + amounts["expected_credit_loss_12m"]
    bearable = (settings.max_risk_share * (amounts["contribution_12m"] + credit_cost)).clip(min=0)
    risk_cap = _risk_cap(bearable, loss_rate + settings.cost_of_capital, settings)
    recommended = np.fmin(needed, risk_cap).round(2)

    cases = [
        _Case(*values)
        for values in zip(
            *(exposure, amounts["overdue_over_90"], amounts["overdue_31_60"] + amounts["overdue_61_90"], loss_rate),
            *(measures["days_late_paid_3m"], measures["previous_days_late_paid_3m"], days_late, payment_days),
            *(amounts["financing_cost_12m"], amounts["expected_credit_loss_12m"], amounts["contribution_12m"]),
            *(amounts["sales_12m"], credit_limit, amounts["highest_balance_12m"], recommended),
            strict=True,
        )
    ]
    advice = [_advice(case, settings) for case in cases]
    result = {
        "customer_id": pd.Series(known["customer_id"], dtype="str"),
        "as_of_date": as_of_column(as_of, len(known)),
        **{name: amounts[name] for name in ("exposure", "overdue", "unapplied_credit")},
        **{
            f"share_{age}": np.divide(amounts[age], exposure, out=np.zeros(len(known)), where=owes)
            for age in ("not_due", "overdue_1_30", "overdue_31_60", "overdue_61_90", "overdue_over_90")
        },
        **{name: measures[name] for name in ("dso", "countback_dso", "best_possible_dso", "average_days_delinquent")},
        "payment_days": payment_days.round(2),
        "days_late_paid_12m": measures["days_late_paid_12m"].round(2),
        "days_late_paid_3m": measures["days_late_paid_3m"],
        "days_late_trend": trend.round(2),
        "days_late_open": measures["days_late_open"],
        "loss_rate": loss_rate.round(6),
        "loss_rate_source": known["loss_rate_source"],
        "expected_credit_loss": amounts["allowance"],
        "expected_credit_loss_12m": amounts["expected_credit_loss_12m"],
        "average_balance_12m": average_balance.round(4),
        "financing_cost_12m": amounts["financing_cost_12m"],
        "contribution_12m": amounts["contribution_12m"],
        "credit_limit": credit_limit,
        "needed_limit": needed.round(2),
        "risk_cap": risk_cap.round(2),
        "recommended_limit": recommended,
        "suggestion": [one.suggestion for one in advice],
        "rule_id": [RULES[one.suggestion] for one in advice],
        "expected_effect": [one.effect for one in advice],
        "explanation": [one.explanation for one in advice],
    }
    table = pd.DataFrame(result, columns=list(COLUMNS))
    days_and_optional = [*MEASURES, "days_late_trend", "credit_limit", "risk_cap"]
    for name in days_and_optional:
        if name in table:  # nothing to measure is null in the warehouse, not "not a number"
            table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table


def _numbers(frame: pd.DataFrame, column: str, *, missing: float = math.nan) -> np.ndarray:
    """A column as floats; what is missing, not a number or without end becomes `missing`."""
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype="float64", na_value=math.nan)
    return np.where(np.isfinite(values), values, missing)


def _risk_cap(bearable: np.ndarray, yearly_rate: np.ndarray, settings: Credit) -> np.ndarray:
    """The debt whose yearly cost is `bearable`; not a number where nothing caps it."""
    # A rate below a millionth is none: nothing would cap the debt, as without a rate.
    cap = np.divide(bearable, yearly_rate, out=np.full(len(bearable), math.nan), where=yearly_rate >= 1e-6)
    if settings.equity is None:
        return cap
    return np.fmin(cap, settings.max_equity_share * settings.equity)


class _Case(NamedTuple):
    """What the rules ask about one customer; money in base currency, days_late_* in days, missing is not a number."""

    exposure: float
    over_90: float
    over_30_to_90: float
    loss_rate: float
    days_late_3m: float
    previous_days_late_3m: float
    days_late: float
    payment_days: float
    financing_cost: float
    expected_credit_loss: float
    contribution: float
    sales: float
    credit_limit: float
    highest_balance: float
    recommended_limit: float

    @property
    def credit_cost(self) -> float:
        """What credit cost in the last 12 months; a release of the allowance is no saving that comes every year."""
        return max(self.financing_cost, 0.0) + max(self.expected_credit_loss, 0.0)

    @property
    def present_limit(self) -> float:
        return max(self.highest_balance, 0.0) if math.isnan(self.credit_limit) else self.credit_limit


class _Advice(NamedTuple):
    suggestion: str
    effect: float
    explanation: str


def _advice(case: _Case, settings: Credit) -> _Advice:
    return (
        _prepay(case, settings)
        or _tighter(case, settings)
        or _raised(case, settings)
        or _Advice(
            "none",
            0.0,
            f"{RULES['none']}: no rule asks for a change. {_money(case.exposure)} owed, expected loss rate "
            f"{_percent(case.loss_rate)}, contribution of 12 months {_money(case.contribution)}; a limit of "
            f"{_money(case.recommended_limit)} would do.",
        )
    )


def _cost_text(case: _Case) -> str:
    return (
        f"financing {_money(max(case.financing_cost, 0.0))} and expected losses "
        f"{_money(max(case.expected_credit_loss, 0.0))} in the last 12 months"
    )


def _prepay(case: _Case, settings: Credit) -> _Advice | None:
    if case.exposure < max(settings.small_balance, 0.01):
        return None
    share = case.over_90 / case.exposure
    too_old = case.over_90 >= settings.small_balance and share > settings.prepay_overdue_share
    too_risky = case.loss_rate >= settings.prepay_loss_rate
    if not too_old and not too_risky:
        return None
    reasons = []
    if too_old:
        reasons.append(
            f"{_money(case.over_90)} of {_money(case.exposure)} owed ({_percent(share)}) is over 90 days overdue, more than "
            f"{_percent(settings.prepay_overdue_share)}"
        )
    if too_risky:
        reasons.append(
            f"the expected loss rate of the {_money(case.exposure)} owed is {_percent(case.loss_rate)}, "
            f"{_percent(settings.prepay_loss_rate)} or more"
        )
    effect = round(case.credit_cost, 2)
    return _Advice(
        "prepay",
        effect,
        f"{RULES['prepay']}: {'; '.join(reasons)}. Deliver against payment in advance: that saves up to {_money(effect)} a "
        f"year ({_cost_text(case)}); a contribution of {_money(case.contribution)} a year is at stake.",
    )


def _tighter(case: _Case, settings: Credit) -> _Advice | None:
    rise = case.days_late_3m - case.previous_days_late_3m
    # Written so that a comparison with a missing number asks for nothing.
    later = rise > settings.late_trend_days and case.days_late_3m > 0
    before_credit = case.contribution + case.financing_cost + case.expected_credit_loss
    if not later or case.exposure < settings.small_balance or before_credit >= case.credit_cost:
        return None
    reason = (
        f"paid {case.days_late_3m:.1f} days late in the last three months, {case.previous_days_late_3m:.1f} in the three "
        f"before; the contribution of 12 months before credit, {_money(before_credit)}, is less than what credit cost "
        f"({_cost_text(case)})"
    )
    excess = case.exposure - case.recommended_limit
    if excess > 0:
        effect = round(case.credit_cost * excess / case.exposure, 2)
        return _Advice(
            "lower_limit",
            effect,
            f"{RULES['lower_limit']}: {reason}. Lower the limit to {_money(case.recommended_limit)}; "
            f"{_money(case.exposure)} is owed. That saves about {_money(effect)} a year.",
        )
    share = case.days_late_3m / (case.payment_days + case.days_late_3m)
    effect = round(case.credit_cost * share, 2)
    return _Advice(
        "shorter_terms",
        effect,
        f"{RULES['shorter_terms']}: {reason}. Shorten the terms of {case.payment_days:.0f} days by the days late: that saves "
        f"about {_money(effect)} a year.",
    )


def _raised(case: _Case, settings: Credit) -> _Advice | None:
    room = case.recommended_limit - case.present_limit
    is_punctual = case.days_late_3m <= settings.punctual_days
    is_clean = case.over_30_to_90 + case.over_90 < max(settings.small_balance, 0.01)
    in_use = case.highest_balance >= LIMIT_IN_USE * case.present_limit
    collection_days = case.payment_days + case.days_late
    if not (case.contribution > 0 and is_punctual and is_clean and in_use and case.sales > 0 and collection_days > 0):
        return None
    if room < max(settings.small_balance, 0.01):
        return None
    more_sales = min(room * DAYS_PER_YEAR / collection_days, (settings.need_factor - 1) * case.sales)
    effect = round(more_sales * case.contribution / case.sales, 2)
    if effect <= 0:
        return None
    present = (
        f"the highest balance of 12 months, {_money(case.present_limit)}"
        if math.isnan(case.credit_limit)
        else f"{_money(case.present_limit)}, of which {_money(case.highest_balance)} was in use"
    )
    return _Advice(
        "raise_limit",
        effect,
        f"{RULES['raise_limit']}: contribution of 12 months {_money(case.contribution)} on sales of {_money(case.sales)}, paid "
        f"{_lateness(case.days_late_3m)}, nothing over 30 days overdue. Raise the limit from {present} to "
        f"{_money(case.recommended_limit)}: room for {_money(more_sales)} more sales a year, and {_money(effect)} more profit if "
        "they come.",
    )


def _lateness(days: float) -> str:
    return f"{days:.1f} days late" if days > 0 else "on time"


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
