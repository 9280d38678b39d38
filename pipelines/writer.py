"""One writer of a data folder at a time: the lock that commands hold, and the runs of the UI and the schedule as well.

    <data>/.run.lock      locked by the operating system while somebody writes; the lock ends with the process, however that ends
    <data>/.run.holder    who that is (JSON), there while the lock is held and after a process was killed

The system's lock orders the processes of one machine. Not every shared file system passes it on to another machine, so the
second file, which is created or not by one step on all of them, keeps a second machine out. Readers of releases need neither.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._utils.interrupts import check_captured_interrupt

from assets.errors import WhalecurveError
from pipelines.event_log import quick_event_log
from pipelines.resources import MACHINE_VARIABLE, data_folder, machine, warehouse_kept_open

LOCK = ".run.lock"
HOLDER = ".run.holder"
LOOK_AGAIN = 0.2
"""Seconds between two tries: what waits must notice that somebody wants it to end."""
BUSY = (errno.EAGAIN, errno.EACCES)


@dataclass(frozen=True)
class Holder:
    """Who writes, or wrote when it was killed: machine, process there, what it does, and since when (UTC, to the second)."""

    machine: str
    pid: int
    what: str
    since: str

    def __str__(self) -> str:
        return f"{self.what} (process {self.pid} on {self.machine}, since {self.since})"


class OtherMachine(WhalecurveError):
    """The data folder is another machine's; the message says whose, since when, and what to do if it is gone."""


def holder(data: Path) -> Holder | None:
    """Who holds the data folder by its own account, or None. A killed process stays named until somebody writes again."""
    try:
        return Holder(**json.loads((data / HOLDER).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return Holder("an unknown machine", 0, "a run", "an unknown time")


def is_locked(data: Path) -> bool:
    """Whether a process of this machine is writing; asking takes nothing from anybody."""
    try:
        with (data / LOCK).open("r") as lock:
            return not _try_lock(lock)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def single_writer(
    say: Callable[[str], object], what: str = "a command", *, may_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the data folder; whoever comes second waits here, and says so, instead of failing at the warehouse's own lock.

    `may_wait` is asked again and again while waiting and ends it by raising. Raises OtherMachine when the folder is being written
    by another machine, or was when that died.
    """
    folder = data_folder()
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(_locked(folder, say, may_wait))
            since = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
            _sign(folder, Holder(machine(), os.getpid(), what, since))
        except OSError as error:
            raise WhalecurveError(
                f"The data folder {folder} cannot be written to ({error.strerror or error}): {error.filename or folder}. Make "
                "room or give this account the right to write there, then run again. Nothing was changed."
            ) from None
        held.callback((folder / HOLDER).unlink, missing_ok=True)
        yield


def _locked(folder: Path, say: Callable[[str], object], may_wait: Callable[[], None]) -> IO[str]:
    """The lock file, locked by this process."""
    waiting = False
    while True:
        lock = (folder / LOCK).open("a")
        with contextlib.ExitStack() as tried:
            tried.callback(lock.close)
            if _try_lock(lock) and _is_there(lock, folder / LOCK):
                tried.pop_all()
                return lock
        _refuse_other_machine(folder)
        if not waiting:
            waiting = True
            by = holder(folder)
            say(f"Another run is using this data folder{f': {by}' if by else ''}; waiting for it to end.")
        may_wait()
        time.sleep(LOOK_AGAIN)


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            return False
        raise WhalecurveError(
            f"{lock.name} cannot be locked ({error.strerror}): this file system has no locks, and without one two runs could "
            "write at once. Put the data folder on a local disk, or on a share that has them (NFS 4). Nothing was changed."
        ) from None
    return True


def _is_there(lock: IO[str], path: Path) -> bool:
    """Whether the locked file is still the one of that name: who deletes it makes others lock another file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    return False


def _sign(folder: Path, mine: Holder) -> None:
    """Put our name on the folder, in one step that only one machine can take."""
    _refuse_other_machine(folder)
    (folder / HOLDER).unlink(missing_ok=True)  # of a process of this machine that was killed: we have its lock
    aside = folder / f"{HOLDER}-{mine.pid}"
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(mine)))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(
                aside, folder / HOLDER
            )  # unlike a rename it fails where there is one, and it is whole from the start
        except FileExistsError:
            _refuse_other_machine(folder)
            raise
        except OSError:  # no hard links here: two machines that begin in the same moment would not see each other
            os.replace(aside, folder / HOLDER)
    finally:
        aside.unlink(missing_ok=True)


def _refuse_other_machine(folder: Path) -> None:
    by = holder(folder)
    if by is None or by.machine == machine():
        return
    raise OtherMachine(
        f"The data folder {folder} is in use by {by}, and this is {machine()}: one machine at a time may write there. Wait for "
        f"that run to end. If it ended without a word (a power cut, a container that was removed), delete {folder / HOLDER} "
        f"and run again. Containers that share one machine's disk are one machine: give all of them the same {MACHINE_VARIABLE}. "
        "Nothing was changed."
    )


class _OneWriter(InProcessExecutor):
    """Steps in the run's own process, one after the other, while it holds the data folder."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        def may_wait() -> None:
            if check_captured_interrupt():
                raise DagsterExecutionInterruptedError

        what = f"run {plan_context.dagster_run.run_id[:8]} of the Dagster UI or its schedule"
        with single_writer(plan_context.log.info, what, may_wait=may_wait), quick_event_log(), warehouse_kept_open():
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="one_writer")
def one_writer(_init: object) -> InProcessExecutor:
    """The executor of runs that the UI, a schedule or a sensor starts; the command holds the lock itself."""
    return _OneWriter(retries=RetryMode.ENABLED)
