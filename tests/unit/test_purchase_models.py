"""The purchase models: what they learn, what they refuse to, and that their reasons add up."""

import datetime
import functools
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from command import PROJECT, SHARED_DATA

from assets.analytics import churn, features
from assets.analytics.features import EMPTY
from assets.analytics.models import purchase

CDNOW = SHARED_DATA / "cdnow" / "CDNOW_master.txt"
needs_cdnow = pytest.mark.skipif(not CDNOW.exists(), reason="needs the CDNOW data in shared/data/cdnow")

START = datetime.date(2024, 1, 1)
ORIGIN = datetime.date(2025, 9, 30)
HORIZON = 60


@functools.cache
def company(customers=400, seed=5):
    """Customers who buy at their own rates until they leave at their own times, as Pareto/NBD has it."""
    random = np.random.default_rng(seed)
    rows = []
    for n in range(customers):
        joined = random.uniform(0, 500)
        left = joined + random.exponential(400)
        rate = random.gamma(1.0, 1 / 40)
        days = [joined, *(joined + np.cumsum(random.exponential(1 / rate, 400)))]
        spent = random.lognormal(3, 1)
        rows += [(f"C{n:04}", START + datetime.timedelta(days=int(day)), spent) for day in days if day < min(left, 730)]
    return EMPTY._replace(orders=pd.DataFrame(rows, columns=["customer_id", "order_date", "net_revenue"]))


@functools.cache
def training():
    rows = features.build(company(), ORIGIN, horizon_days=HORIZON)
    return rows, features.bought(company(), ORIGIN, HORIZON).to_numpy()


@functools.cache
def fitted():
    models = purchase.fit(*training())
    assert models is not None
    return models


@functools.cache
def cdnow():
    purchases = pd.read_csv(
        CDNOW,
        sep=r"\s+",
        skiprows=1,
        names=["customer_id", "order_date", "units", "net_revenue"],
        dtype={"customer_id": str},
    )
    purchases["order_date"] = pd.to_datetime(purchases["order_date"].astype(str), format="%Y%m%d")
    return EMPTY._replace(orders=purchases[["customer_id", "order_date", "net_revenue"]])


def auc(probability, happened):
    ranks = pd.Series(probability).rank().to_numpy()
    positive = happened.sum()
    return (ranks[happened].sum() - positive * (positive + 1) / 2) / (positive * (~happened).sum())


def ece(probability, happened):
    order = np.argsort(probability, kind="stable")
    gaps = [
        abs(probability[own].mean() - happened[own].mean()) * len(own) for own in np.array_split(order, 10) if len(own)
    ]
    return sum(gaps) / len(happened)


def test_contributions_add_up_to_the_log_odds_of_the_logistic_regression():
    rows, _ = training()
    base, parts = purchase.contributions(fitted(), rows)
    p = purchase.probabilities(fitted(), rows)["logit"]
    assert list(parts.columns) == list(purchase.GROUPS)
    assert (base + parts.sum(axis=1)).to_numpy() == pytest.approx(-np.log(p / (1 - p)), abs=1e-9)
    assert parts.to_numpy().std() > 0.1, "there is something to explain"


def test_contributions_are_relative_to_the_average_customer_of_the_training_dates():
    rows, _ = training()
    _, parts = purchase.contributions(fitted(), rows)
    assert parts.mean().to_numpy() == pytest.approx(np.zeros(len(purchase.GROUPS)), abs=1e-9)


def test_probabilities_are_probabilities_and_the_average_is_one():
    rows, _ = training()
    found = purchase.probabilities(fitted(), rows)
    assert list(found) == ["logit", "boosting", "average"]
    for p in found.values():
        assert ((p > 0) & (p < 1)).all()
    assert found["average"] == pytest.approx((found["logit"] + found["boosting"]) / 2)


