"""The lists account managers work: whom to protect, whom to repair, whom to learn from.

Belongs here: who is on a list, in which order, with which columns. Not here: writing the files (`release`).
Customers are named by the ids of their own CRM (source_instance, source_customer_id); those no CRM knows, and those
deleted there, are left out: nobody could act on them. Names are in a list only where the company publishes them.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from pathlib import Path

import duckdb
import pandas as pd

from assets.company import Company
from assets.ingest.dialect import EXPORTED_FIELDS, Export, fields_of, load_dialect

LONGEST = 500
"""Rows per list: what a team can work through before the next release."""

MOST_ACTIONS = 20_000
"""Rows of customer_actions.csv and of each CRM's own list, by priority over the company. The table holds all."""

CUSTOMER = """
    customers.source_instance,
    customers.source_customer_id,
    customers.customer_name,
    customers.customer_id,
    customers.owner_ref,
    customers.segment,
    customers.rfm_tier,
    customers.last_order_date
"""

CHURN = f"""
    select
        {CUSTOMER},
        churn_risk.days_since_last_purchase,
        churn_risk.churn_probability,
        churn_risk.expected_profit,
        churn_risk.expected_profit_lost,
        churn_risk.churn_rank
    from overview.customers as customers
    inner join analytics.churn_risk as churn_risk on churn_risk.customer_id = customers.customer_id
    where customers.is_in_crm and not customers.is_deleted and churn_risk.expected_profit_lost > 0
    order by churn_risk.churn_rank, customers.customer_id
    limit {LONGEST}
"""

LOSS_MAKING = f"""
    with

    largest_costs as (

        select
            lines.customer_id,
            lines.pool_name as largest_cost_pool,
            sum(lines.amount) as largest_cost_12m

        from marts.customer_cost_lines as lines
        cross join (select max(as_of_date) as as_of_date from overview.customers) as as_of
        where lines.month > date_trunc('month', as_of.as_of_date) - interval 12 month
            and lines.month <= as_of.as_of_date
        group by lines.customer_id, lines.pool_name
        qualify row_number() over (partition by lines.customer_id order by sum(lines.amount) desc, lines.pool_name) = 1

    )

    select
        {CUSTOMER},
        customers.orders_12m,
        customers.net_revenue_12m,
        customers.gross_margin_12m,
        customers.cost_to_serve_12m,
        customers.operating_profit_12m,
        largest_costs.largest_cost_pool,
        largest_costs.largest_cost_12m
    from overview.customers as customers
    left join largest_costs on largest_costs.customer_id = customers.customer_id
    where customers.is_in_crm and not customers.is_deleted and customers.operating_profit_12m < 0
    order by customers.operating_profit_12m, customers.customer_id
    limit {LONGEST}
"""

BEST = f"""
    select
        {CUSTOMER},
        customers.orders_12m,
        customers.net_revenue_12m,
        customers.gross_margin_12m,
        customers.cost_to_serve_12m,
        customers.operating_profit_12m,
        customers.clv_discounted,
        customers.churn_probability
    from overview.customers as customers
    where customers.is_in_crm and not customers.is_deleted and customers.operating_profit_12m > 0
    order by customers.operating_profit_12m desc, customers.customer_id
    limit {LONGEST}
"""


MATCH_SUGGESTIONS = f"""
    select
        suggestions.suggestion_rank,
        suggestions.score,
        suggestions.reason,
        suggestions.customer_id,
        customers.customer_name,
        suggestions.linked_customer_id,
        linked.customer_name as linked_customer_name,
        suggestions.source,
        suggestions.source_customer_key,
        suggestions.key_kind,
        suggestions.links_csv_line
    from analytics.customer_match_suggestions as suggestions
    left join overview.customers as customers on customers.customer_id = suggestions.customer_id
    left join overview.customers as linked on linked.customer_id = suggestions.linked_customer_id
    order by suggestions.suggestion_rank
    limit {LONGEST}
"""


