"""The gate: suites that check what they say, a ledger that cannot be talked round, identities between tables."""

import datetime
import json
from decimal import Decimal

import duckdb
import pandas as pd
import pytest
from release_fixture import AS_OF, EXPECTATIONS, RELATIONS, build, fixture_suites, known_identities, record_passes

from assets import gate
from assets.analytics import churn, rfm
from assets.publish.tables import PUBLISHED


@pytest.fixture(scope="module")
def warehouse():
    return build()


@pytest.fixture
def gated(warehouse):
    """A warehouse whose tables have all passed; the test's own changes are undone by building it anew when needed."""
    connection = build()
    return connection, record_passes(connection)


def verify(connection, suites, **options):
    return gate.verify(connection, RELATIONS, suites=suites, as_of=AS_OF, **options)


def suite_file(folder, *expectations, name="t"):
    path = folder / "t.json"
    path.write_text(json.dumps({"name": name, "expectations": list(expectations)}), encoding="utf-8")
    return path


def expectation(type_="expect_column_values_to_be_unique", kwargs=None, **meta):
    meta = {"severity": "error", "why": "It is the key."} | meta
    return {"type": type_, "kwargs": kwargs or {"column": "id"}, "meta": meta}


# Suites


def test_every_published_table_has_a_suite_and_a_key():
    suites = gate.load_suites(EXPECTATIONS)
    assert set(suites) == set(PUBLISHED)
    assert set(RELATIONS) <= set(PUBLISHED)
    assert all(suite.key for suite in suites.values())
    assert suites["customer_cost_lines"].key == ("customer_id", "month", "driver_month", "pool_id", "behaviour")


def test_the_suites_name_the_tiers_and_models_the_code_gives():
    suites = gate.load_suites(EXPECTATIONS)
    allowed = {
        (table, item.kwargs["column"]): set(item.kwargs["value_set"])
        for table, suite in suites.items()
        for item in suite.expectations
        if item.type == "expect_column_values_to_be_in_set"
    }
    tiers = {tier.name for tier in rfm.read_tiers().values()}
    assert allowed["customer_rfm", "rfm_tier"] == allowed["customers", "rfm_tier"] == tiers
    assert allowed["churn_risk", "model"] == {*churn.MODELS, churn.FALLBACK}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "t", "expectations": []}, "the suite is empty"),
        ({"name": "u", "expectations": [expectation()]}, "named 'u'"),
        ({"name": "t", "expectations": [expectation("expect_column_values_to_be_unicorn")]}, "be_unicorn"),
        ({"name": "t", "expectations": [expectation("unexpected_rows_expectation")]}, "unexpected_rows"),
        ({"name": "t", "expectations": [expectation(severity="critical")]}, "severity 'critical'"),
        ({"name": "t", "expectations": [expectation(why="")]}, "does not say why"),
        (
            {"name": "t", "expectations": [expectation(), expectation()]},
            "two checks are called 'id__be_unique'",
        ),
        ({"name": "t", "expectations": ["unique"]}, "an expectation is"),
        ([], "a suite is"),
    ],
)
def test_a_suite_that_would_check_less_than_it_says_is_refused(tmp_path, content, message):
    file = tmp_path / "t.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(gate.SuiteError, match=message) as refused:
        gate.load_suites(tmp_path)
    assert str(file) in str(refused.value)


def test_no_suites_at_all_is_refused(tmp_path):
    with pytest.raises(gate.SuiteError, match="there is no suite"):
        gate.load_suites(tmp_path)


# Checking


def test_known_types_are_those_great_expectations_registers():
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    registered = {name for name in list_registered_expectation_implementations() if name.startswith("expect_")}
    # Imported by the package and yet not registered: a suite that names it is stopped when it is evaluated.
    assert gate.known_expectation_types() - registered <= {"expect_multicolumn_values_to_be_unique"}
    assert registered <= gate.known_expectation_types()


def test_checks_pass_fail_and_say_what_was_seen(tmp_path):
    suite_file(
        tmp_path,
        expectation(),
        expectation("expect_column_values_to_be_between", {"column": "amount", "min_value": 0}, severity="warn"),
        expectation("expect_column_values_to_not_be_null", {"column": "missing"}),
        expectation("expect_table_row_count_to_be_between", {"min_value": 1}),
    )
    table = pd.DataFrame({"id": ["a", "b", "b"], "amount": [1.0, -2.0, 3.0]})
    unique, between, missing, rows = gate.validate(table, gate.load_suites(tmp_path)["t"])
    assert (unique.check_name, unique.passed, unique.severity) == ("id__be_unique", False, "error")
    assert unique.observed == "2 of 3 rows, such as b"
    assert "It is the key." in unique.detail
    assert (between.passed, between.severity, between.observed) == (
        False,
        "warn",
        "1 of 3 rows, such as -2.0",
    )
    assert not missing.passed
    assert "not evaluated" in missing.observed
    assert "missing" in missing.observed
    assert (rows.passed, rows.observed) == (True, "3")


