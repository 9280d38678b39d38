"""A folder somewhere else, such as a share: the release as it is, and `current` swapped by an atomic rename."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from assets.company import FolderTarget
from assets.publish import release as releases
from assets.publish.release import Release
from assets.publish.targets.delivery import Delivered, TargetError


def deliver(name: str, target: FolderTarget, release: Release) -> Delivered:
    """Copy the release beside those that are there, check it, point `current` to it, and remove all but the newest."""
    place = Path(target.path)
    with _reached(name, place):
        place.mkdir(parents=True, exist_ok=True)
        with releases.only_publisher(place):
            was = releases.current(place)
            copy = place / release.release_id
            if not copy.is_dir() or releases.verify(copy):
                _copy(release.path, copy)
            releases.point_to(
                place, release.release_id, action="deliver", run_id=str(release.manifest.get("run_id", ""))
            )
        releases.prune(place, target.keep)
    return Delivered(name, str(place), release.release_id, was.release_id if was else None)


def withdraw(name: str, target: FolderTarget, kept: Collection[str]) -> list[str]:
    """Remove the releases that are neither among `kept` nor the current one; returns their ids."""
    place = Path(target.path)
    with _reached(name, place):
        there = [release.release_id for release in releases.releases(place)]
        return releases.erase(place, set(there) - set(kept))


@contextlib.contextmanager
def _reached(name: str, place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(
            f"Target {name}: {place} cannot be written ({error.strerror or error}). Readers there have the release they had. "
            "Free space or correct the permissions, then run `whalecurve deliver`."
        ) from error


def _copy(source: Path, final: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=releases.BUILDING, dir=final.parent))
    try:
        copied = aside / final.name
        shutil.copytree(source, copied)
        if problems := releases.verify(copied):
            raise TargetError(
                f"{final.parent}: the copy is not what was read: {'; '.join(problems)}. Nothing was changed there."
            )
        releases.flush(copied)
        if final.exists():
            releases.discard(final)
        os.rename(copied, final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
