"""The assets of the landing and raw layers: what was delivered for a business date, read into canonical rows.

`landing/deliveries` says what lies in the landing folder; `raw/<entity>` holds one Parquet file per source and business
date. The reading itself is `engine.py`; how each system writes is in the dialects.
"""

import datetime
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from assets.company import Company
from assets.errors import DeliveryError
from assets.ingest.arrivals import awaited
from assets.ingest.contract import load_contract
from assets.ingest.delivery import StorageFailed, is_complete, is_passing
from assets.ingest.dialect import BUILT_IN, Dialect, load_dialect
from assets.ingest.engine import Outcome, load_delivery, reading_connection
from assets.yaml_files import shown_path
from pipelines.resources import Workspace, owners

RETRIES, SECONDS_BETWEEN = 3, 20
"""How often a failing disk or share is asked again, and how long it is given to come back."""
SHOWN = 12
"""Lines of a list worth reading in a log or a failure."""


def source_dialects(company: Company, folder: Path) -> dict[str, Dialect]:
    """Source -> its dialect, loaded. Raises ConfigurationError for a dialect that does not exist or is malformed."""
    files = sorted([*folder.glob("dialects/*.yml"), *BUILT_IN.glob("*.yml")])
    written = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return {
        name: _loaded(source.dialect, source.timezone, source.currency, folder, written)
        for name, source in company.sources.items()
    }


@functools.lru_cache(maxsize=64)
def _loaded(
    dialect: str, timezone: str | None, currency: str | None, folder: Path, written: tuple[tuple[Path, int, int], ...]
) -> Dialect:
    """A dialect as its files are now: a run asks for it once per entity, and reading YAML takes seconds in all."""
    return load_dialect(dialect, folder, timezone=timezone, currency=currency)


def delivered_dates(landing: Path, sources: Sequence[str]) -> dict[str, set[datetime.date]]:
    """Source -> the business dates for which the landing folder holds anything."""
    found: dict[str, set[datetime.date]] = {}
    for source in sources:
        found[source] = set()
        for folder in (landing / source).glob("????-??-??"):
            has_files = any(is_complete(path) for path in folder.iterdir()) if folder.is_dir() else False
            if has_files:
                found[source].add(_date(folder))
    return found


def _date(folder: Path) -> datetime.date:
    try:
        return datetime.date.fromisoformat(folder.name)
    except ValueError:
        raise DeliveryError(
            f"The landing folder {shown_path(folder)} is not a date, so nobody knows for which day its files were "
            "delivered. Give it the name of its business date, such as 2026-06-30. Nothing was changed."
        ) from None


def require_deliveries(landing: Path, sources: Sequence[str], dates: Sequence[datetime.date]) -> dict[str, list[str]]:
    """Source -> dates of `dates` without a delivery. Raises DeliveryError when nothing at all was delivered for them."""
    delivered = delivered_dates(landing, sources)
    missing = {source: [date.isoformat() for date in dates if date not in delivered[source]] for source in sources}
    if all(len(absent) == len(dates) for absent in missing.values()):
        span = f"{dates[0]}" if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        known = sorted(set().union(*delivered.values()))
        lying = f"Deliveries lie there for {known[0]} to {known[-1]}." if known else "The landing folder is empty."
        raise DeliveryError(
            f"Nothing was delivered for {span}: no source has files in "
            f"{shown_path(landing)}/<source>/{dates[0]}/ (sources: {', '.join(sources)}). {lying} "
            "Put the extracts there and run the date again. Nothing was changed."
        )
    return {source: absent for source, absent in missing.items() if absent}


