"""The dialect engine: what is read, what is quarantined and why, and that no row is lost between the two."""

from __future__ import annotations

import datetime
import json

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DeliveryError
from assets.ingest import engine, reading, storage
from assets.ingest.dialect import Dialect

DAY = datetime.date(2026, 6, 1)


def load_delivery(*arguments, **options):
    with engine.reading_connection() as connection:
        return engine.load_delivery(connection, *arguments, **options)


def a_dialect(columns=None, **mapping):
    """A dialect for payments, the smallest entity with a date and an amount."""
    read = mapping.pop("read", {"format": "csv"})
    columns = {
        "payment_id": {"from": "Id"},
        "payment_date": {"from": ["Date", "日期"]},
        "amount": {"from": "Amount"},
        **(columns or {}),
    }
    return Dialect.model_validate(
        {
            "dialect": "test",
            "read": read,
            "entities": {"payment": {"files": mapping.pop("files", "pay*"), "columns": columns, **mapping}},
        }
    )


@pytest.fixture
def deliver(tmp_path):
    """Deliver bytes as files of one source and load them; returns the outcome and the raw rows."""

    def _deliver(files, dialect=None, date=DAY, **options):
        folder = tmp_path / "landing" / "bank" / date.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(data)
        outcome = load_delivery(
            tmp_path / "landing", tmp_path / "raw", "bank", dialect or a_dialect(), "payment", date, **options
        )
        path = storage.load_path(tmp_path / "raw", "payment", "bank", date)
        rows = duckdb.execute(
            f"select * replace (cast(amount as varchar) as amount) from read_parquet('{path}') order by source_file, source_row"
        ).df()
        return outcome, rows

    return _deliver


def test_good_rows_carry_their_lineage(deliver):
    outcome, rows = deliver({"pay.csv": 'Id,Date,Amount\nP1,2026-05-31,"1,234.50"\nP2,2026-05-31,-3\n'})
    assert outcome.load.rows_in == outcome.load.rows_out == 2
    assert [str(amount) for amount in rows["amount"]] == ["1234.5000", "-3.0000"]
    first = rows.iloc[0]
    assert (first.source_instance, first.source_file, first.source_row) == ("bank", "pay.csv", 2)
    assert first.extract_date.date() == DAY
    assert first.load_id == outcome.load.load_id


def test_unreadable_rows_are_quarantined_with_file_line_column_value_and_reason(deliver):
    content = (
        "Id,Date,Amount\nP1,2026-05-31,1\nP2,31/31/2026,2\nP3\nP4,2026-05-31,abc\n,2026-05-31,5\nP6,2026-05-31,6\n"
    )
    outcome, rows = deliver({"pay.csv": content})
    assert (outcome.load.rows_in, outcome.load.rows_out, outcome.load.rows_quarantined) == (6, 2, 4)
    bad = rows[rows.quarantine_reason.notna()].set_index("source_row")
    assert list(bad.index) == [3, 4, 5, 6]
    assert bad.quarantine_reason[3] == "payment_date: '31/31/2026' is not a date"
    assert bad.quarantine_reason[4].startswith("the line cannot be split into columns")
    assert bad.source_record[4] == "P3"
    assert bad.quarantine_reason[5] == "amount: 'abc' is not a number"
    assert bad.quarantine_reason[6] == "payment_id is empty"
    assert json.loads(bad.source_record[5]) == {"Id": "P4", "Date": "2026-05-31", "Amount": "abc"}
    assert rows[rows.quarantine_reason.isna()].source_row.tolist() == [2, 7]


def test_a_decimal_comma_is_refused_rather_than_read_as_thousands(deliver):
    _, rows = deliver({"pay.csv": 'Id,Date,Amount\nP1,2026-05-31,"1,5"\nP2,2026-05-31,"12,34,56"\n'})
    assert rows.quarantine_reason.notna().all()


def test_gb18030_with_chinese_headers(deliver):
    dialect = a_dialect(
        {"payment_id": {"from": "回款编号"}, "amount": {"from": "金额（元）"}},
        read={"format": "csv", "encoding": ["utf-8", "gb18030"]},
    )
    content = "回款编号,日期,金额(元)\n甲1,2026-05-31,7.5\n".encode("gb18030")
    _, rows = deliver({"pay.csv": content}, dialect)
    assert rows.payment_id.tolist() == ["甲1"]
    assert str(rows.amount[0]) == "7.5000"


