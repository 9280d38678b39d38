"""The quality gate in Dagster: one blocking check per published table, and the results of dbt's tests in its ledger.

What a check means and how publishing is kept from going round it is `gate.py`; here it is only tied to the run.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import duckdb

from assets import gate
from assets.company import company_hashes
from assets.publish.changes import changed_since
from assets.publish.release import current
from assets.publish.tables import PUBLISHED, asset_key
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
            passed = not any(result.severity == "error" for result in said_no)
            changed = "" if passed else since_last_release(connection, workspace)
        return dg.AssetCheckResult(
            passed=passed,
            metadata={
                "expectations": len(results),
                "said_no": dg.MetadataValue.json(
                    {result.check_name: f"{result.severity}: {result.observed}. {result.detail}" for result in said_no}
                ),
                **({CHANGED: dg.MetadataValue.text(changed)} if changed else {}),
            },
        )

    return expectations


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
