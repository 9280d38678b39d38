"""Costing rules: what a controller may write, and how a mistake is answered."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from assets.company import load_company
from assets.costing.rule_files import load_rules
from assets.costing.rule_tables import write_rules
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
    assert "driver_id is missing" in fault(company, "pools.csv", POOLS + "desk,Order desk,activity,,,variable,,,R1,,\n")
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
        assert bool(counts["pools"]) == (folder / "costing").exists()
        types = duckdb.execute(f"describe select * from '{tmp_path / folder.name}/ledger_scope.parquet'").fetchall()
        assert ("position", "INTEGER") in [row[:2] for row in types]
        shutil.rmtree(tmp_path / folder.name)


# What rows of several files say together.

MORE_POOLS = FILES["pools.csv"] + "it,IT,service,seats,,fixed,,,R2,,\n"
MORE_DRIVERS = FILES["drivers.csv"] + "seats,Seats,seat,stated,0,,\nminutes,Minutes,minute,time_equation,1,,\n"
QUANTITIES = "driver_id,receiver_kind,receiver_id,quantity,valid_from,valid_to\nseats,pool,desk,3,,\n"
EQUATIONS = "driver_id,term,measure,kind,coefficient,unit,valid_from,valid_to\nminutes,order,orders,,8,min,,\n"


@pytest.fixture
def served(company):
    """A company with a service pool and a time equation."""
    for name, text in (
        ("pools.csv", MORE_POOLS),
        ("drivers.csv", MORE_DRIVERS),
        ("quantities.csv", QUANTITIES),
        ("time_equations.csv", EQUATIONS),
    ):
        (company / "costing" / name).write_text(text)
    return company


def test_a_blank_cell_is_the_default(served):
    rules = load_rules(served)
    assert [driver.zero_policy for driver in rules.drivers] == ["unallocated"] * 3
    assert rules.pools[1].rate_basis == "practical"
    assert rules.time_equations[0].kind is None


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("budget.csv", "pool_id\n", "nothing reads budget.csv"),
        ("quantities.csv", QUANTITIES.replace("seats,pool,desk", "orders,pool,desk"), "nobody would read this row"),
        (
            "quantities.csv",
            QUANTITIES + "seats,pool,attic,1,,\n",
            "row 3, column receiver_id: there is no pool 'attic'",
        ),
        (
            "quantities.csv",
            QUANTITIES + "seats,customer,C1,1,,\n",
            "serves pools, so its driver must say how much each pool uses",
        ),
        (
            "quantities.csv",
            QUANTITIES + "seats,pool,desk,4,2026-01-01,\n",
            "row 3: 'seats / pool / desk' already holds",
        ),
        ("quantities.csv", QUANTITIES.replace(",3,", ",-3,"), "row 2, column quantity"),
        ("quantities.csv", QUANTITIES.replace(",3,", ",nan,"), "row 2, column quantity"),
        (
            "time_equations.csv",
            EQUATIONS.splitlines()[0] + "\n",
            "'minutes' has no terms; add them to time_equations.csv",
        ),
        (
            "pools.csv",
            MORE_POOLS.replace("it,IT,service,seats", "it,IT,service,orders"),
            "What it does for customers is",
        ),
        ("pools.csv", MORE_POOLS.replace("activity,orders", "activity,seats"), "'desk' is divided among customers"),
        (
            "pools.csv",
            MORE_POOLS + "freight,Freight,direct,orders,,variable,,,R3,,\n",
            "row 4, column (whole row): driver_id is for pools that are divided",
        ),
        (
            "drivers.csv",
            MORE_DRIVERS.replace("orders,0,unallocated", "orders,0,fallback_driver"),
            "fallback_driver_id is for zero_policy fallback_driver, which needs one",
        ),
        (
            "behaviours.csv",
            "pool_id,gl_account_from,behaviour,fixed_amount\ndesk,6000,fixed,5\n",
            "this row is fixed as a whole",
        ),
        ("budgets.csv", "pool_id,variable_amount\ndesk,5\n", "quantity is missing"),
        (
            "acquisition.csv",
            "pool_id,channel,share,divided_by\ndesk,Web,0.7,\ndesk,Fair,0.7,\n",
            "the shares of 'desk' that hold on the same day come to 1.4",
        ),
    ],
)
def test_files_that_contradict_each_other_are_refused(served, file, text, said):
    assert said in fault(served, file, text)


def test_a_budget_rate_needs_a_budget_with_one_fixed_amount(served):
    header = POOLS.strip() + ",rate_basis\n"
    pools = header + "desk,Order desk,activity,orders,,variable,,,R1,,,budget\n"
    assert "is charged at its budget and has none" in fault(
        served, "pools.csv", pools + "it,IT,service,seats,,fixed,,,R2,,,\n"
    )
    (served / "costing" / "budgets.csv").write_text("pool_id,fixed_amount\ndesk,100\n")
    load_rules(served)
    (served / "costing" / "behaviours.csv").write_text(
        "pool_id,gl_account_from,behaviour\ndesk,6000,fixed\ndesk,6001,step_fixed\n"
    )
    with pytest.raises(ConfigurationError, match="part fixed, part step_fixed"):
        load_rules(served)
