"""The report: one HTML page that says who makes money, and proves that it adds up.

Belongs here: reading the published tables and laying them out. Not here: any figure a table does not hold; texts are
in `labels.yml`, the page in `report.html.j2` and `report.css`. The page refers to nothing outside itself, carries no
script, and contains no time of its making: same tables, same page.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from assets import gate
from assets.publish.release import CIRCUMSTANCES, CIRCUMSTANCES_BEGIN, CIRCUMSTANCES_END

HERE = Path(__file__).parent
LISTED = 10
MOST_POINTS = 300
"""Points drawn of a curve; more cannot be told apart on a screen, and a million customers must not make a page of
twenty megabytes."""

SHOWN_OF_A_CHECK = [
    *("table_name", "check_name", "severity", "passed", "observed", "detail"),
    *("approved_by", "approval_reason"),
]

TWELVE_MONTHS = """
    month > date_trunc('month', ?::date) - interval 12 month and month <= ?::date
"""

Row = dict[str, Any]


def render(
    connection: duckdb.DuckDBPyConnection,
    *,
    language: str = "en",
    quality: pd.DataFrame | None = None,
    late: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The report of what the warehouse holds now, as one HTML page in `language` ('en' or 'zh').

    Amounts are in base currency over the as-of month and the eleven before it. `quality` is data_quality as it is published;
    without it, the checks are those of the gate's ledger. `late` are the sources whose delivery for the date is missing
    (source, last_delivery): the page names them.
    """
    import jinja2
    import yaml
    from markupsafe import Markup

    languages = yaml.safe_load((HERE / "labels.yml").read_text(encoding="utf-8"))
    if language not in languages:
        raise ValueError(f"The report has no language {language!r}; there are {', '.join(sorted(languages))}.")
    labels = languages[language]

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "money": money,
        "cents": cents,
        "signed": signed,
        "count": count,
        "percent": percent,
        "signed_percent": signed_percent,
        "share": share,
        "code": lambda value: labels["codes"].get(value, value or ""),
    }

    company = _rows(connection, "select company_name as name, base_currency as currency from rules.company")[0]
    as_of = _rows(connection, "select max(as_of_date) as as_of from overview.customers")[0]["as_of"]
    if as_of is None:
        raise ValueError("overview.customers is empty: there is nothing to report on.")
    tier = "tiers.rfm_tier_zh" if language == "zh" else "tiers.rfm_tier"
    best, worst = (_customers(connection, tier, order) for order in ("desc", "asc"))
    whale = _whale(connection, labels)
    if whale:
        whale |= {"broad": Markup(whale["broad"]), "narrow": Markup(whale["narrow"])}
    return environment.get_template("report.html.j2").render(
        language=language,
        t=labels,
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        company=company,
        as_of=as_of.isoformat(),
        late=late,
        six=_six_numbers(connection),
        whale=whale,
        identity=_identity(connection, as_of, labels),
        best=best,
        worst=worst,
        largest_profit=max((abs(row["profit"]) for row in best + worst), default=0),
        waterfall=_waterfall(connection, as_of, labels),
        pools=_pools(connection, as_of),
        actions=_actions(connection, language),
        matrix=_matrix(connection, language),
        churn=_churn(connection),
        models=_models(connection),
        reconciliation=_reconciliation(connection),
        quality=_quality(gate.results(connection) if quality is None else quality),
        beside=Markup(CIRCUMSTANCES_BEGIN),
        everywhere=Markup(CIRCUMSTANCES_END),
    )


# Figures


def _six_numbers(connection: duckdb.DuckDBPyConnection) -> Row:
    return _rows(
        connection,
        """
        select
            coalesce(sum(net_revenue_12m), 0) as net_revenue,
            coalesce(sum(gross_margin_12m), 0) as gross_margin,
            coalesce(sum(cost_to_serve_12m), 0) as cost_to_serve,
            coalesce(sum(operating_profit_12m), 0) as operating_profit,
            count(*) filter (operating_profit_12m > 0) as earning,
            count(*) filter (operating_profit_12m < 0) as losing,
            count(*) filter (net_revenue_12m <> 0 or operating_profit_12m <> 0) as customers,
            coalesce(sum(operating_profit_12m) filter (operating_profit_12m < 0), 0) as lost
        from overview.customers
        """,
    )[0]


