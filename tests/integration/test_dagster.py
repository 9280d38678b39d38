"""The code location as Dagster sees it: partitions, the schedule, the checks, and runs over parts of the graph.

That every asset has a layer, an owner, a kind and a description is in tests/architecture.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from command import PROJECT

from assets import gate
from assets.publish import contract
from assets.publish.lineage import Lineage
from assets.publish.tables import PUBLISHED, asset_key
from assets.quality_gate import CHANGED
from pipelines import definitions
from pipelines.cli import main
from pipelines.jobs import DAILY_RUN
from pipelines.resources import DBT_MANIFEST, EXPECTATIONS

WHALE_CURVE = dg.AssetKey(["marts", "whale_curve"])
RFM = dg.AssetKey(["analytics", "customer_rfm"])
RELEASE = dg.AssetKey(["release", "current"])


def key_of(asset):
    return dg.AssetKey(asset.split("/"))


@pytest.fixture(scope="module")
def graph():
    return definitions.defs.resolve_asset_graph()


@pytest.fixture
def location(small_demo, tmp_path, monkeypatch):
    """Builds the definitions on a copy of the small demo's data folder, as a code server started there would."""

    def built(company=small_demo.company, data=True):
        if data:
            for part in ("raw", "rules", "releases", "warehouse.duckdb"):
                original = small_demo.data / part
                copy = shutil.copytree if original.is_dir() else shutil.copyfile
                copy(original, tmp_path / "data" / part, **({"symlinks": True} if original.is_dir() else {}))
        monkeypatch.setenv("WHALECURVE_COMPANY", str(company))
        monkeypatch.setenv("WHALECURVE_DATA", str(tmp_path / "data"))
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster"))
        return definitions.build_definitions()

    (tmp_path / "data").mkdir()
    return built


def execute(defs, *assets):
    """Materialise assets with their checks in one run."""
    job = defs.resolve_job_def(DAILY_RUN).get_subset(
        asset_selection={key_of(asset) for asset in assets},
    )
    instance = dg.DagsterInstance.ephemeral()
    return job.execute_in_process(instance=instance, raise_on_error=False)


def materialized(result):
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}


# What there is


def test_every_partitioned_asset_takes_a_range_in_one_run(graph):
    partitioned = {key for key in graph.get_all_asset_keys() if graph.get(key).partitions_def is not None}
    contract = {key for key in graph.get_all_asset_keys() if key.path[0] in ("landing", "raw")}
    assert contract <= partitioned
    for key in partitioned:
        policy = graph.get(key).backfill_policy
        assert policy is not None, key
        assert policy.policy_type == dg.BackfillPolicy.single_run().policy_type, f"{key}: one run for each date"
        assert graph.get(key).partitions_def == graph.get(dg.AssetKey(["raw", "customer"])).partitions_def


def test_the_partitions_are_the_business_dates_of_the_company(graph):
    keys = graph.get(dg.AssetKey(["raw", "customer"])).partitions_def.get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == ("2026-05-31", "2026-06-30", 31)


@pytest.mark.slow
def test_the_range_of_the_small_demo_was_one_run_for_all_its_dates(small_demo):
    dates = {path.name for path in (small_demo.data / "landing").glob("*/*")}
    assert len(dates) == 31
    with dg.DagsterInstance.from_config(str(small_demo.data / "dagster")) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert run.tags["dagster/asset_partition_range_start"] == min(dates)
        assert run.tags["dagster/asset_partition_range_end"] == max(dates)
        for name in ("landing/deliveries", "raw/customer", "raw/gl_entry", "raw/timesheet"):
            assert instance.get_materialized_partitions(key_of(name)) == dates
        evaluated = {
            (record.asset_key.to_user_string(), record.name)
            for record in instance.event_log_storage.get_asset_check_summary_records(
                list(definitions.defs.resolve_asset_graph().asset_check_keys)
            )
        }
        assert evaluated == {
            (check.asset_key.to_user_string(), check.name)
            for check in definitions.defs.resolve_asset_graph().asset_check_keys
        }


