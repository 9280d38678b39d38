"""What a file nobody has described looks like: encoding, delimiter, header, and what stands in its columns.

Everything found is a guess with a degree: `sure`, `likely` with a reason, or `guess` with what to check. What the columns
mean is not asked here, but in `draft.py`.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import datetime
import io
import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import duckdb

from assets.errors import DeliveryError
from assets.ingest.delivery import DeliveredFile, unpacked
from assets.ingest.dialect import Reading
from assets.ingest.documents import json_to_lines, workbook_to_csv, xml_to_lines
from assets.ingest.reading import file_format, folded
from assets.ingest.sql import literal
from assets.ingest.values import FALSE_TOKENS, NO_DATE, NOTHING, TRUE_TOKENS

HEAD = 4 << 20
ROWS = 5_000
SEARCHED = 30
"""Rows looked at for a header."""
DELIMITERS = (",", ";", "\t", "|")
FEW = 24
"""So many different values at most are choices."""

Degree = Literal["sure", "likely", "guess"]


@dataclasses.dataclass(frozen=True)
class Guess:
    """How sure something is, and why or what to check."""

    degree: Degree
    why: str = ""

    def __str__(self) -> str:
        return self.degree + (f": {self.why}" if self.why else "")


SURE = Guess("sure")


@dataclasses.dataclass(frozen=True)
class Dates:
    """How the dates of a column are written: the formats a dialect needs (none for year first)."""

    formats: tuple[str, ...]
    guess: Guess = SURE
    instants: bool = False
    """Whether the values are moments whose day depends on a time zone."""


@dataclasses.dataclass
class Column:
    """One column of a file."""

    name: str
    values: list[str | None]

    @property
    def filled(self) -> list[str]:
        return [value for value in self.values if value is not None]

    @property
    def distinct(self) -> Counter[str]:
        return Counter(self.filled)

    @property
    def is_unique(self) -> bool:
        return bool(self.filled) and len(set(self.values)) == len(self.values)

    @property
    def is_choice(self) -> bool:
        distinct = len(self.distinct)
        return 0 < distinct <= FEW and (distinct < len(self.filled) or len(self.filled) <= 3)

    def numbers(self, mark: str) -> list[Decimal | None]:
        return [number(value, mark) if value is not None else None for value in self.values]

    def is_number(self, mark: str) -> bool:
        filled = [value for value in self.filled if value not in NOTHING]
        return bool(filled) and sum(number(value, mark) is not None for value in filled) >= 0.95 * len(filled)

    def is_boolean(self) -> bool:
        return bool(self.filled) and all(value.lower() in (*TRUE_TOKENS, *FALSE_TOKENS) for value in self.filled)


@dataclasses.dataclass
class Table:
    """A file as rows of texts, and how a dialect would have to read it."""

    name: str
    format: str
    columns: list[Column]
    reading: dict[str, Any] = dataclasses.field(default_factory=dict)
    guesses: dict[str, Guess] = dataclasses.field(default_factory=dict)
    """Key of `reading` -> how sure it is."""
    decimal: str = "."
    month_first: bool | None = None
    """Whether this file writes the month before the day, where some value shows it."""
    left_out: list[tuple[str, str, Guess]] = dataclasses.field(default_factory=list)
    """(column, a value or '' for no value, why): rows that are no records."""

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def rows(self) -> int:
        return len(self.columns[0].values) if self.columns else 0


def sniff(delivered: DeliveredFile, scratch: Path) -> list[Table]:
    """A file as a table; several where it can be read in several ways (lists inside of records). Raises DeliveryError."""
    where = "draft"
    path = unpacked(delivered, scratch, where)
    form = _format(delivered, path)
    if form == "parquet":
        tables = [_parquet(delivered, path)]
    elif form in ("json", "jsonl", "xml"):
        tables = list(_documents(delivered, path, form, scratch, where))
    else:
        tables = [_delimited(delivered, path, form, scratch, where)]
    for table in tables:
        if form != file_format(delivered, Reading()):
            table.reading = {"format": form, **table.reading}
        table.decimal, guess = _decimal_mark(table)
        if table.decimal == ",":
            table.reading["decimal"] = ","
            table.guesses["decimal"] = guess
        table.month_first = _month_first(table)
    return tables


def _format(delivered: DeliveredFile, path: Path) -> str:
    form = file_format(delivered, Reading())
    if form == "csv":
        with path.open("rb") as stream:
            head = stream.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
        if head.startswith((b"<?xml", b"<")) and b">" in head:
            return "xml"
        if head.startswith(b"{"):
            return "jsonl"
        if head.startswith(b"["):
            return "json"
    return form


# Delimited text and workbooks


def _delimited(delivered: DeliveredFile, path: Path, form: str, scratch: Path, where: str) -> Table:
    table = Table(delivered.name, form, [])
    if form == "xlsx":
        target = scratch / "sheet.csv"
        workbook_to_csv(path, target, delivered, None, where)
        text, delimiter = target.read_text(encoding="utf-8")[:HEAD], ","
    else:
        text = _text(path, table)
        delimiter = _delimiter(text, table)
    rows = list(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), ROWS))
    if len(text) >= HEAD - 4 and len(rows) > 1:
        rows = rows[:-1]
    rows = [[_clean(cell) for cell in row] for row in rows]
    if not any(cell for row in rows for cell in row):
        raise DeliveryError(f"{delivered.name} is empty: there is nothing to draft a dialect from.")
    names, records = _header(rows, table)
    table.columns = [
        Column(name, [row[position] or None if position < len(row) else None for row in records])
        for position, name in enumerate(names)
    ]
    _fill_down(table)
    _no_records(table)
    return table


def _clean(text: str) -> str:
    return text.strip(" \t\u00a0\u3000\r\ufeff")


def _text(path: Path, table: Table) -> str:
    """The head of a file, and its encoding: strictly the first of utf-8, gb18030 and cp1252 that reads it sensibly."""
    with path.open("rb") as stream:
        data = stream.read(HEAD)
    whole = len(data) < HEAD
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        table.reading["encoding"], table.guesses["encoding"] = ["utf-16"], SURE
        return _decoded(data, "utf-16", whole) or ""
    text = _decoded(data, "utf-8", whole)
    if text is not None:
        return text
    text = _decoded(data, "gb18030", whole)
    if text is not None and not _is_misread(data):
        table.reading["encoding"] = ["utf-8", "gb18030"]
        table.guesses["encoding"] = Guess("likely", "not UTF-8, and every byte is valid GB18030")
        return text
    text = _decoded(data, "cp1252", whole)
    if text is None:
        raise DeliveryError(
            f"{table.name} is neither UTF-8 nor GB18030 nor cp1252. Ask how it was written, and save it as UTF-8."
        )
    table.reading["encoding"] = ["utf-8", "cp1252"]
    odd = sorted({character for character in text if ord(character) > 127})[:12]
    table.guesses["encoding"] = Guess(
        "guess", f"cp1252 reads nearly any bytes; look whether these are right: {''.join(odd)}"
    )
    return text


def _decoded(data: bytes, encoding: str, whole: bool) -> str | None:
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    try:
        return decoder.decode(data, final=whole).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None


def _is_misread(data: bytes) -> bool:
    """Whether GB18030 reads western text as Chinese: an accented letter and the plain letter after it make one character."""
    pairs = re.findall(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]|[\x81-\xfe][\x30-\x39][\x81-\xfe][\x30-\x39]", data)
    plain = sum(pair[1:2] < b"\x80" for pair in pairs)
    return bool(pairs) and plain > 0.5 * len(pairs)


def _delimiter(text: str, table: Table) -> str:
    """The delimiter that divides most rows into the same number of columns."""
    best: tuple[float, int, str] = (0.0, 1, ",")
    for delimiter in DELIMITERS:
        rows = list(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 200))
        widths = Counter(len(row) for row in rows if any(row))
        if widths:
            width, count = widths.most_common(1)[0]
            share = count / sum(widths.values())
            if width > 1 and (share * min(width, 8), width) > best[:2]:
                best = (share * min(width, 8), width, delimiter)
    if best[2] != ",":
        table.reading["delimiter"] = best[2]
        table.guesses["delimiter"] = SURE
    return best[2]


def _header(rows: list[list[str]], table: Table) -> tuple[list[str], list[list[str]]]:
    """The names of the columns and the rows below them."""
    width = Counter(len([cell for cell in row if cell]) for row in rows[:200]).most_common(1)[0][0]
    at = next((n for n, row in enumerate(rows[:SEARCHED]) if _is_header(row, width)), None)
    if at is None:
        data_from = next((n for n, row in enumerate(rows[:SEARCHED]) if sum(map(bool, row)) >= max(2, 0.6 * width)), 0)
        columns = max(len(row) for row in rows[data_from : data_from + 200])
        names = [f"column_{position}" for position in range(1, columns + 1)]
        table.reading |= {"header": "none", "names": names, "ragged": "true"}
        table.guesses["header"] = Guess("guess", "no row looks like a header; give the columns their names")
        if data_from:
            first = re.escape(rows[0][0])
            table.reading["first_line"] = f"^{first}"
        return names, rows[data_from:]
    header, below = rows[at], rows[at + 1 :]
    if below and _is_second_header(below, header):
        table.reading["header"] = [at + 1, at + 2]
        table.guesses["header"] = Guess("likely", "names in two rows; either binds")
        header = [label or name for label, name in itertools.zip_longest(below[0], header, fillvalue="")]
        below = below[1:]
    elif at:
        table.guesses["header_row"] = Guess("likely", f"the header stands in row {at + 1}")
    return _unique(header), [row for row in below if any(row)]


def _is_header(row: list[str], width: int) -> bool:
    named = [cell for cell in row if cell]
    if len(named) < max(2, 0.6 * width):
        return False
    if any(len(cell) > 120 for cell in named) or len({folded(cell) for cell in named}) < 0.9 * len(named):
        return False
    return sum(_is_value(cell) for cell in named) <= 0.1 * len(named)


def _is_value(cell: str) -> bool:
    """Whether a cell is a number or a date, which no label is."""
    return number(cell, ".") is not None or number(cell, ",") is not None or date_style(cell) is not None


def _is_second_header(below: list[list[str]], header: list[str]) -> bool:
    """Whether the row after the header is one, too: labels where the rows after it have numbers or dates."""
    second, data = below[0], below[1:51]
    named = [cell for cell in second if cell]
    if len(data) < 1 or len(named) < 0.8 * len([cell for cell in header if cell]) or any(map(_is_value, named)):
        return False
    typed = 0
    for position, cell in enumerate(second):
        values = [row[position] for row in data if position < len(row) and row[position]]
        typed += bool(cell and values and sum(map(_is_value, values)) >= 0.8 * len(values))
    return typed >= 2


def _unique(header: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    names = []
    for position, label in enumerate(header, start=1):
        name = label or f"column_{position}"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names.append(name)
    return names


def _fill_down(table: Table) -> None:
    """Columns filled on the first row of a voucher only, and taken over by the rows below it."""
    patterns: dict[tuple[bool, ...], list[Column]] = {}
    for column in table.columns:
        pattern = tuple(value is not None for value in column.values)
        if pattern and pattern[0] and not all(pattern):
            patterns.setdefault(pattern, []).append(column)
    for pattern, columns in patterns.items():
        dated = any(column_dates(column) for column in columns)
        others = [column for column in table.columns if column not in columns]
        empty = [row for row, filled in enumerate(pattern) if not filled]
        # An amount that is empty where another stands is one side of a posting, not the head of a voucher.
        opposite = [tuple(value is None for value in column.values) for column in others]
        if pattern in opposite:
            at_the_left = [column for column, other in zip(columns, table.columns, strict=False) if column is other]
            columns = [
                column
                for column in columns
                if column in at_the_left or not (column.is_number(".") or column.is_number(","))
            ]
        kept = [column for column in others if sum(column.values[row] is not None for row in empty) >= 0.9 * len(empty)]
        if dated and len(columns) >= 2 and any(column.is_number(".") or column.is_number(",") for column in kept):
            table.reading["fill_down"] = [column.name for column in columns]
            table.guesses["fill_down"] = Guess("likely", "filled on the first row of each group only")
            for column in columns:
                last: str | None = None
                for row, value in enumerate(column.values):
                    last = value or last
                    column.values[row] = last
            return


def _no_records(table: Table) -> None:
    """Rows that are no records: the header again, and totals without a date."""
    names = {folded(column.name) for column in table.columns}
    rows = list(zip(*(column.values for column in table.columns), strict=True))
    again = {
        number
        for number, row in enumerate(rows)
        if sum(folded(cell) in names for cell in row if cell) >= 0.5 * len([c for c in row if c])
    }
    if again and len(again) <= 0.2 * len(rows) + 1 and len(again) < len(rows):
        first = rows[min(again)]
        for column, cell in zip(table.columns, first, strict=True):
            alike = {number for number, value in enumerate(column.values) if value == cell}
            if cell and alike == again and folded(cell) in names:
                table.left_out.append((column.name, cell, Guess("sure", f"{len(again)} rows repeat the header")))
                break
        else:
            again = set()
    else:
        again = set()
    dated = [
        column
        for column in table.columns
        if column_dates(Column("", [v for n, v in enumerate(column.values) if n not in again]))
    ]
    if dated:
        best = max(dated, key=lambda column: len(column.filled))
        undated = {number for number, value in enumerate(best.values) if value is None} - again
        if undated and len(undated) <= 0.1 * len(rows) and max(undated) == len(rows) - 1:
            why = f"{len(undated)} rows without a date, totals by their look"
            table.left_out.append((best.name, "", Guess("likely", why)))
            again |= undated
    if again:
        for column in table.columns:
            column.values = [value for number, value in enumerate(column.values) if number not in again]


# Documents


def _documents(delivered: DeliveredFile, path: Path, form: str, scratch: Path, where: str) -> Iterator[Table]:
    reading: dict[str, Any] = {}
    guesses: dict[str, Guess] = {}
    lines = scratch / "records.jsonl"
    records: list[tuple[Any, Any]]
    if form == "xml":
        place = _xml_rows(path, delivered)
        reading["records"], guesses["records"] = place, Guess("likely", "the element that is repeated most")
        xml_to_lines(path, lines, delivered, place, (), None, where)
        records = [(line["record"], line.get("parent")) for line in _json_lines(lines)]
    elif form == "json":
        place_or_none = _json_list(path, delivered)
        if place_or_none:
            reading["records"], guesses["records"] = place_or_none, SURE
        json_to_lines(path, lines, delivered, (place_or_none,) if place_or_none else (), (), where)
        records = [(line["record"], None) for line in _json_lines(lines)]
    else:
        table = Table(delivered.name, form, [])
        _text(path, table)
        reading, guesses = dict(table.reading), dict(table.guesses)
        records = [(record, None) for record in _json_lines(path, table.reading.get("encoding", ["utf-8"])[-1])]
    records = [(record, parent) for record, parent in records if isinstance(record, dict)]
    if not records:
        raise DeliveryError(f"{delivered.name} holds no records: there is nothing to draft a dialect from.")
    yield Table(delivered.name, form, _flattened(records), dict(reading), dict(guesses))
    for key in _lists(records):
        children = [
            (child, {**record, "..": parent} if parent is not None else record)
            for record, parent in records
            for child in (record.get(key) or [])
            if isinstance(child, dict)
        ]
        why = Guess("likely", f"one row per element of {key}")
        yield Table(delivered.name, form, _flattened(children), {**reading, "each": key}, {**guesses, "each": why})


def _json_lines(path: Path, encoding: str = "utf-8") -> list[Any]:
    found = []
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace") as stream:
        for line in itertools.islice(stream, ROWS):
            try:
                found.append(json.loads(line, parse_float=str, parse_int=str))
            except ValueError:
                continue
    return found


def _json_list(path: Path, delivered: DeliveredFile) -> str:
    """Path of the first list of objects in a JSON document; empty when the document is the list."""
    import ijson

    try:
        with path.open("rb") as stream:
            if stream.read(3) != b"\xef\xbb\xbf":
                stream.seek(0)
            for place, event, _ in ijson.parse(stream):
                if event == "start_map" and (place == "item" or place.endswith(".item")):
                    return str(place).removesuffix("item").removesuffix(".")
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise DeliveryError(
            f"{delivered.name} is not a complete JSON document ({str(error).splitlines()[0]})."
        ) from None
    return ""


def _xml_rows(path: Path, delivered: DeliveredFile) -> str:
    """Path of the element with children that occurs most often, below the root."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    counts: Counter[tuple[str, ...]] = Counter()
    parents: set[tuple[str, ...]] = set()
    names: tuple[str, ...] = ()
    try:
        for event, element in iterparse(str(path), events=("start", "end"), forbid_dtd=True):
            if event == "start":
                names = (*names, element.tag.rsplit("}", 1)[-1])
                counts[names] += 1
                parents.add(names[:-1])
            else:
                names = names[:-1]
                element.clear()
            if sum(counts.values()) > 50 * ROWS:
                break
    except (ParseError, DefusedXmlException, UnicodeError, ValueError) as error:
        raise DeliveryError(f"{delivered.name} cannot be read as XML ({error}).") from None
    rows = [place for place in counts if place in parents and len(place) > 1]
    best = max(rows, key=lambda place: (counts[place], -len(place)), default=())
    return "/".join(best[1:])


