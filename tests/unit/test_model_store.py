"""The store of the month's models: same key, same answer; nothing rests on it."""

import datetime
import json
import os

import customer_histories as histories
import pandas as pd
import pytest

from assets.analytics import backtest, gates, model_store, model_studies
from assets.analytics import forecasters as foresight
from assets.analytics.features import EMPTY
from assets.analytics.model_store import Key

FIT = datetime.date(2025, 12, 31)
KEY = Key(FIT, "d" * 16, "c" * 16)
SETTINGS = {"churn_horizon_days": 90}
MODELS = {
    gates.BUYS: {"pareto_nbd": foresight.buys_pareto_nbd, "recency_baseline": foresight.buys_recency},
    gates.PROFIT: {"pareto_nbd": foresight.FORECASTERS[gates.PROFIT]["pareto_nbd"]},
}


@pytest.fixture(scope="module")
def history():
    return histories.company(130)


@pytest.fixture(scope="module")
def result(history):
    return backtest.run(history, FIT, horizons=(30,), origins=2, forecasters=MODELS)


def same(first, second):
    for name in model_store.FRAMES:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
    assert first.widenings == second.widenings


def never():
    raise AssertionError("it was kept and need not be computed")


def test_what_is_kept_comes_back_as_it_was(tmp_path, result):
    assert result.widenings
    assert len(result.calibration)
    same(model_store.recall(tmp_path, KEY, lambda: result), result)
    same(model_store.recall(tmp_path, KEY, never), result)


def test_an_empty_result_comes_back_too(tmp_path):
    nothing = backtest.run(EMPTY, FIT)
    same(model_store.recall(tmp_path, KEY, lambda: nothing), nothing)
    same(model_store.recall(tmp_path, KEY, never), nothing)


def test_without_the_store_everything_is_the_same(tmp_path, history, result):
    same(backtest.run(history, FIT, horizons=(30,), origins=2, forecasters=MODELS), result)
    month = [
        gates.judge(model_store.recall(tmp_path / name, KEY, lambda: result).measured) for name in ("first", "second")
    ]
    kept = gates.judge(model_store.recall(tmp_path / "first", KEY, never).measured)
    pd.testing.assert_frame_equal(month[0], month[1])
    pd.testing.assert_frame_equal(month[0], kept)


def test_only_what_the_models_saw_is_in_the_key(history):
    key = model_store.key(history, FIT, SETTINGS)
    assert key == model_store.key(histories.shuffled(history), FIT, SETTINGS)
    assert key == model_store.key(histories.with_another_future(history, FIT), FIT, SETTINGS)
    assert key != model_store.key(history, FIT, {"churn_horizon_days": 60})
    assert key != model_store.key(history, datetime.date(2025, 11, 30), SETTINGS)


@pytest.mark.parametrize("name", ["orders", "monthly_profit", "cases", "payments_late", "surveys"])
def test_every_row_the_models_saw_is_in_the_key(history, name):
    key = model_store.key(history, FIT, SETTINGS)
    frame = getattr(history, name)
    date = {"orders": "order_date", "monthly_profit": "month", "cases": "opened_on", "payments_late": "due_date"}
    first = frame.index[frame[date.get(name, "responded_on")].argmin()]
    value = {"cases": "is_complaint", "payments_late": "days_late", "surveys": "score"}.get(name, "net_revenue")
    other = frame.copy()
    other.loc[first, value] = not other.loc[first, value] if name == "cases" else other.loc[first, value] + 0.01
    assert key != model_store.key(history._replace(**{name: other}), FIT, SETTINGS)
    assert key != model_store.key(history._replace(**{name: frame.drop(index=first)}), FIT, SETTINGS)


def test_the_type_of_a_column_is_no_part_of_the_key(history):
    orders = history.orders.assign(
        order_date=history.orders["order_date"].dt.date, customer_id=history.orders["customer_id"].astype("object")
    )
    assert model_store.key(history, FIT, SETTINGS) == model_store.key(history._replace(orders=orders), FIT, SETTINGS)


@pytest.mark.parametrize(
    "damage", ["no about", "half an about", "a frame is missing", "a frame is cut", "other columns"]
)
def test_a_damaged_result_is_computed_anew(tmp_path, result, damage):
    model_store.save(tmp_path, KEY, result)
    folder = tmp_path / KEY.folder
    measured = folder / "measured.parquet"
    if damage == "no about":
        (folder / "about.json").unlink()
    elif damage == "half an about":
        (folder / "about.json").write_text(json.dumps({"rows": {}}))
    elif damage == "a frame is missing":
        measured.unlink()
    elif damage == "a frame is cut":
        measured.write_bytes(measured.read_bytes()[:100])
    elif damage == "rows are missing":
        (folder / "about.json").write_text((folder / "about.json").read_text().replace('"gains": ', '"gains": 1'))
    else:
        measured.write_bytes((folder / "gains.parquet").read_bytes())
    assert model_store.load(tmp_path, KEY) is None
    same(model_store.recall(tmp_path, KEY, lambda: result), result)
    same(model_store.recall(tmp_path, KEY, never), result)


