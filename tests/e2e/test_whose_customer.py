"""A CRM account, a billing account and a name in the ledger become one customer by the declared order, a near match is
only suggested, and a decision in links.csv holds for its days and can be taken back."""

from __future__ import annotations

import csv
import hashlib
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
  crm: {dialect: crm}
  billing: {dialect: billing}
  ledger: {dialect: ledger}
""",
    "company/dialects/crm.yml": """
dialect: crm
read: {format: csv}
entities:
  customer:
    files: accounts.csv
    columns:
      customer_id: {from: Id}
      customer_account_id: {from: AccountNumber}
      customer_name: {from: Name}
      customer_tin: {from: TaxId}
      merged_into: {from: MasterRecordId}
  activity:
    files: visits.csv
    columns:
      activity_id: {from: Id}
      activity_type: {value: visit}
      customer_id: {from: AccountId}
      activity_date: {from: Date}
""",
    "company/dialects/billing.yml": """
dialect: billing
read: {format: csv}
entities:
  customer:
    files: customers.csv
    columns:
      customer_id: {from: no}
      customer_name: {from: name}
      customer_tin: {from: vat}
  invoice:
    files: invoices.csv
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
""",
    "company/dialects/ledger.yml": """
dialect: ledger
read: {format: csv}
entities:
  gl_entry:
    files: gl.csv
    columns:
      journal_id: {from: journal}
      journal_line_number: {from: line}
      effective_date: {from: date}
      gl_account_number: {from: account}
      functional_amount: {from: amount}
      customer_name: {from: name}
""",
    "company/costing/pools.csv": """\
pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,approved_by,approved_on
freight,Freight,direct,,,variable,,,R1,,
visits,Visits,activity,visits,,variable,,,R2,,
""",
    "company/costing/drivers.csv": "driver_id,driver_name,unit,measure\nvisits,Visits,visit,visits\n",
    "company/costing/ledger_scope.csv": """\
rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,valid_to
S1,6000,,,cost,freight,,,
S2,6100,,,cost,visits,,,
S3,4000,,,revenue,,,,
""",
    "data/landing/crm/2026-01-31/accounts.csv": """\
Id,AccountNumber,Name,TaxId,MasterRecordId
001A,K1,Acme Handels GmbH,DE 123 456 789,
001B,,Acme (double),,001A
001C,K2,Contoso Pharmaceuticals Ltd,,
""",
    "data/landing/crm/2026-01-31/visits.csv": "Id,AccountId,Date\nv1,001B,2026-01-10\nv2,001C,2026-01-10\n",
    "data/landing/billing/2026-01-31/customers.csv": "no,name,vat\n4711,Acme Vertrieb,de123456789\n",
    "data/landing/billing/2026-01-31/invoices.csv": """\
no,customer,name,date,net
1,4711,,2026-01-05,100
2,,Contosso Pharmaceuticals,2026-01-06,50
3,,Contosso  Pharmaceuticals.,2026-01-20,7
4,,,2026-01-07,10
5,001A,,2026-01-08,1
""",
    "data/landing/ledger/2026-01-31/gl.csv": """\
journal,line,date,account,amount,name
1,1,2026-01-31,6000,5.01,ＡＣＭＥ HANDELS-GmbH
1,2,2026-01-31,6100,20,
1,3,2026-01-31,1000,-25.01,
2,1,2026-01-31,4000,-168,
2,2,2026-01-31,1100,168,
""",
}

NEAR = "name:" + hashlib.md5(b"contossopharmaceuticals").hexdigest()[:16]


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    return Whalecurve(root / "company", root / "data")


def revenue_and_cost(release):
    with duckdb.connect(str(release / "whalecurve.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "select customer_id, sum(net_revenue), sum(net_revenue - operating_profit) from customer_profitability group by all"
        ).fetchall()
    return {customer: (revenue, cost) for customer, revenue, cost in rows}


def decide(company, *lines):
    path = company.company / "customers" / "links.csv"
    path.parent.mkdir(exist_ok=True)
    header = "source,source_customer_key,key_kind,customer_id,valid_from,valid_to,decided_by,reason"
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")


@pytest.mark.slow
def test_a_near_match_is_suggested_and_a_decision_moves_its_money_and_can_be_taken_back(company):
    """Revenue 100 + 1 by tax id and shared id, freight 5.01 by name, and half of 20 for visiting the merged account."""
    company("run")
    first = company.release
    undecided = {
        "K1": (Decimal("101.0000"), Decimal("15.0100")),
        "K2": (Decimal("0.0000"), Decimal("10.0000")),
        NEAR: (Decimal("57.0000"), Decimal("0.0000")),
        "UNMATCHED": (Decimal("10.0000"), Decimal("0.0000")),
    }
    assert revenue_and_cost(first) == undecided
    assert "Contosso" not in "".join(path.read_text(encoding="utf-8-sig") for path in first.glob("lists/*.csv"))

    with (first / "lists" / "customer_match_suggestions.csv").open(encoding="utf-8-sig", newline="") as stream:
        suggestions = list(csv.DictReader(stream))
    assert [(row["customer_id"], row["linked_customer_id"], row["reason"]) for row in suggestions] == [
        ("K2", NEAR, "similar name")
    ]
    line = suggestions[0]["links_csv_line"].replace(",,,,", ",,,Lee,")

    decide(company, line)
    company("run")
    assert revenue_and_cost(company.release) == {
        "K1": undecided["K1"],
        "K2": (Decimal("57.0000"), Decimal("10.0000")),
        "UNMATCHED": undecided["UNMATCHED"],
    }

    decide(company, line.replace(",,,Lee,", ",,2026-01-06,Lee,"))
    company("run")
    assert revenue_and_cost(company.release) == {
        **undecided,
        "K2": (Decimal("50.0000"), Decimal("10.0000")),
        NEAR: (Decimal("7.0000"), Decimal("0.0000")),
    }

    decide(company)
    company("run")
    assert company.release == first, (
        "a release is named by its content: taking the link back has to bring the first one back"
    )
