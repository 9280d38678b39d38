"""Why is this 37.11? The chain from a cost line to the ledger lines and driver rows behind it.

Every step is taken from the published tables, and each can be redone on a pocket calculator. Asked for a customer it
explains the customer's cost lines of a month; asked for a residual line (`UNUSED:field_visits`) or a pool, those.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from assets.errors import WhalecurveError
from assets.publish.summary import open_release

SHOWN_LEDGER_LINES = 8
SHOWN_ORIGIN_LINES = 3
SHOWN_ROWS = 12
SHOWN_RECEIVERS = 8

Row = dict[str, Any]
_Key = TypeVar("_Key")

REASONS = {
    "SUSTAINING": "no driver divides it: it keeps the business going, whoever buys",
    "UNALLOCATED:NO_RULE": "no rule of the month says how to divide it",
    "UNALLOCATED:ZERO_DRIVER": "nobody used anything of its driver",
    "UNALLOCATED:CLOSED_LOOP": "these service pools serve only each other",
    "UNALLOCATED:UNMATCHED_CUSTOMER": "the customer is not known",
}


def explain(
    releases: Path,
    asked: str,
    month: datetime.date | None,
    pool: str | None,
    *,
    by_ledger_line: bool = False,
) -> str:
    """The sentences for a customer, a residual line or a pool in one month (default: the latest with cost).

    `pool` keeps the lines of one pool. `by_ledger_line` shows of every ledger line what of it is in the line explained.
    Raises WhalecurveError when there is nothing to explain, saying what there is.
    """
    _, connection = open_release(releases)
    with connection:
        if not _known(connection, "customers", "customer_id", asked):
            if _known(connection, "residual_cost_lines", "residual_line", asked):
                return _lines(connection, "residual_cost_lines", "residual_line", asked, month, pool, by_ledger_line)
            if _known(connection, "pool_months", "pool_id", asked):
                return _pool(connection, asked, month)
        return _lines(connection, "customer_cost_lines", "customer_id", asked, month, pool, by_ledger_line)


def ledger_parts(cents: int, weights: Mapping[_Key, Fraction | int], share: Fraction) -> dict[_Key, int]:
    """What of each ledger line is in a cost line: ledger line -> cents; they sum to `cents`, the line's own.

    `weights` are the cents of each ledger line that are in the pool, + or -; `share` is the line's part of the pool.
    weight x share, by largest remainder (ties: the larger weight, then the first). Only shown, never booked: what is
    booked stops at customer and pool.
    """
    exact = {key: Fraction(weight) * share for key, weight in weights.items()}
    parts = {key: floor(part) for key, part in exact.items()}
    if not parts:
        return parts
    each, more = divmod(cents - sum(parts.values()), len(parts))
    ranked = sorted(parts, key=lambda key: (parts[key] - exact[key], -abs(weights[key])))
    return {key: parts[key] + each + (place < more) for place, key in enumerate(ranked)}


class _Lineage:
    """What the released tables say of the rounds asked for, read once for all lines."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, lines: Sequence[Row]) -> None:
        self.months = sorted({line["driver_month"] for line in lines})
        self.rules = {
            (row["month"], row["pool_id"]): row for row in self._of_months(connection, "pool_months", "month")
        }
        self.drivers = {row["driver_id"]: row for row in _rows(connection, "select * from drivers")}
        self.budgets = {
            (row["month"], row["pool_id"], row["behaviour"]): row
            for row in self._of_months(connection, "budget_rates", "month")
        }
        self.charges = {
            _round(row): row for row in self._of_months(connection, "pool_charges", "driver_month") if row["is_posted"]
        }
        self.received: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        self.given: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in self._of_months(connection, "pool_flows", "driver_month"):
            if row["is_posted"]:
                self.received[_round(row, "receiver_id")].append(row)
                self.given[_round(row, "from_pool_id")].append(row)
        self.origins: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in self._of_months(connection, "pool_origins", "driver_month"):
            self.origins[_round(row)].append(row)
        pools = {line["pool_id"] for line in lines}
        pools |= {row["origin_pool_id"] for line in lines for row in self.origins[_gross_of(line)]}
        self.ledger: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in _rows(
            connection,
            "select * from pool_cost_lines "
            "where list_contains($1, driver_month) and driver_month between $1[1] and $1[-1] and list_contains($2, pool_id) "
            "order by abs(amount_cents) desc, journal_id, journal_line_number",
            [self.months, sorted(pools)],
        ):
            self.ledger[row["driver_month"], row["pool_id"], row["behaviour"]].append(row)

    def _of_months(self, connection: duckdb.DuckDBPyConnection, table: str, column: str) -> list[Row]:
        return _rows(connection, f"select * from {table} where list_contains($1, {column}) order by all", [self.months])

    def booked(self, line: Row, pool: str | None = None) -> list[Row]:
        """The ledger lines a round posts: those of its month whose cost is that of its driver month."""
        lines = self.ledger[line["driver_month"], pool or line["pool_id"], line["behaviour"]]
        return [row for row in lines if row["month"] == line["month"]]

    def name(self, line: Row) -> str:
        rule = self.rules.get((line["driver_month"], line["pool_id"]))
        return str(rule["pool_name"]) if rule else str(line["pool_id"])

    def authority(self, line: Row) -> str:
        """Who says that it is divided so."""
        rule = self.rules.get((line["driver_month"], line["pool_id"]))
        said = [f"pool {line['pool_id']}"]
        if line["behaviour"] != "unassigned":
            said.append(f"{line['behaviour'].replace('_', '-')} cost")
        if rule and rule["rule_id"]:
            said.append(f"rule {rule['rule_id']}")
        if rule and rule["approved_by"]:
            said.append(f"approved by {rule['approved_by']} {rule['approved_on'] or ''}".rstrip())
        return ", ".join(said)

    def parts(self, line: Row) -> list[tuple[Row, int]]:
        """Every ledger line behind a cost line, with what of it the line holds, largest first."""
        weights: dict[int, Fraction] = {}
        found: list[Row] = []
        origins = [(row["origin_pool_id"], row["amount_cents"]) for row in self.origins[_gross_of(line)]]
        if line["stage"] == "direct":
            origins = [(line["pool_id"], None)]
        for pool, cents in origins:
            booked = self.booked(line, pool)
            if line["stage"] == "direct":
                booked = [row for row in booked if row["customer_id"] == line.get("customer_id")]
            total = sum(row["amount_cents"] for row in booked)
            for row in booked:
                whole = Fraction(row["amount_cents"])
                weights[len(found)] = whole if cents is None else whole * cents / total if total else Fraction(0)
                found.append(row)
        amount, total_weight = _cents(line["amount"]), sum(weights.values())
        divided = line["driver_quantity"] is not None
        share = Fraction(line["driver_quantity"]) / Fraction(line["total_driver_quantity"]) if divided else Fraction(1)
        charge = self.charges.get(_round(line))
        if line["stage"] == "service" or (charge and charge["gross_cents"] != charge["charged_cents"]):
            # A budget, or what several service pools left: in proportion to what was booked.
            share = Fraction(amount) / total_weight if total_weight else Fraction(0)
        parts = ledger_parts(amount, weights, share)
        return sorted(((found[key], cents) for key, cents in parts.items()), key=lambda part: -abs(part[1]))


