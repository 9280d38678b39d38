"""Opening delivered files: encodings, headers, and a DuckDB table of each file's rows as text.

Whatever the format, the rows end in a table `delivered_<n>`: one text column per column of the file, or, for JSON and XML,
the columns line, record and parent. Delimited text may also be streamed: its rows are then read when they are asked for, and
kept nowhere. A `Frame` says what is in it and finds columns by any name the source has for them.
Decoding is strict: a file that is in none of the dialect's encodings is refused, never read with replaced characters.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import difflib
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import duckdb

from assets.errors import DeliveryError
from assets.ingest.delivery import CHUNK, DeliveredFile, unpacked
from assets.ingest.dialect import Dictionary, Reading
from assets.ingest.documents import Found, json_to_lines, states_encoding, workbook_to_csv, xml_to_lines
from assets.ingest.sql import identifier, literal

HEAD_BYTES = 4 << 20
MAX_LINE = 16 << 20
BUFFER = 2 * MAX_LINE
"""What DuckDB reads of a text at once; left alone it takes sixteen of the longest lines, and keeps two such pieces."""
SEARCHED_ROWS = 50
"""How far down a header is looked for."""
MAX_REJECTED = 100_000
"""Lines that cannot be split: a file with more of them is not the kind of file its dialect takes it for."""
CELLS = '"cells!"'
KEPT_OF_REJECTED = 9_990
"""Bytes: of a row that cannot be split the parser keeps some 10,000. Of a longer one over many lines, the rest would be lost."""
FEW_REJECTED = 50
"""So many are counted row by row; more are joined."""
WIDE = 500
"""A file with more columns is kept as one list per row: DuckDB reserves a block of memory for each column it reads."""
RESERVED = re.compile(r"rowid|source_row|.*![a-z]*", re.IGNORECASE | re.DOTALL)
"""Headers that would be taken for columns of the engine's own."""
SAMPLED_RECORDS = 1000
"""JSON records looked at for the keys they have."""

OTHER_BLANKS = ("\t", "\u00a0", "\u3000")
"""Blanks that are looked for around a text where a file has them at all."""

FORMATS = {
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xls": "xlsx",
    ".xlsb": "xlsx",
    ".ods": "xlsx",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xml": "xml",
    ".parquet": "parquet",
}
"""Format by the end of the name; any other is delimited text."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """The rows of one file in DuckDB, and how its columns are found."""

    relation: str
    """SQL of the rows: source_row and the columns."""
    kind: Literal["columns", "json"]
    columns: tuple[str, ...]
    """Physical names: of the columns, or of the keys JSON records were seen to have."""
    names: dict[str, str]
    """Folded header or label -> physical name."""
    shown: str
    """Whose delivery and which file, for errors."""
    name: str
    """The file, or the files joined."""
    source_file: str | None = None
    """The column that says which file a row is of, where several are joined."""
    decimal: str = "."
    encoding: str = ""
    cleaner: Literal["cleaned", "trimmed"] = "cleaned"
    """How texts lose the blanks around them: a file with no other blank than the space needs less looking."""
    rows: int | None = 0
    """None of a file that is streamed: it was not read yet."""
    rejected: tuple[tuple[int, str, str], ...] = ()
    """Lines that could not be split: line, text, reason."""
    header: tuple[int, ...] = ()
    """Lines of the file that name the columns."""
    ambiguous: frozenset[str] = frozenset()
    """Folded headers that stand over several columns."""
    original: str | None = None
    """SQL of a row as it was delivered, where that is not its columns put together."""
    stated: Found = dataclasses.field(default_factory=dict)
    """Totals the document states of itself, by path."""
    position: str = "cast(null as bigint)"
    """SQL of a row's place among the rows made of one record."""

    def find(self, labels: tuple[str, ...]) -> list[str]:
        """The names under which the labels stand here, in the order of the labels."""
        found = [self._found(label) for label in labels]
        return list(dict.fromkeys(name for name in found if name is not None))

    def _found(self, label: str) -> str | None:
        if folded(label) in self.ambiguous:
            raise DeliveryError(
                f"{self.shown}: the header '{label}' stands over several columns, and nothing says which of them is meant. "
                f"Write '{label} (1)' for the first, '{label} (2)' for the second into the dialect. Nothing of it was taken."
            )
        name = self.names.get(folded(label))
        if name is not None or self.kind == "columns":
            return name
        # A label may go on inside of what the dictionary names: `地址.city`, `负责人[0].name`.
        head, rest = re.fullmatch(r"((?:\.\./)*[^.\[]*)(.*)", label, re.DOTALL).groups()  # type: ignore[union-attr]
        # Keys are found where they occur; a key that is absent everywhere is null everywhere.
        return self.names[folded(head)] + rest if rest and folded(head) in self.names else label

    def text(self, name: str) -> str:
        """SQL text of what stands under a name that `find` gave: no blanks around it, null when there is nothing."""
        return f"{self.cleaner}({json_text(name) if self.kind == 'json' else f'cast({identifier(name)} as varchar)'})"

    def nearest(self, labels: tuple[str, ...], taken: set[str]) -> str:
        """The header most like one of the labels, for the error about a missing one; one that is not `taken`, if any."""
        close = [
            (
                column not in taken,
                difflib.SequenceMatcher(None, folded(label), folded(column[:80])).ratio(),
                column[:80],
            )
            for label in labels
            for column in self.columns[:500]
        ]
        return max(close)[2] if close else "(none)"


