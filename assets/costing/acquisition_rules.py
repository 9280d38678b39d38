"""What a controller may write in `<company>/costing/acquisition.csv`: which cost is spent on winning customers.

Belongs here: the model of a row, and what its rows say together. What the cost bought is computed in
assets/analytics/acquisition.py.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from assets.company import Name
from assets.costing.rules import EffectiveRule


class AcquisitionCost(EffectiveRule):
    """The share of a cost pool that wins customers rather than keeps them, and the channel it is spent in.

    Several rows of one pool give it to several channels. A row without channel is divided among all channels, month by month:
    by the cost of the campaigns begun in the month, or by the new customers of the month.
    """

    KEY: ClassVar[tuple[str, ...]] = ("pool_id", "channel", "divided_by")
    POINTS_TO: ClassVar[dict[str, str]] = {"pool_id": "pools"}

    pool_id: Name
    channel: str | None = Field(default=None, min_length=1)
    share: Annotated[Decimal, Field(gt=0, le=1, decimal_places=4, allow_inf_nan=False)] = Decimal(1)
    divided_by: Literal["campaign_cost", "new_customers"] | None = None

    @model_validator(mode="after")
    def _one_way_to_a_channel(self) -> AcquisitionCost:
        if (self.channel is None) != (self.divided_by is not None):
            raise ValueError("a row names its channel, or says by what it is divided_by among all of them")
        return self


def overspent(rows: Sequence[AcquisitionCost]) -> Iterator[tuple[int, str]]:
    """Rows (counted from 0) whose pool gives away more than it is on some day, and why: its cost would count twice."""
    by_pool: dict[str, list[tuple[int, AcquisitionCost]]] = defaultdict(list)
    for number, row in enumerate(rows):
        by_pool[row.pool_id].append((number, row))
    for pool_id, numbered in by_pool.items():
        for number, row in numbered:
            first = row.valid_from or datetime.date.min
            total = sum(other.share for _, other in numbered if _holds_on(other, first))
            if total > 1:
                yield (
                    number,
                    f"the shares of '{pool_id}' that hold on the same day come to {total:f}; together they may be at most 1, "
                    "or cost would count twice",
                )
                break


def _holds_on(row: AcquisitionCost, day: datetime.date) -> bool:
    return (row.valid_from or datetime.date.min) <= day <= (row.valid_to or datetime.date.max)
