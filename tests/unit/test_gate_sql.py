"""Expectations evaluated inside DuckDB mean what Great Expectations means: the two are held against each other."""

import duckdb
import pytest
from release_fixture import EXPECTATIONS, RELATIONS, build

from assets import gate, gate_sql

COLUMNS = {
    "id": "integer",
    "word": "varchar",
    "name": "varchar",
    "amount": "decimal(18, 2)",
    "other": "decimal(38, 0)",
    "share": "double",
    "number": "bigint",
    "day": "date",
    "later": "date",
    "flag": "boolean",
}
"""A column of each kind the published tables have."""

ASKED = [
    ("expect_column_values_to_be_unique", {"column": "id"}),
    *(("expect_column_values_to_not_be_null", {"column": column}) for column in COLUMNS),
    ("expect_column_values_to_not_be_null", {"column": "word", "mostly": 0.5}),
    ("expect_column_values_to_be_between", {"column": "amount", "min_value": 0}),
    ("expect_column_values_to_be_between", {"column": "amount", "max_value": 1.5}),
    ("expect_column_values_to_be_between", {"column": "other", "min_value": 1, "max_value": 2, "mostly": 0.6}),
    ("expect_column_values_to_be_between", {"column": "share", "min_value": 0, "max_value": 1}),
    ("expect_column_values_to_be_between", {"column": "number", "min_value": -1, "max_value": 1}),
    ("expect_column_values_to_be_in_set", {"column": "word", "value_set": ["a", "it's"]}),
    ("expect_column_values_to_be_in_set", {"column": "number", "value_set": [0, 1]}),
    ("expect_column_values_to_be_in_set", {"column": "flag", "value_set": [True], "mostly": 0.3}),
    ("expect_column_values_to_not_be_in_set", {"column": "word", "value_set": ["b"]}),
    *(("expect_column_values_to_be_unique", {"column": column}) for column in ("word", "number", "day")),
    ("expect_compound_columns_to_be_unique", {"column_list": ["word", "day"]}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["word", "name", "number"]}),
    ("expect_column_unique_value_count_to_be_between", {"column": "day", "min_value": 1, "max_value": 1}),
    ("expect_column_unique_value_count_to_be_between", {"column": "word", "min_value": 2, "max_value": 9}),
    ("expect_table_row_count_to_be_between", {"min_value": 3}),
    ("expect_table_row_count_to_be_between", {"min_value": 1, "max_value": 2}),
    ("expect_table_row_count_to_equal", {"value": 4}),
    *(
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": a, "column_B": b, **options})
        for a, b in (("amount", "share"), ("later", "day"))
        for options in (
            {},
            {"or_equal": True},
            {"ignore_row_if": "either_value_is_missing"},
            {"ignore_row_if": "neither", "or_equal": True},
        )
    ),
]


def suite(asked):
    """The expectations under names of their own: two that ask the same of a column differ in their arguments only."""
    return gate.Suite(
        "t",
        tuple(
            gate.Expectation(f"{place}_{type_}", type_, kwargs, "error", "a test")
            for place, (type_, kwargs) in enumerate(asked)
        ),
    )


def both(connection, relation, asked, monkeypatch):
    """What Great Expectations says and what DuckDB says."""
    frame = gate.validate(gate.fetch(connection, relation, asked.key), asked)
    monkeypatch.setattr(gate, "FRAME_ROWS", -1)
    return frame, gate.check(connection, relation, asked)


@pytest.mark.parametrize("rows", [0, 1, 2, 4, 7, 40])
def test_each_expectation_means_what_great_expectations_means(monkeypatch, rows):
    connection = duckdb.connect()
    connection.execute(f"create table t ({', '.join(f'{name} {type_}' for name, type_ in COLUMNS.items())})")
    # A third of the values are missing, few are distinct, and some shares are no number.
    connection.execute(
        """
        insert into t select
            i,
            list_extract(['a', 'b', 'it''s', null], (i * 7 + i // 5) % 4 + 1),
            list_extract(['x', null, 'z'], (i * 5) % 3 + 1),
            case when i % 3 <> 1 then (i * 13 % 7 - 2)::decimal(18, 2) / 2 end,
            case when i % 5 <> 2 then i % 4 end,
            case when i % 4 = 3 then null when i % 6 = 5 then 'nan'::double else (i * 11 % 9 - 2) / 4 end,
            case when i % 7 <> 6 then i * 3 % 5 - 2 end,
            case when i % 6 <> 4 then date '2026-01-01' + (i * 5 % 4)::integer end,
            case when i % 5 <> 3 then date '2026-01-01' + (i * 3 % 5)::integer end,
            list_extract([true, false, null], i % 3 + 1)
        from range(?) as numbers(i)
        """,
        [rows],
    )
    frame, inside = both(connection, "t", suite(ASKED), monkeypatch)
    assert all(gate_sql.knows(type_, kwargs) for type_, kwargs in ASKED)
    for one, other in zip(frame, inside, strict=True):
        assert one == other
    if rows == 40:
        assert {result.passed for result in inside} == {True, False}


def test_the_suites_say_the_same_of_published_tables(monkeypatch):
    connection = build()
    suites = gate.load_suites(EXPECTATIONS)
    for table, relation in RELATIONS.items():
        with monkeypatch.context() as patch:
            frame, inside = both(connection, relation, suites[table], patch)
        assert frame == inside, table


def test_what_is_not_known_is_left_to_great_expectations_with_the_columns_it_names(monkeypatch):
    connection = duckdb.connect()
    connection.execute("create table t as select 'a' || i as id, i as amount, i > 1 as flag from range(4) as n(i)")
    asked = suite(
        [
            ("expect_column_values_to_match_regex", {"column": "id", "regex": "^a[0-2]$"}),
            (
                "expect_column_values_to_be_between",
                {"column": "amount", "min_value": 3, "row_condition": "flag == True", "condition_parser": "pandas"},
            ),
            ("expect_column_values_to_be_between", {"column": "amount", "min_value": "1"}),
            ("expect_column_values_to_be_unique", {"column": "id"}),
        ]
    )
    assert [gate_sql.knows(item.type, item.kwargs) for item in asked.expectations] == [False, False, False, True]
    fetched = []
    fetch = gate.fetch
    monkeypatch.setattr(gate, "fetch", lambda *given: fetched.append(given[3]) or fetch(*given))
    monkeypatch.setattr(gate, "FRAME_ROWS", 3)
    regex, condition, text, unique = gate.check(connection, "t", asked)
    assert fetched == [["id", "amount", "flag"]]
    assert (regex.passed, regex.observed) == (False, "1 of 4 rows, such as a3")
    assert (condition.passed, condition.observed) == (False, "1 of 2 rows, such as 2")
    assert text.observed == "1 of 4 rows, such as 0"
    assert unique.passed


def test_a_check_that_cannot_be_evaluated_fails_alone(monkeypatch):
    connection = duckdb.connect()
    connection.execute("create table t as select 1 as id, 'x' as word")
    monkeypatch.setattr(gate, "FRAME_ROWS", -1)
    missing, unlike, sound = gate.check(
        connection,
        "t",
        suite(
            [
                ("expect_column_values_to_not_be_null", {"column": "gone"}),
                ("expect_column_values_to_be_between", {"column": "word", "min_value": 1}),
                ("expect_column_values_to_be_unique", {"column": "id"}),
            ]
        ),
    )
    assert not missing.passed
    assert "not evaluated" in missing.observed
    assert "gone" in missing.observed
    assert not unlike.passed
    assert sound.passed
