"""What the four systems share in writing records down.

A rendered table has the source's own column names, text as the source writes it, and `seen`: the day it is delivered.
Where a record changes after the first delivery it has one row per version.
"""

from __future__ import annotations

from collections.abc import Iterable

from harbour_pine.profile import FIRST_DAY, LAST_DAY


def sql_list(words: Iterable[str]) -> str:
    return "[" + ", ".join("'" + word.replace("'", "''") + "'" for word in words) + "]"


def versions(created: str, changed: str) -> str:
    """SQL condition over `versions v(changed)`: which versions of a record are delivered, and the day each is.

    A record created on day `created` and changed on day `changed` has two versions, unless both fall into the first
    delivery, which holds only the later one, or the change lies after the end.
    """
    return (
        f"(v.is_changed and {changed} between 0 and {LAST_DAY}) or (not v.is_changed and "
        f"({changed} < 0 or {changed} > {LAST_DAY} "
        f"or greatest({changed}, {FIRST_DAY}) > greatest({created}, {FIRST_DAY})))"
    )


VERSIONS = "(values (false), (true)) as v(is_changed)"
