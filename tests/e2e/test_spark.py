"""The same company on Spark: every published table has the rows DuckDB gives it, whatever engine built them.

A real standalone cluster on loopback. Where Java or the optional extra is missing the test is skipped, and says so.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import duckdb
import jinja2
import pytest
import yaml
from command import PROJECT, Whalecurve, tables_that_differ
from spark_cluster import java_home, spark_cluster

from pipelines.pseudonyms import padded_keys, set_key

pytest.importorskip("pyspark", reason="the optional extra whalecurve[spark] is not installed")
pytest.importorskip("dbt.adapters.spark", reason="the optional extra whalecurve[spark] is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(java_home() is None, reason="Spark needs Java 17 or 21, and there is none"),
]

# Small data: one partition each, and nothing compiled that runs once.
SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster's Connect server."""
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


@pytest.fixture(scope="module")
def on_spark(small_demo: Whalecurve, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Whalecurve:
    """The small demo's last date, run again on Spark in a copy of its data folder: DuckDB's tables give way to Spark's."""
    folder = tmp_path_factory.mktemp("spark")
    company = folder / "company"
    shutil.copytree(PROJECT / "companies" / "demo", company)
    shutil.copytree(small_demo.data, folder / "data", symlinks=True, ignore=shutil.ignore_patterns("dagster"))
    settings = {"engine": {"spark": {"remote": cluster, "settings": SMALL, "threads": 3}}}
    with (company / "company.yml").open("a", encoding="utf-8") as file:
        file.write("\n" + yaml.safe_dump(settings))
    whalecurve = Whalecurve(company, folder / "data")
    whalecurve("run", "--date", "2026-06-30")
    return whalecurve


def test_every_published_table_is_row_identical(small_demo: Whalecurve, on_spark: Whalecurve) -> None:
    assert small_demo.release != on_spark.release
    assert tables_that_differ(small_demo.release, on_spark.release) == {}


def test_the_tables_were_built_on_spark(on_spark: Whalecurve) -> None:
    with duckdb.connect(str(on_spark.data / "warehouse.duckdb"), read_only=True) as warehouse:
        tables_of_dbt = warehouse.execute(
            "select table_name from information_schema.tables where table_type = 'BASE TABLE' "
            "and table_schema in ('staging', 'facts', 'credit', 'pools', 'costing', 'marts', 'overview')"
        ).fetchall()
    assert tables_of_dbt == []
    assert list((on_spark.data / "spark" / "tables" / "marts" / "customer_profitability").glob("*.parquet"))


def forms(engine: str) -> str:
    """SQL of the forms in which an engine compares and publishes the text `value`."""
    folder = PROJECT / "dbt_project" / "macros"
    text = "".join((folder / f"{name}.sql").read_text() for name in ("dialect", "exact_match", "pseudonym"))
    macros = jinja2.Environment().from_string(text, {"target": {"type": engine}, "exceptions": None}).module
    return (
        f"select value, {macros.normalised_name('value')} as name, {macros.name_key('value')} as name_key, "
        f"{macros.pseudonym('phone', 'value')} as phone, {macros.pseudonym('name', 'value')} as person"
    )


@pytest.mark.filterwarnings("ignore")
def test_a_name_has_one_key_and_one_pseudonym_on_both_engines(cluster: str, tmp_path: Path) -> None:
    from pyspark.sql import SparkSession

    # Characters that every library of the last twenty years knows, and letters with accents that are to be composed.
    known = [chr(i) for i in range(1, 0x10000) if unicodedata.ucd_3_2_0.category(chr(i)) not in ("Cs", "Cn", "Co")]
    accents = [chr(i) for i in range(0x300, 0x346)]
    texts = [f"{number} a{letter}B" for number, letter in enumerate(known)]
    texts += [f"{base}{one}{two}" for base in "AeiNÂ" for one in accents for two in ("", "\u0301", "\u0323")]
    texts += ["İSTANBUL", "ΝΙΚΟΣ", "\u1100\u1161\u11a8", "\u212b", "  ", "straße"]
    key = b"a key for the pseudonyms"
    file = tmp_path / "texts.parquet"
    with duckdb.connect() as connection:
        set_key(connection, key)
        connection.execute("create table texts as select unnest(?) as value", [texts])
        connection.execute(f"copy texts to '{file}' (format parquet)")
        connection.execute(f"create table here as {forms('duckdb')} from texts")
        session = SparkSession.builder.remote(cluster).getOrCreate()
        try:
            for name, value in {**SMALL, "spark.sql.ansi.enabled": "false"}.items():
                session.conf.set(name, value)
            for name, padded in padded_keys(key).items():
                session.conf.set(f"spark.whalecurve.{name}_key", padded.hex())
            session.sql(f"{forms('spark')} from parquet.`{file}`").write.parquet(str(tmp_path / "there"))
        finally:
            session.stop()
        there = f"read_parquet('{tmp_path}/there/*.parquet')"
        assert connection.sql(
            "select count(distinct name_key) > 40000, count(*) = count(person) from here"
        ).fetchall() == [(True, True)]
        assert connection.sql(f"(from here except all from {there}) limit 9").fetchall() == []
        assert connection.sql(f"(from {there} except all from here) limit 9").fetchall() == []
