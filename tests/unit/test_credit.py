"""Credit advice against numbers worked by hand, and the published examples of days sales outstanding."""

import datetime
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import credit
from assets.company import Company, Credit

AS_OF = datetime.date(2026, 6, 30)
CREDIT = Credit(cost_of_capital=0.10)

PUNCTUAL = {
    **dict.fromkeys((*credit.AMOUNTS, *credit.MEASURES), 0.0),
    **{"exposure": 10_000, "not_due": 10_000, "allowance": 30, "sales_12m": 120_000, "balance_days_12m": 3_650_000},
    **{"highest_balance_12m": 10_000, "financing_cost_12m": 1_000, "expected_credit_loss_12m": 30},
    **{"contribution_12m": 20_000, "payment_days": 30, "months_12m": 12, "days_12m": 365},
    **{"loss_rate_not_due": 0.003, "loss_rate_source": "declared", "credit_limit": 10_000},
}
"""A customer of 120,000 a year at 30 days, who pays on the day."""


def advised(*changes, **rules):
    frame = pd.DataFrame([{"customer_id": f"C{number}", **PUNCTUAL, **change} for number, change in enumerate(changes)])
    return credit.advise(frame, AS_OF, Credit(**{"cost_of_capital": 0.10, **rules})).to_dict("records")


def test_period_dso_as_published():
    """Oracle JD Edwards documentation: 10,869 x 90 / (5,538 + 4,566 + 7,570) = 55.35; the Motley Fool: 18 / 20 x 30 = 27;
    Bajaj Finserv: 600,000 / 2,400,000 x 90 = 22.5."""
    assert round(credit.period_dso(10_869, 5_538 + 4_566 + 7_570, 90), 2) == 55.35
    assert credit.period_dso(18, 20, 30) == 27
    assert credit.period_dso(600_000, 2_400_000, 90) == 22.5
    assert credit.period_dso(1, 0, 30) is None


def test_countback_dso_as_published():
    """benjipays: 212 thousand owed, sales of 100, 80 and 70 thousand, the latest first: 30 + 30 + 32 / 70 x 30 = 73.71."""
    assert round(credit.countback_dso(212, [100, 80, 70], [30, 30, 30]), 2) == 73.71
    assert credit.countback_dso(180, [100, 80, 0, 70], [30, 30, 30, 30]) == 60
    assert credit.countback_dso(200, [100, -5, 80, 70], [30, 31, 30, 30]) == 30 + 31 + 30 + 20 / 70 * 30
    assert credit.countback_dso(500, [100], [30]) == 30
    assert credit.countback_dso(0, [100], [30]) == credit.countback_dso(-5, [100], [30]) == 0


def test_the_limit_is_what_is_needed_or_what_can_be_borne():
    punctual, late, poor = advised({}, {"days_late_paid_12m": 15}, {"contribution_12m": -530})
    assert punctual["needed_limit"] == 12_000  # 10,000 a month x 30 / 30 days x 1.2
    assert late["needed_limit"] == 18_000  # x 45 / 30
    assert punctual["risk_cap"] == round(0.2 * 21_030 / 0.103, 2)
    assert punctual["recommended_limit"] == 12_000
    assert poor["recommended_limit"] == poor["risk_cap"] == round(0.2 * 500 / 0.103, 2)


def test_equity_caps_the_limit():
    assert advised({}, equity=100_000)[0]["recommended_limit"] == 5_000
    (free,) = advised({"loss_rate_not_due": 0, "allowance": 0, "financing_cost_12m": 0}, cost_of_capital=0)
    assert free["risk_cap"] is None
    assert free["recommended_limit"] == 12_000


def test_a_profitable_punctual_customer_at_the_limit_gets_a_higher_one():
    (row,) = advised({})
    assert (row["suggestion"], row["rule_id"]) == ("raise_limit", "CR-4")
    # Room of 2,000 turns over 365 / 30 times: 24,333 of sales, but at most a fifth of 120,000; a sixth of it is contribution.
    assert row["expected_effect"] == 4_000
    assert "from 10,000.00, of which 10,000.00 was in use to 12,000.00" in row["explanation"]
    for change in (
        {"days_late_paid_3m": 5.1},
        {"days_late_paid_3m": None},
        {"contribution_12m": 0},
        {"credit_limit": 15_000},
        {"highest_balance_12m": 7_999},
        {"overdue_31_60": 100},
        {"payment_days": 0},
    ):
        assert advised(change)[0]["suggestion"] == "none", change


def test_without_a_known_limit_the_highest_balance_stands_in():
    (row,) = advised({"credit_limit": None})
    assert row["suggestion"] == "raise_limit"
    assert row["credit_limit"] is None
    assert "from the highest balance of 12 months, 10,000.00 to 12,000.00" in row["explanation"]


