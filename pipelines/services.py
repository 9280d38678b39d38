"""The parts of Dagster as services: what each is started with, the same under systemd, in a container, or by hand.

code        loads the assets; runs happen below it, so that webserver and daemon may be restarted while one is at work
webserver   the UI; listens on this machine only unless told otherwise, since it asks nobody who they are
daemon      schedules, sensors, the run queue
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from pipelines.resources import PROJECT_ROOT, quiet_child_environment
from pipelines.runs import prepare_instance

PARTS = ("code", "webserver", "daemon")
HOST, PORTS = "127.0.0.1", {"code": 4266, "webserver": 3000}
CODE = f"{HOST}:{PORTS['code']}"
LOCATION = "whalecurve"
WORKSPACE = PROJECT_ROOT / "deploy" / "workspace.yaml"
CODE_HOST, CODE_PORT = "WHALECURVE_CODE_HOST", "WHALECURVE_CODE_PORT"
"""Where deploy/workspace.yaml looks for the code."""


def service(
    part: str, *, host: str = HOST, port: int | None = None, read_only: bool = False, code: str = CODE
) -> tuple[list[str], Mapping[str, str]]:
    """The arguments of Python and what to add to the environment. `code` is HOST:PORT of the code service."""
    listens = ["--host", host, "--port", str(port or PORTS.get(part, 0))]
    if part == "code":
        loaded = ["--module-name", "pipelines.definitions", "--working-directory", str(PROJECT_ROOT)]
        return ["-m", "dagster", "code-server", "start", *loaded, "--location-name", LOCATION, *listens], {}
    code_host, _, code_port = code.rpartition(":")
    found = {CODE_HOST: code_host, CODE_PORT: code_port}
    workspace = ["--workspace", str(WORKSPACE)]
    if part == "daemon":
        return ["-m", "dagster._daemon", "run", *workspace], found
    return ["-m", "dagster_webserver", *workspace, *listens, *(["--read-only"] if read_only else [])], found


def become(part: str, **options: object) -> NoReturn:
    """Turn this process into the service, so that whoever started it has one process to stop."""
    prepare_instance()
    arguments, added = service(part, **options)  # type: ignore[arg-type]
    os.chdir(PROJECT_ROOT)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *arguments], {**quiet_child_environment(), **added})
