"""The extracts of a made-up wholesaler, at any number of invoice lines: DuckDB writes them, as fast as it writes text.

    python benchmarks/extracts.py FOLDER --lines 1000000 [--customers N] [--days 3] [--day-lines 5000] [--delivered-daily 365]

Writes FOLDER/company (a copy of benchmarks/company), FOLDER/data/landing and FOLDER/extracts.json, the counts of what was
written. The first delivery holds two years of history to 2026-05-31. `--days` deliveries of `--day-lines` invoice lines
follow, one a day, each as large whatever the history holds: new documents, some of them dated five days back, documents
delivered again, payments, cases, changed and new customers, and the postings of it all. `--delivered-daily` hands over the
last days of history one by one instead, for backfills.

The ledger reconciles to the documents every day. Everything is a function of the options: a random number is a hash of a
record's number, so the same options write the same bytes with the same version of DuckDB. What is not here: dirt,
currencies, activities, campaigns. The demo company has those.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import time
from pathlib import Path

import duckdb

COMPANY = Path(__file__).resolve().parent / "company"
LAST_DAY = datetime.date(2026, 5, 31)
"""Of the history: the business date of the first delivery."""

HISTORY_DAYS = 730
LINES_PER_INVOICE = 5
LINES_PER_CUSTOMER = 100
LINES_PER_CASE = 50
PRODUCTS = 2_000
PAID_WITHIN_DAYS = 60
INVOICES_AT_ONCE = 500_000
"""Written in pieces of this many documents: memory does not grow with the history."""

COST_CENTRES = {"CC100": 12, "CC110": 20, "CC200": 15, "CC300": 30, "CC310": 10, "CC400": 8, "CC800": 12, "CC900": 18}
"""What each costs a day, in thousandths of the revenue of the day."""

FUNCTIONS = """
create or replace macro draw(a, b, n) as cast(hash(a, b) % cast(n as ubigint) as bigint);
create or replace macro share(a, b) as draw(a, b, 1000003) / 1000003.0;
create or replace macro money(cents) as cast(cast(cents as decimal(16, 0)) * cast(0.01 as decimal(2, 2)) as decimal(18, 2));
create or replace macro side(cents, line) as case when (cents >= 0) = (line = 1) then 'D' else 'C' end;
create or replace macro code(customer) as 'C' || lpad(cast(customer as varchar), 8, '0');
create or replace macro product_code(product) as 'A' || lpad(cast(product as varchar), 5, '0');
create or replace macro list_cents(product) as 200 + draw(product, 51, 20000);
create or replace macro cost_cents(product) as list_cents(product) * (55 + draw(product, 52, 26)) // 100;
-- Six customers in ten have always been here; the others come and go.
create or replace macro is_here(customer, day) as
    customer % 10 < 6
    or (
        day >= draw(customer, 11, 900) - 270
        and day < draw(customer, 11, 900) - 210 + draw(customer, 12, 500)
    );
create or replace macro a_customer(k, salt) as (cast(floor(getvariable('customers') * share(k, salt) * share(k, salt))
    as bigint) * 7919 + 17) % getvariable('customers');
create or replace macro customer_of(k, day, salt) as
    case when is_here(a_customer(k, salt), day) then a_customer(k, salt)
    else a_customer(k, salt) - a_customer(k, salt) % 10 + a_customer(k, salt) % 6 end;
create or replace macro house_cents(revenue, thousandths, day, line) as greatest(revenue, 0) * thousandths
    * (45 + draw(datediff('day', date '2000-01-01', day) * 100 + line, 42, 11)) // 100000;
create or replace macro letters(n, salt) as
    translate(substr(md5(cast(n as varchar) || salt), 1, 7), '0123456789abcdef', 'kabetorinulsdemf');
"""

DOCUMENTS = """
create or replace temp table documents as
select
    k,
    {day} as day,
    cast(date '{first}' + cast({day} as integer) as date) as dated,
    customer_of(k, {day}, 1) as customer,
    draw(k, 6, 50) = 0 as is_credit,
    draw(k, 7, 200) = 0 as is_void,
    1 + 2 * (k % 5) as line_count
