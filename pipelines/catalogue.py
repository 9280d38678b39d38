"""`whalecurve docs`: the data catalogue of the current release, dbt's docs and Data Docs in one folder.

What the catalogue says is `assets/publish/catalogue.py`; here is where it is written, and dbt.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from assets import gate
from assets.errors import WhalecurveError
from assets.publish import catalogue
from assets.publish import release as releases
from pipelines.dbt import SILENT, invoke, manifest_path, parsed_manifest, project_arguments
from pipelines.resources import EXPECTATIONS, Workspace

FOLDER = "docs"
"""Of the data folder, unless the command says another."""

MARK = ".whalecurve-docs"
"""A folder that holds this file was written here, and may be replaced."""


def write(workspace: Workspace, output: Path | None) -> Path:
    """Write the catalogue of the current release; returns its page. A folder written earlier is replaced as a whole.

    Raises WhalecurveError without a release, and for a folder that holds something else.
    """
    folder = (output or workspace.data / FOLDER).absolute()
    if folder.exists() and not (folder / MARK).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WhalecurveError(
            f"{folder} holds something that `whalecurve docs` did not write. Name an empty folder with --output, or one that "
            "does not exist. Nothing was written."
        )
    release = releases.current(workspace.releases)
    if release is None:
        raise WhalecurveError(
            f"There is no release in {workspace.releases} to describe. Make one with `whalecurve run`. Nothing was written."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".docs-", dir=folder.parent) as aside:
        built = Path(aside) / FOLDER
        built.mkdir()
        suites = gate.load_suites(EXPECTATIONS)
        validated = catalogue.write_data_docs(built, release, suites)
        manifest = manifest_path()
        dbt = json.loads(manifest.read_text(encoding="utf-8"))
        _write_dbt_docs(built / catalogue.DBT_PAGE, manifest)
        found = catalogue.tables(release.manifest, catalogue.read_quality(release), dbt, suites, validated=validated)
        (built / catalogue.INDEX).write_text(catalogue.page(release, found), encoding="utf-8")
        (built / MARK).write_text(f"{release.release_id}\n", encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, Path(aside) / "former")
        os.rename(built, folder)
    return folder / catalogue.INDEX


def _write_dbt_docs(page: Path, manifest: Path) -> None:
    """dbt's docs as one file. From the project alone: types and rows of what was published are in the catalogue, and the
    warehouse may be in use."""
    with tempfile.TemporaryDirectory() as target:
        shutil.copy(manifest, target)
        written = ["docs", "generate", "--static", "--empty-catalog", "--no-compile", "--target-path", target]
        invoke([*written, *SILENT, *project_arguments()], manifest=parsed_manifest())
        shutil.copy(Path(target) / "static_index.html", page)
