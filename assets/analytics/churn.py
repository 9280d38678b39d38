"""Churn risk: the probability that a customer buys nothing in the next H days, why, and what that would cost.

Belongs here: the published table, the dates its models are trained on, the words of the reasons, and the naive rules. Not here:
what the features are (`features`), the purchase models themselves (`models`), and which model may score (`gates`). Nor
P(alive): a one-time buyer is "alive" with certainty under the customary models and yet rarely comes back; nobody should
be ranked by it.

`recency_baseline` is the model every other one has to beat.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics import features as feature
from assets.analytics.features import CustomerHistory
from assets.analytics.history import (
    MONEY_SCALE,
    as_of_column,
    days_since_last_purchase,
    known_orders,
    money,
    month_number,
)
from assets.analytics.models import purchase
from assets.analytics.models.purchase import AVERAGE, BOOSTING, LOGIT, PurchaseModels

Floats = NDArray[np.float64]

PARETO = "pareto_nbd"
PARETO_RECALIBRATED = "pareto_nbd_recalibrated"
BASELINE = "recency_baseline"
FALLBACK = "silence_ratio"

MODELS = (AVERAGE, LOGIT, BOOSTING, PARETO_RECALIBRATED, BASELINE)
"""The models `score` may be asked for. What cannot be fitted falls back to the recalibrated Pareto/NBD, then to
the recency baseline, and that to the silence ratio; the column `model` says which one it was."""

TRAINING_DATES = 4
TRAINING_STEP_DAYS = 30
"""Models are trained on the customers as they were on this many dates, this far apart, the last one a horizon before
the fit: one date alone would teach its season."""

MOST_TRAINING_ROWS = 60_000
"""Customers and dates together. A sample by the hash of the id: more rows move the third decimal of no probability."""

SHORTEST_HISTORY_DAYS = 60
"""A training date before the latest needs this many days since the company's first purchase, or every customer is new on it."""

FEWEST_TO_LEARN = 100
"""Below this many customers on the latest training date no features are learned from: the same few on four dates are still
few."""

FEWEST_CUSTOMERS = 30
"""Below this many customers at the origin a curve is noise, and the silence ratio is used."""

MOST_BINS = 20
SMALLEST_BIN = 25
"""Bins of days hold at least this many customers, so that one customer moves a bin by at most 4 points."""

SHRINKAGE_CUSTOMERS = 10.0
"""A bin's rate is its own customers plus this many customers at the overall rate."""

DAYS_PER_YEAR = 365
MONTHS_PER_YEAR = 12

REASON_COUNT = 3

SMALLEST_CONTRIBUTION = 0.05
"""Log odds below which a group is no reason: so much changes no probability by more than 1.25 points."""

BASELINE_COLUMNS = (
    "customer_id",
    "as_of_date",
    "horizon_days",
    "days_since_last_purchase",
    "churn_probability",
    "expected_profit",
    "expected_profit_lost",
    "churn_rank",
    "model",
)

_MONEY = "DECIMAL(22,4)"

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "horizon_days": "INTEGER",
    "days_since_last_purchase": "BIGINT",
    "churn_probability": "DOUBLE",
    "probability_of_purchase": "DOUBLE",
    "expected_profit": _MONEY,
    "expected_profit_lost": _MONEY,
    "churn_rank": "INTEGER",
    "reason_1": "VARCHAR",
    "reason_1_text": "VARCHAR",
    "reason_1_contribution": "DOUBLE",
    "reason_2": "VARCHAR",
    "reason_2_text": "VARCHAR",
    "reason_2_contribution": "DOUBLE",
    "reason_3": "VARCHAR",
    "reason_3_text": "VARCHAR",
    "reason_3_contribution": "DOUBLE",
    "other_contribution": "DOUBLE",
    "base_log_odds": "DOUBLE",
    "log_odds": "DOUBLE",
    "model": "VARCHAR",
    "fit_date": "DATE",
}
"""Columns of churn_risk and their types in the warehouse."""

