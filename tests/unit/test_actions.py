"""Customer actions: every action is reachable, ranked by money, with its reason, effect, owner and date."""

import datetime

import numpy as np
import pandas as pd
import pytest
from command import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import actions, playbook
from assets.analytics.playbook import MEASURES, Playbook

AS_OF = datetime.date(2026, 6, 30)
BOOK = playbook.read_playbook()

EMPTY = {
    "customers": ["owner_ref", "segment", "industry", "country", "region", "is_in_crm"],
    "profits": ["month", "net_revenue", "operating_profit"],
    "levers": [
        *("avoidable_profit_12m", "easiest_lever", "price_feasible", "price_change_percent", "price_effect"),
        *("service_feasible", "service_change", "service_effect"),
        *("order_size_feasible", "minimum_order_value", "order_size_effect"),
    ],
    "credit": [
        *("credit_suggestion", "credit_effect", "credit_explanation", "exposure", "overdue", "share_overdue_over_90"),
    ],
    "churn": ["churn_probability", "expected_profit_lost", "churn_reason"],
    "values": ["clv", "value_tier"],
    "lifecycles": [
        *("stage", "previous_stage", "months_in_stage"),
        *("probability_of_purchase", "own_reference", "ratio_to_own_reference"),
    ],
    "matrix": [
        *("net_revenue_12m", "profit_12m", "margin_12m", "profit_class", "relationship_class"),
        *("relationship_strength", "relationship_coverage", "quadrant"),
    ],
    "potentials": ["weighted_pipeline", "gap_to_peers", "potential_value"],
    "rfm": ["days_since_last_purchase", "orders_12m", "rfm_tier", "customer_tier"],
}
"""Columns of each input beside customer_id."""


def inputs(**tables):
    """Tables as mappings customer_id -> values by column; `customers` has all of them with an owner of their own."""
    named = {customer for table in tables.values() for customer in table}
    tables = {"customers": {name: {"owner_ref": f"owner of {name}", "is_in_crm": True} for name in named}} | tables
    frames = {}
    for name, columns in EMPTY.items():
        rows = [{"customer_id": customer, **values} for customer, values in tables.get(name, {}).items()]
        frames[name] = pd.DataFrame(rows, columns=["customer_id", *columns])
    return actions.Inputs(**frames)


def high(**values):
    return {"profit_12m": 1000.0, "net_revenue_12m": 10_000.0, "margin_12m": 0.1, "profit_class": "high", **values}


def low(**values):
    return {"profit_12m": -800.0, "net_revenue_12m": 10_000.0, "margin_12m": -0.08, "profit_class": "low", **values}


EVERY = {
    "matrix": {
        "repair": high(quadrant="repair", relationship_class="weak", relationship_strength=31.0),
        "protect": high(quadrant="protect"),
        "reprice": low(quadrant="reprice"),
        "minimum_order": low(quadrant="reprice"),
        "cheaper_service": low(quadrant="measure_low"),
        "prepay and exit": low(quadrant="fix_or_exit"),
        "grow": high(quadrant="protect"),
    },
    "churn": {
        "repair": {"churn_probability": 0.5},
        "protect": {"churn_probability": 0.6},
        "grow": {"churn_probability": 0.01},
    },
    "lifecycles": {
        "repair": {"stage": "active"},
        "protect": {"stage": "at_risk", "ratio_to_own_reference": 0.4},
        "win_back": {"stage": "lapsed", "months_in_stage": 3},
        "nurture": {"stage": "new"},
        "grow": {"stage": "active"},
    },
    "levers": {
        "reprice": {
            "price_feasible": True,
            "easiest_lever": "price",
            "price_effect": 800.0,
            "price_change_percent": 4.0,
        },
        "minimum_order": {"order_size_feasible": True, "order_size_effect": 800.0, "minimum_order_value": 55.5},
        "cheaper_service": {
            **{"service_feasible": True, "easiest_lever": "cost_to_serve", "service_effect": 800.0},
            "service_change": -800.0,
        },
        "prepay and exit": {"avoidable_profit_12m": -300.0},
    },
    "credit": {
        "prepay": {"credit_suggestion": "prepay", "credit_effect": 77.7, "credit_explanation": "CR-1: too old."},
    },
    "values": {"nurture": {"clv": 360.0}},
    "potentials": {"grow": {"gap_to_peers": 5000.0}},
}


def with_profits(found, **customers):
    rows = [(name, datetime.date(2025, 9, 1), 5000.0, profit) for name, profit in customers.items()]
    return found._replace(
        profits=pd.DataFrame(rows, columns=["customer_id", "month", "net_revenue", "operating_profit"])
    )


def advised(found, book=BOOK, **others):
    measured = actions.measures(found, AS_OF, horizon_months=36)
    return actions.advise(measured, AS_OF, book, **others)


def book(*rules, **others):
    """A playbook of rules that say only what matters."""
    common = {"title": "T", "title_zh": "标题", "reason": "R", "reason_zh": "理由", "due_in_days": 10}
    return Playbook.model_validate({"version": "1", "rules": [common | rule for rule in rules], **others})


