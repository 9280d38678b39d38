"""The same customer profits by a hand-written DuckDB script that does nothing else: the floor the pipeline is held against.

    python benchmarks/bare.py LANDING TARGET [--until DATE] [--memory 8GB] [--threads 2]

Reads the extracts of benchmarks/extracts.py as their files are, with types, and writes TARGET/bare.duckdb with the current
version of every record, facts, pool costs, driver quantities, costs divided by largest remainder, what waiting for money
costs, each customer's profit by month and the whale curve; the last two also as Parquet. It knows this one company: accounts,
pools and drivers stand in the SQL. It keeps no lineage, checks nothing but its own sum, matches no customers, explains
nothing, scores nobody and publishes no release. A daily run is a full run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import duckdb

COLUMNS = {
    "invoices": "Id varchar, Type varchar, Customer varchar, Date date, Due date, Net decimal(18, 2), Status varchar, "
    "Channel varchar, Modified timestamp",
    "lines": "Invoice varchar, Line integer, Product varchar, Quantity integer, Price decimal(18, 2), "
    "Discount decimal(18, 2), Net decimal(18, 2), Cost decimal(18, 2)",
    "payments": "Id varchar, Customer varchar, Date date, Amount decimal(18, 2)",
    "cases": "Id varchar, Customer varchar, Type varchar, Origin varchar, Priority varchar, Status varchar, "
    "Opened timestamp, Answered timestamp, Closed timestamp, Minutes integer",
    "customers": "Code varchar, Name varchar, Segment varchar, Industry varchar, Source varchar, Since date, Region varchar, "
    "Terms integer, Modified timestamp",
    "ledger": "Journal varchar, Line integer, Posted varchar, Year integer, Period varchar, Account varchar, "
    "Amount decimal(18, 2), Side varchar, Customer varchar, Centre varchar, Currency varchar",
}
FILES = {name: f"trade/*/{name}*.csv" for name in COLUMNS} | {"ledger": "ledger/*/GL_Detail_*.txt"}
KEYS = {
    "invoices": ("Id",),
    "lines": ("Invoice", "Line"),
    "payments": ("Id",),
    "cases": ("Id",),
    "customers": ("Code",),
    "ledger": ("Journal", "Line"),
}

CURRENT = """
create or replace table current_{name} as
select * exclude (filename, delivered) from (
    select *, split_part(filename, '/', -2) as delivered
    from read_csv({files}, columns = {columns}, header = true, delim = '{delimiter}', filename = true)
)
qualify row_number() over (partition by {key} order by delivered desc) = 1
"""

FACTS = """
create or replace table as_of as
select date '{as_of}' as as_of_date;

create or replace table fct_invoices as
select Id as invoice_id, Type as document_type, Customer as customer_id, Date as invoice_date,
    cast(date_trunc('month', Date) as date) as month, Due as due_date, Net as net_amount
from current_invoices where Status != 'void';

create or replace table fct_lines as
select lines.Invoice as invoice_id, lines.Line as line_number, lines.Product as product_id, invoices.customer_id,
    invoices.month, invoices.document_type, lines.Quantity as quantity, lines.Discount as discount,
    lines.Net as net_amount, lines.Cost as cost_amount
from current_lines as lines inner join fct_invoices as invoices on lines.Invoice = invoices.invoice_id;

create or replace table fct_payments as
select Id as payment_id, Customer as customer_id, Date as payment_date,
    cast(date_trunc('month', Date) as date) as month, Amount as amount
from current_payments;

create or replace table fct_ledger as
select Journal as journal_id, Line as line, Account as account, Centre as centre, Customer as customer_id,
    cast(date_trunc('month', strptime(Posted, '%Y%m%d')) as date) as month,
    cast(case when Side = 'D' then Amount else -Amount end * 100 as bigint) as cents,
    case
        when Account = '6500' then 'freight_out'
        when Account between '6000' and '6499' then
            case Centre when 'CC100' then 'order_entry' when 'CC110' then 'customer_service'
                when 'CC200' then 'account_management' when 'CC300' then 'picking' when 'CC310' then 'packing'
                when 'CC400' then 'collections' when 'CC800' then 'premises' when 'CC900' then 'general_management' end
    end as pool_id
