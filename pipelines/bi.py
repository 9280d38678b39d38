"""Starting Superset on the releases of this company, in its own environment.

Belongs here: what has to be there before (a release, the environment, secrets of its own), and handing over. Not here: what
Superset does then (bi/start.py), nor what the dashboards show (bi/export).
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from assets.company import PostgresTarget, Target
from assets.errors import WhalecurveError
from assets.publish.bi_bundle import Place, bundle
from assets.publish.release import DATABASE, POINTER, require_current
from pipelines.resources import PROJECT_ROOT, bi_environment, target_secrets

ENVIRONMENT = PROJECT_ROOT / ".venv-bi"
START = PROJECT_ROOT / "bi" / "start.py"
SECRETS = {"secret_key": 48, "password": 12}
"""File -> bytes of chance: what signs sessions, and what the first user signs in with."""


def become(data: Path, targets: Mapping[str, Target], port: int) -> NoReturn:
    """Become the server of the dashboards, on the loopback address. Raises WhalecurveError saying what is missing."""
    require_current(data / "releases")
    interpreter = ENVIRONMENT / "bin" / "python"
    if not interpreter.exists():
        raise WhalecurveError(f"Superset is not installed in {ENVIRONMENT}. `make bi` installs and starts it.")
    home = data / "bi"
    home.mkdir(mode=0o700, exist_ok=True)
    for name, size in SECRETS.items():
        _make_once(home / name, size)
    (home / "bundle.zip").write_bytes(bundle(places(data / "releases", targets)))
    sys.stdout.flush()
    os.execve(interpreter, [str(interpreter), str(START), str(port)], bi_environment(home))


def places(releases: Path, targets: Mapping[str, Target]) -> list[Place]:
    """The DuckDB file of the current release, and every PostgreSQL target whose address is in the environment."""
    found = [Place(f"duckdb:///{releases.resolve() / POINTER / DATABASE}")]
    for name, target in sorted(targets.items()):
        if isinstance(target, PostgresTarget) and target_secrets(name).get("URL"):
            found.append(Place(f"postgresql+psycopg2://{name}.target.whalecurve/", name, target.db_schema))
    return found


def _make_once(file: Path, size: int) -> None:
    """A secret in a file that its owner alone can read, made by the first who asks."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with open(descriptor, "w", encoding="utf-8") as into:
        into.write(secrets.token_urlsafe(size) + "\n")
