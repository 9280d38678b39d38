"""Acquisition channels against numbers worked by hand: who is new, what a channel spent, and when it is paid back."""

import datetime
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from assets.analytics import acquisition
from assets.costing.acquisition_rules import AcquisitionCost, overspent

AS_OF = datetime.date(2026, 6, 30)

COLUMNS = {
    "orders": ["customer_id", "order_date", "net_revenue"],
    "customers": ["customer_id", "acquisition_source", "acquired_date"],
    "responses": ["customer_id", "responded_on", "channel"],
    "campaigns": ["channel", "month", "cost"],
    "spending_rules": ["pool_id", "channel", "share", "divided_by", "valid_from", "valid_to"],
    "pool_costs": ["month", "pool_id", "cost"],
    "pool_costs_of_customers": ["customer_id", "month", "pool_id", "cost"],
    "contributions": ["customer_id", "month", "contribution"],
}


def day(text):
    return datetime.date.fromisoformat(text if len(text) > 7 else f"{text}-01")


def history(**tables):
    """Tables by name, rows as tuples; the record begins in January 2024 with an old customer's order."""
    tables["orders"] = [("OLD", day("2024-01-15"), 10.0), *tables.get("orders", [])]
    frames = {name: pd.DataFrame(tables.get(name, []), columns=columns) for name, columns in COLUMNS.items()}
    return acquisition.History(**frames)


def channels(discount_rate=0.0, **tables):
    return acquisition.channels(history(**tables), AS_OF, discount_rate=discount_rate)


def only_row(table):
    assert len(table) == 1, table
    return table.iloc[0]


SHOW = dict(
    orders=[("A", day("2025-03-10"), 900.0), ("B", day("2025-03-20"), 100.0)],
    customers=[("A", "Trade Show", day("2025-02-01")), ("B", "trade  show", day("2025-03-01"))],
    campaigns=[("Trade Show", day("2025-03"), 300.0)],
)


def test_cost_per_customer_payback_and_return_by_hand():
    # 300 spent on two customers; they bring 100 in March, 50 in each of the next three months, and so are paid in the fifth.
    months = [
        ("2025-03", 100.0),
        ("2025-04", 50.0),
        ("2025-05", 50.0),
        ("2025-06", 50.0),
        ("2025-07", 50.0),
        ("2026-06", 60.0),
    ]
    contributions = [("A", day(month), amount) for month, amount in months]
    row = only_row(channels(**SHOW, contributions=contributions))
    assert (row["channel"], row["month"], row["new_customers"], row["cost"]) == ("Trade Show", day("2025-03"), 2, 300)
    assert row["cac"] == 150
    assert (row["payback_months"], row["payback_status"]) == (5, "paid_back")
    assert row["months_observed"] == 16
    assert row["contribution_to_date"] == 360
    assert row["roi_12m"] == 0  # 300 in twelve months; the 60 of June 2026 came in the sixteenth
    assert pd.isna(row["roi_24m"])
    assert pd.isna(row["roi_36m"])
    assert row["attribution_rule"] == acquisition.FIRST_TOUCH
    assert row["cost_basis"] == "campaign_cost"


def test_return_is_discounted_month_by_month():
    row = only_row(channels(0.21, **SHOW, contributions=[("A", day("2025-03"), 300.0), ("B", day("2025-09"), 330.0)]))
    assert row["roi_12m"] == pytest.approx((300 + 330 / 1.1 - 300) / 300)  # half a year at 21 % is 10 %
    assert row["payback_months"] == 1  # payback is not discounted


@pytest.mark.parametrize(
    ("contributions", "status"),
    [([("A", day("2026-06"), 10.0)], "not_yet"), ([("A", day("2025-04"), -5000.0)], "not_yet"), ([], "not_yet")],
)
def test_who_still_buys_has_not_paid_back_yet(contributions, status):
    still_buying = SHOW | {"orders": [*SHOW["orders"], ("B", day("2025-07-01"), 5.0)]}
    row = only_row(channels(**still_buying, contributions=contributions))
    assert pd.isna(row["payback_months"])
    assert row["payback_status"] == status


