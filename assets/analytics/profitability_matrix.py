"""The profitability matrix: what a customer earns against how well the relation with them stands, and what follows from it.

Belongs here: the two classes, the quadrants and their strategies. Not here: what a customer earns (the costing), how strong a
relation is (`relationship`), and which action follows for one customer (`playbook`).

Money columns are floats rounded to four decimals; the warehouse stores them as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics.history import MONEY_SCALE, as_of_column, money

NOT_A_CUSTOMER = "UNMATCHED"

MONTHS = 12

HIGH_ABOVE_MARGIN = 0.0
"""Operating profit per net revenue of 12 months above which profit is high: by default, any profit at all."""

MARGIN_BAND = 0.01
"""Net revenue by whose hundredth part profit must pass the cut before a customer changes class: around zero a single invoice
decides, and a quadrant that flips every month is worked by nobody."""

STRATEGIES = {
    "protect": ("protect: high profit, strong relationship", "保护：利润高，关系强"),
    "repair": ("repair the relationship now: high profit, weak relationship", "立即修复关系：利润高，关系弱"),
    "reprice": (
        "reprice, minimum order, cheaper service: low profit, strong relationship",
        "调价、最低订量、降低服务成本：利润低，关系强",
    ),
    "fix_or_exit": (
        "fix with a deadline, else payment in advance: low profit, weak relationship. Leaving them would cost profit: "
        "they earn more than the cost that would go with them",
        "限期改善，否则改为预付：利润低，关系弱。放弃会减少利润：其贡献高于可避免成本",
    ),
    "fix_or_exit_avoidable": (
        "fix with a deadline, else payment in advance or exit: low profit, weak relationship, and the cost that would go "
        "with them is more than they earn",
        "限期改善，否则预付或退出：利润低，关系弱，且可避免成本高于其贡献",
    ),
    "measure_high": (
        "measure the relationship, and protect meanwhile: high profit, relationship unknown",
        "先测量关系，期间按保护处理：利润高，关系未知",
    ),
    "measure_low": (
        "measure the relationship, and reprice meanwhile: low profit, relationship unknown",
        "先测量关系，期间按调价处理：利润低，关系未知",
    ),
}
"""Strategy -> its words in English and in Chinese."""

QUADRANTS = ("protect", "repair", "reprice", "fix_or_exit", "measure_high", "measure_low")
"""high/strong, high/weak, low/strong, low/weak; and high and low where nothing is known of the relation."""

RELATIONSHIPS = ("strong", "weak", "unknown")

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "net_revenue_12m": "DECIMAL(22,4)",
    "profit_12m": "DECIMAL(22,4)",
    "margin_12m": "DOUBLE",
    "profit_class": "VARCHAR",
    "profit_class_since": "DATE",
    "relationship_strength": "DOUBLE",
    "relationship_coverage": "DOUBLE",
    "relationship_class": "VARCHAR",
    "avoidable_profit_12m": "DECIMAL(22,4)",
    "quadrant": "VARCHAR",
    "strategy": "VARCHAR",
    "strategy_zh": "VARCHAR",
}
"""Columns of the table and their types, in order."""

PROFITS = f"""
    select
        profits.customer_id,
        profits.month,
        profits.net_revenue,
        profits.operating_profit
    from marts.customer_profitability as profits
    inner join facts.as_of as as_of on profits.month <= as_of.as_of_month
    where profits.customer_id <> '{NOT_A_CUSTOMER}'
    order by profits.customer_id, profits.month
"""

RELATIONSHIP_STRENGTH = "select customer_id, strength, strength_class, coverage from analytics.relationship_strength"

AVOIDABLE = """
    select customer_id, min(profit_now) as avoidable_profit
    from analytics.break_even
    where horizon = 'avoidable'
    group by customer_id
