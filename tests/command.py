"""The command as a person runs it, for the tests that want a process of their own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

PROJECT = Path(__file__).resolve().parents[1]
SHARED_DATA = PROJECT.parent / "shared" / "data"


class Whalecurve:
    """The command as a person runs it: in a process of its own, on a company and a data folder."""

    def __init__(self, company: Path, data: Path) -> None:
        self.company = company
        self.data = data

    def arguments(self, *arguments: str) -> list[str]:
        folders = ["--company", str(self.company), "--data", str(self.data)]
        return [sys.executable, "-m", "pipelines.cli", *arguments, *folders]

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.arguments(*arguments), cwd=PROJECT, env=self.environment(), capture_output=True, text=True
        )
        if check:
            assert done.returncode == 0, (
                f"whalecurve {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    @staticmethod
    def environment() -> dict[str, str]:
        private = ("DAGSTER_HOME", "WHALECURVE_COMPANY", "WHALECURVE_DATA")
        return {name: value for name, value in os.environ.items() if name not in private}

    @property
    def release(self) -> Path:
        """The current release's folder."""
        return (self.data / "releases" / "current").resolve()


def tables_that_differ(expected: Path, found: Path) -> dict[str, list[int]]:
    """Published table -> rows that only the one and only the other release has. Both must have all tables, in the same types."""
    tables, others = ({path.stem: path for path in release.glob("*.parquet")} for release in (expected, found))
    assert len(tables) > 40
    assert others.keys() == tables.keys()
    different = {}
    with duckdb.connect() as connection:
        for name, path in tables.items():
            there, here = (f"read_parquet('{file}', hive_partitioning = false)" for file in (path, others[name]))
            assert (
                connection.sql(f"describe from {there}").fetchall()
                == connection.sql(f"describe from {here}").fetchall()
            ), name
            rows = [
                connection.sql(f"select count(*) from (from {one} except all from {other})").fetchall()[0][0]
                for one, other in ((there, here), (here, there))
            ]
            if any(rows):
                different[name] = rows
    return different


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, made by the first worker of a parallel test run that asks for it and used by all. Tests must not
    change it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, made = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
