"""Building the tables in a DuckLake: Parquet files that a catalog in PostgreSQL lists, for readers on any machine.

Belongs here: what has to happen in the lake and in the warehouse before and after a pass of dbt, and the dbt-duckdb plugin
that loads DuckDB's two extensions. Not here: SQL, which is DuckDB's own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import yaml
from dbt.adapters.duckdb.plugins import BasePlugin

from assets.company import DuckLakeCatalog, EmbeddedDuckDB
from assets.errors import ConfigurationError, WhalecurveError
from assets.ingest import storage
from assets.ingest.contract import load_contract
from assets.ingest.sql import identifier, literal, qualified
from pipelines.engines import PROFILE, InProcess, show_tables, wanted_sources
from pipelines.resources import DBT_PROJECT, LAKE_CATALOG_VARIABLE, Workspace, lake_catalog

LAKE = "lake"
"""What the lake is called where it is attached."""

EXTENSIONS = ("postgres_scanner", "ducklake")
"""Of DuckDB, in the order they have to be loaded; each comes in a wheel of its own."""

LOSSY = ("HUGEINT", "UHUGEINT")
"""Types DuckLake keeps as binary floating point."""


class DuckLake:
    """DuckDB in this process, on tables that lie in a lake.

    In the warehouse they are views of the lake's files. What assets in Python write is copied into the lake before a pass that
    reads it; raw files are read in place. Every table is built in full.
    """

    target = "lake"

    def __init__(self, workspace: Workspace, settings: DuckLakeCatalog, duckdb_settings: EmbeddedDuckDB) -> None:
        self.workspace = workspace
        self.settings = settings
        self.folder = settings.data_path or workspace.data / "lake"
        self._duckdb_settings = duckdb_settings.settings()

    def arguments(self) -> list[str]:
        require_installed()
        profile = yaml.safe_load((DBT_PROJECT / "profiles.yml").read_text(encoding="utf-8"))
        output = profile[PROFILE]["outputs"].pop(InProcess.target)
        # Two threads that change a lake's tables in one process end in lost tables or a crash (DuckLake 1.5.5).
        output |= {"path": ":memory:", "database": LAKE, "attach": [self._attachment()], "threads": 1}
        output["settings"] |= self._duckdb_settings
        output["plugins"] = [*output["plugins"], {"module": __name__}]
        profile[PROFILE] = {"target": self.target, "outputs": {self.target: output}}
        folder = self.workspace.data / "dbt" / "lake"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "profiles.yml").write_text(json.dumps(profile, indent=2), encoding="utf-8")
        return ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(folder)]

    def _attachment(self) -> dict[str, Any]:
        """The lake as dbt attaches it: where the catalog is, the environment says, and no file."""
        catalog = f"ducklake:postgres:{{{{ env_var('{LAKE_CATALOG_VARIABLE}') }}}}"
        return {"path": catalog, "alias": LAKE, "options": self._options(), "is_ducklake": True}

    def _options(self) -> dict[str, Any]:
        # Rows in the catalog instead of files would be invisible to the warehouse's views.
        folder = f"{self.folder.resolve()}/"
        return {"data_path": folder, "metadata_schema": self.settings.catalog_schema, "data_inlining_row_limit": 0}

    @contextlib.contextmanager
    def building(self, manifest: Any, models: Sequence[str]) -> Iterator[None]:
        with self._attached() as connection:
            for schema in sorted({str(manifest.nodes[model].schema) for model in models}):
                connection.execute(f"create schema if not exists {LAKE}.{identifier(schema)}")
            self._offer_sources(connection, wanted_sources(manifest, models))
        yield
        with self._attached() as connection:
            built = self._built(connection, manifest, models)
            self._expire(connection, f"now() - interval {self.settings.keep_days} days")
        show_tables(self.workspace, built)

    def remove_tables(self) -> None:
        from pipelines.dbt import manifest_for  # which imports the engines

        manifest = manifest_for(self)
        ours = {str(node.schema) for node in (*manifest.nodes.values(), *manifest.sources.values())}
        with self._attached() as connection:
            present = connection.execute(
                "select schema_name from duckdb_schemas() where database_name = ? and schema_name != 'main'", [LAKE]
            ).fetchall()
            for schema in sorted(
                ours & {name for (name,) in present}
            ):  # others may keep tables of their own in the lake
                connection.execute(f"drop schema {LAKE}.{identifier(schema)} cascade")
            self._expire(connection, "now()")

    @contextlib.contextmanager
    def _attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse with the lake beside it. Raises WhalecurveError where the lake cannot be reached."""
        require_installed()
        catalog = lake_catalog()
        if catalog is None:
            raise ConfigurationError(
                f"company.yml keeps the tables in a DuckLake, and {LAKE_CATALOG_VARIABLE} does not say where its catalog is. Set "
                "it to the PostgreSQL database, such as postgresql://user:password@host/database. Nothing was built."
            )
        options = ", ".join(
            f"{name} {literal(value) if isinstance(value, str) else value}" for name, value in self._options().items()
        )
        with self.workspace.warehouse() as connection:
            load_extensions(connection)
            try:
                connection.execute(
                    f"attach if not exists {literal(f'ducklake:postgres:{catalog}')} as {LAKE} ({options})"
                )
            except duckdb.Error as error:
                # The error repeats the address, and the password with it.
                reason = str(error).replace(catalog, "...").strip().splitlines()[-1]
                raise WhalecurveError(
                    f"The DuckLake of company.yml (engine.ducklake) cannot be opened: {reason}. Its catalog is the database in "
                    f"{LAKE_CATALOG_VARIABLE}, schema {self.settings.catalog_schema}; its files lie in {self.folder}, and a "
                    "catalog belongs to one such folder for good. Nothing was built and the last release stays."
                ) from None
            try:
                yield connection
            finally:
                connection.execute(f"detach {LAKE}")

    def _offer_sources(self, connection: duckdb.DuckDBPyConnection, sources: Sequence[Any]) -> None:
        """Make what is not made by dbt readable in the lake: raw files in place, everything else by a copy."""
        present = set(
            connection.execute(
                "select table_schema, table_name from information_schema.tables where table_catalog != ?", [LAKE]
            ).fetchall()
        )
        contract = load_contract()
        for source in sources:
            schema, name = str(source.schema), str(source.name)
            if (schema, name) not in present:
                continue  # made by a later step, and read by tests of a later pass
            connection.execute(f"create schema if not exists {LAKE}.{identifier(schema)}")
            offered = f"{LAKE}.{qualified(schema, name)}"
            if schema == "raw" and name in contract.entities:
                rows = storage.relation(self.workspace.raw.resolve(), contract, name)
                connection.execute(f"create or replace view {offered} as {rows}")
            else:
                connection.execute(f"create or replace table {offered} as from {qualified(schema, name)}")
                _refuse_lossy(connection, schema, name)

    def _built(
        self, connection: duckdb.DuckDBPyConnection, manifest: Any, models: Sequence[str]
    ) -> dict[tuple[str, str], str]:
        """Schema and name of each table of a pass that is in the lake -> SQL of its rows."""
        present = set(
            connection.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = ?", [LAKE]
            ).fetchall()
        )
        built = {}
        for model in models:
            schema, name = str(manifest.nodes[model].schema), str(manifest.nodes[model].name)
            if (schema, name) not in present:
                continue
            _refuse_lossy(connection, schema, name)
            listed = f"ducklake_list_files({literal(LAKE)}, {literal(name)}, schema => {literal(schema)})"
            files = connection.execute(f"select data_file from {listed} order by all").fetchall()
            columns = connection.execute(f"describe {LAKE}.{qualified(schema, name)}").fetchall()
            if files:
                paths = ", ".join(literal(path) for (path,) in files)
                built[schema, name] = f"from read_parquet([{paths}], hive_partitioning = false)"
            else:  # a table without rows has no file
                typed = ", ".join(f"cast(null as {column[1]}) as {identifier(column[0])}" for column in columns)
                built[schema, name] = f"select {typed} limit 0"
        return built

    def _expire(self, connection: duckdb.DuckDBPyConnection, before: str) -> None:
        """Let go of snapshots made before a time, and of the files that only they need."""
        connection.execute(f"call ducklake_expire_snapshots({literal(LAKE)}, older_than => {before})")
        connection.execute(f"call ducklake_cleanup_old_files({literal(LAKE)}, cleanup_all => true)")


