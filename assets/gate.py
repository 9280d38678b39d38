"""The quality gate: what must be true of a table before it may be shown, and the ledger that proves it was checked.

Belongs here: reading the suites in `expectations/`, checking a table against one, and the ledger
`quality.check_results` with the question publishing asks of it. Not here: the expectations themselves (they are data),
and Dagster.

The protocol. A check result is recorded together with a fingerprint of the content it was made on. `verify` computes
the fingerprints again and accepts a table only when every check its suite demands today is recorded as passed for
exactly that content. So a gate that never ran, ran on other content, ran an older suite, or recorded only some of its
results refuses: it fails closed, and no order of runs gets round it.
"""

from __future__ import annotations

import ast
import datetime
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from assets import gate_sql
from assets.errors import ConfigurationError
from assets.ingest.sql import insert_rows

EXPECTATIONS = "expectations"
"""The stage under which suite results are recorded."""

CONSISTENCY = "consistency"
"""The stage under which identities between published tables are recorded."""

SEVERITIES = ("error", "warn")

EXAMPLES = 3
"""Different values that a failed check names."""

FRAME_ROWS = 100_000
"""A table of more rows is checked inside DuckDB: a frame of it costs memory and time that grow with the company."""

CREATE_LEDGER = """
    create schema if not exists quality;
    create table if not exists quality.check_results (
        as_of_date date not null,
        stage varchar not null,
        check_name varchar not null,
        table_name varchar not null,
        severity varchar not null,
        passed boolean not null,
        observed varchar not null,
        detail varchar not null,
        fingerprint varchar not null
    );
    create table if not exists quality.checked_with (version varchar not null);
"""


LEDGER_COLUMNS = (
    "as_of_date",
    "stage",
    "check_name",
    "table_name",
    "severity",
    "passed",
    "observed",
    "detail",
    "fingerprint",
)


class SuiteError(ConfigurationError):
    """A suite file that would check less than it says."""


@dataclass(frozen=True)
class Expectation:
    """One expectation of a suite: a Great Expectations type with its arguments, how bad a failure is, and why.

    `is_approvable`: whether a person may let a release out in spite of it (`approvals.py`).
    """

    check_name: str
    type: str
    kwargs: Mapping[str, Any]
    severity: str
    why: str
    is_approvable: bool = False