def _identity(connection: duckdb.DuckDBPyConnection, as_of: datetime.date, labels: Row) -> Row:
    """Ledger cost = customers + residual lines, over the twelve months."""
    period = [as_of, as_of]
    ledger = _rows(
        connection,
        "select coalesce(sum(amount_cents), 0)::decimal(38, 0) / 100 as amount, "
        f"coalesce(sum(amount_cents), 0)::bigint as cents from pools.pool_cost_lines where {TWELVE_MONTHS}",
        period,
    )[0]
    parts = _rows(
        connection,
        f"""
        select 'on_customers' as part, coalesce(sum(amount * 100), 0)::bigint as cents, 0 as position
        from marts.customer_cost_lines where {TWELVE_MONTHS}
        union all
        select split_part(residual_line, ':', 1), sum(amount * 100)::bigint,
            list_position(['UNUSED', 'SUSTAINING', 'UNALLOCATED', 'VARIANCE'], split_part(residual_line, ':', 1))
        from marts.residual_cost_lines where {TWELVE_MONTHS} group by all
        order by position
        """,
        period + period,
    )
    on_customers = sum(part["cents"] for part in parts if part["part"] == "on_customers")
    residual = sum(part["cents"] for part in parts) - on_customers
    difference = ledger["cents"] - on_customers - residual
    return {
        "ledger": ledger["cents"] / 100,
        "lead": labels["identity_lead"].format(
            ledger=cents(ledger["cents"] / 100),
            customers=cents(on_customers / 100),
            residual=cents(residual / 100),
            difference=cents(difference / 100),
        ),
        "parts": [
            {
                "label": labels.get(part["part"], part["part"]),
                "amount": part["cents"] / 100,
                "colour": f"c{1 + (part['position'] or 0)}",
            }
            for part in parts
        ],
        "positive": sum(max(part["cents"], 0) for part in parts) / 100 or 1,
    }


def _customers(connection: duckdb.DuckDBPyConnection, tier: str, order: str) -> list[Row]:
    """The most ('desc') or least ('asc') profitable customers; only those who earn, or only those who lose."""
    return _rows(
        connection,
        f"""
        select customers.customer_id, customers.customer_name, customers.source_customer_id, customers.segment,
            {tier} as tier, customers.net_revenue_12m as net_revenue, customers.gross_margin_12m as gross_margin,
            customers.cost_to_serve_12m as cost_to_serve,
            customers.credit_cost_12m + customers.allocated_sustaining_12m as other_cost,
            customers.operating_profit_12m as profit
        from overview.customers as customers
        left join analytics.customer_rfm as tiers on tiers.customer_id = customers.customer_id
        where customers.operating_profit_12m {">" if order == "desc" else "<"} 0
        order by customers.operating_profit_12m {order}, customers.customer_id
        limit {LISTED}
        """,
    )


