"""Plots for the Dagster UI: what a table's page, or the release's, shows beside its row count.

Belongs here: pictures that a person glances at in the UI, as Markdown with the PNG inside. Not here: the charts of the report
(`charts.py`), which are part of a release and the same bytes for the same content.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import duckdb

INK, LOSS, QUIET = "#0b5c7a", "#b3402a", "#888888"
PARTS = (
    ("on_customers_amount", "on customers", INK),
    ("unused_amount", "unused capacity", "#d9a441"),
    ("sustaining_amount", "sustaining", "#9bb7c4"),
    ("unallocated_amount", "unallocated", LOSS),
)
"""Where the cost of a pool is: column of cost_pools, its name, its colour."""
SHOWN_POOLS = 14


def whale_curve(connection: duckdb.DuckDBPyConnection, relation: str = "marts.whale_curve") -> str | None:
    """Cumulative operating profit over customers from best to worst, of all months. None without a customer."""
    curve = connection.execute(
        f"select customer_rank, cumulative_profit::double from {relation} "
        "where profit_level = 'operating_profit' and period = 'all' order by customer_rank"
    ).fetchall()
    return curves([("", curve)]) if curve else None


def curves(lines: Sequence[tuple[str, Sequence[tuple[Any, ...]]]]) -> str:
    """Whale curves as (name, (rank, cumulative profit)...): the last in ink, those before it grey."""
    axes, figure = _axes(3.2)
    for place, (name, points) in enumerate(lines, start=1):
        ranks, profits = zip(*points, strict=True)
        axes.plot(ranks, profits, color=INK if place == len(lines) else QUIET, linewidth=2, label=name)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.set_xlabel("customers, best first")
    axes.set_ylabel("cumulative operating profit")
    if any(name for name, _ in lines):
        axes.legend(frameon=False)
    return _markdown(figure, "whale curve")


def pool_costs(connection: duckdb.DuckDBPyConnection, relation: str = "overview.cost_pools") -> str | None:
    """The largest pools of the last 12 months with cost: where their cost is. None where no pool has any.

    Service pools are left out: what they hand on is in the pools they serve.
    """
    columns = ", ".join(f"coalesce(sum({column}), 0)::double" for column, _, _ in PARTS)
    shown = " + ".join(f"coalesce(sum({column}), 0)" for column, _, _ in PARTS)
    rows = connection.execute(
        f"""
        select coalesce(any_value(pool_name), pool_id), {columns} from {relation}
        where stage <> 'service'
            and month > (select max(month) - interval 12 month from {relation} where actual_amount <> 0)
        group by pool_id
        having sum(abs(gross_amount)) > 0
        order by {shown} desc, pool_id
        limit {SHOWN_POOLS}
        """
    ).fetchall()
    if not rows:
        return None
    axes, figure = _axes(0.8 + 0.3 * len(rows))
    names, left = [row[0] for row in rows], [0.0] * len(rows)
    for place, (_, name, colour) in enumerate(PARTS, start=1):
        amounts = [row[place] for row in rows]
        axes.barh(range(len(rows)), amounts, left=left, color=colour, label=name)
        left = [before + amount for before, amount in zip(left, amounts, strict=True)]
    # Names may hold characters that the font of the plot lacks and signs it would read as formulas.
    axes.set_yticks(range(len(rows)), [name.replace("$", r"\$") for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("cost of the last 12 months")
    axes.legend(frameon=False)
    return _markdown(figure, "pool costs")


PLOTS: dict[str, tuple[str, Callable[[duckdb.DuckDBPyConnection], str | None]]] = {
    "marts.whale_curve": ("whale_curve", whale_curve),
    "overview.cost_pools": ("pool_costs", pool_costs),
}
"""Table -> name of its plot on the asset's page, and what draws it."""


def plots_of(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The plots of a table ("schema.table") by their names; none for most."""
    if table not in PLOTS:
        return {}
    name, draw = PLOTS[table]
    drawn = draw(connection)
    return {name: drawn} if drawn else {}


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes, figure


def _markdown(figure: Any, name: str) -> str:
    import warnings

    image = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a character the font lacks is drawn as a box, and that is all
        figure.savefig(image, format="png", dpi=110)
    return f"![{name}](data:image/png;base64,{base64.b64encode(image.getvalue()).decode()})"
