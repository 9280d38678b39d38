"""The built-in dialects of the four CRMs: their samples say the same, and so do the variants customers really deliver."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import zipfile
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
needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason=f"needs the samples in {SAMPLES}")

DAY = datetime.date(2026, 3, 31)
NEXT_DAY = datetime.date(2026, 4, 1)

LIVE = [
    ("云杉-二期扩容", "open", "60000.0000", "2026-06-30", "2026-03-28 09:30:00"),
    ("云杉-年度订阅", "won", "100000.0000", "2026-03-05", "2026-03-05 02:12:05"),
]
"""Name, class, amount, day of closing and last change (UTC) of the two opportunities that live in every sample."""


@pytest.fixture
def read(tmp_path):
    """Deliver files to a source that speaks a built-in dialect and read one entity: its rows, the quarantined last."""

    def _read(dialect, entity, files, date=DAY, source="crm", timezone=None):
        folder = tmp_path / "landing" / source / date.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        spoken = load_dialect(dialect, tmp_path / "a company without dialects", timezone=timezone)
        with engine.reading_connection() as connection:
            engine.load_delivery(
                connection, tmp_path / "landing", tmp_path / "raw", source, spoken, entity, date, max_share=1.0
            )
        path = storage.load_path(tmp_path / "raw", entity, source, date)
        cursor = duckdb.execute(
            f"select * from read_parquet('{path}', hive_partitioning = false) "
            "order by quarantine_reason is not null, source_file, source_row"
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return _read


def opportunities(rows):
    """What the CRMs must agree on, of rows that are neither deleted nor quarantined."""
    return sorted(
        (
            row["opportunity_name"],
            row["stage_class"],
            str(row["amount"]),
            str(row["close_date"]),
            str(row["source_modified_at"]),
        )
        for row in rows
        if not row["is_deleted"] and row["quarantine_reason"] is None
    )


def without_lineage(rows):
    lineage = ("source_file", "source_row", "source_instance", "load_id", "source_record")
    return [{name: value for name, value in row.items() if name not in lineage} for row in rows]


def a_csv(rows, **options):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", **options).writerows(rows)
    return out.getvalue()


def a_workbook(rows, before=()):
    book = openpyxl.Workbook()
    for row in (*before, *rows):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def a_zip(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def lines(*records):
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n"


def document(value):
    return json.dumps(value, ensure_ascii=False)


# The samples


def sample(*names):
    return {name: (SAMPLES / name).read_bytes() for name in names}


def jiandaoyun_sample():
    return {
        "商机.json": (SAMPLES / "jiandaoyun_entry_data_list.json").read_bytes(),
        "商机_widget_list.json": (SAMPLES / "jiandaoyun_widget_list.json").read_bytes(),
    }


@needs_samples
def test_the_four_samples_hold_the_same_two_live_opportunities(read):
    found = {
        "fxiaoke": read("fxiaoke", "opportunity", sample("fxiaoke_NewOpportunityObj.jsonl"), source="fxiaoke"),
        "zoho": read("zoho", "opportunity", sample("zoho_Deals_001.csv", "zoho_Deals_deleted.json"), source="zoho"),
        "jiandaoyun": read("jiandaoyun", "opportunity", jiandaoyun_sample(), source="jiandaoyun"),
        "salesforce": read("salesforce", "opportunity", sample("salesforce_Opportunity.csv"), source="salesforce"),
    }
    for crm, rows in found.items():
        assert [row["quarantine_reason"] for row in rows if row["quarantine_reason"]] == [], crm
        assert opportunities(rows) == LIVE, crm
        assert {float(row["probability"]) for row in rows if row["probability"]} <= {1, 0.9, 0.1}, crm
    gone = {crm: [row["opportunity_id"] for row in rows if row["is_deleted"]] for crm, rows in found.items()}
    assert gone == {
        "fxiaoke": ["65f0a1b2c3d4e5f6a7b8c903"],
        "zoho": ["554023000000345003"],
        "jiandaoyun": [],
        "salesforce": ["0065g00000Q1aA3AAJ"],
    }


@needs_samples
def test_zoho_deletes_by_its_feed_which_also_says_when(read):
    rows = read("zoho", "opportunity", sample("zoho_Deals_001.csv", "zoho_Deals_deleted.json"))
    [gone] = [row for row in rows if row["is_deleted"]]
    assert str(gone["source_modified_at"]) == "2026-03-22 01:00:00"
    assert gone["source_file"] == "zoho_Deals_deleted.json"
    # Ids are the same with and without the prefix of an export: the feed names the record the backup has.
    backup = (SAMPLES / "zoho_Deals_001.csv").read_text().replace("345002", "345003")
    rows = read("zoho", "opportunity", {"Deals_001.csv": backup}, date=NEXT_DAY)
    assert "554023000000345003" in {row["opportunity_id"] for row in rows}


@needs_samples
def test_jiandaoyun_restates_the_form_so_that_what_is_missing_is_gone(read):
    snapshot = json.loads((SAMPLES / "jiandaoyun_entry_data_list.json").read_text())
    third = {**snapshot["data"][1], "_id": "65f0b1b2c3d4e5f6a7b8d903", "_widget_1700000000001": "误建-测试"}
    before = jiandaoyun_sample() | {"商机.json": document({"data": [*snapshot["data"], third]})}
    first = read("jiandaoyun", "opportunity", before)
    second = read("jiandaoyun", "opportunity", jiandaoyun_sample(), date=NEXT_DAY)
    assert {row["restates"] for row in (*first, *second)} == {"*"}
    last = max(row["extract_date"] for row in (*first, *second))
    live = {row["opportunity_id"] for row in (*first, *second) if row["extract_date"] == last}
    assert {row["opportunity_id"] for row in first} - live == {"65f0b1b2c3d4e5f6a7b8d903"}


@needs_samples
@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("fxiaoke", "fxiaoke_NewOpportunityObj.jsonl"),
        ("zoho", "zoho_Deals_001.csv"),
        ("salesforce", "salesforce_Opportunity.csv"),
    ],
)
def test_packed_with_byte_order_mark_or_other_column_order_a_sample_is_the_same(read, dialect, name):
    content = (SAMPLES / name).read_bytes()
    plain = without_lineage(read(dialect, "opportunity", {name: content}, source="plain"))
    variants = {
        "gzip": {f"{name}.gz": gzip.compress(content)},
        "zip": {"delivery.zip": a_zip({f"export/{name}": content})},
        "bom": {name: b"\xef\xbb\xbf" + content},
    }
    if name.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(content.decode())))
        variants["order"] = {name: a_csv([row[::-1] for row in rows], quoting=csv.QUOTE_ALL)}
    for variant, files in variants.items():
        rows = without_lineage(read(dialect, "opportunity", files, source=variant))
        assert rows == plain, variant


# 纷享销客


ACCOUNT = {
    "_id": "65f0a1b2c3d4e5f6a7b8c801",
    "name": "上海云杉科技有限公司",
    "account_no": "C001",
    "account_level": "1",
    "account_level__r": "重要客户",
    "uniform_social_credit_code": "91310000MA1K00001X",
    "owner": ["1000", "1001"],
    "life_status": "normal",
    "is_deleted": False,
    "create_time": 1768011300000,
    "last_modified_time": 1772676725000,
}


def test_fxiaoke_pages_and_lines_are_the_same(read):
    invalid = {**ACCOUNT, "_id": "65f0a1b2c3d4e5f6a7b8c802", "life_status": "invalid"}
    removed = {**ACCOUNT, "_id": "65f0a1b2c3d4e5f6a7b8c803", "is_deleted": True}
    records = [ACCOUNT, invalid, removed]
    deliveries = {
        "lines": {"AccountObj.jsonl": lines(*records)},
        "page": {"AccountObj.json": document({"errorCode": 0, "data": {"total": 3, "dataList": records}})},
        "old page": {"AccountObj_1.json": document({"errorCode": 0, "dataList": records})},
        "bare list": {"AccountObj.json": document(records)},
    }
    for kind, files in deliveries.items():
        rows = read("fxiaoke", "customer", files, source=kind)
        assert [row["is_deleted"] for row in rows] == [False, True, True], kind
        first = rows[0]
        assert (first["customer_id"], first["customer_account_id"]) == (ACCOUNT["_id"], "C001"), kind
        assert (first["customer_tin"], first["level"]) == ("91310000MA1K00001X", "重要客户"), kind
        assert (first["owner_ref"], first["email"]) == ("1000", None), kind
        assert str(first["created_at"]) == "2026-01-10 02:15:00", kind


def test_fxiaoke_owner_may_be_a_list_a_text_empty_or_absent(read):
    owners = [["1000"], "1000", [], None]
    records = [{**ACCOUNT, "_id": str(number), "owner": owner} for number, owner in enumerate(owners)]
    records.append({name: value for name, value in ACCOUNT.items() if name != "owner"})
    rows = read("fxiaoke", "customer", {"AccountObj.jsonl": lines(*records)})
    assert [row["owner_ref"] for row in rows] == ["1000", "1000", None, None, None]


LABELS = [
    "客户编号",
    "客户名称",
    "客户级别",
    "1级行业",
    "来源",
    "负责人",
    "生命状态",
    "统一社会信用代码",
    "创建时间",
    "最后修改时间",
]
EXPORTED = [
    [
        "C001",
        "上海云杉科技有限公司",
        "重要客户",
        "制造",
        "展会",
        "李四",
        "正常",
        "91310000MA1K00001X",
        "2026-01-10 10:15",
        "2026-03-05 10:12",
    ],
    ["C002", "误建-测试", "普通客户", "", "", "李四", "作废", "", "2026-03-21 09:00", "2026-03-22 09:00"],
]


@pytest.mark.parametrize(
    "files",
    [
        {"客户.xlsx": a_workbook([LABELS, *EXPORTED])},
        {"客户_20260331.xlsx": a_workbook([LABELS, *EXPORTED], before=[["客户列表"], []])},
        {"客户导出.csv": a_csv([LABELS, *EXPORTED]).encode("gb18030")},
        {"客户.csv": a_csv([row[::-1] for row in (LABELS, *EXPORTED)]).encode("utf-8-sig")},
        {"客户.csv": a_csv([[f" *{label} ".replace("1", "１") for label in LABELS], *EXPORTED])},
    ],
    ids=["workbook", "workbook with a title", "gb18030", "other order", "full-width and starred"],
)
def test_fxiaoke_list_exports_bind_by_label(read, files):
    rows = read("fxiaoke", "customer", files)
    assert [row["is_deleted"] for row in rows] == [False, True]
    first = rows[0]
    assert first["quarantine_reason"] is None
    assert (first["customer_id"], first["customer_account_id"], first["customer_name"]) == (
        "C001",
        "C001",
        EXPORTED[0][1],
    )
    assert (first["level"], first["industry"], first["customer_tin"]) == ("重要客户", "制造", "91310000MA1K00001X")
    assert (str(first["created_at"]), str(first["source_modified_at"])) == (
        "2026-01-10 02:15:00",
        "2026-03-05 02:12:00",
    )


def test_fxiaoke_opportunities_old_new_and_exported(read):
    old = {
        "_id": "a1",
        "name": "旧商机",
        "account_id": "c1",
        "expected_deal_amount": "5.10",
        "status": "2",
        "status__r": "赢单",
    }
    old |= {"expected_deal_closed_date": 1772640000000, "last_modified_time": 1772676725000}
    rows = read("fxiaoke", "opportunity", {"OpportunityObj.jsonl": lines(old)}, source="old")
    assert opportunities(rows) == [("旧商机", "won", "5.1000", "2026-03-05", "2026-03-05 02:12:05")]
    export = [
        ["商机编号", "商机名称", "客户名称", "商机金额（元）", "预计成交日期", "销售阶段", "赢率", "最后修改时间"],
        [
            "SJ1",
            "云杉-年度订阅",
            "上海云杉科技有限公司",
            "100,000.00",
            "2026/3/5",
            "赢单",
            "100%",
            "2026-03-05 10:12:05",
        ],
        [
            "SJ2",
            "云杉-二期扩容",
            "上海云杉科技有限公司",
            "60,000.00",
            "2026/6/30",
            "商务谈判",
            "90%",
            "2026-03-28 17:30:00",
        ],
    ]
    rows = read("fxiaoke", "opportunity", {"商机.xlsx": a_workbook(export)}, source="export")
    assert opportunities(rows) == LIVE
    assert {(row["customer_id"], row["customer_name"]) for row in rows} == {(None, "上海云杉科技有限公司")}
    assert [float(row["probability"]) for row in rows] == [1, 0.9]
    unknown = {**old, "status__r": "搁置"}
    [row] = read("fxiaoke", "opportunity", {"OpportunityObj.jsonl": lines(unknown)}, source="unknown")
    assert "'搁置' is none of open, won, lost" in row["quarantine_reason"]


def test_fxiaoke_payments_under_both_names_of_the_amount(read):
    common = {"account_id": "c1", "payment_time": 1774886400000, "payment_term__r": "电汇"}
    records = [{"_id": "p1", "amount": "113000.00", **common}, {"_id": "p2", "payment_amount": "5.00", **common}]
    rows = read(
        "fxiaoke", "payment", {"PaymentObj.jsonl": lines(*records), "OrderPaymentObj.jsonl": lines({"_id": "x"})}
    )
    assert [(row["payment_id"], str(row["amount"]), str(row["payment_date"])) for row in rows] == [
        ("p1", "113000.0000", "2026-03-31"),
        ("p2", "5.0000", "2026-03-31"),
    ]


def test_fxiaoke_activity_finds_the_account_among_the_related_objects(read):
    related = [
        {"describe_api_name": "NewOpportunityObj", "id": "o1", "name": "商机"},
        {"describe_api_name": "AccountObj", "id": "c1", "name": "客户"},
    ]
    common = {"active_record_type__r": "电话", "create_time": 1772676725000}
    records = [
        {"_id": "a1", "related_object_data": related, **common},
        {"_id": "a2", "related_object_data": related[:1], **common},
        {"_id": "a3", "account_id": "c3", **common},
    ]
    rows = read("fxiaoke", "activity", {"ActiveRecordObj.jsonl": lines(*records)})
    assert [(row["customer_id"], row["activity_type"]) for row in rows] == [
        ("c1", "call"),
        (None, "call"),
        ("c3", "call"),
    ]


def test_fxiaoke_cases_come_from_exports_because_their_status_is_a_custom_field(read, tmp_path):
    spoken = load_dialect("fxiaoke", tmp_path)
    folder = tmp_path / "landing"
    folder.mkdir()
    (folder / "CasesObj.jsonl").write_text(lines({"_id": "1"}))
    assert engine.unmatched_files(folder, spoken, "crm", DAY) == ["CasesObj.jsonl"]
    export = [
        ["工单编号", "客户名称", "工单状态", "创建时间", "关闭时间", "处理时长（分钟）"],
        ["GD1", "上海云杉科技有限公司", "已关闭", "2026-03-05 10:00", "2026-03-06 09:00", "85"],
        ["GD2", "上海云杉科技有限公司", "处理中", "2026-03-06 10:00", "", ""],
        ["GD3", "上海云杉科技有限公司", "", "2026-03-06 10:00", "", ""],
    ]
    rows = read("fxiaoke", "service_case", {"工单.xlsx": a_workbook(export)})
    assert [(row["case_id"], row["status_class"]) for row in rows] == [
        ("GD1", "closed"),
        ("GD2", "open"),
        ("GD3", None),
    ]
    assert str(rows[0]["closed_at"]) == "2026-03-06 01:00:00"
    assert rows[0]["handling_minutes"] == 85
    assert rows[2]["quarantine_reason"] == "status_class is empty"


# Zoho


DEAL = {
    "id": "554023000000345001",
    "Deal_Name": "云杉-年度订阅",
    "Account_Name": {"id": "554023000000345101", "name": "上海云杉科技有限公司"},
    "Stage": "Closed Won",
    "Amount": 100000,
    "Probability": 100,
    "Closing_Date": "2026-03-05",
    "Owner": {"id": "554023000000235011", "name": "李四"},
    "Created_Time": "2026-01-10T05:15:00+03:00",
    "Modified_Time": "2026-03-05T05:12:05+03:00",
    "$state": "save",
}


def test_zoho_export_bulk_read_and_api_are_the_same(read):
    exported = {
        "Record Id": "zcrm_554023000000345001",
        "Deal Owner.id": "zcrm_554023000000235011",
        "Deal Owner": "李四",
        "Account Name.id": "zcrm_554023000000345101",
        "Account Name": "上海云杉科技有限公司",
        "Deal Name": "云杉-年度订阅",
        "Amount": "100000",
        "Closing Date": "2026-03-05",
        "Stage": "Closed Won",
        "Probability (%)": "100",
        "Created Time": "2026-01-10 10:15",
        "Modified Time": "2026-03-05 10:12:05",
    }
    bulk = {
        "Id": "554023000000345001",
        "Owner": "554023000000235011",
        "Account_Name": "554023000000345101",
        "Deal_Name": "云杉-年度订阅",
        "Amount": "100000",
        "Closing_Date": "2026-03-05",
        "Stage": "Closed Won",
        "Probability": "100",
        "Created_Time": "2026-01-10T10:15:00+08:00",
        "Modified_Time": "2026-03-05T10:12:05+08:00",
    }
    deliveries = {
        "export": {"Deals_001.csv": a_csv([exported, exported.values()])},
        "bulk": {"bulk.zip": a_zip({"Deals.csv": a_csv([bulk, bulk.values()])})},
        "page": {"Deals.json": document({"data": [DEAL], "info": {"more_records": False}})},
        "bare list": {"zoho_Deals_1.json": document([DEAL])},
        "lines": {"Deals.jsonl": lines(DEAL)},
    }
    for kind, files in deliveries.items():
        [row] = read("zoho", "opportunity", files, source=kind)
        assert opportunities([row]) == [LIVE[1]], kind
        assert (row["opportunity_id"], row["customer_id"], row["owner_ref"]) == (
            "554023000000345001",
            "554023000000345101",
            "554023000000235011",
        ), kind
        assert str(row["created_at"]) == "2026-01-10 02:15:00", kind
        assert row["customer_name"] == (None if kind == "bulk" else "上海云杉科技有限公司"), kind


def test_zoho_export_times_are_of_the_zone_the_company_says(read):
    content = a_csv(
        [["Record Id", "Deal Name", "Stage", "Modified Time"], ["zcrm_1", "x", "Qualification", "2026-03-05 10:12:05"]]
    )
    [row] = read("zoho", "opportunity", {"Deals_001.csv": content}, timezone="America/New_York")
    assert str(row["source_modified_at"]) == "2026-03-05 15:12:05"


def test_zoho_tasks_events_and_calls_are_activities_and_a_call_duration_is_not_guessed(read):
    account = {"What_Id": {"id": "c1"}, "$se_module": "Accounts"}
    task = {"id": "t1", "Subject": "报价", "Due_Date": "2026-03-05", "Status": "Completed", **account}
    event = {
        "id": "e1",
        "Event_Title": "拜访",
        "Start_DateTime": "2026-03-05T10:00:00+08:00",
        "End_DateTime": "2026-03-05T11:30:00+08:00",
    }
    event |= {"What_Id": {"id": "d1"}, "$se_module": "Deals"}
    call = {
        "id": "k1",
        "Subject": "电话",
        "Call_Type": "Outbound",
        "Call_Start_Time": "2026-03-05T23:30:00+08:00",
        "Call_Duration": "00:20",
        **account,
    }
    files = {
        f"{name}.json": document({"data": [record]})
        for name, record in (("Tasks", task), ("Events", event), ("Calls", call))
    }
    files["Calls_deleted.json"] = document({"data": [{"id": "k9", "deleted_time": "2026-03-06T00:00:00+08:00"}]})
    rows = {row["activity_id"]: row for row in read("zoho", "activity", files)}
    assert {key: row["activity_type"] for key, row in rows.items() if not row["is_deleted"]} == {
        "t1": "task",
        "e1": "meeting",
        "k1": "call",
    }
    assert {key: row["duration_minutes"] for key, row in rows.items()} == {"t1": None, "e1": 90, "k1": None, "k9": None}
    assert {key: row["customer_id"] for key, row in rows.items()} == {"t1": "c1", "e1": None, "k1": "c1", "k9": None}
    assert {str(rows[key]["activity_date"]) for key in ("t1", "e1", "k1")} == {"2026-03-05"}
    assert rows["k9"]["is_deleted"]
    assert rows["t1"]["is_completed"]


def test_zoho_invoices_and_the_lines_inside_them(read):
    items = [
        {
            "Product_Name": {"id": "p1", "name": "年度订阅"},
            "Quantity": 1,
            "List_Price": 110000,
            "Discount": 10000,
            "Total": 110000,
            "Tax": 13000,
        },
        {
            "Product_Name": {"id": "p2", "name": "实施"},
            "Quantity": 2,
            "List_Price": 50,
            "Discount": 0,
            "Total_After_Discount": 100,
            "Tax": 0,
        },
    ]
    invoice = {
        "id": "i1",
        "Invoice_Number": "10001",
        "Invoice_Date": "2026-03-05",
        "Status": "Approved",
        "Account_Name": {"id": "c1", "name": "云杉"},
    }
    invoice |= {
        "Grand_Total": 113100,
        "Tax": 13000,
        "Invoiced_Items": items,
        "Modified_Time": "2026-03-05T10:12:05+08:00",
    }
    listed = {name: value for name, value in invoice.items() if name != "Invoiced_Items"} | {"id": "i2"}
    files = {"Invoices.json": document({"data": [invoice, listed]})}
    heads = read("zoho", "invoice", files)
    assert [(row["invoice_id"], str(row["net_amount"]), str(row["gross_amount"])) for row in heads] == [
        ("i1", "100100.0000", "113100.0000"),
        ("i2", "100100.0000", "113100.0000"),
    ]
    found = read("zoho", "invoice_line", files)
    assert [
        (row["invoice_id"], row["line_number"], row["product_id"], str(row["line_net_amount"])) for row in found
    ] == [
        ("i1", 1, "p1", "100000.0000"),
        ("i1", 2, "p2", "100.0000"),
    ]
    assert {row["quarantine_reason"] for row in found} == {None}


def test_lines_of_one_record_keep_their_order_however_many_there_are(read):
    items = [{"Product_Name": {"id": f"p{number}"}, "Total_After_Discount": number} for number in range(1, 3001)]
    invoices = [{"id": f"i{number}", "Invoiced_Items": items} for number in range(3)]
    rows = read("zoho", "invoice_line", {"Invoices.json": document({"data": invoices})})
    assert len(rows) == 9000
    assert all(row["product_id"] == f"p{row['line_number']}" for row in rows)


def test_zoho_cases_campaigns_products_and_users(read):
    case = {
        "id": "s1",
        "Case_Number": 7,
        "Account_Name": {"id": "c1", "name": "云杉"},
        "Status": "Closed",
        "Created_Time": "2026-03-05T10:00:00+08:00",
    }
    [row] = read("zoho", "service_case", {"Cases.json": document({"data": [case]})})
    assert (row["status_class"], row["customer_id"], row["is_escalated"]) == ("closed", "c1", False)
    campaign = a_csv([["Record Id", "Campaign Name", "Type", "Budgeted Cost"], ["zcrm_9", "展会", "-None-", "9000"]])
    [row] = read("zoho", "campaign", {"Campaigns_001.csv": campaign})
    assert (row["campaign_id"], row["channel"], str(row["budgeted_cost"])) == ("9", None, "9000.0000")
    [row] = read(
        "zoho",
        "product",
        {"Products.json": document({"data": [{"id": "p1", "Product_Name": "订阅", "Unit_Price": 5}]})},
    )
    assert (row["product_name"], str(row["list_price"])) == ("订阅", "5.0000")
    [row] = read("zoho", "employee", {"Users.json": document({"users": [{"id": "u1", "full_name": "李四"}]})})
    assert (row["employee_id"], row["employee_name"]) == ("u1", "李四")


# 简道云


def a_form(fields, records, subforms=None):
    """A form's pages and its widget list: label -> name, and for a subform the name and its own labels."""
    widgets = [{"name": name, "label": label, "type": "text"} for label, name in fields.items()]
    for label, (name, items) in (subforms or {}).items():
        items = [{"name": item, "label": item_label, "type": "text"} for item_label, item in items.items()]
        widgets.append({"name": name, "label": label, "type": "subform", "items": items})
    return document({"data": records}), document({"widgets": widgets, "sysWidgets": []})


