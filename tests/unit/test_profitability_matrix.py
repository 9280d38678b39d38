"""The profitability matrix: quadrants by hand, hysteresis on profit, and blindness to later months."""

import datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import profitability_matrix as matrix

AS_OF = datetime.date(2026, 6, 30)


def month(number):
    """The month `number` months before the as-of month."""
    return (pd.Timestamp(2026, 6, 1) - pd.DateOffset(months=number)).date()


def profits(rows):
    return pd.DataFrame(rows, columns=["customer_id", "month", "net_revenue", "operating_profit"])


def strengths(**classes):
    rows = [(name, {"strong": 80.0, "weak": 30.0}.get(kind), kind, 0.6) for name, kind in classes.items()]
    return pd.DataFrame(rows, columns=["customer_id", "strength", "strength_class", "coverage"])


def avoidable(**amounts):
    return pd.DataFrame(list(amounts.items()), columns=["customer_id", "avoidable_profit"])


def placed(rows, relationships=None, avoided=None, as_of=AS_OF, **others):
    relationships = strengths() if relationships is None else relationships
    avoided = avoidable() if avoided is None else avoided
    return matrix.place(profits(rows), relationships, avoided, as_of, **others).set_index("customer_id")


def test_the_four_quadrants_and_the_unknown():
    rows = [
        (name, month(1), 1000.0, profit)
        for name, profit in zip("ABCDEFG", (90, 90, -90, -90, 90, -90, -90), strict=True)
    ]
    classes = strengths(A="strong", B="weak", C="strong", D="weak", E="unknown", G="weak")
    result = placed(rows, classes, avoidable(A=100.0, D=-50.0, G=20.0))
    assert result["quadrant"].to_dict() == {
        "A": "protect",
        "B": "repair",
        "C": "reprice",
        "D": "fix_or_exit",
        "E": "measure_high",
        "F": "measure_low",
        "G": "fix_or_exit",
    }
    assert "exit" in result.loc["D", "strategy"]
    assert "would cost profit" in result.loc["G", "strategy"], "exit is spoken of on avoidable profit only"
    assert "measure the relationship" in result.loc["F", "strategy"]
    assert result.loc["D", "strategy_zh"].endswith("可避免成本高于其贡献")
    assert (result.loc["A", "margin_12m"], result.loc["A", "relationship_strength"]) == (0.09, 80.0)
    assert result.loc["F", "relationship_strength"] is None
    assert result.loc["F", "relationship_class"] == "unknown"


def test_a_class_changes_only_beyond_the_band():
    # Sums of 12 months, 1,000 of revenue each year: one row a year moves them.
    yearly = [(36, 50), (24, -5), (12, -20), (0, 5)]
    for given_, expected in (
        (yearly[:1], "high"),
        (yearly[:2], "high"),
        (yearly[:3], "low"),
        (yearly, "low"),
        ([*yearly[:3], (0, 11)], "high"),
        ([(0, 5)], "high"),
        ([(0, 0)], "low"),
    ):
        rows = [("A", month(back), 1000.0, profit) for back, profit in given_]
        as_of = (pd.Timestamp(month(given_[-1][0])) + pd.offsets.MonthEnd(0)).date()
        assert placed(rows, as_of=as_of).loc["A", "profit_class"] == expected, given_


def test_the_month_a_class_began():
    rows = [("A", month(back), 100.0, 10.0 if back > 2 else -200.0) for back in range(8)]
    result = placed(rows).loc["A"]
    assert (result["profit_class"], result["profit_class_since"]) == ("low", pd.Timestamp(month(2)))
    back_again = [("B", month(20), 100.0, -10.0), ("B", month(0), 100.0, 5.0)]  # nothing for a year: begins anew
    result = placed(back_again).loc["B"]
    assert (result["profit_class"], result["profit_class_since"]) == ("high", pd.Timestamp(month(0)))


def test_a_company_sets_its_own_cut():
    rows = [("A", month(1), 1000.0, 90.0), ("B", month(1), 1000.0, 120.0)]
    result = placed(rows, cut=matrix.Cut(high_above_margin=0.10))
    assert result["profit_class"].to_dict() == {"A": "low", "B": "high"}


def test_cost_without_revenue_is_low_without_a_margin():
    result = placed([("A", month(0), 0.0, -3.5), ("B", month(0), -20.0, -3.5), ("C", month(0), 0.0, 0.0)])
    assert set(result["profit_class"]) == {"low"}
    assert list(result["margin_12m"]) == [None, None, None]


def test_the_last_12_months_without_the_line_that_is_no_customer():
    rows = [
        ("A", month(12), 500.0, 50.0),
        ("A", month(11), 100.0, 7.1234),
        ("B", month(12), 500.0, 50.0),
        ("UNMATCHED", month(0), 1.0, 1.0),
        (None, month(0), 1.0, 1.0),
    ]
    result = placed(rows)
    assert list(result.index) == ["A"]
    assert (result.loc["A", "net_revenue_12m"], result.loc["A", "profit_12m"]) == (100.0, 7.1234)


def test_a_customer_of_later_months_only_is_not_known():
    assert list(placed([("A", month(0), 1.0, 1.0), ("B", month(-1), 1.0, 1.0)]).index) == ["A"]


def test_nothing_known_gives_no_rows_with_all_columns():
    result = matrix.place(profits([]), strengths(), avoidable(), AS_OF)
    assert result.empty
    assert list(result.columns) == list(matrix.TYPES)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C"]),
            st.integers(-6, 30).map(month),
            st.sampled_from([-50.0, 0.0, 100.0, 1000.0]),
            st.sampled_from([-90.0, -1.0, 0.0, 0.5, 80.0]),
        ),
        max_size=30,
    ),
    seed=st.integers(0, 1000),
)
def test_neither_row_order_nor_later_months_move_anybody(rows, seed):
    classes = strengths(A="strong", B="weak")
    past = [row for row in rows if row[1] <= AS_OF]
    expected = matrix.place(profits(past), classes, avoidable(A=1.0), AS_OF)
    found = matrix.place(profits(rows).sample(frac=1, random_state=seed), classes, avoidable(A=1.0), AS_OF)
    pd.testing.assert_frame_equal(found, expected)
    assert expected["quadrant"].isin(matrix.QUADRANTS).all()
    assert (expected["profit_class_since"] <= pd.Timestamp(AS_OF)).all()


@pytest.mark.parametrize("quadrant", matrix.QUADRANTS)
def test_every_quadrant_has_a_strategy_in_both_languages(quadrant):
    assert all(matrix.STRATEGIES[quadrant])
