"""What goes wrong in life: a run killed at any moment, a ledger that does not tie, a warehouse changed behind the gate.

Whatever happens, readers have a whole release, and running again ends where an undisturbed run ends.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import dagster as dg
import duckdb
import pytest
from harness import DAYS, tree

from assets.ingest import storage
from assets.ingest.contract import load_contract
from assets.publish import release_asset
from assets.publish.release import current, verify
from pipelines.resources import Workspace

_, SECOND, THIRD = DAYS

PATIENCE = 300
"""Seconds; a phase that has not begun by then never will."""


def wait_for(condition, running):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert running.alive, f"the run ended before it could be killed:\n{running.stderr}"
        assert time.monotonic() < deadline, running.stderr
        time.sleep(0.002)


def kill(running, delay):
    time.sleep(delay)
    assert running.alive, f"the run ended before it could be killed:\n{running.stderr}"
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().returncode == -signal.SIGKILL


def kill_in_phase(company, phase, chance):
    """Start a run of the third day and kill it without warning some moments into the phase."""
    releases = company.data / "releases"
    litter = set(releases.glob(".building-*"))  # of a run killed before
    running = company.start("run", "--date", THIRD)
    if phase == "publish":
        wait_for(lambda: set(releases.glob(".building-*")) - litter, running)
        kill(running, chance.uniform(0, 0.05))
        return
    said, longest = {
        "ingest": ("landing.deliveries", 2),
        "dbt": ("dbt has built staging", 4),
        "gate": ("analytics.customer_rfm", 3),
    }[phase]
    wait_for(lambda: said in running.stderr, running)
    kill(running, chance.uniform(0, longest))


def assert_readers_have_a_whole_release(company, *allowed):
    release = current(company.data / "releases")
    assert release is not None
    assert release.release_id in allowed
    assert verify(release.path) == []


def assert_raw_is_whole(company):
    """Every load is readable and counts what its registry entry counts."""
    with duckdb.connect() as connection:
        for path in (company.data / "raw").glob("*/*/*/load.parquet"):
            load = storage.read_registry(connection, path)
            assert load is not None
            rows = connection.execute(f"select count(*) from read_parquet('{path}')").fetchone()
            assert rows == (load.rows_out + load.rows_quarantined,)


READER = """
import duckdb, json, pathlib, sys, time
database, stop = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
seen = {}
while not stop.exists():
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("show tables").fetchall()]
        rows = {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}
        scored = connection.execute(
            "select distinct as_of_date::varchar from (select as_of_date from customers union all "
            "select as_of_date from churn_risk union all select as_of_date from data_quality)"
        ).fetchall()
        lines = connection.execute(
            "select (select sum(amount_cents) from pool_cost_lines) - 100 * ((select sum(amount) from customer_cost_lines)"
            " + (select sum(amount) from residual_cost_lines))"
        ).fetchone()[0]
    what = json.dumps([rows, sorted(day for (day,) in scored), float(lines)], sort_keys=True)
    seen[what] = seen.get(what, 0) + 1
    time.sleep(0.05)  # leave the processor to the run
