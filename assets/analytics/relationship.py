"""Relationship strength: how well a customer and the company get on, 0 to 100, with its parts and what they rest on.

Belongs here: the parts, their fixed cut-points and weights, and the class strong or weak. Not here: what the customer earns
(profitability), whether they will buy (`churn`), and what to do about either (the playbook).

Cut-points are fixed and not medians: a customer's strength moves when the customer does, not when others do. Counts and
answers are summed as whole numbers, so that nothing depends on the order of rows.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from assets.analytics.features import COMPLAINT
from assets.analytics.history import as_of_column, first_day_of_last_12_months, known_orders
from assets.company import Relationship, Service

NOT_A_CUSTOMER = "UNMATCHED"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SURVEYS = f"""
    select customer_id, responded_on, survey_type, score_normalized as score
    from facts.fct_survey_responses
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

CASES = f"""
    select
        customer_id,
        source_instance,
        opened_at,
        first_response_at,
        closed_at,
        status_class,
        regexp_matches(lower(concat_ws(' ', case_type, category)), '{COMPLAINT}') as is_complaint
    from facts.fct_service_cases
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

CONTACTS = f"""
    select customer_id, activity_date as contacted_on from facts.fct_activities where customer_id <> '{NOT_A_CUSTOMER}'
    union all
    select customer_id, responded_on as contacted_on from facts.fct_campaign_responses where customer_id <> '{NOT_A_CUSTOMER}'
"""

CUSTOMERS = f"select customer_id, acquired_date from facts.dim_customers where customer_id <> '{NOT_A_CUSTOMER}'"

PARTS = ("satisfaction", "loyalty", "complaints", "service", "engagement")

HYSTERESIS = 5.0
"""A relationship becomes strong at the declared strength and stays so until it is this many points below."""

REVIEWS = 13
"""Month ends that are replayed: the last one and the twelve before it. Who was not strong for a year is not strong."""

PROMOTER_FROM, PASSIVE_FROM = 0.85, 0.65
"""On 0 to 1. Of 0-10: 9 and 10 promote, 7 and 8 are passive (Reichheld 2003); the same holds of 1-10, and of 1-5 for 5 and 4."""

ANSWERS_PRIOR = (1.4, 0.6)
"""(k + a) / (n + a + b): two answers of 0.7 that nobody gave, so that one answer alone neither makes nor breaks anybody."""
SATISFACTION_CUTS = (0.40, 0.90)

COMPLAINTS_PRIOR = (1.0, 19.0)
"""One complaint in 20 orders that nobody made."""
COMPLAINTS_PER_ORDER_CUTS = (0.20, 0.02)

CHECKS_PRIOR = (1.6, 0.4)
"""Two cases of which 80 % were on time."""
ON_TIME_CUTS = (0.50, 1.00)
RESPONSE_HOURS, RESOLUTION_HOURS = 24.0, 120.0
"""What on time means where the company declares no hours: the next day, and five days."""

TENURE_DAYS_CUTS = (0.0, 3 * 365.0)
TREND_CUTS = (0.20, 0.60)
"""Share of the later half in the orders of two equal spans, one order added to each: steady is 0.5 and scores 75."""
LONGEST_SPAN_DAYS, SHORTEST_SPAN_DAYS = 365, 90

RHYTHM_CUTS = (4.0, 1.0)
"""Days of silence as a multiple of the customer's own average gap."""
GAP_PRIOR_DAYS = 90.0
"""One gap more, of a quarter: the rhythm of a customer who has none yet."""
SHORTEST_GAP_DAYS = 14.0
"""Nobody is silent who bought within a fortnight."""
CONTACTS_CUTS = (0.0, 12.0)
RHYTHM_WEIGHT, CONTACTS_WEIGHT = 2.0, 1.0

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "strength": "DOUBLE",
    "strength_class": "VARCHAR",
    "class_since": "DATE",
    "coverage": "DOUBLE",
    "strength_12m_ago": "DOUBLE",
    "weakest_part": "VARCHAR",
    **{f"{part}_score": "DOUBLE" for part in PARTS},
    "survey_answers_12m": "BIGINT",
    "nps_class": "VARCHAR",
    "tenure_days": "BIGINT",
    "orders_recent": "BIGINT",
    "orders_before": "BIGINT",
    "orders_12m": "BIGINT",
    "complaints_12m": "BIGINT",
    "service_checks_12m": "BIGINT",
    "service_on_time_12m": "BIGINT",
    "days_since_last_purchase": "BIGINT",
    "usual_days_between_purchases": "DOUBLE",
    "contacts_12m": "BIGINT",
    "strong_from": "DOUBLE",
    "explanation": "VARCHAR",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)


