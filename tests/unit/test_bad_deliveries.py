"""Deliveries as bad as they come: each is refused with a sentence to act on, or its rows are quarantined, and nothing is lost.

Every file is made here, byte by byte, by other means than the project's own. `refused` holds each refusal against the same
demands: whose delivery, which date, which file, what to do, and a raw layer as it was.
"""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import io
import json
import os
import resource
import struct
import tempfile
import threading
import time
import warnings
import zipfile
from decimal import Decimal

import duckdb
import pytest
from pydantic import ValidationError

from assets.errors import DeliveryError
from assets.ingest import delivery, documents, engine, storage, values
from assets.ingest.dialect import Dialect
from assets.publish.release import FORMULA_STARTS

pytestmark = pytest.mark.slow  # some hundred small loads

DAY = datetime.date(2026, 6, 1)
HEADER = "Id,Date,Amount\n"
ROWS = "P1,2026-05-31,1\nP2,2026-05-31,2\nP3,2026-05-31,3\n"
GOOD = HEADER + ROWS


def a_dialect(columns=None, read=None, files="pay*", **mapping):
    columns = {
        "payment_id": {"from": "Id"},
        "payment_date": {"from": "Date"},
        "amount": {"from": "Amount"},
        **(columns or {}),
    }
    return Dialect.model_validate(
        {
            "dialect": "test",
            "read": read or {},
            "entities": {"payment": {"files": files, "columns": columns, **mapping}},
        }
    )


XML = a_dialect(read={"records": "p"})
RECORD = '{"Id":"P1","Date":"2026-05-31","Amount":1.50}'
ELEMENT = "<p><Id>P1</Id><Date>2026-05-31</Date><Amount>1.50</Amount></p>"


@pytest.fixture(scope="module")
def connection():
    with engine.reading_connection() as connection:
        yield connection


@dataclasses.dataclass
class Bank:
    """A source whose deliveries are tried out."""

    connection: duckdb.DuckDBPyConnection
    root: object

    @property
    def folder(self):
        folder = self.root / "landing" / "bank" / DAY.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def raw_file(self):
        return storage.load_path(self.root / "raw", "payment", "bank", DAY)

    def put(self, name, content):
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def load(self, dialect=None, **options):
        arguments = (self.root / "landing", self.root / "raw", "bank", dialect or a_dialect(), "payment", DAY)
        return engine.load_delivery(self.connection, *arguments, **options)

    def rows(self):
        found = duckdb.execute(f"select * from read_parquet('{self.raw_file}') order by source_file, source_row")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def read(self, files, dialect=None):
        """Deliver and load; the load, its good rows and its quarantined ones."""
        for name, content in files.items():
            self.put(name, content)
        load = self.load(dialect).load
        rows = self.rows()
        bad = [row for row in rows if isinstance(row["quarantine_reason"], str)]
        good = [row for row in rows if not isinstance(row["quarantine_reason"], str)]
        assert load.rows_in == load.rows_out + load.rows_quarantined + load.rows_left_out
        assert (load.rows_out, load.rows_quarantined) == (len(good), len(bad))
        assert all(row["quarantine_reason"] and row["source_record"] is not None for row in bad)
        assert self.load(dialect).status == "unchanged"
        return load, good, bad

    def refused(self, files, dialect=None, *, says="", about=None):
        """Deliver and be refused, with a sentence that says all it must; the raw layer stays as it was."""
        for name, content in files.items():
            self.put(name, content)
        before = self.raw_file.read_bytes() if self.raw_file.exists() else None
        with pytest.raises(DeliveryError) as refusal:
            self.load(dialect)
        message = str(refusal.value)
        assert "bank, 2026-06-01" in message
        for name in files if about is None else [about]:
            assert name in message
        assert message.endswith("was taken.")
        assert says in message
        assert len(message) < 2000
        assert (self.raw_file.read_bytes() if self.raw_file.exists() else None) == before
        assert not [path for path in (self.root / "raw").rglob(".*")], "nothing half written is left"
        return message


@pytest.fixture
def bank(tmp_path, connection):
    return Bank(connection, tmp_path)


def ids(rows):
    return [row["payment_id"] for row in rows]


def lines(rows):
    return [row["source_row"] for row in rows]


