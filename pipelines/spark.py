"""Building the tables on a Spark cluster, over Spark Connect.

Belongs here: what has to happen on the cluster and in the warehouse before and after a pass of dbt. Not here: what SQL Spark
wants (dbt_project/macros/dialect.sql, spark.sql).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import socket
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from assets.company import SparkConnect
from assets.errors import ConfigurationError, WhalecurveError
from assets.ingest.sql import identifier, literal, qualified
from pipelines.engines import PROFILE, show_tables, wanted_sources
from pipelines.resources import DBT_PROJECT, Workspace, pseudonym_key, spark_token

REACHABLE_WITHIN = 10.0
"""Seconds to wait for the server's port: its client would try again for minutes."""

SPARK_TYPES = {
    "VARCHAR": "string",
    "JSON": "string",
    "HUGEINT": "decimal(38, 0)",
    "UBIGINT": "decimal(20, 0)",
    "TIMESTAMP": "timestamp_ntz",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "BLOB": "binary",
}
"""DuckDB's types that Spark calls otherwise."""

SESSION_SETTINGS = {
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.session.timeZone": "UTC",
    # A recursive expression ends by itself (it never passes a customer twice); Spark's limits would end it earlier.
    "spark.sql.cteRecursionLevelLimit": "100000",
    "spark.sql.cteRecursionRowLimit": "-1",
    # Keys of pseudonyms stand in no plan that the server shows.
    "spark.sql.redaction.string.regex": "[0-9a-fA-F]{128}",
}
"""What every statement needs to mean what it means on DuckDB."""

ASIDE = "aside"
"""The schema of what is written aside while a model is built (dbt_project/macros/spark.sql)."""


