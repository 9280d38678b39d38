"""The service pools: published examples to the cent, and what must hold on any graph of pools.

Exact charges are compared with a second implementation, which knows nothing of components, loops and cents: it solves
the equations of all pools at once in fractions.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets.costing import service_pools
from assets.costing.service_pools import CLOSED_LOOP, METHODS, ZERO_DRIVER, Flow, Solution, solve
from assets.errors import ConfigurationError

Costs = dict[str, int]
Uses = dict[str, dict[str, int]]


def cents(**amounts: float) -> Costs:
    return {pool: round(amount * 100) for pool, amount in amounts.items()}


def received(solution: Solution) -> Costs:
    totals: Costs = defaultdict(int)
    for flow in solution.flows:
        totals[flow.receiver] += flow.cents
    return dict(totals)


def charged(solution: Solution, pool: str) -> Costs:
    return {flow.receiver: flow.cents for flow in solution.flows if flow.from_pool == pool}


def final(solution: Solution, uses: Uses) -> Costs:
    """Cents of every receiver that is no service pool, what was booked on it included."""
    return {r: sum(parts.values()) for r, parts in solution.origins.items() if r not in uses}


# --- Published examples ----------------------------------------------------------------------------------------------

THREE_SERVICES = (
    cents(S1=92_400, S2=184_800, S3=138_600, P1=400_000, P2=500_000),
    {
        "S1": {"S2": 1_000, "S3": 2_000, "P1": 4_000, "P2": 3_000},
        "S2": {"S1": 2_000, "S3": 4_000, "P1": 10_000, "P2": 4_000},
        "S3": {"S1": 4_500, "P1": 1_500, "P2": 9_000},
    },
)
"""Three service and two production departments (expertsmind.com, question 30131914; it prints 92,000 for 92,400)."""


@pytest.mark.parametrize(
    ("method", "production"),
    [
        ("direct", cents(P1=604_600, P2=711_200)),
        ("step_down", cents(P1=573_360, P2=742_440)),
        ("reciprocal", cents(P1=593_500, P2=722_300)),
    ],
)
def test_three_services_by_each_method(method, production):
    costs, uses = THREE_SERVICES
    assert final(solve(costs, uses, method, order=["S1", "S2", "S3"]), uses) == production


def test_three_services_reciprocal_gross_cost_and_origins():
    costs, uses = THREE_SERVICES
    solution = solve(costs, uses, "reciprocal")
    assert {pool: solution.gross[pool] for pool in uses} == cents(S1=177_000, S2=202_500, S3=214_500)
    assert Flow("S1", "S2", 1_000, 10_000, 17_700_00) in solution.flows
    assert solution.closed_loops == ()
    # What is in the production departments' cost by where it was booked: absorption of each service, worked out by hand
    # from the equations with one service's cost at a time.
    assert solution.origins == {
        "P1": cents(P1=400_000, S1=47_200, S2=111_200, S3=35_100),
        "P2": cents(P2=500_000, S1=45_200, S2=73_600, S3=103_500),
    }


def test_electricity_through_four_cost_centres():
    """Electricity of 10,000.00, fixed and variable apart (docs of Dynamics 365 Finance, "Overhead calculation").

    Steps 2 and 4 of the four are flows of a network without cycles, and all their cents are asserted here. Step 1, the
    threshold of 1,000.00 that parts fixed from variable cost, is given. So is step 3, which is no division of cost: a
    predetermined overhead rate of 10.00 an hour that takes 30.00 and 10.00 off HR's variable cost and puts them on two
    projects. The published cents hold only if cents are rounded at every pool: unrounded, product 1 is at 776.37.
    """
    services = {
        "HR": {"Finance": 35, "Assembly": 55, "Packaging": 10},
        "Finance": {"Assembly": 65, "Packaging": 35},
        "Assembly": {"Product 1": 60, "Product 2": 20},
        "Packaging": {"Product 1": 80, "Product 2": 15},
    }
    fixed_uses = {"CC099": {"HR": 1, "Finance": 1, "Assembly": 0}, **services}
    variable_uses = {"CC099": {"HR": 1_000, "Finance": 6_000, "Assembly": 0}, **services}

    fixed = solve({"CC099": 1_000_00}, fixed_uses, "reciprocal")
    variable = solve(
        {"CC099": 9_000_00, "HR": -40_00, "Project 1": 30_00, "Project 2": 10_00}, variable_uses, "reciprocal"
    )

    assert charged(fixed, "CC099") == cents(HR=500, Finance=500)
    assert charged(fixed, "HR") == cents(Finance=175, Assembly=275, Packaging=50)
    assert charged(fixed, "Finance") == cents(Assembly=438.75, Packaging=236.25)
    assert charged(fixed, "Assembly") == {"Product 1": 535_31, "Product 2": 178_44}
    assert charged(fixed, "Packaging") == {"Product 1": 241_05, "Product 2": 45_20}
    assert final(fixed, fixed_uses) == {"Product 1": 776_36, "Product 2": 223_64}

    assert charged(variable, "CC099") == cents(HR=1_285.71, Finance=7_714.29)
    assert variable.gross["HR"] == 1_245_71
    assert charged(variable, "HR") == cents(Finance=436.00, Assembly=685.14, Packaging=124.57)
    assert charged(variable, "Finance") == cents(Assembly=5_297.69, Packaging=2_852.60)
    assert charged(variable, "Assembly") == {"Product 1": 4_487_12, "Product 2": 1_495_71}
    assert charged(variable, "Packaging") == {"Product 1": 2_507_09, "Product 2": 470_08}
    assert final(variable, variable_uses) == {
        "Product 1": 6_994_21,
        "Product 2": 1_965_79,
        "Project 1": 30_00,
        "Project 2": 10_00,
    }
    exact = exact_charges({"CC099": 1_000_00}, fixed_uses)
    assert round(exact["Product 1"]) == 776_37, "the published cents would not pin the rounding stage"


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        pytest.param(182_25, (98, 2), (178_61, 3_64), id="odoo#214736: the parts were more than the whole"),
        pytest.param(
            785_08, (33_33, 33_33, 33_34), (261_67, 261_67, 261_74), id="odoo#94871: shown and stored differed"
        ),
        pytest.param(182_25, (2, 98), (3_64, 178_61), id="the same with the receivers' ids the other way round"),
        pytest.param(1, (95, 5), (1, 0), id="erpnext#35091: a cent was lost"),
        pytest.param(1_002, (33, 33, 34), (331, 330, 341), id="hrms#5138: thousandths, entry out of balance"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("method", METHODS)
def test_cents_that_other_systems_lost(amount, weights, parts, sign, method):
    receivers = [f"R{place}" for place in range(len(weights))]
    solution = solve({"S": sign * amount}, {"S": dict(zip(receivers, weights, strict=True))}, method)
    assert [received(solution)[receiver] for receiver in receivers] == [sign * part for part in parts]


def test_shared_idle_cost_keeps_the_total():
    """opencost#1124, kubecost#2359: 28, 36 and 18 with 20 and 10 idle are 112 however they are shared."""
    costs = cents(team_a=28, team_b=36, team_c=18, idle_1=20, idle_2=10)
    uses = {"idle_1": {"team_a": 28, "team_b": 36}, "idle_2": {"team_a": 28, "team_b": 36, "team_c": 18}}
    for method in METHODS:
        assert sum(final(solve(costs, uses, method), uses).values()) == 112_00


