"""What the assets work with: the company's folder, its data folder, and the warehouse in it.

The only module that reads the environment. WHALECURVE_COMPANY and WHALECURVE_DATA choose the two folders.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import duckdb

from assets.company import Company, load_company
from assets.errors import ConfigurationError, WhalecurveError
from assets.ingest import storage
from assets.ingest.contract import load_contract
from assets.ingest.pull import Credentials
from assets.ingest.sql import identifier, literal
from assets.publish.targets.delivery import Secrets
from pipelines.builds import note_loads

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DBT_PROJECT = PROJECT_ROOT / "dbt_project"
DBT_MANIFEST = DBT_PROJECT / "target" / "manifest.json"
EXPECTATIONS = PROJECT_ROOT / "expectations"
COMPANY_VARIABLE = "WHALECURVE_COMPANY"
DATA_VARIABLE = "WHALECURVE_DATA"
INSTANCE_VARIABLE = "WHALECURVE_INSTANCE"
MACHINE_VARIABLE = "WHALECURVE_MACHINE"
PULL_VARIABLES = "WHALECURVE_PULL_"
TARGET_VARIABLES = "WHALECURVE_TARGET_"
ALERT_VARIABLES = "WHALECURVE_ALERT_"
DEFAULT_COMPANY = PROJECT_ROOT / "companies" / "demo"
DEFAULT_DATA = PROJECT_ROOT / "data"

PSEUDONYM_KEY_VARIABLE = "WHALECURVE_PSEUDONYM_KEY"
SHORTEST_KEY = 16
SPARK_TOKEN_VARIABLE = "WHALECURVE_SPARK_TOKEN"
LAKE_CATALOG_VARIABLE = "WHALECURVE_LAKE_CATALOG"

NO_CHECKOUT = "not a git checkout"
"""What a release notes for its code's commit where there is none."""

VARIABLES = {
    COMPANY_VARIABLE: "The company's folder; `--company` comes before it, `companies/demo` after.",
    DATA_VARIABLE: "The data folder; `--data` comes before it, `data/` after.",
    PSEUDONYM_KEY_VARIABLE: f"Key of the pseudonyms in published tables, at least {SHORTEST_KEY} characters, the same for ever. "
    "Secret.",
    SPARK_TOKEN_VARIABLE: "Token of the Spark Connect server, where it asks for one. Secret.",
    LAKE_CATALOG_VARIABLE: "PostgreSQL database of a DuckLake's catalog, `postgresql://user:password@host/database`. Secret.",
    f"{PULL_VARIABLES}<SOURCE>_URL": "Address of the database a source is pulled from, with user and password. Secret.",
    f"{PULL_VARIABLES}<SOURCE>_USERNAME": "Salesforce: user, with `_PASSWORD` and `_TOKEN`; or `_CONSUMER_KEY` and "
    "`_CONSUMER_SECRET`. Secret.",
    f"{PULL_VARIABLES}<SOURCE>_DOMAIN": "Salesforce: the org's own domain, needed with a consumer key; else `login`.",
    f"{TARGET_VARIABLES}<NAME>_URL": "Address of the PostgreSQL database of a release target. Secret.",
    f"{TARGET_VARIABLES}<NAME>_ACCESS_KEY_ID": "Key of the bucket of a release target, with `_SECRET_ACCESS_KEY`. Secret.",
    f"{ALERT_VARIABLES}<NAME>_URL": "Mail server (`smtp://user:password@host`, `smtps://...`) or webhook of an alert. Secret.",
    f"{ALERT_VARIABLES}<NAME>_SECRET": "What the robots of 钉钉 and 飞书 sign with. Secret.",
    INSTANCE_VARIABLE: "Where Dagster keeps its runs: a name in `pipelines/instances`, or the path of a `dagster.yaml`; else "
    "SQLite in the data folder.",
    "WHALECURVE_BI_SECRET_KEY": "What Superset signs its sessions with; else a key made once in `<data>/bi`. Secret.",
    MACHINE_VARIABLE: "What this machine is called where a data folder says who writes; else its host name.",
    "WHALECURVE_DAGSTER_HOST": "PostgreSQL server of Dagster's runs, with `_DATABASE`, `_USER` and `_PASSWORD`. Secret.",
    "WHALECURVE_CELERY_BROKER": "Broker of the `celery` instance, with `WHALECURVE_CELERY_BACKEND`.",
    "WHALECURVE_IMAGE": "Image of the `kubernetes` instance, with `WHALECURVE_KUBERNETES_NAMESPACE` and "
    "`WHALECURVE_SERVICE_ACCOUNT`.",
    "DAGSTER_HOME": "Dagster's own folder; else `dagster` in the data folder.",
}
"""Every variable a person may set, and what it does; those of code that is imported on the way (`QUIET`) are set here."""

QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}
"""No tool underneath may report anything to anybody."""


