"""What ran, and the figures for monitoring: from real runs of Dagster and a release worked out by hand."""

from __future__ import annotations

import csv
import datetime
import re
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from contract_tables import insert, released

from assets.company import Company
from assets.publish.release import Release
from pipelines import metrics, run_history
from pipelines.runs import DATA_TAG, PERSON_TAG, PID_TAG

AS_OF = datetime.date(2026, 6, 30)
NOW = datetime.datetime(2026, 7, 3, 12, tzinfo=datetime.UTC)
JUNE, MAY = datetime.date(2026, 6, 1), datetime.date(2026, 5, 1)
COMPANY = Company.model_validate(
    {
        "company": "tea",
        "name": "Tea",
        "base_currency": "EUR",
        "first_business_date": "2026-06-01",
        "sources": {"till": {"dialect": "till"}},
    }
)


@dg.op(name="raw__invoice")
def reads(context):
    if context.run.tags.get("breaks"):
        raise ValueError("customer C00042 in /srv/landing/Mustermann.csv")


@dg.job
def daily_run():
    reads()


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
        yield made


def ran(instance, **tags):
    return daily_run.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def lines(found):
    """Name and labels -> value, as a collector reads them."""
    text = metrics.exposition(found, "tea")
    assert text.endswith("\n")
    read = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP whalecurve_[a-z_]+ .+|TYPE whalecurve_[a-z_]+ gauge)", line), line
            continue
        name, labels, value = re.fullmatch(r'(whalecurve_[a-z_]+)\{company="tea"(.*)\} (-?[0-9.e+]+)', line).groups()
        read[name.removeprefix("whalecurve_") + labels] = float(value)
    return read