def test_every_action_is_reachable():
    result = advised(with_profits(inputs(**EVERY, rfm={}), win_back=900.0))
    found = dict(zip(result["customer_id"], result["action"], strict=True))
    assert found == {name: name.removesuffix(" and exit") for name in found}
    assert set(found.values()) == set(playbook.ACTIONS)
    effects = dict(zip(result["customer_id"], result["expected_effect"], strict=True))
    assert effects == {
        "repair": 150.0,  # 1000 x .5 x .3
        "protect": 150.0,  # 1000 x .6 x .25
        "reprice": 400.0,
        "minimum_order": 400.0,
        "cheaper_service": 400.0,
        "prepay": 77.7,
        "prepay and exit": 150.0,
        "win_back": 90.0,
        "nurture": 12.0,  # 360 over three years, a tenth of it
        "grow": 100.0,  # 5000 x .1 x .2
    }


def test_who_has_lapsed_is_won_back_and_not_visited_for_repair():
    lapsed = {
        "matrix": {"A": high(quadrant="repair", relationship_class="weak", relationship_strength=31.0)},
        "churn": {"A": {"churn_probability": 0.9}},
        "lifecycles": {"A": {"stage": "lapsed", "months_in_stage": 1}},
    }
    result = advised(with_profits(inputs(**(EVERY | lapsed)), A=900.0))
    assert list(result.loc[result["customer_id"] == "A", "action"]) == ["win_back"]


def test_the_demo_company_advises_with_its_own_rules():
    demo = playbook.read_playbook(PROJECT / "companies" / "demo")
    result = advised(with_profits(inputs(**EVERY), win_back=9000.0), demo)
    assert {"repair", "reprice", "cheaper_service", "win_back"} <= set(result["action"])
    assert result["rule_id"].str.startswith("HP-").all()


def test_an_advice_says_why_what_who_and_when():
    row = advised(inputs(**EVERY), currency="EUR").set_index("customer_id").loc["repair"]
    assert row["reason"] == (
        "Earned EUR 1,000.00 in 12 months, and the relationship is weak (31.0 of 100). With a churn probability of 50.0 %, "
        "EUR 500.00 of it is at stake."
    )
    assert "近12个月利润EUR 1,000.00" in row["reason_zh"]
    assert row["effect_basis"].startswith("30 % of EUR 500.00 (profit at stake")
    assert (row["owner_ref"], row["owner_role"]) == ("owner of repair", "account_manager")
    assert row["due_date"] == pd.Timestamp(2026, 7, 14)
    assert row["rule_id"] == "PB-2"
    prepay = advised(inputs(**EVERY)).set_index("customer_id").loc["prepay"]
    assert (prepay["owner_ref"], prepay["owner_role"]) == (None, "credit_control")
    assert prepay["reason"] == "CR-1: too old."


PROFIT = {"measure": "profit_12m"}
ALL = [{"measure": "is_in_crm", "is": "yes"}]


def test_ranked_by_money_within_the_customer_and_over_the_company():
    rules = book(
        {"rule": "a", "action": "grow", "when": ALL, "effect": {**PROFIT, "times": 0.1}},
        {"rule": "b", "action": "protect", "when": ALL, "effect": {**PROFIT, "times": 0.5}},
        {"rule": "c", "action": "nurture", "when": ALL, "effect": {**PROFIT, "times": 0.5}},
    )
    result = advised(inputs(matrix={"B": high(), "A": high(), "C": high(profit_12m=9000.0)}), rules)
    assert list(zip(result["customer_id"], result["action"], result["action_rank"], strict=True)) == [
        (customer, action, rank)
        for customer in "ABC"
        for rank, action in enumerate(("protect", "nurture", "grow"), start=1)
    ]
    assert list(result.sort_values("priority_rank")["customer_id"]) == list("CCCABABAB")
    assert sorted(result["priority_rank"]) == list(range(1, 10))


def test_the_first_rule_of_an_action_wins_and_not_with_looks_back():
    rules = book(
        {"rule": "a", "action": "prepay", "when": [{"measure": "stage", "is": "lapsed"}], "effect": PROFIT},
        {"rule": "b", "action": "prepay", "when": ALL, "effect": {**PROFIT, "times": 0.5}},
        {"rule": "c", "action": "grow", "when": ALL, "effect": PROFIT, "not_with": ["repair"]},
        {"rule": "d", "action": "nurture", "when": ALL, "effect": PROFIT, "not_with": ["prepay"]},
    )
    result = advised(inputs(matrix={"A": high(), "B": high()}, lifecycles={"A": {"stage": "lapsed"}}), rules)
    assert list(zip(result["customer_id"], result["rule_id"], strict=True)) == [
        ("A", "a"),
        ("A", "c"),
        ("B", "c"),
        ("B", "b"),
    ]


