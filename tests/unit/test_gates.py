"""The gates: each mark at its edge, the order of preference, and the fallbacks by name."""

import numpy as np
import pandas as pd
import pytest

from assets.analytics import backtest, gates

GOOD = {
    "horizon_days": 90,
    "origins": 6,
    "customers": 6000,
    "bias": 0.02,
    "rmse": 1.0,
    "naive_rmse": 1.2,
    "top_decile_capture": 0.80,
    "naive_top_decile_capture": 0.75,
    "auc": 0.81,
    "auc_recency": 0.75,
    "brier_skill": 0.30,
    "ece": 0.02,
    "coverage_80": 0.80,
    "not_measured": "",
}


def table(*rows):
    """Rows of (purpose, model, changes) on figures that pass every gate."""
    frame = pd.DataFrame(
        [GOOD | {"purpose": purpose, "model": model} | changes for purpose, model, changes in rows],
        columns=list(backtest.MEASURED),
    )
    return frame.fillna({"not_measured": "", "note": "", "correction": 1.0}).astype(backtest.MEASURED)


def judged(*rows):
    return gates.judge(table(*rows)).set_index("model")


@pytest.mark.parametrize(
    ("purpose", "column", "allowed", "refused", "gate"),
    [
        (gates.ORDERS, "bias", 0.15, 0.1501, "bias"),
        (gates.ORDERS, "bias", -0.15, -0.1501, "bias"),
        (gates.ORDERS, "bias", 0.0, None, "bias"),
        (gates.PROFIT, "rmse", 1.2, 1.2001, "rmse"),
        (gates.BUYS, "top_decile_capture", 0.74, 0.7399, "capture"),
        (gates.BUYS, "auc", 0.755, 0.7549, "auc"),
        (gates.BUYS, "auc", 0.9, None, "auc"),
        (gates.BUYS, "brier_skill", 0.1001, 0.10, "brier_skill"),
        (gates.BUYS, "brier_skill", 0.5, None, "brier_skill"),
        (gates.BUYS, "ece", 0.06, 0.0601, "ece"),
        (gates.ORDERS, "coverage_80", 0.70, 0.6999, "coverage"),
        (gates.ORDERS, "coverage_80", 0.90, 0.9001, "coverage"),
        (gates.PROFIT, "coverage_80", 0.8, None, "coverage"),
    ],
)
def test_each_mark_at_its_edge(purpose, column, allowed, refused, gate):
    for value, passes in ((allowed, True), (refused, False)):
        row = judged((purpose, "pareto_nbd", {column: value})).loc["pareto_nbd"]
        assert row["passes"] == passes
        assert row["failed_gates"] == ("" if passes else gate)


def test_marks_that_are_no_matter_of_a_purpose_do_not_count():
    buys = judged((gates.BUYS, "average", {"coverage_80": None})).loc["average"]
    orders = judged((gates.ORDERS, "pareto_nbd", {"auc": None, "ece": None, "brier_skill": None})).loc["pareto_nbd"]
    assert buys["passes"]
    assert orders["passes"]


def test_nobody_to_capture_is_no_fault_of_the_model():
    row = judged((gates.PROFIT, "pareto_nbd", {"top_decile_capture": None, "naive_top_decile_capture": None}))
    assert row.loc["pareto_nbd", "passes"]


def test_every_failed_gate_is_named_with_its_figures():
    row = judged((gates.ORDERS, "pareto_nbd", {"bias": 0.4, "rmse": 2.0, "coverage_80": 0.5})).loc["pareto_nbd"]
    assert row["failed_gates"] == "bias, rmse, coverage"
    for figure in ("+40.0%", "at most 15%", "RMSE 2", "1.2", "covers 50%"):
        assert figure in row["why"]


def test_the_average_comes_first_and_the_rest_says_so():
    rows = judged(
        (gates.BUYS, "logit", {"auc": 0.99}),
        (gates.BUYS, "average", {}),
        (gates.BUYS, "recency_baseline", {"auc": 0.75}),
    )
    assert list(rows.index[rows["is_used"]]) == ["average"]
    assert rows.loc["average", "why"] == "average passes every gate over 6 origins (AUC 0.810, ECE 0.020)."
    assert rows.loc["logit", "why"] == "Not used: it passes, and average comes before it."


def test_two_that_pass_do_not_take_turns_by_a_hairs_breadth():
    rows = judged((gates.ORDERS, "bg_nbd", {"rmse": 0.999}), (gates.ORDERS, "pareto_nbd", {}))
    assert rows.loc["pareto_nbd", "is_used"]


def test_one_origin_is_said_in_the_singular():
    assert "over 1 origin (" in judged((gates.BUYS, "average", {"origins": 1})).loc["average", "why"]


def test_a_refused_model_makes_room_for_the_next():
    rows = judged(
        (gates.BUYS, "average", {"ece": 0.2}), (gates.BUYS, "boosting", {"ece": 0.2}), (gates.BUYS, "logit", {})
    )
    assert rows.loc["logit", "is_used"]


def test_fallback_is_recalibrated_pareto_when_it_beats_the_naive_rule():
    rows = judged(
        (gates.ORDERS, "pareto_nbd", {"bias": 0.3}),
        (gates.ORDERS, gates.RECALIBRATED, {"bias": 0.16}),
        (gates.ORDERS, "historic_rate", {"bias": 0.5}),
    )
    assert rows.loc[gates.RECALIBRATED, "is_used"]
    assert not rows.loc[gates.RECALIBRATED, "passes"]
    assert "as the fallback" in rows.loc[gates.RECALIBRATED, "why"]
    assert "bias +30.0%" in rows.loc[gates.RECALIBRATED, "why"]


