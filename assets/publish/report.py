"""The report: one HTML page that says who makes money, and proves that it adds up.

Belongs here: reading the published tables and laying them out. Not here: any figure a table does not hold (sums over months
and customers apart), how a picture looks (`charts`) or a number is written (`numbers`); texts are in `labels.yml`, the page in
`report.html.j2`, its look in `report.css`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets import gate, restatements
from assets.publish import charts, metrics
from assets.publish.numbers import cents, change, count, decimal, money, percent, reached, share, signed
from assets.publish.page import HERE, Row, labels_of, render_page, rows
from assets.publish.release import CIRCUMSTANCES, CIRCUMSTANCES_BEGIN, CIRCUMSTANCES_END

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

__all__ = [
    "HERE",
    "cents",
    "count",
    "money",
    "percent",
    "profitable_if",
    "render",
    "share",
    "signed",
    "waterfall_steps",
]

LISTED = 10
MOST_POINTS = 300
"""Points drawn of a curve; more cannot be told apart on a screen, and a million customers must not make a page of
twenty megabytes."""
TREND_MONTHS = 24

SHOWN_OF_A_CHECK = [
    *("table_name", "check_name", "severity", "passed", "observed", "detail"),
    *("approved_by", "approval_reason"),
]

TWELVE_MONTHS = """
    month > date_trunc('month', ?::date) - interval 12 month and month <= ?::date
"""
MONTHS_BEFORE = """
    month > date_trunc('month', ?::date) - interval 24 month and month <= date_trunc('month', ?::date) - interval 12 month
"""
COST_TO_SERVE = "direct_cost_to_serve + activity_cost_variable + activity_cost_step_fixed + activity_cost_fixed"
OF_CUSTOMERS = {
    "net_revenue": "net_revenue_12m",
    "gross_margin": "gross_margin_12m",
    "cost_to_serve": "cost_to_serve_12m",
    "operating_profit": "operating_profit_12m",
    "earning": "profitable_customers",
    "losing": "loss_making_customers",
    "customers": "customers_12m",
    "lost": "lost_profit_12m",
}
"""Figure of the report -> the metric it is (dbt_project/models/overview/_metrics.yml)."""
OF_MONTHS = {name: name for name in ("net_revenue", "gross_margin", "cost_to_serve", "operating_profit")}
STAGES = ("prospect", "new", "active", "at_risk", "lapsed", "won_back")


def render(
    connection: duckdb.DuckDBPyConnection,
    *,
    language: str = "en",
    quality: pd.DataFrame | None = None,
    late: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The report of what the warehouse holds now, as one HTML page in `language` (of `page.LANGUAGES`).

    Amounts are in base currency over the as-of month and the eleven before it. `quality` is data_quality as it is published;
    without it, the checks are those of the gate's ledger. `late` are the sources whose delivery for the date is missing
    (source, last_delivery): the page names them. Raises ValueError where there is no customer.
    """
    from markupsafe import Markup

    labels = labels_of(language)
    company = rows(connection, "select company_name as name, base_currency as currency from rules.company")[0]
    as_of = rows(connection, "select max(as_of_date) as as_of from overview.customers")[0]["as_of"]
    if as_of is None:
        raise ValueError("overview.customers is empty: there is nothing to report on.")
    targets = _targets(connection)
    whale = _whale(connection, labels)
    best, worst = (_customers(connection, order, language, labels) for order in ("desc", "asc"))
    totals = _totals(connection)
    steps = waterfall_steps(_profit_and_loss(connection, as_of), labels)
    pools = _pools(connection, as_of)
    churn = _churn(connection)
    values = {
        "company": company,
        "as_of": as_of.isoformat(),
        "late": late,
        "totals": totals,
        "six": _six_numbers(connection, as_of, totals, targets, labels),
        "targets": targets,
        "whale": whale,
        "identity": _identity(connection, as_of, labels),
        "best": best,
        "worst": worst,
        "largest_profit": max((abs(row["profit"]) for row in best + worst), default=0),
        "waterfall": steps,
        "waterfall_chart": _waterfall_chart(steps, labels),
        "pools": pools,
        "pools_chart": _pools_chart(pools, labels),
        "anomalies": _anomalies(connection, as_of),
        "actions": _actions(connection, language),
        "matrix": _matrix(connection, language),
        "matrix_chart": _matrix_chart(connection, labels),
        "tiers": _tiers(connection, language),
        "flows": _flows(connection, as_of),
        "churn": churn,
        "credit": _credit(connection),
        "channels": _channels(connection, as_of),
        "service": _service(connection, as_of),
        "models": _models(connection),
        "drift": _drift(connection),
        "reconciliation": _reconciliation(connection),
        "quality": _quality(gate.results(connection) if quality is None else quality),
        "beside": Markup(CIRCUMSTANCES_BEGIN),
        "everywhere": Markup(CIRCUMSTANCES_END),
        "deliveries": _deliveries(connection),
    }
    values["stands_out"] = _stands_out(connection, values, labels)
    drawn = {name: Markup(values[name]) for name in ("waterfall_chart", "pools_chart", "matrix_chart")}
    return render_page("report.html.j2", language, values | drawn)


