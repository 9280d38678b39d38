"""A small warehouse with every published table, for the tests of gate, release, lists and report.

Sixty customers over two years, with a ledger whose every cent is on a customer or on a residual line. All tables
derive from one list of orders and one of pools, so that the identities between them hold.
"""

import atexit
import datetime
import functools
import random
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd

from assets import gate
from assets.analytics import churn, clv, features, matching, rfm
from assets.ingest.sql import insert_rows

AS_OF = datetime.date(2026, 6, 30)
EXPECTATIONS = Path(__file__).resolve().parents[2] / "expectations"

RELATIONS = {
    "customers": "overview.customers",
    "customer_profitability": "marts.customer_profitability",
    "customer_cost_lines": "marts.customer_cost_lines",
    "residual_cost_lines": "marts.residual_cost_lines",
    "cost_pools": "overview.cost_pools",
    "pool_cost_lines": "pools.pool_cost_lines",
    "driver_quantities": "pools.driver_quantities",
    "reconciliation": "marts.reconciliation",
    "control_failures": "marts.control_failures",
    "unconverted_amounts": "facts.unconverted_amounts",
    "whale_curve": "marts.whale_curve",
    "customer_rfm": "analytics.customer_rfm",
    "customer_clv": "analytics.customer_clv",
    "churn_risk": "analytics.churn_risk",
}

NAMES = {
    0: "<script>alert('stolen')</script>",
    1: '=HYPERLINK("http://example.invalid")',
    2: "海港松木贸易有限公司",
    3: "+49 Werkzeug GmbH & Co. KG",
}

POOLS = """
    values ('warehouse', 'Warehouse picking', 'activity', 'invoice_lines', 'lines', 'variable', 1250000),
           ('support', 'Customer support', 'activity', 'service_cases', 'cases', 'fixed', 640000),
           ('key_account', 'Key account visits', 'direct', null, null, 'variable', 210000),
           ('headquarters', 'Headquarters', 'sustaining', null, null, 'sustaining', 430000)
"""

