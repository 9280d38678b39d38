"""Costing rules: what a controller may write, and how a mistake is answered."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from assets.company import load_company
from assets.costing.rules import load_rules, write_rules
from assets.errors import ConfigurationError

POOLS = (
    "pool_id,pool_name,stage,driver_id,sustaining_level,behaviour,valid_from,valid_to,rule_id,approved_by,approved_on\n"
)
SCOPE = "rule_id,gl_account_from,gl_account_to,cost_center_id,role,pool_id,reason,valid_from,valid_to\n"
FILES = {
    "pools.csv": POOLS + "desk,Order desk,activity,orders,,variable,,,R1,Lee,2026-01-01\n",
    "drivers.csv": "driver_id,driver_name,unit,measure,decimals,zero_policy,negative_policy\n"
    "orders,Orders,order,orders,0,unallocated,net_floor_zero\n",
    "ledger_scope.csv": SCOPE + "S1,6000,6099,,cost,desk,,,\n",
    "capacities.csv": "pool_id,capacity,valid_from,valid_to\ndesk,100.5,2026-01-01,\n",
}


@pytest.fixture
def company(tmp_path):
    (tmp_path / "costing").mkdir()
    for name, text in FILES.items():
        (tmp_path / "costing" / name).write_text(text)
    return tmp_path


def fault(company: Path, file: str, text: str) -> str:
    (company / "costing" / file).write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load_rules(company)
    return str(error.value)


def test_good_rules_are_read(company):
    rules = load_rules(company)
    assert [pool.pool_id for pool in rules.pools] == ["desk"]
    assert rules.capacities[0].capacity.as_tuple().exponent == -1


def test_a_wrong_cell_is_named_with_file_row_column_and_value(company):
    message = fault(company, "pools.csv", POOLS + "desk,Order desk,overhead,orders,,variable,,,R1,,\n")
    for part in ("pools.csv, row 2, column stage", "'activity'", "it is 'overhead'"):
        assert part in message


def test_an_unknown_pool_is_named_with_the_remedy(company):
    message = fault(company, "ledger_scope.csv", SCOPE + "S1,6000,,,cost,dock,,,\n")
    assert "ledger_scope.csv, row 2, column pool_id: there is no pool 'dock'" in message
    assert "add it to pools.csv or choose one of desk" in message


def test_an_activity_pool_needs_a_driver_that_exists(company):
    assert "which need one" in fault(company, "pools.csv", POOLS + "desk,Order desk,activity,,,variable,,,R1,,\n")
    assert "there is no driver 'miles'" in fault(
        company, "pools.csv", POOLS + "desk,Order desk,activity,miles,,variable,,,R1,,\n"
    )


def test_two_rows_for_the_same_day_are_refused_and_successive_ones_are_not(company):
    row = "desk,Order desk,activity,orders,,variable,{},{},R1,,\n"
    overlap = POOLS + row.format("", "2026-03-31") + row.format("2026-03-31", "")
    assert "row 3: 'desk' already holds for the same days in row 2" in fault(company, "pools.csv", overlap)
    (company / "costing" / "pools.csv").write_text(POOLS + row.format("", "2026-03-31") + row.format("2026-04-01", ""))
    assert len(load_rules(company).pools) == 2


def test_out_of_scope_needs_a_reason(company):
    message = fault(company, "ledger_scope.csv", SCOPE + "S1,9000,,,out_of_scope,,,,\n")
    assert "row 2" in message
    assert "needs a reason" in message


def test_a_shifted_row_is_named(company):
    assert "row 2: has more or fewer cells" in fault(
        company, "capacities.csv", "pool_id,capacity,valid_from,valid_to\ndesk,1\n"
    )


def test_the_shipped_companies_rules_are_good(tmp_path):
    for folder in sorted(Path("companies").iterdir()):
        counts = write_rules(load_company(folder), folder, tmp_path / folder.name)
        assert counts["pools"] > 0
        types = duckdb.execute(f"describe select * from '{tmp_path / folder.name}/ledger_scope.parquet'").fetchall()
        assert ("position", "INTEGER") in [row[:2] for row in types]
        shutil.rmtree(tmp_path / folder.name)
