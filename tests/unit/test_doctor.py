"""What `whalecurve doctor` finds, each fault made by hand; on a whole company it says that all is well and changes nothing."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from command import PROJECT
from packaging.requirements import Requirement

from assets.company import load_company
from assets.publish.release import Release
from pipelines import doctor, runs
from pipelines.cli import main
from pipelines.doctor import OK, PROBLEM, WARNING
from pipelines.resources import Workspace

DAY = datetime.date(2026, 6, 30)
NOW = datetime.datetime(2026, 7, 1, 5, tzinfo=ZoneInfo("Asia/Shanghai"))
COMPANY = """
company: tea
name: Birch & Sons, tea
base_currency: EUR
timezone: Asia/Shanghai
first_business_date: 2026-06-01
sources:
  till: {dialect: quickbooks}
  ledger: {dialect: xero, arrival: {weekdays: [mon, tue, wed, thu, fri]}}
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A company without deliveries and a data folder that is all right."""
    (tmp_path / "company").mkdir()
    (tmp_path / "company" / "company.yml").write_text(COMPANY)
    (tmp_path / "data" / "landing").mkdir(parents=True)
    monkeypatch.setenv("WHALECURVE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster"))
    monkeypatch.setenv("WHALECURVE_MACHINE", "here")
    return Workspace(company_path=str(tmp_path / "company"), data_path=str(tmp_path / "data"))


def company(workspace, more=""):
    (workspace.company_folder / "company.yml").write_text(COMPANY + more)
    return load_company(workspace.company_folder)


def deliver(workspace, source, *dates, name="sales.csv", text="id\n1\n"):
    for date in dates:
        folder = workspace.landing / source / str(date)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def release_of(as_of=DAY, **manifest):
    return Release(f"{as_of}-000000000000", PROJECT / "nowhere", as_of, True, manifest=manifest)


def bad(findings):
    return [(finding.level, finding.subject, finding.said) for finding in findings if finding.level != OK]


# The installation


def test_versions_are_held_against_their_caps():
    needed = [Requirement(line) for line in ("one>=1,<2", "two==3.1", "three")]
    there = {"one": "2.0", "two": "3.1"}
    found = bad(doctor.installation(needed, there.get, python=(3, 11), extensions=doctor.EXTENSIONS))
    assert found == [
        (PROBLEM, "versions", "one is 2.0 (needed: <2,>=1)."),
        (PROBLEM, "versions", "three is not installed (needed: any)."),
    ]
    there |= {"one": "1.9", "three": "0"}
    assert not bad(doctor.installation(needed, there.get, python=(3, 11), extensions=doctor.EXTENSIONS))
    found = bad(doctor.installation([], there.get, python=(3, 10), extensions=["json"]))
    assert [(level, subject) for level, subject, _ in found] == [(PROBLEM, "Python"), (PROBLEM, "DuckDB")]
    assert "without icu, parquet" in found[1][2]


def test_what_company_yml_makes_use_of_must_be_installed_too(workspace):
    plain = {line.name for line in doctor._needed(company(workspace))}
    more = "releases: {targets: {bi: {kind: postgres}}}\nengine: {spark: {remote: 'sc://spark:15002'}}\n"
    needed = {line.name for line in doctor._needed(company(workspace, more))}
    assert "duckdb" in plain
    assert needed - plain == {"psycopg", "boto3", "dbt-spark", "pyspark"}


# The company


def test_each_file_of_the_company_is_read(workspace):
    folder = workspace.company_folder
    found, said = doctor.company_folder(folder)
    assert found is not None
    assert bad(said) == []
    (folder / "costing").mkdir()
    (folder / "costing" / "pols.csv").write_text("x\n")
    (folder / "playbook.yml").write_text("rules: 7\n")
    assert [(level, subject) for level, subject, _ in bad(doctor.company_folder(folder)[1])] == [
        (PROBLEM, "cost rules"),
        (PROBLEM, "playbook"),
    ]
    (folder / "company.yml").write_text("company: tea\n")
    nobody, (only,) = doctor.company_folder(folder)
    assert nobody is None
    assert (only.level, only.subject) == (PROBLEM, "company")
    assert "base_currency" in only.said


def test_an_unusable_company_does_not_keep_the_rest_from_being_looked_at(workspace):
    (workspace.company_folder / "company.yml").write_text("company: tea\n")
    subjects = {finding.subject for finding in doctor.examine(workspace, NOW)}
    assert {"company", "versions", "disk", "writer", "Dagster"} <= subjects
    assert "landing" not in subjects


# The data folder


def test_disk_is_held_against_the_warehouse(workspace):
    with duckdb.connect(str(workspace.warehouse_path)) as warehouse:
        warehouse.execute("create table t as select range as i from range(100000)")
    size = workspace.warehouse_path.stat().st_size

    def level(free):
        found = doctor.data_folder(workspace, usage=lambda _: SimpleNamespace(free=free))
        return {finding.subject: finding.level for finding in found}["disk"]

    assert level((1 << 30) - 1) == PROBLEM
    assert level(1 << 30) == OK
    with workspace.warehouse_path.open("a") as file:
        file.truncate(2 << 30)  # sparse
    assert (level((2 << 30) - 1), level(2 << 30), level((6 << 30) - 1), level(6 << 30)) == (
        PROBLEM,
        WARNING,
        WARNING,
        OK,
    )
    assert size < 1 << 30


def test_a_warehouse_that_does_not_open_is_said(workspace):
    workspace.warehouse_path.write_bytes(b"no database" * 1000)
    ((level, subject, said),) = bad(doctor.data_folder(workspace))
    assert (level, subject) == (PROBLEM, "warehouse")
    assert "cannot be opened" in said


def test_a_folder_that_is_closed_is_said(workspace, monkeypatch):
    """By the system's own answer: the tests may run as root, to whom nothing is closed."""
    (workspace.data / "raw").mkdir()
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: path.name != "raw" or not mode & os.W_OK)
    assert bad(doctor.data_folder(workspace)) == [
        (PROBLEM, "data folder", f"{workspace.data / 'raw'} is closed to this account.")
    ]
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: path.name != "landing" or not mode & os.W_OK)
    assert bad(doctor.data_folder(workspace)) == [], "deliveries are only read"