DERIVED = f"""
    create schema pools; create schema facts; create schema marts; create schema overview; create schema analytics;
    create schema rules;

    create table rules.company as select
        'test' as company, 'Harbour Pine <Trading> & Sons' as company_name, 'CNY' as base_currency,
        0.10::double as discount_rate, 36 as horizon_months, 90 as churn_horizon_days,
        true as publish_customer_name, date '2024-07-01' as first_business_date;

    create table cost_pools as select * from ({POOLS})
        as cost_pools(pool_id, pool_name, stage, driver_id, driver_unit, behaviour, monthly_cents);
    create table months as select distinct month from orders;

    create table pools.driver_quantities as
        select month, 'invoice_lines' as driver_id, customer_id, sum(lines)::bigint as quantity,
            0::bigint as floored_quantity, count(*)::bigint as source_row_count
        from orders group by all
        union all
        select month, 'service_cases', customer_id, sum(cases)::bigint, 0, count(*)
        from orders where cases > 0 group by all;

    create table shares as
        select cost_pools.*, month, customer_id, quantity, sum(quantity) over (partition by pool_id, month) as total,
            (monthly_cents * quantity // sum(quantity) over (partition by pool_id, month))::bigint as cents
        from cost_pools join pools.driver_quantities using (driver_id)
        where stage = 'activity'
        union all
        select cost_pools.*, month, min(customer_id), null, null, monthly_cents::bigint
        from cost_pools cross join orders where stage = 'direct' group by all;

    create table marts.customer_cost_lines as
        select customer_id, month, month as driver_month, pool_id, behaviour, pool_name, stage, driver_id, driver_unit,
            month as quantity_month, quantity as driver_quantity, total::bigint as total_driver_quantity,
            0::decimal(22, 2) as previous_pool_amount,
            (monthly_cents / 100)::decimal(22, 2) as pool_amount, (cents / 100)::decimal(22, 2) as amount,
            (monthly_cents / 100 / total)::double as rate, 0 as rounding_cents
        from shares;

    create table marts.residual_cost_lines as
        select months.month, months.month as driver_month, cost_pools.pool_id, any_value(cost_pools.behaviour) as behaviour,
            case cost_pools.stage when 'sustaining' then 'SUSTAINING:facility' else 'UNUSED:' || cost_pools.pool_id end
                as residual_line,
            ((cost_pools.monthly_cents - coalesce(sum(cents), 0)) / 100)::decimal(22, 2) as amount,
            null::bigint as driver_quantity, null::bigint as total_driver_quantity
        from cost_pools cross join months
        left join shares on shares.pool_id = cost_pools.pool_id and shares.month = months.month
        group by months.month, cost_pools.pool_id, cost_pools.stage, cost_pools.monthly_cents
        having cost_pools.monthly_cents <> coalesce(sum(cents), 0);

    create table pools.pool_cost_lines as
        select month, month as driver_month, pool_id, behaviour, 'J-' || pool_id || '-' || month as journal_id,
            1 as journal_line_number,
            '6' || length(pool_id) as gl_account_number, pool_name as gl_account_name, 'CC1' as cost_center_id,
            null::varchar as customer_id, pool_name as je_line_description, monthly_cents::bigint as amount_cents,
            'gl.csv' as source_file, row_number() over (order by month, pool_id)::bigint as source_row
        from cost_pools cross join months;

    create table overview.cost_pools as
        select months.month, cost_pools.pool_id, pool_name, stage, behaviour, driver_id, driver_unit,
            (monthly_cents / 100)::decimal(22, 2) as actual_amount,
            (monthly_cents / 100)::decimal(22, 2) as gross_amount,
            (monthly_cents / 100 * 0.97)::decimal(22, 2) as budget_amount,
            coalesce((select sum(amount) from marts.customer_cost_lines as lines
                where lines.pool_id = cost_pools.pool_id and lines.month = months.month), 0)::decimal(22, 2)
                as on_customers_amount,
            coalesce((select sum(amount) from marts.residual_cost_lines as lines where lines.pool_id = cost_pools.pool_id
                and lines.month = months.month and residual_line like 'UNUSED%'), 0)::decimal(22, 2) as unused_amount,
            coalesce((select sum(amount) from marts.residual_cost_lines as lines where lines.pool_id = cost_pools.pool_id
                and lines.month = months.month and residual_line like 'SUST%'), 0)::decimal(22, 2) as sustaining_amount,
            0::decimal(22, 2) as unallocated_amount, 0::decimal(22, 2) as variance_amount, 900::bigint as used_quantity,
            1000::decimal(20, 6) as capacity_quantity, 100::decimal(20, 6) as unused_quantity,
            0.5::double as rate, false as is_overloaded, false as is_anomaly, null::varchar as target_status
        from cost_pools cross join months;

    create table marts.customer_profitability as
        with sales as (
            select customer_id, month, count(*)::bigint as order_count, sum(lines)::bigint as invoice_line_count,
                sum(lines)::decimal(20, 6) as quantity, sum(list_revenue)::decimal(22, 4) as list_revenue,
                sum(discounts)::decimal(22, 4) as discounts, sum(net_revenue)::decimal(22, 4) as net_revenue,
                sum(cost)::decimal(22, 4) as cost_of_goods_sold
            from orders group by all
        ), costs as (
            select customer_id, month,
                coalesce(sum(amount) filter (stage = 'direct'), 0) as direct,
                coalesce(sum(amount) filter (stage = 'activity' and behaviour = 'variable'), 0) as variable,
                coalesce(sum(amount) filter (stage = 'activity' and behaviour <> 'variable'), 0) as fixed
            from marts.customer_cost_lines group by all
        )
        select customer_id, month, order_count, invoice_line_count, quantity, list_revenue, discounts, net_revenue,
            cost_of_goods_sold, (net_revenue - cost_of_goods_sold)::decimal(22, 4) as gross_margin,
            coalesce(direct, 0)::decimal(22, 2) as direct_cost_to_serve,
            coalesce(variable, 0)::decimal(22, 2) as activity_cost_variable,
            0::decimal(22, 2) as activity_cost_step_fixed, coalesce(fixed, 0)::decimal(22, 2) as activity_cost_fixed,
            0::decimal(22, 2) as expected_credit_loss, 0::decimal(22, 2) as financing_cost,
            (net_revenue - cost_of_goods_sold - coalesce(direct, 0) - coalesce(variable, 0) - coalesce(fixed, 0))
                ::decimal(22, 4) as contribution_after_cost_to_serve, 0::decimal(22, 2) as allocated_sustaining,
            (net_revenue - cost_of_goods_sold - coalesce(direct, 0) - coalesce(variable, 0) - coalesce(fixed, 0))
                ::decimal(22, 4) as operating_profit
        from sales left join costs using (customer_id, month);

    create table marts.whale_curve as
        with periods as (
            select 'all' as period, date '1900-01-01' as first_month
            union all select 'last_12_months', date '2025-07-01'
        ), profits as (
            select 'operating_profit' as profit_level, period, customer_id, sum(operating_profit) as profit
            from marts.customer_profitability join periods on month >= first_month group by all
            union all
            select 'gross_margin', period, customer_id, sum(gross_margin)
            from marts.customer_profitability join periods on month >= first_month group by all
        ), ranked as (
            select *, row_number() over curve as customer_rank,
                sum(profit) over (curve rows unbounded preceding) as cumulative_profit,
                sum(profit) over (partition by profit_level, period) as total_profit
            from profits window curve as (partition by profit_level, period order by profit desc, customer_id)
        )
        select profit_level, period, customer_rank, customer_id, profit::decimal(22, 4) as profit,
            cumulative_profit::decimal(22, 4) as cumulative_profit, total_profit::decimal(22, 4) as total_profit,
            case when total_profit > 0 then cumulative_profit::double / total_profit::double end as cumulative_share,
            cumulative_profit = max(cumulative_profit) over (partition by profit_level, period) as is_peak
        from ranked;

    create table marts.reconciliation as
        with assigned as (
            select month, sum(amount) as on_customers from marts.customer_cost_lines group by all
        ), residual as (
            select month, sum(amount) as on_residual from marts.residual_cost_lines group by all
        ), ledger as (
            select month, sum(amount_cents) / 100 as booked from pools.pool_cost_lines group by all
        )
        select month, 'cost_allocation' as check_name, booked::decimal(22, 4) as ledger_amount,
            on_customers::decimal(22, 4) as assigned_amount, on_residual::decimal(22, 4) as residual_amount,
            0::decimal(22, 4) as difference, 0::decimal(22, 4) as tolerance, 'error' as severity, 'pass' as status,
            null::varchar as reason
        from ledger join assigned using (month) join residual using (month)
        union all
        select month, 'cost_of_goods_sold', 1000.5, 990, 0, 10.5, 0, 'warn', 'warn', 'Freight is booked with goods.'
        from months;

    create table marts.control_failures as
        select 'voucher_balance' as check_name, month, 'ledger' as source_instance, 'gl.csv' as source_file,
            2::bigint as source_row, 'J-1' as journal_id, null::varchar as gl_account_number,
            100::decimal(22, 4) as expected_amount, 90::decimal(22, 4) as found_amount, 10::decimal(22, 4) as difference,
            'warn' as status, 'ledger: voucher J-1 does not balance: debits 100.00, credits 90.00.' as explanation
        from months;

    create table facts.unconverted_amounts as
        select 'invoice' as entity, 'billing' as source_instance, 'I-1' as record_key, 'invoices.csv' as source_file,
            7::bigint as source_row, date '2026-06-30' as document_date, 'USD' as currency_code,
            12.5::decimal(22, 4) as amount, 'no rate of the day or the 30 days before it' as reason;
"""

