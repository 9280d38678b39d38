"""Erasing a person from raw rows: every entity of the contract, by the register alone, and nothing else is changed."""

from __future__ import annotations

import datetime

import duckdb
import pytest

from assets.errors import WhalecurveError
from assets.ingest import erasure, storage
from assets.ingest.contract import CUSTOMER_REFERENCES, load_contract
from assets.ingest.erasure import new_register, new_token, redacted, redacted_by, touched_by, with_marks, write_entry
from assets.ingest.person import find, mention_pattern
from assets.ingest.sql import identifier, literal

CONTRACT = load_contract()
TOKEN = "erased:0123456789ab"
DAY = datetime.date(2026, 1, 31)
ADA = {
    "customer_id": "CRM-0001",
    "customer_account_id": "K-1001",
    "customer_name": "Ada Kowalski",
    "customer_tin": "PL-44051401",
    "email": "ada@example.org",
    "phone": "+48 601 777 001",
}
BO = {
    "customer_id": "CRM-0002",
    "customer_account_id": "K-1002",
    "customer_name": "Bo Lindqvist",
    "customer_tin": "SE-640823",
    "email": "bo@example.org",
    "phone": "+46 70 123 45 67",
}
VALUES = {
    "date": DAY,
    "timestamp": datetime.datetime(2026, 1, 31, 12),  # noqa: DTZ001 - raw timestamps are naive
    "boolean": False,
    "integer": 7,
}
SAID_BY_PII = {
    "bank_reference": "REF {customer_name}",
    "free_text": "A talk with {customer_name}",
    "internal_user": "Mia Owner",
}


def row(entity, person, number, **changes):
    """A row of an entity that is about a person, every column filled."""
    values = {}
    for name, column in {**CONTRACT.entities[entity].columns, **CONTRACT.lineage_columns}.items():
        if name in person and name in ("customer_name", "customer_tin", "email", "phone"):
            values[name] = person[name]
        elif name == "customer_id":
            values[name] = person["customer_id" if entity == "customer" else "customer_account_id"]
        elif name in ("customer_account_id", "source_customer_key"):
            values[name] = person["customer_account_id"]
        elif name in CUSTOMER_REFERENCES:
            values[name] = None
        elif column.pii:
            values[name] = SAID_BY_PII[column.pii].format(**person)
        else:
            values[name] = VALUES.get(column.type, f"{name} {number}" if column.type == "text" else number)
    values |= {"source_instance": "crm", "source_file": "f.csv", "source_row": number, "is_deleted": False}
    return {**values, "restates": None, "quarantine_reason": None, "source_record": None, **changes}


def stored(connection, raw, entity, rows):
    """Write rows as a load of the raw layer; gives its path."""
    types = CONTRACT.raw_columns(entity)
    connection.execute(
        f"create or replace temp table given ({', '.join(f'{identifier(n)} {t}' for n, t in types.items())})"
    )
    connection.executemany(
        f"insert into given values ({', '.join('?' * len(types))})", [[line[name] for name in types] for line in rows]
    )
    path = storage.load_path(raw, entity, "crm", DAY)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy given to {literal(str(path))} (format parquet)")
    return path


def fetched(connection, query):
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, line, strict=True)) for line in cursor.fetchall()]


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        yield opened


def everybody(entity):
    """Rows about Ada, about Bo, and an unreadable one about each."""
    broken = {"quarantine_reason": "amount: 'Ada Kowalski' is not a number", "source_record": '{"who": "Ada Kowalski"}'}
    nobody = {name: None for name in row(entity, ADA, 1) if CONTRACT.entities[entity].columns.get(name)}
    return [
        row(entity, ADA, 1),
        row(entity, BO, 2),
        row(entity, ADA, 3, **{**nobody, **broken}),
        row(entity, BO, 4, quarantine_reason="amount: 'x' is not a number", source_record='{"who": "Bo Lindqvist"}'),
    ]