def zipped(members, **options):
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def workbook(sheet):
    """A workbook of one sheet, as little of it as a reader needs."""
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    link = (
        '<Relationships xmlns="{0}/relationships"><Relationship Id="r1" Type="{1}/{2}" Target="{3}"/></Relationships>'
    )
    return zipped(
        [
            ("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>'),
            ("_rels/.rels", link.format(package, office, "officeDocument", "xl/workbook.xml")),
            ("xl/_rels/workbook.xml.rels", link.format(package, office, "worksheet", "worksheets/sheet1.xml")),
            (
                "xl/workbook.xml",
                f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets>'
                "</workbook>",
            ),
            ("xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>'),
        ]
    )


def sheet_row(number, *cells, first="A"):
    texts = (
        f'<c r="{chr(ord(first) + position)}{number}" t="inlineStr"><is><t>{cell}</t></is></c>'
        for position, cell in enumerate(cells)
    )
    return f'<row r="{number}">{"".join(texts)}</row>'


SHEET = sheet_row(1, "Id", "Date", "Amount") + sheet_row(2, "P1", "2026-05-31", "1") + sheet_row(3, "P2", "bad", "1")


def parquet(select):
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        duckdb.execute(f"copy ({select}) to '{file.name}' (format parquet)")
        return open(file.name, "rb").read()


# Cut off


def test_a_file_cut_off_in_a_line_or_in_a_quote_keeps_the_rest_of_it(bank):
    _, good, bad = bank.read({"pay1.csv": GOOD + "P4,2026-0", "pay2.csv": GOOD.replace("P", "Q") + 'Q4,"2026-0'})
    assert ids(good) == ["P1", "P2", "P3", "Q1", "Q2", "Q3"]
    assert [(row["source_file"], row["source_row"], row["source_record"]) for row in bad] == [
        ("pay1.csv", 5, "P4,2026-0"),
        ("pay2.csv", 5, 'Q4,"2026-0'),
    ]


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("form", ["json", "xml", "xlsx", "zip", "gz", "parquet"])
def test_a_document_or_archive_cut_off_anywhere_is_refused_whole(bank, form, share):
    whole = {
        "json": f"[{','.join([RECORD] * 40)}]".encode(),
        "xml": f"<?xml version='1.0'?><r>{ELEMENT * 40}</r>".encode(),
        "xlsx": workbook(SHEET),
        "zip": zipped([("pay.csv", GOOD * 50)]),
        "gz": gzip.compress((GOOD * 50).encode()),
        "parquet": parquet("select 'P' || i as Id, '2026-05-31' as Date, i as Amount from range(500) as t(i)"),
    }[form]
    name = "pay.csv.gz" if form == "gz" else f"pay.{form}"
    dialect = XML if form == "xml" else a_dialect()
    bank.put(name, whole)
    assert bank.load(dialect).status == "loaded"
    bank.refused({name: whole[: int(len(whole) * share)]}, dialect)


def test_a_byte_changed_in_an_archive_is_found(bank):
    whole = bytearray(zipped([("pay.csv", "".join(f"P{i},2026-05-31,{i * 7919 % 1000}\n" for i in range(2000)))]))
    whole[len(whole) // 2] ^= 255
    bank.refused({"d.zip": bytes(whole)}, says="cannot be unpacked")


# Encodings


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD.encode("utf-16"), "utf-8 fails at byte 0"),
        (GOOD.encode("utf-16-le"), "UTF-16"),
        (GOOD.replace("P1", "é").encode("cp1252"), "utf-8 fails at byte 15"),
        (GOOD.replace("P1", "甲").encode("gb18030"), "utf-8 fails at byte 15"),
    ],
)
def test_an_encoding_the_dialect_does_not_name_is_refused_with_the_byte(bank, content, says):
    bank.refused({"pay.csv": content}, says=says)


def test_gb18030_with_a_broken_byte_is_not_patched_up(bank):
    content = GOOD.replace("P1", "甲").encode("gb18030") + b"\xff\xff,2026-05-31,1\n"
    bank.refused({"pay.csv": content}, a_dialect(read={"encoding": ["utf-8", "gb18030"]}), says="gb18030 fails at byte")


def test_latin_1_reads_anything_and_so_is_only_tried_where_it_is_named(bank):
    content = GOOD.replace("P1", "é").encode("latin-1")
    bank.refused({"pay.csv": content})
    _, good, _ = bank.read({"pay.csv": content}, a_dialect(read={"encoding": ["utf-8", "latin-1"]}))
    assert ids(good) == ["é", "P2", "P3"]


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_named_encodings_and_byte_order_marks_are_read(bank, form, codec):
    content = {"csv": f"{HEADER}甲é,2026-05-31,1\n", "json": f"[{RECORD}]", "jsonl": f"{RECORD}\n"}[form]
    content = content.replace("P1", "甲é")
    _, good, _ = bank.read({f"pay.{form}": content.encode(codec)}, a_dialect(read={"encoding": ["utf-8", codec]}))
    assert ids(good) == ["甲é"]


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("GB18030", "gb18030"),
        ("gb2312", "gb18030"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-16"),
        ("UTF-8", "utf-8-sig"),
    ],
)
def test_xml_is_read_in_the_encoding_it_declares(bank, declared, codec):
    name = "é€" if codec == "cp1252" else "甲"
    text = f'<?xml version="1.0" encoding="{declared}"?><r>{ELEMENT.replace("P1", name)}</r>'
    _, good, _ = bank.read({"pay.xml": text.encode(codec)}, XML)
    assert ids(good) == [name]


def test_xml_without_declaration_is_read_in_the_dialects_encoding_and_a_false_one_is_refused(bank):
    text = f"<r>{ELEMENT.replace('P1', '甲')}</r>"
    dialect = a_dialect(read={"records": "p", "encoding": ["utf-8", "gb18030"]})
    assert ids(bank.read({"pay.xml": text.encode("gb18030")}, dialect)[1]) == ["甲"]
    bank.refused({"pay.xml": b"<?xml version='1.0' encoding='UTF-8'?>" + text.encode("gb18030")}, dialect)
    bank.refused({"pay.xml": "<?xml version='1.0' encoding='klingon'?>" + text}, dialect, says="klingon")


# Lines, quotes, headers


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_read_and_counted(bank, end):
    _, good, bad = bank.read({"pay.csv": (GOOD + "P4,x,1\n").replace("\n", end)})
    assert (ids(good), lines(bad)) == (["P1", "P2", "P3"], [5])


def test_mixed_line_ends_in_text_and_json_lines(bank):
    _, good, bad = bank.read({"pay.csv": b"Id,Date,Amount\r\nP1,2026-05-31,1\rP2,2026-05-31,2\nP3,x,3\r\n"})
    assert (ids(good), lines(bad)) == (["P1", "P2"], [4])
    (bank.folder / "pay.csv").unlink()
    _, good, _ = bank.read({"pay.jsonl": f"{RECORD}\r{RECORD}\r\n\n{RECORD}\n"})
    assert lines(good) == [1, 2, 4]


def test_quotes(bank):
    text = (
        '"P ""x"" 1",2026-05-31,1\n'  # doubled, as it should be
        '"P "x" 2",2026-05-31,1\n'  # not doubled
        'P"3,2026-05-31,1\n'  # inches
        "P4,2026-05-31,1,234.50\n"  # a comma in a number nobody quoted
        '"P\r\n5",2026-05-31,1\n'
    )
    _, good, bad = bank.read({"pay.csv": HEADER + text})
    assert ids(good) == ['P "x" 1', 'P"3', "P\r\n5"]
    assert [row["source_record"] for row in bad] == ['"P "x" 2",2026-05-31,1', "P4,2026-05-31,1,234.50"]


