"""How good the models are, what they learned, and whether they still fit: the assets of the monthly backtest and of drift.

The functions (`backtest`, `gates`, `drift`, `model_store`) know nothing of Dagster or of the warehouse.
"""

import base64
import datetime
import io
from typing import Any, NamedTuple

import dagster as dg
import duckdb
import pandas as pd

from assets.analytics import backtest, churn, clv, drift, features, gates, model_store
from assets.analytics.backtest import BacktestResult
from assets.analytics.features import CustomerHistory
from assets.analytics.forecasters import CHALLENGER_METHOD, CORRECTED, DEFAULT_METHOD, cut
from assets.analytics.history import as_of_column
from assets.analytics.table_asset import analytics_asset
from assets.warehouse_table import column_schema, write_table
from pipelines.resources import Workspace, owners

HISTORY_INPUTS = (
    "facts.fct_invoice_lines",
    "facts.fct_service_cases",
    "facts.fct_survey_responses",
    "facts.as_of",
    "credit.receivable_items",
    "marts.customer_profitability",
)
"""What `features.read` reads."""

QUALITY_TYPES = {
    "as_of_date": "DATE",
    "fit_date": "DATE",
    "purpose": "VARCHAR",
    "model": "VARCHAR",
    "horizon_days": "INTEGER",
    "origins": "INTEGER",
    "first_origin": "DATE",
    "last_origin": "DATE",
    "customers": "BIGINT",
    "bias": "DOUBLE",
    "rmse": "DOUBLE",
    "mae": "DOUBLE",
    "top_decile_capture": "DOUBLE",
    "naive_bias": "DOUBLE",
    "naive_rmse": "DOUBLE",
    "naive_mae": "DOUBLE",
    "naive_top_decile_capture": "DOUBLE",
    "auc": "DOUBLE",
    "auc_recency": "DOUBLE",
    "brier": "DOUBLE",
    "brier_recency": "DOUBLE",
    "brier_skill": "DOUBLE",
    "ece": "DOUBLE",
    "coverage_80": "DOUBLE",
    "correction": "DOUBLE",
    "passes": "BOOLEAN",
    "failed_gates": "VARCHAR",
    "is_used": "BOOLEAN",
    "why": "VARCHAR",
    "note": "VARCHAR",
}
"""Columns of model_quality and their types in the warehouse."""

PARAMETER_TYPES = {
    "as_of_date": "DATE",
    "fit_date": "DATE",
    "model": "VARCHAR",
    "parameter": "VARCHAR",
    "value": "DOUBLE",
    "standard_error": "DOUBLE",
    "log_likelihood": "DOUBLE",
    "customers": "BIGINT",
    "converged": "BOOLEAN",
    "degenerate": "VARCHAR",
    "data_hash": "VARCHAR",
    "code_version": "VARCHAR",
}
"""Columns of model_parameters and their types in the warehouse."""

MODELS_FOLDER = "models"
"""Of the data folder: what `model_store` keeps. It may be deleted."""


class Month(NamedTuple):
    """What the releases of one month share, as of one of its days: the history, the judged backtest, and its key."""

    history: CustomerHistory
    as_of: datetime.date
    fit_as_of: datetime.date
    quality: pd.DataFrame
    result: BacktestResult
    key: model_store.Key


class ClvPlan(NamedTuple):
    """Which models value the customers, and what the backtest found out about them."""

    model: str
    profit_method: str
    measured: clv.Measured


