"""Recompute every cost line of a release, by arithmetic of its own: `python check.py [folder of the release]`.

Needs Python with the package duckdb, and nothing of the program that made the release. From ledger lines, flows between
pools, driver rows and rules it works out what every customer and every residual line must bear (pool amount x quantity div
total quantity, and one cent more for the largest remainders until the amount is used up), and compares that with every
published line and with the sums above them. Prints what it compared; ends with 1 and what differs.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

ROUND = "driver_month, pool_id, behaviour, month"
UNKNOWN = "UNALLOCATED:UNMATCHED_CUSTOMER"
PASSED_ON = ("UNUSED:", "UNALLOCATED:")
RESIDUAL = {"UNUSED": "unused", "SUSTAINING": "sustaining", "UNALLOCATED": "unallocated", "VARIANCE": "variance"}
OF_POOLS = ("actual", "received", "given", "on_customers", *RESIDUAL.values())
UNDIVIDED = (0, None, None, None, None)
WATERFALL = {
    "gross_margin": "net_revenue - cost_of_goods_sold",
    "contribution_after_cost_to_serve": "gross_margin - direct_cost_to_serve - activity_cost_variable "
    "- activity_cost_step_fixed - activity_cost_fixed - expected_credit_loss - financing_cost",
    "operating_profit": "contribution_after_cost_to_serve - allocated_sustaining",
}
SHOWN = 20

database = duckdb.connect()
wrong: list[str] = []


def rows(query: str, parameters: Any = ()) -> Iterator[Any]:
    cursor = database.cursor().execute(query, parameters)
    while batch := cursor.fetchmany(50_000):
        yield from batch


def rows_by_key(query: str) -> Iterator[Any]:
    return ((row[:-1], row[-1]) for row in rows(query))


def compare(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> None:
    if expected == found:
        return
    for key in sorted(expected.keys() | found.keys(), key=str):
        if (now := expected.get(key, 0)) != (then := found.get(key, 0)):
            wrong.append(f"{what} {said(key)}: recomputed {said(now)}, published {said(then)}")


def said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def kind_of(receiver: str) -> str:
    """The column of cost_pools its line is counted in."""
    return RESIDUAL.get(receiver.partition(":")[0] if ":" in receiver else "", "on_customers")


def compare_columns(what: str, query: str) -> None:
    """Of a query whose last two columns must be equal."""
    for *key, expected, found in rows(query):
        compare(what, {tuple(key): expected or 0}, {tuple(key): found or 0})


def divide(cents: int, quantities: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Receiver -> (cents, rounding cent): whole cents to each, those left over to the largest remainders."""
    total, sign = sum(quantities.values()), -1 if cents < 0 else 1
    parts = {name: divmod(abs(cents) * quantity, total) for name, quantity in quantities.items()}
    left = abs(cents) - sum(whole for whole, _ in parts.values())
    more = set(sorted(parts, key=lambda name: (-parts[name][1], -quantities[name], name))[:left])
    return {name: (sign * (whole + (name in more)), sign * (name in more)) for name, (whole, _) in parts.items()}


def charged_of(gross: int, budget: Any, behaviour: str, use: int, capacity: int | None, overload: str) -> int:
    """What of a pool's cost is charged: all of it, or its budget for what is used or held ready, half a cent up."""
    if budget is None:
        return gross
    cents, planned = budget
    if behaviour == "variable" or capacity is None:
        units = use
    else:
        planned, units = capacity, max(use, capacity) if overload == "standard" else capacity
    if not planned:
        return cents
    size = (2 * abs(cents) * units + planned) // (2 * planned)
    return size if cents > 0 else -size


