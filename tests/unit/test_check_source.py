"""check-source: what a run would read of a delivery is found, shown on a screen, and nothing is written."""

from __future__ import annotations

import datetime
import unicodedata

import pytest
from command import PROJECT

from assets.errors import DeliveryError
from assets.ingest import engine
from assets.ingest.check import as_delivery, check_delivery, newest_delivery
from assets.ingest.check_text import check_text
from assets.ingest.dialect import Dialect
from pipelines import cli

pytestmark = pytest.mark.slow  # some hundred small loads

DAY = datetime.date(2026, 6, 1)

DIALECT = Dialect.model_validate(
    {
        "dialect": "erp",
        "read": {"delimiter": ";", "encoding": ["utf-8", "gb18030"]},
        "entities": {
            "gl_entry": {
                "files": "gl*.csv",
                "where": {"from": "void", "not_in": ["yes"]},
                "columns": {
                    "journal_id": {"from": "voucher"},
                    "journal_line_number": {"from": "line"},
                    "je_line_description": {"from": "text"},
                    "effective_date": {"from": "date"},
                    "gl_account_number": {"from": "account"},
                    "functional_amount": {"from": "amount"},
                    "customer_id": {"from": "customer"},
                    "project_id": {"from": "project"},
                },
            },
            "gl_account": {
                "files": "chart*.csv",
                "columns": {
                    "gl_account_number": {"from": "account"},
                    "gl_account_name": {"from": "name"},
                    "account_type": {"from": "type", "map": {"R": "revenue", "A": "asset"}},
                },
            },
            "payment": {
                "files": "pay*.csv",
                "columns": {
                    "payment_id": {"from": "no"},
                    "payment_date": {"from": "date"},
                    "amount": {"from": "amount"},
                    "customer_name": {"from": "payer"},
                    "payment_method": {"from": "method", "map": {"T": "transfer"}, "else": "null"},
                },
            },
        },
    }
)

LEDGER = """\
voucher;line;text;date;account;amount;customer;project;void;colour
V1;1;Sold to Ada;2026-05-30;1100;100.00;C1;;no;red
V1;2;Sold to Ada;2026-05-30;4000;-100.00;;;no;red
V2;1;Rent;2026-06-03;6000;50.00;;;no;red
V2;2;Rent;2026-06-03;1000;-49.00;;;no;red
V3;1;Gone;2026-05-30;6000;1.00;;;yes;red
V4;1;Bad;2026-13-30;6000;1.00;;;no;red
V4;2;Bad;2026-05-30;6000;ten;;;no;red
V4;3;Bad;2026-05-30;6000;eleven;;;no;red
"""
CHART = "account;name;type\n1100;Receivables;A\n4000;Sales;R\n6000;Rent;X\n6001;Heat;X\n"


@pytest.fixture
def check(tmp_path):
    """Deliver files and check them."""

    def _check(files, dialect=DIALECT, **options):
        folder = tmp_path / "landing" / "erp" / DAY.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_bytes(text.encode())
        return check_delivery(folder, "erp", dialect, DAY, **{"max_share": 0.02, **options})

    return _check


def the(check, entity):
    return next(found for found in check.entities if found.entity == entity)


def control(entity, name):
    return next(found for found in entity.controls if found.name == name)


def test_rows_columns_and_what_is_left_over(check):
    found = check({"gl.csv": LEDGER, "chart.csv": CHART, "holiday.docx": "x"})
    assert found.would_load
    assert found.unmatched == ("holiday.docx",)
    ledger = the(found, "gl_entry")
    assert (ledger.rows_in, ledger.rows_out, ledger.rows_quarantined, ledger.rows_left_out) == (8, 4, 3, 1)
    assert ledger.files[0].header == (1,)
    assert ledger.bound["journal_id"] == "voucher"
    assert ledger.without_value == ("project_id",)
    assert "cost_center_id" in ledger.unbound
    assert "project_id" not in ledger.unbound
    assert found.unread == {"gl.csv": ("colour",)}
    assert the(found, "payment").status == "absent"


def test_samples_hide_people(check):
    ledger = the(check({"gl.csv": LEDGER}), "gl_entry")
    assert len(ledger.samples) == 3
    assert ledger.samples[0]["functional_amount"] == "100.00"
    assert ledger.samples[0]["je_line_description"] == "***"
    assert "Ada" not in check_text(check({"gl.csv": LEDGER}))