def test_jiandaoyun_without_its_widget_list_is_refused_with_a_sentence(read):
    data, _ = a_form({"商机名称": "_widget_1"}, [{"_id": "1", "_widget_1": "x"}])
    with pytest.raises(DeliveryError, match=r"商机\.json needs the source's dictionary beside it \(商机\[_-\]widget\*"):
        read("jiandaoyun", "opportunity", {"商机.json": data})


@pytest.mark.parametrize("amount", ["预计金额", "商机金额", "预计金额（元）", " 预计 金额"])
@pytest.mark.parametrize("shape", ["page", "bare list", "lines"])
def test_jiandaoyun_labels_may_change_and_pages_may_be_lists(read, amount, shape):
    fields = {
        "商机名称": "_widget_1",
        amount: "_widget_2",
        "预计成交日期": "_widget_3",
        "销售阶段": "_widget_4",
        "客户": "_widget_5",
    }
    common = {
        "createTime": "2026-01-10T02:15:00.000Z",
        "deleteTime": None,
        "creator": {"name": "李四", "username": "R-lisi"},
    }
    records = [
        {"_id": "1", "_widget_1": "云杉-年度订阅", "_widget_2": 100000, "_widget_3": "2026-03-04T16:00:00.000Z"}
        | {
            "_widget_4": "赢单",
            "_widget_5": {"_id": "k1", "name": "云杉"},
            "updateTime": "2026-03-05T02:12:05.000Z",
            **common,
        },
        {"_id": "2", "_widget_1": "云杉-二期扩容", "_widget_2": "60000", "_widget_3": "2026-06-29T16:00:00.000Z"}
        | {"_widget_4": "商务谈判", "_widget_5": "云杉", "updateTime": "2026-03-28T09:30:00.000Z", **common},
    ]
    data, widgets = a_form(fields, records)
    content = {"page": data, "bare list": document(records), "lines": lines(*records)}[shape]
    name = "商机.jsonl" if shape == "lines" else "商机_001.json"
    rows = read("jiandaoyun", "opportunity", {name: content, "商机_widget_list.json": widgets})
    assert opportunities(rows) == LIVE
    assert [(row["customer_id"], row["customer_name"]) for row in rows] == [("k1", None), (None, "云杉")]
    assert {row["owner_ref"] for row in rows} == {"R-lisi"}


