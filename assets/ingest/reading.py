"""Opening delivered files: hashes, encodings, headers, and the DuckDB table function that reads each format.

Every reader gives the same shape: `source_row`, the file's own columns, and `record` (the row as JSON) when asked for.
Decoding is strict: a file that is in none of the dialect's encodings is refused, never read with replaced characters.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import hashlib
import io
from pathlib import Path

import duckdb

from assets.errors import DeliveryError
from assets.ingest.dialect import Reading
from assets.ingest.sql import identifier, literal

CHUNK = 1 << 20
HEADER_BYTES = 1 << 20
MAX_LINE = 16 << 20


@dataclasses.dataclass(frozen=True)
class DeliveredFile:
    """One file as it lies in the landing folder."""

    path: Path
    name: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class OpenedFile:
    """A file DuckDB can read: decoded to UTF-8 where it was something else."""

    delivered: DeliveredFile
    readable: Path
    encoding: str
    columns: tuple[str, ...]


def describe(path: Path) -> DeliveredFile:
    """Size and sha256 of a delivered file, read in one pass."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return DeliveredFile(path, path.name, size, digest.hexdigest())


def open_file(delivered: DeliveredFile, reading: Reading, scratch: Path, where: str) -> OpenedFile:
    """Find the encoding, decode to UTF-8 below `scratch` when needed, and read the header.

    `where` says who delivered it, for the error. Raises DeliveryError when the file is unreadable.
    """
    if reading.format == "parquet":
        return OpenedFile(delivered, delivered.path, "parquet", _parquet_columns(delivered, where))
    encoding = _encoding(delivered, reading, where)
    readable = delivered.path
    if encoding != "utf-8":
        readable = scratch / f"{delivered.sha256}.utf8"
        if not readable.exists():
            with delivered.path.open(encoding=encoding, newline="") as source, readable.open("wb") as target:
                while text := source.read(CHUNK):
                    target.write(text.encode("utf-8"))
    columns = _csv_header(readable, reading, delivered, where) if reading.format == "csv" else ()
    return OpenedFile(delivered, readable, encoding, columns)


def _encoding(delivered: DeliveredFile, reading: Reading, where: str) -> str:
    """The first of the dialect's encodings in which every byte of the file is valid."""
    failures = []
    for name in reading.encoding:
        decoder = codecs.getincrementaldecoder(name)(errors="strict")
        position = 0
        try:
            with delivered.path.open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    decoder.decode(chunk)
                    position += len(chunk)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            failures.append(f"{name} fails at byte {position + error.start}")
            continue
        return codecs.lookup(name).name
    raise DeliveryError(
        f"{where}: {delivered.name} is in none of the encodings its dialect names ({'; '.join(failures)}). "
        "Ask the source for the file again, or add its encoding to `read: {encoding: [...]}`. Nothing of it was taken."
    )


def _csv_header(readable: Path, reading: Reading, delivered: DeliveredFile, where: str) -> tuple[str, ...]:
    with readable.open("rb") as stream:
        head = stream.read(HEADER_BYTES).decode("utf-8-sig", errors="ignore")
    text = io.StringIO(head)
    if reading.quote:
        lines = csv.reader(text, delimiter=reading.delimiter, quotechar=reading.quote)
    else:
        lines = csv.reader(text, delimiter=reading.delimiter, quoting=csv.QUOTE_NONE)
    header = next(lines, [])
    if not any(name.strip() for name in header):
        raise DeliveryError(
            f"{where}: {delivered.name} is empty: not even a header line. Deliver it again; an extract without "
            "records still has its header. Nothing of it was taken."
        )
    columns: list[str] = []
    for position, name in enumerate(header, start=1):
        unique = name.strip() or f"column_{position}"
        while unique in columns:
            unique += "_"
        columns.append(unique)
    return tuple(columns)


def _parquet_columns(delivered: DeliveredFile, where: str) -> tuple[str, ...]:
    try:
        described = duckdb.connect().execute(f"describe select * from read_parquet({literal(str(delivered.path))})")
    except duckdb.Error as error:
        raise DeliveryError(
            f"{where}: {delivered.name} is not a readable Parquet file ({str(error).splitlines()[0]}). "
            "Deliver it again; it may have been cut off. Nothing of it was taken."
        ) from None
    return tuple(row[0] for row in described.fetchall())


def relation(opened: OpenedFile, reading: Reading) -> str:
    """SQL of the rows of one file: `source_row` (line, header counted) and the file's columns, in file order."""
    path = literal(str(opened.readable))
    if reading.format == "parquet":
        return f"select file_row_number + 1 as source_row, * from read_parquet({path}, file_row_number = true)"
    if reading.format == "jsonl":
        # One text column, so that a broken line is a row to quarantine and not the end of the file.
        lines = (
            f"read_csv({path}, columns = {{'line': 'VARCHAR'}}, header = false, auto_detect = false, delim = chr(1), "
            f"quote = '', escape = '', max_line_size = {MAX_LINE}, skip = 0)"
        )
        return (
            "select source_row, line, case when json_valid(line) then line::json end as record "
            f"from (select row_number() over () as source_row, ltrim(line, chr(65279)) as line from {lines}) "
            "where trim(coalesce(line, '')) <> ''"
        )
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in opened.columns)
    quote = literal(reading.quote)
    return (
        f"select row_number() over () + 1 as source_row, * from read_csv({path}, columns = {{{types}}}, header = true, "
        f"auto_detect = false, delim = {literal(reading.delimiter)}, quote = {quote}, escape = {quote}, "
        f"strict_mode = true, store_rejects = true, rejects_limit = 0, max_line_size = {MAX_LINE})"
    )


def with_one_line_end(opened: OpenedFile, scratch: Path) -> OpenedFile:
    """The file with every line end written as \\n, decoded below `scratch`."""
    if opened.encoding == "parquet":
        return opened
    readable = scratch / f"{opened.delivered.sha256}.lines"
    with (
        opened.readable.open(encoding="utf-8", newline=None) as source,
        readable.open("w", encoding="utf-8", newline="") as target,
    ):
        while text := source.read(CHUNK):
            target.write(text)
    return dataclasses.replace(opened, readable=readable)


def rejected_lines(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str, str]]:
    """Lines the CSV reader could not split since the last call: (line, text, reason). Forgets them afterwards."""
    try:
        rows = connection.execute(
            "select line, any_value(csv_line), any_value(error_message) from reject_errors group by line order by line"
        ).fetchall()
    except duckdb.CatalogException:
        return []  # DuckDB makes the table with the first CSV file it reads
    if rows:
        connection.execute("delete from reject_errors")
    return [(int(line), text or "", (reason or "").splitlines()[0]) for line, text, reason in rows]


def column_expression(name: str, reading: Reading) -> str:
    """SQL text of one source column, as VARCHAR."""
    if reading.format == "jsonl":
        path = name if name.startswith("$") else f'$."{name}"'
        return f"(record ->> {literal(path)})"
    return f"cast({identifier(name)} as varchar)"