def test_the_schedule_runs_yesterday_in_the_company_s_time_zone(location, tmp_path):
    company = tmp_path / "company"
    shutil.copytree(PROJECT / "companies" / "demo", company)
    settings = company / "company.yml"
    settings.write_text(settings.read_text().replace("Asia/Shanghai", "America/New_York"))
    defs = location(company, data=False)
    schedule = defs.resolve_schedule_def("daily_run_schedule")
    assert schedule.execution_timezone == "America/New_York"
    assert schedule.job_name == DAILY_RUN
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED, "nothing runs before somebody turns it on"
    tick = datetime.datetime(2026, 6, 19, 5, tzinfo=ZoneInfo("America/New_York"))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=tick, repository_def=defs.get_repository_def()
        )
        (request,) = schedule.evaluate_tick(context).run_requests
    assert request.partition_key == "2026-06-18"


def test_every_dbt_test_is_a_check_of_a_table(graph):
    manifest = json.loads(DBT_MANIFEST.read_text())
    tests = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    of_one_model = {
        test["name"]
        for test in tests
        if len({name for name in test["depends_on"]["nodes"] if name[:5] == "model"}) == 1
    }
    checks = {check.name for check in graph.asset_check_keys}
    assert {test["name"] for test in tests if (test.get("attached_node") or "").startswith("model.")} <= checks
    assert of_one_model <= checks, "a dbt test that no table shows"
    assert len(of_one_model) > 30


def test_every_published_table_has_a_blocking_suite(graph):
    suites = {check.asset_key: graph.get(check) for check in graph.asset_check_keys if check.name == "expectations"}
    assert set(suites) == {asset_key(table) for table in PUBLISHED}
    assert all(node.blocking for node in suites.values())


def test_the_release_waits_for_every_published_table(graph):
    lists = {
        dg.AssetKey(["analytics", name]) for name in ("customer_match_suggestions", "advised_actions")
    }  # no tables of it
    assert graph.get(RELEASE).parent_keys == {asset_key(table) for table in PUBLISHED} | lists


def test_what_a_check_protects_is_what_dagster_makes_from_it(graph):
    """The gate knows lineage without Dagster's graph: a release made alone has to say the same."""
    manifest = json.loads(DBT_MANIFEST.read_text())
    lineage = Lineage(manifest)
    for key in graph.get_all_asset_keys():
        reached, waiting = {key}, [key]
        while waiting:
            new = graph.get(waiting.pop()).child_keys - reached
            reached |= new
            waiting += new
        made = {table for table in PUBLISHED if asset_key(table) in reached}
        if key.path[0] != "landing":
            assert lineage.made_from(".".join(key.path)) == made, key
    assert "churn_risk" in lineage.made_from("raw.survey_response")
    assert lineage.protected("late_deliveries__x", "deliveries", ("raw.budget",)) == sorted(
        {"deliveries", *lineage.made_from("raw.budget")}
    )
    assert lineage.protected("x", "churn_risk") == sorted(lineage.made_from("analytics.churn_risk"))
    (test,) = [
        node for name, node in manifest["nodes"].items() if name.startswith("test.whalecurve.conserves_customer_cost")
    ]
    assert set(lineage.protected(test["name"], "customer_cost_lines")) > lineage.made_from("marts.customer_cost_lines")


# What runs


@pytest.mark.slow
def test_one_model_can_be_built_alone(location, small_demo):
    result = execute(location(), "marts/whale_curve")
    assert result.success
    assert materialized(result) == {"marts/whale_curve"}
    evaluated = {(check.asset_key, check.check_name) for check in result.get_asset_check_evaluations()}
    assert (WHALE_CURVE, "expectations") in evaluated
    assert len(evaluated) >= 3
    assert all(key == WHALE_CURVE for key, _ in evaluated)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert small_demo.release.exists()


@pytest.mark.slow
def test_a_release_is_what_the_contract_says(small_demo):
    """Another table, column, type or key is announced: `python -m assets.publish.contract RELEASE` gives it a version."""
    manifest = json.loads((small_demo.release / "manifest.json").read_text())
    declared = contract.declared()
    assert contract.changes(declared["tables"], contract.of_release(manifest)) == []
    assert manifest["contract"] == declared["version"]
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    assert f"contract {declared['version']}" in changelog