def test_jiandaoyun_forms_of_one_delivery_have_their_own_labels(read):
    customers, customer_widgets = a_form(
        {"客户名称": "_widget_1", "纳税人识别号": "_widget_2", "地址": "_widget_3", "负责人": "_widget_4"},
        [
            {"_id": "k1", "_widget_1": "上海云杉科技有限公司", "_widget_2": "91310000MA1K00001X"}
            | {
                "_widget_3": {"province": "上海市", "city": "上海市"},
                "_widget_4": [{"name": "李四", "username": "R-lisi"}],
            },
            {"_id": "k2", "_widget_1": "旧客户", "deleteTime": "2026-03-01T00:00:00.000Z"},
        ],
    )
    payments, payment_widgets = a_form(
        {"客户名称": "_widget_9", "回款金额": "_widget_1", "回款日期": "_widget_2", "币种": "_widget_3"},
        [
            {
                "_id": "p1",
                "_widget_9": "上海云杉科技有限公司",
                "_widget_1": 113000,
                "_widget_2": "2026-03-30T16:00:00.000Z",
                "_widget_3": "人民币",
            }
        ],
    )
    cases, case_widgets = a_form(
        {"客户名称": "_widget_2", "工单状态": "_widget_1", "处理时长（分钟）": "_widget_3"},
        [
            {
                "_id": "s1",
                "_widget_2": "云杉",
                "_widget_1": "已完成",
                "_widget_3": 30,
                "createTime": "2026-03-05T02:00:00.000Z",
            }
        ],
    )
    follow_ups, follow_up_widgets = a_form(
        {"客户名称": "_widget_7", "跟进方式": "_widget_1", "跟进时间": "_widget_2"},
        [{"_id": "f1", "_widget_7": "云杉", "_widget_1": "上门拜访", "_widget_2": "2026-03-04T16:30:00.000Z"}],
    )
    files = {
        **{"客户.json": customers, "客户_widget_list.json": customer_widgets},
        **{"回款.json": payments, "回款_widget_list.json": payment_widgets},
        **{"工单.json": cases, "工单_widget_list.json": case_widgets},
        **{"跟进记录.json": follow_ups, "跟进记录_widget_list.json": follow_up_widgets},
    }
    customer, gone = read("jiandaoyun", "customer", files)
    assert (customer["customer_tin"], customer["region"], customer["owner_ref"]) == (
        "91310000MA1K00001X",
        "上海市",
        "R-lisi",
    )
    assert (customer["is_deleted"], gone["is_deleted"]) == (False, True)
    [payment] = read("jiandaoyun", "payment", files)
    assert (payment["customer_id"], payment["customer_name"]) == (None, "上海云杉科技有限公司")
    assert (str(payment["amount"]), payment["currency_code"], str(payment["payment_date"])) == (
        "113000.0000",
        "CNY",
        "2026-03-31",
    )
    [case] = read("jiandaoyun", "service_case", files)
    assert (case["status_class"], case["handling_minutes"], case["customer_name"]) == ("closed", 30, "云杉")
    [activity] = read("jiandaoyun", "activity", files)
    assert (activity["activity_type"], str(activity["activity_date"]), activity["customer_name"]) == (
        "visit",
        "2026-03-05",
        "云杉",
    )