def test_of_two_fallbacks_the_one_with_the_smaller_error():
    rows = judged(
        (gates.PROFIT, "pareto_nbd", {"bias": 0.3}),
        (gates.PROFIT, gates.RECALIBRATED, {"bias": 0.3, "rmse": 1.1}),
        (gates.PROFIT, gates.CHALLENGER_RECALIBRATED, {"top_decile_capture": 0.1}),
    )
    assert list(rows.index[rows["is_used"]]) == [gates.CHALLENGER_RECALIBRATED]


def test_a_fallback_that_ranks_worse_than_the_time_since_the_last_purchase_is_none():
    rows = judged(
        (gates.BUYS, "average", {"ece": 0.07}),
        (gates.BUYS, gates.RECALIBRATED, {"auc": 0.74}),
        (gates.BUYS, "recency_baseline", {"auc": 0.75}),
    )
    assert list(rows.index[rows["is_used"]]) == ["recency_baseline"]


@pytest.mark.parametrize("purpose", gates.PURPOSES)
def test_last_resort_when_even_that_is_worse_than_the_naive_rule(purpose):
    last = gates.LAST_RESORT[purpose]
    rows = judged(
        (purpose, gates.PREFERENCE[purpose][0], {"rmse": 9.0}),
        (purpose, gates.RECALIBRATED, {"rmse": 9.0}),
        (purpose, last, {"rmse": 9.0}),
    )
    assert list(rows.index[rows["is_used"]]) == [last]
    assert "as the last resort" in rows.loc[last, "why"]


def test_a_model_only_measured_for_comparison_scores_nobody():
    rows = judged((gates.PROFIT, "clv_formula", {}), (gates.PROFIT, "historic_rate", {"bias": 0.9}))
    assert rows.loc["clv_formula", "passes"]
    assert rows.loc["historic_rate", "is_used"]
    assert "for comparison" in rows.loc["clv_formula", "why"]


def test_what_could_not_be_measured_says_why_and_is_not_used():
    nothing = dict.fromkeys(("bias", "rmse", "auc", "ece", "brier_skill"), None)
    reason = {"origins": 0, "not_measured": "60 customers, and a model needs 100"} | nothing
    rows = judged((gates.BUYS, "average", reason), (gates.BUYS, "recency_baseline", reason))
    assert rows["failed_gates"].tolist() == ["not_measured", "not_measured"]
    assert rows.loc["recency_baseline", "is_used"]
    assert "60 customers, and a model needs 100" in rows.loc["recency_baseline", "why"]


def test_exactly_one_model_is_used_per_purpose_and_horizon():
    rng = np.random.default_rng(1)
    rows = []
    for purpose in gates.PURPOSES:
        for horizon in (30, 90, 365):
            for model in {*gates.PREFERENCE[purpose], gates.LAST_RESORT[purpose]}:
                figures = {name: float(rng.random()) for name in ("bias", "rmse", "auc", "ece", "coverage_80")}
                rows.append((purpose, model, figures | {"horizon_days": horizon}))
    rng.shuffle(rows)
    frame = gates.judge(table(*rows))
    assert (frame.groupby(["purpose", "horizon_days"])["is_used"].sum() == 1).all()
    assert (frame["why"] != "").all()
    assert len(gates.choose(frame)) == 9


def test_an_empty_table_chooses_nothing():
    assert gates.choose(gates.judge(table())) == {}


def test_the_nearest_measured_horizon():
    frame = table(
        (gates.PROFIT, "pareto_nbd", {"horizon_days": 30}),
        (gates.PROFIT, "pareto_nbd", {"horizon_days": 90}),
        (gates.PROFIT, "pareto_nbd", {"horizon_days": 365, "origins": 0}),
    )
    assert gates.measured_horizon(frame, gates.PROFIT, 1095) == 90
    assert gates.measured_horizon(frame, gates.PROFIT, 60) == 90
    assert gates.measured_horizon(frame, gates.PROFIT, 1) == 30
    assert gates.measured_horizon(frame, gates.BUYS, 90) is None


def test_a_model_nearer_than_the_last_resort_scores_where_no_recalibration_could_be_measured():
    rows = (
        (gates.PROFIT, "pareto_nbd", {"bias": -0.43, "rmse": 1.0}),
        (gates.PROFIT, gates.RECALIBRATED, {"not_measured": "too short a history", "rmse": None, "bias": None}),
        (gates.PROFIT, "bg_nbd", {"bias": -0.16, "rmse": 1.1}),
        (gates.PROFIT, "historic_rate", {"bias": -0.81, "rmse": 1.15}),
    )
    table = judged(*rows)
    assert table.index[table["is_used"]].tolist() == ["bg_nbd"]
    assert "lesser evil" in table.loc["bg_nbd", "why"]
    assert not table.loc["bg_nbd", "passes"]
    worse_per_customer = (*rows[:2], (gates.PROFIT, "bg_nbd", {"bias": -0.16, "rmse": 1.16}), rows[3])
    assert judged(*worse_per_customer).query("is_used").index.tolist() == ["pareto_nbd"]
    nearer_in_total = (*rows[:3], (gates.PROFIT, "historic_rate", {"bias": -0.10, "rmse": 1.3}))
    assert judged(*nearer_in_total).query("is_used").index.tolist() == ["historic_rate"]
