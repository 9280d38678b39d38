"""draft-dialect: what it proposes for files it has not been told of, tried by reading them with the proposal.

The samples are drafted without the built-in dialect written for them: what is left to know is other systems' words.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import duckdb
import pytest
from command import SHARED_DATA

from assets.errors import ConfigurationError, WhalecurveError
from assets.ingest import engine, storage
from assets.ingest.dialect import load_dialect
from assets.ingest.draft import draft_dialect

pytestmark = pytest.mark.slow  # some hundred small loads

SAMPLES = SHARED_DATA.parent / "samples"
DAY = datetime.date(2026, 4, 1)

needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason="the samples of real systems' files are not here")


def a_file(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read_by(text: str, files: list[Path], folder: Path, entity: str):
    """The canonical rows a proposed dialect makes of files, and how many it quarantines."""
    (folder / "dialects").mkdir()
    (folder / "dialects" / "drafted.yml").write_text(text, encoding="utf-8")
    landing = folder / "landing" / "system" / DAY.isoformat()
    landing.mkdir(parents=True)
    for file in files:
        (landing / file.name).write_bytes(file.read_bytes())
    dialect = load_dialect("drafted", folder)
    with engine.reading_connection() as connection:
        engine.load_delivery(connection, folder / "landing", folder / "raw", "system", dialect, entity, DAY)
    path = storage.load_path(folder / "raw", entity, "system", DAY)
    relation = duckdb.execute(f"from read_parquet('{path}') order by source_row")
    names = [column[0] for column in relation.description]
    rows = [dict(zip(names, row, strict=True)) for row in relation.fetchall()]
    good = [row for row in rows if row["quarantine_reason"] is None]
    return good, len(rows) - len(good)


def bindings(text: str) -> dict[str, str]:
    """Column -> the line that binds it."""
    return dict(re.findall(r"^ {6}(\w+): (\{.*)$", text, flags=re.MULTILINE))


# The samples

FIVE = [
    ("1002", "2026-03-31", 113000),
    ("1122", "2026-03-05", 113000),
    ("1122", "2026-03-31", -113000),
    ("222101", "2026-03-05", -13000),
    ("6001", "2026-03-05", -100000),
]

LEDGERS = {
    "ads_GL_Detail_20260301_20260331.txt": (("aicpa_ads",), 10),
    "erpnext_gl_entry.csv": (("erpnext",), 6),
    "gbt24589_记账凭证.csv": (("gbt24589",), 7),
    "kingdee_cloud_GL_VOUCHER.asCSV.csv": (("kingdee_cloud",), 6),
    "kingdee_cloud_GL_VOUCHER.xlsx": (("kingdee_cloud",), 6),
    "kingdee_k3_标准格式.csv": (("kingdee_k3",), 4),
    "kingdee_凭证列表.csv": (("kingdee_list",), 7),
    "odoo_account_move_line.csv": (("odoo",), 5),
    "saft_no_130.xml": (("saft",), 5),
    "sap_ACDOCA.csv": (("sap_acdoca", "sap_bkpf_bseg"), 4),
    "xero_journals.jsonl": (("xero",), 4),
    "yonyou_u8_填制凭证.txt": (("yonyou_u8",), 4),
}
"""Sample -> the dialects written for it, and how many columns at least the draft gets as its dialect does."""


@needs_samples
@pytest.mark.parametrize("name", LEDGERS)
def test_a_ledger_is_drafted_from_what_other_systems_call_things(name, tmp_path):
    own, least = LEDGERS[name]
    text = draft_dialect([SAMPLES / name], name="drafted", anew=True, without=own)
    rows, quarantined = read_by(text, [SAMPLES / name], tmp_path, "gl_entry")
    # 2221.01 is Kingdee's way to write 222101, which no value says.
    entries = [
        (r["gl_account_number"].replace(".", ""), str(r["effective_date"]), r["functional_amount"]) for r in rows
    ]
    assert sorted(entries) == FIVE
    assert quarantined == 0
    assert len({(row["legal_entity_id"], row["journal_id"]) for row in rows}) == 2
    assert len(bindings(text)) >= least


@needs_samples
@pytest.mark.parametrize(
    ("names", "own"),
    [
        (("fxiaoke_NewOpportunityObj.jsonl",), "fxiaoke"),
        (("salesforce_Opportunity.csv",), "salesforce"),
        (("zoho_Deals_001.csv",), "zoho"),
        (("jiandaoyun_entry_data_list.json", "jiandaoyun_widget_list.json"), "jiandaoyun"),
    ],
)
def test_opportunities_are_drafted_from_what_other_systems_call_things(names, own, tmp_path):
    files = [SAMPLES / name for name in names]
    text = draft_dialect(files, name="drafted", anew=True, without=(own,))
    rows, _ = read_by(text, files, tmp_path, "opportunity")
    live = [row for row in rows if not row["is_deleted"] and row["amount"] is not None]
    assert [(str(row["close_date"]), row["amount"]) for row in live] == [("2026-03-05", 100000), ("2026-06-30", 60000)]
    assert all(row["stage_source"] for row in live)
    if own != "fxiaoke":  # of its three columns of stages the codes say nothing, and the words stand on two rows only
        assert [row["stage_class"] for row in live] == ["won", "open"]


@needs_samples
@pytest.mark.parametrize(
    ("name", "missing"), [("sap_BSEG.txt", "effective_date"), ("qbo_general_ledger.csv", "--entity")]
)
def test_what_the_file_does_not_say_is_said_to_be_missing(name, missing, tmp_path):
    """BSEG has no posting date, which stands in BKPF; in QuickBooks' report the account is a heading."""
    own = {"sap_BSEG.txt": ("sap_bkpf_bseg", "sap_acdoca"), "qbo_general_ledger.csv": ("quickbooks",)}[name]
    text = draft_dialect([SAMPLES / name], name="drafted", anew=True, without=own)
    assert text.startswith("# A draft that does not load yet")
    commented = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert any(missing in line for line in commented)
    with pytest.raises(ConfigurationError):
        read_by(text, [SAMPLES / name], tmp_path, "gl_entry")