def test_jiandaoyun_invoices_and_their_subforms(read):
    fields = {
        "发票号码": "_widget_1",
        "客户名称": "_widget_2",
        "开票日期": "_widget_3",
        "价税合计": "_widget_4",
        "税额": "_widget_5",
        "发票类型": "_widget_6",
    }
    subform = {
        "产品明细": (
            "_widget_10",
            {"产品": "_widget_11", "数量": "_widget_12", "金额": "_widget_13", "税额": "_widget_14"},
        )
    }

    def an_invoice(key, gross, tax, kind, items):
        return {"_id": key, "_widget_1": f"No {key}", "_widget_2": "云杉", "_widget_3": "2026-03-04T16:00:00.000Z"} | {
            **{"_widget_4": gross, "_widget_5": tax, "_widget_6": kind, "_widget_10": items},
            "updateTime": "2026-03-05T02:12:05.000Z",
        }

    items = [
        {"_id": "z", "_widget_11": "年度订阅", "_widget_12": 1, "_widget_13": 90000, "_widget_14": 11700},
        {"_id": "a", "_widget_11": "实施", "_widget_12": 2, "_widget_13": 10000, "_widget_14": 1300},
    ]
    records = [
        an_invoice("i1", 113000, 13000, "增值税专用发票", items),
        an_invoice("i2", -113, -13, "红字专用发票", ""),
        an_invoice("i3", 113, 13, "红字专用发票", []),
    ]
    data, widgets = a_form(fields, records, subform)
    files = {"发票.json": data, "发票_widget_list.json": widgets}
    heads = read("jiandaoyun", "invoice", files)
    assert [
        (row["invoice_id"], row["document_type"], str(row["net_amount"]), str(row["gross_amount"])) for row in heads[:2]
    ] == [
        ("i1", "invoice", "100000.0000", "113000.0000"),
        ("i2", "credit_note", "-100.0000", "-113.0000"),
    ]
    assert "a red invoice (红字) of more than zero" in heads[2]["quarantine_reason"]
    found = read("jiandaoyun", "invoice_line", files)
    shown = [(row["invoice_id"], row["line_number"], row["description"], str(row["line_net_amount"])) for row in found]
    assert shown == [("i1", 1, "年度订阅", "90000.0000"), ("i1", 2, "实施", "10000.0000")]
    assert [str(row["line_tax_amount"]) for row in found] == ["11700.0000", "1300.0000"]
    assert {row["restates"] for row in (*heads, *found)} == {"*"}


