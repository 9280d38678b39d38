"""Churn risk: learned from the past only, with reasons that add up, and naive rules with their names behind it."""

import dataclasses
import datetime
import functools

import numpy as np
import pandas as pd
import pytest
from command import SHARED_DATA
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import churn, features
from assets.analytics.features import EMPTY
from assets.analytics.models import purchase

AS_OF = datetime.date(2026, 6, 30)
CDNOW = SHARED_DATA / "cdnow"

orders = st.lists(
    st.tuples(
        st.sampled_from([f"C{n:02}" for n in range(60)]),
        st.dates(datetime.date(2025, 6, 1), datetime.date(2026, 12, 31)),
        st.sampled_from([-5.0, 0.0, 12.5, 100.0]),
    ),
    max_size=120,
)


def frame(rows):
    return pd.DataFrame(rows, columns=["customer_id", "order_date", "net_revenue"])


def days_ago(days):
    return AS_OF - datetime.timedelta(days=days)


def company(returning_share=0.5, customers=100):
    """Half the customers bought 10 days before the origin, half 100; of each half the first ones come back."""
    rows = []
    for n in range(customers):
        recent = n % 2 == 0
        rows.append((f"C{n:03}", days_ago(90 + (10 if recent else 100)), 50.0))
        if recent and n < customers * returning_share:
            rows.append((f"C{n:03}", days_ago(30), 50.0))
    return rows


def test_probabilities_by_hand():
    # At the origin 90 days ago: 50 customers silent for 10 days, 26 of whom bought again, and 50 silent for 100, none.
    rows = company(returning_share=0.52)
    result = churn.recency_baseline(frame(rows), AS_OF, horizon_days=90).set_index("customer_id")
    overall = 75 / 102  # 74 of 100 churned, plus one of two
    fresh = (24 + 10 * overall) / 60
    silent = (50 + 10 * overall) / 60
    assert set(result["model"]) == {"recency_baseline"}
    # Silent for 30 days now: between the two bins, 20 of 90 days along.
    assert result.loc["C000", "days_since_last_purchase"] == 30
    assert result.loc["C000", "churn_probability"] == pytest.approx(fresh + (silent - fresh) * 20 / 90, abs=1e-6)
    # Silent for 190 days, longer than anyone had been then: purchases thin out as 101 to 191.
    assert result.loc["C001", "days_since_last_purchase"] == 190
    assert result.loc["C001", "churn_probability"] == pytest.approx(1 - (1 - silent) * 101 / 191, abs=1e-6)


def test_rank_is_by_expected_profit_lost_and_losses_lose_nothing():
    profit = pd.DataFrame({"customer_id": ["C000", "C001", "C002"], "profit_12m": [1000.0, 3650.0, -9000.0]})
    result = churn.recency_baseline(frame(company()), AS_OF, horizon_days=90, profit_12m=profit)
    result = result.set_index("customer_id")
    assert result.loc["C001", "expected_profit"] == 900
    assert result.loc["C001", "expected_profit_lost"] == pytest.approx(
        900 * result.loc["C001", "churn_probability"], abs=1e-4
    )
    assert (result.loc["C001", "churn_rank"], result.loc["C000", "churn_rank"]) == (1, 2)
    assert result.loc["C002", "expected_profit"] < 0
    assert result.loc["C002", "expected_profit_lost"] == 0
    assert sorted(result["churn_rank"]) == list(range(1, 101))


def test_equal_losses_rank_by_probability_then_customer():
    result = churn.recency_baseline(frame(company()), AS_OF, horizon_days=90).set_index("churn_rank")
    assert result.loc[1, "customer_id"] == "C001"
    assert result.sort_index()["churn_probability"].is_monotonic_decreasing


def test_too_little_history_falls_back_by_name():
    result = churn.recency_baseline(frame([("A", days_ago(29), 5.0)]), AS_OF, horizon_days=90)
    assert list(result["model"]) == ["silence_ratio"]
    assert list(result["churn_probability"]) == [0.25]  # 30 of 30 + 90 days