# Figures


def _totals(connection: duckdb.DuckDBPyConnection) -> Row:
    """The sums over all customers, last twelve months."""
    return rows(connection, f"select {metrics.selected(OF_CUSTOMERS)} from overview.customers")[0]


def _six_numbers(
    connection: duckdb.DuckDBPyConnection,
    as_of: datetime.date,
    totals: Row,
    targets: Sequence[Row],
    labels: Row,
) -> list[Row]:
    """The company in six numbers, each with its months, the change on the twelve months before and its target."""
    from markupsafe import Markup

    monthly = rows(
        connection,
        f"""
        select strftime(month, '%Y-%m') as month, {metrics.selected(OF_MONTHS)},
            count(*) filter (operating_profit > 0) as earning,
            coalesce(sum(operating_profit) filter (operating_profit < 0), 0) as lost
        from marts.customer_profitability
        where month <= ?::date and month > date_trunc('month', ?::date) - interval {TREND_MONTHS} month
        group by month
        order by month
        """,
        [as_of, as_of],
    )
    before = _months_before(connection, as_of)
    by_kpi = {row["kpi"]: row for row in targets}
    six = []
    for name, label, note, kpi in (
        ("net_revenue", "net_revenue", labels["twelve_months"], None),
        ("gross_margin", "gross_margin", _of(totals, "gross_margin", "net_revenue", labels["of_revenue"]), None),
        (
            "cost_to_serve",
            "cost_to_serve",
            _of(totals, "cost_to_serve", "gross_margin", labels["of_gross_margin"]),
            "cost_to_serve_share",
        ),
        (
            "operating_profit",
            "operating_profit",
            _of(totals, "operating_profit", "net_revenue", labels["of_revenue"]),
            "operating_margin_12m",
        ),
        (
            "earning",
            "earning_customers",
            labels["of_customers"].format(total=count(totals["customers"])),
            "loss_making_customer_share",
        ),
        ("lost", "losses", labels["with_customers"].format(count=count(totals["losing"])), "loss_destroyed_12m"),
    ):
        value = totals[name]
        figure = {
            "label": labels[label],
            "value": count(value) if name == "earning" else money(value),
            "is_loss": name in ("operating_profit", "lost") and value < 0,
            "note": note,
            "change": None,
            "target": by_kpi.get(kpi),
            "spark": None,
        }
        if before:
            difference = value - before[name]
            relative = change(difference / before[name]) if before[name] > 0 else signed(difference)
            figure["change"] = labels["on_year_before"].format(change=relative)
        if len(monthly) > 1:
            points = [float(row[name]) for row in monthly]
            title = labels["trend_title"].format(
                figure=labels[label],
                first=money(points[0]),
                first_month=monthly[0]["month"],
                last=money(points[-1]),
                last_month=monthly[-1]["month"],
            )
            figure["spark"] = Markup(charts.spark(points, name=f"trend-{name}", title=title))
        six.append(figure)
    return six