def test_idle_cost_without_weights_is_a_line():
    """opencost#883: 27 of idle cost vanished because all weights were zero."""
    uses = {"idle": {"team_a": 0, "team_b": 0}}
    for method in METHODS:
        solution = solve({"idle": 27_00}, uses, method)
        assert solution.flows == (Flow("idle", ZERO_DRIVER, None, None, 27_00),)
        assert solution.origins == {ZERO_DRIVER: {"idle": 27_00}}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("cost", "to_s1", "back"), [(2, 2, 1), (6, 4, 3)])
def test_within_a_cycle_half_a_cent_goes_to_the_even_one(cost, to_s1, back, sign):
    """S0 has 3/2 of its own cost and hands half of it on: 1.5 and 4.5 cents, of which S1 returns two thirds."""
    solution = solve({"S0": sign * cost}, {"S0": {"S1": 1, "A": 1}, "S1": {"S0": 2, "B": 1}}, "reciprocal")
    assert charged(solution, "S0")["S1"] == sign * to_s1
    assert charged(solution, "S1")["S0"] == sign * back
    assert sum(received(solution)[receiver] for receiver in "AB") == sign * cost


def test_a_pool_without_exit_hands_what_is_left_towards_it():
    """S0, S1 and S3 serve only the cycle: one receiver of each takes the rounding, the one nearest to the exit."""
    uses = {"S0": {"S1": 1, "S3": 2}, "S1": {"S0": 1, "S2": 2}, "S2": {"S0": 1, "A": 2}, "S3": {"S0": 1, "S2": 1}}
    slack, farthest_first = service_pools._slack_arcs(uses)
    assert slack == {"S0": "S3", "S1": "S2", "S3": "S2"}
    assert farthest_first == ["S0", "S1", "S3", "S2"]
    assert final(solve({"S0": 100, "S1": 1}, uses, "reciprocal"), uses) == {"A": 101}


