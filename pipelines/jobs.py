"""The named jobs: what is run together."""

from __future__ import annotations

import dagster as dg

DAILY_RUN = "daily_run"


def daily_run(partitions: dg.DailyPartitionsDefinition) -> object:
    """Everything, for one business date or a range of them in a single run."""
    return dg.define_asset_job(
        DAILY_RUN,
        selection=dg.AssetSelection.all(),
        description="Read the deliveries of a business date (or of a range, in one run), rebuild what follows from them, "
        "pass the quality gate and publish a release. Running a date again changes nothing unless its files changed.",
    )
