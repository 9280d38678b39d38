"""Releases: whole or not at all, the same for the same content, and a pointer that can go back."""

import datetime
import json
import multiprocessing
import os
import random
import signal
import stat
import sys
import time
from decimal import Decimal

import duckdb
import pandas as pd
import pytest
from release_fixture import AS_OF, RELATIONS, build, known_identities, record_passes

from assets import gate
from assets.publish import release
from assets.publish.lists import lists


@pytest.fixture
def warehouse():
    connection = build()
    return connection, record_passes(connection)


def publish(connection, suites, folder, **options):
    if "lists" not in options:
        options["lists"] = lists(connection)
    options = {
        "as_of": AS_OF,
        "company": "test",
        "run_id": "run-1",
        "git_sha": "abc",
        "hashes": {"company.yml": "123"},
        "tables": RELATIONS,
        "suites": suites,
        "report_html": "<p>Profit</p>",
    } | options
    return release.publish(connection, folder, **options)


def simple(tmp_path, number, *, as_of=AS_OF, run_id="run-1"):
    """A release of one tiny table whose content is `number`."""
    connection = duckdb.connect()
    connection.execute(f"create table t as select {number} as id, 'x' as name from range(1)")
    suites = {
        "t": gate.Suite(
            "t", (gate.Expectation("k", "expect_column_values_to_be_unique", {"column": "id"}, "error", "x"),)
        )
    }
    passed = [gate.CheckResult("k", "t", "error", True, "", "")]
    gate.record(connection, gate.EXPECTATIONS, passed, {"t": gate.fingerprint(connection, "t")}, as_of=as_of)
    options = {"tables": {"t": "t"}, "lists": None, "as_of": as_of, "run_id": run_id}
    return publish(connection, suites, tmp_path, **options)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith((release.BUILDING, release.DISCARDED))]


# What a release holds


