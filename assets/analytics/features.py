"""What is known of every customer on a date, as numbers: the features of the purchase models and the words of their reasons.

Belongs here: reading a customer history, cutting it off at a date, and counting it into one row per customer. Not here: any
model of what follows from the numbers (`models.purchase`), nor the label such a model is trained on beyond its definition.

Nothing dated after the date counts: orders by their day, profit by whole months that had ended, cases by the day they were
opened, surveys by the day they were answered, and an invoice by what its payer had done or left undone by then.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics.history import MONEY_SCALE, known_orders, money, month_number

NOT_A_CUSTOMER = "UNMATCHED"

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

COMPLAINT = (
    "complain|grievance|投诉|客诉|抱怨|不满|beschwerde|reklamation|réclamation|plainte|queja|reclamo|klacht|苦情"
)
"""What the type or category of a case contains when the customer complained, in the languages the dialects are written in. A
return is none: some shops take back a third of what they sell, from their best customers."""

ORDERS = f"""
    select customer_id, order_id, min(invoice_date) as order_date, sum(net_amount) as net_revenue
    from facts.fct_invoice_lines
    where customer_id <> '{NOT_A_CUSTOMER}'
    group by customer_id, order_id
"""

MONTHLY_PROFIT = f"""
    select
        customer_id,
        month,
        net_revenue,
        net_revenue - operating_profit as cost
    from marts.customer_profitability
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

CASES = f"""
    select
        customer_id,
        opened_date as opened_on,
        regexp_matches(lower(concat_ws(' ', case_type, category)), '{COMPLAINT}') as is_complaint,
        is_escalated
    from facts.fct_service_cases
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

PAYMENTS_LATE = f"""
    select
        customer_id,
        due_date,
        case when open_amount <= 0 then last_cleared_date end as learned_on,
        case when open_amount <= 0 then last_cleared_date - due_date end as days_late
    from credit.receivable_items
    where document_kind in ('invoice', 'debit_note') and amount > 0 and due_date is not null
        and customer_id <> '{NOT_A_CUSTOMER}'
"""

SURVEYS = f"""
    select customer_id, responded_on, score_normalized as score
    from facts.fct_survey_responses
    where score_normalized is not null and customer_id <> '{NOT_A_CUSTOMER}'
