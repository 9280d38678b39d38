"""The built-in ledger dialects: the same two vouchers, as each system writes them, are the same five entries.

The deliveries are written here, in each system's own encoding and shape, from `LINES`; the samples beside the repository,
where they are, are read as well. A control that only shows over a whole ledger (`ledger_controls` in dbt: vouchers that
balance, revenue in credit) is made here from the rows, to say by what an error is found that ingest cannot see.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import gzip
import io
import itertools
import json
import re
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import openpyxl
import pytest
from command import SHARED_DATA

from assets.errors import DeliveryError
from assets.ingest import engine, storage
from assets.ingest.dialect import load_dialect

pytestmark = pytest.mark.slow  # some hundred small loads

SAMPLES = SHARED_DATA.parent / "samples"
DAY = datetime.date(2026, 4, 1)
NAME = "上海云杉科技有限公司"


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a voucher; the amount stands on one side, and a negative one is a red-letter line."""

    voucher: int
    date: str
    account: str
    debit: str = ""
    credit: str = ""
    customer: str = ""
    department: str = ""
    text: str = ""

    @property
    def name(self) -> str:
        return NAME if self.customer == "C001" else ""

    @property
    def amount(self) -> str:
        return self.debit or self.credit

    @property
    def net(self) -> Decimal:
        return Decimal(self.debit or 0) - Decimal(self.credit or 0)


LINES = (
    Line(12, "2026-03-05", "1122", debit="113000.00", customer="C001", text="应收云杉"),
    Line(12, "2026-03-05", "6001", credit="100000.00", department="D01", text="订阅收入"),
    Line(12, "2026-03-05", "2221.01", credit="13000.00", text="销项税额"),
    Line(13, "2026-03-31", "1002", debit="113000.00", text="银行收款"),
    Line(13, "2026-03-31", "1122", credit="113000.00", customer="C001", text="核销应收"),
)
RED = (
    Line(14, "2026-03-31", "1122", debit="-565.00", customer="C001", text="红字冲销"),
    Line(14, "2026-03-31", "6001", credit="-565.00", department="D01", text="红字冲销"),
)
ENTRIES = sorted((line.date, line.account.replace(".", ""), line.net) for line in LINES)
ACCOUNT_NAMES = {"1122": "应收账款", "6001": "主营业务收入", "2221.01": "应交增值税", "1002": "银行存款"}


# Reading


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What became of a delivery: the load, and its rows as dictionaries."""

    load: storage.Load | None
    rows: list[dict]

    @property
    def good(self) -> list[dict]:
        return [row for row in self.rows if row["quarantine_reason"] is None and not row["is_deleted"]]

    @property
    def bad(self) -> list[str]:
        return [row["quarantine_reason"] for row in self.rows if row["quarantine_reason"] is not None]

    @property
    def entries(self) -> list[tuple]:
        return sorted((str(r["effective_date"]), r["gl_account_number"], r["functional_amount"]) for r in self.good)

    @property
    def unbalanced(self) -> list[str]:
        """What ledger_controls finds as voucher_balance."""
        sums: dict[str, Decimal] = {}
        for row in self.good:
            sums[row["journal_id"]] = sums.get(row["journal_id"], Decimal(0)) + row["functional_amount"]
        return [voucher for voucher, total in sums.items() if total]

    @property
    def revenue(self) -> Decimal:
        """What ledger_controls looks at as revenue_is_credit: a net debit is found there."""
        return sum((r["functional_amount"] for r in self.good if r["gl_account_number"] == "6001"), Decimal(0))


@pytest.fixture(scope="module")
def connection():
    with engine.reading_connection() as connection:
        yield connection


@pytest.fixture
def deliver(connection, tmp_path):
    """Deliver files to a source of a dialect, or of a company's own text of one, and read one entity of it."""

    def _deliver(
        dialect: str, files: dict[str, bytes], entity: str = "gl_entry", own: str | None = None, **options
    ) -> Loaded:
        folder = tmp_path / "landing" / "ledger" / DAY.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        company = tmp_path / "company"
        (company / "dialects").mkdir(parents=True, exist_ok=True)
        if own is not None:
            (company / "dialects" / "own.yml").write_text(f"dialect: own\nextends: {dialect}\n{own}", encoding="utf-8")
        spoken = load_dialect("own" if own is not None else dialect, company, **options)
        outcome = engine.load_delivery(
            connection, tmp_path / "landing", tmp_path / "raw", "ledger", spoken, entity, DAY
        )
        path = storage.load_path(tmp_path / "raw", entity, "ledger", DAY)
        if outcome.load is None:
            return Loaded(None, [])
        relation = duckdb.sql(f"select * from read_parquet('{path}') order by source_file, source_row")
        return Loaded(outcome.load, [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()])

    return _deliver


# The systems' files


@dataclasses.dataclass(frozen=True)
class Table:
    """A delimited file before it is bytes, so that a test can change it as a system would."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    encoding: str = "utf-8"
    delimiter: str = ","
    before: str = ""
    labels: tuple[str, ...] = ()
    line_end: str = "\n"

    def files(self, encoding: str | None = None) -> dict[str, bytes]:
        out = io.StringIO()
        quoting = csv.QUOTE_NONE if self.delimiter == "|" else csv.QUOTE_MINIMAL
        writer = csv.writer(out, delimiter=self.delimiter, lineterminator=self.line_end, quoting=quoting, quotechar='"')
        writer.writerows([row for row in (self.header, self.labels) if row] + list(self.rows))
        return {self.name: (self.before + out.getvalue()).encode(encoding or self.encoding)}

    def reordered(self) -> Table:
        """The columns from last to first."""
        return dataclasses.replace(
            self, header=self.header[::-1], labels=self.labels[::-1], rows=tuple(row[::-1] for row in self.rows)
        )

    def renamed(self, names: dict[str, str]) -> Table:
        return dataclasses.replace(self, header=tuple(names.get(name, name) for name in self.header))

    def changed(self, change: Callable[[dict[str, str]], dict[str, str]]) -> Table:
        """Each row as a dictionary, changed."""
        rows = (change(dict(zip(self.header, row, strict=True))) for row in self.rows)
        return dataclasses.replace(self, rows=tuple(tuple(row[name] for name in self.header) for row in rows))


def table(name: str, columns: str, records, **options) -> Table:
    """A table of `columns` (names by blanks or |) from dictionaries; what a record does not say is empty."""
    header = tuple(columns.split("|") if "|" in columns else columns.split())
    rows = tuple(tuple(record.get(column, "") for column in header) for record in records)
    return Table(name, header, rows, **options)


def numbered(lines):
    """Each line with its number within its voucher, from 1."""
    count: dict[int, int] = {}
    for line in lines:
        count[line.voucher] = count.get(line.voucher, 0) + 1
        yield count[line.voucher], line


def first_only(number: int, values: dict[str, str]) -> dict[str, str]:
    """The cells of a voucher's head, which stand on its first line only."""
    return values if number == 1 else {}


def aicpa_ads(lines=LINES) -> Table:
    return table(
        "GL_Detail_20260301_20260331.txt",
        "Journal_ID Journal_ID_Line_Number JE_Line_Description Source Business_Unit_Code Effective_Date Fiscal_Year Period "
        "GL_Account_Number Amount Amount_Credit_Debit_Indicator Amount_Currency Entered_By Segment01 Segment02",
        (
            {
                "Journal_ID": f"记-{line.voucher}", "Journal_ID_Line_Number": str(number), "JE_Line_Description": line.text,
                "Source": "SALES", "Business_Unit_Code": "1000", "Effective_Date": line.date.replace("-", ""),
                "Fiscal_Year": "2026", "Period": "M03", "GL_Account_Number": line.account.replace(".", ""),
                "Amount": line.amount, "Amount_Credit_Debit_Indicator": "D" if line.debit else "C", "Amount_Currency": "CNY",
                "Segment01": line.department, "Segment02": line.customer,
            }
            for number, line in numbered(lines)
        ),
        delimiter="|",
    )  # fmt: skip


def gbt24589(lines=LINES) -> Table:
    return table(
        "记账凭证_2026.csv",
        "记账凭证日期 会计年度 会计期间号 记账凭证类型编号 记账凭证编号 记账凭证行号 记账凭证摘要 科目编号 "
        "借方本币金额 贷方本币金额 币种编码 汇率 辅助项1编号 辅助项2编号 制单人 审核人 记账标志",
        (
            {
                "记账凭证日期": line.date.replace("-", ""), "会计年度": "2026", "会计期间号": "3", "记账凭证类型编号": "记",
                "记账凭证编号": str(line.voucher), "记账凭证行号": str(number), "记账凭证摘要": line.text,
                "科目编号": line.account.replace(".", ""), "借方本币金额": line.debit or "0.00",
                "贷方本币金额": line.credit or "0.00",
                "币种编码": "人民币", "汇率": "1", "辅助项1编号": line.customer, "辅助项2编号": line.department, "制单人": "张三",
                "审核人": "王五", "记账标志": "1",
            }
            for number, line in numbered(lines)
        ),
    )  # fmt: skip


def kingdee_k3(lines=LINES) -> Table:
    return table(
        "K3_标准格式.csv",
        "FDATE FTRANSDATE FPERIOD FGROUP FNUM FENTRYID FEXP FACCTID FCLSNAME1 FOBJID1 FCLSNAME2 FOBJID2 FCYID FEXCHRATE FDC "
        "FFCYAMT FDEBIT FCREDIT FPREPARE FCHECKER FPOSTED FDELETED",
        (
            {
                "FDATE": line.date, "FTRANSDATE": line.date, "FPERIOD": "3.00000", "FGROUP": "记 ", "FNUM": str(line.voucher),
                "FENTRYID": str(number - 1), "FEXP": line.text, "FACCTID": f"{line.account}   ",
                "FCLSNAME1": "部门" if line.department else "", "FOBJID1": line.department,
                "FCLSNAME2": "客户" if line.customer else "", "FOBJID2": line.customer,
                "FCYID": "RMB", "FEXCHRATE": "1", "FDC": "D" if line.debit else "C", "FFCYAMT": line.amount,
                "FDEBIT": line.debit or "0.00", "FCREDIT": line.credit or "0.00", "FPREPARE": "张三", "FCHECKER": "王五",
                "FPOSTED": "1", "FDELETED": "0",
            }
            for number, line in numbered(lines)
        ),
        encoding="gb18030",
        line_end="\r\n",
    )  # fmt: skip


CLOUD = {
    "FBillHead(GL_VOUCHER)": "*单据头(序号)", "FAccountBookID": "*(单据头)账簿#编码", "FDate": "*(单据头)日期",
    "FYEAR": "(单据头)会计年度", "FPERIOD": "(单据头)期间", "FVOUCHERGROUPID": "*(单据头)凭证字#编码",
    "FVOUCHERGROUPID#Name": "(单据头)凭证字#名称", "FVOUCHERGROUPNO": "(单据头)凭证号", "*Split*1": "间隔列",
    "FEXPLANATION": "(分录)摘要", "FACCOUNTID": "*(分录)科目编码#编码",
    "FDetailID#FFLEX5": "(分录)核算维度#部门#编码", "FDetailID#FFLEX6": "(分录)核算维度#客户#编码",
    "FCURRENCYID": "*(分录)币别#编码",
    "FEXCHANGERATE": "(分录)汇率", "FAMOUNTFOR": "(分录)原币金额", "FDEBIT": "(分录)借方金额", "FCREDIT": "(分录)贷方金额",
}  # fmt: skip


