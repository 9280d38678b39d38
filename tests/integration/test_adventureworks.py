"""AdventureWorks DW, run as one extract by the command: the release holds the printed figures, to the last digit.

The data lies beside the repository and not in it: without it these tests are skipped, and say so. The figures are
those of its README; they were computed from the delivered tables alone, without any code of this project.
"""

from __future__ import annotations

import shutil
from decimal import Decimal

import duckdb
import pytest
from command import PROJECT, SHARED_DATA, Whalecurve

from assets.company import load_company
from assets.ingest.storage import read_load

TABLES = SHARED_DATA / "adventureworks_dw"
COMPANY = PROJECT / "companies" / "adventureworks"
SOURCE = "adventureworks"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TABLES.is_dir(), reason=f"the AdventureWorks DW tables are not at {TABLES}"),
]


def money(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


@pytest.fixture(scope="module")
def adventureworks(tmp_path_factory: pytest.TempPathFactory) -> Whalecurve:
    """All tables delivered as one extract, run and released. Tests must not change it."""
    whalecurve = Whalecurve(COMPANY, tmp_path_factory.mktemp("adventureworks"))
    date = load_company(COMPANY).first_business_date.isoformat()
    landing = whalecurve.data / "landing" / SOURCE / date
    landing.mkdir(parents=True)
    for table in TABLES.glob("*.parquet"):
        shutil.copyfile(table, landing / table.name)
    whalecurve("run", "--date", date)
    return whalecurve


@pytest.fixture(scope="module")
def rows(adventureworks: Whalecurve):
    """Rows of a query over the published tables."""
    with duckdb.connect(str(adventureworks.release / "whalecurve.duckdb"), read_only=True) as connection:
        yield lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def row(rows):
    def only(sql: str):
        (found,) = rows(sql)
        return found

    return only


@pytest.fixture(scope="module")
def summary(adventureworks: Whalecurve) -> str:
    """What the command prints about the release."""
    return adventureworks("summary").stdout


def test_sales_cost_and_gross_profit_of_all_customers(row):
    assert row(
        "select count(distinct customer_id), sum(order_count), "
        "sum(net_revenue), sum(cost_of_goods_sold), sum(gross_margin) "
        "from customer_profitability where invoice_line_count > 0"
    ) == (19_119, 31_455, money("109,809,274.2030"), money("97,257,907.9547"), money("12,551,366.2483"))


def test_nobody_without_sales_carries_a_cost(row):
    assert row("select count(*) from customer_profitability where invoice_line_count = 0") == (0,)


@pytest.mark.parametrize(
    ("year", "orders", "customers", "revenue", "cost", "profit"),
    [
        (2010, 52, 52, "532,749.6151", "497,867.2067", "34,882.4084"),
        (2011, 2_989, 2_467, "25,268,328.6434", "22,394,844.7678", "2,873,483.8756"),
        (2012, 4_546, 3_656, "34,036,116.7273", "30,692,210.6650", "3,343,906.0623"),
        (2013, 22_997, 17_918, "49,926,384.4972", "43,652,843.5328", "6,273,540.9644"),
        (2014, 871, 834, "45,694.7200", "20,141.7824", "25,552.9376"),
    ],
)
def test_each_year(row, year, orders, customers, revenue, cost, profit):
    assert row(
        "select sum(order_count), count(distinct customer_id), "
        "sum(net_revenue), sum(cost_of_goods_sold), sum(gross_margin) "
        f"from customer_profitability where year(month) = {year}"
    ) == (orders, customers, money(revenue), money(cost), money(profit))


@pytest.mark.parametrize(
    ("customer_type", "customers", "revenue", "profit"),
    [
        ("I", 18_484, "29,358,677.2207", "12,080,883.6450"),
        ("R", 635, "80,450,596.9823", "470,482.6033"),
    ],
)
def test_people_and_resellers(row, customer_type, customers, revenue, profit):
    assert row(
        "select count(distinct customer_id), sum(net_revenue), sum(gross_margin) "
        f"from customer_profitability where customer_id like '{customer_type}%'"
    ) == (customers, money(revenue), money(profit))


def test_discounts_lie_between_list_and_net_revenue(row):
    discounts, gap = row("select sum(discounts), sum(list_revenue - net_revenue) from customer_profitability")
    assert discounts == gap == money("527,507.9262")


def test_best_and_worst_customers(rows):
    ranked = rows(
        "select customer_id, sum(gross_margin) as profit from customer_profitability "
        "group by customer_id order by profit desc"
    )
    assert ranked[:5] == [
        ("R496", money("64,487.8745")),
        ("R146", money("63,691.4767")),
        ("R697", money("62,737.6359")),
        ("R175", money("59,343.6633")),
        ("R506", money("57,025.1300")),
    ]
    assert ranked[-1] == ("R599", money("-73,315.5490"))


def test_whale_curve_of_gross_profit(row):
    rank, peak, share, customers = row(
        """
        select
            max(customer_rank) filter (is_peak), max(cumulative_profit) filter (is_peak),
            max(cumulative_share) filter (is_peak), count(*)
        from whale_curve
        where profit_level = 'gross_margin' and period = 'all'
        """
    )
    assert (rank, peak, f"{share:.3%}", customers) == (18_784, money("14,724,426.9640"), "117.313%", 19_119)


def test_operating_expense_is_on_customers_or_residual_lines_in_every_month(row, rows):
    months = rows(
        "select ledger_amount, assigned_amount + residual_amount, difference, status "
        "from reconciliation where check_name = 'cost_allocation'"
    )
    assert {(difference, status) for _, _, difference, status in months} == {(Decimal(0), "pass")}
    assert sum(month[0] for month in months) == sum(month[1] for month in months) == money("42,547,825.20")
    on_customers, residual = row(
        "select (select sum(amount) from customer_cost_lines), (select sum(amount) from residual_cost_lines)"
    )
    assert on_customers > 0
    assert on_customers + residual == money("42,547,825.20")


@pytest.mark.parametrize(
    ("year", "expense"),
    [(2010, "611,889.25"), (2011, "8,933,709.81"), (2012, "14,750,839.50"), (2013, "18,251,386.64")],
)
def test_operating_expense_of_each_year(row, year, expense):
    assert row(f"select sum(actual_amount) from cost_pools where year(month) = {year}") == (money(expense),)


def test_budgeted_operating_expense_covers_the_first_year_only(rows):
    assert rows(
        "select year(month), sum(budget_amount) from cost_pools where budget_amount is not null group by 1 order by 1"
    ) == [(2010, money("573,940.00")), (2011, money("6,933,260.00"))]


def test_every_pool_has_a_rule_and_no_head_count_is_money(rows):
    assert rows("select distinct residual_line from residual_cost_lines order by 1") == [
        ("SUSTAINING:facility",),
        ("SUSTAINING:product",),
    ]
    assert rows("select distinct pool_id from cost_pools where stage not in ('activity', 'sustaining')") == []
    accounts = rows("select min(gl_account_number), max(gl_account_number) from pool_cost_lines")
    assert accounts == [("6000", "6920")]


def test_full_absorption_turns_the_profit_into_a_loss(row):
    assert row(
        "select (select sum(operating_profit) from customer_profitability) "
        "- (select sum(amount) from residual_cost_lines)"
    ) == (money("-29,996,458.9517"),)


@pytest.mark.parametrize(
    ("check", "ledger", "assigned"),
    [
        ("cost_of_goods_sold", "32,651,198.98", "97,257,907.9547"),
        ("revenue", "103,072,498.59", "109,809,274.2030"),
        ("ledger_balance", "-20,680,620.86", "0"),
        ("voucher_balance", "198,028,483.74", "0"),
    ],
)
def test_what_does_not_tie_is_said_loudly(summary, row, rows, check, ledger, assigned):
    assert row(
        "select sum(ledger_amount), sum(assigned_amount), sum(difference) "
        f"from reconciliation where check_name = '{check}'"
    ) == (money(ledger), money(assigned), money(ledger) - money(assigned))
    months = rows(f"select difference, status, severity, reason from reconciliation where check_name = '{check}'")
    declared = load_company(COMPANY).reconciliation[check].reason
    for difference, status, severity, reason in months:
        assert (status, severity, reason) == ("pass" if difference == 0 else "warn", "warn", declared)
    assert f"WARNING  {check} does not tie" in summary
    assert f"{money(ledger):,.2f}" in summary


def test_no_sale_is_lost_on_the_way_to_a_customer(rows):
    assert rows("select distinct status from reconciliation where check_name = 'revenue_on_customers'") == [("pass",)]


def test_every_customer_is_known_and_no_name_is_published(row):
    counts = row("select count(*), count(*) filter (is_in_crm), count(customer_name) from customers")
    assert counts == (19_185, 19_185, 0)


def test_every_delivered_row_is_accounted_for(adventureworks):
    """The registry of each load: nothing is quarantined, and the ledger says what it leaves out."""
    registries = {}
    for path in sorted((adventureworks.data / "raw").glob("*/*/*/load.parquet")):
        load = read_load(duckdb.default_connection(), path)
        registries[load.entity] = (load.rows_in, load.rows_out, load.rows_quarantined, load.rows_left_out)
    assert registries == {
        "budget": (1_331, 1_331, 0, 0),
        "cost_center": (7, 7, 0, 0),
        "customer": (19_185, 19_185, 0, 0),
        "gl_account": (99, 99, 0, 0),
        "gl_entry": (39_409, 25_000, 0, 14_409),
        "invoice": (31_455, 31_455, 0, 0),
        "invoice_line": (121_253, 121_253, 0, 0),
        "product": (606, 606, 0, 0),
        "survey_response": (2_727, 2_727, 0, 0),
    }


def test_the_company_folder_holds_no_data():
    assert {path.suffix for path in COMPANY.rglob("*") if path.is_file()} == {".yml", ".csv"}