print(json.dumps(list(seen.items())))
"""


@pytest.fixture
def reader(tmp_path):
    """Starts a process that reads releases/current/whalecurve.duckdb over and over; stopping gives all it ever saw."""
    stop, started = tmp_path / "stop", []

    def start(company):
        database = company.data / "releases" / "current" / "whalecurve.duckdb"
        command = [sys.executable, "-c", READER, str(database), str(stop)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))

    def finish():
        stop.touch()
        said, errors = started[0].communicate(timeout=PATIENCE)
        assert started[0].returncode == 0, errors
        return [(json.loads(what), times) for what, times in json.loads(said)]

    yield start, finish
    stop.touch()
    for process in started:
        process.wait(timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "phases"), [(1, ("ingest", "dbt", "dbt")), (2, ("gate", "publish"))])
def test_killed_at_random_moments_and_run_again_it_is_the_undisturbed_release(
    seed, phases, copied, landing, two_days, three_days, reader
):
    company, chance = copied(two_days), random.Random(seed)
    former, latter = two_days.release_id, three_days.release_id
    company.deliver(landing, THIRD)
    start_reading, stop_reading = reader
    start_reading(company)

    for phase in phases:
        kill_in_phase(company, phase, chance)
        assert_readers_have_a_whole_release(company, former, latter)
        assert_raw_is_whole(company)
    company("run", "--date", THIRD)

    assert_readers_have_a_whole_release(company, latter)
    assert tree(company.data / "raw") == tree(three_days.data / "raw")
    litter = [path.name for path in (company.data / "releases").glob(".*") if path.name != ".lock"]
    assert not litter
    with dg.DagsterInstance.from_config(str(company.data / "dagster")) as instance:
        ended = [run.status for run in instance.get_runs()]
    killed = [dg.DagsterRunStatus.FAILURE] * len(phases)
    assert ended[: len(phases) + 1] == [dg.DagsterRunStatus.SUCCESS, *killed], "latest first"

    folders = [company.data / "releases" / name for name in (former, latter)]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    whole = [
        [{name: table["rows"] for name, table in manifest["tables"].items()}, [manifest["as_of_date"]], 0.0]
        for manifest in manifests
    ]
    seen = stop_reading()
    assert all(what in whole for what, _ in seen), "a reader saw something that is no release"
    assert sum(times for _, times in seen) > 20
    assert len(seen) == 2, "the reader was there before and after"


@pytest.mark.slow
@pytest.mark.parametrize("said", ["landing.deliveries", "dbt has built staging"])
def test_interrupted_by_hand_it_says_so_in_one_sentence(said, copied, landing, two_days):
    company = copied(two_days)
    company.deliver(landing, THIRD)
    before = tree(company.data / "releases")
    running = company.start("run", "--date", THIRD)
    wait_for(lambda: said in running.stderr, running)
    os.kill(running.pid, signal.SIGINT)
    done = running.wait()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("whalecurve: interrupted; the last release is untouched")
    assert "Traceback" not in done.stderr + done.stdout
    assert tree(company.data / "releases") == before


def test_what_a_killed_write_left_is_swept_by_the_next(tmp_path):
    contract, raw = load_contract(), tmp_path / "raw"
    folder = raw / "payment" / "source=bank" / "extract_date=2026-06-01"
    folder.mkdir(parents=True)
    dead = [folder / ".0123.tmp", raw / "payment" / ".4567.tmp"]
    for path in dead:
        path.write_bytes(b"half a file")
    load = storage.Entry("1", "payment", "bank", "2026-06-01", "test", [], 0, [])
    with duckdb.connect() as connection:
        storage.write_load(connection, "select 1 as x", load, folder / storage.LOAD_FILE)
        storage.write_schema(connection, raw, contract, "payment")
    assert not any(path.exists() for path in dead)


def spoilt(text):
    """The ledger file as if one invoice's voucher had been forgotten, and its last line been lost on the way."""
    header, *lines = text.splitlines(keepends=True)
    number = header.split("|").index("Journal_ID")
    revenue = next(line for line in lines if "|6001|" in line).split("|")[number]
    return "".join([header, *(line for line in lines[:-1] if line.split("|")[number] != revenue)])


@pytest.mark.slow
def test_a_ledger_that_does_not_tie_publishes_nothing_and_says_what_differs(copied, two_days):
    company = copied(two_days)
    file = next((company.data / "landing" / "ledger" / SECOND).glob("GL_Detail*"))
    file.write_text(spoilt(file.read_text()))
    before = tree(company.data / "releases")
    done = company("run", "--date", SECOND, check=False)
    assert done.returncode == 1
    assert tree(company.data / "releases") == before
    said = done.stderr[done.stderr.index("whalecurve:") :]
    assert said.startswith("whalecurve: The quality gate said no. The last release is untouched.\n- marts.")
    assert "\n- marts.reconciliation" in said
    assert re.search(r"ledger: voucher \S+ of 2026-06-\d\d does not balance: debits [\d.]+, credits [\d.]+", said)
    for check in ("revenue", "ledger_balance"):
        assert re.search(
            rf"2026-06 {check}: ledger [-\d,.]+, here [-\d,.]+, difference -?[1-9][\d,.]+ \(allowed 0.00\)", said
        )
    since = said[said.index(f"Since release {two_days.release_id}, as of {SECOND}:") :].splitlines()
    assert since[1].startswith("data    1 changed deliveries")
    assert re.fullmatch(rf"  changed  ledger gl_entry {SECOND} GL_Detail\S+, \d+ rows and now \d+ rows", since[2]), (
        since
    )
    assert since[3] == "rules   the same company folder"
    assert "Traceback" not in done.stderr

    assert_released_only_when_each_check_is_approved(company, two_days)