def test_who_stopped_buying_never_pays_back():
    row = only_row(channels(**SHOW, contributions=[("A", day("2025-03"), 299.9999)]))
    assert pd.isna(row["payback_months"])
    assert row["payback_status"] == "never"


def test_three_years_without_payback_are_never():
    record = dict(
        orders=[("Z", day("2021-01-01"), 1.0), ("A", day("2023-07-10"), 9.0), ("A", day("2026-06-10"), 9.0)],
        customers=[("A", "Web", day("2023-07-01")), ("OLD", "Web", day("2019-07-01"))],
        campaigns=[("Web", day("2023-07"), 300.0)],
        contributions=[("A", day("2023-07"), 100.0)],
    )
    row = only_row(channels(**record))
    assert (row["months_observed"], row["payback_status"]) == (36, "never")
    assert row["roi_36m"] == pytest.approx(-2 / 3, abs=1e-6)


def test_a_channel_without_new_customers_keeps_its_cost():
    row = only_row(channels(campaigns=[("Fair", day("2025-01"), 40.0)]))
    assert (row["channel"], row["cost"], row["new_customers"], row["payback_status"]) == ("Fair", 40, 0, "no_customers")
    assert pd.isna(row["cac"])
    assert row["roi_12m"] == -1


def test_a_channel_without_cost_has_nothing_to_pay_back():
    row = only_row(channels(**(SHOW | {"campaigns": []}), contributions=[("A", day("2025-03"), 5.0)]))
    assert (row["cost"], row["cac"], row["payback_status"]) == (0, 0, "no_cost")
    assert pd.isna(row["payback_months"])
    assert pd.isna(row["roi_12m"])
    assert row["contribution_to_date"] == 5


def test_nothing_at_all_is_an_empty_table():
    table = acquisition.channels(
        acquisition.History(**{name: pd.DataFrame(columns=columns) for name, columns in COLUMNS.items()}),
        AS_OF,
        discount_rate=0.1,
    )
    assert list(table.columns) == list(acquisition.COLUMNS)
    assert table.empty


def test_customers_belong_to_their_source_else_to_the_first_campaign_they_answered_else_to_nobody():
    table = channels(
        orders=[(customer, day("2025-03-10"), 9.0) for customer in ("A", "B", "C", "D", "E")],
        customers=[("A", "Web", None), ("B", None, None), ("C", " ", None)],
        responses=[
            ("A", day("2025-01-01"), "Email"),
            ("B", day("2025-03-10"), "Email"),
            ("B", day("2025-03-09"), "Fair"),
            ("C", day("2025-03-11"), "Email"),  # a day too late
            ("D", day("2025-02-01"), None),
            ("E", day("2025-03-10"), "Email"),  # the day of the order itself
        ],
    ).set_index("channel")
    assert dict(table["new_customers"]) == {"Web": 1, "Fair": 1, "Email": 1, "Unattributed": 2}
    assert dict(table["new_customers_by_response"]) == {"Web": 0, "Fair": 1, "Email": 1, "Unattributed": 0}


def test_a_first_order_in_the_record_is_not_always_the_first():
    won = acquisition.new_customers(
        history(
            orders=[
                ("dormant", day("2025-03-10"), 9.0),
                ("early", day("2024-03-31"), 9.0),
                ("settled", day("2024-04-01"), 9.0),
                ("at_once", day("2024-01-20"), 9.0),
                ("taken_back", day("2024-05-01"), 0.0),
                ("taken_back", day("2024-06-01"), 9.0),
                ("later", day("2026-07-01"), 9.0),
            ],
            customers=[("dormant", None, day("2023-12-31")), ("at_once", None, day("2024-01-01"))],
        ),
        AS_OF,
    )
    assert dict(zip(won["customer_id"], won["month"] - 2024 * 12, strict=True)) == {
        "at_once": 1,
        "settled": 4,
        "taken_back": 6,
    }