@pytest.mark.parametrize("rows", [[], [("A", AS_OF + datetime.timedelta(days=1), 5.0)], [("A", AS_OF, -5.0)]])
def test_nobody_to_score_gives_no_rows_with_all_columns(rows):
    result = churn.recency_baseline(frame(rows), AS_OF, horizon_days=90)
    assert result.empty
    assert list(result.columns) == list(churn.BASELINE_COLUMNS)


@pytest.mark.parametrize("returning_share", [0.0, 1.0])
def test_nobody_or_everybody_coming_back_is_no_certainty(returning_share):
    rows = [(f"C{n:03}", days_ago(120), 5.0) for n in range(100)]
    rows += [(f"C{n:03}", days_ago(5), 5.0) for n in range(int(100 * returning_share))]
    probability = churn.recency_baseline(frame(rows), AS_OF, horizon_days=90)["churn_probability"]
    assert probability.gt(0).all()
    assert probability.lt(1).all()


def test_labels_end_at_the_as_of_date():
    """What is learned at the origin must not see orders after the as-of date, nor score a customer first seen then."""
    future = [(f"C{n:03}", AS_OF + datetime.timedelta(days=1 + n), 50.0) for n in range(200)]
    known = churn.recency_baseline(frame(company()), AS_OF, horizon_days=90)
    pd.testing.assert_frame_equal(known, churn.recency_baseline(frame(future + company()), AS_OF, horizon_days=90))


@settings(max_examples=60, deadline=None)
@given(rows=orders, horizon=st.integers(1, 400), seed=st.integers(0, 1000))
def test_probabilities_are_complete_monotone_and_blind_to_the_future(rows, horizon, seed):
    result = churn.recency_baseline(frame(rows), AS_OF, horizon_days=horizon)
    assert not result.isna().any(axis=None)
    assert result["churn_probability"].between(0, 1).all()
    assert result.sort_values("days_since_last_purchase")["churn_probability"].is_monotonic_increasing
    past = frame([row for row in rows if row[1] <= AS_OF]).sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(result, churn.recency_baseline(past, AS_OF, horizon_days=horizon))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 100)), min_size=1, max_size=30))
def test_isotonic_never_falls_and_keeps_the_weighted_mean(pairs):
    values, weights = map(np.array, zip(*pairs, strict=True))
    fitted = churn.isotonic(values, weights)
    assert (np.diff(fitted) >= -1e-12).all()
    assert np.average(fitted, weights=weights) == pytest.approx(np.average(values, weights=weights))


def test_isotonic_by_hand():
    assert churn.isotonic(np.array([0.1, 0.5, 0.2, 0.9]), np.array([1, 1, 2, 1])) == pytest.approx([0.1, 0.3, 0.3, 0.9])


@pytest.mark.skipif(not CDNOW.exists(), reason="needs the CDNOW data in shared/data/cdnow")
@pytest.mark.parametrize(("as_of", "least"), [("1997-12-31", 0.79), ("1998-03-31", 0.82)])
def test_cdnow_ranks_as_well_as_recency_itself_and_is_calibrated(as_of, least):
    purchases = pd.read_csv(
        CDNOW / "CDNOW_master.txt",
        sep=r"\s+",
        skiprows=1,
        names=["customer_id", "order_date", "units", "net_revenue"],
        dtype={"customer_id": str},
    )
    purchases["order_date"] = pd.to_datetime(purchases["order_date"].astype(str), format="%Y%m%d")
    result = churn.recency_baseline(purchases, datetime.date.fromisoformat(as_of), horizon_days=90)
    later = purchases[purchases["order_date"].gt(as_of) & purchases["net_revenue"].gt(0)]
    later = later[later["order_date"] <= pd.Timestamp(as_of) + pd.Timedelta(days=90)]
    churned = ~result["customer_id"].isin(later["customer_id"])
    ranks = result["churn_probability"].rank()
    auc = (ranks[churned].mean() - (churned.sum() + 1) / 2) / (~churned).sum()
    assert auc > least
    assert abs(result["churn_probability"].mean() - churned.mean()) < 0.02


