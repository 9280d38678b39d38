"""Numbers as a person reads them in a page: a true minus sign, thin grouping, and never a negative zero.

Belongs here: how one number is written. Not here: which numbers are shown, nor words around them.
"""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"


def money(amount: Any) -> str:
    """Whole units of base currency; missing amounts are an en dash."""
    return MISSING if amount is None else minus(f"{round(float(amount)) or 0:,}")


def cents(amount: Any) -> str:
    """Two decimals."""
    return MISSING if amount is None else minus(f"{round(float(amount), 2) or 0:,.2f}")


def signed(amount: Any) -> str:
    """Whole units with a plus where above zero."""
    return MISSING if amount is None else ("+" if round(float(amount)) > 0 else "") + money(amount)


def count(number: Any) -> str:
    """A whole number."""
    return MISSING if number is None else f"{int(number):,}"


def percent(ratio: Any) -> str:
    """A ratio as whole percent."""
    return MISSING if ratio is None else minus(f"{round(100 * float(ratio)) or 0}\u202f%")


def signed_percent(ratio: Any) -> str:
    """A ratio as whole percent with a plus where above zero."""
    return MISSING if ratio is None else ("+" if round(100 * float(ratio)) > 0 else "") + percent(ratio)


def change(ratio: Any) -> str:
    """A relative change in percent with one decimal and its sign."""
    if ratio is None:
        return MISSING
    rounded = round(100 * float(ratio), 1) or 0.0
    return ("+" if rounded > 0 else "") + minus(f"{rounded:.1f}\u202f%")


def share(part: Any, whole: Any) -> str:
    """`part` of `whole` in percent with one decimal; an en dash where the whole is not positive."""
    if part is None or not whole or float(whole) <= 0:
        return MISSING
    return minus(f"{round(100 * float(part) / float(whole), 1) or 0:.1f}\u202f%")


def decimal(number: Any) -> str:
    """At most two decimals, without the zeros behind them."""
    return MISSING if number is None else minus(f"{round(float(number), 2) or 0:,.2f}".rstrip("0").rstrip("."))


def reached(target: Any, now: Any, *, within: bool = False) -> str:
    """A value to get to, with at most two decimals, rounded so that what is written suffices: away from the present one.

    `within` is of a value to stay on this side of: rounded towards the present one.
    """
    if target is None:
        return MISSING
    is_down = now is not None and target < now
    rounded = math.floor if is_down is not within else math.ceil
    return decimal(rounded(round(100 * float(target), 6)) / 100)


def compact(amount: float) -> str:
    """Three digits and a letter for thousands, millions or billions: for axes."""
    for size, suffix in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(amount) >= size:
            return minus(f"{amount / size:.3g}\u202f{suffix}")
    return minus(f"{amount or 0:.3g}")


def in_unit(value: Any, unit: str) -> str:
    """A key figure's value in its unit (assets/analytics/kpi_catalogue.py)."""
    if value is None:
        return MISSING
    if unit in ("share", "score 0 to 1"):
        return minus(f"{round(100 * float(value), 1) or 0:.1f}\u202f%")
    if unit in ("base currency", "customers"):
        return money(value)
    return decimal(value)


def minus(text: str) -> str:
    return text.replace("-", "\u2212")
