"""People in published tables and out of them: keyed pseudonyms by default, and `whalecurve forget`, looked for in the bytes
of every file. The company is made up, its customers are natural persons, its figures are checked by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from command import Whalecurve
from harness import Company, Warm

KEY = "a key of a test, long enough"
ADA = ("Ada Kowalski", "ada@example.org", "+48 601 777 001", "PESEL-44051401359", "REF KOWALSKI 7781")
BO = ("Bo Lindqvist", "bo@example.org", "+46 70 123 45 67", "SE-640823", "REF BO 1")
IDS = ("CRM-0001", "K-1001")
"""Ada's id in the CRM and her account code."""

COMPANY = {
    "company.yml": """
company: private
name: Private & Sons
base_currency: EUR
first_business_date: 2026-01-31
sources:
  crm: {dialect: crm}
  erp: {dialect: erp}
""",
    "playbook.yml": """
version: "1"
rules:
  - rule: ALL
    action: grow
    when: [{measure: orders_12m, at_least: 0}]
    title: Call them
    title_zh: 致电
    reason: "{orders_12m} orders in 12 months."
    reason_zh: "近12个月{orders_12m}单。"
    effect: {measure: profit_12m}
    due_in_days: 30
""",
    "dialects/crm.yml": """
dialect: crm
read: {format: csv, delimiter: ";"}
entities:
  customer:
    files: cust*.csv
    columns:
      customer_id: {from: id}
      customer_account_id: {from: code}
      customer_name: {from: name}
      customer_tin: {from: tin}
      email: {from: mail}
      phone: {from: phone}
      owner_ref: {from: owner}
  activity:
    files: act*.csv
    columns:
      activity_id: {from: id}
      activity_type: {value: visit}
      customer_id: {from: customer}
      activity_date: {from: date}
      is_completed: {value: "yes"}
      employee_id: {from: owner}
      subject: {from: subject}
""",
    "dialects/erp.yml": """
dialect: erp
read: {format: csv, delimiter: ";"}
entities:
  invoice:
    files: inv*.csv
    columns:
      invoice_id: {from: no}
      invoice_number: {from: no}
      document_type: {value: invoice}
      status: {value: approved}
      customer_id: {from: customer}
      customer_name: {from: name}
      invoice_date: {from: date}
      net_amount: {from: net}
      gross_amount: {from: net}
  payment:
    files: pay*.csv
    columns:
      payment_id: {from: no}
      customer_id: {from: customer}
      payment_date: {from: date}
      amount: {from: amount}
      bank_reference: {from: reference}
  gl_entry:
    files: gl*.csv
    columns:
      journal_id: {from: journal}
      journal_line_number: {from: line}
      effective_date: {from: date}
      gl_account_number: {from: account}
      functional_amount: {from: amount}
      customer_id: {from: customer}
      je_line_description: {from: text}
""",
    "costing/pools.csv": """\
pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,approved_by,approved_on
desk,Order desk,activity,orders,,variable,,,R1,,
care,Care,direct,,,variable,,,R2,,
""",
    "costing/drivers.csv": "driver_id,driver_name,unit,measure\norders,Orders,order,orders\n",
    "costing/ledger_scope.csv": """\
rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,valid_to
S1,6000,6099,,cost,desk,,,
S2,6100,6199,,cost,care,,,
S3,4000,,,revenue,,,,
""",
}

LANDING = {
    "crm/2026-01-31/cust.csv": f"""\
id;code;name;tin;mail;phone;owner
CRM-0001;K-1001;{ADA[0]};{ADA[3]};{ADA[1]};{ADA[2]};Mia Owner
CRM-0002;K-1002;{BO[0]};{BO[3]};{BO[1]};{BO[2]};Mia Owner
CRM-0003;K-1003;;XX;nameless@example.org;;Mia Owner
""",
    "crm/2026-01-31/act.csv": f"""\
id;customer;date;owner;subject
1;CRM-0001;2026-01-10;Mia Owner;At home
2;CRM-0002;2026-01-11;Mia Owner;{ADA[0]} came along
""",
    "crm/2026-02-01/cust.csv": f"""\
id;code;name;tin;mail;phone;owner
CRM-0001;K-1001;{ADA[0]};{ADA[3]};ada.new@example.org;{ADA[2]};Mia Owner
""",
    "erp/2026-01-31/inv.csv": f"""\
no;customer;name;date;net
1;K-1001;{ADA[0]};2026-01-05;100
2;K-1002;{BO[0]};2026-01-06;50.5
3;K-1002;{BO[0]};2026-01-07;10
4;;{ADA[0]};2026-01-08;7.25
5;K-1001;{ADA[0]};2026-01-09;a hundred
""",
    "erp/2026-01-31/pay.csv": f"""\
no;customer;date;amount;reference
1;K-1001;2026-01-20;100;{ADA[4]}
2;K-1002;2026-01-20;50.5;{BO[4]}
""",
    "erp/2026-01-31/gl.csv": f"""\
journal;line;date;account;amount;customer;text
1;1;2026-01-31;6000;100.01;;Desk
1;2;2026-01-31;6100;20;K-1001;Care for {ADA[0]}
1;3;2026-01-31;6000;-0.01;;Rounding after a call with {ADA[1]}
1;4;2026-01-31;1000;-120;;Desk and care
2;1;2026-01-31;4000;-167.75;;Sales
2;2;2026-01-31;1100;167.75;;Sales
""",
}