@pytest.mark.parametrize(
    ("total", "exact", "parts"),
    [
        (2, {"A": Fraction(1, 2), "B": Fraction(3, 2)}, {"A": 0, "B": 2}),
        (1, {"A": Fraction(1, 2), "B": Fraction(1, 2)}, {"A": 1, "B": 0}),
        (0, {"A": Fraction(3, 5), "B": Fraction(-3, 5)}, {"A": 1, "B": -1}),
        (1, {"A": Fraction(1, 2), "B": Fraction(-1, 2)}, {"A": 1, "B": 0}),
        (5, {"A": Fraction(7, 3), "B": Fraction(1, 3)}, {"A": 4, "B": 1}),  # flows of a cycle gave two cents more
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_origins_are_rounded_to_what_arrived(total, exact, parts, sign):
    exact = {origin: sign * part for origin, part in exact.items()}
    assert service_pools._round_to(sign * total, exact) == {origin: sign * part for origin, part in parts.items()}


# --- Cost that cannot go further -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_closed_loop_is_named_and_its_cost_shown(method):
    costs = {"IT": 100, "HR": 50, "Canteen": 7, "Fleet": 30, "Sales": 1_000}
    uses = {
        "IT": {"HR": 3},
        "HR": {"IT": 1},
        "Canteen": {"IT": 1, "HR": 1},  # serves the loop, is not of it
        "Fleet": {"IT": 1, "Sales": 2},
    }
    solution = solve(costs, uses, method, order=["Fleet", "Canteen", "IT", "HR"])
    assert solution.closed_loops == (("HR", "IT"),)
    lost = final(solution, uses)
    if method == "direct":
        assert lost == {CLOSED_LOOP: 150, ZERO_DRIVER: 7, "Sales": 1_030}
    else:
        assert lost == {CLOSED_LOOP: 150 + 7 + 10, "Sales": 1_020}
        assert solution.origins[CLOSED_LOOP] == {"Canteen": 7, "Fleet": 10, "HR": 50, "IT": 100}
    assert Flow("HR", CLOSED_LOOP, None, None, solution.gross["HR"]) in solution.flows


def test_a_pool_that_serves_only_itself_is_a_closed_loop():
    solution = solve({"IT": 5}, {"IT": {"IT": 9}, "HR": {"HR": 1, "Sales": 1}}, "reciprocal")
    assert solution.closed_loops == (("IT",),)
    assert solution.flows == (Flow("IT", CLOSED_LOOP, None, None, 5),)


@pytest.mark.parametrize("method", METHODS)
def test_self_service_is_left_out(method):
    uses = {"IT": {"IT": 500, "HR": 0, "Sales": 2, "Plant": 3}, "HR": {"HR": 1, "Sales": 1}}
    assert solve({"IT": 100}, uses, method).flows == (
        Flow("IT", "Plant", 3, 5, 60),
        Flow("IT", "Sales", 2, 5, 40),
    )


def test_a_pool_without_driver_is_an_exit_no_loop():
    solution = solve({"IT": 101}, {"IT": {"HR": 1, "Sales": 1}, "HR": {}}, "reciprocal")
    assert solution.closed_loops == ()
    assert solution.origins == {
        "Sales": {"IT": 50},
        ZERO_DRIVER: {"IT": 51},
    }  # a tie of cent and quantity: HR before Sales


def test_a_pool_left_without_receiver_by_the_method():
    costs, uses = {"IT": 90, "HR": 10}, {"IT": {"HR": 5}, "HR": {"IT": 1, "Sales": 1}}
    assert final(solve(costs, uses, "direct"), uses) == {ZERO_DRIVER: 90, "Sales": 10}
    assert final(solve(costs, uses, "step_down", order=["IT"]), uses) == {"Sales": 100}
    assert final(solve(costs, uses, "step_down"), uses) == {ZERO_DRIVER: 95, "Sales": 5}  # by id: HR, then IT
    assert final(solve(costs, uses, "reciprocal"), uses) == {"Sales": 100}


def test_idle_capacity_has_the_same_part_under_each_method():
    uses = {"IT": {"HR": 80, "Sales": 10, "UNUSED:IT": 10}, "HR": {"Sales": 1}}
    for method in METHODS:
        for order in (["IT", "HR"], ["HR", "IT"]):
            solution = solve({"IT": 1_000}, uses, method, order=order)
            assert final(solution, uses) == {"Sales": 900, "UNUSED:IT": 100}
    direct = solve({"IT": 1_000}, uses, "direct")
    assert charged(direct, "IT") == {"Sales": 900, "UNUSED:IT": 100}
    alone = {"IT": {"HR": 90, "UNUSED:IT": 10}, "HR": {"Sales": 1}}
    assert solve({"IT": 1_000}, alone, "direct").flows == (
        Flow("IT", ZERO_DRIVER, 90, 100, 900),
        Flow("IT", "UNUSED:IT", 10, 100, 100),
    )


def test_step_down_passes_over_what_is_no_service_pool():
    costs, uses = THREE_SERVICES
    plain = solve(costs, uses, "step_down", order=["S2", "S1", "S3"])
    assert solve(costs, uses, "step_down", order=["P1", "S2", "nobody", "S1", "S2"]) == plain
    assert plain != solve(costs, uses, "step_down")


def test_pools_without_cost_have_no_flows():
    assert solve({"S": 0, "P": 0}, {"S": {"P": 1}, "T": {"S": 1}}, "reciprocal") == Solution((), {}, (), {})
    assert solve({"P": 3}, {}, "reciprocal") == Solution((), {"P": 3}, (), {"P": {"P": 3}})


def test_costs_that_cancel_still_flow():
    solution = solve({"S": 100, "P": -100}, {"S": {"P": 1}}, "reciprocal")
    assert solution.gross == {"S": 100, "P": 0}
    assert solution.origins == {"P": {"P": -100, "S": 100}}


def test_inputs_that_cannot_be_used():
    with pytest.raises(ConfigurationError, match="'IT': the driver quantity of receiver 'HR' is -3"):
        solve({"IT": 1}, {"IT": {"HR": -3}}, "reciprocal")
    with pytest.raises(TypeError):
        solve({"IT": 1.5}, {}, "reciprocal")
    with pytest.raises(TypeError):
        solve({"IT": 1}, {"IT": {"HR": 0.5}}, "reciprocal")
    with pytest.raises(ValueError, match="choose one of direct, step_down, reciprocal"):
        solve({}, {}, "iterative")


# --- Any graph -------------------------------------------------------------------------------------------------------


def exact_charges(costs: Costs, uses: Uses) -> dict[str, Fraction]:
    """What each receiver outside bears by the reciprocal method, in exact fractions of a cent, self-service included.

    All live pools in one system of equations, by Gauss and Jordan; a pool is live if backwards from the exits it can
    be reached. What reaches another one is caught in a closed loop.
    """
    uses = {pool: {r: q for r, q in receivers.items() if q} or {ZERO_DRIVER: 1} for pool, receivers in uses.items()}
    live: set[str] = set()
    while more := {pool for pool in uses if pool not in live and any(r not in uses or r in live for r in uses[pool])}:
        live |= more
    pools = sorted(live)
    share = {
        (pool, receiver): Fraction(quantity, sum(uses[pool].values()))
        for pool in pools
        for receiver, quantity in uses[pool].items()
    }
    rows = [
        [int(pool == supplier) - share.get((supplier, pool), Fraction(0)) for supplier in pools]
        + [Fraction(costs.get(pool, 0))]
        for pool in pools
    ]
    for place in range(len(rows)):
        pivot = next(row for row in range(place, len(rows)) if rows[row][place])
        rows[place], rows[pivot] = rows[pivot], rows[place]
        rows[place] = [cell / rows[place][place] for cell in rows[place]]
        for other in range(len(rows)):
            if other != place and rows[other][place]:
                factor = rows[other][place]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[place], strict=True)]
    gross = {pool: row[-1] for pool, row in zip(pools, rows, strict=True)}
    totals: dict[str, Fraction] = defaultdict(Fraction)
    for pool, amount in costs.items():
        if pool not in live:
            totals[CLOSED_LOOP if pool in uses else pool] += amount
    for (pool, receiver), part in share.items():
        if receiver not in live:
            totals[CLOSED_LOOP if receiver in uses else receiver] += part * gross[pool]
    return {receiver: total for receiver, total in totals.items() if total}


