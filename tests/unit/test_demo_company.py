"""The demo company's extracts: what was written is read back here with pandas alone, and must tie.

The readers below know the four formats by themselves. A record's final state is the last delivery of its key, and
unreadable rows are left out, as a warehouse would. Nothing here uses the ingest engine or the generator's own tables.
"""

from __future__ import annotations

import collections
import csv
import functools
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

COMPANY = Path(__file__).parents[2] / "companies" / "demo"
CUSTOMERS, LINES = 300, 9_000
BILLING_KEYS = {
    "产品": ["产品编码"],
    "发票": ["单据编号"],
    "发票明细": ["单据编号", "行号"],
    "回款": ["回款单号"],
    "回款核销": ["核销单号"],
}
BUSINESS_DATES = [str(d.date()) for d in pd.date_range("2026-05-31", "2026-06-30")]


def load_script() -> ModuleType:
    """The generator as a module: companies/ is data and no package."""
    spec = importlib.util.spec_from_file_location("demo_write_extracts", COMPANY / "write_extracts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The landing folder of a middle-sized demo company, and the generator's summary of it."""
    landing = tmp_path_factory.mktemp("landing")
    return landing, load_script().write_extracts(landing, customers=CUSTOMERS, invoice_lines=LINES)


# ------------------------------------------------------------------------------------------------ readers


def cents(text: pd.Series) -> pd.Series:
    """Money text to whole cents without a float in between."""
    plain = text.str.replace(",", "").str.split(".", expand=True)
    sign = plain[0].str.startswith("-").map({True: -1, False: 1})
    return (
        plain[0].str.lstrip("-").astype("int64") * 100 * sign + plain[1].str.pad(2, "right", "0").astype("int64") * sign
    )


def deliveries(landing: Path, source: str, pattern: str, **options: Any) -> pd.DataFrame:
    """All rows of one kind of delimited file, in order of delivery, with the `delivered` date."""
    return _deliveries(landing, source, pattern, tuple(options.items())).copy()


@functools.cache
def _deliveries(landing: Path, source: str, pattern: str, options: tuple[tuple[str, Any], ...]) -> pd.DataFrame:
    parts = []
    for date in BUSINESS_DATES:
        for path in sorted((landing / source / date).glob(pattern)):
            parts.append(pd.read_csv(path, dtype=str, keep_default_na=False, **dict(options)).assign(delivered=date))
    return pd.concat(parts, ignore_index=True)


def billing(landing: Path, name: str) -> pd.DataFrame:
    return deliveries(landing, "billing", f"{name}.csv", encoding="gb18030")


def current(rows: pd.DataFrame, key: list[str], as_of: str = "2026-06-30") -> pd.DataFrame:
    """The last version of each record delivered up to a day."""
    return rows[rows["delivered"] <= as_of].drop_duplicates(key, keep="last")


def readable_invoices(landing: Path) -> pd.DataFrame:
    rows = billing(landing, "发票")
    rows["date"] = pd.to_datetime(rows["开票日期"].str.replace("/", "-"), format="%Y-%m-%d", errors="coerce")
    rows["month"] = rows["date"].dt.strftime("%Y-%m")
    return rows[rows["date"].notna()]


def ledger(landing: Path) -> pd.DataFrame:
    rows = deliveries(landing, "ledger", "GL_Detail_*.txt", sep="|")
    rows["cents"] = cents(rows["Amount"]) * rows["Amount_Credit_Debit_Indicator"].map({"D": 1, "C": -1})
    rows["month"] = rows["Effective_Date"].str[:4] + "-" + rows["Effective_Date"].str[4:6]
    return rows


LEDGER_KEY = ["Journal_ID", "Journal_ID_Line_Number"]


def fxiaoke(landing: Path, name: str) -> tuple[list[dict[str, Any]], int]:
    """The readable records of one object in order of delivery, and the number of broken lines."""
    records, broken = [], 0
    for date in BUSINESS_DATES:
        path = landing / "crm_china" / date / f"{name}.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                broken += 1
    return records, broken


def salesforce(landing: Path, name: str) -> tuple[list[dict[str, str]], int]:
    """The whole records of one object in order of delivery, and the number of rows that were cut off."""
    records, broken = [], 0
    for date in BUSINESS_DATES:
        path = landing / "crm_international" / date / f"{name}.csv"
        if path.exists():
            with path.open(encoding="utf-8", newline="") as stream:
                header, *rows = csv.reader(stream)
            records += [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]
            broken += sum(len(row) != len(header) for row in rows)
    return records, broken


# ------------------------------------------------------------------------------------------------ the same every time


def tree_hash(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """Also over what another run left: of a former company with other sizes nothing remains."""
    script = load_script()
    first = script.write_extracts(tmp_path / "a", seed=7, customers=40, invoice_lines=1000)
    other = script.write_extracts(tmp_path / "b", seed=8, customers=50, invoice_lines=1200)
    again = script.write_extracts(tmp_path / "b", seed=7, customers=40, invoice_lines=1000)
    assert first == again
    assert first["invoice_lines"] == 1000
    assert first["net_revenue"] != other["net_revenue"]
    assert tree_hash(tmp_path / "a") == tree_hash(tmp_path / "b")


def test_every_source_delivers_every_day(company: tuple[Path, dict[str, Any]]) -> None:
    landing, summary = company
    for source in ("billing", "crm_china", "crm_international", "ledger"):
        assert sorted(path.name for path in (landing / source).iterdir()) == BUSINESS_DATES
    assert sum(path.is_file() for path in landing.rglob("*")) == summary["files"]


# ------------------------------------------------------------------------------------------------ what must tie


def test_ledger_ties_to_billing_after_every_delivery(company: tuple[Path, dict[str, Any]]) -> None:
    """Revenue and cost of goods per month, receivables in total: as of each business date, to the cent."""
    landing, summary = company
    invoices, lines, payments = readable_invoices(landing), billing(landing, "发票明细"), billing(landing, "回款")
    entries = ledger(landing)
    # Days on which something special is delivered, and the first and last.
    special = {1, 3, 8, 9, 12, 15, 16, 17, 19, 20, 22, 26, 30}
    for date in [d for d in BUSINESS_DATES if d < "2026-06" or int(d[-2:]) in special]:
        posted = current(invoices, BILLING_KEYS["发票"], date)
        posted = posted[posted["状态"] != "已作废"]
        sold = current(lines, BILLING_KEYS["发票明细"], date).merge(
            posted[["单据编号", "month"]], on="单据编号", validate="many_to_one"
        )
        sold = (
            sold.assign(net=cents(sold["不含税金额"]), cost=cents(sold["成本金额"]))
            .groupby("month")[["net", "cost"]]
            .sum()
        )
        booked = current(entries, LEDGER_KEY, date).pivot_table(
            index="month", columns="GL_Account_Number", values="cents", aggfunc="sum"
        )
        assert (-booked["6001"]).to_dict() == sold["net"].to_dict(), date
        assert booked["6401"].to_dict() == sold["cost"].to_dict(), date
        received = cents(current(payments, BILLING_KEYS["回款"], date)["金额"]).sum()
        assert booked["1122"].sum() == cents(posted["价税合计"]).sum() - received, date
    assert f"{sold['net'].sum() / 100:.2f}" == summary["net_revenue"]
    assert f"{sold['cost'].sum() / 100:.2f}" == summary["cost_of_goods_sold"]


def test_receivables_tie_at_every_month_end(company: tuple[Path, dict[str, Any]]) -> None:
    landing, _ = company
    posted = current(readable_invoices(landing), BILLING_KEYS["发票"])
    posted = posted[posted["状态"] != "已作废"]
    invoiced = cents(posted["价税合计"]).groupby(posted["month"]).sum()
    payments = current(billing(landing, "回款"), BILLING_KEYS["回款"])
    received = cents(payments["金额"]).groupby(payments["回款日期"].str.replace("/", "-").str[:7]).sum()
    entries = current(ledger(landing), LEDGER_KEY)
    receivables = entries[entries["GL_Account_Number"] == "1122"].groupby("month")["cents"].sum()
    assert receivables.to_dict() == invoiced.sub(received, fill_value=0).astype("int64").to_dict()


def test_header_amounts_are_the_sums_of_their_lines(company: tuple[Path, dict[str, Any]]) -> None:
    landing, _ = company
    lines = current(billing(landing, "发票明细"), BILLING_KEYS["发票明细"])
    lines = lines.assign(net=cents(lines["不含税金额"]), tax=cents(lines["税额"]), discount=cents(lines["折扣额"]))
    assert (cents(lines["单价"]) * lines["数量"].astype("int64") - lines["discount"] == lines["net"]).all()
    summed = lines.groupby("单据编号")[["net", "tax"]].sum()
    heads = current(readable_invoices(landing), BILLING_KEYS["发票"]).set_index("单据编号")
    assert cents(heads["不含税金额"]).to_dict() == summed["net"].to_dict()
    assert cents(heads["税额"]).to_dict() == summed["tax"].to_dict()
    assert (cents(heads["不含税金额"]) + cents(heads["税额"]) == cents(heads["价税合计"])).all()


def test_payments_are_applied_in_full(company: tuple[Path, dict[str, Any]]) -> None:
    landing, _ = company
    applied = current(billing(landing, "回款核销"), BILLING_KEYS["回款核销"])
    payments = current(billing(landing, "回款"), BILLING_KEYS["回款"]).set_index("回款单号")
    assert cents(applied["核销金额"]).groupby(applied["回款单号"]).sum().to_dict() == cents(payments["金额"]).to_dict()
    invoices = current(readable_invoices(landing), BILLING_KEYS["发票"])
    assert set(applied["单据编号"]) == set(invoices.loc[invoices["状态"] == "已收款", "单据编号"])


def test_every_voucher_balances(company: tuple[Path, dict[str, Any]]) -> None:
    landing, summary = company
    entries = ledger(landing)
    final = current(entries, LEDGER_KEY)
    assert len(final) == summary["gl_entries"]
    assert (final.groupby("Journal_ID")["cents"].sum() == 0).all()
    assert (
        entries.drop_duplicates([*LEDGER_KEY, "delivered"]).groupby(["delivered", "Journal_ID"])["cents"].sum() == 0
    ).all()


def test_trial_balance_agrees_with_the_entries(company: tuple[Path, dict[str, Any]]) -> None:
    """Balance-sheet accounts cumulate from the start, income accounts from the start of the year."""
    landing, _ = company
    balances = deliveries(landing, "ledger", "Trial_Balance_*.txt", sep="|")
    balances = current(balances[balances["BudgetFlag"] == "actual"], ["GL_Account_Number", "Fiscal_Year", "Period"])
    balances["month"] = balances["Fiscal_Year"] + "-" + balances["Period"].str[1:]
    entries = current(ledger(landing), LEDGER_KEY)
    assert balances["month"].nunique() == 24
    assert (cents(balances["Amount_Ending"]).groupby(balances["month"]).sum() == 0).all()
    for account in ("1122", "1002", "6001", "660101"):
        for month in ("2024-12", "2025-01", "2026-05", "2026-06"):
            start = "2024-07" if account < "6" else month[:4] + "-01"
            own = entries[(entries["GL_Account_Number"] == account) & entries["month"].between(start, month)][
                "cents"
            ].sum()
            said = balances[(balances["GL_Account_Number"] == account) & (balances["month"] == month)]["Amount_Ending"]
            assert own == cents(said).item(), (account, month)


# ------------------------------------------------------------------------------------------------ what is dirty


def test_dirt_is_where_the_summary_says(company: tuple[Path, dict[str, Any]]) -> None:
    landing, summary = company
    dirt = summary["dirt"]
    tasks, _ = salesforce(landing, "Task")
    whole_rows = [billing(landing, "发票明细"), ledger(landing), pd.DataFrame(tasks)]
    assert sum(int(rows.duplicated().sum()) for rows in whole_rows) == dirt["duplicate_rows"] == 9
    invoices = current(readable_invoices(landing), BILLING_KEYS["发票"])
    assert (invoices["状态"] == "已作废").sum() == dirt["void_invoices"] == 6
    late = invoices[
        (invoices["状态"] == "已开票")
        & (pd.to_datetime(invoices["delivered"]) - invoices["date"] > pd.Timedelta(days=2))
    ]
    assert (late["delivered"] > "2026-05-31").sum() == dirt["late_invoices"] == 4
    described = billing(landing, "发票明细")["摘要"].str.endswith("（更正）")
    assert described.sum() == dirt["corrected_lines"] == 8
    entries = current(ledger(landing), LEDGER_KEY)
    assert entries.groupby("Reversal_Indicator")["Journal_ID"].nunique().drop("").to_dict() == {"1": 2, "2": 2}


def test_unreadable_rows_are_few_and_come_again_next_day(company: tuple[Path, dict[str, Any]]) -> None:
    landing, summary = company
    cases, cut_off = salesforce(landing, "Case")
    service, broken = fxiaoke(landing, "CasesObj")
    assert (cut_off, broken) == (1, 1)
    assert len({case["Id"] for case in cases}) + len({case["_id"] for case in service}) == summary["service_cases"]
    dates = billing(landing, "回款核销")["核销日期"]
    amounts = [record["Amount"] for record in salesforce(landing, "Opportunity")[0]]
    all_invoices = billing(landing, "发票")
    bad = (
        (dates == "2026-02-30").sum() + amounts.count("to be agreed") + (all_invoices["开票日期"] == "2026-06-31").sum()
    )
    assert bad + cut_off + broken == summary["dirt"]["unreadable_rows_mended"]
    assert (current(billing(landing, "回款核销"), BILLING_KEYS["回款核销"])["核销日期"] != "2026-02-30").all()
    kinds = collections.Counter(record["active_record_type__r"] for record in fxiaoke(landing, "ActiveRecordObj")[0])
    assert kinds["直播互动"] == summary["dirt"]["unknown_options"] == 2


def test_deleted_and_unknown_customers(company: tuple[Path, dict[str, Any]]) -> None:
    landing, summary = company
    accounts = {record["Id"]: record for record in salesforce(landing, "Account")[0]}
    objects = {record["_id"]: record for record in fxiaoke(landing, "AccountObj")[0]}
    deleted = [r["AccountNumber"] for r in accounts.values() if r["IsDeleted"] == "1"]
    deleted += [r["account_no"] for r in objects.values() if r["life_status"] == "invalid"]
    assert len(deleted) == summary["dirt"]["deleted_accounts"] == 4
    invoiced = set(billing(landing, "发票")["客户编码"])
    assert set(deleted) <= invoiced
    known = {r["AccountNumber"] for r in accounts.values()} | {r.get("account_no") for r in objects.values()}
    assert len(known - {"", None}) == summary["customers"] == CUSTOMERS
    assert len(invoiced - known) == summary["dirt"]["customers_unknown_to_crm"] > 0


# ------------------------------------------------------------------------------------------------ whale curve


def rules(name: str) -> pd.DataFrame:
    return pd.read_csv(COMPANY / "costing" / f"{name}.csv", dtype=str, keep_default_na=False)


def pool_of(account: str, cost_center: str, scope: list[dict[str, str]]) -> str | None:
    """Pool of a cost line by the first rule that matches; None when the rule gives another role."""
    for rule in scope:
        last = rule["gl_account_to"] or rule["gl_account_from"]
        if rule["gl_account_from"] <= account <= last and rule["cost_center_id"] in ("", cost_center):
            return rule["pool_id"] or None
    raise AssertionError(f"no rule for account {account}, cost centre {cost_center!r}")


def driver_counts(landing: Path) -> pd.DataFrame:
    """month x customer code x driver -> quantity, counted from the files."""
    documents = current(readable_invoices(landing), BILLING_KEYS["发票"])
    documents = documents[documents["状态"] != "已作废"]
    lines = current(billing(landing, "发票明细"), BILLING_KEYS["发票明细"]).merge(
        documents[["单据编号", "month", "客户编码"]], on="单据编号"
    )
    payments = current(billing(landing, "回款"), BILLING_KEYS["回款"])
    code = {r["Id"]: r["AccountNumber"] for r in salesforce(landing, "Account")[0]}
    code |= {r["_id"]: r.get("account_no") for r in fxiaoke(landing, "AccountObj")[0]}
    rows: list[tuple[str, str, str | None, int]] = []
    rows += [
        ("orders", m, c, 1) for m, c in documents.loc[documents["单据类型"] == "发票", ["month", "客户编码"]].to_numpy()
    ]
    rows += [
        ("net_revenue", m, c, n)
        for m, c, n in zip(lines["month"], lines["客户编码"], cents(lines["不含税金额"]), strict=True)
    ]
    rows += [("invoice_lines", m, c, 1) for m, c in lines[["month", "客户编码"]].to_numpy()]
    rows += [("units", m, c, int(n)) for m, c, n in lines[["month", "客户编码", "数量"]].to_numpy()]
    rows += [("payments", d.replace("/", "-")[:7], c, 1) for d, c in payments[["回款日期", "客户编码"]].to_numpy()]
    rows += [("calls", r["ActivityDate"][:7], code[r["AccountId"]], 1) for r in salesforce(landing, "Task")[0]]
    rows += [("visits", r["ActivityDate"][:7], code[r["AccountId"]], 1) for r in salesforce(landing, "Event")[0]]
    cases = {r["Id"]: r for r in salesforce(landing, "Case")[0]}.values()
    rows += [
        ("handling_minutes", r["CreatedDate"][:7], code[r["AccountId"]], int(float(r["Handling_Minutes__c"] or 0)))
        for r in cases
    ]
    members = {r["Id"]: r for r in salesforce(landing, "CampaignMember")[0]}.values()
    rows += [
        ("campaign_responses", r["FirstRespondedDate"][:7], code[r["AccountId"]], 1)
        for r in members
        if r["HasResponded"] == "1"
    ]
    for driver, name, customer, month, quantity in (
        ("calls", "ActiveRecordObj", lambda r: r["related_object_data"][0]["id"], "create_time", lambda r: 1),
        ("visits", "CheckinsObj", lambda r: r["account_id"], "field_cT5i1__c", lambda r: 1),
        (
            "handling_minutes",
            "CasesObj",
            lambda r: r["account_id"],
            "create_time",
            lambda r: int(r.get("field_hM4nT__c", 0)),
        ),
        ("campaign_responses", "CampaignMembersObj", lambda r: r["field_m2Ac5__c"], "field_m4Rd7__c", lambda r: 1),
    ):
        for r in {r["_id"]: r for r in fxiaoke(landing, name)[0]}.values():
            if month in r:
                local = pd.Timestamp(r[month] + 8 * 3_600_000, unit="ms")
                rows.append((driver, f"{local:%Y-%m}", code[customer(r)], quantity(r)))
    counted = pd.DataFrame(rows, columns=["driver", "month", "customer", "quantity"])
    return (
        counted.groupby(["driver", "month", "customer"], as_index=False)["quantity"]
        .sum()
        .assign(quantity=lambda f: f["quantity"].clip(lower=0))
    )


def test_profits_follow_a_whale_curve(company: tuple[Path, dict[str, Any]]) -> None:
    """Allocated by the company's own rules (without unused capacity, minutes as orders, and service pools by the cost of
    those they serve): most earn, a few key accounts eat it up."""
    landing, _ = company
    entries = current(ledger(landing), LEDGER_KEY)
    scope = rules("ledger_scope").to_dict("records")
    entries["pool"] = [
        pool_of(a, c, scope) for a, c in zip(entries["GL_Account_Number"], entries["Segment01"], strict=True)
    ]
    pools = rules("pools").set_index("pool_id")
    by_driver = driver_counts(landing)
    cost = entries[entries["pool"] == "freight_out"].groupby("Segment02")["cents"].sum().astype(float)
    for pool, driver in pools.loc[pools["stage"] == "activity", "driver_id"].items():
        amount = entries[entries["pool"] == pool].groupby("month")["cents"].sum()
        share = by_driver[by_driver["driver"] == {"order_minutes": "orders"}.get(driver, driver)]
        rate = amount / share.groupby("month")["quantity"].sum()
        assert rate.notna().all(), f"{pool}: a month with cost and without {driver}"
        cost = cost.add((share["quantity"] * share["month"].map(rate)).groupby(share["customer"]).sum(), fill_value=0)
    services = entries[entries["pool"].isin(pools.index[pools["stage"] == "service"])]["cents"].sum()
    sustaining = entries[entries["pool"].isin(pools.index[pools["stage"] == "sustaining"])]["cents"].sum()
    cost = cost * (1 + services / (cost.sum() + sustaining))
    documents = current(readable_invoices(landing), BILLING_KEYS["发票"])
    documents = documents[documents["状态"] != "已作废"]
    lines = current(billing(landing, "发票明细"), BILLING_KEYS["发票明细"]).merge(
        documents[["单据编号", "客户编码"]], on="单据编号"
    )
    margin = (cents(lines["不含税金额"]) - cents(lines["成本金额"])).groupby(lines["客户编码"]).sum()
    profit = margin.sub(cost, fill_value=0).sort_values(ascending=False)
    operating_expense = entries.loc[entries["pool"].notna(), "cents"].sum()
    assert (margin > 0).mean() > 0.97
    assert 0.70 < operating_expense / margin.sum() < 0.85
    assert 0.50 < (profit > 0).mean() < 0.70
    assert 1.15 < profit.cumsum().max() / profit.sum() < 1.60
    worst = profit.index[-3:]
    accounts = {r["AccountNumber"]: r["Segment__c"] for r in salesforce(landing, "Account")[0]}
    levels = {r.get("account_no"): r["account_level__r"] for r in fxiaoke(landing, "AccountObj")[0]}
    assert any(accounts.get(c) == "Key Account" or levels.get(c) == "重要客户" for c in worst)


def test_budgets_cover_every_expense(company: tuple[Path, dict[str, Any]]) -> None:
    landing, _ = company
    rows = deliveries(landing, "ledger", "Trial_Balance_*.txt", sep="|")
    budget = rows[rows["BudgetFlag"] == "budget"]
    monthly = (
        (cents(budget["Amount_Ending"]) - cents(budget["Amount_Beginning"]))
        .groupby(budget["Fiscal_Year"] + budget["Period"])
        .sum()
    )
    assert len(monthly) == 24
    assert (monthly > 0).all()
    entries = current(ledger(landing), LEDGER_KEY)
    spent = entries[
        entries["GL_Account_Number"].between("660101", "660299") & (entries["GL_Account_Number"] != "660109")
    ]["cents"].sum()
    assert 0.9 < monthly.sum() / spent < 1.1
