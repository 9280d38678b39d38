"""What each customer is worth: the assets of RFM, CLV, churn and match suggestions.

The functions (`rfm`, `clv`, `churn`, `matching`) know nothing of Dagster or of the warehouse, and see nothing after the
as-of date.
"""

import duckdb
import pandas as pd

from assets.analytics import churn, clv, matching, rfm
from assets.analytics.table_asset import analytics_asset
from assets.company import Value
from pipelines.resources import Workspace

NOT_A_CUSTOMER = "UNMATCHED"
"""The line that collects money without any customer; it has no behaviour to score."""

ORDERS = f"""
    select customer_id, order_id, min(invoice_date) as order_date, sum(net_amount) as net_revenue
    from facts.fct_invoice_lines
    where customer_id <> '{NOT_A_CUSTOMER}'
    group by customer_id, order_id
"""

MONTHLY_PROFIT = f"""
    select
        customer_id,
        month,
        net_revenue,
        net_revenue - operating_profit as cost
    from marts.customer_profitability
    where customer_id <> '{NOT_A_CUSTOMER}'
"""

PROFIT_12M = """
    select customer_id, sum(operating_profit) as profit_12m
    from marts.customer_profitability, facts.as_of
    where month > as_of_month - interval 12 month and month <= as_of_month
    group by customer_id
"""

TODAY = """
    coalesce(xref.valid_from <= as_of.as_of_date, true) and coalesce(xref.valid_to >= as_of.as_of_date, true)
"""

MATCHED_RECORDS = f"""
    select xref.customer_id, records.*
    from facts.customer_xref as xref
    inner join facts.as_of as as_of on {TODAY}
    inner join (
        select
            records.source_instance, records.customer_id as record_id, records.account_code, records.tax_id,
            records.name_key, customers.customer_name
        from facts.customer_records as records
        inner join staging.stg_customers as customers
            on records.source_instance = customers.source_instance and records.customer_id = customers.customer_id
        where not coalesce(customers.is_deleted, false)
    ) as records on xref.source_instance = records.source_instance and xref.source_customer_key = records.record_id
    where xref.key_kind = 'id'
"""

UNKNOWN_KEYS = f"""
    select
        xref.customer_id, xref.source_instance, xref.key_kind, uses.name_key,
        coalesce(uses.customer_name, case when xref.key_kind = 'id' then xref.source_customer_key end) as customer_name
    from facts.customer_xref as xref
    inner join facts.as_of as as_of on {TODAY}
    inner join facts.customer_key_uses as uses
        on xref.source_instance = uses.source_instance and xref.key_kind = uses.key_kind
        and xref.source_customer_key = uses.customer_key
    where xref.match_method = 'unknown'
        and xref.customer_id in (select customer_id from facts.dim_customers)
        and xref.customer_id not in (select customer_id from ({MATCHED_RECORDS}))
"""

LINKABLE_CUSTOMERS = f"""
    select
        customer_id,
        case when bool_or(account_code = customer_id) then 0 else 1 end as standing,
        case when not coalesce(bool_or(account_code = customer_id), false)
            then min_by(source_instance, source_instance || ':' || record_id) end as source,
        case when bool_or(account_code = customer_id) then customer_id
            else min_by(record_id, source_instance || ':' || record_id) end as source_customer_key,
        case when bool_or(account_code = customer_id) then 'code' else 'id' end as key_kind
    from ({MATCHED_RECORDS})
    group by customer_id
    union all
    select
        customer_id,
        2 as standing,
        case when min(key_kind) = 'id' and count(distinct source_instance) = 1 then min(source_instance) end as source,
        customer_id as source_customer_key,
        min(key_kind) as key_kind
    from ({UNKNOWN_KEYS})
    group by customer_id
"""

CUSTOMER_NAMES = f"""
    select distinct customer_id, customer_name, name_key from ({MATCHED_RECORDS})
    union
    select distinct customer_id, customer_name, name_key from ({UNKNOWN_KEYS})
"""

CUSTOMER_TAX_IDS = f"select distinct customer_id, tax_id from ({MATCHED_RECORDS}) where tax_id is not null"


def _value_settings(workspace: Workspace) -> Value:
    return workspace.company().value


