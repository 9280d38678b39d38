"""The whole code location on one screen. Layers stand in the order the data flows; an edge may only go down the list."""

from __future__ import annotations

import warnings

import dagster as dg

from assets import quality_gate
from assets.analytics import (
    action_studies,
    growth_studies,
    match_suggestions,
    model_studies,
    pool_studies,
    profit_studies,
    relationship_studies,
    scores,
)
from assets.costing import rule_tables, service_charges
from assets.ingest import raw
from assets.publish import release_asset
from assets.publish.targets.asset import target_assets
from pipelines import dbt, jobs, launchpad, schedules, sensors
from pipelines.alert_sensors import alert_sensors
from pipelines.console import console
from pipelines.dbt_assets import with_columns
from pipelines.resources import Workspace, business_dates, company_folder, configure_environment, data_folder
from pipelines.writer import one_writer

LAYERS = (
    "landing",
    "raw",
    "rules",
    "staging",
    "facts",
    "credit",
    "pools",
    "service_pools",
    "costing",
    "marts",
    "analytics",
    "overview",
    "release",
)


def build_definitions() -> dg.Definitions:
    """Assemble assets, checks, jobs and schedules for the company the environment names."""
    configure_environment()
    # Backfill policies and the resolution of jobs are in beta; dagster is pinned, so nobody needs to hear of it daily.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)
    workspace = Workspace.from_environment()
    partitions = business_dates(workspace.company())
    daily_run = jobs.daily_run(partitions)
    manifest = dbt.read_manifest()
    in_python = [
        raw.landing_assets(partitions),
        *raw.raw_assets(partitions),
        rule_tables.costing_rules,
        service_charges.solved_service_charges,
        *match_suggestions.ASSETS,
        *pool_studies.ASSETS,
        *profit_studies.ASSETS,
        *growth_studies.ASSETS,
        *model_studies.ASSETS,
        *scores.ASSETS,
        *relationship_studies.ASSETS,
        *action_studies.ASSETS,
        release_asset.release,
        *target_assets(workspace.company()),
    ]
    return dg.Definitions(
        assets=[*with_columns(manifest, in_python), *dbt.dbt_layers(manifest, listener=quality_gate.record_dbt_tests)],
        asset_checks=quality_gate.suite_checks(),
        jobs=[daily_run, *launchpad.JOBS],  # type: ignore[list-item]
        schedules=[schedules.daily_schedule(daily_run, workspace.company())],
        sensors=[sensors.delivery_sensor(daily_run), *alert_sensors(workspace.company())],
        resources={"workspace": workspace},
        loggers={"console": console},
        # One writer to the warehouse: steps run one after the other in the run's own process, which holds the data folder.
        executor=one_writer,
    )


defs = build_definitions()
_built_for = company_folder(), data_folder()


def definitions_here() -> dg.Definitions:
    """The definitions for the folders that the environment names now.

    A job that works in a data folder of its own runs where `defs` were loaded for the company's.
    """
    return defs if _built_for == (company_folder(), data_folder()) else build_definitions()
