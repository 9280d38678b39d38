"""One customer on one page, and in a few lines for the console: who, what they earn and why, what they are worth, what to do.

Belongs here: reading what a release says of one customer and laying it out; the page is `customer.html.j2`. Not here: any
figure a published table does not hold (sums over months apart). Only a release is read, never the warehouse: the page says
what every other reader sees, and nothing of people that the release does not.
"""

from __future__ import annotations

import os
import stat
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.errors import WhalecurveError
from assets.publish import charts
from assets.publish.numbers import money
from assets.publish.page import Row, labels_of, render_page, rows
from assets.publish.report import (
    COST_TO_SERVE,
    PROFIT_AND_LOSS,
    TREND_MONTHS,
    TWELVE_MONTHS,
    profit_and_loss_columns,
    profitable_if,
    waterfall_steps,
)

if TYPE_CHECKING:
    import duckdb

NEAR_IDS = 3
SHOWN_POOLS = 3
WIDTH = 110
HORIZONS = ("full_cost", "avoidable", "contribution")
PARTS = ("satisfaction", "loyalty", "complaints", "service", "engagement")
AGES = ("not_due", "overdue_1_30", "overdue_31_60", "overdue_61_90", "overdue_over_90")


@dataclass(frozen=True)
class CustomerPage:
    """A customer's page and the same in short."""

    customer_id: str
    html: str
    text: str


def customer_page(
    connection: duckdb.DuckDBPyConnection, asked: str, *, company: str, currency: str, language: str = "en"
) -> CustomerPage:
    """The page of a customer, asked for by customer id or by the id of the CRM, from a release's database.

    Amounts are in base currency, over the as-of month and the eleven before it where nothing else is said. Raises
    WhalecurveError when there is no such customer, with the nearest ids, or when the release is older than these tables.
    """
    import duckdb

    try:
        found = _customer(connection, asked)
        values = _values(connection, found, language)
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise WhalecurveError(
            "This release was made by an earlier version and does not hold what a customer's page needs "
            f"({str(error).splitlines()[0]}). Ask for a later one: `whalecurve releases` lists them."
        ) from error
    html = render_page("customer.html.j2", language, values | {"company": company, "currency": currency})
    return CustomerPage(found["customer_id"], html, _text(values, currency))


def write_page(html: str, file: Path, releases: Path) -> None:
    """Write a page where a person wants it, readable for them alone: it may name people.

    Raises WhalecurveError when it cannot be written, or when it would be put among the releases, which never change.
    """
    if file.resolve().is_relative_to(releases.resolve()):
        raise WhalecurveError(f"{file} lies among the releases, which never change. Choose a place outside {releases}.")
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as output:
            if stat.S_ISREG(os.fstat(output.fileno()).st_mode):
                os.fchmod(output.fileno(), 0o600)
            output.write(html)
    except OSError as error:
        raise WhalecurveError(f"The page cannot be written to {file}: {error.strerror}.") from error


def _customer(connection: duckdb.DuckDBPyConnection, asked: str) -> Row:
    by_id = rows(connection, "select * from customers where customer_id = ?", [asked])
    found = by_id or rows(connection, "select * from customers where source_customer_id = ?", [asked])
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted(row["customer_id"] for row in found))
        raise WhalecurveError(f"'{asked}' is an id of several customers: {ids}. Ask for one of these.")
    near = rows(
        connection,
        f"""
        select customer_id, coalesce(customer_name, '') as name from customers
        order by lower(coalesce(customer_name, '')) = lower($1) desc,
            jaro_winkler_similarity(customer_id, $1) desc, customer_id
        limit {NEAR_IDS}
        """,
        [asked],
    )
    nearest = ", ".join(f"{row['customer_id']} ({row['name']})" if row["name"] else row["customer_id"] for row in near)
    meant = f" The nearest ids are {nearest}." if near else " It holds no customer at all."
    raise WhalecurveError(f"There is no customer '{asked}' in this release.{meant}")