@needs_samples
def test_a_file_a_built_in_dialect_reads_needs_none_of_its_own(tmp_path):
    text = draft_dialect([SAMPLES / "kingdee_cloud_GL_VOUCHER.xlsx"], name="drafted")
    assert "kingdee_cloud fits" in text
    assert "drafted: {dialect: " in text


@needs_samples
def test_a_built_in_dialect_fits_a_file_of_another_name_too(tmp_path):
    file = tmp_path / "export.csv"
    file.write_bytes((SAMPLES / "odoo_account_move_line.csv").read_bytes())
    text = draft_dialect([file], name="drafted")
    assert "dialect: odoo fits, though it expects files of another name" in text
    rows, quarantined = read_by(text, [file], tmp_path, "gl_entry")
    assert len(rows) == 5
    assert quarantined == 0


# Files of nobody's system

GERMAN = """\
Belegdatum;Beleg;Sachkonto;Text;Soll;Haben
31.01.2026;B-1;6000;Miete;1.250,50;
31.01.2026;B-1;1200;Miete;;1.250,50
03.02.2026;B-2;1200;Erlös Müller;100,00;
03.02.2026;B-2;4000;Erlös Müller;;100,00
"""


def test_a_ledger_whose_words_nobody_knows_is_found_by_its_values(tmp_path):
    """No dialect knows a German label: that the sides add up, and the vouchers, tells them."""
    file = a_file(tmp_path, "buchungen.csv", GERMAN, "cp1252")
    text = draft_dialect([file], name="drafted")
    assert 'decimal: ","  # sure: as in 1.250,50' in text
    assert "encoding: [utf-8, cp1252]  # guess:" in text
    bound = bindings(text)
    assert bound["functional_amount"].startswith("{debit: Soll, credit: Haben}  # guess:")
    assert "2 vouchers, each balances" in bound["journal_id"]
    assert 'format: "%d.%m.%Y"}' in bound["effective_date"]
    rows, quarantined = read_by(text, [file], tmp_path, "gl_entry")
    assert [(r["journal_id"], r["gl_account_number"], str(r["functional_amount"])) for r in rows] == [
        ("B-1", "6000", "1250.5000"), ("B-1", "1200", "-1250.5000"), ("B-2", "1200", "100.0000"), ("B-2", "4000", "-100.0000"),
    ]  # fmt: skip
    assert quarantined == 0


