"""Runs of a few business dates, end to end: again, in any order, and what the commands say of the releases they make."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal

import duckdb
import pytest
from harness import DAYS, tree

from assets.publish.tables import PUBLISHED
from pipelines.resources import DBT_MANIFEST

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD = DAYS


@pytest.fixture(scope="module")
def shuffled(landing, two_days, tmp_path_factory):
    """The dates run one at a time, the full extract not first."""
    whalecurve = two_days.copied_to(tmp_path_factory.mktemp("shuffled") / "data")
    whalecurve.deliver(landing, THIRD)
    whalecurve("run", "--date", THIRD)
    return whalecurve


def query(company, sql):
    with duckdb.connect(str(company.data / "releases/current/whalecurve.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_dates_one_at_a_time_in_any_order_make_the_release_of_one_range(shuffled, three_days):
    assert shuffled.release_id == three_days.release_id
    folders = [company.data / "releases" / company.release_id for company in (shuffled, three_days)]
    published, expected = (
        {name: content for name, content in tree(folder).items() if name.endswith((".parquet", ".html", ".csv"))}
        for folder in folders
    )
    beside = {"data_quality.parquet", "report.html"}
    """They also say how a release stands beside earlier ones, and only the dates run alone have an earlier one."""
    assert {name for name in expected if published[name] != expected[name]} == beside
    assert published.keys() == expected.keys()
    assert len(published) > len(PUBLISHED)
    said = [
        duckdb.execute(
            f"select * from '{folder}/data_quality.parquet' where stage not in ('volume', 'drift') order by all"
        ).fetchall()
        for folder in folders
    ]
    assert said[0] == said[1]


def test_a_release_is_held_against_the_one_before_it(shuffled, two_days, three_days):
    """The second of two releases: nothing that was closed has moved, and what the day brought is in bounds."""
    drift = "select check_name, passed, observed from data_quality where stage = 'drift' order by all"
    compared = {name: (passed, observed) for name, passed, observed in query(shuffled, drift)}
    passed, observed = compared["closed_months_net_revenue"]
    assert passed
    assert re.fullmatch(rf"none of \d+ closed months moved \(release {two_days.release_id}\)", observed), observed
    assert {observed for _, _, observed in query(three_days, drift)} == {"no earlier release to compare with"}
    (sources,) = query(
        three_days, "select count(*) from data_quality where check_name like 'late_deliveries\\_\\_%' escape '\\'"
    )
    assert sources == (4,)
    unread = query(three_days, "select distinct table_name from data_quality where protects = '' order by all")
    assert unread == [("calendar_days",), ("dim_customer_history",), ("stg_cost_centers",), ("stg_timesheets",)], (
        "no published table reads them"
    )


def test_running_a_date_again_changes_nothing(copied, three_days):
    company = copied(three_days)
    loads = sorted((company.data / "raw").glob("*/*/*/*"))
    before = tree(company.data / "releases"), tree(company.data / "raw"), [path.stat().st_mtime_ns for path in loads]
    parsed = DBT_MANIFEST.stat()
    done = company("run", "--date", SECOND)
    assert DBT_MANIFEST.stat() == parsed, "runs of other companies read it at any time"
    assert (tree(company.data / "releases"), tree(company.data / "raw")) == before[:2]
    assert [path.stat().st_mtime_ns for path in loads] == before[2], "an unchanged delivery is not written again"
    assert "As of 2026-06-02" in done.stdout


def test_a_date_as_it_was_known_then_is_the_release_of_then_byte_for_byte(copied, shuffled, two_days):
    company = copied(shuffled)
    kept = tree(company.data / "releases"), tree(company.data / "raw")
    done = company("run", "--date", THIRD, "--as-known", "then")
    assert f"It is release {shuffled.release_id} of {THIRD}, byte for byte" in done.stdout
    made = tree(company.data / "as_known" / THIRD / "releases" / shuffled.release_id)
    theirs = tree(company.data / "releases" / shuffled.release_id)
    of_its_making = {"manifest.json", "whalecurve.duckdb"}
    assert {name for name in theirs if made.get(name) != theirs[name]} == of_its_making
    assert made.keys() == theirs.keys()

    done = company("run", "--date", SECOND, "--as-known", "then")
    made = tree(company.data / "as_known" / SECOND / "releases" / two_days.release_id)
    theirs = tree(company.data / "releases" / two_days.release_id)
    assert {name for name in theirs if made.get(name) != theirs[name]} == of_its_making, "nothing later is seen"
    assert (tree(company.data / "releases"), tree(company.data / "raw")) == kept, "the company's own stays as it was"
    assert {path.name for path in (company.data / "as_known" / SECOND).iterdir()} == {"releases"}


def test_a_release_holds_what_a_reader_is_promised(three_days):
    folder = three_days.data / "releases" / three_days.release_id
    tables = {*PUBLISHED, "data_quality", "deliveries"}
    assert {path.stem for path in folder.glob("*.parquet")} == tables
    assert {path.name for path in folder.iterdir() if path.suffix != ".parquet"} == {
        "whalecurve.duckdb", "manifest.json", "report.html", "lists", "check.py",
    }  # fmt: skip
    assert "Harbour Pine Distribution" in (folder / "report.html").read_text()
    assert list((folder / "lists").glob("*.csv"))

    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["as_of_date"] == THIRD
    assert manifest["release_id"] == three_days.release_id
    assert manifest["company"] == "demo"
    assert manifest["git_sha"]
    assert re.fullmatch("[0-9a-f]{64}", manifest["hashes"]["company"])
    assert set(manifest["tables"]) == tables
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest()), name
    stages = {check["stage"] for check in manifest["checks"]}
    assert {"dbt", "expectations", "consistency"} <= stages
    assert all(check["passed"] or check["severity"] == "warn" for check in manifest["checks"])
    with duckdb.connect(str(folder / "whalecurve.duckdb"), read_only=True) as database:
        for name, table in manifest["tables"].items():
            in_file = duckdb.execute(f"select count(*) from read_parquet('{folder}/{name}.parquet')").fetchone()
            assert database.execute(f"select count(*) from {name}").fetchone() == in_file == (table["rows"],)


def test_the_manifest_names_the_run_that_made_the_release(three_days):
    import dagster as dg

    manifest = json.loads((three_days.data / "releases" / three_days.release_id / "manifest.json").read_text())
    with dg.DagsterInstance.from_config(str(three_days.data / "dagster")) as instance:
        run = instance.get_run_by_id(manifest["run_id"])
    assert run is not None
    assert run.status == dg.DagsterRunStatus.SUCCESS


def test_a_range_is_one_run_that_materialises_every_date_of_it(three_days):
    import dagster as dg

    with dg.DagsterInstance.from_config(str(three_days.data / "dagster")) as instance:
        assert instance.get_runs_count() == 1
        for key in (["landing", "deliveries"], ["raw", "customer"], ["raw", "timesheet"]):
            assert instance.get_materialized_partitions(dg.AssetKey(key)) == set(DAYS)


def test_the_ledger_line_shows_three_equal_numbers(three_days):
    said = three_days("summary").stdout
    shown = re.findall(
        r"^  (ledger|cost pools|assigned) +([\d,.]+)(?:  = ([\d,.]+) on customers \+ ([\d,.]+) )?", said, re.M
    )
    assert [row[0] for row in shown] == ["ledger", "cost pools", "assigned"]
    numbers = [Decimal(row[1].replace(",", "")) for row in shown]
    assert numbers[0] == numbers[1] == numbers[2] > 0
    on_customers, residual = (Decimal(text.replace(",", "")) for text in shown[2][2:])
    assert on_customers + residual == numbers[0]
    assert "ledger cost = on customers + residual lines" in said
    residual_lines = re.findall(r"^ +(-?[\d,.]+)  [A-Z_]+:\w+$", said, re.M)
    assert sum(Decimal(text.replace(",", "")) for text in residual_lines) == residual


def test_the_summary_says_where_the_release_lies(three_days):
    said = three_days("summary").stdout
    for label, name in (("Release", ""), ("Report", "/report.html")):
        path = re.search(rf"^{label} +(\S+)$", said, re.M)
        assert path
        assert path[1].endswith(three_days.release_id + name)


def test_the_catalogue_describes_every_table_of_the_release(three_days, tmp_path):
    folder = tmp_path / "docs"
    assert str(folder / "index.html") in three_days("docs", "--output", str(folder)).stdout
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert three_days.release_id in page
    assert "<script" not in page
    for table in (*PUBLISHED, "data_quality", "deliveries"):
        section = page.partition(f'<section id="{table}">')[2].partition("</section>")[0]
        assert "One row per " in section, table
        assert "<td></td></tr>" not in section, f"{table}: a column without a description"
        assert ">passed" in section or table == "deliveries", f"{table}: no check has a result"
    results = {path.parts[-4] for path in folder.glob("data_docs/validations/*/*/*/*.html")}
    assert results == set(PUBLISHED)
    for link in set(re.findall(r'href="([^"#]+)', page)):
        assert (folder / link).is_file(), link


def test_releases_rollback_and_verify(shuffled, two_days, three_days):
    listed = shuffled("releases").stdout.splitlines()
    assert [line.split()[:2] for line in listed[-2:]] == [
        [two_days.release_id, "as"],
        ["*", three_days.release_id],
    ]
    assert f"as of {SECOND}" in listed[-2]
    assert "every file is as it was published" in shuffled("verify").stdout

    assert two_days.release_id in shuffled("rollback").stdout
    assert shuffled.release_id == two_days.release_id
    assert f"As of {SECOND}" in shuffled("summary").stdout
    assert f"* {two_days.release_id}" in shuffled("releases").stdout

    assert three_days.release_id in shuffled("rollback", three_days.release_id).stdout
    assert shuffled.release_id == three_days.release_id

    unknown = shuffled("rollback", "2026-06-01-000000000000", check=False)
    assert unknown.returncode == 1
    assert "There is no release 2026-06-01-000000000000" in unknown.stderr


def test_verify_names_the_file_that_was_changed(copied, three_days):
    company = copied(three_days)
    folder = company.data / "releases" / company.release_id
    (folder / "report.html").write_text("something else")
    done = company("verify", check=False)
    assert done.returncode == 1
    assert "report.html has changed since it was published" in done.stderr


def test_explain_leads_from_a_cost_line_to_the_ledger_and_the_driver_rows(three_days):
    customer, month, pool, amount = query(
        three_days,
        "select customer_id, strftime(month, '%Y-%m'), pool_id, amount from customer_cost_lines "
        "where pool_id = 'order_entry' order by amount desc, customer_id limit 1",
    )[0]
    said = three_days("explain", customer, "--month", month, "--pool", pool).stdout
    assert re.match(rf"{customer}, {month}: [\d,.]+ on \d cost lines?\.", said)
    assert f"{amount:,.2f} = " in said
    assert re.search(r"ledger: [\d,.]+ in \d+ lines", said)
    assert re.search(r"GL_Detail_\S+ line \d+", said)
    assert re.search(r"driver rows: \d+ records? behind [\d,.]+ minute", said)


def test_the_command_started_cold_says_the_same(three_days):
    """The other tests start it warm; this one as a person does."""
    assert three_days.cold("summary") == three_days("summary")