class Published:
    """Published lines by round; `take` gives those of one round as receiver -> its other columns, in order of rounds."""

    def __init__(self, what: str, query: str) -> None:
        self.what, self.count = what, 0  # rows: the round, the receiver, its amount or quantity, and others
        self.groups = groupby(rows(f"{query} order by {ROUND}"), key=lambda row: row[:4])
        self.next = next(self.groups, None)

    def take(self, key: Any = None) -> dict[str, Any]:
        while self.next and (key is None or self.next[0] < key):
            compare(self.what, {}, {row[:5]: row[5:] for row in self.next[1] if row[5]})
            self.next = next(self.groups, None)
        found = {}
        if self.next and self.next[0] == key:
            for row in self.next[1]:
                self.count += 1
                if row[4] in found:
                    wrong.append(f"{self.what} {', '.join(map(str, row[:5]))}: published twice")
                found[row[4]] = row[5:]
            self.next = next(self.groups, None)
        return found


def main(folder: Path) -> tuple[int, int, float]:
    for file in folder.glob("*.parquet"):
        path = str(file).replace("'", "''")
        database.execute(f"create view \"{file.stem}\" as select * from read_parquet('{path}')")
    drivers = {
        row[0]: row[1:] for row in rows("select driver_id, decimals, zero_policy, fallback_driver_id from drivers")
    }
    rules = {
        row[:2]: row[2:]
        for row in rows(
            "select month, pool_id, stage, coalesce(sustaining_level, 'facility'), driver_id, fixed_driver_id, "
            "capacity_quantity, rate_basis, overload from pool_months"
        )
    }
    services = Counter(month for (month, _), rule in rules.items() if rule[0] == "service")
    budgets = {
        row[:3]: row[3:]
        for row in rows("select month, pool_id, behaviour, budget_cents, budget_quantity from budget_rates")
    }
    budgeted = {key[:2] for key in budgets}  # what a budget does not plan is charged to nobody
    compare_columns(
        "driver_quantities",
        """
        with sums as (select month, driver_id, customer_id, sum(quantity) as net from driver_rows group by all),
        netted as (
            select month, driver_id, customer_id,
                case negative_policy when 'absolute' then abs(net) else greatest(net, 0) end::hugeint as quantity
            from sums left join drivers using (driver_id)
        )
        select month, driver_id, customer_id, netted.quantity, driver_quantities.quantity
        from netted full join driver_quantities using (month, driver_id, customer_id)
        """,
    )
    months_used = defaultdict(list)
    for driver, month in rows(
        "select distinct driver_id, month from driver_quantities where quantity > 0 order by all"
    ):
        months_used[driver].append(month)

    @lru_cache(maxsize=64)
    def used(month: Any, driver: str) -> dict[str, int]:
        found = rows(
            "select customer_id, quantity from driver_quantities where month = ? and driver_id = ? and quantity > 0",
            [month, driver],
        )
        return {UNKNOWN if customer == "UNMATCHED" else customer: quantity for customer, quantity in found}

    # What was booked on each pool, and what service pools charged others.
    posted: Counter[Any] = Counter()  # round -> cents
    direct: dict[Any, Counter[str]] = defaultdict(Counter)
    given: dict[Any, dict[str, tuple[Any, ...]]] = defaultdict(dict)
    origins: Counter[Any] = Counter()
    pools: Counter[Any] = Counter()  # (month, pool, column of cost_pools) -> cents
    for *key, month, customer, cents in rows(f"select {ROUND}, customer_id, amount_cents from pool_cost_lines"):
        posted[*key, month] += cents
        direct[*key, month][customer or UNKNOWN] += cents
        pools[month, key[1], "actual"] += cents
    ledger = sum(posted.values())
    for *key, receiver, cents, total, quantity, total_quantity in rows(
        "select driver_month, from_pool_id, behaviour, month, receiver_id, amount_cents, total_cents, quantity, "
        "total_quantity from pool_flows where is_posted order by all"
    ):
        driver_month, pool, behaviour, month = key
        given[tuple(key)][receiver] = (cents, total, quantity, total_quantity)
        if receiver.startswith(PASSED_ON):
            origins[driver_month, receiver, behaviour, month] += cents
        else:
            posted[driver_month, receiver, behaviour, month] += cents
            pools[month, receiver, "received"] += cents
            pools[month, pool, "given"] += cents

    charges = {
        row[:4]: row[4:]
        for row in rows(
            f"select {ROUND}, driver_id, quantity_month, used_quantity, unused_quantity, gross_cents, charged_cents "
            "from pool_charges where is_posted"
        )
    }
    columns = (
        "(amount * 100)::bigint, rounding_cents, (previous_pool_amount * 100)::bigint, (pool_amount * 100)::bigint, "
        "(driver_quantity * 1000000)::hugeint, (total_driver_quantity * 1000000)::hugeint"
    )
    cost_lines = Published(
        "cost line",
        f"select {ROUND}, customer_id, {columns}, true from customer_cost_lines union all "
        f"select {ROUND}, residual_line, {columns}, false from residual_cost_lines",
    )
    allocation_lines = Published(
        "allocation line",
        f"select {ROUND}, receiver_id, driver_quantity, rounding_cents from allocation_lines",
    )
    for group, keys in groupby(sorted(posted.keys() | charges.keys() | given.keys()), key=lambda key: key[:3]):
        driver_month, pool, behaviour = group
        stage, level, driver, fixed_driver, capacity, rate_basis, overload = rules.get(
            (driver_month, pool), ("unassigned", None, None, None, None, None, None)
        )
        gross = charged = 0
        flowed: Counter[str] = Counter()
        for key in keys:
            month, cost = key[3], posted[key]
            gross += cost
            expected: dict[str, tuple[Any, ...]] = {}
            divided: dict[str, tuple[int, int]] = {}
            is_nothing = False
            if stage == "service":
                flows = given[key]
                flowed.update({receiver: cents for receiver, (cents, *_) in flows.items()})
                given_cents = sum(cents for cents, *_ in flows.values())
                compare(f"what {said(key)} has and gives", {"": cost}, {"": given_cents})
                compare(f"flow so far of {said(key)}:", flowed, {name: total for name, (_, total, *_) in flows.items()})
                for receiver, (_, total, quantity, all_of_it) in flows.items():
                    # In a cycle of pools, the cents of several roundings meet in one flow.
                    if all_of_it and abs(total * all_of_it - gross * quantity) > all_of_it * services[driver_month]:
                        share = gross * quantity // all_of_it
                        wrong.append(f"flow of {said(key)} to {receiver}: recomputed {share}, published {total}")
                expected = {r: (flow[0], *UNDIVIDED) for r, flow in flows.items() if r.startswith(PASSED_ON)}
            elif stage == "direct":
                expected = {receiver: (cents, *UNDIVIDED) for receiver, cents in direct[key].items()}
            elif driver is None:
                line = f"SUSTAINING:{level}" if stage == "sustaining" else "UNALLOCATED:NO_RULE"
                expected = {line: (cost, *UNDIVIDED)}
            else:
                by, limit = driver, None if rate_basis == "actual" or behaviour == "variable" else capacity
                if fixed_driver:
                    by, limit = (fixed_driver, limit) if behaviour == "fixed" else (driver, None)
                policy, fallback = drivers[by][1:]
                by_month = driver_month
                if driver_month not in months_used[by] and limit is None:
                    earlier = [month for month in months_used[by] if month < driver_month]
                    if policy == "previous_month" and earlier:
                        by_month = earlier[-1]
                    elif policy == "fallback_driver":
                        by = fallback
                quantities = dict(used(by_month, by))
                use = sum(quantities.values())
                idle = max((limit or 0) - use, 0)
                if idle:
                    quantities[f"UNUSED:{pool}"] = idle
                budget = budgets.get(group, (0, None) if group[:2] in budgeted else None)
                before, charged = charged, charged_of(gross, budget, behaviour, use, limit, overload)
                basis = (by, by_month, use, idle, gross, charged)[0 if quantities else 2 :]
                compare("pool charge", {key: basis}, {key: charges.get(key, ())[0 if quantities else 2 :]})
                if not quantities:
                    line = f"SUSTAINING:{level}" if policy == "sustaining" else "UNALLOCATED:ZERO_DRIVER"
                    expected = {line: (cost, *UNDIVIDED)}
                else:
                    expected = {f"VARIANCE:{pool}": (cost - (charged - before), *UNDIVIDED)}
                    is_nothing = not (charged or before)
                    if not is_nothing and (month == driver_month or charged != before):
                        now = divide(charged, quantities)
                        first = divide(before, quantities) if before else dict.fromkeys(quantities, (0, 0))
                        total, scale = sum(quantities.values()), 10 ** (6 - drivers[by][0])
                        for name, quantity in quantities.items():
                            bit = now[name][1] - first[name][1]
                            divided[name] = (quantity, bit)
                            amounts = (now[name][0] - first[name][0], bit, before, charged)
                            expected[name] = (*amounts, quantity * scale, total * scale)
            # Lines of nothing may stand or not; of an amount that is divided, every receiver has its line.
            expected = {
                name: (*line, kind_of(name) == "on_customers") for name, line in expected.items() if any(line[:4])
            }
            found = {name: line for name, line in cost_lines.take(key).items() if any(line[:4])}
            compare(f"cost line of {said(key)}:", expected, found)
            factorised = {name: line for name, line in allocation_lines.take(key).items() if line[1] or not is_nothing}
            compare(f"allocation line of {said(key)}:", divided, factorised)
            for name, line in found.items():
                pools[month, pool, kind_of(name)] += line[0]
            if stage != "service":
                origins[key] += cost
    cost_lines.take()
    allocation_lines.take()

    compare_sums(origins, pools)
    assigned = sum(cents for key, cents in pools.items() if key[2] in ("on_customers", *RESIDUAL.values()))
    compare("ledger", {("all months",): ledger}, {("all months",): assigned})
    return cost_lines.count, allocation_lines.count, ledger / 100