def _rfm(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return rfm.score(connection.execute(ORDERS).df(), workspace.as_of(), tiers=rfm.read_tiers())


def _clv(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    settings = _value_settings(workspace)
    return clv.value(
        connection.execute(MONTHLY_PROFIT).df(),
        workspace.as_of(),
        discount_rate=settings.discount_rate,
        horizon_months=settings.horizon_months,
    )


def _churn(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return churn.recency_baseline(
        connection.execute(ORDERS).df(),
        workspace.as_of(),
        horizon_days=_value_settings(workspace).churn_horizon_days,
        profit_12m=connection.execute(PROFIT_12M).df(),
    )


def _customer_match_suggestions(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return matching.suggest(
        connection.execute(LINKABLE_CUSTOMERS).df(),
        connection.execute(CUSTOMER_NAMES).df(),
        connection.execute(CUSTOMER_TAX_IDS).df(),
        workspace.as_of(),
        suggest_from=workspace.company().matching.suggest_from,
    )


_MONEY = "DECIMAL(22,4)"

ASSETS = [
    analytics_asset(
        "customer_rfm",
        "One row per customer who ever bought: days since the last purchase, orders and net revenue of the last 12 "
        "months, their scores from 1 to 5 and the tier of the cell.",
        ("facts.fct_invoice_lines", "facts.as_of"),
        {
            "customer_id": "VARCHAR",
            "as_of_date": "DATE",
            "days_since_last_purchase": "BIGINT",
            "orders_12m": "BIGINT",
            "net_revenue_12m": _MONEY,
            "recency_score": "INTEGER",
            "frequency_score": "INTEGER",
            "monetary_score": "INTEGER",
            "rfm_cell": "VARCHAR",
            "rfm_tier": "VARCHAR",
            "rfm_tier_zh": "VARCHAR",
        },
        _rfm,
    ),
    analytics_asset(
        "customer_clv",
        "One row per customer with revenue or cost: profit so far, lifetime value by the customary formula and as "
        "discounted cash flow, after every cost traced to the customer.",
        ("marts.customer_profitability", "facts.as_of"),
        {
            "customer_id": "VARCHAR",
            "as_of_date": "DATE",
            "historic_profit": _MONEY,
            "months_observed": "BIGINT",
            "average_annual_profit": _MONEY,
            "expected_lifespan_years": "DOUBLE",
            "clv_formula": _MONEY,
            "monthly_retention": "DOUBLE",
            "expected_monthly_profit": _MONEY,
            "clv_discounted": _MONEY,
            "horizon_months": "INTEGER",
            "discount_rate": "DOUBLE",
        },
        _clv,
    ),
    analytics_asset(
        "churn_risk",
        "One row per customer who ever bought: probability of no purchase in the horizon, by the time since the last "
        "one, and the profit that would be lost, ranked.",
        ("facts.fct_invoice_lines", "marts.customer_profitability", "facts.as_of"),
        {
            "customer_id": "VARCHAR",
            "as_of_date": "DATE",
            "horizon_days": "INTEGER",
            "days_since_last_purchase": "BIGINT",
            "churn_probability": "DOUBLE",
            "expected_profit": _MONEY,
            "expected_profit_lost": _MONEY,
            "churn_rank": "INTEGER",
            "model": "VARCHAR",
        },
        _churn,
    ),
    analytics_asset(
        "customer_match_suggestions",
        "One row per pair that may be one customer: a customer, and the key of another that a person could link to it, "
        "how alike they are and why. Never applied by itself.",
        (
            "facts.customer_xref",
            "facts.customer_records",
            "facts.customer_key_uses",
            "facts.dim_customers",
            "facts.as_of",
            "staging.stg_customers",
        ),
        {
            "customer_id": "VARCHAR",
            "as_of_date": "DATE",
            "suggestion_rank": "INTEGER",
            "linked_customer_id": "VARCHAR",
            "source": "VARCHAR",
            "source_customer_key": "VARCHAR",
            "key_kind": "VARCHAR",
            "score": "DOUBLE",
            "reason": "VARCHAR",
            "links_csv_line": "VARCHAR",
        },
        _customer_match_suggestions,
    ),
]