# Cost lines, of customers and residual lines


def _lines(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    column: str,
    asked: str,
    month: datetime.date | None,
    pool: str | None,
    by_ledger_line: bool,
) -> str:
    month = month or _latest_month(connection, table, column, asked)
    lines = _rows(
        connection,
        f"""
        select * from {table}
        where {column} = $1 and month = $2 and ($3 is null or pool_id = $3)
        order by abs(amount) desc, pool_id, behaviour, driver_month desc
        """,
        [asked, month, pool],
    )
    if not lines:
        raise WhalecurveError(_nothing(connection, table, column, asked, month, pool))
    lineage = _Lineage(connection, lines)
    rows = _driver_rows(connection, lines, asked) if column == "customer_id" else {}
    total = sum((line["amount"] for line in lines), Decimal(0))
    parts = [f"{asked}, {month:%Y-%m}: {total:,.2f} on {_count(len(lines), 'cost line')}."]
    for line in lines:
        parts.append(f"\n{lineage.name(line)}")
        parts += [f"  {said}" for said in _chain(lineage, line, rows, by_ledger_line)]
    if column == "customer_id" and pool is None:
        parts += _credit(connection, asked, month)
    return "\n".join(parts)


def _credit(connection: duckdb.DuckDBPyConnection, customer: str, month: datetime.date) -> list[str]:
    """The two costs of credit, which no ledger line stands for."""
    rows = _rows(
        connection, "select * from customer_credit_costs where customer_id = ? and month = ?", [customer, month]
    )
    return [
        text
        for row in rows
        for text in (
            "\nCredit (imputed: in no ledger line)",
            f"  {row['financing_cost']:,.2f} = {row['balance_days']:,.2f} of open balance x days x "
            f"{_plain(row['cost_of_capital'])} a year / 365",
            f"  {row['expected_credit_loss']:,.2f} = {row['allowance']:,.2f} expected to be lost of {row['exposure']:,.2f} owed "
            f"- {row['opening_allowance']:,.2f} at the end of the month before ({row['loss_rate_source']} rates)",
        )
    ]