def with_methods_receivers(uses: Uses, method: str, order: list[str]) -> Uses:
    """The receivers a method may charge, as a graph for `exact_charges`; closed loops are the reciprocal method's."""
    if method == "reciprocal":
        return uses
    place = {pool: 0 if method == "direct" else order.index(pool) for pool in uses}
    return {
        pool: {r: q for r, q in receivers.items() if r not in uses or place[r] > place[pool]}
        for pool, receivers in uses.items()
    }


SERVICES = [f"S{place}" for place in range(9)]
OUTSIDE = ["A", "B", "C"]
CENTS = st.one_of(st.just(0), st.integers(-200, 200), st.integers(-(10**13), 10**13))
QUANTITIES = st.one_of(st.just(0), st.integers(1, 5), st.integers(1, 10**12))


@st.composite
def networks(draw: st.DrawFn, idle: bool = True) -> tuple[Costs, Uses]:
    """Pools with cycles, closed loops, pools without a driver, negative costs and idle capacity."""
    services = SERVICES[: draw(st.integers(1, 9))]
    density = draw(st.sampled_from([0.15, 0.4, 1.0]))
    exits = draw(st.sampled_from([0.1, 0.5, 1.0]))
    chance = draw(st.randoms(use_true_random=False))
    uses: Uses = {}
    for pool in services:
        receivers = [r for r in services if chance.random() < density]
        receivers += [r for r in [*OUTSIDE, *([f"UNUSED:{pool}"] if idle else [])] if chance.random() < exits / 2]
        uses[pool] = {receiver: draw(QUANTITIES) for receiver in receivers}
    return {pool: draw(CENTS) for pool in [*services, *OUTSIDE]}, uses