def compare_sums(origins: Mapping[Any, int], pools: Mapping[Any, int]) -> None:
    """The tables above the lines: origins of what pools have, results of pools, the waterfall of customers."""
    found = dict(rows_by_key(f"select {ROUND}, sum(amount_cents) from pool_origins group by all"))
    compare(
        "pool_origins", {key: cents for key, cents in origins.items() if cents}, {k: c for k, c in found.items() if c}
    )
    for column in OF_POOLS:
        found = dict(rows_by_key(f"select month, pool_id, {column}_amount * 100 from cost_pools"))
        compare(f"cost_pools, {column}_amount", {key[:2]: c for key, c in pools.items() if key[2] == column}, found)
    compare_columns(
        "customer_profitability",
        """
        with lines as (
            select customer_id, month, case when stage = 'direct' then 'direct_cost_to_serve'
                when stage = 'sustaining' then 'allocated_sustaining'
                when behaviour in ('variable', 'step_fixed') then 'activity_cost_' || behaviour
                else 'activity_cost_fixed' end as name, sum(amount) as amount
            from customer_cost_lines group by all
        ), levels as (
            unpivot (select customer_id, month, direct_cost_to_serve, activity_cost_variable, activity_cost_step_fixed,
                activity_cost_fixed, allocated_sustaining from customer_profitability)
            on columns(* exclude (customer_id, month)) into name name value amount
        )
        select customer_id, month, name, lines.amount, levels.amount
        from lines full join levels using (customer_id, month, name)
        """,
    )
    for level, sum_of in WATERFALL.items():
        compare_columns(level, f"select customer_id, month, {sum_of}, {level} from customer_profitability")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    try:
        counted, factorised, total = main(folder)
        print(f"{counted:,} cost lines and {factorised:,} allocation lines recomputed, {total:,.2f} booked.")
    except (duckdb.Error, LookupError, TypeError) as error:
        wrong.append(f"{folder} cannot be recomputed: {type(error).__name__}: {error}")
    print("\n".join(wrong[:SHOWN]) + f"\n{len(wrong):,} differences." if wrong else "No difference.")
    sys.exit(bool(wrong))
