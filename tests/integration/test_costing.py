"""Cost from ledger lines to customers and residual lines: published examples, every corner policy, and random companies.

Sources of the published figures stand beside them; where a source prints an error, the recomputed figure is used.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from costing_engine import Line, Used, costs_by_receiver, driver, pool, run_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def minutes(**by_customer: int) -> list[Used]:
    return [Used("minutes", customer, quantity) for customer, quantity in by_customer.items()]


MINUTES = driver("minutes", "handling_minutes")


def desk(tmp_path, cents: int, capacity: int, used: list[Used], **settings: object):
    return run_engine(
        tmp_path,
        pools=[pool("desk", driver_id="minutes", **settings)],
        drivers=[MINUTES],
        capacities=[{"pool_id": "desk", "capacity": capacity}],
        lines=[Line("desk", cents)],
        used=used,
    )


def test_kaplan_and_anderson_customer_service(tmp_path):
    """Harvard Business Review, November 2004: 0.80 a minute, 578,600 of 700,000 minutes used, 97,120 unused."""
    used = minutes(orders=49_000 * 8, inquiries=1_400 * 44, checks=2_500 * 50)
    assert costs_by_receiver(desk(tmp_path, 56_000_000, 700_000, used)) == {
        "orders": 31_360_000,
        "inquiries": 4_928_000,
        "checks": 10_000_000,
        "UNUSED:desk": 9_712_000,
    }


def test_kaplan_and_anderson_at_budget_rates(tmp_path):
    """580,000 spent: 462,880 charged at standard, 97,120 unused at standard, 20,000 spending variance."""
    connection = run_engine(
        tmp_path,
        pools=[pool("desk", driver_id="minutes", rate_basis="budget")],
        drivers=[MINUTES],
        capacities=[{"pool_id": "desk", "capacity": 700_000}],
        budgets=[{"pool_id": "desk", "fixed_amount": 560_000}],
        lines=[Line("desk", 58_000_000)],
        used=minutes(orders=392_000, inquiries=61_600, checks=125_000),
    )
    assert costs_by_receiver(connection) == {
        **{"orders": 31_360_000, "inquiries": 4_928_000, "checks": 10_000_000},
        **{"UNUSED:desk": 9_712_000, "VARIANCE:desk": 2_000_000},
    }


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ({"a": 6_000, "b": 1_400, "c": 1_350}, {"a": 360_000, "b": 84_000, "c": 81_000, "UNUSED:desk": 75_000}),
        ({"a": 6_375, "b": 1_225, "c": 1_500}, {"a": 382_500, "b": 73_500, "c": 90_000, "UNUSED:desk": 54_000}),
    ],
)
def test_garber_valves(tmp_path, hours, expected):
    """Garber Valves (Blocher, Cost Management): 600,000 over 10,000 hours; 0.75, 3.5 and 3 hours a unit in two periods."""
    used = [Used("minutes", customer, quantity) for customer, quantity in hours.items()]
    result = costs_by_receiver(desk(tmp_path, 60_000_000, 10_000, used))
    assert result == {receiver: amount * 100 for receiver, amount in expected.items()}


def test_jahnel_bank_time_equation_rates(tmp_path):
    """Garrison, Managerial Accounting 7A: 7 x 43,200 over 756,000 minutes is 0.40; 14, 22 and 34 minutes."""
    result = costs_by_receiver(desk(tmp_path, 30_240_000, 756_000, minutes(open=14, close=22, other=34)))
    assert result == {"open": 560, "close": 880, "other": 1360, "UNUSED:desk": 30_240_000 - 2800}


def test_dual_rate_with_practical_capacity(tmp_path):
    """Horngren 14e p. 546: fixed 3,000,000 by 18,750 budgeted hours (160), variable 200 by 12,000 hours used."""
    connection = run_engine(
        tmp_path,
        pools=[pool("computer", driver_id="hours", fixed_driver_id="reserved", behaviour="variable")],
        drivers=[driver("hours", "handling_minutes"), driver("reserved", "active_customers")],
        behaviours=[{"pool_id": "computer", "gl_account_from": "7000", "behaviour": "fixed"}],
        capacities=[{"pool_id": "computer", "capacity": 18_750}],
        lines=[Line("computer", 300_000_000, account="7000"), Line("computer", 12_000 * 200 * 100)],
        used=[
            *(Used("hours", "micro", 9_000), Used("hours", "peripheral", 3_000)),
            *(Used("reserved", "micro", 8_000), Used("reserved", "peripheral", 4_000)),
        ],
    )
    assert costs_by_receiver(connection) == {
        **{"micro": 308_000_000, "peripheral": 124_000_000, "UNUSED:computer": 108_000_000}
    }
    assert sum(costs_by_receiver(connection, "behaviour = 'fixed'").values()) == 300_000_000


def test_cents_that_other_systems_lose(tmp_path):
    """odoo issues 214736 and 94871, erpnext issue 35091, hrms issue 5138: parts that must add up to the whole."""
    cases = {
        "odoo_214736": (18225, {"a": 98, "b": 2}, {"a": 17861, "b": 364}),
        "odoo_94871": (78508, {"a": 3333, "b": 3333, "c": 3334}, {"a": 26167, "b": 26167, "c": 26174}),
        "erpnext_35091": (1, {"a": 95, "b": 5}, {"a": 1, "b": 0}),
        "hrms_5138": (1002, {"a": 33, "b": 33, "c": 34}, {"a": 331, "b": 330, "c": 341}),
    }
    connection = run_engine(
        tmp_path,
        pools=[pool(name, driver_id=name) for name in cases],
        drivers=[driver(name) for name in cases],
        lines=[Line(name, cents) for name, (cents, _, _) in cases.items()],
        used=[Used(name, *pair) for name, (_, weights, _) in cases.items() for pair in weights.items()],
    )
    for name, (_, _, expected) in cases.items():
        assert costs_by_receiver(connection, f"pool_id = '{name}'") == expected, name


def test_idle_cost_is_not_lost_where_nobody_uses_anything(tmp_path):
    """opencost issue 883: 27 of idle cost with zero weights must not disappear; issue 1124: 112 in every view."""
    connection = run_engine(
        tmp_path,
        pools=[pool("idle", driver_id="cpu"), pool("shared", driver_id="ram")],
        drivers=[driver("cpu"), driver("ram", "invoices")],
        lines=[Line("idle", 2700), Line("shared", 11200)],
        used=[Used("cpu", "a", 0), Used("ram", "a", 28), Used("ram", "b", 36), Used("ram", "c", 48)],
    )
    assert costs_by_receiver(connection, "pool_id = 'idle'") == {"UNALLOCATED:ZERO_DRIVER": 2700}
    assert costs_by_receiver(connection, "pool_id = 'shared'") == {"a": 2800, "b": 3600, "c": 4800}


SERVICE_UNITS = {
    "s1": {"s2": 1_000, "s3": 2_000, "p1": 4_000, "p2": 3_000},
    "s2": {"s1": 2_000, "s3": 4_000, "p1": 10_000, "p2": 4_000},
    "s3": {"s1": 4_500, "p1": 1_500, "p2": 9_000},
}


@pytest.mark.parametrize(
    ("method", "p1", "p2"),
    [("direct", 604_600, 711_200), ("step_down", 573_360, 742_440), ("reciprocal", 593_500, 722_300)],
)
def test_three_service_pools_and_two_that_produce(tmp_path, method, p1, p2):
    """expertsmind 30131914, recomputed: by equations x = 177,000 / 202,500 / 214,500 and P1 593,500, P2 722,300."""
    connection = run_engine(
        tmp_path,
        method=method,
        pools=[
            *(pool(f"s{n}", "service", driver_id=f"u{n}", step_order=n) for n in (1, 2, 3)),
            *(pool(f"p{n}", driver_id=f"units{n}") for n in (1, 2)),
        ],
        drivers=[
            *(driver(f"u{n}", "stated") for n in (1, 2, 3)),
            *(driver(f"units{n}") for n in (1, 2)),
        ],
        quantities=[
            {"driver_id": f"u{source[1]}", "receiver_kind": "pool", "receiver_id": receiver, "quantity": quantity}
            for source, units in SERVICE_UNITS.items()
            for receiver, quantity in units.items()
        ],
        lines=[
            *(Line("s1", 9_240_000), Line("s2", 18_480_000), Line("s3", 13_860_000)),
            *(Line("p1", 40_000_000), Line("p2", 50_000_000)),
        ],
        used=[Used("units1", "of p1", 7), Used("units2", "of p2", 3)],
    )
    assert costs_by_receiver(connection) == {"of p1": p1 * 100, "of p2": p2 * 100}
    by_method = connection.execute(
        "select method, amount_cents from costing.method_costs where customer_id = 'of p1' order by method"
    ).fetchall()
    assert by_method == [("direct", 60_460_000), ("reciprocal", 59_350_000), ("step_down", 57_336_000)]


def test_a_fixed_amount_of_an_account_is_fixed_and_the_rest_is_not(tmp_path):
    """Microsoft Dynamics 365, overhead calculation: of 10,000.00 electricity 1,000 is fixed and shared by who is there."""
    connection = run_engine(
        tmp_path,
        pools=[pool("power", driver_id="kwh", fixed_driver_id="present", behaviour="variable")],
        drivers=[driver("kwh", "units"), driver("present", "active_customers")],
        behaviours=[{"pool_id": "power", "gl_account_from": "6000", "behaviour": "variable", "fixed_amount": 1000}],
        lines=[Line("power", 40_000), Line("power", 160_000), Line("power", 800_000)],
        used=[
            *(Used("kwh", "hr", 1_000), Used("kwh", "finance", 6_000)),
            *(Used("present", "hr", 1), Used("present", "finance", 1)),
        ],
    )
    assert costs_by_receiver(connection, "behaviour = 'fixed'") == {"hr": 50_000, "finance": 50_000}
    assert costs_by_receiver(connection, "behaviour = 'variable'") == {"hr": 128_571, "finance": 771_429}


def test_accounts_of_a_pool_behave_as_the_rules_say(tmp_path):
    connection = run_engine(
        tmp_path,
        pools=[pool("field", driver_id="visits", behaviour="fixed")],
        drivers=[driver("visits", "visits")],
        capacities=[{"pool_id": "field", "capacity": 10}],
        behaviours=[
            {"pool_id": "field", "gl_account_from": "7000", "gl_account_to": "7099", "behaviour": "variable"},
            {"pool_id": "field", "gl_account_from": "7000", "gl_account_to": "7999", "behaviour": "step_fixed"},
        ],
        lines=[Line("field", 1_000), Line("field", 50, account="7005"), Line("field", 300, account="7105")],
        used=[Used("visits", "a", 4), Used("visits", "b", 1)],
    )
    found = connection.execute(
        "select behaviour, receiver_id, amount_cents from costing.allocated_costs order by all"
    ).fetchall()
    assert found == [
        *(("fixed", "UNUSED:field", 500), ("fixed", "a", 400), ("fixed", "b", 100)),
        *(("step_fixed", "UNUSED:field", 150), ("step_fixed", "a", 120), ("step_fixed", "b", 30)),
        *(("variable", "a", 40), ("variable", "b", 10)),
    ]


# Corner policies of drivers.csv and pools.csv.


def test_zero_quantity_goes_where_the_driver_says(tmp_path):
    policies = {
        "nowhere": {"zero_policy": "unallocated"},
        "sustain": {"zero_policy": "sustaining"},
        "before": {"zero_policy": "previous_month"},
        "other": {"zero_policy": "fallback_driver", "fallback_driver_id": "spare"},
    }
    connection = run_engine(
        tmp_path,
        pools=[pool(f"of_{name}", driver_id=name) for name in policies],
        drivers=[*(driver(name, **policy) for name, policy in policies.items()), driver("spare")],
        lines=[Line(f"of_{name}", 100, month="2026-03") for name in policies],
        used=[
            *(
                Used("before", "old", 1, "2025-12"),
                Used("before", "a", 3, "2026-01"),
                Used("before", "b", 1, "2026-01"),
            ),
            *(Used("before", "a", 0, "2026-03"), Used("before", "late", 5, "2026-04")),
            *(Used("spare", "c", 1, "2026-03"), Used("nowhere", "a", 9, "2026-02")),
        ],
    )
    assert costs_by_receiver(connection) == {
        **{"UNALLOCATED:ZERO_DRIVER": 100, "SUSTAINING:facility": 100, "a": 75, "b": 25, "c": 100}
    }
    assert connection.execute(
        "select distinct month::varchar, quantity_month::varchar from marts.customer_cost_lines where pool_id = 'of_before'"
    ).fetchall() == [("2026-03-01", "2026-01-01")]


def test_returns_count_as_the_driver_says(tmp_path):
    used = [Used("units", "a", 6), Used("units", "b", 2), Used("units", "b", -4)]
    for policy, expected in (("net_floor_zero", {"a": 800}), ("absolute", {"a": 600, "b": 200})):
        connection = run_engine(
            tmp_path,
            pools=[pool("returns", driver_id="units")],
            drivers=[driver("units", "units", negative_policy=policy)],
            lines=[Line("returns", 800)],
            used=used,
        )
        assert costs_by_receiver(connection) == expected, policy


def test_use_beyond_capacity(tmp_path):
    used = minutes(a=150)
    assert costs_by_receiver(desk(tmp_path, 10_000, 100, used)) == {"a": 10_000}
    for overload, expected in (
        ("used", {"a": 9_000, "VARIANCE:desk": 1_000}),
        ("standard", {"a": 13_500, "VARIANCE:desk": -3_500}),
    ):
        connection = run_engine(
            tmp_path,
            pools=[pool("desk", driver_id="minutes", rate_basis="budget", overload=overload)],
            drivers=[MINUTES],
            capacities=[{"pool_id": "desk", "capacity": 100}],
            budgets=[{"pool_id": "desk", "fixed_amount": 90}],
            lines=[Line("desk", 10_000)],
            used=used,
        )
        assert costs_by_receiver(connection) == expected, overload
        assert connection.execute("select is_overloaded, rate from marts.pool_results").fetchone() == (True, 100 / 150)


def test_an_actual_rate_charges_all_to_those_who_used(tmp_path):
    assert costs_by_receiver(desk(tmp_path, 10_000, 100, minutes(a=10), rate_basis="actual")) == {"a": 10_000}


def test_a_budget_charges_even_where_the_ledger_has_nothing(tmp_path):
    connection = run_engine(
        tmp_path,
        pools=[
            pool("desk", driver_id="minutes", rate_basis="budget", behaviour="variable"),
            pool("x", driver_id="minutes"),
        ],
        drivers=[MINUTES],
        budgets=[{"pool_id": "desk", "variable_amount": 100, "quantity": 50}],
        lines=[Line("x", 1)],
        used=minutes(a=30, b=10),
    )
    assert costs_by_receiver(connection, "pool_id = 'desk'") == {"a": 6_000, "b": 2_000, "VARIANCE:desk": -8_000}


def test_a_budget_is_for_all_of_a_pool(tmp_path):
    """What a service pool charges a pool with a budget rate is variance: the budget has charged for it already."""
    connection = run_engine(
        tmp_path,
        pools=[
            pool("it", "service", driver_id="seats", behaviour="fixed"),
            pool("desk", driver_id="minutes", rate_basis="budget"),
        ],
        drivers=[driver("seats", "stated"), MINUTES],
        quantities=[{"driver_id": "seats", "receiver_kind": "pool", "receiver_id": "desk", "quantity": 1}],
        budgets=[{"pool_id": "desk", "fixed_amount": 50}],
        lines=[Line("desk", 4_000), Line("it", 1_200)],
        used=minutes(a=30, b=10),
    )
    assert costs_by_receiver(connection) == {"a": 3_750, "b": 1_250, "VARIANCE:desk": 200}


def test_cost_that_cannot_be_placed_is_named(tmp_path):
    connection = run_engine(
        tmp_path,
        pools=[
            *(pool("freight", "direct"), pool("board", "sustaining"), pool("brand", "sustaining", driver_id="minutes")),
            *(pool("desk", driver_id="minutes"), pool("late", driver_id="minutes", valid_from="2026-02-01")),
        ],
        drivers=[MINUTES],
        lines=[
            *(Line("freight", 500, customer="a"), Line("freight", 300), Line("board", -900), Line("brand", 40)),
            *(Line("desk", 100), Line(None, 7), Line("late", 5)),
        ],
        used=minutes(a=1, UNMATCHED=3),
    )
    assert costs_by_receiver(connection) == {
        **{"a": 500 + 10 + 25, "UNALLOCATED:UNMATCHED_CUSTOMER": 300 + 30 + 75, "SUSTAINING:facility": -900},
        "UNALLOCATED:NO_RULE": 12,
    }
    assert costs_by_receiver(connection, "receiver_kind = 'customer' and stage = 'sustaining'") == {"a": 10}


def test_service_capacity_idles_and_loops_are_named(tmp_path):
    connection = run_engine(
        tmp_path,
        pools=[
            *(
                pool("it", "service", driver_id="seats"),
                pool("p", "service", driver_id="sq"),
                pool("q", "service", driver_id="kw"),
            ),
            pool("desk", driver_id="minutes"),
        ],
        drivers=[driver("seats", "stated"), driver("sq", "stated"), driver("kw", "stated"), MINUTES],
        capacities=[{"pool_id": "it", "capacity": 10}],
        quantities=[
            {"driver_id": name, "receiver_kind": "pool", "receiver_id": receiver, "quantity": quantity}
            for name, receiver, quantity in (("seats", "desk", 6), ("seats", "it", 50), ("sq", "q", 1), ("kw", "p", 2))
        ],
        lines=[Line("it", 1000), Line("p", 70), Line("q", 30), Line("desk", 1)],
        used=minutes(a=5),
    )
    assert costs_by_receiver(connection) == {"a": 601, "UNUSED:it": 400, "UNALLOCATED:CLOSED_LOOP": 100}
    origins = connection.execute(
        "select origin_pool_id, amount_cents from service_pools.pool_origins where pool_id = 'desk' order by 1"
    ).fetchall()
    assert origins == [("desk", 1), ("it", 600)]


def test_a_reversal_cancels_customer_by_customer(tmp_path):
    """January's voucher is taken back in March: together both months are as if it had never been booked."""
    pools = [
        *(
            pool("it", "service", driver_id="seats"),
            pool("desk", driver_id="minutes"),
            pool("dock", driver_id="minutes"),
        ),
    ]
    common = {
        "pools": pools,
        "drivers": [driver("seats", "stated"), MINUTES],
        "capacities": [{"pool_id": "desk", "capacity": 1000}],
        "quantities": [
            {"driver_id": "seats", "receiver_kind": "pool", "receiver_id": receiver, "quantity": quantity}
            for receiver, quantity in (("desk", 3), ("dock", 4))
        ],
        "used": [
            *minutes(a=101, b=203, c=307),
            *(Used("minutes", "a", 900, "2026-03"), Used("minutes", "z", 5, "2026-03")),
        ],
    }
    kept = [Line("it", 10_001), Line("desk", 777), Line("dock", 555), Line("desk", 33, month="2026-03")]
    wrong = [Line("it", 12_345, journal="WRONG"), Line("desk", 4_321, journal="WRONG")]
    undo = [
        Line("it", -12_345, month="2026-03", journal="UNDO", reverses="WRONG"),
        Line("desk", -4_321, month="2026-03", journal="UNDO", reverses="WRONG"),
    ]
    without = costs_by_receiver(run_engine(tmp_path, lines=kept, **common))
    connection = run_engine(tmp_path, lines=[*kept, *wrong, *undo], **common)
    assert costs_by_receiver(connection) == without
    assert costs_by_receiver(connection, "month = '2026-03-01' and driver_month = '2026-01-01'").keys() == {
        *("a", "b", "c", "UNUSED:desk")
    }
    march = connection.execute(
        "select sum(amount_cents) from costing.allocated_costs where month = '2026-03-01'"
    ).fetchone()
    assert march == (33 - 12_345 - 4_321,)


