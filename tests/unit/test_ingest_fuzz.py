"""Whatever is delivered, rows in = rows out + quarantined (+ left out by `where`), and what is read is what stands there.

The oracle reads the same values by Python's own csv, decimal and datetime and by the rules written here, never by the
engine's SQL. `deep` runs the same properties for minutes instead of seconds.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import functools
import io
import json
import shutil
import tempfile
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from xml.sax.saxutils import escape

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from assets.errors import ConfigurationError, DeliveryError
from assets.ingest import engine, storage
from assets.ingest.dialect import Dialect

DAY = datetime.date(2026, 6, 1)
EVERY = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}
FAST = settings(max_examples=25, **EVERY)
DEEP = settings(max_examples=200, **EVERY)


@functools.cache
def opened():
    stack = contextlib.ExitStack()
    return stack, stack.enter_context(engine.reading_connection())


def connection():
    return opened()[1]


@functools.cache
def former_load():
    """The bytes of a load made before."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "landing" / "bank" / DAY.isoformat()
        folder.mkdir(parents=True)
        (folder / "pay.csv").write_text("Id,Date,Amount\nformer,2026-05-31,1\n")
        engine.load_delivery(connection(), Path(root) / "landing", Path(root), "bank", a_dialect(), "payment", DAY)
        return storage.load_path(Path(root), "payment", "bank", DAY).read_bytes()


def a_dialect(columns=None, read=None, **mapping):
    columns = {
        "payment_id": {"from": "Id"},
        "payment_date": {"from": "Date"},
        "amount": {"from": "Amount"},
        **(columns or {}),
    }
    entity = {"files": mapping.pop("files", "pay*"), "columns": columns, **mapping}
    return Dialect.model_validate({"dialect": "test", "read": read or {}, "entities": {"payment": entity}})


def _held_refused(message, path, former):
    assert "bank, 2026-06-01" in message
    assert path.read_bytes() == former, "a refused delivery changes nothing"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def loaded(files, dialect):
    """The load and its rows as dictionaries, all invariants held; None where the delivery was refused."""
    root = Path(tempfile.mkdtemp())
    try:
        folder = root / "landing" / "bank" / DAY.isoformat()
        folder.mkdir(parents=True)
        path = storage.load_path(root / "raw", "payment", "bank", DAY)
        arguments = (connection(), root / "landing", root / "raw", "bank")
        former = former_load()
        path.parent.mkdir(parents=True)
        path.write_bytes(former)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        try:
            load = engine.load_delivery(*arguments, dialect, "payment", DAY).load
        except (DeliveryError, ConfigurationError) as error:
            return _held_refused(str(error), path, former)
        assert engine.load_delivery(*arguments, dialect, "payment", DAY).status == "unchanged"
        found = duckdb.execute(f"select * from read_parquet('{path}') order by source_file, source_row")
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    finally:
        shutil.rmtree(root)
    bad = [row for row in rows if row["quarantine_reason"] is not None]
    assert load.rows_in == load.rows_out + load.rows_quarantined + load.rows_left_out
    assert (load.rows_quarantined, load.rows_out) == (len(bad), len(rows) - len(bad))
    assert load.rows_left_out >= 0
    assert load.rows_left_out == 0 or any(mapping.where for mapping in dialect.entities["payment"])
    assert all(row["quarantine_reason"] and row["source_record"] is not None for row in bad)
    assert all(row["source_row"] >= 1 and row["source_file"] in files for row in rows)
    return load, rows


# (a) Any bytes at all

