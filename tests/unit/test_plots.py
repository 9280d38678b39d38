"""The plots of the UI: a picture where there is something to draw, and nothing where there is not."""

import base64

import duckdb
import pytest

from assets.publish.plots import PARTS, PLOTS, plots_of


@pytest.fixture
def warehouse():
    connection = duckdb.connect()
    connection.execute("create schema marts; create schema overview")
    connection.execute(
        "create table marts.whale_curve as select 'operating_profit' as profit_level, 'all' as period, i as customer_rank, "
        "(100 * i - 10 * i * i)::decimal(22, 4) as cumulative_profit from range(1, 9) as ranks(i)"
    )
    amounts = ", ".join(f"(100 + i)::decimal(22, 2) as {column}" for column, _, _ in PARTS)
    connection.execute(
        "create table overview.cost_pools as select date '2026-06-01' as month, 'p' || i as pool_id, 'Pool $' || i || ' 仓储' as "
        f"pool_name, if(i = 3, 'service', 'activity') as stage, 500 as actual_amount, 500 as gross_amount, {amounts} "
        "from range(5) as pools(i)"
    )
    return connection


def test_a_plot_is_a_picture(warehouse):
    names = {"marts.whale_curve": "whale_curve", "overview.cost_pools": "pool_costs"}
    assert set(names) == set(PLOTS)
    for table, name in names.items():
        (drawn,) = [plots_of(warehouse, table)[name]]
        assert base64.b64decode(drawn.partition("base64,")[2].rstrip(")")).startswith(b"\x89PNG")
    assert plots_of(warehouse, "marts.customer_profitability") == {}


def test_nothing_is_no_picture(warehouse):
    for table in PLOTS:
        warehouse.execute(f"delete from {table}")
        assert plots_of(warehouse, table) == {}