# Random companies.

NAMES = st.sampled_from(["a", "b", "c", "d", "UNMATCHED"])
CENTS = st.one_of(st.integers(-200, 200), st.integers(-(10**12), 10**12))


@st.composite
def companies(draw):
    """Pools of all stages that serve each other at random, idle or overloaded, over two months with reversals."""
    service = [f"s{n}" for n in range(draw(st.integers(0, 3)))]
    activity = [f"p{n}" for n in range(draw(st.integers(1, 3)))]
    receivers = [*service, *activity, "board"]
    policies = st.sampled_from(["unallocated", "previous_month", "sustaining"])
    rules = {
        "pools": [
            *(
                pool(name, "service", driver_id=f"d{name}", behaviour=draw(st.sampled_from(["variable", "fixed"])))
                for name in service
            ),
            *(
                pool(
                    name,
                    driver_id=f"d{name}",
                    behaviour=draw(st.sampled_from(["variable", "step_fixed", "fixed"])),
                    rate_basis=draw(st.sampled_from(["practical", "actual"])),
                )
                for name in activity
            ),
            pool("board", "sustaining", driver_id=draw(st.sampled_from([None, f"d{activity[0]}"]))),
        ],
        "drivers": [
            *(driver(f"d{name}", "stated") for name in service),
            *(driver(f"d{name}", zero_policy=draw(policies)) for name in activity),
        ],
        "quantities": [
            {
                **{"driver_id": f"d{name}", "receiver_kind": "pool", "receiver_id": receiver},
                "quantity": draw(st.sampled_from([0, 1, 2, 3, 7, 10**6])),
            }
            for name in service
            for receiver in receivers
        ],
        "capacities": [
            {"pool_id": name, "capacity": draw(st.integers(1, 50))}
            for name in [*service, *activity]
            if draw(st.booleans())
        ],
        "behaviours": [
            {"pool_id": name, "gl_account_from": "7", "behaviour": "variable", "fixed_amount": draw(st.integers(1, 5))}
            for name in activity
            if draw(st.booleans())
        ],
    }
    rules = {name: rows for name, rows in rules.items() if rows}
    lines = []
    for number in range(draw(st.integers(1, 8))):
        name, cents = draw(st.sampled_from([*receivers, None])), draw(CENTS)
        account = draw(st.sampled_from(["6", "7"]))
        lines.append(Line(name, cents, "2026-01", account, journal=f"V{number}"))
        if draw(st.booleans()):
            month = draw(st.sampled_from(["2026-01", "2026-02", "2026-03"]))
            lines.append(Line(name, -cents, month, account, journal=f"U{number}", reverses=f"V{number}"))
    used = [
        Used(
            f"d{draw(st.sampled_from(activity))}",
            draw(NAMES),
            draw(st.integers(-3, 40)),
            draw(st.sampled_from(["2025-12", "2026-01"])),
        )
        for _ in range(draw(st.integers(0, 10)))
    ]
    return rules, lines, used


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(company=companies(), method=st.sampled_from(["direct", "step_down", "reciprocal"]), data=st.data())
def test_no_cent_is_lost_or_made_in_any_company(tmp_path, company, method, data):
    """Conservation at every node is checked by the engine's own tests (run_engine); here by month, sign and order."""
    rules, lines, used = company
    connection = run_engine(tmp_path, lines=lines, used=used, method=method, **rules)
    booked: dict[str, int] = {}
    for line in lines:
        booked[line.month] = booked.get(line.month, 0) + line.cents
    posted = dict(
        connection.execute(
            "select strftime(month, '%Y-%m'), sum(amount_cents)::bigint from costing.allocated_costs group by 1"
        ).fetchall()
    )
    assert {month: cents for month, cents in posted.items() if cents} == {
        m: cents for m, cents in booked.items() if cents
    }
    rows = connection.execute("from costing.allocated_costs order by all").fetchall()
    shuffled = {name: data.draw(st.permutations(list(rows))) for name, rows in rules.items() if name != "behaviours"}
    again = run_engine(tmp_path, lines=lines, used=used, method=method, **{**rules, **shuffled})
    assert again.execute("from costing.allocated_costs order by all").fetchall() == rows
    if "behaviours" not in rules:
        turned = run_engine(
            tmp_path, lines=[line._replace(cents=-line.cents) for line in lines], used=used, method=method, **rules
        )
        assert costs_by_receiver(turned) == {name: -cents for name, cents in costs_by_receiver(connection).items()}
    exact = connection.execute(
        "select sum(abs(amount_cents)) from costing.allocated_costs where receiver_kind = 'customer' "
        "and driver_quantity is null and stage = 'activity'"
    ).fetchone()
    assert exact == (None,), "every cent of an activity pool on a customer has a quantity behind it"


def test_every_line_is_within_a_cent_of_its_exact_share(tmp_path):
    used = minutes(a=1, b=2, c=4, d=7)
    connection = desk(tmp_path, 1_000_003, 15, used)
    for receiver, quantity, total, cents, amount in connection.execute(
        "select receiver_id, driver_quantity, total_quantity, pool_amount_cents, amount_cents from costing.allocated_costs"
    ).fetchall():
        assert abs(Fraction(cents * quantity, total) - amount) < 1, receiver