def test_every_run_says_who_when_and_how_it_ended(instance, tmp_path):
    first = ran(instance, **{PID_TAG: "1", "dagster/partition": "2026-06-29"})
    ran(instance, **{"dagster/schedule_name": "daily_run_schedule", "dagster/partition": "2026-06-30", "breaks": "yes"})
    ran(instance)
    runs = run_history.run_history(instance, tmp_path)
    assert [(run.dates, run.started_by, run.status, run.failed_step) for run in runs] == [
        ("", "UI", "success", ""),
        ("2026-06-30", "schedule", "failure", "raw.invoice"),
        ("2026-06-29", "command", "success", ""),
    ]
    assert runs[2].run_id == first.run_id
    assert all(run.ended_at >= run.began_at and run.seconds >= 0 for run in runs)
    text = run_history.text(runs, "Asia/Shanghai")
    assert text.splitlines()[2].endswith("raw.invoice")
    assert f"{runs[0].began_at.astimezone(datetime.timezone(datetime.timedelta(hours=8))):%Y-%m-%d %H:%M}" in text
    assert "C00042" not in text
    run_history.write(runs, tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert tuple(written[0]) == run_history.COLUMNS
    assert [row["failed_step"] for row in written] == ["", "raw.invoice", ""]
    assert datetime.datetime.fromisoformat(written[0]["ended_at"]).utcoffset() == datetime.timedelta(0)


def test_a_release_stands_beside_the_run_that_made_it(instance, tmp_path, monkeypatch):
    run_id = ran(instance).run_id
    made = Release("2026-06-30-000000000000", tmp_path, AS_OF, True, manifest={"run_id": run_id})
    monkeypatch.setattr(run_history, "releases", lambda folder: [made])
    (run,) = run_history.run_history(instance, tmp_path)
    assert run.release_id == made.release_id


def test_runs_of_another_data_folder_in_one_database_are_left_out(instance, tmp_path, monkeypatch):
    ran(instance, **{DATA_TAG: "/elsewhere"})
    ran(instance, **{DATA_TAG: str(tmp_path)})
    assert len(run_history.run_history(instance, tmp_path)) == 2, "SQLite goes with its folder"
    monkeypatch.setattr("dagster._core.storage.runs.sqlite.SqliteRunStorage", dict)
    assert len(run_history.run_history(instance, tmp_path)) == 1


def test_before_the_first_run_there_is_nothing_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with run_history.instance() as none:
        assert run_history.run_history(none, tmp_path) == []
    assert run_history.text([], "UTC") == "Nothing was run yet."
    assert list(tmp_path.iterdir()) == []


def test_the_last_run_that_ended_is_measured(instance, tmp_path):
    ran(instance)
    ran(instance, breaks="yes")
    ran(instance, **{PERSON_TAG: "yes"})
    asked, *runs = run_history.run_history(instance, tmp_path)
    assert (asked.started_by, metrics.last_ended_run([asked, *runs])) == ("launchpad", runs[0])
    steps = metrics.step_seconds(instance, metrics.last_ended_run(runs).run_id)
    read = lines(metrics.of_runs(runs, steps))
    assert read['runs,status="failure"'] == read['runs,status="success"'] == 1
    assert read["last_run_succeeded"] == 0
    assert read["last_run_seconds"] == runs[0].seconds
    assert read['last_run_step_seconds,step="raw.invoice"'] == steps["raw.invoice"]
    assert next(metrics.of_runs([], {})).values == []


@pytest.fixture
def release():
    """June: 100.01 on customers, 20.02 unused, -0.03 a variance. May does not count, but for a difference of 0.07."""
    connection = released()
    for month, amount in ((JUNE, "60.01"), (JUNE, "40.00"), (MAY, "999.99")):
        insert(connection, "customer_cost_lines", month=month, amount=Decimal(amount))
    for line, month, amount in (
        ("UNUSED:it", JUNE, "20.02"),
        ("VARIANCE:it", JUNE, "-0.03"),
        ("UNUSED:it", MAY, "5.00"),
    ):
        insert(connection, "residual_cost_lines", month=month, residual_line=line, amount=Decimal(amount))
    for month, difference in ((JUNE, 0), (MAY, Decimal("-0.07"))):
        insert(connection, "reconciliation", month=month, check_name="revenue", difference=difference)
    for date, rows, unread in ((AS_OF - datetime.timedelta(2), 10, 1), (AS_OF - datetime.timedelta(9), 30, 2)):
        insert(
            connection, "deliveries", source_instance="till", extract_date=date, rows_in=rows, rows_quarantined=unread
        )
    manifest = {
        "published_at": "2026-07-01T03:00:00+00:00",
        "tables": {"customers": {"rows": 61}},
        "checks": [
            {"passed": True, "severity": "error"},
            {"passed": False, "severity": "warn"},
            {"passed": False, "severity": "warn"},
        ],
    }
    return Release("2026-06-30-000000000000", Path(), AS_OF, True, manifest=manifest), connection


def test_a_release_is_measured_to_the_cent(release):
    read = lines(metrics.of_release(*release, COMPANY, NOW))
    assert read == {
        "release_as_of_timestamp_seconds": datetime.datetime(2026, 6, 30, tzinfo=datetime.UTC).timestamp(),
        "release_published_timestamp_seconds": datetime.datetime(2026, 7, 1, 3, tzinfo=datetime.UTC).timestamp(),
        "release_lag_days": 2,
        'table_rows,table="customers"': 61,
        'checks_failed,severity="error"': 0,
        'checks_failed,severity="warn"': 2,
        'source_lag_days,source="till"': 2,
        'delivered_rows,source="till"': 40,
        'quarantined_rows,source="till"': 3,
        'month_cost_cents,line="customers"': 10001,
        'month_cost_cents,line="UNUSED:it"': 2002,
        'month_cost_cents,line="VARIANCE:it"': -3,
        'reconciliation_difference_cents,check="revenue"': 7,
    }


def test_a_large_count_of_cents_keeps_its_last_one_and_a_label_its_signs():
    written = metrics.exposition(
        [metrics.Metric("x", "y.", [({"line": 'a"b\\c\nd'}, 12_345_678_901_234_567)])], "tea"
    ).splitlines()[2]
    assert written == 'whalecurve_x{company="tea",line="a\\"b\\\\c\\nd"} 12345678901234567'


def test_the_file_is_put_in_place_whole(tmp_path):
    path = tmp_path / "whalecurve.prom"
    path.write_text("old")
    metrics.write("new\n", path)
    assert path.read_text() == "new\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in tmp_path.iterdir()] == ["whalecurve.prom"]