"""

WINDOWS = (30, 60, 90, 180, 365)
"""Days over which purchases are counted, each beside the window of the same length before it."""

YEAR = 365
QUARTER = 90

SHRINKAGE_GAPS = 2.0
"""A customer's own mean gap counts as its gaps plus this many of the company's mean: one gap is no rhythm yet."""

SHRINKAGE_ORDERS = 5.0
"""Complaints per order count as over this many more orders: one complaint about one order is no rate of one."""

SHRINKAGE_INVOICES = 3.0

MOST_DAYS_LATE = 365
"""Longer is not later: an invoice nobody has paid for a year is disputed or lost."""

HIGHEST_MARGIN = 1.0
LOWEST_MARGIN = -2.0
"""Margins are cut to these: a customer with 1 of revenue and 500 of cost would otherwise be a feature of its own."""

DECIMALS = 6
"""Features are rounded to these, so that the last bit of a logarithm decides no split on any machine."""


class CustomerHistory(NamedTuple):
    """All that is known of the customers, with dates; frames may be empty and in any order.

    orders: customer_id, order_date, net_revenue (base currency, credit notes netted).
    monthly_profit: customer_id, month (its first day), net_revenue, cost (every cost traced to the customer).
    cases: customer_id, opened_on, is_complaint, is_escalated.
    payments_late: customer_id, due_date, learned_on (the day the invoice was cleared whole; missing = still open) and
    days_late (learned_on - due_date, early -; missing = still open).
    surveys: customer_id, responded_on, score (0 to 1).
    """

    orders: pd.DataFrame
    monthly_profit: pd.DataFrame
    cases: pd.DataFrame
    payments_late: pd.DataFrame
    surveys: pd.DataFrame


EMPTY = CustomerHistory(
    orders=pd.DataFrame({"customer_id": [], "order_date": [], "net_revenue": []}),
    monthly_profit=pd.DataFrame({"customer_id": [], "month": [], "net_revenue": [], "cost": []}),
    cases=pd.DataFrame({"customer_id": [], "opened_on": [], "is_complaint": [], "is_escalated": []}),
    payments_late=pd.DataFrame({"customer_id": [], "due_date": [], "learned_on": [], "days_late": []}),
    surveys=pd.DataFrame({"customer_id": [], "responded_on": [], "score": []}),
)
"""No history of any kind; `EMPTY._replace(orders=...)` is a company that only knows its orders."""


def read(connection: duckdb.DuckDBPyConnection) -> CustomerHistory:
    """The customer history in the warehouse."""
    return CustomerHistory(
        *(connection.execute(sql).df() for sql in (ORDERS, MONTHLY_PROFIT, CASES, PAYMENTS_LATE, SURVEYS))
    )


def sample(history: CustomerHistory, as_of: datetime.date, most_customers: int) -> CustomerHistory:
    """The history of `most_customers` of the customers who had ordered by `as_of` (of all, where they are fewer), chosen by a
    hash of their id: the same ones on every machine, whatever came later, and whatever the order of the rows."""
    is_known = pd.to_datetime(history.orders["order_date"]).dt.normalize() <= pd.Timestamp(as_of)
    customers = pd.Index(history.orders.loc[is_known, "customer_id"].dropna().unique())
    if len(customers) <= most_customers:
        return history
    hashes = pd.util.hash_array(customers.astype("str").to_numpy(dtype=object))
    kept = customers[hashes <= np.partition(hashes, most_customers - 1)[most_customers - 1]]
    return CustomerHistory(*(frame[frame["customer_id"].isin(kept)] for frame in history))


def bought(history: CustomerHistory, as_of: datetime.date, horizon_days: int) -> pd.Series:
    """Whether each customer who had purchased by `as_of` purchased in the `horizon_days` after it: the label. Indexed by
    customer_id, sorted, as `build` is. Ask it only of a date whose horizon has passed."""
    end = as_of + datetime.timedelta(days=horizon_days)
    purchases = known_orders(history.orders, end)
    purchases = purchases[purchases["is_purchase"]]
    is_later = purchases["order_date"] > pd.Timestamp(as_of)
    customers = pd.Index(
        purchases.loc[~is_later, "customer_id"].unique(), dtype="str", name="customer_id"
    ).sort_values()
    return pd.Series(customers.isin(purchases.loc[is_later, "customer_id"].unique()), index=customers, name="bought")


def first_purchase(history: CustomerHistory) -> datetime.date | None:
    """The day of the first purchase of any customer, or None when there is none."""
    purchases = history.orders[(money(history.orders["net_revenue"]) > 0) & history.orders["customer_id"].notna()]
    if purchases.empty:
        return None
    first: datetime.date = pd.to_datetime(purchases["order_date"]).min().date()
    return first


def build(history: CustomerHistory, as_of: datetime.date, *, horizon_days: int = 90) -> pd.DataFrame:
    """One row per customer with a purchase on or before `as_of`, indexed by customer_id (sorted); float columns, no NaN.

    A purchase is a customer's day with a purchase. Days are whole; `_30` to `_365` are purchases in the last so many days,
    `_before` in the window of the same length before. Money is in base currency.

    - days_since_last_purchase, customer_age_days, active_span_days, purchases.
    - mean_gap_days: mean days between own purchases, shrunk towards the company's; gap_variation: their standard
      deviation over their mean (1 for fewer than two gaps, as for purchases at random); last_gap_ratio: the last gap over
      mean_gap_days (1 for none); overdue_ratio: days_since_last_purchase / mean_gap_days.
    - revenue, revenue_per_purchase, last_revenue_ratio (the last purchase over the mean, 1 for one), revenue_365,
      revenue_365_before.
    - margin_12m: profit over revenue of the twelve months that have ended, cut to -2..1, the company's where there was no
      revenue; margin_change: less that of the twelve months before (0 where either is unknown).
    - same_season_last_year: purchases in the `horizon_days` that followed this day a year ago.
    - rested_log_odds, silence_log_odds, probability_alive, expected_purchases: of the MBG/NBD model fitted on these
      customers: the log odds to buy within `horizon_days` on the day of the last purchase; what the silence since has
      changed in them (their sum is the log odds of today); the probability to be a customer still; and purchases
      expected in the horizon.
    - complaints_365, complaint_rate (per order, shrunk), cases_365, escalations_365: of the last 365 days.
    - survey_score: mean of the last 365 days shrunk towards the company's; own_survey_score: not shrunk, the company's for
      none; surveys_365: how many.
    - days_late: of invoices due in the last 365 days, shrunk towards 0, none below 0 and none above 365: until paid, or
      until `as_of` where open; own_days_late: not shrunk; days_late_change: those due in the last 90 days less days_late.
    """
    known = known_orders(history.orders, as_of)
    known = known[known["is_purchase"]]
    code, customers = pd.factorize(known["customer_id"].astype("str"), sort=True)
    index = pd.Index(customers, dtype="str", name="customer_id")
    today = _day(as_of)
    columns = _purchase_features(
        code.astype("int64"),
        _days(known["order_date"]),
        known["amount"].to_numpy(dtype="int64"),
        len(index),
        today,
        horizon_days,
    )
    columns |= _rhythm_features(columns, horizon_days)
    columns |= _margin_features(history.monthly_profit, index, as_of)
    columns |= _service_features(history, index, today, columns["purchases_365"])
    columns |= _payment_features(history.payments_late, index, today)
    rounded = {name: np.round(values.astype("float64"), DECIMALS) for name, values in columns.items()}
    return pd.DataFrame(rounded, index=index)


def _purchase_features(
    code: Whole, day: Whole, amount: Whole, customers: int, today: int, horizon_days: int
) -> dict[str, Floats]:
    """Everything that follows from days and amounts of purchases alone. Rows are orders; `code` is 0 to customers - 1."""
    # One whole number per customer and day: sorting one array costs a third of sorting by two.
    earliest = int(day.min()) if len(day) else 0
    span = today - earliest + 1
    key = code * span + (day - earliest)
    order = np.argsort(key, kind="stable")
    key, amount = key[order], amount[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, dtype="int64")
    amount = np.add.reduceat(amount, starts) if len(starts) else amount
    key = key[starts]
    code, day = key // span, key % span + earliest

    first_row = np.searchsorted(code, np.arange(customers))
    last_row = np.searchsorted(code, np.arange(customers), side="right") - 1
    purchases = (last_row - first_row + 1).astype("float64")
    first, last = day[first_row], day[last_row]
    active_span = (last - first).astype("float64")
    since = (today - last).astype("float64")

    gap = np.diff(day).astype("float64")
    gap_code = code[1:][np.diff(code) == 0]
    gap = gap[np.diff(code) == 0] if len(code) else gap
    gaps = purchases - 1
    square = np.bincount(gap_code, weights=gap * gap, minlength=customers)
    own_mean = active_span / np.maximum(gaps, 1)
    variance = np.maximum(square / np.maximum(gaps, 1) - own_mean**2, 0.0)
    # Of a company without a second purchase the rhythm is unknown but longer than it has lasted.
    company_gap = active_span.sum() / gaps.sum() if gaps.sum() > 0 else float(max(since.max(initial=1.0), 1.0))
    mean_gap = np.maximum((active_span + SHRINKAGE_GAPS * company_gap) / (gaps + SHRINKAGE_GAPS), 1.0)
    last_gap = np.where(gaps > 0, last - day[np.maximum(last_row - 1, first_row)], mean_gap)

    def count(after: int, until: int) -> Floats:
        """Purchases on days after `after` and not after `until` days ago."""
        inside = (day > today - after) & (day <= today - until)
        return np.bincount(code[inside], minlength=customers).astype("float64")

    money_of_day = amount / MONEY_SCALE
    revenue = np.bincount(code, weights=money_of_day, minlength=customers)

    def revenue_between(after: int, until: int) -> Floats:
        inside = (day > today - after) & (day <= today - until)
        return np.bincount(code[inside], weights=money_of_day[inside], minlength=customers).astype("float64")

    mean_revenue = revenue / purchases
    columns = {
        "days_since_last_purchase": since,
        "customer_age_days": (today - first).astype("float64"),
        "active_span_days": active_span,
        "purchases": purchases,
        "mean_gap_days": mean_gap,
        "gap_variation": np.where(gaps >= 2, np.sqrt(variance) / np.maximum(own_mean, 1.0), 1.0),
        "last_gap_ratio": np.where(gaps > 0, last_gap / mean_gap, 1.0),
        "overdue_ratio": since / mean_gap,
        "revenue": revenue,
        "revenue_per_purchase": mean_revenue,
        "last_revenue_ratio": money_of_day[last_row] / mean_revenue,
        "revenue_365": revenue_between(YEAR, 0),
        "revenue_365_before": revenue_between(2 * YEAR, YEAR),
        "same_season_last_year": count(YEAR, max(YEAR - horizon_days, 0)),
    }
    for window in WINDOWS:
        columns[f"purchases_{window}"] = count(window, 0)
        columns[f"purchases_{window}_before"] = count(2 * window, window)
    return columns


def _rhythm_features(columns: dict[str, Floats], horizon_days: int) -> dict[str, Floats]:
    """What the MBG/NBD model makes of the customers' numbers and days of purchases."""
    from assets.analytics.models import mbg_nbd, summaries

    x = columns["purchases"] - 1
    t_x = columns["active_span_days"] / summaries.DAYS_PER_WEEK
    age = columns["customer_age_days"] / summaries.DAYS_PER_WEEK
    if len(x) == 0:
        nothing = np.zeros(0)
        return dict.fromkeys(
            ("rested_log_odds", "silence_log_odds", "probability_alive", "expected_purchases"), nothing
        )
    horizon = horizon_days / summaries.DAYS_PER_WEEK
    distinct = summaries.compress(x, t_x, age)
    parameters = mbg_nbd.fit(distinct).parameters
    now = (distinct.x, distinct.t_x, distinct.T)
    rested = _log_odds(mbg_nbd.probability_of_purchase(parameters, distinct.x, distinct.t_x, distinct.t_x, horizon))
    today = _log_odds(mbg_nbd.probability_of_purchase(parameters, *now, horizon))
    rows = {
        "rested_log_odds": rested,
        "silence_log_odds": today - rested,
        "probability_alive": mbg_nbd.probability_alive(parameters, *now),
        "expected_purchases": mbg_nbd.expected_purchases(parameters, *now, horizon),
    }
    return {name: values[distinct.inverse] for name, values in rows.items()}


