"""Two releases compared: what was delivered, ruled or programmed differently, and which cents moved on which customer.

Read from the published tables of both, so that anybody can do it again. Belongs here: finding the differences and saying
them. Not here: why a single amount is what it is (`explain`).
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from assets.publish.release import DELIVERIES, Release, ReleaseError, find

WATERFALL = (
    ("net_revenue", "net revenue", 1),
    ("cost_of_goods_sold", "cost of goods sold", -1),
    ("expected_credit_loss", "expected credit loss", -1),
    ("financing_cost", "financing cost", -1),
)
"""Column of customer_profitability, its name, and its sign in profit; the rest of profit is in customer_cost_lines."""

SHOWN = 10
WHOLE_FOLDER = "company"
"""The name under which a manifest's `hashes` has the company folder as a whole; the other names are its files."""


@dataclass(frozen=True)
class Moved:
    """How much the operating profit of one customer moved, and through what: each part is a change of profit, and they add
    up to `change`."""

    customer_id: str
    before: Decimal
    after: Decimal
    parts: tuple[tuple[str, Decimal], ...]

    @property
    def change(self) -> Decimal:
        return self.after - self.before


@dataclass(frozen=True)
class Difference:
    """What differs between two releases."""

    before: Release
    after: Release
    deliveries: tuple[tuple[str, str], ...]
    """(added, removed or changed; source, entity, date and file)"""
    rules: tuple[tuple[str, str], ...]
    """(added, removed or changed; file of the company folder)"""
    is_ruled_alike: bool
    is_programmed_alike: bool
    tables: tuple[tuple[str, int, int, int, int], ...]
    """(table, rows before, rows after, rows only before, rows only after), of tables whose rows differ"""
    moved: tuple[Moved, ...]
    """Customers whose profit or a part of it moved, the largest change first."""


def compare(releases: Path, before: str, after: str | None = None) -> Difference:
    """The differences between two releases by their ids; `after` None is the current one.

    Raises ReleaseError for a release that does not exist or lacks a table that is compared.
    """
    one, other = find(releases, before), find(releases, after)
    with duckdb.connect() as connection:
        tables = []
        for table in sorted(set(one.manifest["tables"]) | set(other.manifest["tables"])):
            rows = [int(each.manifest["tables"].get(table, {}).get("rows", 0)) for each in (one, other)]
            gone, new = _rows_that_differ(connection, one, other, table)
            if gone or new:
                tables.append((table, *rows, gone, new))
        return Difference(
            before=one,
            after=other,
            deliveries=tuple(_deliveries(connection, one, other)),
            rules=tuple(rule_changes(one.manifest["hashes"], other.manifest["hashes"])),
            is_ruled_alike=_is_ruled_alike(one.manifest["hashes"], other.manifest["hashes"]),
            is_programmed_alike=one.manifest["git_sha"] == other.manifest["git_sha"],
            tables=tuple(tables),
            moved=tuple(moved(connection, (_profit_files(one), _profit_files(other)))),
        )


def file_of(release: Release, table: str) -> str:
    """SQL that reads a table of a release. Raises ReleaseError when it has none."""
    path = release.path / f"{table}.parquet"
    if not path.is_file():
        raise ReleaseError(
            f"Release {release.release_id} has no table {table}, so it cannot be compared. Compare two releases of this "
            "version of Whalecurve."
        )
    return "read_parquet('" + str(path).replace("'", "''") + "')"


def _rows_that_differ(
    connection: duckdb.DuckDBPyConnection, one: Release, other: Release, table: str
) -> tuple[int, int]:
    described = [release.manifest["tables"].get(table) for release in (one, other)]
    if None in described or described[0]["columns"] != described[1]["columns"]:
        return tuple(int(each["rows"]) if each else 0 for each in described)  # type: ignore[return-value]
    if described[0]["sha256"] == described[1]["sha256"]:
        return 0, 0
    before, after = file_of(one, table), file_of(other, table)
    row: Any = connection.execute(
        f"select (select count(*) from (from {before} except all from {after})), "
        f"(select count(*) from (from {after} except all from {before}))"
    ).fetchone()
    return int(row[0]), int(row[1])