def folded(label: str) -> str:
    """A header without the differences people do not see: full-width forms, case, blanks, the star of a required one."""
    return "".join(unicodedata.normalize("NFKC", label).split()).lstrip("*").casefold()


def json_text(name: str) -> str:
    """SQL text of a place in a JSON record.

    `$...` is a JSON path; else `a.b` is b in a, `a[0]` the first of a list, `a[kind=x].b` b in the element of a whose kind
    is x (a single element counts as a list of one), and `../a` is a in what stands above the record.
    """
    if place := json_place(name):
        return f"({place[0]} ->> {literal(place[1])})"
    if name.startswith(("$.", "$[")):
        return f"(record ->> {literal(name)})"
    above = (len(name) - len(name.lstrip("./"))) // 3 if name.startswith("../") else 0
    expression, prefix = ("parent" if above else "record"), "$" + '.".."' * (above - 1)
    steps = re.findall(r"(?:[^.\[\]]|\[[^\]]*\])+", name[3 * above :])
    for position, step in enumerate(steps):
        match = re.fullmatch(r"(.*?)(?:\[(?:(\d+)|([^=\]]+)='?([^\]']*)'?)\])?", step)
        assert match is not None
        key, index, kind, wanted = match.groups()
        prefix += f'."{key}"' if key else ""
        if index is not None:
            prefix += f"[{index}]"
        elif kind is not None:
            value = f"({expression} -> {literal(prefix)})"
            listed = f"(case when json_type({value}) = 'ARRAY' then {value} else json_array({value}) end)"
            same = f"(element ->> {literal(_path(kind))}) = {literal(wanted)}"
            expression = f"list_filter(from_json({listed}, '[\"json\"]'), element -> {same})[1]"
            prefix = "$"
            if position == len(steps) - 1:
                return f"cast({expression} as varchar)"
    return f"({expression} ->> {literal(prefix)})"


def json_place(name: str) -> tuple[str, str] | None:
    """The document (record, parent) and the JSON path of a place that one path leads to; None for the others."""
    if name.startswith(("$.", "$[")):
        return None if "*" in name or ".." in name else ("record", name)
    above = (len(name) - len(name.lstrip("./"))) // 3 if name.startswith("../") else 0
    if re.search(r"\[(?!\d+\])", name):
        return None
    path = re.sub(r"([^.\[\]]+)((?:\[\d+\])*)\.?", r'."\1"\2', name[3 * above :].lstrip("."))
    return ("parent" if above else "record"), "$" + '.".."' * (above - 1) + path


def _path(name: str) -> str:
    """JSON path of a name whose parts are divided by dots."""
    return "$" + "".join(f'."{part}"' for part in name.split("."))


def _children(value: str) -> str:
    """SQL of the elements of a JSON list; one object counts as a list of one, anything else as no list."""
    return (
        f"case json_type({value}) when 'ARRAY' then from_json({value}, '[\"json\"]') "
        f"when 'OBJECT' then from_json(json_array({value}), '[\"json\"]') end"
    )


def _inside(labels: dict[str, str], lists: tuple[str, ...]) -> dict[str, str]:
    """The labels as they read from within a list of a record: its own, and those of the record behind `../`."""
    own = {}
    for each in reversed(lists):
        start, name = f"{folded(each)}.", f"{labels.get(folded(each), each)}."
        own.update({k.removeprefix(start): v.removeprefix(name) for k, v in labels.items() if k.startswith(start)})
    return {**own, **{f"../{label}": f"../{name}" for label, name in labels.items()}}