COLUMNS = tuple(TYPES)


class Label(NamedTuple):
    """How a reason is called, in English and in Chinese."""

    name: str
    name_zh: str


REASONS = {
    "overdue": Label("Overdue against own rhythm", "超过自身购买周期"),
    "one_time_buyer": Label("Bought only once", "仅购买一次"),
    "rare_buyer": Label("Buys rarely", "购买次数少"),
    "falling_purchases": Label("Buys less than before", "近期购买减少"),
    "purchase_size": Label("Size of purchases", "单次购买金额"),
    "margin_drop": Label("Margin has fallen", "利润率下降"),
    "complaints": Label("Complaints", "投诉"),
    "service": Label("Service cases or surveys", "服务与满意度"),
    "payment": Label("Pays late", "付款逾期"),
    "seasonality": Label("Not in season", "非购买季节"),
}
"""Every code a column `reason_1` to `reason_3` can hold."""


@dataclass(frozen=True)
class ChurnModels:
    """What was learned for one horizon from labels that were known on `fit_as_of`.

    `purchase` and `pareto` are missing where they could not be fitted. `pareto` is (intercept, slope) of the recalibrated
    log odds over those of the model.
    """

    fit_as_of: datetime.date
    horizon_days: int
    purchase: PurchaseModels | None
    pareto: tuple[float, float] | None


def month_end_before(as_of: datetime.date) -> datetime.date:
    """The last day of the month before that of `as_of`: models are refitted monthly and score daily."""
    return as_of.replace(day=1) - datetime.timedelta(days=1)


def training_dates(first: datetime.date | None, fit_as_of: datetime.date, horizon_days: int) -> list[datetime.date]:
    """The dates to train on, latest first: their horizons had passed on `fit_as_of`. `first` is the company's first day."""
    if first is None:
        return []
    dates = [
        fit_as_of - datetime.timedelta(days=horizon_days + step * TRAINING_STEP_DAYS) for step in range(TRAINING_DATES)
    ]
    old_enough = first + datetime.timedelta(days=SHORTEST_HISTORY_DAYS)
    # The latest one has no substitute: a young company learns from it or not at all.
    return [date for date in dates if date >= (first if date == dates[0] else old_enough)]