def test_an_unclosed_quote_in_a_long_file_swallows_no_line_unseen(bank):
    before = [f"P{i},2026-05-31,1" for i in range(20_000)]
    after = [f"Q{i},2026-05-31,甲" for i in range(20_000)]
    for end in ([], ['Y,2026-05-31,"1",2']):
        text = HEADER + "\n".join([*before, 'X,2026-05-31,"1', *after, *end])
        bank.refused({"pay.csv": text}, says="line 20002 opens a quote that is not closed")
    # Where few lines are concerned, all of them are in quarantine.
    _, good, bad = bank.read({"pay.csv": HEADER + "\n".join([*before, 'X,2026-05-31,"1', *after[:50]])})
    assert (len(good), lines(bad)) == (20_000, [20_002])
    assert bad[0]["source_record"].splitlines() == ['X,2026-05-31,"1', *after[:50]]


def test_nul_bytes_in_a_cell_are_kept_and_padding_is_quarantined(bank):
    _, good, bad = bank.read({"pay.csv": HEADER + "P\x001,2026-05-31,1\n" + "\x00" * 100})
    assert (ids(good), len(bad)) == (["P\x001"], 1)


def test_a_header_repeated_in_the_middle_is_quarantined(bank):
    _, good, bad = bank.read({"pay.csv": GOOD + GOOD.replace("P", "Q")})
    assert (len(good), lines(bad)) == (6, [5])


@pytest.mark.parametrize(
    ("above", "row"),
    [
        ("Payments\n\nmade by A, B\n", 5),
        ('"Payments\nof May",,\n', 3),  # a title over two lines: rows are counted, and none is skipped with it
        ('Payments of 5" pipes\n', 3),
        ('"a\r\nb\r\nc"\n"d"\n', 4),
    ],
)
def test_a_header_below_a_title_is_found_and_no_row_lost(bank, above, row):
    _, good, bad = bank.read({"pay.csv": f"{above}{HEADER}{ROWS}P4,x,1\nP5\n"})
    assert (ids(good), lines(good)[0], lines(bad)) == (["P1", "P2", "P3"], row, [row + 3, row + 4])


def test_a_header_over_two_lines_loses_no_row(bank):
    _, good, _ = bank.read({"pay.csv": 'Id,Date,Amount,"in\nEUR"\nP1,2026-05-31,1,x\nP2,2026-05-31,1,x\n'})
    assert ids(good) == ["P1", "P2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ROWS, "no column is headed 'Id'. The nearest header found is 'P1'"),
        ("", "is empty"),
        ("\n\n  \n", "is empty"),
        ("\ufeff", "is empty"),
        ("Id,Date,Amount,Amount\nP1,2026-05-31,1,2\n", "the header 'Amount' stands over several columns"),
        ("x" * 3_000_000, "no column is headed"),
        (",".join("x" * 9 for _ in range(3000)), "no column is headed"),
    ],
)
def test_headers_that_are_not_there_or_there_twice_are_refused(bank, text, says):
    bank.refused({"pay.csv": text}, says=says)


def test_a_header_that_is_there_twice_is_bound_by_its_number(bank):
    content = "Id,Date,Amount,Amount\nP1,2026-05-31,1,2\n"
    _, good, _ = bank.read({"pay.csv": content}, a_dialect({"amount": {"from": "Amount (2)"}}))
    assert good[0]["amount"] == Decimal(2)


def test_an_extract_without_rows_is_not_an_error(bank):
    for text in (HEADER, HEADER.strip(), HEADER + "\n\n"):
        assert bank.read({"pay.csv": text})[0].rows_in == 0


def test_blank_rows_are_no_records(bank):
    _, good, bad = bank.read({"pay.csv": HEADER + "\nP1,2026-05-31,1\n\n,,\n" + '"","",""\n' + " ,,\n,,1\n"})
    assert (ids(good), len(bad)) == (["P1"], 2)


@pytest.mark.parametrize(
    "header",
    [
        "rowid",
        "source_row",
        "source_file",
        "amount!text",
        "amount!value",
        "is_deleted!",
        "reason!",
        "cells!",
        "record",
        "line",
        "a'b",
        'a""b',
        "a\\b",
        "{x}",
        "{{ Id }}",
        "'); drop table x;--",
        "a\nb",
        "🐋",
        "\u3000",
        "select",
        "*",
        "payment_id",
        "ID!",
    ],
)
def test_no_header_can_be_taken_for_anything_else(bank, header):
    content = f'Id,Date,Amount,"{header}"\nP1,2026-05-31,1,9\nP2,bad,1,9\n'
    _, good, bad = bank.read({"pay.csv": content})
    assert [(row["payment_id"], row["amount"], row["source_row"] > 1) for row in good] == [("P1", Decimal(1), True)]
    assert list(json.loads(bad[0]["source_record"]).values()) == ["P2", "bad", "1", "9"]
    name = header.replace('""', '"')
    table = f"select 'P1' as Id, '2026-05-31' as Date, 1 as Amount, 9 as \"{name.replace(chr(34), chr(34) * 2)}\""
    (bank.folder / "pay.csv").unlink()
    assert ids(bank.read({"pay.parquet": parquet(table)})[1]) == ["P1"]


def test_files_of_one_delivery_may_have_their_columns_in_any_order(bank):
    files = {
        "pay1.csv": GOOD,
        "pay2.csv": "Extra,Amount,Id,Date\nx,7,Q1,2026-05-31\n",
        "pay3.jsonl": '{"Date":"2026-05-31","Amount":"8","Id":"R1","more":{"x":1}}',
    }
    _, good, _ = bank.read(files)
    assert [(row["payment_id"], int(row["amount"])) for row in good][-2:] == [("Q1", 7), ("R1", 8)]


# Size