def file_format(delivered: DeliveredFile, reading: Reading) -> str:
    return FORMATS.get(delivered.suffix, "csv") if reading.format == "auto" else reading.format


class Opener:
    """Opens files into tables of one connection, named one after the other.

    With `stream` delimited text is not read into a table where it can be read while it is written; what reads such a frame
    fails with a duckdb.Error at the first line that cannot be split. With `distrust` such lines are expected.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,
        where: str,
        *,
        stream: bool = False,
        distrust: bool = False,
    ) -> None:
        self.streams = False
        self._stream = stream
        self._distrust = distrust
        self._connection = connection
        self._scratch = scratch
        self._where = where
        self._numbers = itertools.count(1)
        self._labels: dict[tuple[str, ...], dict[str, str]] = {}
        self._only_spaces: set[Path] = set()

    def open(
        self,
        delivered: DeliveredFile,
        reading: Reading,
        *,
        required: tuple[tuple[str, ...], ...] = (),
        wanted: tuple[str, ...] = (),
        above: frozenset[str] | None = None,
        dictionaries: tuple[DeliveredFile, ...] = (),
    ) -> Frame:
        """Read one file. `required` are the labels of columns it must have, `wanted` the paths of totals it may state, `above`
        the names of what is read from above an XML record (None: all there is).

        Raises DeliveryError when the file cannot be read as its dialect says.
        """
        table = f"delivered_{next(self._numbers)}"
        shown = f"{self._where}, {delivered.name}"
        form = file_format(delivered, reading)
        path = unpacked(delivered, self._scratch, self._where)
        labels = self._labels_of(dictionaries, reading)
        if form == "parquet":
            return self._parquet(table, path, delivered, shown, labels)
        if form in ("json", "xml"):
            lines = self._scratch / f"{table}.jsonl"
            if form == "json":
                path = self._decoded(path, delivered, reading)[0]
                stated = json_to_lines(path, lines, delivered, reading.records, wanted, self._where)
            else:
                element = reading.records[0] if reading.records else ""
                if not element:
                    raise DeliveryError(
                        f"{shown}: the dialect does not say which elements of the XML document are its records. Name their path: "
                        "`read: {records: Journal/Transaction/Line}`. Nothing of it was taken."
                    )
                if not states_encoding(path):
                    path = self._decoded(path, delivered, reading)[0]
                stated = xml_to_lines(path, lines, delivered, element, wanted, above, self._where)
            return self._lines(table, lines, reading, shown, labels, form, wrapped=True, stated=stated)
        if form == "jsonl":
            path, encoding = self._decoded(path, delivered, reading)
            return self._lines(table, path, reading, shown, labels, encoding)
        if form == "xlsx":
            sheet = self._scratch / f"{table}.csv"
            workbook_to_csv(path, sheet, delivered, reading.sheet, self._where)
            reading = reading.model_copy(update={"delimiter": (",",), "quote": '"', "encoding": ("utf-8",)})
            return self._delimited(table, sheet, "workbook", reading, delivered, shown, required, labels)
        path, encoding = self._decoded(path, delivered, reading)
        return self._delimited(table, path, encoding, reading, delivered, shown, required, labels)

    def _labels_of(self, files: tuple[DeliveredFile, ...], reading: Reading) -> dict[str, str]:
        """Folded label -> name, out of the source's own dictionary; `a.b` is b in the list a."""
        if reading.dictionary is None:
            return {}
        key = tuple(file.name for file in files)
        if key not in self._labels:
            found: dict[str, str] = {}
            for file in files:
                found.update(self._dictionary(file, reading.dictionary))
            self._labels[key] = found
        return self._labels[key]

    def _dictionary(self, file: DeliveredFile, dictionary: Dictionary) -> dict[str, str]:
        reading = Reading(records=(dictionary.records,) if dictionary.records else (), encoding=("utf-8", "gb18030"))
        frame = self.open(file, reading)
        name, label, items = (
            frame.text(found[0]) if wanted and (found := frame.find((wanted,))) else "null"
            for wanted in (dictionary.name, dictionary.label, dictionary.items)
        )
        rows = self._connection.execute(f"select {label}, {name}, {items} from ({frame.relation})").fetchall()
        labels: dict[str, str] = {}
        for text, column, own in reversed([row for row in rows if row[0] and row[1]]):
            labels[folded(text)] = column
            for item in reversed(json.loads(own) if own else []):
                if item.get(dictionary.label) and item.get(dictionary.name):
                    labels[f"{folded(text)}.{folded(item[dictionary.label])}"] = f"{column}.{item[dictionary.name]}"
        return labels

    def _parquet(self, table: str, path: Path, delivered: DeliveredFile, shown: str, labels: dict[str, str]) -> Frame:
        source = f"read_parquet({literal(str(path))})"
        try:
            described = self._connection.execute(f"describe select * from {source}").fetchall()
            headers = [row[0] for row in described]
            columns = _unique(headers)
            named = ", ".join(
                f"{identifier(header)} as {identifier(name)}" for header, name in zip(headers, columns, strict=True)
            )
            self._connection.execute(f"create or replace temp table {table} as select {named} from {source}")
        except duckdb.Error as error:
            raise DeliveryError(
                f"{self._where}: {delivered.name} is not a readable Parquet file ({str(error).splitlines()[0]}). "
                "Deliver it again; it may have been cut off. Nothing of it was taken."
            ) from None
        relation = f"select rowid + 1 as source_row, * from {table}"
        names = _names(columns, labels) | {folded(header): name for header, name in zip(headers, columns, strict=True)}
        return Frame(
            *(relation, "columns", columns, names, shown, delivered.name),
            encoding="parquet",
            rows=self._count(table),
        )

    def _lines(
        self,
        table: str,
        path: Path,
        reading: Reading,
        shown: str,
        labels: dict[str, str],
        encoding: str,
        *,
        wrapped: bool = False,
        stated: Found | None = None,
    ) -> Frame:
        """JSON lines: one text column, so that a broken line is a row to quarantine and not the end of the file."""
        try:
            self._load_lines(table, path)
        except duckdb.Error:
            try:  # the parser wants one kind of line end throughout
                self._load_lines(table, self._with_one_line_end(path, table))
            except duckdb.Error as error:
                reason = re.sub(r"(?s)Original Line:.*", "", str(error)).strip().splitlines()[0]
                raise DeliveryError(
                    f"{shown}: the file cannot be read line by line ({reason}). No line may be longer than "
                    f"{MAX_LINE >> 20} MB; look whether the file is in another format than its name says. Nothing of it was "
                    "taken."
                ) from None
        record, parent = ("document -> '$.record'", "document -> '$.parent'") if wrapped else ("document", "null::json")
        # Blank lines are no records, and are counted: people find a line by its number.
        relation = (
            f"select rowid + 1 as source_row, line, {record} as record, {parent} as parent from {table} "
            "where trim(coalesce(line, '')) <> ''"
        )
        position = Frame.position
        if reading.each:
            places = [labels.get(folded(each), each) for each in reading.each]
            children = ", ".join(_children(f"record -> {literal(_path(place))}") for place in places)
            above = "case when parent is null then record else json_merge_patch(record, json_object('..', parent)) end"
            relation = (
                'select source_row, line, unnest(children) as record, generate_subscripts(children, 1) as "position!", '
                f"parent from (select source_row, line, coalesce({children}, [null::json]) as children, {above} as parent "
                f"from ({relation}))"
            )
            position = '"position!"'
            labels = _inside(labels, reading.each)
        keys = self._connection.execute(
            f"select key from (select unnest(json_keys(record)) as key, source_row from ({relation} limit "
            f"{SAMPLED_RECORDS}) where json_type(record) = 'OBJECT') group by key order by min(source_row), key"
        ).fetchall()
        columns = tuple(row[0] for row in keys)
        rows = self._count(f"({relation})")
        return Frame(
            *(relation, "json", columns, labels, shown, shown.removeprefix(f"{self._where}, ")),
            decimal=reading.decimal,
            encoding=encoding,
            rows=rows,
            stated=stated or {},
            position=position,
        )

    def _load_lines(self, table: str, path: Path) -> None:
        # The delimiter is one no text has.
        text = (
            f"read_csv({literal(str(path))}, columns = {{'line': 'VARCHAR'}}, header = false, auto_detect = false, "
            f"delim = chr(1) || chr(2) || chr(3) || chr(1), quote = '', escape = '', max_line_size = {MAX_LINE}, "
            f"buffer_size = {BUFFER}, skip = 0)"
        )
        self._connection.execute(
            f"create or replace temp table {table} as select ltrim(line, chr(65279)) as line, "
            f"case when json_valid(line) then line::json end as document from {text}"
        )

    def _delimited(
        self,
        table: str,
        path: Path,
        encoding: str,
        reading: Reading,
        delivered: DeliveredFile,
        shown: str,
        required: tuple[tuple[str, ...], ...],
        labels: dict[str, str],
    ) -> Frame:
        cleaner: Literal["cleaned", "trimmed"] = "trimmed" if path in self._only_spaces else "cleaned"
        if _ends_lines_with_cr(path):
            path = self._with_one_line_end(path, table)
        layout = _layout(path, reading, delivered, required, self._where)
        if layout.cut:
            path = self._without_first_lines(path, table, layout.cut)
        wide = len(layout.columns) > WIDE
        streamed = self._stream and not (wide or reading.section or reading.fill_down)
        if not streamed:
            self._load_delimited(table, path, reading, layout, shown)
        rejected = [] if streamed else self._rejected(added=layout.first_line - 1 if layout.cut else 0)
        if len(rejected) >= MAX_REJECTED:
            line, text, reason = rejected[0]
            raise DeliveryError(
                f"{shown}: {MAX_REJECTED:,} lines or more cannot be split into columns, the first is line {line} ({reason}): "
                f"{text[:80]!r}. Look whether the delimiter and the quote of the dialect are those of the file. Nothing of it "
                "was taken."
            )
        swallowed = [entry for entry in rejected if "\n" in entry[1] and len(entry[1].encode()) >= KEPT_OF_REJECTED]
        if swallowed:
            line, text, _ = swallowed[0]
            raise DeliveryError(
                f"{shown}: line {line} opens a quote that is not closed in the lines after it, so nobody can say where its row "
                f"ends: {text[:80]!r}. Close the quote, or name the quote of the file in the dialect. Nothing of it was taken."
            )
        # A row without anything in it is no record: workbooks end in them by the hundred.
        if streamed:
            self.streams = True
            before, rows_of = layout.first_line - 1, _read_csv(path, reading, layout)
            # Rows are numbered before the empty ones are left out.
            relation = f"select * from (select row_number() over () + {before} as source_row, * from {rows_of})"
        else:
            relation = self._numbered(table, layout.first_line, rejected)
        original = None
        if wide:
            listed = "[" + ", ".join(literal(column) for column in layout.columns) + "]"
            original = f"cast(to_json(map({listed}, {CELLS})) as varchar)"
            cells = ", ".join(
                f"{CELLS}[{n}] as {identifier(column)}" for n, column in enumerate(layout.columns, start=1)
            )
            relation = (
                f"select source_row, {CELLS}, {cells} from ({relation} where list_any_value({CELLS}) is not null)"
            )
        else:
            some = f"coalesce({', '.join(identifier(column) for column in layout.columns)})"
            relation = f"{relation} where {some} is not null"
        rows = None if streamed else self._count(f"({relation})") + len(rejected)
        relation = _sectioned(_filled_down(relation, reading, layout.names), reading, layout)
        columns = layout.columns + ((reading.section.name,) if reading.section else ())
        names = {**layout.names, **{k: v for k, v in _names(columns, labels).items() if k not in layout.names}}
        return Frame(
            *(relation, "columns", columns, names, shown, delivered.name),
            decimal=reading.decimal,
            encoding=encoding,
            cleaner=cleaner,
            rows=rows,
            rejected=tuple(rejected),
            ambiguous=layout.ambiguous,
            original=original,
            header=layout.header,
        )

    def _load_delimited(self, table: str, path: Path, reading: Reading, layout: _Layout, shown: str) -> None:
        if not self._distrust:
            with contextlib.suppress(duckdb.Error):
                return self._load(table, path, reading, layout)
        # Some line cannot be split. Keeping account of such lines costs a third of the time, so it is left to now.
        self._load_with_rejects(table, path, reading, layout, shown)

    def _load(self, table: str, path: Path, reading: Reading, layout: _Layout, *, rejects: bool = False) -> None:
        wide = len(layout.columns) > WIDE
        cells = f"[{', '.join(identifier(column) for column in layout.columns)}] as {CELLS}" if wide else "*"
        rows_of = _read_csv(path, reading, layout, rejects=rejects)
        self._connection.execute(f"create or replace temp table {table} as select {cells} from {rows_of}")

    def _load_with_rejects(self, table: str, path: Path, reading: Reading, layout: _Layout, shown: str) -> None:
        """Load all lines that can be split and note the others."""
        try:
            return self._load(table, path, reading, layout, rejects=True)
        except duckdb.Error:
            # The parser wants one kind of line end throughout; a file put together on two systems has several.
            self._rejected()
        path = self._with_one_line_end(path, table)
        try:
            self._load(table, path, reading, layout, rejects=True)
        except duckdb.Error as error:
            raise DeliveryError(
                f"{shown}: the file cannot be read as delimited text ({str(error).splitlines()[0]}). Look whether it was "
                "cut off or saved in another format. Nothing of it was taken."
            ) from None

    def _rejected(self, added: int = 0) -> list[tuple[int, str, str]]:
        """Lines the CSV reader could not split since the last call: (line, text, reason), the first MAX_REJECTED of them.

        `added` is the number of lines before those it was given. Forgets them afterwards.
        """
        try:
            rows = self._connection.execute(
                f"select line + {added}, any_value(csv_line), any_value(error_message) from reject_errors group by line "
                f"order by line limit {MAX_REJECTED}"
            ).fetchall()
        except duckdb.CatalogException:
            return []  # DuckDB makes the table with the first CSV file it reads
        if rows:
            self._connection.execute("delete from reject_errors")
        return [(int(line), text or "", (reason or "").splitlines()[0]) for line, text, reason in rows]

    def _decoded(self, path: Path, delivered: DeliveredFile, reading: Reading) -> tuple[Path, str]:
        """A file in UTF-8, and the first of the dialect's encodings in which every byte of the delivered one is valid."""
        failures = []
        for name in reading.encoding:
            position, codec, blanks = 0, codecs.lookup(name).name, False
            decoder = codecs.getincrementaldecoder(name)(errors="strict")
            target = self._scratch / f"{next(self._numbers)}.{codec}.utf8"
            try:
                with path.open("rb") as stream, target.open("wb") as out:
                    while chunk := stream.read(CHUNK):
                        text = decoder.decode(chunk)
                        position += len(chunk)
                        blanks = blanks or any(blank in text for blank in OTHER_BLANKS)
                        if codec != "utf-8":
                            out.write(text.encode("utf-8"))
                    out.write(decoder.decode(b"", final=True).encode("utf-8"))
            except UnicodeError as error:  # UTF-16 without its mark is no UnicodeDecodeError
                failures.append(f"{name} fails at byte {position + getattr(error, 'start', 0)}")
                continue
            if not blanks:
                self._only_spaces.add(path if codec == "utf-8" else target)
            return (path if codec == "utf-8" else target), codec
        raise DeliveryError(
            f"{self._where}: {delivered.name} is in none of the encodings its dialect names ({'; '.join(failures)}). "
            "Ask the source for the file again, or add its encoding to `read: {encoding: [...]}`. Nothing of it was taken."
        )

    def _numbered(self, table: str, first_line: int, rejected: list[tuple[int, str, str]]) -> str:
        """SQL of a table's rows with their numbers in the file, the lines that could not be split counted."""
        if not rejected:
            return f"select rowid + {first_line} as source_row, * from {table}"
        good_before = [line - first_line - position for position, (line, _, _) in enumerate(rejected)]
        if len(rejected) <= FEW_REJECTED:
            counted = f"len(list_filter({good_before}, before -> before <= rowid))"
            return f"select rowid + {first_line} + {counted} as source_row, * from {table}"
        self._connection.execute(
            f"create or replace temp table {table}_before as select good, max(number) as bad from "
            "(select unnest(?) as good, unnest(range(1, ? + 1)) as number) group by good",
            [good_before, len(good_before)],
        )
        return (
            f"select * from (select rows.rowid + {first_line} + coalesce(bad, 0) as source_row, rows.* from {table} as rows "
            f"asof left join {table}_before as before on rows.rowid >= before.good order by rows.rowid)"
        )

    def _without_first_lines(self, path: Path, table: str, lines: int) -> Path:
        """The file from the line on at which its rows begin: the parser counts rows, and one may go over several lines."""
        rest = self._scratch / f"{table}.rows"
        with path.open(encoding="utf-8", newline="") as source, rest.open("w", encoding="utf-8", newline="") as target:
            for _ in range(lines):
                source.readline()
            while text := source.read(CHUNK):
                target.write(text)
        return rest

    def _with_one_line_end(self, path: Path, table: str) -> Path:
        """The file with every line end written as \\n."""
        readable = self._scratch / f"{table}.lines"
        with (
            path.open(encoding="utf-8", newline=None) as source,
            readable.open("w", encoding="utf-8", newline="") as target,
        ):
            while text := source.read(CHUNK):
                target.write(text)
        return readable

    def _count(self, relation: str) -> int:
        found = self._connection.execute(f"select count(*) from {relation}").fetchone()
        assert found is not None
        return int(found[0])


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where the rows of a delimited file begin and what their columns are called."""

    first_line: int
    delimiter: str
    columns: tuple[str, ...]
    names: dict[str, str]
    header: tuple[int, ...] = ()
    cut: int = 0
    """Lines above the rows, where they are not as many as the rows above them: a title over several lines."""
    ambiguous: frozenset[str] = frozenset()


def _ends_lines_with_cr(path: Path) -> bool:
    """Whether lines end with a carriage return alone: the parser would take a line break in a cell for another end."""
    with path.open("rb") as stream:
        return re.search(rb"\r(?!\n|$)", stream.read(CHUNK)) is not None


def _layout(
    path: Path, reading: Reading, delivered: DeliveredFile, required: tuple[tuple[str, ...], ...], where: str
) -> _Layout:
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES).decode("utf-8-sig", errors="ignore")
    delimiter = _delimiter(head, reading)
    lines = _split(head, delimiter, reading.quote)
    if reading.first_line is not None:
        first = next(lines, (1, []))[1]
        if not re.search(reading.first_line, delimiter.join(first)):
            raise DeliveryError(
                f"{where}: the first line of {delivered.name} is {delimiter.join(first)[:80]!r}, and the dialect knows its "
                f"files by a first line like '{reading.first_line}'. It is another kind of file, or in another encoding. "
                "Nothing of it was taken."
            )
        if reading.header == "none":
            return _Layout(2, delimiter, _unique(reading.names), _names(reading.names, {}))
    elif reading.header == "none":
        if not head.strip():
            raise _empty(delivered, where)
        return _Layout(1, delimiter, _unique(reading.names), _names(reading.names, {}))
    rows = list(itertools.islice(lines, max(SEARCHED_ROWS, *(reading.header or (1,)))))
    if reading.header_name is not None:
        rows = [(line, [_part(cell, reading.header_name) for cell in row]) for line, row in rows]
    if not any(cell.strip() for _, row in rows for cell in row):
        raise _empty(delivered, where)
    chosen = _header_rows(rows, reading, required, delivered, where)
    if any("\0" in cell for _, row in chosen for cell in row):
        raise DeliveryError(
            f"{where}: the header of {delivered.name} holds NUL bytes, so the file is probably in UTF-16. Save it as UTF-8, or "
            "name its encoding in the dialect, `read: {encoding: utf-16}`. Nothing of it was taken."
        )
    columns = _unique(chosen[0][1])
    names: dict[str, str] = {}
    ambiguous: set[str] = set()
    for _, row in chosen:
        places: dict[str, list[str]] = {}
        for label, column in zip(row, columns, strict=False):
            if label.strip():
                places.setdefault(folded(label), []).append(column)
        for label, found in places.items():
            if label not in names and len(found) > 1:
                ambiguous.add(label)
            names.setdefault(label, found[0])
            for number, column in enumerate(found, start=1):
                names.setdefault(f"{label}({number})", column)
    lines_of_header = tuple(line for line, _ in chosen)
    above = next(number for number, row in enumerate(rows, start=2 if reading.first_line else 1) if row is chosen[-1])
    cut = chosen[-1][0] if chosen[-1][0] != above else 0
    return _Layout(
        *(above + 1, delimiter, columns, {**_names(columns, {}), **names}, lines_of_header),
        cut=cut,
        ambiguous=frozenset(ambiguous),
    )


def _read_csv(path: Path, reading: Reading, layout: _Layout, *, rejects: bool = False) -> str:
    """SQL of the rows of delimited text. With `rejects` lines that cannot be split are noted, and are no error."""
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in layout.columns)
    quote = literal(reading.quote)
    ragged = "null_padding = true, parallel = false, " if reading.ragged else ""
    kept = "store_rejects = true, rejects_limit = 0, " if rejects else ""
    return (
        f"read_csv({literal(str(path))}, columns = {{{types}}}, header = false, "
        f"skip = {0 if layout.cut else layout.first_line - 1}, auto_detect = false, delim = {literal(layout.delimiter)}, "
        f"quote = {quote}, escape = {quote}, strict_mode = true, {ragged}{kept}max_line_size = {MAX_LINE}, "
        f"buffer_size = {BUFFER})"
    )


def _part(header: str, pattern: str) -> str:
    """The part of a header that is its name: `BELNR` of `BELNR (Document Number)`."""
    match = re.search(pattern, header.strip())
    return str(match.group(1)) if match and match.groups() else header


def _empty(delivered: DeliveredFile, where: str) -> DeliveryError:
    return DeliveryError(
        f"{where}: {delivered.name} is empty: not even a header line. Deliver it again; an extract without "
        "records still has its header. Nothing of it was taken."
    )


def _header_rows(
    rows: list[tuple[int, list[str]]],
    reading: Reading,
    required: tuple[tuple[str, ...], ...],
    delivered: DeliveredFile,
    where: str,
) -> list[tuple[int, list[str]]]:
    """The rows that name the columns: those the dialect numbers, or the first that has all the labels that must be there."""
    if isinstance(reading.header, tuple):
        by_number = dict(enumerate(rows, start=1))
        missing = [row for row in reading.header if row not in by_number]
        if missing:
            raise DeliveryError(
                f"{where}: {delivered.name} has {len(rows)} rows, and its header should stand in row {missing[0]}. It may "
                "have been cut off. Nothing of it was taken."
            )
        return [by_number[row] for row in reading.header]
    wanted = tuple((label,) for label in reading.header_has) or required
    for row in rows:
        present = {folded(cell) for cell in row[1]}
        if all(any(folded(label) in present for label in labels) for labels in wanted):
            return [row]
    if reading.header_has:
        raise DeliveryError(
            f"{where}: none of the first {len(rows)} rows of {delivered.name} has the headers "
            f"{', '.join(reading.header_has)}. Correct the file, or `read: {{header_has: [...]}}` in the dialect. Nothing "
            "of it was taken."
        )
    return [next(row for row in rows if any(cell.strip() for cell in row[1]))]


def _split(head: str, delimiter: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a text, each with the number of its last line."""
    csv.field_size_limit(MAX_LINE)
    if quote:
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, quotechar=quote)
    else:
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error:
        return