class History(NamedTuple):
    """What the strength is computed from, of any dates.

    - orders: customer_id, order_date, net_revenue (credit notes netted), one row per order.
    - surveys: customer_id, responded_on, survey_type (nps, csat, ces, other), score (0 worst to 1 best; may be missing).
    - cases: customer_id, source_instance, opened_at, first_response_at, closed_at (the latter two may be missing), status_class
      (open, closed), is_complaint.
    - contacts: customer_id, contacted_on: activities that took place and answers to campaigns.
    - customers: customer_id, acquired_date (may be missing).
    """

    orders: pd.DataFrame
    surveys: pd.DataFrame
    cases: pd.DataFrame
    contacts: pd.DataFrame
    customers: pd.DataFrame


def strength(history: History, as_of: datetime.date, relationship: Relationship, service: Service) -> pd.DataFrame:
    """One row per customer on record by `as_of`; nothing dated after it is seen (a case closed later is open).

    - satisfaction_score: answers to CSAT and CES as they are, to NPS as 1 (promoter), 0.5 (passive) or 0 (detractor), of the
      last 12 months, shrunk; 0.4 scores 0 and 0.9 scores 100. survey_answers_12m: how many. nps_class: the latest NPS answer.
    - loyalty_score: the mean of tenure (first purchase, or acquired date if that is earlier, to last purchase; three years
      score 100) and of the trend of orders: orders_recent against orders_before, in the last 365 days and the 365 before, or
      in both halves of a shorter history of 180 days or more. Nobody who ordered in neither is loyal: 0.
    - complaints_score: complaints per order of the last 12 months, shrunk; 20 per 100 score 0, 2 per 100 score 100. Known when
      the company records cases and the customer ordered or complained.
    - service_score: the share of first responses and resolutions on time (`service`, else 24 and 120 hours) of cases opened in
      the last 12 months, shrunk; half scores 0, all score 100. What is still open counts once it is late.
    - engagement_score: two thirds days since the last purchase against the customer's own average gap (once scores 100, four
      times 0), one third contacts of the last 12 months (12 score 100). Of a customer who has bought: calls to a prospect are
      ours, and no relationship of theirs.
    - strength: mean of the known parts by their weights; missing when no part is known. coverage: the weight of the known parts
      in all weights. Each score is 0 to 100. weakest_part: the known part with the lowest score.
    - strength_class: strong, weak, or unknown without a strength. Reviewed at month ends: strong from `strong_from` on, until
      below it by 5. A customer new since the last month end has the class of `as_of`. class_since: the month end from which
      it holds, at the earliest a year before the last one.
    - strength_12m_ago: the strength at the month end a year before the last one.
    """
    known = _Known(history, as_of)
    hours = (service.response_hours or RESPONSE_HOURS, service.resolution_hours or RESOLUTION_HOURS)
    weights = np.array([getattr(relationship.weights, part) for part in PARTS], dtype="float64")

    reviews = [_strengths(_parts(known, month_end, hours), weights)[0] for month_end in _month_ends(as_of)]
    parts = _parts(known, as_of, hours)
    strengths, coverage = _strengths(parts, weights)
    classes, since = _classes(reviews, strengths, _month_ends(as_of), as_of, relationship.strong_from)

    counted = tuple(part for part, weight in zip(PARTS, weights, strict=True) if weight > 0)
    scores = np.column_stack([parts[f"{part}_score"] for part in counted])
    lowest = np.where(np.isnan(scores), np.inf, scores).argmin(axis=1)
    table = pd.DataFrame(
        {
            "customer_id": pd.Series(known.customers, dtype="str"),
            "as_of_date": as_of_column(as_of, len(known.customers)),
            "strength": strengths,
            "strength_class": pd.Series(np.array(["unknown", "weak", "strong"])[classes + 1], dtype="str"),
            "class_since": pd.Series(since.astype("datetime64[s]")),
            "coverage": coverage,
            "strength_12m_ago": reviews[0],
            "weakest_part": pd.Series(np.where(coverage > 0, np.array(counted)[lowest], None), dtype="object"),
            **parts,
            "strong_from": np.full(len(known.customers), relationship.strong_from),
        }
    )
    rows = zip(*(table[name].tolist() for name in _Row._fields), strict=True)
    table["explanation"] = pd.Series([_explanation(_Row(*row), counted) for row in rows], dtype="str")
    for name in ("tenure_days", "orders_recent", "orders_before", "days_since_last_purchase"):
        table[name] = table[name].astype("Int64")
    return table[list(COLUMNS)]


