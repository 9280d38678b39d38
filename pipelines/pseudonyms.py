"""The dbt-duckdb plugin that gives every session of dbt the pseudonym key, and nothing else.

As a variable of the session the key reaches the macro `keyed_hash` without standing in compiled SQL, a log or a table.
"""

from __future__ import annotations

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from pipelines.resources import pseudonym_key

BLOCK = 64
"""Bytes of a block of SHA-256: HMAC pads the key to it."""


def padded_keys(key: bytes | None) -> dict[str, bytes | None]:
    """The two padded forms of HMAC's key (RFC 2104), `inner` and `outer`; None without a key."""
    from hashlib import sha256

    block = None if key is None else (sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
    pads = {"inner": 0x36, "outer": 0x5C}
    return {name: None if block is None else bytes(byte ^ pad for byte in block) for name, pad in pads.items()}


def set_key(session: duckdb.DuckDBPyConnection, key: bytes | None) -> None:
    """Make the two padded forms of the key variables of the session; null without a key."""
    for name, value in padded_keys(key).items():
        session.execute(f"set variable whalecurve_{name}_key = ?", [value])


class Plugin(BasePlugin):
    """Named in dbt_project/profiles.yml."""

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        set_key(cursor, pseudonym_key())
