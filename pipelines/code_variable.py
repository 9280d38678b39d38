"""The dbt-duckdb plugin that gives every session of dbt the identity of the code, and nothing else.

Read by the macros of dbt_project/macros/incremental.sql: what other code built is built anew.
"""

from __future__ import annotations

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from pipelines.builds import CODE_VARIABLE, code_identity
from pipelines.resources import DBT_PROJECT


class Plugin(BasePlugin):
    """Named in dbt_project/profiles.yml."""

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(f"set variable {CODE_VARIABLE} = ?", [code_identity(DBT_PROJECT)])