def _chain(lineage: _Lineage, line: Row, rows: Mapping[Any, list[Row]], by_ledger_line: bool) -> list[str]:
    own = lineage.booked(line)
    if line["stage"] == "direct":
        own = [row for row in own if row["customer_id"] == line.get("customer_id")]
        whom = "with this customer" if "customer_id" in line else "with no known customer"
        said = [f"{line['amount']:,.2f} posted {whom} in the ledger ({lineage.authority(line)})"]
    elif line["driver_quantity"] is None:
        said = [_undivided(lineage, line)]
    else:
        said = [_divided(lineage, line)]
    counted = rows.get(_counted_by(line), []) if line.get("driver_id") else []
    if counted:
        said[0] += f"; {_plain(line['driver_quantity'])} {line['driver_unit']} = {_count(len(counted), 'record')}"
    if by_ledger_line:
        said += _by_ledger_line(lineage, line)
    else:
        received = _received(lineage, line)
        said += _ledger_lines("ledger", own, SHOWN_LEDGER_LINES) if own or not received else []
        said += received
    if line.get("driver_id") and line["driver_quantity"] is not None and "customer_id" in line:
        said.append(_records(lineage, line, counted))
    return said


def _divided(lineage: _Lineage, line: Row) -> str:
    """The sentence of a line that a driver divided."""
    quantity, total = _plain(line["driver_quantity"]), _plain(line["total_driver_quantity"])
    charge = lineage.charges.get(_round(line))
    driver = lineage.drivers.get(line.get("driver_id") or (charge or {}).get("driver_id"), {})
    unit, of_pool = driver.get("unit", "units"), f"{line['pool_amount']:,.2f}"
    bit = line["rounding_cents"]
    cent = f"{bit:+d} cent rounding" if bit else "no rounding cent"
    how = f"{line['amount']:,.2f} = {quantity} of {total} {unit} x {of_pool}"
    if line["previous_pool_amount"]:
        how += f" less {quantity} of {total} {unit} x {line['previous_pool_amount']:,.2f}"
    how += f" ({cent}; {lineage.authority(line)})"
    name = str(line.get("residual_line", ""))
    if name.startswith("UNUSED:"):
        how += f"; {quantity} {unit} of the capacity were idle"
    elif name:
        how += f"; {REASONS.get(name, '')}"
    if line["month"] != line["driver_month"]:
        how += (
            f"; this month took back cost of {line['driver_month']:%Y-%m}: what is left of it is divided again as it was, "
            "less what had been divided before"
        )
    if charge:
        how += _quantities_of(lineage, line, charge) + _made_of(lineage, line, charge)
    return how