def test_an_expectation_that_is_not_evaluated_is_no_pass():
    unknown = gate.Expectation("id__be_unicorn", "expect_column_values_to_be_unicorn", {"column": "id"}, "error", "x")
    known = gate.Expectation("id__be_unique", "expect_column_values_to_be_unique", {"column": "id"}, "error", "x")
    with pytest.raises(RuntimeError, match="has 2 checks and Great Expectations evaluated 1"):
        gate.validate(pd.DataFrame({"id": [1]}), gate.Suite("t", (unknown, known)))


def test_an_empty_table_fails_where_rows_are_required(warehouse):
    suites = gate.load_suites(EXPECTATIONS)
    empty = gate.fetch(warehouse, "(select * from overview.customers limit 0)")
    failed = [check.check_name for check in gate.validate(empty, suites["customers"]) if not check.passed]
    assert "row_count_to_be_between" in failed


def test_fetch_brings_money_as_numbers_in_key_order():
    connection = duckdb.connect()
    connection.execute(
        "create table t as select * from (values ('b', 1.25::decimal(22, 4)), ('a', null)) as t(id, amount)"
    )
    table = gate.fetch(connection, "t", ("id",))
    assert list(table["id"]) == ["a", "b"]
    assert table["amount"].dtype == "float64"
    assert table["amount"].iloc[1] == 1.25


def test_a_sound_warehouse_passes_its_suites_and_may_be_published():
    connection = build()
    suites = fixture_suites()
    checks = gate.run(connection, RELATIONS, suites, as_of=AS_OF)
    assert [check for check in checks if not check.passed and check.severity == "error"] == []
    said_no = {check.check_name for check in checks if not check.passed}
    assert said_no == {"status__no_warning", "explanation__no_warning", "row_count__nothing_left_out"}
    assert verify(connection, suites) == []


@pytest.mark.parametrize(
    ("damage", "table", "check"),
    [
        (
            "insert into overview.customers from overview.customers limit 1",
            "customers",
            "customer_id__be_unique",
        ),
        ("update marts.reconciliation set status = 'fail'", "reconciliation", "status__no_failure"),
        ("update marts.control_failures set status = 'fail'", "control_failures", "explanation__no_failure"),
        (
            "update analytics.churn_risk set churn_probability = 1.5",
            "churn_risk",
            "churn_probability__be_between",
        ),
        (
            "update marts.customer_cost_lines set rounding_cents = 3",
            "customer_cost_lines",
            "rounding_cents__be_in_set",
        ),
        (
            "update marts.residual_cost_lines set residual_line = 'Other'",
            "residual_cost_lines",
            "residual_line__match_regex",
        ),
    ],
)
def test_damage_is_found_and_stops_the_release(damage, table, check):
    connection = build()
    connection.execute(damage)
    suites = gate.load_suites(EXPECTATIONS)
    only = {table: RELATIONS[table]}
    failed = [found.check_name for found in gate.run(connection, only, suites, as_of=AS_OF) if not found.passed]
    assert check in failed
    problems = gate.verify(connection, only, suites=suites, as_of=AS_OF)
    assert any(f"{table}: {check} (expectations) failed" in problem for problem in problems)


def test_a_refused_release_quotes_the_failed_controls():
    connection = build()
    connection.execute(
        "update marts.control_failures set status = 'fail' "
        "where month = (select max(month) from marts.control_failures)"
    )
    suites = gate.load_suites(EXPECTATIONS)
    only = {"control_failures": RELATIONS["control_failures"]}
    gate.run(connection, only, suites, as_of=AS_OF)
    (problem,) = gate.verify(connection, only, suites=suites, as_of=AS_OF)
    assert "1 of 1 rows, such as ledger: voucher J-1 does not balance: debits 100.00, credits 90.00." in problem


# Fingerprints


def test_a_fingerprint_is_of_the_content_and_not_of_its_order():
    connection = duckdb.connect()
    connection.execute(
        "create table t as select i as id, i % 3 as kind, (i * 1.5)::decimal(22, 4) as amount from range(500) as r(i)"
    )
    print_ = gate.fingerprint(connection, "t")
    assert gate.fingerprint(connection, "(select * from t order by amount desc)") == print_
    changed = [
        "select * from t where id <> 7",
        "select * from t union all select * from t where id = 7",
        "select * from t union all select * from t",
        "select * replace (case id when 7 then 0.01 else amount end::decimal(22, 4) as amount) from t",
        "select * replace (case id when 7 then null else amount end as amount) from t",
        "select kind as id, id as kind, amount from t",
        "select id as key, kind, amount from t",
        "select * replace (amount::double as amount) from t",
        "select * from t limit 0",
    ]
    prints = [gate.fingerprint(connection, f"({query})") for query in changed]
    assert print_ not in prints
    assert len(set(prints)) == len(prints)


