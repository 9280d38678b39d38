"""Why is this 37.11? The chain from a customer's cost line to the ledger lines and driver rows behind it.

Every step is taken from the published tables, and each can be redone on a pocket calculator. The driver rows themselves
(which orders, which cases) are read from the warehouse where it is at hand.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from assets.errors import WhalecurveError
from assets.publish.summary import open_release

SHOWN_LEDGER_LINES = 8
SHOWN_ROWS = 12


def explain(
    releases: Path,
    customer: str,
    month: datetime.date | None,
    pool: str | None,
    *,
    warehouse: Path | None = None,
) -> str:
    """The sentences for one customer and month, one per cost line. Raises WhalecurveError when there is none."""
    _, connection = open_release(releases)
    with connection:
        month = month or _latest_month(connection, customer)
        lines = _rows(
            connection,
            """
            select * from customer_cost_lines
            where customer_id = ? and month = ? and (? is null or pool_id = ?)
            order by amount desc, pool_id
            """,
            [customer, month, pool, pool],
        )
        if not lines:
            raise WhalecurveError(_nothing(connection, customer, month, pool))
        total = sum((line["amount"] for line in lines), Decimal(0))
        parts = [f"{customer}, {month:%Y-%m}: {total:,.2f} on {len(lines)} cost line{'s' if len(lines) > 1 else ''}."]
        for line in lines:
            parts.append(_line(connection, line))
            if warehouse is not None and line["driver_id"]:
                parts.append(_driver_rows(warehouse, line))
    return "\n".join(parts)


def _latest_month(connection: duckdb.DuckDBPyConnection, customer: str) -> datetime.date:
    row = connection.execute("select max(month) from customer_cost_lines where customer_id = ?", [customer]).fetchone()
    if row is None or row[0] is None:
        raise WhalecurveError(_nothing(connection, customer, None, None))
    found = row[0]
    assert isinstance(found, datetime.date)
    return found


def _nothing(
    connection: duckdb.DuckDBPyConnection, customer: str, month: datetime.date | None, pool: str | None
) -> str:
    """Say which part of the question has no answer, and what would have one."""
    known = connection.execute("select 1 from customers where customer_id = ?", [customer]).fetchone()
    if not known:
        near = connection.execute(
            "select customer_id from customers order by jaro_winkler_similarity(customer_id, ?) desc, customer_id limit 1",
            [customer],
        ).fetchone()
        return (
            f"There is no customer '{customer}' in the current release{f'; did you mean {near[0]}?' if near else '.'}"
        )
    months = connection.execute(
        "select distinct month from customer_cost_lines where customer_id = ? order by month", [customer]
    ).fetchall()
    if not months:
        return f"{customer} carries no cost in the current release."
    asked = f" in {month:%Y-%m}" if month else ""
    of_pool = f" of the pool '{pool}'" if pool else ""
    return (
        f"{customer} carries no cost{of_pool}{asked}; it does in {len(months)} months, {months[0][0]:%Y-%m} to "
        f"{months[-1][0]:%Y-%m}."
    )


def _line(connection: duckdb.DuckDBPyConnection, line: dict[str, Any]) -> str:
    if line["stage"] == "direct":
        how = f"{line['amount']:,.2f} posted with this customer in the ledger (pool {line['pool_id']})"
        source = _ledger_lines(connection, line, of_customer=True)
    else:
        bit = f"{line['rounding_cents']:+d} cent rounding" if line["rounding_cents"] else "no rounding cent"
        how = (
            f"{line['amount']:,.2f} = {line['pool_amount']:,.2f} x {_plain(line['driver_quantity'])} / "
            f"{_plain(line['total_driver_quantity'])} {line['driver_unit']} ({bit})"
        )
        source = _ledger_lines(connection, line, of_customer=False)
    return f"\n{line['pool_name']}\n  {how}\n{source}"


def _ledger_lines(connection: duckdb.DuckDBPyConnection, line: dict[str, Any], *, of_customer: bool) -> str:
    """What the pool is made of: its ledger lines of the month, largest first."""
    rows = _rows(
        connection,
        """
        select * from pool_cost_lines
        where month = ? and pool_id = ? and (not ? or customer_id = ?)
        order by abs(amount_cents) desc, journal_id, journal_line_number
        """,
        [line["month"], line["pool_id"], of_customer, line["customer_id"]],
    )
    total = Decimal(sum(row["amount_cents"] for row in rows)) / 100
    shown = [
        f"    {Decimal(row['amount_cents']) / 100:>16,.2f}  {row['journal_id']}/{row['journal_line_number']}  "
        f"{row['gl_account_number']} {row['gl_account_name'] or ''}"
        f"{' / ' + row['cost_center_id'] if row['cost_center_id'] else ''}  ({_place(row)})"
        for row in rows[:SHOWN_LEDGER_LINES]
    ]
    more = len(rows) - len(shown)
    rest = [f"    {'':>16}  and {more} more ledger lines"] if more else []
    return "\n".join([f"  ledger: {total:,.2f} in {len(rows)} lines", *shown, *rest])


def _place(row: dict[str, Any]) -> str:
    """Where a ledger line stands: a line of a file, or a row of the result where the dialect joins several files."""
    joined = ", " in row["source_file"]
    return f"{row['source_file']} {'joined, row' if joined else 'line'} {row['source_row']}"


def _driver_rows(warehouse: Path, line: dict[str, Any]) -> str:
    """The records counted for this customer, as the warehouse holds them now."""
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            rows = _rows(
                connection,
                """
                select
                    driver_rows.source_record_id,
                    driver_rows.quantity / power(10, drivers.decimals)::decimal(10, 0) as quantity
                from costing.driver_rows
                join rules.drivers using (driver_id)
                where driver_rows.month = ? and driver_rows.driver_id = ? and driver_rows.customer_id = ?
                order by abs(driver_rows.quantity) desc, driver_rows.source_record_id
                """,
                [line["month"], line["driver_id"], line["customer_id"]],
            )
    except duckdb.Error:
        return "  driver rows: the warehouse is in use or not at hand; ask again when the run has ended"
    shown = ", ".join(f"{row['source_record_id']} ({_plain(row['quantity'])})" for row in rows[:SHOWN_ROWS])
    more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    return f"  driver rows: {len(rows)} records behind {_plain(line['driver_quantity'])} {line['driver_unit']}: {shown}{more}"


def _plain(quantity: Any) -> str:
    """A quantity without the zeros behind it."""
    return f"{Decimal(str(quantity)).normalize():,f}"


def _rows(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(query, parameters)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
