"""Documents made into rows: a workbook becomes a CSV file, a JSON or XML document becomes JSON lines.

Each is read as a stream, so memory does not grow with the file (a workbook's sheet, of at most a million rows, is the
exception, so that one is read by a process of its own with a bound on its memory: `workbook.py`), and each is all or
nothing: a document that ends too early or is no document is refused with the place.

The line of a JSON or XML record is `{"record": {...}, "parent": {...}}`: the record, and what stands above it. XML names
lose their namespaces; an element with children is an object, repeated children are a list, and attributes are `@name`.
"""

from __future__ import annotations

import codecs
import decimal
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from assets.errors import DeliveryError
from assets.ingest.delivery import FREE_SIZE, MAX_RATIO, DeliveredFile

Found = dict[str, str]
"""Path from the document's root -> the text that stands there."""

MAX_DEPTH = 200
"""How deep a document may be nested. Extracts reach 20; what goes into the thousands is made to exhaust a reader."""

JSON_CHUNK = 8 << 10
"""Read at once: the paths of all events in it are in memory together, which for deep nesting is the square of it."""

MAX_EXPONENT = 100
"""Beyond it a JSON number is kept as it was written: its digits written out could fill the memory."""

_XML_DECLARATION = re.compile(rb"\A\s*<\?xml[^>]*?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]+)[\"']")