def test_a_doubled_row_does_not_hide_another():
    """Equal rows cancel in an exclusive or: two of one kind exchanged for two of another must still be seen."""
    connection = duckdb.connect()
    before = gate.fingerprint(connection, "(select unnest([1, 1, 2]) as id)")
    assert gate.fingerprint(connection, "(select unnest([3, 3, 2]) as id)") != before


# The ledger


def test_what_was_never_checked_is_refused(warehouse):
    problems = verify(warehouse, fixture_suites())
    assert len(problems) == sum(len(suite.expectations) for suite in fixture_suites().values())
    assert all("never recorded" in problem for problem in problems)


def test_publishing_nothing_is_refused(warehouse):
    assert gate.verify(warehouse, {}, suites={}, as_of=AS_OF)


def test_a_pass_counts_for_exactly_the_content_it_was_made_on(gated):
    connection, suites = gated
    assert verify(connection, suites) == []
    connection.execute("update marts.customer_profitability set quantity = quantity + 1 where customer_id = 'C000'")
    problems = verify(connection, suites)
    assert problems
    assert all("customer_profitability" in problem and "rebuilt since" in problem for problem in problems)
    connection.execute("update marts.customer_profitability set quantity = quantity - 1 where customer_id = 'C000'")
    assert verify(connection, suites) == []


def test_an_expectation_written_after_the_gate_ran_is_missing(gated):
    connection, suites = gated
    new = gate.Expectation(
        "region__not_be_null", "expect_column_values_to_not_be_null", {"column": "region"}, "error", "x"
    )
    suites["customers"] = gate.Suite("customers", (*suites["customers"].expectations, new))
    assert verify(connection, suites) == [
        "customers: the check region__not_be_null (expectations) was never recorded. Run the quality gate."
    ]


def test_a_published_table_without_a_suite_is_refused(gated):
    connection, suites = gated
    del suites["whale_curve"]
    assert any("whale_curve has no suite" in problem for problem in verify(connection, suites))


def test_a_failed_error_refuses_and_a_failed_warning_does_not(gated):
    connection, suites = gated
    connection.execute("update quality.check_results set passed = false where severity = 'warn'")
    assert verify(connection, suites) == []
    connection.execute("update quality.check_results set passed = false where check_name = 'churn_rank__be_unique'")
    assert any("churn_rank__be_unique (expectations) failed" in problem for problem in verify(connection, suites))


def test_a_warning_that_has_become_an_error_is_checked_again(gated):
    connection, suites = gated
    connection.execute(
        "update quality.check_results set passed = false, severity = 'warn' where check_name = 'churn_rank__be_unique'"
    )
    assert any("is an error now" in problem for problem in verify(connection, suites))


def test_what_is_known_of_the_same_content_is_not_asked_again(monkeypatch):
    connection = duckdb.connect()
    connection.execute("create table t as select 1 as id")
    asked = []
    validate = gate.validate
    monkeypatch.setattr(gate, "validate", lambda table, suite: asked.append(len(table)) or validate(table, suite))

    def run(why="It is the key.", as_of=AS_OF):
        suite = gate.Suite(
            "t", (gate.Expectation("key", "expect_column_values_to_be_unique", {"column": "id"}, "error", why),)
        )
        (found,) = gate.run(connection, {"t": "t"}, {"t": suite}, as_of=as_of)
        return found.passed

    assert run()
    assert run(as_of=AS_OF + datetime.timedelta(days=1))
    assert asked == [1], "the same content and suite"
    assert gate.results(connection).as_of_date.dt.date.tolist() == [AS_OF + datetime.timedelta(days=1)]
    assert run(why="Another reason.")
    assert asked == [1, 1], "another suite"
    connection.execute("insert into t values (1)")
    assert not run(why="Another reason.")
    assert not run(why="Another reason.")
    assert asked == [1, 1, 2], "other content; and a failure stays one"
    connection.execute("update quality.checked_with set version = '0'")
    assert not run(why="Another reason.")
    assert asked == [1, 1, 2, 2], "another Great Expectations"