PIECES = st.sampled_from(
    [
        b"Id,Date,Amount\n",
        b"P1,2026-05-31,1\n",
        b'"',
        b",",
        b"\n",
        b"\r",
        b"\r\n",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xb0\xa1",
        b'{"Id":"P1","Date":"2026-05-31","Amount":1}',
        b"[",
        b"]",
        b"{",
        b"}",
        b'{"Id":',
        b"null",
        b"<r>",
        b"</r>",
        b"<p>",
        b"</p>",
        b"<Id>P1</Id>",
        b"<Date>2026-05-31</Date>",
        b"<Amount>1</Amount>",
        b"<!DOCTYPE r>",
        b"&a;",
        b"\\",
        b"'",
        b";",
        b"\t",
        b"1e400",
        b"=1+1",
        "甲".encode(),
        "甲".encode("gb18030"),
        b"\xff\xfe",
        b"(1,234.50)",
        b"2026-02-30",
    ]
)
CONTENT = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=25).map(b"".join))
FORMS = st.sampled_from(["csv", "jsonl", "json", "xml"])
ANY_READING = st.fixed_dictionaries(
    {},
    optional={
        "encoding": st.sampled_from([["utf-8"], ["utf-8", "gb18030"], ["utf-16"], ["utf-8", "latin-1"]]),
        "delimiter": st.sampled_from([[","], [";"], ["\t", ","], ["|"]]),
        "quote": st.sampled_from(['"', "'", ""]),
        "decimal": st.sampled_from([".", ","]),
        "ragged": st.booleans(),
        "header": st.sampled_from([[1], [2], [1, 2]]),
        "fill_down": st.sampled_from([["Id"], ["Id", "Date"]]),
        "section": st.sampled_from([{"from": "Id", "as": "section"}, {"from": "1", "as": "section", "ends": "^P"}]),
    },
)


def any_bytes(form, content, reading):
    reading = {**reading, **({"records": "p"} if form == "xml" else {})}
    loaded({f"pay.{form}": content}, a_dialect(read=reading))


@FAST
@given(form=FORMS, content=CONTENT, reading=ANY_READING)
def test_any_bytes(form, content, reading):
    any_bytes(form, content, reading)


@pytest.mark.slow
@DEEP
@given(form=FORMS, content=CONTENT, reading=ANY_READING)
def test_any_bytes_deep(form, content, reading):
    any_bytes(form, content, reading)


# (b) Tables written in any style, held against the values they were written from

AMOUNT = st.decimals(min_value=-(10**12), max_value=10**12, places=2)
LATIN, CHINESE = "abcXYZ 0'-.;:/()#&<>%$", "甲乙公司（）"
TEXT = (
    st.text(LATIN + CHINESE + ',"\n\\|\t', min_size=1, max_size=10)
    .map(str.strip)
    .filter(lambda text: text.strip(" \t\n"))
)
DATE = st.dates(datetime.date(1970, 1, 2), datetime.date(2199, 12, 31))
BAD_AMOUNT = st.sampled_from(["abc", "1.2.3", "--5", "12 34", "5)", "1/2"])
BAD_DATE = st.sampled_from(["2026-02-30", "13/13/2026", "soon", "20261301"])


def grouped(amount, mark, groups, style):
    whole, cents = f"{abs(amount):.2f}".split(".")
    comma = "," if mark == "." else "."
    if groups and len(whole) > 3:
        head, parts = whole[:-3], [whole[-3:]]
        size = 2 if groups == "indian" and mark == "." else 3
        while head:
            head, part = head[:-size], head[-size:]
            parts.insert(0, part)
        whole = (comma if groups in ("own", "indian") else groups).join(parts)
    text = f"{whole}{mark}{cents}"
    if amount < 0:
        text = {"minus": f"-{text}", "trailing": f"{text}-", "brackets": f"({text})"}[style["negative"]]
    text = {"": text, "¥": f"¥{text}", "EUR": f"{text} EUR"}[style["currency"]]
    return (
        text.translate(str.maketrans("0123456789", "０１２３４５６７８９")) if style["wide"] and mark == "." else text
    )


STYLE = st.fixed_dictionaries(
    {
        "mark": st.sampled_from([".", ","]),
        "groups": st.sampled_from(["", "own", "indian", "'", "\u00a0"]),
        "negative": st.sampled_from(["minus", "trailing", "brackets"]),
        "currency": st.sampled_from(["", "", "¥", "EUR"]),
        "wide": st.booleans(),
        "date": st.sampled_from(
            ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y年%m月%d日", "%Y-%m-%dT00:00:00Z", "%d.%m.%Y", "%m/%d/%Y"]
        ),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
        "end": st.sampled_from(["\n", "\r\n", "\r"]),
        "delimiter": st.sampled_from([",", ";", "\t", "|"]),
        "quoted": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "padding": st.sampled_from(["", " ", "\u3000"]),
        "form": st.sampled_from(["csv", "csv", "jsonl", "json", "xml"]),
    }
)
ROW = st.tuples(TEXT, st.one_of(DATE, DATE, DATE, BAD_DATE), st.one_of(AMOUNT, AMOUNT, AMOUNT, BAD_AMOUNT))