def _delimiter(head: str, reading: Reading) -> str:
    """Of the dialect's delimiters the one that divides the first rows into most columns."""
    if len(reading.delimiter) == 1:
        return reading.delimiter[0]
    widths = {
        delimiter: max((len(row) for _, row in itertools.islice(_split(head, delimiter, reading.quote), 20)), default=0)
        for delimiter in reading.delimiter
    }
    return max(reading.delimiter, key=lambda delimiter: widths[delimiter])


def _unique(header: Sequence[str]) -> tuple[str, ...]:
    taken: set[str] = set()
    times: dict[str, int] = {}
    columns = []
    for position, name in enumerate(header, start=1):
        unique = base = name.strip() or f"column_{position}"
        again = times.get(base, 0)
        while unique.casefold() in taken or RESERVED.fullmatch(unique):
            again += 1
            unique = base + ("_" * again if again < 5 else f"_{again}")
        times[base] = again
        taken.add(unique.casefold())
        columns.append(unique)
    return tuple(columns)


def _names(columns: tuple[str, ...], labels: dict[str, str]) -> dict[str, str]:
    """Folded names of the columns, and the labels a dictionary gives them."""
    names = dict(labels)
    for column in columns:
        names.setdefault(folded(column), column)
    return names


def _filled_down(relation: str, reading: Reading, names: dict[str, str]) -> str:
    """A row in which all of the `fill_down` columns are empty has those of the last row that has any."""
    columns = [names[folded(label)] for label in reading.fill_down if folded(label) in names]
    if not columns:
        return relation
    listed = ", ".join(identifier(column) for column in columns)
    own = f"coalesce({', '.join(f'cleaned({identifier(column)})' for column in columns)})"
    head = (
        f"last_value(case when {own} is not null then {{'c': [{listed}]}} end ignore nulls) over (order by source_row)"
    )
    filled = ", ".join(
        f"{identifier('head!')}.c[{position}] as {identifier(column)}"
        for position, column in enumerate(columns, start=1)
    )
    return f'select * exclude ("head!") replace ({filled}) from (select *, {head} as "head!" from ({relation}))'


def _sectioned(relation: str, reading: Reading, layout: _Layout) -> str:
    """Rows below a section's opening row carry its text."""
    section = reading.section
    if section is None:
        return relation
    source = (
        layout.columns[int(section.source) - 1]
        if section.source.isdigit() and int(section.source) <= len(layout.columns)
        else layout.names.get(folded(section.source), section.source)
    )
    text = f"cleaned({identifier(source)})"
    opened = f"case when {text} is null then null when regexp_matches({text}, {literal(section.ends)}) then '' else {text} end"
    value = f"nullif(last_value({opened} ignore nulls) over (order by source_row), '')"
    return f"select *, {value} as {identifier(section.name)} from ({relation})"
