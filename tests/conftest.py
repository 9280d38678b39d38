"""What all tests share: an environment in which no tool talks to a network, and one small release."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import PROJECT, Whalecurve, made_once

os.environ.pop("WHALECURVE_PSEUDONYM_KEY", None)
os.environ.update(
    DAGSTER_DISABLE_TELEMETRY="1",
    DBT_SEND_ANONYMOUS_USAGE_STATS="false",
    DO_NOT_TRACK="1",
    GX_ANALYTICS_ENABLED="false",
)


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Whalecurve:
    """A demo company of 60 customers with all its dates run and released. Tests must not change it."""
    company = PROJECT / "companies" / "demo"

    def run(folder: Path) -> None:
        whalecurve = Whalecurve(company, folder)
        whalecurve("demo", "--customers", "60", "--lines", "4000")
        whalecurve("run")

    return Whalecurve(company, made_once(tmp_path_factory, "small_demo", run))