def fit(
    history: CustomerHistory, fit_as_of: datetime.date, *, horizon_days: int, with_pareto: bool = False
) -> ChurnModels:
    """The models trained on what was known on `fit_as_of`; orders after it are not seen. Without `with_pareto` the
    recalibrated Pareto/NBD is fitted only where the others cannot be."""
    if horizon_days < 1:
        raise ValueError(f"horizon_days is {horizon_days}; give a whole number of days, 1 or more.")
    dates = training_dates(feature.first_purchase(history), fit_as_of, horizon_days)
    learned: PurchaseModels | None = None
    recalibration: tuple[float, float] | None = None
    if dates:
        known = feature.sample(history, fit_as_of, MOST_TRAINING_ROWS // len(dates))
        rows = [feature.build(known, date, horizon_days=horizon_days) for date in dates]
        labels = [feature.bought(known, date, horizon_days) for date in dates]
        if len(rows[0]) >= FEWEST_TO_LEARN:
            learned = purchase.fit(pd.concat(rows), np.concatenate([label.to_numpy() for label in labels]))
        if with_pareto or learned is None:
            log_odds = _log_odds(_pareto(rows[0], horizon_days))
            recalibration = purchase.recalibrate(log_odds, labels[0].to_numpy())
    return ChurnModels(fit_as_of, horizon_days, learned, recalibration)


def probabilities_of_purchase(
    history: CustomerHistory, as_of: datetime.date, models: ChurnModels, *, features: pd.DataFrame | None = None
) -> pd.DataFrame:
    """P(at least one purchase in the horizon of `models`) per customer (index customer_id, sorted) as of one date, one
    column per model that could be fitted: of 'average', 'logit', 'boosting', 'pareto_nbd_recalibrated', 'pareto_nbd'
    (as it comes from the likelihood), and always 'recency_baseline'. `features` saves building them again."""
    horizon = models.horizon_days
    rows = feature.build(history, as_of, horizon_days=horizon) if features is None else features
    found: dict[str, Any] = {}
    if models.purchase is not None:
        found |= purchase.probabilities(models.purchase, rows)
    if models.pareto is not None:
        found[PARETO] = _pareto(rows, horizon)
        found[PARETO_RECALIBRATED] = _recalibrated(found[PARETO], models.pareto)
    baseline = recency_baseline(history.orders, as_of, horizon_days=horizon)
    found[BASELINE] = 1 - baseline["churn_probability"].to_numpy()
    return pd.DataFrame(found, index=rows.index)


def score(
    history: CustomerHistory,
    as_of: datetime.date,
    *,
    horizon_days: int,
    fit_as_of: datetime.date | None = None,
    model: str = AVERAGE,
    models: ChurnModels | None = None,
) -> pd.DataFrame:
    """One row per customer who has ever purchased, as of one date; nothing after `as_of` is seen.

    `model` is one of `MODELS`. `models` are those of `fit`, else they are fitted as of `fit_as_of`, by default the end of
    the month before.

    - days_since_last_purchase: whole days.
    - churn_probability: P(no purchase in the next `horizon_days`); probability_of_purchase: 1 less that.
    - expected_profit: operating profit of the last twelve months that have ended * horizon_days / 365, what the customer
      brings if it goes on as it did; base currency, loss -.
    - expected_profit_lost: max(0, expected_profit) * churn_probability: nothing is lost with a loss-maker.
    - churn_rank: 1 = most profit to lose; then higher probability, then customer_id.
    - reason_1 .. reason_3: codes of `REASONS`, what raises this customer's risk most, and said by its own numbers; missing
      where fewer raise it. reason_*_text: those numbers in a sentence. reason_*_contribution: what the reason adds to the log
      odds of no purchase, 0 where it is missing.
    - log_odds: ln(p / (1 - p)) of no purchase by the logistic regression (of the model itself where a fallback scored);
      base_log_odds: of the average customer; other_contribution: what neither that nor the reasons explain. log_odds =
      base_log_odds + the three contributions + other_contribution, exactly. Where 'average' or 'boosting' scored,
      churn_probability is not that of log_odds: boosting has no additive reasons.
    - model: which one scored; fit_date: the day up to which it has learned.
    """
    if horizon_days < 1:
        raise ValueError(f"horizon_days is {horizon_days}; give a whole number of days, 1 or more.")
    if model not in MODELS:
        raise ValueError(f"{model!r} is no model of churn; give one of {', '.join(MODELS)}.")
    if models is None and model != BASELINE:
        fit_date = month_end_before(as_of) if fit_as_of is None else fit_as_of
        models = fit(history, fit_date, horizon_days=horizon_days, with_pareto=model == PARETO_RECALIBRATED)
    if models is not None and models.horizon_days != horizon_days:
        raise ValueError(
            f"The models foresee {models.horizon_days} days and horizon_days is {horizon_days}; fit them for it."
        )
    if models is not None and models.fit_as_of > as_of:
        raise ValueError(
            f"The models learned from what was known on {models.fit_as_of}, after {as_of}; fit them earlier."
        )
    rows = feature.build(history, as_of, horizon_days=horizon_days)
    answer = _answer(history, as_of, rows, horizon_days, model, models)
    churn = answer.churn_probability

    expected = np.round(
        _profit_of_last_year(history.monthly_profit, rows.index, as_of) * horizon_days / DAYS_PER_YEAR, 4
    )
    scored = pd.DataFrame(
        {
            "customer_id": pd.Series(rows.index, dtype="str"),
            "as_of_date": as_of_column(as_of, len(rows)),
            "horizon_days": np.full(len(rows), horizon_days, dtype="int64"),
            "days_since_last_purchase": rows["days_since_last_purchase"].to_numpy().astype("int64"),
            "churn_probability": churn,
            "probability_of_purchase": np.round(1 - churn, 6),
            "expected_profit": expected,
            "expected_profit_lost": np.round(np.maximum(expected, 0.0) * churn, 4),
            **_reasons(rows, answer.base_log_odds, answer.contributions, horizon_days),
            "model": pd.Series([answer.model] * len(rows), dtype="str"),
            "fit_date": as_of_column(answer.learned_until, len(rows)),
        }
    )
    scored["churn_rank"] = _rank(scored)
    return scored[list(COLUMNS)]


class _Answer(NamedTuple):
    """What a model says of every customer, and the groups of reasons it can give."""

    model: str
    learned_until: datetime.date
    churn_probability: Floats
    base_log_odds: float
    contributions: pd.DataFrame


def _answer(
    history: CustomerHistory,
    as_of: datetime.date,
    rows: pd.DataFrame,
    horizon_days: int,
    model: str,
    models: ChurnModels | None,
) -> _Answer:
    """By the model that was asked for, or the first of its fallbacks that could be fitted."""
    if models is not None and models.purchase is not None and model in (AVERAGE, LOGIT, BOOSTING):
        churn = _rounded(1 - purchase.probabilities(models.purchase, rows)[model])
        return _Answer(model, models.fit_as_of, churn, *purchase.contributions(models.purchase, rows))
    if models is not None and models.pareto is not None and model != BASELINE:
        churn = _rounded(1 - _recalibrated(_pareto(rows, horizon_days), models.pareto))
        return _Answer(PARETO_RECALIBRATED, models.fit_as_of, churn, *_contribution_of_silence(rows, churn))
    baseline = recency_baseline(history.orders, as_of, horizon_days=horizon_days)
    churn = baseline["churn_probability"].to_numpy()
    name = str(baseline["model"].iloc[0]) if len(baseline) else BASELINE
    return _Answer(name, as_of, churn, *_contribution_of_silence(rows, churn))


def _rounded(probability: Floats) -> Floats:
    """Six decimals: far below what the data can say, and the same on every machine."""
    return np.clip(np.round(probability, 6), 0.0, 1.0)


def _pareto(rows: pd.DataFrame, horizon_days: int) -> Floats:
    """P(at least one purchase in the horizon) of the Pareto/NBD model fitted on these customers."""
    from assets.analytics.models import pareto_nbd, summaries

    if rows.empty:
        return np.zeros(0)
    week = summaries.DAYS_PER_WEEK
    distinct = summaries.compress(
        rows["purchases"].to_numpy() - 1,
        rows["active_span_days"].to_numpy() / week,
        rows["customer_age_days"].to_numpy() / week,
    )
    parameters = pareto_nbd.fit(distinct).parameters
    probability: Floats = pareto_nbd.probability_of_purchase(
        parameters, distinct.x, distinct.t_x, distinct.T, horizon_days / week
    )
    return probability[distinct.inverse]


def _recalibrated(probability: Floats, recalibration: tuple[float, float]) -> Floats:
    intercept, slope = recalibration
    recalibrated: Floats = 1 / (1 + np.exp(-(intercept + slope * _log_odds(probability))))
    return recalibrated


def _log_odds(probability: Floats) -> Floats:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    odds: Floats = np.log(p / (1 - p))
    return odds


def _contribution_of_silence(rows: pd.DataFrame, churn: Floats) -> tuple[float, pd.DataFrame]:
    """The fallbacks know little but how long a customer has been silent: all that tells it from the average is that."""
    log_odds = _log_odds(churn)
    base = float(_log_odds(np.array([churn.mean()]))[0]) if len(churn) else 0.0
    parts = pd.DataFrame(0.0, index=rows.index, columns=list(purchase.GROUPS))
    parts["overdue"] = log_odds - base
    return base, parts


def _reasons(rows: pd.DataFrame, base: float, parts: pd.DataFrame, horizon_days: int) -> dict[str, Any]:
    """The three groups that raise each customer's risk most, in words, and what is left over."""
    rows = rows[list(_SAID)]
    contribution = parts[list(_SENTENCES)].round(6).to_numpy()
    said = np.column_stack([is_said(rows).to_numpy() for is_said, _, _ in _SENTENCES.values()])
    ranked = np.where(said & (contribution >= SMALLEST_CONTRIBUTION), contribution, 0.0)
    # Equal contributions keep the order of the groups: a stable sort of the negative.
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :REASON_COUNT]
    columns: dict[str, Any] = {}
    explained = np.zeros(len(rows))
    for place in range(REASON_COUNT):
        group = order[:, place]
        value = np.take_along_axis(ranked, group[:, None], axis=1)[:, 0] if len(rows) else np.zeros(0)
        code = np.full(len(rows), None, dtype=object)
        text = np.full(len(rows), None, dtype=object)
        for number, (_, name, sentence) in enumerate(_SENTENCES.values()):
            its = np.flatnonzero((group == number) & (value > 0))
            if len(its):
                code[its] = name(rows.iloc[its])
                text[its] = sentence(rows.iloc[its], horizon_days)
        columns[f"reason_{place + 1}"] = pd.Series(code, dtype="str")
        columns[f"reason_{place + 1}_text"] = pd.Series(text, dtype="str")
        columns[f"reason_{place + 1}_contribution"] = value
        explained = explained + value
    log_odds = np.round(base + parts.sum(axis=1).to_numpy(), 6)
    base = round(base, 6)
    columns["other_contribution"] = np.round(log_odds - base - explained, 6) + 0.0
    columns["base_log_odds"] = np.full(len(rows), base)
    columns["log_odds"] = log_odds
    return columns


