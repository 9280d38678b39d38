"""RFM scores: ties, cuts, tiers, and blindness to the future."""

import datetime
from decimal import Decimal
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import rfm
from assets.errors import ConfigurationError

AS_OF = datetime.date(2026, 6, 30)
TIERS = rfm.read_tiers()

orders = st.lists(
    st.tuples(
        st.sampled_from(["C1", "C2", "C3", "C4", "C5", "C6"]),
        st.dates(datetime.date(2024, 1, 1), datetime.date(2027, 6, 30)),
        st.decimals(min_value=-5000, max_value=5000, places=4),
    ),
    max_size=40,
)


def frame(rows):
    return pd.DataFrame(rows, columns=["customer_id", "order_date", "net_revenue"])


def day(text):
    return datetime.date.fromisoformat(text)


def scored(rows, as_of=AS_OF):
    return rfm.score(frame(rows), as_of, tiers=TIERS).set_index("customer_id")


def test_five_customers_fill_the_five_quintiles():
    rows = [(f"C{n}", AS_OF - datetime.timedelta(days=10 * n), Decimal(100 * n)) for n in range(1, 6)]
    result = scored(rows)
    assert list(result["days_since_last_purchase"]) == [10, 20, 30, 40, 50]
    assert list(result["recency_score"]) == [5, 4, 3, 2, 1]
    assert list(result["monetary_score"]) == [1, 2, 3, 4, 5]
    assert list(result["rfm_cell"]) == ["511", "412", "313", "214", "115"]
    assert list(result["net_revenue_12m"]) == [100, 200, 300, 400, 500]


def test_equal_customers_get_equal_scores_even_across_a_quintile_cut():
    rows = [(f"C{n:02}", AS_OF, Decimal(10)) for n in range(7)] + [(f"D{n:02}", AS_OF, Decimal(99)) for n in range(3)]
    result = scored(rows)
    assert result.groupby(result.index.str[0])["monetary_score"].nunique().eq(1).all()
    assert set(result["recency_score"]) == {3}
    assert result.loc["C00", "monetary_score"] == 2  # ranks 1-7 of 10: their middle, 4, lies in the second fifth
    assert result.loc["D00", "monetary_score"] == 5


def test_frequency_cuts_are_one_two_three_four_to_eight_and_nine():
    counts = {"A": 1, "B": 2, "C": 3, "D": 4, "E": 8, "F": 9, "G": 30}
    rows = [(customer, AS_OF, Decimal(1)) for customer, count in counts.items() for _ in range(count)]
    rows.append(("Z", datetime.date(2020, 1, 1), Decimal(1)))
    assert scored(rows)["frequency_score"].to_dict() == {
        "A": 1,
        "B": 2,
        "C": 3,
        "D": 4,
        "E": 4,
        "F": 5,
        "G": 5,
        "Z": 1,
    }


def test_the_last_12_months_are_the_as_of_month_and_eleven_before():
    result = scored([("A", day("2025-07-01"), Decimal("7.5")), ("B", day("2025-06-30"), Decimal(9))])
    assert result["orders_12m"].to_dict() == {"A": 1, "B": 0}
    assert result["net_revenue_12m"].to_dict() == {"A": 7.5, "B": 0}


def test_a_credit_note_lowers_revenue_and_is_no_purchase():
    rows = [
        ("A", day("2026-01-10"), Decimal("100")),
        ("A", day("2026-06-20"), Decimal("-30.5")),
        ("A", day("2026-06-21"), Decimal("0")),
        ("only credit notes", day("2026-06-21"), Decimal("-1")),
    ]
    result = scored(rows)
    assert list(result.index) == ["A"]
    assert result.loc["A", "days_since_last_purchase"] == 171
    assert (result.loc["A", "orders_12m"], result.loc["A", "net_revenue_12m"]) == (1, 69.5)


def test_one_customer_and_identical_customers_sit_in_the_middle():
    assert scored([("A", AS_OF, Decimal(5))])["rfm_cell"].to_dict() == {"A": "313"}
    assert set(scored([(f"C{n}", AS_OF, 5.0) for n in range(50)])["rfm_cell"]) == {"313"}


@pytest.mark.parametrize("rows", [[], [("A", day("2026-07-01"), Decimal(5))]])
def test_nothing_known_gives_no_rows_with_all_columns(rows):
    result = rfm.score(frame(rows), AS_OF, tiers=TIERS)
    assert result.empty
    assert list(result.columns) == list(rfm.COLUMNS)


@settings(max_examples=60, deadline=None)
@given(rows=orders, seed=st.integers(0, 1000))
def test_neither_row_order_nor_the_future_changes_a_score(rows, seed):
    past = [row for row in rows if row[1] <= AS_OF]
    shuffled = frame(rows).sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(rfm.score(frame(past), AS_OF, tiers=TIERS), rfm.score(shuffled, AS_OF, tiers=TIERS))