def test_a_signed_ledger_under_two_title_lines(tmp_path):
    file = a_file(
        tmp_path,
        "journal.csv",
        "Postings of March,,,\n,,,\nPosting date,Voucher no,Account no,Amount\n"
        "2026-03-01,7,6000,10.00\n2026-03-01,7,1000,-10.00\n2026-03-02,8,6000,5.00\n2026-03-02,8,1000,-5.00\n",
    )
    text = draft_dialect([file], name="drafted", entity="gl_entry")
    rows, _ = read_by(text, [file], tmp_path, "gl_entry")
    assert [str(row["functional_amount"]) for row in rows] == ["10.0000", "-10.0000", "5.0000", "-5.0000"]
    assert [row["journal_id"] for row in rows] == ["7", "7", "8", "8"]
    assert [row["journal_line_number"] for row in rows] == [1, 2, 1, 2]


def test_a_side_beside_the_amount(tmp_path):
    file = a_file(
        tmp_path,
        "entries.csv",
        "Posting date|Voucher|Account|Side|Value\n2026-03-01|1|6000|debit|10.00\n2026-03-01|1|1000|credit|10.00\n"
        "2026-03-02|2|1000|debit|4.00\n2026-03-02|2|4000|credit|4.00\n",
    )
    text = draft_dialect([file], name="drafted", entity="gl_entry")
    assert "indicator: {from: Side, debit: debit, credit: credit}" in bindings(text)["functional_amount"]
    rows, _ = read_by(text, [file], tmp_path, "gl_entry")
    assert [int(row["functional_amount"]) for row in rows] == [10, -10, 4, -4]


def test_of_two_columns_that_divide_the_amounts_evenly_the_one_that_balances_vouchers_is_the_side(tmp_path):
    file = a_file(
        tmp_path,
        "entries.csv",
        "Posting date|Voucher|Account|Area|Column|Value\n2026-03-01|1|6000|N|P|10.50\n2026-03-01|1|1000|N|Q|10.50\n"
        "2026-03-02|2|1000|S|P|10.50\n2026-03-02|2|4000|S|Q|10.50\n",
    )
    line = bindings(draft_dialect([file], name="drafted", entity="gl_entry"))["functional_amount"]
    assert "indicator: {from: Column, debit: P, credit: Q}" in line
    assert "# guess: both sides add up to the same; look whether P is debit" in line


def test_chinese_invoices_with_their_choices(tmp_path):
    """Labels like those of known systems, values some of which no dialect knows."""
    file = a_file(
        tmp_path,
        "开票记录.csv",
        "发票号码,客户名称,开票日期,不含税金额,税额,价税合计\n"
        'F-1,云杉科技,2026/3/5,"1,000.00",130.00,"1,130.00"\nF-2,海蓝贸易,2026/3/9,200.00,26.00,226.00\n',
        "gb18030",
    )
    text = draft_dialect([file], name="drafted", entity="invoice")
    bound = bindings(text)
    assert bound["document_type"] == "{value: invoice}  # guess: no column says it; all rows are taken for invoice"
    rows, quarantined = read_by(text, [file], tmp_path, "invoice")
    assert quarantined == 0
    read = [
        (r["invoice_id"], r["customer_name"], str(r["invoice_date"]), r["net_amount"], r["gross_amount"]) for r in rows
    ]
    assert read == [("F-1", "云杉科技", "2026-03-05", 1000, 1130), ("F-2", "海蓝贸易", "2026-03-09", 200, 226)]


