"""What published tables say of people: which personal columns are in clear, pseudonyms or withheld.

The values themselves are made where the tables are, by the dbt macro `pseudonym`, so that the quality gate checks what is
published and all tables, lists and the report agree. Here it is only noted, for the manifest and for people, what was done.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from assets.company import PUBLISHABLE
from assets.ingest.contract import DROPPED, PiiClass
from assets.ingest.sql import identifier
from pipelines.resources import PSEUDONYM_KEY_VARIABLE, SHORTEST_KEY

PERSONAL: dict[str, tuple[PiiClass, str, str]] = {
    "customer_name": ("name", "facts.dim_customers", "names of customers"),
    "owner_ref": ("internal_user", "facts.dim_customers", "account managers"),
    "je_line_description": ("free_text", "facts.fct_ledger", "texts of ledger lines"),
}
"""Personal column of published tables -> its class, where the warehouse has it in clear, and what a person calls it."""

NAMED_BY_HASH = "name:"
"""Customer ids of those no source has a key for begin so; a hash of their name follows, keyed when there is a key."""

assert tuple(PERSONAL) == PUBLISHABLE


def privacy(connection: duckdb.DuckDBPyConnection, publish: Sequence[str], key: bytes | None) -> dict[str, Any]:
    """What the manifest notes: each personal column once, by what became of it, and a short fingerprint of the key."""
    became: dict[str, list[str]] = {"in_clear": [], "pseudonyms": [], "withheld": [], "dropped": []}
    for column, (pii, table, _) in PERSONAL.items():
        if column in publish:
            became["in_clear"].append(column)
        elif pii in DROPPED:
            became["dropped"].append(column)
        elif key is not None:
            became["pseudonyms"].append(column)
        elif _has_values(connection, table, column):
            became["withheld"].append(column)
    hashed = "customer_name" not in publish and key is None and _has_hashed_ids(connection)
    return {**became, "guessable_ids": hashed, "key_fingerprint": fingerprint(key)}


def fingerprint(key: bytes | None) -> str | None:
    """Eight hex digits that tell two keys apart and are of no use to make a pseudonym."""
    return None if key is None else hmac.new(key, b"fingerprint of the key", "sha256").hexdigest()[:8]


def notes(now: Mapping[str, Any]) -> list[str]:
    """What readers of a release must be told, one sentence each; `now` is what its manifest notes."""
    said = []
    if withheld := now.get("withheld"):
        shown = " and ".join(PERSONAL[column][2] for column in withheld if column in PERSONAL)
        said.append(
            f"Withheld: {shown}. Set {PSEUDONYM_KEY_VARIABLE} (at least {SHORTEST_KEY} characters, such as from "
            "`openssl rand -hex 32`) to publish pseudonyms instead, or list the column under privacy.publish in company.yml."
        )
    if now.get("guessable_ids"):
        said.append(
            f"Customers known by name alone have a hash of the name as their id ({NAMED_BY_HASH}...), which can be found by "
            f"trying names: {PSEUDONYM_KEY_VARIABLE} makes it a keyed one."
        )
    return said


def key_changed(now: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    """The sentence for a release made with another key than the one before it."""
    old, new = before.get("key_fingerprint"), now.get("key_fingerprint")
    if not old or not new or old == new:
        return None
    return (
        f"{PSEUDONYM_KEY_VARIABLE} is not the key of the release before ({old}, now {new}): the pseudonyms of the two do not "
        "match. Set the former key and run again, or tell those who join releases."
    )


def _has_values(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    row = connection.execute(f"select count({identifier(column)}) from {table}").fetchone()
    return bool(row and row[0])


def _has_hashed_ids(connection: duckdb.DuckDBPyConnection) -> bool:
    row = connection.execute(
        f"select count(*) from overview.customers where customer_id like '{NAMED_BY_HASH}%'"
    ).fetchone()
    return bool(row and row[0])