def _margin_features(monthly: pd.DataFrame, index: pd.Index, as_of: datetime.date) -> dict[str, Floats]:
    # A month counts when it has ended: the row of the month under way holds, for a past date, what came after it.
    next_day = as_of + datetime.timedelta(days=1)
    last_month = next_day.year * 12 + next_day.month - 1
    code = index.get_indexer(pd.Index(monthly["customer_id"].astype("str")))
    age = last_month - month_number(monthly["month"]).to_numpy()
    revenue = money(monthly["net_revenue"]).to_numpy()
    profit = revenue - money(monthly["cost"]).to_numpy()

    def margin(oldest: int, youngest: int) -> tuple[Floats, NDArray[np.bool_]]:
        inside = (code >= 0) & (age >= youngest) & (age < oldest)
        sums = [_sum(code[inside], values[inside], len(index)) for values in (revenue, profit)]
        is_known = sums[0] > 0
        total = sum(int(values[inside].sum()) for values in (revenue,))
        company = float(np.clip(profit[inside].sum() / total, LOWEST_MARGIN, HIGHEST_MARGIN)) if total > 0 else 0.0
        own = np.clip(sums[1] / np.where(is_known, sums[0], 1), LOWEST_MARGIN, HIGHEST_MARGIN)
        return np.where(is_known, own, company), is_known

    now, is_known_now = margin(12, 0)
    before, is_known_before = margin(24, 12)
    return {"margin_12m": now, "margin_change": np.where(is_known_now & is_known_before, now - before, 0.0)}


