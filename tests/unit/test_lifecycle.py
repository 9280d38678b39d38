"""Lifecycle stages: against the customer's own habit, with hysteresis, replayed the same from any later date."""

import datetime
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import lifecycle

AS_OF = datetime.date(2026, 6, 30)
HORIZON = 90
NOBODY = pd.DataFrame({"customer_id": pd.Series([], dtype="object"), "acquired_date": pd.Series([], dtype="object")})

histories = st.lists(
    st.tuples(
        st.sampled_from(["C1", "C2", "C3", "C4"]),
        st.dates(datetime.date(2025, 1, 1), datetime.date(2026, 9, 30)),
        st.sampled_from([-5.0, 0.0, 12.5, 100.0]),
    ),
    max_size=25,
)


def day(text):
    return datetime.date.fromisoformat(text)


def ago(days, as_of=AS_OF):
    return as_of - datetime.timedelta(days=days)


def frame(rows):
    return pd.DataFrame(rows, columns=["customer_id", "order_date", "net_revenue"])


def replayed(rows, as_of=AS_OF, crm=NOBODY, horizon=HORIZON):
    return lifecycle.replay(frame(rows), crm, as_of, horizon_days=horizon)


def stages(rows, as_of=AS_OF, **others):
    return replayed(rows, as_of, **others).customers.set_index("customer_id")


def every(customer, gap, times, until):
    """`times` purchases, one every `gap` days, the last `until` days ago."""
    return [(customer, ago(until + gap * n), 10.0) for n in range(times)]


