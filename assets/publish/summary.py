"""A release on one screen: best and worst customers, the whale curve's peak, and the identity with the ledger.

Read from the published tables only, so that what is printed is what every other reader sees.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from assets.publish.privacy import notes
from assets.publish.release import DATABASE, require_current
from assets.restatements import STAGE

SHOWN_CUSTOMERS = 5
WHERE_ANY = ("credit cost", "sustaining")
"""Costs that are on customers only where the company says so; without any, the column is left out."""
SHOWN_FAILURES = 3
NAME_WIDTH = 30


def open_release(releases: Path) -> tuple[Path, duckdb.DuckDBPyConnection]:
    """The current release's folder and its database, read-only. Raises WhalecurveError when nothing is published."""
    release = require_current(releases)
    return release.path, open_database(release.path)


def open_database(release: Path) -> duckdb.DuckDBPyConnection:
    """The database of a release folder, read-only."""
    return duckdb.connect(str(release / DATABASE), read_only=True)


def summary(releases: Path) -> str:
    """The text `whalecurve run` ends with."""
    folder, connection = open_release(releases)
    with connection:
        parts = [
            _heading(connection, folder),
            _customers(connection),
            _whale_curve(connection),
            _ledger(connection),
            _warnings(connection),
            _unconverted(connection),
            _late(require_current(releases).manifest.get("late_sources", [])),
            _approvals(require_current(releases).manifest.get("approvals", [])),
            _restated(require_current(releases).manifest.get("checks", [])),
            "\n".join(notes(require_current(releases).manifest.get("privacy", {}))),
            f"Release   {_shown(folder)}\nReport    {_shown(folder / 'report.html')}",
        ]
    return "\n\n".join(part for part in parts if part)


def _heading(connection: duckdb.DuckDBPyConnection, folder: Path) -> str:
    row = connection.execute("select max(as_of_date) from customers").fetchone()
    assert row is not None
    totals = connection.execute(
        """
        select count(distinct customer_id), sum(net_revenue), sum(gross_margin), sum(operating_profit),
            (select coalesce(sum(amount), 0) from residual_cost_lines)
        from customer_profitability
        """
    ).fetchone()
    assert totals is not None
    customers, revenue, margin, profit, residual = totals
    return (
        f"As of {row[0]}: {customers:,} customers, net revenue {revenue:,.2f}, gross margin {margin:,.2f}.\n"
        f"Operating profit on customers {profit:,.2f}, after residual lines (full absorption) {profit - residual:,.2f}."
    )


def _customers(connection: duckdb.DuckDBPyConnection) -> str:
    """The best and the worst customers over all time."""
    rows = connection.execute(
        """
        with totals as (
            select
                customer_id,
                sum(net_revenue) as revenue,
                sum(gross_margin) as margin,
                sum(
                    direct_cost_to_serve + activity_cost_variable + activity_cost_step_fixed + activity_cost_fixed
                ) as cost,
                sum(expected_credit_loss + financing_cost) as credit,
                sum(allocated_sustaining) as sustaining,
                sum(operating_profit) as profit
            from customer_profitability
            group by customer_id
        )
        select
            totals.customer_id,
            coalesce(customers.customer_name, '') as customer_name,
            revenue, margin, cost, credit, sustaining, profit,
            row_number() over (order by profit desc, totals.customer_id) as place,
            count(*) over () as customer_count
        from totals left join customers using (customer_id)
        qualify place <= $shown or place > customer_count - $shown
        order by place
        """,
        {"shown": SHOWN_CUSTOMERS},
    ).fetchall()
    width = NAME_WIDTH if any(row[1] for row in rows) else 0
    headings = ["net revenue", "gross margin", "cost to serve", "credit cost", "sustaining", "profit"]
    shown = [
        place
        for place, heading in enumerate(headings)
        if heading not in WHERE_ANY or any(row[2 + place] for row in rows)
    ]
    lines = [f"{'customer':<10}{_padded('name', width)}" + "".join(f"{headings[place]:>16}" for place in shown)]
    for position, (customer, name, *amounts, place, count) in enumerate(rows):
        if position and place - rows[position - 1][-2] > 1:
            lines.append(f"{'...':<10}{place - rows[position - 1][-2] - 1:,} more customers of {count:,}")
        figures = "".join(f"{amounts[column]:>16,.2f}" for column in shown)
        lines.append(f"{customer:<10}{_padded(name, width)}{figures}")
    return "\n".join(lines)


def _whale_curve(connection: duckdb.DuckDBPyConnection) -> str:
    """Where cumulative profit peaks: in percent of the total, or in money when the total is not positive."""
    row = connection.execute(
        """
        select
            max(cumulative_profit) filter (is_peak), max(customer_rank) filter (is_peak),
            max(customer_rank), any_value(total_profit)
        from whale_curve
        where profit_level = 'operating_profit' and period = 'all'
        """
    ).fetchone()
    assert row is not None
    peak, rank, count, total = row
    if peak is None:
        return "Whale curve: no customer earns anything yet."
    if rank == count:
        return f"Whale curve: all {count:,} customers earn something, {total:,.2f} together."
    if peak == total:
        return (
            f"Whale curve: the best {rank:,} of {count:,} customers earn all of {total:,.2f}; the others earn nothing."
        )
    share = f"{peak / total:.1%} of the total" if total > 0 else "while all together lose money"
    return (
        f"Whale curve: the best {rank:,} of {count:,} customers earn {peak:,.2f}, {share}; "
        f"the other {count - rank:,} cost {peak - total:,.2f} of it."
    )