OVERVIEW = """
    create table overview.customers as
        select dim.customer_id, date '2026-06-30' as as_of_date, customer_name, true as is_in_crm,
            false as is_deleted, segment, 'A' as level, 'Retail' as industry, 'China' as country, 'East' as region,
            'Ningbo' as city, 'Fair' as acquisition_source, date '2024-07-01' as acquired_date, owner_ref,
            'crm' as source_instance, '003' || dim.customer_id as source_customer_id, first_order_date,
            last_order_date, orders_12m, net_revenue_12m::decimal(22, 4) as net_revenue_12m,
            coalesce(goods, 0)::decimal(22, 4) as cost_of_goods_sold_12m,
            coalesce(margin, 0)::decimal(22, 4) as gross_margin_12m,
            coalesce(served, 0)::decimal(22, 4) as cost_to_serve_12m, 0::decimal(22, 2) as credit_cost_12m,
            0::decimal(22, 2) as allocated_sustaining_12m,
            coalesce(profit, 0)::decimal(22, 4) as operating_profit_12m,
            net_revenue_total::decimal(22, 4) as net_revenue_total,
            operating_profit_total::decimal(22, 4) as operating_profit_total, rfm_tier,
            clv_discounted::decimal(22, 4) as clv_discounted, churn_probability, churn_rank
        from dim
        join analytics.customer_rfm using (customer_id)
        join (select customer_id, clv_discounted from analytics.customer_clv) using (customer_id)
        join (select customer_id, churn_probability, churn_rank from analytics.churn_risk) using (customer_id)
        join (select customer_id, min(order_date) as first_order_date, max(order_date) as last_order_date
            from orders group by all) using (customer_id)
        join (select customer_id, sum(net_revenue) as net_revenue_total, sum(operating_profit) as
            operating_profit_total from marts.customer_profitability group by all) using (customer_id)
        left join (select customer_id, sum(cost_of_goods_sold) as goods, sum(gross_margin) as margin,
            sum(gross_margin - operating_profit) as served, sum(operating_profit) as profit
            from marts.customer_profitability where month >= date '2025-07-01' group by all) using (customer_id);

    create table overview.customer_actions as
        select customer_id, as_of_date, 'protect' as action, 1 as action_rank,
            row_number() over (order by operating_profit_12m desc, customer_id) as priority_rank, 'R1' as rule_id,
            'Call <them>' as title, '致电<客户>' as title_zh, 'Earned ' || operating_profit_12m as reason, '利润' as reason_zh,
            (operating_profit_12m / 10)::decimal(22, 4) as expected_effect, owner_ref, 'account_manager' as owner_role,
            date '2026-07-14' as due_date
        from overview.customers where operating_profit_12m > 0;

    create table analytics.profitability_matrix as
        select customer_id, as_of_date, net_revenue_12m, operating_profit_12m as profit_12m,
            case when operating_profit_12m > 0 then 'protect' else 'reprice' end as strategy,
            case when operating_profit_12m > 0 then '保护' else '调价' end as strategy_zh,
            (30 + 60 * churn_probability)::double as relationship_strength
        from overview.customers;

    create table analytics.relationship_strength as
        select customer_id, as_of_date, (30 + 60 * churn_probability)::double as strength, 'strong' as strength_class,
            60.0::double as strong_from, 0.75::double as coverage, 'complaints' as weakest_part,
            '62 of 100: <complaints>' as explanation
        from overview.customers;

    create table analytics.break_even as
        select customer_id, as_of_date, horizon, lever, null::varchar as first_lever, null::varchar as second_lever,
            operating_profit_12m as profit_now, operating_profit_12m > 0 as is_profitable, true as is_feasible,
            lever_rank, unit, now as current_value, target as target_value, null::varchar as second_unit,
            null::double as second_current_value, null::double as second_target_value,
            (-operating_profit_12m)::decimal(22, 4) as expected_effect,
            'Profitable if the <' || lever || '> of ' || customer_id || ' changes, counting ' || horizon || '.' as sentence
        from overview.customers, (values ('full_cost'), ('avoidable')) as horizons(horizon),
            (values ('discount_ceiling', 1, 'percent of list price', 33.291, 3.548), ('cost_to_serve', 2, 'money', 9.0, 4.0))
                as levers(lever, lever_rank, unit, now, target);

    create table analytics.customer_stage_flows as
        select month, date '2026-06-30' as as_of_date, from_stage, to_stage, customers::bigint as customers
        from (select distinct month from marts.customer_profitability),
            (values ('prospect', 'new', 2), ('new', 'active', 3), ('active', 'active', 41), ('active', 'at_risk', 1),
                ('at_risk', 'lapsed', 1)) as flows(from_stage, to_stage, customers);

    create table analytics.credit_risk as
        select customer_id, as_of_date, (net_revenue_12m / 6)::decimal(22, 4) as exposure,
            (net_revenue_12m / 24)::decimal(22, 4) as overdue, 0.05::double as loss_rate, 41.5::double as dso,
            7.25::double as days_late_paid_12m, (net_revenue_12m / 120)::decimal(22, 4) as expected_credit_loss,
            (net_revenue_12m / 5)::decimal(22, 4) as credit_limit, (net_revenue_12m / 8)::decimal(22, 4) as recommended_limit,
            case when customer_id < 'C015' then 'prepay' else 'none' end as suggestion, 'CR-1' as rule_id,
            (net_revenue_12m / 100)::decimal(22, 4) as expected_effect, 'CR-1: <' || customer_id || '> pays late.' as explanation
        from overview.customers;

    create table analytics.cost_anomalies as
        select month, date '2026-06-30' as as_of_date, pool_id, pool_name, actual_amount,
            (actual_amount - 1234)::decimal(22, 2) as expected_amount, 1234.00::decimal(22, 2) as residual_amount,
            month = date '2026-02-01' and pool_id = 'support' as is_anomaly, 'Support cost <more>.' as explanation
        from overview.cost_pools;

    create table analytics.acquisition_channels as
        select channel, month, 4::bigint as new_customers, 480.00::decimal(22, 2) as cost_12m, 12::bigint as new_customers_12m,
            40.0000::decimal(22, 4) as cac_12m, 7::bigint as payback_months, 'paid_back' as payback_status,
            case when month < date '2025-07-01' then 0.37 end::double as roi_12m
        from (select distinct month from marts.customer_profitability), (values ('Fair'), ('<Web>')) as channels(channel);

    create table analytics.service_quality as
        select channel, month, 10::bigint as case_count, 1::bigint as open_case_count, 8::bigint as responded_case_count,
            9::bigint as closed_case_count, 0.75::double as response_within_target_share,
            0.5::double as resolution_within_target_share, 0.8::double as csat, 4::bigint as csat_answers,
            2::bigint as complaint_count, 130.00::decimal(22, 2) as cost
        from (select distinct month from marts.customer_profitability), (values ('Phone'), ('<Fax>')) as channels(channel);

    create table analytics.kpis as
        select * from (values
            ('operating_margin_12m', 'Operating margin', 0.0912, 'share', 0.10, 'higher', 'missed', 0.0871, 0.0041),
            ('first_response_hours', 'First response', 0.4667, 'hours', 4.0, 'lower', 'met', 0.5, -0.0333),
            ('unheard_of', 'New <figure>', 3.0, 'customers', 2.0, 'lower', 'missed', null, null),
            ('cac', 'Acquisition cost', 1486.01, 'base currency', null, 'lower', 'no_target', null, null)
        ) as kpis(kpi, title, value, unit, target, direction, status, previous_value, change);

    create table analytics.model_drift as
        select * from (values ('rate_90', 0.01, 'steady'), ('complaint_rate', 0.31, 'drifted')) as drift(feature, psi, status);

    create schema raw;
    create table raw.file_registry as
        select 'billing' as source, 'invoices_' || n || '.csv' as file_name, date '2026-06-30' as extract_date,
            100::bigint as rows_in, 1::bigint as rows_quarantined
        from range(3) as files(n);

    create table analytics.model_quality as
        select * from (values
            ('buys_in_horizon', 90, 'average', 6, -0.021, 0.8125, 0.31, 0.35, true, true, 'average passes every gate.'),
            ('buys_in_horizon', 90, 'logit', 6, 0.5, 0.7, 0.31, 0.35, false, false, 'bias'),
            ('orders_in_horizon', 365, 'historic_rate', 3, 0.301, null, 0.9, 1.0, false, true, 'the last resort')
        ) as quality(purpose, horizon_days, model, origins, bias, auc, rmse, naive_rmse, passes, is_used, why);

    drop table dim; drop table shares; drop table cost_pools; drop table months;
"""


