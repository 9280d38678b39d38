"""Which engine runs the SQL of the dbt project, and how its tables and the warehouse see each other.

Belongs here: what dbt is told of the engine, and what has to happen before and after a pass. Not here: what SQL the engine
wants (dbt_project/macros/dialect.sql), and the assets in Python: they work on the warehouse, whatever engine there is.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from assets.company import EmbeddedDuckDB
from assets.ingest.sql import identifier, qualified
from pipelines.resources import DBT_PROJECT, Workspace

PROFILE = "whalecurve"
"""The profile that dbt_project.yml asks for."""


class Engine(Protocol):
    """An engine of the dbt project."""

    target: str
    """The output of the dbt profile."""

    def arguments(self) -> list[str]:
        """Where dbt finds project and profile."""

    def building(self, manifest: Any, models: Sequence[str]) -> contextlib.AbstractContextManager[None]:
        """Around a pass of dbt that builds `models` (unique ids): afterwards the warehouse shows what was built."""

    def remove_tables(self) -> None:
        """Remove what was built outside the warehouse, to the last byte: it may hold a person who is to be forgotten."""


class InProcess:
    """DuckDB in this process, on the warehouse itself."""

    target = "warehouse"

    def __init__(self, workspace: Workspace, settings: EmbeddedDuckDB) -> None:
        self.workspace = workspace
        self.settings = settings.settings()

    def arguments(self) -> list[str]:
        profiles = self._profiles() if self.settings else DBT_PROJECT
        return ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(profiles)]

    def _profiles(self) -> Path:
        """The project's profile with the company's settings, in the data folder."""
        profile = yaml.safe_load((DBT_PROJECT / "profiles.yml").read_text(encoding="utf-8"))
        output = profile[PROFILE]["outputs"][self.target]
        output["path"] = str(self.workspace.warehouse_path)
        output["settings"] |= self.settings
        folder = self.workspace.data / "dbt" / "duckdb"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "profiles.yml").write_text(json.dumps(profile, indent=2), encoding="utf-8")
        return folder

    @contextlib.contextmanager
    def building(self, manifest: Any, models: Sequence[str]) -> Iterator[None]:
        yield

    def remove_tables(self) -> None:
        pass  # there is nothing outside


def engine_of(workspace: Workspace) -> Engine:
    """The engine that company.yml chooses."""
    chosen = workspace.company().engine
    # What only one engine needs is imported where that engine is chosen.
    if chosen.spark:
        from pipelines.spark import Spark

        return Spark(workspace, chosen.spark)
    if chosen.ducklake:
        from pipelines.lake import DuckLake

        return DuckLake(workspace, chosen.ducklake, chosen.duckdb)
    return InProcess(workspace, chosen.duckdb)


def wanted_sources(manifest: Any, models: Sequence[str]) -> list[Any]:
    """What Python made and a pass that builds `models` may read, its tests included."""
    wanted = {name for model in models for name in manifest.nodes[model].depends_on.nodes}
    tests = [node for name, node in manifest.nodes.items() if name.startswith("test.")]
    wanted |= {name for test in tests for name in test.depends_on.nodes}
    return [manifest.sources[name] for name in sorted(wanted & manifest.sources.keys())]


def show_tables(workspace: Workspace, tables: Mapping[tuple[str, str], str]) -> None:
    """Make tables built elsewhere (schema and name -> SQL of the rows) views of the warehouse, in place of its own."""
    with workspace.warehouse() as connection:
        for (schema, name), rows in tables.items():
            connection.execute(f"create schema if not exists {identifier(schema)}")
            former = connection.execute(
                "select table_type from information_schema.tables where table_schema = ? and table_name = ?",
                [schema, name],
            ).fetchone()
            if former and former[0] == "BASE TABLE":
                connection.execute(f"drop table {qualified(schema, name)}")
            connection.execute(f"create or replace view {qualified(schema, name)} as {rows}")