@dataclass(frozen=True)
class Suite:
    """What must be true of one published table."""

    table: str
    expectations: tuple[Expectation, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """The columns the suite demands to be unique (severity error): the key of the table. Empty when none."""
        for expectation in self.expectations:
            if expectation.severity != "error":
                continue
            if expectation.type == "expect_compound_columns_to_be_unique":
                return tuple(expectation.kwargs["column_list"])
            if expectation.type == "expect_column_values_to_be_unique":
                return (expectation.kwargs["column"],)
        return ()


@dataclass(frozen=True)
class CheckResult:
    """One check on one table: whether it passed, what was observed, and what that means. `reads`: what else it looks at, as
    published tables or relations; a check protects what is made from its table and from these."""

    check_name: str
    table: str
    severity: str
    passed: bool
    observed: str
    detail: str
    reads: tuple[str, ...] = ()


# Suites


def load_suites(folder: Path) -> dict[str, Suite]:
    """The suite of each published table, by table name, from `<folder>/<table>.json`.

    Raises SuiteError naming the file for an unknown expectation type, an empty suite, a check that has no reason or
    severity, or two checks of one name: Great Expectations drops the first with a log line and passes the second.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SuiteError(f"{folder}: there is no suite (<table>.json); nothing could be checked and nothing published.")
    return {file.stem: _load_suite(file) for file in files}


def _load_suite(file: Path) -> Suite:
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SuiteError(f"{file}: is not JSON: {error}.") from error
    if not isinstance(written, dict) or not isinstance(written.get("expectations"), list):
        raise SuiteError(f'{file}: a suite is {{"name": ..., "expectations": [...]}}.')
    if written.get("name") != file.stem:
        raise SuiteError(f"{file}: the suite is named {written.get('name')!r}; name it {file.stem!r} like its table.")
    if not written["expectations"]:
        raise SuiteError(f"{file}: the suite is empty, and an empty suite passes any table. Write an expectation.")
    expectations = tuple(_load_expectation(file, entry) for entry in written["expectations"])
    names = [expectation.check_name for expectation in expectations]
    for name in names:
        if names.count(name) > 1:
            raise SuiteError(
                f'{file}: two checks are called {name!r}; give one of them another "meta": {{"name": ...}}.'
            )
    return Suite(file.stem, expectations)


def _load_expectation(file: Path, entry: Any) -> Expectation:
    if not isinstance(entry, dict) or not isinstance(entry.get("kwargs"), dict):
        raise SuiteError(
            f'{file}: an expectation is {{"type": ..., "kwargs": {{...}}, "meta": {{...}}}}, not {entry!r}.'
        )
    expectation_type, kwargs, meta = entry.get("type"), entry["kwargs"], entry.get("meta") or {}
    if expectation_type not in known_expectation_types():
        raise SuiteError(
            f"{file}: {expectation_type!r} is not an expectation of the installed Great Expectations, which would "
            "leave it out silently. Correct the name."
        )
    if meta.get("severity") not in SEVERITIES:
        raise SuiteError(
            f'{file}: {expectation_type} has the severity {meta.get("severity")!r}; give "error" (stops the release) '
            'or "warn" (is shown).'
        )
    if not meta.get("why"):
        raise SuiteError(f'{file}: {expectation_type} does not say why; write "meta": {{"why": ...}}.')
    if meta.get("approvable", False) not in (True, False):
        raise SuiteError(
            f"{file}: {expectation_type} is approvable {meta['approvable']!r}; write true or leave it out."
        )
    return Expectation(
        check_name=meta.get("name") or _check_name(expectation_type, kwargs),
        type=expectation_type,
        kwargs=kwargs,
        severity=meta["severity"],
        why=meta["why"],
        is_approvable=bool(meta.get("approvable", False)),
    )


def _check_name(expectation_type: str, kwargs: Mapping[str, Any]) -> str:
    columns = kwargs.get("column_list") or [
        kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs
    ]
    rule = expectation_type.removeprefix("expect_")
    for prefix in ("column_values_to_", "column_pair_values_", "compound_columns_to_", "column_", "table_"):
        rule = rule.removeprefix(prefix)
    return "__".join(["_and_".join(columns), rule] if columns else [rule])


@functools.cache
def known_expectation_types() -> frozenset[str]:
    """The expectation types the installed Great Expectations registers.

    Read from its source and not by importing it: an import costs seconds, and suites are read whenever the code
    location is loaded.
    """
    package = importlib.util.find_spec("great_expectations")
    if package is None or not package.submodule_search_locations:
        raise SuiteError("Great Expectations is not installed, so no suite can be checked. Install the project's lock.")
    core = Path(package.submodule_search_locations[0]) / "expectations" / "core" / "__init__.py"
    imported = (node for node in ast.walk(ast.parse(core.read_text(encoding="utf-8"))))
    modules = (node.module or "" for node in imported if isinstance(node, ast.ImportFrom))
    return frozenset(name for module in modules if (name := module.rpartition(".")[2]).startswith("expect_"))


# Checking a table


def check(connection: duckdb.DuckDBPyConnection, relation: str, suite: Suite) -> list[CheckResult]:
    """The result of each expectation of the suite, in the order written.

    Great Expectations evaluates them on a frame. A table of more than FRAME_ROWS rows is not brought into memory: DuckDB
    evaluates what `gate_sql` knows, and Great Expectations gets the columns that the rest of the suite names.
    """
    counted = connection.execute(f"select count(*) from {relation}").fetchone()
    assert counted is not None
    if counted[0] <= FRAME_ROWS:
        return validate(fetch(connection, relation, suite.key), suite)
    here = [item for item in suite.expectations if gate_sql.knows(item.type, item.kwargs)]
    seen = dict(zip([item.check_name for item in here], _seen(connection, relation, suite, here), strict=True))
    rest = Suite(suite.table, tuple(item for item in suite.expectations if item not in here))
    if rest.expectations:
        columns = connection.sql(f"select * from {relation} limit 0").columns
        named = [column for column in columns if any(_names(item, column) for item in rest.expectations)]
        frame = fetch(connection, relation, suite.key, named)
        seen |= {result.check_name: result for result in validate(frame, rest)}
    return [seen[item.check_name] for item in suite.expectations]


def _seen(
    connection: duckdb.DuckDBPyConnection, relation: str, suite: Suite, expectations: Sequence[Expectation]
) -> list[CheckResult]:
    """What DuckDB finds; one by one where together they cannot be evaluated, so that only the one at fault has failed."""

    def evaluated(asked: Sequence[Expectation]) -> list[CheckResult]:
        found = gate_sql.evaluate(connection, relation, [(item.type, item.kwargs) for item in asked], suite.key)
        return [
            CheckResult(item.check_name, suite.table, item.severity, seen.passed, seen.observed, _meaning(item))
            for item, seen in zip(asked, found, strict=True)
        ]

    try:
        return evaluated(expectations)
    except duckdb.Error as error:
        if len(expectations) > 1:
            return [result for item in expectations for result in _seen(connection, relation, suite, [item])]
        (item,) = expectations
        why = f"not evaluated: {str(error).splitlines()[0]}"
        return [CheckResult(item.check_name, suite.table, item.severity, False, why, _meaning(item))]


def _names(expectation: Expectation, column: str) -> bool:
    written = json.dumps(dict(expectation.kwargs), ensure_ascii=False)
    return re.search(rf"(?<!\w){re.escape(column)}(?!\w)", written) is not None


def fetch(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    key: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The rows of a relation as the suites check them, ordered by `key` (default: all columns): money and other
    decimals as float64, and nothing else changed. `columns` are those wanted (default: all).

    Only for checking. Decimals would arrive as Python objects, slower and unknown to the checks; and the order
    decides which examples a failed check names, which are published.
    """
    shape = connection.sql(f"select * from {relation} limit 0")
    selected = [
        f'cast("{name}" as double) as "{name}"'
        if str(type_).startswith(("DECIMAL", "HUGEINT", "UHUGEINT"))
        else f'"{name}"'
        for name, type_ in zip(shape.columns, shape.types, strict=True)
        if columns is None or name in columns
    ]
    order = ", ".join(f'"{name}" nulls last' for name in key) or "all"
    return connection.execute(f"select {', '.join(selected)} from {relation} order by {order}").df()


def validate(table: pd.DataFrame, suite: Suite) -> list[CheckResult]:
    """The result of each expectation of the suite, in the order written.

    A check that cannot be evaluated (a missing column, a wrong type) has failed. Raises RuntimeError when Great
    Expectations evaluates other checks than the suite has.
    """
    import great_expectations as gx

    batch_definition = _batch_definition()
    written = [
        {"type": item.type, "kwargs": dict(item.kwargs), "meta": {"check_name": item.check_name}}
        for item in suite.expectations
    ]
    evaluated = batch_definition.get_batch({"dataframe": table}).validate(
        gx.ExpectationSuite(name=suite.table, expectations=written)
    )
    by_name = {result.expectation_config.meta["check_name"]: result for result in evaluated.results}
    if len(evaluated.results) != len(written) or set(by_name) != {item.check_name for item in suite.expectations}:
        raise RuntimeError(
            f"{suite.table}: the suite has {len(written)} checks and Great Expectations evaluated "
            f"{len(evaluated.results)} ({', '.join(sorted(by_name))}). A check that is not evaluated cannot pass."
        )
    return [_check_result(suite.table, item, by_name[item.check_name]) for item in suite.expectations]


def _check_result(table: str, expectation: Expectation, evaluated: Any) -> CheckResult:
    raised = _exception(evaluated.exception_info or {})
    result = evaluated.result or {}
    passed = bool(evaluated.success) and not raised
    if raised:
        observed = f"not evaluated: {raised}"
    elif "observed_value" in result:
        observed = str(result["observed_value"])
    else:
        observed = f"{result.get('unexpected_count', 0)} of {result.get('element_count', 0)} rows"
        if examples := distinct_examples(result.get("partial_unexpected_list") or []):
            observed += f", such as {', '.join(examples)}"
    return CheckResult(
        check_name=expectation.check_name,
        table=table,
        severity=expectation.severity,
        passed=passed,
        observed=observed,
        detail=_meaning(expectation),
    )


def distinct_examples(values: Iterable[Any]) -> list[str]:
    """The first few different values as a person writes them: pairs are tuples, keys of several columns are dicts.

    A value that is missing shows nothing, unless it stands beside another.
    """
    there = (value for value in values if isinstance(value, tuple | dict) or not pd.isna(value))
    return list(dict.fromkeys(map(_written, there)))[:EXAMPLES]


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {_written(part)}" for name, part in value.items())
    if isinstance(value, tuple):
        return " and ".join(map(_written, value))
    if pd.isna(value):
        return "nothing"
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, datetime.datetime) and value == value.replace(hour=0, minute=0, second=0, microsecond=0):
        return str(value.date())
    return str(value)