def build(path=":memory:", *, customers=60):
    """A connection to a warehouse of its own, with `customers` customers (at least 40) and nothing recorded."""
    connection = duckdb.connect(str(path), config={"threads": 2})
    connection.execute(f"attach '{_template(customers)}' as template (read_only)")
    own = "memory" if str(path) == ":memory:" else Path(path).stem
    connection.execute(f"copy from database template to {own}")
    connection.execute("detach template")
    return connection


@functools.cache
def _template(customers, seed=7):
    """The file all warehouses of one size are copied from: deriving the tables takes a second, a copy does not."""
    chance = random.Random(seed)
    orders = []
    for number in range(customers):
        rhythm = chance.choice([20, 45, 90, 200])
        size = chance.lognormvariate(8.2, 1.0)
        margin = chance.uniform(0.08, 0.45)
        fussiness = chance.choice([0, 0, 1, 4])
        day = datetime.date(2024, 7, 1) + datetime.timedelta(days=chance.randrange(60))
        stops = AS_OF if chance.random() < 0.7 else datetime.date(2026, 1, 31)
        while day <= stops:
            listed = Decimal(f"{size * chance.uniform(0.6, 1.4):.4f}")
            discount = (listed * chance.choice([0, 0, 5, 12]) / 100).quantize(Decimal("0.0001"))
            cost = ((listed - discount) * Decimal(f"{1 - margin:.2f}")).quantize(Decimal("0.0001"))
            lines, cases = chance.randrange(1, 9), chance.randrange(fussiness + 1)
            orders.append(
                (
                    f"C{number:03}",
                    day,
                    day.replace(day=1),
                    lines,
                    cases,
                    listed,
                    discount,
                    listed - discount,
                    cost,
                )
            )
            day += datetime.timedelta(days=max(1, round(chance.gauss(rhythm, rhythm / 4))))
    path = Path(tempfile.mkdtemp(prefix="whalecurve-test-")) / "template.duckdb"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    connection = duckdb.connect(str(path), config={"threads": 2})
    connection.execute(
        "create table orders (customer_id varchar, order_date date, month date, lines integer, cases integer, "
        "list_revenue decimal(22, 4), discounts decimal(22, 4), net_revenue decimal(22, 4), cost decimal(22, 4))"
    )
    insert_rows(connection, "orders", orders)
    connection.execute(DERIVED)
    write_scores(connection)
    names = [(f"C{n:03}", NAMES.get(n, f"Customer {n}"), "AB"[n % 2], f"U{n % 5}") for n in range(customers)]
    connection.execute(
        "create table dim (customer_id varchar, customer_name varchar, segment varchar, owner_ref varchar)"
    )
    insert_rows(connection, "dim", names)
    connection.execute(OVERVIEW)
    connection.close()
    return path