def _deliveries(connection: duckdb.DuckDBPyConnection, one: Release, other: Release) -> list[tuple[str, str]]:
    if not all(DELIVERIES in release.manifest["tables"] for release in (one, other)):
        return []
    rows = delivered_between(connection, file_of(one, DELIVERIES), file_of(other, DELIVERIES))
    return [(what, f"{source} {entity} {date} {file}") for what, source, entity, date, file, *_ in rows]


def delivered_between(connection: duckdb.DuckDBPyConnection, before: str, after: str) -> list[tuple[Any, ...]]:
    """(added, removed or changed; source, entity, date, file; rows of its load before and after) of each file that differs
    between two relations like the table `deliveries`."""
    return connection.execute(
        f"""
        select
            case when before.sha256 is null then 'added' when after.sha256 is null then 'removed' else 'changed' end as what,
            source_instance, entity, extract_date, file_name, before.rows_in, after.rows_in
        from {before} as before
        full join {after} as after using (source_instance, entity, extract_date, file_name)
        where (before.sha256, before.load_id) is distinct from (after.sha256, after.load_id)
        order by extract_date, source_instance, entity, what, file_name
        """
    ).fetchall()


def rule_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str]]:
    """(added, removed or changed; file of the company folder) between the `hashes` of two manifests.

    Empty also where one of them knows the folder as a whole only, as older releases do.
    """
    files = [{name: hash_ for name, hash_ in each.items() if name != WHOLE_FOLDER} for each in (before, after)]
    if not all(files):
        return []
    return [
        ("added" if name not in files[0] else "removed" if name not in files[1] else "changed", name)
        for name in sorted({*files[0], *files[1]})
        if files[0].get(name) != files[1].get(name)
    ]


