"""Which model may be used: the gates a model has to pass in the backtest, and who scores when none does.

Belongs here: the marks, the order of preference and the sentence that says why. Not here: how a figure was measured
(`backtest`, `forecast_metrics`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

BUYS = "buys_in_horizon"
ORDERS = "orders_in_horizon"
PROFIT = "profit_in_horizon"
PURPOSES = (BUYS, ORDERS, PROFIT)

HIGHEST_BIAS = 0.15
CAPTURE_SLACK = 0.01
AUC_LEAD = 0.005
LOWEST_BRIER_SKILL = 0.10
HIGHEST_ECE = 0.06
LOWEST_COVERAGE, HIGHEST_COVERAGE = 0.70, 0.90

ROUNDED = 1e-9
"""Figures are compared as published, to six decimals: a mark that is met to the last digit is met."""

RECALIBRATED = "pareto_nbd_recalibrated"
CHALLENGER_RECALIBRATED = "pareto_nbd_normal_normal_recalibrated"

PREFERENCE: Mapping[str, tuple[str, ...]] = {
    BUYS: ("average", "logit", "boosting", RECALIBRATED),
    ORDERS: ("average_of_counts", "pareto_nbd", RECALIBRATED, "bg_nbd", "mbg_nbd"),
    PROFIT: ("pareto_nbd", RECALIBRATED, "pareto_nbd_normal_normal", CHALLENGER_RECALIBRATED, "bg_nbd"),
}
"""The first that passes every gate is used. An order and not the lowest error: two models a hair apart would take turns
from month to month, and every score would move for no reason a reader could see. Others are measured for comparison."""

FALLBACKS: Mapping[str, tuple[str, ...]] = {
    BUYS: (RECALIBRATED,),
    ORDERS: (RECALIBRATED,),
    PROFIT: (RECALIBRATED, CHALLENGER_RECALIBRATED),
}
"""Of these the one with the smallest error, when no model passes."""

LAST_RESORT: Mapping[str, str] = {BUYS: "recency_baseline", ORDERS: "historic_rate", PROFIT: "historic_rate"}
"""What needs no model. Used when nothing else may be, passing or not."""


class Gate(NamedTuple):
    """One mark: for which purposes it counts, and what is wrong with a row (empty = nothing)."""

    name: str
    purposes: tuple[str, ...]
    complaint: Callable[[Any], str]


def _bias(row: Any) -> str:
    if row.bias is None:
        return "bias: nothing came to pass that it could be measured on"
    return f"bias {row.bias:+.1%}, at most {HIGHEST_BIAS:.0%}" if abs(row.bias) > HIGHEST_BIAS + ROUNDED else ""


def _rmse(row: Any) -> str:
    if row.rmse is None or row.naive_rmse is None:
        return "RMSE: not measured"
    if row.rmse > row.naive_rmse + ROUNDED:
        return f"RMSE {row.rmse:,.4g} above the naive rule's {row.naive_rmse:,.4g}"
    return ""


def _capture(row: Any) -> str:
    # Without a capture the best tenth brought nothing, by any rule: there was nobody to find.
    if row.top_decile_capture is None or row.naive_top_decile_capture is None:
        return ""
    needed = row.naive_top_decile_capture - CAPTURE_SLACK
    if row.top_decile_capture < needed - ROUNDED:
        return f"top-decile capture {row.top_decile_capture:.3f}, at least {needed:.3f}"
    return ""


def _auc(row: Any) -> str:
    if row.auc is None or row.auc_recency is None:
        return "AUC: everyone bought or nobody did"
    needed = row.auc_recency + AUC_LEAD
    return f"AUC {row.auc:.3f}, at least {needed:.3f}" if row.auc < needed - ROUNDED else ""


def _brier_skill(row: Any) -> str:
    if row.brier_skill is None:
        return "Brier skill: everyone bought or nobody did"
    if row.brier_skill <= LOWEST_BRIER_SKILL + ROUNDED:
        return f"Brier skill {row.brier_skill:.3f}, more than {LOWEST_BRIER_SKILL:.2f}"
    return ""


def _ece(row: Any) -> str:
    if row.ece is None:
        return "ECE: not measured"
    return f"ECE {row.ece:.3f}, at most {HIGHEST_ECE:.2f}" if row.ece > HIGHEST_ECE + ROUNDED else ""


def _coverage(row: Any) -> str:
    if row.coverage_80 is None:
        return "coverage: no interval"
    if not LOWEST_COVERAGE - ROUNDED <= row.coverage_80 <= HIGHEST_COVERAGE + ROUNDED:
        return f"its 80 % interval covers {row.coverage_80:.0%}, not {LOWEST_COVERAGE:.0%} to {HIGHEST_COVERAGE:.0%}"
    return ""


GATES = (
    Gate("bias", PURPOSES, _bias),
    Gate("rmse", PURPOSES, _rmse),
    Gate("capture", PURPOSES, _capture),
    Gate("auc", (BUYS,), _auc),
    Gate("brier_skill", (BUYS,), _brier_skill),
    Gate("ece", (BUYS,), _ece),
    Gate("coverage", (ORDERS, PROFIT), _coverage),
)


def complaints(row: Any) -> list[tuple[str, str]]:
    """(gate, what is wrong) for every gate a row of measured figures does not pass; a figure not measured is None."""
    return [(gate.name, said) for gate in GATES if row.purpose in gate.purposes and (said := gate.complaint(row)) != ""]


class Choice(NamedTuple):
    """The model used for one purpose and horizon, and why in a sentence."""

    model: str
    why: str


def judge(measured: pd.DataFrame) -> pd.DataFrame:
    """`measured` (one row per purpose, model and horizon; see `backtest.MEASURED`) with what the gates say of each:

    - passes: every gate of its purpose.
    - failed_gates: the names of those it did not pass, comma-separated; 'not_measured' when there was nothing to judge.
    - is_used: true for exactly one model per purpose and horizon.
    - why: in a sentence, why it is used, or why not.

    Used is the first of `PREFERENCE` that passes. When none does: recalibrated Pareto/NBD if its error is no larger than the
    naive rule's (and it ranks who buys no worse), else a model that is nearer than the last resort both per customer and in
    total, else the last resort (recency baseline; historic rate), which need not pass.
    """
    judged = []
    for row in _rows(measured):
        said = [("not_measured", row.not_measured)] if row.not_measured else complaints(row)
        judged.append((not said, ", ".join(name for name, _ in said), "; ".join(text for _, text in said)))
    passes, failed, reasons = (list(part) for part in zip(*judged, strict=True)) if judged else ([], [], [])
    table = measured.assign(
        passes=pd.Series(passes, index=measured.index, dtype="bool"),
        failed_gates=pd.Series(failed, index=measured.index, dtype="str"),
        reasons=pd.Series(reasons, index=measured.index, dtype="str"),
    )
    used, why = {}, {}
    groups: Any = table.groupby(["purpose", "horizon_days"])
    for (purpose, horizon), rows in groups:
        choice = _choice(str(purpose), int(horizon), rows.set_index("model"))
        for index, row in rows.iterrows():
            used[index] = row["model"] == choice.model
            why[index] = choice.why if used[index] else _why_not(row, choice.model)
    return table.assign(
        is_used=pd.Series(used, dtype="bool").reindex(table.index),
        why=pd.Series(why, dtype="str").reindex(table.index),
    ).drop(columns="reasons")


def choose(model_quality: pd.DataFrame) -> dict[tuple[str, int], Choice]:
    """Which model is used for each (purpose, horizon_days) of a judged table, and why."""
    used: Any = model_quality[model_quality["is_used"].astype("bool")].itertuples()
    return {(str(row.purpose), int(row.horizon_days)): Choice(str(row.model), str(row.why)) for row in used}


def measured_horizon(model_quality: pd.DataFrame, purpose: str, horizon_days: int) -> int | None:
    """The horizon nearest to `horizon_days` over which anything could be measured (the longer of two as near), or None."""
    measured = model_quality[(model_quality["purpose"] == purpose) & (model_quality["origins"] > 0)]
    horizons = {int(horizon) for horizon in measured["horizon_days"]}
    return min(horizons, key=lambda horizon: (abs(horizon - horizon_days), -horizon)) if horizons else None


def _choice(purpose: str, horizon: int, rows: Any) -> Choice:
    last = LAST_RESORT[purpose]
    for model in (*PREFERENCE[purpose], last):
        if model in rows.index and rows.loc[model, "passes"]:
            row = rows.loc[model]
            return Choice(model, f"{model} passes every gate over {_counted(row['origins'], 'origin')}{_figures(row)}.")
    tried = [model for model in PREFERENCE[purpose] if model in rows.index]
    if all(rows.loc[model, "failed_gates"] == "not_measured" for model in tried):
        reason = str(rows.loc[tried[0], "reasons"]) if tried else "no model was tried"
        return Choice(last, f"{last}, because nothing else could be measured over {horizon} days: {reason}.")
    first = next(model for model in tried if rows.loc[model, "failed_gates"] != "not_measured")
    refused = f"no model passes every gate over {horizon} days ({first}: {rows.loc[first, 'reasons']})"
    usable = [model for model in FALLBACKS[purpose] if model in rows.index and _beats_naive(rows.loc[model])]
    if usable:
        fallback = min(usable, key=lambda model: float(rows.loc[model, "rmse"]))
        return Choice(fallback, f"{fallback} as the fallback, its error no larger than the naive rule's: {refused}.")
    nearer = [model for model in tried if last in rows.index and _is_nearer(rows.loc[model], rows.loc[last])]
    if nearer:
        lesser_evil = min(nearer, key=lambda model: abs(float(rows.loc[model, "bias"])))
        return Choice(lesser_evil, f"{lesser_evil} as the lesser evil, nearer to what came than {last}: {refused}.")
    return Choice(last, f"{last} as the last resort: {refused}.")


def _beats_naive(row: Any) -> bool:
    if row["failed_gates"] == "not_measured" or _missing(row["rmse"]) or _missing(row["naive_rmse"]):
        return False
    ranks = _missing(row["auc"]) or _missing(row["auc_recency"]) or row["auc"] >= row["auc_recency"] - ROUNDED
    return bool(row["rmse"] <= row["naive_rmse"] + ROUNDED and ranks)


def _is_nearer(row: Any, last_resort: Any) -> bool:
    """Whether a model beats the naive rule and, in both its errors, the last resort: the customer's and the total's."""
    if not _beats_naive(row) or any(_missing(each[name]) for each in (row, last_resort) for name in ("rmse", "bias")):
        return False
    return bool(row["rmse"] <= last_resort["rmse"] and abs(row["bias"]) < abs(last_resort["bias"]))


def _why_not(row: Any, used: str) -> str:
    if row["model"] not in (*PREFERENCE[row["purpose"]], LAST_RESORT[row["purpose"]]):
        reasons = str(row["reasons"])
        return f"Measured for comparison; no table is scored by it{f': {reasons}' if reasons else ''}."
    if row["passes"]:
        return f"Not used: it passes, and {used} comes before it."
    reasons = str(row["reasons"])
    return f"Not used: {reasons}." if reasons else "Not used."


def _figures(row: Any) -> str:
    figures = [
        f"{name} {row[column]:.3f}"
        for name, column in (("AUC", "auc"), ("ECE", "ece"))
        if not _missing(row[column]) and row["purpose"] == BUYS
    ]
    if row["purpose"] != BUYS and not _missing(row["bias"]):
        figures = [f"bias {row['bias']:+.1%}", f"RMSE {row['rmse']:,.4g} against {row['naive_rmse']:,.4g}"]
    return f" ({', '.join(figures)})" if figures else ""


def _counted(count: Any, noun: str) -> str:
    return f"{int(count)} {noun}{'' if int(count) == 1 else 's'}"


def _rows(measured: pd.DataFrame) -> list[Any]:
    """The rows as tuples in which what was not measured is None, whatever pandas made of it."""
    columns = list(measured.columns)
    Row = NamedTuple("Row", [(column, Any) for column in columns])  # type: ignore[misc]
    return [
        Row(*(None if _missing(value) else value for value in values))
        for values in measured.itertuples(index=False, name=None)
    ]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