class _Known:
    """The history up to a date, as arrays: customers as places in a sorted list, dates as whole days."""

    def __init__(self, history: History, as_of: datetime.date) -> None:
        orders = known_orders(history.orders, as_of)
        orders = orders[orders["is_purchase"]]
        surveys = _before(history.surveys, "responded_on", as_of)
        surveys = surveys[surveys["survey_type"].isin(["csat", "nps", "ces"]) & surveys["score"].notna()]
        cases = _before(history.cases, "opened_at", as_of)
        contacts = _before(history.contacts, "contacted_on", as_of)
        acquired = pd.to_datetime(history.customers["acquired_date"])
        customers = history.customers[acquired.isna() | (acquired <= pd.Timestamp(as_of))]
        names = pd.concat([frame["customer_id"] for frame in (orders, surveys, cases, contacts, customers)])
        names = names[names.notna() & (names != NOT_A_CUSTOMER)]
        self.customers = pd.Index(sorted(set(names.astype("str"))), dtype="str")
        self.orders = _Events(self.customers, orders["customer_id"], orders["order_date"])
        days = orders.drop_duplicates(["customer_id", "order_date"])
        self.purchase_days = _Events(self.customers, days["customer_id"], days["order_date"])
        self.contacts = _Events(self.customers, contacts["customer_id"], contacts["contacted_on"])

        self.surveys = _Events(self.customers, surveys["customer_id"], surveys["responded_on"])
        score = np.clip(surveys["score"].astype("float64").to_numpy(), 0.0, 1.0)
        is_nps = (surveys["survey_type"] == "nps").to_numpy()
        level = np.where(score >= PROMOTER_FROM, 2, np.where(score >= PASSIVE_FROM, 1, 0))
        value = np.where(is_nps, level / 2, score)
        self.survey_millionths = self.surveys.arrange(np.rint(value * 1e6).astype("int64"))
        self.nps_level = self.surveys.arrange(np.where(is_nps, level, -1).astype("int64"))

        self.cases = _Events(self.customers, cases["customer_id"], cases["opened_at"])
        self.is_complaint = self.cases.arrange(cases["is_complaint"].astype("bool").to_numpy())
        self.opened, self.answered, self.closed = (
            self.cases.arrange(_seconds(cases[name])) for name in ("opened_at", "first_response_at", "closed_at")
        )
        # Closed on a day nobody wrote down: neither open nor on time.
        undated = (cases["status_class"] == "closed").to_numpy() & cases["closed_at"].isna().to_numpy()
        self.is_undated = self.cases.arrange(undated)
        self.source = self.cases.arrange(pd.factorize(cases["source_instance"].astype("str"), sort=True)[0])

        first = customers.assign(acquired=acquired).dropna(subset=["acquired"]).groupby("customer_id")["acquired"].min()
        self.acquired = np.full(len(self.customers), np.iinfo("int64").max)
        self.acquired[self.customers.get_indexer(first.index.astype("str"))] = _days(first)


class _Events:
    """Dated rows of customers, ordered by day."""

    def __init__(self, customers: pd.Index, customer_id: pd.Series, dates: pd.Series) -> None:
        code = customers.get_indexer(pd.Index(customer_id.astype("str")))
        day = _days(dates)
        self._order = np.flatnonzero(code >= 0)
        self._order = self._order[np.argsort(day[self._order], kind="stable")]
        self.code: Ints = code[self._order].astype("int64")
        self.day = day[self._order]
        self.customers = len(customers)

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """Values in the order the rows were given, in the order of the days."""
        return values[self._order]

    def between(self, first: int, last: int) -> slice:
        """The rows from one day to another, both included."""
        return slice(int(np.searchsorted(self.day, first, "left")), int(np.searchsorted(self.day, last, "right")))

    def count(self, rows: slice, values: np.ndarray | None = None) -> Ints:
        """Rows per customer, or the sum of their whole numbers."""
        if values is None:
            return np.bincount(self.code[rows], minlength=self.customers).astype("int64")
        total = np.zeros(self.customers, dtype="int64")
        np.add.at(total, self.code[rows], values.astype("int64"))
        return total


def _before(frame: pd.DataFrame, column: str, as_of: datetime.date) -> pd.DataFrame:
    dates = pd.to_datetime(frame[column])
    return frame[frame["customer_id"].notna() & (dates < pd.Timestamp(as_of) + pd.Timedelta(days=1))]