def _lists(records: Sequence[tuple[Any, Any]]) -> list[str]:
    """Keys whose values are lists of objects."""
    found: Counter[str] = Counter()
    for record, _ in records:
        for key, value in record.items():
            found[key] += isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    return [key for key, count in found.items() if count]


def _flattened(records: Sequence[tuple[Any, Any]]) -> list[Column]:
    rows = []
    for record, parent in records:
        row: dict[str, str] = {}
        _flatten(record, "", row)
        above, prefix = parent, "../"
        while isinstance(above, dict):
            _flatten({key: value for key, value in above.items() if key != ".."}, prefix, row)
            above, prefix = above.get(".."), prefix + "../"
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return [Column(name, [_clean(row.get(name, "")) or None for row in rows]) for name in names]


def _flatten(value: Any, place: str, row: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if "." not in key and "[" not in key:
                _flatten(inner, f"{place}{'' if not place or place.endswith('/') else '.'}{key}", row)
    elif isinstance(value, list):
        if value and not isinstance(value[0], dict | list):
            _flatten(value[0], f"{place}[0]", row)
    elif value is not None:
        row[place] = json.dumps(value) if isinstance(value, bool) else str(value)


def _parquet(delivered: DeliveredFile, path: Path) -> Table:
    try:
        rows = duckdb.execute(f"select columns(*)::varchar from read_parquet({literal(str(path))}) limit {ROWS}")
        names = [column[0] for column in rows.description or ()]
        content = rows.fetchall()
    except duckdb.Error as error:
        raise DeliveryError(f"{delivered.name} cannot be read as Parquet ({str(error).splitlines()[0]}).") from None
    return Table(delivered.name, "parquet", [Column(name, [row[n] for row in content]) for n, name in enumerate(names)])


# Values

_SIGNED = r"(?:[-+]?{0}[-+]?|\({0}\))"
_POINT = re.compile(_SIGNED.format(r"(?:\d{1,3}(?:[, '\u00a0\u2019\u202f]\d{3})+|\d+)?(?:\.\d*)?"))
_COMMA = re.compile(_SIGNED.format(r"(?:\d{1,3}(?:[. '\u00a0\u2019\u202f]\d{3})+|\d+)?(?:,\d*)?"))
_CURRENCY = re.compile(r"[¥$€£元]|\b(?:CNY|RMB|USD|EUR|GBP|HKD|JPY)\b|人民币")


def number(text: str, mark: str) -> Decimal | None:
    """The number a text stands for with this decimal mark, as the engine reads it."""
    body = text if text.isascii() else unicodedata.normalize("NFKC", text)
    body = _CURRENCY.sub("", body).strip().removesuffix("%").strip()
    if not re.search(r"\d", body) or not (_COMMA if mark == "," else _POINT).fullmatch(body):
        return None
    negative = body.startswith(("-", "(")) or body.endswith("-")
    digits = re.sub(r"[^\d,.]", "", body)
    digits = digits.replace(".", "").replace(",", ".") if mark == "," else digits.replace(",", "")
    try:
        return -Decimal(digits) if negative else Decimal(digits)
    except InvalidOperation:
        return None


def _decimal_mark(table: Table) -> tuple[str, Guess]:
    """The decimal mark of a file: the one that more of its columns can only be read with."""
    only = {".": 0, ",": 0}
    example = ""
    for column in table.columns:
        marks = [mark for mark in ".," if column.is_number(mark)]
        if len(marks) == 1:
            only[marks[0]] += 1
            if marks[0] == "," and not example:
                example = next(value for value in column.filled if number(value, ".") is None)
    if only[","] > only["."]:
        return ",", Guess("sure" if not only["."] else "likely", f"as in {example}")
    return ".", SURE


_YEAR_FIRST = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?"
    r"|\d{4}年\d{1,2}月\d{1,2}日( ?\d{1,2}:\d{2}(:\d{2})?)?"
)
_COMPACT = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{6})?")
_OFFSET = re.compile(r"\d\d:\d\d.*(Z|[+-]\d{2}:?\d{2})$")
_OTHER = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})( \d{1,2}:\d{2}(:\d{2})?)?")
_NAMED = (
    *("%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y"),
    *("%d-%b-%Y %H:%M:%S", "%b %d, %Y %H:%M:%S", "%d %b %Y %H:%M"),
)