def company(seed=7, customers=300):
    """Customers of all rhythms over two years, a third of whom leave."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(customers):
        gap, on = int(rng.integers(5, 120)), int(rng.integers(0, 600))
        until = int(rng.integers(0, 730)) if n % 3 == 0 else 730
        while on < until:
            rows.append((f"C{n:03}", ago(730 - on), 10.0))
            on += int(rng.exponential(gap)) + 1
    return rows


def test_the_same_silence_is_much_for_one_and_nothing_for_another():
    result = stages([*every("weekly", 7, 30, 70), *every("quarterly", 91, 8, 70)])
    assert result.loc["weekly", "stage"] == "lapsed"
    assert result.loc["quarterly", "stage"] == "active"
    assert (
        result.loc["weekly", "ratio"] < lifecycle.LAPSED_BELOW < lifecycle.CALM_FROM < result.loc["quarterly", "ratio"]
    )


def test_probability_and_ratio_of_the_own_rhythm_by_hand():
    # One customer: 10 repeat purchases in 70 days, silent for 21; the median gap of the company is the own one, a week.
    result = stages(every("A", 7, 11, 21)).loc["A"]
    horizon = HORIZON / 7
    after_purchase = 0.9 * (1 - (11 / (11 + horizon)) ** 11)
    stays = 1 / (1 + 0.1 / 0.9 * (14 / 11) ** 11)
    now = stays * (1 - (14 / (14 + horizon)) ** 11)
    assert result["method"] == "own_rhythm"
    assert result["own_reference"] == pytest.approx(after_purchase, abs=1e-6)
    assert result["probability_of_purchase"] == pytest.approx(now, abs=1e-6)
    assert result["ratio"] == pytest.approx(now / after_purchase, abs=1e-6)


def test_prospects_are_of_the_crm_and_never_bought():
    crm = pd.DataFrame(
        {
            "customer_id": ["P1", "P2", "P3", "buyer", "only credit notes"],
            "acquired_date": [day("2026-02-15"), None, day("2026-08-01"), day("2020-01-01"), None],
        }
    )
    rows = [("buyer", ago(5), 10.0), ("only credit notes", ago(9), -10.0), ("unknown to the crm", ago(9), -1.0)]
    result = stages(rows, crm=crm)
    assert result["stage"].to_dict() == {
        "P1": "prospect",
        "P2": "prospect",
        "P3": "prospect",
        "buyer": "new",
        "only credit notes": "prospect",
    }
    assert result.loc["P1", "stage_since"] == pd.Timestamp("2026-02-15")
    assert result.loc["P1", "months_in_stage"] == 4
    assert pd.isna(result.loc["P3", "stage_since"]), "a date after the as-of date is not known yet"
    assert result.loc["P1", "probability_of_purchase"] is None
    assert result.loc["P1", "method"] == "no_purchase"


def test_new_until_the_second_purchase_and_for_the_horizon_at_least():
    fast = every("fast", 10, 4, 0)  # four purchases in its first 30 days
    result = stages([*fast, ("once", ago(10), 5.0), *every("settled", 30, 6, 0)])
    assert result["stage"].to_dict() == {"fast": "new", "once": "new", "settled": "active"}
    assert result.loc["fast", "stage_since"] == pd.Timestamp(ago(30))
    # Purchases on the 90th and 91st day after the first; on the 91st the horizon has passed.
    settled = result.loc["settled"]
    assert settled["previous_stage"] == "new"
    assert settled["stage_since"] == pd.Timestamp(ago(150) + datetime.timedelta(days=HORIZON + 1))


def test_lapsed_comes_back_by_buying_only_and_is_won_back_then():
    before = every("A", 14, 12, 200)
    assert stages(before).loc["A", "stage"] == "lapsed"
    back = [*before, ("A", ago(30), 10.0)]
    result = stages(back).loc["A"]
    assert (result["stage"], result["previous_stage"]) == ("won_back", "lapsed")
    assert result["stage_since"] == pd.Timestamp(ago(30))
    again = [*before, *((("A", ago(n), 10.0)) for n in (98, 70, 42, 14))]
    result = stages(again).loc["A"]
    assert (result["stage"], result["previous_stage"]) == ("active", "won_back")
    assert result["stage_since"] == pd.Timestamp(ago(98) + datetime.timedelta(days=HORIZON + 1))


class Ratio:
    """A curve that says what it is told."""

    def __init__(self, value):
        self.value = value

    def ratio(self, x, span, age):
        return np.full(len(x), self.value)


def waited(stage, *ratios):
    """The stages one customer goes through under these ratios, evaluated ten days apart, 200 days after the last purchase."""
    state = lifecycle._State(1, HORIZON)
    who = np.array([0])
    state.buy(who, np.array([1000]), Ratio(1.0))
    state.buy(who, np.array([1100]), Ratio(1.0))
    state.stage[:], state.seen[:] = stage, 1300
    found = []
    for place, ratio in enumerate(ratios):
        if state.stage[0] != lifecycle.LAPSED:
            state.wait(who, 1310 + 10 * place, Ratio(ratio))
        found.append(lifecycle.STAGES[state.stage[0]])
    return found


def test_a_stage_left_is_not_entered_again_on_the_line():
    assert waited(lifecycle.ACTIVE, 0.51, 0.49, 0.51, 0.59, 0.6, 0.59, 0.5) == [
        *("active", "at_risk", "at_risk", "at_risk", "active", "active", "active"),
    ]
    assert waited(lifecycle.AT_RISK, 0.21, 0.19, 0.9) == ["at_risk", "lapsed", "lapsed"]
    assert waited(lifecycle.ACTIVE, 0.1) == ["lapsed"], "risk and lapse in one step"


def test_parameters_are_those_known_at_the_end_of_the_month_before(monkeypatch):
    fitted_on = []

    def fit(rows, *, start=None):
        fitted_on.append((float(rows.T.max()) * 7, rows.customers))
        return original(rows, start=start)

    original = lifecycle.mbg_nbd.fit
    monkeypatch.setattr(lifecycle.mbg_nbd, "fit", fit)
    rows = company()
    replayed(rows, day("2026-06-15"))
    first, known = min(row[1] for row in rows), {row[0] for row in rows if row[1] <= day("2026-05-31")}
    assert fitted_on[-1] == (pytest.approx((day("2026-05-31") - first).days), len(known))


@pytest.mark.parametrize("rows", [company(), company(customers=60)], ids=["fitted", "own rhythm"])
def test_the_day_of_a_change_is_the_first_day_it_is_seen(rows):
    last = stages(rows)
    assert set(last["method"]) == {"mbg_nbd" if len(last) > 100 else "own_rhythm"}
    assert set(last["stage"]) >= {"active", "at_risk", "lapsed"}
    for days in (1, 13, 31, 45, 92):
        earlier = ago(days)
        known = last[last["stage_since"] <= pd.Timestamp(earlier)]
        then = stages(rows, earlier).loc[known.index]
        for column in ("stage", "stage_since", "previous_stage"):
            pd.testing.assert_series_equal(then[column], known[column])
        changed = last.index[last["stage_since"] == pd.Timestamp(earlier + datetime.timedelta(days=1))]
        assert all(
            customer not in then.index or then.loc[customer, "stage"] != last.loc[customer, "stage"]
            for customer in changed
        )


@settings(max_examples=20, deadline=None)
@given(rows=histories, seed=st.integers(0, 1000), days=st.integers(0, 60))
def test_neither_row_order_nor_the_future_moves_a_stage(rows, seed, days):
    past = [row for row in rows if row[1] <= AS_OF]
    shuffled = frame(rows).sample(frac=1, random_state=seed)
    expected = replayed(past)
    found = lifecycle.replay(shuffled, NOBODY, AS_OF, horizon_days=HORIZON)
    pd.testing.assert_frame_equal(found.customers, expected.customers)
    pd.testing.assert_frame_equal(found.flows, expected.flows)
    # A replay from a later date tells the same past.
    later = stages(rows, ago(-days))
    same = later[later["stage_since"] <= pd.Timestamp(AS_OF)]
    now = expected.customers.set_index("customer_id").loc[same.index]
    assert (same["stage"] == now["stage"]).all()
    assert (same["stage_since"] == now["stage_since"]).all()


@settings(max_examples=25, deadline=None)
@given(rows=histories, horizon=st.sampled_from([1, 30, 90, 1095]))
def test_every_history_has_a_stage_with_finite_figures(rows, horizon):
    result = replayed(rows, horizon=horizon).customers
    assert list(result.columns) == list(lifecycle.TYPES)
    assert result["customer_id"].is_monotonic_increasing
    assert result["stage"].isin(lifecycle.STAGES).all()
    assert (result["stage_since"] <= pd.Timestamp(AS_OF)).all()
    for column in ("probability_of_purchase", "own_reference"):
        assert result[column].astype(float).between(0, 1).all()
    assert np.isfinite(result["ratio"].astype(float)).all()
    assert (result["months_in_stage"] >= 0).all()


class Declines:
    """A ratio that falls below each line on a day of its own, counted from the first purchase."""

    def __init__(self, risk, lapse):
        self.risk, self.lapse = risk, lapse

    def ratio(self, x, span, age):
        return np.select([age >= self.lapse, age >= self.risk], [0.1, 0.4], 0.9)


@pytest.mark.parametrize(
    ("risk", "lapse", "until", "stage", "previous", "since"),
    [
        (150, 400, 140, "active", "new", 91),  # new ends on the day after the horizon
        (150, 400, 149, "active", "new", 91),
        (150, 400, 150, "at_risk", "active", 150),
        (80, 400, 200, "at_risk", "new", 80),
        (91, 400, 200, "at_risk", "new", 91),
        (150, 160, 155, "at_risk", "active", 150),
        (150, 160, 300, "lapsed", "at_risk", 160),
        (150, 150, 300, "lapsed", "at_risk", 150),
    ],
)
def test_changes_within_one_long_silence_come_in_order(risk, lapse, until, stage, previous, since):
    state = lifecycle._State(1, HORIZON)
    curve = Declines(risk, lapse)
    for bought in (0, 10):
        state.buy(np.array([0]), np.array([1000 + bought]), curve)
    state.wait(np.array([0]), 1000 + until, curve)
    assert lifecycle.STAGES[state.stage[0]] == stage
    assert lifecycle.STAGES[state.previous[0]] == previous
    assert state.since[0] - 1000 == since


def test_flows_add_up_to_the_stages_month_by_month():
    found = replayed(company())
    flows = found.flows
    months = sorted(flows["month"].unique())
    assert len(months) == 24
    for before, month in itertools.pairwise(months):
        were = flows[flows["month"] == before].groupby("to_stage")["customers"].sum()
        came_from = flows[(flows["month"] == month) & (flows["from_stage"] != "prospect")]
        pd.testing.assert_series_equal(
            came_from.groupby("from_stage")["customers"].sum(), were, check_names=False, check_index_type=False
        )
    now = flows[flows["month"] == months[-1]].groupby("to_stage")["customers"].sum()
    assert now.to_dict() == found.customers.groupby("stage").size().to_dict()


@pytest.mark.parametrize(
    "rows",
    [
        [("A", day("1999-05-05"), 3.0)],
        [("A", AS_OF, 3.0)] * 5,
        [(f"C{n}", ago(400), 3.0) for n in range(300)],
        [(f"C{n}", ago(400 - gap), 3.0) for n in range(300) for gap in (0, 100, 200, 300)],
        [("A", ago(1), 1e11)],
    ],
    ids=["ten years of silence", "one day five times", "nobody came back", "all identical", "one giant order"],
)
def test_odd_companies_have_stages(rows):
    result = stages(rows)
    assert len(result) == len({row[0] for row in rows})
    assert np.isfinite(result[["probability_of_purchase", "own_reference", "ratio"]].astype(float)).all(axis=None)
    assert result["stage"].nunique() == 1


@pytest.mark.parametrize("rows", [[], [("A", ago(-1), 3.0)], [("A", ago(3), -3.0)]])
def test_nothing_known_gives_no_rows_with_all_columns(rows):
    found = replayed(rows)
    assert found.customers.empty
    assert list(found.customers.columns) == list(lifecycle.TYPES)
    assert found.flows.empty
    assert list(found.flows.columns) == list(lifecycle.FLOW_TYPES)


def test_a_horizon_of_no_days_is_refused():
    with pytest.raises(ValueError, match="horizon_days is 0"):
        replayed([], horizon=0)
