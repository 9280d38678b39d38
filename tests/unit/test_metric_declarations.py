"""Metrics are declared once, in dbt's YAML, and mean the same to all who use them."""

from decimal import Decimal

import contract_tables
import duckdb
import pytest

from assets.errors import ConfigurationError
from assets.publish import contract, metrics
from assets.publish.tables import PUBLISHED

CUSTOMERS = """
    select * from (values
        ('a', 1000.00, 400.00, 50.00, 300.00, 'active', 10.50, 5000.00),
        ('b', 500.00, 100.00, 150.00, -75.00, 'at_risk', 3.25, -20.00),
        ('c', 0.00, 0.00, 25.00, -25.00, 'lapsed', null, null),
        ('d', 0.00, 0.00, 0.00, 0.00, 'prospect', null, null)
    ) as rows (customer_id, net_revenue_12m, gross_margin_12m, cost_to_serve_12m, operating_profit_12m, lifecycle_stage,
        expected_profit_lost, clv)
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net_revenue_12m", Decimal(1500)),
        ("cost_to_serve_12m", Decimal(225)),
        ("operating_profit_12m", Decimal(200)),
        ("operating_margin_12m", 200 / 1500),
        ("earned_profit_12m", Decimal(300)),
        ("lost_profit_12m", Decimal(-100)),
        ("whale_peak_share", 1.5),
        ("customers_12m", 3),
        ("profitable_customers", 1),
        ("loss_making_customers", 2),
        ("customers_at_risk", 1),
        ("profit_at_risk", Decimal("13.75")),
        ("lifetime_value", Decimal(4980)),
    ],
)
def test_a_metric_is_what_its_declaration_says(name, value):
    with duckdb.connect() as connection:
        (found,) = connection.execute(f"select {metrics.declared()[name].sql} from ({CUSTOMERS})").fetchone()
    assert found == pytest.approx(value) if isinstance(value, float) else found == value


@pytest.mark.parametrize("name", metrics.declared())
def test_a_metric_reads_published_tables_and_says_nothing_of_none(name):
    metric = metrics.declared()[name]
    assert metric.table in PUBLISHED
    assert metric.label
    assert metric.description.endswith(".")
    assert metric.latest in {None, *contract.declared()["tables"][metric.table]["columns"]}
    with contract_tables.released() as connection:
        (found,) = connection.execute(f"select {metric.sql} from {metric.table}").fetchone()
    assert not found


def test_selected_gives_zero_for_nothing_and_takes_one_table():
    with contract_tables.released() as connection:
        chosen = metrics.selected({"revenue": "net_revenue_12m", "earning": "profitable_customers"})
        assert connection.execute(f"select {chosen} from customers").fetchone() == (0, 0)
    with pytest.raises(ValueError, match="not metrics of one table"):
        metrics.selected({"a": "net_revenue_12m", "b": "pool_cost"})


DECLARED = """
semantic_models:
  - {name: t, model: ref('customers'), dimensions: [], measures: [{name: m, agg: AGG}]}
metrics:
  - {name: one, label: One, description: One., type: TYPE, type_params: {measure: m}, config: {meta: {unit: UNIT}}}
"""


@pytest.mark.parametrize(
    ("agg", "type_", "unit", "told"),
    [
        ("median", "simple", "share", "the metric one is neither"),
        ("sum", "cumulative", "share", "the metric one is neither"),
        ("sum", "simple", "gallons", "the unit 'gallons'"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, agg, type_, unit, told):
    file = tmp_path / "metrics.yml"
    file.write_text(DECLARED.replace("AGG", agg).replace("TYPE", type_).replace("UNIT", unit))
    with pytest.raises(ConfigurationError, match=told):
        metrics.declared(file)