def test_a_line_longer_than_any_line_is_quarantined_and_the_others_are_read(bank):
    _, good, bad = bank.read({"pay.csv": HEADER + "P1,2026-05-31,1\nP2," + "x" * 20_000_000 + ",1\nP3,2026-05-31,1\n"})
    assert (ids(good), lines(bad)) == (["P1", "P3"], [3])


def test_a_json_line_longer_than_any_line_is_refused(bank):
    message = bank.refused({"pay.jsonl": f'{RECORD}\n{{"Id":"{"x" * 17_000_000}"}}\n'}, says="No line may be longer")
    assert len(message) < 500


def test_a_cell_of_ten_megabytes_is_read(bank):
    _, good, _ = bank.read({"pay.csv": GOOD + "x" * 10_000_000 + ",2026-05-31,1\n"})
    assert [len(name) for name in ids(good)] == [2, 2, 2, 10_000_000]


@pytest.mark.parametrize("columns", [600, 2_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_file_of_very_many_columns_is_read(bank, columns):
    more = columns - 3
    content = "Id,Date,Amount," + ",".join(f"c{n}" for n in range(more)) + "\n"
    content += "".join(f"P{n},2026-05-31,{n or 'x'}," + ",".join(["1"] * more) + "\n" for n in range(20))
    content += "," * (columns - 1) + "\n" + "P99\n"
    load, good, bad = bank.read({"pay.csv": content})
    assert (load.rows_in, len(good), lines(bad)) == (21, 19, [2, 23])
    assert len(json.loads(bad[0]["source_record"])) == columns
    assert len(load.unread_columns) == more


@pytest.mark.parametrize("every", [3, 40])
def test_many_lines_that_cannot_be_split_keep_all_numbers_right(bank, every):
    text = [f"P{n},2026-05-31,1" if n % every else "bad" for n in range(2, 2002)]
    _, good, bad = bank.read({"pay.csv": HEADER + "\n".join(text)})
    assert lines(bad) == [n for n in range(2, 2002) if n % every == 0]
    assert all(row["payment_id"] == f"P{row['source_row']}" for row in good)


def test_a_file_of_another_kind_is_refused_before_its_lines_fill_the_memory(bank, monkeypatch):
    monkeypatch.setattr("assets.ingest.reading.MAX_REJECTED", 100)
    bank.refused({"pay.csv": HEADER + "bad\n" * 500}, says="the first is line 2")


# Archives


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a readable zip"),
        (b"PK\x05\x06" + b"\0" * 10, "not a readable zip"),
        (b"no zip", "not a readable zip"),
    ],
)
def test_what_is_no_zip_is_refused(bank, content, says):
    bank.refused({"d.zip": content}, says=says)


def test_an_empty_zip_holds_nothing(bank):
    bank.put("d.zip", zipped([]))
    assert bank.load().status == "absent"


@pytest.mark.parametrize(
    "name", ["../pay.csv", "/pay.csv", "..\\pay.csv", "C:\\pay.csv", "a/../../pay.csv", "\\\\host\\pay.csv", "."]
)
def test_a_name_that_leads_out_of_the_archive_is_refused(bank, name):
    bank.refused({"d.zip": zipped([(name, GOOD)])}, says="leads out of its folder")
    assert sorted(path.name for path in bank.root.rglob("*pay*")) == []


@pytest.mark.parametrize(
    "name", ["a/b/pay.csv", "a\\pay.csv", "./pay.csv", "pay'; drop table x.csv", "pay\n.csv", "甲/pay甲.csv"]
)
def test_other_names_in_archives_are_read(bank, name):
    assert len(bank.read({"d.zip": zipped([(name, GOOD)])})[1]) == 3


def test_names_in_an_archive_made_on_chinese_windows(bank):
    content = zipped([("pay??.csv", GOOD)])
    _, good, _ = bank.read({"d.zip": content.replace(b"pay??", b"pay" + "甲".encode("gbk"))})
    assert good[0]["source_file"] == "d.zip/pay甲.csv"


def test_archives_in_archives_and_members_of_one_name_are_refused(bank):
    inner = zipped([("pay.csv", GOOD)])
    bank.refused({"d.zip": zipped([("pay.zip", inner)])}, says="an archive inside the archive")
    bank.refused(
        {"d.zip": zipped([("pay.csv.gz", gzip.compress(GOOD.encode()))])}, says="an archive inside the archive"
    )
    bank.refused({"d.zip": zipped([("pay.csv", GOOD), ("pay.csv", GOOD)])}, says="two files named 'pay.csv'")


def test_a_zip_with_a_password_is_refused(bank):
    content = bytearray(zipped([("pay.csv", GOOD)]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(signature) + offset
        content[place : place + 2] = struct.pack("<H", 1)
    bank.refused({"d.zip": bytes(content)}, says="protected by a password")


def bomb(megabytes, members=1):
    buffer, block = io.BytesIO(), b"0" * (1 << 20)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            with archive.open(f"pay{number}.csv", "w") as member:
                for _ in range(megabytes):
                    member.write(block)
    return buffer.getvalue()


@pytest.fixture
def scratch_peak(monkeypatch):
    """The most bytes that were unpacked at any moment, looked at all the time."""
    monkeypatch.setattr(delivery, "FREE_SIZE", 4 << 20)
    monkeypatch.setattr(documents, "FREE_SIZE", 4 << 20)
    seen, stop = [0], threading.Event()
    folders = []
    make = tempfile.TemporaryDirectory

    class Watched(make):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            folders.append(self.name)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Watched)

    def watch():
        while not stop.wait(0.005):
            size = 0
            for folder in folders:
                for path, _, names in os.walk(folder):
                    for name in names:
                        try:
                            size += os.lstat(os.path.join(path, name)).st_size
                        except OSError:
                            continue
            seen[0] = max(seen[0], size)

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    stop.set()
    thread.join()


@pytest.mark.parametrize("kind", ["zip of one", "zip of many", "gzip"])
def test_a_bomb_is_stopped_early(bank, scratch_peak, kind):
    name, content = {
        "zip of one": lambda: ("d.zip", bomb(60)),
        "zip of many": lambda: ("d.zip", bomb(3, members=20)),
        "gzip": lambda: ("pay.csv.gz", gzip.compress(b"0" * (60 << 20), 9)),
    }[kind]()
    assert len(content) < 1 << 20
    begun = time.monotonic()
    bank.refused({name: content}, says="250 times its size")
    assert time.monotonic() - begun < 10
    assert scratch_peak[0] <= delivery.FREE_SIZE + len(content) * delivery.MAX_RATIO


def test_a_workbook_that_is_a_bomb_is_refused_unread(bank, scratch_peak):
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/worksheets/sheet1.xml", "w") as sheet,
    ):
        for _ in range(20):
            sheet.write(b"<c/>" * (1 << 18))
    bank.refused({"pay.xlsx": buffer.getvalue()}, says="250 times its size")


