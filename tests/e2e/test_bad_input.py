"""Bad input: each gets one sentence a person can act on and an exit status, and loses nothing.

0 done, 1 the data or the gate said no, 2 the call was wrong.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import DAYS, DEMO, Company, tree

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD = DAYS


@pytest.fixture(scope="module")
def base(two_days, landing, tmp_path_factory):
    """Two days released, the third delivered, and a company folder of its own. Each test gets a copy."""
    company = two_days.copied_to(tmp_path_factory.mktemp("base") / "data")
    company.deliver(landing, THIRD)
    return company


@pytest.fixture
def company(base, tmp_path):
    folder = tmp_path / "company"
    folder.mkdir()
    shutil.copyfile(DEMO / "company.yml", folder / "company.yml")
    for part in ("dialects", "costing"):
        shutil.copytree(DEMO / part, folder / part)
    shutil.copytree(base.data, tmp_path / "data", symlinks=True)
    return Company(base.warm, folder, tmp_path / "data")


def kept(company):
    """All that a refused call may not change."""
    return {part: tree(company.data / part) for part in ("landing", "raw", "releases")}


def assert_refused(company, arguments, status, *said):
    before = kept(company)
    done = company(*arguments, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""
    # What a run says while it goes has a time before it; what is left is for the person.
    sentences = [line for line in done.stderr.splitlines() if not re.match(r" +[\d.]+ s  |Running ", line)]
    message = "\n".join(sentences)
    assert message.startswith(("whalecurve: ", "usage: ")), message
    for part in said:
        assert part in message, f"{part!r} is not in:\n{message}"
    for noise in ("dagster", "pydantic", "site-packages", "Errno", "WhalecurveError", "DeliveryError"):
        assert noise not in message, message
    after = kept(company)
    # The day's other files may have been read by then; what was there before is there still, byte for byte.
    new = {name: content for name, content in after["raw"].items() if name not in before["raw"]}
    assert all(f"extract_date={THIRD}" in name for name in new)
    after["raw"] = {name: content for name, content in after["raw"].items() if name not in new}
    assert after == before
    return set(new)


# What was delivered


@dataclass
class Delivery:
    """A change of one delivered file of the third day, and what is said of it."""

    file: str
    content: Any
    entity: str
    said: tuple[str, ...]

    def change(self, data: Path) -> None:
        path = data / "landing" / self.file
        path.write_bytes(self.content(path.read_bytes()))


DELIVERIES = {
    "a required column under another name": Delivery(
        f"billing/{THIRD}/发票.csv",
        lambda content: content.decode("gb18030").replace("单据编号,", "单据编码,", 1).encode("gb18030"),
        "invoice/",
        (f"billing, {THIRD}", "发票.csv", "dialect 'billing'", "invoice.invoice_id", "'单据编号'", "'单据编码'"),
    ),
    "bytes in no encoding of the dialect": Delivery(
        f"crm_international/{THIRD}/Account.csv",
        lambda content: content + b'\x81\x8d\x8f\x90,"\xff\x81"\n',
        "customer/source=crm_international",
        (f"crm_international, {THIRD}", "Account.csv", "none of the encodings", "fails at byte", "salesforce"),
    ),
    "nothing in the file": Delivery(
        f"billing/{THIRD}/回款.csv",
        lambda content: b"",
        "payment/",
        (f"billing, {THIRD}", "回款.csv is empty", "not even a header line"),
    ),
    "every row unreadable": Delivery(
        f"ledger/{THIRD}/GL_Detail_20260602_20260602.txt",
        lambda content: b"".join(
            [content.splitlines(keepends=True)[0], content.splitlines(keepends=True)[1].replace(b"|1883.30|", b"|n/a|") * 30]
        ),
        "gl_entry/",
        (f"ledger, {THIRD}", "30 of 30 rows of gl_entry", "'n/a' says there is none", "quarantine.max_share"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DELIVERIES)
def test_an_unreadable_delivery_names_source_date_and_file(company, name):
    delivery = DELIVERIES[name]
    delivery.change(company.data)
    new = assert_refused(
        company, ("run", "--date", THIRD), 1, *delivery.said, "The last release is untouched", "Nothing of it was taken"
    )
    assert not any(name.startswith(delivery.entity) for name in new)


def test_a_truncated_parquet_file_is_named(company):
    """Billing now sends Parquet, and the transfer broke off."""
    import duckdb

    dialect = company.company / "dialects" / "billing.yml"
    product = 'product:\n    files: "产品*.csv"'
    assert product in dialect.read_text()
    dialect.write_text(
        dialect.read_text().replace(product, 'product:\n    files: "产品*.parquet"\n    read: {format: parquet}')
    )
    file = company.data / "landing" / "billing" / THIRD / "产品.parquet"
    duckdb.execute(f"copy (select 'P1' as 产品编码, range as 目录价 from range(5000)) to '{file}' (format parquet)")
    file.write_bytes(file.read_bytes()[:-100])
    assert_refused(
        company, ("run", "--date", THIRD), 1,
        f"billing, {THIRD}", "产品.parquet is not a readable Parquet file", "it may have been cut off",
    )  # fmt: skip


def test_an_empty_landing_day_says_where_the_files_are_expected(company):
    for folder in (company.data / "landing").glob(f"*/{THIRD}"):
        shutil.rmtree(folder)
        folder.mkdir()
    assert_refused(
        company, ("run", "--date", THIRD), 1,
        f"Nothing was delivered for {THIRD}", f"landing/<source>/{THIRD}/", "crm_china", f"{FIRST} to {SECOND}",
    )  # fmt: skip


def test_nothing_delivered_at_all_says_what_to_do_first(warm, tmp_path):
    company = Company(warm, DEMO, tmp_path / "data")
    assert_refused(company, ("run",), 1, "Nothing was delivered yet", "<source>/<YYYY-MM-DD>/", "whalecurve demo")


def test_a_landing_folder_that_is_no_date_is_named(company):
    (company.data / "landing" / "billing" / THIRD).rename(company.data / "landing" / "billing" / "2026-06-31")
    assert_refused(
        company, ("run",), 1, "landing/billing/2026-06-31", "is not a date", "Give it the name of its business date"
    )


def test_a_date_outside_the_company_s_dates_is_refused(company):
    for date in ("2026-05-30", "2026-07-01"):
        said = (f"{date} is not a business date", FIRST, "2026-06-30", "first_business_date")
        assert_refused(company, ("run", "--date", date), 1, *said)


# What the company folder says


def edited(company, old, new, file="company.yml"):
    path = company.company / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


COMPANY_FILES = {
    "a wrong value": ("base_currency: CNY", "base_currency: Yuan", ("key 'base_currency'", "it is 'Yuan'")),
    "an unknown key": ("quarantine:", "quarantin:", ("key 'quarantin'", "check its spelling")),
    "a missing key": ("base_currency: CNY\n", "", ("key 'base_currency'", "is required and missing")),
    "a key given twice": (
        "base_currency: CNY\n",
        "base_currency: CNY\nname: Other\n",
        ("line 5", "'name' is given twice"),
    ),
    "a wrong time zone": ("Asia/Shanghai", "Asia/Peking", ("key 'timezone'", "IANA", "'Asia/Peking'")),
    "no YAML": ("sources:", "sources: [", ("line ",)),
    "an unknown dialect": ("dialect: billing}", "dialect: biling}", ("no dialect 'biling'", "Known are", "billing")),
}


@pytest.mark.parametrize("name", COMPANY_FILES)
def test_a_malformed_company_file_names_key_and_reason(company, name):
    old, new, said = COMPANY_FILES[name]
    edited(company, old, new)
    assert not assert_refused(company, ("run", "--date", THIRD), 1, "company.yml", *said)


def test_a_malformed_dialect_names_file_and_key(company):
    edited(
        company, "invoice_id: {from: 单据编号, required: true}", "invoice_id: {form: 单据编号}", "dialects/billing.yml"
    )
    assert not assert_refused(
        company, ("run", "--date", THIRD), 1, "dialects/billing.yml", "entities.invoice.columns.invoice_id.form"
    )


COSTING_FILES = {
    "a driver nobody defined": (
        "pools.csv", "order_entry,Order entry,activity,order_minutes,", "order_entry,Order entry,activity,order_minute,",
        ("pools.csv, row 5, column driver_id", "no driver 'order_minute'", "add it to drivers.csv or choose one of"),
    ),
    "a number that is none": (
        "capacities.csv", "order_entry,31000,", "order_entry,two thousand,",
        ("capacities.csv, row 2, column capacity", "'two thousand'"),
    ),
    "a row of too few cells": (
        "ledger_scope.csv", "S-03,6001,,,revenue,,,2024-07-01,\n", "S-03,6001,,,revenue\n",
        ("ledger_scope.csv, row 4", "fewer cells than the header", "check its commas"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTING_FILES)
def test_a_bad_costing_rule_names_file_row_column_and_remedy(company, name):
    file, old, new, said = COSTING_FILES[name]
    edited(company, old, new, f"costing/{file}")
    assert not assert_refused(company, ("run", "--date", THIRD), 1, *said)


# What was called


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--from", THIRD), "--from and --to go together"),
        (("run", "--to", THIRD), "--from and --to go together"),
        (("run", "--date", THIRD, "--from", FIRST, "--to", THIRD), "give one or the other"),
        (("run", "--from", THIRD, "--to", FIRST), "before it begins"),
        (("run", "--date", "2026-06-31"), "'2026-06-31' is not a date such as"),
        (("run", "--date", "yesterday"), "'yesterday' is not a date such as"),
        (("explain", "C00001", "--month", "June"), "'June' is not a month such as"),
        (("explain",), "required: what"),
        (("publish",), "invalid choice: 'publish'"),
    ],
)
def test_a_wrong_call_ends_with_status_2(company, arguments, said):
    before = kept(company)
    done = company(*arguments, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert kept(company) == before


def test_a_folder_that_does_not_exist_is_a_wrong_call(warm, tmp_path):
    done = Company(warm, tmp_path / "nowhere", tmp_path / "data")("summary", check=False)
    assert done.returncode == 2
    assert "is not a folder" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("summary",), ("explain", "C00001"), ("rollback",), ("releases",), ("verify",)], ids=lambda a: a[0]
)
def test_before_the_first_release_every_reader_says_so(warm, tmp_path, arguments):
    done = Company(warm, DEMO, tmp_path / "data")(*arguments, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("whalecurve: ")
    assert "whalecurve run" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_customer_gets_the_nearest(company):
    assert_refused(company, ("explain", "C0009"), 1, "There is no customer 'C0009'", "did you mean C00009?")


def test_a_month_without_cost_says_which_have_some(company):
    assert_refused(
        company, ("explain", "C00009", "--month", "2020-01"), 1, "C00009 carries no cost in 2020-01", "months"
    )


def test_the_command_started_cold_is_as_quiet(company):
    """A failing run as a person starts it: nothing of the libraries underneath reaches the terminal."""
    delivery = DELIVERIES["nothing in the file"]
    delivery.change(company.data)
    done = company.cold("run", "--date", THIRD)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if not re.match(r" +[\d.]+ s  \S", line)]
    assert told[0].startswith("Running ")
    assert told[1].startswith("whalecurve: ")
    assert len(told) <= 4