ACTIONS = f"""
    select
        customers.source_instance,
        customers.source_customer_id,
        customers.customer_name,
        actions.customer_id,
        actions.priority_rank,
        actions.action_rank,
        actions.action,
        actions.title,
        actions.title_zh,
        actions.reason,
        actions.reason_zh,
        cast(actions.expected_effect as decimal(22, 2)) as expected_effect,
        actions.effect_basis,
        actions.effect_basis_zh,
        actions.owner_role,
        case when actions.owner_ref is not null then customers.owner_ref end as owner_ref,
        actions.due_date,
        actions.rule_id,
        actions.as_of_date
    from analytics.advised_actions as actions
    inner join overview.customers as customers on customers.customer_id = actions.customer_id
    where customers.is_in_crm and not customers.is_deleted
    order by actions.priority_rank
    limit {MOST_ACTIONS}
"""
"""Owners as published customers have them: in clear, as pseudonyms or not at all."""

CRM_SOURCES = """
    select distinct source_instance
    from overview.customers
    where is_in_crm and source_instance is not null
    order by source_instance
"""


def lists(connection: duckdb.DuckDBPyConnection) -> dict[str, pd.DataFrame]:
    """The lists by file name, one row per customer each (the last: per pair), best first to work on. Amounts in base currency.

    - churn_list: customers with profit to lose, by expected_profit_lost (`analytics.churn_risk`).
    - loss_making_customers: operating profit of the last 12 months below 0, worst first, with the pool that cost most.
    - best_customers: operating profit of the last 12 months above 0, best first.
    - customer_match_suggestions: two that may be one customer, likeliest first, with the line for links.csv that says so.
    """
    queries = {
        "churn_list": CHURN,
        "loss_making_customers": LOSS_MAKING,
        "best_customers": BEST,
        "customer_match_suggestions": MATCH_SUGGESTIONS,
    }
    return {name: _plain(connection.execute(query)) for name, query in queries.items()}


def action_lists(
    connection: duckdb.DuckDBPyConnection, exports: Mapping[str, Export], publish: Collection[str]
) -> dict[str, pd.DataFrame]:
    """The advice by file name: customer_actions for everybody, and actions_<source> for each source with customers of its own.

    A source named in `exports` gets the columns its CRM imports, any other the plain ones. `publish` are the personal columns the
    company publishes: a column of an export that names another one is left out, because a pseudonym is nobody's id.
    """
    everything = _plain(connection.execute(ACTIONS))
    shown = {"customer_actions": everything}
    for (source,) in connection.execute(CRM_SOURCES).fetchall():
        own = everything[everything["source_instance"] == source].reset_index(drop=True)
        export = exports.get(source)
        shown[f"actions_{source}"] = own if export is None else _exported(own, export, publish)
    return shown


def action_exports(company: Company, company_folder: Path) -> dict[str, Export]:
    """Source -> how its CRM imports advice, for the sources whose dialect says so."""
    dialects = {name: load_dialect(source.dialect, company_folder) for name, source in company.sources.items()}
    return {name: dialect.export["actions"] for name, dialect in dialects.items() if "actions" in dialect.export}


def _exported(rows: pd.DataFrame, export: Export, publish: Collection[str]) -> pd.DataFrame:
    texts = {name: [_text(value, export.dates) for value in rows[name]] for name in EXPORTED_FIELDS}
    hidden = {"customer_name", "owner_ref"} - set(publish)
    columns = {
        header: [template.format(**{name: texts[name][row] for name in names}) for row in range(len(rows))]
        for header, template, names in ((header, text, fields_of(text)) for header, text in export.columns.items())
        if not hidden & set(names)
    }
    return pd.DataFrame(columns, dtype="object")


def _text(value: object, dates: str) -> str:
    if value is None or value != value:
        return ""
    return value.strftime(dates) if isinstance(value, datetime.date) else str(value)


def _plain(result: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Rows as Python objects: decimals keep the digits they have in the warehouse, and a missing name stays missing."""
    columns = [description[0] for description in result.description or []]
    return pd.DataFrame(result.fetchall(), columns=columns, dtype="object")