# The table: which model scored, why, and what is lost.


def history(rows, **kinds):
    return EMPTY._replace(orders=frame(rows), **kinds)


@functools.cache
def shop(customers=300, seed=5):
    """Customers who buy at their own rates until they leave, over two years, with profit, cases, surveys and payments."""
    random = np.random.default_rng(seed)
    orders, cases, late, surveys = [], [], [], []
    start = AS_OF - datetime.timedelta(days=730)
    for n in range(customers):
        joined, rate = random.uniform(0, 600), random.gamma(1.0, 1 / 40)
        left = joined + random.exponential(400)
        days = [joined, *(joined + np.cumsum(random.exponential(1 / rate, 300)))]
        spent = random.lognormal(4, 1)
        for day in days:
            date = start + datetime.timedelta(days=int(day))
            if day >= min(left, 900):
                break
            orders.append((f"C{n:03}", date, spent))
            overdue = int(random.integers(-5, 30))
            due = date + datetime.timedelta(days=30)
            late.append((f"C{n:03}", due, due + datetime.timedelta(days=overdue), overdue))
            if random.random() < 0.2:
                cases.append((f"C{n:03}", date, random.random() < 0.4, random.random() < 0.1))
            if random.random() < 0.1:
                surveys.append((f"C{n:03}", date, float(random.integers(0, 5)) / 4))
    known = history(
        orders,
        cases=pd.DataFrame(cases, columns=EMPTY.cases.columns),
        payments_late=pd.DataFrame(late, columns=EMPTY.payments_late.columns),
        surveys=pd.DataFrame(surveys, columns=EMPTY.surveys.columns),
    )
    monthly = known.orders.assign(month=pd.to_datetime(known.orders["order_date"]).dt.to_period("M").dt.to_timestamp())
    monthly = monthly.groupby(["customer_id", "month"], as_index=False)["net_revenue"].sum()
    share = random.uniform(0.5, 1.2, len(monthly))
    return known._replace(monthly_profit=monthly.assign(cost=(monthly["net_revenue"] * share).round(4)))


@functools.cache
def scored(model="average"):
    return churn.score(shop(), AS_OF, horizon_days=90, model=model)


def without_what_follows(known, as_of):
    """What had happened by a date, and nothing else; what had begun before it is cut off on it."""
    day = pd.Timestamp(as_of)
    late = known.payments_late[pd.to_datetime(known.payments_late["due_date"]) <= day]
    paid = pd.to_datetime(late["learned_on"]) <= day
    return features.CustomerHistory(
        known.orders[pd.to_datetime(known.orders["order_date"]) <= day],
        known.monthly_profit[pd.to_datetime(known.monthly_profit["month"]) + pd.offsets.MonthEnd(0) <= day],
        known.cases[pd.to_datetime(known.cases["opened_on"]) <= day],
        late.assign(learned_on=late["learned_on"].where(paid), days_late=late["days_late"].where(paid)),
        known.surveys[pd.to_datetime(known.surveys["responded_on"]) <= day],
    )


def assert_sensible(result):
    """What holds of every table of churn risk."""
    assert list(result.columns) == list(churn.COLUMNS)
    assert result["customer_id"].is_unique
    numbers = result.select_dtypes("number")
    assert np.isfinite(numbers.to_numpy(dtype="float64")).all()
    assert result["churn_probability"].between(0, 1).all()
    assert result["expected_profit_lost"].ge(0).all()
    assert sorted(result["churn_rank"]) == list(range(1, len(result) + 1))
    assert result["model"].isin([*churn.MODELS, churn.FALLBACK]).all()
    explained = result["base_log_odds"] + result["other_contribution"]
    for place in (1, 2, 3):
        reason = result[f"reason_{place}"]
        contribution = result[f"reason_{place}_contribution"]
        explained = explained + contribution
        assert reason.dropna().isin(churn.REASONS).all()
        assert (reason.isna() == result[f"reason_{place}_text"].isna()).all()
        assert (reason.isna() == (contribution == 0)).all()
        if place > 1:
            assert (contribution <= result[f"reason_{place - 1}_contribution"]).all()
    assert explained.to_numpy() == pytest.approx(result["log_odds"].to_numpy(), abs=1e-9)