def test_what_cost_before_the_first_order_counts_in_the_first_month():
    contributions = [("A", day("2025-01"), -40.0), ("A", day("2025-03"), 339.0), ("A", day("2025-04"), 1.0)]
    row = only_row(channels(**SHOW, contributions=contributions))
    assert row["payback_months"] == 2
    assert row["contribution_to_date"] == 300


RULES = [("ads", None, 0.5, "new_customers", None, None), ("fairs", "Fair", 1.0, None, None, None)]


def test_pools_are_taken_by_rule_and_what_customers_bear_of_them_is_not_counted_twice():
    won = dict(
        orders=[("A", day("2025-03-10"), 9.0), ("B", day("2025-03-10"), 9.0), ("C", day("2025-03-10"), 9.0)],
        customers=[("A", "Web", None), ("B", "Web", None), ("C", "Fair", None)],
    )
    table = channels(
        **won,
        spending_rules=RULES,
        campaigns=[("Fair", day("2025-03"), 77.0)],  # what the CRM says is in the ledger already
        pool_costs=[(day("2025-03"), "ads", 20.02), (day("2025-03"), "fairs", 5.0), (day("2025-03"), "rent", 99.0)],
        contributions=[("A", day("2025-03"), 1.0), ("C", day("2025-03"), 1.0)],
        pool_costs_of_customers=[
            ("A", day("2025-03"), "ads", 8.0),
            ("C", day("2025-03"), "fairs", 5.0),
            ("B", day("2025-03"), "rent", 50.0),
        ],
    ).set_index("channel")
    assert dict(table["cost"]) == {"Fair": 8.34, "Web": 6.67}  # 10.01 by 1 : 2,
    assert 5.00
    assert dict(table["contribution_to_date"]) == {"Fair": 6, "Web": 5}
    assert set(table["cost_basis"]) == {"ledger_pools"}


def test_a_pool_can_follow_what_the_campaigns_of_the_month_cost():
    table = channels(
        spending_rules=[("ads", None, 1.0, "campaign_cost", None, None)],
        campaigns=[("Fair", day("2025-03"), 3.0), ("Mail", day("2025-03"), 1.0), ("Mail", day("2025-04"), 9.0)],
        pool_costs=[(day("2025-03"), "ads", -10.01)],
    ).set_index("channel")
    assert dict(table["cost"]) == {"Fair": -7.51, "Mail": -2.5}
    assert set(table["payback_status"]) == {"no_customers"}


def test_what_cannot_be_divided_is_unattributed():
    row = only_row(channels(spending_rules=RULES[:1], pool_costs=[(day("2025-05"), "ads", 3.0)]))
    assert (row["channel"], row["cost"]) == ("Unattributed", 1.5)


def test_a_rule_holds_where_it_holds_on_the_last_day_of_the_month():
    rules = [
        ("ads", "Web", 1.0, None, None, day("2025-04-15")),
        ("ads", "Fair", 1.0, None, day("2025-04-16"), day("2025-05-31")),
    ]
    costs = [(day(month), "ads", 1.0) for month in ("2025-03", "2025-04", "2025-05", "2025-06")]
    table = channels(spending_rules=rules, pool_costs=costs)
    assert [(row.channel, row.month.month) for row in table.itertuples()] == [("Fair", 4), ("Fair", 5), ("Web", 3)]


def test_twelve_months_are_given_beside_the_month():
    costs = [("Fair", day(month), 12.0) for month in ("2025-01", "2025-02", "2025-12", "2026-01")]
    table = channels(campaigns=costs, orders=[("A", day("2025-01-10"), 1.0)], customers=[("A", "Fair", None)])
    assert list(table["cost_12m"]) == [12, 24, 36, 36]
    assert list(table["new_customers_12m"]) == [1, 1, 1, 0]
    assert table["cac_12m"].iloc[2] == 36
    assert pd.isna(table["cac_12m"].iloc[3])


