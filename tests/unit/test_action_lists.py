"""The lists of advice: for everybody, and per source in the form its CRM imports. Spreadsheets run nothing of them."""

import csv
import datetime

import duckdb
import pandas as pd
import pytest
from command import PROJECT

from assets.company import load_company
from assets.errors import ConfigurationError
from assets.ingest.dialect import BUILT_IN, EXPORTED_FIELDS, known_dialects, load_dialect
from assets.publish import lists
from assets.publish.release import write_list

EVERYTHING = ("customer_name", "owner_ref")
DEMO = PROJECT / "companies" / "demo"


@pytest.fixture
def warehouse():
    """Three customers of two CRMs and one nobody could act on; advice for all."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            create schema overview; create schema analytics;
            create table overview.customers as select * from (values
                ('C1', 'crm_a', '0015g000000GtDJAA0', '=cmd|calc', '+u1', true, false),
                ('C2', 'crm_b', '65f0', '海港松木', null, true, false),
                ('C3', 'crm_a', '0015g000000GyMaAAK', 'Plain', 'u3', true, false),
                ('C4', 'crm_a', '0015g000000Deleted', 'Gone', 'u4', true, true),
                ('C5', null, null, null, null, false, false)
            ) as c(customer_id, source_instance, source_customer_id, customer_name, owner_ref, is_in_crm, is_deleted);
            create table analytics.advised_actions as
                select customer_id, date '2026-06-30' as as_of_date, 'grow' as action, 1 as action_rank,
                    row_number() over (order by customer_id desc) as priority_rank, 'R-1' as rule_id,
                    '=Offer more' as title, '挖掘' as title_zh, '@SUM(A1) 5.00' as reason, '理由' as reason_zh,
                    12.3456::decimal(22, 4) as expected_effect, '20 % of x' as effect_basis, 'x的20 %' as effect_basis_zh,
                    case when customer_id <> 'C3' then 'raw owner' end as owner_ref,
                    case when customer_id <> 'C3' then 'account_manager' else 'pricing' end as owner_role,
                    date '2026-07-14' as due_date, '1' as playbook_version
                from overview.customers;
            """
        )
        yield connection


def export(name):
    return load_dialect(name, DEMO).export["actions"]


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_everybody_gets_the_plain_list_by_priority(warehouse):
    shown = lists.action_lists(warehouse, {}, EVERYTHING)
    assert list(shown) == ["customer_actions", "actions_crm_a", "actions_crm_b"]
    everybody = shown["customer_actions"]
    assert list(everybody["customer_id"]) == ["C3", "C2", "C1"], "neither the deleted nor those no CRM knows"
    assert list(everybody["owner_ref"]) == [None, None, "+u1"], "as published, and only where the account manager acts"
    assert "raw owner" not in everybody.to_csv()
    assert list(shown["actions_crm_b"].columns) == list(everybody.columns)
    assert list(shown["actions_crm_b"]["customer_id"]) == ["C2"]


def test_salesforce_gets_tasks_with_its_own_ids_and_field_names(warehouse):
    shown = lists.action_lists(warehouse, {"crm_a": export("salesforce")}, EVERYTHING)["actions_crm_a"]
    assert list(shown.columns) == ["WhatId", "OwnerId", "Subject", "ActivityDate", "Status", "Priority", "Description"]
    last = shown.iloc[-1]
    assert (last["WhatId"], last["OwnerId"], last["ActivityDate"]) == ("0015g000000GtDJAA0", "+u1", "2026-07-14")
    assert last["Description"] == ("@SUM(A1) 5.00 Expected effect a year: 12.35 = 20 % of x. R-1, as of 2026-06-30.")
    assert shown.iloc[0]["OwnerId"] == "", "nobody in particular: whoever imports it"


