"""What a delivery says about itself, held against what was read: totals, row counts, and one row per key.

Here are the controls of a single load, before it becomes part of the raw layer. What only shows over several loads
(vouchers that balance, trial balances, revenue in credit) is checked in dbt, `marts.control_failures`.

A source may state totals inside its documents (`totals:` in the dialect), or in a file `control.csv` beside its files:

    file,rows,column,total
    GL_Detail_20260301_20260331.txt,12345,functional_amount,0.00

with rows, or column (of the contract) and total, left empty where they are not known.
"""

from __future__ import annotations

import csv
import decimal
import glob
import io
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import duckdb

from assets.errors import DeliveryError
from assets.ingest import storage, values
from assets.ingest.contract import Entity, load_contract
from assets.ingest.delivery import CONTROL_FILE, DeliveredFile, candidates, delivered_files
from assets.ingest.dialect import Binding, Totals
from assets.ingest.reading import Frame
from assets.ingest.sql import identifier, literal

if TYPE_CHECKING:
    from assets.ingest.engine import Delivery


FEW_REPEATED = 1000
"""So many rows with a key that is delivered more than once are looked up; of more, all rows are looked through."""


def refuse_wrong_totals(
    connection: duckdb.DuckDBPyConnection,
    delivery: Delivery,
    file: DeliveredFile,
    frame: Frame,
    rows: str,
    totals: Totals | None,
    amount: Binding | None,
) -> None:
    """Raise DeliveryError when a file does not hold what it, or the control file beside it, says it holds.

    `rows` is SQL of the file's canonical rows, `amount` the binding of the ledger amount, if the entity has one.
    """
    problems = []
    if totals is not None:
        problems += _against_document(connection, frame, rows, totals, amount)
    problems += _against_control_file(connection, delivery, file, frame, rows)
    if problems:
        raise DeliveryError(
            f"{delivery.where}: {file.name} does not hold what it should: {'; '.join(problems)}. It was probably cut off, "
            "or changed after its totals were made: ask the source for the file again. Nothing of it was taken."
        )


def _against_document(
    connection: duckdb.DuckDBPyConnection, frame: Frame, rows: str, totals: Totals, amount: Binding | None
) -> list[str]:
    found = {
        "rows": f"select count(*) from ({frame.relation})",
        "vouchers": f"select count(distinct journal_id) from ({rows})",
        "debit": f"select sum({_side(frame, amount, 'debit')}) from ({frame.relation if _two_sided(amount) else rows})",
        "credit": f"select sum({_side(frame, amount, 'credit')}) from ({frame.relation if _two_sided(amount) else rows})",
    }
    problems = []
    for name, path in totals:
        stated = _number(frame.stated.get(path)) if path else None
        if stated is None:
            continue
        read = _number(_one(connection, found[name])) or decimal.Decimal(0)
        if read != stated:
            problems.append(f"it states {name} {stated:f} at '{path}', and {read:f} were read")
    return problems


def _two_sided(amount: Binding | None) -> bool:
    return amount is not None and amount.debit is not None


def _side(frame: Frame, amount: Binding | None, side: str) -> str:
    """SQL of what a row adds to one side: negative debits stay debits, as the document counts them."""
    if amount is not None and amount.debit is not None:
        texts = [frame.text(n) for n in frame.find((amount.debit if side == "debit" else amount.credit) or ())]
        return f"coalesce({', '.join(values.number(text, 22, 4, frame.decimal) for text in texts)}, 0)"
    return f"greatest({'' if side == 'debit' else '-'}functional_amount, 0)"


def _against_control_file(
    connection: duckdb.DuckDBPyConnection, delivery: Delivery, file: DeliveredFile, frame: Frame, rows: str
) -> list[str]:
    problems = []
    for entry in control_entries(file.path.parent, delivery.where):
        if entry["file"] not in (file.name, file.path.name, file.member):
            continue
        stated_rows, stated_total = _number(entry["rows"]), _number(entry["total"])
        if stated_rows is not None and stated_rows != frame.rows:
            problems.append(f"{CONTROL_FILE} says {stated_rows} rows, and {frame.rows} were read")
        if stated_total is not None and entry["column"]:
            try:
                read = _number(_one(connection, f"select sum({identifier(entry['column'])}) from ({rows})"))
            except duckdb.BinderException as error:
                if entry["column"] not in load_contract().entities[delivery.entity].columns:
                    continue  # a column of another entity that is read from the same file
                raise DeliveryError(
                    f"{delivery.where}: {CONTROL_FILE} states a total of {entry['column']}, which is no amount of "
                    f"{delivery.entity} ({str(error).splitlines()[0]}). Correct it and run the date again. Nothing was taken."
                ) from None
            if (read or decimal.Decimal(0)) != stated_total:
                problems.append(f"{CONTROL_FILE} says {entry['column']} adds up to {stated_total}, and it is {read}")
    return problems