def test_bytes_in_none_of_the_encodings_are_refused_with_the_place(deliver):
    with pytest.raises(
        DeliveryError, match=r"bank, 2026-06-01 .*pay\.csv is in none of the encodings.*utf-8 fails at byte 15"
    ):
        deliver({"pay.csv": b"Id,Date,Amount\n\xff\xfe,2026-05-31,1\n"})


def test_a_missing_required_column_names_file_dialect_column_and_nearest_header(deliver):
    with pytest.raises(DeliveryError) as error:
        deliver({"pay.csv": "Id,Date,Ammount\nP1,2026-05-31,1\n"})
    for part in ("bank, 2026-06-01", "pay.csv", "dialect 'test'", "payment.amount", "'Ammount'"):
        assert part in str(error.value)


def test_an_empty_file_is_refused_and_an_empty_extract_is_not(deliver):
    with pytest.raises(DeliveryError, match=r"pay\.csv is empty"):
        deliver({"pay.csv": ""})
    outcome, rows = deliver({"pay.csv": "Id,Date,Amount\n"})
    assert outcome.load.rows_in == 0
    assert rows.empty


def test_jsonl_reads_paths_epochs_and_absent_keys_and_quarantines_broken_lines(deliver):
    dialect = a_dialect(
        {
            "payment_id": {"from": "$.ids[0]"},
            "payment_date": {"from": "at", "format": "epoch_ms", "timezone": "Asia/Shanghai"},
            "amount": {"from": "amount"},
            "payment_method": {"from": "method__r", "map": {"现金": "cash"}, "else": "keep"},
        },
        read={"format": "jsonl"},
        deleted="record ->> '$.life_status' = 'invalid'",
        modified_at={"from": "changed", "format": "epoch_ms"},
    )
    # 1772640000000 is midnight of 5 March in Shanghai and still 4 March in UTC.
    lines = [
        '{"ids": ["P1"], "at": 1772640000000, "amount": "100.01", "method__r": "现金", "changed": 1772676725000}',
        '{"ids": ["P2"], "at": 1772640000000, "amount": "5", "life_status": "invalid"}',
        '{"ids": ["P3"], "at"',
    ]
    outcome, rows = deliver({"pay.jsonl": "\n".join(lines)}, dialect)
    assert outcome.load.rows_quarantined == 1
    assert rows.quarantine_reason[2].startswith("the line is not JSON")
    assert rows.source_record[2] == lines[2]
    assert rows.payment_date[0].date() == datetime.date(2026, 3, 5)
    assert rows.payment_method.tolist()[0] == "cash"
    assert rows.is_deleted.tolist()[:2] == [False, True]
    assert str(rows.source_modified_at[0]) == "2026-03-05 02:12:05"


def test_local_timestamps_become_utc(deliver):
    dialect = a_dialect(modified_at={"from": "Changed", "timezone": "Asia/Shanghai", "format": ["%Y/%m/%d %H:%M"]})
    _, rows = deliver({"pay.csv": "Id,Date,Amount,Changed\nP1,2026-05-31,1,2026/06/01 08:30\n"}, dialect)
    assert str(rows.source_modified_at[0]) == "2026-06-01 00:30:00"


def test_unmapped_values_are_quarantined_unless_the_dialect_keeps_them(deliver):
    method = {"from": "How", "map": {"K": "card"}}
    content = "Id,Date,Amount,How\nP1,2026-05-31,1,K\nP2,2026-05-31,1,X\n"
    _, rows = deliver({"pay.csv": content}, a_dialect({"payment_method": method}))
    assert rows.quarantine_reason[1] == "payment_method: 'X' is not a value the dialect maps"
    _, rows = deliver({"pay.csv": content}, a_dialect({"payment_method": {**method, "else": "keep"}}))
    assert rows.payment_method.tolist() == ["card", "X"]


def test_rows_of_another_entity_are_left_out_and_counted(deliver):
    dialect = a_dialect(where="Kind = 'payment'")
    outcome, rows = deliver({"pay.csv": "Id,Date,Amount,Kind\nP1,2026-05-31,1,payment\nP2,bad,x,other\n"}, dialect)
    assert (outcome.load.rows_in, outcome.load.rows_out, outcome.load.rows_left_out) == (2, 1, 1)
    assert len(rows) == 1


