"""Approvals: a release in spite of a named check, for exactly what was found, by somebody with a reason; and closed otherwise."""

import dataclasses
import datetime
import json

import duckdb
import pytest
from release_fixture import AS_OF, EXPECTATIONS, RELATIONS, build, fixture_suites, record_passes
from test_release import publish

from assets import gate
from assets.approvals import REGISTER, Approvals, Failure, approve
from assets.errors import WhalecurveError
from assets.publish import release, report
from assets.publish.summary import _approvals

FAILED = Failure("drift", "tier_shares", "customers", "1-a-b-c", "VIP 1.0% and now 9.0% (release x)")


def of(data, failure=FAILED, as_of=AS_OF, suites=None):
    return Approvals.read(data, suites or {}, as_of).of(failure)


# The register


def test_an_approval_covers_exactly_one_failure(tmp_path):
    assert of(tmp_path) is None
    approve(
        tmp_path, FAILED, as_of=AS_OF, by=" C. Ontroller ", reason="A campaign\nfor VIPs.", at="2026-07-01T08:00:00"
    )
    given = of(tmp_path)
    assert (given.approved_by, given.reason) == ("C. Ontroller", "A campaign for VIPs.")
    for changed in ("stage", "check_name", "table", "fingerprint", "observed"):
        other = dataclasses.replace(FAILED, **{changed: "volume" if changed == "stage" else "another"})
        assert of(tmp_path, other) is None, changed
    assert of(tmp_path, as_of=AS_OF + datetime.timedelta(days=1)) is None


def test_the_register_only_grows_and_holds_nothing_of_what_was_found(tmp_path):
    approve(tmp_path, FAILED, as_of=AS_OF, by="A", reason="one")
    first = (tmp_path / REGISTER).read_text()
    assert "VIP" not in first, "an observation may name a customer, and a register outlives a forgotten one"
    (tmp_path / REGISTER).write_text(first + '{"as_of_date": "2026-06-30", "sta')  # a writer was killed
    other = dataclasses.replace(FAILED, table="churn_risk")
    approve(tmp_path, other, as_of=AS_OF, by="B", reason="two")
    assert (tmp_path / REGISTER).read_text().startswith(first)
    assert (of(tmp_path).reason, of(tmp_path, other).reason) == ("one", "two")
    (tmp_path / REGISTER).write_text('{"check_name": "tier_shares"}\n[1]\nnull\n')
    assert of(tmp_path) is None


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("A", " \n")])
def test_nobody_approves_without_name_and_reason(tmp_path, by, reason):
    with pytest.raises(WhalecurveError, match="needs the name of who gives it and a reason"):
        approve(tmp_path, FAILED, as_of=AS_OF, by=by, reason=reason)
    assert not (tmp_path / REGISTER).exists()


def test_what_is_wrong_in_itself_cannot_be_approved(tmp_path):
    """Also not by writing it into the register: whoever publishes asks again."""
    suites = gate.load_suites(EXPECTATIONS)
    approvable = {
        (table, each.check_name) for table, suite in suites.items() for each in suite.expectations if each.is_approvable
    }
    assert approvable == {("reconciliation", "status__no_failure"), ("control_failures", "explanation__no_failure")}
    for stage, check, table, may in (
        ("expectations", "status__no_failure", "reconciliation", True),
        ("expectations", "difference__not_be_null", "reconciliation", False),
        ("expectations", "status__no_failure", "no_table", False),
        ("dbt", "assert_no_money_lost", "reconciliation", False),
        ("consistency", "every_cent_of_cost_is_on_a_line", "customer_cost_lines", False),
        ("freshness", "late_deliveries__erp", "deliveries", True),
    ):
        failure = dataclasses.replace(FAILED, stage=stage, check_name=check, table=table)
        approve(tmp_path, failure, as_of=AS_OF, by="A", reason="x")
        assert (of(tmp_path, failure, suites=suites) is not None) == may, (stage, check)


def test_a_suite_says_approvable_with_true_or_not_at_all(tmp_path):
    meta = {"severity": "error", "why": "x", "approvable": "yes"}
    written = {
        "name": "t",
        "expectations": [{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 1}, "meta": meta}],
    }
    (tmp_path / "t.json").write_text(json.dumps(written))
    with pytest.raises(gate.SuiteError, match="approvable 'yes'"):
        gate.load_suites(tmp_path)


# The release


def untied():
    """A warehouse whose reconciliation fails, as the gate has recorded it."""
    connection = build()
    connection.execute(
        "update marts.reconciliation set status = 'fail' where month = (select max(month) from marts.reconciliation)"
    )
    return connection, recorded(connection)