def write_scores(connection):
    """The analytics tables, computed by the project's own functions."""
    purchases = connection.execute("select customer_id, order_date, net_revenue from orders").df()
    monthly = connection.execute(
        "select customer_id, month, net_revenue, net_revenue - operating_profit as cost "
        "from marts.customer_profitability"
    ).df()
    scores = {
        "customer_rfm": rfm.score(purchases, AS_OF, tiers=rfm.read_tiers()),
        "customer_clv": clv.value(monthly, AS_OF, discount_rate=0.10, horizon_months=36),
        "churn_risk": churn.score(
            features.EMPTY._replace(orders=purchases, monthly_profit=monthly), AS_OF, horizon_days=90
        ),
        "customer_match_suggestions": _suggestions(sorted(purchases["customer_id"].unique())[:2]),
    }
    for table, frame in scores.items():
        connection.register("frame", frame)
        dates = ", ".join(f"{name}::date as {name}" for name in frame if name.endswith("_date"))
        connection.execute(
            f"create or replace table analytics.{table} as select * replace ({dates}) from frame order by customer_id"
        )
        connection.unregister("frame")


def _suggestions(customers):
    keys = pd.DataFrame({"customer_id": customers, "standing": 0, "source": None, "key_kind": "code"})
    names = pd.DataFrame({"customer_id": customers, "customer_name": NAMES[1], "name_key": "name:1"})
    no_numbers = pd.DataFrame(columns=["customer_id", "tax_id"])
    return matching.suggest(keys.assign(source_customer_key=customers), names, no_numbers, AS_OF, suggest_from=0.85)


def fixture_suites():
    """The suites of the tables this warehouse has."""
    return {table: suite for table, suite in gate.load_suites(EXPECTATIONS).items() if table in RELATIONS}


def known_identities():
    """The identities between tables this warehouse has."""
    return [identity for identity in gate.IDENTITIES if set(identity[1]) <= set(RELATIONS)]


def record_passes(connection, tables=None, *, as_of=AS_OF):
    """Record every expectation as passed for the present content, as a gate that found nothing wrong would."""
    suites = fixture_suites()
    for table, relation in (tables or RELATIONS).items():
        passed = [
            gate.CheckResult(item.check_name, table, item.severity, True, "0 rows", item.why)
            for item in suites[table].expectations
        ]
        content = gate.fingerprint(connection, relation)
        gate.record(connection, gate.EXPECTATIONS, passed, {table: content}, as_of=as_of)
    return suites