def test_the_same_bytes_twice_change_nothing_and_new_bytes_replace_the_day(deliver, tmp_path):
    first, _ = deliver({"pay.csv": "Id,Date,Amount\nP1,2026-05-31,1\n"})
    path = storage.load_path(tmp_path / "raw", "payment", "bank", DAY)
    written = path.stat().st_mtime_ns
    again, _ = deliver({"pay.csv": "Id,Date,Amount\nP1,2026-05-31,1\n"})
    assert (first.status, again.status, path.stat().st_mtime_ns) == ("loaded", "unchanged", written)
    reload, rows = deliver({"pay.csv": "Id,Date,Amount\nP2,2026-05-31,2\n"})
    assert reload.status == "loaded"
    assert rows.payment_id.tolist() == ["P2"]


def test_too_many_unreadable_rows_refuse_the_load_and_keep_the_former(deliver, tmp_path):
    deliver({"pay.csv": "Id,Date,Amount\nP1,2026-05-31,1\n"})
    broken = "Id,Date,Amount\n" + "P,2026-05-31,x\n" * 30
    with pytest.raises(DeliveryError, match=r"(?s)30 of 30 rows of payment.*30 rows such as pay\.csv line 2: amount"):
        deliver({"pay.csv": broken}, max_share=0.02)
    path = storage.load_path(tmp_path / "raw", "payment", "bank", DAY)
    assert duckdb.execute(f"select payment_id from read_parquet('{path}')").fetchall() == [("P1",)]


def test_mixed_line_ends_are_read(deliver):
    outcome, rows = deliver({"pay.csv": b"Id,Date,Amount\nP1,2026-05-31,1\rP2,2026-05-31,2\r\nP3,2026-05-31,3\n"})
    assert outcome.load.rows_quarantined == 0
    assert rows.payment_id.tolist() == ["P1", "P2", "P3"]


def test_unknown_columns_are_reported(deliver):
    outcome, _ = deliver({"pay.csv": "Id,Date,Amount,Mood\nP1,2026-05-31,1,good\n"})
    assert outcome.load.unread_columns == ["Mood"]


def test_a_source_without_a_delivery_is_absent_and_keeps_its_former_load(deliver, tmp_path):
    deliver({"pay.csv": "Id,Date,Amount\nP1,2026-05-31,1\n"})
    (tmp_path / "landing/bank/2026-06-01/pay.csv").unlink()
    (tmp_path / "landing/bank/2026-06-01").rmdir()
    outcome = load_delivery(tmp_path / "landing", tmp_path / "raw", "bank", a_dialect(), "payment", DAY)
    assert outcome.status == "absent"
    assert storage.load_path(tmp_path / "raw", "payment", "bank", DAY).exists()


def test_a_redelivery_without_the_file_takes_its_rows_back(deliver, tmp_path):
    deliver({"pay.csv": "Id,Date,Amount\nP1,2026-05-31,1\n"})
    folder = tmp_path / "landing" / "bank" / "2026-06-01"
    (folder / "pay.csv").rename(folder / "something_else.csv")
    outcome = load_delivery(tmp_path / "landing", tmp_path / "raw", "bank", a_dialect(), "payment", DAY)
    assert outcome.status == "absent"
    assert not storage.load_path(tmp_path / "raw", "payment", "bank", DAY).exists()


def test_an_entity_joined_from_several_files(deliver):
    dialect = Dialect.model_validate(
        {
            "dialect": "test",
            "entities": {
                "payment": {
                    "inputs": {"heads": {"files": "heads.csv"}, "lines": {"files": "lines.csv"}},
                    "select": "select 'P' || No as payment_id, Day as payment_date, sum(cast(Sum as decimal(22,4))) as amount "
                    "from heads join lines using (No) group by all",
                }
            },
        }
    )
    files = {"heads.csv": "No,Day\n1,2026-05-31\n2,2026-05-30\n", "lines.csv": "No,Sum\n1,2\n1,3\n2,4\n"}
    outcome, rows = deliver(files, dialect)
    assert outcome.load.rows_in == 2
    assert [(r.payment_id, str(r.amount)) for r in rows.itertuples()] == [("P1", "5.0000"), ("P2", "4.0000")]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=8), raw_tail=CELL)
def test_any_text_is_read_or_quarantined_and_counted(rows, raw_tail, tmp_path_factory):
    """Rows in = rows out + quarantined for whatever bytes a file holds, and never a crash."""
    import csv
    import io

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([["Id", "Date", "Amount"], *rows])
    root = tmp_path_factory.mktemp("fuzz")
    folder = root / "landing" / "bank" / DAY.isoformat()
    folder.mkdir(parents=True)
    (folder / "pay.csv").write_bytes((buffer.getvalue() + raw_tail).encode())
    path = storage.load_path(root / "raw", "payment", "bank", DAY)
    try:
        load = load_delivery(root / "landing", root / "raw", "bank", a_dialect(), "payment", DAY).load
    except DeliveryError:
        assert not path.exists(), "a refused delivery changes nothing"
        return
    total, bad = duckdb.execute(f"select count(*), count(quarantine_reason) from read_parquet('{path}')").fetchone()
    assert load.rows_in == load.rows_out + load.rows_quarantined == total
    assert load.rows_quarantined == bad