def control_entries(folder: Path, where: str) -> list[dict[str, str]]:
    """What the control file of a delivery says, line by line. Raises DeliveryError when it cannot be held against anything."""
    path = folder / CONTROL_FILE
    if not path.exists():
        return []
    names = ("file", "rows", "column", "total")
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True)
        rows = [(reader.line_num, {name: (row.get(name) or "").strip() for name in names}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DeliveryError(f"{where}: {CONTROL_FILE} cannot be read ({error}): save it as CSV in UTF-8.") from None
    if not {"file"} < set(reader.fieldnames or ()) <= set(names):
        raise DeliveryError(
            f"{where}: {CONTROL_FILE} has the columns {', '.join(reader.fieldnames or ()) or '(none)'}, and should have "
            f"{', '.join(names)}. Correct it and run the date again. Nothing was taken."
        )
    delivered = {path.name for path in candidates(folder)}
    columns = {column for entity in load_contract().entities.values() for column in entity.columns}
    for line, entry in rows:
        problem = None
        if any(entry[name] and _number(entry[name]) is None for name in ("rows", "total")):
            problem = f"says {entry['rows'] or entry['total']!r} where a number should stand"
        elif bool(entry["total"]) != bool(entry["column"]):
            problem = "states a total without its column, or a column without its total"
        elif entry["column"] and entry["column"] not in columns:
            problem = f"names the column '{entry['column']}', which is none of the contract"
        elif entry["file"] not in delivered and not _is_member(folder, entry["file"], where):
            problem = f"names the file '{entry['file']}', which was not delivered"
        if problem:
            raise DeliveryError(
                f"{where}: line {line} of {CONTROL_FILE} {problem}. Deliver what is missing, or correct it, and run the date "
                "again. Nothing was taken."
            )
    return [entry for _, entry in rows]


def _is_member(folder: Path, name: str, where: str) -> bool:
    """Whether an archive of the delivery holds a file of this name."""
    escaped = glob.escape(PurePosixPath(name).name)
    return any(name in (file.name, file.member) for file in delivered_files(folder, (escaped,), where))


def _number(text: object) -> decimal.Decimal | None:
    try:
        return decimal.Decimal(str(text).replace(",", "")).normalize() if text not in (None, "") else None
    except decimal.InvalidOperation:
        return None


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> object:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


def quarantine_conflicts(connection: duckdb.DuckDBPyConnection, path: Path, entry: storage.Entry, spec: Entity) -> None:
    """Quarantine the rows of a written load that say different things of one key, when the source does not say which is newer.

    The same row twice is no conflict. Nothing tells which of two different rows holds, so neither is taken: a voucher
    short of a line does not balance, and is seen.
    """
    keys = ", ".join(identifier(key) for key in spec.key)
    read = f"read_parquet({literal(str(path))}, file_row_number = true)"
    good = f"from {read} where quarantine_reason is null and not is_deleted"
    # Few loads repeat a key, and few keys. Hashes tell which at half the cost; where two keys share one only time is lost.
    repeats = connection.execute(
        f"select hash({keys}) as h {good} group by h having count(*) > 1 limit {FEW_REPEATED + 1}"
    ).fetchall()
    if not repeats:
        return
    if len(repeats) <= FEW_REPEATED:
        hashes = f"[{', '.join(str(row[0]) for row in repeats)}]"
        rows = connection.execute(
            f"select file_row_number {good} and list_contains(cast({hashes} as ubigint[]), hash({keys})) "
            f"limit {FEW_REPEATED + 1}"
        ).fetchall()
        if len(rows) <= FEW_REPEATED:
            good += f" and file_row_number in ({', '.join(str(row[0]) for row in rows)})"
    repeated = f"with repeated as (select {keys} {good} group by {keys} having count(*) > 1) "
    same = " and ".join(f"a.{identifier(key)} is not distinct from b.{identifier(key)}" for key in spec.key)
    qualified = ", ".join(f"a.{identifier(name)}" for name in spec.columns)
    by_key = ", ".join(f"a.{identifier(key)}" for key in spec.key)
    conflicting = (
        f"select {by_key}, min(a.source_row) as first_row from (select * {good}) as a inner join repeated as b on {same} "
        f"group by {by_key} having count(distinct hash({qualified})) > 1"
    )
    if not connection.execute(f"{repeated} {conflicting} limit 1").fetchone():
        return
    shown = ", ".join(spec.key)
    reason = (
        f"{literal(f'{shown}: the delivery says different things of this key (first in line ')} || first_row || "
        f"{literal('), and not which is newer')}"
    )
    struct = ", ".join(f"{identifier(name)} := a.{identifier(name)}" for name in spec.columns)
    mended = path.with_name(f"{path.name}.conflicts")
    try:
        storage.write(
            connection,
            f"select a.* exclude (file_row_number) replace (case when b.first_row is not null then {reason} else "
            "a.quarantine_reason end as quarantine_reason, case when b.first_row is not null then "
            f"cast(to_json(struct_pack({struct})) as varchar) else a.source_record end as source_record) from {read} as a "
            f"left join ({repeated} {conflicting}) as b on {same} and a.quarantine_reason is null and not a.is_deleted "
            "order by a.file_row_number",
            *(entry, mended),
        )
        os.replace(mended, path)
    finally:
        mended.unlink(missing_ok=True)
