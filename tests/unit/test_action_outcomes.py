"""What became of earlier advice: months, money and outcomes by hand, and blindness to what comes later."""

import datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import action_outcomes as outcomes

AS_OF = datetime.date(2026, 6, 30)


def day(text):
    return datetime.date.fromisoformat(text)


def advice(*rows):
    """Rows of (advised_on, customer_id, action, expected_effect)."""
    table = pd.DataFrame(list(rows), columns=["advised_on", "customer_id", "action", "expected_effect"])
    return table.assign(rule_id="R-1")


def profits(**months):
    """Profit by month for each customer, the last of the list in the as-of month."""
    rows = [
        (name, (pd.Timestamp(2026, 6, 1) - pd.DateOffset(months=len(amounts) - 1 - place)).date(), amount)
        for name, amounts in months.items()
        for place, amount in enumerate(amounts)
    ]
    return pd.DataFrame(rows, columns=["customer_id", "month", "operating_profit"])


def orders(**dates):
    rows = [(name, day(text), 10.0) for name, texts in dates.items() for text in texts]
    return pd.DataFrame(rows, columns=["customer_id", "order_date", "net_revenue"])


def lifecycles(**stages):
    rows = [(name, stage, None if since is None else day(since)) for name, (stage, since) in stages.items()]
    return pd.DataFrame(rows, columns=["customer_id", "stage", "stage_since"])


def now(*pairs):
    return pd.DataFrame(list(pairs), columns=["customer_id", "action"])


def assessed(given_, earned=None, bought=None, stages=None, still=None, as_of=AS_OF):
    return outcomes.assess(
        given_,
        profits() if earned is None else earned,
        orders() if bought is None else bought,
        lifecycles() if stages is None else stages,
        now() if still is None else still,
        as_of,
    ).set_index("customer_id")


def test_the_latest_advice_of_each_age_is_looked_back_on():
    daily = [AS_OF - datetime.timedelta(days=n) for n in range(400)]
    assert outcomes.looked_back_on(daily, AS_OF) == [AS_OF - datetime.timedelta(days=age) for age in (365, 180, 90, 28)]
    assert outcomes.looked_back_on([day("2026-01-31"), day("2026-05-31")], AS_OF) == [
        day("2026-01-31"),
        day("2026-05-31"),
    ]
    assert outcomes.looked_back_on([day("2026-06-03")], AS_OF) == []
    assert outcomes.looked_back_on([], AS_OF) == []


@pytest.mark.parametrize(
    ("advised_on", "as_of", "months", "before", "since"),
    [
        ("2026-03-31", "2026-06-30", 3, 6 + 5 + 4, 3 + 2 + 1),
        ("2026-03-30", "2026-06-30", 3, 7 + 6 + 5, 3 + 2 + 1),
        ("2026-03-01", "2026-06-29", 2, 6 + 5, 3 + 2),
        ("2026-05-31", "2026-06-30", 1, 2, 1),
        ("2026-06-01", "2026-06-30", 0, 0, 0),
        ("2026-05-15", "2026-06-29", 0, 0, 0),
    ],
)
def test_equally_long_periods_of_whole_months(advised_on, as_of, months, before, since):
    earned = profits(A=[10, 9, 8, 7, 6, 5, 4, 3, 2, 1])  # 1 in June 2026, 4 in March
    row = assessed(advice((day(advised_on), "A", "grow", 12.0)), earned, as_of=day(as_of)).loc["A"]
    assert (row["months_compared"], row["profit_before"], row["profit_since"]) == (months, before, since)
    assert row["profit_change"] == since - before
    assert row["expected_change"] == months


