"""Live pull: fetch what a system holds into landing/<source>/<date>/, in the shape a person would deliver files in.

Pulling lands and reading reads: the files are what the source's dialect expects, so there is one path of mapping. The
connectors (`pull_database`, `pull_salesforce`) write files into a folder aside; here that folder becomes the delivery in
whole, and only then is written down how far each object was pulled. Needs the optional extra `whalecurve[pull]`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import html
import json
import os
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.company import Company, Pull, SalesforcePull
from assets.errors import WhalecurveError
from assets.ingest.storage import flush
from assets.yaml_files import shown_path

Say = Callable[[str], None]

HIDDEN = "***"
NO_SECRETS = ("USERNAME", "DOMAIN")
SECRET_PARTS = (
    re.compile(r"//[^:/?#]*:(.*)@"),
    re.compile(r"[?&][^=&]*(?:pass|secret|token|key)[^=&]*=([^&#]+)", re.IGNORECASE),
)
"""Where an address may hold a password. Not `urlsplit`: it refuses some addresses whole."""
EXTRA_MISSING = (
    "Pulling from live systems needs an optional extra that is not installed here ({module} is missing). "
    "Install it with: pip install 'whalecurve[pull]' - or in a checkout: pip install -e '.[pull]'. "
    "Delivering files by hand needs nothing of it."
)


class PullError(WhalecurveError):
    """A pull stopped: names the source, the object and the reason. The landing folder is as it was."""


@dataclass(frozen=True, repr=False)
class Credentials:
    """What the environment says of one source; never shown, never stored."""

    prefix: str
    values: Mapping[str, str]

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def require(self, name: str, meaning: str) -> str:
        """The value of <prefix><name>. Raises PullError saying which variable to set."""
        value = self.values.get(name)
        if value is None:
            raise PullError(f"Set the environment variable {self.prefix}{name} to {meaning}. Nothing was pulled.")
        return value

    def hidden(self, text: str) -> str:
        """`text` without anything secret in it, in whatever way a library may have written it."""
        secrets = {value for name, value in self.values.items() if name not in NO_SECRETS}
        for value in [*secrets]:
            for pattern in SECRET_PARTS:
                secrets.update(pattern.findall(value))
        secrets |= {
            unquote(value) for value in secrets for unquote in (urllib.parse.unquote, urllib.parse.unquote_plus)
        }
        written = (
            urllib.parse.quote,
            urllib.parse.quote_plus,
            html.escape,
            lambda value: html.escape(value, quote=False),
        )
        secrets |= {quoted(value) for value in secrets for quoted in written}
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text


@dataclass(frozen=True)
class Reached:
    """How far an object was pulled: the column that grows with every change, its kind, and the last value seen."""

    cursor: str
    kind: str
    value: str


@dataclass(frozen=True)
class Landed:
    """One file a connector wrote."""

    file: str
    rows: int
    reached: Reached | None


@dataclass(frozen=True)
class State:
    """How far a source was pulled, as of its last delivery; kept in <data>/pull/<source>.json.

    `before` is where that delivery began. Pulling its date again begins there too, since it replaces the delivery.
    """

    date: datetime.date
    files: list[str]
    before: dict[str, Reached]
    reached: dict[str, Reached]

    @classmethod
    def read(cls, path: Path) -> State | None:
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            before, reached = (
                {name: Reached(**value) for name, value in content[part].items()} for part in ("before", "reached")
            )
            return cls(datetime.date.fromisoformat(content["date"]), list(content["files"]), before, reached)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise PullError(
                f"{shown_path(path)} is not what a pull wrote. Delete it: the next pull then fetches everything, which "
                "changes nothing that was read before. Nothing was pulled."
            ) from None

    def write(self, path: Path) -> None:
        """Beside `path`, then renamed: a pull that is killed leaves the former state."""
        aside = path.with_name(f".{path.name}.tmp")
        content = {**dataclasses.asdict(self), "date": self.date.isoformat()}
        aside.write_text(json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        flush(aside)
        os.replace(aside, path)
        flush(path.parent)


def pull(
    company: Company,
    source: str,
    date: datetime.date,
    *,
    landing: Path,
    states: Path,
    credentials: Credentials,
    placing: Callable[[], contextlib.AbstractContextManager[None]],
    say: Say,
) -> list[Landed]:
    """Fetch `source` into its landing folder of `date`, in place of what an earlier pull left there.

    What changed since the pull before is fetched, with the overlap company.yml asks for; everything the first time.
    `placing` is entered while files are moved into place: no run may read the landing folder then. Raises PullError.
    """
    setting = _setting(company, source)
    states.mkdir(parents=True, exist_ok=True)
    delivery = landing / source / date.isoformat()
    with _alone(states / f".{source}.lock", source):
        _mend(delivery.parent)
        state_file = states / f"{source}.json"
        state = State.read(state_file)
        since = _since(source, date, state, delivery.parent)
        _require_own(delivery, setting, state if state and state.date == date else None)
        aside = delivery.with_name(f".{date}.pulling")
        aside.mkdir(parents=True)
        try:
            landed = _land(setting, source, aside, since, credentials, say)
            for name in (*(file.file for file in landed.values()), "."):
                flush(aside / name)
            with placing():
                _put_in_place(aside, delivery)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        reached = {name: file.reached for name, file in landed.items() if file.reached}
        begun = {name: value for name, value in since.items() if name in landed}
        State(date, [file.file for file in landed.values()], begun, reached).write(state_file)
    return list(landed.values())


def _setting(company: Company, source: str) -> Pull:
    pulled = [name for name, found in company.sources.items() if found.pull]
    asked = company.sources.get(source)
    if asked is None or asked.pull is None:
        what = "is not a source of company.yml" if asked is None else "has no `pull:` in company.yml"
        known = f"Sources that can be pulled: {', '.join(pulled)}." if pulled else "No source there has one."
        raise PullError(f"'{source}' {what}, so there is nothing to pull. {known} Nothing was pulled.")
    return asked.pull


def _since(source: str, date: datetime.date, state: State | None, deliveries: Path) -> dict[str, Reached]:
    """Where the pull of `date` begins, by object. Raises PullError for a date before the last one pulled."""
    if state is None or not (deliveries / state.date.isoformat()).is_dir():
        return {}  # the delivery that held all before is gone: begin anew
    if date < state.date:
        raise PullError(
            f"{source} was pulled for {state.date} already, and a live system tells only what it holds now: filed under "
            f"{date}, that would be called older than it is. Pull {state.date} again or a later date. Nothing was pulled."
        )
    return state.before if date == state.date else state.reached


def _require_own(delivery: Path, setting: Pull, state: State | None) -> None:
    """A pull replaces what a pull wrote and nothing else."""
    if not delivery.is_dir():
        return
    if isinstance(setting, SalesforcePull):
        own = {f"{name}.csv" for name in setting.objects}
    else:
        own = {f"{name}.parquet" for name in setting.tables}
    own.update(state.files if state else [])
    strange = sorted(path.name for path in delivery.iterdir() if path.name not in own and not path.name.startswith("."))
    if strange:
        raise PullError(
            f"{shown_path(delivery)} holds files that no pull wrote ({', '.join(strange[:5])}), and a pull would replace "
            "the folder. Move them to a source of their own, or pull another date. Nothing was pulled."
        )


def _land(
    setting: Pull, source: str, aside: Path, since: Mapping[str, Reached], credentials: Credentials, say: Say
) -> dict[str, Landed]:
    """Let the connector write its files; whatever goes wrong there is one sentence without secrets."""
    try:
        if isinstance(setting, SalesforcePull):
            from assets.ingest.pull_salesforce import land_objects

            return land_objects(setting, aside, since, credentials, say)
        from assets.ingest.pull_database import land_tables

        return land_tables(setting, aside, since, credentials, say)
    except PullError as error:
        raise PullError(f"{source}: {credentials.hidden(str(error))}") from None
    except ImportError as error:
        raise PullError(EXTRA_MISSING.format(module=error.name or "a library")) from None
    except Exception as error:
        # A library's own error may quote an address with its password, so it is never shown as it is.
        reason = credentials.hidden(reason_of(error)).rstrip(". ")
        raise PullError(f"{source}: the pull stopped: {reason}. The landing folder is as it was.") from None


def reason_of(error: BaseException) -> str:
    """What the innermost error says, without the libraries around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    said: Any = getattr(error, "orig", None) or error
    return " ".join(str(said).split()) or type(said).__name__


@contextlib.contextmanager
def _alone(lock: Path, source: str) -> Iterator[None]:
    """One pull of a source at a time; the lock is the operating system's and ends with the process."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PullError(f"Another pull of {source} is under way: wait for it to end. Nothing was pulled.") from None
        yield


def _put_in_place(aside: Path, delivery: Path) -> None:
    """Make the folder the delivery. Killed between the two renames there is none, and `_mend` brings the former back."""
    former = delivery.with_name(f".{delivery.name}.former")
    if delivery.exists():
        os.rename(delivery, former)
    os.rename(aside, delivery)
    flush(delivery.parent)
    shutil.rmtree(former, ignore_errors=True)


def _mend(deliveries: Path) -> None:
    """Clear up after a pull that was killed."""
    for former in deliveries.glob(".*.former"):
        delivery = deliveries / former.name.removeprefix(".").removesuffix(".former")
        if delivery.exists():
            shutil.rmtree(former)
        else:
            os.rename(former, delivery)
    for aside in deliveries.glob(".*.pulling"):
        shutil.rmtree(aside)