# Salesforce


FIELDS = [
    "Id",
    "IsDeleted",
    "AccountId",
    "Name",
    "StageName",
    "Amount",
    "Probability",
    "CloseDate",
    "IsClosed",
    "IsWon",
    "CurrencyIsoCode",
    "CreatedDate",
    "SystemModstamp",
]
WON = [
    "0065g00000Q1aA1AAJ",
    "0",
    "0015g00000Z9xYzAAJ",
    "云杉-年度订阅",
    "Closed Won",
    "100000.0",
    "100.0",
    "2026-03-05",
    "1",
    "1",
    "CNY",
    "2026-01-10 02:15:00",
    "2026-03-05 02:12:05",
]


def test_salesforce_forms_of_time_and_of_yes_are_the_same(read):
    loader = [{"0": "false", "1": "true"}.get(value, value) for value in WON]
    loader[-2:] = ["2026-01-10T02:15:00.000Z", "2026-03-05T02:12:05.000Z"]
    rest = dict(zip(FIELDS, WON, strict=True)) | {
        "IsDeleted": False,
        "IsClosed": True,
        "IsWon": True,
        "Amount": 100000.0,
        "Probability": 100,
    }
    rest |= {"SystemModstamp": "2026-03-05T02:12:05.000+0000", "attributes": {"type": "Opportunity"}}
    # 2026-03-05 as Bulk API JSON has it: midnight in UTC.
    bulk = rest | {"SystemModstamp": 1772676725000, "CreatedDate": 1768011300000, "CloseDate": 1772668800000}
    deliveries = {
        "export": {"WE_00D5g0000001_1.zip": a_zip({"Opportunity.csv": a_csv([FIELDS, WON], quoting=csv.QUOTE_ALL)})},
        "loader": {"Opportunity.csv": a_csv([FIELDS, loader])},
        "rest page": {"Opportunity.json": document({"totalSize": 1, "records": [rest]})},
        "bulk": {"Opportunity_1.json": document([bulk])},
        "lines": {"Opportunity.jsonl": lines(bulk)},
    }
    for kind, files in deliveries.items():
        for timezone in (None, "America/New_York"):  # UTC is said by the system and not by the source's zone
            [row] = read("salesforce", "opportunity", files, source=kind, timezone=timezone)
            assert opportunities([row]) == [LIVE[1]], (kind, timezone)
            assert row["currency_code"] == "CNY"