def test_outcomes_by_hand():
    on = day("2026-03-31")
    names = ["reached", "better", "same", "worse", "lost", "bought", "lapsed_before", "too_late", "won_back", "loss"]
    actions_ = dict.fromkeys(names, "repair") | {"won_back": "win_back", "too_late": "win_back"}
    given_ = advice(*((on, name, actions_[name], 400.0) for name in names))
    earned = profits(
        reached=[0, 0, 0, 50, 30, 20],
        better=[100, 0, 0, 106, 0, 0],
        same=[100, 0, 0, 105, 0, 0],
        worse=[100, 0, 0, 94, 0, 0],
        lost=[100, 0, 0, 900, 0, 0],
        loss=[-300, 0, 0, -200, 0, 0],
    )
    bought = orders(bought=["2026-03-31", "2026-05-05", "2026-05-05", "2026-06-01"], won_back=["2026-04-01"])
    stages = lifecycles(
        lost=("lapsed", "2026-05-01"),
        bought=("lapsed", "2026-06-20"),
        lapsed_before=("lapsed", "2025-12-01"),
        too_late=("lapsed", "2026-01-01"),
        worse=("at_risk", "2026-04-01"),
    )
    result = assessed(given_, earned, bought, stages, now(("same", "repair"), ("worse", "grow")))
    assert result["outcome"].to_dict() == {
        "reached": "achieved",  # 100 more in a quarter, 400 a year expected
        "better": "improving",
        "same": "no_change",
        "worse": "worsened",
        "lost": "customer_lost",
        "bought": "no_change",
        "lapsed_before": "no_change",
        "too_late": "no_change",
        "won_back": "achieved",
        "loss": "achieved",
    }
    assert (result.loc["bought", "purchases_since"], result.loc["bought", "has_lapsed"]) == (2, True)
    assert result.loc["same", "still_advised"]
    assert not result.loc["worse", "still_advised"], "advised something else"
    assert pd.isna(result.loc["same", "stage_now"])


def test_too_early_unless_something_can_be_said():
    on = day("2026-06-01")
    given_ = advice(
        *((on, name, action, 100.0) for name, action in (("A", "grow"), ("B", "nurture"), ("C", "protect")))
    )
    result = assessed(given_, bought=orders(B=["2026-06-02"]), stages=lifecycles(C=("lapsed", "2026-06-10")))
    assert result["outcome"].to_dict() == {"A": "too_early", "B": "achieved", "C": "customer_lost"}


def test_an_expected_effect_of_nothing_is_never_achieved():
    result = assessed(advice((day("2026-03-31"), "A", "prepay", 0.0)), profits(A=[0, 0, 0, 1, 0, 0]))
    assert result.loc["A", "outcome"] == "improving"


def test_advice_of_today_and_later_is_not_looked_back_on():
    given_ = advice((AS_OF, "A", "grow", 1.0), (day("2026-07-01"), "B", "grow", 1.0), (None, "C", "grow", 1.0))
    assert assessed(given_).empty


def test_no_advice_gives_no_rows_with_all_columns():
    result = assessed(advice()).reset_index()
    assert result.empty
    assert set(result.columns) == set(outcomes.TYPES)


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.dates(datetime.date(2025, 6, 1), datetime.date(2026, 7, 31)),
            st.sampled_from("ABC"),
            st.sampled_from(["grow", "win_back"]),
            st.sampled_from([0.0, 120.0]),
        ),
        max_size=8,
    ),
    later=st.sampled_from([0.0, 1e6]),
    seed=st.integers(0, 99),
)
def test_neither_row_order_nor_the_future_changes_an_outcome(rows, later, seed):
    earned = profits(A=[5.0] * 14, B=[1.0, -2.0, 3.0])
    bought = orders(A=["2025-09-09", "2026-06-30"], B=["2026-02-02"])
    stages = lifecycles(B=("lapsed", "2026-05-05"))
    known = assessed(advice(*rows), earned, bought, stages).reset_index()
    more = pd.concat([earned, pd.DataFrame([("A", datetime.date(2026, 7, 1), later)], columns=earned.columns)])
    tomorrow = pd.concat([bought, orders(A=["2026-07-01"], B=["2026-07-02"])])
    found = assessed(
        advice(*rows)
        .drop_duplicates(["advised_on", "customer_id", "action"], keep="last")
        .sample(frac=1, random_state=seed),
        more.sample(frac=1, random_state=seed),
        tomorrow.sample(frac=1, random_state=seed),
        stages,
    ).reset_index()
    pd.testing.assert_frame_equal(found, known)
    assert known["outcome"].isin(outcomes.OUTCOMES).all()
