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
from assets.ingest import storage, values
from assets.ingest.compile import Compiled, compile_entity, required_labels
from assets.ingest.contract import Entity, contract_hash, load_contract
from assets.ingest.controls import quarantine_conflicts, refuse_wrong_totals
from assets.ingest.delivery import (
    CONTROL_FILE,
    DeliveredFile,
    StorageFailed,
    candidates,
    delivered_files,
    is_passing,
    refuse_changed,
)
from assets.ingest.dialect import Dialect, EntityMapping, Input, Reading, Strings
from assets.ingest.erasure import redacted
from assets.ingest.reading import Frame, Opener, folded
from assets.ingest.sql import identifier, literal

ENGINE_VERSION = "2"
"""Part of every load_id: raise it when the engine reads the same bytes differently."""

SHOWN_REASONS = 5
FEW_ROWS = 20
"""Below so many quarantined rows a load is never refused: one bad row in a delivery of three is no broken file."""

MEMORY = "2GB"
"""What DuckDB keeps of a delivery in memory; the rest of a large one waits on disk."""
STREAM_MEMORY = "512MB"
"""What it keeps of a file that is written while it is read. It would keep what it has read up to any bound it is given."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one delivery."""

    status: Literal["loaded", "unchanged", "absent"]
    load: storage.Load | None


@dataclasses.dataclass(frozen=True)
class FileRead:
    """One file as it was read, for people."""

    name: str
    encoding: str
    rows: int
    """0 while it is streamed."""
    rejected: int
    columns: tuple[str, ...]
    bound: dict[str, str]
    unread: tuple[str, ...]
    header: tuple[int, ...]
    """Lines that name the columns."""
    stated: bool
    """Whether the document states totals of its own, which were held against what was read."""
    compiled: Compiled
    """How its rows become canonical ones; the SQL holds while the delivery is read."""


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What was delivered of one entity: for each of its mappings the files of each input ('' without inputs)."""

    source: str
    dialect: Dialect
    entity: str
    date: datetime.date
    groups: tuple[dict[str, list[DeliveredFile]], ...]

    @property
    def where(self) -> str:
        return f"{self.source}, {self.date}"

    @property
    def files(self) -> list[DeliveredFile]:
        return [file for group in self.groups for files in group.values() for file in files]

    @property
    def has_records(self) -> bool:
        """Whether anything was delivered beside dictionaries, which say nothing of their own."""
        return any(files for group in self.groups for name, files in group.items() if name != DICTIONARY)

    @property
    def load_id(self) -> str:
        """Hash of the bytes delivered and of everything that decides how they are read."""
        digest = hashlib.sha256()
        for part in (ENGINE_VERSION, contract_hash(self.entity), self.dialect.fingerprint(self.entity)):
            digest.update(part.encode() + b"\0")
        for position, group in enumerate(self.groups):
            for name, files in sorted(group.items()):
                for file in files:
                    digest.update(f"{position}\0{name}\0{file.name}\0{file.sha256}\0".encode())
        return digest.hexdigest()


DICTIONARY, DELETIONS = "(dictionary)", "(deletions)"
"""Inputs every mapping may have beside its own."""


@contextlib.contextmanager
def reading_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """The connection deliveries are read through: one for many, because opening one costs more than a small delivery."""
    with tempfile.TemporaryDirectory() as spill, duckdb.connect() as connection:
        connection.execute("set autoinstall_known_extensions = false")
        connection.execute(f"set temp_directory = {literal(spill)}")
        connection.execute(f"set memory_limit = '{MEMORY}'")
        values.define(connection)
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
    DeliveryError when a file cannot be read, does not add up to its own totals, or more than `max_share` of the rows
    would be quarantined; the raw layer is then as before.
    """
    folder = landing / source / date.isoformat()
    if not folder.is_dir():
        return Outcome("absent", None)
    delivery = find_delivery(folder, source, dialect, entity, date)
    path = storage.load_path(raw, entity, source, date)
    if not delivery.has_records:
        storage.remove_load(path)
        return Outcome("absent", None)
    known = storage.read_registry(connection, path)
    if known is not None and known.load_id == delivery.load_id:
        return Outcome("unchanged", known)
    with storage.aside(path) as written:
        streamed = _streamed(connection, delivery, written, raw) if _may_stream(delivery) else None
        load = streamed or _kept(connection, delivery, written, raw)
        _refuse_when_too_much(connection, load, written, max_share)
        storage.put(written, path)
    return Outcome("loaded", load)


