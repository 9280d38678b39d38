"""The month's backtest and parameters, kept so that every day of the month need not compute them again.

Belongs here: the key under which a result is kept, reading, writing and pruning. Not here: the computing (`backtest`). Nothing
rests on the store: a result that is missing, damaged or of another key is computed anew, and it is the same.

A result is a folder of Parquet and JSON files, nothing that runs code when it is read. It is written beside and renamed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd

from assets.analytics import intervals
from assets.analytics.backtest import CALIBRATION, GAINS, MEASURED, PARAMETERS, BacktestResult
from assets.analytics.features import CustomerHistory
from assets.analytics.forecasters import cut
from assets.ingest.sql import literal

KEPT = 3
"""Results kept per company: this month's, and two to look back at or to run an earlier date again."""

LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn")
"""What a figure can change with besides the code."""

FRAMES = {"measured": MEASURED, "calibration": CALIBRATION, "gains": GAINS, "parameters": PARAMETERS}
ABOUT = "about.json"


class Key(NamedTuple):
    """Under which a result is kept: same key, same result. Both are the first 16 digits of a SHA-256."""

    fit_as_of: datetime.date
    data_hash: str
    code_version: str

    @property
    def folder(self) -> str:
        return f"{self.fit_as_of}-{self.data_hash}-{self.code_version}"


def key(history: CustomerHistory, fit_as_of: datetime.date, settings: Mapping[str, Any]) -> Key:
    """The key of what is learned from `history` up to `fit_as_of` under these settings (plain values)."""
    return Key(fit_as_of, data_hash(history, fit_as_of, settings), code_version())


def data_hash(history: CustomerHistory, fit_as_of: datetime.date, settings: Mapping[str, Any]) -> str:
    """Hash of everything the models see: the history cut off at `fit_as_of`, whatever the order of its rows, and the settings."""
    digest = hashlib.sha256(json.dumps({"settings": settings, "fit_as_of": str(fit_as_of)}, sort_keys=True).encode())
    for name, frame in cut(history, fit_as_of)._asdict().items():
        plain = pd.DataFrame(
            {column: _plain(column, frame[column]) for column in sorted(frame.columns.difference(_UNSEEN))}
        )
        rows = pd.util.hash_pandas_object(plain, index=False).to_numpy()
        digest.update(f"{name} {list(plain.columns)} {len(rows)}".encode() + np.sort(rows).tobytes())
    return digest.hexdigest()[:16]


_DATES = ("order_date", "month", "opened_on", "due_date", "learned_on", "responded_on")
_UNSEEN = ("order_id",)
"""No model sees the number of an order."""


def _plain(name: str, column: pd.Series) -> pd.Series:
    """Values of one type each, whatever type a database, a file or a test has given them: text, seconds or numbers."""
    if name == "customer_id":
        return column.astype("str").fillna("").astype("object")
    if name in _DATES:
        return pd.to_datetime(column).astype("datetime64[s]").astype("int64")
    if not pd.api.types.is_numeric_dtype(column):  # whole numbers, truths or decimals with gaps
        column = column.astype("object").where(column.notna(), None)
    return column.astype("float64").round(6).fillna(-1e18)


@functools.cache
def code_version() -> str:
    """Hash of the sources of the analytics and of the versions of the libraries they compute with."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for library in LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    return digest.hexdigest()[:16]


def recall(folder: Path, wanted: Key, compute: Callable[[], BacktestResult]) -> BacktestResult:
    """The result kept in `folder` under the key, or what `compute` gives, which is then kept."""
    kept = load(folder, wanted)
    if kept is not None:
        return kept
    result = compute()
    save(folder, wanted, result)
    return result


def load(folder: Path, wanted: Key) -> BacktestResult | None:
    """The result kept under the key, or None when there is none, or none that can be read."""
    place = folder / wanted.folder
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        frames = {name: _read(place / f"{name}.parquet", types) for name, types in FRAMES.items()}
        widenings = {name: _widening(stored) for name, stored in about["widenings"].items()}
        complete = all(len(frame) == about["rows"][name] for name, frame in frames.items())
    except (OSError, ValueError, KeyError, TypeError, duckdb.Error):
        return None
    return BacktestResult(**frames, widenings=widenings) if complete else None


def save(folder: Path, kept: Key, result: BacktestResult) -> None:
    """Keep a result, whole or not at all, and only the latest few. A full disk or a read-only folder costs the next run time,
    and no run its tables."""
    with contextlib.suppress(OSError, duckdb.Error), _beside(folder / kept.folder) as aside:
        frames = {name: getattr(result, name) for name in FRAMES}
        for name, frame in frames.items():
            _write(aside / f"{name}.parquet", frame)
        about = {
            "fit_as_of": str(kept.fit_as_of),
            "data_hash": kept.data_hash,
            "code_version": kept.code_version,
            "rows": {name: len(frame) for name, frame in frames.items()},
            "widenings": {name: dataclasses.asdict(widening) for name, widening in result.widenings.items()},
        }
        (aside / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    prune(folder)


def prune(folder: Path, kept: int = KEPT) -> None:
    """Remove all but the results written last, and what a killed run left half-written."""
    with contextlib.suppress(OSError):
        found = [path for path in folder.iterdir() if path.is_dir() and (path / ABOUT).exists()]
        found.sort(key=lambda path: ((path / ABOUT).stat().st_mtime_ns, path.name), reverse=True)
        complete = {path.name for path in found[:kept]}
        for path in folder.iterdir():
            if path.is_dir() and path.name not in complete:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _beside(place: Path) -> Iterator[Path]:
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=place.parent))
    try:
        yield aside
        if place.exists():
            shutil.rmtree(place)  # it could not be read, or it would have been used
        os.replace(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _read(path: Path, types: Mapping[str, str]) -> pd.DataFrame:
    with duckdb.connect() as database:
        frame = database.execute(
            f"from read_parquet({literal(str(path))}, file_row_number = true) order by file_row_number"
        ).df()
    texts = {name: "" for name, kind in types.items() if kind == "str"}
    return frame[list(types)].fillna(texts).astype(dict(types))


def _write(path: Path, frame: pd.DataFrame) -> None:
    with duckdb.connect() as database:
        database.register("frame", frame)
        database.execute(f"copy (from frame) to {literal(str(path))} (format parquet)")


def _widening(stored: Mapping[str, Any]) -> intervals.Widening:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return intervals.Widening(**values)