@pytest.mark.parametrize("model", churn.MODELS)
def test_every_model_gives_the_whole_table(model):
    result = scored(model)
    assert_sensible(result)
    assert set(result["model"]) == {model}
    assert len(result) == features.build(shop(), AS_OF).shape[0]
    assert result["probability_of_purchase"].to_numpy() == pytest.approx(1 - result["churn_probability"], abs=1e-9)
    expected = AS_OF if model == "recency_baseline" else datetime.date(2026, 5, 31)
    assert set(pd.to_datetime(result["fit_date"]).dt.date) == {expected}
    assert result["reason_1"].notna().mean() > 0.2


def test_log_odds_are_those_of_the_logistic_regression():
    result = scored("logit")
    p = result["churn_probability"]
    inside = p.between(0.001, 0.999)
    assert np.log(p / (1 - p))[inside].to_numpy() == pytest.approx(result["log_odds"][inside].to_numpy(), abs=1e-3)
    pd.testing.assert_series_equal(scored("average")["log_odds"], result["log_odds"])
    pd.testing.assert_series_equal(scored("average")["reason_1"], result["reason_1"])


def test_profit_lost_is_the_share_of_last_years_profit_that_may_not_come():
    result = scored().set_index("customer_id")
    monthly = shop().monthly_profit
    last_year = monthly[monthly["month"].between("2025-07-01", "2026-06-01")]
    profit = (last_year["net_revenue"] - last_year["cost"]).groupby(last_year["customer_id"]).sum()
    expected = (profit * 90 / 365).reindex(result.index, fill_value=0.0)
    assert result["expected_profit"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-3)
    assert (result["expected_profit"] < 0).any(), "loss-makers are in the list, and lose nothing"
    lost = result["expected_profit"].clip(lower=0) * result["churn_probability"]
    assert result["expected_profit_lost"].to_numpy() == pytest.approx(lost.to_numpy(), abs=1e-4)
    assert result.sort_values("churn_rank")["expected_profit_lost"].is_monotonic_decreasing


def test_nothing_after_the_date_moves_a_score():
    known, earlier = shop(), AS_OF - datetime.timedelta(days=47)
    result = churn.score(known, earlier, horizon_days=60)
    assert set(result["model"]) == {"average"}
    past = features.CustomerHistory(
        *(kind.sample(frac=1, random_state=4) for kind in without_what_follows(known, earlier))
    )
    pd.testing.assert_frame_equal(result, churn.score(past, earlier, horizon_days=60), check_exact=True)
    shuffled = known.orders["order_date"].where(known.orders["order_date"] <= earlier, AS_OF)
    altered = known.orders.assign(order_date=shuffled)
    altered.loc[shuffled > earlier, "net_revenue"] *= 1000
    newcomers = frame([(f"N{n}", AS_OF, 5.0) for n in range(500)])
    future = known._replace(orders=pd.concat([newcomers, altered]))
    pd.testing.assert_frame_equal(result, churn.score(future, earlier, horizon_days=60), check_exact=True)


def test_the_sample_that_models_learn_from_sees_nothing_of_the_future(monkeypatch):
    monkeypatch.setattr(churn, "MOST_TRAINING_ROWS", 600)
    known, earlier = shop(), AS_OF - datetime.timedelta(days=47)
    newcomers = frame([(f"N{n}", AS_OF, 5.0) for n in range(500)])
    future = known._replace(orders=pd.concat([newcomers, known.orders]))
    expected = churn.score(without_what_follows(known, earlier), earlier, horizon_days=60)
    assert set(expected["model"]) == {"average"}
    pd.testing.assert_frame_equal(expected, churn.score(future, earlier, horizon_days=60), check_exact=True)


