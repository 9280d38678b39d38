"""A sheet of a workbook made into CSV, by a process of its own: `python workbook.py SOURCE TARGET SHEET`.

A workbook is small or harmless only as far as its reader knows: one cell in the last corner of a sheet makes it a table of
17,000,000,000 cells. Here such a file fails alone, against a bound of memory, and not the run that reads it. Nothing of the
project is imported, so that starting costs little. What goes wrong is written to stdout as JSON: {"error": why}, or
{"visible": [sheets]} when none of them has a name like SHEET, a regular expression ("" is the first sheet).
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import re
import sys
from typing import Any

MEMORY = 4 << 30
"""A sheet of a million full rows of ten columns needs less than half."""


def main(source: str, target: str, wanted: str) -> dict[str, Any]:
    """Write the first visible sheet whose name `wanted` matches; what went wrong, or nothing."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    workbook = CalamineWorkbook.from_path(source)
    visible = [
        entry.name
        for entry in workbook.sheets_metadata
        if entry.visible == SheetVisibleEnum.Visible and entry.typ == SheetTypeEnum.WorkSheet
    ]
    names = [name for name in visible if re.search(wanted, name)]
    if not names:
        return {"visible": visible}
    sheet = workbook.get_sheet_by_name(names[0])
    left = (sheet.start or (0, 0))[1]
    with open(target, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
        for row in sheet.iter_rows():  # from the first row on, but from the first column that has anything
            writer.writerow([""] * left + [cell(value) for value in row] or [""])
    return {}


def cell(value: Any) -> str:
    """A cell as text: whole numbers without `.0`, dates as ISO 8601, midnight without a time."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time.min else value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return "" if value is None else str(value)


def _bound_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system can
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _bound_memory()
    try:
        wrong = main(*sys.argv[1:])
    except MemoryError:
        wrong = {"error": f"it needs more than {MEMORY >> 30} GB of memory"}
    except BaseException as problem:  # the reader raises its own kinds, and panics of its Rust half as others
        wrong = {"error": " ".join(str(problem).split())[:300] or type(problem).__name__}
    print(json.dumps(wrong))
    sys.exit(1 if wrong else 0)