def company_folder() -> Path:
    return Path(os.environ.get(COMPANY_VARIABLE) or DEFAULT_COMPANY).resolve()


def data_folder() -> Path:
    return Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA).resolve()


def dagster_home() -> Path:
    """Where Dagster keeps its runs and events: in the data folder, unless DAGSTER_HOME says otherwise."""
    return Path(os.environ.get("DAGSTER_HOME") or data_folder() / "dagster")


def instance_choice() -> str | None:
    """Which Dagster instance the environment asks for: a name in pipelines/instances, or the path of a dagster.yaml."""
    return os.environ.get(INSTANCE_VARIABLE) or None


def machine() -> str:
    """What this machine is called where a data folder says who writes to it: its host name, unless the environment names it."""
    return os.environ.get(MACHINE_VARIABLE) or socket.gethostname()


def pseudonym_key() -> bytes | None:
    """The key of the pseudonyms in published tables, or None when there is none. Never to be logged or stored."""
    key = os.environ.get(PSEUDONYM_KEY_VARIABLE)
    if not key:
        return None
    if len(key) < SHORTEST_KEY:
        raise ConfigurationError(
            f"{PSEUDONYM_KEY_VARIABLE} has {len(key)} characters and needs at least {SHORTEST_KEY}: a short key can be found "
            "by trying. Make one with `openssl rand -hex 32`, keep it where passwords are kept, and use the same one for "
            "every run. Nothing was changed."
        )
    return key.encode()


def spark_token() -> str | None:
    """The token the Spark Connect server asks for, or None when it asks for none. Never to be logged or stored."""
    return os.environ.get(SPARK_TOKEN_VARIABLE) or None


def lake_catalog() -> str | None:
    """Address of the PostgreSQL database that lists a DuckLake's files, or None. Never to be logged or stored."""
    return os.environ.get(LAKE_CATALOG_VARIABLE) or None


def configure_environment(company: Path | None = None, data: Path | None = None) -> None:
    """Make the choice of folders known to this process and the ones it starts, and silence telemetry."""
    os.environ[COMPANY_VARIABLE] = str((company or company_folder()).resolve())
    os.environ[DATA_VARIABLE] = str((data or data_folder()).resolve())
    os.environ["DAGSTER_HOME"] = str(dagster_home())
    os.environ.setdefault("DLT_DATA_DIR", str(data_folder() / "pull" / "dlt"))  # and not the home folder
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def other_data_folder(folder: Path, company: Path | None = None) -> Iterator[None]:
    """Everything in this process works on another data folder, and on another company folder where one is given."""
    former = {variable: os.environ[variable] for variable in (DATA_VARIABLE, COMPANY_VARIABLE)}
    os.environ[DATA_VARIABLE] = str(folder)
    if company is not None:
        os.environ[COMPANY_VARIABLE] = str(company)
    try:
        yield
    finally:
        os.environ.update(former)


def pull_credentials(source: str) -> Credentials:
    """What the environment says of one source, WHALECURVE_PULL_<SOURCE>_URL and the like. Kept nowhere else."""
    prefix = f"{PULL_VARIABLES}{source.upper()}_"
    found = {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)}
    return Credentials(prefix, {name: value for name, value in found.items() if value})


def target_secrets(target: str) -> Secrets:
    """What the environment says of one release target, WHALECURVE_TARGET_<NAME>_URL and the like. Kept nowhere else."""
    prefix = f"{TARGET_VARIABLES}{target.upper()}_"
    found = {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)}
    return Secrets(prefix, {name: value for name, value in found.items() if value})


def alert_secrets(alert: str) -> Secrets:
    """What the environment says of one alert target, WHALECURVE_ALERT_<NAME>_URL and _SECRET. Kept nowhere else."""
    prefix = f"{ALERT_VARIABLES}{alert.upper()}_"
    found = {name: os.environ.get(prefix + name) for name in ("URL", "SECRET")}
    return Secrets(prefix, {name: value for name, value in found.items() if value})


def bi_environment(home: Path) -> dict[str, str]:
    """This process's environment for Superset: its folder, its configuration, and nothing reported to anybody."""
    config = PROJECT_ROOT / "bi" / "superset_config.py"
    own = {"WHALECURVE_BI_HOME": str(home), "SUPERSET_HOME": str(home), "SUPERSET_CONFIG_PATH": str(config)}
    return {**quiet_child_environment(), **QUIET, **own, "SCARF_ANALYTICS": "false"}


def quiet_child_environment() -> dict[str, str]:
    """This process's environment for a child that people look at: without Python's warnings to developers."""
    return {**os.environ, "PYTHONWARNINGS": "ignore"}