@settings(max_examples=100, deadline=None)
@given(networks(), st.sampled_from(METHODS), st.permutations(SERVICES))
@example(
    (
        {"S0": 1, "S1": 0, "S2": 0, "A": 0, "B": 0, "C": 0},
        {"S0": {"S1": 1}, "S1": {"S0": 1, "S2": 1}, "S2": {"S0": 1, "A": 1}},
    ),
    "reciprocal",
    [],
)
def test_every_pool_hands_on_what_it_has(network, method, order):
    costs, uses = network
    solution = solve(costs, uses, method, order=order)
    got = received(solution)
    out: Costs = defaultdict(int)
    for flow in solution.flows:
        out[flow.from_pool] += flow.cents
        assert flow.receiver != flow.from_pool
    for pool in uses:
        assert out[pool] == costs[pool] + got.get(pool, 0) == solution.gross.get(pool, 0)
    for pool in OUTSIDE:
        assert solution.gross.get(pool, 0) == costs[pool] + got.get(pool, 0)
    assert set(solution.gross) <= set(costs)
    assert sum(final(solution, uses).values()) == sum(costs.values())
    for receiver, parts in solution.origins.items():
        assert sum(parts.values()) == costs.get(receiver, 0) + got.get(receiver, 0)
        assert all(parts.values())
    assert not set(solution.origins) & set(uses)
    keys = [(flow.from_pool, flow.receiver) for flow in solution.flows]
    assert keys == sorted(set(keys))