def month_of_models(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> Month:
    """The backtest of the month: kept from an earlier day, or computed now."""
    as_of, horizon = workspace.as_of(), workspace.company().value.churn_horizon_days
    fit_as_of = backtest.fit_date(as_of)
    history = features.read(connection)
    key = model_store.key(history, fit_as_of, {"churn_horizon_days": horizon})
    result = model_store.recall(
        workspace.data / MODELS_FOLDER,
        key,
        lambda: backtest.run(history, fit_as_of, churn_horizon_days=horizon),
    )
    # What is dated after the as-of date is no business of any score.
    return Month(cut(history, as_of), as_of, fit_as_of, gates.judge(result.measured), result, key)


def clv_plan(month: Month, horizon_months: int) -> ClvPlan:
    """How CLV is made: the model that passed for profit over the longest time measured, with its correction and widening."""
    horizon = gates.measured_horizon(month.quality, gates.PROFIT, round(horizon_months * 365 / 12))
    if horizon is None:
        return ClvPlan(clv.HISTORIC_RATE, DEFAULT_METHOD, clv.Measured())
    used = gates.choose(month.quality)[gates.PROFIT, horizon].model
    of_profit = month.quality["purpose"] == gates.PROFIT
    rows = month.quality[of_profit & (month.quality["horizon_days"] == horizon)].set_index("model")
    is_recalibrated = used.endswith(CORRECTED)
    is_challenger = CHALLENGER_METHOD in used
    return ClvPlan(
        model="pareto_nbd" if is_recalibrated or is_challenger else used,
        profit_method=CHALLENGER_METHOD if is_challenger else DEFAULT_METHOD,
        measured=clv.Measured(
            bias_formula=_figure(rows, "clv_formula", "bias"),
            bias_discounted=_figure(rows, "discounted", "bias"),
            bias_predictive=_figure(rows, used, "bias"),
            purchases_factor=(_figure(rows, used, "correction") or 1.0) if is_recalibrated else 1.0,
            widening=month.result.widenings.get(backtest.widening_key(gates.PROFIT, used, horizon)),
        ),
    )


def _figure(rows: Any, model: str, column: str) -> float | None:
    if model not in rows.index or pd.isna(rows.loc[model, column]):
        return None
    return float(rows.loc[model, column])


def quality_table(month: Month) -> pd.DataFrame:
    """analytics.model_quality."""
    return month.quality.assign(
        as_of_date=as_of_column(month.as_of, len(month.quality)),
        fit_date=as_of_column(month.fit_as_of, len(month.quality)),
    )[list(QUALITY_TYPES)]


def parameters_table(month: Month) -> pd.DataFrame:
    """analytics.model_parameters."""
    table = month.result.parameters
    return table.assign(
        as_of_date=as_of_column(month.as_of, len(table)),
        fit_date=as_of_column(month.fit_as_of, len(table)),
        data_hash=month.key.data_hash,
        code_version=month.key.code_version,
    )[list(PARAMETER_TYPES)]


def drift_table(month: Month, horizon_days: int) -> pd.DataFrame:
    """analytics.model_drift: features and probabilities of today against those of the day of the fit, by the same models
    (the recency baseline is not one: it learns anew every day)."""
    then, now = (
        features.build(month.history, date, horizon_days=horizon_days) for date in (month.fit_as_of, month.as_of)
    )
    names: list[str] = []
    if min(len(then), len(now)) >= drift.FEWEST_CUSTOMERS:
        models = churn.fit(month.history, month.fit_as_of, horizon_days=horizon_days)
        scores = [
            churn.probabilities_of_purchase(month.history, date, models, features=rows).drop(columns=churn.BASELINE)
            for date, rows in ((month.fit_as_of, then), (month.as_of, now))
        ]
        names = [f"buys_in_{horizon_days}_days_by_{model}" for model in scores[0].columns]
        then, now = (
            rows.join(said.set_axis(names, axis="columns")) for rows, said in zip((then, now), scores, strict=True)
        )
    return drift.assess(then, now, month.as_of, month.fit_as_of, scores=frozenset(names))


def _model_quality() -> dg.AssetsDefinition:
    """An asset of its own form: beside its table it shows plots in the UI."""

    @dg.asset(
        key=["analytics", "model_quality"],
        deps=[dg.AssetKey(key.split(".")) for key in HISTORY_INPUTS],
        group_name="analytics",
        owners=owners()["analytics"],
        kinds={"python", "pandas", "duckdb"},
        description="One row per purpose, model and horizon: how well the model forecast past months, beside the naive rule; "
        "whether it passes the gates, which one is used, and why.",
        metadata={"dagster/column_schema": column_schema(QUALITY_TYPES)},
    )
    def measured(workspace: Workspace) -> dg.MaterializeResult:
        with workspace.warehouse(read_only=True) as connection:
            month = month_of_models(connection, workspace)
        frame = quality_table(month)
        write_table(
            workspace,
            "analytics.model_quality",
            frame,
            QUALITY_TYPES,
            order_by=("purpose", "horizon_days", "model"),
        )
        choices = {f"{purpose}, {days} days": choice.why for (purpose, days), choice in gates.choose(frame).items()}
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(frame),
                "relation": "analytics.model_quality",
                "choices": dg.MetadataValue.json(choices),
                **{
                    name: dg.MetadataValue.md(f"![{name}](data:image/png;base64,{png})")
                    for name, png in plots(month).items()
                },
            }
        )

    return measured


def plots(month: Month) -> dict[str, str]:
    """Calibration of who buys, and cumulative gains of profit, of the models used: PNGs in base64, none without a backtest."""
    return {
        name: png
        for name, png in (
            ("calibration", _calibration_plot(month)),
            ("gains", _gains_plot(month)),
        )
        if png
    }


def _calibration_plot(month: Month) -> str:
    used = {key: choice.model for key, choice in gates.choose(month.quality).items() if key[0] == gates.BUYS}
    bins = month.result.calibration
    figure, axes = _figure_of("predicted probability to buy", "share who bought")
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
    drawn = False
    for (_, horizon), model in sorted(used.items()):
        rows = bins[(bins["horizon_days"] == horizon) & (bins["model"] == model)]
        if len(rows):
            axes.plot(rows["predicted"], rows["observed"], marker="o", markersize=4, label=f"{horizon} days: {model}")
            drawn = True
    return _png(figure, axes) if drawn else ""


def _gains_plot(month: Month) -> str:
    used = {key: choice.model for key, choice in gates.choose(month.quality).items() if key[0] == gates.PROFIT}
    points = month.result.gains
    points = points[points["purpose"] == gates.PROFIT]
    figure, axes = _figure_of("customers, best forecast first", "share of the profit that followed")
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
    drawn = False
    for (_, horizon), model in sorted(used.items()):
        rows = points[(points["horizon_days"] == horizon) & (points["model"] == model)]
        if len(rows):
            axes.plot(rows["customer_share"], rows["captured_share"], linewidth=2, label=f"{horizon} days: {model}")
            drawn = True
    return _png(figure, axes) if drawn else ""


def _figure_of(x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any, axes: Any) -> str:
    axes.legend(frameon=False, fontsize=8)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return base64.b64encode(image.getvalue()).decode()


def _model_parameters(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return parameters_table(month_of_models(connection, workspace))


def _model_drift(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return drift_table(month_of_models(connection, workspace), workspace.company().value.churn_horizon_days)


ASSETS = [
    _model_quality(),
    analytics_asset(
        "model_parameters",
        "One row per fitted model and parameter: its value, standard error and likelihood, with the hash of the data and the "
        "version of the code it was fitted by.",
        ("analytics.model_quality", "facts.as_of"),
        PARAMETER_TYPES,
        _model_parameters,
        order_by=("model", "parameter"),
    ),
    analytics_asset(
        "model_drift",
        "One row per feature and score of churn risk: how far its distribution has moved since the fit, and what that is called.",
        ("analytics.model_quality", "facts.as_of"),
        drift.TYPES,
        _model_drift,
        order_by=("kind", "feature"),
    ),
]
