"""links.csv: what a person may decide, and how a mistake is answered."""

from __future__ import annotations

import duckdb
import pytest

from assets.company import Company, company_hash, load_company
from assets.costing.rule_files import load_customer_links
from assets.costing.rule_tables import write_rules
from assets.errors import ConfigurationError

COMPANY = """
company: mini
name: Mini
base_currency: EUR
first_business_date: 2026-01-31
sources:
  crm: {dialect: salesforce}
  erp: {dialect: erp}
"""
HEADER = "source,source_customer_key,key_kind,customer_id,valid_from,valid_to,decided_by,reason\n"


@pytest.fixture
def company(tmp_path):
    (tmp_path / "customers").mkdir()
    (tmp_path / "costing").mkdir()
    (tmp_path / "company.yml").write_text(COMPANY)
    return tmp_path


def links(company, text):
    (company / "customers" / "links.csv").write_text(HEADER + text, encoding="utf-8")
    return load_customer_links(load_company(company), company)


def fault(company, text):
    with pytest.raises(ConfigurationError) as error:
        links(company, text)
    return str(error.value)


def test_a_company_without_links_has_none(company):
    assert load_customer_links(load_company(company), company) == []


def test_good_links_are_read(company):
    found = links(company, "crm,001,id,K1,2026-01-01,2026-06-30,Lee,same owner\n,上海云杉有限公司,name,K1,,,Lee,\n")
    assert [(link.source, link.source_customer_key, link.customer_id) for link in found] == [
        ("crm", "001", "K1"),
        (None, "上海云杉有限公司", "K1"),
    ]


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("crm,1,mail,K1,,,Lee,", ("row 2, column key_kind", "'id'", "it is 'mail'")),
        ("shop,1,id,K1,,,Lee,", ("row 2, column source: there is no source 'shop'", "choose one of crm, erp")),
        ("crm,1,id,,,,Lee,", ("row 2, column customer_id",)),
        ("crm,1,id,K1,,,,", ("row 2, column decided_by",)),
        ("crm,1,id,K1,2026-02-01,2026-01-31,Lee,", ("row 2, column (whole row): valid_to lies before valid_from",)),
        ("crm,1,id,K1,31.01.2026,,Lee,", ("row 2, column valid_from", "it is '31.01.2026'")),
        ("crm,--,name,K1,,,Lee,", ("row 2, column source_customer_key: has neither letter nor digit",)),
        (
            "crm,1,id,K1,,,Lee,\ncrm,1,id,K2,,,Lee,",
            ("row 3, column valid_from", "already linked from the same day in row 2"),
        ),
        ("crm,1,id,K1,Lee", ("row 2: has more or fewer cells",)),
    ],
)
def test_a_wrong_link_is_named_with_file_row_column_and_remedy(company, row, parts):
    message = fault(company, row + "\n")
    for part in (f"{company.name}/customers/links.csv", *parts):
        assert part in message


def test_links_and_order_reach_sql_as_tables(company, tmp_path):
    pools = "pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,approved_by,approved_on\n"
    (company / "costing" / "pools.csv").write_text(pools)
    (company / "costing" / "drivers.csv").write_text("driver_id,driver_name,unit,measure\n")
    (company / "costing" / "ledger_scope.csv").write_text(
        "rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,valid_to\n"
    )
    links(company, ",0815,code,K1,2026-01-01,,Lee,\n")
    write_rules(load_company(company), company, tmp_path / "rules")
    read = f"select * from '{tmp_path}/rules/{{}}.parquet'"
    assert duckdb.sql(read.format("matching_order")).fetchall() == [
        (1, "explicit"),
        (2, "shared_id"),
        (3, "tax_id"),
        (4, "name"),
    ]
    table = duckdb.sql(read.format("customer_links"))
    row = dict(zip(table.columns, table.fetchall()[0], strict=True))
    assert (row["source"], row["source_customer_key"], row["customer_id"]) == (None, "0815", "K1")
    assert row["valid_from"].isoformat() == "2026-01-01"


def test_the_links_are_part_of_what_a_release_was_made_of(company):
    before = company_hash(company)
    links(company, "crm,1,id,K1,,,Lee,\n")
    assert company_hash(company) != before


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (["tax_id", "explicit"], "must begin with explicit"),
        ([], "must begin with explicit"),
        (["explicit", "name", "name"], "names a method twice"),
        (["explicit", "guess"], "'explicit', 'shared_id', 'tax_id' or 'name'"),
    ],
)
def test_an_order_that_cannot_be_followed_is_refused(company, order, reason):
    (company / "company.yml").write_text(COMPANY + f"matching: {{order: {order}}}\n")
    with pytest.raises(ConfigurationError) as error:
        load_company(company)
    assert reason in str(error.value)


def test_a_part_of_the_methods_in_another_order(company):
    (company / "company.yml").write_text(
        COMPANY + "matching: {order: [explicit, name, shared_id], suggest_from: 0.9}\n"
    )
    found: Company = load_company(company)
    assert found.matching.order == ("explicit", "name", "shared_id")
    assert found.matching.suggest_from == 0.9