@settings(max_examples=100, deadline=None)
@given(networks(idle=False), st.sampled_from(METHODS), st.permutations(SERVICES))
def test_the_cents_follow_the_exact_charges(network, method, order):
    costs, uses = network
    order = [pool for pool in order if pool in uses]
    solution = solve(costs, uses, method, order=order)
    loops = {pool for loop in solution.closed_loops for pool in loop}
    allowed = with_methods_receivers(uses, method, order)
    allowed |= {pool: {pool: 1} for pool in loops}  # a loop stays one where the method would open it
    exact = exact_charges(costs, allowed)
    got = final(solution, uses)
    bound = 1 + len(solution.flows)  # no more than a cent goes astray with each flow, whatever it meets downstream
    for receiver in exact.keys() | got.keys():
        assert abs(got.get(receiver, 0) - exact.get(receiver, 0)) < bound, receiver
    for origin in [pool for pool in costs if costs[pool]]:
        alone = exact_charges({origin: costs[origin]}, allowed)
        for receiver in alone.keys() | solution.origins.keys():
            part = solution.origins.get(receiver, {}).get(origin, 0)
            assert abs(part - alone.get(receiver, 0)) < bound, (origin, receiver)


@settings(max_examples=75, deadline=None)
@given(networks(), st.sampled_from(METHODS), st.permutations(SERVICES), st.randoms(use_true_random=False))
def test_order_and_sign_do_not_matter(network, method, order, chance):
    costs, uses = network
    solution = solve(costs, uses, method, order=order)

    def shuffled(mapping):
        return dict(chance.sample(list(mapping.items()), len(mapping)))

    again = solve(shuffled(costs), shuffled({pool: shuffled(uses[pool]) for pool in uses}), method, order=order)
    assert repr(again) == repr(solution), "the same to the last entry, in the same order"

    mirrored = solve({pool: -amount for pool, amount in costs.items()}, uses, method, order=order)
    assert [(flow.from_pool, flow.receiver, -flow.cents) for flow in mirrored.flows] == [
        (flow.from_pool, flow.receiver, flow.cents) for flow in solution.flows
    ]
    assert mirrored.origins == {r: {o: -part for o, part in parts.items()} for r, parts in solution.origins.items()}


@settings(max_examples=75, deadline=None)
@given(networks(), st.sampled_from(METHODS), st.permutations(SERVICES), st.integers(1, 10**6))
def test_what_a_pool_uses_of_itself_changes_nothing(network, method, order, quantity):
    costs, uses = network
    serving = {
        pool: {r: q for r, q in receivers.items() if r != pool}
        for pool, receivers in uses.items()
        if any(q for r, q in receivers.items() if r != pool)
    }
    without = {pool: serving.get(pool, {}) for pool in uses}
    itself = {pool: {**receivers, pool: quantity} if pool in serving else {} for pool, receivers in without.items()}
    assert solve(costs, itself, method, order=order) == solve(costs, without, method, order=order)
    assert exact_charges(costs, itself) == exact_charges(costs, without)


@settings(max_examples=75, deadline=None)
@given(networks())
def test_closed_loops_are_what_backwards_reachability_leaves(network):
    costs, uses = network
    solution = solve(costs, uses, "reciprocal")
    served = {pool: {r for r, q in receivers.items() if q} for pool, receivers in uses.items()}
    reaches: set[str] = {pool for pool in uses if not served[pool] or served[pool] - uses.keys()}
    while more := {pool for pool in uses.keys() - reaches if served[pool] & reaches}:
        reaches |= more
    looped = {pool for loop in solution.closed_loops for pool in loop}
    assert looped.isdisjoint(reaches)
    for loop in solution.closed_loops:
        for pool in loop:
            seen = {pool}
            while more := {r for member in seen for r in served[member]} - seen:
                seen |= more
            assert seen == set(loop), "all of a loop reach each other, and nobody else"
    for pool in uses.keys() - reaches - looped:
        assert served[pool] <= uses.keys() - reaches, "trapped: all it serves ends in a loop"
        assert Flow(pool, CLOSED_LOOP, None, None, 0) not in solution.flows
    assert {flow.from_pool for flow in solution.flows if flow.receiver == CLOSED_LOOP} <= looped


