"""How well each model would have forecast: it is put back to past month ends, and what it says is held against what came.

Belongs here: the origins, the measuring, and what a release learns from it (corrections, width of intervals). Not here: the
forecasts (`forecasters`), the measures (`forecast_metrics`), and which model may therefore be used (`gates`).

Everything is measured on what was known on `fit_as_of`, the last day of the month before the as-of date: every label ends by
then, and nothing later changes a figure. So a month's releases share one backtest.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from assets.analytics import features, gates, intervals
from assets.analytics import forecast_metrics as metrics
from assets.analytics import forecasters as foresight
from assets.analytics.features import CustomerHistory
from assets.analytics.forecasters import Forecast, Known, NotMeasured, Window
from assets.analytics.history import MONEY_SCALE
from assets.analytics.models.summaries import DAYS_PER_WEEK

HORIZONS = (30, 90, 365)
ORIGINS = 6

MOST_CUSTOMERS = 25_000
"""A larger company is backtested on a sample, the same customers on every date: over six origins it tells an AUC to a
fifth of a point."""

SIMULATED_CUSTOMERS = 1_000
DRAWS = 100
SEED = 20_260_630

MEASURED = {
    "purpose": "str",
    "model": "str",
    "horizon_days": "int64",
    "origins": "int64",
    "first_origin": "datetime64[s]",
    "last_origin": "datetime64[s]",
    "customers": "int64",
    "bias": "float64",
    "rmse": "float64",
    "mae": "float64",
    "top_decile_capture": "float64",
    "naive_bias": "float64",
    "naive_rmse": "float64",
    "naive_mae": "float64",
    "naive_top_decile_capture": "float64",
    "auc": "float64",
    "auc_recency": "float64",
    "brier": "float64",
    "brier_recency": "float64",
    "brier_skill": "float64",
    "ece": "float64",
    "coverage_80": "float64",
    "correction": "float64",
    "not_measured": "str",
    "note": "str",
}
"""Columns of what is measured, with their pandas types."""

_KEY = {"purpose": "str", "model": "str", "horizon_days": "int64"}

CALIBRATION = _KEY | {"bin": "int64", "customers": "int64", "predicted": "float64", "observed": "float64"}
GAINS = _KEY | {"customer_share": "float64", "captured_share": "float64"}

PARAMETERS = {
    "model": "str",
    "parameter": "str",
    "value": "float64",
    "standard_error": "float64",
    "log_likelihood": "float64",
    "customers": "int64",
    "converged": "bool",
    "degenerate": "str",
}


class BacktestResult(NamedTuple):
    """What a month's releases take from the backtest.

    - measured: one row per purpose, model and horizon; columns of `MEASURED`.
    - calibration: per model of 'buys_in_horizon', horizon and bin: customers, predicted, observed.
    - gains: per model and horizon: share of customers, best first, and the share of everything that they brought.
    - widenings: by `widening_key`, what the intervals of a model's profit are to be widened by.
    - parameters: one row per fitted model and parameter, on what was known on fit_as_of.
    """

    measured: pd.DataFrame
    calibration: pd.DataFrame
    gains: pd.DataFrame
    widenings: dict[str, intervals.Widening]
    parameters: pd.DataFrame


def widening_key(purpose: str, model: str, horizon_days: int) -> str:
    return f"{purpose}/{model}/{horizon_days}"


class _Measurement(NamedTuple):
    """One model at one origin: its forecast, the naive rule's, and what came to pass."""

    predicted: np.ndarray
    naive: np.ndarray
    actual: np.ndarray
    coverage: float | None


def fit_date(as_of: datetime.date) -> datetime.date:
    """The last day of the month before `as_of`: models are fitted monthly and score daily."""
    return as_of.replace(day=1) - datetime.timedelta(days=1)