def test_salesforce_export_has_files_whose_names_only_begin_alike(read):
    members = {
        "Account.csv": a_csv(
            [["Id", "IsDeleted", "Name", "MasterRecordId"], ["001000000000001AAA", "0", "Ä & Co", ""]]
        ),
        "AccountHistory.csv": a_csv([["Id", "AccountId"], ["017000000000001AAA", "001000000000001AAA"]]),
        "AccountContactRole.csv": a_csv([["Id"], ["x"]]),
        "Account_Plan__c.csv": a_csv([["Id"], ["x"]]),
    }
    rows = read("salesforce", "customer", {"WE_00D_1.ZIP": a_zip(members)})
    assert [row["customer_name"] for row in rows] == ["Ä & Co"]


def test_salesforce_merges_name_the_account_that_lives_on_and_ids_get_18_characters(read):
    content = [
        ["Id", "IsDeleted", "MasterRecordId", "Name", "ParentId"],
        ["0015g00000Z9xYz", "1", "0065g00000Q1aA1", "merged away", ""],
        ["0065g00000Q1aA1AAJ", "0", "", "lives on", "0015g00000Z9xYz"],
    ]
    merged, living = read("salesforce", "customer", {"Account.csv": a_csv(content)})
    assert (merged["customer_id"], merged["merged_into"]) == ("0015g00000Z9xYzAAJ", "0065g00000Q1aA1AAJ")
    assert (merged["is_deleted"], living["is_deleted"]) == (True, False)
    assert (living["merged_into"], living["parent_customer_id"]) == (None, "0015g00000Z9xYzAAJ")