def _meaning(expectation: Expectation) -> str:
    """What an expectation demands and why, in full: two that say the same check the same."""
    arguments = ", ".join(f"{name} {value}" for name, value in expectation.kwargs.items())
    return f"{expectation.why} ({expectation.type.removeprefix('expect_')}: {arguments})"


def _exception(info: Mapping[str, Any]) -> str:
    """The first message of Great Expectations' two shapes of exception information; empty when there is none."""
    if "raised_exception" in info:
        return str(info.get("exception_message")) if info["raised_exception"] else ""
    return next((str(entry.get("exception_message")) for entry in info.values()), "")


def great_expectations() -> Any:
    """The library, told to send nothing home before it is first imported."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations

    return great_expectations


@functools.cache
def _batch_definition() -> Any:
    # One context for all tables of a process: making one costs more than checking with it.
    context = great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("published")
    return source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("rows")


# Fingerprints


def fingerprint(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """A hash of a relation's columns, types and rows that does not depend on the order of the rows.

    Equal content gives equal fingerprints within one version of DuckDB; after an upgrade the gate has to run again.
    It finds change, and is not meant to withstand forgery.
    """
    shape = connection.sql(f"select * from {relation} limit 0")
    columns = ", ".join(f"{name} {type_}" for name, type_ in zip(shape.columns, shape.types, strict=True))
    # A sum alone can be kept by two changes and an exclusive or by a doubled row: together they tell both.
    counted = connection.execute(
        "select count(*), coalesce(sum(hash(whole_row_)::hugeint), 0), coalesce(bit_xor(hash(whole_row_)), 0), "
        f"md5(?) from {relation} as whole_row_",
        [columns],
    ).fetchone()
    assert counted is not None
    return f"{counted[0]}-{counted[1]:x}-{counted[2]:x}-{counted[3][:12]}"


# The ledger


def record(
    connection: duckdb.DuckDBPyConnection,
    stage: str,
    results: Sequence[CheckResult],
    fingerprints: Mapping[str, str],
    *,
    as_of: datetime.date,
) -> None:
    """Write the results of one stage for some tables in place of what that stage had recorded for them.

    `fingerprints` are those of the content that was checked, by table: take them before checking. A table without a
    result, or a result without a fingerprint, is refused, because nothing could be proved by it.
    """
    checked = {result.table for result in results}
    if not results:
        raise ValueError(f"Stage {stage!r} recorded no check at all. A gate that checks nothing must not pass.")
    if checked != set(fingerprints):
        odd = ", ".join(sorted(checked ^ set(fingerprints)))
        raise ValueError(
            f"Stage {stage!r}: {odd} has either checks without a fingerprint or a fingerprint without checks."
        )
    rows = [
        [
            as_of, stage, result.check_name, result.table, result.severity, result.passed, result.observed,
            result.detail, fingerprints[result.table],
        ]
        for result in results
    ]  # fmt: skip
    connection.execute(CREATE_LEDGER)
    connection.execute("begin transaction")
    try:
        connection.execute(
            "delete from quality.check_results where stage = ? and list_contains(?, table_name)",
            [stage, sorted(checked)],
        )
        insert_rows(connection, "quality.check_results", rows)
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def results(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """One row per stage, table and check: what the ledger holds, in that order; empty when nothing was recorded."""
    exists = connection.execute(
        "select count(*) from information_schema.tables where table_catalog = current_database() "
        "and table_schema = 'quality' and table_name = 'check_results'"
    ).fetchone()
    if not exists or not exists[0]:
        return pd.DataFrame(columns=list(LEDGER_COLUMNS)).astype({"passed": "bool"})
    return connection.execute("select * from quality.check_results order by stage, table_name, check_name").df()


def run(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    suites: Mapping[str, Suite],
    *,
    as_of: datetime.date,
) -> list[CheckResult]:
    """Check each table (name -> relation) against its suite, record the results, and give them back.

    A table whose content and suite are those of the results recorded last is not checked again: the same would come out.
    """
    connection.execute(CREATE_LEDGER)
    checked: list[CheckResult] = []
    for table, relation in tables.items():
        if table not in suites:
            raise SuiteError(f"{table} is published and has no suite. Write expectations/{table}.json.")
        content = fingerprint(connection, relation)
        found = _known_results(connection, suites[table], content)
        if found is None:
            found = check(connection, relation, suites[table])
        record(connection, EXPECTATIONS, found, {table: content}, as_of=as_of)
        checked += found
    return checked


def _known_results(connection: duckdb.DuckDBPyConnection, suite: Suite, content: str) -> list[CheckResult] | None:
    """What this suite said of exactly this content; None when it has not been asked, or by another Great Expectations."""
    version = importlib.metadata.version("great-expectations")
    if connection.execute("from quality.checked_with").fetchall() != [(version,)]:
        connection.execute("delete from quality.check_results where stage = ?", [EXPECTATIONS])
        connection.execute("delete from quality.checked_with")
        connection.execute("insert into quality.checked_with values (?)", [version])
        return None
    recorded = connection.execute(
        "select check_name, severity, passed, observed, detail from quality.check_results "
        "where stage = ? and table_name = ? and fingerprint = ?",
        [EXPECTATIONS, suite.table, content],
    ).fetchall()
    by_name = {row[0]: CheckResult(row[0], suite.table, *row[1:]) for row in recorded}
    asked = [(item.check_name, item.severity, _meaning(item)) for item in suite.expectations]
    if [(name, by_name[name].severity, by_name[name].detail) for name, _, _ in asked if name in by_name] != asked:
        return None
    return [by_name[name] for name, _, _ in asked]


def verify(
    connection: duckdb.DuckDBPyConnection,
    required: Mapping[str, str],
    *,
    suites: Mapping[str, Suite],
    as_of: datetime.date,
    required_checks: Iterable[tuple[str, str, str]] = (),
    fingerprints: Mapping[str, str] | None = None,
    is_approved: Callable[[Any], bool] = lambda row: False,
) -> list[str]:
    """Why the tables (name -> relation) may not be published as of `as_of`: one sentence each, empty when they may.

    Every expectation of each table's suite must be recorded as passed, or failed with severity warn, for exactly the
    content the table has now. `required_checks` names further checks that must be there, as (stage, check name,
    table); their table must be one of `required`. Any other failed error in the ledger refuses too, but for those of which
    `is_approved` is true: it is asked with the ledger's row (LEDGER_COLUMNS). `fingerprints` are those of the tables, where the
    caller has taken them in the same transaction.
    """
    problems: list[str] = []
    if not required:
        return ["There is no table to publish. A release without tables is refused."]
    ledger = results(connection)
    present = fingerprints or {table: fingerprint(connection, relation) for table, relation in required.items()}

    demanded = [(*check, "error") for check in required_checks]
    for table, relation in required.items():
        if table not in suites:
            problems.append(f"{table} has no suite, so nothing was promised of it. Write expectations/{table}.json.")
            continue
        demanded += [(EXPECTATIONS, item.check_name, table, item.severity) for item in suites[table].expectations]
        problems += _wrong_as_of(connection, table, relation, as_of)

    recorded = {(row.stage, row.check_name, row.table_name): row for row in ledger.itertuples(index=False)}
    for stage, check_name, table, severity in demanded:
        row = recorded.get((stage, check_name, table))
        if table not in present:
            problems.append(f"{table}: the check {check_name} ({stage}) is required of a table that is not published.")
        elif row is None:
            problems.append(f"{table}: the check {check_name} ({stage}) was never recorded. Run the quality gate.")
        elif row.fingerprint != present[table]:
            problems.append(
                f"{table}: the check {check_name} ({stage}) was made on other content; the table has been rebuilt "
                "since. Run the quality gate again."
            )
        elif pd.Timestamp(str(row.as_of_date)).date() != as_of:
            problems.append(
                f"{table}: the check {check_name} ({stage}) was made as of {str(row.as_of_date)[:10]}, not {as_of}. "
                "Run the quality gate again."
            )
        elif not row.passed and severity == "error" and row.severity != "error":
            problems.append(
                f"{table}: the check {check_name} ({stage}) failed as a warning and is an error now ({row.observed}). "
                "Run the quality gate again."
            )
    for row in ledger[~ledger["passed"] & (ledger["severity"] == "error")].itertuples(index=False):
        if is_approved(row):
            continue
        problems.append(f"{row.table_name}: {row.check_name} ({row.stage}) failed: {row.observed}. {row.detail}")
    return problems


def _wrong_as_of(connection: duckdb.DuckDBPyConnection, table: str, relation: str, as_of: datetime.date) -> list[str]:
    """Tables of one release know one as-of date: a table left over from another run says so by its own."""
    if "as_of_date" not in connection.sql(f"select * from {relation} limit 0").columns:
        return []
    others = connection.execute(
        f"select min(as_of_date)::date, max(as_of_date)::date from {relation} where as_of_date is distinct from ?",
        [as_of],
    ).fetchone()
    count = connection.execute(
        f"select count(*) from {relation} where as_of_date is distinct from ?", [as_of]
    ).fetchone()
    assert others is not None
    assert count is not None
    if not count[0]:
        return []
    return [
        f"{table}: {count[0]} rows are as of {others[0]} to {others[1]}, and the release is as of {as_of}. "
        "Materialise the table for that date."
    ]


# Identities between tables

IDENTITIES: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    (
        "costs_of_customers_equal_their_lines",
        ("customer_profitability", "customer_cost_lines"),
        "Per customer and month, direct, activity and allocated sustaining cost equals the cost lines that explain it.",
        """
        select coalesce(month, line_month)::varchar || ' ' || coalesce(customer_id, line_customer_id)
        from (
            select month, customer_id, sum(
                direct_cost_to_serve + activity_cost_variable + activity_cost_step_fixed + activity_cost_fixed
                + allocated_sustaining
            ) as cost
            from {customer_profitability} group by all
        ) as totals
        full join (
            select month as line_month, customer_id as line_customer_id, sum(amount) as amount
            from {customer_cost_lines} group by all
        ) as lines on line_month = month and line_customer_id = customer_id
        where coalesce(cost, 0) <> coalesce(amount, 0)
        """,
    ),
    (
        "every_cent_of_cost_is_on_a_line",
        ("customer_cost_lines", "residual_cost_lines", "pool_cost_lines"),
        "Per month, customer lines and residual lines add up to the ledger lines of the cost pools.",
        """
        select coalesce(month, ledger_month)::varchar
        from (
            select month, sum(amount) as amount from (
                select month, amount from {customer_cost_lines}
                union all select month, amount from {residual_cost_lines}
            ) group by all
        ) as lines
        full join (
            select month as ledger_month, sum(amount_cents) as cents from {pool_cost_lines} group by all
        ) as ledger on ledger_month = month
        where coalesce(amount, 0) * 100 <> coalesce(cents, 0)
        """,
    ),
    (
        "customers_carry_their_profit",
        ("customers", "customer_profitability"),
        "Each customer's total operating profit is the sum of its months, and none is missing.",
        """
        select coalesce(overview.customer_id, months.customer_id)
        from {customers} as overview
        full join (
            select customer_id, sum(operating_profit) as profit from {customer_profitability} group by all
        ) as months on months.customer_id = overview.customer_id
        where coalesce(overview.operating_profit_total, 0) <> coalesce(months.profit, 0)
        """,
    ),
    (
        "whale_curve_ends_at_the_total",
        ("whale_curve", "customer_profitability"),
        "The curve of operating profit over all time ends at the profit of all customers.",
        """
        select 'curve ' || coalesce(curve, 0) || ', customers ' || coalesce(profit, 0)
        from (
            select sum(profit) as curve from {whale_curve} where profit_level = 'operating_profit' and period = 'all'
        ), (select sum(operating_profit) as profit from {customer_profitability})
        where coalesce(curve, 0) <> coalesce(profit, 0)
        """,
    ),
    *(
        (
            f"{scores}_are_of_customers",
            (scores, "customers"),
            "Every scored customer is a published customer.",
            f"select customer_id from {{{scores}}} anti join {{customers}} using (customer_id)",
        )
        for scores in ("customer_rfm", "customer_clv", "churn_risk", "credit_risk", "break_even", "profit_sensitivity")
    ),
)
"""(check name, tables, meaning, query of the rows that break it). They bind the tables of one release together: each
may be sound alone and yet stem from another run than its neighbours."""


def consistency(connection: duckdb.DuckDBPyConnection, relations: Mapping[str, str]) -> list[CheckResult]:
    """The identities between published tables (name -> relation), computed now; those of tables not given are left
    out. A result is filed under the first table of its identity."""
    found = []
    for check_name, tables, meaning, query in IDENTITIES:
        if not set(tables) <= set(relations):
            continue
        broken = connection.execute(query.format(**{table: relations[table] for table in tables})).fetchall()
        examples = ", ".join(str(row[0]) for row in broken[:3])
        found.append(
            CheckResult(
                check_name=check_name,
                table=tables[0],
                severity="error",
                passed=not broken,
                observed=f"{len(broken)} breaches" + (f", such as {examples}" if broken else ""),
                detail=f"{meaning} Tables: {', '.join(tables)}.",
                reads=tables,
            )
        )
    return found