def test_who_writes_is_said(workspace):
    from pipelines.writer import HOLDER, single_writer

    with single_writer(print, "whalecurve run"):
        (said,) = [finding for finding in doctor.data_folder(workspace) if finding.subject == "writer"]
        assert said.level == OK
        assert "whalecurve run" in said.said
    (workspace.data / HOLDER).write_text(
        json.dumps({"machine": "elsewhere", "pid": 7, "what": "a run", "since": "then"})
    )
    ((level, subject, said),) = bad(doctor.data_folder(workspace))
    assert (level, subject) == (PROBLEM, "writer")
    assert "elsewhere" in said


# Time


def test_a_clock_before_the_last_release_is_a_problem(workspace):
    published = release_of(published_at="2026-06-30T22:00:00+00:00")
    ((level, subject, said),) = bad(doctor.clock(company(workspace), NOW, published))
    assert (level, subject) == (PROBLEM, "clock")
    assert "2026-07-01 05:00 in Asia/Shanghai" in said
    assert not bad(doctor.clock(company(workspace), NOW + datetime.timedelta(hours=1), published))
    assert not bad(doctor.clock(company(workspace), NOW, None))


def test_a_business_date_is_due_when_it_has_ended_where_the_company_is(workspace):
    midnight = datetime.datetime(2026, 7, 1, tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(datetime.UTC)
    assert doctor.last_ended(company(workspace), midnight) == DAY
    assert doctor.last_ended(company(workspace), midnight - datetime.timedelta(seconds=1)) == DAY - datetime.timedelta(
        1
    )
    ended = company(workspace, "last_business_date: 2026-06-15\n")
    assert doctor.last_ended(ended, midnight) == datetime.date(2026, 6, 15)


# What was delivered


def test_sources_that_are_behind_or_never_came(workspace):
    deliver(workspace, "till", DAY - datetime.timedelta(days=3), DAY)
    found = doctor.landing(company(workspace), workspace.landing, NOW)
    assert bad(found) == [(WARNING, "landing", "ledger has never delivered.")]
    deliver(workspace, "ledger", datetime.date(2026, 6, 26))  # a Friday: only Monday and Tuesday are missing
    found = doctor.landing(company(workspace), workspace.landing, NOW)
    assert bad(found) == [
        (WARNING, "landing", "ledger delivered last for 2026-06-26, others for 2026-06-30: 2 of its days are missing.")
    ]
    deliver(workspace, "ledger", DAY)
    assert bad(doctor.landing(company(workspace), workspace.landing, NOW)) == []


def test_deliveries_half_copied_of_no_day_of_tomorrow_and_of_nobody(workspace):
    for source in ("till", "ledger"):
        deliver(workspace, source, DAY)
    deliver(workspace, "till", DAY, name="more.csv.part")
    deliver(workspace, "till", DAY, name="none.csv", text="")
    deliver(workspace, "ledger", datetime.date(2026, 7, 3))
    deliver(workspace, "old_till", DAY)
    said = [said for _, _, said in bad(doctor.landing(company(workspace), workspace.landing, NOW))]
    assert said == [
        "till delivered last for 2026-06-30, others for 2026-07-03: 3 of its days are missing.",
        "till, 2026-06-30: more.csv.part is still being written, or was left half-copied.",
        "till, 2026-06-30: none.csv is empty.",
        "deliveries lie there for days to come, up to 2026-07-03 (today is 2026-07-01).",
        "nobody reads old_till: no source of company.yml has that name.",
    ]
    deliver(workspace, "till", "2026-06-31")
    ((level, _, said),) = bad(doctor.landing(company(workspace), workspace.landing, NOW))
    assert (level, "is not a date" in said) == (PROBLEM, True)


def test_a_delivery_that_has_not_said_that_it_is_complete(workspace):
    marked = company(workspace, "").model_dump(mode="json", by_alias=True)
    marked["sources"]["till"]["arrival"] = {"complete": "marker", "marker": "*.done"}
    asks = type(company(workspace)).model_validate(marked)
    for source in asks.sources:
        deliver(workspace, source, DAY)
    assert bad(doctor.landing(asks, workspace.landing, NOW)) == [
        (WARNING, "landing", "till, 2026-06-30: is not complete by its own word (no file *.done yet).")
    ]
    deliver(workspace, "till", DAY, name="all.done", text="")
    assert bad(doctor.landing(asks, workspace.landing, NOW)) == []


# The release


def test_a_release_behind_deliveries_or_the_calendar(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "verify", lambda path: [])
    former = release_of(DAY - datetime.timedelta(days=2))

    def found(release):
        return bad(doctor.last_release(company(workspace), release, workspace.landing, NOW))

    assert found(None) == [(WARNING, "release", "nothing has been published yet.")]
    assert found(release_of()) == []
    assert found(former) == [(WARNING, "release", "is of 2026-06-28, 2 days behind 2026-06-30.")]
    deliver(workspace, "till", DAY, DAY + datetime.timedelta(days=1))
    assert found(former) == [(WARNING, "release", "is of 2026-06-28, and deliveries of 2026-06-30 are in none.")]
    monkeypatch.setattr(doctor, "verify", lambda path: [f"file {n} is missing" for n in range(9)])
    ((level, _, said),) = found(release_of())
    assert level == PROBLEM
    assert said.splitlines()[-1] == "and 5 more"


# Secrets


def test_secrets_that_company_yml_asks_for(workspace, monkeypatch, tmp_path):
    pulled = COMPANY.replace(
        "{dialect: quickbooks}", "{dialect: quickbooks, pull: {connector: salesforce, objects: [A]}}"
    )
    (tmp_path / "file").touch()
    targets = (
        f"bi: {{kind: postgres}}, lake: {{kind: s3, bucket: abc}}, share: {{kind: folder, path: {tmp_path}/share}}"
    )
    alerts = "alerts: {ops: {kind: email, sender: a@example.org, to: [b@example.org]}, room: {kind: slack}}"
    (workspace.company_folder / "company.yml").write_text(f"{pulled}releases: {{targets: {{{targets}}}}}\n{alerts}\n")
    monkeypatch.setenv("WHALECURVE_ALERT_ROOM_URL", "https://hooks.example.org/hunter2")
    monkeypatch.setenv("WHALECURVE_ALERT_OPS_URL", "https://hooks.example.org/hunter2")
    asks = load_company(workspace.company_folder)
    monkeypatch.setenv("WHALECURVE_TARGET_LAKE_ACCESS_KEY_ID", "hunter2")
    found = bad(doctor.secrets(asks, None))
    assert [said for _, _, said in found] == [
        "till is pulled, and WHALECURVE_PULL_TILL_... is not set.",
        "release target bi has no address: WHALECURVE_TARGET_BI_URL is not set.",
        "release target lake has half a key: of WHALECURVE_TARGET_LAKE_ACCESS_KEY_ID and _SECRET_ACCESS_KEY, one is set.",
        "alert ops reaches nobody: WHALECURVE_ALERT_OPS_URL is not set to an address that begins with smtp://.",
    ]
    assert "hunter2" not in str(found)
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert (PROBLEM, "targets", f"release target share: {tmp_path}/share cannot be written.") in bad(
        doctor.secrets(asks, None)
    )


def test_the_pseudonym_key_is_that_of_the_last_release(workspace, monkeypatch):
    asks = company(workspace)
    key = "0123456789abcdef0123"
    with_key = release_of(privacy={"key_fingerprint": doctor.fingerprint(key.encode())})
    ((level, _, said),) = bad(doctor.secrets(asks, with_key))
    assert (level, "is not set, and the last release has pseudonyms" in said) == (PROBLEM, True)
    monkeypatch.setenv("WHALECURVE_PSEUDONYM_KEY", key)
    assert bad(doctor.secrets(asks, with_key)) == []
    monkeypatch.setenv("WHALECURVE_PSEUDONYM_KEY", key[::-1])
    ((level, _, said),) = bad(doctor.secrets(asks, with_key))
    assert (level, "is not the key of the release before" in said) == (PROBLEM, True)
    monkeypatch.setenv("WHALECURVE_PSEUDONYM_KEY", "short")
    ((level, _, said),) = bad(doctor.secrets(asks, None))
    assert (level, "needs at least" in said) == (PROBLEM, True)


# Dagster


def test_the_instance_its_daemon_and_its_runs(workspace, monkeypatch):
    from dagster._core.scheduler.instigation import InstigatorStatus

    home = workspace.data / "dagster"
    assert bad(doctor.dagster_instance(home, writing=False)) == []
    assert not home.exists(), "looking makes nothing"
    runs.prepare_instance()

    @dg.job
    def nothing():
        pass

    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
        instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.FAILURE)
    found = bad(doctor.dagster_instance(home, writing=False))
    assert [level for level, _, _ in found] == [WARNING, WARNING]
    assert "it was killed" in found[0][2]
    assert "failed; readers have" in found[1][2]
    assert len(bad(doctor.dagster_instance(home, writing=True))) == 1, "somebody is writing: it may be that run"

    on = [SimpleNamespace(name="daily_run_schedule", status=InstigatorStatus.RUNNING)]
    monkeypatch.setattr(dg.DagsterInstance, "all_instigator_state", lambda self: on)
    ((level, _, said), *_) = bad(doctor.dagster_instance(home, writing=True))
    assert (level, said) == (PROBLEM, "daily_run_schedule is turned on, and no daemon is at work.")
    (home / "dagster.yaml").write_text("storage: {nonsense: 1}\n")
    ((level, _, said),) = bad(doctor.dagster_instance(home, writing=False))
    assert (level, "cannot be used" in said) == (PROBLEM, True)