def git_commit() -> str | None:
    """The commit the code was checked out at, with a mark when the work tree differs; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


_kept: dict[Path, duckdb.DuckDBPyConnection] | None = None
"""Warehouses that stay open between two uses of them; None where each use opens and closes its own."""


@contextlib.contextmanager
def warehouse_kept_open() -> Iterator[None]:
    """Keep the warehouse open between the steps of a run: opening and closing it takes 50 ms, and a run does it 250 times.

    dbt opens it in its own way and needs it closed: see `let_go_of_warehouse`.
    """
    global _kept
    _kept = {}
    try:
        yield
    finally:
        let_go_of_warehouse()
        _kept = None


def let_go_of_warehouse() -> None:
    """Close what is kept open; the next use opens it again."""
    for connection in (_kept or {}).values():
        connection.close()
    if _kept is not None:
        _kept.clear()


class Workspace(dg.ConfigurableResource):
    """One company's folder and data folder, and everything with a fixed place in them."""

    company_path: str
    data_path: str

    @classmethod
    def from_environment(cls) -> Workspace:
        return cls(company_path=str(company_folder()), data_path=str(data_folder()))

    @property
    def company_folder(self) -> Path:
        return Path(self.company_path)

    @property
    def data(self) -> Path:
        return Path(self.data_path)

    @property
    def landing(self) -> Path:
        return self.data / "landing"

    @property
    def raw(self) -> Path:
        return self.data / "raw"

    @property
    def rules(self) -> Path:
        return self.data / "rules"

    @property
    def releases(self) -> Path:
        return self.data / "releases"

    @property
    def spark(self) -> Path:
        """Where the tables of a company lie that builds them on Spark."""
        return self.data / "spark"

    @property
    def warehouse_path(self) -> Path:
        return self.data / "warehouse.duckdb"

    def company(self) -> Company:
        return load_company(self.company_folder)

    @contextlib.contextmanager
    def warehouse(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse, open for the length of a `with`: it has one writer at a time, so never hold it while dbt runs.

        Within `warehouse_kept_open` it is another cursor of the connection kept, which can write also where `read_only` is asked.
        """
        if _kept is None:
            connection = self._open_warehouse(read_only)
        else:
            if self.warehouse_path not in _kept:
                _kept[self.warehouse_path] = self._open_warehouse(read_only=False)
            connection = _kept[self.warehouse_path].cursor()
        try:
            yield connection
        finally:
            connection.close()

    def _open_warehouse(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        self.data.mkdir(parents=True, exist_ok=True)
        try:
            return duckdb.connect(
                str(self.warehouse_path),
                read_only=read_only,
                config={"autoinstall_known_extensions": "false", **self.company().engine.duckdb.settings()},
            )
        except duckdb.IOException as error:
            raise WhalecurveError(
                f"The warehouse {self.warehouse_path} cannot be opened ({str(error).splitlines()[0]}). Another run is "
                "probably using it: wait for it to end, or look for it in the Dagster UI under Runs."
            ) from None

    def expose_sources(self) -> None:
        """Make the raw layer and the costing rules readable as `raw.<entity>` and `rules.<table>` in the warehouse."""
        contract = load_contract()
        with duckdb.connect() as scratch:
            for entity in contract.entities:
                storage.write_schema(scratch, self.raw, contract, entity)
        with self.warehouse() as connection:
            note_loads(connection, self.raw)
            for schema in ("raw", "rules", "service_pools", "analytics", "quality"):
                connection.execute(f"create schema if not exists {schema}")
            for entity in contract.entities:
                view = f"raw.{identifier(entity)}"
                connection.execute(f"create or replace view {view} as {storage.relation(self.raw, contract, entity)}")
            registry = storage.registry_relation(self.raw)
            connection.execute(f"create or replace view raw.file_registry as {registry}")
            for path in sorted(self.rules.glob("*.parquet")):
                view = f"rules.{identifier(path.stem)}"
                connection.execute(f"create or replace view {view} as from read_parquet({literal(str(path))})")

    def as_of(self) -> datetime.date:
        """The latest business date the warehouse knows."""
        with self.warehouse(read_only=True) as connection:
            row = connection.execute("select as_of_date from facts.as_of").fetchone()
        if row is None or row[0] is None:
            raise WhalecurveError(f"The warehouse {self.warehouse_path} holds no delivery yet: run a date first.")
        found = row[0]
        assert isinstance(found, datetime.date)
        return found


def business_dates(company: Company) -> dg.DailyPartitionsDefinition:
    """One partition per business date: the day an extract was delivered for."""
    end = company.last_business_date + datetime.timedelta(days=1) if company.last_business_date else None
    return dg.DailyPartitionsDefinition(
        start_date=company.first_business_date.isoformat(),
        end_date=end.isoformat() if end else None,
        timezone=company.timezone,
    )


def owners() -> Mapping[str, list[str]]:
    """Who answers for each layer, shown on every asset in the UI."""
    return {
        "engineering": ["team:data-engineering"],
        "controlling": ["team:controlling"],
        "analytics": ["team:customer-analytics"],
    }
