"""Shares of hours, service and contribution by tier, and the shift that would pay most, worked by hand."""

import datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import resources

AS_OF = datetime.date(2026, 6, 30)
TIERS = [("A", "Champions", "重要价值客户"), ("B", "Champions", "重要价值客户"), ("C", "Lost", "流失客户")]


def shares(use=(), profits=(), tiers=TIERS):
    return resources.shares(
        pd.DataFrame(use, columns=["customer_id", "work", "kind", "contacts", "timed_contacts", "minutes"]),
        pd.DataFrame(profits, columns=["customer_id", "net_revenue", "cost_to_serve", "contribution"]),
        pd.DataFrame(tiers, columns=["customer_id", "rfm_tier", "rfm_tier_zh"]),
        AS_OF,
    ).set_index(["rfm_tier", "resource"])


USE = [
    ("A", "sales", "visit", 10, 10, 600),
    ("B", "sales", "call", 30, 30, 600),
    ("C", "sales", "visit", 20, 20, 1200),
    ("C", "service", "case", 6, 6, 360),
]
PROFITS = [("A", 700.0, 50.0, 500.0), ("B", 200.0, 50.0, 100.0), ("C", 100.0, 100.0, -200.0)]


def test_shares_by_hand():
    table = shares(USE, PROFITS)
    champions, lost = table.loc[("Champions", "sales_hours")], table.loc[("Lost", "sales_hours")]
    assert (champions["customer_count"], champions["quantity"], lost["quantity"]) == (2, 20, 20)
    assert (champions["resource_share"], champions["revenue_share"], champions["contribution_share"]) == (0.5, 0.9, 1.5)
    assert (champions["contribution_index"], lost["contribution_index"]) == (3, -1)
    assert (champions["contribution_per_unit"], lost["contribution_per_unit"]) == (30, -10)
    assert champions["rfm_tier_zh"] == "重要价值客户"
    assert table.loc[("Lost", "cost_to_serve"), "resource_share"] == 0.5
    service = table.loc[("Champions", "service_hours")]
    assert service["quantity"] == 0
    assert service["resource_share"] == 0
    assert pd.isna(service["contribution_index"])
    assert pd.isna(service["contribution_per_unit"])


def test_the_shift_that_pays_most_stands_where_it_takes_hours():
    table = shares(USE, PROFITS)
    shift = table.loc[("Lost", "sales_hours")]
    assert (shift["shift_to_tier"], shift["shift_quantity"], shift["shift_effect"]) == ("Champions", 2, 80)
    assert shift["shift_sentence"] == (
        "Moving 2.0 sales hours from Lost (-10.00 of contribution per hour) to Champions (30.00) would bring at most 80.00 a "
        "year: an upper bound, as further hours bring less than the average one."
    )
    assert table["shift_sentence"].notna().sum() == 1  # nobody but Lost had service, and cost cannot be moved


def test_a_tier_of_a_few_minutes_is_not_the_answer():
    tiers = [*TIERS, ("T", "Promising", "一般发展客户")]
    table = shares([*USE, ("T", "sales", "call", 1, 1, 6)], [*PROFITS, ("T", 900.0, 0.0, 900.0)], tiers)
    assert table.loc[("Promising", "sales_hours"), "contribution_per_unit"] == 9000
    assert table.loc[("Lost", "sales_hours"), "shift_to_tier"] == "Champions"


def test_contacts_without_minutes_count_as_the_average_of_their_kind():
    use = [
        ("A", "sales", "visit", 2, 2, 120),
        ("A", "sales", "call", 4, 2, 20),
        ("C", "sales", "call", 3, 0, None),
        ("C", "sales", "mail", 1, 0, None),  # no mail was ever timed: as any sales contact, 140 minutes / 4
        ("C", "service", "case", 2, 0, 0),  # no case was ever timed: an hour each
    ]
    table = shares(use, PROFITS)
    assert table.loc[("Champions", "sales_hours"), "quantity"] == pytest.approx(160 / 60, abs=1e-6)
    assert table.loc[("Champions", "sales_hours"), "estimated_share"] == 0.125
    assert table.loc[("Lost", "sales_hours"), "quantity"] == pytest.approx((30 + 35) / 60, abs=1e-6)
    assert table.loc[("Lost", "service_hours"), "quantity"] == 2
    assert table.loc[("Lost", "service_hours"), "estimated_share"] == 1


def test_work_on_nobody_and_on_who_never_bought_is_shown_and_never_shifted():
    use = [
        ("A", "sales", "visit", 10, 10, 600),
        ("P", "sales", "visit", 10, 10, 600),
        ("UNMATCHED", "sales", "call", 1, 1, 60),
    ]
    table = shares(use, [*PROFITS, ("UNMATCHED", 5.0, 0.0, 5.0)])
    assert table.loc[("Not a customer yet", "sales_hours"), "quantity"] == 10
    assert table.loc[("Not a customer yet", "sales_hours"), "rfm_tier_zh"] == "尚未成交"
    assert table.loc[("Unmatched", "sales_hours"), "contribution"] == 5
    assert table["shift_sentence"].isna().all()


def test_one_customer_has_everything_and_nothing_to_shift():
    table = shares([USE[0]], [PROFITS[0]], TIERS[:1])
    assert set(table["resource_share"]) == {1}
    assert set(table["contribution_share"]) == {1}
    assert table["shift_sentence"].isna().all()


def test_tiers_that_bring_the_same_have_nothing_to_shift():
    table = shares(USE, [("A", 0.0, 0.0, 70.0), ("C", 0.0, 0.0, 70.0)])
    assert table["shift_sentence"].isna().all()


def test_shares_of_a_loss_are_not_given():
    table = shares(USE, [("A", 0.0, 10.0, -10.0), ("C", 0.0, 0.0, -5.0)])
    assert table[["revenue_share", "contribution_share", "contribution_index"]].isna().all(axis=None)
    assert table.loc[("Lost", "cost_to_serve"), "contribution_per_unit"] != float("-inf")
    assert pd.isna(table.loc[("Lost", "cost_to_serve"), "contribution_per_unit"])


def test_nothing_at_all_is_an_empty_table():
    table = shares(tiers=[]).reset_index()
    assert set(table.columns) == set(resources.COLUMNS)
    assert table.empty


@given(
    use=st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C", "P", "UNMATCHED"]),
            st.sampled_from(["sales", "service"]),
            st.sampled_from(["visit", "call", None]),
            st.integers(0, 50),
            st.integers(0, 50),
            st.integers(0, 900),
        ),
        max_size=12,
    ),
    profits=st.lists(
        st.tuples(st.sampled_from("ABCP"), *[st.integers(-9999, 9999).map(lambda amount: amount / 4)] * 3), max_size=6
    ),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_shares_add_up_and_the_order_of_rows_does_not_matter(use, profits, data):
    table = shares(use, profits)
    numbers = table.select_dtypes("number")
    assert not numbers.isin([float("inf"), float("-inf")]).any(axis=None)
    for resource, rows in table.groupby("resource"):
        if resource != "cost_to_serve" and rows["quantity"].sum() > 0:
            assert rows["resource_share"].sum() == pytest.approx(1, abs=1e-4)
    shuffled = shares(data.draw(st.permutations(use)), data.draw(st.permutations(profits)))
    pd.testing.assert_frame_equal(table, shuffled)