def _ledger(connection: duckdb.DuckDBPyConnection) -> str:
    """The identity every release is gated on, from three independent places: ledger lines, pools, and cost lines."""
    row = connection.execute(
        """
        select
            (select sum(amount_cents) from pool_cost_lines),
            (select sum(actual_amount) from cost_pools),
            (select sum(amount) from customer_cost_lines),
            (select sum(amount) from residual_cost_lines)
        """
    ).fetchone()
    assert row is not None
    if all(amount is None for amount in row):
        return "No cost is in the ledger's scope: cost to serve is not known, and profit is gross margin."
    ledger = Decimal(row[0] or 0) / 100
    pools, customers, residual = (amount or Decimal(0) for amount in row[1:])
    lines = [
        "ledger cost = on customers + residual lines",
        f"  ledger      {ledger:>18,.2f}",
        f"  cost pools  {pools:>18,.2f}",
        f"  assigned    {customers + residual:>18,.2f}  = {customers:,.2f} on customers + {residual:,.2f} on residual lines",
    ]
    residuals = connection.execute(
        "select residual_line, sum(amount) from residual_cost_lines group by residual_line order by sum(amount) desc"
    ).fetchall()
    lines += [f"      {amount:>16,.2f}  {name}" for name, amount in residuals]
    return "\n".join(lines)


def _warnings(connection: duckdb.DuckDBPyConnection) -> str:
    """Reconciliation checks that do not tie and that the company lets pass as warnings, with the first failures of each."""
    rows = connection.execute(
        """
        select check_name, count(*), sum(ledger_amount), sum(assigned_amount), any_value(reason)
        from reconciliation
        where status = 'warn'
        group by check_name
        order by check_name
        """
    ).fetchall()
    return "\n".join(
        f"WARNING  {name} does not tie in {months} months: ledger {ledger:,.2f}, here {assigned:,.2f}, "
        f"difference {ledger - assigned:,.2f}. {reason or ''}".rstrip()
        + _failures(connection, name)
        for name, months, ledger, assigned, reason in rows
    )


def _failures(connection: duckdb.DuckDBPyConnection, check_name: str) -> str:
    """The largest failures of a control of the ledger, one indented line each; empty for other checks."""
    rows = connection.execute(
        """
        select explanation, count(*) over ()
        from control_failures
        where check_name = ?
        order by abs(difference) desc, month, explanation
        """,
        [check_name],
    ).fetchmany(SHOWN_FAILURES)
    lines = [explanation for explanation, _ in rows]
    if rows and rows[0][1] > len(rows):
        lines.append(f"and {rows[0][1] - len(rows):,} more in control_failures")
    return "".join(f"\n         {line}" for line in lines)


def _unconverted(connection: duckdb.DuckDBPyConnection) -> str:
    """Amounts in other currencies that are in no figure of the release, for want of a rate."""
    rows = connection.execute(
        """
        select entity, source_instance, currency_code, reason, count(*), sum(amount), min(document_date), max(document_date)
        from unconverted_amounts
        group by all
        order by all
        """
    ).fetchall()
    return "\n".join(
        f"LEFT OUT  {count:,} {entity} rows of {source} from {first} to {last}, {amount:,.2f} {currency or ''} in all: {reason}."
        for entity, source, currency, reason, count, amount, first, last in rows
    )


def _late(sources: Sequence[Mapping[str, str | None]]) -> str:
    """Sources that should have delivered for the date of the release and have not."""
    said = []
    for one in sources:
        last = f"its last delivery was for {one['last_delivery']}" if one["last_delivery"] else "it has never delivered"
        said.append(f"LATE      {one['source']} is missing: {last}. When it comes, run the date again.")
    return "\n".join(said)


def _approvals(approvals: Sequence[Mapping[str, str]]) -> str:
    """The checks that said no, and who let the release out in spite of them."""
    return "\n".join(
        f"APPROVED  {each['table_name']}, {each['check_name']}: {each['observed']}.\n"
        f"          Released in spite of it by {each['approved_by']}: {each['approval_reason']}"
        for each in approvals
    )


def _restated(checks: Sequence[Mapping[str, Any]]) -> str:
    """The months that were restated, by whom and why."""
    return "\n".join(
        f"RESTATED  {each['observed']}.\n          {each['detail']}" for each in checks if each["stage"] == STAGE
    )


def _padded(text: str, width: int) -> str:
    """`text` cut and padded to `width` columns of a terminal, where a Chinese character takes two."""
    import unicodedata

    shown, used = "", 0
    for character in text:
        columns = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used + columns > width - 2:
            break
        shown, used = shown + character, used + columns
    return shown + " " * (width - used)


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