def _quantities_of(lineage: _Lineage, line: Row, charge: Row) -> str:
    """Whose quantities divide, where they are not those of the pool's own driver in the month."""
    rule = lineage.rules.get((line["driver_month"], line["pool_id"]), {})
    if charge["quantity_month"] != line["driver_month"]:
        return (
            f"; by the quantities of {charge['quantity_month']:%Y-%m}, as {line['driver_month']:%Y-%m} has none "
            f"(zero_policy of driver {charge['driver_id']})"
        )
    if charge["driver_id"] not in (rule.get("driver_id"), rule.get("fixed_driver_id")):
        return f"; by driver {charge['driver_id']}, as {rule.get('driver_id')} has no quantity in the month (its zero_policy)"
    return ""


def _made_of(lineage: _Lineage, line: Row, charge: Row) -> str:
    """What the pool's amount is: its own ledger lines and what it received, or a budget."""
    received = [row for row in lineage.received[_round(line)] if row["total_cents"]]
    from_others = sum(row["total_cents"] for row in received)
    own = f"{_money(charge['gross_cents'] - from_others)} of its own"
    if line["month"] == line["driver_month"]:
        own += f" ({_count(len(lineage.booked(line)), 'ledger line')})"
    names = ", ".join(row["from_pool_id"] for row in received)
    made = [own] if charge["gross_cents"] != from_others or not received else []
    if received:
        made.append(f"{_money(from_others)} received from {names}")
    pool_is = f"the pool is {' + '.join(made)}"
    if charge["charged_cents"] == charge["gross_cents"]:
        return f"; {pool_is}"
    difference = charge["gross_cents"] - charge["charged_cents"]
    return (
        f"; {_charged(lineage, line, charge)}; {pool_is}, and the difference of {_money(difference)} is "
        f"VARIANCE:{line['pool_id']}"
    )


def _charged(lineage: _Lineage, line: Row, charge: Row) -> str:
    """How a budget comes to what is charged."""
    said = f"{_money(charge['charged_cents'])} charged by budget"
    budget = lineage.budgets.get((line["driver_month"], line["pool_id"], line["behaviour"]))
    if not budget:
        return f"{said}, which plans no such cost"
    said += f" = {_money(budget['budget_cents'])} a month"
    planned, charged = _budgeted(lineage, line, charge, budget)
    if planned is not None and planned != charged:
        driver = lineage.drivers[charge["driver_id"]]
        said += f" x {_units(charged, driver)} / {_units(planned, driver)} planned {driver['unit']}"
    return said


def _budgeted(lineage: _Lineage, line: Row, charge: Row, budget: Row) -> tuple[int | None, int]:
    """The quantity a budget was made for, and the quantity it is charged for."""
    rule = lineage.rules[line["driver_month"], line["pool_id"]]
    used = int(charge["used_quantity"])
    has_capacity = line["behaviour"] != "variable" and (not rule["fixed_driver_id"] or line["behaviour"] == "fixed")
    capacity = rule["capacity_quantity"] if has_capacity else None
    if capacity is None:
        return budget["budget_quantity"], used
    return capacity, max(used, capacity) if rule["overload"] == "standard" else capacity


