"""Service pools: pools whose output other pools use, and how their cost reaches those pools, to the cent.

Belongs here: the direct, the step-down and the reciprocal method as one function over plain numbers (whole cents, whole
quantities, ids), which anyone can call without a warehouse. Not here: what costs and quantities are, and everything
after the service pools; the Dagster asset beside this module reads and writes the tables.

The reciprocal method solves the equations of Kaplan, "Variable and Self-Service Costs in Reciprocal Allocation Models"
(The Accounting Review 48, 1973) per strongly connected component, in whole numbers: no iteration, nothing left over,
the same cents on every machine. Cents are divided by largest remainder as the macro `largest_remainder` divides them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from operator import index
from typing import Literal, get_args

import numpy as np

from assets.costing.cents import largest_remainder
from assets.errors import ConfigurationError

Method = Literal["direct", "step_down", "reciprocal"]

METHODS: tuple[Method, ...] = get_args(Method)

UNUSED = "UNUSED:"
"""Begins the receiver that takes the idle capacity of a pool."""

UNALLOCATED = "UNALLOCATED:"
"""Begins the receivers that take what no rule could bring further; the reason follows."""

ZERO_DRIVER = f"{UNALLOCATED}ZERO_DRIVER"
CLOSED_LOOP = f"{UNALLOCATED}CLOSED_LOOP"

EXACT_UP_TO = 60
"""Pools of one component that are solved in whole numbers. Above it floats propose the solution and whole numbers check it."""

_FIXED_POINT = 1 << 160
"""Denominator of a solution found with floats: fine enough that cents agree, except where the exact value lies on a tie."""

_Weights = dict[str, int]
"""Receiver -> share of a pool's cost, as a whole number; never empty, all > 0."""

_Mix = dict[str, Fraction]
"""Origin pool -> exact cents."""


@dataclass(frozen=True)
class Flow:
    """Cost handed on by a service pool to one receiver.

    cents = gross of `from_pool` * quantity / total_quantity, rounded. The quantities are None if there was nothing to
    divide by and all went to one `UNALLOCATED:` line. Where a method leaves receivers out and the pool has unused
    capacity, both quantities are multiples of the driver's, in the same proportion (see `solve`).
    """

    from_pool: str
    receiver: str
    quantity: int | None
    total_quantity: int | None
    cents: int


@dataclass(frozen=True)
class Solution:
    """Where the cost of all pools went.

    - flows: one per service pool with cost (own or received) and receiver, sorted by both. The flows of a pool sum to
      its gross cost.
    - gross: pool -> own cents + received cents, for each pool that has either.
    - closed_loops: sets of service pools that serve only each other, or only themselves, whether they have cost or not.
    - origins: receiving pool, or residual receiver (`UNUSED:`, `UNALLOCATED:`) -> pool on which the cost was booked ->
      cents. Sums to the receiver's gross cost. Service pools are not in it: they keep nothing.
    """

    flows: tuple[Flow, ...]
    gross: dict[str, int]
    closed_loops: tuple[tuple[str, ...], ...]
    origins: dict[str, dict[str, int]]