def _values(connection: duckdb.DuckDBPyConnection, customer: Row, language: str) -> Row:
    from markupsafe import Markup

    labels = labels_of(language)
    customer_id, as_of = customer["customer_id"], customer["as_of_date"]

    def of(table: str) -> Row | None:
        found = rows(connection, f"select * from {table} where customer_id = ?", [customer_id])
        return found[0] if found else None

    months = rows(
        connection,
        f"""
        select strftime(month, '%Y-%m') as month, {", ".join(PROFIT_AND_LOSS)}, order_count,
            {COST_TO_SERVE} as cost_to_serve, expected_credit_loss + financing_cost as credit_cost
        from customer_profitability
        where customer_id = $1 and month <= $2::date
            and month > date_trunc('month', $2::date) - interval {TREND_MONTHS} month
        order by month
        """,
        [customer_id, as_of],
    )
    twelve = rows(
        connection,
        f"select {profit_and_loss_columns()} from customer_profitability where {TWELVE_MONTHS} and customer_id = ?",
        [as_of, as_of, customer_id],
    )[0]
    steps = waterfall_steps(twelve, labels | {"contribution": labels["profit"]})
    levers = _levers(connection, customer_id, language, labels)
    return {
        "customer": customer,
        "as_of": as_of.isoformat(),
        "months": months,
        "months_chart": Markup(_months_chart(months, labels)),
        "waterfall": steps,
        "waterfall_chart": Markup(_waterfall_chart(steps, labels)),
        "pools": _pools(connection, customer_id, as_of),
        "tier": of("customer_rfm"),
        "clv": of("customer_clv"),
        "churn": of("churn_risk"),
        "credit": of("credit_risk"),
        "relationship": of("relationship_strength"),
        "lifecycle": of("customer_lifecycle"),
        "matrix": of("profitability_matrix"),
        "sensitivity": of("profit_sensitivity"),
        "potential": of("customer_potential"),
        "levers": levers,
        "way_out": next((row["said"] for row in levers if row["horizon"] == "full_cost" and row["is_feasible"]), None),
        "actions": rows(
            connection, "select * from customer_actions where customer_id = ? order by action_rank", [customer_id]
        ),
        "outcomes": rows(
            connection,
            "select * from action_outcomes where customer_id = ? order by advised_on desc, action",
            [customer_id],
        ),
        "parts": PARTS,
        "ages": AGES,
    }


def _pools(connection: duckdb.DuckDBPyConnection, customer_id: str, as_of: Any) -> list[Row]:
    """What each pool charged in twelve months, for how much of its driver, and the last month that can be explained."""
    return rows(
        connection,
        f"""
        with of_months as (
            select month, pool_id, max(pool_name) as pool_name, max(stage) as stage, sum(amount) as amount,
                max(driver_unit) as unit, max(driver_quantity) filter (driver_month = month) as quantity
            from customer_cost_lines where {TWELVE_MONTHS} and customer_id = ?
            group by month, pool_id
        )
        select pool_id, any_value(pool_name) as pool_name, any_value(stage) as stage, sum(amount) as amount,
            any_value(unit) as unit, sum(quantity) as quantity,
            strftime(max(month) filter (amount <> 0), '%Y-%m') as last_month
        from of_months
        group by pool_id
        order by amount desc, pool_id
        """,
        [as_of, as_of, customer_id],
    )


def _levers(connection: duckdb.DuckDBPyConnection, customer_id: str, language: str, labels: Row) -> list[Row]:
    """What would make the customer profitable, or how far they are from a loss, by kind of cost counted and nearness."""
    found = rows(
        connection,
        """
        select * from break_even where customer_id = ?
        order by list_position(?, horizon), is_feasible desc, lever_rank nulls last, lever
        """,
        [customer_id, list(HORIZONS)],
    )
    for row in found:
        is_way_out = row["is_feasible"] and not row["is_profitable"]
        row["said"] = profitable_if(row, language, labels) if is_way_out or language == "en" else None
    return found


def _months_chart(months: Sequence[Row], labels: Row) -> str:
    if not months:
        return ""
    texts = {
        "title": labels["months_title"],
        "description": "; ".join(
            f"{row['month']}: {labels['gross_margin']} {money(row['gross_margin'])}, "
            f"{labels['profit']} {money(row['operating_profit'])}"
            for row in months
        ),
    }
    margins = [float(row["gross_margin"]) for row in months]
    profits = [float(row["operating_profit"]) for row in months]

    def draw(size: charts.Size) -> str:
        return charts.months([row["month"] for row in months], margins, profits, texts, size, name="months")

    return charts.both(draw, charts.sizes(320, 240))