def origins_of(known: Known, horizon_days: int, *, in_months: bool, most: int = ORIGINS) -> list[datetime.date]:
    """At most `most` last days of months, rising, whose window had passed by the date of `known` and on which the company had
    enough customers and history to fit a model."""
    found: list[datetime.date] = []
    month = foresight.month_of(known.as_of)
    while len(found) < most and known.first_purchase is not None:
        origin = foresight.month_end(month)
        if origin <= known.first_purchase:
            break
        ahead = foresight.window(origin, horizon_days, in_months=in_months)
        if origin + datetime.timedelta(days=ahead.days) <= known.as_of:
            if known.earlier(origin).why_too_little():
                break
            found.append(origin)
        month -= 1
    return sorted(found)


def run(
    history: CustomerHistory,
    fit_as_of: datetime.date,
    *,
    horizons: Sequence[int] = HORIZONS,
    churn_horizon_days: int | None = None,
    origins: int = ORIGINS,
    forecasters: Mapping[str, Mapping[str, Forecast]] = foresight.FORECASTERS,
) -> BacktestResult:
    """Every model of `forecasters` (purpose -> model -> forecast) at up to `origins` past month ends per horizon.

    `churn_horizon_days`, the horizon of churn risk, is backtested with the others, and its models' parameters are among the
    result's. `fit_as_of` is the last day of a month. Profit is known by month, so its window is the whole number of months
    nearest to the horizon, and forecasts are made for exactly its days.

    Over all origins of a model together: bias = (sum of forecasts - sum of outcomes) / |sum of outcomes|; rmse, mae, brier and
    ece per customer and origin (ece over 10 groups of equal size; brier_skill = 1 - brier / that of the share who bought at each
    origin). Per origin, weighted by customers: auc, top_decile_capture (of the oracle's tenth), coverage_80. Beside them the
    naive rule at the same origins: the same as in the period before; for who buys, the curve over the time since the last
    purchase.

    - correction: outcomes / forecasts in total the last time that is known; 1 where it is not.
    - not_measured: why there is no figure (empty = there are); note: what to know of the figures.
    """
    history = foresight.cut(history, fit_as_of)
    sample = features.sample(history, fit_as_of, MOST_CUSTOMERS)
    is_whole = len(sample.orders) == len(history.orders)
    known = Known(sample, fit_as_of)
    rows, bins, curves = [], [], []
    widenings: dict[str, intervals.Widening] = {}
    for purpose, models in forecasters.items():
        for horizon in sorted({*horizons, *([churn_horizon_days] if churn_horizon_days else [])}):
            dates = origins_of(known, horizon, in_months=purpose == gates.PROFIT, most=origins)
            for model, forecast in models.items():
                row, measurements = _measure(known, purpose, model, forecast, horizon, dates, origins)
                rows.append(row)
                if (learned := _widening(known, purpose, model, forecast, horizon)) is not None:
                    widenings[widening_key(purpose, model, horizon)] = learned
                key = {"purpose": purpose, "model": model, "horizon_days": horizon}
                bins += [key | bin_ for bin_ in _bins(purpose, measurements)]
                curves += [key | point for point in _curve(measurements)]
    return BacktestResult(
        measured=pd.DataFrame(rows, columns=list(MEASURED)).astype(MEASURED),
        calibration=pd.DataFrame(bins, columns=list(CALIBRATION)).astype(CALIBRATION),
        gains=pd.DataFrame(curves, columns=list(GAINS)).astype(GAINS),
        widenings=widenings,
        parameters=parameters(known if is_whole else Known(history, fit_as_of), churn_horizon_days),
    )