def solve(
    costs: Mapping[str, int],
    uses: Mapping[str, Mapping[str, int]],
    method: Method,
    *,
    order: Sequence[str] = (),
) -> Solution:
    """Bring the cost of the service pools to the receivers outside.

    `costs`: pool -> own cents, service pools and others, cost +; may be negative or zero.
    `uses`: service pool -> receiver -> whole quantity of the service pool's driver, >= 0. A receiver that is a key of
    `uses` is a service pool, so a service pool without driver rows needs an empty mapping; any other receiver is
    outside and keeps what it gets. What a pool uses of itself is left out: the final charges are the same.
    `order`: service pools in the order in which step-down closes them; those not named follow, sorted by id. Ids that
    are no service pools are passed over.

    - direct: service pools charge receivers outside only.
    - step_down: each charges receivers outside and the service pools that are closed after it.
    - reciprocal: each charges all its receivers; services among service pools are recognised fully.

    Cost that cannot go further stays visible, in all three methods:

    - A closed loop (service pools that serve only each other, from which no path leads outside) is found first. What
      its pools have, booked or received from pools outside the loop, goes to UNALLOCATED:CLOSED_LOOP.
    - A service pool with no quantity, or with none among the receivers that the method may charge (direct and
      step_down, where it serves only service pools, or only closed ones), goes to UNALLOCATED:ZERO_DRIVER.
    - UNUSED:<pool> takes the same part of the pool under each method, idle quantity / whole quantity: a receiver that
      the method leaves out makes the others' share larger, not idle capacity's.

    Cents: every pool hands on exactly its gross cost, by largest remainder (ties: larger quantity, then id that sorts
    first). Within a cycle the flows between its pools are rounded half-even from the exact solution; a pool with no
    receiver outside the cycle hands what is left to one pool of the cycle that is nearer to the exit, and the others
    divide what is left among their receivers outside. So a flow may differ from its exact value by a few cents, never
    the sum. The cents do not depend on the order of the mappings, and solve(-costs) is -solve(costs).

    Raises ConfigurationError if a quantity is negative, TypeError if cents or quantities are not whole numbers and
    ValueError for another method.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    own = {pool: index(cents) for pool, cents in sorted(costs.items())}
    served = {pool: _served(pool, uses[pool]) for pool in sorted(uses)}
    loops = _closed_loops(served)
    closed = {pool for loop in loops for pool in loop}
    places = _places(served, method, order)
    weights = {
        pool: {CLOSED_LOOP: 1} if pool in closed else _weights(pool, quantities, places)
        for pool, quantities in served.items()
    }
    inner = {pool: {r: q for r, q in receivers.items() if r in weights} for pool, receivers in weights.items()}

    received: dict[str, int] = defaultdict(int)
    mixes: dict[str, _Mix] = defaultdict(dict, {pool: {pool: Fraction(cents)} for pool, cents in own.items() if cents})
    flows: list[Flow] = []
    gross: dict[str, int] = {}
    for component in _components(inner):
        if not any(mixes[pool] for pool in component):
            continue  # no cost, neither booked nor received: nothing flows
        rates = _Rates(component, weights)
        for pool, parts in _divide(rates, {pool: own.get(pool, 0) + received[pool] for pool in component}).items():
            gross[pool] = sum(parts.values())
            for receiver, cents in parts.items():
                received[receiver] += cents
                flows.append(_flow(pool, receiver, weights[pool], cents))
        for receiver, mix in rates.charges({pool: mixes[pool] for pool in component}).items():
            _add(mixes[receiver], mix)

    origins: dict[str, dict[str, int]] = {}
    for receiver in sorted(set(mixes) - set(weights)):
        total = own.get(receiver, 0) + received[receiver]
        parts = {pool: cents for pool, cents in _round_to(total, mixes[receiver]).items() if cents}
        if parts:
            origins[receiver] = parts
            if not receiver.startswith((UNUSED, UNALLOCATED)):
                gross[receiver] = total
    flows.sort(key=lambda flow: (flow.from_pool, flow.receiver))
    return Solution(tuple(flows), dict(sorted(gross.items())), loops, origins)


def _served(pool: str, quantities: Mapping[str, int]) -> dict[str, int]:
    """Return the receivers with a quantity, sorted."""
    for receiver, quantity in quantities.items():
        if index(quantity) < 0:
            raise ConfigurationError(
                f"Service pool '{pool}': the driver quantity of receiver '{receiver}' is {quantity}, and cost cannot be "
                "divided by a negative quantity. Net returns against what they return, or floor the quantity at zero."
            )
    return {receiver: index(quantity) for receiver, quantity in sorted(quantities.items()) if quantity}


# --- Who may charge whom ---------------------------------------------------------------------------------------------


def _places(served: Mapping[str, _Weights], method: Method, order: Sequence[str]) -> dict[str, int]:
    """Return the place at which each service pool is closed; a pool charges service pools of a later place only.

    Equal places mean direct, no places at all mean reciprocal.
    """
    if method == "reciprocal":
        return {}
    if method == "direct":
        return dict.fromkeys(served, 0)
    named = [pool for pool in dict.fromkeys(order) if pool in served]
    return {pool: place for place, pool in enumerate([*named, *(pool for pool in served if pool not in named)])}


def _weights(pool: str, quantities: _Weights, places: Mapping[str, int]) -> _Weights:
    """Return by what a pool's cost is divided among the receivers it may charge."""
    others = {receiver: quantity for receiver, quantity in quantities.items() if receiver != pool}
    idle = {receiver: quantity for receiver, quantity in others.items() if receiver.startswith(UNUSED)}
    used = {
        receiver: quantity
        for receiver, quantity in others.items()
        if receiver not in idle and (receiver not in places or places[receiver] > places[pool])
    }
    total, total_idle, total_used = sum(others.values()), sum(idle.values()), sum(used.values())
    if total_idle + total_used == total > 0:
        return others
    if not used:
        return {ZERO_DRIVER: (total - total_idle) or 1, **idle}
    if not idle:
        return used
    # Idle capacity keeps its part of the whole, total_idle / total; the receivers left divide the rest by their use.
    scaled = {receiver: quantity * total_used for receiver, quantity in idle.items()}
    scaled |= {receiver: quantity * (total - total_idle) for receiver, quantity in used.items()}
    return _reduced(scaled)