def test_models_are_refitted_monthly():
    assert churn.month_end_before(datetime.date(2026, 6, 30)) == datetime.date(2026, 5, 31)
    assert churn.month_end_before(datetime.date(2026, 6, 1)) == datetime.date(2026, 5, 31)
    assert churn.month_end_before(datetime.date(2026, 1, 15)) == datetime.date(2025, 12, 31)
    models = churn.fit(shop(), datetime.date(2026, 5, 31), horizon_days=90)
    pd.testing.assert_frame_equal(churn.score(shop(), AS_OF, horizon_days=90, models=models), scored())


def test_training_dates_have_seen_their_horizon_pass():
    day = datetime.date
    assert churn.training_dates(day(2020, 1, 1), day(2026, 5, 31), 90) == [
        day(2026, 3, 2),
        day(2026, 1, 31),
        day(2026, 1, 1),
        day(2025, 12, 2),
    ]
    assert churn.training_dates(day(2026, 2, 1), day(2026, 5, 31), 90) == [day(2026, 3, 2)]
    assert churn.training_dates(day(2026, 4, 1), day(2026, 5, 31), 90) == []
    assert churn.training_dates(None, day(2026, 5, 31), 90) == []


def test_one_time_buyers_are_not_thought_safe():
    """Under BG/NBD they are alive with certainty: who ranks by that ranks them last."""
    result = scored().set_index("customer_id")
    known = features.build(shop(), AS_OF)
    once_long_ago = (known["purchases"] == 1) & (known["days_since_last_purchase"] > 200)
    regular = (known["purchases"] > 8) & (known["overdue_ratio"] < 1)
    assert result.loc[once_long_ago, "churn_probability"].min() > result.loc[regular, "churn_probability"].max()


def test_reasons_are_said_by_the_customers_own_numbers():
    result = scored().set_index("customer_id")
    known = features.build(shop(), AS_OF)
    own = {
        "overdue": known["days_since_last_purchase"]
        > known["active_span_days"] / (known["purchases"] - 1).clip(lower=1),
        "one_time_buyer": known["purchases"] == 1,
        "rare_buyer": (known["purchases"] > 1) & (known["mean_gap_days"] > known["mean_gap_days"].median()),
        "falling_purchases": (known["purchases_30"] < known["purchases_30_before"])
        | (known["purchases_90"] < known["purchases_90_before"])
        | (known["purchases_90"] < known["purchases"] / known["customer_age_days"].clip(lower=90) * 90),
        "complaints": known["complaints_365"] > 0,
        "margin_drop": known["margin_change"] < 0,
        "payment": known["own_days_late"] >= 0.5,
    }
    seen = set()
    for place in (1, 2, 3):
        for code, is_so in own.items():
            named = result[f"reason_{place}"] == code
            assert is_so[named].all(), code
            seen |= {code} if named.any() else set()
    assert {"overdue", "one_time_buyer", "rare_buyer"} <= seen


def test_the_sentence_gives_the_customers_own_numbers():
    known = features.build(shop(), AS_OF)
    result = scored().set_index("customer_id")
    overdue = result[(result["reason_1"] == "overdue") & (known["purchases"] > 1)].index[0]
    own = known.loc[overdue]
    gap = own["active_span_days"] / (own["purchases"] - 1)
    assert result.loc[overdue, "reason_1_text"] == (
        f"last purchase {own['days_since_last_purchase']:.0f} days ago, own rhythm {gap:.0f} days"
    )