def _service_features(
    history: CustomerHistory, index: pd.Index, today: int, purchases_365: Floats
) -> dict[str, Floats]:
    cases, code = _known(history.cases, "opened_on", index, today)
    complained, escalated = (cases[name].astype("boolean").fillna(False).to_numpy(dtype=bool) for name in _CASE_FLAGS)
    complaints = _sum(code[complained], np.ones(int(complained.sum()), dtype="int64"), len(index))
    company_rate = complaints.sum() / max(purchases_365.sum(), 1.0)

    surveys, survey_code = _known(history.surveys, "responded_on", index, today)
    score = np.clip(surveys["score"].to_numpy(dtype="float64"), 0.0, 1.0)
    answered = np.bincount(survey_code, minlength=len(index)).astype("float64")
    company_score = float(np.sort(score).mean()) if len(score) else 0.5
    # Sums of scores in the order of their size: no row order may show in the last bit.
    order = np.lexsort((score, survey_code))
    own = np.bincount(survey_code[order], weights=score[order], minlength=len(index))
    return {
        "complaints_365": complaints,
        "complaint_rate": (complaints + SHRINKAGE_ORDERS * company_rate) / (purchases_365 + SHRINKAGE_ORDERS),
        "cases_365": np.bincount(code, minlength=len(index)).astype("float64"),
        "escalations_365": _sum(code[escalated], np.ones(int(escalated.sum()), dtype="int64"), len(index)),
        "survey_score": (own + company_score) / (answered + 1.0),
        "own_survey_score": np.where(answered > 0, own / np.maximum(answered, 1.0), company_score),
        "surveys_365": answered,
    }