class Spark:
    """A Spark cluster over Spark Connect, which reads and writes the data folder by the same path as this machine.

    Its tables are folders of Parquet files below `<data>/spark/`; in the warehouse they are views. What assets in Python
    write is copied out to Parquet before a pass that reads it; the raw layer is Parquet already and read in place.
    """

    target = "spark"

    def __init__(self, workspace: Workspace, settings: SparkConnect) -> None:
        self.workspace = workspace
        self.settings = settings
        self.folder = workspace.spark

    def arguments(self) -> list[str]:
        profiles = self.workspace.data / "dbt" / "spark"
        profiles.mkdir(parents=True, exist_ok=True)
        profile = {
            "type": "spark",
            "method": "session",
            "host": "NA",
            "schema": "default",
            "threads": self.settings.threads,
            "server_side_parameters": {"spark.remote": self.settings.remote, **self._session_settings()},
        }
        text = json.dumps({PROFILE: {"target": self.target, "outputs": {self.target: profile}}}, indent=2)
        (profiles / "profiles.yml").write_text(text, encoding="utf-8")
        return ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(profiles)]

    def _session_settings(self) -> dict[str, str]:
        return {**self.settings.settings, **SESSION_SETTINGS}

    @contextlib.contextmanager
    def building(self, manifest: Any, models: Sequence[str]) -> Iterator[None]:
        with self._session() as session:
            self._make_schemas(session, {str(manifest.nodes[model].schema) for model in models} | {ASIDE})
            self._offer_sources(session, wanted_sources(manifest, models))
            yield
            session.sql(f"drop database if exists {ASIDE} cascade")
        show_tables(self.workspace, self._built(manifest, models))

    def remove_tables(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Any]:
        """The session of this process with the server; dbt uses the same one, so what is set here holds there."""
        require_installed()
        address = urlsplit(self.settings.remote)
        host, port = address.hostname or "", address.port or 15002
        try:
            socket.create_connection((host, port), timeout=REACHABLE_WITHIN).close()
        except OSError as error:
            raise WhalecurveError(
                f"The Spark Connect server {host}:{port}, which company.yml names under engine.spark.remote, does not answer "
                f"({error}). Start it, or correct the address. Nothing was built and the last release stays."
            ) from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that are tested together here
            from pyspark.sql import SparkSession

            token = spark_token()
            remote = f"{self.settings.remote}/;token={token}" if token else self.settings.remote
            session = SparkSession.builder.remote(remote).getOrCreate()
            try:
                for name, value in {**self._session_settings(), **_secret_settings()}.items():
                    session.conf.set(name, value)
                yield session
            finally:
                session.stop()

    def _make_schemas(self, session: Any, schemas: set[str]) -> None:
        """Databases of the catalog that lie in this data folder.

        Raises ConfigurationError where the catalog has one of the name elsewhere: it belongs to another company.
        """
        for schema in sorted(schemas):
            location = (self.folder / "tables" / schema).resolve()
            location.mkdir(parents=True, exist_ok=True)
            session.sql(f"create database if not exists {schema} location '{location}'")
            described = {row[0]: row[1] for row in session.sql(f"describe database {schema}").collect()}
            found = re.sub("^file:/*", "/", str(described.get("Location", "")))
            if Path(found) != location:
                raise ConfigurationError(
                    f"The catalog of the Spark server has a schema {schema} already, in {found} instead of {location}: it "
                    "belongs to another company or data folder. Give each of them a catalog (metastore) of its own, or drop "
                    "that schema if nobody needs it. Nothing was built."
                )

    def _offer_sources(self, session: Any, sources: Sequence[Any]) -> None:
        """Make what is not made by dbt readable on Spark: raw files in place, everything else by a copy."""
        self._make_schemas(session, {str(source.schema) for source in sources})
        with self.workspace.warehouse(read_only=True) as connection:
            present = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
            for source in sources:
                schema, name = str(source.schema), str(source.name)
                if (schema, name) not in present:
                    continue  # made by a later step, and read by tests of a later pass
                columns = connection.execute(f"describe {qualified(schema, name)}").fetchall()
                types = ", ".join(f"`{column[0]}` {spark_type(column[1])}" for column in columns)
                if schema == "raw":
                    folder, options = self.workspace.raw / name, "options (recursiveFileLookup 'true')"
                else:
                    folder, options = self._copied_out(connection, schema, name, columns), ""
                session.sql(f"drop table if exists {schema}.{name}")
                session.sql(
                    f"create table {schema}.{name} ({types}) using parquet {options} location '{folder.resolve()}'"
                )

    def _copied_out(self, connection: duckdb.DuckDBPyConnection, schema: str, name: str, columns: list[Any]) -> Path:
        folder = self.folder / "sources" / schema / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # A hugeint would become a double in Parquet.
        selected = ", ".join(
            f"cast({identifier(column[0])} as decimal(38, 0)) as {identifier(column[0])}"
            if column[1] == "HUGEINT"
            else identifier(column[0])
            for column in columns
        )
        file = literal(str(folder / "part.parquet"))
        connection.execute(f"copy (select {selected} from {qualified(schema, name)}) to {file} (format parquet)")
        return folder

    def _built(self, manifest: Any, models: Sequence[str]) -> dict[tuple[str, str], str]:
        """Schema and name of each table that a pass has built -> SQL of its rows."""
        built = {}
        for model in models:
            schema, name = str(manifest.nodes[model].schema), str(manifest.nodes[model].name)
            folder = (self.folder / "tables" / schema / name).resolve()
            if any(folder.glob("*.parquet")):
                files = literal(str(folder / "*.parquet"))
                built[schema, name] = f"from read_parquet({files}, hive_partitioning = false)"
        return built


def require_installed() -> None:
    """Raise ConfigurationError where what Spark needs is not installed."""
    missing = [name for name in ("pyspark", "dbt.adapters.spark", "grpc") if not _installed(name)]
    if missing:
        raise ConfigurationError(
            f"company.yml chooses Spark, but {' and '.join(missing)} cannot be imported. Install them with "
            '`pip install "whalecurve[spark]"`, or take engine.spark out of company.yml to run on DuckDB. Nothing was built.'
        )


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _secret_settings() -> dict[str, str]:
    """The two padded forms of the pseudonym key, in hex; empty without a key. Connect takes no setting whose name says secret."""
    from pipelines.pseudonyms import padded_keys

    return {
        f"spark.whalecurve.{name}_key": "" if key is None else key.hex()
        for name, key in padded_keys(pseudonym_key()).items()
    }


def spark_type(duckdb_type: str) -> str:
    """What Spark calls a type of DuckDB."""
    return SPARK_TYPES.get(duckdb_type, duckdb_type.lower())