def _undivided(lineage: _Lineage, line: Row) -> str:
    name, amount = str(line.get("residual_line", "")), f"{line['amount']:,.2f}"
    authority = lineage.authority(line)
    charge = lineage.charges.get(_round(line))
    if name.startswith("VARIANCE:") and charge:
        if line["month"] != line["driver_month"]:
            return f"{amount} of what {line['driver_month']:%Y-%m} cost beyond its budget ({authority})"
        return f"{amount} = {_money(charge['gross_cents'])} that the pool cost - {_charged(lineage, line, charge)} ({authority})"
    reason = REASONS.get(name) or REASONS.get(name.partition(":")[0], "")
    if line["stage"] == "service":
        flow = next((row for row in lineage.given[_round(line)] if row["receiver_id"] == name), None)
        if flow and flow["total_quantity"] and name.startswith("UNUSED:"):
            return f"{amount} = {_flow(lineage, line, flow)} that nobody used ({authority})"
        return f"{amount} of the pool's cost: {reason} ({authority})"
    return f"{amount} is all of the pool's cost: {reason} ({authority})"


def _received(lineage: _Lineage, line: Row) -> list[str]:
    """What service pools charged the pool, and on which pools' ledger lines that was booked."""
    received = [row for row in lineage.received[_round(line)] if row["amount_cents"]]
    if not received:
        return []
    total = sum(row["amount_cents"] for row in received)
    said = [f"received: {_money(total)} from {_count(len(received), 'service pool')}"]
    for row in sorted(received, key=lambda row: (-abs(row["amount_cents"]), row["from_pool_id"])):
        said.append(f"  {_money(row['amount_cents']):>16}  from {row['from_pool_id']}: {_flow(lineage, line, row)}")
    for row in sorted(
        lineage.origins[_gross_of(line)], key=lambda row: (-abs(row["amount_cents"]), row["origin_pool_id"])
    ):
        pool, cents = row["origin_pool_id"], row["amount_cents"]
        if pool != line["pool_id"] and cents:
            booked = lineage.booked(line, pool)
            said += _ledger_lines(f"of it {_money(cents)} booked on {pool}, ledger", booked, SHOWN_ORIGIN_LINES)
    return said


def _flow(lineage: _Lineage, line: Row, flow: Row) -> str:
    """`3 of 7 seats x 28,000.00`: what a receiver uses of a service pool, times what that pool has to give."""
    given = [row for row in lineage.given[_round({**line, "pool_id": flow["from_pool_id"]})]]
    gross = _money(sum(row["total_cents"] for row in given))
    if not flow["total_quantity"]:
        return f"of {gross}"
    rule = lineage.rules.get((line["driver_month"], flow["from_pool_id"]), {})
    driver = lineage.drivers.get(rule.get("driver_id"), {"decimals": 0, "unit": "units"})
    use = f"{_units(flow['quantity'], driver)} of {_units(flow['total_quantity'], driver)} {driver['unit']} x {gross}"
    return use if flow["total_cents"] == flow["amount_cents"] else f"{use}, less what was charged before"


def _ledger_lines(title: str, rows: Sequence[Row], shown: int) -> list[str]:
    """Ledger lines, largest first."""
    total = sum(row["amount_cents"] for row in rows)
    said = [f"{title}: {_money(total)} in {_count(len(rows), 'line')}"]
    said += [f"  {_money(row['amount_cents']):>16}  {_ledger_line(row)}" for row in rows[:shown]]
    if len(rows) > shown:
        said.append(f"  {'':>16}  and {_count(len(rows) - shown, 'more ledger line')}")
    return said


def _by_ledger_line(lineage: _Lineage, line: Row) -> list[str]:
    parts = lineage.parts(line)
    if not parts:
        return ["ledger: no line; the amount is a budget's or nothing"]
    said = [f"ledger: {line['amount']:,.2f} of {_count(len(parts), 'line')} (here, booked)"]
    return said + [
        f"  {_money(cents):>16}{_money(row['amount_cents']):>18}  {_ledger_line(row)}"
        + (f"  on {row['pool_id']}" if row["pool_id"] != line["pool_id"] else "")
        for row, cents in parts
    ]


def _ledger_line(row: Row) -> str:
    return (
        f"{row['journal_id']}/{row['journal_line_number']}  {row['gl_account_number']} {row['gl_account_name'] or ''}"
        f"{' / ' + row['cost_center_id'] if row['cost_center_id'] else ''}  ({_place(row)})"
    )


