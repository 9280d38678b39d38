"""The same company on Spark: every published table has the rows DuckDB gives it, whatever engine built them.

A real standalone cluster on loopback. Where Java or the optional extra is missing the test is skipped, and says so.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
import yaml
from command import PROJECT, Whalecurve
from spark_cluster import java_home, spark_cluster

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
def on_spark(small_demo: Whalecurve, tmp_path_factory: pytest.TempPathFactory) -> Whalecurve:
    """The small demo's last date, run again on Spark in a copy of its data folder: DuckDB's tables give way to Spark's."""
    folder = tmp_path_factory.mktemp("spark")
    company = folder / "company"
    shutil.copytree(PROJECT / "companies" / "demo", company)
    shutil.copytree(small_demo.data, folder / "data", symlinks=True, ignore=shutil.ignore_patterns("dagster"))
    with spark_cluster(folder) as address:
        written = {"engine": {"spark": {"remote": address, "settings": SMALL}}}
        with (company / "company.yml").open("a", encoding="utf-8") as file:
            file.write("\n" + yaml.safe_dump(written))
        whalecurve = Whalecurve(company, folder / "data")
        whalecurve("run", "--date", "2026-06-30")
    return whalecurve


def tables(release: Path) -> dict[str, Path]:
    return {path.stem: path for path in release.glob("*.parquet")}


def test_every_published_table_is_row_identical(small_demo: Whalecurve, on_spark: Whalecurve) -> None:
    expected, found = tables(small_demo.release), tables(on_spark.release)
    assert small_demo.release != on_spark.release
    assert len(expected) > 40
    assert found.keys() == expected.keys()
    different = {}
    with duckdb.connect() as connection:
        for name, path in expected.items():
            there, here = (f"read_parquet('{file}', hive_partitioning = false)" for file in (path, found[name]))
            assert (
                connection.sql(f"describe from {there}").fetchall()
                == connection.sql(f"describe from {here}").fetchall()
            )
            rows = [
                connection.sql(f"select count(*) from (from {one} except all from {other})").fetchone()[0]
                for one, other in ((there, here), (here, there))
            ]
            if any(rows):
                different[name] = rows
    assert not different


def test_the_tables_were_built_on_spark(on_spark: Whalecurve) -> None:
    with duckdb.connect(str(on_spark.data / "warehouse.duckdb"), read_only=True) as warehouse:
        tables_of_dbt = warehouse.execute(
            "select table_name from information_schema.tables where table_type = 'BASE TABLE' "
            "and table_schema in ('staging', 'facts', 'credit', 'pools', 'costing', 'marts', 'overview')"
        ).fetchall()
    assert tables_of_dbt == []
    assert list((on_spark.data / "spark" / "tables" / "marts" / "customer_profitability").glob("*.parquet"))
