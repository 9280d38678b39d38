"""What came since the release readers have: which deliveries, rule files and code differ. Said when the gate says no.

Whether a difference is the cause a person has to judge; what is not in the list is not the cause. Two releases are compared by
`diff.py`, with the same questions. Not here: what the gate found (`assets/gate.py`, `comparisons.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import duckdb

from assets.publish.diff import SHOWN, code_text, delivered_between, file_of, rule_changes, rules_text
from assets.publish.release import DELIVERIES, DELIVERIES_RELATION, Release


def changed_since(
    connection: duckdb.DuckDBPyConnection,
    last: Release | None,
    *,
    hashes: Mapping[str, str],
    git_sha: str,
    deliveries: str = DELIVERIES_RELATION,
) -> str:
    """What differs between the last release and the warehouse, a few lines for a person; empty before the first release.

    `hashes` are those of the company folder now (`company_hashes`), `git_sha` the code's commit. Nothing is raised for a release
    that cannot be read: the gate's own reason must not be lost for it, so the text says what is not known.
    """
    if last is None:
        return ""
    try:
        data = _data(connection, last, deliveries)
        manifest = last.manifest
        rules = rules_text(rule_changes(manifest["hashes"], hashes), manifest["hashes"], hashes)
        code = code_text(manifest["git_sha"], git_sha)
    except (duckdb.Error, KeyError, OSError) as error:
        return f"What changed since release {last.release_id} cannot be said: {type(error).__name__}: {error}"
    return "\n".join([f"Since release {last.release_id}, as of {last.as_of}:", *data, *rules, code])


def _data(connection: duckdb.DuckDBPyConnection, last: Release, deliveries: str) -> list[str]:
    if DELIVERIES not in last.manifest["tables"]:
        return ["data    not known: that release does not say what it was made of"]
    rows = delivered_between(connection, file_of(last, DELIVERIES), deliveries)
    loads = [_load(key, list(files)) for key, files in groupby(rows, key=lambda row: row[:4])]
    counts = {what: sum(row[0] == what for row in rows) for what in ("added", "changed", "removed")}
    counted = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    more = [f"  and {len(loads) - SHOWN:,} more"] if len(loads) > SHOWN else []
    return [f"data    {counted + ' deliveries' if counted else 'the same deliveries'}", *loads[:SHOWN], *more]


def _load(key: Sequence[Any], files: Sequence[Sequence[Any]]) -> str:
    """One line per source, entity and date: counts of rows are known of these, not of each file."""
    what, source, entity, date = key
    name, was, now = files[0][4:]
    named = name if len(files) == 1 else f"{name} and {len(files) - 1} more"
    rows = f"{was:,} rows and now {now:,} rows" if what == "changed" else f"{now if what == 'added' else was:,} rows"
    return f"  {what:<8} {source} {entity} {date} {named}, {rows}"