@pytest.mark.parametrize(
    ("dialect", "id_header"),
    [("salesforce", "WhatId"), ("fxiaoke", "客户ID"), ("zoho", "What_Id"), ("jiandaoyun", "客户ID")],
)
def test_every_crm_dialect_says_how_it_imports(warehouse, dialect, id_header):
    shown = lists.action_lists(warehouse, {"crm_b": export(dialect)}, EVERYTHING)["actions_crm_b"]
    assert list(shown[id_header]) == ["65f0"]
    assert "2026-07-14" in set(shown.iloc[0])


def test_what_a_company_does_not_publish_has_no_column(warehouse):
    shown = lists.action_lists(warehouse, {"crm_a": export("salesforce")}, ())["actions_crm_a"]
    assert "OwnerId" not in shown.columns
    assert {"WhatId", "Subject"} <= set(shown.columns)


def test_no_cell_starts_a_formula(warehouse, tmp_path):
    for name, shown in lists.action_lists(warehouse, {"crm_a": export("salesforce")}, EVERYTHING).items():
        write_list(tmp_path / f"{name}.csv", shown)
        for row in rows(tmp_path / f"{name}.csv"):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for cell in row.values()), row
    last = rows(tmp_path / "actions_crm_a.csv")[-1]
    assert (last["Subject"], last["OwnerId"]) == ("'=Offer more", "'+u1")
    assert (tmp_path / "customer_actions.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_nobody_advised_leaves_headers(warehouse, tmp_path):
    warehouse.execute("delete from analytics.advised_actions")
    shown = lists.action_lists(warehouse, {"crm_a": export("salesforce")}, EVERYTHING)
    assert all(table.empty for table in shown.values())
    write_list(tmp_path / "a.csv", shown["actions_crm_a"])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8-sig").startswith("WhatId,OwnerId,Subject")


def test_the_demo_company_exports_to_both_crms():
    assert set(lists.action_exports(load_company(DEMO), DEMO)) == {"crm_international", "crm_china"}


def test_a_company_lays_its_own_columns_over_the_built_in_ones(tmp_path):
    (tmp_path / "dialects").mkdir()
    (tmp_path / "dialects" / "ours.yml").write_text(
        "extends: salesforce\nexport:\n  actions:\n    dates: '%d.%m.%Y'\n    columns: {Priority: High, Rule__c: '{rule_id}'}\n",
        encoding="utf-8",
    )
    own = load_dialect("ours", tmp_path).export["actions"]
    assert (own.columns["Priority"], own.columns["Rule__c"], own.columns["WhatId"]) == (
        "High",
        "{rule_id}",
        "{source_customer_id}",
    )
    table = pd.DataFrame([dict.fromkeys(EXPORTED_FIELDS, "x") | {"due_date": datetime.date(2026, 7, 14)}])
    assert list(lists._exported(table, own, ())["ActivityDate"]) == ["14.07.2026"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{WhatId: '{source_customer}'}",
            "'source_customer' is not a field of the list; did you mean 'source_customer_id'?",
        ),
        ("{Due: '{due_date:%d}'}", "without a format"),
        ("{Due: '{due_date'}", "column 'Due'"),
        ("{}", "export.actions.columns"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused(tmp_path, text, message):
    (tmp_path / "dialects").mkdir()
    base = "dialect: ours\nentities: {}\nexport:\n  actions:\n    columns: "
    (tmp_path / "dialects" / "ours.yml").write_text(base + text + "\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_dialect("ours", tmp_path)
    assert message in str(caught.value)


def test_an_export_is_no_reason_to_read_deliveries_anew(tmp_path):
    (tmp_path / "dialects").mkdir()
    (tmp_path / "dialects" / "ours.yml").write_text(
        "extends: salesforce\nexport: {actions: {columns: {A: '{title}'}}}\n", encoding="utf-8"
    )
    own = load_dialect("ours", tmp_path).model_copy(update={"dialect": "salesforce"})
    assert own.fingerprint("customer") == load_dialect("salesforce", DEMO / "none").fingerprint("customer")


def test_all_built_in_dialects_still_load():
    for name in known_dialects(BUILT_IN.parent):
        load_dialect(name, BUILT_IN.parent)
