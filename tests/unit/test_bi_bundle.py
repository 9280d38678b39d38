"""The dashboards that are shipped: whole, made from what is declared, and the same for each place a release is read at."""

import importlib.util
import io
import os
import stat
import sys
import zipfile

import pytest
import yaml
from command import PROJECT

from assets.company import PostgresTarget
from assets.errors import WhalecurveError
from assets.publish import bi_datasets
from assets.publish.bi_bundle import EXPORT, ROOT, Place, bundle
from pipelines import bi

FILES = Place("duckdb:////data/releases/current/whalecurve.duckdb")
TARGET = Place("postgresql+psycopg2://bi.target.whalecurve/", "bi", "figures")


def shipped(folder):
    return {file.stem: yaml.safe_load(file.read_text()) for file in sorted((EXPORT / folder).rglob("*.yaml"))}


def unpacked(places):
    with zipfile.ZipFile(io.BytesIO(bundle(places))) as read:
        return {name.removeprefix(f"{ROOT}/"): yaml.safe_load(read.read(name)) for name in read.namelist()}


def test_datasets_are_those_that_contract_and_metrics_make():
    written = {file.stem: file.read_text() for file in (EXPORT / "datasets").rglob("*.yaml")}
    made = {table: bi_datasets.written(dataset) for table, dataset in bi_datasets.datasets().items()}
    assert written == made, "run: python -m assets.publish.bi_datasets"


@pytest.mark.parametrize("name", shipped("charts"))
def test_a_chart_shows_metrics_that_are_declared_and_columns_that_are_there(name):
    chart, datasets = shipped("charts")[name], {each["uuid"]: each for each in shipped("datasets").values()}
    dataset, shown = datasets[chart["dataset_uuid"]], chart["params"]
    declared = {metric["metric_name"] for metric in dataset["metrics"]}
    columns = {column["column_name"] for column in dataset["columns"]}
    metrics = [*shown.get("metrics", []), *shown.get("metrics_b", []), *filter(None, [shown.get("metric")])]
    own = [metric for metric in metrics if not isinstance(metric, str)]
    assert set(metrics) - declared == set() if not own else name == "whale_curve"
    read = [
        *shown.get("groupby", []),
        *shown.get("all_columns", []),
        *(each["subject"] for each in shown["adhoc_filters"]),
    ]
    assert {*read, *filter(None, [shown.get("x_axis")])} - columns - declared == set()


def test_dashboards_show_every_chart_once():
    places = [part for board in shipped("dashboards").values() for part in board["position"].values()]
    placed = [part["meta"]["uuid"] for part in places if isinstance(part, dict) and part["type"] == "CHART"]
    assert sorted(placed) == sorted(chart["uuid"] for chart in shipped("charts").values())


def test_each_place_has_dashboards_of_its_own_on_its_own_address():
    both = unpacked([FILES, TARGET])
    assert both["databases/release.yaml"]["sqlalchemy_uri"] == FILES.uri
    assert both["databases/release_bi.yaml"]["sqlalchemy_uri"] == TARGET.uri
    ids = [read["uuid"] for read in both.values() if "uuid" in read]
    assert len(ids) == len(set(ids))
    for name, read in both.items():
        if name.endswith("_bi.yaml") and name.startswith("datasets"):
            assert read["database_uuid"] == both["databases/release_bi.yaml"]["uuid"]
            assert (read["schema"], read["table_name"][-3:]) == ("figures", "_bi")
            assert read["sql"]
    assert both["dashboards/company_profitability_bi.yaml"]["slug"] == "company-profitability-bi"
    assert unpacked([FILES]) == {name: read for name, read in both.items() if "_bi.yaml" not in name}


def test_a_target_without_address_is_left_out_and_no_password_is_written(monkeypatch, tmp_path):
    targets = {
        name: PostgresTarget.model_validate({"kind": "postgres", "schema": "figures"}) for name in ("bi", "other")
    }
    monkeypatch.setenv("WHALECURVE_TARGET_BI_URL", "postgresql://me:hidden@host/db")
    found = bi.places(tmp_path, targets)
    assert found == [Place(f"duckdb:///{tmp_path.resolve()}/current/whalecurve.duckdb"), TARGET]
    assert all(b"hidden" not in str(read).encode() for read in unpacked(found).values())


def test_superset_is_started_with_secrets_that_stay(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(bi, "ENVIRONMENT", tmp_path / "venv")
    monkeypatch.setattr(bi.os, "execve", lambda *call: started.append(call))
    with pytest.raises(WhalecurveError, match="run `whalecurve run` first"):
        bi.become(tmp_path, {}, 8088)
    release = tmp_path / "releases" / "2026-06-30-0123456789ab"
    release.mkdir(parents=True)
    (tmp_path / "releases" / "current").symlink_to(release.name)
    with pytest.raises(WhalecurveError, match="`make bi` installs"):
        bi.become(tmp_path, {}, 8088)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    bi.become(tmp_path, {}, 8088)
    secrets = {name: (tmp_path / "bi" / name).read_text() for name in bi.SECRETS}
    bi.become(tmp_path, {}, 8088)
    assert {name: (tmp_path / "bi" / name).read_text() for name in bi.SECRETS} == secrets
    assert {stat.S_IMODE((tmp_path / "bi" / name).stat().st_mode) for name in bi.SECRETS} == {0o600}
    assert len(started) == 2
    assert started[0][1][-1] == "8088"
    assert started[0][2]["WHALECURVE_BI_HOME"] == str(tmp_path / "bi")


@pytest.fixture
def config(monkeypatch, tmp_path):
    """Superset's configuration, as Superset loads it."""
    (tmp_path / "secret_key").write_text("secret\n")
    monkeypatch.setenv("WHALECURVE_BI_HOME", str(tmp_path))
    spec = importlib.util.spec_from_file_location("superset_config", PROJECT / "bi" / "superset_config.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module


def connected(config, uri):
    from sqlalchemy.engine.url import make_url

    found, params = config.DB_CONNECTION_MUTATOR(make_url(uri), {"poolclass": None}, "admin", None, None)
    return found, params["connect_args"]


def test_each_connection_goes_to_the_release_that_is_current_then(config, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "whalecurve.duckdb").touch()
        os.symlink(name, tmp_path / "next")
        os.replace(tmp_path / "next", tmp_path / "current")
        uri, options = connected(config, f"duckdb:///{tmp_path}/current/whalecurve.duckdb")
        assert uri.database == f"{tmp_path}/{name}/whalecurve.duckdb"
        assert options["read_only"] is True


def test_a_target_is_reached_by_the_address_in_the_environment_and_not_written_to(config, monkeypatch):
    monkeypatch.setenv("WHALECURVE_TARGET_BI_URL", "postgresql://me:hidden@host:5433/db?sslmode=require")
    uri, options = connected(config, TARGET.uri)
    assert uri.render_as_string(hide_password=False) == "postgresql+psycopg2://me:hidden@host:5433/db?sslmode=require"
    assert "default_transaction_read_only=on" in options["options"]
