"""The register of advice given: written whole, replaced per date, and without anybody who was erased."""

import datetime

import duckdb
import pytest

from assets import advice
from assets.errors import WhalecurveError

MAY, JUNE = datetime.date(2026, 5, 31), datetime.date(2026, 6, 30)


def actions(connection, as_of, *customers):
    connection.execute("create schema if not exists analytics")
    connection.execute(
        f"""
        create or replace table analytics.advised_actions as
        select customer_id, date '{as_of}' as as_of_date, 'grow' as action, 1 as action_rank,
            row_number() over (order by customer_id) as priority_rank, 'R-1' as rule_id, 'Offer more' as title,
            'Because of {{figures}}' as reason, 12.5::decimal(22, 4) as expected_effect, 'anna' as owner_ref,
            'account_manager' as owner_role, date '2026-08-01' as due_date, '1' as playbook_version
        from (select unnest({list(customers)}::varchar[]) as customer_id)
        """
    )


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        yield connection


def test_what_a_release_advises_is_kept_without_names_and_sentences(connection, tmp_path):
    actions(connection, JUNE, "B", "A")
    path = advice.record(connection, tmp_path, JUNE)
    assert path == tmp_path / "advice" / "2026-06-30.parquet"
    kept = advice.read(tmp_path, [JUNE])
    assert list(kept.columns) == list(advice.COLUMNS)
    assert not {"owner_ref", "reason", "title", "customer_name"} & set(kept.columns)
    assert list(kept["customer_id"]) == ["A", "B"]
    assert float(kept["expected_effect"].sum()) == 25.0
    assert [path.name for path in path.parent.iterdir()] == [path.name]


def test_the_same_date_published_again_replaces_what_it_said(connection, tmp_path):
    for customers in (("A", "B"), ("A",), ()):
        actions(connection, JUNE, *customers)
        first = advice.record(connection, tmp_path, JUNE).read_bytes()
        assert list(advice.read(tmp_path, [JUNE])["customer_id"]) == list(customers)
        assert advice.record(connection, tmp_path, JUNE).read_bytes() == first


def test_dates_and_several_of_them(connection, tmp_path):
    assert advice.dates(tmp_path) == []
    assert advice.read(tmp_path, []).empty
    for date in (JUNE, MAY):
        actions(connection, date, "A")
        advice.record(connection, tmp_path, date)
    (tmp_path / "advice" / ".2026-07-31.parquet.tmp").write_bytes(b"killed while writing")
    assert advice.dates(tmp_path) == [MAY, JUNE]
    assert advice.dates(tmp_path, JUNE) == [MAY]
    assert [str(date.date()) for date in advice.read(tmp_path, [JUNE, MAY])["advised_on"]] == [str(MAY), str(JUNE)]


def test_advice_of_another_date_is_refused_and_changes_nothing(connection, tmp_path):
    actions(connection, MAY, "A")
    with pytest.raises(WhalecurveError, match="as of 2026-05-31 and the release is as of 2026-06-30"):
        advice.record(connection, tmp_path, JUNE)
    assert advice.dates(tmp_path) == []


def test_a_write_that_fails_leaves_the_file_that_was_there(connection, tmp_path, monkeypatch):
    actions(connection, JUNE, "A")
    advice.record(connection, tmp_path, JUNE)
    actions(connection, JUNE, "B")

    def killed(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(advice.os, "replace", killed)
    with pytest.raises(OSError, match="no space"):
        advice.record(connection, tmp_path, JUNE)
    assert list(advice.read(tmp_path, [JUNE])["customer_id"]) == ["A"]


def test_an_erased_customer_is_taken_out_of_every_date(connection, tmp_path):
    for date in (MAY, JUNE):
        actions(connection, date, "A", "B", "C")
        advice.record(connection, tmp_path, date)
    mark = "sha256('salt' || customer_id) in (sha256('saltB'))"
    assert advice.count(connection, tmp_path, mark) == {MAY: 1, JUNE: 1}
    assert advice.erase(connection, tmp_path, mark) == 2
    assert advice.erase(connection, tmp_path, mark) == 0, "killed and run again it finds nothing left"
    assert list(advice.read(tmp_path, [MAY, JUNE])["customer_id"]) == ["A", "C", "A", "C"]
    assert b"B" not in {value.encode() for value in advice.read(tmp_path, [MAY])["customer_id"]}


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "advice").mkdir()
    (tmp_path / "advice" / "2026-06-30.parquet").write_bytes(b"no parquet")
    with pytest.raises(WhalecurveError, match=r"2026-06-30\.parquet cannot be read"):
        advice.read(tmp_path, [JUNE])
