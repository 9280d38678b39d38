"""Controls of the ledger, on a tiny company run by the command: what is wrong in the delivered files is named in the sentence
of the refused release, with source, file, voucher and amounts, and the last release stays.
"""

from __future__ import annotations

import shutil

import duckdb
import pytest
from command import Whalecurve

FILES = {
    "company/company.yml": """
company: mini
name: Mini & Co
base_currency: CNY
first_business_date: 2026-01-31
sources:
  erp: {dialect: erp}
# What these tests change is the ledger alone; that it no longer ties to the invoices is not what they are about.
reconciliation:
  revenue: {severity: warn, reason: not looked at}
  ledger_balance: {severity: warn, reason: not looked at}
""",
    "company/dialects/erp.yml": """
dialect: erp
read: {format: csv}
entities:
  invoice:
    files: inv.csv
    columns:
      invoice_id: {from: no}
      invoice_number: {from: no}
      document_type: {value: invoice}
      status: {value: approved}
      customer_id: {from: customer}
      invoice_date: {from: date}
      currency_code: {from: currency}
      net_amount: {from: net}
      gross_amount: {from: net}
  invoice_line:
    files: lines.csv
    columns:
      invoice_id: {from: no}
      line_number: {from: line}
      line_net_amount: {from: net}
  fx_rate:
    files: rates.csv
    columns:
      from_currency: {from: from}
      to_currency: {from: to}
      rate_date: {from: date}
      rate_type: {value: spot}
      rate: {from: rate}
  gl_entry:
    files: gl.csv
    columns:
      journal_id: {from: voucher}
      journal_line_number: {from: line}
      effective_date: {from: date}
      fiscal_year: {from: year}
      period_number: {from: period}
      gl_account_number: {from: account}
      functional_amount: {from: amount}
      transaction_amount: {from: transaction}
      transaction_currency_code: {from: currency}
  gl_account:
    files: accounts.csv
    columns:
      gl_account_number: {from: account}
      gl_account_name: {from: account}
      account_type: {from: type}
  trial_balance:
    files: balance.csv
    columns:
      gl_account_number: {from: account}
      fiscal_year: {from: year}
      period_number: {from: period}
      amount_beginning: {from: opening}
      amount_ending: {from: closing}
""",
    "company/costing/pools.csv": """\
pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,approved_by,approved_on
desk,Order desk,activity,orders,,variable,,,R1,,
""",
    "company/costing/drivers.csv": "driver_id,driver_name,unit,measure\norders,Orders,order,orders\n",
    "company/costing/ledger_scope.csv": """\
rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,valid_to
S1,6000,,,cost,desk,,,
""",
    # 100 EUR on a Sunday, at Friday's rate, are 780 CNY; nobody says what a US dollar is.
    "landing/inv.csv": """\
no,customer,date,currency,net
1,A,2026-01-05,CNY,100
2,B,2026-01-11,EUR,100
3,B,2026-01-11,USD,50
""",
    "landing/lines.csv": "no,line,net\n2,1,33.33\n2,2,33.33\n2,3,33.34\n",
    "landing/rates.csv": "from,to,date,rate\nEUR,CNY,2026-01-09,7.8\n",
    "landing/accounts.csv": "account,type\n1122,asset\n4000,revenue\n6000,expense\n2202,liability\n",
    "landing/gl.csv": """\
voucher,line,date,year,period,account,amount,transaction,currency
J1,1,2026-01-05,2026,1,1122,100,,
J1,2,2026-01-05,2026,1,4000,-100,,
J2,1,2026-01-11,2026,1,1122,780,100,EUR
J2,2,2026-01-11,2026,1,4000,-780,-100,EUR
J3,1,2026-02-28,2026,2,6000,30.01,30.01,CNY
J3,2,2026-02-28,2026,2,2202,-30.01,-30.01,CNY
J4,1,2026-03-15,2026,3,1122,200,,
J4,2,2026-03-15,2026,3,4000,-200,,
J5,1,2026-04-15,2026,4,1122,300,300,CNY
J5,2,2026-04-15,2026,4,4000,-300,-300,CNY
""",
    "landing/balance.csv": """\
account,year,period,opening,closing
6000,2026,2,0,30.01
2202,2026,2,-50,-80.01
1122,2026,2,50,50
""",
}