def _reduced(weights: _Weights) -> _Weights:
    divisor = gcd(*weights.values())
    return {receiver: weight // divisor for receiver, weight in weights.items()}


def _closed_loops(served: Mapping[str, _Weights]) -> tuple[tuple[str, ...], ...]:
    """Return the sets of service pools whose output never leaves the set: those from which no exit can be reached.

    Of pools that reach no exit, those that hand everything on to such a set are not in it: their cost finds its way.
    """
    inner = {pool: {r: q for r, q in quantities.items() if r in served} for pool, quantities in served.items()}
    return tuple(
        sorted(
            component
            for component in _components(inner)
            if all(served[pool] and set(served[pool]) <= set(component) for pool in component)
        )
    )


def _components(inner: Mapping[str, _Weights]) -> list[tuple[str, ...]]:
    """Return the strongly connected components, each sorted, suppliers before those they supply.

    Reachability by Warshall's algorithm, a row of the matrix being the bits of a number. Whoever reaches a component
    reaches strictly more pools than the component does, so counting them gives the topological order.
    """
    pools = sorted(inner)
    bits = {pool: 1 << place for place, pool in enumerate(pools)}
    reach = {pool: bits[pool] | sum(bits[receiver] for receiver in inner[pool] if receiver != pool) for pool in pools}
    for middle in pools:
        for pool in pools:
            if reach[pool] & bits[middle]:
                reach[pool] |= reach[middle]
    alike: dict[int, list[str]] = defaultdict(list)
    for pool in pools:
        alike[reach[pool]].append(pool)  # who reach the same pools, themselves included, reach each other
    return [tuple(alike[row]) for row in sorted(alike, key=lambda row: (-row.bit_count(), alike[row]))]


# --- Exact charges ---------------------------------------------------------------------------------------------------


class _Rates:
    """What the pools of one component charge per unit of weight, exactly, for any cost that arrives at them.

    With gross cost x and W the sum of a pool's weights w, x_i = c_i + sum over j of w_ji * x_j / W_j. In the rates
    y = x / W the equations have whole coefficients, W_i * y_i - sum over j of w_ji * y_j = c_i, and so has the adjugate
    of their matrix.
    """

    def __init__(self, component: tuple[str, ...], weights: Mapping[str, _Weights]) -> None:
        self.component = component
        self.weights = {pool: weights[pool] for pool in component}
        divisors = [gcd(*weights[pool].values()) for pool in component]  # smaller numbers, the same charges
        self.reduced = {
            pool: {receiver: weight // divisor for receiver, weight in weights[pool].items()}
            for pool, divisor in zip(component, divisors, strict=True)
        }
        matrix = [
            [
                sum(self.reduced[pool].values()) if pool == supplier else -self.reduced[supplier].get(pool, 0)
                for supplier in component
            ]
            for pool in component
        ]
        proposed = _checked_inverse(matrix) if len(component) > EXACT_UP_TO else None
        self.adjugate, self.denominator = proposed or _exact_inverse(matrix)

    def of_cents(self, arriving: Mapping[str, int]) -> dict[str, int]:
        """Return pool -> rate times `denominator`, for cents that arrive from outside the component."""
        cents = [arriving[pool] for pool in self.component]
        return {
            pool: sum(factor * part for factor, part in zip(row, cents, strict=True))
            for pool, row in zip(self.component, self.adjugate, strict=True)
        }

    def charges(self, mixes: Mapping[str, _Mix]) -> dict[str, _Mix]:
        """Return what each receiver outside the component gets, by origin, from what arrives at its pools."""
        common = lcm(*(part.denominator for mix in mixes.values() for part in mix.values()))
        whole = {
            pool: {origin: part.numerator * (common // part.denominator) for origin, part in mix.items()}
            for pool, mix in mixes.items()
        }
        rates: dict[str, dict[str, int]] = {pool: defaultdict(int) for pool in self.component}
        for pool, row in zip(self.component, self.adjugate, strict=True):
            for supplier, factor in zip(self.component, row, strict=True):
                for origin, part in whole[supplier].items():
                    rates[pool][origin] += factor * part
        totals: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for pool, receivers in self.reduced.items():
            for receiver, weight in receivers.items():
                if receiver not in self.weights:
                    for origin, rate in rates[pool].items():
                        totals[receiver][origin] += weight * rate
        return {
            receiver: {origin: Fraction(part, common * self.denominator) for origin, part in parts.items()}
            for receiver, parts in totals.items()
        }


def _exact_inverse(matrix: Sequence[Sequence[int]]) -> tuple[list[list[int]], int]:
    """Return the adjugate and the determinant of a matrix of whole numbers, by elimination without fractions.

    Bareiss, "Sylvester's Identity and Multistep Integer-Preserving Gaussian Elimination" (Mathematics of Computation
    22, 1968): every division comes out even. All leading minors are positive, for the component has an exit and no
    column sums to less than zero, so no pivot is ever sought.
    """
    size = len(matrix)
    rows = [[*row, *([0] * size)] for row in matrix]
    before = 1
    for place, pivots in enumerate(rows):
        pivots[size + place] = before
        pivot = pivots[place]
        active = slice(place + 1, size + place + 1)  # to the left all is done, to the right the identity is untouched
        by = pivots[active]
        for other, row in enumerate(rows):
            if other != place:
                factor = row[place]
                row[active] = [
                    (pivot * cell - factor * taken) // before for cell, taken in zip(row[active], by, strict=True)
                ]
        before = pivot
    return [row[size:] for row in rows], before


def _checked_inverse(matrix: Sequence[Sequence[int]]) -> tuple[list[list[int]], int] | None:
    """Return the inverse in fixed point and its denominator: proposed by float64, checked in whole numbers.

    The residual I - M * Y is computed exactly and its correction added until no correction is larger than the last
    binary place. None if it does not come to that, as with a component that is very nearly a closed loop.
    """
    totals = np.array([row[place] for place, row in enumerate(matrix)], dtype=float)
    try:
        proposal = np.linalg.inv(np.array(matrix, dtype=float) / totals) / totals[:, None]
    except np.linalg.LinAlgError:
        return None
    exact = np.array(matrix, dtype=object)
    target = np.array([[_FIXED_POINT * (i == k) for k in range(len(matrix))] for i in range(len(matrix))], dtype=object)
    found = np.zeros_like(target)
    for _ in range(20):
        residual = target - exact.dot(found)
        correction = proposal @ (residual / _FIXED_POINT).astype(float) * float(_FIXED_POINT)
        if not np.isfinite(correction).all():
            return None
        if np.abs(correction).max() <= 1:
            return found.tolist(), _FIXED_POINT
        found = found + np.array([[round(cell) for cell in row] for row in correction.tolist()], dtype=object)
    return None


# --- Cents -----------------------------------------------------------------------------------------------------------


def _divide(rates: _Rates, arriving: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return pool -> receiver -> cents for one component; every pool hands on exactly what it has."""
    if len(rates.component) == 1:
        (pool,) = rates.component
        return {pool: largest_remainder(arriving[pool], rates.weights[pool])}

    charged = rates.of_cents(arriving)
    slack, farthest_first = _slack_arcs(rates.weights)
    parts: dict[str, dict[str, int]] = {}
    gross = dict(arriving)
    for pool in rates.component:
        parts[pool] = {
            receiver: _half_even(weight * charged[pool], rates.denominator)
            for receiver, weight in rates.reduced[pool].items()
            if receiver in rates.weights and receiver != slack.get(pool)
        }
        for receiver, cents in parts[pool].items():
            gross[receiver] += cents
    for pool in farthest_first:
        left = gross[pool] - sum(parts[pool].values())
        if pool in slack:
            parts[pool][slack[pool]] = left
            gross[slack[pool]] += left
        else:
            outside = {r: weight for r, weight in rates.weights[pool].items() if r not in rates.weights}
            parts[pool] |= largest_remainder(left, outside)
    return parts


def _slack_arcs(weights: Mapping[str, _Weights]) -> tuple[dict[str, str], list[str]]:
    """Return for each pool of a cycle without receiver outside it the pool that takes what is left, and in which order.

    The arcs form a forest that leads to the pools with a receiver outside, the shortest way, over the largest weight
    (ties: the id that sorts first). The order is the farthest first: what a pool gets so is known before it hands on.
    """
    distance = {pool: 0 for pool, receivers in weights.items() if not receivers.keys() <= weights.keys()}
    slack: dict[str, str] = {}
    while len(distance) < len(weights):
        nearest = {pool: [r for r in receivers if r in distance] for pool, receivers in weights.items()}
        for pool in [pool for pool in weights if pool not in distance and nearest[pool]]:
            slack[pool] = min(nearest[pool], key=lambda receiver: (-weights[pool][receiver], receiver))
        for pool in slack.keys() - distance.keys():
            distance[pool] = distance[slack[pool]] + 1
    return slack, sorted(weights, key=lambda pool: (-distance[pool], pool))


def _half_even(numerator: int, denominator: int) -> int:
    """Return the nearest whole number of a fraction with denominator > 0, of two equally near ones the even one."""
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2))


def _round_to(total: int, exact: Mapping[str, Fraction]) -> dict[str, int]:
    """Round parts that sum to `total` but for the rounding of flows, so that they do sum to it; parts may differ in sign."""
    parts = {origin: round(part) for origin, part in exact.items()}  # half-even, so that signs do not matter
    missing = total - sum(parts.values())
    sign = 1 if missing > 0 else -1
    ranked = sorted(exact, key=lambda origin: (sign * (parts[origin] - exact[origin]), -abs(exact[origin]), origin))
    for place, origin in enumerate(ranked):
        each, more = divmod(abs(missing), len(ranked))
        parts[origin] += sign * (each + (place < more))
    return parts


def _flow(pool: str, receiver: str, weights: _Weights, cents: int) -> Flow:
    if len(weights) == 1 and receiver.startswith(UNALLOCATED):
        return Flow(pool, receiver, None, None, cents)
    return Flow(pool, receiver, weights[receiver], sum(weights.values()), cents)


def _add(mix: _Mix, more: _Mix) -> None:
    for origin, part in more.items():
        mix[origin] = mix.get(origin, Fraction(0)) + part
