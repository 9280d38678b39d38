"""A company the project has never seen is a change of data: a folder, no line of code. Its figures are checked by hand."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pytest
from command import Whalecurve

FILES = {
    "company/company.yml": """
company: mini
name: Mini & Co
base_currency: EUR
first_business_date: 2026-01-31
sources:
  erp: {dialect: erp}
""",
    "company/dialects/erp.yml": """
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
      invoice_date: {from: date, format: "%d.%m.%Y"}
      net_amount: {from: net}
      gross_amount: {from: net}
  gl_entry:
    files: gl*.csv
    columns:
      journal_id: {from: journal}
      journal_line_number: {from: line}
      effective_date: {from: date}
      gl_account_number: {from: account}
      functional_amount: {from: amount}
""",
    "company/costing/pools.csv": """\
pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,approved_by,approved_on
desk,Order desk,activity,orders,,variable,,,R1,,
""",
    "company/costing/drivers.csv": "driver_id,driver_name,unit,measure\norders,Orders,order,orders\n",
    "company/costing/ledger_scope.csv": """\
rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,valid_to
S1,6000,6999,,cost,desk,,,
S2,4000,,,revenue,,,,
""",
    "data/landing/erp/2026-01-31/inv.csv": """\
no;customer;date;net
1;A;05.01.2026;100
2;<script>alert(1)</script>;06.01.2026;50.5
3;;07.01.2026;10
""",
    "data/landing/erp/2026-01-31/gl.csv": """\
journal;line;date;account;amount
1;1;2026-01-31;6000;100.01
1;2;2026-01-31;1000;-100.01
2;1;2026-01-31;4000;-160.5
2;2;2026-01-31;1100;160.5
""",
    "data/landing/erp/2026-01-31/ignored.tmp": "a file no entity asks for",
}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))
    whalecurve = Whalecurve(root / "company", root / "data")
    whalecurve("run")
    return whalecurve.release


def rows(release, query):
    with duckdb.connect(str(release / "whalecurve.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.slow
def test_cost_is_divided_to_the_cent_and_money_without_a_customer_stays_visible(release):
    """100.01 over three orders is 33.34 + 33.34 + 33.33; the third order names no customer."""
    profit = rows(release, "select customer_id, net_revenue, operating_profit from customer_profitability order by all")
    assert profit == [
        ("<script>alert(1)</script>", Decimal("50.5000"), Decimal("17.1600")),
        ("A", Decimal("100.0000"), Decimal("66.6600")),
        ("UNMATCHED", Decimal("10.0000"), Decimal("10.0000")),
    ]
    assert rows(release, "select residual_line, amount from residual_cost_lines order by amount desc") == [
        ("UNALLOCATED:UNMATCHED_CUSTOMER", Decimal("33.33"))
    ]


@pytest.mark.slow
def test_checks_that_have_nothing_to_compare_are_left_out(release):
    """This ledger posts no receivables and no cost of sales, and comes without a trial balance or second currency."""
    found = rows(release, "select check_name, status, difference from reconciliation order by check_name")
    zero = Decimal("0.0000")
    against_ledger = ("cost_allocation", "ledger_balance", "revenue", "revenue_is_credit", "revenue_on_customers")
    assert found == [(name, "pass", zero) for name in (*against_ledger, "voucher_balance")]


@pytest.mark.slow
def test_a_name_that_is_a_script_is_only_a_name(release):
    assert "<script>alert(1)</script>" not in (release / "report.html").read_text()