def test_a_date_in_place_of_an_optional_number_is_not_taken_for_nothing(deliver):
    """`0001-01-01` says that there is no date. Where a number should stand it says that the columns have shifted."""
    dialect = a_dialect({"functional_amount": {"from": "Base"}})
    _, rows = deliver({"pay.csv": "Id,Date,Amount,Base\nP1,2026-05-31,1,0001-01-01\nP2,2026-05-31,1,-\n"}, dialect)
    assert rows.quarantine_reason.notna().tolist() == [True, False]
    assert "functional_amount: '0001-01-01' is not a number" in rows.quarantine_reason[0]


def tables_made(monkeypatch):
    """The files read into tables from here on; the others are streamed."""
    made = []
    load = reading.Opener._load

    def _load(opener, table, path, *arguments, **options):
        made.append(path.name)
        return load(opener, table, path, *arguments, **options)

    monkeypatch.setattr(reading.Opener, "_load", _load)
    return made


def test_a_clean_file_is_written_while_it_is_read(deliver, tmp_path, monkeypatch):
    made = tables_made(monkeypatch)
    # The second file starts its numbers anew; an empty row is counted and left out; a row that does not convert is no reason
    # to read twice.
    outcome, rows = deliver(
        {
            "pay1.csv": "Id,Date,Amount\nP1,2026-05-31,1\n,,\nP2,2026-05-31,x\n",
            "pay2.csv": "Id,Date,Amount\nP3,2026-05-31,3\n",
        }
    )
    assert made == []
    assert rows.source_row.tolist() == [2, 4, 2]
    assert rows.quarantine_reason.notna().tolist() == [False, True, False]
    assert (outcome.load.rows_in, outcome.load.rows_out, outcome.load.rows_quarantined) == (3, 2, 1)
    registry = duckdb.sql(
        f"select distinct rows_in, rows_out, rows_quarantined, rows_left_out "
        f"from ({storage.registry_relation(tmp_path / 'raw')})"
    )
    assert registry.fetchall() == [(3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("content", "mapping", "control"),
    [
        pytest.param("P1,2026-05-31,1,a\nP2\nP3,2026-05-31,3,a\n", {}, "", id="a line that cannot be split"),
        pytest.param("P1,2026-05-31,1,a\nP2,2026-05-31,2,b\n", {"where": "Kind = 'a'"}, "", id="rows left out"),
        pytest.param("P1,2026-05-31,1,a\n", {}, "file,rows,column,total\npay.csv,1,amount,1\n", id="a control file"),
    ],
)
def test_a_file_is_read_into_a_table_when_more_must_be_known_of_it(deliver, monkeypatch, content, mapping, control):
    made = tables_made(monkeypatch)
    files = {"pay.csv": "Id,Date,Amount,Kind\n" + content, **({"control.csv": control} if control else {})}
    outcome, _ = deliver(files, a_dialect(**mapping))
    assert made == ["pay.csv"]
    assert outcome.load.rows_in == content.count("\n")
    assert outcome.load.rows_in == outcome.load.rows_out + outcome.load.rows_quarantined + outcome.load.rows_left_out


def test_streaming_leaves_the_connection_as_it_was(tmp_path):
    folder = tmp_path / "landing" / "bank" / DAY.isoformat()
    folder.mkdir(parents=True)
    settings = "select current_setting('threads'), current_setting('memory_limit')"
    with engine.reading_connection() as connection:
        connection.execute("set threads = 3")
        before = connection.execute(settings).fetchone()
        for content in ("P1,2026-05-31,1\n", "P1,2026-05-31,1\nP2\n"):
            (folder / "pay.csv").write_text("Id,Date,Amount\n" + content)
            engine.load_delivery(
                connection, tmp_path / "landing", tmp_path / "raw", "bank", a_dialect(), "payment", DAY
            )
            assert connection.execute(settings).fetchone() == before
    assert [path.name for path in (tmp_path / "raw").rglob("*") if path.is_file()] == ["load.parquet"]
