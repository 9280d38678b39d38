"""The last asset: a release of everything published, made only when the gate says yes to exactly this content."""

import datetime
import json

import dagster as dg

from assets import advice, gate
from assets.approvals import Approvals
from assets.company import Company, company_hashes
from assets.ingest.arrivals import late
from assets.publish.lineage import Lineage
from assets.publish.lists import action_exports, action_lists, lists
from assets.publish.plots import PLOTS, plots_of
from assets.publish.privacy import key_changed, notes, privacy
from assets.publish.release import DELIVERIES_RELATION, PublishRefused, Release, current, prune, publish
from assets.publish.report import render
from assets.publish.tables import PUBLISHED, asset_key
from assets.quality_gate import comparisons, required_dbt_tests, since_last_release
from pipelines.resources import DBT_MANIFEST, EXPECTATIONS, NO_CHECKOUT, Workspace, git_commit, owners, pseudonym_key

LAST_DELIVERIES = "select source, max(extract_date) from raw.file_registry group by source"


@dg.asset(
    key=["release", "current"],
    deps=[
        *(asset_key(table) for table in PUBLISHED),
        *(dg.AssetKey(["analytics", table]) for table in ("customer_match_suggestions", "advised_actions")),
    ],
    group_name="release",
    owners=owners()["engineering"],
    kinds={"parquet", "duckdb"},
    description="The published release: an immutable folder of Parquet, one DuckDB file, the report and the lists, "
    "swapped in whole. It asks the quality gate itself, so it cannot be made around it.",
)
def release(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    company = workspace.company()
    as_of = workspace.as_of()
    former = current(workspace.releases)
    suites = gate.load_suites(EXPECTATIONS)
    dbt_manifest = json.loads(DBT_MANIFEST.read_text())
    exports = action_exports(company, workspace.company_folder)
    with workspace.warehouse() as connection:
        noted = privacy(connection, company.privacy.publish, pseudonym_key())
        read = dict(connection.execute(LAST_DELIVERIES).fetchall())
        late_sources = late(company, read, as_of)
        try:
            published = publish(
                connection,
                workspace.releases,
                as_of=as_of,
                company=company.company,
                run_id=context.run_id,
                git_sha=git_commit() or NO_CHECKOUT,
                hashes=company_hashes(workspace.company_folder),
                tables=PUBLISHED,
                suites=suites,
                required_checks=required_dbt_tests(dbt_manifest),
                report_html=lambda quality: render(
                    connection, language=company.report.language, quality=quality, late=late_sources
                ),
                lists=lists(connection) | action_lists(connection, exports, company.privacy.publish),
                # Noted for people; nothing is computed from it and the release id does not depend on it.
                published_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                privacy=noted,
                deliveries=DELIVERIES_RELATION,
                late_sources=late_sources,
                comparisons=comparisons(workspace, as_of),
                protected=Lineage(dbt_manifest).protected,
                approvals=Approvals.read(workspace.data, suites, as_of),
            )
        except PublishRefused as refused:
            raise PublishRefused(refused.problems, since_last_release(connection, workspace)) from None
        advice.record(connection, workspace.data, as_of)
        plots = {name: drawn for table in PLOTS for name, drawn in plots_of(connection, table).items()}
    if changed := key_changed(noted, former.manifest.get("privacy", {}) if former else {}):
        context.log.warning(changed)
    removed = prune(workspace.releases, company.releases.keep)
    tables = published.manifest["tables"]
    return dg.MaterializeResult(
        metadata={
            "release_id": published.release_id,
            "new_content": published.created,
            "folder": dg.MetadataValue.path(str(published.path)),
            "report": _report(published, company),
            "as_of_date": as_of.isoformat(),
            "dagster/row_count": sum(table["rows"] for table in tables.values()),
            "rows": dg.MetadataValue.json({name: table["rows"] for name, table in tables.items()}),
            "pruned_releases": len(removed),
            "late_sources": dg.MetadataValue.json(late_sources),
            "approvals": dg.MetadataValue.json(published.manifest.get("approvals", [])),
            "privacy": dg.MetadataValue.json({**noted, "notes": notes(noted)}),
            **{name: dg.MetadataValue.md(drawn) for name, drawn in plots.items()},
        }
    )


def _report(published: Release, company: Company) -> dg.MetadataValue:
    """Where the report is: a browser follows no link from the UI to a file, so without an address it is the file's path."""
    link = company.report.link(published.release_id)
    return dg.MetadataValue.url(link) if link else dg.MetadataValue.path(str(published.path / "report.html"))
