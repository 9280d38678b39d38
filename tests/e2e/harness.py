"""The command in child processes of one that has its libraries loaded already: the same code, without ten seconds of
imports and dbt parsing each time.

`python harness.py` reads one JSON array a line (arguments, files for what is printed, working directory), forks, answers with
the child's process id and, when it has ended, with its exit status (minus the signal's number when it was killed). `Warm` and
`Company` are the face of it for tests.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DEMO = PROJECT / "companies" / "demo"
DAYS = ("2026-05-31", "2026-06-01", "2026-06-02")
"""The full extract and two days of changes: the demo's ledger ties out after each day, given all before it."""


@dataclass
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


class Running:
    """A command on its way; `stderr` grows while it runs."""

    def __init__(self, server: subprocess.Popen[str], arguments: list[str], folder: Path, cwd: Path) -> None:
        self._server = server
        self._files = folder / "stdout", folder / "stderr"
        request = json.dumps([arguments, *(str(file) for file in self._files), str(cwd)])
        assert server.stdin
        assert server.stdout
        server.stdin.write(request + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    @property
    def stderr(self) -> str:
        return self._files[1].read_text(errors="replace") if self._files[1].exists() else ""

    @property
    def alive(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def wait(self) -> Done:
        assert self._server.stdout
        status = int(self._server.stdout.readline())
        return Done(status, self._files[0].read_text(), self.stderr)


class Warm:
    """Runs `whalecurve` on a company and a data folder."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=PROJECT,
            env={**environment(), "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: str, cwd: Path = PROJECT) -> Running:
        self._count += 1
        folder = Path(self._scratch.name) / str(self._count)
        folder.mkdir()
        return Running(self._server, list(arguments), folder, cwd)

    def __call__(self, *arguments: str) -> Done:
        return self.start(*arguments).wait()

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._scratch.cleanup()


class Company:
    """The command on one company and data folder."""

    def __init__(self, warm: Warm, company: Path, data: Path) -> None:
        self.warm = warm
        self.company = company
        self.data = data

    def _folders(self) -> list[str]:
        return ["--company", str(self.company), "--data", str(self.data)]

    def start(self, *arguments: str) -> Running:
        return self.warm.start(*arguments, *self._folders())

    def __call__(self, *arguments: str, check: bool = True) -> Done:
        done = self.warm(*arguments, *self._folders())
        if check:
            assert done.returncode == 0, f"whalecurve {' '.join(arguments)}: {done.returncode}\n{done.stderr}"
        return done

    def cold(self, *arguments: str) -> Done:
        """The command exactly as a person starts it."""
        command = [sys.executable, "-m", "pipelines.cli", *arguments, *self._folders()]
        done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def copied_to(self, data: Path) -> Company:
        """The same company on a copy of its data folder."""
        shutil.copytree(self.data, data, symlinks=True)
        return Company(self.warm, self.company, data)

    @property
    def release_id(self) -> str | None:
        pointer = self.data / "releases" / "current"
        return os.readlink(pointer) if pointer.is_symlink() else None

    def deliver(self, landing: Path, *days: str) -> None:
        """Copy the deliveries of the days (default: all)."""
        for folder in sorted(landing.glob("*/*")):
            if not days or folder.name in days:
                target = self.data / "landing" / folder.relative_to(landing)
                shutil.copytree(folder, target, dirs_exist_ok=True)


def environment() -> dict[str, str]:
    """This process's, without a choice of folders."""
    private = ("DAGSTER_HOME", "WHALECURVE_COMPANY", "WHALECURVE_DATA")
    return {name: value for name, value in os.environ.items() if name not in private}


def tree(folder: Path) -> dict[str, str]:
    """Every file and link below a folder with a hash of its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # All but pipelines.definitions, which reads company and data folder when it is imported: the child does that.
    libraries = (
        "alembic.command",
        "dagster._core.execution.api",
        "dagster._core.storage.event_log.sqlite",
        "dagster._core.storage.runs.sqlite",
        "dbt.adapters.duckdb",
        "dbt.cli.main",
        "dbt.task.build",
        "great_expectations",
        "matplotlib.figure",
        "rapidfuzz.process",
        "sklearn.ensemble",
        "sklearn.linear_model",
    )
    own = (
        "assets.ingest.raw",
        "assets.publish.release_asset",
        "assets.quality_gate",
        "pipelines.cli",
        "pipelines.runs",
    )
    studies = ("action", "growth", "model", "pool", "profit", "relationship")
    for module in (*libraries, *own, *(f"assets.analytics.{name}_studies" for name in studies)):
        importlib.import_module(module)
    import pipelines.cli
    import pipelines.dbt

    pipelines.dbt.parsed_manifest()
    for line in sys.stdin:
        arguments, stdout, stderr, cwd = json.loads(line)
        child = os.fork()
        if child == 0:
            answers.close()
            os.chdir(cwd)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 1)
            os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
            _run(pipelines.cli.main, arguments)
        answers.write(f"{child}\n")
        answers.flush()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.write(f"{status}\n")
        answers.flush()


def _run(main, arguments: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Like `sys.exit(main(...))` in a process of its own."""
    import signal
    import traceback

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    _serve()
