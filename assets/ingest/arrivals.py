"""What lies in a delivery's folder by names and sizes alone, and whether it is all there: only the control file is read.

Belongs here: is a delivery complete, was one cut off, has it changed? Not here: whether it can be read, which the dialect
says (`engine.py`), and when a day is run because of it.
"""

from __future__ import annotations

import datetime
import fnmatch
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assets.company import Arrival, Company
from assets.errors import DeliveryError
from assets.ingest.controls import control_entries
from assets.ingest.delivery import CONTROL_FILE, UNFINISHED, is_complete


@dataclass(frozen=True)
class Delivery:
    """One source's folder of one business date.

    - files: name -> (bytes, time of the last change in ns) of what is there to be read, the control file included.
    - unfinished: names of files still being written, by their ending.
    - damaged: one sentence each for what can be seen to be cut off without reading it as data.
    - said_complete: the marker is there, or the control file and all it names; None where company.yml asks for neither.
    """

    source: str
    date: datetime.date
    files: Mapping[str, tuple[int, int]]
    unfinished: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    said_complete: bool | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything was delivered at all."""
        return bool(self.files)

    @property
    def is_awaited(self) -> bool:
        """Whether something is there and its source has yet to say that it is all: nothing of it is read before."""
        return self.is_there and self.said_complete is False

    @property
    def state(self) -> str:
        """Eight bytes that are others as soon as a file is added, taken away, grows or is written again."""
        listed = [*sorted((name, *seen) for name, seen in self.files.items()), ("", *self.unfinished)]
        return hashlib.sha256(repr(listed).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def look(landing: Path, source: str, date: datetime.date, arrival: Arrival) -> Delivery:
    """The delivery as it lies there now; `arrival` is what company.yml says of how the source tells that it is complete."""
    folder = landing / source / date.isoformat()
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        found = []
    files, unfinished, marked = {}, [], False
    for path in found:
        try:
            now = path.stat()
        except OSError:  # taken away meanwhile
            continue
        marked = marked or (arrival.complete == "marker" and fnmatch.fnmatchcase(path.name, arrival.marker))
        if path.name.lower().endswith(UNFINISHED):
            unfinished.append(path.name)
        elif is_complete(path) and path.is_file():
            files[path.name] = (now.st_size, now.st_mtime_ns)
    damaged = [*_cut_off(folder, files), *_missing(folder, source, date, files)]
    said: bool | None = None
    if arrival.complete == "marker":
        said = marked
    elif arrival.complete == "control":
        said = CONTROL_FILE in files and not damaged
    return Delivery(source, date, files, tuple(unfinished), tuple(damaged), said)


def is_whole(now: Delivery, state_before: str | None) -> bool:
    """Whether a delivery is complete: by its own word, or because nothing about it has changed since `state_before`."""
    if not now.is_there or now.unfinished:
        return False
    if now.said_complete is not None:
        return now.said_complete
    return now.state == state_before


def awaited(
    company: Company, landing: Path, sources: Iterable[str], dates: Iterable[datetime.date]
) -> dict[tuple[str, datetime.date], str]:
    """Deliveries that lie there and are not complete by the word company.yml asks for -> what is missing."""
    asked = [name for name in sources if company.sources[name].arrival.complete != "stable"]
    looked = [look(landing, name, date, company.sources[name].arrival) for name in asked for date in dates]
    return {
        (one.source, one.date): (*one.damaged, company.sources[one.source].arrival.promise)[0]
        for one in looked
        if one.is_awaited
    }


def late(company: Company, read: Mapping[str, datetime.date], as_of: datetime.date) -> list[dict[str, str | None]]:
    """The sources that should have delivered for `as_of` and of which nothing was read for it: a release names them.

    `read` is source -> the latest business date read of it. One entry each: source, last_delivery (None when there is none).
    """
    return [
        {"source": name, "last_delivery": str(read[name]) if name in read else None}
        for name, source in sorted(company.sources.items())
        if source.arrival.expects(as_of) and read.get(name, datetime.date.min) < as_of
    ]


def _cut_off(folder: Path, files: Mapping[str, tuple[int, int]]) -> list[str]:
    said = [f"{name} is empty" for name, (size, _) in files.items() if size == 0 and _is_never_empty(name)]
    for name in files:
        if name.lower().endswith((".zip", ".xlsx")) and files[name][0] and not zipfile.is_zipfile(folder / name):
            said.append(f"{name} has no end, as when a transfer broke off")
    return said


def _is_never_empty(name: str) -> bool:
    """Whether a file of that kind has bytes also without a record. JSON lines have none, and neither have most markers."""
    return name.lower().endswith((".csv", ".tsv", ".json", ".xml", ".parquet", ".xlsx", ".xls", ".zip", ".gz"))


def _missing(folder: Path, source: str, date: datetime.date, files: Mapping[str, tuple[int, int]]) -> list[str]:
    """What the control file says of a delivery that is not so: a file it names is not there."""
    if CONTROL_FILE not in files:
        return []
    try:
        control_entries(folder, f"{source}, {date}")
    except DeliveryError as error:
        return [str(error).removeprefix(f"{source}, {date}: ").partition(". ")[0]]
    return []