_SAID = (
    "days_since_last_purchase",
    "customer_age_days",
    "active_span_days",
    "purchases",
    "mean_gap_days",
    "overdue_ratio",
    *("purchases_30", "purchases_30_before", "purchases_90", "purchases_90_before"),
    *("revenue_per_purchase", "last_revenue_ratio", "margin_12m", "margin_change"),
    *("complaints_365", "cases_365", "escalations_365", "surveys_365", "own_survey_score", "own_days_late"),
    "same_season_last_year",
)
"""The features that sentences name."""


def _whole(values: pd.Series) -> list[int]:
    found: list[int] = values.round().astype("int64").tolist()
    return found


def _of(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def _overdue_text(rows: pd.DataFrame, _: int) -> list[str]:
    return [
        f"last purchase {_of(since, 'day')} ago, "
        + (f"own rhythm {_of(own, 'day')}" if purchases > 1 else f"buyers here return after {_of(usual, 'day')}")
        for since, own, usual, purchases in zip(
            _whole(rows["days_since_last_purchase"]),
            _whole(_own_gap(rows)),
            _whole(rows["mean_gap_days"]),
            _whole(rows["purchases"]),
            strict=True,
        )
    ]


def _own_gap(rows: pd.DataFrame) -> pd.Series:
    """Mean days between own purchases, 0 for one: what the customer itself would count."""
    return rows["active_span_days"] / (rows["purchases"] - 1).clip(lower=1)


def _is_overdue(rows: pd.DataFrame) -> pd.Series:
    return (rows["overdue_ratio"] > 1) & (rows["days_since_last_purchase"] > _own_gap(rows))


def _few_text(rows: pd.DataFrame, _: int) -> list[str]:
    return [
        f"{_of(purchases, 'purchase')} in {_of(age, 'day')} as a customer"
        for purchases, age in zip(_whole(rows["purchases"]), _whole(rows["customer_age_days"]), strict=True)
    ]


def _falling_text(rows: pd.DataFrame, _: int) -> list[str]:
    names = ("purchases_30", "purchases_30_before", "purchases_90", "purchases_90_before")
    return [
        f"{_of(in_90, 'purchase')} in the last 90 days, {before_90} in the 90 before"
        if in_90 < before_90
        else f"{_of(in_30, 'purchase')} in the last 30 days, {before_30} in the 30 before"
        if in_30 < before_30
        else f"{_of(in_90, 'purchase')} in the last 90 days, {usual:.1f} in its average 90 days"
        for in_30, before_30, in_90, before_90, usual in zip(
            *(_whole(rows[name]) for name in names), _usual_quarter(rows).tolist(), strict=True
        )
    ]


def _usual_quarter(rows: pd.DataFrame) -> pd.Series:
    """Purchases in 90 days, on average since the first; a customer of less than 90 days is averaged over them."""
    return rows["purchases"] / rows["customer_age_days"].clip(lower=feature.QUARTER) * feature.QUARTER


def _size_text(rows: pd.DataFrame, _: int) -> list[str]:
    mean = rows["revenue_per_purchase"]
    return [
        f"{own:,.2f} per purchase, the last one {last:,.2f}"
        for own, last in zip(mean.tolist(), (mean * rows["last_revenue_ratio"]).tolist(), strict=True)
    ]


def _margin_text(rows: pd.DataFrame, _: int) -> list[str]:
    return [
        f"margin {now:.1%} in the last 12 months, {before:.1%} in the 12 before"
        for now, before in zip(
            rows["margin_12m"].tolist(), (rows["margin_12m"] - rows["margin_change"]).tolist(), strict=True
        )
    ]


def _complaints_text(rows: pd.DataFrame, _: int) -> list[str]:
    return [f"{_of(count, 'complaint')} in the last 365 days" for count in _whole(rows["complaints_365"])]


def _service_text(rows: pd.DataFrame, _: int) -> list[str]:
    names = ("cases_365", "escalations_365", "surveys_365")
    return [
        f"{_of(cases, 'service case')} in the last 365 days, {escalated} escalated"
        + (f", {_of(surveys, 'survey')} answered with {score:.0%} on average" if surveys else "")
        for cases, escalated, surveys, score in zip(
            *(_whole(rows[name]) for name in names), rows["own_survey_score"].tolist(), strict=True
        )
    ]


def _payment_text(rows: pd.DataFrame, _: int) -> list[str]:
    return [
        f"invoices of the last 365 days {_of(late, 'day')} late on average" for late in _whole(rows["own_days_late"])
    ]


def _season_text(rows: pd.DataFrame, horizon_days: int) -> list[str]:
    return [
        f"{_of(count, 'purchase')} in the same {horizon_days} days a year ago"
        for count in _whole(rows["same_season_last_year"])
    ]


def _constant(code: str) -> Callable[[pd.DataFrame], Any]:
    return lambda rows: code


def _few_code(rows: pd.DataFrame) -> Any:
    return np.where(rows["purchases"] == 1, "one_time_buyer", "rare_buyer").astype(object)


def _is_few(rows: pd.DataFrame) -> pd.Series:
    return (rows["purchases"] == 1) | (rows["mean_gap_days"] > rows["mean_gap_days"].median())


def _is_falling(rows: pd.DataFrame) -> pd.Series:
    fell_30 = rows["purchases_30"] < rows["purchases_30_before"]
    fell_90 = rows["purchases_90"] < rows["purchases_90_before"]
    is_below_average = (rows["purchases"] > 1) & (rows["purchases_90"] + 0.5 < _usual_quarter(rows))
    return fell_30 | fell_90 | is_below_average


_SENTENCES: dict[
    str, tuple[Callable[[pd.DataFrame], pd.Series], Callable[[pd.DataFrame], Any], Callable[..., list[str]]]
]
_SENTENCES = {
    "overdue": (_is_overdue, _constant("overdue"), _overdue_text),
    "few_purchases": (_is_few, _few_code, _few_text),
    "falling_purchases": (_is_falling, _constant("falling_purchases"), _falling_text),
    "spending": (lambda rows: rows["purchases"] > 0, _constant("purchase_size"), _size_text),
    "margin_drop": (lambda rows: rows["margin_change"] < 0, _constant("margin_drop"), _margin_text),
    "complaints": (lambda rows: rows["complaints_365"] > 0, _constant("complaints"), _complaints_text),
    "service": (
        lambda rows: (rows["cases_365"] > 0) | (rows["surveys_365"] > 0),
        _constant("service"),
        _service_text,
    ),
    "payment": (lambda rows: rows["own_days_late"] >= 0.5, _constant("payment"), _payment_text),
    "seasonality": (
        lambda rows: (rows["same_season_last_year"] == 0) & (rows["customer_age_days"] >= DAYS_PER_YEAR),
        _constant("seasonality"),
        _season_text,
    ),
}
"""Group of contributions -> whether a customer's own numbers say so, the code, and the sentence. A group a customer's numbers
do not show, such as complaints of somebody who never complained, is no reason whatever the model makes of it."""


def recency_baseline(
    purchases: pd.DataFrame,
    as_of: datetime.date,
    *,
    horizon_days: int,
    profit_12m: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row per customer who has ever purchased, as of one date; orders after `as_of` are not seen.

    `purchases` has one row per order: customer_id, order_date, net_revenue (base currency, credit notes netted).
    `profit_12m` has one row per customer: customer_id, profit_12m (operating profit of the last 12 months, base
    currency, loss -); customers it does not name, or all without it, expect 0.

    - days_since_last_purchase: whole days.
    - churn_probability: P(no purchase in the next `horizon_days`), 0 to 1, never falling as silence grows. The share
      who bought nothing is counted `horizon_days` ago, when the answer is already known: customers binned by their
      days since last purchase then, each bin shrunk towards the overall rate, made monotone by pooling adjacent
      violators (Ayer et al. 1955), and read off by linear interpolation between bin means. A silence longer than
      the curve has seen buys in inverse proportion to its length.
    - expected_profit: profit_12m * horizon_days / 365, what the customer brings if it goes on as it did.
    - expected_profit_lost: max(0, expected_profit) * churn_probability: nothing is lost with a loss-maker.
    - churn_rank: 1 = most profit to lose; then higher probability, then customer_id.
    - model: 'recency_baseline', or 'silence_ratio' when fewer than 30 customers had purchased `horizon_days` ago:
      a silence of d days lasts another H with probability (d + 1) / (d + 1 + H), the rule for a wait of which only
      its length so far is known (Gott 1993).
    """
    if horizon_days < 1:
        raise ValueError(f"horizon_days is {horizon_days}; give a whole number of days, 1 or more.")
    known = known_orders(purchases, as_of)
    days = days_since_last_purchase(known, as_of)
    curve = _learn_curve(known, as_of, horizon_days)
    if curve is None:
        model = FALLBACK
        probability = (days.to_numpy() + 1) / (days.to_numpy() + 1 + horizon_days)
    else:
        model = BASELINE
        probability = _read_off(days.to_numpy(dtype="float64"), *curve)
    probability = _rounded(probability)

    expected = np.round(_profit(profit_12m, days.index) * horizon_days / DAYS_PER_YEAR, 4)
    scored = pd.DataFrame(
        {
            "customer_id": pd.Series(days.index, dtype="str"),
            "as_of_date": as_of_column(as_of, len(days)),
            "horizon_days": np.full(len(days), horizon_days, dtype="int64"),
            "days_since_last_purchase": days.to_numpy(dtype="int64"),
            "churn_probability": probability,
            "expected_profit": expected,
            "expected_profit_lost": np.round(np.maximum(expected, 0.0) * probability, 4),
            "model": pd.Series([model] * len(days), dtype="str"),
        }
    )
    scored["churn_rank"] = _rank(scored)
    return scored[list(BASELINE_COLUMNS)]


def _learn_curve(known: pd.DataFrame, as_of: datetime.date, horizon_days: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Days since last purchase (rising) and P(no purchase in the next `horizon_days`) at them, or None when too few
    customers had purchased `horizon_days` before `as_of`."""
    origin = as_of - datetime.timedelta(days=horizon_days)
    days = days_since_last_purchase(known, origin)
    if len(days) < FEWEST_CUSTOMERS:
        return None
    bought_later = known[known["is_purchase"] & (known["order_date"] > pd.Timestamp(origin))]["customer_id"]
    churned = ~days.index.isin(bought_later.unique())

    bin_count = max(1, min(MOST_BINS, len(days) // SMALLEST_BIN))
    edges = np.unique(np.quantile(days.to_numpy(), np.linspace(0, 1, bin_count + 1)[1:-1], method="lower"))
    bins = np.searchsorted(edges, days.to_numpy(), side="left")
    binned = pd.DataFrame({"bin": bins, "days": days.to_numpy(), "churned": churned}).groupby("bin")
    customers = binned.size().to_numpy(dtype="float64")
    overall = (churned.sum() + 1) / (len(days) + 2)
    rates = (binned["churned"].sum().to_numpy() + SHRINKAGE_CUSTOMERS * overall) / (customers + SHRINKAGE_CUSTOMERS)
    return binned["days"].mean().to_numpy(), isotonic(rates, customers)


def _read_off(days: np.ndarray, curve_days: np.ndarray, curve_rates: np.ndarray) -> np.ndarray:
    """The curve at `days`. A young company has silences today that were impossible `horizon_days` ago: beyond its
    last point the curve goes on towards 1 instead of staying flat, so that longer silence still means higher risk."""
    longest = curve_days[-1]
    beyond = (longest + 1) / (np.maximum(days, longest) + 1)
    return 1 - (1 - np.interp(days, curve_days, curve_rates)) * beyond


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The never-falling sequence nearest to `values` in weighted least squares, by pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, members
    for mean, weight in zip(values, weights, strict=True):
        block = (float(mean), float(weight), 1)
        while blocks and blocks[-1][0] > block[0]:
            left = blocks.pop()
            total = left[1] + block[1]
            block = ((left[0] * left[1] + block[0] * block[1]) / total, total, left[2] + block[2])
        blocks.append(block)
    return np.array([mean for mean, _, members in blocks for _ in range(members)])


def _profit(profit_12m: pd.DataFrame | None, customers: pd.Index) -> np.ndarray:
    if profit_12m is None or profit_12m.empty:
        return np.zeros(len(customers))
    amounts = money(profit_12m["profit_12m"]).groupby(profit_12m["customer_id"]).sum()
    profit: np.ndarray = amounts.reindex(customers, fill_value=0).to_numpy(dtype="float64") / MONEY_SCALE
    return profit


def _rank(scored: pd.DataFrame) -> pd.Series:
    """1 = most expected profit lost; then higher probability, then customer_id."""
    ranked = scored.sort_values(
        ["expected_profit_lost", "churn_probability", "customer_id"], ascending=[False, False, True]
    )
    return pd.Series(np.arange(1, len(ranked) + 1), index=ranked.index, dtype="int64")


def _profit_of_last_year(monthly: pd.DataFrame, customers: pd.Index, as_of: datetime.date) -> Floats:
    """Profit of the last twelve months that had ended on `as_of`: the month under way holds, for a past date, its future."""
    next_day = as_of + datetime.timedelta(days=1)
    this_month = next_day.year * MONTHS_PER_YEAR + next_day.month
    month = month_number(monthly["month"])
    ended = monthly[(month < this_month) & (month >= this_month - MONTHS_PER_YEAR)]
    profit = pd.DataFrame(
        {
            "customer_id": ended["customer_id"],
            "profit_12m": (money(ended["net_revenue"]) - money(ended["cost"])) / MONEY_SCALE,
        }
    )
    return _profit(profit, customers)