def _days(dates: pd.Series) -> Ints:
    return pd.to_datetime(dates).to_numpy().astype("datetime64[D]").astype("int64")


def _seconds(times: pd.Series) -> Ints:
    """Seconds since 1970; missing is later than anything."""
    moments = pd.to_datetime(times).to_numpy().astype("datetime64[s]")
    return np.where(np.isnat(moments), np.iinfo("int64").max, moments.astype("int64"))


def _month_ends(as_of: datetime.date) -> list[datetime.date]:
    """The last days of the last months that have ended by `as_of`, the earliest first."""
    next_day = as_of + datetime.timedelta(days=1)
    month = next_day.year * 12 + next_day.month - 1
    firsts = [divmod(month - back, 12) for back in range(REVIEWS - 1, -1, -1)]
    return [datetime.date(year, place + 1, 1) - datetime.timedelta(days=1) for year, place in firsts]


def _scored(values: Floats, cuts: tuple[float, float]) -> Floats:
    """0 at the first cut-point, 100 at the second, straight between them; not a number stays so."""
    worst, best = cuts
    scores: Floats = np.clip((values - worst) / (best - worst), 0.0, 1.0) * 100.0
    return scores


def _shrunk(good: np.ndarray, all_: np.ndarray, prior: tuple[float, float]) -> Floats:
    rates: Floats = (good + prior[0]) / (all_ + prior[0] + prior[1])
    return rates


def _parts(known: _Known, date: datetime.date, hours: tuple[float, float]) -> dict[str, np.ndarray]:
    """The scores of all customers on a date, not a number where unknown, and what they rest on."""
    day = (date - datetime.date(1970, 1, 1)).days
    year = int(_days(pd.Series([first_day_of_last_12_months(date)]))[0])
    orders_12m = known.orders.count(known.orders.between(year, day))
    loyalty, evidence = _loyalty(known, day)
    service, checks, on_time = _service(known, year, day, hours)
    satisfaction, answers, nps_class = _satisfaction(known, year, day)

    recent_cases = known.cases.between(year, day)
    complaints = known.cases.count(recent_cases, known.is_complaint[recent_cases])
    records_cases = len(known.cases.day) > 0 and known.cases.day[0] <= day
    complained = _scored(_shrunk(complaints, orders_12m, COMPLAINTS_PRIOR), COMPLAINTS_PER_ORDER_CUTS)
    complained[(orders_12m + complaints == 0) | (not records_cases)] = np.nan

    contacts = known.contacts.count(known.contacts.between(year, day))
    contact_score = _scored(contacts.astype("float64"), CONTACTS_CUTS)
    contact_score[:] = contact_score if len(known.contacts.day) > 0 and known.contacts.day[0] <= day else np.nan
    silence = np.where(evidence.last >= 0, day - evidence.last, -1)
    with np.errstate(invalid="ignore"):
        gap = np.maximum(
            (evidence.last - evidence.first + GAP_PRIOR_DAYS) / np.maximum(evidence.purchase_days, 1),
            SHORTEST_GAP_DAYS,
        )
    rhythm = np.where(silence >= 0, _scored(silence / gap, RHYTHM_CUTS), np.nan)
    has_bought = silence >= 0
    contact_score[~has_bought] = np.nan
    engagement = _mean([(rhythm, RHYTHM_WEIGHT), (contact_score, CONTACTS_WEIGHT)])

    return {
        "satisfaction_score": satisfaction.round(2),
        "loyalty_score": loyalty.round(2),
        "complaints_score": complained.round(2),
        "service_score": service.round(2),
        "engagement_score": engagement.round(2),
        "survey_answers_12m": answers,
        "nps_class": nps_class,
        "tenure_days": np.where(has_bought, evidence.tenure, np.nan),
        "orders_recent": np.where(evidence.has_trend, evidence.orders_recent, np.nan),
        "orders_before": np.where(evidence.has_trend, evidence.orders_before, np.nan),
        "orders_12m": orders_12m,
        "complaints_12m": complaints,
        "service_checks_12m": checks,
        "service_on_time_12m": on_time,
        "days_since_last_purchase": np.where(has_bought, silence, np.nan),
        "usual_days_between_purchases": np.where(has_bought, gap, np.nan).round(2),
        "contacts_12m": contacts,
    }