def assert_released_only_when_each_check_is_approved(company, two_days):
    """An approver lets the ledger out that does not tie; the release says who and why."""
    checks = {"control_failures": "explanation__no_failure", "reconciliation": "status__no_failure"}
    listed = company("approve").stdout
    assert listed.splitlines()[0] == f"2 checks stop a release as of {SECOND}:"
    for table, check in checks.items():
        assert f"- {table}, {check} (may be approved): " in listed
    who = ("--reason", "The voucher follows tomorrow.", "--by", "C. Ontroller")
    unknown = company("approve", "status__no_failure", "--table", "customers", *who, check=False)
    assert unknown.returncode == 1
    assert "No check status__no_failure on customers stops a release" in unknown.stderr
    assert company("approve", "status__no_failure", "--table", "reconciliation", check=False).returncode == 2
    other_day = company(
        "approve", "status__no_failure", "--table", "reconciliation", *who, "--as-of", DAYS[0], check=False
    )
    assert f"The warehouse is as of {SECOND}" in other_day.stderr

    (first, *_), *_ = approving = list(checks.items())
    for position, (table, check) in enumerate(approving):
        said = company("approve", check, "--table", table, *who, "--as-of", SECOND).stdout
        assert f"Release with `whalecurve run --date {SECOND}`" in said
        if position == 0:
            assert f"- {first}, {check} (approved by C. Ontroller): " in company("approve").stdout
    done = company("run", "--date", SECOND)
    assert re.search(
        r"^APPROVED  reconciliation, status__no_failure: .*\n +Released in spite of it by C. Ontroller: ",
        done.stdout,
        re.M,
    )
    assert company.release_id != two_days.release_id
    manifest = json.loads((company.data / "releases" / company.release_id / "manifest.json").read_text())
    assert [(each["table_name"], each["check_name"], each["approval_reason"]) for each in manifest["approvals"]] == [
        (table, check, "The voucher follows tomorrow.") for table, check in approving
    ]


SPOILT = {
    "a figure changed after the gate": "update marts.customer_profitability set net_revenue = net_revenue + 1 "
    "where (customer_id, month) = (select (customer_id, month) from marts.customer_profitability limit 1)",
    "a row lost after the gate": "delete from analytics.churn_risk where customer_id = "
    "(select min(customer_id) from analytics.churn_risk)",
    "a check never recorded": "delete from quality.check_results where table_name = 'whale_curve' and stage = 'dbt'",
    "a check that failed": "update quality.check_results set passed = false where table_name = 'cost_pools'",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", SPOILT)
def test_publishing_cannot_be_run_around_the_gate(what, copied, three_days):
    """Only release/current is materialised, as somebody might in the UI: the asset asks the gate itself."""
    company = copied(three_days)
    before = tree(company.data / "releases")
    workspace = Workspace(company_path=str(company.company), data_path=str(company.data))
    with workspace.warehouse() as connection:
        connection.execute(SPOILT[what])
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [release_asset.release], resources={"workspace": workspace}, instance=instance, raise_on_error=False
        )
    assert not result.success
    error = result.failure_data_for_node("release__current").error
    assert "PublishRefused" in str(error)
    assert f"Since release {three_days.release_id}" in str(error)
    assert {name: content for name, content in tree(company.data / "releases").items() if name != ".lock"} == {
        name: content for name, content in before.items() if name != ".lock"
    }


@pytest.mark.slow
def test_the_gate_lets_through_what_it_has_checked(copied, three_days):
    """The counterpart of the test above: with nothing spoilt, the same call publishes."""
    company = copied(three_days)
    workspace = Workspace(company_path=str(company.company), data_path=str(company.data))
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([release_asset.release], resources={"workspace": workspace}, instance=instance).success
    assert company.release_id == three_days.release_id