def _measure(
    known: Known,
    purpose: str,
    model: str,
    forecast: Forecast,
    horizon: int,
    dates: Sequence[datetime.date],
    wanted: int,
) -> tuple[dict[str, Any], list[_Measurement]]:
    in_months = purpose == gates.PROFIT
    measured: dict[datetime.date, _Measurement] = {}
    refusals: dict[str, int] = {}
    for date in dates:
        origin = known.earlier(date)
        ahead = foresight.window(date, horizon, in_months=in_months)
        try:
            measured[date] = _measured_at(known, origin, purpose, model, forecast, ahead)
        except NotMeasured as reason:
            refusals[str(reason)] = refusals.get(str(reason), 0) + 1
    row: dict[str, Any] = dict.fromkeys(MEASURED)
    row |= {"purpose": purpose, "model": model, "horizon_days": horizon, "not_measured": "", "note": ""}
    row |= {"origins": len(measured), "customers": sum(len(part.actual) for part in measured.values())}
    row["correction"] = 1.0
    if not measured:
        return row | {"not_measured": next(iter(refusals), "") or _why_no_origin(known, horizon)}, []
    row |= {"first_origin": min(measured), "last_origin": max(measured)}
    row |= _figures(purpose, list(measured.values()))
    row["correction"] = _correction(known, purpose, forecast, horizon)
    row["note"] = _note(known, model, list(measured), wanted, refusals)
    return row, list(measured.values())


def _measured_at(
    known: Known, origin: Known, purpose: str, model: str, forecast: Forecast, ahead: Window
) -> _Measurement:
    predicted = origin.says(forecast, ahead)
    actual = foresight.OUTCOMES[purpose](known, origin, ahead)
    return _Measurement(
        predicted=predicted,
        naive=origin.says(foresight.NAIVE[purpose], ahead),
        actual=actual,
        coverage=_coverage(origin, purpose, model, forecast, ahead, actual),
    )


def _figures(purpose: str, parts: list[_Measurement]) -> dict[str, Any]:
    """The figures of a row, over all origins."""
    predicted, naive, actual = (np.concatenate([part[i] for part in parts]) for i in range(3))
    customers = [len(part.actual) for part in parts]
    figures: dict[str, Any] = {}
    for prefix, values, of in (("", predicted, "predicted"), ("naive_", naive, "naive")):
        figures[f"{prefix}bias"] = metrics.bias(values, actual)
        figures[f"{prefix}rmse"] = metrics.rmse(values, actual)
        figures[f"{prefix}mae"] = metrics.mae(values, actual)
        captures = [metrics.top_decile_capture(getattr(part, of), part.actual) for part in parts]
        figures[f"{prefix}top_decile_capture"] = _mean(captures, customers)
    if purpose == gates.BUYS:
        happened = actual > 0.5
        figures["auc"] = _mean([metrics.auc(part.predicted, part.actual > 0.5) for part in parts], customers)
        figures["auc_recency"] = _mean([metrics.auc(part.naive, part.actual > 0.5) for part in parts], customers)
        figures["brier"] = metrics.brier(predicted, happened)
        figures["brier_recency"] = metrics.brier(naive, happened)
        shares = np.concatenate([np.full(len(part.actual), part.actual.mean()) for part in parts])
        of_share = metrics.brier(shares, happened)
        if figures["brier"] is not None and of_share:
            figures["brier_skill"] = 1 - figures["brier"] / of_share
        figures["ece"] = metrics.ece(predicted, happened)
    else:
        figures["coverage_80"] = _mean([part.coverage for part in parts], customers)
    return {name: None if value is None else round(value, 6) for name, value in figures.items()}


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    """The weighted mean of what there is."""
    there = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = sum(weight for _, weight in there)
    return sum(value * weight for value, weight in there) / total if total else None


def _why_no_origin(known: Known, horizon: int) -> str:
    last = known.earlier(foresight.last_month_end(known.as_of - datetime.timedelta(days=horizon)))
    return last.why_too_little() or f"no month end with {horizon} days after it before {known.as_of}"