def kingdee_cloud(lines=LINES, labels=CLOUD) -> Table:
    return table(
        "GL_VOUCHER.csv",
        "|".join(labels),
        (
            {
                **first_only(number, {
                    "FBillHead(GL_VOUCHER)": str(line.voucher), "FAccountBookID": "001", "FDate": line.date, "FYEAR": "2026",
                    "FPERIOD": "3", "FVOUCHERGROUPID": "PRE001", "FVOUCHERGROUPID#Name": "记",
                    "FVOUCHERGROUPNO": str(line.voucher),
                }),
                "FEXPLANATION": line.text, "FACCOUNTID": line.account, "FDetailID#FFLEX5": line.department,
                "FDetailID#FFLEX6": line.customer, "FCURRENCYID": "PRE001", "FEXCHANGERATE": "1", "FAMOUNTFOR": line.amount,
                "FDEBIT": line.debit, "FCREDIT": line.credit,
            }
            for number, line in numbered(lines)
        ),
        labels=tuple(labels.values()),
    )  # fmt: skip


def workbook(source: Table, sheet: str) -> dict[str, bytes]:
    book = openpyxl.Workbook()
    cover = book.active
    cover.title = "说明"
    cover.append(["another sheet"])
    page = book.create_sheet(sheet)
    for row in (source.header, source.labels, *source.rows):
        page.append(
            [
                float(cell) if cell.replace(".", "", 1).lstrip("-").isdigit() and "." in cell else cell or None
                for cell in row
            ]
        )
    out = io.BytesIO()
    book.save(out)
    return {source.name.replace(".csv", ".xlsx"): out.getvalue()}


def kingdee_list(lines=LINES) -> Table:
    return table(
        "凭证列表.csv",
        "日期 会计年度 期间 凭证字 凭证号 摘要 科目编码 科目全名 币别 原币金额 借方金额 贷方金额 制单 审核 过账 出纳 附件数 "
        "来源系统 业务类型 审核状态 作废状态",
        (
            {
                **first_only(number, {
                    "日期": line.date, "会计年度": "2026", "期间": "3", "凭证字": "记", "凭证号": str(line.voucher),
                    "制单": "张三",
                    "审核": "王五", "过账": "王五", "附件数": "1", "来源系统": "总账", "审核状态": "已审核", "作废状态": "未作废",
                }),
                "摘要": line.text, "科目编码": line.account, "科目全名": ACCOUNT_NAMES.get(line.account, ""), "币别": "人民币",
                "原币金额": f"{Decimal(line.amount):,}", "借方金额": f"{Decimal(line.debit):,}" if line.debit else "",
                "贷方金额": f"{Decimal(line.credit):,}" if line.credit else "",
            }
            for number, line in numbered(lines)
        ),
        encoding="utf-8-sig",
    )  # fmt: skip


def yonyou_u8(lines=LINES) -> Table:
    rows = []
    for _, line in numbered(lines):
        cells = [
            line.date,
            "记",
            str(line.voucher),
            "1",
            line.text,
            line.account.replace(".", ""),
            line.debit or "0.00",
        ]
        cells += [line.credit or "0.00", "", "", "", "张三", "", "", "", line.department, "", line.customer, "", "", ""]
        while cells[-1] == "":  # the program cuts trailing commas
            cells.pop()
        rows.append(tuple(cells))
    return Table("填制凭证.txt", (), tuple(rows), encoding="gb18030", before="填制凭证,V800\r\n", line_end="\r\n")


QUICKBOOKS_ACCOUNTS = {
    "1002": ("1002 Bank", "Bank", 1),
    "1122": ("1122 Accounts Receivable (A/R)", "Accounts receivable (A/R)", 1),
    "2221.01": ("222101 VAT Payable", "Other Current Liabilities", -1),
    "6001": ("6001 Subscription Revenue", "Income", -1),
}


def quickbooks_report(lines=LINES, accounts=QUICKBOOKS_ACCOUNTS) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for title in ("云图软件（上海）有限公司", "General Ledger", "March 2026", ""):
        writer.writerow([title, *[""] * 8])
    writer.writerow(["", "Date", "Transaction Type", "Num", "Name", "Memo/Description", "Split", "Amount", "Balance"])
    for number, (account, _, side) in sorted(accounts.items()):
        writer.writerow([account, *[""] * 8])
        writer.writerow(["", "Beginning Balance", *[""] * 6, "0.00"])
        for line in lines:
            if line.account == number:
                date = datetime.date.fromisoformat(line.date).strftime("%m/%d/%Y")
                kind = "Payment" if line.voucher == 13 else "Invoice"
                writer.writerow(
                    ["", date, kind, f"记-{line.voucher}", NAME, line.text, "-Split-", f"{side * line.net:,}", "0.00"]
                )
        writer.writerow([f"Total for {account}", *[""] * 6, "$0.00", ""])
    out.write('"Accrual Basis Tuesday, March 31, 2026 05:12 PM GMT+08:00"\n')
    return out.getvalue()


def quickbooks_accounts(accounts=QUICKBOOKS_ACCOUNTS) -> str:
    rows = "".join(f"{account},{kind},Detail\n" for account, kind, _ in accounts.values())
    return f"Account List,,\n云图软件,,\n,,\nAccount,Type,Detail Type\n{rows}"


def quickbooks(lines=LINES) -> dict[str, bytes]:
    return {
        "General Ledger.csv": quickbooks_report(lines).encode("utf-8-sig"),
        "Account List.csv": quickbooks_accounts().encode("utf-8-sig"),
    }


def xero(lines=LINES) -> list[dict]:
    journals: dict[int, dict] = {}
    for _, line in numbered(lines):
        day = datetime.datetime.fromisoformat(line.date).replace(tzinfo=datetime.UTC)
        journal = journals.setdefault(line.voucher, {
            "JournalID": f"a1f0-{line.voucher}", "JournalNumber": line.voucher,
            "JournalDate": f"/Date({int(day.timestamp())}000+0000)/",
            "SourceType": "ACCREC", "Reference": f"记-{line.voucher}", "JournalLines": [],
        })  # fmt: skip
        journal["JournalLines"].append(
            {
                "JournalLineID": "l",
                "AccountCode": line.account.replace(".", ""),
                "NetAmount": float(line.net),
                "GrossAmount": 1.0,
            }
        )
    return list(journals.values())


def xero_lines(lines=LINES) -> dict[str, bytes]:
    return {"xero_journals.jsonl": "\n".join(json.dumps(journal) for journal in xero(lines)).encode()}


def odoo(lines=LINES) -> Table:
    return table(
        "account_move_line.csv",
        "id date move_name journal_id account_code name debit credit balance amount_currency currency_id partner_id "
        "analytic_distribution parent_state display_type company_id",
        (
            {
                "id": str(1000 + position), "date": line.date, "move_name": f"INV/2026/{line.voucher:05}",
                "journal_id": "客户发票",
                "account_code": line.account.replace(".", ""), "name": line.text, "debit": line.debit or "0.00",
                "credit": line.credit or "0.00", "balance": str(line.net), "amount_currency": str(line.net), "currency_id": "CNY",
                "partner_id": line.name, "analytic_distribution": '{"D01": 100.0}' if line.department else "",
                "parent_state": "posted", "display_type": "product", "company_id": "云图软件",
            }
            for position, line in enumerate(lines, start=1)
        ),
    )  # fmt: skip


def erpnext(lines=LINES) -> Table:
    return table(
        "gl_entry.csv",
        "name posting_date account party_type party cost_center project debit credit account_currency debit_in_account_currency "
        "credit_in_account_currency voucher_type voucher_no remarks is_opening fiscal_year company is_cancelled",
        (
            {
                "name": f"GLE-{position}", "posting_date": line.date,
                "account": f"{line.account.replace('.', '')} - {ACCOUNT_NAMES.get(line.account, 'x')} - YT",
                "party_type": "Customer" if line.customer else "", "party": line.name,
                "cost_center": "D01 - 华东销售部 - YT" if line.department else "", "debit": line.debit or "0.0",
                "credit": line.credit or "0.0", "account_currency": "CNY", "debit_in_account_currency": line.debit or "0.0",
                "credit_in_account_currency": line.credit or "0.0", "voucher_type": "Sales Invoice",
                "voucher_no": f"ACC-SINV-2026-{line.voucher:05}", "remarks": line.text, "is_opening": "No", "fiscal_year": "2026",
                "company": "云图软件", "is_cancelled": "0",
            }
            for position, line in enumerate(lines, start=1)
        ),
    )  # fmt: skip


def document(line: Line) -> str:
    return f"01000000{line.voucher}"


def bkpf(lines=LINES) -> Table:
    heads = {line.voucher: line for line in lines}.values()
    return table(
        "BKPF.txt",
        "MANDT BUKRS BELNR GJAHR BLART BLDAT BUDAT MONAT CPUDT USNAM STBLG BKTXT WAERS KURSF BSTAT",
        (
            {
                "MANDT": "100", "BUKRS": "1000", "BELNR": document(line), "GJAHR": "2026", "BLART": "RV",
                "BLDAT": line.date.replace("-", ""), "BUDAT": line.date.replace("-", ""), "MONAT": "03", "CPUDT": "20260305",
                "USNAM": "ZHANGSAN", "BKTXT": "销售云杉", "WAERS": "CNY", "KURSF": "1.00000",
            }
            for line in heads
        ),
        delimiter="|",
    )  # fmt: skip


def bseg(lines=LINES) -> Table:
    return table(
        "BSEG.txt",
        "MANDT BUKRS BELNR GJAHR BUZEI KOART SHKZG DMBTR WRBTR PSWSL HKONT KUNNR KOSTL GSBER PROJK SGTXT AUGDT",
        (
            {
                "MANDT": "100", "BUKRS": "1000", "BELNR": document(line), "GJAHR": "2026", "BUZEI": f"{number:03}",
                "KOART": "D" if line.customer else "S", "SHKZG": "S" if line.debit else "H", "DMBTR": line.amount,
                "WRBTR": line.amount, "PSWSL": "CNY", "HKONT": line.account.replace(".", "").zfill(10), "KUNNR": line.customer,
                "KOSTL": line.department, "SGTXT": line.text, "AUGDT": "00000000", "PROJK": "00000000",
            }
            for number, line in numbered(lines)
        ),
        delimiter="|",
    )  # fmt: skip


def sap(lines=LINES) -> dict[str, bytes]:
    return {**bkpf(lines).files(), **bseg(lines).files()}


def acdoca(lines=LINES, ledger: str = "0L", plan: str = "0") -> Table:
    return table(
        "ACDOCA.csv",
        "RCLNT RLDNR RBUKRS GJAHR BELNR DOCLN RRCTY RACCT DRCRK HSL RHCUR WSL RWCUR BUDAT BLDAT CPUDT POPER "
        "BLART KUNNR RCNTR PRCTR SGTXT",
        (
            {
                "RCLNT": "100", "RLDNR": ledger, "RBUKRS": "1000", "GJAHR": "2026", "BELNR": document(line),
                "DOCLN": f"{number:06}",
                "RRCTY": plan, "RACCT": line.account.replace(".", "").zfill(10), "DRCRK": "S" if line.debit else "H",
                "HSL": str(line.net), "RHCUR": "CNY", "WSL": str(line.net), "RWCUR": "CNY", "BUDAT": line.date.replace("-", ""),
                "BLDAT": line.date.replace("-", ""), "CPUDT": "20260305", "POPER": "003", "BLART": "RV", "KUNNR": line.customer,
                "RCNTR": line.department, "PRCTR": "P100", "SGTXT": line.text,
            }
            for number, line in numbered(lines)
        ),
    )  # fmt: skip