def test_nothing_after_the_as_of_month_is_seen():
    later = channels(
        **(SHOW | {"orders": [*SHOW["orders"], ("L", day("2026-07-01"), 5.0)]}),
        contributions=[("A", day("2026-07"), 5000.0)],
    )
    assert later.equals(channels(**SHOW))


cents = st.integers(-10_000, 1_000_000).map(lambda amount: amount / 100)
months = st.sampled_from(["2025-01", "2025-02", "2025-03"]).map(day)


@given(
    costs=st.dictionaries(st.tuples(months, st.sampled_from(["ads", "fairs", "events"])), cents, max_size=9),
    campaigns=st.lists(st.tuples(st.sampled_from(["Web", "Fair", None, "Mail"]), months, cents), max_size=6),
    won=st.lists(
        st.tuples(st.sampled_from(["Web", "Fair", None]), st.dates(day("2025-01-01"), day("2025-03-31"))), max_size=8
    ),
    shares=st.tuples(*[st.integers(1, 3333).map(lambda share: share / 10_000)] * 3),
)
@settings(max_examples=100, deadline=None)
def test_every_cent_taken_is_in_a_channel_once(costs, campaigns, won, shares):
    rules = [
        ("ads", None, shares[0], "campaign_cost", None, None),
        ("ads", None, shares[1], "new_customers", None, None),
        ("ads", "Web", round(1 - shares[0] - shares[1], 4), None, None, None),
        ("fairs", "Fair", 1.0, None, None, None),
        ("events", None, shares[2], "new_customers", None, None),
    ]
    table = channels(
        orders=[(f"C{n}", first, 5.0) for n, (_, first) in enumerate(won)],
        customers=[(f"C{n}", source, None) for n, (source, _) in enumerate(won)],
        campaigns=campaigns,
        spending_rules=rules,
        pool_costs=[(month, pool, cost) for (month, pool), cost in costs.items()],
    )
    whole = {(month, pool): round(cost * 100) for (month, pool), cost in costs.items()}
    events = sum(amount for (_, pool), amount in whole.items() if pool == "events")
    all_of_them = sum(amount for (_, pool), amount in whole.items() if pool != "events")
    spent = sum(round(cost * 100) for cost in table["cost"])
    assert abs(spent - all_of_them - events * shares[2]) <= 3  # a cent of rounding in each of three months of events
    assert table["new_customers"].sum() == len(won)


def test_a_rule_names_a_channel_or_how_to_divide():
    assert AcquisitionCost(pool_id="ads", divided_by="campaign_cost").share == 1
    assert AcquisitionCost(pool_id="ads", channel="Web", share="0.25").share == Decimal("0.25")
    for wrong in (
        {"channel": "Web", "divided_by": "new_customers"},
        {},
        {"channel": " "},
        {"channel": "Web", "share": "0"},
        {"channel": "Web", "share": "1.01"},
        {"channel": "Web", "share": "0.33333"},
        {"channel": "Web", "share": "nan"},
    ):
        with pytest.raises(ValidationError):
            AcquisitionCost(pool_id="ads", **wrong)


def test_a_pool_cannot_be_spent_twice():
    def rule(channel, share, start=None, end=None):
        return AcquisitionCost(pool_id="ads", channel=channel, share=share, valid_from=start, valid_to=end)

    assert not list(overspent([rule("Web", "0.5"), rule("Fair", "0.5")]))
    assert not list(overspent([rule("Web", "1", end="2025-01-31"), rule("Fair", "1", start="2025-02-01")]))
    [(number, fault)] = overspent([rule("Web", "0.6"), rule("Fair", "0.6", start="2025-02-01")])
    assert number == 1
    assert "'ads'" in fault
    assert "1.2" in fault


def test_a_discount_rate_of_minus_one_is_refused():
    with pytest.raises(ValueError, match="discount_rate is -1"):
        channels(-1)