@pytest.mark.slow
def test_after_a_rebuilt_model_the_release_can_be_made_again(location, small_demo, tmp_path):
    """A part of the graph, and then the release alone: the gate's ledger has to hold for what was not rebuilt, too."""
    defs = location()
    assert execute(defs, "marts/whale_curve").success
    result = execute(defs, "release/current")
    assert result.success
    assert os.readlink(tmp_path / "data" / "releases" / "current") == small_demo.release.name


@pytest.mark.slow
def test_each_target_is_an_asset_and_a_command(location, small_demo, tmp_path, capsys):
    company = tmp_path / "company"
    shutil.copytree(small_demo.company, company)
    settings = company / "company.yml"
    targets = f"{{share: {{kind: folder, path: {tmp_path / 'share'}}}, bi: {{kind: postgres}}}}"
    settings.write_text(
        settings.read_text().replace("releases: {keep: 30}", f"releases: {{keep: 30, targets: {targets}}}")
    )
    defs = location(company)
    assert defs.resolve_asset_graph().get(key_of("release/share")).parent_keys == {RELEASE}
    result = execute(defs, "release/share", "release/bi")
    assert materialized(result) == {"release/share"}, "one that fails does not keep the others"
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "WHALECURVE_TARGET_BI_URL is not set" in str(failed.step_failure_data)
    assert (tmp_path / "share" / "current").resolve().name == small_demo.release.name
    folders = ["--company", str(company), "--data", str(tmp_path / "data")]
    assert main(["deliver", "share", *folders]) == 0
    assert "had it already" in capsys.readouterr().out
    assert main(["deliver", *folders]) == 1
    with pytest.raises(SystemExit):
        main(["deliver", "elsewhere", *folders])
    assert "choose from: share, bi" in capsys.readouterr().err


@pytest.mark.slow
def test_a_check_that_fails_stops_the_release(location, tmp_path, monkeypatch):
    suites = tmp_path / "expectations"
    shutil.copytree(EXPECTATIONS, suites)
    suite = json.loads((suites / "customer_rfm.json").read_text())
    suite["expectations"].append(
        {
            "type": "expect_table_row_count_to_be_between",
            "kwargs": {"max_value": 1},
            "meta": {"severity": "error", "why": "A check that cannot pass.", "name": "impossible"},
        }
    )
    (suites / "customer_rfm.json").write_text(json.dumps(suite))
    monkeypatch.setattr("assets.quality_gate.EXPECTATIONS", suites)
    assert len(gate.load_suites(suites)) == len(PUBLISHED)

    result = execute(location(), "analytics/customer_rfm", "release/current")
    assert not result.success
    assert materialized(result) == {"analytics/customer_rfm"}
    (check,) = result.get_asset_check_evaluations()
    assert (check.asset_key, check.passed) == (RFM, False)
    assert list(check.metadata["said_no"].value) == ["impossible"]
    assert "data    the same deliveries" in check.metadata[CHANGED].value
    assert not any(event.is_step_start and event.step_key == "release__current" for event in result.all_events)


@pytest.mark.slow
def test_a_dbt_test_that_fails_stops_what_follows(location, tmp_path):
    """A cent more on one customer than the ledger has, and behind the back of what follows changes: the tests say so."""
    import duckdb

    defs = location()
    with duckdb.connect(str(tmp_path / "data" / "warehouse.duckdb")) as warehouse:
        warehouse.execute(
            "update costing.allocated_costs set amount_cents = amount_cents + 1 where rowid = "
            "(select min(rowid) from costing.allocated_costs where receiver_kind = 'customer' and stage = 'activity')"
        )
    pointer = os.readlink(tmp_path / "data" / "releases" / "current")
    result = execute(defs, "marts/customer_cost_lines", "release/current")
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "dbt_marts"
    assert "conserves_customer_cost_lines" in str(failure.step_failure_data.error)
    assert not any(event.is_step_start and event.step_key == "release__current" for event in result.all_events)
    assert os.readlink(tmp_path / "data" / "releases" / "current") == pointer
