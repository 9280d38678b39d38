"""A business date as it was known then: the run of that day again, from the deliveries up to that day and nothing later.

    <data>/as_known/<date>/releases/      the release made anew; the rest of that folder is removed after the run

The run happens in a data folder of its own, made of links to the raw files of the dates up to that one, so that neither the
warehouse nor the releases of the company change. Rules and code are today's: what they have changed since shows as a difference
from the release that was kept. Deliveries that were replaced under their own date are known as they were delivered last.

Not here: what a run does (`runs.py`).
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from assets import advice, approvals, restatements
from assets.errors import WhalecurveError
from assets.ingest import storage
from assets.publish.release import DATABASE, Release, earlier, releases, require_current
from pipelines.resources import Workspace, other_data_folder
from pipelines.runs import rebuild, require_known
from pipelines.writer import single_writer

FOLDER = "as_known"
"""Of the data folder."""

SHOWN = 6


def run_as_known_then(date: datetime.date, *, say: Callable[[str], None]) -> tuple[Path, str]:
    """Make the release of a business date from what was delivered up to it.

    Returns the folder of its releases, and how it stands to the release of that date that was kept, for a person. Raises
    WhalecurveError when nothing was read for the date, or a step fails; then nothing is left behind.
    """
    workspace = Workspace.from_environment()
    company = workspace.company()
    require_known(company, date)
    if company.engine.elsewhere:
        raise WhalecurveError(
            "A date as it was known then is made in a data folder of its own, and the tables of Spark and of a DuckLake are of "
            "one data folder. Take that engine out of company.yml for this run: the rows are the same. Nothing was changed."
        )
    folder = workspace.data / FOLDER / date.isoformat()
    with single_writer(say, f"whalecurve run --date {date} --as-known then"):
        _require_read(workspace.raw, date)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _furnish(folder, workspace, date)
            with other_data_folder(folder):
                rebuild(say=say, publish_to_targets=False, tell=False, aside=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _keep_releases(folder)
    made = require_current(folder / "releases")
    return folder / "releases", _standing(made, releases(workspace.releases))


def _require_read(raw: Path, date: datetime.date) -> None:
    read = {path.parent.name.partition("=")[2] for path in raw.glob(f"*/*/*/{storage.LOAD_FILE}")}
    if date.isoformat() not in read:
        lying = f"Deliveries were read for {min(read)} to {max(read)}." if read else "No delivery was ever read."
        raise WhalecurveError(
            f"No delivery for {date} was read, so no release as of that date can be made again. {lying} Nothing was changed."
        )


def _furnish(folder: Path, workspace: Workspace, date: datetime.date) -> None:
    """What a run on that date found: raw files, earlier advice, both registers, and the release to be compared with."""
    for path in sorted(workspace.raw.glob(f"*/*/*/{storage.LOAD_FILE}")):
        if path.parent.name.partition("=")[2] <= date.isoformat():
            _link(path, folder / path.relative_to(workspace.data))
    for given in advice.dates(workspace.data, before=date):
        path = advice.folder(workspace.data) / f"{given.isoformat()}.parquet"
        _link(path, folder / path.relative_to(workspace.data))
    for register in (approvals.REGISTER, restatements.REGISTER):
        if (workspace.data / register).exists():
            shutil.copyfile(workspace.data / register, folder / register)
    before = earlier(workspace.releases, date)
    if before is not None and before.as_of < date:
        for path in sorted(path for path in before.path.rglob("*") if path.is_file()):
            _link(path, folder / path.relative_to(workspace.data))


def _link(path: Path, place: Path) -> None:
    """Another name for a file that is never written to; a copy where the disk has no such names."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def _keep_releases(folder: Path) -> None:
    """Remove everything but the release: it can all be made again, and nobody would look for it here."""
    current = require_current(folder / "releases").release_id
    for path in [*folder.iterdir(), *(folder / "releases").iterdir()]:
        if path.is_dir() and not path.is_symlink():
            if path.name not in ("releases", current):
                shutil.rmtree(path)
        elif path.parent == folder:
            path.unlink()


def _standing(made: Release, kept: list[Release]) -> str:
    """Whether the release is one that was kept, byte for byte, or in which files it differs from the last one of its date."""
    same_date = [release for release in kept if release.as_of == made.as_of]
    if not same_date:
        return f"No release as of {made.as_of} was kept, so there is nothing to hold it against."
    differing = {release.release_id: _differing(made, release) for release in same_date}
    for release in reversed(same_date):
        if not differing[release.release_id]:
            return (
                f"It is release {release.release_id} of {release.as_of}, byte for byte: tables, lists and pages, "
                f"{len(made.manifest['files']) - 1} files."
            )
    last = same_date[-1]
    names = differing[last.release_id]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"It is not release {last.release_id}, the last that was kept of {last.as_of}: {', '.join(names[:SHOWN])}{more} differ. "
        "Company files or code have changed since, a delivery was replaced, or that release was made with other deliveries."
    )


def _differing(made: Release, kept: Release) -> list[str]:
    """Files of which the two releases do not hold the same bytes.

    DuckDB gives each file it makes an identifier of its own; its tables are those of the Parquet files.
    """
    ours, theirs = (
        {name: entry["sha256"] for name, entry in release.manifest["files"].items() if name != DATABASE}
        for release in (made, kept)
    )
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