def test_every_sentence_by_hand():
    rows = [("A", days_ago(day), 120.0) for day in (400, 130, 110, 100, 95, 84)] + [("B", days_ago(500), 12.0)]
    rows += [("C", days_ago(day), 5.0) for day in range(0, 200, 20)]
    known = history(
        rows,
        cases=pd.DataFrame([("A", days_ago(9), True, True)], columns=EMPTY.cases.columns),
        payments_late=pd.DataFrame([("A", days_ago(70), days_ago(30), 40)], columns=EMPTY.payments_late.columns),
        surveys=pd.DataFrame([("A", days_ago(9), 0.25)], columns=EMPTY.surveys.columns),
        monthly_profit=pd.DataFrame(
            [("A", days_ago(180).replace(day=1), 100.0, 90.0), ("A", days_ago(540).replace(day=1), 100.0, 60.0)],
            columns=EMPTY.monthly_profit.columns,
        ),
    )
    built = features.build(known, AS_OF)
    said = {}
    for group in purchase.GROUPS:
        parts = pd.DataFrame(0.0, index=built.index, columns=list(purchase.GROUPS)).assign(**{group: 1.0})
        reasons = churn._reasons(built, 0.0, parts, 90)
        said[group] = list(zip(reasons["reason_1"].fillna(""), reasons["reason_1_text"].fillna(""), strict=True))[:2]
    assert said == {
        "overdue": [
            ("overdue", "last purchase 84 days ago, own rhythm 63 days"),
            ("overdue", "last purchase 500 days ago, buyers here return after 35 days"),
        ],
        "few_purchases": [
            ("rare_buyer", "6 purchases in 400 days as a customer"),
            ("one_time_buyer", "1 purchase in 500 days as a customer"),
        ],
        "falling_purchases": [("falling_purchases", "1 purchase in the last 90 days, 4 in the 90 before"), ("", "")],
        "spending": [
            ("purchase_size", "120.00 per purchase, the last one 120.00"),
            ("purchase_size", "12.00 per purchase, the last one 12.00"),
        ],
        "margin_drop": [("margin_drop", "margin 10.0% in the last 12 months, 40.0% in the 12 before"), ("", "")],
        "complaints": [("complaints", "1 complaint in the last 365 days"), ("", "")],
        "service": [
            ("service", "1 service case in the last 365 days, 1 escalated, 1 survey answered with 25% on average"),
            ("", ""),
        ],
        "payment": [("payment", "invoices of the last 365 days 40 days late on average"), ("", "")],
        "seasonality": [
            ("seasonality", "0 purchases in the same 90 days a year ago"),
            ("seasonality", "0 purchases in the same 90 days a year ago"),
        ],
    }


def test_what_a_customers_numbers_do_not_say_is_no_reason():
    """Whatever a model makes of them: who buys every 20 days and bought today is not overdue, and never complained."""
    built = features.build(history([("C", days_ago(day), 5.0) for day in range(0, 200, 20)]), AS_OF)
    parts = pd.DataFrame(1.0, index=built.index, columns=list(purchase.GROUPS))
    reasons = churn._reasons(built, 0.5, parts, 90)
    assert [reasons[f"reason_{place}"].fillna("").iloc[0] for place in (1, 2, 3)] == ["purchase_size", "", ""]
    assert reasons["other_contribution"][0] == len(purchase.GROUPS) - 1
    assert reasons["log_odds"][0] == 0.5 + len(purchase.GROUPS)


def test_every_reason_has_a_name_in_both_languages():
    assert all(label.name and label.name_zh for label in churn.REASONS.values())
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in label.name_zh) for label in churn.REASONS.values())


def test_what_cannot_be_fitted_falls_back_by_name():
    models = churn.fit(shop(), datetime.date(2026, 5, 31), horizon_days=90, with_pareto=True)
    no_features = dataclasses.replace(models, purchase=None)
    result = churn.score(shop(), AS_OF, horizon_days=90, models=no_features)
    assert set(result["model"]) == {"pareto_nbd_recalibrated"}
    assert_sensible(result)
    nothing = dataclasses.replace(models, purchase=None, pareto=None)
    result = churn.score(shop(), AS_OF, horizon_days=90, models=nothing)
    assert set(result["model"]) == {"recency_baseline"}
    assert_sensible(result)


def test_eighty_customers_are_scored_by_the_pareto_nbd():
    small = shop(80)
    result = churn.score(small, AS_OF, horizon_days=90)
    assert set(result["model"]) == {"pareto_nbd_recalibrated"}
    assert_sensible(result)