def _note(known: Known, model: str, dates: Sequence[datetime.date], wanted: int, refusals: Mapping[str, int]) -> str:
    said = []
    if refusals:
        said.append(f"at {len(dates)} of {len(dates) + sum(refusals.values())} origins: {next(iter(refusals))}")
    elif len(dates) < wanted:
        said.append(f"{len(dates)} of {wanted} origins: the history begins on {known.first_purchase}")
    base = _purchase_model(model)
    if base is not None:
        reasons = [reason for date in dates if (reason := known.earlier(date).fitted(base).degenerate)]
        if reasons:
            said.append(f"degenerate at {len(reasons)} of {len(dates)} origins: {reasons[-1]}")
    return "; ".join(said)


# Intervals


def _coverage(
    origin: Known, purpose: str, model: str, forecast: Forecast, ahead: Window, actual: np.ndarray
) -> float | None:
    """Of the 80 % interval as it would have been published on the day: widened by what it had missed until then."""
    if purpose == gates.ORDERS:
        return _coverage_of_orders(origin, model, forecast, ahead, actual)
    ends = _interval(origin, purpose, model, forecast, ahead)
    if ends is None:
        return None
    learned = _widening(origin, purpose, model, forecast, ahead.days)
    low, high = intervals.widen(*ends, learned)[:2]
    return metrics.coverage(low, high, actual)


def _coverage_of_orders(
    origin: Known, model: str, forecast: Forecast, ahead: Window, actual: np.ndarray
) -> float | None:
    count = len(origin.customers)
    if not count:
        return None
    rng = np.random.default_rng([SEED, ahead.days])
    rows = np.unique(np.linspace(0, count - 1, min(count, SIMULATED_CUSTOMERS)).round().astype("intp"))
    base = _purchase_model(model)
    if base is None:
        rates = np.maximum(origin.says(forecast, ahead)[rows], 0.0)
        # Geometric, as clv.py takes a rate without a model: customers of equal rate are not alike.
        draws = rng.poisson(rates[:, None] * rng.exponential(size=(len(rows), DRAWS)))
    else:
        # A forecast that was corrected upwards by a tenth is one for a tenth more time.
        weeks = ahead.days * _factor(origin, gates.ORDERS, model, forecast, ahead) / DAYS_PER_WEEK
        history = (values[rows] for values in origin.weeks)
        draws = foresight.BTYD[base].simulate_purchases(origin.fitted(base).parameters, *history, weeks, rng, DRAWS)
    return metrics.central_share(draws, actual[rows], intervals.LEVEL)


_Ends = tuple[np.ndarray, intervals.Interval, np.ndarray]
"""Forecast, interval before any widening, and P(no purchase)."""


def _interval(known: Known, purpose: str, model: str, forecast: Forecast, ahead: Window) -> _Ends | None:
    """The interval of profit as clv.py makes it; None for what has none."""
    base = _purchase_model(model)
    if purpose != gates.PROFIT or not (base or model == gates.LAST_RESORT[purpose]):
        return None
    if base:
        moments = intervals.scaled(known.moments(base, ahead), _factor(known, purpose, model, forecast, ahead))
    else:
        moments = intervals.without_model(known.says(foresight.orders_historic_rate, ahead))
    method = foresight.CHALLENGER_METHOD if foresight.CHALLENGER_METHOD in model else foresight.DEFAULT_METHOD
    each = known.per_purchase(method)
    ends = intervals.of_profit(
        moments, *(part / MONEY_SCALE for part in (each.expected, each.spread, each.purchase_spread))
    )
    return moments.mean * each.expected / MONEY_SCALE, ends, moments.none


def _purchase_model(model: str) -> str | None:
    return next((name for name in foresight.BTYD if model.startswith(name)), None)


def _factor(known: Known, purpose: str, model: str, forecast: Forecast, ahead: Window) -> float:
    """By what a forecast was corrected: 1 for those that are not."""
    if not model.endswith(foresight.CORRECTED):
        return 1.0
    plain = float(known.says(foresight.FORECASTERS[purpose][model.removesuffix(foresight.CORRECTED)], ahead).sum())
    return float(known.says(forecast, ahead).sum()) / plain if plain else 1.0


