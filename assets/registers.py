"""Registers: files of the data folder that hold what people decided, one JSON object a line, appended and never changed.

Belongs here: writing and reading such a file. Not here: what a line says (`approvals.py`, `restatements.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from assets.ingest.storage import flush

Line = TypeVar("Line")


def append(path: Path, line: Any) -> None:
    """Append a dataclass as a line, down to the disk; to be called by the one writer of the data folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as register:
        # What a killed writer left of a line must not swallow this one.
        text = path.read_text(encoding="utf-8")
        begins = "" if text.endswith("\n") or not text else "\n"
        register.write(begins + json.dumps(asdict(line), ensure_ascii=False) + "\n")
        register.flush()
        os.fsync(register.fileno())
    flush(path.parent)


def lines(path: Path, kind: type[Line]) -> Iterator[Line]:
    """The lines of a register, oldest first. One that is not whole, or is no `kind`, counts for nothing."""
    with contextlib.suppress(FileNotFoundError):
        for text in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                read: Mapping[str, Any] = json.loads(text)
                yield kind(**read)