def _waterfall(connection: duckdb.DuckDBPyConnection, as_of: datetime.date, labels: Row) -> list[Row]:
    """List revenue down to company profit. Deductions are negative; a bar spans what the step takes or leaves."""
    steps = _rows(
        connection,
        f"""
        select
            coalesce(sum(list_revenue), 0) as list_revenue, coalesce(sum(discounts), 0) as discounts,
            coalesce(sum(net_revenue), 0) as net_revenue, coalesce(sum(cost_of_goods_sold), 0) as cost_of_goods_sold,
            coalesce(sum(gross_margin), 0) as gross_margin,
            coalesce(sum(direct_cost_to_serve), 0) as direct_cost_to_serve,
            coalesce(sum(activity_cost_variable), 0) as activity_cost_variable,
            coalesce(sum(activity_cost_step_fixed), 0) as activity_cost_step_fixed,
            coalesce(sum(activity_cost_fixed), 0) as activity_cost_fixed,
            coalesce(sum(expected_credit_loss), 0) as expected_credit_loss,
            coalesce(sum(financing_cost), 0) as financing_cost,
            coalesce(sum(contribution_after_cost_to_serve), 0) as contribution_after_cost_to_serve,
            coalesce(sum(allocated_sustaining), 0) as allocated_sustaining,
            coalesce(sum(operating_profit), 0) as contribution
        from marts.customer_profitability where {TWELVE_MONTHS}
        """,
        [as_of, as_of],
    )[0]
    residual = _rows(
        connection,
        f"select coalesce(sum(amount), 0) as amount from marts.residual_cost_lines where {TWELVE_MONTHS}",
        [as_of, as_of],
    )[0]["amount"]
    steps |= {"residual_cost": residual, "company_profit": steps["contribution"] - residual}
    if not steps["allocated_sustaining"]:
        del steps["contribution_after_cost_to_serve"], steps["allocated_sustaining"]
    totals = {"list_revenue", "net_revenue", "gross_margin", "contribution_after_cost_to_serve", "contribution"}
    totals.add("company_profit")
    drawn, level = [], 0.0
    for name, amount in steps.items():
        value = float(amount) if name in totals else 0.0 - float(amount)
        start, end = (0.0, value) if name in totals else (level, level + value)
        level = end
        drawn.append({"label": labels[name], "amount": value, "is_total": name in totals, "span": sorted((start, end))})
    lowest, highest = min(row["span"][0] for row in drawn), max(row["span"][1] for row in drawn)
    scale = 100 / ((highest - lowest) or 1)
    for row in drawn:
        row |= {"left": (row["span"][0] - lowest) * scale, "width": (row["span"][1] - row["span"][0]) * scale}
    return drawn


