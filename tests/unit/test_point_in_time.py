"""Every score of the value of customers as of a past date: the same from all data, from the data up to that date, and with
another future."""

import datetime

import customer_histories as histories
import pandas as pd
import pytest

from assets.analytics import churn, clv, features, lifecycle, rfm
from assets.analytics import forecasters as foresight
from assets.analytics.features import CustomerHistory

MONTH_ENDS = (datetime.date(2025, 3, 31), datetime.date(2025, 10, 31))
MID_MONTH = datetime.date(2025, 9, 17)

HISTORY = histories.company(260, seed=4)


def known_then(history, as_of):
    """What a warehouse of that date would have held, put together by hand: no use is made of what is tested."""
    day = pd.Timestamp(as_of)
    late = history.payments_late[history.payments_late["due_date"] <= day]
    is_open = late["learned_on"] > day
    return CustomerHistory(
        orders=history.orders[history.orders["order_date"] <= day],
        monthly_profit=history.monthly_profit[history.monthly_profit["month"] <= day],
        cases=history.cases[history.cases["opened_on"] <= day],
        payments_late=late.assign(
            learned_on=late["learned_on"].mask(is_open), days_late=late["days_late"].mask(is_open)
        ),
        surveys=history.surveys[history.surveys["responded_on"] <= day],
    )


def customer_rfm(history, as_of):
    return rfm.score(history.orders, as_of, tiers=rfm.read_tiers())


def customer_clv(history, as_of):
    return clv.value(
        history.monthly_profit,
        as_of,
        discount_rate=0.1,
        horizon_months=36,
        orders=history.orders,
        fit_as_of=churn.month_end_before(as_of),
    )


def churn_risk(history, as_of):
    return churn.score(history, as_of, horizon_days=90)


def features_of_customers(history, as_of):
    return features.build(history, as_of)


def customer_lifecycle(history, as_of):
    nobody = pd.DataFrame({"customer_id": [], "acquired_date": []})
    return lifecycle.replay(history.orders, nobody, as_of, horizon_days=90).customers


def knowledge(history, as_of):
    """What the backtest knows, through one figure of each kind."""
    known = foresight.Known(history, as_of)
    return known.summary.assign(
        profit=known.profit,
        pareto=foresight.buys_pareto_nbd(known, foresight.Window(90, 0)),
        naive=foresight.orders_as_before(known, foresight.Window(90, 0)),
    )


SCORES = (customer_rfm, churn_risk, features_of_customers, customer_lifecycle)
# Profit is known by month: these are asked for at the ends of months, on which a month is whole.
MONTHLY_SCORES = (customer_clv, knowledge)

CASES = [(score, date) for score in SCORES for date in (MONTH_ENDS[1], MID_MONTH)]
CASES += [(score, MONTH_ENDS[0]) for score in (customer_rfm, features_of_customers)]
CASES += [(score, date) for score in MONTHLY_SCORES for date in MONTH_ENDS]


@pytest.mark.parametrize(("score", "as_of"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_no_score_sees_the_future(score, as_of):
    then = score(known_then(HISTORY, as_of), as_of)
    assert len(then) > 100
    pd.testing.assert_frame_equal(score(HISTORY, as_of), then)
    changed = histories.with_another_future(HISTORY, as_of)
    assert changed.orders["net_revenue"].sum() != HISTORY.orders["net_revenue"].sum()
    pd.testing.assert_frame_equal(score(changed, as_of), then)


@pytest.mark.parametrize("score", [*SCORES, *MONTHLY_SCORES], ids=lambda value: value.__name__)
def test_no_score_depends_on_the_order_of_rows(score):
    as_of = MONTH_ENDS[1]
    pd.testing.assert_frame_equal(score(histories.shuffled(HISTORY), as_of), score(HISTORY, as_of))


def test_the_backtest_cuts_a_history_as_it_was_known():
    for as_of in (*MONTH_ENDS, MID_MONTH):
        for name, cut, then in zip(
            CustomerHistory._fields, foresight.cut(HISTORY, as_of), known_then(HISTORY, as_of), strict=True
        ):
            pd.testing.assert_frame_equal(cut, then, obj=name)


def test_the_past_itself_does_move_them():
    as_of = MONTH_ENDS[1]
    earlier = HISTORY._replace(orders=HISTORY.orders.iloc[20:])
    for score in (customer_rfm, churn_risk, features_of_customers):
        assert not score(earlier, as_of).equals(score(HISTORY, as_of))
