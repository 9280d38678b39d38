"""Write the extracts of the demo company, Harbour Pine Distribution: a made-up distributor, four sources.

    python companies/demo/write_extracts.py --landing data/landing [--customers 2000] [--lines 150000] [--seed 7]

What it writes
    landing/crm_international/<date>/  Salesforce Data Export CSV: Account, Case, Task, Event, Campaign, ...
    landing/crm_china/<date>/          Fxiaoke OpenAPI JSON lines: AccountObj, CasesObj, CheckinsObj, ...
    landing/billing/<date>/            GB18030 CSV, Chinese headers: invoices, lines, payments, applications, products
    landing/ledger/<date>/             AICPA Audit Data Standards, pipe-delimited: GL_Detail, Trial_Balance, ...
History runs from 2024-07-01 to 2026-06-30. The delivery of 2026-05-31 is a full extract of all up to that day; each day
of June 2026 delivers only its new and changed records. A master file without changes is not delivered that day.

What ties, by construction
    Per month and to the cent: revenue in the ledger = invoice lines, cost of goods sold = line costs, receivables =
    gross invoices - payments; every voucher balances. It holds after every single delivery: a late invoice is late
    together with its voucher, and corrections never touch an amount.

What is dirty, and how many of each the returned summary says (`summary["dirt"]`)
    exact duplicate rows; records corrected by a later delivery; invoices, vouchers and visits that come days late;
    deleted and voided records; customers no CRM knows; rows cut off or with impossible values, delivered right the next
    day; option values the dialect does not know; a voucher that is reversed; line breaks inside quoted fields.

Why the whale curve has its shape
    `ARCHETYPES` gives customers much the same margin and very different cost to serve: order size, discount, service,
    visits, payment habits. Costs are then sized as shares of the total gross margin (`EXPENSES`), so that the curve
    keeps its shape at any size. The figures are invented; none is of a real company.

Everything follows from the seed: the same seed and sizes give the same bytes. No wall clock, no global random state.

What does not belong here: how the files are read (dialects/) and how costs are allocated (costing/). The parts are in
harbour_pine/: profile (all constants), world, trade, service, ledger, to_<system> (rendering), dirt, files (writing).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

# A company folder is data and no package; the generator in it is one.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from harbour_pine.dirt import soil
from harbour_pine.files import write_files
from harbour_pine.ledger import make_ledger
from harbour_pine.profile import END, FIRST_DELIVERY, LAST_DAY
from harbour_pine.service import make_activities, make_campaigns, make_cases, make_opportunities, make_surveys
from harbour_pine.to_ads import render_ledger
from harbour_pine.to_billing import render_billing
from harbour_pine.to_fxiaoke import render_fxiaoke
from harbour_pine.to_salesforce import render_salesforce
from harbour_pine.trade import make_documents, make_payments
from harbour_pine.world import MACROS, World, make_customers, make_products


def write_extracts(
    landing: Path,
    *,
    seed: int = 7,
    customers: int = 2000,
    invoice_lines: int = 150_000,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Write all deliveries of the demo company below `landing`; return what was written.

    `customers` counts customers with a billing code (prospects and the few no CRM knows come on top); `invoice_lines`
    counts lines of invoices and credit notes together, voided ones apart. The summary holds counts, totals in yuan as
    text with two decimals, and the number of each kind of dirt.
    """
    tell = progress or (lambda _: None)
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("set timezone = 'UTC'")
        con.execute(MACROS)
        world = World(con, seed, make_customers(seed, customers))
        tell("inventing customers, products, invoices and payments")
        make_documents(world, invoice_lines, make_products(world))
        make_payments(world)
        tell("inventing service cases, visits, calls, campaigns")
        for make in (make_cases, make_activities, make_surveys, make_campaigns, make_opportunities):
            make(world)
        tell("posting the ledger")
        make_ledger(world)
        for render in (render_billing, render_ledger, render_salesforce, render_fxiaoke, soil):
            render(world)
        files = write_files(world, Path(landing), tell)
        return summary(world, files)


def summary(world: World, files: int) -> dict[str, Any]:
    """Counts and totals of what happened, as a reader of all deliveries must find them in the end."""
    counts = {
        "customers": "select count(*) from customers where kind = 'customer'",
        "customers_with_sales": "select count(distinct customer) from documents",
        "prospects": "select count(*) from customers where kind = 'prospect'",
        "products": "select count(*) from products",
        "invoices": "select count(*) from documents where original < 0",
        "credit_notes": "select count(*) from documents where original >= 0",
        "invoice_lines": "select count(*) from lines",
        "payments": "select count(*) from payments",
        "payment_applications": "select count(*) from applications",
        "gl_entries": "select count(*) from (select distinct journal, line from gl)",
        "service_cases": "select count(*) from cases",
        "visits": "select count(*) from activities where kind = 'visit'",
        "calls": "select count(*) from activities where kind = 'call'",
        "survey_responses": f"select count(*) from surveys where day <= {LAST_DAY}",
        "campaigns": "select count(*) from campaigns",
        "campaign_members": "select count(*) from members",
        "opportunities": "select count(*) from opportunities",
    }
    totals = {
        "net_revenue": "select yuan(sum(net)) from documents",
        "cost_of_goods_sold": "select yuan(sum(cost)) from documents",
        "gross_invoiced": "select yuan(sum(gross)) from documents",
        "payments_received": "select yuan(sum(amount)) from payments",
        "operating_expense": """select yuan(sum(cents)) from (select distinct on (journal, line) cents,
            account from gl)
            where account between '660101' and '660299'""",
    }
    return {
        "seed": world.seed,
        "files": files,
        "first_delivery": FIRST_DELIVERY.isoformat(),
        "last_delivery": END.isoformat(),
        **{name: int(world.value(sql)) for name, sql in counts.items()},
        **{name: str(world.value(sql)) for name, sql in totals.items()},
        "dirt": dict(sorted(world.dirt.items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the extracts of the demo company.")
    parser.add_argument("--landing", type=Path, required=True, help="landing folder; sources are folders below it")
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=150_000, help="invoice lines, credit notes counted")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    found = write_extracts(
        given.landing, seed=given.seed, customers=given.customers, invoice_lines=given.lines, progress=print
    )
    print(json.dumps(found, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
