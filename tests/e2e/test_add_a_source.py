"""From a file nobody has described to a published number, by the very commands docs/how-to/add-a-source.md names. The figures
are worked out by hand: three orders share a delivery cost of 300.00, so an order costs 100.00; C1 bought for 1,200.00 and
400.00 in two orders and earns 1,600.00 - 200.00 = 1,400.00; C2 bought for 800.00 in one and earns 700.00.
"""

from __future__ import annotations

import re
import shutil
from decimal import Decimal

import duckdb
import pytest
from command import PROJECT
from harness import Company, tree

pytestmark = pytest.mark.slow

DELIVERED = {
    "sales_2026-01.csv": """\
Invoice no;Invoice date;Customer no;Net;VAT;Gross
S-101;05.01.2026;C1;1.200,00;228,00;1.428,00
S-102;19.01.2026;C2;800,00;152,00;952,00
S-103;23.01.2026;C1;400,00;76,00;476,00
""",
    "postings_2026-01.csv": """\
Voucher;Posting date;Account;Text;Debit;Credit
1;31.01.2026;1100;January sales;2.856,00;
1;31.01.2026;4000;January sales;;2.400,00
1;31.01.2026;1700;January sales;;456,00
2;31.01.2026;6100;Delivery van;300,00;
2;31.01.2026;1200;Delivery van;;300,00
""",
}

COMPANY = {
    "company.yml": """\
company: tea
name: Birch & Sons, tea
base_currency: EUR
first_business_date: 2026-01-31
sources:
  till: {dialect: till}
""",
    "costing/pools.csv": """\
pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,approved_by,approved_on
delivery,Delivery round,activity,orders,,variable,,,R1,,
""",
    "costing/drivers.csv": "driver_id,driver_name,unit,measure\norders,Orders,order,orders\n",
    "costing/ledger_scope.csv": """\
rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,valid_to
S1,1000,3999,,out_of_scope,,balance sheet,,
S2,4000,4999,,revenue,,,,
S3,6000,6999,,cost,delivery,,,
""",
}

PAGE = (PROJECT / "docs" / "how-to" / "add-a-source.md").read_text(encoding="utf-8")
DATE = "2026-01-31"


class Walk:
    """The steps of the walk-through, one after the other, and what each printed."""

    def __init__(self, warm, root):
        self.folder = root / "companies" / "tea"
        self.company = Company(warm, self.folder, root / "data")
        for name, text in COMPANY.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        files = []
        for name, text in DELIVERED.items():
            files.append(root / name)
            files[-1].write_text(text)
        dialect = self.folder / "dialects" / "till.yml"
        dialect.parent.mkdir()
        self.draft = self.company("draft-dialect", *map(str, files), "--name", "till").stdout
        dialect.write_text(self.draft)
        landing = self.company.data / "landing" / "till" / DATE
        landing.mkdir(parents=True)
        for file in files:
            shutil.copy(file, landing)
        before = tree(self.company.data)
        self.check = self.company("check-source", "till").stdout
        self.untouched = tree(self.company.data) == before
        self.summary = self.company("run", "--date", DATE).stdout


@pytest.fixture(scope="module")
def walk(warm, tmp_path_factory):
    return Walk(warm, tmp_path_factory.mktemp("walk"))


def test_the_draft_binds_every_column_right_and_marks_its_guesses(walk):
    bound = dict(re.findall(r"^ {6}(\w+): (\{[^#]*\})  # (?:sure|likely|guess)", walk.draft, flags=re.MULTILINE))
    assert bound["invoice_id"] == "{from: Invoice no}"
    assert bound["customer_id"] == "{from: Customer no}"
    assert (bound["net_amount"], bound["tax_amount"], bound["gross_amount"]) == (
        "{from: Net}",
        "{from: VAT}",
        "{from: Gross}",
    )
    assert bound["functional_amount"] == "{debit: Debit, credit: Credit}"
    assert "document_type: {value: invoice}  # guess: no column says it" in walk.draft


def test_the_dry_run_says_it_would_load_and_writes_nothing(walk):
    assert walk.check.startswith(f"WOULD LOAD  till, {DATE} (dialect till): ")
    assert "2 vouchers, debit 3,156.00, credit 3,156.00" in walk.check
    assert "Nobody reads 1 column of postings_2026-01.csv: Text" in walk.check
    assert walk.untouched


def test_the_published_number_is_the_one_worked_out_by_hand(walk):
    database = (walk.company.data / "releases" / "current").resolve() / "whalecurve.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        profit = connection.execute(
            "select customer_id, net_revenue, operating_profit from customer_profitability order by customer_id"
        ).fetchall()
    assert profit == [
        ("C1", Decimal("1600.0000"), Decimal("1400.0000")),
        ("C2", Decimal("800.0000"), Decimal("700.0000")),
    ]
    assert re.search(r"^C1 +1,600\.00 +1,600\.00 +200\.00 +1,400\.00$", walk.summary, flags=re.MULTILINE)


def test_the_page_shows_these_files_commands_and_outputs(walk):
    """Each shown line is printed, in this order; `...` stands for lines left out."""
    for name, text in {**DELIVERED, **COMPANY}.items():
        assert text in PAGE, name
    printed = {"draft-dialect": walk.draft, "check-source": walk.check, "run": walk.summary, "cat": walk.draft}
    blocks = re.findall(r"```shell-session\n\$ (.+)\n((?:.*\n)*?)```", PAGE)
    assert [command.split()[1] for command, _ in blocks if command.startswith("whalecurve")] == [
        "draft-dialect", "check-source", "run",
    ]  # fmt: skip
    for command, shown in blocks:
        words = command.split()
        lines = iter(printed[words[1] if words[0] == "whalecurve" else words[0]].splitlines())
        for line in shown.splitlines():
            if line != "...":
                assert line in lines, f"{command} does not print: {line}"