def saft(
    lines=LINES, *, entries: int | None = None, debit: str | None = None, credit: str | None = None, outside: str = ""
) -> str:
    transactions = []
    for voucher in dict.fromkeys(line.voucher for line in lines):
        own = [line for line in lines if line.voucher == voucher]
        items = "".join(
            f"<Line><RecordID>{number}</RecordID><AccountID>{line.account.replace('.', '')}</AccountID>"
            + (
                f"<Analysis><AnalysisType>A</AnalysisType><AnalysisID>{line.department}</AnalysisID></Analysis>"
                * bool(line.department)
            )
            + (f"<CustomerID>{line.customer}</CustomerID>" if line.customer else "<CustomerID/>")
            + f"<Description>{line.text}</Description>"
            + (f"<DebitAmount><Amount>{line.debit}</Amount></DebitAmount>" * bool(line.debit))
            + (f"<CreditAmount><Amount>{line.credit}</Amount></CreditAmount>" * bool(line.credit))
            + "</Line>"
            for number, line in enumerate(own, start=1)
        )
        transactions.append(
            f"<Transaction><TransactionID>记-{voucher}</TransactionID><Period>3</Period><PeriodYear>2026</PeriodYear>"
            f"<TransactionDate>{own[0].date}</TransactionDate><GLPostingDate>{own[0].date}</GLPostingDate>{items}</Transaction>"
        )
    debits = debit or sum((Decimal(line.debit) for line in lines if line.debit), Decimal(0))
    credits = credit or sum((Decimal(line.credit) for line in lines if line.credit), Decimal(0))
    count = len(transactions) if entries is None else entries
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<AuditFile xmlns="urn:StandardAuditFile-Taxation-Financial:NO">'
        "<Header><Company><RegistrationNumber>999999999</RegistrationNumber><Name>云图软件</Name></Company>"
        f"<DefaultCurrencyCode>CNY</DefaultCurrencyCode></Header>{outside}<GeneralLedgerEntries>"
        f"<NumberOfEntries>{count}</NumberOfEntries><TotalDebit>{debits}</TotalDebit><TotalCredit>{credits}</TotalCredit>"
        f"<Journal><JournalID>SAL</JournalID>{''.join(transactions)}</Journal></GeneralLedgerEntries><SourceDocuments/></AuditFile>"
    )


def saft_files(lines=LINES, **options) -> dict[str, bytes]:
    return {"saft.xml": saft(lines, **options).encode()}


def of(make: Callable[..., Table]) -> Callable[..., dict[str, bytes]]:
    return lambda lines=LINES: make(lines).files()


WRITERS: dict[str, tuple[str, Callable[..., dict[str, bytes]]]] = {
    "aicpa_ads": ("aicpa_ads", of(aicpa_ads)),
    "gbt24589": ("gbt24589", of(gbt24589)),
    "saft": ("saft", saft_files),
    "kingdee_k3": ("kingdee_k3", of(kingdee_k3)),
    "kingdee_cloud csv": ("kingdee_cloud", of(kingdee_cloud)),
    "kingdee_cloud xlsx": (
        "kingdee_cloud",
        lambda lines=LINES: workbook(kingdee_cloud(lines), "凭证#单据头(FBillHead)"),
    ),
    "kingdee_list": ("kingdee_list", of(kingdee_list)),
    "yonyou_u8": ("yonyou_u8", of(yonyou_u8)),
    "quickbooks": ("quickbooks", quickbooks),
    "xero jsonl": ("xero", xero_lines),
    "xero json": ("xero", lambda lines=LINES: {"Journals.json": json.dumps({"Journals": xero(lines)}).encode()}),
    "odoo": ("odoo", of(odoo)),
    "erpnext": ("erpnext", of(erpnext)),
    "sap_bkpf_bseg": ("sap_bkpf_bseg", sap),
    "sap_acdoca": ("sap_acdoca", of(acdoca)),
    "chinese_voucher": ("chinese_voucher", of(kingdee_list)),
}
"""Every shape a ledger is delivered in: its dialect, and what writes it."""

TABLES: dict[str, Callable[..., Table]] = {
    "aicpa_ads": aicpa_ads, "gbt24589": gbt24589, "kingdee_k3": kingdee_k3, "kingdee_cloud": kingdee_cloud,
    "kingdee_list": kingdee_list, "odoo": odoo, "erpnext": erpnext, "sap_acdoca": acdoca, "chinese_voucher": kingdee_list,
}  # fmt: skip
"""The shapes that are one table with a header."""

RESTATED = {
    "gbt24589": "--2026-3", "saft": "999999999-2026-3", "kingdee_k3": "2026-3", "kingdee_cloud csv": "001-2026-3",
    "kingdee_cloud xlsx": "001-2026-3", "kingdee_list": "2026-3", "yonyou_u8": "2026-3", "quickbooks": "2026-3",
    "odoo": "云图软件-2026-3", "erpnext": "云图软件-2026-3", "chinese_voucher": "--2026-3",
}  # fmt: skip
"""The scope each shape states anew; of the others a delivery may hold only what is new."""

CODES = {"aicpa_ads", "gbt24589", "saft", "kingdee_k3", "kingdee_cloud", "yonyou_u8", "sap_bkpf_bseg", "sap_acdoca"}
NAMES = {"quickbooks", "odoo", "erpnext"}
"""Systems that know customers by code, and by name. A 凭证列表 and a Xero journal name none."""


def assert_customers(dialect: str, loaded: Loaded) -> None:
    receivables = [row for row in loaded.good if row["gl_account_number"] == "1122"]
    assert len(receivables) == 2
    expected = ("C001", None) if dialect in CODES else (None, NAME) if dialect in NAMES else (None, None)
    assert {(row["customer_id"], row["customer_name"]) for row in receivables} == {expected}
    assert {row["customer_id"] for row in loaded.good if row["gl_account_number"] != "1122"} == {None}


@pytest.mark.parametrize("shape", WRITERS)
def test_every_system_gives_the_same_five_entries(deliver, shape):
    dialect, write = WRITERS[shape]
    loaded = deliver(dialect, write())
    assert loaded.entries == ENTRIES
    assert (loaded.load.rows_out, loaded.load.rows_quarantined) == (5, 0)
    assert loaded.unbalanced == []
    assert_customers(dialect, loaded)
    assert len({(row["journal_id"], row["journal_line_number"]) for row in loaded.rows}) == 5
    assert len({row["journal_id"] for row in loaded.rows}) == 2
    assert {row["restates"] for row in loaded.rows} == {RESTATED.get(shape)}


SAMPLE_FILES = {
    "aicpa_ads": ["ads_GL_Detail_20260301_20260331.txt"],
    "gbt24589": ["gbt24589_记账凭证.csv"],
    "saft": ["saft_no_130.xml"],
    "kingdee_k3": ["kingdee_k3_标准格式.csv"],
    "kingdee_cloud": ["kingdee_cloud_GL_VOUCHER.xlsx"],
    "kingdee_list": ["kingdee_凭证列表.csv"],
    "yonyou_u8": ["yonyou_u8_填制凭证.txt"],
    "quickbooks": ["qbo_general_ledger.csv"],
    "xero": ["xero_journals.jsonl", "xero_invoice_export.csv"],
    "odoo": ["odoo_account_move_line.csv"],
    "erpnext": ["erpnext_gl_entry.csv"],
    "sap_bkpf_bseg": ["sap_BKPF.txt", "sap_BSEG.txt"],
    "sap_acdoca": ["sap_ACDOCA.csv"],
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the samples of other hands are not at {SAMPLES}")
@pytest.mark.parametrize("dialect", SAMPLE_FILES)
def test_the_samples_give_the_same_five_entries(deliver, dialect):
    files = {name: (SAMPLES / name).read_bytes() for name in SAMPLE_FILES[dialect]}
    if dialect == "quickbooks":  # the sample comes without the list its signs need
        files["Account List.csv"] = quickbooks_accounts().encode()
    loaded = deliver(dialect, files)
    assert loaded.entries == ENTRIES
    assert loaded.load.rows_quarantined == 0
    # Odoo names the partner on the lines of the bank and of revenue, too.
    assert_customers(dialect, loaded)


# What every dialect must stand


@pytest.mark.parametrize(("shape", "packing"), zip(WRITERS, itertools.cycle(["gzip", "zip"]), strict=False))
def test_packed_deliveries(deliver, shape, packing):
    dialect, write = WRITERS[shape]
    files = write()
    if packing == "gzip":
        packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    else:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(f"export/{name}", content)
        packed = {"delivery.zip": buffer.getvalue()}
    loaded = deliver(dialect, packed)
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


ENCODINGS = [
    *((name, "utf-8-sig") for name in ("aicpa_ads", "gbt24589", "kingdee_cloud", "odoo", "erpnext")),
    *((name, "gb18030") for name in ("aicpa_ads", "gbt24589", "kingdee_cloud", "kingdee_list", "chinese_voucher", "sap_acdoca")),
    *((name, "utf-8") for name in ("kingdee_k3", "kingdee_list")),
    *((name, "utf-16") for name in ("aicpa_ads", "sap_acdoca")),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "encoding"), ENCODINGS)
def test_other_encodings(deliver, dialect, encoding):
    loaded = deliver(dialect, TABLES[dialect]().files(encoding))
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert {row["je_line_description"] for row in loaded.rows} == {line.text for line in LINES}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_u8_text_that_a_generator_wrote_in_utf_8(deliver, encoding):
    loaded = deliver("yonyou_u8", yonyou_u8().files(encoding))
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


@pytest.mark.parametrize("dialect", TABLES)
def test_other_column_order_blanks_and_unknown_columns(deliver, dialect):
    source = TABLES[dialect]().reordered()
    header = tuple(f" {name} " if position % 2 else name for position, name in enumerate(source.header))
    wider = dataclasses.replace(
        source, header=(*header, "custom_1"), labels=(*source.labels, "custom") if source.labels else (),
        rows=tuple((*row, "x") for row in source.rows),
    )  # fmt: skip
    loaded = deliver(dialect, wider.files())
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert "custom_1" in loaded.load.unread_columns


AMOUNTS = {
    "aicpa_ads": ("Amount",), "gbt24589": ("借方本币金额", "贷方本币金额"), "kingdee_k3": ("FDEBIT", "FCREDIT"),
    "kingdee_cloud": ("FDEBIT", "FCREDIT"), "kingdee_list": ("借方金额", "贷方金额"), "odoo": ("debit", "credit"),
    "erpnext": ("debit", "credit"), "sap_acdoca": ("HSL",), "chinese_voucher": ("借方金额", "贷方金额"),
}  # fmt: skip


def restyled(source: Table, dialect: str, style: Callable[[str], str]) -> Table:
    def change(row):
        return {name: style(cell) if name in AMOUNTS[dialect] and cell else cell for name, cell in row.items()}

    return source.changed(change)


@pytest.mark.parametrize("dialect", TABLES)
def test_thousands_full_width_digits_and_currency_signs(deliver, dialect):
    def style(cell: str) -> str:
        return f"￥{Decimal(cell.replace(',', '')):,}".translate(str.maketrans("0123456789.", "０１２３４５６７８９．"))

    loaded = deliver(
        dialect, restyled(TABLES[dialect](), dialect, style).files("gb18030" if dialect == "kingdee_k3" else "utf-8")
    )
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