class Keyed(Company):
    """The command with a pseudonym key in its environment."""

    @property
    def release(self) -> Path:
        """The current release's folder."""
        return (self.data / "releases" / "current").resolve()


class WithKey(Whalecurve):
    """The command in a process of its own, with the given key or none."""

    key: str | None = None

    def environment(self) -> dict[str, str]:  # type: ignore[override]
        chosen = {} if self.key is None else {"WHALECURVE_PSEUDONYM_KEY": self.key}
        return {**super().environment(), **chosen}


@pytest.fixture(scope="module")
def keyed() -> Iterator[Warm]:
    """Libraries loaded once, with the key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHALECURVE_PSEUDONYM_KEY", KEY)
        server = Warm()
    yield server
    server.close()


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.lstrip("\n"), encoding="utf-8")


def everything_said(folder: Path) -> str:
    """The text of every file below a folder: its bytes, and the rows of Parquet and DuckDB files, which are compressed."""
    said = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        said.append(path.read_bytes().decode("utf-8", "replace"))
        if path.suffix == ".parquet":
            said += map(str, duckdb.sql(f"from read_parquet('{path}', hive_partitioning = false)").fetchall())
        elif path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as connection:
                tables = connection.execute(
                    "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE'"
                ).fetchall()
                for schema, table in tables:
                    said += map(str, connection.execute(f'from "{schema}"."{table}"').fetchall())
    return "\n".join(said)


def holding(data: Path, tmp_path: Path, *clear: str) -> dict[str, list[str]]:
    """Place -> which of the texts stand there: raw layer, warehouse, releases, erasure register."""
    aside = tmp_path / "warehouse"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    shutil.copyfile(data / "warehouse.duckdb", aside / "warehouse.duckdb")
    said = {
        "raw": everything_said(data / "raw"),
        "warehouse": everything_said(aside),
        "releases": everything_said(data / "releases"),
        "register": (data / "erasures.jsonl").read_text(),
    }
    found = {place: [text for text in clear if text in words] for place, words in said.items()}
    return {place: texts for place, texts in found.items() if texts}


def rows(release: Path, query: str) -> list[tuple]:
    with duckdb.connect(str(release / "whalecurve.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def advised(data: Path) -> dict[str, set[str]]:
    """Whom earlier releases advised something about, by date."""
    with duckdb.connect() as connection:
        return {
            path.stem: {customer for (customer,) in connection.execute(f"select customer_id from '{path}'").fetchall()}
            for path in sorted((data / "advice").glob("*.parquet"))
        }


def totals(release: Path) -> list[tuple]:
    return rows(
        release,
        "select sum(net_revenue), sum(operating_profit), (select sum(amount) from customer_cost_lines), "
        "(select sum(amount) from residual_cost_lines) from customer_profitability",
    )


@pytest.fixture(scope="module")
def published(keyed: Warm, tmp_path_factory: pytest.TempPathFactory) -> Keyed:
    """Two releases under a key: of the first day, and of both. Tests must not change it."""
    root = tmp_path_factory.mktemp("private")
    write(root / "company", COMPANY)
    write(root / "data" / "landing", LANDING)
    whalecurve = Keyed(keyed, root / "company", root / "data")
    whalecurve("run", "--date", "2026-01-31")
    whalecurve("run", "--date", "2026-02-01")
    assert len(list((root / "data" / "releases").glob("2026-*"))) == 2
    return whalecurve


@pytest.fixture
def copied(published: Keyed, tmp_path: Path) -> Keyed:
    """The same company on a copy of its data folder, to be changed."""
    shutil.copytree(published.data, tmp_path / "data", symlinks=True)
    return Keyed(published.warm, published.company, tmp_path / "data")


def with_target(whalecurve: Keyed, company: Path, share: Path) -> Keyed:
    """The same data folder, under a company that also publishes to a folder."""
    shutil.copytree(whalecurve.company, company)
    with (company / "company.yml").open("a", encoding="utf-8") as file:
        file.write(f"\nreleases: {{targets: {{share: {{kind: folder, path: '{share}'}}}}}}\n")
    return Keyed(whalecurve.warm, company, whalecurve.data)


@pytest.mark.slow
def test_a_release_names_nobody_and_its_pseudonyms_join(published):
    said = everything_said(published.data / "releases")
    for clear in (*ADA, *BO, "Mia Owner", "Care for", "came along"):
        assert clear not in said, clear
    names = dict(rows(published.release, "select customer_id, customer_name from customers"))
    assert names["K-1001"].startswith("n-")
    assert len(names["K-1001"]) == len("n-") + 12
    assert names["K-1001"] != names["K-1002"]
    owners = rows(published.release, "select distinct owner_ref from customers where owner_ref is not null")
    assert len(owners) == 1
    assert owners[0][0].startswith("u-")
    former = next(path for path in (published.data / "releases").glob("2026-01-31-*"))
    assert dict(rows(former, "select customer_id, customer_name from customers"))["K-1001"] == names["K-1001"]
    privacy = json.loads((published.release / "manifest.json").read_text())["privacy"]
    assert privacy["pseudonyms"] == ["customer_name", "owner_ref"]
    assert len(privacy["key_fingerprint"]) == 8
    said = everything_said(published.data)
    assert KEY not in said
    assert KEY.encode().hex() not in said


@pytest.mark.slow
def test_without_a_key_names_are_withheld_and_the_run_says_how_to_change_that(copied):
    done = WithKey(copied.company, copied.data)("run", "--date", "2026-02-01")
    assert "Withheld: names of customers and account managers. Set WHALECURVE_PSEUDONYM_KEY" in done.stdout
    assert rows(copied.release, "select count(customer_name), count(owner_ref) from customers") == [(0, 0)]
    for clear in (*ADA, *BO, "Mia Owner"):
        assert clear not in everything_said(copied.release)


@pytest.mark.slow
def test_another_key_is_noticed_and_a_short_one_refused(copied):
    cold = WithKey(copied.company, copied.data)
    cold.key = "short"
    refused = cold("run", "--date", "2026-02-01", check=False)
    assert refused.returncode == 1
    assert "has 5 characters and needs at least 16" in refused.stderr
    before = dict(rows(copied.release, "select customer_id, customer_name from customers"))
    cold.key = KEY + "!"
    done = cold("run", "--date", "2026-02-01")
    assert "is not the key of the release before" in done.stderr
    after = dict(rows(copied.release, "select customer_id, customer_name from customers"))
    assert after["K-1001"] != before["K-1001"]


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_touched_and_touches_nothing(copied):
    before = {path: path.read_bytes() for path in copied.data.rglob("*") if path.is_file()}
    said = set()
    for who in (ADA[0], ADA[1].upper(), *IDS):
        said.add(copied("forget", who).stdout)
    assert len(said) == 1, "the same, whatever they are called by"
    lines = said.pop().splitlines()
    assert "Nothing was changed: this was a dry run. Erase with --yes." in lines
    counts = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  raw.")}
    assert counts["raw.customer"] == ["2", "0"]
    assert counts["raw.invoice"] == ["3", "0"]
    assert counts["raw.gl_entry"] == ["1", "1"], "her own line, and one that holds her address"
    assert counts["raw.activity"] == ["1", "1"]
    assert sum(line.startswith("Releases that hold them: 2026-01-31-") for line in lines) == 1
    assert {path: path.read_bytes() for path in copied.data.rglob("*") if path.is_file()} == before
    assert copied("forget", ADA[0], "--yes", check=False).returncode == 2
    nobody = copied("forget", "Nobody", "--yes", "--reason", "asked", check=False)
    assert nobody.returncode == 1
    assert "Nobody of that id" in nobody.stderr


@pytest.mark.slow
def test_a_forgotten_person_is_nowhere_and_the_money_stays(copied, tmp_path):
    before = totals(copied.release)
    old = sorted(path.name for path in (copied.data / "releases").glob("2026-*"))
    everything = (*ADA, "ada.new@example.org", *IDS)
    share = tmp_path / "share"
    copied = with_target(copied, tmp_path / "company", share)
    copied("deliver")
    shutil.copytree(copied.data / "releases" / old[0], share / old[0])
    beside = [copied.data / "as_known" / "2026-01-31", copied.data / "scenarios" / "higher_prices"]
    for folder in beside:
        folder.mkdir(parents=True)
    said = everything_said(copied.data / "raw")
    assert all(clear in said for clear in everything)
    assert all(IDS[1] in customers for customers in advised(copied.data).values())

    done = copied("forget", ADA[0], "--yes", "--reason", "asked for on paper")

    assert holding(copied.data, tmp_path, *everything) == {}
    said = everything_said(copied.data / "raw")
    assert all(clear in said for clear in BO[:3])
    assert sorted(path.name for path in (copied.data / "releases").glob("2026-*")) == [copied.release.name]
    assert copied.release.name not in old
    assert all(name in done.stdout for name in old)
    assert [path.name for path in share.glob("2026-*")] == [copied.release.name]
    assert "share has the current release; 2 earlier removed there" in done.stdout
    assert not any(folder.parent.exists() for folder in beside)
    assert "money       conserved" in done.stdout
    assert "advice      2 earlier pieces removed" in done.stdout
    assert advised(copied.data)["2026-01-31"] == {"K-1002"}
    assert IDS[1] not in advised(copied.data)["2026-02-01"]
    assert totals(copied.release) == before
    token = next(
        customer
        for (customer,) in rows(copied.release, "select customer_id from customers")
        if customer.startswith("erased:")
    )
    assert token in done.stdout
    # 100 and the 7.25 of the invoice that had only her name; her own care of 20, and two of four orders.
    assert rows(
        copied.release, f"select sum(net_revenue) from customer_profitability where customer_id = '{token}'"
    ) == [(Decimal("107.25"),)]
    for delivered in (
        "crm/2026-01-31/cust.csv",
        "crm/2026-01-31/act.csv",
        "crm/2026-02-01/cust.csv",
        "erp/2026-01-31/gl.csv",
    ):
        assert str(copied.data / "landing" / delivered) in done.stdout
    assert copied("verify").returncode == 0
    with duckdb.connect() as connection:
        left = connection.execute(
            f"select count(*), count(quarantine_reason) from '{copied.data}/raw/invoice/*/*/load.parquet'"
        ).fetchone()
    assert left == (5, 1), "the unreadable row stays as a row"

    # A second time there is nothing to do, by whatever they are called.
    release, register = copied.release, (copied.data / "erasures.jsonl").read_text()
    for again in (*IDS, ADA[0], token):
        assert "Nothing to do" in copied("forget", again, "--yes", "--reason", "asked for on paper").stdout
    assert (copied.release, (copied.data / "erasures.jsonl").read_text()) == (release, register)

    # The deliveries of the past, read again from nothing, do not bring them back.
    shutil.rmtree(copied.data / "raw")
    copied("run")
    assert holding(copied.data, tmp_path, *everything) == {}
    assert copied.release == release, "the same rows as the erasure left"

    # Nor does a new delivery of a source that has not heard of it.
    write(copied.data / "landing", {"crm/2026-02-02/cust.csv": LANDING["crm/2026-02-01/cust.csv"]})
    copied("run", "--date", "2026-02-02")
    assert holding(copied.data, tmp_path, *everything) == {}
    assert totals(copied.release) == before


@pytest.mark.slow
def test_a_kill_at_any_moment_is_mended_by_running_again(copied, tmp_path):
    before = totals(copied.release)
    for seconds in (0.3, 1, 3, 8, 15):
        running = copied.start("forget", IDS[1], "--yes", "--reason", "asked")
        time.sleep(seconds)
        if running.alive:
            os.kill(running.pid, signal.SIGKILL)
        running.wait()
    copied("forget", IDS[1], "--yes", "--reason", "asked")
    assert holding(copied.data, tmp_path, *ADA, *IDS) == {}
    assert totals(copied.release) == before
    assert len(list((copied.data / "releases").glob("2026-*"))) == 1


@pytest.mark.slow
def test_a_reason_that_names_the_person_is_refused(copied):
    refused = copied("forget", IDS[1], "--yes", "--reason", f"letter of {ADA[0]}", check=False)
    assert refused.returncode == 1
    assert "The reason names the person" in refused.stderr
    assert not (copied.data / "erasures.jsonl").exists()