def landing_assets(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `landing/deliveries`."""

    @dg.asset(
        key=["landing", "deliveries"],
        group_name="landing",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        owners=owners()["engineering"],
        kinds={"file"},
        description="One folder per source and business date, as the source delivered it; kept, never changed. "
        "A run over dates for which no source delivered anything stops here.",
    )
    def deliveries(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        sources = list(workspace.company().sources)
        dates = partition_dates(context)
        missing = require_deliveries(workspace.landing, sources, dates)
        unfinished = awaited(workspace.company(), workspace.landing, sources, dates)
        _refuse_nothing_but(unfinished, workspace.landing, sources, dates)
        for (source, date), lacking in unfinished.items():
            context.log.warning(f"{source}, {date}: not complete ({lacking}); going on without it.")
        for source, absent in missing.items():
            context.log.warning(f"{source} delivered nothing for {', '.join(absent[:SHOWN])}; going on without it.")
        folders = [workspace.landing / source / date.isoformat() for source in sources for date in dates]
        files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]
        return dg.MaterializeResult(
            metadata={
                "files": len(files),
                "bytes": sum(path.stat().st_size for path in files),
                "business_dates": len(dates),
                "missing": dg.MetadataValue.json(missing),
            }
        )

    return deliveries


def _refuse_nothing_but(
    unfinished: Mapping[tuple[str, datetime.date], str],
    landing: Path,
    sources: Sequence[str],
    dates: Sequence[datetime.date],
) -> None:
    """Raise DeliveryError when all that lies there for the dates waits for its source's word that it is complete."""
    lying = {
        (source, date) for source, found in delivered_dates(landing, sources).items() for date in found & set(dates)
    }
    if lying <= set(unfinished):
        (source, date), lacking = next(iter(unfinished.items()))
        raise DeliveryError(
            f"{source}, {date}: the delivery is not complete ({lacking}), and no other lies there for the dates of this run. "
            f"Wait for it, or say `arrival: {{complete: stable}}` for {source} in company.yml. Nothing was taken."
        )


def raw_assets(partitions: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """One asset `raw/<entity>` per entity of the contract."""
    return [_raw_asset(entity, partitions) for entity in load_contract().entities]


def _raw_asset(entity: str, partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    spec = load_contract().entities[entity]

    @dg.asset(
        key=["raw", entity],
        deps=[dg.AssetKey(["landing", "deliveries"])],
        group_name="raw",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        owners=owners()["engineering"],
        kinds={"parquet", "duckdb"},
        description=f"{spec.grain} As each source said it, per business date; unreadable rows stay, with the reason.",
    )
    def raw_entity(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        company = workspace.company()
        outcomes: list[Outcome] = []
        with reading_connection() as connection:
            for source, dialect in source_dialects(company, workspace.company_folder).items():
                if entity not in dialect.entities:
                    continue
                dates = partition_dates(context)
                unfinished = awaited(company, workspace.landing, [source], dates)
                for date in dates:
                    if (source, date) in unfinished:
                        continue  # what an earlier run read of it stays
                    try:
                        outcome = load_delivery(
                            *(connection, workspace.landing, workspace.raw, source, dialect, entity, date),
                            max_share=company.quarantine.max_share,
                        )
                    except (StorageFailed, OSError) as error:
                        if not is_passing(error):
                            raise
                        # What was loaded is found unchanged by the next attempt. Bad data is refused at once: it stays bad.
                        raise dg.RetryRequested(RETRIES, seconds_to_wait=SECONDS_BETWEEN) from error
                    outcomes.append(outcome)
                    _tell(context, outcome)
        return dg.MaterializeResult(metadata=_metadata(outcomes))

    return raw_entity


def partition_dates(context: dg.AssetExecutionContext) -> list[datetime.date]:
    """The business dates of the run."""
    return [datetime.date.fromisoformat(key) for key in context.partition_keys]


def _tell(context: dg.AssetExecutionContext, outcome: Outcome) -> None:
    load = outcome.load
    if outcome.status != "loaded" or load is None:
        return
    place = f"{load.source}, {load.extract_date}"
    if load.rows_quarantined:
        context.log.warning(f"{place}: {load.rows_quarantined} of {load.rows_in} rows of {load.entity} quarantined.")
    if load.unread_columns:
        context.log.debug(f"{place}: {load.entity} has columns no binding reads: {', '.join(load.unread_columns)}.")


def _metadata(outcomes: list[Outcome]) -> dict[str, dg.MetadataValue | int]:
    loads = [outcome.load for outcome in outcomes if outcome.load is not None]
    registry = [
        dg.TableRecord({"source": load.source, "date": load.extract_date, **{key: str(v) for key, v in file.items()}})
        for load in loads
        for file in load.files
    ]
    return {
        "dagster/row_count": sum(load.rows_out for load in loads),
        "rows_in": sum(load.rows_in for load in loads),
        "rows_quarantined": sum(load.rows_quarantined for load in loads),
        "rows_left_out": sum(load.rows_left_out for load in loads),
        "loaded": sum(outcome.status == "loaded" for outcome in outcomes),
        "unchanged": sum(outcome.status == "unchanged" for outcome in outcomes),
        **({"files": dg.MetadataValue.table(registry[-100:])} if registry else {}),
    }