def written(rows, style):
    """The rows as texts: what the file says."""
    pad = style["padding"]
    return [
        [
            text,
            pad + (day.strftime(style["date"]) if isinstance(day, datetime.date) else day) + pad,
            pad
            + (grouped(amount, style["mark"], style["groups"], style) if isinstance(amount, Decimal) else amount)
            + pad,
        ]
        for text, day, amount in rows
    ]


def rendered(texts, style):
    """Such a file, by Python's own writers."""
    form, names = style["form"], ["Id", "Date", "Amount"]
    if form == "csv":
        out = io.StringIO(newline="")
        # Where lines end with \r Python leaves a \n in a cell without quotes, and nobody could tell it from an end.
        quoting = csv.QUOTE_ALL if style["end"] == "\r" else style["quoted"]
        writer = csv.writer(out, delimiter=style["delimiter"], quoting=quoting, lineterminator=style["end"])
        writer.writerows([names, *texts])
        return out.getvalue().encode(style["encoding"])
    records = [dict(zip(names, row, strict=True)) for row in texts]
    if form == "json":
        return json.dumps(records, ensure_ascii=False, indent=1).encode(style["encoding"])
    if form == "jsonl":
        return "\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode(style["encoding"])
    fields = "".join(
        "<p>" + "".join(f"<{name}>{escape(value)}</{name}>" for name, value in record.items()) + "</p>"
        for record in records
    )
    return f'<?xml version="1.0" encoding="{style["encoding"].removesuffix("-sig")}"?><r>{fields}</r>'.encode(
        style["encoding"]
    )


def any_table(rows, style):
    texts = written(rows, style)
    content = rendered(texts, style)
    reading = {"decimal": style["mark"], "delimiter": style["delimiter"], "encoding": ["utf-8", style["encoding"]]}
    if style["encoding"] == "utf-16":
        reading["encoding"] = ["utf-16"]
    if style["form"] == "xml":
        reading["records"] = "p"
    columns = {}
    if style["date"] in ("%d.%m.%Y", "%m/%d/%Y"):
        columns["payment_date"] = {"from": "Date", "format": style["date"]}
    # Without a time of change equal keys that differ are quarantined: the oracle is about values, so there is one.
    dialect = a_dialect(columns, read=reading, modified_at={"value": "2026-06-01 00:00:00"})
    result = loaded({f"pay.{style['form']}": content}, dialect)
    assert result is not None, content
    load, found = result
    assert load.rows_in == len(rows)
    assert len(found) == len(rows)
    for (text, day, amount), row in zip(rows, found, strict=True):
        good = isinstance(day, datetime.date) and isinstance(amount, Decimal)
        assert (row["quarantine_reason"] is None) == good, (row, text, day, amount)
        assert row["payment_id"] == text.strip(" \t\u00a0\u3000\r")
        if isinstance(day, datetime.date):
            assert row["payment_date"] == day
        if isinstance(amount, Decimal):
            assert row["amount"] == amount.quantize(Decimal("0.0001"), ROUND_HALF_UP)
        if not good:
            assert str(amount).strip() in row["source_record"] or isinstance(amount, Decimal)


@FAST
@given(rows=st.lists(ROW, max_size=6), style=STYLE)
def test_any_table(rows, style):
    any_table(rows, style)


@pytest.mark.slow
@DEEP
@given(rows=st.lists(ROW, max_size=12), style=STYLE)
def test_any_table_deep(rows, style):
    any_table(rows, style)


# (c) Any features of a dialect together