def test_an_address_in_an_error_is_not_shown():
    outer = RuntimeError("outer")
    outer.__cause__ = ValueError("no route to postgresql://user:hunter2@host/db")
    assert doctor._root(outer) == "ValueError"
    outer.__cause__ = ValueError("no route to host\nmore")
    assert doctor._root(outer) == "ValueError: no route to host"


# The command


def test_the_command_says_what_to_do_and_how_many(workspace, capsys):
    folders = ["--company", str(workspace.company_folder), "--data", str(workspace.data)]
    assert main(["doctor", *folders]) == 0, "warnings are no problem"
    said = capsys.readouterr().out
    assert "WARNING  release: nothing has been published yet.\n         Run: whalecurve run\n" in said
    assert said.endswith("3 warnings found.\n")
    workspace.warehouse_path.write_bytes(b"no database" * 1000)
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *folders])
    assert ended.value.code == 1
    assert capsys.readouterr().out.endswith("1 problem and 3 warnings found.\n")


@pytest.mark.slow
def test_on_a_whole_company_all_is_well_and_nothing_changes(small_demo, tmp_path, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(small_demo.data, data, symlinks=True)
    monkeypatch.setenv("DAGSTER_HOME", str(data / "dagster"))
    workspace = Workspace(company_path=str(small_demo.company), data_path=str(data))
    now = max(NOW, datetime.datetime.now(datetime.UTC))  # the release was made by this machine's clock

    def content():
        """All but Dagster's own databases, which note that they were opened."""
        files = [path for path in data.rglob("*") if path.is_file() and data / "dagster" not in path.parents]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = content()
    said = doctor.text(doctor.examine(workspace, now))
    assert said.endswith("All is well."), said
    assert content() == before
    table = next((data / "releases" / "current").resolve().glob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-1])
    said = doctor.text(doctor.examine(workspace, now))
    assert f"{table.name} has changed since it was published" in said
    assert said.endswith("1 problem found.")