FAULTS = {
    "voucher_balance": ("gl.csv", "J2,2,2026-01-11,2026,1,4000,-780,-100,EUR\n", ""),
    "trial_balance": ("balance.csv", "-80.01", "-80.02"),
    "revenue_is_credit": (
        "gl.csv",
        "1122,200,,\nJ4,2,2026-03-15,2026,3,4000,-200,,",
        "1122,-200,,\nJ4,2,2026-03-15,2026,3,4000,200,,",
    ),
    "functional_amount": ("gl.csv", "1122,300,300,CNY", "1122,300,42.5,CNY"),
}
"""Check -> file, text and what it becomes: a line dropped, a cent, debit and credit swapped, another amount. A month each."""


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The company with a first release. Tests must not change it."""
    root = tmp_path_factory.mktemp("controls")
    for name, text in FILES.items():
        path = root / name.replace("landing/", "data/landing/erp/2026-01-31/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))
    whalecurve = Whalecurve(root / "company", root / "data")
    whalecurve("run")
    return whalecurve


def rows(company, query):
    with duckdb.connect(str(company.release / "whalecurve.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.slow
def test_the_sound_ledger_passes_every_control(released):
    found = rows(
        released, "select distinct check_name, status from reconciliation where check_name != 'revenue' order by all"
    )
    assert found == [
        (check, "pass")
        for check in (
            *("cost_allocation", "functional_amount", "ledger_balance", "revenue_is_credit"),
            *("revenue_on_customers", "trial_balance", "voucher_balance"),
        )
    ]
    assert rows(released, "select * from control_failures") == []


@pytest.mark.slow
def test_other_currencies_count_by_their_rate_and_without_one_are_listed(released):
    revenue = rows(
        released, "select customer_id, sum(net_revenue)::varchar from customer_profitability group by all order by 1"
    )
    assert revenue == [("A", "100.0000"), ("B", "780.0000")]
    listed = rows(
        released, "select entity, record_key, source_file, currency_code, amount::varchar from unconverted_amounts"
    )
    assert listed == [("invoice", "3", "inv.csv", "USD", "50.0000")]
    assert "LEFT OUT  1 invoice rows of erp" in released("summary").stdout


@pytest.mark.slow
def test_each_fault_of_a_delivery_is_named_and_nothing_is_published(released, tmp_path):
    shutil.copytree(released.data, tmp_path / "data", symlinks=True)
    company = Whalecurve(released.company, tmp_path / "data")
    for file, text, fault in FAULTS.values():
        delivered = company.data / "landing" / "erp" / "2026-01-31" / file
        assert delivered.read_text().count(text) == 1
        delivered.write_text(delivered.read_text().replace(text, fault))
    before = company.release
    done = company("run", check=False)
    assert done.returncode == 1
    assert company.release == before
    with duckdb.connect(str(company.data / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "select check_name, strftime(month, '%Y-%m'), status, explanation from marts.control_failures order by month"
        ).fetchall()
    assert found == [
        (
            *("voucher_balance", "2026-01", "fail"),
            "erp: voucher J2 of 2026-01-11 does not balance: debits 780.00, credits 0.00, difference 780.00 (gl.csv line 4).",
        ),
        (
            *("trial_balance", "2026-02", "fail"),
            "erp: account 2202 moved by -30.01 in period 2026/2 by its entries, and by -30.02 by the trial balance delivered on "
            "2026-01-31 (balance.csv line 3).",
        ),
        (
            *("revenue_is_credit", "2026-03", "fail"),
            "erp: revenue of 2026-03 is a net debit of 200.00: debits 200.00, credits 0.00; debit and credit are probably "
            "swapped (first debit on account 4000, gl.csv line 8).",
        ),
        (
            *("functional_amount", "2026-04", "fail"),
            "erp: voucher J5 line 1 has the functional amount 300.00 CNY and the transaction amount 42.50 CNY, which should be "
            "the same (gl.csv line 9).",
        ),
    ]
    for check, month, _, _ in found:
        assert f"{month} {check}:" in done.stderr
    assert found[3][3] in done.stderr, "the refusal quotes the first by name of the check"
    assert "Traceback" not in done.stderr