def test_they_rank_customers_of_a_later_date_better_than_silence_does():
    later = ORIGIN + datetime.timedelta(days=HORIZON)
    rows = features.build(company(), later, horizon_days=HORIZON)
    happened = features.bought(company(), later, 30).to_numpy()
    silence = auc(-rows["days_since_last_purchase"].to_numpy(), happened)
    for name, p in purchase.probabilities(fitted(), rows).items():
        assert auc(p, happened) > silence, name
        assert auc(p, happened) < 0.99, f"{name} knows too much"


def test_the_order_of_training_rows_changes_nothing():
    rows, label = training()
    order = np.random.default_rng(2).permutation(len(rows))
    again = purchase.fit(rows.iloc[order], label[order])
    for name, p in purchase.probabilities(fitted(), rows).items():
        assert (p == purchase.probabilities(again, rows)[name]).all(), name


def test_blocks_of_rows_change_nothing(monkeypatch):
    rows, _ = training()
    whole = purchase.probabilities(fitted(), rows)
    monkeypatch.setattr(purchase, "BLOCK_ROWS", 7)
    for name, p in purchase.probabilities(fitted(), rows).items():
        assert (p == whole[name]).all(), name


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing():
    code = (
        "import hashlib, test_purchase_models as t; from assets.analytics.models import purchase;"
        "p = purchase.probabilities(t.fitted(), t.training()[0])['average'];"
        "print(hashlib.sha256(p.tobytes()).hexdigest())"
    )
    paths = os.pathsep.join(str(PROJECT / folder) for folder in (".", "tests", "tests/unit"))
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(hashes) == 1