@settings(max_examples=60, deadline=None)
@given(rows=orders)
def test_scores_are_complete_monotone_and_tied(rows):
    result = rfm.score(frame(rows), AS_OF, tiers=TIERS)
    assert not result.isna().any(axis=None)
    assert np.isfinite(result["net_revenue_12m"]).all()
    for column, value in (
        ("recency_score", "days_since_last_purchase"),
        ("monetary_score", "net_revenue_12m"),
    ):
        assert result[column].between(1, 5).all()
        assert result.groupby(value)[column].nunique().eq(1).all()
        by_value = result.sort_values(value, ascending=column == "monetary_score")[column]
        assert by_value.is_monotonic_increasing


def test_the_tier_map_covers_exactly_the_125_cells_by_one_rule():
    assert set(TIERS) == {"".join(cell) for cell in product("12345", repeat=3)}
    names = {
        (True, True, True): ("Champions", "重要价值客户"),
        (True, False, True): ("Potential Loyalists", "重要发展客户"),
        (False, True, True): ("Cannot Lose", "重要保持客户"),
        (False, False, True): ("At Risk", "重要挽留客户"),
        (True, True, False): ("Loyal", "一般价值客户"),
        (True, False, False): ("Promising", "一般发展客户"),
        (False, True, False): ("Needs Attention", "一般保持客户"),
        (False, False, False): ("Lost", "一般挽留客户"),
    }
    for cell, tier in TIERS.items():
        recency, frequency, monetary = (int(digit) for digit in cell)
        assert (tier.name, tier.name_zh) == names[recency >= 3, frequency >= 4, monetary >= 4], cell


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("111,", "116,"), "no tier for cell 111"),
        (lambda text: text + "111,Lost,一般挽留客户\n", "more than once"),
        (lambda text: text.replace("555,Champions", "555,"), "cell 555 has no name"),
    ],
)
def test_a_tier_map_with_a_hole_is_refused(tmp_path, change, message):
    path = tmp_path / "tiers.csv"
    path.write_text(change(rfm.TIERS_FILE.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        rfm.read_tiers(path)


def test_vip_regular_and_potential_follow_the_segment():
    rows = [("often", AS_OF - datetime.timedelta(days=n), Decimal(500)) for n in range(9)]
    rows += [("once, much", AS_OF, Decimal(4000)), ("long ago", day("2025-08-01"), Decimal(1))]
    rows += [("often, little", AS_OF - datetime.timedelta(days=n), Decimal(1)) for n in range(9)]
    result = scored(rows)
    assert result["rfm_tier"].to_dict() == {
        "often": "Champions",
        "once, much": "Potential Loyalists",
        "long ago": "Lost",
        "often, little": "Loyal",
    }
    assert result["customer_tier"].to_dict() == {
        "often": "VIP",
        "once, much": "potential",
        "long ago": "regular",
        "often, little": "regular",
    }
    assert result.loc["often", "customer_tier_zh"] == "VIP客户"
    assert set(result["rules_version"]) == {"1"}


def test_every_segment_has_one_tier_of_customers_and_the_table_has_its_columns():
    rules = rfm.read_rules()
    assert {tier.name for tier in TIERS.values()} == set(rfm.TIERS)
    assert {rules.customer_tier(tier) for tier in rfm.TIERS} == set(rfm.CUSTOMER_TIERS)
    assert list(scored([("A", AS_OF, 5.0)]).reset_index().columns) == list(rfm.TYPES)


def test_a_company_has_its_own_cuts(tmp_path):
    text = rfm.TIERS_FILE.with_name("rfm.yml").read_text(encoding="utf-8")
    (tmp_path / "rfm.yml").write_text(
        text.replace('"1"', '"2026"').replace("[2, 3, 4, 9]", "[2, 5, 10, 20]"), encoding="utf-8"
    )
    rows = frame([("A", AS_OF, 5.0)] * 9)
    own = rfm.score(rows, AS_OF, tiers=TIERS, rules=rfm.read_rules(tmp_path))
    assert (own["frequency_score"][0], own["rules_version"][0]) == (3, "2026")
    assert rfm.score(rows, AS_OF, tiers=TIERS, rules=rfm.read_rules(tmp_path / "none"))["frequency_score"][0] == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[2, 3, 4, 9]", "[2, 3, 3, 9]", "key 'frequency_cuts': give four rising numbers"),
        ("[2, 3, 4, 9]", "[2, 3, 4]", "key 'frequency_cuts"),
        (
            "Potential Loyalists, Promising",
            "Promising",
            "'Potential Loyalists' must be in exactly one tier and is in 0",
        ),
        ("Loyal, Needs", "Champions, Loyal, Needs", "'Champions' must be in exactly one tier and is in 2"),
        ("Cannot Lose", "Cannot Loose", "'Cannot Loose' is not a segment"),
        ("VIP:", "vip:", "name exactly VIP, regular, potential"),
        ('version: "1"', "", "key 'version': is required and missing"),
    ],
)
def test_cuts_that_make_no_sense_are_refused(tmp_path, old, new, message):
    text = rfm.TIERS_FILE.with_name("rfm.yml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "rfm.yml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        rfm.read_rules(tmp_path)
