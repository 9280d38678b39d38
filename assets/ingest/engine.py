"""Loading one delivery: the files of one entity, from one source, for one business date, into one raw file.

    with reading_connection() as connection:
        load_delivery(connection, landing, raw, "ledger", dialect, "gl_entry", date) -> Outcome

The same bytes read by the same dialect give the same load_id, and such a load is left as it is. The write is atomic, so
a run killed at any moment leaves the former load or the new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import duckdb

from assets.errors import DeliveryError
from assets.ingest import storage
from assets.ingest.compile import Header, compile_entity
from assets.ingest.contract import Contract, contract_hash, load_contract
from assets.ingest.dialect import Dialect, EntityMapping, Reading
from assets.ingest.reading import (
    DeliveredFile,
    describe,
    open_file,
    rejected_lines,
    relation,
    with_one_line_end,
)
from assets.ingest.sql import identifier, literal

ENGINE_VERSION = "1"
"""Part of every load_id: raise it when the engine reads the same bytes differently."""

IGNORED = (".", "~$")
"""Files of editors and of transfers still going on start so."""

SHOWN_REASONS = 5
FEW_ROWS = 20
"""Below so many quarantined rows a load is never refused: one bad row in a delivery of three is no broken file."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one delivery."""

    status: Literal["loaded", "unchanged", "absent"]
    load: storage.Load | None