def _place(row: Row) -> str:
    """Where a ledger line stands: a line of a file, or a row of the result where the dialect joins several files."""
    joined = ", " in row["source_file"]
    return f"{row['source_file']} {'joined, row' if joined else 'line'} {row['source_row']}"


# Driver rows


def _counted_by(line: Row) -> tuple[Any, Any]:
    return line["quantity_month"], line["driver_id"]


def _driver_rows(
    connection: duckdb.DuckDBPyConnection, lines: Sequence[Row], customer: str
) -> dict[tuple[Any, Any], list[Row]]:
    """The records counted for the customer, by month of the quantities and driver."""
    months = [line["quantity_month"] for line in lines if line["driver_id"]]
    found: dict[tuple[Any, Any], list[Row]] = defaultdict(list)
    for row in _rows(
        connection,
        "select * from driver_rows where customer_id = ? and month between ? and ? "
        "order by abs(quantity) desc, source_record_id",
        [customer, min(months, default=None), max(months, default=None)],
    ):
        found[row["month"], row["driver_id"]].append(row)
    return found


def _records(lineage: _Lineage, line: Row, rows: Sequence[Row]) -> str:
    driver = lineage.drivers[line["driver_id"]]
    shown = ", ".join(f"{row['source_record_id']} ({_units(row['quantity'], driver)})" for row in rows[:SHOWN_ROWS])
    more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    behind = f"{_plain(line['driver_quantity'])} {line['driver_unit']}"
    how = {"time_equation": ", by the terms of time_equations.csv", "stated": ", as stated"}.get(driver["measure"], "")
    net = sum(row["quantity"] for row in rows)
    if net < 0:
        how += f", taken for their size: in sum {_units(net, driver)}"
    return f"driver rows: {_count(len(rows), 'record')} behind {behind}{how}: {shown}{more}"


# Pools


def _pool(connection: duckdb.DuckDBPyConnection, pool: str, month: datetime.date | None) -> str:
    """Where a pool's cost of a month came from and where it went."""
    month = month or _latest_month(connection, "cost_pools", "pool_id", pool)
    found = _rows(connection, "select * from cost_pools where pool_id = $1 and month = $2", [pool, month])
    if not found:
        raise WhalecurveError(_nothing(connection, "cost_pools", "pool_id", pool, month, None))
    result = found[0]
    went = {
        "to other pools": result["given_amount"],
        "on customers": result["on_customers_amount"],
        f"UNUSED:{pool}": result["unused_amount"],
        "SUSTAINING": result["sustaining_amount"],
        "UNALLOCATED": result["unallocated_amount"],
        f"VARIANCE:{pool}": result["variance_amount"],
    }
    where = " + ".join(f"{amount:,.2f} {name}" for name, amount in went.items() if amount) or "0.00"
    received = f" + {result['received_amount']:,.2f} received" if result["received_amount"] else ""
    said = [
        f"{pool}, {month:%Y-%m}: {result['pool_name']}, stage {result['stage']}.",
        "",
        f"{result['gross_amount']:,.2f} = {result['actual_amount']:,.2f} of its own{received}",
        f"{result['gross_amount']:,.2f} = {where}",
    ]
    rounds = _rows(
        connection,
        """
        select distinct month, driver_month, pool_id, behaviour from (
            select month, driver_month, pool_id, behaviour from pool_cost_lines
            union all select month, driver_month, receiver_id, behaviour from pool_flows where is_posted
            union all select month, driver_month, from_pool_id, behaviour from pool_flows where is_posted
        ) where pool_id = $1 and month = $2 order by driver_month desc, behaviour
        """,
        [pool, month],
    )
    lineage = _Lineage(connection, rounds)
    for line in rounds:
        of = "" if line["driver_month"] == month else f", cost of {line['driver_month']:%Y-%m}"
        said += ["", f"{lineage.authority(line)}{of}"]
        if booked := lineage.booked(line):
            said += [f"  {text}" for text in _ledger_lines("ledger", booked, SHOWN_LEDGER_LINES)]
        said += [f"  {text}" for text in _received(lineage, line)]
        given = [row for row in lineage.given[_round(line)] if row["amount_cents"]]
        if given:
            said.append(f"  passed on: {_money(sum(row['amount_cents'] for row in given))}")
        for row in given:
            said.append(f"    {_money(row['amount_cents']):>16}  to {row['receiver_id']}: {_flow(lineage, line, row)}")
    receivers = _rows(
        connection,
        "select customer_id, sum(amount) as amount from customer_cost_lines where pool_id = $1 and month = $2 "
        "group by customer_id order by abs(sum(amount)) desc, customer_id",
        [pool, month],
    )
    if receivers:
        said += ["", f"customers: {_count(len(receivers), 'receiver')}, the largest:"]
        said += [f"  {row['amount']:>18,.2f}  {row['customer_id']}" for row in receivers[:SHOWN_RECEIVERS]]
    return "\n".join(said)