def _waterfall_chart(steps: Sequence[Row], labels: Row) -> str:
    drawn = [(step["label"], float(step["amount"]), step["is_total"]) for step in steps]
    description = "; ".join(f"{step['label']} {money(step['amount'])}" for step in steps)

    def draw(size: charts.Size) -> str:
        title = labels["waterfall_title"]
        return charts.waterfall(drawn, size, name="waterfall", title=title, description=description)

    return charts.both(draw, charts.sizes(400, 500))


# In short


def _text(values: Row, currency: str) -> str:
    """What stands on the page's first screen, for the console; in English, as all of the command."""
    customer = values["customer"]
    labels = labels_of("en")
    name = f" {customer['customer_name']}" if customer["customer_name"] else ""
    where = [customer[key] for key in ("segment", "industry", "city", "country") if customer[key]]
    said = [f"{customer['customer_id']}{name}, as of {values['as_of']}, in {currency}"]
    standing = [
        *where,
        *(customer[key] for key in ("customer_tier", "rfm_tier") if customer[key]),
        _coded(labels, "stage_", customer["lifecycle_stage"]),
    ]
    said += _wrapped(", ".join(text for text in standing if text))
    said += ["", *_amounts(values)]
    if values["pools"]:
        said += ["", "What costs most"]
        for pool in values["pools"][:SHOWN_POOLS]:
            said.append(
                f"  {pool['amount']:>14,.2f}  {pool['pool_name'] or pool['pool_id']}: "
                f"whalecurve explain {customer['customer_id']} --month {pool['last_month']} --pool {pool['pool_id']}"
            )
    outlook = _outlook(values, labels)
    if outlook:
        said += ["", "What comes"]
        said += [line for text in outlook for line in _wrapped(text)]
    advice = [values["way_out"]] if values["way_out"] and customer["operating_profit_12m"] < 0 else []
    advice += [f"{row['title']} (by {row['due_date']}): {row['reason']}" for row in values["actions"]]
    if advice:
        said += ["", "What to do"]
        said += [line for text in advice for line in _wrapped(text)]
    return "\n".join(_printable(line) for line in said)


def _printable(line: str) -> str:
    """A line without what a terminal would obey: names come from outside."""
    return "".join(character if character.isprintable() else " " for character in line)


def _amounts(values: Row) -> list[str]:
    customer = values["customer"]
    lines = [
        ("net revenue", customer["net_revenue_12m"]),
        ("gross margin", customer["gross_margin_12m"]),
        ("cost to serve", customer["cost_to_serve_12m"]),
        ("credit cost", customer["credit_cost_12m"]),
        ("sustaining", customer["allocated_sustaining_12m"]),
        ("profit", customer["operating_profit_12m"]),
    ]
    shown = [(name, amount) for name, amount in lines if amount or name not in ("credit cost", "sustaining")]
    return ["Last 12 months", *(f"  {amount:>14,.2f}  {name}" for name, amount in shown)]


def _outlook(values: Row, labels: Row) -> list[str]:
    said = []
    if (clv := values["clv"]) and clv["clv"] is not None:
        between = f" (80 %: {clv['clv_low']:,.0f} to {clv['clv_high']:,.0f})" if clv["clv_low"] is not None else ""
        said.append(f"worth {clv['clv']:,.0f} over {clv['horizon_months']} months{between}, by {clv['clv_model']}")
    if churn := values["churn"]:
        reasons = [churn[f"reason_{place}_text"] for place in (1, 2, 3) if churn[f"reason_{place}_text"]]
        because = f": {'; '.join(reasons)}" if reasons else ""
        lost = churn["expected_profit_lost"]
        at_risk = f"{lost:,.0f} of profit at risk" if lost else "no profit at risk"
        said.append(
            f"{100 * churn['churn_probability']:.0f} % likely to buy nothing in {churn['horizon_days']} days, {at_risk}{because}"
        )
    if (credit := values["credit"]) and credit["exposure"]:
        said.append(
            f"owes {credit['exposure']:,.2f}, {credit['overdue']:,.2f} of it overdue; "
            f"{_coded(labels, 'credit_', credit['suggestion'])}"
        )
    if (known := values["relationship"]) and known["strength"] is not None:
        said.append(f"relationship {known['strength']:.0f} of 100, {known['strength_class']}")
    return said


def _coded(labels: Row, prefix: str, code: Any) -> str:
    return str(labels["codes"].get(f"{prefix}{code}", code or ""))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