def delivered_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a landing folder that match, in order of name."""
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith(IGNORED))


@contextlib.contextmanager
def reading_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """The connection deliveries are read through: one for many, because opening one costs more than a small delivery."""
    with tempfile.TemporaryDirectory() as spill, duckdb.connect() as connection:
        connection.execute("set autoinstall_known_extensions = false")
        connection.execute(f"set temp_directory = {literal(spill)}")
        yield connection


def load_delivery(
    connection: duckdb.DuckDBPyConnection,
    landing: Path,
    raw: Path,
    source: str,
    dialect: Dialect,
    entity: str,
    date: datetime.date,
    *,
    max_share: float = 1.0,
) -> Outcome:
    """Read one entity of one source's delivery into the raw layer.

    A source that delivered nothing at all for the date keeps what an earlier run read ("absent"). A delivery without
    files of this entity says nothing of it, and what an earlier delivery of the date said of it is taken back. Raises
    DeliveryError when a file cannot be read or more than `max_share` of the rows would be quarantined; the raw layer is
    then as before.
    """
    folder = landing / source / date.isoformat()
    if not folder.is_dir():
        return Outcome("absent", None)
    mapping = dialect.entities[entity]
    path = storage.load_path(raw, entity, source, date)
    groups = _delivered(folder, mapping)
    if not any(groups.values()):
        storage.remove_load(path)
        return Outcome("absent", None)
    load_id = _load_id(dialect, entity, groups)
    known = storage.read_registry(connection, path)
    if known is not None and known.load_id == load_id:
        return Outcome("unchanged", known)
    with tempfile.TemporaryDirectory() as scratch:
        reader = _Reader(connection, load_contract(), dialect, entity, f"{source}, {date}", Path(scratch))
        reader.read(mapping, groups)
        load = storage.Load(
            load_id=load_id,
            entity=entity,
            source=source,
            extract_date=date.isoformat(),
            dialect=dialect.dialect,
            files=[{"name": f.name, "size": f.size, "sha256": f.sha256} for files in groups.values() for f in files],
            rows_in=reader.rows_in,
            rows_out=reader.rows_in - reader.rows_quarantined - reader.rows_left_out,
            rows_quarantined=reader.rows_quarantined,
            rows_left_out=reader.rows_left_out,
            unread_columns=sorted(reader.unread),
        )
        _refuse_when_too_much(load, reader, max_share)
        storage.write_load(connection, reader.select(source, date, load_id), load, path)
    return Outcome("loaded", load)


def _delivered(folder: Path, mapping: EntityMapping) -> dict[str, list[DeliveredFile]]:
    """Input name -> files. An entity read from one kind of file has the single input ''."""
    patterns = {name: spec.files for name, spec in mapping.inputs.items()} or {"": mapping.files or ""}
    return {name: [describe(path) for path in delivered_files(folder, pattern)] for name, pattern in patterns.items()}


def _load_id(dialect: Dialect, entity: str, groups: dict[str, list[DeliveredFile]]) -> str:
    digest = hashlib.sha256()
    for part in (ENGINE_VERSION, contract_hash(entity), dialect.fingerprint(entity)):
        digest.update(part.encode() + b"\0")
    for name, files in sorted(groups.items()):
        for file in files:
            digest.update(f"{name}\0{file.name}\0{file.sha256}\0".encode())
    return digest.hexdigest()


def _refuse_when_too_much(load: storage.Load, reader: _Reader, max_share: float) -> None:
    if load.rows_quarantined <= FEW_ROWS or load.rows_quarantined <= max_share * load.rows_in:
        return
    reasons = reader.connection.execute(
        "select any_value(source_file), min(source_row), regexp_replace(quarantine_reason, '''[^'']*''', '...') as kind, "
        "any_value(quarantine_reason), count(*) from loaded where quarantine_reason is not null "
        f"group by kind order by count(*) desc, kind limit {SHOWN_REASONS}"
    ).fetchall()
    shown = "\n".join(f"  {count} rows such as {file} line {row}: {why}" for file, row, _, why, count in reasons)
    raise DeliveryError(
        f"{load.source}, {load.extract_date}: {load.rows_quarantined} of {load.rows_in} rows of {load.entity} cannot be "
        f"read by the dialect '{load.dialect}'; the company allows {max_share:.1%} (company.yml, quarantine.max_share).\n"
        f"{shown}\nMend the file or the dialect and run the date again. Nothing of it was taken."
    )


class _Reader:
    """Reads files into the temporary table `loaded`, counting rows."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        contract: Contract,
        dialect: Dialect,
        entity: str,
        where: str,
        scratch: Path,
    ) -> None:
        self.connection = connection
        self.rows_in = self.rows_quarantined = self.rows_left_out = 0
        self.unread: set[str] = set()
        self._spec = contract.entities[entity]
        self._entity = entity
        self._dialect = dialect
        self._where = where
        self._scratch = scratch
        columns = [f"{identifier(name)} {spec.sql_type}" for name, spec in self._spec.columns.items()]
        columns += ["source_row bigint", "source_modified_at timestamp", "is_deleted boolean"]
        columns += ["quarantine_reason varchar", "source_record varchar", "source_file varchar"]
        connection.execute(f"create or replace temp table loaded ({', '.join(columns)})")

    def read(self, mapping: EntityMapping, groups: dict[str, list[DeliveredFile]]) -> None:
        if mapping.select is not None:
            self._read_select(mapping, groups)
        else:
            for file in groups[""]:
                self._read_file(mapping, file)

    def select(self, source: str, date: datetime.date, load_id: str) -> str:
        """SQL of the raw file's rows, in the contract's order of columns."""
        constants = {
            "source_system": literal(self._dialect.dialect),
            "source_instance": literal(source),
            "extract_date": f"date {literal(date.isoformat())}",
            "load_id": literal(load_id),
        }
        columns = ", ".join(
            f"{constants[name]} as {identifier(name)}" if name in constants else identifier(name)
            for name in load_contract().raw_columns(self._entity)
        )
        return f"select {columns} from loaded order by source_file, source_row"

    def _read_file(self, mapping: EntityMapping, file: DeliveredFile) -> None:
        reading = self._dialect.reading(self._entity)
        opened = open_file(file, reading, self._scratch, f"{self._where} (dialect '{self._dialect.dialect}')")
        header = Header(opened.columns, reading, f"{self._where}, {file.name} (dialect '{self._dialect.dialect}')")
        sql, unread = compile_entity(
            self._dialect, self._entity, self._spec, mapping, header, relation(opened, reading)
        )
        try:
            self._insert(sql, file.name)
        except duckdb.Error:
            # The parser wants one kind of line end throughout; a file put together on two systems has several.
            rejected_lines(self.connection)
            opened = with_one_line_end(opened, self._scratch)
            sql, _ = compile_entity(self._dialect, self._entity, self._spec, mapping, header, relation(opened, reading))
            self._insert_or_refuse(sql, file.name, f"{header.shown}: the file cannot be read as {reading.format}")
        rejected = rejected_lines(self.connection)
        if rejected:
            self._add_rejected(rejected, file.name)
        delivered = self._count(f"({relation(opened, reading)})") if mapping.where else None
        rejected_lines(self.connection)
        self._account(file.name, None if delivered is None else delivered + len(rejected))
        self.unread.update(unread)

    def _add_rejected(self, rejected: list[tuple[int, str, str]], file: str) -> None:
        """Quarantine the lines that could not be split, and put the rows after them back to their own lines."""
        good_before = [line - 1 - position for position, (line, _, _) in enumerate(rejected, start=1)]
        self.connection.execute(
            "update loaded set source_row = source_row + len(list_filter(?::bigint[], before -> before < source_row - 1)) "
            "where source_file = ?",
            [good_before, file],
        )
        for line, text, reason in rejected:
            self.connection.execute(
                "insert into loaded by name select ? as source_row, false as is_deleted, ? as quarantine_reason, "
                "? as source_record, ? as source_file",
                [line, f"the line cannot be split into columns: {reason}", text, file],
            )

    def _read_select(self, mapping: EntityMapping, groups: dict[str, list[DeliveredFile]]) -> None:
        delivered = [file.name for files in groups.values() for file in files]
        absent = [f"{name} ({mapping.inputs[name].files})" for name, files in groups.items() if not files]
        if not delivered:
            return
        if absent:
            raise DeliveryError(
                f"{self._where} (dialect '{self._dialect.dialect}'): {self._entity} is joined from several files, and "
                f"no file was delivered for {', '.join(absent)}. Deliver it and run the date again. Nothing of it was taken."
            )
        for name, files in groups.items():
            reading = mapping.inputs[name].read or self._dialect.reading(self._entity)
            where = f"{self._where} (dialect '{self._dialect.dialect}')"
            parts = [relation(open_file(f, reading, self._scratch, where), reading) for f in files]
            selects = " union all by name ".join(f"select * exclude (source_row) from ({part})" for part in parts)
            self.connection.execute(f"create or replace temp table {identifier(name)} as {selects}")
            self._reject_nothing(name, where)
        keys = ", ".join(identifier(key) for key in self._spec.key)
        try:
            self.connection.execute(
                f"create or replace temp table delivered as select row_number() over (order by {keys}) as source_row, * "
                f"from ({mapping.select})"
            )
        except duckdb.Error as error:
            raise DeliveryError(
                f"{self._where} (dialect '{self._dialect.dialect}'): the select of {self._entity} does not run on what "
                f"was delivered ({str(error).splitlines()[0]}). Correct the dialect or the files. Nothing of it was taken."
            ) from None
        described = self.connection.execute("describe delivered").fetchall()
        columns = tuple(row[0] for row in described if row[0] != "source_row")
        reading = Reading(format="parquet")
        header = Header(columns, reading, f"{self._where} (dialect '{self._dialect.dialect}')")
        sql, _ = compile_entity(self._dialect, self._entity, self._spec, mapping, header, "select * from delivered")
        self._insert_or_refuse(sql, ", ".join(delivered), header.shown)
        self._account(", ".join(delivered), self._count("delivered"))

    def _reject_nothing(self, name: str, where: str) -> None:
        """A joined input cannot quarantine single lines: the rows they would join to would go missing unseen."""
        rejected = rejected_lines(self.connection)
        if rejected:
            line, text, reason = rejected[0]
            raise DeliveryError(
                f"{where}: {len(rejected)} lines of the input '{name}' cannot be split into columns, the first is line "
                f"{line} ({reason}): {text[:80]!r}. Correct the file and run the date again. Nothing of it was taken."
            )

    def _insert(self, sql: str, file: str) -> None:
        self.connection.execute(f"insert into loaded by name select *, {literal(file)} as source_file from ({sql})")

    def _insert_or_refuse(self, sql: str, file: str, what: str) -> None:
        try:
            self._insert(sql, file)
        except duckdb.Error as error:
            raise DeliveryError(
                f"{what} ({str(error).splitlines()[0]}). Look whether the file was cut off or saved in another format, or "
                f"whether an SQL expression of the dialect's {self._entity} does not fit it. Nothing of it was taken."
            ) from None

    def _account(self, file: str, delivered: int | None) -> None:
        """Count the rows of one file; `delivered` is given where the dialect leaves some of them out."""
        counted = self.connection.execute(
            "select count(*), count(quarantine_reason) from loaded where source_file = ?", [file]
        ).fetchone()
        assert counted is not None
        rows, quarantined = counted
        self.rows_in += rows if delivered is None else delivered
        self.rows_quarantined += quarantined
        self.rows_left_out += 0 if delivered is None else delivered - rows

    def _count(self, relation_sql: str) -> int:
        found = self.connection.execute(f"select count(*) from {relation_sql}").fetchone()
        assert found is not None
        return int(found[0])