class Plugin(BasePlugin):
    """Named in the profile `DuckLake` writes: dbt attaches the lake once the extensions are there."""

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        load_extensions(conn)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(f"use {LAKE}")  # conditions of tests name tables by schema alone


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load DuckDB's extensions from their wheels; DuckDB itself would fetch them from the internet."""
    for name in EXTENSIONS:
        connection.execute(f"load {literal(str(_extension(name)))}")


def require_installed() -> None:
    """Raise ConfigurationError where an extension of DuckDB is not installed."""
    missing = [name for name in EXTENSIONS if _extension(name) is None]
    if missing:
        raise ConfigurationError(
            f"company.yml keeps the tables in a DuckLake, but DuckDB {duckdb.__version__} has no extension "
            f'{" and ".join(missing)} here. Install them with `pip install "whalecurve[ducklake]"`, or take engine.ducklake '
            "out of company.yml. Nothing was built."
        )


def _extension(name: str) -> Path | None:
    """The file of an extension, as its wheel brings it for this version of DuckDB."""
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (package.submodule_search_locations or []) if package else []:
        file = Path(folder) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.is_file():
            return file
    return None


def _refuse_lossy(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> None:
    """Raise WhalecurveError for a column whose values a lake would round."""
    columns = connection.execute(f"describe {LAKE}.{qualified(schema, name)}").fetchall()
    lossy = [column[0] for column in columns if column[1] in LOSSY]
    if lossy:
        raise WhalecurveError(
            f"{schema}.{name}: a DuckLake keeps {', '.join(lossy)} as binary floating point, which would round large amounts. "
            "Cast it in its model, for instance to DECIMAL(38, 0). Nothing was published and the last release stays."
        )