LABELS = st.sampled_from(["Id", "Date", "Amount", "Side", "Kind", "D", "C", "No", "Gone"])
CELLS = {
    "Id": st.sampled_from(["P1", "P2", "0007", "", "a-b", "P1 "]),
    "Date": st.sampled_from(
        ["2026-05-31", "20260531", "31.05.2026", "2026-02-30", "", "45000", "1772640000000", "9999-12-31"]
    ),
    "Amount": st.sampled_from(["1", "-2.50", "(3)", "1,234.50", "x", "", "-", "9" * 22]),
    "Side": st.sampled_from(["D", "C", "debit", "", "x"]),
    "Kind": st.sampled_from(["payment", "refund", "", "PAYMENT"]),
    "D": st.sampled_from(["1", "", "-", "9" * 18, "x"]),
    "C": st.sampled_from(["2", "", "-", "-" + "9" * 18]),
    "No": st.sampled_from(["1", "2", ""]),
    "Gone": st.sampled_from(["1", "true", "no", ""]),
}
TESTS = st.sampled_from(
    [
        {"from": "Kind", "in": ["payment", ""]},
        {"from": "Kind", "not_in": "refund"},
        {"from": "Amount", "matches": "^[0-9]"},
        {"from": ["Nope", "Id"], "empty": "false"},
        "{{ Kind }} = 'payment'",
        "{{ Nope | Kind }} is null",
        "cast({{ Amount }} as decimal(9, 2)) > 0",
    ]
)
TEXT_BINDING = st.one_of(
    st.fixed_dictionaries(
        {"from": st.sampled_from(["Id", ["Nope", "Id"], ["No", "Id"], "Kind"])},
        optional={
            "capture": st.sampled_from([r"P(\d)", r"^(.*)$", r"(\d+)-(\d+)"]),
            "remove": st.sampled_from(["P", " -"]),
            "strip_zeros": st.booleans(),
            "id18": st.booleans(),
            "map": st.sampled_from([{"P1": "one"}, {"payment": "in", "refund": "out"}]),
            "else": st.sampled_from(["error", "keep", "null"]),
            "null_if": st.sampled_from([["P2"], ["", "0007"]]),
            "default": st.just("none"),
            "required": st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {"concat": st.sampled_from([["Id", "No"], ["Id"]]), "separator": st.sampled_from(["-", "", "'"])}
    ),
    st.fixed_dictionaries(
        {"sql": st.sampled_from(["{{ Id }} || 'x'", "upper({{ Nope | Kind }})", "nullif({{ Id }}, 'P1')"])}
    ),
)
AMOUNT_BINDING = st.one_of(
    st.just({"debit": "D", "credit": "C"}),
    st.fixed_dictionaries(
        {"from": st.just("Amount")},
        optional={
            "indicator": st.just({"from": "Side", "debit": ["D", "debit"], "credit": "C"}),
            "scale": st.sampled_from(["0.01", "100", "1e9"]),
            "default": st.just("0"),
        },
    ),
)
DATE_BINDING = st.fixed_dictionaries(
    {"from": st.just("Date")},
    optional={
        "format": st.lists(
            st.sampled_from(["iso", "excel", "epoch_ms", "epoch_s", "json_date", "%d.%m.%Y", "%Y%m%d"]),
            min_size=1,
            max_size=3,
        ),
        "timezone": st.sampled_from(["Asia/Shanghai", "America/New_York"]),
    },
)
MAPPING = st.fixed_dictionaries(
    {},
    optional={
        "where": st.lists(TESTS, max_size=2),
        "deleted": st.sampled_from([{"from": "Gone", "in": ["1", "true"]}, "{{ Gone }} = '1'"]),
        "modified_at": st.fixed_dictionaries({"from": st.sampled_from(["Date", "Nope"])}),
        "restates": st.sampled_from(["*", ["payment_date"], ["payment_method"]]),
    },
)
LAYOUT = st.fixed_dictionaries(
    {
        "title": st.sampled_from(["", "Report\n\n", '"Report\nof all"\n']),
        "labels": st.booleans(),
        "ragged": st.booleans(),
        "fill_down": st.sampled_from([[], ["Id"], ["Id", "Kind"]]),
        "section": st.sampled_from([None, {"from": "Id", "as": "section", "ends": "^$"}]),
        "cut": st.integers(0, 3),
        "form": st.sampled_from(["csv", "csv", "jsonl"]),
    }
)


def any_features(rows, columns, mapping, layout):
    names = list(CELLS)
    text, reading, lines = layout["title"], {"fill_down": layout["fill_down"], "ragged": layout["ragged"]}, len(rows)
    form = layout["form"]
    if layout["section"] and form == "csv":
        reading["section"] = layout["section"]
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        if layout["labels"]:
            writer.writerow([f"label of {name}" for name in names])
            above = len(list(csv.reader(io.StringIO(text))))
            reading["header"] = [above + 1, above + 2]
        writer.writerows(
            [
                [row[name] for name in names][: len(names) - (number % 4 == 3) * layout["cut"]]
                for number, row in enumerate(rows)
            ]
        )
        text += out.getvalue()
        lines = sum(any(row.values()) for row in rows)
    else:
        text = "\n".join([json.dumps(row) for row in rows] + ['{"broken'] * layout["cut"])
        lines += layout["cut"]
    try:
        dialect = a_dialect(columns, read=reading, **mapping)
    except ValidationError:
        return
    result = loaded({f"pay.{form}": text.encode()}, dialect)
    if result is None:
        # An expression may fail on a text, and a file may lack its header: no other reason is known.
        assert any(isinstance(test, str) and "cast" in test for test in mapping.get("where", ()))
        return
    load, found = result
    if not layout["cut"] or form == "jsonl" or not any(not any(list(row.values())[:6]) for row in rows):
        assert load.rows_in == lines
    if form == "jsonl":
        assert sum("the line is not JSON" in (row["quarantine_reason"] or "") for row in found) == layout["cut"]


FEATURES = {
    "rows": st.lists(st.fixed_dictionaries(CELLS), max_size=8),
    "columns": st.fixed_dictionaries(
        {},
        optional={
            "payment_id": TEXT_BINDING,
            "customer_name": TEXT_BINDING,
            "payment_method": TEXT_BINDING,
            "amount": AMOUNT_BINDING,
            "payment_date": DATE_BINDING,
        },
    ),
    "mapping": MAPPING,
    "layout": LAYOUT,
}


@FAST
@given(**FEATURES)
def test_any_features(rows, columns, mapping, layout):
    any_features(rows, columns, mapping, layout)


@pytest.mark.slow
@DEEP
@given(**FEATURES)
def test_any_features_deep(rows, columns, mapping, layout):
    any_features(rows, columns, mapping, layout)


LINE = st.fixed_dictionaries(
    {
        "voucher": st.sampled_from(["V1", "V2", ""]),
        "account": st.sampled_from(["1001", "6001", ""]),
        "debit": st.sampled_from(["1.00", "", "x"]),
        "credit": st.sampled_from(["", "2.00"]),
    }
)


def any_vouchers(lines):
    """Lines without a number of their own are numbered within their voucher, whatever became of them."""
    fields = ["voucher", "account", "debit", "credit"]
    text = "\n".join(",".join(row) for row in [fields, *([line[name] for name in fields] for line in lines)])
    columns = {
        "journal_id": {"from": "voucher"},
        "journal_line_number": {"number_within": "journal_id"},
        "effective_date": {"value": "2026-05-31"},
        "gl_account_number": {"from": "account"},
        "functional_amount": {"debit": "debit", "credit": "credit"},
        "functional_currency_code": {"value": "CNY"},
    }
    mapping = {"files": "gl*", "columns": columns}
    dialect = Dialect.model_validate({"dialect": "test", "entities": {"gl_entry": mapping}})
    root = Path(tempfile.mkdtemp())
    try:
        folder = root / "landing" / "erp" / DAY.isoformat()
        folder.mkdir(parents=True)
        (folder / "gl.csv").write_text(text)
        load = engine.load_delivery(connection(), root / "landing", root / "raw", "erp", dialect, "gl_entry", DAY).load
        path = storage.load_path(root / "raw", "gl_entry", "erp", DAY)
        numbers = duckdb.execute(
            f"select journal_id, journal_line_number from read_parquet('{path}') order by source_row"
        ).fetchall()
    finally:
        shutil.rmtree(root)
    present = [line for line in lines if any(line.values())]
    assert load.rows_in == load.rows_out + load.rows_quarantined == len(present)
    seen: dict[str, int] = {}
    for line, (journal, number) in zip(present, numbers, strict=True):
        seen[line["voucher"]] = seen.get(line["voucher"], 0) + 1
        assert (journal or "", number) == (line["voucher"], seen[line["voucher"]])


@FAST
@given(lines=st.lists(LINE, max_size=8))
def test_any_vouchers(lines):
    any_vouchers(lines)
