"""Dividing cents in Python as SQL does (dbt_project/macros/largest_remainder.sql): every cent is given out, none is invented."""

from __future__ import annotations

from collections.abc import Mapping


def largest_remainder(cents: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Divide cents by weights (whole, not negative, of a sum above 0): receiver -> cents, which sum to `cents`.

    Whole cents first, then one each by largest remainder; ties to the larger weight, then to the id that sorts first. The
    division of -A is that of A with the sign turned.
    """
    total = sum(weights.values())
    whole = {receiver: divmod(abs(cents) * weight, total) for receiver, weight in weights.items()}
    left = abs(cents) - sum(part for part, _ in whole.values())
    ranked = sorted(weights, key=lambda receiver: (-whole[receiver][1], -weights[receiver], receiver))
    parts = {receiver: whole[receiver][0] + (place < left) for place, receiver in enumerate(ranked)}
    return {receiver: -parts[receiver] if cents < 0 else parts[receiver] for receiver in weights}
