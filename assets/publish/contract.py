"""The contract with everyone who reads a release: which tables there are, with which key, columns and types.

`contract.json` holds it with a version, and every release carries both. A change that may break a reader (a table or a column
gone, another type, another key) raises the first number of the version, an addition the second; the CHANGELOG's table names
it. Whether a release is what the contract says is tested, and `since` tells a reader what came between two.

    python -m assets.publish.contract RELEASE_FOLDER     writes contract.json anew from a release, and the version it needs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("contract.json")

Tables = Mapping[str, Mapping[str, Any]]
"""Table -> {"key": [column], "columns": {column: type}}."""


@dataclass(frozen=True)
class Change:
    """One difference between two contracts; breaking where a query written for the old one may fail or mean something else."""

    table: str
    what: str
    is_breaking: bool


def declared() -> dict[str, Any]:
    """{"version": "1.0", "tables": Tables} as this version of Whalecurve publishes it."""
    read: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return read


def of_release(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a release as its manifest describes them."""
    return {
        table: {"key": described["key"], "columns": {each["name"]: each["type"] for each in described["columns"]}}
        for table, described in sorted(manifest["tables"].items())
    }


def changes(old: Tables, new: Tables) -> list[Change]:
    """What is different in `new`, table by table. The order of columns is no part of the contract: readers name them."""
    found = [Change(table, "is gone", True) for table in sorted(set(old) - set(new))]
    found += [Change(table, "is new", False) for table in sorted(set(new) - set(old))]
    for table in sorted(set(old) & set(new)):
        before, after = old[table]["columns"], new[table]["columns"]
        found += [Change(table, f"column {name} is gone", True) for name in before if name not in after]
        found += [
            Change(table, f"column {name} was {before[name]} and is {after[name]}", True)
            for name in before
            if name in after and before[name] != after[name]
        ]
        found += [Change(table, f"column {name} is new", False) for name in after if name not in before]
        if list(old[table]["key"]) != list(new[table]["key"]):
            keys = [", ".join(each["key"]) or "none" for each in (old[table], new[table])]
            found.append(Change(table, f"the key was {keys[0]} and is {keys[1]}", True))
    return found


def next_version(version: str, found: list[Change]) -> str:
    """The version a contract with these changes has to have."""
    breaking, added = (int(part) for part in version.split("."))
    if any(change.is_breaking for change in found):
        return f"{breaking + 1}.0"
    return f"{breaking}.{added + 1}" if found else version


def main(release: str) -> None:
    """Write contract.json from a release."""
    tables = of_release(json.loads((Path(release) / "manifest.json").read_text(encoding="utf-8")))
    known = declared() if FILE.exists() else {"version": "1.0", "tables": tables}
    found = changes(known["tables"], tables)
    written = {"version": next_version(known["version"], found), "tables": tables}
    FILE.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print(f"Version {written['version']}.", *(f"{each.table}: {each.what}" for each in found), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