def registered(connection, raw, who=ADA["customer_name"]):
    for entity in CONTRACT.entities:
        storage.write_schema(connection, raw, CONTRACT, entity)
    person = find(connection, raw, who)
    assert person is not None
    return with_marks(connection, new_register(), TOKEN, person.marks())


@pytest.mark.parametrize("entity", CONTRACT.entities)
def test_a_person_leaves_the_rows_of_every_entity_and_nothing_else_changes(connection, tmp_path, entity):
    stored(connection, tmp_path, "customer", [row("customer", ADA, 1), row("customer", BO, 2)])
    path = stored(connection, tmp_path, entity, everybody(entity))
    register = registered(connection, tmp_path)
    select = f"select * from read_parquet({literal(str(path))}, hive_partitioning = false)"
    columns = list(CONTRACT.raw_columns(entity))
    before, after = fetched(connection, select), fetched(connection, redacted_by(register, entity, select, columns))
    assert len(after) == len(before)
    said = str(after)
    for clear in (*ADA.values(), "Ada"):
        assert clear not in said, f"{entity} still says {clear}"
    assert after[1] == before[1]
    assert after[3] == before[3]
    assert after[2]["quarantine_reason"].startswith("amount: 'erased' ")
    assert after[2]["source_record"] is None
    personal = {name for name, column in CONTRACT.entities[entity].columns.items() if column.pii}
    for name in set(columns) - personal - set(CUSTOMER_REFERENCES):
        assert after[0][name] == before[0][name], name
    for name in personal:
        column = CONTRACT.entities[entity].columns[name]
        assert after[0][name] is not None or not column.required, f"{name} is required"
        if column.pii == "internal_user":
            assert after[0][name] == before[0][name], "the employee is somebody else"
    if entity != "customer" and "customer_id" in columns:
        assert after[0]["customer_id"] == TOKEN
    if entity == "customer":
        assert (after[0]["customer_account_id"], after[0]["customer_name"]) == (TOKEN, TOKEN)
        assert erasure.TOKEN.fullmatch(after[0]["customer_id"])

    connection.execute(f"create temp table once as {redacted_by(register, entity, select, columns)}")
    counts = connection.execute(touched_by(register, entity, "from once", columns)).fetchone()
    assert counts[:2] == (0, 0), "a second time changes nothing"


def test_every_column_that_points_to_a_customer_is_known():
    for name, spec in CONTRACT.entities.items():
        for column, described in spec.columns.items():
            points = column.startswith(("customer_", "parent_customer", "merged_")) or "customer_key" in column
            if points and described.type == "text":
                assert column in CUSTOMER_REFERENCES or described.pii or column == "customer_type", f"{name}.{column}"


def test_nobody_erased_costs_nothing(tmp_path):
    assert redacted(tmp_path / "raw", "customer", "select 1") == "select 1"


def test_a_register_that_cannot_be_read_lets_nothing_in(tmp_path):
    (tmp_path / "erasures.jsonl").write_text('{"salt": "x"}\n{"action": "er')
    with pytest.raises(WhalecurveError, match="nothing is read without it"):
        redacted(tmp_path / "raw", "customer", "select 1")


def test_the_register_on_disk_reads_as_it_was_written_and_holds_nothing_in_clear(connection, tmp_path):
    raw = tmp_path / "raw"
    stored(connection, raw, "customer", [row("customer", ADA, 1)])
    register = registered(connection, raw)
    write_entry(
        raw,
        register,
        {"action": "erase", "token": TOKEN, "date": "2026-01-31", "reason": "asked", "marks": sorted(register.marks)},
    )
    assert erasure.load_register(raw).marks == register.marks
    text = (tmp_path / "erasures.jsonl").read_text()
    assert not any(clear in text for clear in ADA.values())
    assert erasure.load_register(raw).finished == frozenset()
    write_entry(raw, register, {"action": "done", "token": TOKEN, "release": "r"})
    assert erasure.load_register(raw).finished == {TOKEN}


def test_marks_of_two_registers_differ(connection):
    marks = [with_marks(connection, new_register(), new_token(), [("name", "*", "Ada")]).marks for _ in range(2)]
    assert not set(marks[0]) & set(marks[1])