def workbook_to_csv(source: Path, target: Path, delivered: DeliveredFile, sheet: str | None, where: str) -> None:
    """Write one visible sheet (the first, or the first whose name `sheet` matches) as CSV, rows and blanks as they are."""
    _refuse_bomb(source, delivered, where)
    reader = Path(__file__).with_name("workbook.py")
    done = subprocess.run(
        [sys.executable, "-I", str(reader), str(source), str(target), sheet or ""],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    try:
        said = json.loads(done.stdout)
    except ValueError:
        said = {"error": f"its reader needs too much memory or fails, with {done.returncode}"}
    if "visible" in said:
        raise DeliveryError(
            f"{where}: {delivered.name} has no visible sheet named like '{sheet or '(any)'}' (it has "
            f"{', '.join(said['visible']) or 'none'}). Correct the file, or `read: {{sheet: ...}}` in the dialect. Nothing of it "
            "was taken."
        )
    raise DeliveryError(
        f"{where}: {delivered.name} is not a readable workbook ({said['error']}). It may have been cut off, be protected by "
        "a password, or have a cell far outside of its data: save it again as .xlsx, or as CSV. Nothing of it was taken."
    )


def _refuse_bomb(source: Path, delivered: DeliveredFile, where: str) -> None:
    """A workbook is a zip, read whole by its reader: what it unpacks to is added up first."""
    try:
        with zipfile.ZipFile(source) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except zipfile.BadZipFile:
        return  # an old .xls, or what its reader will refuse
    if size > max(FREE_SIZE, delivered.size * MAX_RATIO):
        raise DeliveryError(
            f"{where}: {delivered.name} unpacks to more than {MAX_RATIO} times its size, which no workbook of data does. "
            "Ask where the file comes from. Nothing of it was taken."
        )


def json_to_lines(
    source: Path, target: Path, delivered: DeliveredFile, records: tuple[str, ...], wanted: tuple[str, ...], where: str
) -> Found:
    """Write the records of a JSON document, one a line.

    `records` are the paths their array may stand at; the first found is taken. A document that is an array is the records
    itself, unless a path leads into it (`item.data`). Returns what stands at the paths of `wanted`.
    """
    import ijson

    bare = () if any(path.split(".")[0] == "item" for path in records) else ("",)
    places = {path: f"{path}.item".lstrip(".") for path in (*records, *bare)}
    prefix: str | None = None
    found: Found = {}
    rows = depth = 0
    try:
        with source.open("rb") as stream, target.open("w", encoding="utf-8") as out:
            builder: Any = None
            for path, event, value in ijson.parse(_Json(_without_bom(stream)), buf_size=JSON_CHUNK):
                depth += _DEEPER.get(event, 0)
                if depth > MAX_DEPTH:
                    raise _too_deep(delivered, where)
                if builder is not None:
                    builder.event(event, value)
                    if path == prefix and event in ("end_map", "end_array"):
                        _write(out, builder.value, None)
                        rows, builder = rows + 1, None
                elif path == prefix:
                    if event in ("start_map", "start_array"):
                        builder = ijson.ObjectBuilder()
                        builder.event(event, value)
                    else:
                        _write(out, value, None)
                        rows += 1
                elif event == "start_array" and prefix is None and path in places:
                    prefix = places[path]
                elif path in wanted and event in ("string", "number"):
                    found[path] = str(value)
    except (ijson.JSONError, ValueError) as error:
        raise DeliveryError(
            f"{where}: {delivered.name} is not a complete JSON document ({_first_line(error)}; {rows} records "
            "were read before). It may have been cut off: deliver it again. Nothing of it was taken."
        ) from None
    if prefix is None:
        place = " or ".join(f"at '{path}'" for path in records) or "at its top"
        raise DeliveryError(
            f"{where}: {delivered.name} has no list of records {place}. Name the path of the list in the dialect: "
            "`read: {records: ...}`. Nothing of it was taken."
        )
    return found


_DEEPER = {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}


def _too_deep(delivered: DeliveredFile, where: str) -> DeliveryError:
    return DeliveryError(
        f"{where}: {delivered.name} is nested more than {MAX_DEPTH} levels deep, which no extract is and which can make a "
        "reader fail. Ask where the file comes from. Nothing of it was taken."
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


class _Json:
    """A JSON document, read without numbers so long that the parser, which is C, would take the process down with it."""

    LONG = 1 << 10  # digits; a number of 4,300 fills one of such blocks wherever it begins

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        chunk: bytes = self._stream.read(size)
        if any(chunk[start : start + self.LONG].isdigit() for start in range(0, len(chunk) - self.LONG + 1, self.LONG)):
            raise ValueError(f"a number of more than {self.LONG} digits")
        return chunk


def _without_bom(stream: Any) -> Any:
    if stream.read(3) != b"\xef\xbb\xbf":
        stream.seek(0)
    return stream


def xml_to_lines(
    source: Path,
    target: Path,
    delivered: DeliveredFile,
    records: str,
    wanted: tuple[str, ...],
    above: frozenset[str] | None,
    where: str,
) -> Found:
    """Write the elements at the path `records` (names by `/`, from any depth), one a line, with what stands above them.

    Of that, only the elements named in `above` are kept: a line carries all of it, and a document's master files may be as
    large as its records. A document that declares entities or a document type is refused: no extract needs them, and bombs
    are made of them. Returns the texts of the elements at the paths of `wanted`.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import XMLParser, iterparse

    row_path = tuple(records.split("/"))
    places = {path: tuple(path.split("/")) for path in wanted}
    found: Found = {}
    rows = 0
    try:
        with source.open("rb") as stream, target.open("w", encoding="utf-8") as out:
            open_elements: list[tuple[str, dict[str, Any]]] = []
            elements: list[Any] = []
            names: tuple[str, ...] = ()
            codec = _declared_codec(stream)
            parser = XMLParser(encoding="utf-8" if codec else None, forbid_dtd=True)
            readable: Any = _InUtf8(stream, codec) if codec else stream
            for event, element in iterparse(readable, events=("start", "end"), parser=parser):
                if event == "start":
                    elements.append(element)
                    if len(elements) > MAX_DEPTH:
                        raise _too_deep(delivered, where)
                    names = (*names, _local(element.tag))
                    open_elements.append((names[-1], {f"@{_local(k)}": v for k, v in element.attrib.items()}))
                    continue
                name, content = open_elements.pop()
                text = (element.text or "").strip()
                for path, place in places.items():
                    if names[-len(place) :] == place:
                        found[path] = text
                value: Any = content if any(not key.startswith("@") for key in content) or not text else text
                if names[-len(row_path) :] == row_path:
                    _write(out, value, _parents(open_elements))
                    rows += 1
                elif (
                    open_elements
                    and not _holds_rows(names, row_path)
                    and (above is None or name in above or _is_inside(names, row_path))
                ):
                    _add(open_elements[-1][1], name, value or None)
                names = names[:-1]
                element.clear()
                elements.pop()
                if elements:
                    elements[-1].remove(
                        element
                    )  # else the document would be kept, an empty element for each of its own
    except DefusedXmlException as error:
        raise DeliveryError(
            f"{where}: {delivered.name} declares a document type or entities ({type(error).__name__}), which no extract "
            "needs and which can make a reader run out of memory. Nothing of it was taken."
        ) from None
    except (ParseError, LookupError, ValueError) as error:
        raise DeliveryError(
            f"{where}: {delivered.name} is not a complete XML document ({_first_line(error)}; {rows} records were read "
            "before). It may have been cut off: deliver it again. Nothing of it was taken."
        ) from None
    return found


_MULTIBYTE = {"gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030"} | {
    name: name for name in ("big5", "big5hkscs", "cp950", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949")
}
"""Encodings the XML parser does not read itself, and the codec that reads all of each."""


def _declared_codec(stream: Any) -> str | None:
    """The codec of a document that declares an encoding the parser does not know, else None."""
    declared = _XML_DECLARATION.match(stream.read(1024))
    stream.seek(0)
    return _MULTIBYTE.get(codecs.lookup(declared[1].decode("ascii")).name) if declared else None


def states_encoding(source: Path) -> bool:
    """Whether an XML document says what it is encoded in, by its declaration or its first bytes."""
    with source.open("rb") as stream:
        head = stream.read(1024)
    return head.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or bool(
        _XML_DECLARATION.match(head)
    )


class _InUtf8:
    """A stream of another encoding, read as UTF-8; strictly."""

    def __init__(self, stream: Any, codec: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)(errors="strict")

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        text = self._decoder.decode(chunk, final=not chunk)
        return text.encode("utf-8") or (self.read(size) if chunk else b"")


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _holds_rows(names: tuple[str, ...], row_path: tuple[str, ...]) -> bool:
    """Whether an element is one the rows stand in: it is never kept as a value of its own parent."""
    return any(names[-length:] == row_path[:length] for length in range(1, len(row_path)))


def _is_inside(names: tuple[str, ...], row_path: tuple[str, ...]) -> bool:
    """Whether an element is part of a row."""
    return any(names[end - len(row_path) : end] == row_path for end in range(len(row_path), len(names)))


def _add(content: dict[str, Any], name: str, value: Any) -> None:
    if name not in content:
        content[name] = value
    elif isinstance(content[name], list):
        content[name].append(value)
    else:
        content[name] = [content[name], value]


def _parents(open_elements: list[tuple[str, dict[str, Any]]]) -> dict[str, Any] | None:
    above: dict[str, Any] | None = None
    for _, content in open_elements:
        own: dict[str, Any] = dict(content)
        if above is not None:
            own[".."] = above
        above = own
    return above


def _write(out: Any, record: Any, parent: dict[str, Any] | None) -> None:
    line = {"record": record} if parent is None else {"record": record, "parent": parent}
    out.write(json.dumps(line, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """Numbers of a JSON document keep the digits they were written with."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f") if abs(value.adjusted()) <= MAX_EXPONENT else str(value)
    raise TypeError(type(value).__name__)