@pytest.mark.parametrize("dialect", TABLES)
def test_a_decimal_comma_nobody_declared_is_quarantined_row_by_row(deliver, dialect):
    def style(cell: str) -> str:
        return f"{Decimal(cell.replace(',', '')):,}".replace(",", " ").replace(".", ",").replace(" ", ".")

    loaded = deliver(dialect, restyled(TABLES[dialect](), dialect, style).files())
    assert (loaded.good, len(loaded.bad)) == ([], 5)
    assert all("functional_amount" in reason for reason in loaded.bad)


@pytest.mark.parametrize("shape", WRITERS)
def test_red_letter_lines_stay_on_their_side(deliver, shape):
    dialect, write = WRITERS[shape]
    loaded = deliver(dialect, write(LINES + RED))
    assert loaded.entries == sorted(
        [*ENTRIES, ("2026-03-31", "1122", Decimal("-565.00")), ("2026-03-31", "6001", Decimal("565.00"))]
    )
    assert (loaded.unbalanced, loaded.bad) == ([], [])


SWAPPED = {
    "gbt24589": {"借方本币金额": "贷方本币金额", "贷方本币金额": "借方本币金额"},
    "kingdee_k3": {"FDEBIT": "FCREDIT", "FCREDIT": "FDEBIT"},
    "kingdee_cloud": {"FDEBIT": "FCREDIT", "FCREDIT": "FDEBIT"},
    "kingdee_list": {"借方金额": "贷方金额", "贷方金额": "借方金额"},
    "chinese_voucher": {"借方金额": "贷方金额", "贷方金额": "借方金额"},
    "odoo": {"debit": "credit", "credit": "debit"},
    "erpnext": {"debit": "credit", "credit": "debit"},
}


@pytest.mark.parametrize("dialect", SWAPPED)
def test_swapped_sides_are_not_mended_in_silence(deliver, dialect):
    """Every voucher still balances, so ingest cannot know: revenue is a debit, which revenue_is_credit finds."""
    loaded = deliver(dialect, TABLES[dialect]().renamed(SWAPPED[dialect]).files())
    assert loaded.entries == sorted((date, account, -amount) for date, account, amount in ENTRIES)
    assert loaded.unbalanced == []
    assert loaded.revenue > 0


def test_swapped_sides_of_a_text_without_header_are_not_mended_either(deliver):
    source = yonyou_u8()
    rows = tuple((*row[:6], row[7], row[6], *row[8:]) for row in source.rows)
    loaded = deliver("yonyou_u8", dataclasses.replace(source, rows=rows).files())
    assert loaded.unbalanced == []
    assert loaded.revenue > 0


@pytest.mark.parametrize("shape", WRITERS)
@pytest.mark.parametrize("cut", [12, 90])
def test_a_file_cut_off_is_never_taken_for_whole(deliver, shape, cut):
    """Refused, or a row in quarantine, or a voucher that no longer balances: something says so."""
    dialect, write = WRITERS[shape]
    files = write()
    last = sorted(files)[-1]
    if dialect == "quickbooks":
        content = files[last].rsplit(b"Total for", 1)[0]  # what follows says nothing of the entries
        files[last] = content[:-cut]
    else:
        files[last] = files[last].rstrip(b"\r\n")[:-cut]
    refusals = []
    try:
        loaded = deliver(dialect, files)
    except DeliveryError as error:
        refusals.append(str(error))
        loaded = Loaded(None, [])
    assert all(last.split(".")[0] in refusal for refusal in refusals)
    # A cut within the last field of the last line, which no amount stands in, cannot be seen and changes no amount.
    assert refusals or loaded.bad or loaded.unbalanced or (cut == 12 and loaded.entries == ENTRIES)


# What single systems do


STATES = {
    "kingdee_k3 deleted": ("kingdee_k3", kingdee_k3, "FDELETED", "1", "deleted"),
    "kingdee_k3 not posted": ("kingdee_k3", kingdee_k3, "FPOSTED", "0", "left out"),
    "gbt24589 not posted": ("gbt24589", gbt24589, "记账标志", "0", "left out"),
    "odoo draft": ("odoo", odoo, "parent_state", "draft", "deleted"),
    "odoo cancelled": ("odoo", odoo, "parent_state", "cancel", "deleted"),
    "odoo section": ("odoo", odoo, "display_type", "line_section", "left out"),
    "odoo note": ("odoo", odoo, "display_type", "line_note", "left out"),
    "erpnext cancelled": ("erpnext", erpnext, "is_cancelled", "1", "deleted"),
    "erpnext opening": ("erpnext", erpnext, "is_opening", "Yes", "left out"),
    "sap_acdoca other ledger": ("sap_acdoca", acdoca, "RLDNR", "2L", "left out"),
    "sap_acdoca plan": ("sap_acdoca", acdoca, "RRCTY", "1", "left out"),
}


@pytest.mark.parametrize("name", STATES)
def test_rows_that_do_not_count(deliver, name):
    dialect, make, column, value, outcome = STATES[name]
    lines = (*LINES, *RED)
    source = make(lines)
    position = source.header.index(column)
    rows = tuple(
        (*row[:position], value, *row[position + 1 :]) if index >= 5 else row for index, row in enumerate(source.rows)
    )
    loaded = deliver(dialect, dataclasses.replace(source, rows=rows).files())
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert sum(row["is_deleted"] for row in loaded.rows) == (2 if outcome == "deleted" else 0)
    assert loaded.load.rows_left_out == (2 if outcome == "left out" else 0)


def test_ads_of_sap_origin_has_commas_a_stray_blank_s_and_h_and_numbers_for_periods(deliver):
    """The facts of the published sample: 82 % of its dates are 19000101, because they are clearing dates."""
    source = dataclasses.replace(aicpa_ads(), name="GL_Detail_20260101_20261231.csv", delimiter=",")
    source = source.renamed({"JE_Line_Description": "JE_Line_ Description"})
    sides = {"D": "S", "C": "H"}
    source = source.changed(
        lambda row: {
            **row,
            "Amount_Credit_Debit_Indicator": sides[row["Amount_Credit_Debit_Indicator"]],
            "Period": "3",
            "Business_Unit_Code": "",
            "Effective_Date": "19000101" if row["Journal_ID"] == "记-12" else row["Effective_Date"],
        }
    )
    loaded = deliver("aicpa_ads", source.files())
    assert loaded.entries == [entry for entry in ENTRIES if entry[0] == "2026-03-31"]
    assert loaded.bad == ["effective_date: '19000101' is a placeholder for no date, and one is needed"] * 3
    assert {(row["fiscal_year"], row["period_number"]) for row in loaded.rows} == {(2026, 3)}
    assert {row["je_line_description"] for row in loaded.rows} == {line.text for line in LINES}


def test_ads_periods(deliver):
    written = {"1": "M03", "2": "W14", "3": "P9"}
    loaded = deliver(
        "aicpa_ads", aicpa_ads().changed(lambda row: {**row, "Period": written[row["Journal_ID_Line_Number"]]}).files()
    )
    assert {row["journal_line_number"]: row["period_number"] for row in loaded.good} == {1: 3, 2: None, 3: 9}


def test_ads_indicators_in_words_of_several_systems_and_an_unknown_one(deliver):
    for debit, credit in (("d", "c"), ("S", "H"), ("借", "贷"), ("1", "0")):
        words = {"D": debit, "C": credit}
        source = aicpa_ads().changed(
            lambda row, words=words: {
                **row,
                "Amount_Credit_Debit_Indicator": words[row["Amount_Credit_Debit_Indicator"]],
            }
        )
        assert deliver("aicpa_ads", source.files()).entries == ENTRIES
    source = aicpa_ads().changed(lambda row: {**row, "Amount_Credit_Debit_Indicator": "Soll"})
    loaded = deliver("aicpa_ads", source.files())
    assert len(loaded.bad) == 5
    assert "functional_amount: the side is 'Soll', and should be one of D, S, 借, 1, C, H, 贷, 0" in loaded.bad[0]


def test_iso_21378_names_and_the_amount_of_the_transaction(deliver):
    names = {
        "Journal_ID": "JournalID", "Journal_ID_Line_Number": "JournalIDLineNumber", "JE_Line_Description": "JELineDescription",
        "Effective_Date": "EffectiveDate", "Fiscal_Year": "FiscalYear", "Period": "AccountingPeriod",
        "GL_Account_Number": "GLAccountNumber", "Amount": "FunctionalAmount", "Amount_Currency": "FunctionalCurrencyCode",
        "Amount_Credit_Debit_Indicator": "CreditDebitIndicator", "Business_Unit_Code": "TransactionAmount",
        "Entered_By": "TransactionCurrencyCode",
    }  # fmt: skip
    source = aicpa_ads().changed(lambda row: {**row, "Business_Unit_Code": "16000", "Entered_By": "USD"}).renamed(names)
    loaded = deliver("aicpa_ads", source.files())
    assert loaded.entries == ENTRIES
    assert [(row["transaction_amount"], row["transaction_currency_code"]) for row in loaded.rows][:2] == [
        (Decimal(16000), "USD"),
        (Decimal(-16000), "USD"),
    ]


def test_ads_invoices(deliver):
    content = (
        "Invoice_ID|Invoice_Type_Name|Invoice_Date|Customer_Account_ID|Invoice_Transaction_Amount|Tax1_Transaction_Amount\n"
        "I1|invoice|20260305|C001|113.00|13.00\nI2|credit memo|20260306|C001|11.30|1.30\n"
    )
    loaded = deliver("aicpa_ads", {"Invoices_Generated_20260301_20260331.txt": content.encode()}, "invoice")
    assert [(r["document_type"], r["net_amount"], r["tax_amount"], r["gross_amount"]) for r in loaded.good] == [
        ("invoice", Decimal(100), Decimal(13), Decimal(113)),
        ("credit_note", Decimal(-10), Decimal("-1.30"), Decimal("-11.30")),
    ]


# SAF-T


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"debit": "226000.01"}, "it states debit 226000.01"),
        ({"credit": "225000"}, "it states credit 225000"),
        ({"entries": 3}, "it states vouchers 3"),
    ],
)
def test_a_saft_file_that_does_not_hold_its_own_totals_is_refused(deliver, wrong, said):
    with pytest.raises(DeliveryError, match=said):
        deliver("saft", saft_files(**wrong))


def test_a_saft_file_with_red_letters_states_them_on_their_side(deliver):
    assert deliver("saft", saft_files(LINES + RED)).load.rows_out == 7
    with pytest.raises(DeliveryError, match="it states debit 226565"):
        deliver("saft", saft_files(LINES + RED, debit="226565.00"))


@pytest.mark.parametrize("form", ["prefix", "no namespace", "another namespace", "bom", "comments"])
def test_saft_prefixes_and_namespaces(deliver, form):
    text = saft()
    if form == "prefix":
        for tag in ("/", ""):
            text = text.replace(f"<{tag}", f"<{tag}n1:") if tag else text
        text = text.replace("</n1:", "\0").replace("<", "<n1:").replace("\0", "</n1:").replace("<n1:?xml", "<?xml")
        text = text.replace('xmlns="', 'xmlns:n1="')
        assert {"<n1:TransactionID>", "</n1:AuditFile>"} < set(re.findall("<[^ >]+>", text))
    elif form == "no namespace":
        text = text.replace(' xmlns="urn:StandardAuditFile-Taxation-Financial:NO"', "")
    elif form == "another namespace":
        text = text.replace("urn:StandardAuditFile-Taxation-Financial:NO", "urn:OECD:StandardAuditFile-Taxation/2.00")
    elif form == "comments":
        text = text.replace("<Line>", "<!-- a line -->\n  <Line>")
    loaded = deliver("saft", {"saft.xml": text.encode("utf-8-sig" if form == "bom" else "utf-8")})
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert {row["legal_entity_id"] for row in loaded.rows} == {"999999999"}
    assert {row["functional_currency_code"] for row in loaded.rows} == {"CNY"}