def test_a_cell_in_the_last_corner_of_a_sheet_harms_nobody(bank):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corner = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    bank.refused({"pay.xlsx": workbook(SHEET + corner)}, says="a cell far outside of its data")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 << 10


# Workbooks


def test_a_workbook_keeps_its_row_numbers_wherever_its_table_stands(bank):
    sheet = sheet_row(5, "Id", "Date", "Amount", first="C") + sheet_row(6, "P1", "2026-05-31", "1", first="C")
    sheet += sheet_row(8, "P2", "bad", "1", first="C")
    _, good, bad = bank.read({"pay.xlsx": workbook(sheet)})
    assert (ids(good), lines(good), lines(bad)) == (["P1"], [6], [8])


def test_blank_rows_at_the_end_of_a_sheet_are_no_records(bank):
    blanks = "".join(sheet_row(n, "", "", "") for n in range(4, 60))
    load, _, bad = bank.read({"pay.xlsx": workbook(SHEET + blanks)})
    assert (load.rows_in, lines(bad)) == (2, [3])


def test_cells_with_formulas_errors_and_dates(bank):
    cells = (
        '<row r="4"><c r="A4" t="str"><f>HYPERLINK("http://example.invalid")</f><v>link</v></c>'
        '<c r="B4" t="inlineStr"><is><t>2026-05-31</t></is></c><c r="C4"><f>1+1</f><v>2</v></c></row>'
        '<row r="5"><c r="A5" t="e"><v>#REF!</v></c><c r="B5" t="e"><v>#N/A</v></c><c r="C5" t="b"><v>1</v></c></row>'
    )
    _, good, bad = bank.read({"pay.xlsx": workbook(SHEET + cells)})
    assert [(row["payment_id"], int(row["amount"])) for row in good] == [("P1", 1), ("link", 2)]
    assert lines(bad) == [3, 5]


@pytest.mark.parametrize("content", [b"no workbook", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 3000, workbook("")])
def test_what_is_no_workbook_or_an_empty_one_is_refused(bank, content):
    bank.refused({"pay.xlsx": content})


def test_a_sheet_that_is_not_there_is_named_with_those_that_are(bank):
    bank.refused({"pay.xlsx": workbook(SHEET)}, a_dialect(read={"sheet": "^May$"}), says="it has S")


# JSON and XML


@pytest.mark.parametrize("depth", [300, 100_000])
@pytest.mark.parametrize("opened", ["[", '{"x":'])
def test_deeply_nested_json_is_refused_or_quarantined(bank, opened, depth):
    nested = opened * depth + "1" + ("]" if opened == "[" else "}") * depth
    begun = time.monotonic()
    bank.refused({"pay.json": f'[{RECORD},{{"Id":{nested}}}]'}, says="levels deep")
    (bank.folder / "pay.json").unlink()
    _, good, bad = bank.read({"pay.jsonl": f'{RECORD}\n{{"Date":{nested}}}\n{RECORD}\n'})
    assert (lines(good), lines(bad)) == ([1, 3], [2])
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("where", ["above", "inside"])
def test_deeply_nested_xml_is_refused(bank, where):
    deep = "<a>" * 50_000 + (ELEMENT if where == "above" else "") + "</a>" * 50_000
    text = deep if where == "above" else f"<r><p>{deep}</p></r>"
    begun = time.monotonic()
    bank.refused({"pay.xml": text}, XML, says="levels deep")
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE r [<!ENTITY c SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE r SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE r [<!ENTITY % c SYSTEM "http://example.invalid/x.dtd"> %c;]>',
    ],
)
def test_xml_with_entities_or_a_document_type_is_refused(bank, declared):
    message = bank.refused({"pay.xml": f"{declared}<r>{ELEMENT.replace('P1', '&c;')}</r>"}, XML)
    assert "root:" not in message


def test_xml_needs_to_be_told_what_its_records_are(bank):
    bank.refused({"pay.xml": f"<r>{ELEMENT}</r>"}, says="`read: {records:")


def test_json_lines_of_every_kind(bank):
    odd = [
        "[1,2]",
        "5",
        "null",
        '"x"',
        "NaN",
        "{'Id':1}",
        '{"Id":"\x01"}',
        "\x00",
        '{"Id":"P2","Date":"2026-05-31","Amount":NaN}',
        '{"Id":"P3","Date":"2026-05-31","Amount":-Infinity}',
        '{"Id":"P4","Date":"2026-05-31","Amount":1e400}',
        '{"Id":"P5","Date":"2026-05-31","Amount":123456789012345678901234567890}',
        '{"Id":"P6","Date":["2026-05-31"],"Amount":[1]}',
        '{"Id":"P7","Date":"2026-05-31"',
    ]
    _, good, bad = bank.read({"pay.jsonl": "\n".join([RECORD, *odd, '{"Id":8,"Date":"2026-05-31","Amount":"2.50"}'])})
    assert (ids(good), lines(good)) == (["P1", "8"], [1, 16])
    assert [row["source_record"] for row in bad] == odd
    assert good[1]["amount"] == Decimal("2.5")


