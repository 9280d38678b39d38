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
from pipelines import dbt, jobs, schedules, sensors
from pipelines.alert_sensors import alert_sensors
from pipelines.console import console
from pipelines.resources import Workspace, business_dates, configure_environment
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
    return dg.Definitions(
        assets=[
            raw.landing_assets(partitions),
            *raw.raw_assets(partitions),
            rule_tables.costing_rules,
            service_charges.solved_service_charges,
            *dbt.dbt_layers(listener=quality_gate.record_dbt_tests),
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
        ],
        asset_checks=quality_gate.suite_checks(),
        jobs=[daily_run],  # type: ignore[list-item]
        schedules=[schedules.daily_schedule(daily_run, workspace.company())],
        sensors=[sensors.delivery_sensor(daily_run), *alert_sensors(workspace.company())],
        resources={"workspace": workspace},
        loggers={"console": console},
        # One writer to the warehouse: steps run one after the other in the run's own process, which holds the data folder.
        executor=one_writer,
    )


defs = build_definitions()
