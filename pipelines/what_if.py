"""A what-if scenario: customer profit computed under other rules, settings and prices, beside the company and its releases.

    <data>/scenarios/<name>/scenario.yml      what was asked
                            customers.csv     every customer's profit, published and under the scenario
                            outcome.txt       what the command prints

It is computed in a data folder of its own, on a copy of the warehouse and of the company folder, up to the marts: what the
changes touch is built anew. The rest of that folder is removed afterwards. Nothing is published, and what the asset pages of the
UI show stays the company's own.

Belongs here: that folder, and what has to hold before. Not here: what a scenario may say (`assets/costing/scenario.py`) and the
comparison (`assets/publish/what_if.py`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import yaml

from assets.costing.rule_tables import write_rules
from assets.costing.scenario import Scenario, lay_over
from assets.errors import WhalecurveError
from assets.ingest.sql import literal
from assets.publish.diff import delivered_between, file_of
from assets.publish.release import DELIVERIES, DELIVERIES_RELATION, Release, require_current, write_list
from assets.publish.what_if import TABLES, Outcome, outcome, outcome_text
from pipelines.resources import Workspace, let_go_of_warehouse, other_data_folder
from pipelines.runs import refresh
from pipelines.writer import single_writer

FOLDER = "scenarios"
"""Of the data folder."""
BUILDING = ".building-"

COMPUTED = ("rules", "staging", "facts", "credit", "pools", "service_pools", "costing", "marts")
"""The layers customer profit follows from."""


@dataclass(frozen=True)
class Answer:
    """What a scenario came to, where its files are, and the release it is held against."""

    folder: Path
    release: Release
    outcome: Outcome
    text: str


def what_if(scenario: Scenario, *, say: Callable[[str], None]) -> Answer:
    """Compute a scenario on what the current release was made of, and write its files; an earlier one of that name goes.

    Raises WhalecurveError where the release does not say what company and data folder hold now, a change fits nothing, or the
    company's own checks say no to what comes out; then nothing is left behind, and an earlier scenario of that name stays.
    """
    workspace = Workspace.from_environment()
    if workspace.company().engine.elsewhere:
        raise WhalecurveError(
            "A scenario is computed in a data folder of its own, and the tables of Spark and of a DuckLake are of one data "
            "folder. Take that engine out of company.yml for it: the rows are the same. Nothing was changed."
        )
    folder = workspace.data / FOLDER / scenario.name
    with single_writer(say, f"whalecurve what-if {scenario.name}"):
        release = require_current(workspace.releases)
        _require_unchanged(workspace, release)
        _sweep(folder.parent)
        aside = folder.with_name(BUILDING + scenario.name)
        aside.mkdir(parents=True)
        try:
            changes = lay_over(scenario, workspace.company_folder, aside / "company")
            _furnish(aside, workspace)
            with other_data_folder(aside, aside / "company"):
                refresh(say=say, only=lambda layer: layer in COMPUTED, aside=True)
                found = _compare(Workspace.from_environment(), release, scenario, changes)
            text = outcome_text(scenario.name, release.release_id, found)
            _keep(aside, scenario, found, text)
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        finally:
            let_go_of_warehouse()
            shutil.rmtree(aside, ignore_errors=True)
    return Answer(folder, release, found, text)


def _require_unchanged(workspace: Workspace, release: Release) -> None:
    """Raise WhalecurveError unless the warehouse is what the release shows, with the rules and deliveries there are now: only
    then is the difference the scenario's."""
    differing = []
    with tempfile.TemporaryDirectory() as folder:
        write_rules(workspace.company(), workspace.company_folder, Path(folder))
        with duckdb.connect() as connection:
            differing += [
                f"the rules ({path.stem})"
                for path in sorted(Path(folder).glob("*.parquet"))
                if not _same(connection, _parquet(path), _parquet(workspace.rules / path.name))
            ]
    with workspace.warehouse(read_only=True) as connection:
        if delivered_between(connection, file_of(release, DELIVERIES), DELIVERIES_RELATION):
            differing.append("what was delivered")
        differing += [table for table in TABLES if not _same(connection, file_of(release, table), f"marts.{table}")]
    if differing:
        raise WhalecurveError(
            f"The current release {release.release_id} is of another state than company and data folder are now: "
            f"{', '.join(differing)}. Run the latest date first, so that the difference is the scenario's alone. Nothing was "
            "changed."
        )


def _parquet(path: Path) -> str:
    return f"read_parquet({literal(str(path))})"


def _same(connection: duckdb.DuckDBPyConnection, one: str, other: str) -> bool:
    try:
        found = connection.execute(
            f"select exists (from {one} except all from {other}) or exists (from {other} except all from {one})"
        ).fetchone()
    except duckdb.Error:  # missing, or of other columns
        return False
    return found == (False,)


def _furnish(folder: Path, workspace: Workspace) -> None:
    """A copy of the warehouse, which is built on, and a way to the raw files, which are only read."""
    with workspace.warehouse() as connection:
        connection.execute("checkpoint")
    let_go_of_warehouse()
    shutil.copyfile(workspace.warehouse_path, folder / workspace.warehouse_path.name)
    (folder / "raw").symlink_to(workspace.raw, target_is_directory=True)


def _compare(workspace: Workspace, release: Release, scenario: Scenario, changes: list[str]) -> Outcome:
    published = {table: file_of(release, table) for table in (*TABLES, "customers")}
    with workspace.warehouse() as connection:
        return outcome(
            connection,
            published,
            {table: f"marts.{table}" for table in TABLES},
            prices=scenario.prices,
            changes=changes,
            until=release.as_of,
            months=scenario.months,
        )


def _keep(folder: Path, scenario: Scenario, found: Outcome, text: str) -> None:
    """Leave only what a person asked for and got."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    asked = scenario.model_dump(mode="json", exclude_defaults=True)
    (folder / "scenario.yml").write_text(yaml.safe_dump(asked, allow_unicode=True, sort_keys=False), encoding="utf-8")
    write_list(folder / "customers.csv", found.customers)
    (folder / "outcome.txt").write_text(text + "\n", encoding="utf-8")


def _sweep(folder: Path) -> None:
    """Remove what killed scenarios left; to be called by the one writer."""
    for path in folder.glob(f"{BUILDING}*"):
        shutil.rmtree(path, ignore_errors=True)