"""


class Cut(NamedTuple):
    """Where profit is high: operating profit per net revenue above `high_above_margin`, with a `band` on either side."""

    high_above_margin: float = HIGH_ABOVE_MARGIN
    band: float = MARGIN_BAND


def place(
    profits: pd.DataFrame,
    relationships: pd.DataFrame,
    avoidable: pd.DataFrame,
    as_of: datetime.date,
    *,
    cut: Cut | None = None,
) -> pd.DataFrame:
    """One row per customer with revenue or cost in the last 12 months, as of one date; later months are not seen.

    `profits` has one row per customer and month (its first day): customer_id, month, net_revenue, operating_profit (base
    currency, loss -). `relationships` has one row per customer: customer_id, strength (0 to 100), strength_class (strong, weak;
    anything else is unknown), coverage (0 to 1). `avoidable` has customer_id and avoidable_profit: profit of 12 months that
    counts avoidable cost only; it decides whether exit is spoken of, and where it is missing it is not.

    - net_revenue_12m, profit_12m: of the as-of month and the eleven before it; margin_12m: their ratio, missing without revenue.
    - profit_class: high where profit_12m is above `cut` x net_revenue_12m, else low. The class of the month before holds until
      profit has passed the cut by `band` x net_revenue_12m; replayed from the first month on. profit_class_since: the month
      it began.
    - quadrant, strategy, strategy_zh: of both classes. Customers whose relation is unknown are placed by profit alone.
    """
    cut = cut or Cut()
    this_month = as_of.year * 12 + as_of.month - 1
    months = pd.to_datetime(profits["month"])
    known = pd.DataFrame(
        {
            "customer_id": profits["customer_id"],
            "month": months.dt.year * 12 + months.dt.month - 1,
            "revenue": money(profits["net_revenue"]),
            "profit": money(profits["operating_profit"]),
        }
    )
    known = known[known["customer_id"].notna() & (known["customer_id"] != NOT_A_CUSTOMER)]
    known = known[known["month"] <= this_month]
    codes, customers = _numbered(known["customer_id"])
    years = _years(codes, known, len(customers), this_month, cut)
    chosen = np.flatnonzero(years.seen)
    placed = pd.DataFrame({"customer_id": customers[chosen]})
    revenue, profit = years.revenue[chosen] / MONEY_SCALE, years.profit[chosen] / MONEY_SCALE

    relation = placed.merge(relationships.drop_duplicates("customer_id"), on="customer_id", how="left")
    kind = relation["strength_class"].where(relation["strength_class"].isin(["strong", "weak"]), "unknown").to_numpy()
    earns = placed.merge(avoidable.drop_duplicates("customer_id"), on="customer_id", how="left")["avoidable_profit"]
    avoided = pd.to_numeric(earns).to_numpy(dtype="float64", na_value=np.nan)
    high = years.high[chosen]
    quadrant = np.select(
        [high & (kind == "strong"), high & (kind == "weak"), high, kind == "strong", kind == "weak"],
        ["protect", "repair", "measure_high", "reprice", "fix_or_exit"],
        "measure_low",
    )
    strategy = np.where((quadrant == "fix_or_exit") & (avoided < 0), "fix_or_exit_avoidable", quadrant)
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.where(revenue > 0, np.round(profit / np.where(revenue > 0, revenue, 1.0), 6), np.nan)
    since = (years.since[chosen] - 1970 * 12).astype("datetime64[M]").astype("datetime64[s]")
    return pd.DataFrame(
        {
            "customer_id": pd.Series(customers[chosen], dtype="str"),
            "as_of_date": as_of_column(as_of, len(chosen)),
            "net_revenue_12m": revenue,
            "profit_12m": profit,
            "margin_12m": _missing_as_none(margin),
            "profit_class": np.where(high, "high", "low").astype("object"),
            "profit_class_since": since,
            "relationship_strength": _missing_as_none(
                pd.to_numeric(relation["strength"]).to_numpy("float64", na_value=np.nan)
            ),
            "relationship_coverage": _missing_as_none(
                pd.to_numeric(relation["coverage"]).to_numpy("float64", na_value=np.nan)
            ),
            "relationship_class": kind.astype("object"),
            "avoidable_profit_12m": _missing_as_none(avoided),
            "quadrant": quadrant.astype("object"),
            "strategy": pd.Series([STRATEGIES[name][0] for name in strategy], dtype="str"),
            "strategy_zh": pd.Series([STRATEGIES[name][1] for name in strategy], dtype="str"),
        },
        columns=list(TYPES),
    )


def _numbered(customers: pd.Series) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Each row's customer as a number, and the customers in sorted order; next to no sorting where they come in order."""
    codes, found = pd.factorize(customers.to_numpy(dtype="object"))
    ids = np.asarray(found, dtype="object")
    order = np.argsort(ids, kind="stable")
    place = np.empty(len(ids), dtype="int64")
    place[order] = np.arange(len(ids))
    return place[codes], ids[order]


class _Years(NamedTuple):
    """Per customer, of the last 12 months: money in ten-thousandths, whether profit is high, and since which month."""

    revenue: NDArray[np.int64]
    profit: NDArray[np.int64]
    seen: NDArray[np.bool_]
    high: NDArray[np.bool_]
    since: NDArray[np.int64]


def _years(codes: NDArray[np.int64], known: pd.DataFrame, customers: int, this_month: int, cut: Cut) -> _Years:
    """The class of every customer, month by month; sums of 12 months roll."""
    revenue, profit, rows, since = (np.zeros(customers, dtype="int64") for _ in range(4))
    high, was_seen = np.zeros(customers, dtype=bool), np.zeros(customers, dtype=bool)
    months = known["month"].to_numpy()
    order = np.argsort(months, kind="stable")
    edges = {int(month): place for place, month in enumerate(np.unique(months))}
    bounds = [*np.searchsorted(months[order], sorted(edges)).tolist(), len(order)]

    def add(month: int, sign: int) -> None:
        if month not in edges:
            return
        chosen = order[bounds[edges[month]] : bounds[edges[month] + 1]]
        np.add.at(revenue, codes[chosen], sign * known["revenue"].to_numpy()[chosen])
        np.add.at(profit, codes[chosen], sign * known["profit"].to_numpy()[chosen])
        np.add.at(rows, codes[chosen], sign)

    for month in range(min(edges), this_month + 1) if edges else ():
        add(month, 1)
        add(month - MONTHS, -1)
        seen = rows > 0
        above = profit - cut.high_above_margin * revenue
        band = cut.band * np.maximum(revenue, 0)
        # Whoever was not there a month ago begins without a past.
        now = np.where(was_seen, np.where(high, above > -band, above > band), above > 0)
        changed = seen & ((now != high) | ~was_seen)
        since[changed] = month
        high, was_seen = np.where(seen, now, False), seen
    return _Years(revenue, profit, was_seen, high, since)


def _missing_as_none(values: NDArray[np.float64]) -> NDArray[np.object_]:
    """Null in the warehouse, and not "not a number"."""
    found = values.astype("object")
    found[~np.isfinite(values)] = None
    return found