def test_quarantine_is_grouped_by_reason_with_the_first_place(check):
    ledger = the(check({"gl.csv": LEDGER}), "gl_entry")
    assert [(reason.rows, reason.file, reason.line) for reason in ledger.reasons] == [
        (2, "gl.csv", 8),
        (1, "gl.csv", 7),
    ]
    assert ledger.reasons[0].words == "functional_amount: 'ten' is not a number"


def test_vouchers_dates_keys_and_customers_are_controlled(check):
    ledger = the(check({"gl.csv": LEDGER}), "gl_entry")
    balance = control(ledger, "voucher balance")
    assert balance.holds is False
    assert balance.words.endswith("V2: debit 50.00, credit 49.00 (gl.csv line 4)")
    assert control(ledger, "dates").words == (
        "effective_date 2026-05-30 to 2026-06-03; 2 rows lie after the delivery's date 2026-06-01"
    )
    assert control(ledger, "key").holds
    assert control(ledger, "customers named").words == "customer_id in 1 of 4, customer_name in none"
    assert control(ledger, "control totals").holds is None


def test_swapped_debit_and_credit_are_caught_where_the_delivery_has_a_chart(check):
    good = the(check({"gl.csv": LEDGER, "chart.csv": CHART}), "gl_entry")
    assert control(good, "revenue side").holds
    swapped = LEDGER.replace("-100.00", "+100.00").replace(";100.00", ";-100.00").replace("+100.00", "100.00")
    ledger = the(check({"gl.csv": swapped, "chart.csv": CHART}), "gl_entry")
    assert control(ledger, "revenue side").holds is False
    assert "swapped" in control(ledger, "revenue side").words


def test_values_no_map_knows_are_counted(check):
    found = check(
        {"chart.csv": CHART, "pay.csv": "no;date;amount;payer;method\n1;2026-01-01;5;Ada;T\n2;2026-01-01;5;Bo;Q\n"}
    )
    (unmapped,) = the(found, "gl_account").unmapped
    assert (unmapped.column, unmapped.values, unmapped.otherwise) == ("account_type", (("X", 2),), "error")
    (unmapped,) = the(found, "payment").unmapped
    assert (unmapped.values, unmapped.otherwise) == ((("Q", 1),), "null")
    assert the(found, "payment").rows_quarantined == 0


def test_all_missing_headers_are_named_with_the_nearest_and_the_others_go_on(check):
    found = check({"gl.csv": "vouchers;line;text;data;account;amount\n", "chart.csv": CHART})
    assert not found.would_load
    ledger = the(found, "gl_entry")
    assert ledger.status == "refused"
    assert [(missing.column, missing.nearest) for missing in ledger.missing] == [
        ("journal_id", "vouchers"),
        ("effective_date", "data"),
    ]
    assert the(found, "gl_account").status == "loads"
    assert check_text(found).splitlines()[0] == "WOULD NOT LOAD  erp, 2026-06-01 (dialect erp): gl_entry refused"


def test_a_broken_archive_and_wrong_totals_refuse_only_what_they_are_of(check):
    control_file = "file,rows,column,total\ngl.csv,9,,\n"
    found = check({"gl.csv": LEDGER, "chart.csv": CHART, "control.csv": control_file})
    assert "control.csv says 9 rows, and 8 were read" in the(found, "gl_entry").problem
    assert the(found, "gl_account").status == "loads"
    assert found.unmatched == ()
    right = check({"control.csv": control_file.replace("9", "8")})
    assert control(the(right, "gl_entry"), "control totals").holds


def test_the_same_verdict_as_a_run(check, tmp_path):
    """Above the company's share of quarantined rows a load is refused, here as there."""
    bad = LEDGER + "".join(f"V9;{n};x;2026-05-30;6000;none;;;no;red\n" for n in range(30))
    found = check({"gl.csv": bad})
    assert not found.would_load
    assert "33 of 38 rows cannot be read; the company allows 2.0%" in the(found, "gl_entry").problem
    arguments = (tmp_path / "landing", tmp_path / "raw", "erp", DIALECT, "gl_entry", DAY)
    with engine.reading_connection() as connection, pytest.raises(DeliveryError):
        engine.load_delivery(connection, *arguments, max_share=0.02)
    assert check({"gl.csv": bad}, max_share=1.0).would_load


