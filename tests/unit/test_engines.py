"""What a person is told when the engine of company.yml cannot be used, and how types are called on it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from command import PROJECT

from assets.company import load_company
from assets.errors import ConfigurationError, WhalecurveError
from pipelines import engines, spark
from pipelines.resources import Workspace


@pytest.fixture
def workspace(tmp_path):
    def with_engine(text):
        shutil.copytree(PROJECT / "companies" / "demo", tmp_path / "company")
        with (tmp_path / "company" / "company.yml").open("a") as file:
            file.write(text)
        return Workspace(company_path=str(tmp_path / "company"), data_path=str(tmp_path / "data"))

    return with_engine


def test_without_a_block_it_is_duckdb(workspace):
    assert isinstance(engines.engine_of(workspace("")), engines.InProcess)


def test_what_duckdb_may_take_holds_for_the_warehouse_and_for_dbt(workspace):
    found = workspace("\nengine: {duckdb: {memory_limit: 2GiB, threads: 3}}\n")
    with found.warehouse() as connection:
        said = connection.execute("select current_setting('memory_limit'), current_setting('threads')").fetchone()
    assert said == ("2.0 GiB", 3)
    profiles = Path(engines.engine_of(found).arguments()[-1]) / "profiles.yml"
    output = yaml.safe_load(profiles.read_text())["whalecurve"]["outputs"]["warehouse"]
    assert output["settings"]["memory_limit"] == "2GiB"
    assert output["settings"]["threads"] == "3"
    assert output["path"] == str(found.warehouse_path)
    assert output["plugins"]


def test_a_memory_limit_that_is_none_is_refused(workspace):
    with pytest.raises(ConfigurationError, match="memory_limit"):
        load_company(workspace("\nengine: {duckdb: {memory_limit: 80%}}\n").company_folder)


def test_a_token_in_company_yml_is_refused(workspace):
    with pytest.raises(ConfigurationError, match="remote"):
        load_company(workspace("\nengine: {spark: {remote: 'sc://host:15002/;token=secret'}}\n").company_folder)


def test_a_missing_extra_is_named(monkeypatch, workspace):
    engine = engines.engine_of(workspace("\nengine: {spark: {remote: 'sc://127.0.0.1:9'}}\n"))
    monkeypatch.setattr(spark, "_installed", lambda name: name != "pyspark")
    with (
        pytest.raises(ConfigurationError, match=r"pyspark cannot be imported.*whalecurve\[spark\]"),
        engine.building(None, []),
    ):
        pass


def test_a_server_that_does_not_answer_is_named(monkeypatch, workspace):
    engine = engines.engine_of(workspace("\nengine: {spark: {remote: 'sc://127.0.0.1:9'}}\n"))
    monkeypatch.setattr(spark, "_installed", lambda name: True)
    with pytest.raises(WhalecurveError, match=r"127\.0\.0\.1:9, .* does not answer"), engine.building(None, []):
        pass


def test_nothing_secret_stands_in_the_profile(monkeypatch, workspace):
    monkeypatch.setenv("WHALECURVE_SPARK_TOKEN", "a-token-of-the-server")
    monkeypatch.setenv("WHALECURVE_PSEUDONYM_KEY", "k" * 32)
    found = workspace(
        "\nengine: {spark: {remote: 'sc://127.0.0.1:9', settings: {spark.sql.shuffle.partitions: '8'}}}\n"
    )
    engines.engine_of(found).arguments()
    written = (found.data / "dbt" / "spark" / "profiles.yml").read_text()
    assert "spark.sql.shuffle.partitions" in written
    assert "token" not in written
    assert "_key" not in written


@pytest.mark.parametrize(
    ("duckdb_type", "expected"),
    [
        ("VARCHAR", "string"),
        ("DECIMAL(18,4)", "decimal(18,4)"),
        ("HUGEINT", "decimal(38, 0)"),
        ("TIMESTAMP", "timestamp_ntz"),
        ("BIGINT", "bigint"),
    ],
)
def test_types_are_called_as_spark_calls_them(duckdb_type, expected):
    assert spark.spark_type(duckdb_type) == expected