def test_two_people_of_one_name_are_asked_about_and_only_one_is_erased(connection, tmp_path):
    other = {**BO, "customer_name": "ADA  Kowalski"}
    stored(connection, tmp_path, "customer", [row("customer", ADA, 1), row("customer", other, 2)])
    path = stored(
        connection,
        tmp_path,
        "invoice",
        [row("invoice", ADA, 1), row("invoice", other, 2), row("invoice", ADA, 3, customer_id=None)],
    )
    with pytest.raises(WhalecurveError, match=r"stands for 2 customers(.|\n)*K-1001(.|\n)*K-1002"):
        registered(connection, tmp_path)
    register = registered(connection, tmp_path, ADA["email"])
    select = f"select * from read_parquet({literal(str(path))}, hive_partitioning = false)"
    after = fetched(connection, redacted_by(register, "invoice", select, list(CONTRACT.raw_columns("invoice"))))
    assert [line["customer_id"] for line in after] == [TOKEN, "K-1002", None]
    assert [line["customer_name"] for line in after] == [None, "ADA  Kowalski", "Ada Kowalski"], (
        "nobody's in particular"
    )


def test_a_row_with_another_customers_key_stays_theirs_whatever_name_it_says(connection, tmp_path):
    stored(connection, tmp_path, "customer", [row("customer", ADA, 1), row("customer", BO, 2)])
    path = stored(connection, tmp_path, "invoice", [row("invoice", BO, 1, customer_name=ADA["customer_name"])])
    register = registered(connection, tmp_path)
    select = f"select * from read_parquet({literal(str(path))}, hive_partitioning = false)"
    after = fetched(connection, redacted_by(register, "invoice", select, list(CONTRACT.raw_columns("invoice"))))
    assert (after[0]["customer_id"], after[0]["customer_name"]) == ("K-1002", "Ada Kowalski")


def test_declared_links_lead_to_the_other_records(connection, tmp_path):
    """Merged into each other, of one tax number, or linked: one person. The same id elsewhere is somebody else."""
    stored(
        connection,
        tmp_path,
        "customer",
        [
            row("customer", ADA, 1),
            row(
                "customer",
                {**ADA, "customer_id": "OLD-1", "customer_account_id": None, "customer_tin": None},
                2,
                merged_into="CRM-0001",
            ),
            row("customer", {**ADA, "customer_id": "TAX-1", "customer_account_id": "K-7"}, 3),
            row(
                "customer", {**BO, "customer_id": "CRM-0001", "customer_account_id": "K-9"}, 4, source_instance="other"
            ),
        ],
    )
    stored(
        connection,
        tmp_path,
        "customer_xref",
        [
            row(
                "customer_xref",
                ADA,
                1,
                source_customer_key="LINKED",
                source_instance="erp",
                customer_account_id="K-1001",
            )
        ],
    )
    for entity in CONTRACT.entities:
        storage.write_schema(connection, tmp_path, CONTRACT, entity)
    person = find(connection, tmp_path, "K-1001")
    assert person.golden == {"K-1001", "OLD-1", "K-7"}
    assert ("erp", "LINKED") in person.keys
    assert ("crm", "CRM-0001") in person.keys
    assert not {("other", "CRM-0001"), ("*", "CRM-0001")} & person.keys
    assert find(connection, tmp_path, "Nobody") is None


def test_texts_are_searched_for_whole_words_where_the_script_has_words():
    with duckdb.connect() as connection:

        def found(text, *values):
            return connection.execute("select regexp_matches(?, ?, 'i')", [text, mention_pattern(values)]).fetchone()[0]

        assert found("Rent, ann lee (late)", "Ann Lee")
        assert not found("The annual leech", "Ann")
        assert found("退款给王伟的货", "王伟")
        assert found("a+b (x) said", "A+B (x)")
        assert found("mail to a.b@c.example!", "a.b@c.example")
        assert not found("mail to aXb@c.example", "a.b@c.example")
        assert mention_pattern(["Li", "王"]) is None, "too short to mean anybody"