def test_salesforce_report_has_labels_short_ids_and_a_footer_that_is_quarantined(read):
    report = a_csv(
        [
            [
                "Opportunity ID",
                "Opportunity Name",
                "Account ID",
                "Account Name",
                "Stage",
                "Amount",
                "Probability (%)",
                "Close Date",
                "Last Modified Date",
            ],
            [
                "0065g00000Q1aA1",
                "云杉-年度订阅",
                "0015g00000Z9xYz",
                "云杉",
                "Closed Won",
                "100,000.00",
                "100%",
                "2026-03-05",
                "2026-03-05 02:12:05",
            ],
            [
                "0065g00000Q1aA2",
                "云杉-二期扩容",
                "0015g00000Z9xYz",
                "云杉",
                "Negotiation/Review",
                "60,000.00",
                "90%",
                "2026-06-30",
                "2026-03-28 09:30:00",
            ],
        ]
    )
    footer = '\n\n"Open Deals"\n"Copyright (c) 2000-2026 salesforce.com, inc. All rights reserved."\n'
    footer += '"Confidential Information - Do Not Distribute"\n"Generated By:  Li Si  31/03/2026 10:15"\n'
    rows = read("salesforce", "opportunity", {"Opportunity.csv": report + footer})
    assert opportunities(rows) == LIVE
    good = [row for row in rows if row["quarantine_reason"] is None]
    assert {(row["opportunity_id"], row["customer_id"]) for row in good} == {
        ("0065g00000Q1aA1AAJ", "0015g00000Z9xYzAAJ"),
        ("0065g00000Q1aA2AAJ", "0015g00000Z9xYzAAJ"),
    }
    left = [row["source_record"] for row in rows if row["quarantine_reason"]]
    assert len(left) == 4
    assert any("Confidential Information" in record for record in left)