def test_a_broken_json_line_is_quarantined_also_where_others_are_left_out(bank):
    content = '{"Id":"P1","Date":"2026-05-31","Amount":1,"k":"a"}\n{"Id":\n{"Id":"P3","k":"b"}\n'
    load, good, bad = bank.read({"pay.jsonl": content}, a_dialect(where={"from": "k", "in": "a"}))
    assert (ids(good), lines(bad), load.rows_left_out) == (["P1"], [2], 1)


def test_a_json_document_of_odd_records(bank):
    records = [
        RECORD,
        "[1,2]",
        "5",
        "null",
        '"x"',
        '{"Id":"P2","Date":"2026-05-31","Amount":1e99999999}',
        '{"Id":"P3","Date":"2026-05-31","Amount":0.10}',
    ]
    _, good, bad = bank.read({"pay.json": f"[{','.join(records)}]"})
    assert (ids(good), lines(bad)) == (["P1", "P3"], [2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{}",
        "null",
        "5",
        '{"a":1}',
        RECORD,
        f"{RECORD}\n{RECORD}",
        f"[{RECORD}",
        f"[{RECORD}]]",
        "[NaN]",
        "[" + "9" * 5000 + "]",
    ],
)
def test_what_is_no_list_of_records_is_refused(bank, text):
    bank.refused({"pay.json": text})


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1,234.50)", "-1234.5"),
        ("1,234.50", "1234.5"),
        ("１２３", "123"),
        ("１，２３４．５０", "1234.5"),
        ("1234-", "-1234"),
        ("¥1,234.50", "1234.5"),
        ("-$5", "-5"),
        ("5€", "5"),
        ("CNY 5", "5"),
        ("5 元", "5"),
        ("12,34,567.00", "1234567"),
        ("1 234", "1234"),
        ("1'234.50", "1234.5"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("00012", "12"),
        ("１２３-", "-123"),
        ("（１２３）", "-123"),
        ("1.00005", "1.0001"),
        ("-1.00005", "-1.0001"),
        ("999999999999999999.9999", "999999999999999999.9999"),
        *(
            (look, None)
            for look in (
                "1,5",
                "12 34",
                "1.2.3",
                "--5",
                "1.234,50",
                "+-5",
                "(5",
                "5)",
                "(-5)",
                "50%",
                "1e400",
                "NaN",
                "inf",
                "0x1F",
                "1,2345",
                "1,234,56",
                ".",
                "9" * 19,
                "true",
                "=1+1",
                "٣",
                "1-2",
                "(5)-",
                "-",
                "—",
                "",
            )
        ),
    ],
)
def test_numbers_are_read_in_one_way_or_not_at_all(bank, text, value):
    _, good, bad = bank.read(
        {"pay.csv": f'Id;Date;Amount\nP1;2026-05-31;"{text}"\n'}, a_dialect(read={"delimiter": ";"})
    )
    assert [row["amount"] for row in good] == ([] if value is None else [Decimal(value)])
    assert not bad or bad[0]["quarantine_reason"].startswith("amount")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.234,50", "1234.5"),
        ("1,5", "1.5"),
        ("(1.234,50)", "-1234.5"),
        ("1 000 000,00", "1000000"),
        ("1,234.50", None),
        ("1.2,3.4", None),
    ],
)
def test_numbers_with_a_decimal_comma(bank, text, value):
    _, good, _ = bank.read(
        {"pay.csv": f"Id;Date;Amount\nP1;2026-05-31;{text}\n"}, a_dialect(read={"delimiter": ";", "decimal": ","})
    )
    assert [row["amount"] for row in good] == ([] if value is None else [Decimal(value)])


@pytest.mark.parametrize(
    ("text", "day"),
    [
        *(
            (text, "2026-05-03")
            for text in (
                "2026-05-03",
                "2026/5/3",
                "2026.05.03",
                "20260503",
                "2026年5月3日",
                "2026-05-03 10:00:00",
                "2026-05-03T23:30:00Z",
                "20260503103000",
                "２０２６-０５-０３",
                "2026-05-03T00:30:00+14:00",
            )
        ),
        *(
            (text, None)
            for text in (
                "2026-02-30",
                "13/13/2026",
                "03/05/2026",
                "00000000",
                "19000101",
                "9999-12-31",
                "29.02.2025",
                "45000",
                "1772640000000",
                "epoch",
                "infinity",
                "-infinity",
                "today",
                "2026-05-31abc",
                "2026-05",
                "2026-13-01",
                "12026-05-31",
                "44-03-15 (BC)",
                "26-05-31",
                "20260230",
                "2026-05-03T10:00:00+99:00",
                "-2026-05-03",
                "0",
                "2026-05-03 25:00",
            )
        ),
    ],
)
def test_dates_are_read_in_one_way_or_not_at_all(bank, text, day):
    if text.endswith("+14:00"):
        day = "2026-05-02"
    _, good, bad = bank.read({"pay.csv": f"Id,Date,Amount\nP1,{text},1\n"})
    assert [str(row["payment_date"]) for row in good] == ([] if day is None else [day])
    assert not bad or bad[0]["quarantine_reason"].startswith(f"payment_date: '{text}'")


@pytest.mark.parametrize("form", ["epoch_ms", "epoch_s", "json_date", "excel", "%d.%m.%Y", "iso"])
@pytest.mark.parametrize(
    "number", ["9" * 18, "9" * 19, "9" * 40, "-1", "-" + "9" * 18, "9223372036854775807", "1e15", "x", "31.02.2026"]
)
def test_no_number_makes_a_date_fail_more_than_its_row(bank, form, number):
    text = f"/Date({number})/" if form == "json_date" else number
    dialect = a_dialect(
        {"payment_date": {"from": "Date", "format": form, "timezone": "Asia/Shanghai"}}, modified_at={"from": "M"}
    )
    _, good, bad = bank.read({"pay.csv": f"Id,Date,Amount,M\nP1,{text},1,\n"}, dialect)
    assert (len(good), len(bad)) == (0, 1) or form == "json_date"


