"""The dashboards of bi/export as one bundle that Superset imports, once for each place where readers find the release.

The files as they are read the DuckDB file of the current release. For a PostgreSQL target everything gets a second time, under
ids and titles of its own, on the target's schema. Belongs here: rewriting what is shipped. Not here: what a dashboard shows (the
files), nor starting Superset (pipelines/bi.py).
"""

from __future__ import annotations

import io
import re
import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

EXPORT = Path(__file__).parents[2] / "bi" / "export"
METADATA = "metadata.yaml"
ROOT = "whalecurve"
"""Folder of everything in a bundle, as Superset wants it."""
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Place:
    """Where a release is read. `uri` is SQLAlchemy's, without a secret; `name` and `schema` are those of a target, None for the
    release in the data folder."""

    uri: str
    name: str | None = None
    schema: str | None = None


def bundle(places: Iterable[Place], export: Path = EXPORT) -> bytes:
    """The zip file of all dashboards at all places. Same files and places, same contents."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as into:
        into.writestr(f"{ROOT}/{METADATA}", (export / METADATA).read_text(encoding="utf-8"))
        for place in places:
            for file in sorted(export.glob("*/**/*.yaml")):
                path = file.relative_to(export)
                aside = path.with_stem(f"{path.stem}_{place.name}") if place.name else path
                written = yaml.safe_dump(at(place, path, file.read_text(encoding="utf-8")), sort_keys=False)
                into.writestr(f"{ROOT}/{aside.as_posix()}", written)
    return packed.getvalue()


def at(place: Place, path: Path, text: str) -> dict[str, Any]:
    """One file of the export as it is for a place."""
    if place.name:
        name = place.name
        text = ID.sub(lambda found: str(uuid.uuid5(uuid.UUID(found[0]), name)), text)
    read: dict[str, Any] = yaml.safe_load(text)
    kind = path.parts[0]
    if kind == "databases":
        read["sqlalchemy_uri"] = place.uri
    if place.name:
        if kind == "databases":
            read["database_name"] += f" ({place.name})"
        elif kind == "datasets":
            # Superset on SQLite lets a name stand for one dataset only: the target's is a query under a name of its own.
            read["sql"] = read["sql"] or f"select * from {read['table_name']}"
            read["table_name"] += f"_{place.name}"
            read["schema"] = place.schema
        elif kind == "dashboards":
            read["dashboard_title"] += f" ({place.name})"
            read["slug"] += f"-{place.name}"
            read["position"]["HEADER_ID"]["meta"]["text"] = read["dashboard_title"]
    return read