def _is_ruled_alike(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    if WHOLE_FOLDER in before and WHOLE_FOLDER in after:
        return before[WHOLE_FOLDER] == after[WHOLE_FOLDER]
    return before == after


def rules_text(changes: Sequence[tuple[str, str]], before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What differs in the company folder, as lines."""
    said = "the same company folder" if _is_ruled_alike(before, after) else "the company folder differs"
    return [f"rules   {said}", *(f"  {what:<8} {file}" for what, file in changes)]


def code_text(before: str, after: str) -> str:
    """Whether the code is the same, as a line; a commit with changes that nobody committed may be any code."""
    if before != after:
        return f"code    {before} and {after}"
    return (
        "code    the same commit, with changes that are in no commit"
        if after.endswith("-dirty")
        else "code    the same"
    )


def moved(
    connection: duckdb.DuckDBPyConnection, sides: tuple[Mapping[str, str], Mapping[str, str]], within: str = "true"
) -> list[Moved]:
    """Customers whose operating profit, or a part of it, differs between two sets of customer_profitability and
    customer_cost_lines (table -> relation), in the rows that `within` (SQL) is true of; the largest change first."""
    connection.execute(
        "create or replace temp table parts (side integer, customer_id varchar, part varchar, profit decimal(38, 4))"
    )
    connection.execute(
        "create or replace temp table profits (side integer, customer_id varchar, profit decimal(38, 4))"
    )
    for side, tables in enumerate(sides):
        months = tables["customer_profitability"]
        for column, name, sign in WATERFALL:
            connection.execute(
                f"insert into parts select {side}, customer_id, ?, sum({sign} * {column}) from {months} where {within} "
                "group by customer_id",
                [name],
            )
        connection.execute(
            f"insert into parts select {side}, customer_id, pool_id, -sum(amount) "
            f"from {tables['customer_cost_lines']} where {within} group by customer_id, pool_id"
        )
        connection.execute(
            f"insert into profits select {side}, customer_id, sum(operating_profit) from {months} where {within} "
            "group by customer_id"
        )
    changes: dict[str, list[tuple[str, Decimal]]] = {}
    for customer, part, change in connection.execute(
        """
        select customer_id, part,
            coalesce(sum(profit) filter (side = 1), 0) - coalesce(sum(profit) filter (side = 0), 0) as change
        from parts group by all having change <> 0 order by customer_id, abs(change) desc, part
        """
    ).fetchall():
        changes.setdefault(customer, []).append((part, change))
    rows = connection.execute(
        """
        select customer_id, coalesce(sum(profit) filter (side = 0), 0), coalesce(sum(profit) filter (side = 1), 0)
        from profits group by customer_id
        """
    ).fetchall()
    found = [Moved(customer, before, after, tuple(changes.get(customer, ()))) for customer, before, after in rows]
    return sorted(
        (each for each in found if each.change or each.parts), key=lambda each: (-abs(each.change), each.customer_id)
    )


def moved_in(before: Release, after: Release, months: Collection[datetime.date]) -> list[Moved]:
    """Customers whose operating profit of these months (first days), or a part of it, differs between two releases."""
    within = f"month in ({', '.join(repr(str(each)) for each in months)})"
    with duckdb.connect() as connection:
        return moved(connection, (_profit_files(before), _profit_files(after)), within)


def _profit_files(release: Release) -> dict[str, str]:
    return {table: file_of(release, table) for table in ("customer_profitability", "customer_cost_lines")}


def diff_text(difference: Difference) -> str:
    """The difference as `whalecurve diff` prints it."""
    one, other = difference.before, difference.after
    return "\n\n".join(
        part
        for part in (
            f"From {one.release_id} to {other.release_id}, as of {one.as_of} and {other.as_of}.",
            _causes(difference),
            _tables_text(difference),
            moved_text(difference.moved),
        )
        if part
    )


def _causes(difference: Difference) -> str:
    counts = {what: sum(each == what for each, _ in difference.deliveries) for what in ("added", "changed", "removed")}
    counted = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    lines = [f"data    {counted + ' deliveries' if counted else 'the same deliveries'}"]
    lines += [f"  {what:<8} {delivery}" for what, delivery in difference.deliveries[:SHOWN]]
    before, after = difference.before.manifest, difference.after.manifest
    lines += _more(difference.deliveries, "deliveries")
    lines += rules_text(difference.rules, before["hashes"], after["hashes"])
    return "\n".join([*lines, code_text(before["git_sha"], after["git_sha"])])


def _tables_text(difference: Difference) -> str:
    if not difference.tables:
        return "Every row of every table is the same."
    heading = f"{'table':<28}{'rows before':>14}{'after':>12}{'gone':>12}{'new':>12}"
    rows = [f"{table:<28}{was:>14,}{now:>12,}{gone:>12,}{new:>12,}" for table, was, now, gone, new in difference.tables]
    return "\n".join([heading, *rows])


def moved_text(customers: Sequence[Moved]) -> str:
    """What moved, customer by customer, as lines."""
    total = sum((each.change for each in customers), Decimal(0))
    if not customers:
        return "No cent moved on any customer."
    lines = [
        f"Operating profit moved by {total:+,.2f} on {len(customers):,} customers:",
        f"{'customer':<20}{'before':>16}{'after':>16}{'change':>16}   through",
    ]
    for each in customers[:SHOWN]:
        through = ", ".join(f"{part} {change:+,.2f}" for part, change in each.parts[:3])
        more = f", {len(each.parts) - 3} more" if len(each.parts) > 3 else ""
        lines.append(
            f"{each.customer_id:<20}{each.before:>16,.2f}{each.after:>16,.2f}{each.change:>+16,.2f}   {through}{more}"
        )
    return "\n".join([*lines, *_more(customers, "customers")])


def _more(shown: Sequence[Any], what: str) -> list[str]:
    return [f"  and {len(shown) - SHOWN:,} more {what}"] if len(shown) > SHOWN else []