from range({begin}, {end}) as t(k)
"""

LINES = """
create or replace temp table lines as
with numbered as (
    select *, unnest(range(1, line_count + 1)) as line from documents
), sold as (
    select
        k, line, customer, is_credit,
        draw(k * 16 + line, 21, {products}) as product,
        1 + draw(k * 16 + line, 22, 20) as quantity,
        greatest(draw(k * 16 + line, 23, 6) - 2, 0) * 5 + case when draw(customer, 24, 5) = 0 then 20 else 0 end as percent
    from numbered
)
select
    k, line, customer, product,
    case when is_credit then -quantity else quantity end as quantity,
    list_cents(product) as price_cents,
    case when is_credit then -1 else 1 end * (list_cents(product) * quantity * percent // 100) as discount_cents,
    case when is_credit then -1 else 1 end
    * (list_cents(product) * quantity - list_cents(product) * quantity * percent // 100) as net_cents,
    case when is_credit then -1 else 1 end * cost_cents(product) * quantity as cost_cents
from sold
"""

TOTALS = """
create or replace temp table totals as
with sums as (
    select k, cast(sum(net_cents) as bigint) as net_cents, cast(sum(cost_cents) as bigint) as cost_cents
    from lines group by k
)
select
    documents.*, sums.net_cents, sums.cost_cents,
    case when not is_credit and not is_void and draw(documents.k, 31, 20) > 0
        then cast(dated + cast(10 + draw(documents.k, 32, {within} - 9) as integer) as date) end as paid_on
from documents inner join sums on documents.k = sums.k
order by documents.k
"""

# Each file of a delivery: name -> its rows, with the day they are dated; `order by` is that of the tables they come from.
FILES = {
    "trade/invoices": """
        select 'I' || k as "Id", case when is_credit then 'credit_note' else 'invoice' end as "Type",
            code(customer) as "Customer", dated as "Date", dated + 30 as "Due", money(net_cents) as "Net",
            case when is_void then 'void' when paid_on <= {known} then 'paid' else 'approved' end as "Status",
            ['Web shop', 'Telephone', 'Field sales', 'EDI'][draw(k, 8, 4) + 1] as "Channel",
            greatest(dated, coalesce(case when paid_on <= {known} then paid_on end, dated)) || ' 18:00:00' as "Modified",
            dated as day
        from totals""",
    "trade/lines": """
        select 'I' || lines.k as "Invoice", line as "Line", product_code(product) as "Product", quantity as "Quantity",
            money(price_cents) as "Price", money(discount_cents) as "Discount", money(lines.net_cents) as "Net",
            money(lines.cost_cents) as "Cost", {line_day} as day
        from lines""",
    "trade/payments": """
        select 'P' || k as "Id", code(customer) as "Customer", paid_on as "Date", money(net_cents) as "Amount", paid_on as day
        from paid""",
    "trade/applications": """
        select 'X' || k as "Id", 'P' || k as "Payment", 'I' || k as "Invoice", paid_on as "Date",
            money(net_cents) as "Amount", paid_on as day
        from paid""",
    "ledger/GL_Detail_sales": """
        with vouchers as (select * from totals where not is_void),
        postings as (
            select k, dated, customer, net_cents, unnest([1, 2]) as line from vouchers
        )
        select 'S' || k as "Journal_ID", line as "Journal_ID_Line_Number", strftime(dated, '%Y%m%d') as "Effective_Date",
            year(dated) as "Fiscal_Year", strftime(dated, 'M%m') as "Period",
            case line when 1 then '1100' else '4000' end as "GL_Account_Number",
            money(abs(net_cents)) as "Amount", side(net_cents, line) as "Amount_Credit_Debit_Indicator",
            code(customer) as "Segment02", null as "Segment01", 'EUR' as "Amount_Currency", dated as day
        from postings""",
    "ledger/GL_Detail_freight": """
        with vouchers as (
            select k, dated, customer, 300 + draw(k, 41, 2500) as cents from totals where k % 4 = 0 and not is_void
        ),
        postings as (select *, unnest([1, 2]) as line from vouchers)
        select 'F' || k as "Journal_ID", line as "Journal_ID_Line_Number", strftime(dated, '%Y%m%d') as "Effective_Date",
            year(dated) as "Fiscal_Year", strftime(dated, 'M%m') as "Period",
            case line when 1 then '6500' else '2000' end as "GL_Account_Number",
            money(cents) as "Amount", side(cents, line) as "Amount_Credit_Debit_Indicator",
            case line when 1 then code(customer) end as "Segment02", null as "Segment01",
            'EUR' as "Amount_Currency", dated as day
        from postings""",
}

# The postings of a day in one voucher each: what was taken from stock, what came in, and what the house costs.
DAILY_LEDGER = """
with postings as (
    select 'G' as kind, day, 1 as line, '5000' as account, cast(null as varchar) as centre, cost_cents as cents from days
    union all select 'G', day, 2, '1300', null, -cost_cents from days
    union all select 'R', day, 1, '1000', null, paid_cents from days where paid_cents != 0
    union all select 'R', day, 2, '1100', null, -paid_cents from days where paid_cents != 0
    union all
    select 'H', day, centres.line, case centres.line % 2 when 1 then '6100' else '6200' end, centre,
        house_cents(net_cents, thousandths, day, centres.line)
    from days cross join centres
    union all
    select 'H', day, 99, '2000', null, -sum(house_cents(net_cents, thousandths, day, centres.line))
    from days cross join centres group by day
)
select kind || strftime(day, '%Y%m%d') || '{suffix}' as "Journal_ID", line as "Journal_ID_Line_Number",
    strftime(day, '%Y%m%d') as "Effective_Date", year(day) as "Fiscal_Year", strftime(day, 'M%m') as "Period",
    account as "GL_Account_Number", money(abs(cents)) as "Amount", side(cents, 1) as "Amount_Credit_Debit_Indicator",
    null as "Segment02", centre as "Segment01",
    'EUR' as "Amount_Currency", day
from postings
order by day, kind, line
"""

CASES = """
create or replace temp table cases as
select
    i,
    cast(date '{first}' + cast({day} as integer) as date) as day,
    customer_of(i, {day}, 61) as customer,
    cast(date '{first}' + cast({day} as integer) as timestamp) + to_minutes(480 + draw(i, 62, 480)) as opened,
    5 + draw(i, 63, 300) as answer_minutes,
    30 + draw(i, 64, 4000) as close_minutes,
    5 + draw(i, 65, 90) as minutes
from range({begin}, {end}) as t(i)
"""

CASE_FILE = """
    select 'K' || i as "Id", code(customer) as "Customer",
        ['Complaint', 'Question', 'Return', 'Delivery'][draw(i, 66, 4) + 1] as "Type",
        ['Phone', 'Email', 'Web'][draw(i, 67, 3) + 1] as "Origin", 'Medium' as "Priority", 'closed' as "Status",
        strftime(opened, '%Y-%m-%d %H:%M:%S') as "Opened",
        strftime(opened + to_minutes(least(answer_minutes, close_minutes)), '%Y-%m-%d %H:%M:%S') as "Answered",
        strftime(opened + to_minutes(close_minutes), '%Y-%m-%d %H:%M:%S') as "Closed", minutes as "Minutes", day
    from cases
"""

CUSTOMER_FILE = """
    select code(c) as "Code",
        upper(letters(c, 'a')[1:1]) || letters(c, 'a')[2:] || ' ' || upper(letters(c, 'b')[1:1]) || letters(c, 'b')[2:] as "Name",
        ['Key Account', 'Mid-Market', 'Small Business'][draw(c, 71 + {version}, 3) + 1] as "Segment",
        ['Retail', 'Construction', 'Manufacturing', 'Food'][draw(c, 72, 4) + 1] as "Industry",
        ['Web', 'Trade Show', 'Partner Referral'][draw(c, 73, 3) + 1] as "Source",
        cast(date '{first}' - cast(draw(c, 74, 1500) as integer) as date) as "Since",
        ['North', 'East', 'South', 'West'][draw(c, 75, 4) + 1] as "Region", 30 as "Terms", '{modified}' as "Modified"
    from range({begin}, {end}) as t(c)
"""

PRODUCT_FILE = """
    select product_code(p) as "Code", 'Article ' || letters(p, 'p') || ' ' || p as "Name",
        ['Tools', 'Paint', 'Pumps', 'Lighting', 'Safety wear'][draw(p, 53, 5) + 1] as "Family",
        money(list_cents(p)) as "List", money(cost_cents(p)) as "Cost"
    from range({products}) as t(p)
"""

ACCOUNTS = (
    (1000, "Bank", "Assets"),
    (1100, "Trade receivables", "Assets"),
    (1300, "Goods", "Assets"),
    (2000, "Trade payables", "Liabilities"),
    (4000, "Sales", "Revenue"),
    (5000, "Cost of goods sold", "Expenses"),
    (6100, "Salaries", "Expenses"),
    (6200, "Other cost of the department", "Expenses"),
    (6500, "Freight out", "Expenses"),
)


class Writer:
    """Writes deliveries below `landing`; one connection, so that its functions and tables are at hand."""

    def __init__(self, landing: Path, *, customers: int, delivered_daily: int, threads: int) -> None:
        self.landing = landing
        self.first = LAST_DAY - datetime.timedelta(days=HISTORY_DAYS - 1)
        self.base = LAST_DAY - datetime.timedelta(days=delivered_daily)
        self.delivered_daily = delivered_daily
        self.rows: dict[str, int] = {}
        # A file for every day is written by one thread, or its rows would stand in another order each time.
        self.connection = duckdb.connect(config={"threads": 1 if delivered_daily else threads, "memory_limit": "4GB"})
        self.connection.execute(FUNCTIONS)
        self.connection.execute(f"set variable customers = {customers}")
        centres = ", ".join(
            f"('{name}', {2 * at + side}, {share})"
            for at, (name, share) in enumerate(COST_CENTRES.items())
            for side in (1, 2)
        )
        self.connection.execute(
            f"create temp table centres as select * from (values {centres}) as t(centre, line, thousandths)"
        )
        self.connection.execute(
            "create temp table days (day date, net_cents hugeint, cost_cents hugeint, paid_cents hugeint)"
        )

    def write(self, name: str, select: str, day: datetime.date, piece: str = "") -> None:
        """Write the rows of `select` (with a last column `day`, which is not written) as a file of the delivery of `day`."""
        source, stem = name.split("/")
        file, delimiter = (f"{stem}{piece or '_1'}.txt", "|") if source == "ledger" else (f"{stem}{piece}.csv", ",")
        form = f"format csv, header, delimiter '{delimiter}'"
        if not self.delivered_daily or day > LAST_DAY:
            target = self.landing / source / day.isoformat()
            target.mkdir(parents=True, exist_ok=True)
            self._copy(stem, f"(select * exclude (day) from ({select})) to '{target / file}' ({form})")
            return
        aside = self.landing / f".{stem}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        rows = f"(select * replace (greatest(day, date '{self.base}') as day) from ({select}))"
        self._copy(stem, f"{rows} to '{aside}' ({form}, partition_by (day), overwrite)")
        for folder in sorted(aside.glob("day=*")):
            target = self.landing / source / folder.name.removeprefix("day=")
            target.mkdir(parents=True, exist_ok=True)
            (part,) = folder.iterdir()
            part.rename(target / file)
        shutil.rmtree(aside)

    def _copy(self, stem: str, statement: str) -> None:
        written = self.connection.execute(f"copy {statement}").fetchone()
        self.rows[stem] = self.rows.get(stem, 0) + (written[0] if written else 0)

    def documents(self, begin: int, end: int, day: str, delivery: datetime.date, piece: str) -> None:
        """Documents `begin` to `end`, dated by the expression `day` (days since the first), with lines and postings."""
        run = self.connection.execute
        run(DOCUMENTS.format(begin=begin, end=end, day=day, first=self.first))
        run(LINES.format(products=PRODUCTS))
        run(TOTALS.format(within=PAID_WITHIN_DAYS))
        if delivery <= LAST_DAY:
            run(
                f"create or replace temp table paid as select * from totals where paid_on <= date '{LAST_DAY}' order by k"
            )
        # Which day a line is delivered on is its document's, and matters only where history comes day by day.
        line_day = "(select dated from totals where totals.k = lines.k)" if self.delivered_daily else "null"
        for name, select in FILES.items():
            # What is delivered day by day is known as approved first, and nobody delivers it again: the payment tells.
            known = f"date '{LAST_DAY}'" if not self.delivered_daily else "null"
            self.write(name, select.format(known=known, line_day=line_day), delivery, piece)
        run(
            "insert into days select dated, sum(net_cents), sum(cost_cents), 0 from totals where not is_void group by dated"
            " union all select paid_on, 0, 0, sum(net_cents) from paid group by paid_on"
        )

    def post_days(self, delivery: datetime.date) -> None:
        """Post what the documents of all days add up to, and forget them."""
        run = self.connection.execute
        run(
            "create or replace temp table days as select day, sum(net_cents) as net_cents, sum(cost_cents) as cost_cents,"
            " sum(paid_cents) as paid_cents from days group by day order by day"
        )
        suffix = "" if delivery <= LAST_DAY else f"-{delivery:%m%d}"
        self.write("ledger/GL_Detail_days", DAILY_LEDGER.format(suffix=suffix), delivery)
        run("delete from days")

    def cases(self, begin: int, end: int, day: str, delivery: datetime.date, piece: str) -> None:
        self.connection.execute(CASES.format(begin=begin, end=end, day=day, first=self.first))
        self.write("trade/cases", CASE_FILE, delivery, piece)

    def customers(self, begin: int, end: int, delivery: datetime.date, *, version: int = 0, piece: str = "") -> None:
        select = CUSTOMER_FILE.format(
            begin=begin, end=end, first=self.first, version=version, modified=f"{delivery} 06:00:00"
        )
        self.write("trade/customers", f"select *, date '{self.first}' as day from ({select})", delivery, piece)

    def masters(self) -> None:
        """Products and accounts, with the first delivery."""
        products = PRODUCT_FILE.format(products=PRODUCTS)
        self.write("trade/products", f"select *, date '{self.first}' as day from ({products})", self.base)
        accounts = ", ".join(
            f"('{number}', '{name}', '{kind}', date '{self.first}')" for number, name, kind in ACCOUNTS
        )
        columns = '"GL_Account_Number", "GL_Account_Name", "Account_Type", day'
        self.write("ledger/Chart_Of_Accounts", f"select * from (values {accounts}) as t({columns})", self.base)


def write_extracts(
    landing: Path,
    *,
    lines: int,
    customers: int | None = None,
    days: int = 1,
    day_lines: int = 5_000,
    delivered_daily: int = 0,
    threads: int = 2,
) -> dict[str, object]:
    """Write the deliveries below `landing`; returns how many rows of what, bytes, and the business dates.

    `lines`, `customers` and `day_lines` are rounded to whole documents of five lines and to tens of customers.
    """
    invoices, day_invoices = max(lines // LINES_PER_INVOICE, 10), max(day_lines // LINES_PER_INVOICE, 10)
    customers = max((customers or lines // LINES_PER_CUSTOMER) // 10 * 10, 20)
    began = time.perf_counter()
    writer = Writer(landing, customers=customers, delivered_daily=delivered_daily, threads=threads)
    base = writer.base
    writer.masters()
    writer.customers(0, customers, base)
    for begin in range(0, invoices, INVOICES_AT_ONCE):
        end = min(begin + INVOICES_AT_ONCE, invoices)
        writer.documents(begin, end, f"k * {HISTORY_DAYS} // {invoices}", base, f"_{begin // INVOICES_AT_ONCE + 1:03}")
    writer.post_days(base)
    cases = max(lines // LINES_PER_CASE, 10)
    for begin in range(0, cases, INVOICES_AT_ONCE):
        end = min(begin + INVOICES_AT_ONCE, cases)
        writer.cases(begin, end, f"i * {HISTORY_DAYS} // {cases}", base, f"_{begin // INVOICES_AT_ONCE + 1:03}")
    history = dict(writer.rows)
    run = writer.connection.execute
    # Open at the end of history and paid at last, oldest first: some on each day that follows.
    recent = invoices - min(invoices * (PAID_WITHIN_DAYS + 1) // HISTORY_DAYS + 1, invoices)
    run(DOCUMENTS.format(begin=recent, end=invoices, day=f"k * {HISTORY_DAYS} // {invoices}", first=writer.first))
    run(LINES.format(products=PRODUCTS))
    run(TOTALS.format(within=PAID_WITHIN_DAYS))
    run(f"create or replace temp table open_items as select * from totals where paid_on > date '{LAST_DAY}' order by k")
    for number in range(1, days + 1):
        delivery = LAST_DAY + datetime.timedelta(days=number)
        begin = invoices + (number - 1) * day_invoices
        today = HISTORY_DAYS - 1 + number
        writer.customers(customers + (number - 1) * 10, customers + number * 10, delivery, piece="_new")
        changed = (number - 1) * 50 % customers
        writer.customers(changed, min(changed + 50, customers), delivery, version=number, piece="_changed")
        run(
            f"create or replace temp table paid as select * replace (date '{delivery}' as paid_on) from open_items"
            f" order by k limit {day_invoices} offset {(number - 1) * day_invoices}"
        )
        # One document in fifty is a late one, dated five days back.
        late = f"case when draw(k, 9, 50) = 0 then {today - 5} else {today} end"
        writer.documents(begin, begin + day_invoices, late, delivery, "")
        # What is paid is delivered again, as a system does with every record that was touched.
        run("create or replace temp table totals as select * from paid order by k")
        run(
            "create or replace temp table documents as select * exclude (net_cents, cost_cents, paid_on) from paid order by k"
        )
        run(LINES.format(products=PRODUCTS))
        for name in ("trade/invoices", "trade/lines"):
            writer.write(name, FILES[name].format(known=f"date '{delivery}'", line_day="null"), delivery, "_again")
        writer.post_days(delivery)
        day_cases = max(day_lines // LINES_PER_CASE, 5)
        begin = cases + (number - 1) * day_cases
        writer.cases(begin, begin + day_cases, str(today), delivery, "")
    written = {
        "lines": lines,
        "customers": customers,
        "days": days,
        "day_lines": day_lines,
        "delivered_daily": delivered_daily,
        "first_delivery": base.isoformat(),
        "last_delivery": (LAST_DAY + datetime.timedelta(days=days)).isoformat(),
        "rows_of_history": history,
        "rows": writer.rows,
        "bytes": sum(path.stat().st_size for path in landing.rglob("*") if path.is_file()),
        "seconds": round(time.perf_counter() - began, 1),
    }
    writer.connection.close()
    return written


def make(folder: Path, **options: int | None) -> dict[str, object]:
    """Write `folder`/company, `folder`/data/landing and `folder`/extracts.json; replaces what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(COMPANY, folder / "company")
    written = write_extracts(folder / "data" / "landing", **options)  # type: ignore[arg-type]
    (folder / "extracts.json").write_text(json.dumps(written, indent=2) + "\n")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=100_000, help="invoice lines of history")
    parser.add_argument("--customers", type=int, help="default: one for every hundred lines")
    parser.add_argument("--days", type=int, default=1, help="deliveries after the first")
    parser.add_argument("--day-lines", type=int, default=5_000, help="invoice lines of each of them")
    parser.add_argument("--delivered-daily", type=int, default=0, help="days of history delivered one by one")
    parser.add_argument("--threads", type=int, default=2)
    options = vars(parser.parse_args())
    print(json.dumps(make(options.pop("folder"), **options), indent=2))


if __name__ == "__main__":
    main()
