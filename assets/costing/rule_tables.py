"""The assets of the rules layer: the company's rules in force, checked, as tables SQL can read."""

from collections.abc import Iterator

import dagster as dg

from assets.costing.rules import write_rules
from pipelines.resources import Workspace, owners

TABLES = {
    "pools": "One row per cost pool and validity: how its cost leaves it.",
    "drivers": "One row per driver: what is counted and in which unit.",
    "capacities": "One row per pool and validity: practical capacity in driver units per month.",
    "ledger_scope": "One row per range of ledger accounts, in order: what the accounts are for. The first match decides.",
    "reconciliation_policies": "One row per reconciliation check: what a difference does to the release.",
    "matching_order": "One row per method that may decide whose customer it is, in order.",
    "customer_links": "One row per link of links.csv: a key of a source, the customer it stands for, and from when to when.",
    "company": "One row: the company's settings that SQL needs.",
}


@dg.multi_asset(
    name="costing_rules",
    specs=[
        dg.AssetSpec(
            key=["rules", table],
            group_name="rules",
            description=description,
            owners=owners()["controlling"],
            kinds={"csv", "parquet"},
        )
        for table, description in TABLES.items()
    ],
)
def costing_rules(workspace: Workspace) -> Iterator[dg.MaterializeResult]:
    """Check the company's costing/*.csv, customers/links.csv and company.yml and write every table of schema `rules`."""
    counts = write_rules(workspace.company(), workspace.company_folder, workspace.rules)
    for table, rows in counts.items():
        yield dg.MaterializeResult(asset_key=["rules", table], metadata={"dagster/row_count": rows})