def test_a_failure_of_any_other_stage_refuses(gated):
    connection, suites = gated
    failed = gate.CheckResult("amounts_conserved", "facts.ledger", "error", False, "3 rows", "Cents are kept.")
    gate.record(connection, "dbt_tests", [failed], {"facts.ledger": "any"}, as_of=AS_OF)
    assert verify(connection, suites) == ["facts.ledger: amounts_conserved (dbt_tests) failed: 3 rows. Cents are kept."]


def test_a_required_check_must_be_there_and_fresh(gated):
    connection, suites = gated
    required = [("dbt_tests", "profit_identity", "customers")]
    assert any(
        "profit_identity (dbt_tests) was never" in one for one in verify(connection, suites, required_checks=required)
    )
    passed = gate.CheckResult("profit_identity", "customers", "error", True, "0 rows", "")
    gate.record(connection, "dbt_tests", [passed], {"customers": "another content"}, as_of=AS_OF)
    assert any("rebuilt since" in one for one in verify(connection, suites, required_checks=required))
    content = gate.fingerprint(connection, RELATIONS["customers"])
    gate.record(connection, "dbt_tests", [passed], {"customers": content}, as_of=AS_OF)
    assert verify(connection, suites, required_checks=required) == []
    elsewhere = [("dbt_tests", "profit_identity", "invoices")]
    assert any("not published" in one for one in verify(connection, suites, required_checks=elsewhere))


def test_results_and_tables_of_another_date_do_not_count():
    connection = build()
    yesterday = AS_OF - datetime.timedelta(days=1)
    suites = record_passes(connection, as_of=yesterday)
    stale = [problem for problem in verify(connection, suites) if "was made as of 2026-06-29" in problem]
    assert len(stale) == sum(len(suite.expectations) for suite in suites.values())
    problems = gate.verify(connection, RELATIONS, suites=suites, as_of=yesterday)
    assert {problem.split(":")[0] for problem in problems} == {
        "customers",
        "customer_rfm",
        "customer_clv",
        "churn_risk",
    }
    assert all("Materialise the table for that date" in problem for problem in problems)


def test_recording_replaces_a_stage_for_its_tables_and_refuses_to_record_nothing(gated):
    connection, suites = gated
    before = len(gate.results(connection))
    content = gate.fingerprint(connection, RELATIONS["churn_risk"])
    one = gate.CheckResult("churn_rank__be_unique", "churn_risk", "error", True, "", "")
    gate.record(connection, gate.EXPECTATIONS, [one], {"churn_risk": content}, as_of=AS_OF)
    assert len(gate.results(connection)) == before - len(suites["churn_risk"].expectations) + 1
    assert any("never recorded" in problem for problem in verify(connection, suites))
    with pytest.raises(ValueError, match="recorded no check at all"):
        gate.record(connection, gate.EXPECTATIONS, [], {}, as_of=AS_OF)
    with pytest.raises(ValueError, match="customers has either"):
        gate.record(connection, gate.EXPECTATIONS, [one], {"churn_risk": content, "customers": "x"}, as_of=AS_OF)
    assert len(gate.results(connection)) == before - len(suites["churn_risk"].expectations) + 1


# Identities


def test_a_sound_warehouse_keeps_every_identity(warehouse):
    assert [check for check in gate.consistency(warehouse, RELATIONS) if not check.passed] == []
    assert len(gate.consistency(warehouse, RELATIONS)) == len(known_identities())
    assert gate.consistency(warehouse, {"customers": RELATIONS["customers"]}) == []


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        (
            "update marts.customer_cost_lines set amount = amount + 0.01 where pool_id = 'support' and month = "
            "'2026-01-01' and customer_id = (select min(customer_id) from marts.customer_cost_lines "
            "where pool_id = 'support' and month = '2026-01-01')",
            {"costs_of_customers_equal_their_lines", "every_cent_of_cost_is_on_a_line"},
        ),
        (
            "delete from pools.pool_cost_lines where month = '2026-06-01'",
            {"every_cent_of_cost_is_on_a_line"},
        ),
        (
            "delete from overview.customers where customer_id = 'C010'",
            {
                "customers_carry_their_profit",
                "customer_rfm_are_of_customers",
                "customer_clv_are_of_customers",
                "churn_risk_are_of_customers",
            },
        ),
        ("delete from marts.whale_curve where customer_rank = 1", {"whale_curve_ends_at_the_total"}),
    ],
)
def test_tables_of_different_runs_do_not_pass_together(damage, broken):
    connection = build()
    connection.execute(damage)
    found = {check.check_name for check in gate.consistency(connection, RELATIONS) if not check.passed}
    assert found == broken


def test_identities_are_to_the_cent(warehouse):
    total = warehouse.execute("select sum(amount) from marts.customer_cost_lines").fetchone()[0]
    assert isinstance(total, Decimal)
    assert total > 0