def test_no_date_where_none_is_needed_is_none_and_an_unreadable_time_of_change_is_told(bank):
    content = "Id,Date,Amount,M\n" + "".join(
        f"P{n},2026-05-31,1,{text}\n" for n, text in enumerate(["", *values.NO_DATE, "x", "epoch"])
    )
    _, good, bad = bank.read({"pay.csv": content}, a_dialect(modified_at={"from": "M"}))
    assert len(good) == 1 + len(values.NO_DATE)
    assert [row["quarantine_reason"] for row in bad] == [
        f"source_modified_at: '{text}' is not a time" for text in ("x", "epoch")
    ]


def test_amounts_too_large_for_the_contract_are_quarantined_row_by_row(bank):
    big = "999999999999999999.9999"
    sides = a_dialect({"amount": {"debit": "D", "credit": "C"}})
    _, good, bad = bank.read({"pay.csv": f"Id,Date,D,C\nP1,2026-05-31,{big},-{big}\nP2,2026-05-31,3,1\n"}, sides)
    assert (ids(good), lines(bad)) == (["P2"], [2])
    scaled = a_dialect({"amount": {"from": "D", "scale": "10000"}})
    _, good, bad = bank.read({"pay.csv": f"Id,Date,D\nP1,2026-05-31,{big}\nP2,2026-05-31,3\n"}, scaled)
    assert (ids(good), lines(bad)) == (["P2"], [2])


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(1)",
        "+cmd|' /C calc'!A0",
        "-1+1",
        "@SUM(A1)",
        "＝1",
        "'; drop table x;--",
        "{{ Id }}",
        "${HOME}",
        "%s",
        "\\'",
    ],
)
def test_cells_stay_the_text_they_are(bank, text):
    _, good, _ = bank.read({"pay.csv": f'Id,Date,Amount\n"{text}",2026-05-31,1\n'})
    assert ids(good) == [text]
    if text[0] in "=+-@＝":
        assert text.startswith(FORMULA_STARTS), "published lists put a quote before it"


# The landing folder


def test_unfinished_and_hidden_files_wait(bank):
    for name in ("pay.csv.tmp", "pay.csv.part", ".pay.csv", "~$pay.xlsx", "pay.CSV.FilePart", "pay.crdownload"):
        bank.put(name, "half a li")
    assert bank.load().status == "absent"
    _, good, _ = bank.read({"pay.csv": GOOD})
    assert len(good) == 3


def test_a_file_that_grows_while_it_is_described_is_refused(bank, monkeypatch):
    class Growing:
        def __init__(self, *arguments, **options):
            self.size = 0

        def update(self, chunk):
            with (bank.folder / "pay.csv").open("ab") as file:
                file.write(b"P9,2026-05-31,9\n") if self.size < 3 else None
            self.size += 1

        def hexdigest(self):
            return "0"

    monkeypatch.setattr(delivery.hashlib, "sha256", Growing)
    bank.refused({"pay.csv": GOOD}, says="still being written")


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_a_file_that_grows_or_goes_between_two_looks_is_refused(bank, monkeypatch, form):
    content = {
        "csv": GOOD,
        "jsonl": RECORD,
        "json": f"[{RECORD}]",
        "parquet": parquet("select 'P1' as Id, '2026-05-31' as Date, 1 as Amount"),
    }
    find = engine.find_delivery

    def then(change):
        def finds(*arguments):
            found = find(*arguments)
            change(bank.folder / f"pay.{form}")
            return found

        monkeypatch.setattr(engine, "find_delivery", finds)

    then(lambda path: path.write_bytes(path.read_bytes() + b"\n"))
    bank.refused({f"pay.{form}": content[form]})
    then(lambda path: path.unlink())
    bank.refused({f"pay.{form}": content[form]})


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is readable for root")
def test_a_file_without_permission_is_refused(bank):
    bank.put("pay.csv", GOOD)
    (bank.folder / "pay.csv").chmod(0)
    bank.refused({}, about="pay.csv", says="cannot be read")


def test_links_out_of_the_folder_folders_and_dead_links_are_refused(bank):
    secret = bank.root / "secret.csv"
    secret.write_text(GOOD.replace("P1", "secret"))
    target = bank.folder / "pay.csv"
    target.symlink_to(secret)
    assert "secret,2026" not in bank.refused({}, about="pay.csv", says="a link that leads out")
    target.unlink()
    target.symlink_to(bank.folder / "gone.csv")
    bank.refused({}, about="pay.csv", says="cannot be read")
    target.unlink()
    target.mkdir()
    (target / "more.csv").write_text(GOOD)
    bank.refused({}, about="pay.csv", says="is a folder")
    target.rename(bank.folder / "other.csv")
    assert bank.load().status == "absent"


def test_a_landing_folder_may_itself_be_a_link(bank, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("mount")
    (elsewhere / "pay.csv").write_text(GOOD)
    (bank.root / "landing" / "bank").mkdir(parents=True)
    (bank.root / "landing" / "bank" / DAY.isoformat()).symlink_to(elsewhere)
    assert len(bank.read({})[1]) == 3


NAMES = [
    "pay'x.csv",
    'pay"x.csv',
    "pay;x.csv",
    "pay\nx.csv",
    "pay[1].csv",
    "pay*.csv",
    "pay?.csv",
    "pay%20x.csv",
    "pay 1.csv",
    "pay{a,b}.csv",
    "pay'); drop table x;--.csv",
    "pay\\x.csv",
    "pay=1.csv",
    "pay甲.csv",
    "pay\t.csv",
    "pay$HOME.csv",
    "pay" + "x" * 240 + ".csv",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_is_only_a_name(bank, name):
    bank.put("pay1.csv", GOOD.replace("P", "Q"))  # what a pattern in the other's name would match
    _, good, _ = bank.read({name: GOOD}, a_dialect(read={"encoding": ["ascii", "gb18030"]}))
    assert [row["payment_id"] for row in good if row["source_file"] == name] == ["P1", "P2", "P3"]
    assert len(good) == 6


def test_a_name_that_is_no_utf_8_is_shown_as_it_was_meant(bank):
    name = os.fsdecode("pay回款.csv".encode("gb18030"))
    _, good, _ = bank.read({name: GOOD}, a_dialect(files="pay回款*"))
    assert good[0]["source_file"] == "pay回款.csv"


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "xlsx"])
def test_patterns_in_names_of_other_formats(bank, form):
    content = {
        "json": f"[{RECORD}]",
        "jsonl": RECORD,
        "parquet": parquet("select 'P1' as Id, '2026-05-31' as Date, 1 as Amount"),
        "xlsx": workbook(SHEET),
    }[form]
    assert ids(bank.read({f"pay[1]*.{form}": content})[1]) == ["P1"]