def test_another_key_finds_nothing(tmp_path, result):
    model_store.save(tmp_path, KEY, result)
    assert model_store.load(tmp_path, KEY._replace(data_hash="e" * 16)) is None
    assert model_store.load(tmp_path, KEY._replace(code_version="e" * 16)) is None


def test_only_the_last_few_are_kept_and_nothing_half_written(tmp_path, result):
    (tmp_path / ".writing-killed").mkdir()
    for number in range(5):
        key = KEY._replace(data_hash=f"{number:016}")
        model_store.save(tmp_path, key, result)
        about = tmp_path / key.folder / "about.json"
        if about.exists():
            os.utime(about, (1_000_000 + number, 1_000_000 + number))
    assert sorted(path.name.split("-")[3] for path in tmp_path.iterdir()) == [f"{number:016}" for number in (2, 3, 4)]


def test_a_folder_nobody_may_write_to_costs_no_tables(tmp_path, result):
    (tmp_path / "models").write_text("a file where the folder should be")
    same(model_store.recall(tmp_path / "models", KEY, lambda: result), result)


def test_the_code_version_is_of_the_sources(monkeypatch, tmp_path):
    assert len(model_store.code_version()) == 16
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "clone.py").write_text("X = 1\n")
    monkeypatch.setattr(model_store, "__file__", str(tmp_path / "model_store.py"))
    first = model_store.code_version.__wrapped__()
    (tmp_path / "models" / "clone.py").write_text("X = 2\n")
    assert first != model_store.code_version.__wrapped__() != model_store.code_version()


def month_of(result, history):
    as_of = datetime.date(2026, 1, 31)
    return model_studies.Month(history, as_of, FIT, gates.judge(result.measured), result, KEY)


def test_tables_have_their_columns(result, history):
    month = month_of(result, history)
    assert list(model_studies.quality_table(month)) == list(model_studies.QUALITY_TYPES)
    parameters = model_studies.parameters_table(month)
    assert list(parameters) == list(model_studies.PARAMETER_TYPES)
    assert set(parameters["data_hash"]) == {KEY.data_hash}
    plots = model_studies.plots(month)
    assert set(plots) <= {"calibration", "gains"}
    assert "calibration" in plots


def test_lifetime_value_takes_what_passed_over_the_longest_time(result, history):
    month = month_of(result, history)
    quality = month.quality
    passing = quality.assign(is_used=quality["model"].isin(["pareto_nbd", "recency_baseline"]), bias=0.02)
    plan = model_studies.clv_plan(month._replace(quality=passing), 36)
    assert (plan.model, plan.profit_method) == ("pareto_nbd", "gamma_gamma_margin")
    assert plan.measured.bias_predictive == 0.02
    assert plan.measured.purchases_factor == 1.0
    assert plan.measured.widening == result.widenings[backtest.widening_key(gates.PROFIT, "pareto_nbd", 30)]


@pytest.mark.parametrize(
    ("used", "model", "method", "factor"),
    [
        ("pareto_nbd_recalibrated", "pareto_nbd", "gamma_gamma_margin", 0.8),
        ("pareto_nbd_normal_normal", "pareto_nbd", "normal_normal", 1.0),
        ("pareto_nbd_normal_normal_recalibrated", "pareto_nbd", "normal_normal", 0.8),
        ("bg_nbd", "bg_nbd", "gamma_gamma_margin", 1.0),
        ("historic_rate", "historic_rate", "gamma_gamma_margin", 1.0),
    ],
)
def test_every_choice_for_profit_is_a_way_to_value(result, history, used, model, method, factor):
    quality = gates.judge(result.measured)
    quality = quality[quality["purpose"] == gates.PROFIT].head(1)
    quality = quality.assign(model=used, is_used=True, correction=0.8)
    plan = model_studies.clv_plan(month_of(result, history)._replace(quality=quality), 36)
    assert (plan.model, plan.profit_method, plan.measured.purchases_factor) == (model, method, factor)


def test_without_a_backtest_lifetime_value_is_the_historic_rate(history):
    nothing = backtest.run(EMPTY, FIT)
    plan = model_studies.clv_plan(month_of(nothing, history), 36)
    assert plan.model == "historic_rate"
    assert plan.measured.widening is None