def test_too_little_to_learn_from_is_no_model():
    rows, label = training()
    assert purchase.fit(rows.iloc[:150], label[:150]) is None
    assert purchase.fit(rows, np.zeros(len(rows), dtype=bool)) is None
    assert purchase.fit(rows, np.ones(len(rows), dtype=bool)) is None
    assert purchase.fit(rows.iloc[:0], label[:0]) is None
    assert purchase.recalibrate(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_no_straight_line_is_drawn_beyond_what_was_seen():
    rows, _ = training()
    giant = rows.assign(revenue_per_purchase=1e11, revenue=1e11, days_since_last_purchase=20_000.0)
    highest = rows.assign(
        revenue_per_purchase=rows["revenue_per_purchase"].max(),
        revenue=rows["revenue"].max(),
        days_since_last_purchase=rows["days_since_last_purchase"].max(),
    )
    found, expected = (purchase.probabilities(fitted(), values)["logit"] for values in (giant, highest))
    assert found == pytest.approx(expected)


def test_what_never_varied_in_training_moves_nobody_later():
    rows, _ = training()
    before = purchase.probabilities(fitted(), rows)
    later = rows.assign(complaints_365=50.0, complaint_rate=9.0, days_late=300.0, margin_12m=-2.0, survey_score=0.0)
    for name, p in purchase.probabilities(fitted(), later).items():
        assert (p == before[name]).all(), name


def test_boosting_does_not_see_what_tells_one_date_from_another():
    rows, _ = training()
    other_date = rows.assign(customer_age_days=1.0, rested_log_odds=-2.0, mean_gap_days=1.0)
    models = dataclass_replace(fitted(), follows_rhythm=False)
    before, after = (purchase.probabilities(models, values)["boosting"] for values in (rows, other_date))
    assert (before == after).all()


def test_complaints_raise_the_risk_where_they_did_before():
    rows, label = training()
    random = np.random.default_rng(1)
    angry = random.random(len(rows)) < 0.3
    leaves = label & ~(angry & (random.random(len(rows)) < 0.7))
    models = purchase.fit(rows.assign(complaints_365=angry * 2.0), leaves)
    scored = rows.assign(complaints_365=0.0)
    scored.loc[scored.index[:50], "complaints_365"] = 2.0
    _, parts = purchase.contributions(models, scored)
    assert parts["complaints"].iloc[:50].min() > 0.2 > 0 > parts["complaints"].iloc[50:].max()


def test_complaints_never_lower_the_risk():
    rows, label = training()
    random = np.random.default_rng(1)
    models = purchase.fit(rows.assign(complaints_365=np.where(label, random.integers(0, 4, len(rows)), 0.0)), label)
    _, parts = purchase.contributions(models, rows.assign(complaints_365=3.0))
    assert (parts["complaints"] == 0).all(), "that the loyal complain more makes no complaint a good sign"
    weights = dict(zip(models.names, models.coefficients, strict=True))
    assert weights["log_days_since_above_90"] != 0, "the others still count"


def test_the_level_goes_halfway_to_the_rhythms_of_today():
    rows, _ = training()
    models = fitted()
    assert models.follows_rhythm
    learned = dataclass_replace(models, follows_rhythm=False)
    rhythm = 1 / (1 + np.exp(-(rows["rested_log_odds"] + rows["silence_log_odds"])))
    for name in ("logit", "boosting"):
        before = purchase.probabilities(learned, rows)[name]
        after = purchase.probabilities(models, rows)[name]
        assert after.mean() == pytest.approx((before.mean() + rhythm.mean()) / 2, abs=1e-9)
    # Where nobody is thought to leave, the rhythms add up to nothing worth following.
    nobody_leaves = rows.assign(probability_alive=1.0)
    assert purchase.probabilities(models, nobody_leaves)["logit"] == pytest.approx(
        purchase.probabilities(learned, nobody_leaves)["logit"]
    )


def dataclass_replace(models, **changes):
    return purchase.PurchaseModels(**{**vars(models), **changes})


def test_recalibration_finds_the_line_and_never_turns_the_order_round():
    random = np.random.default_rng(4)
    log_odds = random.normal(0, 1.5, 20_000)
    happened = random.random(20_000) < 1 / (1 + np.exp(-(0.7 + 0.5 * log_odds)))
    intercept, slope = purchase.recalibrate(log_odds, happened)
    assert (intercept, slope) == (pytest.approx(0.7, abs=0.05), pytest.approx(0.5, abs=0.05))
    assert purchase.recalibrate(-log_odds, happened)[1] == 0


def test_scikit_learn_is_not_loaded_before_it_is_needed():
    code = (
        "import sys, assets.analytics.churn; assert 'sklearn' not in sys.modules;"
        "assert 'threadpoolctl' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@needs_cdnow
def test_cdnow_reaches_the_published_marks():
    """All 23,570 customers, 90 days from the end of 1997, learned from what was known by then."""
    known, as_of = cdnow(), datetime.date(1997, 12, 31)
    models = churn.fit(known, as_of, horizon_days=90)
    found = churn.probabilities_of_purchase(known, as_of, models)
    happened = features.bought(known, as_of, 90).to_numpy()
    assert len(happened) == 23_502
    average = found["average"].to_numpy()
    assert auc(average, happened) >= 0.807
    assert ece(average, happened) <= 0.021
    assert auc(average, happened) < 0.83, "more than the past can know: a feature leaks"
    assert auc(average, happened) > auc(found["recency_baseline"].to_numpy(), happened) + 0.005


@needs_cdnow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("as_of", "horizon", "least", "most_error"),
    [
        ("1997-09-30", 90, 0.774, 0.026),
        ("1998-02-28", 90, 0.821, 0.018),
        ("1998-03-31", 90, 0.837, 0.021),
        ("1997-12-31", 30, 0.816, 0.016),
        ("1998-05-31", 30, 0.850, 0.010),
    ],
)
def test_cdnow_from_other_dates(as_of, horizon, least, most_error):
    known, as_of = cdnow(), datetime.date.fromisoformat(as_of)
    models = churn.fit(known, as_of, horizon_days=horizon, with_pareto=True)
    found = churn.probabilities_of_purchase(known, as_of, models)
    happened = features.bought(known, as_of, horizon).to_numpy()
    average = found["average"].to_numpy()
    assert least <= auc(average, happened) < least + 0.02
    assert ece(average, happened) <= most_error
    for other in ("recency_baseline", "pareto_nbd", "pareto_nbd_recalibrated"):
        assert auc(average, happened) > auc(found[other].to_numpy(), happened), other
