"""What a person is shown of a dry run (`check.py`): the verdict first, then each entity on a screen of 100 columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from assets.ingest.check import EntityCheck, Reason, SourceCheck

WIDTH = 100
LABEL = 12
"""Width of the words at the left of an entity's lines."""
SHOWN_FILES = 6
SHOWN_REASONS = 8
SHOWN_NAMES = 12


def check_text(check: SourceCheck) -> str:
    """The whole answer of `whalecurve check-source`."""
    parts = ["\n".join([_verdict(check), *_wrapped_all(_remarks(check), indent="  ")])]
    delivered = [entity for entity in check.entities if entity.status != "absent"]
    parts += ["\n".join(_entity(entity)) for entity in delivered]
    parts.append("\n".join(_leftovers(check)))
    return "\n\n".join(part for part in parts if part)


def _verdict(check: SourceCheck) -> str:
    loaded = [entity for entity in check.entities if entity.status == "loads"]
    refused = [entity.entity for entity in check.entities if entity.status == "refused"]
    place = f"{check.source}, {check.date} (dialect {check.dialect})"
    if check.would_load:
        rows = sum(entity.rows_out for entity in loaded)
        quarantined = sum(entity.rows_quarantined for entity in loaded)
        names = ", ".join(f"{entity.rows_out:,} {entity.entity}" for entity in loaded)
        return f"WOULD LOAD  {place}: {names if len(loaded) <= 3 else f'{rows:,} rows of {len(loaded)} entities'}" + (
            f", {quarantined:,} quarantined" if quarantined else ", none quarantined"
        )
    if refused:
        return f"WOULD NOT LOAD  {place}: {', '.join(refused)} refused"
    return f"WOULD NOT LOAD  {place}: {'no file of any entity' if not check.problems else 'see below'}"


def _remarks(check: SourceCheck) -> Iterator[str]:
    """What a person should look at, whatever the verdict."""
    yield from check.problems
    for entity in check.entities:
        for control in entity.controls:
            if control.holds is False:
                yield f"look at {entity.entity}: {control.name}"
    if check.unmatched:
        yield f"no entity reads {_listed(check.unmatched, 4)}"


def _entity(check: EntityCheck) -> Iterator[str]:
    counts = [f"{check.rows_out:,} rows read"]
    counts += [f"{check.rows_quarantined:,} quarantined"] if check.rows_quarantined else []
    counts += [f"{check.rows_left_out:,} left out by where"] if check.rows_left_out else []
    counts += [f"{check.rows_deleted:,} marked deleted"] if check.rows_deleted else []
    head = f"{check.entity}: {', '.join(counts) if check.files else 'refused'}"
    yield f"{head}\n{'-' * _width(head)}"
    yield from _files(check)
    if check.problem:
        yield from _labelled("refused", [check.problem])
    for missing in check.missing:
        labels = " or ".join(f"'{label}'" for label in missing.labels[:4])
        yield from _labelled(
            "missing", [f"{missing.column}: no {labels} in {missing.file}; nearest is '{missing.nearest}'"]
        )
    if check.files:
        yield from _table(check)
        yield from _labelled("not bound", [_listed(check.unbound, 30)] if check.unbound else [])
        yield from _labelled("no value", [_listed(check.without_value, 30)] if check.without_value else [])
        yield from _labelled("quarantine", [_reason(reason) for reason in check.reasons[:SHOWN_REASONS]])
        yield from _labelled(
            "", [f"... {len(check.reasons) - SHOWN_REASONS} more reasons"][: len(check.reasons) > SHOWN_REASONS]
        )
        for unmapped in check.unmapped:
            values = ", ".join(f"'{value}' ({count:,})" for value, count in unmapped.values)
            more = f" and {unmapped.more} more" if unmapped.more else ""
            becomes = {"error": "quarantined", "keep": "kept as they are", "null": "left empty"}[unmapped.otherwise]
            yield from _labelled("not in map", [f"{unmapped.column}: {values}{more}: {becomes}"])
        for position, control in enumerate(check.controls):
            mark = {True: "ok", False: "!!", None: "--"}[control.holds]
            yield from _labelled(
                "controls" if position == 0 else "", [f"{mark}  {control.name}: {control.words}"], hang=4
            )


def _files(check: EntityCheck) -> Iterator[str]:
    described = [
        f"{file.name}  ({', '.join([*_kind(file.encoding, file.header), f'{file.rows:,} rows'])})"
        for file in check.files[:SHOWN_FILES]
    ] or list(check.delivered[:SHOWN_FILES])
    more = max(len(check.files), len(check.delivered) if not check.files else 0) - SHOWN_FILES
    yield from _labelled("files", described + ([f"... {more} more files"] if more > 0 else []))


def _kind(encoding: str, header: tuple[int, ...]) -> Iterator[str]:
    if encoding:
        yield encoding
    if header:
        yield f"header in line {header[0]}" if len(header) == 1 else f"header in lines {header[0]}-{header[-1]}"


def _table(check: EntityCheck) -> Iterator[str]:
    """Each bound column, what it is read from, and what the first rows hold."""
    names = list(check.bound)
    if not names:
        return
    first = max(_width(name) for name in names)
    second = min(24, max(_width(check.bound[name]) for name in names))
    room = (WIDTH - 2 - first - 4 - second) // max(len(check.samples), 1) - 2
    samples = [[_cut(sample.get(name, ""), room) for name in names] for sample in check.samples]
    widths = [max([_width(text) for text in sample], default=0) for sample in samples]
    yield ""
    for position, name in enumerate(names):
        cells = "  ".join(_padded(sample[position], width) for sample, width in zip(samples, widths, strict=True))
        yield f"  {_padded(name, first)} <- {_padded(_cut(check.bound[name], second), second)}  {cells}".rstrip()
    yield ""


def _reason(reason: Reason) -> str:
    rows = "1 row" if reason.rows == 1 else f"{reason.rows:,} rows, first"
    return f"{rows}: {reason.file} line {reason.line}: {reason.words}"


def _leftovers(check: SourceCheck) -> Iterator[str]:
    for file, columns in check.unread.items():
        some = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
        yield from _wrapped(f"Nobody reads {some} of {file}: {_listed(columns)}")
    absent = [entity.entity for entity in check.entities if entity.status == "absent"]
    if absent:
        yield from _wrapped(f"Not in this delivery: {', '.join(absent)}")


# Words in columns


def _labelled(label: str, lines: Sequence[str], hang: int = 0) -> Iterator[str]:
    """Lines with a word at their left, each wrapped to the screen."""
    for position, line in enumerate(lines):
        word = label if position == 0 else ""
        yield from _wrapped(line, first=f"  {word:<{LABEL}}", rest=" " * (LABEL + 2 + hang))


def _wrapped_all(lines: Iterable[str], indent: str) -> Iterator[str]:
    for line in lines:
        yield from _wrapped(line, first=indent, rest=indent + "  ")


def _wrapped(text: str, first: str = "", rest: str = "  ") -> Iterator[str]:
    """A text over as many lines as it needs; Chinese characters are two columns wide."""
    for paragraph in text.splitlines():
        line, empty = first, True
        for word in paragraph.split(" "):
            if not empty and _width(line) + 1 + _width(word) > WIDTH:
                yield line.rstrip()
                line, empty = rest, True
            line += word if empty else f" {word}"
            empty = False
        yield line.rstrip()
        first = rest


def _listed(names: Sequence[str], most: int = SHOWN_NAMES) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