def test_an_empty_delivery_would_load_nothing(check):
    found = check({"other.csv": "x"})
    assert not found.would_load
    assert check_text(found).startswith("WOULD NOT LOAD  erp, 2026-06-01 (dialect erp): no file of any entity")


def test_the_screen_is_no_wider_than_100_columns_and_the_verdict_comes_first(check):
    long = LEDGER.replace("colour", "颜色" * 80).replace("Rent", "租金" * 60).replace("V1", "凭证" * 30)
    text = check_text(check({"gl.csv": long, "chart.csv": CHART, **{f"x{n}.bin": "x" for n in range(30)}}))
    assert text.startswith("WOULD LOAD  erp, 2026-06-01 (dialect erp): ")
    widths = [sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) for line in text.splitlines()]
    # A single word that is longer than the screen stays whole.
    wide = [line for width, line in zip(widths, text.splitlines(), strict=True) if width > 100]
    assert all("颜色" in line or "凭证" in line for line in wide)


def test_files_from_anywhere_are_checked_as_if_delivered(tmp_path):
    file = tmp_path / "gl.csv"
    file.write_text(LEDGER)
    with as_delivery([file]) as folder:
        found = check_delivery(folder, "erp", DIALECT, DAY, max_share=1)
    assert the(found, "gl_entry").rows_out == 4
    assert not folder.exists()
    assert file.read_text() == LEDGER


def test_the_newest_delivery_is_the_default(tmp_path):
    for date in ("2026-05-31", "2026-06-02", "2026-06-09"):
        (tmp_path / "erp" / date).mkdir(parents=True)
    (tmp_path / "erp" / "2026-05-31" / "gl.csv").write_text("x")
    (tmp_path / "erp" / "2026-06-02" / "gl.csv").write_text("x")
    (tmp_path / "erp" / "2026-06-09" / "gl.csv.part").write_text("x")
    assert newest_delivery(tmp_path, "erp") == datetime.date(2026, 6, 2)
    with pytest.raises(DeliveryError, match="Nothing of crm was delivered yet"):
        newest_delivery(tmp_path, "crm")


# The command


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """The command on the demo company and an empty data folder: (status, output, errors)."""
    for name in ("WHALECURVE_COMPANY", "WHALECURVE_DATA", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back

    def _call(*arguments):
        folders = ["--company", str(PROJECT / "companies" / "demo"), "--data", str(tmp_path / "data")]
        try:
            status = cli.main([*arguments[:1], *folders, *arguments[1:]])
        except SystemExit as ended:
            status = ended.code
        told = capsys.readouterr()
        return status, told.out, told.err

    return _call


CUSTOMERS = "Customer_Account_ID|Customer_Account_Name\nC1|Ada & Co\n"


def test_the_command_ends_with_0_1_or_2_and_writes_nothing(call, tmp_path):
    file = tmp_path / "Customer_Master_1.txt"
    file.write_text(CUSTOMERS)
    status, out, _ = call("check-source", "ledger", "--files", str(file))
    assert status == 0
    assert out.startswith("WOULD LOAD  ledger, 2026-06-30 (dialect aicpa_ads): 1 customer, none quarantined")
    file.write_text(CUSTOMERS.replace("_ID", "_No"))
    assert call("check-source", "ledger", "--files", str(file))[0] == 1
    status, out, _ = call("check-source", "ledger", "--files", str(file), "--date", "2020-01-01")
    assert status == 1
    assert "2020-01-01 is not a business date" in out
    assert call("check-source", "crm")[0] == 2
    assert call("check-source", "ledger", "--files", str(tmp_path / "none"))[0] == 2
    status, _, err = call("check-source", "ledger")
    assert status == 1
    assert "Nothing of ledger was delivered yet" in err
    assert not (tmp_path / "data").exists()


def test_a_draft_is_printed_and_a_wrong_call_is_one(call, tmp_path):
    file = tmp_path / "customers.csv"
    file.write_text("customer_id,customer_name\n1,A\n2,B\n")
    status, out, _ = call("draft-dialect", str(file), "--name", "shop")
    assert status == 0
    assert "dialect: shop" in out
    assert call("draft-dialect", str(tmp_path / "none.csv"))[0] == 2
    assert call("draft-dialect", str(file), "--entity", "clients")[0] == 2