MASTER = (
    "<MasterFiles><GeneralLedgerAccounts>"
    "<Account><AccountID>1122</AccountID><AccountDescription>应收账款</AccountDescription>"
    "<GroupingCategory>balanseverdiForOmloepsmiddel</GroupingCategory><AccountType>GL</AccountType></Account>"
    "<Account><AccountID>222101</AccountID><AccountDescription>VAT</AccountDescription>"
    "<GroupingCategory>kortsiktigGjeld</GroupingCategory><AccountType>GL</AccountType></Account>"
    "<Account><AccountID>6001</AccountID><AccountDescription>Revenue</AccountDescription><AccountType>Sale</AccountType></Account>"
    "<Account><AccountID>7000</AccountID><AccountDescription>Rent</AccountDescription><StandardAccountID>63</StandardAccountID>"
    "<AccountType>GL</AccountType></Account>"
    "<Account><AccountID>9999</AccountID><AccountDescription>?</AccountDescription><AccountType>GL</AccountType></Account>"
    "</GeneralLedgerAccounts><Customers>"
    "<Customer><RegistrationNumber>9131</RegistrationNumber><Name>上海云杉科技有限公司</Name><Address><City>上海</City><Country>CN</Country>"
    "</Address><Address><City>北京</City></Address><CustomerID>C001</CustomerID><PartyInfo><PaymentTerms><Days>30</Days></PaymentTerms>"
    "</PartyInfo></Customer>"
    "<Customer><Name>Single</Name><Address><City>Oslo</City></Address><CustomerID>C002</CustomerID></Customer>"
    "</Customers></MasterFiles>"
)


def test_saft_master_files(deliver):
    accounts = deliver("saft", saft_files(outside=MASTER), "gl_account")
    assert {row["gl_account_number"]: row["account_type"] for row in accounts.good} == {
        "1122": "asset", "222101": "liability", "6001": "revenue", "7000": "expense",
    }  # fmt: skip
    assert accounts.bad == ["account_type: 'GL' is none of asset, liability, equity, revenue, expense, statistical"]
    customers = deliver("saft", saft_files(outside=MASTER), "customer")
    assert [(r["customer_id"], r["customer_name"], r["city"], r["terms_due_days"]) for r in customers.good] == [
        ("C001", NAME, "上海", 30),
        ("C002", "Single", "Oslo", None),
    ]
    assert deliver("saft", saft_files(outside=MASTER)).entries == ENTRIES


def test_saft_lines_do_not_carry_the_master_files(deliver, monkeypatch):
    """A line is written with what stands above it: were the customers among it, a file would grow with their product."""
    from assets.ingest import documents

    written = []
    write = documents._write
    monkeypatch.setattr(
        documents, "_write", lambda out, record, parent: (written.append(parent), write(out, record, parent))
    )
    customers = "<Customer><Name>x</Name></Customer>" * 500 + "</Customers>"
    loaded = deliver("saft", saft_files(outside=MASTER.replace("</Customers>", customers)))
    assert loaded.entries == ENTRIES
    assert len(written) == 5
    assert all(len(json.dumps(parent, ensure_ascii=False)) < 500 for parent in written)


def test_saft_invoices(deliver):
    def invoice(number, kind, net, gross, side):
        return (
            f"<Invoice><InvoiceNo>{number}</InvoiceNo><CustomerInfo><CustomerID>C001</CustomerID></CustomerInfo>"
            f"<InvoiceDate>2026-03-05</InvoiceDate><InvoiceType>{kind}</InvoiceType>"
            f"<Line><LineNumber>1</LineNumber><ProductCode>SKU-A</ProductCode><Quantity>1</Quantity><UnitPrice>{net}</UnitPrice>"
            f"<InvoiceLineAmount><Amount>{net}</Amount></InvoiceLineAmount><DebitCreditIndicator>{side}</DebitCreditIndicator></Line>"
            f"<DocumentTotals><NetTotal>{net}</NetTotal><GrossTotal>{gross}</GrossTotal></DocumentTotals></Invoice>"
        )

    documents = (
        "<SourceDocuments><SalesInvoices><NumberOfEntries>2</NumberOfEntries><TotalDebit>10.00</TotalDebit>"
        f"<TotalCredit>100.00</TotalCredit>{invoice('I1', '380', '100.00', '113.00', 'C')}"
        f"{invoice('I2', '381', '10.00', '11.30', 'D')}"
        "</SalesInvoices></SourceDocuments>"
    )
    files = {"saft.xml": saft().replace("<SourceDocuments/>", documents).encode()}
    assert deliver("saft", files).entries == ENTRIES, "the totals of the invoices are not those of the ledger"
    invoices = deliver("saft", files, "invoice")
    assert [(r["invoice_id"], r["document_type"], r["net_amount"], r["tax_amount"], r["gross_amount"], r["customer_id"])
            for r in invoices.good] == [
        ("I1", "invoice", Decimal(100), Decimal(13), Decimal(113), "C001"),
        ("I2", "credit_note", Decimal(-10), Decimal("-1.30"), Decimal("-11.30"), "C001"),
    ]  # fmt: skip
    lines = deliver("saft", files, "invoice_line")
    assert [(r["invoice_id"], r["line_number"], r["line_net_amount"]) for r in lines.good] == [
        ("I1", 1, Decimal(100)),
        ("I2", 1, Decimal(-10)),
    ]