def _may_stream(delivery: Delivery) -> bool:
    """Whether nothing has to be known of the rows before they are written: how many there are, what they add up to."""
    mappings = delivery.dialect.entities[delivery.entity]
    return not any(
        mapping.select or mapping.where or mapping.totals or (mapping.deletions and mapping.deletions.where)
        for mapping in mappings
    ) and not any((file.path.parent / CONTROL_FILE).exists() for file in delivery.files)


def _streamed(connection: duckdb.DuckDBPyConnection, delivery: Delivery, path: Path, raw: Path) -> storage.Load | None:
    """Write a load while its delimited files are read; None when they hold a line that needs a second look."""
    with read_delivery(connection, delivery, stream=True) as read:
        try:
            load = read.write(path, raw)
        except Unsplit:
            path.unlink(missing_ok=True)
            return None
        refuse_changed(delivery.files, delivery.where)
        return load


@contextlib.contextmanager
def _streaming(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """One thread and little memory.

    Rows are numbered one after the other, so a second thread would wait for the first, and DuckDB waits busily: measured on
    two cores with other work, up to twice the processor time for the same wall time.
    """
    before = connection.execute("select current_setting('threads')").fetchone()
    assert before is not None
    connection.execute(f"set threads = 1; set memory_limit = '{STREAM_MEMORY}'")
    try:
        yield
    finally:
        connection.execute(f"set threads = {before[0]}; set memory_limit = '{MEMORY}'")


def _kept(connection: duckdb.DuckDBPyConnection, delivery: Delivery, path: Path, raw: Path) -> storage.Load:
    """Write a load of files whose rows wait in tables until all is known of them."""
    with read_delivery(connection, delivery, distrust=_may_stream(delivery)) as read:
        return read.write(path, raw)


def find_delivery(folder: Path, source: str, dialect: Dialect, entity: str, date: datetime.date) -> Delivery:
    """The files in a source's landing folder that an entity is read from."""
    where = f"{source}, {date} (dialect '{dialect.dialect}')"
    groups = []
    for mapping in dialect.entities[entity]:
        dictionary = dialect.reading(mapping.read).dictionary
        gone = mapping.deletions.files if mapping.deletions else ()
        beside = (*gone, *(dictionary.files if dictionary else ()))
        patterns: dict[str, Strings] = {name: spec.files for name, spec in mapping.inputs.items()} or {
            "": mapping.files
        }
        group = {name: delivered_files(folder, files, where, without=beside) for name, files in patterns.items()}
        if gone:
            group[DELETIONS] = delivered_files(folder, gone, where)
        if dictionary:
            group[DICTIONARY] = delivered_files(folder, dictionary.files, where)
        groups.append(group)
    return Delivery(source, dialect, entity, date, tuple(groups))


def unmatched_files(folder: Path, dialect: Dialect, source: str, date: datetime.date) -> list[str]:
    """Files of a delivery that no entity of the dialect reads."""
    read: set[str] = set()
    for entity in dialect.entities:
        read |= {file.path.name for file in find_delivery(folder, source, dialect, entity, date).files}
    return [path.name for path in candidates(folder) if path.name not in read]


@contextlib.contextmanager
def read_delivery(
    connection: duckdb.DuckDBPyConnection, delivery: Delivery, *, stream: bool = False, distrust: bool = False
) -> Iterator[Read]:
    """Read a delivery's files into temporary tables, dropped at the end. Raises DeliveryError for an unreadable one.

    With `stream` delimited files are only opened, and read when the rows are written; with `distrust` they are known to
    hold lines that cannot be split.
    """
    with tempfile.TemporaryDirectory() as scratch:
        read = Read(connection, delivery, Path(scratch), stream=stream, distrust=distrust)
        try:
            try:
                read.open_files()
            except OSError as error:
                kind = StorageFailed if is_passing(error) else DeliveryError
                raise kind(
                    f"{delivery.where}: the files of {delivery.entity} cannot be read ({error}). One may have been taken away "
                    "meanwhile, or the disk be full: run the date again. Nothing of it was taken."
                ) from None
            refuse_changed(delivery.files, delivery.where)
            yield read
        finally:
            read.close()


class Unsplit(Exception):
    """A streamed file holds something that only reading it into a table can tell more of."""


class Read:
    """A delivery's rows, as SQL over temporary tables or streamed files: nothing is computed before it is asked for."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        delivery: Delivery,
        scratch: Path,
        *,
        stream: bool = False,
        distrust: bool = False,
    ) -> None:
        self.files: list[FileRead] = []
        self.rows_in: int | None = 0
        """None where files are streamed, all rows of which are kept."""
        self._connection = connection
        self._delivery = delivery
        self._dialect = delivery.dialect
        self._spec: Entity = load_contract().entities[delivery.entity]
        self._parts: list[str] = []
        self._numbered: dict[str, str] = {}
        self._source_files: set[str] = set()
        self._where = f"{delivery.where} (dialect '{delivery.dialect.dialect}')"
        self._opener = Opener(connection, scratch, self._where, stream=stream, distrust=distrust)
        self._tables_before = self._tables()

    @property
    def streams(self) -> bool:
        """Whether some file is read only while it is written."""
        return self._opener.streams

    @property
    def unread(self) -> list[str]:
        return sorted({column for file in self.files for column in file.unread})

    def open_files(self) -> None:
        for mapping, group in zip(self._dialect.entities[self._delivery.entity], self._delivery.groups, strict=True):
            if mapping.select is not None:
                self._open_select(mapping, group)
            else:
                for file in group[""]:
                    self._open_file(mapping, file, tuple(group.get(DICTIONARY, ())))
            for file in group.get(DELETIONS, ()):
                self._open_deletions(mapping, file)

    def close(self) -> None:
        for table in self._tables() - self._tables_before:
            self._connection.execute(f"drop table if exists temp.main.{identifier(table)}")

    def select(self) -> str:
        """SQL of the raw file's rows, in the contract's order of columns and in the order of the files."""
        constants = {
            "source_system": _constant(self._dialect.dialect),
            "source_instance": _constant(self._delivery.source),
            "extract_date": f"date {literal(self._delivery.date.isoformat())}",
            "load_id": _constant(self._delivery.load_id),
            **({"source_file": _constant(self._source_files.copy().pop())} if len(self._source_files) == 1 else {}),
            **{
                name: f"row_number() over (partition by {identifier(within)} "
                'order by source_file, source_row, "position!")'
                for name, within in self._numbered.items()
            },
        }
        columns = ", ".join(
            f"{constants[name]} as {identifier(name)}" if name in constants else identifier(name)
            for name in load_contract().raw_columns(self._delivery.entity)
        )
        together = "\nunion all by name\n".join(self._parts) or self._nothing()
        ordered = " order by source_file, source_row" if self._numbered else ""
        return f"select {columns} from ({together}){ordered}"

    def write(self, path: Path, raw: Path | None = None) -> storage.Load:
        """Write the rows and the registry entry; the load as it is on disk then.

        Persons erased from the raw layer `raw` are taken out on the way. Raises Unsplit when a streamed file cannot be read
        to its end.
        """
        entry = storage.Entry(
            load_id=self._delivery.load_id,
            entity=self._delivery.entity,
            source=self._delivery.source,
            extract_date=self._delivery.date.isoformat(),
            dialect=self._dialect.dialect,
            files=[{"name": f.name, "size": f.size, "sha256": f.sha256} for f in self._delivery.files],
            rows_in=self.rows_in,
            unread_columns=self.unread,
        )
        select = redacted(raw, self._delivery.entity, self.select()) if raw else self.select()
        try:
            with _streaming(self._connection) if self.streams else contextlib.nullcontext():
                storage.write(self._connection, select, entry, path)
        except duckdb.Error as error:
            if self.streams:
                raise Unsplit from None
            raise DeliveryError(
                f"{self._where}: {self._delivery.entity} cannot be read ({str(error).splitlines()[0]}). Look whether an "
                f"SQL expression of the dialect's {self._delivery.entity} does not fit the file. Nothing of it was taken."
            ) from None
        if not any(mapping.modified_at for mapping in self._dialect.entities[self._delivery.entity]):
            quarantine_conflicts(self._connection, path, entry, self._spec)
        return storage.read_load(self._connection, path)

    def _open_file(self, mapping: EntityMapping, file: DeliveredFile, dictionaries: tuple[DeliveredFile, ...]) -> None:
        reading = self._dialect.reading(mapping.read)
        if reading.dictionary is not None and not dictionaries:
            raise DeliveryError(
                f"{self._where}: {file.name} needs the source's dictionary beside it ({', '.join(reading.dictionary.files)}), "
                "because its columns have no names of their own. Deliver it and run the date again. Nothing of it was taken."
            )
        wanted = tuple(path for _, path in mapping.totals if path) if mapping.totals else ()
        frame = self._opener.open(
            *(file, reading),
            required=required_labels(self._spec, mapping),
            wanted=wanted,
            above=mapping.names_above,
            dictionaries=dictionaries,
        )
        compiled = compile_entity(self._dialect, self._delivery.entity, self._spec, mapping, frame)
        self._add(frame, compiled)
        refuse_wrong_totals(
            *(self._connection, self._delivery, file, frame, compiled.sql, mapping.totals),
            amount=mapping.columns.get("functional_amount"),
        )

    def _open_deletions(self, mapping: EntityMapping, file: DeliveredFile) -> None:
        deletions = mapping.deletions
        assert deletions is not None
        reading = self._dialect.reading(deletions.read)
        gone = EntityMapping(
            files=deletions.files, where=deletions.where, modified_at=deletions.modified_at, columns=deletions.columns
        )
        frame = self._opener.open(file, reading, required=required_labels(self._spec, gone))
        self._add(frame, compile_entity(self._dialect, self._delivery.entity, self._spec, gone, frame, deletes=True))

    def _add(self, frame: Frame, compiled: Compiled) -> None:
        self.rows_in = None if frame.rows is None or self.rows_in is None else self.rows_in + frame.rows
        self._numbered.update(compiled.numbered)
        self._source_files |= {frame.name} if frame.source_file is None else {"", frame.name}
        self._parts.append(f"select * from (\n{compiled.sql}\n)")
        if frame.rejected:
            self._add_rejected(frame)
        self.files.append(
            FileRead(
                *(frame.name, frame.encoding, frame.rows or 0, len(frame.rejected), frame.columns),
                bound=compiled.bound,
                unread=compiled.unread,
                header=frame.header,
                stated=bool(frame.stated),
                compiled=compiled,
            )
        )

    def _add_rejected(self, frame: Frame) -> None:
        """Quarantine the lines that could not be split into columns."""
        table = f"rejected_{len(self._parts)}"
        self._connection.execute(f"create or replace temp table {table} (line bigint, text varchar, reason varchar)")
        lines = [list(column) for column in zip(*frame.rejected, strict=True)]
        self._connection.execute(f"insert into {table} select unnest(?), unnest(?), unnest(?)", lines)
        reason = "'the line cannot be split into columns: ' || reason"
        self._parts.append(
            f"select line as source_row, false as is_deleted, {reason} as quarantine_reason, text as source_record, "
            f"{literal(frame.name)} as source_file from {table}"
        )

    def _nothing(self) -> str:
        columns = load_contract().raw_columns(self._delivery.entity)
        return f"select {', '.join(f'cast(null as {t}) as {identifier(n)}' for n, t in columns.items())} limit 0"

    def _open_select(self, mapping: EntityMapping, group: dict[str, list[DeliveredFile]]) -> None:
        inputs = {name: files for name, files in group.items() if name in mapping.inputs}
        delivered = [file.name for files in inputs.values() for file in files]
        absent = [f"{name} ({', '.join(mapping.inputs[name].files)})" for name, files in inputs.items() if not files]
        if not delivered:
            return
        if absent:
            raise DeliveryError(
                f"{self._where}: {self._delivery.entity} is joined from several files, and no file was delivered for "
                f"{', '.join(absent)}. Deliver it and run the date again. Nothing of it was taken."
            )
        for name, files in inputs.items():
            self._open_input(name, mapping.inputs[name], mapping, files)
        keys = ", ".join(identifier(key) for key in self._spec.key)
        try:
            self._connection.execute(f"create or replace temp table selected as {mapping.select}")
            described = [row[0] for row in self._connection.execute("describe selected").fetchall()]
            own = {"source_row", "source_file"} & set(described)
            numbered = "" if "source_row" in own else f"row_number() over (order by {keys}) as source_row, "
            columns = ", ".join(
                identifier(name) if name in own else f"cast({identifier(name)} as varchar) as {identifier(name)}"
                for name in described
            )
            self._connection.execute(
                f"create or replace temp table delivered as select {numbered}{columns} from selected"
            )
        except duckdb.Error as error:
            raise DeliveryError(
                f"{self._where}: the select of {self._delivery.entity} does not run on what was delivered "
                f"({str(error).splitlines()[0]}). Correct the dialect or the files. Nothing of it was taken."
            ) from None
        columns_of = tuple(name for name in described if name not in ("source_row", "source_file"))
        frame = Frame(
            *("select * from delivered", "columns", columns_of, {folded(name): name for name in columns_of}),
            *(self._where, ", ".join(delivered)),
            source_file="source_file" if "source_file" in own else None,
            decimal=self._dialect.reading(mapping.read).decimal,
            rows=self._count("delivered"),
        )
        self._add(frame, compile_entity(self._dialect, self._delivery.entity, self._spec, mapping, frame))

    def _open_input(self, name: str, spec: Input, mapping: EntityMapping, files: list[DeliveredFile]) -> None:
        reading: Reading = self._dialect.reading(spec.read, mapping.read)
        required = tuple(labels for labels in spec.columns.values())
        parts = []
        for file in files:
            frame = self._opener.open(file, reading, required=required[:1], above=mapping.names_above)
            self._reject_nothing(name, frame)
            lineage = f"{literal(file.name)} as source_file, source_row"
            if spec.columns or frame.kind == "json":
                labels = spec.columns or {column: (column,) for column in frame.columns}
                texts = [(column, frame.find(wanted)) for column, wanted in labels.items()]
                columns = ", ".join(
                    f"coalesce({', '.join(frame.text(found) for found in names)}, null) as {identifier(column)}"
                    if names
                    else f"cast(null as varchar) as {identifier(column)}"
                    for column, names in texts
                )
                parts.append(f"select {lineage}, {columns} from ({frame.relation})")
            else:
                parts.append(f"select {lineage}, * exclude (source_row) from ({frame.relation})")
        self._connection.execute(
            f"create or replace temp table {identifier(name)} as {' union all by name '.join(parts)}"
        )

    def _reject_nothing(self, name: str, frame: Frame) -> None:
        """A joined input cannot quarantine single lines: the rows they would join to would go missing unseen."""
        if frame.rejected:
            line, text, reason = frame.rejected[0]
            raise DeliveryError(
                f"{frame.shown}: {len(frame.rejected)} lines of the input '{name}' cannot be split into columns, the first "
                f"is line {line} ({reason}): {text[:80]!r}. Correct the file and run the date again. Nothing of it was taken."
            )

    def _count(self, relation: str) -> int:
        found = self._connection.execute(f"select count(*) from {relation}").fetchone()
        assert found is not None
        return int(found[0])

    def _tables(self) -> set[str]:
        rows = self._connection.execute("select table_name from duckdb_tables() where temporary").fetchall()
        return {row[0] for row in rows if not row[0].startswith("reject_")}


def _constant(text: str) -> str:
    """SQL of a text that is the same in every row: kept as a number and written as a dictionary. In Parquet it is text."""
    return f"cast({literal(text)} as enum({literal(text)}))"


def too_much(load: storage.Load, max_share: float) -> bool:
    """Whether so many rows of a load are quarantined that it is refused."""
    return load.rows_quarantined > FEW_ROWS and load.rows_quarantined > max_share * load.rows_in


def _refuse_when_too_much(
    connection: duckdb.DuckDBPyConnection, load: storage.Load, written: Path, max_share: float
) -> None:
    if not too_much(load, max_share):
        return
    reasons = connection.execute(
        "select any_value(source_file), min(source_row), regexp_replace(quarantine_reason, '''[^'']*''', '...') as kind, "
        f"any_value(quarantine_reason), count(*) from read_parquet({literal(str(written))}) "
        f"where quarantine_reason is not null group by kind order by count(*) desc, kind limit {SHOWN_REASONS}"
    ).fetchall()
    shown = "\n".join(f"  {count} rows such as {file} line {row}: {why}" for file, row, _, why, count in reasons)
    raise DeliveryError(
        f"{load.source}, {load.extract_date}: {load.rows_quarantined} of {load.rows_in} rows of {load.entity} cannot be "
        f"read by the dialect '{load.dialect}'; the company allows {max_share:.1%} (company.yml, quarantine.max_share).\n"
        f"{shown}\nMend the file or the dialect and run the date again. Nothing of it was taken."
    )
