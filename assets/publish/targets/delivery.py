"""Bringing the targets of a company to the current release, and what each kind of target needs to be told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from assets.company import FolderTarget, ObjectTarget, PostgresTarget, Target
from assets.errors import ConfigurationError, WhalecurveError
from assets.publish.release import Release, verify

EXTRA_MISSING = (
    "Publishing to this target needs an optional extra that is not installed here ({module} is missing). Install it with: "
    "pip install 'whalecurve[targets]' - or in a checkout: pip install -e '.[targets]'. The release in the data folder is made "
    "without it."
)


class TargetError(WhalecurveError):
    """A target could not be brought to a release: names the target and the reason. What readers had there, they have."""


class ReleaseDamaged(TargetError):
    """The release itself is not as it was published: no target can be brought to it, however often it is tried."""


@dataclass(frozen=True)
class Delivered:
    """What became of one target. `was` is the release readers found there before, None where there was none."""

    target: str
    place: str
    release_id: str
    was: str | None

    @property
    def is_new(self) -> bool:
        """Whether anything had to be done."""
        return self.was != self.release_id


@dataclass(frozen=True, repr=False)
class Secrets:
    """What the environment says of one target, WHALECURVE_TARGET_<NAME>_<KEY>; never shown, never stored."""

    prefix: str
    values: Mapping[str, str]

    def get(self, key: str) -> str | None:
        return self.values.get(key)

    def require(self, key: str, meaning: str) -> str:
        """A value that has to be there. Raises ConfigurationError saying what to set."""
        value = self.values.get(key)
        if not value:
            raise ConfigurationError(
                f"{self.prefix}{key} is not set: {meaning}. It is read from the environment only, so that no secret lies in a "
                "file of the company. The release in the data folder is made and current."
            )
        return value


def deliver(name: str, target: Target, release: Release, secrets: Secrets) -> Delivered:
    """Make `release` the one that readers of the target get. Doing it again changes nothing.

    Raises TargetError or ConfigurationError naming the target; readers there then have what they had.
    """
    if problems := verify(release.path):
        raise ReleaseDamaged(
            f"Target {name}: release {release.release_id} is damaged and was not delivered: {'; '.join(problems)}."
        )
    return _DELIVER[type(target)](name, target, release, secrets)


def withdraw(name: str, target: Target, kept: Collection[str], secrets: Secrets) -> list[str]:
    """Remove from a target every release that is neither among `kept` (ids) nor current there; returns the ids.

    PostgreSQL holds the current release alone. Raises TargetError or ConfigurationError naming the target.
    """
    if isinstance(target, FolderTarget):
        from assets.publish.targets import folder

        return folder.withdraw(name, target, kept)
    if isinstance(target, ObjectTarget):
        from assets.publish.targets import objects

        return objects.withdraw(name, target, kept, secrets)
    return []


def _to_folder(name: str, target: FolderTarget, release: Release, secrets: Secrets) -> Delivered:
    from assets.publish.targets import folder

    return folder.deliver(name, target, release)


def _to_postgres(name: str, target: PostgresTarget, release: Release, secrets: Secrets) -> Delivered:
    from assets.publish.targets import postgres

    return postgres.deliver(name, target, release, secrets)


def _to_objects(name: str, target: ObjectTarget, release: Release, secrets: Secrets) -> Delivered:
    from assets.publish.targets import objects

    return objects.deliver(name, target, release, secrets)


_DELIVER: Mapping[type, Callable[..., Delivered]] = {
    FolderTarget: _to_folder,
    PostgresTarget: _to_postgres,
    ObjectTarget: _to_objects,
}