def test_a_saft_document_with_entities_is_refused(deliver):
    text = saft().replace("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "aaaa">]>\n')
    with pytest.raises(DeliveryError, match="declares a document type"):
        deliver("saft", {"saft.xml": text.encode()})


# Kingdee, Yonyou and other Chinese ledgers


def test_kingdee_dimensions_are_found_by_their_label_and_not_by_their_number(deliver):
    labels = dict(CLOUD)
    labels["FDetailID#FFLEX5"], labels["FDetailID#FFLEX6"] = labels["FDetailID#FFLEX6"], labels["FDetailID#FFLEX5"]
    loaded = deliver("kingdee_cloud", kingdee_cloud(labels=labels).files())
    assert loaded.entries == ENTRIES
    assert {row["cost_center_id"] for row in loaded.rows} == {"C001", None}
    assert {row["customer_id"] for row in loaded.rows} == {"D01", None}


def test_kingdee_template_without_fill_down_is_quarantined(deliver):
    own = "entities:\n  gl_entry:\n    - files: '*GL_VOUCHER*'\n      read: {header: ['1', '2']}\n      columns:\n"
    own += '        journal_id: {sql: "{{ FVOUCHERGROUPNO }}", required: true}\n'
    own += "        journal_line_number: {number_within: journal_id}\n"
    own += "        effective_date: {from: FDate}\n        gl_account_number: {from: FACCOUNTID}\n"
    own += "        functional_amount: {debit: FDEBIT, credit: FCREDIT}\n"
    loaded = deliver("kingdee_cloud", kingdee_cloud().files(), own=own)
    assert len(loaded.bad) == 3
    assert all("journal_id is empty; effective_date is empty" in reason for reason in loaded.bad)


def test_kingdee_cloud_with_full_width_labels_a_blank_row_and_a_date_cell(deliver):
    source = kingdee_cloud(labels={k: v.replace("(", "（").replace(")", "）") for k, v in CLOUD.items()})
    book = openpyxl.Workbook()
    page = book.active
    page.title = "凭证#单据头(FBillHead)"
    for row in (source.header, source.labels):
        page.append(list(row))
    for row in source.rows:
        cells = dict(zip(source.header, row, strict=True))
        page.append(
            [
                datetime.datetime.fromisoformat(cell)
                if name == "FDate" and cell
                else Decimal(cell)
                if cell and "FDEBIT FCREDIT".find(name) >= 0
                else cell
                for name, cell in cells.items()
            ]
        )
    page.append([None] * len(source.header))
    page.append(["" for _ in source.header])
    out = io.BytesIO()
    book.save(out)
    loaded = deliver("kingdee_cloud", {"2026年3月_GL_VOUCHER.xlsx": out.getvalue()})
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert_customers("kingdee_cloud", loaded)


def test_kingdee_k3_pads_counts_from_zero_and_reads_amounts_in_the_document_currency(deliver):
    source = kingdee_k3().changed(lambda row: {**row, "FCYID": "USD", "FFCYAMT": "100.00", "FEXCHRATE": "7.1"})
    loaded = deliver("kingdee_k3", source.files())
    assert loaded.entries == ENTRIES
    assert [row["journal_line_number"] for row in loaded.rows] == [1, 2, 3, 1, 2]
    assert {row["journal_id"] for row in loaded.rows} == {"2026-3-记-12", "2026-3-记-13"}
    assert [row["transaction_amount"] for row in loaded.rows] == [100, -100, -100, 100, -100]
    assert {(row["transaction_currency_code"], row["functional_currency_code"]) for row in loaded.rows} == {
        ("USD", None)
    }
    assert [row["cost_center_id"] for row in loaded.rows] == [None, "D01", None, None, None]


def test_kingdee_list_total_rows_voided_vouchers_and_repeated_heads(deliver):
    lines = (*LINES, *RED)
    source = kingdee_list(lines)
    marked = source.changed(lambda row: {**row, "作废状态": "已作废"} if row["凭证号"] == "14" else row)
    total = tuple(
        {"日期": "合计", "借方金额": "226,000.00", "贷方金额": "226,000.00"}.get(name, "") for name in source.header
    )
    loaded = deliver("kingdee_list", dataclasses.replace(marked, rows=(*marked.rows, total)).files())
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert (sum(row["is_deleted"] for row in loaded.rows), loaded.load.rows_left_out) == (2, 1)
    head = {"12": "2026-03-05", "13": "2026-03-31"}
    repeated = kingdee_list().changed(lambda row: row)
    vouchers = ["12", "12", "12", "13", "13"]
    rows = tuple(
        tuple({"日期": head[v], "会计年度": "2026", "期间": "3", "凭证字": "记", "凭证号": v}.get(n, c)
              for n, c in zip(repeated.header, row, strict=True))
        for v, row in zip(vouchers, repeated.rows, strict=True)
    )  # fmt: skip
    assert deliver("kingdee_list", dataclasses.replace(repeated, rows=rows).files()).entries == ENTRIES


SHORT = "日期|凭证字|凭证号|摘要|科目编码|科目名称|借方|贷方"


@pytest.mark.parametrize("dialect", ["kingdee_list", "chinese_voucher"])
def test_the_short_list_takes_its_period_from_the_date(deliver, dialect):
    source = table(
        "凭证列表.csv",
        SHORT,
        (
            {"日期": line.date.replace("-", "/"), "凭证字": "记", "凭证号": str(line.voucher), "摘要": line.text,
             "科目编码": line.account,
             "科目名称": ACCOUNT_NAMES[line.account], "借方": line.debit, "贷方": line.credit}
            for line in LINES
        ),
        encoding="utf-8-sig",
    )  # fmt: skip
    loaded = deliver(dialect, source.files())
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert {(row["fiscal_year"], row["period_number"]) for row in loaded.rows} == {(2026, 3)}
    assert {row["journal_id"] for row in loaded.rows} == {"2026-3-记-12", "2026-3-记-13"}


@pytest.mark.parametrize(
    ("date", "period"),
    [
        ("2026-03-05", "3"),
        ("2026/3/5", "2026.3期"),
        ("20260305", "202603"),
        ("2026年3月5日", "2026年3期"),
        ("2026.03.05", ""),
    ],
)
def test_chinese_dates_and_periods(deliver, date, period):
    source = table(
        "凭证.csv",
        "制单日期|会计期间|凭证类别字|凭证号|摘要|科目代码|借方金额|贷方金额|往来单位|部门",
        [
            {"制单日期": date, "会计期间": period, "凭证类别字": "记", "凭证号": "12", "摘要": "x", "科目代码": "1122",
             "借方金额": "5.00",
             "贷方金额": "-", "往来单位": NAME, "部门": "华东"},
            {"制单日期": date, "会计期间": period, "凭证类别字": "记", "凭证号": "12", "摘要": "x", "科目代码": "6001",
             "贷方金额": "5.00"},
        ],
    )  # fmt: skip
    loaded = deliver("chinese_voucher", source.files())
    assert loaded.bad == []
    assert [
        (str(r["effective_date"]), r["fiscal_year"], r["period_number"], r["functional_amount"]) for r in loaded.rows
    ] == [
        ("2026-03-05", 2026, 3, Decimal(5)),
        ("2026-03-05", 2026, 3, Decimal(-5)),
    ]
    assert {row["journal_id"] for row in loaded.rows} == {"2026-3-记-12"}
    assert (loaded.rows[0]["customer_id"], loaded.rows[0]["customer_name"], loaded.rows[0]["cost_center_id"]) == (
        None,
        NAME,
        "华东",
    )


def test_chinese_vouchers_with_an_amount_and_a_side(deliver):
    source = table(
        "凭证明细.txt",
        "凭证日期|凭证字|凭证号|摘要|科目编号|方向|金额|客户编码|项目",
        (
            {"凭证日期": line.date, "凭证字": "记", "凭证号": str(line.voucher), "摘要": line.text, "科目编号": line.account,
             "方向": "借" if line.debit else "贷", "金额": f"{Decimal(line.amount):,}", "客户编码": line.customer}
            for line in (*LINES, *RED)
        ),
        delimiter="\t",
        encoding="gb18030",
    )  # fmt: skip
    loaded = deliver("chinese_voucher", source.files())
    assert len(loaded.entries) == 7
    assert set(ENTRIES) < set(loaded.entries)
    assert loaded.unbalanced == []
    assert {row["customer_id"] for row in loaded.rows} == {"C001", None}
    loaded = deliver("chinese_voucher", source.changed(lambda row: {**row, "方向": "平"}).files())
    assert len(loaded.bad) == 7
    assert "functional_amount: '方向 平 113,000.00' is not a number" in loaded.bad[0]


def test_a_chinese_row_without_account_is_quarantined_and_a_total_is_not(deliver):
    rows = [
        {"日期": "2026-03-05", "凭证字": "记", "凭证号": "12", "摘要": "x", "借方": "5.00"},
        {"日期": "2026-03-05", "凭证字": "记", "凭证号": "12", "摘要": "x", "科目编码": "6001", "贷方": "abc"},
        {"摘要": "本页小计", "借方": "5.00", "贷方": "5.00"},
        {"日期": "合 计", "借方": "5.00", "贷方": "5.00"},
    ]
    loaded = deliver("chinese_voucher", table("凭证.csv", SHORT, rows).files())
    assert loaded.load.rows_left_out == 2
    assert loaded.bad == ["gl_account_number is empty", "functional_amount: 'abc' is not a number"]


def test_u8_rows_of_any_length_and_a_comma_in_the_text(deliver):
    source = yonyou_u8()
    custom = tuple((*row, *[""] * (21 - len(row)), "甲", "乙") for row in source.rows)
    loaded = deliver("yonyou_u8", dataclasses.replace(source, rows=custom).files())
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    broken = dataclasses.replace(source, rows=((*source.rows[0][:4], "应收", *source.rows[0][4:]), *source.rows[1:]))
    loaded = deliver("yonyou_u8", broken.files())
    assert len(loaded.bad) == 1
    assert "gl_account_number is empty" in loaded.bad[0]
    assert len(loaded.unbalanced) == 1
    quoted = dataclasses.replace(source, rows=tuple((*row[:4], '"' + row[4], *row[5:]) for row in source.rows))
    text = "".join(",".join(row) + "\r\n" for row in quoted.rows)
    loaded = deliver("yonyou_u8", {"填制凭证.txt": ("填制凭证,V861\r\n" + text).encode("gb18030")})
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


def test_u8_in_the_wrong_encoding_is_known_by_its_first_line(deliver):
    files = yonyou_u8().files()
    own = "read: {encoding: [latin-1]}\nentities:\n  gl_entry:\n"
    base = (Path(engine.__file__).parent / "dialects" / "yonyou_u8.yml").read_text(encoding="utf-8")
    start = base.index('    - files: "*填制凭证*.txt"')
    own += base[start : base.index('    - files: ["*GL_accvouch*"')].replace(
        "encoding: [utf-8, gb18030]", "encoding: [latin-1]"
    )
    with pytest.raises(DeliveryError, match="the dialect knows its files by a first line like"):
        deliver("yonyou_u8", files, own=own)


def accvouch(lines=LINES) -> Table:
    return table(
        "GL_accvouch.csv",
        "i_id iyear iperiod csign ino_id inid dbill_date cbill ccheck iflag cdigest ccode cexch_name md mc md_f mc_f nfrat "
        "cdept_id "
        "ccus_id citem_id bdelete",
        (
            {
                "i_id": str(position), "iyear": "2026", "iperiod": "3", "csign": "记", "ino_id": str(line.voucher),
                "inid": str(position),
                "dbill_date": f"{line.date} 00:00:00", "cbill": "张三", "ccheck": "王五", "cdigest": line.text,
                "ccode": line.account.replace(".", ""), "md": line.debit or "0", "mc": line.credit or "0",
                "md_f": "0", "mc_f": "0",
                "nfrat": "0", "cdept_id": line.department, "ccus_id": line.customer, "bdelete": "0",
            }
            for position, line in enumerate(lines, start=1)
        ),
    )  # fmt: skip


def test_u8_table_without_openings_and_voided_vouchers(deliver):
    source = accvouch((*LINES, *RED, Line(99, "2026-01-01", "1002", debit="7.00")))
    opening = dict(zip(source.header, source.rows[-1], strict=True)) | {"iperiod": "0"}
    voided = [dict(zip(source.header, row, strict=True)) | {"iflag": "1"} for row in source.rows[5:7]]
    rows = (*source.rows[:5], *(tuple(row.values()) for row in voided), tuple(opening.values()))
    loaded = deliver("yonyou_u8", dataclasses.replace(source, rows=rows).files())
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])
    assert (sum(row["is_deleted"] for row in loaded.rows), loaded.load.rows_left_out) == (2, 1)
    assert_customers("yonyou_u8", loaded)
    deleted = accvouch().changed(lambda row: {**row, "bdelete": "True"})
    assert deliver("yonyou_u8", deleted.files("utf-16")).good == []


def test_u8_table_foreign_currency(deliver):
    source = accvouch().changed(
        lambda row: {
            **row,
            "cexch_name": "美元",
            "md_f": "10.00" if row["md"] != "0" else "0",
            "mc_f": "10.00" if row["mc"] != "0" else "0",
        }
    )
    loaded = deliver("yonyou_u8", source.files())
    assert loaded.entries == ENTRIES
    assert [row["transaction_amount"] for row in loaded.rows] == [10, -10, -10, 10, -10]
    assert {row["transaction_currency_code"] for row in loaded.rows} == {"USD"}


def test_chinese_chart_trial_balance_and_customers(deliver):
    chart = (
        "科目编码,科目名称,科目类别,余额方向\n1122,应收账款,资产,借\n2221,应交税费,负债,贷\n2221.01,应交增值税,负债,贷\n4001,实收资本,所有者权益,贷\n"
        "5001,生产成本,成本,借\n6001,主营业务收入,损益,贷\n6602,管理费用,损益,借\n6603,财务费用,期间费用,借\n6051,其他业务收入,营业收入,贷\n"
        "6401,主营业务成本,营业成本及税金,借\n9999,怪,其他,借\n"
    )
    loaded = deliver("kingdee_list", {"会计科目表.csv": chart.encode("gb18030")}, "gl_account")
    assert {row["gl_account_number"]: row["account_type"] for row in loaded.good} == {
        "1122": "asset", "2221": "liability", "222101": "liability", "4001": "equity", "5001": "asset", "6001": "revenue",
        "6602": "expense", "6603": "expense", "6051": "revenue", "6401": "expense",
    }  # fmt: skip
    assert [row["parent_gl_account_number"] for row in loaded.good if row["gl_account_number"] == "222101"] == ["2221"]
    assert len(loaded.bad) == 1
    assert "account_type: '其他' is none of" in loaded.bad[0]
    balances = (
        "科目编号,会计年度,会计期间号,期初余额方向,期初本币余额,借方本币金额,贷方本币金额,期末余额方向,期末本币余额,辅助项1编号\n"
        "1122,2026,3,借,10.00,113000.00,113000.00,借,10.00,\n1122,2026,3,借,10.00,113000.00,113000.00,借,10.00,C001\n"
        '6001,2026,3,贷,5.00,0.00,100000.00,贷,"100,005.00",\n1002,2026,3,平,0.00,0,0,平,0.00,\n'
    )
    loaded = deliver("gbt24589", {"科目余额及发生额.csv": balances.encode()}, "trial_balance")
    assert [
        (r["gl_account_number"], r["amount_beginning"], r["period_debit"], r["period_credit"], r["amount_ending"])
        for r in loaded.good
    ] == [
        ("1122", 10, 113000, 113000, 10),
        ("6001", -5, 0, 100000, -100005),
        ("1002", 0, 0, 0, 0),
    ]
    customers = f"客户编码,客户名称,税号\nC001,{NAME},9131\n"
    loaded = deliver("yonyou_u8", {"客户档案.csv": customers.encode("gb18030")}, "customer")
    assert [(row["customer_id"], row["customer_name"], row["customer_tin"]) for row in loaded.good] == [
        ("C001", NAME, "9131")
    ]


def test_a_chart_is_not_taken_for_a_trial_balance(deliver):
    files = {"会计科目余额表.csv": "科目编码,会计年度,期间,期末余额\n1122,2026,3,1\n".encode()}
    assert deliver("chinese_voucher", files, "gl_account").load is None
    assert deliver("chinese_voucher", files, "trial_balance").load.rows_out == 1


# QuickBooks and Xero


def test_quickbooks_signs_come_from_the_account_list_and_never_without_it(deliver):
    files = quickbooks()
    with pytest.raises(DeliveryError, match=r"no file was delivered for accounts"):
        deliver("quickbooks", {name: content for name, content in files.items() if "Ledger" in name})
    files["Account List.csv"] = quickbooks_accounts(
        {k: v for k, v in QUICKBOOKS_ACCOUNTS.items() if k != "6001"}
    ).encode()
    loaded = deliver("quickbooks", files)
    assert len(loaded.bad) == 1
    assert loaded.bad[0].startswith("functional_amount: the account type is empty, and should be one of Bank,")
    assert len(loaded.unbalanced) == 1


def test_quickbooks_natural_sign_read_as_signed_is_found_by_the_balance(deliver):
    loaded = deliver(
        "quickbooks",
        quickbooks(),
        own="entities:\n  gl_entry:\n    columns:\n      functional_amount: {from: amount}\n",
    )
    assert loaded.bad == []
    assert loaded.unbalanced