def test_a_release_holds_every_table_twice_and_says_what_it_was_made_of(warehouse, tmp_path):
    connection, suites = warehouse
    late = [{"source": "till", "last_delivery": None}]
    made = publish(connection, suites, tmp_path, published_at="2026-07-01T04:00:00Z", late_sources=late)
    assert made.created
    assert made.is_current
    assert release.verify(made.path) == []
    assert (tmp_path / "current").resolve() == made.path
    assert made.release_id.startswith("2026-06-30-")
    assert len(made.release_id) == 23
    manifest = json.loads((made.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == made.manifest
    assert (manifest["as_of_date"], manifest["run_id"], manifest["git_sha"]) == ("2026-06-30", "run-1", "abc")
    assert manifest["hashes"] == {"company.yml": "123"}
    assert manifest["published_at"] == "2026-07-01T04:00:00Z"
    assert manifest["late_sources"] == late
    assert set(manifest["tables"]) == {*RELATIONS, "data_quality"}
    with duckdb.connect(str(made.path / "whalecurve.duckdb"), read_only=True) as database:
        for table, relation in RELATIONS.items():
            wanted = gate.fingerprint(connection, relation)
            assert gate.fingerprint(database, table) == wanted
            assert gate.fingerprint(connection, f"'{made.path / table}.parquet'") == wanted
            assert (
                manifest["tables"][table]["rows"]
                == connection.execute(f"select count(*) from {relation}").fetchone()[0]
            )
        stages = database.execute("select stage, count(*) from data_quality group by all order by all").fetchall()
    expected = sum(len(suite.expectations) for suite in suites.values())
    assert stages == [("consistency", len(known_identities())), ("expectations", expected)]
    assert len(manifest["checks"]) == expected + len(known_identities())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in made.path.rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert leftovers(tmp_path) == []


def test_the_same_content_in_another_order_is_the_same_release_to_the_byte(warehouse, tmp_path):
    connection, suites = warehouse
    first = publish(connection, suites, tmp_path / "a")
    other = build()
    for relation in RELATIONS.values():
        other.execute(f"create or replace table {relation} as select * from {relation} order by md5(rowid::varchar)")
    second = publish(other, record_passes(other), tmp_path / "b", run_id="run-2", git_sha="def")
    assert second.release_id == first.release_id
    for table in (*RELATIONS, "data_quality"):
        assert (first.path / f"{table}.parquet").read_bytes() == (second.path / f"{table}.parquet").read_bytes()


def test_publishing_again_changes_nothing(warehouse, tmp_path):
    connection, suites = warehouse
    first = publish(connection, suites, tmp_path)
    before = {
        path: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted(tmp_path.rglob("*"))
        if path.name != ".lock"
    }
    again = publish(connection, suites, tmp_path, run_id="run-2", published_at="later")
    after = {
        path: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted(tmp_path.rglob("*"))
        if path.name != ".lock"
    }
    assert (again.release_id, again.created, again.is_current) == (first.release_id, False, True)
    assert again.manifest["run_id"] == "run-1"
    assert before == after


def test_any_change_of_content_is_another_release(warehouse, tmp_path):
    connection, suites = warehouse
    first = publish(connection, suites, tmp_path)
    report = publish(connection, suites, tmp_path, report_html="<p>Loss</p>")
    assert report.release_id != first.release_id
    connection.execute("update marts.customer_profitability set quantity = quantity + 1 where customer_id = 'C000'")
    record_passes(connection)
    assert publish(connection, suites, tmp_path).release_id not in {first.release_id, report.release_id}


def test_what_parquet_cannot_hold_exactly_is_refused(warehouse, tmp_path):
    connection, suites = warehouse
    connection.execute("alter table marts.whale_curve alter customer_rank type hugeint")
    record_passes(connection)
    with pytest.raises(release.ReleaseError, match="customer_rank was HUGEINT and is DOUBLE"):
        publish(connection, suites, tmp_path)
    assert release.current(tmp_path) is None
    assert leftovers(tmp_path) == []


# The gate


def test_publishing_asks_the_gate_itself(tmp_path):
    connection = build()
    suites = gate.load_suites(release_expectations())
    with pytest.raises(release.PublishRefused, match="never recorded") as refused:
        publish(connection, suites, tmp_path)
    assert len(refused.value.problems) > 100
    record_passes(connection)
    connection.execute("delete from marts.whale_curve where customer_rank = 2")
    with pytest.raises(release.PublishRefused, match=r"whale_curve.*rebuilt since"):
        publish(connection, suites, tmp_path)
    record_passes(connection)  # checked again, and sound alone, but not beside its neighbours
    with pytest.raises(release.PublishRefused, match="whale_curve_ends_at_the_total failed"):
        publish(connection, suites, tmp_path)
    assert release.releases(tmp_path) == []
    assert leftovers(tmp_path) == []
    assert connection.execute("select current_setting('threads')").fetchone()[0] == 2


def release_expectations():
    from release_fixture import EXPECTATIONS

    return EXPECTATIONS


def test_a_refused_release_leaves_the_current_one(warehouse, tmp_path):
    connection, suites = warehouse
    first = publish(connection, suites, tmp_path)
    connection.execute("delete from quality.check_results where table_name = 'customers'")
    with pytest.raises(release.PublishRefused):
        publish(connection, suites, tmp_path)
    assert release.current(tmp_path) == first.__class__(**{**first.__dict__, "created": False})


# The pointer


def test_rollback_goes_back_one_release_at_a_time(tmp_path):
    a, b, c = (simple(tmp_path, number).release_id for number in (1, 2, 3))
    assert [found.release_id for found in release.releases(tmp_path)] == [a, b, c]
    assert release.rollback(tmp_path).release_id == b
    assert release.rollback(tmp_path).release_id == a
    with pytest.raises(release.ReleaseError, match="holds no release from before the current one"):
        release.rollback(tmp_path)
    assert release.rollback(tmp_path, c).is_current
    assert simple(tmp_path, 2).is_current  # published before, so it is only pointed to
    assert release.rollback(tmp_path).release_id == c
    actions = [json.loads(line)["action"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert actions == ["publish"] * 3 + ["rollback"] * 3 + ["publish", "rollback"]


def test_rollback_refuses_what_is_not_there_or_damaged(tmp_path):
    with pytest.raises(release.ReleaseError, match="nothing has been published"):
        release.rollback(tmp_path / "nowhere")
    first, _ = simple(tmp_path, 1), simple(tmp_path, 2)
    for name in ("2026-06-30-000000000000", "..", "current"):
        with pytest.raises(release.ReleaseError, match="There is no release"):
            release.rollback(tmp_path, name)
    with (first.path / "t.parquet").open("ab") as file:
        file.write(b"!")
    with pytest.raises(release.ReleaseError, match=r"t\.parquet has changed since"):
        release.rollback(tmp_path)
    assert release.current(tmp_path).release_id != first.release_id


def test_a_backfill_does_not_take_readers_back_in_time(tmp_path):
    today = simple(tmp_path, 1)
    earlier = simple(tmp_path, 2, as_of=AS_OF - datetime.timedelta(days=1))
    assert earlier.created
    assert not earlier.is_current
    assert release.current(tmp_path).release_id == today.release_id
    assert simple(tmp_path, 3, as_of=AS_OF + datetime.timedelta(days=1)).is_current


def test_prune_keeps_the_newest_and_the_current(tmp_path):
    ids = [simple(tmp_path, number).release_id for number in range(5)]
    release.rollback(tmp_path, ids[0])
    # Pointing to the oldest made it the last to become current: it counts among the newest.
    assert release.prune(tmp_path, 2) == ids[1:4]
    assert [found.release_id for found in release.releases(tmp_path)] == [ids[4], ids[0]]
    assert release.current(tmp_path).release_id == ids[0]
    with pytest.raises(ValueError, match="keep at least 1"):
        release.prune(tmp_path, 0)
    assert release.prune(tmp_path / "nowhere", 1) == []


def test_a_history_that_ran_ahead_of_the_pointer_is_corrected(tmp_path):
    first, second = simple(tmp_path, 1).release_id, simple(tmp_path, 2).release_id
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(json.dumps({"action": "publish", "release_id": "2026-06-30-ffffffffffff"}) + "\n")
    assert release.rollback(tmp_path).release_id == first
    (tmp_path / "history.jsonl").write_text('{"action": "publ')
    assert [found.release_id for found in release.releases(tmp_path)] == [second, first]
    assert release.current(tmp_path).release_id == first


# Damage and death


def test_verify_finds_every_kind_of_damage(tmp_path):
    made = simple(tmp_path, 1)
    (made.path / "report.html").write_text("other")
    (made.path / "extra.csv").write_text("x")
    (made.path / "whalecurve.duckdb").unlink()
    problems = " ".join(release.verify(made.path))
    assert "report.html has changed" in problems
    assert "extra.csv does not belong" in problems
    assert "whalecurve.duckdb is missing" in problems
    (made.path / "manifest.json").write_text("{}")
    assert "manifest.json cannot be read" in release.verify(made.path)[0]


def test_a_manifest_of_another_release_is_found(tmp_path):
    made = simple(tmp_path, 1)
    moved = made.path.rename(tmp_path / "2026-06-30-000000000000")
    assert release.verify(moved) == ["2026-06-30-000000000000: manifest.json is that of another release"]


def test_a_damaged_release_is_built_again(tmp_path):
    made = simple(tmp_path, 1)
    (made.path / "t.parquet").write_bytes(b"")
    again = simple(tmp_path, 1, run_id="run-2")
    assert (again.release_id, again.created) == (made.release_id, True)
    assert release.verify(again.path) == []
    assert leftovers(tmp_path) == []


def test_leftovers_of_dead_runs_are_swept(tmp_path):
    tmp_path.joinpath(".building-dead", "lists").mkdir(parents=True)
    tmp_path.joinpath(".discarded-2026-01-01-000000000000").mkdir()
    tmp_path.joinpath(".building-current").symlink_to("nowhere")
    simple(tmp_path, 1)
    assert leftovers(tmp_path) == []


def _publish_until(step, folder, number):
    """Publish, and die at the given step: one step is one call that opens, renames, links or removes a file."""
    steps = iter(range(10_000))

    def hook(event, arguments):
        if event.startswith(("os.", "shutil.", "open", "tempfile.")) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    simple(folder, number)
    os._exit(0)


@pytest.mark.slow
def test_killed_at_every_single_step_what_is_there_is_whole(tmp_path):
    first = simple(tmp_path, 0)
    forks = multiprocessing.get_context("fork")
    for step in range(10_000):
        writer = forks.Process(target=_publish_until, args=(step, tmp_path, 1 + step))
        writer.start()
        writer.join()
        now = (tmp_path / "current").resolve(strict=True)
        assert release.verify(now) == [], f"killed at step {step}"
        assert [release.verify(found.path) for found in release.releases(tmp_path) if release.verify(found.path)] == []
        if writer.exitcode == 0:
            break
        if now != first.path:  # killed after the swap: go back, so that every round starts alike
            release.rollback(tmp_path, first.release_id)
    assert step > 40
    assert simple(tmp_path, 1 + step).is_current
    assert leftovers(tmp_path) == []


def _publish_for_ever(warehouse, folder):
    """Publish two contents in turn until killed."""
    connection = duckdb.connect(str(warehouse))
    suites = gate.load_suites(release_expectations())
    while True:
        publish(connection, suites, folder, report_html=f"<p>{random.random()}</p>")


def _read_for_ever(folder, problems, seen):
    """Read `current` as a dashboard does, and report every release that was not whole."""
    while True:
        try:
            whole = folder.joinpath("current").resolve(strict=True)
        except FileNotFoundError:
            problems.put("there was a moment without a current release")
            continue
        for problem in release.verify(whole):
            problems.put(problem)
        seen.value += 1


@pytest.mark.slow
def test_killed_at_any_moment_readers_see_whole_releases_and_the_next_publish_works(tmp_path):
    warehouse, folder = tmp_path / "warehouse.duckdb", tmp_path / "releases"
    folder.mkdir()
    connection = build(warehouse, customers=40)
    record_passes(connection)
    suites = gate.load_suites(release_expectations())
    publish(connection, suites, folder)
    connection.close()
    processes = multiprocessing.get_context("spawn")
    problems, seen = processes.Queue(), processes.Value("i", 0)
    reader = processes.Process(target=_read_for_ever, args=(folder, problems, seen), daemon=True)
    reader.start()
    forks = multiprocessing.get_context("fork")
    chance, killed_while_building = random.Random(11), 0
    try:
        for _ in range(20):
            writer = forks.Process(target=_publish_for_ever, args=(warehouse, folder), daemon=True)
            writer.start()
            time.sleep(chance.uniform(0.2, 1.2))
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
            killed_while_building += bool(leftovers(folder))
            assert release.verify((folder / "current").resolve(strict=True)) == []
            for found in release.releases(folder):
                assert release.verify(found.path) == []
            release.prune(folder, 3)
    finally:
        reader.kill()
        reader.join()
    assert problems.empty()
    assert seen.value > 20
    assert killed_while_building > 5
    connection = duckdb.connect(str(warehouse))
    made = publish(connection, suites, folder)
    assert made.is_current
    assert release.verify(made.path) == []
    assert leftovers(folder) == []


# Lists


def test_text_that_a_spreadsheet_would_run_is_quoted_and_numbers_are_not(tmp_path):
    rows = pd.DataFrame(
        {
            "name": ["=1+1", "+1", "-1", "@x", "\tx", "＝1", "plain", "a=b", None],
            "amount": [Decimal("-1.50"), 2, -3.5, None, 0, 1, 2, 3, 4],
            "count": range(-1, 8),
        },
    )
    release.write_list(tmp_path / "list.csv", rows)
    raw = (tmp_path / "list.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in raw
    read = pd.read_csv(tmp_path / "list.csv", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    assert list(read["name"]) == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'＝1", "plain", "a=b", ""]
    assert list(read["amount"])[:4] == ["-1.50", "2", "-3.5", ""]
    assert list(read["count"])[:2] == ["-1", "0"]


def test_lists_name_customers_by_their_own_crm_and_leave_out_who_cannot_be_worked(warehouse):
    connection, _ = warehouse
    before = lists(connection)
    losses = before["loss_making_customers"]
    assert list(losses["operating_profit_12m"]) == sorted(losses["operating_profit_12m"])
    assert losses["operating_profit_12m"].max() < 0
    assert losses["source_customer_id"].str.startswith("003").all()
    assert losses["largest_cost_pool"].notna().all()
    assert list(before["churn_list"]["churn_rank"]) == sorted(before["churn_list"]["churn_rank"])
    assert list(before["customer_match_suggestions"]["reason"]) == ["same name, different codes"]
    best = before["best_customers"]
    gone, unknown = best["customer_id"].iloc[:2]
    connection.execute("update overview.customers set is_deleted = true where customer_id = ?", [gone])
    connection.execute("update overview.customers set is_in_crm = false where customer_id = ?", [unknown])
    assert list(lists(connection)["best_customers"]["customer_id"]) == list(best["customer_id"].iloc[2:])
    assert not set(lists(connection)["churn_list"]["customer_id"]) & {gone, unknown}