from current_ledger;
"""

QUANTITIES = """
create or replace table driver_quantities as
with measured as (
    select month, 'order_entry' as pool_id, customer_id, count(*) as quantity from fct_invoices
    where document_type = 'invoice' group by all
    union all select month, 'picking', customer_id, count(*) from fct_lines group by all
    union all select month, 'packing', customer_id, sum(quantity) from fct_lines group by all
    union all select month, 'account_management', customer_id, sum(net_amount) * 100 from fct_lines group by all
    union all select month, 'collections', customer_id, count(*) from fct_payments group by all
    union all
    select cast(date_trunc('month', Opened) as date), 'customer_service', Customer, sum(Minutes) from current_cases
    group by all
)
select month, pool_id, customer_id, cast(quantity as bigint) as quantity from measured where quantity > 0;
"""

DIVIDED = """
with totals as (
    select *, sum(quantity) over pool as total_quantity, cast(abs(cents) as hugeint) * quantity as product
    from {receivers} window pool as (partition by month, pool_id, part)
),
parts as (select *, product // total_quantity as whole, product % total_quantity as remainder from totals),
ranked as (
    select *, abs(cents) - sum(whole) over (partition by month, pool_id, part) as left_over,
        row_number() over (
            partition by month, pool_id, part order by remainder desc, quantity desc, receiver_id
        ) as place
    from parts
)
select month, pool_id, part, receiver_id,
    cast(sign(cents) * (whole + case when place <= left_over then 1 else 0 end) as bigint) as cents
from ranked
"""

COSTS = """
create or replace table pool_costs as
select month, pool_id, cast(sum(cents) as bigint) as cents from fct_ledger where pool_id is not null group by all;

-- What premises charge stays a part of its own in the pool that bears it: fixed cost, whatever the pool's is.
create or replace table charged_pools as
with space(pool_id, quantity) as (
    values ('order_entry', 200), ('picking', 3000), ('packing', 600), ('customer_service', 300),
        ('account_management', 100), ('collections', 100), ('general_management', 250)
),
receivers as (
    select pool_costs.month, 'premises' as pool_id, 'own' as part, space.pool_id as receiver_id, space.quantity,
        pool_costs.cents
    from pool_costs cross join space where pool_costs.pool_id = 'premises'
),
divided as ({divided_premises})
select month, pool_id, 'own' as part, cents from pool_costs where pool_id != 'premises'
union all
select month, receiver_id, 'premises', cents from divided;

create or replace table customer_costs as
with receivers as (
    select charged_pools.month, charged_pools.pool_id, charged_pools.part, driver_quantities.customer_id as receiver_id,
        driver_quantities.quantity, charged_pools.cents
    from charged_pools inner join driver_quantities
        on charged_pools.month = driver_quantities.month and charged_pools.pool_id = driver_quantities.pool_id
),
divided as ({divided_receivers})
select month, receiver_id as customer_id, pool_id, cents from divided
union all
select month, customer_id, pool_id, cast(sum(cents) as bigint) from fct_ledger
where pool_id = 'freight_out' group by all;
"""

# Balance of a customer's account at the end of each day, summed over the days of the month, times 6 % a year.
FINANCING = """
create or replace table financing as
with items as (
    select customer_id, month, invoice_date as day, net_amount as amount from fct_invoices
    union all select customer_id, month, payment_date, -amount from fct_payments
),
moved as (
    select customer_id, month, sum(amount) as amount,
        sum(amount * datediff('day', day, least(cast(month + interval 1 month as date), as_of_date + 1))) as day_amount
    from items cross join as_of group by all
),
spans as (
    select customer_id, unnest(generate_series(min(month), date_trunc('month', max(as_of_date)), interval 1 month)) as month
    from moved cross join as_of group by customer_id
),
running as (
    select spans.customer_id, cast(spans.month as date) as month, coalesce(amount, 0) as amount,
        coalesce(day_amount, 0) as day_amount,
        sum(coalesce(amount, 0)) over (partition by spans.customer_id order by spans.month) as closing,
        datediff('day', spans.month, least(cast(spans.month + interval 1 month as date), as_of_date + 1)) as days
    from spans cross join as_of
    left join moved on spans.customer_id = moved.customer_id and spans.month = moved.month
),
balance_days as (
    select customer_id, month, cast(((closing - amount) * days + day_amount) * 100 as bigint) as cent_days from running
)
select customer_id, month,
    cast(sign(cent_days) * ((2 * abs(cast(cent_days as hugeint)) * 6 + 36500) // 73000) as bigint) as cents
from balance_days
"""

PROFITS = """
create or replace table customer_profitability as
with sales as (
    select customer_id, month, count(*) as line_count, sum(quantity) as quantity, sum(net_amount + discount) as list_revenue,
        sum(discount) as discounts, sum(net_amount) as net_revenue, sum(cost_amount) as cost_of_goods_sold
    from fct_lines group by all
),
costs as (select customer_id, month, cast(sum(cents) as bigint) as cents from customer_costs group by all),
months as (
    select customer_id, month from sales union select customer_id, month from costs
    union select customer_id, month from financing where cents != 0
)
select customer_id, month, coalesce(line_count, 0) as line_count, coalesce(quantity, 0) as quantity,
    coalesce(list_revenue, 0) as list_revenue, coalesce(discounts, 0) as discounts,
    coalesce(net_revenue, 0) as net_revenue, coalesce(cost_of_goods_sold, 0) as cost_of_goods_sold,
    coalesce(costs.cents, 0) as cost_to_serve_cents, coalesce(financing.cents, 0) as financing_cents,
    cast(coalesce(net_revenue - cost_of_goods_sold, 0) * 100 as bigint)
        - coalesce(costs.cents, 0) - coalesce(financing.cents, 0) as operating_profit_cents
from months
left join sales using (customer_id, month)
left join costs using (customer_id, month)
left join financing using (customer_id, month);
"""

WHALE_CURVE = """
create or replace table whale_curve as
with periods as (
    select 'all' as period, * from customer_profitability
    union all select cast(year(month) as varchar), * from customer_profitability
    union all
    select 'last_12_months', customer_profitability.* from customer_profitability cross join as_of
    where month > date_trunc('month', as_of_date) - interval 12 month
),
sums as (
    select period, customer_id, sum(line_count) as line_count,
        sum(net_revenue - cost_of_goods_sold) as gross_margin,
        sum(operating_profit_cents) * cast(0.01 as decimal(3, 2)) as operating_profit
    from periods group by all
),
profits as (
    select 'gross_margin' as profit_level, period, customer_id, gross_margin as profit from sums where line_count > 0
    union all select 'operating_profit', period, customer_id, operating_profit from sums
)
select profit_level, period, row_number() over best as customer_rank, customer_id, profit,
    sum(profit) over (best rows unbounded preceding) as cumulative_profit,
    sum(profit) over (partition by profit_level, period) as total_profit
from profits
window best as (partition by profit_level, period order by profit desc, customer_id);
"""

CONSERVED = """
select (select sum(cents) from pool_costs)
    - (select sum(cents) from customer_costs)
    - (select coalesce(sum(cents), 0) from charged_pools where (month, pool_id) not in (
        select month, pool_id from driver_quantities union select month, 'freight_out' from charged_pools
    ))
"""


def delivered(landing: Path, until: str | None) -> dict[str, list[str]]:
    """The files of each table, of deliveries up to the day `until` (YYYY-MM-DD; None: all)."""
    return {
        name: [str(path) for path in sorted(landing.glob(pattern)) if until is None or path.parent.name <= until]
        for name, pattern in FILES.items()
    }


def run(
    landing: Path, target: Path, *, until: str | None = None, memory: str = "8GB", threads: int = 2
) -> dict[str, float]:
    """Read `landing`, write `target`/bare.duckdb and two Parquet files; returns seconds by stage."""
    files = delivered(landing, until)
    as_of = max(path.split("/")[-2] for found in files.values() for path in found)
    target.mkdir(parents=True, exist_ok=True)
    (target / "bare.duckdb").unlink(missing_ok=True)
    seconds: dict[str, float] = {}
    with duckdb.connect(str(target / "bare.duckdb"), config={"memory_limit": memory, "threads": threads}) as connection:
        began = time.perf_counter()

        def stage(name: str, sql: str) -> None:
            nonlocal began
            connection.execute(sql)
            now = time.perf_counter()
            seconds[name] = round(now - began, 2)
            began = now

        connection.execute("set preserve_insertion_order = false")
        current = [
            CURRENT.format(
                name=name,
                files=files[name],
                columns={column.split()[0]: column.split(maxsplit=1)[1] for column in _columns(name)},
                delimiter="|" if name == "ledger" else ",",
                key=", ".join(KEYS[name]),
            )
            for name in COLUMNS
        ]
        stage("read, current versions", ";".join(current))
        stage("facts", FACTS.format(as_of=as_of))
        stage("driver quantities", QUANTITIES)
        premises, receivers = DIVIDED.format(receivers="receivers"), DIVIDED.format(receivers="receivers")
        stage("costs", COSTS.format(divided_premises=premises, divided_receivers=receivers))
        stage("financing", FINANCING)
        stage("profits", PROFITS)
        stage("whale curve", WHALE_CURVE)
        for table in ("customer_profitability", "whale_curve"):
            stage(f"{table}.parquet", f"copy {table} to '{target / table}.parquet' (format parquet, compression zstd)")
        lost = connection.execute(CONSERVED).fetchone()
        assert lost == (0,), f"{lost} cents of cost are nowhere"
    return seconds


def _columns(name: str) -> list[str]:
    """`a decimal(18, 2), b date` at the commas outside parentheses."""
    return [part.replace(";", ",") for part in COLUMNS[name].replace("(18, 2)", "(18; 2)").split(", ")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landing", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--until", help="the last delivery to be read, YYYY-MM-DD")
    parser.add_argument("--memory", default="8GB")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    seconds = run(options.landing, options.target, until=options.until, memory=options.memory, threads=options.threads)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