_CASE_FLAGS = ("is_complaint", "is_escalated")


def _payment_features(payments: pd.DataFrame, index: pd.Index, today: int) -> dict[str, Floats]:
    due_items, code = _known(payments, "due_date", index, today)
    due = _days(due_items["due_date"])
    cleared = pd.to_datetime(due_items["learned_on"])
    # What was cleared after this day was open on it, and as late as the day then was.
    until = np.where(cleared.notna(), _days(cleared.fillna(pd.Timestamp("2262-01-01"))), today)
    late = np.clip(np.minimum(until, today) - due, 0, MOST_DAYS_LATE)

    def mean(inside: NDArray[np.bool_]) -> Floats:
        items = np.bincount(code[inside], minlength=len(index))
        return _sum(code[inside], late[inside], len(index)) / (items + SHRINKAGE_INVOICES)

    year = mean(np.ones(len(due), dtype=bool))
    items = np.bincount(code, minlength=len(index))
    is_recent = due > today - QUARTER
    recent_items = np.bincount(code[is_recent], minlength=len(index))
    return {
        "days_late": year,
        "own_days_late": _sum(code, late, len(index)) / np.maximum(items, 1),
        "days_late_change": np.where(recent_items > 0, mean(is_recent) - year, 0.0),
    }


def _known(frame: pd.DataFrame, date: str, index: pd.Index, today: int) -> tuple[pd.DataFrame, Whole]:
    """The rows of the last 365 days of the customers of `index`, and each one's place in it."""
    code = index.get_indexer(pd.Index(frame["customer_id"].astype("str")))
    dates = pd.to_datetime(frame[date])
    day = _days(dates.fillna(pd.Timestamp("1900-01-01")))
    inside = (code >= 0) & dates.notna().to_numpy() & (day <= today) & (day > today - YEAR)
    return frame[inside], code[inside].astype("int64")


def _sum(code: Whole, values: Whole, customers: int) -> Floats:
    """Sums of whole numbers per customer, exact below 2 ** 53."""
    return np.bincount(code, weights=values, minlength=customers).astype("float64")


def _days(dates: pd.Series) -> Whole:
    """Days since 1970-01-01 as whole numbers."""
    return pd.to_datetime(dates).to_numpy().astype("datetime64[D]").astype("int64")


def _day(date: datetime.date) -> int:
    return (date - datetime.date(1970, 1, 1)).days


def _log_odds(probability: Floats) -> Floats:
    """ln(p / (1 - p)) of probabilities kept one in a million away from certainty."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))