EVERY_DAY = [(f"C{n:03}", days_ago(day), 5.0) for n in range(120) for day in range(0, 200, 1)]
COMPANIES = {
    "nobody": [],
    "only in the future": [("A", days_ago(-5), 5.0)],
    "only credit notes": [("A", days_ago(5), -5.0)],
    "one customer, one purchase": [("A", days_ago(5), 5.0)],
    "one customer, every day": [("A", days_ago(day), 5.0) for day in range(400)],
    "one customer, ten years silent": [("A", days_ago(3650), 5.0)],
    "all buy every day": EVERY_DAY,
    "all on the same day": [(f"C{n:03}", days_ago(200), 5.0) for n in range(300)],
    "nobody ever buys again": [(f"C{n:03}", days_ago(100 + n % 200), 5.0) for n in range(300)],
    "ten years of silence": [(f"C{n:03}", days_ago(3650 + day), 5.0) for n in range(150) for day in (0, 9, 40 + n)],
    "one giant order": [(f"C{n:03}", days_ago(day + n % 9), 5.0) for n in range(150) for day in (2, 90, 150, 260)]
    + [("C000", days_ago(3), 9e10)],
    "negative and zero money": [
        (f"C{n:03}", days_ago(day), (-20.0, 0.0, 5.0)[(n + day) % 3]) for n in range(200) for day in range(0, 300, 20)
    ],
    "clockwork": [(f"C{n:03}", days_ago(day + n % 28), 5.0) for n in range(200) for day in range(0, 560, 28)],
}


@pytest.mark.parametrize("horizon", [1, 120])
@pytest.mark.parametrize("rows", COMPANIES.values(), ids=COMPANIES.keys())
def test_any_company_is_scored(rows, horizon):
    result = churn.score(history(rows), AS_OF, horizon_days=horizon)
    assert_sensible(result)
    buyers = {who for who, date, amount in rows if amount > 0 and date <= AS_OF}
    assert set(result["customer_id"]) == buyers


def test_who_buys_every_day_is_expected_back_and_who_never_returned_is_not():
    every_day = churn.score(history(EVERY_DAY), AS_OF, horizon_days=90)
    assert every_day["churn_probability"].max() < 0.05
    never = churn.score(history(COMPANIES["nobody ever buys again"]), AS_OF, horizon_days=90)
    assert never["churn_probability"].min() > 0.8


def test_all_loss_making_customers_lose_nothing():
    known = shop()._replace(monthly_profit=shop().monthly_profit.assign(cost=1e6))
    result = churn.score(known, AS_OF, horizon_days=90)
    assert_sensible(result)
    assert (result["expected_profit_lost"] == 0).all()


@settings(max_examples=12, deadline=None)
@given(rows=orders, horizon=st.sampled_from([1, 30, 365, 1095]), seed=st.integers(0, 1000))
def test_any_orders_give_a_table_that_row_order_and_the_future_do_not_move(rows, horizon, seed):
    result = churn.score(history(rows), AS_OF, horizon_days=horizon)
    assert_sensible(result)
    past = frame([row for row in rows if row[1] <= AS_OF]).sample(frac=1, random_state=seed)
    again = churn.score(EMPTY._replace(orders=past), AS_OF, horizon_days=horizon)
    pd.testing.assert_frame_equal(result, again, check_exact=True)


def test_a_wrong_question_is_answered_with_what_to_ask():
    with pytest.raises(ValueError, match="horizon_days is 0"):
        churn.score(shop(), AS_OF, horizon_days=0)
    with pytest.raises(ValueError, match="'alive' is no model of churn"):
        churn.score(shop(), AS_OF, horizon_days=90, model="alive")
    models = churn.ChurnModels(AS_OF, 30, None, None)
    with pytest.raises(ValueError, match="foresee 30 days and horizon_days is 90"):
        churn.score(shop(), AS_OF, horizon_days=90, models=models)
    with pytest.raises(ValueError, match="known on 2026-06-30, after 2026-06-29"):
        churn.score(shop(), days_ago(1), horizon_days=30, models=models)


def test_columns_and_their_types_are_declared():
    assert list(churn.TYPES) == list(churn.COLUMNS) == list(scored().columns)
    assert list(churn.score(EMPTY, AS_OF, horizon_days=90).columns) == list(churn.COLUMNS)
