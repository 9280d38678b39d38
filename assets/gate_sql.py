"""Expectations evaluated inside DuckDB, for tables too large to be handed to Great Expectations as a frame.

Belongs here: what a row has to break, in SQL, for each type of expectation the suites use on large tables, with the meaning
Great Expectations gives it on a frame (a test holds the two against each other, type by type and suite by suite). Not here:
suites, their results' wording beyond what was seen, and types this module does not know; `gate.py` gives those to Great
Expectations, with only the columns they read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

EXAMPLE_ROWS = 20
"""Rows looked at for examples of what broke a check: as many as Great Expectations keeps."""


@dataclass(frozen=True)
class Seen:
    """What one expectation met: whether it held, and what was observed, in the words of the gate."""

    passed: bool
    observed: str


@dataclass(frozen=True)
class _Rows:
    """A check of rows: those it judges, and those of them that break it, as conditions in SQL."""

    columns: tuple[str, ...]
    judged: str
    broken: str
    mostly: float = 1.0


def knows(type_: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether an expectation of this type with these arguments is evaluated here."""
    return (type_ in _ROW_CHECKS and _row_check(type_, kwargs) is not None) or (
        type_ in _TABLE_CHECKS and set(kwargs) <= _TABLE_CHECKS[type_]
    )


def evaluate(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    expectations: Sequence[tuple[str, Mapping[str, Any]]],
    key: Sequence[str] = (),
) -> list[Seen]:
    """What each expectation (type, arguments) meets in the relation, in their order; all must be known here.

    The relation is read once for all checks of rows, and once for each that compares rows with one another. What is no
    number counts as not there, as in a frame. Raises duckdb.Error when the relation lacks a column or has one of another kind.
    """
    relation = _without_nan(connection, relation)
    measures: list[str] = ["count(*)"]
    for type_, kwargs in expectations:
        check = _row_check(type_, kwargs)
        if check is not None:
            measures += [
                f"count(*) filter (where {check.judged})",
                f"count(*) filter (where {check.judged} and ({check.broken}))",
            ]
        elif type_ == DISTINCT_VALUES:
            measures.append(f"count(distinct {_name(kwargs['column'])})")
    counted = connection.execute(f"select {', '.join(measures)} from {relation}").fetchone()
    assert counted is not None
    rows, *figures = counted
    found = []
    for type_, kwargs in expectations:
        check = _row_check(type_, kwargs)
        if check is not None:
            judged, broken, *figures = figures
            found.append(_seen_rows(connection, relation, check, key, rows, judged, broken))
        elif type_ == DISTINCT_VALUES:
            found.append(_seen_number(figures.pop(0), kwargs))
        elif type_ in ROW_COUNTS:
            found.append(_seen_number(rows, kwargs))
        else:
            found.append(_seen_keys(connection, relation, _key_columns(kwargs), key, rows, alone=type_ == UNIQUE))
    return found


# Checks of rows, each by itself


def _row_check(type_: str, kwargs: Mapping[str, Any]) -> _Rows | None:
    """The check of rows that an expectation is; None where it is none, or has an argument that is not known here."""
    build = _ROW_CHECKS.get(type_)
    return None if build is None else build(dict(kwargs))


def _of_column(condition: Callable[[str, dict[str, Any]], str | None]) -> Callable[[dict[str, Any]], _Rows | None]:
    """A check of the values of one column that are there; `condition` gives what breaks it and takes its arguments away."""

    def build(kwargs: dict[str, Any]) -> _Rows | None:
        column, mostly = kwargs.pop("column"), kwargs.pop("mostly", 1.0)
        broken = condition(_name(column), kwargs)
        return None if kwargs or broken is None else _Rows((column,), _present(column), broken, mostly)

    return build


def _not_null(kwargs: dict[str, Any]) -> _Rows | None:
    column, mostly = kwargs.pop("column"), kwargs.pop("mostly", 1.0)
    return None if kwargs else _Rows((column,), "true", f"{_name(column)} is null", mostly)


def _between(column: str, kwargs: dict[str, Any]) -> str | None:
    least, most = kwargs.pop("min_value", None), kwargs.pop("max_value", None)
    if any(not isinstance(bound, int | float) for bound in (least, most) if bound is not None):
        return None
    outside = [f"{column} < {least!r}"] if least is not None else []
    outside += [f"{column} > {most!r}"] if most is not None else []
    return " or ".join(outside)


def _in_set(column: str, kwargs: dict[str, Any]) -> str | None:
    values = _literals(kwargs.pop("value_set"))
    return None if values is None else f"{column} not in ({values})"


def _not_in_set(column: str, kwargs: dict[str, Any]) -> str | None:
    values = _literals(kwargs.pop("value_set"))
    return None if values is None else f"{column} in ({values})"