# Keys and controls


def test_a_key_said_twice_alike_stays_and_said_differently_is_quarantined(bank):
    _, good, bad = bank.read(
        {"pay.csv": HEADER + "P1,2026-05-31,1\nP1,2026-05-31,1\nP2,2026-05-31,1\nP2,2026-05-31,2\n"}
    )
    assert (ids(good), lines(bad)) == (["P1", "P1"], [4, 5])
    assert all("says different things of this key" in row["quarantine_reason"] for row in bad)


def test_a_row_that_belongs_to_no_scope_is_quarantined(bank):
    dialect = a_dialect({"payment_method": {"from": "M"}}, restates=["payment_method"])
    _, good, bad = bank.read({"pay.csv": "Id,Date,Amount,M\nP1,2026-05-31,1,card\nP2,2026-05-31,1,\n"}, dialect)
    assert ([row["restates"] for row in good], lines(bad)) == (["card"], [3])


def test_a_control_file_that_holds_lets_the_delivery_in_and_is_no_data(bank):
    control = "file,rows,column,total\npay.csv,3,amount,6.00\npay.csv,3,,\n"
    assert len(bank.read({"pay.csv": GOOD, "control.csv": control}, a_dialect(files="*.csv"))[1]) == 3
    members = {"d.zip": zipped([("pay2.csv", GOOD)]), "control.csv": control + "pay2.csv,3,,\nd.zip/pay2.csv,3,,\n"}
    assert len(bank.read(members)[1]) == 6


@pytest.mark.parametrize(
    ("control", "says"),
    [
        ("file,rows\npay.csv,4\n", "control.csv says 4 rows, and 3 were read"),
        ("file,rows,column,total\npay.csv,,amount,7\n", "amount adds up to 7"),
        ("file,rows\nother.csv,4\n", "'other.csv', which was not delivered"),
        ("file,rows\npay.csv,many\n", "'many' where a number should stand"),
        ("file,rows,column,total\npay.csv,,amuont,7\n", "'amuont', which is none of the contract"),
        ("file,rows,column,total\npay.csv,,payment_id,7\n", "payment_id, which is no amount"),
        ("file,rows,column,total\npay.csv,,,7\n", "a total without its column"),
        ("name,count\npay.csv,3\n", "the columns name, count"),
        ("", "the columns (none)"),
        ("file\npay.csv\n", "the columns file"),
        ('file,rows\n"pay.csv,3\n', "cannot be read"),
    ],
)
def test_a_control_file_that_does_not_hold_or_cannot_is_refused(bank, control, says):
    bank.put("pay.csv", GOOD)
    bank.put("control.csv", control)
    with pytest.raises(DeliveryError, match=r"bank, 2026-06-01.*") as refusal:
        bank.load()
    assert says in str(refusal.value)
    assert not bank.raw_file.exists()


def test_a_control_file_in_another_encoding_is_refused(bank):
    bank.put("pay.csv", GOOD)
    bank.put("control.csv", "file,rows\npay.csv,3\n".encode("utf-16"))
    with pytest.raises(DeliveryError, match="save it as CSV in UTF-8"):
        bank.load()


# Dialects


@pytest.mark.parametrize(
    ("columns", "read", "more"),
    [
        ({"payment_id": {"from": "Id", "capture": "(a"}}, {}, {}),
        ({"payment_id": {"from": "Id", "capture": "(?=x)(a)"}}, {}, {}),  # Python knows it, DuckDB does not
        ({"payment_id": {"from": "Id", "capture": "abc"}}, {}, {}),
        ({"payment_id": {"from": "Id", "timezone": "Mars/Olympus"}}, {}, {}),
        ({}, {"encoding": "klingon"}, {}),
        ({}, {"encoding": "base64"}, {}),
        ({}, {"delimiter": "\n"}, {}),
        ({}, {"delimiter": '"'}, {}),
        ({}, {"quote": "é"}, {}),
        ({}, {}, {"where": {"from": "Id", "matches": r"(a)\1"}}),
    ],
)
def test_a_dialect_that_cannot_work_is_refused_when_it_is_read(columns, read, more):
    with pytest.raises(ValidationError):
        a_dialect(columns, read, **more)


@pytest.mark.parametrize(
    "sql", ["nonsense(", "cast(Id as integer) = 1", "'", "{{ Id", "error('x')", "true; drop table x", "No_such = 1"]
)
def test_sql_that_does_not_fit_is_refused_with_its_entity(bank, sql):
    bank.put("pay.csv", GOOD)
    for dialect in (a_dialect(where=sql), a_dialect({"payment_method": {"sql": sql}})):
        with pytest.raises(DeliveryError, match=r"bank, 2026-06-01.*payment"):
            bank.load(dialect)
    assert not bank.raw_file.exists()


def test_a_column_is_bound_whatever_its_case_and_blanks(bank):
    _, good, _ = bank.read({"pay.csv": " ID ,ｄａｔｅ,*Amount\nP1,2026-05-31,1\n"})
    assert ids(good) == ["P1"]
