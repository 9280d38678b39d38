"""Small releases of the demo company to start from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import made_once
from harness import DAYS, DEMO, Company, Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    server = Warm()
    yield server
    server.close()


@pytest.fixture(scope="session")
def landing(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a demo company of 60 customers delivers on DAYS."""

    def write(folder: Path) -> None:
        Company(warm, DEMO, folder)("demo", "--customers", "60", "--lines", "2500")
        for delivered in (folder / "landing").glob("*/*"):
            if delivered.name not in DAYS:
                shutil.rmtree(delivered)

    return made_once(tmp_path_factory, "delivered", write) / "landing"


@pytest.fixture
def company(warm: Warm, tmp_path: Path) -> Company:
    """The demo company with an empty data folder."""
    return Company(warm, DEMO, tmp_path / "data")


@pytest.fixture(scope="session")
def two_days(warm: Warm, landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """The first two of DAYS, run one at a time and the later one first. Tests must not change it: `copied` copies it."""

    def run(folder: Path) -> None:
        whalecurve = Company(warm, DEMO, folder)
        whalecurve.deliver(landing, *DAYS[:2])
        first = whalecurve("run", "--date", DAYS[1], check=False)
        # A day's changes without what they change need not tie out: the gate may say no, and then says so.
        assert first.returncode == 0 or "The quality gate said no" in first.stderr, first.stderr
        whalecurve("run", "--date", DAYS[0])

    return Company(warm, DEMO, made_once(tmp_path_factory, "two_days", run))


@pytest.fixture(scope="session")
def three_days(warm: Warm, landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """All DAYS run as one range from nothing and released. Tests must not change it."""

    def run(folder: Path) -> None:
        whalecurve = Company(warm, DEMO, folder)
        whalecurve.deliver(landing)
        whalecurve("run")

    return Company(warm, DEMO, made_once(tmp_path_factory, "three_days", run))


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Company], Company]:
    """Makes a copy of a company's data folder to be changed."""
    return lambda original: original.copied_to(tmp_path / "data")