def _pools(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> list[Row]:
    return _rows(
        connection,
        f"""
        select pool_id, max(pool_name) as pool_name, max(stage) as stage, sum(actual_amount) as actual,
            sum(budget_amount) as budget,
            sum(actual_amount) filter (budget_amount is not null) - sum(budget_amount) as deviation,
            sum(on_customers_amount) as on_customers, sum(unused_amount) as unused,
            sum(coalesce(sustaining_amount, 0) + coalesce(unallocated_amount, 0) + coalesce(variance_amount, 0)) as kept,
            count(*) filter (is_overloaded) as overloaded_months
        from overview.cost_pools where {TWELVE_MONTHS}
        group by pool_id
        order by actual desc, pool_id
        """,
        [as_of, as_of],
    )


def _churn(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    return _rows(
        connection,
        f"""
        select customers.customer_id, customers.customer_name, customers.source_customer_id, customers.segment,
            customers.owner_ref, risk.horizon_days, risk.days_since_last_purchase as days,
            risk.churn_probability as probability, risk.expected_profit as expected,
            risk.expected_profit_lost as lost, risk.reason_1 as reason, risk.reason_1_text as reason_text,
            risk.model = 'silence_ratio' as is_fallback
        from analytics.churn_risk as risk
        inner join overview.customers as customers on customers.customer_id = risk.customer_id
        where risk.expected_profit_lost > 0
        order by risk.churn_rank, customers.customer_id
        limit {LISTED}
        """,
    )


def _actions(connection: duckdb.DuckDBPyConnection, language: str) -> list[Row]:
    """What to do first in the company."""
    of_language = "_zh" if language == "zh" else ""
    return _rows(
        connection,
        f"""
        select customers.customer_id, customers.customer_name, customers.source_customer_id, customers.segment,
            coalesce(customers.owner_ref, actions.owner_role) as owner, actions.title{of_language} as title,
            actions.reason{of_language} as reason, actions.expected_effect as effect, actions.due_date
        from overview.customer_actions as actions
        inner join overview.customers as customers on customers.customer_id = actions.customer_id
        order by actions.priority_rank
        limit {LISTED}
        """,
    )


def _matrix(connection: duckdb.DuckDBPyConnection, language: str) -> list[Row]:
    """Customers and their profit by quadrant of the profitability matrix."""
    strategy = "strategy_zh" if language == "zh" else "strategy"
    return _rows(
        connection,
        f"""
        select {strategy} as strategy, count(*) as customers, sum(net_revenue_12m) as net_revenue, sum(profit_12m) as profit
        from analytics.profitability_matrix
        group by all
        order by profit desc, strategy
        """,
    )


def _models(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The forecasting model in use for each purpose and horizon, and how it did on months it had not seen."""
    return _rows(
        connection,
        """
        select purpose, horizon_days as days, model, origins, bias, auc, rmse, naive_rmse, passes, why
        from analytics.model_quality
        where is_used and origins > 0
        order by purpose, horizon_days
        """,
    )


def _reconciliation(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    return _rows(
        connection,
        """
        select check_name, count(*) as months, count(*) filter (difference <> 0) as deviating,
            max_by(difference, abs(difference)) as largest,
            case max(list_position(['pass', 'warn', 'fail'], status)) when 1 then 'pass' when 2 then 'warn' else 'fail' end
                as status,
            max(reason) filter (status <> 'pass') as reason
        from marts.reconciliation
        group by check_name
        order by check_name <> 'cost_allocation', check_name
        """,
    )


def _quality(checks: pd.DataFrame) -> Row:
    """The checks by table, those that did not pass, and apart from these how the release stands beside earlier ones."""
    approvals = {name: checks.get(name, pd.Series(pd.NA, checks.index)) for name in ("approved_by", "approval_reason")}
    checks = checks.assign(**{name: column.astype("string").fillna("") for name, column in approvals.items()})
    is_beside = checks["stage"].isin(CIRCUMSTANCES)
    ledger, beside = checks[~is_beside], checks[is_beside]
    tables = []
    for table, rows in ledger.groupby("table_name"):
        passed = rows["passed"].astype(bool)
        tables.append(
            {
                "table_name": table,
                "checks": len(rows),
                "passed": int(passed.sum()),
                "warnings": int((~passed & (rows["severity"] == "warn")).sum()),
                "failures": int((~passed & (rows["severity"] == "error")).sum()),
            }
        )
    unsettled = ledger[~ledger["passed"].astype(bool)].sort_values(["severity", "table_name", "check_name"])
    return {
        "tables": tables,
        "total": len(ledger),
        "passed": sum(row["passed"] for row in tables),
        "open": unsettled[SHOWN_OF_A_CHECK].to_dict("records"),
        "beside": beside[~beside["passed"].astype(bool) | (beside["stage"] == "drift")][SHOWN_OF_A_CHECK].to_dict(
            "records"
        ),
    }


# The whale curve


@dataclass(frozen=True)
class Curve:
    """Cumulative profit by rank: point 0 is (0, 0), the last is (customers, total)."""

    ranks: Sequence[int]
    profits: Sequence[float]
    peak: int
    """Position of the highest point."""

    @property
    def total(self) -> float:
        return self.profits[-1]


def _whale(connection: duckdb.DuckDBPyConnection, labels: Row) -> Row | None:
    profit = _curve(connection, "operating_profit")
    if profit is None:
        return None
    margin = _curve(connection, "gross_margin")
    # A share of nothing, or of a loss, means nothing: then the curve is in money.
    in_percent = profit.total > 0 and (margin is None or margin.total > 0)
    end = percent(1.0) if in_percent else money(profit.total)
    peak_rank, customers = profit.ranks[profit.peak], profit.ranks[-1]
    peak = percent(profit.profits[profit.peak] / profit.total) if in_percent else money(profit.profits[profit.peak])
    said = {"rank": count(peak_rank), "total": count(customers), "rest": count(customers - peak_rank)}
    if peak_rank == 0:
        lead = labels["whale_all_lost"].format(end=money(profit.total))
    elif peak_rank == customers:
        lead = labels["whale_none_lost"].format(**said)
    else:
        lead = labels["whale_lead"].format(peak=peak, end=end, **said)
    texts = {
        "title": labels["whale_title"],
        "description": labels["whale_description"].format(peak=peak, end=end, **said),
        "peak": labels["whale_peak"].format(value=peak, **said),
        "end": end,
        "axis": labels["whale_axis"],
    }
    return {
        "lead": lead,
        "has_gross_margin": margin is not None,
        "broad": draw(profit, margin, texts, in_percent=in_percent, name="broad", width=1000, height=400, font=15),
        "narrow": draw(profit, margin, texts, in_percent=in_percent, name="narrow", width=360, height=280, font=12),
    }


def _curve(connection: duckdb.DuckDBPyConnection, profit_level: str) -> Curve | None:
    rows = connection.execute(
        """
        select customer_rank, cumulative_profit::double
        from marts.whale_curve where profit_level = ? and period = 'last_12_months' order by customer_rank
        """,
        [profit_level],
    ).fetchall()
    if not rows:
        return None
    ranks, profits = [0, *(row[0] for row in rows)], [0.0, *(row[1] for row in rows)]
    peak = max(range(len(profits)), key=lambda position: profits[position])
    step = max(1, len(ranks) // MOST_POINTS)
    kept = sorted({*range(0, len(ranks), step), peak, len(ranks) - 1})
    return Curve([ranks[i] for i in kept], [profits[i] for i in kept], kept.index(peak))


def draw(
    profit: Curve,
    margin: Curve | None,
    texts: Row,
    *,
    in_percent: bool,
    name: str,
    width: int,
    height: int,
    font: int,
) -> str:
    """The curve as inline SVG of a given size; `name` makes its ids its own and is its class.

    Drawn by hand and not by a plotting library: it takes its colours from the page, also in the dark, and its text is
    text.
    """
    from markupsafe import escape

    def scaled(curve: Curve) -> list[float]:
        return [value / curve.total for value in curve.profits] if in_percent else list(curve.profits)

    values = scaled(profit)
    others = scaled(margin) if margin else []
    ticks = _ticks(min(0.0, *values, *others), max(0.0, *values, *others))
    tick_texts = [percent(tick) if in_percent else _compact(tick) for tick in ticks]
    left, right = (
        10 + font * 0.62 * max(len(text) for text in tick_texts),
        16 + font * 0.62 * len(texts["end"]),
    )
    top, bottom = 2.4 * font, 2.6 * font
    customers = max(profit.ranks[-1], 1)

    def x(rank: float, last: int = customers) -> float:
        return left + (width - left - right) * rank / last

    def y(value: float) -> float:
        return top + (height - top - bottom) * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    def path(curve: Curve, heights: Sequence[float], first: int, last: int) -> str:
        points = zip(curve.ranks[first : last + 1], heights[first : last + 1], strict=True)
        return "M" + " L".join(f"{x(rank, max(curve.ranks[-1], 1)):.1f} {y(value):.1f}" for rank, value in points)

    def area(first: int, last: int) -> str:
        ends = (profit.ranks[last], profit.ranks[first])
        return f"{path(profit, values, first, last)} L{x(ends[0]):.1f} {y(0):.1f} L{x(ends[1]):.1f} {y(0):.1f} Z"

    peak_x, peak_y = x(profit.ranks[profit.peak]), y(values[profit.peak])
    last = len(values) - 1
    # The label of the peak stays inside the picture: its text is about 0.55 of the font wide per character.
    half = min(0.28 * font * len(texts["peak"]), (width - 8) / 2)
    label_x = min(max(peak_x, half + 4), width - half - 4)
    parts = [
        f'<svg class="chart {name}" viewBox="0 0 {width} {height}" font-size="{font}" role="img" '
        f'aria-labelledby="{name}-title {name}-description">',
        f'<title id="{name}-title">{escape(texts["title"])}</title>',
        f'<desc id="{name}-description">{escape(texts["description"])}</desc>',
    ]
    for tick, text in zip(ticks, tick_texts, strict=True):
        line = "zero" if tick == 0 or (in_percent and abs(tick - 1) < 1e-9) else "grid"
        parts.append(
            f'<line class="{line}" x1="{left:.1f}" x2="{width - right:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        )
        parts.append(
            f'<text x="{left - 8:.1f}" y="{y(tick) + font * 0.35:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    parts.append(f'<path class="rise" d="{area(0, profit.peak)}"/>')
    parts.append(f'<path class="fall" d="{area(profit.peak, last)}"/>')
    if margin:
        parts.append(f'<path class="other" d="{path(margin, others, 0, len(others) - 1)}"/>')
    parts.append(f'<path class="curve up" d="{path(profit, values, 0, profit.peak)}"/>')
    parts.append(f'<path class="curve down" d="{path(profit, values, profit.peak, last)}"/>')
    parts.append(f'<circle class="dot end" cx="{x(customers):.1f}" cy="{y(values[last]):.1f}" r="5"/>')
    parts.append(f'<circle class="dot" cx="{peak_x:.1f}" cy="{peak_y:.1f}" r="5"/>')
    parts.append(
        f'<text class="strong" x="{label_x:.1f}" y="{peak_y - font:.1f}" text-anchor="middle">{escape(texts["peak"])}</text>'
    )
    parts.append(
        f'<text class="strong" x="{width - right + 12:.1f}" y="{y(values[last]) + font * 0.35:.1f}">{escape(texts["end"])}</text>'
    )
    parts.append(
        f'<text x="{(left + width - right) / 2:.1f}" y="{height - font * 0.6:.1f}" text-anchor="middle">'
        f"{escape(texts['axis'])}</text>"
    )
    return "\n".join([*parts, "</svg>"])


def _ticks(lowest: float, highest: float) -> list[float]:
    """Four to eight round values from at or below `lowest` to at or above `highest`, 0 among them."""
    span = (highest - lowest) or 1.0
    magnitude = 10 ** math.floor(math.log10(span / 4))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if span / (factor * magnitude) <= 6)
    first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


# Numbers as text: a true minus sign, thin grouping, and never a negative zero.


def money(amount: Any) -> str:
    """Whole units of base currency; missing amounts are an en dash."""
    return "–" if amount is None else _minus(f"{round(float(amount)) or 0:,}")


def cents(amount: Any) -> str:
    """Two decimals."""
    return "–" if amount is None else _minus(f"{round(float(amount), 2) or 0:,.2f}")


def signed(amount: Any) -> str:
    """Whole units with a plus where above zero."""
    return "–" if amount is None else ("+" if round(float(amount)) > 0 else "") + money(amount)


def count(number: Any) -> str:
    """A whole number."""
    return f"{int(number):,}"


def percent(ratio: Any) -> str:
    """A ratio as whole percent."""
    return "–" if ratio is None else _minus(f"{round(100 * float(ratio)) or 0}\u202f%")


def signed_percent(ratio: Any) -> str:
    """A ratio as whole percent with a plus where above zero."""
    return "–" if ratio is None else ("+" if round(100 * float(ratio)) > 0 else "") + percent(ratio)


def share(part: Any, whole: Any) -> str:
    """`part` of `whole` in percent with one decimal; an en dash where the whole is not positive."""
    return _minus(f"{100 * float(part) / float(whole):.1f}\u202f%") if whole and float(whole) > 0 else "–"


def _compact(amount: float) -> str:
    for size, suffix in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(amount) >= size:
            return _minus(f"{amount / size:.3g}\u202f{suffix}")
    return _minus(f"{amount:.3g}")


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def _rows(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
    result = connection.execute(query, list(parameters))
    names = [description[0] for description in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