def recorded(connection):
    suites = fixture_suites()
    gate.run(connection, {"reconciliation": RELATIONS["reconciliation"]}, suites, as_of=AS_OF)
    record_passes(connection, {table: relation for table, relation in RELATIONS.items() if table != "reconciliation"})
    return suites


def approve_all(connection, data, comparisons=lambda _: {}):
    for failure, _ in release.failures(connection, RELATIONS, comparisons, deliveries="(select 1 as x)"):
        approve(data, failure, as_of=AS_OF, by="C. Ontroller", reason="<b>Known</b>.")


def test_refused_without_released_with_and_refused_again_when_the_content_changes(tmp_path):
    connection, suites = untied()
    folder = tmp_path / "releases"

    def publish_it():
        approvals = Approvals.read(tmp_path, suites, AS_OF)
        page = {"report_html": lambda quality: report.render(connection, quality=quality)}
        return publish(connection, suites, folder, approvals=approvals, **page)

    with pytest.raises(release.PublishRefused, match="status__no_failure"):
        publish_it()
    assert release.current(folder) is None
    approve_all(connection, tmp_path)
    made = publish_it()
    (noted,) = made.manifest["approvals"]
    assert (noted["check_name"], noted["table_name"]) == ("status__no_failure", "reconciliation")
    assert (noted["approved_by"], noted["approval_reason"]) == ("C. Ontroller", "<b>Known</b>.")
    with duckdb.connect(str(made.path / "whalecurve.duckdb"), read_only=True) as database:
        published = database.execute(
            "select check_name, passed, approved_by, approval_reason from data_quality where approved_by is not null"
        ).fetchall()
        assert database.execute(
            "select count(*) from data_quality where not passed and severity = 'error'"
        ).fetchone() == (1,)
    assert published == [("status__no_failure", False, "C. Ontroller", "<b>Known</b>.")]
    page = (made.path / "report.html").read_text()
    assert "Released in spite of it, approved by C. Ontroller: &lt;b&gt;Known" in page
    assert "status__no_failure" in page
    assert publish_it().release_id == made.release_id

    connection.execute("update marts.reconciliation set difference = difference + 1 where status = 'fail'")
    with pytest.raises(release.PublishRefused, match="rebuilt since"):
        publish_it()
    recorded(connection)
    with pytest.raises(release.PublishRefused, match="status__no_failure"):
        publish_it()
    assert release.current(folder).release_id == made.release_id


def test_an_approval_of_one_failure_does_not_open_the_gate_for_another(tmp_path):
    connection, suites = untied()
    approve_all(connection, tmp_path)
    connection.execute("delete from quality.check_results where check_name = 'status__no_failure'")
    with pytest.raises(release.PublishRefused, match="never recorded"):
        publish(connection, suites, tmp_path / "r", approvals=Approvals.read(tmp_path, suites, AS_OF))
    recorded(connection)
    connection.execute("delete from overview.customers where customer_id = 'C001'")
    recorded(connection)
    approve_all(connection, tmp_path)
    with pytest.raises(release.PublishRefused) as refused:
        publish(connection, suites, tmp_path / "r", approvals=Approvals.read(tmp_path, suites, AS_OF))
    assert all("status__no_failure" not in problem for problem in refused.value.problems)
    assert any("customers_carry_their_profit" in problem for problem in refused.value.problems), (
        "approved, and still not let out"
    )


def test_a_comparison_is_approved_for_the_release_it_was_made_with(tmp_path):
    connection = build()
    suites = record_passes(connection)
    failed = {"drift": [gate.CheckResult("tier_shares", "customers", "error", False, "VIP 1% and now 9%", "Tiers.")]}
    approve_all(connection, tmp_path, lambda _: failed)
    options = {"approvals": Approvals.read(tmp_path, suites, AS_OF), "comparisons": lambda _: failed}
    made = publish(connection, suites, tmp_path / "r", **options)
    assert publish(connection, suites, tmp_path / "r", **options).release_id == made.release_id
    plain = publish(connection, suites, tmp_path / "other")
    assert plain.release_id != made.release_id, "that somebody had to approve it, is content"
    assert _approvals(made.manifest["approvals"]) == (
        "APPROVED  customers, tier_shares: VIP 1% and now 9%.\n"
        "          Released in spite of it by C. Ontroller: <b>Known</b>."
    )
    assert _approvals(plain.manifest["approvals"]) == ""
    other = {"drift": [dataclasses.replace(failed["drift"][0], observed="VIP 1% and now 10%")]}
    with pytest.raises(release.PublishRefused, match="now 10%"):
        publish(connection, suites, tmp_path / "r", **options | {"comparisons": lambda _: other})
