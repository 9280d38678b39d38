"""What a scenario changes: customer profit under it against the published one, customer by customer, to the cent.

Read from two sets of the same tables, so that it can be held against any other release or warehouse. Belongs here: the
comparison and its words. Not here: what a scenario is (`assets/costing/scenario.py`), and how it is computed
(`pipelines/what_if.py`).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import duckdb
import pandas as pd

from assets.costing.scenario import PriceChange
from assets.errors import ConfigurationError
from assets.publish.diff import Moved, moved, moved_text

TABLES = ("customer_profitability", "customer_cost_lines", "residual_cost_lines")
PRICE = "price"
"""The part of a change that comes from a price change."""
TO_THE_DIGIT = Decimal("0.0001")

Tables = Mapping[str, str]
"""Table of TABLES -> the relation that has it; for the published side also `customers`."""


@dataclass(frozen=True)
class Outcome:
    """Customer profit over some months, published and under a scenario. Amounts are in base currency."""

    months: tuple[datetime.date, datetime.date]
    """First and last, both included."""
    changes: tuple[str, ...]
    profit: tuple[Decimal, Decimal]
    """Operating profit on all customers, published and under the scenario."""
    residual: tuple[Decimal, Decimal]
    """Cost on residual lines, published and under the scenario."""
    lines: tuple[tuple[str, Decimal, Decimal], ...]
    """Residual lines that change: name, published, under the scenario."""
    moved: tuple[Moved, ...]
    """Customers whose profit or a part of it changes, the largest change first."""
    customers: pd.DataFrame
    """One row per customer with profit on either side: see `CUSTOMER_COLUMNS`."""


CUSTOMER_COLUMNS = (
    "customer_id",
    "customer_name",
    "net_revenue",
    "profit_published",
    "profit_scenario",
    "change",
    "through",
)


def outcome(
    connection: duckdb.DuckDBPyConnection,
    published: Tables,
    scenario: Tables,
    *,
    prices: Sequence[PriceChange],
    changes: Sequence[str],
    until: datetime.date,
    months: int,
) -> Outcome:
    """Compare the last `months` months up to that of `until`.

    A price change moves net revenue by its percentage and nothing else: the customer goes on as before, and so does every cost.
    Several for one customer add up. Raises ConfigurationError for one that meets no customer.
    """
    last = until.replace(day=1)
    first = _months_before(last, months - 1)
    within = f"month between '{first}' and '{last}'"
    found = {each.customer_id: each for each in moved(connection, (published, scenario), within)}
    revenue = _sums(connection, scenario, "net_revenue", within)
    effects = _price_effects(connection, published["customers"], prices, revenue)
    profits = [_sums(connection, tables, "operating_profit", within) for tables in (published, scenario)]
    for customer, effect in effects.items():
        before, after = (each.get(customer, Decimal(0)) for each in profits)
        was = found.get(customer, Moved(customer, before, after, ()))
        found[customer] = Moved(
            customer, was.before, was.after + effect, tuple(sorted([*was.parts, (PRICE, effect)], key=_by_size))
        )
    residuals = [_residuals(connection, tables, within) for tables in (published, scenario)]
    lines = [
        (name, residuals[0].get(name, Decimal(0)), residuals[1].get(name, Decimal(0)))
        for name in sorted(residuals[0].keys() | residuals[1].keys())
    ]
    ordered = tuple(sorted(found.values(), key=lambda each: (-abs(each.change), each.customer_id)))
    before = sum(profits[0].values(), Decimal(0))
    return Outcome(
        months=(first, last),
        changes=tuple(changes),
        profit=(before, before + sum((each.change for each in ordered), Decimal(0))),
        residual=(sum(residuals[0].values(), Decimal(0)), sum(residuals[1].values(), Decimal(0))),
        lines=tuple(line for line in lines if line[1] != line[2]),
        moved=ordered,
        customers=_customers(connection, published["customers"], profits[0], revenue, found),
    )


def outcome_text(name: str, release_id: str, found: Outcome) -> str:
    """What `whalecurve what-if` prints."""
    first, last = found.months
    rows = [
        ("operating profit on customers", *found.profit),
        ("residual lines", *found.residual),
        *((f"  {line}", before, after) for line, before, after in found.lines),
        ("after residual lines", found.profit[0] - found.residual[0], found.profit[1] - found.residual[1]),
    ]
    return "\n".join(
        [
            f"Scenario {name} beside release {release_id}, {first:%Y-%m} to {last:%Y-%m}; nothing was published.",
            *(f"  {change}" for change in found.changes),
            "",
            f"{'':<34}{'published':>18}{'scenario':>18}{'change':>18}",
            *(f"{text:<34}{before:>18,.2f}{after:>18,.2f}{after - before:>+18,.2f}" for text, before, after in rows),
            "",
            moved_text(found.moved),
        ]
    )


def curves_of(found: Outcome) -> list[tuple[str, list[tuple[int, float]]]]:
    """Whale curves of the period, published and under the scenario, as points (rank, cumulative profit)."""
    return [
        (name, _curve(found.customers[column]))
        for name, column in (("published", "profit_published"), ("scenario", "profit_scenario"))
    ]


def _curve(profits: pd.Series[Any]) -> list[tuple[int, float]]:
    total, points = Decimal(0), [(0, 0.0)]
    for rank, profit in enumerate(sorted(profits, reverse=True), start=1):
        total += profit
        points.append((rank, float(total)))
    return points


def _by_size(part: tuple[str, Decimal]) -> tuple[Decimal, str]:
    return -abs(part[1]), part[0]


def _months_before(month: datetime.date, count: int) -> datetime.date:
    place = month.year * 12 + month.month - 1 - count
    return datetime.date(place // 12, place % 12 + 1, 1)


def _sums(connection: duckdb.DuckDBPyConnection, tables: Tables, column: str, within: str) -> dict[str, Decimal]:
    return dict(
        connection.execute(
            f"select customer_id, sum({column}) from {tables['customer_profitability']} where {within} group by customer_id"
        ).fetchall()
    )


def _residuals(connection: duckdb.DuckDBPyConnection, tables: Tables, within: str) -> dict[str, Decimal]:
    return dict(
        connection.execute(
            f"select residual_line, sum(amount) from {tables['residual_cost_lines']} where {within} group by residual_line"
        ).fetchall()
    )


def _price_effects(
    connection: duckdb.DuckDBPyConnection, customers: str, prices: Sequence[PriceChange], revenue: Mapping[str, Decimal]
) -> dict[str, Decimal]:
    """Customer -> what the price changes add to net revenue, of those for whom that is anything."""
    percent: dict[str, Decimal] = {}
    for price in prices:
        column, value = ("customer_id", price.customer) if price.customer else (price.attribute, price.value)
        where, asked = (f"where {column} = ?", [value]) if column else ("", [])
        chosen = [
            row[0] for row in connection.execute(f"select customer_id from {customers} {where}", asked).fetchall()
        ]
        if not chosen:
            raise ConfigurationError(
                f"Price {price}: no customer of the release is meant. {_there(connection, customers, column)}"
            )
        for customer in chosen:
            percent[customer] = percent.get(customer, Decimal(0)) + price.percent
    effects = {
        customer: (revenue.get(customer, Decimal(0)) * part / 100).quantize(TO_THE_DIGIT, ROUND_HALF_UP)
        for customer, part in percent.items()
    }
    return {customer: effect for customer, effect in effects.items() if effect}


def _there(connection: duckdb.DuckDBPyConnection, customers: str, column: str | None) -> str:
    if column in (None, "customer_id"):
        return "Customer ids are those of the published table customers."
    values = connection.execute(
        f"select distinct {column} from {customers} where {column} is not null order by 1"
    ).fetchall()
    return (
        f"{column} is one of {', '.join(str(row[0]) for row in values[:20])}."
        if values
        else f"{column} is nowhere filled in."
    )


def _customers(
    connection: duckdb.DuckDBPyConnection,
    customers: str,
    published: Mapping[str, Decimal],
    revenue: Mapping[str, Decimal],
    found: Mapping[str, Moved],
) -> pd.DataFrame:
    """The list of customers, by the size of the change and then by id."""
    names = dict(connection.execute(f"select customer_id, customer_name from {customers}").fetchall())
    rows = []
    for customer in published.keys() | revenue.keys() | found.keys():
        profit = published.get(customer, Decimal(0))
        change = found[customer].change if customer in found else Decimal(0)
        through = (
            ", ".join(f"{part} {amount:+,.2f}" for part, amount in found[customer].parts[:3])
            if customer in found
            else ""
        )
        rows.append(
            (customer, names.get(customer), revenue.get(customer, Decimal(0)), profit, profit + change, change, through)
        )
    rows.sort(key=lambda row: (-abs(row[5]), row[0]))
    return pd.DataFrame(rows, columns=list(CUSTOMER_COLUMNS), dtype=object)