def date_style(text: str) -> str | None:
    """The family of styles a text is a date in."""
    if _YEAR_FIRST.fullmatch(text):
        return "year"
    if _COMPACT.fullmatch(text):
        return "compact"
    if _OTHER.fullmatch(text):
        return "other"
    if re.fullmatch(r"/Date\(-?\d+([+-]\d{4})?\)/", text):
        return "json_date"
    if re.fullmatch(r"1\d{12}", text):
        return "epoch_ms"
    if re.search(r"[A-Za-z]{3}", text) and any(_parses(text, pattern) for pattern in _NAMED):
        return "named"
    return None


def column_dates(column: Column, month_first: bool | None = None) -> Dates | None:
    """How the dates of a column are written, or None when it holds no dates."""
    values = [value for value in column.filled if value not in NO_DATE]
    if not values:
        return None
    sample = values[:500]
    styles = Counter(date_style(value) for value in sample)
    style, count = styles.most_common(1)[0]
    if style is None:
        return None
    if style in ("year", "compact"):
        good = styles["year"] + styles["compact"]
        if good < 0.95 * len(sample) or _impossible(sample) > 0.05 * len(sample):
            return None
        return Dates((), instants=any(_OFFSET.search(value) for value in sample))
    if count < 0.95 * len(sample):
        return None
    if style in ("json_date", "epoch_ms"):
        return Dates((style,), instants=True)
    if style == "named":
        for pattern in _NAMED:
            if sum(_parses(value, pattern) for value in sample) >= 0.95 * len(sample):
                return Dates((pattern,))
        return None
    return _day_and_month([value for value in sample if date_style(value) == "other"], month_first)


