"""CDNOW, run as one extract by the command: a company that has customers and purchases, and no ledger, no CRM, no costing rules.

The data lies beside the repository and not in it: without it these tests are skipped, and say so. Totals are those of its README.
"""

from __future__ import annotations

import shutil
from decimal import Decimal

import duckdb
import pytest
from command import PROJECT, SHARED_DATA, Whalecurve

from assets.company import load_company

PURCHASES = SHARED_DATA / "cdnow" / "CDNOW_master.txt"
COMPANY = PROJECT / "companies" / "cdnow"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PURCHASES.is_file(), reason=f"the CDNOW purchases are not at {PURCHASES}"),
]


@pytest.fixture(scope="module")
def cdnow(tmp_path_factory: pytest.TempPathFactory) -> Whalecurve:
    """All purchases delivered as one extract, run and released. Tests must not change it."""
    whalecurve = Whalecurve(COMPANY, tmp_path_factory.mktemp("cdnow"))
    date = load_company(COMPANY).first_business_date.isoformat()
    landing = whalecurve.data / "landing" / "cdnow" / date
    landing.mkdir(parents=True)
    shutil.copyfile(PURCHASES, landing / PURCHASES.name)
    whalecurve("run", "--date", date)
    return whalecurve


@pytest.fixture(scope="module")
def row(cdnow: Whalecurve):
    """The one row of a query over the published tables."""
    with duckdb.connect(str(cdnow.release / "whalecurve.duckdb"), read_only=True) as connection:

        def only(sql: str):
            (found,) = connection.execute(sql).fetchall()
            return found

        yield only


def test_every_purchase_is_on_its_customer(row):
    assert row(
        "select count(distinct customer_id), sum(order_count), sum(quantity), sum(net_revenue) from customer_profitability"
    ) == (23_570, 69_659, Decimal("167881"), Decimal("2500315.63"))


def test_a_company_without_a_ledger_has_no_cost_to_serve_and_says_so(row, cdnow: Whalecurve):
    assert row("select count(*), sum(operating_profit) - sum(gross_margin) from customer_profitability")[1] == 0
    assert "No cost is in the ledger's scope" in cdnow("summary").stdout