def _greater(kwargs: dict[str, Any]) -> _Rows | None:
    pair = kwargs.pop("column_A"), kwargs.pop("column_B")
    first, second = (_name(column) for column in pair)
    left_out = {"both_values_are_missing": "or", "either_value_is_missing": "and", "neither": ""}
    joined = left_out.get(kwargs.pop("ignore_row_if", "both_values_are_missing"))
    holds = f"{first} >= {second}" if kwargs.pop("or_equal", False) else f"{first} > {second}"
    if kwargs or joined is None:
        return None
    judged = f"({_present(pair[0])} {joined} {_present(pair[1])})" if joined else "true"
    return _Rows(pair, judged, f"not coalesce({holds}, false)")


UNIQUE, KEYS = "expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"
DISTINCT_VALUES = "expect_column_unique_value_count_to_be_between"
ROW_COUNTS = ("expect_table_row_count_to_be_between", "expect_table_row_count_to_equal")

_ROW_CHECKS: dict[str, Callable[[dict[str, Any]], _Rows | None]] = {
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_between": _of_column(_between),
    "expect_column_values_to_be_in_set": _of_column(_in_set),
    "expect_column_values_to_not_be_in_set": _of_column(_not_in_set),
    "expect_column_pair_values_a_to_be_greater_than_b": _greater,
}

_TABLE_CHECKS = {
    UNIQUE: {"column"},
    KEYS: {"column_list"},
    DISTINCT_VALUES: {"column", "min_value", "max_value"},
    ROW_COUNTS[0]: {"min_value", "max_value"},
    ROW_COUNTS[1]: {"value"},
}


# What was seen


def _seen_rows(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    check: _Rows,
    key: Sequence[str],
    rows: int,
    judged: int,
    broken: int,
) -> Seen:
    passed = judged == 0 or (judged - broken) / judged >= check.mostly
    at_fault = f"(from {relation} where {check.judged} and ({check.broken}))"
    examples = _examples(connection, at_fault, check.columns, key) if broken else []
    return Seen(passed, _rows_observed(broken, rows, examples))


def _seen_keys(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: tuple[str, ...],
    key: Sequence[str],
    rows: int,
    *,
    alone: bool,
) -> Seen:
    """Rows that share their key with another. A column that is unique by itself may be empty; a key of several may not twice."""
    names = ", ".join(map(_name, columns))
    where = f" where {_present(columns[0])}" if alone else ""
    # Hashes first: they are small, whatever the key is made of. Only what shares a hash is compared.
    shared = connection.execute(
        f"select hash({names}) as hashed from {relation}{where} group by hashed having count(*) > 1"
    ).fetchnumpy()["hashed"]
    if not len(shared):
        return Seen(True, _rows_observed(0, rows, []))
    connection.register("shared_hashes_", {"hashed": shared})
    try:
        suspects = f"(from {relation} where hash({names}) in (select hashed from shared_hashes_))"
        doubled = f"(from {suspects} qualify count(*) over (partition by {names}) > 1)"
        counted = connection.execute(f"select count(*) from {doubled}").fetchone()
        assert counted is not None
        examples = _examples(connection, doubled, columns, key, as_key=True) if counted[0] else []
    finally:
        connection.unregister("shared_hashes_")
    return Seen(counted[0] == 0, _rows_observed(counted[0], rows, examples))


def _seen_number(number: int, kwargs: Mapping[str, Any]) -> Seen:
    least, most = kwargs.get("min_value", kwargs.get("value")), kwargs.get("max_value", kwargs.get("value"))
    passed = (least is None or number >= least) and (most is None or number <= most)
    return Seen(passed, str(number))


def _examples(
    connection: duckdb.DuckDBPyConnection,
    broken: str,
    columns: Sequence[str],
    key: Sequence[str],
    *,
    as_key: bool = False,
) -> list[str]:
    """The broken values as Great Expectations would print them, first those of the first rows by the key."""
    from assets.gate import distinct_examples, fetch  # which gives large tables to this module

    order = ", ".join(f"{_name(column)} nulls last" for column in key) or "all"
    rows = fetch(connection, f"(from {broken} order by {order} limit {EXAMPLE_ROWS})", key)[list(columns)]
    if len(columns) == 1:
        values = rows[columns[0]].tolist()
    elif as_key:
        values = rows.to_dict("records")
    else:
        values = list(rows.itertuples(index=False, name=None))
    return distinct_examples(values)


def _rows_observed(broken: int, rows: int, examples: Sequence[str]) -> str:
    such = f", such as {', '.join(examples)}" if examples else ""
    return f"{broken} of {rows} rows{such}"


# Words of SQL


def _key_columns(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(kwargs.get("column_list") or [kwargs["column"]])


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _present(column: str) -> str:
    return f"{_name(column)} is not null"


def _without_nan(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    shape = connection.sql(f"select * from {relation} limit 0")
    floats = [name for name, type_ in zip(shape.columns, shape.types, strict=True) if str(type_) in ("FLOAT", "DOUBLE")]
    if not floats:
        return relation
    nulls = ", ".join(f"nullif({_name(column)}, 'nan'::double) as {_name(column)}" for column in floats)
    return f"(select * replace ({nulls}) from {relation})"


def _literals(values: Sequence[Any]) -> str | None:
    if not values or any(not isinstance(value, str | int | float) for value in values):
        return None
    quoted = ("'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value) for value in values)
    return ", ".join(quoted)
