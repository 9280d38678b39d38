"""Who may be one customer twice: the asset of match suggestions.

The function (`matching`) knows nothing of Dagster or of the warehouse.
"""

import duckdb
import pandas as pd

from assets.analytics import matching
from assets.analytics.table_asset import analytics_asset
from pipelines.resources import Workspace

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


def _customer_match_suggestions(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> pd.DataFrame:
    return matching.suggest(
        connection.execute(LINKABLE_CUSTOMERS).df(),
        connection.execute(CUSTOMER_NAMES).df(),
        connection.execute(CUSTOMER_TAX_IDS).df(),
        workspace.as_of(),
        suggest_from=workspace.company().matching.suggest_from,
    )


ASSETS = [
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