def _of(totals: Row, part: str, whole: str, words: str) -> str:
    return f"{share(totals[part], totals[whole])} {words}"


def _months_before(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> Row | None:
    """The same sums of the twelve months before the last twelve; None where history does not hold all of them."""
    found = rows(
        connection,
        f"""
        with of_customers as (
            select customer_id, {metrics.selected(OF_MONTHS)}
            from marts.customer_profitability where {MONTHS_BEFORE}
            group by customer_id
        )
        select coalesce(sum(net_revenue), 0) as net_revenue, coalesce(sum(gross_margin), 0) as gross_margin,
            coalesce(sum(cost_to_serve), 0) as cost_to_serve, coalesce(sum(operating_profit), 0) as operating_profit,
            count(*) filter (operating_profit > 0) as earning,
            coalesce(sum(operating_profit) filter (operating_profit < 0), 0) as lost,
            (select min(month) from marts.customer_profitability)
                <= date_trunc('month', ?::date) - interval 23 month as is_whole
        from of_customers
        """,
        [as_of, as_of, as_of],
    )[0]
    return found if found["is_whole"] else None


def _targets(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The key figures that have a target, those missed first."""
    return rows(
        connection,
        """
        select kpi, title, value, unit, target, direction, status, previous_value, change
        from analytics.kpis
        where target is not null
        order by status <> 'missed', kpi
        """,
    )


def _identity(connection: duckdb.DuckDBPyConnection, as_of: datetime.date, labels: Row) -> Row:
    """Ledger cost = customers + residual lines, over the twelve months."""
    period = [as_of, as_of]
    ledger = rows(
        connection,
        "select coalesce(sum(amount_cents), 0)::decimal(38, 0) / 100 as amount, "
        f"coalesce(sum(amount_cents), 0)::bigint as cents from pools.pool_cost_lines where {TWELVE_MONTHS}",
        period,
    )[0]
    parts = rows(
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


def _customers(connection: duckdb.DuckDBPyConnection, order: str, language: str, labels: Row) -> list[Row]:
    """The most ('desc') or least ('asc') profitable customers; only those who earn, or only those who lose.

    `profitable_if` is the nearest feasible way to full cost for those who lose, a sentence or None.
    """
    tier = "rfm_tier_zh" if language == "zh" else "rfm_tier"
    found = rows(
        connection,
        f"""
        select customers.customer_id, customers.customer_name, customers.source_customer_id, customers.segment,
            tiers.{tier} as tier, customers.net_revenue_12m as net_revenue, customers.gross_margin_12m as gross_margin,
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
    levers = rows(
        connection,
        """
        select customer_id, lever, first_lever, second_lever, unit, current_value, target_value, second_unit,
            second_current_value, second_target_value, sentence
        from analytics.break_even
        where list_contains(?, customer_id) and horizon = 'full_cost' and lever_rank = 1 and is_feasible and not is_profitable
        """,
        [[row["customer_id"] for row in found]],
    )
    nearest = {row["customer_id"]: profitable_if(row, language, labels) for row in levers}
    return [row | {"profitable_if": nearest.get(row["customer_id"])} for row in found]


def profitable_if(row: Row, language: str, labels: Row) -> str:
    """One row of break_even as a sentence. The table has it in English; other languages say the same figures."""
    if language == "en":
        return str(row["sentence"])

    def said(lever: str, unit: str, now: Any, then: Any) -> str:
        ending = "%" if str(unit).startswith("percent") else ""
        return str(
            labels["lever_change"].format(
                lever=labels["codes"].get(f"lever_{lever}", lever),
                now=decimal(now) + ending,
                then=reached(then, now) + ending,
            )
        )

    changes = [said(row["first_lever"] or row["lever"], row["unit"], row["current_value"], row["target_value"])]
    if row["second_lever"]:
        second = row["second_unit"], row["second_current_value"], row["second_target_value"]
        changes.append(said(row["second_lever"], *second))
    return str(labels["profitable_if"].format(change=labels["and"].join(changes)))


def _profit_and_loss(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> Row:
    """Every line from list revenue to company profit, last twelve months; cost is positive."""
    steps = rows(
        connection,
        f"select {profit_and_loss_columns()} from marts.customer_profitability where {TWELVE_MONTHS}",
        [as_of, as_of],
    )[0]
    residual = rows(
        connection,
        f"select coalesce(sum(amount), 0) as amount from marts.residual_cost_lines where {TWELVE_MONTHS}",
        [as_of, as_of],
    )[0]["amount"]
    return steps | {"residual_cost": residual, "company_profit": steps["contribution"] - residual}


PROFIT_AND_LOSS = (
    "list_revenue",
    "discounts",
    "net_revenue",
    "cost_of_goods_sold",
    "gross_margin",
    "direct_cost_to_serve",
    "activity_cost_variable",
    "activity_cost_step_fixed",
    "activity_cost_fixed",
    "expected_credit_loss",
    "financing_cost",
    "contribution_after_cost_to_serve",
    "allocated_sustaining",
    "operating_profit",
)
"""The lines of customer_profitability from top to bottom."""
TOTALS = {
    "list_revenue",
    "net_revenue",
    "gross_margin",
    "contribution_after_cost_to_serve",
    "contribution",
    "company_profit",
}


def profit_and_loss_columns() -> str:
    """The sums of a customer_profitability, for a select; operating profit is called contribution, as it is of customers."""
    return ", ".join(
        f"coalesce(sum({name}), 0) as {'contribution' if name == 'operating_profit' else name}"
        for name in PROFIT_AND_LOSS
    )


def waterfall_steps(amounts: Row, labels: Row) -> list[Row]:
    """Sums of the lines in their order, as steps: totals as they are, deductions negative; lines without any are left out."""
    kept = dict(amounts)
    if not kept["allocated_sustaining"]:
        del kept["contribution_after_cost_to_serve"], kept["allocated_sustaining"]
    return [
        {
            "label": labels[name],
            "amount": amount if name in TOTALS else 0 - amount,
            "is_total": name in TOTALS,
        }
        for name, amount in kept.items()
    ]


def _waterfall_chart(steps: Sequence[Row], labels: Row) -> str:
    drawn = [(step["label"], float(step["amount"]), step["is_total"]) for step in steps]
    description = "; ".join(f"{step['label']} {money(step['amount'])}" for step in steps)

    def draw(size: charts.Size) -> str:
        title = labels["waterfall_title"]
        return charts.waterfall(drawn, size, name="waterfall", title=title, description=description)

    return charts.both(draw, charts.sizes(400, 500))


def _pools(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> list[Row]:
    return rows(
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


def _pools_chart(pools: Sequence[Row], labels: Row) -> str:
    drawn = [
        (
            row["pool_name"] or row["pool_id"],
            float(row["actual"]),
            None if row["budget"] is None else float(row["budget"]),
        )
        for row in pools
    ]
    if not drawn:
        return ""
    description = "; ".join(
        f"{label}: {labels['actual']} {money(actual)}, {labels['budget']} {money(budget)}"
        for label, actual, budget in drawn
    )

    def draw(size: charts.Size) -> str:
        return charts.against_plan(drawn, size, name="pools", title=labels["pools_chart"], description=description)

    return charts.both(draw, charts.sizes(400, 500))


def _anomalies(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> list[Row]:
    """Months of a pool that are unusual by its own past, the largest first, last twelve months."""
    return rows(
        connection,
        f"""
        select strftime(month, '%Y-%m') as month, pool_id, pool_name, actual_amount as actual, expected_amount as expected,
            residual_amount as difference, explanation
        from analytics.cost_anomalies
        where is_anomaly and {TWELVE_MONTHS}
        order by abs(residual_amount) desc, month, pool_id
        """,
        [as_of, as_of],
    )


def _churn(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    return rows(
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
    return rows(
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
    return rows(
        connection,
        f"""
        select {strategy} as strategy, count(*) as customers, sum(net_revenue_12m) as net_revenue, sum(profit_12m) as profit
        from analytics.profitability_matrix
        group by all
        order by profit desc, strategy
        """,
    )


def _matrix_chart(connection: duckdb.DuckDBPyConnection, labels: Row) -> str:
    """Profit over relationship of the customers with most revenue; empty where no relationship is known."""
    found = rows(
        connection,
        f"""
        select relationship_strength as strength, profit_12m as profit, count(*) over () as known
        from analytics.profitability_matrix
        where relationship_strength is not null
        order by net_revenue_12m desc, customer_id
        limit {MOST_POINTS}
        """,
    )
    if not found:
        return ""
    split = rows(connection, "select max(strong_from) as strong_from from analytics.relationship_strength")[0]
    points = [(float(row["strength"]), float(row["profit"])) for row in found]
    texts = {
        "title": labels["matrix_title"],
        "description": labels["matrix_description"].format(
            shown=count(len(points)),
            known=count(found[0]["known"]),
            earning=count(sum(profit > 0 for _, profit in points)),
            losing=count(sum(profit < 0 for _, profit in points)),
        ),
        "x": labels["relationship_axis"],
        "top_left": labels["codes"]["quadrant_repair"],
        "top_right": labels["codes"]["quadrant_protect"],
        "bottom_left": labels["codes"]["quadrant_fix_or_exit"],
        "bottom_right": labels["codes"]["quadrant_reprice"],
    }
    strong_from = float(split["strong_from"] or 50)

    def draw(size: charts.Size) -> str:
        return charts.scatter(points, texts, size, name="matrix", split=strong_from)

    return charts.both(draw, charts.sizes(420, 340))


def _tiers(connection: duckdb.DuckDBPyConnection, language: str) -> list[Row]:
    """Customers, revenue and profit by tier; a tier of None is of those who never bought."""
    tier = "rfm_tier_zh" if language == "zh" else "rfm_tier"
    return rows(
        connection,
        f"""
        select tiers.{tier} as tier, count(*) as customers, sum(customers.net_revenue_12m) as net_revenue,
            sum(customers.operating_profit_12m) as profit,
            count(*) filter (customers.operating_profit_12m < 0) as losing
        from overview.customers as customers
        left join analytics.customer_rfm as tiers on tiers.customer_id = customers.customer_id
        group by all
        order by profit desc, tier
        """,
    )


def _flows(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> Row | None:
    """How customers moved between lifecycle stages in the last twelve months, and how many stood where before and after.

    A customer who moved twice is counted twice in the moves.
    """
    moves = rows(
        connection,
        f"""
        select from_stage, to_stage, sum(customers)::bigint as customers
        from analytics.customer_stage_flows where {TWELVE_MONTHS} and from_stage <> to_stage group by all
        """,
        [as_of, as_of],
    )
    ends = rows(
        connection,
        f"""
        with months as (
            select min(month) as first_month, max(month) as last_month
            from analytics.customer_stage_flows where {TWELVE_MONTHS}
        )
        select stage, sum(before)::bigint as before, sum(now)::bigint as now, strftime(first_month, '%Y-%m') as since
        from (
            select from_stage as stage, customers as before, 0 as now, first_month
            from analytics.customer_stage_flows inner join months on month = first_month
            union all
            select to_stage, 0, customers, first_month
            from analytics.customer_stage_flows inner join months on month = last_month
        )
        group by stage, first_month
        """,
        [as_of, as_of],
    )
    if not ends:
        return None
    stood = {row["stage"]: row for row in ends}
    moved = {(row["from_stage"], row["to_stage"]): row["customers"] for row in moves}
    others = sorted({*stood, *(stage for pair in moved for stage in pair)} - set(STAGES))
    stages = [stage for stage in (*STAGES, *others) if stage in stood or any(stage in pair for pair in moved)]
    reached = [stage for stage in stages if stage != "prospect"]
    return {
        "since": ends[0]["since"],
        "to": reached,
        "largest": max(moved.values(), default=1),
        "rows": [
            {
                "stage": stage,
                "before": None if stage == "prospect" else stood.get(stage, {}).get("before", 0),
                "now": None if stage == "prospect" else stood.get(stage, {}).get("now", 0),
                "moves": [moved.get((stage, to), 0) for to in reached],
            }
            for stage in stages
        ],
    }


def _credit(connection: duckdb.DuckDBPyConnection) -> Row:
    """What is owed, and whose terms should change, by what it is expected to bring."""
    listed = rows(
        connection,
        f"""
        select customers.customer_id, customers.customer_name, customers.source_customer_id, customers.segment,
            risk.exposure, risk.overdue, risk.loss_rate, risk.credit_limit, risk.recommended_limit, risk.suggestion,
            risk.expected_effect as effect, risk.explanation, count(*) over () as suggestions
        from analytics.credit_risk as risk
        inner join overview.customers as customers on customers.customer_id = risk.customer_id
        where risk.suggestion <> 'none'
        order by risk.expected_effect desc nulls last, customers.customer_id
        limit {LISTED}
        """,
    )
    sums = rows(
        connection,
        """
        select coalesce(sum(exposure), 0) as exposure, coalesce(sum(overdue), 0) as overdue,
            coalesce(sum(expected_credit_loss), 0) as expected_loss
        from analytics.credit_risk
        """,
    )[0]
    return sums | {"listed": listed}


def _channels(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> list[Row]:
    """What each channel cost and won in twelve months, and how the newest customers with a full year paid back."""
    return rows(
        connection,
        """
        select latest.channel, latest.cost_12m as cost, latest.new_customers_12m as new_customers, latest.cac_12m as cac,
            strftime(cohort.month, '%Y-%m') as cohort_month, cohort.new_customers as cohort_customers,
            cohort.payback_months, cohort.payback_status, cohort.roi_12m
        from (
            select * from analytics.acquisition_channels where month <= ?::date
            qualify row_number() over (partition by channel order by month desc) = 1
        ) as latest
        left join (
            select * from analytics.acquisition_channels where roi_12m is not null
            qualify row_number() over (partition by channel order by month desc) = 1
        ) as cohort on cohort.channel = latest.channel
        order by latest.new_customers_12m desc, latest.channel
        """,
        [as_of],
    )


def _service(connection: duckdb.DuckDBPyConnection, as_of: datetime.date) -> list[Row]:
    """Cases by channel, last twelve months; shares are of all cases of the months that have an answer."""
    return rows(
        connection,
        f"""
        select channel, sum(case_count) as cases, sum(open_case_count) as still_open,
            sum(response_within_target_share * responded_case_count) filter (response_within_target_share is not null)
                / nullif(sum(responded_case_count) filter (response_within_target_share is not null), 0) as responded,
            sum(resolution_within_target_share * closed_case_count) filter (resolution_within_target_share is not null)
                / nullif(sum(closed_case_count) filter (resolution_within_target_share is not null), 0) as resolved,
            sum(csat * csat_answers) filter (csat is not null)
                / nullif(sum(csat_answers) filter (csat is not null), 0) as csat,
            sum(complaint_count) as complaints,
            sum(cost) / nullif(sum(case_count) filter (cost is not null), 0) as cost_per_case
        from analytics.service_quality where {TWELVE_MONTHS}
        group by channel
        order by cases desc, channel
        """,
        [as_of, as_of],
    )


def _drift(connection: duckdb.DuckDBPyConnection) -> Row:
    """How many inputs and scores of the models are distributed as when they were fitted, and which are not."""
    found = rows(connection, "select feature, status from analytics.model_drift order by psi desc nulls last, feature")
    return {
        "total": len(found),
        "steady": sum(row["status"] == "steady" for row in found),
        "moved": [row["feature"] for row in found if row["status"] in ("watch", "drifted")],
    }


def _deliveries(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """What was read of each source, and what of it is in quarantine."""
    return rows(
        connection,
        """
        select source as source, count(distinct file_name) as files, sum(rows_in) as rows_in,
            sum(rows_quarantined) as quarantined, max(extract_date) as latest
        from raw.file_registry
        group by source
        order by source
        """,
    )


def _stands_out(connection: duckdb.DuckDBPyConnection, values: Mapping[str, Any], labels: Row) -> list[Row]:
    """The page in a few sentences, each with the section that shows it."""
    said = []
    if values["whale"]:
        said.append(("whale", values["whale"]["lead"]))
    if missed := [row for row in values["targets"] if row["status"] == "missed"]:
        names = [labels["codes"].get(f"kpi_{row['kpi']}", row["title"]) for row in missed]
        said.append(
            (
                "targets",
                labels["out_targets"].format(
                    missed=count(len(missed)), total=count(len(values["targets"])), names=labels["comma"].join(names)
                ),
            )
        )
    if values["anomalies"]:
        largest = values["anomalies"][0]
        said.append(
            (
                "pools",
                labels["out_anomaly"].format(
                    count=count(len(values["anomalies"])),
                    pool=largest["pool_name"] or largest["pool_id"],
                    month=largest["month"],
                    difference=signed(largest["difference"]),
                ),
            )
        )
    if values["churn"]:
        risk = rows(connection, "select sum(expected_profit_lost) as lost from analytics.churn_risk")[0]["lost"]
        days = values["churn"][0]["horizon_days"]
        said.append(("churn", labels["out_churn"].format(lost=money(risk), days=days)))
    if values["credit"]["listed"]:
        suggestions = values["credit"]["listed"][0]["suggestions"]
        said.append(
            (
                "credit",
                labels["out_credit"].format(count=count(suggestions), overdue=money(values["credit"]["overdue"])),
            )
        )
    if values["actions"]:
        effect = rows(
            connection, "select count(*) as advised, sum(expected_effect) as effect from overview.customer_actions"
        )[0]
        said.append(
            ("actions", labels["out_actions"].format(count=count(effect["advised"]), effect=money(effect["effect"])))
        )
    return [{"anchor": anchor, "text": text} for anchor, text in said]


def _models(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The forecasting model in use for each purpose and horizon, and how it did on months it had not seen."""
    return rows(
        connection,
        """
        select purpose, horizon_days as days, model, origins, bias, auc, rmse, naive_rmse, passes, why
        from analytics.model_quality
        where is_used and origins > 0
        order by purpose, horizon_days
        """,
    )


def _reconciliation(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    return rows(
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
    import pandas as pd

    approvals = {name: checks.get(name, pd.Series(pd.NA, checks.index)) for name in ("approved_by", "approval_reason")}
    checks = checks.assign(**{name: column.astype("string").fillna("") for name, column in approvals.items()})
    is_beside = checks["stage"].isin(CIRCUMSTANCES)
    ledger, beside = checks[~is_beside], checks[is_beside]
    restated = ledger[ledger["stage"] == restatements.STAGE]
    tables = []
    for table, found in ledger.groupby("table_name"):
        passed = found["passed"].astype(bool)
        tables.append(
            {
                "table_name": table,
                "checks": len(found),
                "passed": int(passed.sum()),
                "warnings": int((~passed & (found["severity"] == "warn")).sum()),
                "failures": int((~passed & (found["severity"] == "error")).sum()),
            }
        )
    unsettled = ledger[~ledger["passed"].astype(bool)].sort_values(["severity", "table_name", "check_name"])
    return {
        "tables": tables,
        "total": len(ledger),
        "passed": sum(row["passed"] for row in tables),
        "restated": restated[["observed", "detail"]].to_dict("records"),
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
    from markupsafe import Markup

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
    lines = []
    for curve in (profit, margin):
        if curve is not None:
            whole = curve.total if in_percent else 1.0
            lines.append((curve.ranks, [value / whole for value in curve.profits]))

    def draw(size: charts.Size) -> str:
        return charts.curve(lines, profit.peak, texts, size, name="whale-curve", in_percent=in_percent)

    return {
        "lead": lead,
        "has_gross_margin": margin is not None,
        "chart": Markup(charts.both(draw, charts.sizes(400, 280))),
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