# What there is


def _known(connection: duckdb.DuckDBPyConnection, table: str, column: str, asked: str) -> bool:
    return bool(connection.execute(f"select 1 from {table} where {column} = ? limit 1", [asked]).fetchone())


def _latest_month(connection: duckdb.DuckDBPyConnection, table: str, column: str, asked: str) -> datetime.date:
    amount = "gross_amount" if table == "cost_pools" else "amount"
    row = connection.execute(
        f"select coalesce(max(month) filter (where {amount} != 0), max(month)) from {table} where {column} = ?", [asked]
    ).fetchone()
    if row is None or row[0] is None:
        raise WhalecurveError(_nothing(connection, table, column, asked, None, None))
    found = row[0]
    assert isinstance(found, datetime.date)
    return found


def _nothing(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    column: str,
    asked: str,
    month: datetime.date | None,
    pool: str | None,
) -> str:
    """Say which part of the question has no answer, and what would have one."""
    if column == "customer_id" and not _known(connection, "customers", "customer_id", asked):
        near = connection.execute(
            "select customer_id from customers order by jaro_winkler_similarity(customer_id, ?) desc, customer_id limit 1",
            [asked],
        ).fetchone()
        return (
            f"There is no customer '{asked}' in the current release{f'; did you mean {near[0]}?' if near else '.'} "
            "A residual line (UNUSED:<pool>) or a pool can be explained as well."
        )
    months = connection.execute(
        f"select distinct month from {table} where {column} = ? order by month", [asked]
    ).fetchall()
    if not months:
        return f"{asked} carries no cost in the current release."
    during = f" in {month:%Y-%m}" if month else ""
    of_pool = f" of the pool '{pool}'" if pool else ""
    return (
        f"{asked} carries no cost{of_pool}{during}; it does in {_count(len(months), 'month')}, {months[0][0]:%Y-%m} to "
        f"{months[-1][0]:%Y-%m}."
    )


# Words and numbers


def _round(row: Row, pool: str = "pool_id") -> tuple[Any, Any, Any, Any]:
    return row["month"], row["driver_month"], row[pool], row["behaviour"]


def _gross_of(row: Row) -> tuple[Any, Any, Any, Any]:
    """Under what pool_origins says where the cost of a line was booked: service pools keep nothing, their residual does."""
    return _round(row, "residual_line" if row.get("stage") == "service" else "pool_id")


def _cents(amount: Decimal) -> int:
    return int(amount * 100)


def _money(cents: int) -> str:
    return f"{Decimal(cents) / 100:,.2f}"


def _units(quantity: int, driver: Row) -> str:
    """A whole quantity in units of its driver."""
    return _plain(Decimal(quantity).scaleb(-driver["decimals"]))


def _plain(quantity: Any) -> str:
    """A quantity without the zeros behind it."""
    return f"{Decimal(str(quantity)).normalize():,f}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _rows(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
    cursor = connection.execute(query, parameters)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