def test_salesforce_cp1252_and_line_breaks_inside_fields(read):
    content = '"Id","IsDeleted","Name"\r\n"001000000000001AAA","0","Müller – Söhne\r\nGmbH"\r\n'
    content += '"001000000000002AAA","0","Straße"\r\n'
    rows = read("salesforce", "customer", {"Account.csv": content.encode("cp1252")})
    assert [" ".join(row["customer_name"].split()) for row in rows] == ["Müller – Söhne GmbH", "Straße"]
    assert [row["quarantine_reason"] for row in rows] == [None, None]


def test_salesforce_row_that_was_cut_off_is_quarantined_and_not_filled_up(read):
    content = "Id,IsDeleted,Name,Phone\n001000000000001AAA,0,whole,1\n001000000000002AAA,0,cut\n"
    rows = read("salesforce", "customer", {"Account.csv": content})
    assert [row["quarantine_reason"] is None for row in rows] == [True, False]
    assert rows[1]["source_record"] == "001000000000002AAA,0,cut"


def test_salesforce_tasks_and_events_are_both_activities(read):
    task = [
        ["Id", "IsDeleted", "WhatId", "AccountId", "Subject", "ActivityDate", "TaskSubtype", "CallDurationInSeconds"],
        ["00T000000000001AAA", "0", "006000000000001AAA", "", "Call", "2026-03-05", "Call", "540"],
        ["00T000000000002AAA", "0", "0015g00000Z9xYz", "", "To do", "2026-03-05", "", ""],
    ]
    event = [
        ["Id", "IsDeleted", "AccountId", "Subject", "StartDateTime", "DurationInMinutes"],
        ["00U000000000001AAA", "0", "0015g00000Z9xYzAAJ", "Visit", "2026-03-05 23:30:00", "31"],
    ]
    files = {"Task.csv": a_csv(task), "Event.csv": a_csv(event), "TaskRelation.csv": "Id\nx\n"}
    rows = {row["activity_id"][:3] + row["activity_id"][14]: row for row in read("salesforce", "activity", files)}
    assert {key: row["activity_type"] for key, row in rows.items()} == {
        "00T1": "call",
        "00T2": "task",
        "00U1": "meeting",
    }
    assert {key: row["customer_id"] for key, row in rows.items()} == {
        "00T1": None,
        "00T2": "0015g00000Z9xYzAAJ",
        "00U1": "0015g00000Z9xYzAAJ",
    }
    assert {key: row["duration_minutes"] for key, row in rows.items()} == {"00T1": None, "00T2": None, "00U1": 31}


def test_salesforce_tables_of_a_connector(read):
    table = {
        "id": "0065g00000Q1aA1AAJ",
        "is_deleted": "false",
        "account_id": "0015g00000Z9xYzAAJ",
        "name": "云杉-年度订阅",
        "stage_name": "Closed Won",
    }
    table |= {
        "amount": "100000",
        "close_date": "2026-03-05",
        "is_closed": "true",
        "is_won": "true",
        "system_modstamp": "2026-03-05 02:12:05",
    }
    rows = read("salesforce", "opportunity", {"opportunity.csv": a_csv([table, table.values()])})
    assert opportunities(rows) == [LIVE[1]]


# All


@pytest.mark.parametrize("dialect", ["fxiaoke", "zoho", "jiandaoyun", "salesforce"])
def test_a_dialect_opens_with_its_traps(dialect):
    path = Path(engine.__file__).with_name("dialects") / f"{dialect}.yml"
    head = path.read_text(encoding="utf-8").split(f"\ndialect: {dialect}\n")[0].splitlines()
    assert all(line.startswith("#") for line in head)
    assert "# Traps" in head