@pytest.mark.parametrize("style", ["({:,})", "-{:,}", "$({:,})", "-${:,}"])
def test_quickbooks_amount_styles(deliver, style):
    files = quickbooks()
    text = files["General Ledger.csv"].decode("utf-8-sig")
    assert '"-113,000.00"' in text
    text = text.replace('"-113,000.00"', f'"{style.format(Decimal("113000.00"))}"')
    loaded = deliver("quickbooks", {**files, "General Ledger.csv": text.encode("utf-8-sig")})
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


def test_quickbooks_sub_accounts_accounts_without_number_and_an_account_column(deliver):
    accounts = {
        "1002": ("Bank", "Bank", 1),
        "1122": ("Accounts Receivable (A/R)", "Accounts receivable (A/R)", 1),
        "2221.01": ("VAT", "Other Current Liabilities", -1),
        "6001": ("Sales", "Income", -1),
    }
    report = quickbooks_report(accounts=accounts).replace("\nVAT,", "\nTaxes,,,,,,,,\nVAT,")
    report = report.replace("Total for VAT,", "Total for VAT,,,,,,,,\nTotal for Taxes with sub-accounts,")
    listed = quickbooks_accounts(accounts).replace("\nVAT,", "\nTaxes,Other Current Liabilities,x\nTaxes:VAT,")
    loaded = deliver("quickbooks", {"General_Ledger.csv": report.encode(), "Account List.csv": listed.encode()})
    assert loaded.bad == []
    assert {row["gl_account_number"]: row["functional_amount"] for row in loaded.good if row["functional_amount"] < 0} == {
        "Accounts Receivable (A/R)": -113000, "VAT": -13000, "Sales": -100000,
    }  # fmt: skip


def test_quickbooks_vouchers_without_number_still_balance(deliver):
    files = quickbooks()
    text = files["General Ledger.csv"].decode("utf-8-sig").replace("记-12", "").replace("记-13", "")
    loaded = deliver("quickbooks", {**files, "General Ledger.csv": text.encode()})
    assert (loaded.entries, loaded.bad, loaded.unbalanced) == (ENTRIES, [], [])


def test_quickbooks_in_another_locale(deliver):
    own = """entities:
  gl_entry:
    columns:
      effective_date: {from: posted, format: ["%d/%m/%Y"], required: true}
      fiscal_year: {sql: "year(try_strptime({{ posted }}, '%d/%m/%Y'))"}
      period_number: {sql: "month(try_strptime({{ posted }}, '%d/%m/%Y'))"}
"""
    files = quickbooks()
    assert (
        len(
            deliver(
                "quickbooks",
                {**files, "General Ledger.csv": quickbooks_report().replace("03/31/2026", "31/03/2026").encode()},
            ).bad
        )
        == 2
    )
    text = quickbooks_report().replace("03/31/2026", "31/03/2026").replace("03/05/2026", "05/03/2026")
    loaded = deliver("quickbooks", {**files, "General Ledger.csv": text.encode()}, own=own)
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


def test_quickbooks_chart_and_connector_tables(deliver):
    loaded = deliver("quickbooks", quickbooks(), "gl_account")
    assert {row["gl_account_number"]: row["account_type"] for row in loaded.good} == {
        "1002": "asset", "1122": "asset", "222101": "liability", "6001": "revenue",
    }  # fmt: skip
    assert loaded.bad == []
    files = {
        "account.csv": b"id,account_number,name,account_type\n7,6001,Sales,Income\n8,,Rent,Expense\n",
        "invoice.csv": b"id,doc_number,transaction_date,due_date,total_amount,total_tax,balance,customer_id,currency_id,"
        b"updated_at,_fivetran_deleted\n"
        b"1,INV-1,2026-03-05,2026-04-04,113.00,13.00,0,9,CNY,2026-03-06 10:00:00,false\n"
        b"2,INV-2,2026-03-05,2026-04-04,113.00,13.00,0,9,CNY,2026-03-06 10:00:00,true\n",
        "invoice_line.csv": b"invoice_id,index,amount,detail_type,sales_item_item_id\n1,0,110.00,SalesItemLineDetail,A\n"
        b"1,1,10.00,DiscountLineDetail,\n1,2,100.00,SubTotalLineDetail,\n",
    }
    assert {r["gl_account_number"]: r["account_type"] for r in deliver("quickbooks", files, "gl_account").good} == {
        "6001": "revenue",
        "8": "expense",
    }
    invoices = deliver("quickbooks", files, "invoice")
    assert [(r["invoice_id"], r["net_amount"], r["status"]) for r in invoices.good] == [("1", Decimal(100), "paid")]
    lines = deliver("quickbooks", files, "invoice_line")
    assert [row["line_net_amount"] for row in lines.good] == [Decimal(110), Decimal(-10)]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/Los_Angeles"])
def test_xero_days_are_days_wherever_the_company_is(deliver, zone):
    loaded = deliver("xero", xero_lines(), timezone=zone)
    assert loaded.entries == ENTRIES
    journals = [
        {**journal, "JournalDate": f"2026-03-{'05' if journal['JournalNumber'] == 12 else '31'}T00:00:00"}
        for journal in xero()
    ]
    files = {"journals.json": json.dumps({"Journals": journals, "Status": "OK"}).encode()}
    assert deliver("xero", files, timezone=zone).entries == ENTRIES


def test_xero_gross_amounts_are_not_booked_and_a_journal_without_lines_is_quarantined(deliver):
    journals = [*xero(), {"JournalID": "empty", "JournalDate": "/Date(1772668800000+0000)/"}]
    loaded = deliver("xero", {"journals.jsonl": "\n".join(json.dumps(journal) for journal in journals).encode()})
    assert loaded.entries == ENTRIES
    assert loaded.bad == ["the record has no list to read"] or "the record has no list to read" in loaded.bad[0]


XERO_INVOICES = (
    "ContactName,InvoiceNumber,Reference,InvoiceDate,DueDate,Total,TaxTotal,InventoryItemCode,Description,Quantity,UnitAmount,LineAmount,"
    "AccountCode,TaxAmount,Currency,Type,Status\n"
    f"{NAME},INV-1,SO-7,05/03/2026,04/04/2026,113000.00,13000.00,"
    "A,x,1.0000,60000.0000,60000.00,6001,7800.00,CNY,Sales invoice,Paid\n"
    f"{NAME},INV-1,SO-7,05/03/2026,04/04/2026,113000.00,13000.00,"
    "B,y,4.0000,10000.0000,40000.00,6001,5200.00,CNY,Sales invoice,Paid\n"
    f"{NAME},INV-2,,06/03/2026,,113.00,13.00,A,x,1,113,113.00,6001,13.00,CNY,Sales invoice,Awaiting Payment\n"
    f"{NAME},CN-1,,07/03/2026,,11.30,1.30,A,x,1,10,10.00,6001,1.30,CNY,Sales credit note,Paid\n"
    f"{NAME},INV-3,,08/03/2026,,1.13,0.13,A,x,1,1,1.00,6001,0.13,CNY,Sales invoice,Voided\n"
    "Supplier,B-1,,08/03/2026,,1.13,0.13,A,x,1,1,1.00,6001,0.13,CNY,Bill,Paid\n"
    f"{NAME},INV-4,,08/03/2026,,1.13,0.13,A,x,1,1,1.00,6001,0.13,CNY,Sales invoice,Lost in the post\n"
)


def test_xero_invoices_take_the_totals_of_the_head_once(deliver):
    files = {"xero_invoice_export.csv": XERO_INVOICES.encode("utf-8-sig")}
    loaded = deliver("xero", files, "invoice")
    assert {
        r["invoice_id"]: (r["document_type"], r["net_amount"], r["tax_amount"], r["gross_amount"], r["status"])
        for r in loaded.good
    } == {
        "INV-1": ("invoice", 100000, 13000, 113000, "paid"),
        "INV-2": ("invoice", 100, 13, 113, "approved"),
        "CN-1": ("credit_note", -10, Decimal("-1.3"), Decimal("-11.3"), "paid"),
        "INV-3": ("invoice", 1, Decimal("0.13"), Decimal("1.13"), "void"),
    }
    assert loaded.bad == ["status: 'lost in the post' is not a value the dialect maps"]
    assert {(str(r["invoice_date"]), r["customer_name"]) for r in loaded.good if r["invoice_id"] == "INV-1"} == {
        ("2026-03-05", NAME)
    }
    lines = deliver("xero", files, "invoice_line")
    assert [(r["invoice_id"], r["line_number"], r["line_net_amount"]) for r in lines.good][:4] == [
        ("INV-1", 1, 60000),
        ("INV-1", 2, 40000),
        ("INV-2", 1, 100),
        ("CN-1", 1, -10),
    ]


def test_xero_accounts(deliver):
    accounts = [
        {"Code": "6001", "Name": "Sales", "Type": "REVENUE", "Class": "REVENUE"},
        {"Code": "1122", "Name": "AR", "Type": "CURRENT"},
    ]
    loaded = deliver("xero", {"Accounts.json": json.dumps({"Accounts": accounts}).encode()}, "gl_account")
    assert {row["gl_account_number"]: row["account_type"] for row in loaded.good} == {
        "6001": "revenue",
        "1122": "asset",
    }


# Odoo, ERPNext


def test_odoo_over_json_rpc(deliver):
    records = []
    for row in odoo().rows:
        record = dict(zip(odoo().header, row, strict=True))
        code = record.pop("account_code")
        record |= {
            "id": int(record["id"]), "debit": float(record["debit"]), "credit": float(record["credit"]),
            "currency_id": [6, "CNY"],
            "partner_id": [12, NAME] if record["partner_id"] else False, "company_id": [1, "云图软件"], "display_type": "product",
            "account_id": [5, f"{code} 科目"], "journal_id": [3, "客户发票"], "analytic_distribution": False, "name": False,
            "move_name": record["move_name"],
        }  # fmt: skip
        records.append(record)
    for files in (
        {"account_move_line.json": json.dumps(records).encode()},
        {"account.move.line.jsonl": "\n".join(json.dumps(record) for record in records).encode()},
    ):
        loaded = deliver("odoo", files)
        assert (loaded.entries, loaded.bad) == (ENTRIES, [])
        assert_customers("odoo", loaded)
        assert {
            (r["legal_entity_id"], r["transaction_currency_code"], r["je_line_description"]) for r in loaded.rows
        } == {("云图软件", "CNY", None)}


def test_odoo_external_ids_shared_lines_and_drafts_of_one_number(deliver):
    source = odoo().changed(
        lambda row: {
            **row,
            "id": f"__export__.account_move_line_{row['id']}_1a2b3c",
            "analytic_distribution": '{"3": 60.0, "4": 40.0}',
        }
    )
    loaded = deliver("odoo", source.files())
    assert loaded.entries == ENTRIES
    assert [row["journal_line_number"] for row in loaded.rows] == [1001, 1002, 1003, 1004, 1005]
    assert {row["cost_center_id"] for row in loaded.rows} == {None}
    drafts = odoo().changed(lambda row: {**row, "move_name": "/", "parent_state": "draft"})
    loaded = deliver("odoo", drafts.files())
    assert (loaded.good, loaded.bad) == ([], [])


def test_erpnext_takes_a_party_for_a_customer_only_when_it_is_one(deliver):
    source = erpnext().changed(
        lambda row: {**row, "party_type": "Supplier" if row["party_type"] else "", "fiscal_year": "2026-2027"}
    )
    loaded = deliver("erpnext", source.files())
    assert loaded.entries == ENTRIES
    assert {row["customer_name"] for row in loaded.rows} == {None}
    assert {(row["fiscal_year"], row["period_number"]) for row in loaded.rows} == {(2026, 3)}
    unnumbered = erpnext().changed(lambda row: {**row, "account": row["account"].split(" - ", 1)[1]})
    assert {row["gl_account_number"] for row in deliver("erpnext", unnumbered.files()).good} == {
        "应收账款 - YT", "主营业务收入 - YT", "应交增值税 - YT", "银行存款 - YT",
    }  # fmt: skip