def _day_and_month(sample: list[str], month_first: bool | None) -> Dates | None:
    found = [match for value in sample if (match := _OTHER.fullmatch(value))]
    mark = Counter(match[2] for match in found).most_common(1)[0][0]
    year = "%Y" if any(len(match[4]) == 4 for match in found) else "%y"
    time = "" if not found[0][5] else " %H:%M:%S" if found[0][6] else " %H:%M"
    day, month = f"%d{mark}%m{mark}{year}{time}", f"%m{mark}%d{mark}{year}{time}"
    first, second = max(int(match[1]) for match in found), max(int(match[3]) for match in found)
    if first > 12 and second > 12:
        return None
    if first > 12:
        return Dates((day,), Guess("sure", f"a day {first} stands first"))
    if second > 12:
        return Dates((month,), Guess("sure", f"a day {second} stands second"))
    if mark == ".":
        return Dates((day,), Guess("likely", "with points the day comes first"))
    if month_first is not None:
        return Dates((month if month_first else day,), Guess("likely", "as the other dates of the file"))
    return Dates((day,), Guess("guess", f"no value tells day from month; if the month comes first it is {month!r}"))


def _month_first(table: Table) -> bool | None:
    """What the columns whose dates can be read in one way only say for the others."""
    said = set()
    for column in table.columns:
        dates = column_dates(column)
        if dates and dates.guess.degree == "sure" and dates.formats and dates.formats[0][:2] in ("%d", "%m"):
            said.add(dates.formats[0].startswith("%m"))
    return said.pop() if len(said) == 1 else None


def _parses(text: str, pattern: str) -> bool:
    try:
        datetime.datetime.strptime(text, pattern)  # noqa: DTZ007 - asked only whether it parses
    except ValueError:
        return False
    return True


def _impossible(values: Sequence[str]) -> int:
    count = 0
    for value in values:
        digits = [int(part) for part in re.findall(r"\d+", value)[:3]]
        if len(digits) == 1:
            continue
        count += len(digits) < 3 or not (1 <= digits[1] <= 12 and 1 <= digits[2] <= 31)
    return count
