"""The quality gate in Dagster: one blocking check per published table, and the results of dbt's tests in its ledger.

What a check means and how publishing is kept from going round it is `gate.py`; here it is only tied to the run.
"""

import datetime
from collections.abc import Mapping
from typing import Any

import dagster as dg
import duckdb

from assets import gate
from assets.approvals import Approvals, Failure
from assets.company import company_hashes
from assets.publish.changes import changed_since
from assets.publish.comparisons import Now, compare
from assets.publish.release import Comparisons, current, earlier, failures
from assets.publish.tables import PUBLISHED, asset_key
from assets.restatements import Restatements
from pipelines.resources import EXPECTATIONS, NO_CHECKOUT, Workspace, git_commit

CHANGED = "changed_since_the_last_release"
"""Metadata of a check that said no."""

DBT_TESTS = "dbt"
"""The stage under which dbt's tests are recorded."""


def suite_checks() -> list[dg.AssetChecksDefinition]:
    """One blocking check per published table: its suite of expectations/."""
    return [_suite_check(table, suite) for table, suite in gate.load_suites(EXPECTATIONS).items()]


def _suite_check(table: str, suite: gate.Suite) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(table),
        name="expectations",
        blocking=True,
        description=f"The {len(suite.expectations)} expectations of expectations/{table}.json.",
    )
    def expectations(workspace: Workspace) -> dg.AssetCheckResult:
        as_of = workspace.as_of()
        with workspace.warehouse() as connection:
            results = gate.run(connection, {table: PUBLISHED[table]}, {table: suite}, as_of=as_of)
            said_no = [result for result in results if not result.passed]
            stopping = [result for result in said_no if result.severity == "error"]
            approved = _approved(connection, workspace, suite, stopping, as_of) if stopping else {}
            is_stopped = len(approved) < len(stopping)
            changed = since_last_release(connection, workspace) if is_stopped else ""
        return dg.AssetCheckResult(
            passed=not stopping,
            # Approved is not passed: it is shown as a warning, and does not block.
            severity=dg.AssetCheckSeverity.ERROR if is_stopped else dg.AssetCheckSeverity.WARN,
            metadata={
                "expectations": len(results),
                "said_no": dg.MetadataValue.json(
                    {result.check_name: f"{result.severity}: {result.observed}. {result.detail}" for result in said_no}
                ),
                **({"approved": dg.MetadataValue.json(approved)} if approved else {}),
                **({CHANGED: dg.MetadataValue.text(changed)} if changed else {}),
            },
        )

    return expectations


def _approved(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    suite: gate.Suite,
    stopping: list[gate.CheckResult],
    as_of: datetime.date,
) -> dict[str, str]:
    """Check -> who approved it and why, of the failures of a table's suite that somebody has approved."""
    content = gate.fingerprint(connection, PUBLISHED[suite.table])
    approvals = Approvals.read(workspace.data, {suite.table: suite}, as_of)
    found = {
        result.check_name: approvals.of(
            Failure(gate.EXPECTATIONS, result.check_name, suite.table, content, result.observed)
        )
        for result in stopping
    }
    return {name: f"{given.approved_by}: {given.reason}" for name, given in found.items() if given}


def comparisons(workspace: Workspace, as_of: datetime.date) -> Comparisons:
    """The comparisons of what the warehouse would publish as of its date with the earlier release."""
    company, restated = workspace.company(), Restatements.read(workspace.data, as_of)

    def compared(connection: duckdb.DuckDBPyConnection) -> Mapping[str, list[gate.CheckResult]]:
        found = compare(Now(connection, as_of, PUBLISHED), earlier(workspace.releases, as_of), company, restated)
        return {**found, **restated.results()}

    return compared


def stopping_checks(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, as_of: datetime.date
) -> list[tuple[Failure, str]]:
    """What stops a release of the warehouse as it is, each failure with its meaning: recorded by the gate, or found now.

    Where a run was stopped half-way, some tables are not there yet: then it is what the gate has recorded.
    """
    try:
        return failures(connection, PUBLISHED, comparisons(workspace, as_of))
    except duckdb.CatalogException:
        return failures(connection, {}, lambda _: {})


def since_last_release(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> str:
    """What came since the release readers have, for a person who reads why there is no new one."""
    return changed_since(
        connection,
        current(workspace.releases),
        hashes=company_hashes(workspace.company_folder),
        git_sha=git_commit() or NO_CHECKOUT,
    )


def record_dbt_tests(build: str, tests: list[dict[str, Any]], workspace: Workspace) -> None:
    """Write what dbt's tests said into the gate's ledger, with the content of the tables they were made on."""
    results = [
        gate.CheckResult(
            check_name=test["check_name"],
            table=test["table"],
            severity=test["severity"],
            passed=test["passed"],
            observed="passed" if test["passed"] else test["detail"],
            detail=f"dbt test of {', '.join(test['tests_tables'])}.",
        )
        for test in tests
    ]
    if not results:
        return
    relations = {test["table"]: test["relation"] for test in tests}
    with workspace.warehouse() as connection:
        as_of_known = connection.execute("select as_of_date from facts.as_of").fetchone()
        fingerprints = {table: gate.fingerprint(connection, relation) for table, relation in relations.items()}
        assert as_of_known is not None
        gate.record(connection, DBT_TESTS, results, fingerprints, as_of=as_of_known[0])


def required_dbt_tests(manifest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The dbt tests without which no release is made: (stage, test, published table)."""
    required = []
    for node in manifest["nodes"].values():
        table = str(node.get("attached_node") or "").rpartition(".")[2]
        if node["resource_type"] == "test" and table in PUBLISHED and node["config"]["severity"].lower() == "error":
            required.append((DBT_TESTS, node["name"], table))
    return required