@pytest.mark.parametrize(
    ("dates", "wanted", "degree"),
    [
        (("03/05/2026", "04/05/2026"), "%d/%m/%Y", "guess: no value tells day from month"),
        (("03/05/2026", "13/05/2026"), "%d/%m/%Y", ""),
        (("03/05/2026", "05/13/2026"), "%m/%d/%Y", ""),
        (("03.05.26", "04.05.26"), "%d.%m.%y", "likely: with points the day comes first"),
        (("05-Mar-2026", "06-Mar-2026"), "%d-%b-%Y", ""),
    ],
)
def test_day_and_month_are_told_apart_by_values_or_marked(dates, wanted, degree, tmp_path):
    text = "payment_id;payment_date;amount\nP1;{};1,50\nP2;{};2,50\n".format(*dates)
    drafted = draft_dialect([a_file(tmp_path, "pay.csv", text)], name="drafted", entity="payment")
    line = bindings(drafted)["payment_date"]
    assert f'format: "{wanted}"' in line
    assert f"# {degree}" in line


def test_values_of_a_choice_nobody_knows_are_left_to_a_person(tmp_path):
    text = (
        "gl_account_number,gl_account_name,account_type\n1,Cash,Asset\n2,Odd,Wondrous\n3,Sales,Revenue\n4,Bank,Asset\n"
    )
    drafted = draft_dialect([a_file(tmp_path, "chart.csv", text)], name="drafted", entity="gl_account")
    assert "map: {Asset: asset, Revenue: revenue}" in bindings(drafted)["account_type"]
    assert "check: add Wondrous (1 rows) to the map: one of asset, liability," in drafted
    assert "3 of 4 rows read as gl_account, 1 quarantined" in drafted


def test_western_text_is_not_taken_for_chinese(tmp_path):
    """Nearly all western text is valid GB18030; Chinese it is not."""
    text = "customer_id,customer_name,city\n1,Müller & Söhne,Köln\n2,Jörg Weber,Zürich\n"
    drafted = draft_dialect([a_file(tmp_path, "customers.csv", text, "cp1252")], name="drafted")
    assert "encoding: [utf-8, cp1252]" in drafted
    text = "customer_id,customer_name,city\n1,上海云杉科技,上海\n2,海蓝贸易,大连\n"
    drafted = draft_dialect([a_file(tmp_path, "customers.csv", text, "gb18030")], name="drafted")
    assert "encoding: [utf-8, gb18030]" in drafted


def test_several_files_of_one_system_are_one_dialect(tmp_path):
    customers = a_file(tmp_path, "customers.csv", "customer_id,customer_name,city\n1,A,X\n2,B,Y\n")
    payments = a_file(tmp_path, "payments.csv", "payment_id,payment_date,amount,customer_id\nP1,2026-01-02,5.50,1\n")
    text = draft_dialect([customers, payments], name="drafted")
    assert re.findall(r"^  (\w+):$", text, flags=re.MULTILINE) == ["customer", "payment"]
    assert len(read_by(text, [customers, payments], tmp_path, "payment")[0]) == 1


def test_two_kinds_of_file_of_one_entity_are_two_mappings(tmp_path):
    old = a_file(
        tmp_path, "old_payments.csv", "payment_id,payment_date,amount\nP1,2026-01-02,5.50\nP2,2026-01-03,6.50\n"
    )
    new = a_file(
        tmp_path, "bank.csv", "payment_id;applied;payment_date;amount\nP3;x;04.01.2026;7,50\nP4;y;14.01.2026;8,50\n"
    )
    text = draft_dialect([old, new], name="drafted", entity="payment")
    rows, quarantined = read_by(text, [old, new], tmp_path, "payment")
    assert sorted((row["payment_id"], float(row["amount"])) for row in rows) == [
        ("P1", 5.5), ("P2", 6.5), ("P3", 7.5), ("P4", 8.5),
    ]  # fmt: skip
    assert quarantined == 0


def test_no_input_makes_it_fail_without_a_sentence(tmp_path):
    for name, content in {
        "a.csv": b"",
        "b.csv": b"\n\n",
        "c.json": b"{",
        "d.xml": b"<a><b>",
        "e.csv": b"\x00\xff\x81",
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(WhalecurveError, match=r"\w+ \w+ \w+"):
            draft_dialect([path], name="drafted")