def test_no_advice_without_an_effect_or_with_one_that_costs():
    rules = book({"rule": "a", "action": "grow", "when": ALL, "effect": PROFIT})
    result = advised(inputs(matrix={"loses": low(), "nothing": high(profit_12m=0.0)}, churn={"unknown": {}}), rules)
    assert dict(zip(result["customer_id"], result["expected_effect"], strict=True)) == {"nothing": 0.0}
    assert str(result["expected_effect"][0]) == "0.0"


def test_the_largest_effects_are_kept_per_owner():
    matrix = {f"C{n}": high(profit_12m=100.0 + n) for n in range(6)}
    owners = {f"C{n}": {"owner_ref": "anna" if n < 4 else None, "is_in_crm": True} for n in range(6)}
    rule = {"rule": "a", "action": "grow", "when": ALL, "effect": PROFIT, "max_per_owner": 1}
    found = inputs(matrix=matrix, customers=owners)
    assert list(advised(found, book(rule))["customer_id"]) == ["C3", "C5"], "those without an owner are one heap"
    desk = book({**rule, "owner": "pricing", "max_per_owner": 2}, roles=["pricing"])
    assert list(advised(found, desk)["customer_id"]) == ["C4", "C5"]


def test_measures_made_here_by_hand():
    found = inputs(
        matrix={"A": high(), "B": low()},
        churn={"A": {"churn_probability": 0.25}, "B": {"churn_probability": 0.25}},
        levers={"A": {"avoidable_profit_12m": 40.0}, "B": {"avoidable_profit_12m": -40.0}},
        values={"A": {"clv": 90.0, "value_tier": "high"}},
        potentials={"A": {"gap_to_peers": 200.0, "weighted_pipeline": 50.0}, "B": {"gap_to_peers": 200.0}},
        rfm={"A": {"orders_12m": 8}, "B": {"orders_12m": 0}},
    )
    months = [
        datetime.date(2024, 6, 1),
        datetime.date(2024, 7, 1),
        datetime.date(2025, 6, 1),
        datetime.date(2026, 6, 1),
    ]
    rows = [("A", month, 100.0 if n < 3 else 0.0, 10.0 * 3**n) for n, month in enumerate(months)]
    rows.append(("A", datetime.date(2026, 7, 1), 100.0, 1e6))
    found = found._replace(profits=pd.DataFrame(rows, columns=["customer_id", *EMPTY["profits"]]))
    measured = actions.measures(found, AS_OF, horizon_months=36)
    assert list(measured.columns) == ["owner_ref", *MEASURES]
    a, b = measured.loc["A"], measured.loc["B"]
    assert (a["profit_at_stake_12m"], b["profit_at_stake_12m"]) == (250.0, 0.0)
    assert (a["loss_12m"], b["loss_12m"]) == (0.0, 800.0)
    assert (a["avoidable_loss_12m"], b["avoidable_loss_12m"]) == (0.0, 40.0)
    assert a["clv_per_year"] == 30.0
    assert (a["potential_profit"], a["pipeline_profit"], b["potential_profit"]) == (20.0, 5.0, 0.0)
    assert a["average_order_value"] == 1250.0
    assert np.isnan(b["average_order_value"])
    assert a["profit_when_active"] == 120.0, "July 2024 to June 2025: the last month of revenue"
    assert np.isnan(b["profit_when_active"])


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), chosen=st.sets(st.sampled_from(sorted(EMPTY)), max_size=9))
def test_neither_row_order_nor_a_missing_table_breaks_a_list(seed, chosen):
    tables = {name: table for name, table in EVERY.items() if name not in chosen}
    found = with_profits(inputs(**tables), win_back=900.0)
    shuffled = actions.Inputs(*(table.sample(frac=1, random_state=seed) for table in found))
    expected = advised(found)
    pd.testing.assert_frame_equal(advised(shuffled), expected)
    assert not expected[["reason", "expected_effect", "due_date", "action_rank"]].isna().any(axis=None)
    assert not expected.duplicated(["customer_id", "action"]).any()


@pytest.mark.parametrize("kind", ["object", "boolean"])
def test_a_flag_nobody_knows_is_neither_yes_nor_no(kind):
    found = inputs(
        levers={"A": {"price_feasible": True}, "B": {"price_feasible": False}, "C": {"price_feasible": None}}
    )
    found = found._replace(levers=found.levers.astype({"price_feasible": kind}))
    measured = actions.measures(found, AS_OF, horizon_months=36)
    assert list(measured["price_feasible"].iloc[:2]) == ["yes", "no"]
    assert pd.isna(measured["price_feasible"].iloc[2])


def test_an_empty_company_has_no_advice_and_all_columns():
    result = advised(inputs())
    assert result.empty
    assert list(result.columns) == list(actions.TYPES)


@pytest.mark.parametrize("value", [np.inf, -np.inf, "x"])
def test_what_is_no_figure_is_missing(value):
    found = inputs(matrix={"A": high(profit_12m=value)}, churn={"A": {"churn_probability": 0.5}})
    measured = actions.measures(found, AS_OF, horizon_months=36)
    assert np.isnan(measured.loc["A", "profit_at_stake_12m"])