def _widening(known: Known, purpose: str, model: str, forecast: Forecast, horizon: int) -> intervals.Widening | None:
    """What the intervals for the last window known on the day of `known` teach about the next; None without one."""
    try:
        past, passed = known.learned_from(horizon, in_months=purpose == gates.PROFIT)
        ends = _interval(past, purpose, model, forecast, passed)
    except NotMeasured:
        return None
    if ends is None:
        return None
    return intervals.learn(foresight.OUTCOMES[purpose](known, past, passed), *ends)


def _correction(known: Known, purpose: str, forecast: Forecast, horizon: int) -> float:
    """Outcomes / forecasts in total in the last window known; 1 without one."""
    if purpose == gates.BUYS:
        return 1.0
    try:
        past, passed = known.learned_from(horizon, in_months=purpose == gates.PROFIT)
        said = past.says(forecast, passed)
    except NotMeasured:
        return 1.0
    return round(foresight.correction(said, foresight.OUTCOMES[purpose](known, past, passed)), 6)


# Figures for the plots, and the parameters


def _bins(purpose: str, parts: Sequence[_Measurement]) -> list[dict[str, Any]]:
    if purpose != gates.BUYS or not parts:
        return []
    predicted = np.concatenate([part.predicted for part in parts])
    happened = np.concatenate([part.actual for part in parts]) > 0.5
    return [
        {"bin": number} | group._asdict()
        for number, group in enumerate(metrics.calibration(predicted, happened), start=1)
    ]


def _curve(parts: Sequence[_Measurement]) -> list[dict[str, float]]:
    if not parts:
        return []
    # Of the last origin: the most customers, and what is nearest to today.
    places, captured = metrics.gains(parts[-1].predicted, parts[-1].actual)
    return [
        {"customer_share": float(place), "captured_share": round(float(share), 6)}
        for place, share in zip(places, captured, strict=True)
    ]


def parameters(known: Known, churn_horizon_days: int | None = None) -> pd.DataFrame:
    """One row per fitted model and parameter (time in weeks, money in base currency): value, standard_error (missing where
    the data do not tell), log_likelihood, customers, converged, degenerate (empty, or why P(alive) is not to be used).

    The logistic regression of churn risk is called by its horizon, 'logit_90d'; its coefficients are of standardised terms.
    Boosting is a forest of trees, and no row says it.
    """
    if known.why_too_little():
        return pd.DataFrame(columns=list(PARAMETERS)).astype(PARAMETERS)
    fits = [known.fitted(model) for model in foresight.BTYD]
    spend = known.per_purchase(foresight.DEFAULT_METHOD).spend
    if spend is not None:
        fits.append(spend)
    rows: list[tuple[Any, ...]] = []
    for fitted in fits:
        scale = MONEY_SCALE if fitted is spend else 1
        for name, value in fitted.parameters.items():
            # The scale of spend is money; the shapes are none.
            unit = scale if name in ("gamma", "typical_spend") else 1
            error = fitted.standard_errors.get(name)
            rows.append(
                (
                    fitted.model,
                    name,
                    _significant(value / unit),
                    None if error is None else _significant(error / unit),
                    round(fitted.log_likelihood, 2),
                    fitted.customers,
                    fitted.converged,
                    fitted.degenerate,
                )
            )
    learned = known.churn_models(churn_horizon_days).purchase if churn_horizon_days else None
    if learned is not None:
        named = [("intercept", learned.intercept), *zip(learned.names, learned.coefficients, strict=True)]
        rows += [
            (f"logit_{churn_horizon_days}d", name, _significant(float(value)), None, None, learned.rows, True, "")
            for name, value in named
        ]
    return pd.DataFrame(rows, columns=list(PARAMETERS)).astype(PARAMETERS)


def _significant(value: float) -> float:
    """Six digits: what two machines agree on."""
    return float(f"{value:.6g}")