@settings(max_examples=75, deadline=None)
@given(networks())
def test_a_flow_outside_cycles_can_be_redone_on_a_calculator(network):
    """Gross cost x quantity / total quantity, to less than a cent, where no cycle makes the flow one of several cents."""
    costs, uses = network
    for method in ("direct", "step_down"):
        solution = solve(costs, uses, method)
        for flow in solution.flows:
            if flow.quantity is None:
                assert flow.cents == solution.gross[flow.from_pool]
            else:
                exact = Fraction(solution.gross[flow.from_pool] * flow.quantity, flow.total_quantity)
                assert abs(flow.cents - exact) < 1


def random_network(seed: int, pools: int, density: float, largest: int) -> tuple[Costs, Uses]:
    chance = random.Random(seed)
    services, outside = [f"S{place:03}" for place in range(pools)], ["A", "B", "C"]
    uses = {
        pool: {r: chance.randint(1, largest) for r in [*services, *outside] if r != pool and chance.random() < density}
        for pool in services
    }
    return {pool: chance.randint(-(10**8), 10**9) for pool in [*services, *outside]}, uses


def test_a_receiver_is_never_far_from_its_exact_charge():
    furthest = Fraction(0)
    for seed in range(300):
        costs, uses = random_network(seed, pools=1 + seed % 9, density=(0.2, 0.4, 0.8)[seed % 3], largest=10**4)
        exact, got = exact_charges(costs, uses), final(solve(costs, uses, "reciprocal"), uses)
        furthest = max([furthest, *(abs(got.get(r, 0) - exact.get(r, 0)) for r in exact.keys() | got.keys())])
    assert furthest < 3


# --- Many pools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pools", "seconds"), [(20, 2), (40, 10)])
def test_many_pools_exactly_in_reasonable_time(pools, seconds):
    costs, uses = random_network(1, pools, density=1.0, largest=10**6)
    started = time.perf_counter()
    solution = solve(costs, uses, "reciprocal")
    assert time.perf_counter() - started < seconds
    assert sum(final(solution, uses).values()) == sum(costs.values())


@pytest.mark.parametrize(
    ("pools", "above", "density", "largest"),
    [(service_pools.EXACT_UP_TO + 1, service_pools.EXACT_UP_TO, 1.0, 100), (25, 20, 0.2, 10**12), (12, 2, 1.0, 10**12)],
)
def test_floats_checked_in_whole_numbers_give_the_same_cents(monkeypatch, pools, above, density, largest):
    costs, uses = random_network(2, pools, density, largest)
    checked_inverse, asked = service_pools._checked_inverse, []
    monkeypatch.setattr(service_pools, "_checked_inverse", lambda matrix: asked.append(1) or checked_inverse(matrix))
    monkeypatch.setattr(service_pools, "_exact_inverse", no_exact_inverse_of_many)
    monkeypatch.setattr(service_pools, "EXACT_UP_TO", above)
    fast = solve(costs, uses, "reciprocal")
    assert asked
    monkeypatch.undo()
    monkeypatch.setattr(service_pools, "EXACT_UP_TO", 10_000)
    exact = solve(costs, uses, "reciprocal")
    assert len(fast.flows) == len(exact.flows)
    differing = [pair for pair in zip(fast.flows, exact.flows, strict=True) if pair[0] != pair[1]]
    assert not differing[:3]
    assert fast.gross == exact.gross
    assert fast.origins == exact.origins


def no_exact_inverse_of_many(matrix):
    assert len(matrix) == 1, "floats were to propose this one"
    return [[1]], matrix[0][0]


def test_a_ring_too_nearly_closed_for_floats_is_solved_exactly():
    pools = [f"S{place:03}" for place in range(service_pools.EXACT_UP_TO + 1)]
    uses = {pool: {following: 10**18} for pool, following in zip(pools, [*pools[1:], pools[0]], strict=True)}
    uses[pools[7]]["A"] = 1
    matrix = [[sum(uses[j].values()) if i == j else -uses[j].get(i, 0) for j in pools] for i in pools]
    given_up = service_pools._checked_inverse(matrix) is None
    assert given_up
    solution = solve({pools[0]: 12_345_67}, uses, "reciprocal")
    assert final(solution, uses) == {"A": 12_345_67}