def test_erpnext_chart_and_customers(deliver):
    files = {
        "Account.csv": "name,account_number,account_name,root_type\n1122 - 应收账款 - YT,1122,应收账款,Asset\n"
        "销售 - YT,,销售,Income\n".encode(),
        "Customer.csv": f"name,customer_name\n{NAME},{NAME}\n".encode(),
    }
    accounts = deliver("erpnext", files, "gl_account")
    assert {row["gl_account_number"]: row["account_type"] for row in accounts.good} == {
        "1122": "asset",
        "销售 - YT": "revenue",
    }
    assert [row["customer_id"] for row in deliver("erpnext", files, "customer").good] == [NAME]


# SAP


def pipes(source: Table, names: dict[str, str] | None = None) -> bytes:
    """A table as a text download shows it: titles, rules, and a bar before the first column and behind the last."""
    rows = [tuple((names or {}).get(name, name) for name in source.header), *source.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown = ["|" + "|".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + "|" for row in rows]
    rule = "-" * len(shown[0])
    return "\n".join(["Table: shown by ZHANGSAN", "", rule, shown[0], rule, *shown[1:], rule, ""]).encode()


def test_sap_text_download_in_the_users_own_format(deliver):
    def german(row):
        cells = dict(row)
        for name in ("DMBTR", "WRBTR"):
            amount = Decimal(cells[name])
            text = f"{abs(amount):,}".replace(",", " ").replace(".", ",").replace(" ", ".")
            cells[name] = f"{text}-" if amount < 0 else text
        return cells

    def dotted(row):
        day = datetime.date.fromisoformat(row["BUDAT"]).strftime("%d.%m.%Y")
        return {**row, "BUDAT": day, "BLDAT": day, "CPUDT": day, "KURSF": "1,00000"}

    lines = LINES + RED
    files = {"BKPF.txt": pipes(bkpf(lines).changed(dotted)), "BSEG.txt": pipes(bseg(lines).changed(german))}
    loaded = deliver("sap_bkpf_bseg", files, own='read: {decimal: ","}\n')
    assert loaded.bad == []
    assert loaded.entries == deliver("sap_bkpf_bseg", sap(lines)).entries
    assert len(loaded.entries) == 7
    undeclared = deliver("sap_bkpf_bseg", files)
    assert (undeclared.good, len(undeclared.bad)) == ([], 7)


def test_sap_headers_with_their_meaning(deliver):
    names = {
        "BELNR": "BELNR (Accounting Document Number)",
        "DMBTR": "DMBTR (Betrag in Hauswährung)",
        "BUDAT": "BUDAT (Posting Date)",
    }
    files = {**bkpf().renamed(names).files(), **bseg().renamed(names).files()}
    loaded = deliver("sap_bkpf_bseg", files)
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


@pytest.mark.parametrize(("delimiter", "suffix"), [("\t", "txt"), (",", "csv"), (";", "csv")])
def test_sap_other_delimiters(deliver, delimiter, suffix):
    files = {}
    for source in (bkpf(), bseg()):
        files |= dataclasses.replace(source, delimiter=delimiter, name=source.name.replace("txt", suffix)).files(
            "utf-16"
        )
    loaded = deliver("sap_bkpf_bseg", files)
    assert (loaded.entries, loaded.bad) == (ENTRIES, [])


def test_sap_documents_are_joined_by_all_of_their_key(deliver):
    """The same number in another company code and another year is another document."""
    other = bkpf().changed(lambda row: {**row, "BUKRS": "2000", "BUDAT": "20260131"})
    older = bkpf().changed(lambda row: {**row, "GJAHR": "2025", "BUDAT": "20250131"})
    heads = dataclasses.replace(bkpf(), rows=(*other.rows, *older.rows, *bkpf().rows, *bkpf().rows))
    items = bseg().changed(lambda row: {**row, "BUKRS": "2000"})
    both = dataclasses.replace(bseg(), rows=(*bseg().rows, *items.rows))
    loaded = deliver("sap_bkpf_bseg", {**heads.files(), **both.files()})
    assert loaded.bad == []
    assert [entry for entry in loaded.entries if entry[0] > "2026-02"] == ENTRIES
    assert len(loaded.entries) == 10
    assert {row["journal_id"] for row in loaded.rows} == {
        "1000-100000012-2026",
        "1000-100000013-2026",
        "2000-100000012-2026",
        "2000-100000013-2026",
    }


def test_sap_items_without_head_are_quarantined_and_parked_documents_left_out(deliver):
    files = {**dataclasses.replace(bkpf(), rows=bkpf().rows[:1]).files(), **bseg().files()}
    loaded = deliver("sap_bkpf_bseg", files)
    assert loaded.entries == [entry for entry in ENTRIES if entry[0] == "2026-03-05"]
    assert loaded.bad == ["effective_date is empty"] * 2
    parked = bkpf().changed(lambda row: {**row, "BSTAT": "V" if row["BELNR"].endswith("13") else ""})
    loaded = deliver("sap_bkpf_bseg", {**parked.files(), **bseg().files()})
    assert (len(loaded.entries), loaded.bad) == (3, [])
    with pytest.raises(DeliveryError, match="no file was delivered for heads"):
        deliver("sap_bkpf_bseg", bseg().files())


def test_sap_transaction_amounts_rates_and_zeros(deliver):
    heads = bkpf().changed(
        lambda row: {
            **row,
            "WAERS": "USD",
            "KURSF": "8.00000-" if row["BELNR"].endswith("13") else "7.10000",
            "STBLG": "0000000000",
        }
    )
    items = bseg().changed(
        lambda row: {**row, "WRBTR": "10.00", "KUNNR": "0000012345" if row["KUNNR"] else "", "KOSTL": "0000004711"}
    )
    loaded = deliver("sap_bkpf_bseg", {**heads.files(), **items.files()})
    assert loaded.entries == ENTRIES
    assert [
        row["transaction_amount"]
        for row in sorted(loaded.rows, key=lambda r: (r["journal_id"], r["journal_line_number"]))
    ] == [10, -10, -10, 10, -10]
    assert {row["exchange_rate"] for row in loaded.rows} == {Decimal("7.1"), Decimal("0.125")}
    assert {row["customer_id"] for row in loaded.rows} == {"12345", None}
    assert {row["cost_center_id"] for row in loaded.rows} == {"4711"}
    assert {row["reversal_journal_id"] for row in loaded.rows} == {None}


def test_sap_amounts_read_as_signed_are_found_by_the_balance(deliver):
    loaded = deliver(
        "sap_bkpf_bseg", sap(), own="entities:\n  gl_entry:\n    columns:\n      functional_amount: {from: dmbtr}\n"
    )
    assert loaded.bad == []
    assert len(loaded.unbalanced) == 2


def test_sap_indicators_swapped_are_found_by_the_sign_of_revenue(deliver):
    sides = {"S": "H", "H": "S"}
    items = bseg().changed(lambda row: {**row, "SHKZG": sides[row["SHKZG"]]})
    loaded = deliver("sap_bkpf_bseg", {**bkpf().files(), **items.files()})
    assert (loaded.bad, loaded.unbalanced) == ([], [])
    assert loaded.revenue > 0


def test_sap_customers_and_a_chart_with_types(deliver):
    files = {
        "KNA1.txt": f"MANDT|KUNNR|NAME1|LAND1|ORT01|LOEVM\n100|0000012345|{NAME}|CN|上海|\n100|0000012346|gone|CN||X\n".encode(),
        "Chart_Of_Accounts.csv": b"GL_Account_Number,GL_Account_Name,Account_Type\n0000006001,Revenue,Revenue\n",
    }
    customers = deliver("sap_bkpf_bseg", files, "customer")
    assert [(row["customer_id"], row["customer_name"], row["city"]) for row in customers.good] == [
        ("12345", NAME, "上海")
    ]
    assert sum(row["is_deleted"] for row in customers.rows) == 1
    accounts = deliver("sap_acdoca", files, "gl_account")
    assert [(row["gl_account_number"], row["account_type"]) for row in accounts.good] == [("6001", "revenue")]


def test_acdoca_of_several_ledgers_counts_one(deliver):
    both = dataclasses.replace(acdoca(), rows=(*acdoca().rows, *acdoca(ledger="2L").rows))
    loaded = deliver("sap_acdoca", both.files())
    assert (loaded.entries, loaded.load.rows_left_out) == (ENTRIES, 5)


def test_acdoca_without_the_filter_of_ledgers_has_two_rows_of_one_key(deliver):
    """Every voucher still balances. The key without RLDNR says so: rows that differ are quarantined, and rows that are the
    same are one record, of which staging keeps one."""
    own = (Path(engine.__file__).parent / "dialects" / "sap_acdoca.yml").read_text(encoding="utf-8")
    own = own[own.index("entities:") :].replace('        - {from: RLDNR, in: ["0L", ""]}\n', "")
    other = acdoca(ledger="2L").changed(lambda row: {**row, "HSL": str(Decimal(row["HSL"]) * 2)})
    loaded = deliver("sap_acdoca", dataclasses.replace(acdoca(), rows=(*acdoca().rows, *other.rows)).files(), own=own)
    assert (loaded.good, len(loaded.bad)) == ([], 10)
    assert all("the delivery says different things of this key" in reason for reason in loaded.bad)
    same = dataclasses.replace(acdoca(), rows=(*acdoca().rows, *acdoca(ledger="2L").rows))
    loaded = deliver("sap_acdoca", same.files(), own=own)
    keys = [(row["journal_id"], row["journal_line_number"]) for row in loaded.good]
    assert (len(keys), len(set(keys))) == (10, 5)


def test_acdoca_plan_rows_are_the_budget(deliver):
    plan = acdoca(plan="1").changed(lambda row: {**row, "BUDAT": "00000000", "BELNR": ""})
    both = dataclasses.replace(acdoca(), rows=(*acdoca().rows, *plan.rows, *plan.rows))
    assert deliver("sap_acdoca", both.files()).entries == ENTRIES
    budget = deliver("sap_acdoca", both.files(), "budget")
    assert {
        (r["gl_account_number"], r["cost_center_id"], str(r["budget_month"]), r["amount"]) for r in budget.good
    } == {
        ("1122", None, "2026-03-01", Decimal(0)),
        ("6001", "D01", "2026-03-01", Decimal(-200000)),
        ("222101", None, "2026-03-01", Decimal(-26000)),
        ("1002", None, "2026-03-01", Decimal(226000)),
    }
    unread = plan.changed(lambda row: {**row, "HSL": "1.234,56" if row["RACCT"].endswith("6001") else row["HSL"]})
    assert deliver("sap_acdoca", unread.files(), "budget").bad == ["amount is empty"]


def test_mixed_currencies_within_a_journal_are_found_by_the_balance(deliver):
    """Four journals of the published ADS sample: one line is in the currency of the balances, 0.00 against the other's amount."""
    source = aicpa_ads().changed(
        lambda row: {**row, "Amount": "0.00", "Amount_Currency": "EUR"} if row["GL_Account_Number"] == "1002" else row
    )
    loaded = deliver("aicpa_ads", source.files())
    assert loaded.bad == []
    assert loaded.unbalanced == ["记-13"]