def _satisfaction(known: _Known, year: int, day: int) -> tuple[Floats, Ints, np.ndarray]:
    rows = known.surveys.between(year, day)
    answers = known.surveys.count(rows)
    total = known.surveys.count(rows, known.survey_millionths[rows]) / 1e6
    scores = _scored(_shrunk(total, answers, ANSWERS_PRIOR), SATISFACTION_CUTS)
    scores[answers == 0] = np.nan

    code, answered, level = known.surveys.code[rows], known.surveys.day[rows], known.nps_level[rows]
    is_nps = level >= 0
    code, answered, level = code[is_nps], answered[is_nps], level[is_nps]
    latest = np.full(known.surveys.customers, -1, dtype="int64")
    in_order = np.lexsort((-level, answered))  # the last one counts: of several on a day the lowest
    latest[code[in_order]] = level[in_order]
    names = np.array(["detractor", "passive", "promoter", None], dtype="object")
    return scores, answers, names[latest]


class _Loyalty(NamedTuple):
    first: Ints
    last: Ints
    purchase_days: Ints
    tenure: Ints
    has_trend: Flags
    orders_recent: Ints
    orders_before: Ints


def _loyalty(known: _Known, day: int) -> tuple[Floats, _Loyalty]:
    purchases = known.purchase_days
    so_far = purchases.between(np.iinfo("int64").min, day)
    code, days = purchases.code[so_far], purchases.day[so_far]
    last = np.full(purchases.customers, np.iinfo("int64").min)
    first = last.copy()
    last[code] = days  # ordered by day: the last assignment is the latest day
    first[code[::-1]] = days[::-1]
    has_bought = last > np.iinfo("int64").min
    first, last = np.where(has_bought, first, -1), np.where(has_bought, last, -1)
    # A purchase before 1970 is none anybody keeps in a system; -1 stays "never".
    has_bought = last >= 0
    begun = np.minimum(first, np.where(known.acquired <= day, known.acquired, np.iinfo("int64").max))
    tenure = np.where(has_bought, last - begun, 0)

    span = np.minimum((day - first + 1) // 2, LONGEST_SPAN_DAYS)
    has_trend = has_bought & (span >= SHORTEST_SPAN_DAYS)
    rows = known.orders.between(day - 2 * LONGEST_SPAN_DAYS, day)
    code, ago = known.orders.code[rows], day - known.orders.day[rows]
    orders_recent = np.bincount(code[ago < span[code]], minlength=purchases.customers).astype("int64")
    both = np.bincount(code[ago < 2 * span[code]], minlength=purchases.customers).astype("int64")
    orders_before = both - orders_recent
    trend = _scored(_shrunk(orders_recent, both, (1.0, 1.0)), TREND_CUTS)
    trend[both == 0] = 0.0
    trend[~has_trend] = np.nan
    lasting = _scored(tenure.astype("float64"), TENURE_DAYS_CUTS)
    lasting[~has_bought] = np.nan
    return (
        _mean([(lasting, 1.0), (trend, 1.0)]),
        _Loyalty(first, last, purchases.count(so_far), tenure.astype("int64"), has_trend, orders_recent, orders_before),
    )


def _service(known: _Known, year: int, day: int, hours: tuple[float, float]) -> tuple[Floats, Ints, Ints]:
    """Score, decided promises and those kept, of the cases opened in the last 12 months."""
    end = (day + 1) * 86_400
    known_answers = (known.answered < end) & (known.cases.day <= day)
    sources_that_answer = np.unique(known.source[known_answers])
    rows = known.cases.between(year, day)
    opened, answered, closed = known.opened[rows], known.answered[rows], known.closed[rows]
    is_open = (closed >= end) & ~known.is_undated[rows]
    response_limit, resolution_limit = opened + round(hours[0] * 3600), opened + round(hours[1] * 3600)
    is_answered = answered < end
    # A case closed without an answer on record was answered somehow; an open one is late, where answers are recorded.
    may_be_late = is_open & np.isin(known.source[rows], sources_that_answer)
    responses = is_answered | (may_be_late & (response_limit < end))
    resolutions = (closed < end) | (is_open & (resolution_limit < end))
    checks = known.cases.count(rows, responses.astype("int64") + resolutions)
    kept = (is_answered & (answered <= response_limit)).astype("int64") + (
        (closed < end) & (closed <= resolution_limit)
    )
    on_time = known.cases.count(rows, kept)
    scores = _scored(_shrunk(on_time, checks, CHECKS_PRIOR), ON_TIME_CUTS)
    scores[checks == 0] = np.nan
    return scores, checks, on_time


def _mean(parts: list[tuple[Floats, float]]) -> Floats:
    """The mean of what is known, by its weights; not a number where nothing is."""
    weight = sum(np.where(np.isnan(values), 0.0, weight) for values, weight in parts)
    total = sum(np.where(np.isnan(values), 0.0, values) * weight for values, weight in parts)
    mean: Floats = np.divide(total, weight, out=np.full(len(parts[0][0]), np.nan), where=np.asarray(weight) > 0)
    return mean


def _strengths(parts: dict[str, np.ndarray], weights: Floats) -> tuple[Floats, Floats]:
    """Strength (not a number without any part of some weight) and coverage."""
    scores = [parts[f"{part}_score"] for part in PARTS]
    strengths = _mean(list(zip(scores, weights, strict=True))).round(2)
    known = sum(np.where(np.isnan(values), 0.0, weight) for values, weight in zip(scores, weights, strict=True))
    coverage: Floats = np.asarray(known / weights.sum()).round(4)
    return strengths, coverage


def _classes(
    reviews: list[Floats], today: Floats, month_ends: list[datetime.date], as_of: datetime.date, strong_from: float
) -> tuple[Ints, np.ndarray]:
    """1 strong, 0 weak, -1 unknown, and the day since when (no date where unknown)."""
    classes = np.full(len(today), -1, dtype="int64")
    since = np.full(len(today), np.datetime64("NaT"), dtype="datetime64[D]")

    def review(strengths: Floats, who: Flags, date: datetime.date) -> None:
        entry = np.where(classes == 1, strong_from - HYSTERESIS, strong_from)
        now = np.where(np.isnan(strengths), -1, strengths >= entry)
        changed = who & (now != classes)
        classes[changed] = now[changed]
        since[changed] = np.where(now[changed] >= 0, np.datetime64(date), np.datetime64("NaT"))

    everybody = np.ones(len(today), dtype="bool")
    for strengths, date in zip(reviews, month_ends, strict=True):
        review(strengths, everybody, date)
    review(today, (classes == -1) | np.isnan(today), as_of)
    return classes, since


class _Row(NamedTuple):
    """What the explanation of a customer says; columns of the table by their names."""

    strength: float
    strength_class: str
    coverage: float
    satisfaction_score: float
    loyalty_score: float
    complaints_score: float
    service_score: float
    engagement_score: float
    survey_answers_12m: int
    tenure_days: float
    orders_recent: float
    orders_before: float
    orders_12m: int
    complaints_12m: int
    service_checks_12m: int
    service_on_time_12m: int
    days_since_last_purchase: float
    usual_days_between_purchases: float
    contacts_12m: int


_EVIDENCE: dict[str, Callable[[_Row], str]] = {
    "satisfaction": lambda row: _count(row.survey_answers_12m, "answer"),
    "loyalty": lambda row: _loyalty_evidence(row),
    "complaints": lambda row: f"{_count(row.complaints_12m, 'complaint')} on {_count(row.orders_12m, 'order')}",
    "service": lambda row: f"{row.service_on_time_12m} of {_count(row.service_checks_12m, 'promise')} on time",
    "engagement": lambda row: _engagement_evidence(row),
}


def _explanation(row: _Row, parts: tuple[str, ...]) -> str:
    if row.strength_class == "unknown":
        return "Has not bought yet, or nothing is known that a strength could be made of."
    said = []
    missing = []
    for part in parts:
        score = getattr(row, f"{part}_score")
        if math.isnan(score):
            missing.append(part)
        else:
            said.append(f"{part} {score:.0f} ({_EVIDENCE[part](row)})")
    unknown = f" Not known: {', '.join(missing)}." if missing else ""
    return f"{row.strength:.0f} of 100, from {row.coverage * 100:.0f} % of the weights: {', '.join(said)}.{unknown}"


def _loyalty_evidence(row: _Row) -> str:
    tenure = f"{row.tenure_days / 365:.1f} years"
    if math.isnan(row.orders_recent):
        return f"{tenure}, too short for a trend"
    return f"{tenure}, {_count(int(row.orders_recent), 'order')} after {row.orders_before:.0f} before"


def _engagement_evidence(row: _Row) -> str:
    silence = f"{row.days_since_last_purchase:.0f} days since the last purchase, usually "
    return f"{silence}{row.usual_days_between_purchases:.0f}, {_count(row.contacts_12m, 'contact')}"


def _count(number: int, word: str) -> str:
    return f"1 {word}" if number == 1 else f"{number} {word}s"