def test_old_debts_ask_for_payment_in_advance():
    edge, over = advised({"overdue_over_90": 2_000}, {"overdue_over_90": 2_001})
    assert edge["suggestion"] == "none"
    assert (over["suggestion"], over["rule_id"], over["expected_effect"]) == ("prepay", "CR-1", 1_030)
    assert over["share_overdue_over_90"] == 0.2001
    assert "2,001.00 of 10,000.00 owed (20.0 %) is over 90 days overdue, more than 20.0 %" in over["explanation"]
    assert "a contribution of 20,000.00 a year is at stake" in over["explanation"]


def test_the_highest_loss_rate_asks_for_payment_in_advance():
    below, at = advised({"allowance": 999}, {"allowance": 1_000})
    assert (below["suggestion"], at["suggestion"]) == ("raise_limit", "prepay")
    assert (below["loss_rate"], at["loss_rate"]) == (0.0999, 0.1)


def test_a_few_cents_left_over_are_no_reason_for_anything():
    (row,) = advised({"exposure": 0.5, "not_due": 0, "overdue_over_90": 0.5, "allowance": 0.5, "credit_limit": 50_000})
    assert row["suggestion"] == "none"
    assert row["loss_rate"] == 1


GROWING_LATE = {"days_late_paid_3m": 20, "previous_days_late_paid_3m": 10, "contribution_12m": -500}


def test_later_and_not_worth_its_credit_lowers_the_limit():
    (row,) = advised(GROWING_LATE)
    assert (row["suggestion"], row["rule_id"]) == ("lower_limit", "CR-2")
    assert row["days_late_trend"] == 10
    assert row["recommended_limit"] == round(0.2 * 530 / 0.103, 2)
    assert row["expected_effect"] == round(1_030 * (10_000 - row["recommended_limit"]) / 10_000, 2)
    assert "paid 20.0 days late in the last three months, 10.0 in the three before" in row["explanation"]
    for change in (
        {"previous_days_late_paid_3m": 17},
        {"previous_days_late_paid_3m": None},
        {"contribution_12m": 0},
        {"exposure": 99},
    ):
        assert advised({**GROWING_LATE, **change})[0]["suggestion"] == "none", change


def test_later_within_the_limit_shortens_the_terms():
    (row,) = advised({**GROWING_LATE, "exposure": 900, "allowance": 2.7})
    assert (row["suggestion"], row["rule_id"]) == ("shorter_terms", "CR-3")
    assert row["expected_effect"] == round(1_030 * 20 / 50, 2)


def test_who_is_nobody_gets_no_advice_and_order_does_not_matter():
    frame = pd.DataFrame([{"customer_id": name, **PUNCTUAL} for name in ("B", "UNMATCHED", None, "A")])
    assert list(credit.advise(frame, AS_OF, CREDIT)["customer_id"]) == ["A", "B"]
    shuffled = credit.advise(frame.iloc[::-1], AS_OF, CREDIT)
    pd.testing.assert_frame_equal(shuffled, credit.advise(frame, AS_OF, CREDIT))


def test_no_customers():
    empty = credit.advise(pd.DataFrame(columns=["customer_id", *PUNCTUAL]), AS_OF, CREDIT)
    assert list(empty.columns) == list(credit.COLUMNS) == list(credit.TYPES)
    assert len(empty) == 0


numbers = st.integers(-(10**6), 10**6) | st.floats(-1e9, 1e9) | st.sampled_from([None, math.nan, math.inf])
money = {name: numbers for name in (*credit.AMOUNTS, *credit.MEASURES, "credit_limit", "payment_days", "days_12m")}


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries({**money, "months_12m": numbers, "loss_rate_not_due": numbers}),
    st.sampled_from([CREDIT, Credit()]),
)
def test_whatever_comes_in_no_traceback_and_no_infinity_comes_out(row, company):
    result = credit.advise(pd.DataFrame([{"customer_id": "C", "loss_rate_source": "declared", **row}]), AS_OF, company)
    (found,) = result.to_dict("records")
    numbers = [value for value in found.values() if isinstance(value, int | float | np.number)]
    assert all(math.isfinite(number) for number in numbers)
    assert found["recommended_limit"] >= 0
    assert found["expected_effect"] >= 0
    assert 0 <= found["loss_rate"] <= 1
    assert found["rule_id"] == credit.RULES[found["suggestion"]]
    assert found["explanation"].startswith(found["rule_id"])
    assert not re.search(r"\b(nan|inf)\b", found["explanation"])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cost_of_capital", -0.1),
        ("cost_of_capital", 10),
        ("write_off_after_days", 90),
        ("forward_looking_factor", 0),
        ("loss_rates", {"not_due": 0.1}),
        ("need_factor", 0.9),
        ("wacc", 0.1),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(setting, value):
    plain = {
        **{"company": "toy", "name": "Toy", "base_currency": "EUR", "first_business_date": "2026-01-01"},
        "sources": {"erp": {"dialect": "any"}},
    }
    assert Company.model_validate(plain).credit == Credit()
    with pytest.raises(ValueError, match=setting):
        Company.model_validate({**plain, "credit": {setting: value}})
