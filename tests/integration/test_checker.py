"""The script that ships with every release finds nothing in what the engine made, and every cent that was changed after."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from costing_engine import Line, Used, driver, pool, run_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_costing import companies

from assets.publish import checker

SCRIPT = Path(checker.__file__)
TABLES = {
    "drivers": "rules.drivers",
    "pool_months": "pools.pool_months",
    "budget_rates": "pools.budget_rates",
    "pool_cost_lines": "pools.pool_cost_lines",
    "pool_flows": "service_pools.pool_flows",
    "pool_origins": "service_pools.pool_origins",
    "pool_charges": "costing.pool_charges",
    "driver_rows": "pools.driver_rows",
    "driver_quantities": "pools.driver_quantities",
    "allocation_lines": "marts.allocation_lines",
    "customer_cost_lines": "marts.customer_cost_lines",
    "residual_cost_lines": "marts.residual_cost_lines",
    "cost_pools": "overview.cost_pools",
    "customer_profitability": "marts.customer_profitability",
}

WATERFALL = """
    create table marts.customer_profitability as
    with costs as (
        select customer_id, month,
            coalesce(sum(amount) filter (stage = 'direct'), 0) as direct_cost_to_serve,
            coalesce(sum(amount) filter (stage = 'activity' and behaviour = 'variable'), 0) as activity_cost_variable,
            coalesce(sum(amount) filter (stage = 'activity' and behaviour = 'step_fixed'), 0) as activity_cost_step_fixed,
            coalesce(sum(amount) filter (stage = 'activity' and behaviour not in ('variable', 'step_fixed')), 0)
                as activity_cost_fixed,
            coalesce(sum(amount) filter (stage = 'sustaining'), 0) as allocated_sustaining,
            1000.25 as net_revenue, 600.5 as cost_of_goods_sold, 399.75 as gross_margin, 2.5 as expected_credit_loss,
            1.25 as financing_cost
        from marts.customer_cost_lines group by all
    ), levels as (
        select *, gross_margin - direct_cost_to_serve - activity_cost_variable - activity_cost_step_fixed
            - activity_cost_fixed - expected_credit_loss - financing_cost as contribution_after_cost_to_serve
        from costs
    )
    select *, contribution_after_cost_to_serve - allocated_sustaining as operating_profit from levels
"""


def company(folder):
    """Every way cost can take: three service pools in a cycle and one closed loop, idle and overloaded capacity, budget
    rates, two drivers, each corner policy, direct, sustaining and unruled cost, and a reversal in a later month."""
    served = {
        "it": {"hr": 3, "rooms": 2, "desk": 40, "board": 1},
        "hr": {"it": 5, "rooms": 4, "dock": 30},
        "rooms": {"it": 1, "desk": 2, "power": 7, "dock": 3, "visits": 1},
        "loop_a": {"loop_b": 1},
        "loop_b": {"loop_a": 1},
    }
    return run_engine(
        folder,
        pools=[
            *(pool(name, "service", driver_id=f"of_{name}", behaviour="fixed") for name in served),
            pool("desk", driver_id="minutes"),
            pool("dock", driver_id="lines", behaviour="fixed", rate_basis="actual"),
            pool("power", driver_id="kwh", fixed_driver_id="present", behaviour="variable"),
            pool("visits", driver_id="visits", rate_basis="budget", overload="standard"),
            pool("calls", driver_id="calls", rate_basis="budget", behaviour="variable"),
            pool("late", driver_id="before"),
            pool("spared", driver_id="other"),
            pool("nothing", driver_id="never"),
            pool("tie", driver_id="tied"),
            pool("brand", "sustaining", driver_id="lines"),
            *(pool("board", "sustaining"), pool("freight", "direct", behaviour="variable")),
        ],
        drivers=[
            *(driver(f"of_{name}", "stated") for name in served),
            *(driver("minutes", "handling_minutes", decimals=2), driver("lines"), driver("kwh"), driver("present")),
            *(driver("visits"), driver("calls"), driver("before", zero_policy="previous_month")),
            *(
                driver("other", zero_policy="fallback_driver", fallback_driver_id="lines"),
                driver("never"),
                driver("tied"),
            ),
        ],
        quantities=[
            {"driver_id": f"of_{name}", "receiver_kind": "pool", "receiver_id": receiver, "quantity": quantity}
            for name, receivers in served.items()
            for receiver, quantity in receivers.items()
        ],
        capacities=[
            {"pool_id": name, "capacity": capacity}
            for name, capacity in {"it": 60, "desk": 9, "power": 50, "visits": 12}.items()
        ],
        budgets=[
            {"pool_id": "visits", "fixed_amount": 700.01},
            {"pool_id": "calls", "variable_amount": 123.45, "quantity": 7, "fixed_amount": 9.99},
        ],
        behaviours=[{"pool_id": "power", "gl_account_from": "7000", "behaviour": "variable", "fixed_amount": 12.34}],
        lines=[
            *(
                Line("it", 1_000_003),
                Line("hr", 777_777),
                Line("rooms", 123_457),
                Line("loop_a", 70),
                Line("loop_b", 31),
            ),
            *(
                Line("desk", 100_001),
                Line("dock", 5_005),
                Line("visits", 80_000),
                Line("late", 333),
                Line("spared", 101),
            ),
            *(Line("power", 4_321, account="7000"), Line("power", 1_111), Line("nothing", 17), Line("brand", 1_000)),
            *(Line("board", -900), Line("freight", 250, customer="a"), Line("freight", 99), Line(None, 7)),
            *(Line("it", 54_321, journal="WRONG"), Line("desk", 6_543, journal="WRONG"), Line("desk", 44, "2026-03")),
            Line("it", -54_321, "2026-03", journal="UNDO", reverses="WRONG"),
            *(Line("desk", -6_543, "2026-03", journal="UNDO", reverses="WRONG"), Line("tie", 18_225)),
        ],
        used=[
            *(
                Used("minutes", name, quantity)
                for name, quantity in {"a": 101, "b": 203, "c": 307, "UNMATCHED": 11}.items()
            ),
            *(Used("lines", name, quantity) for name, quantity in {"a": 3, "b": 4, "c": -5, "d": 4}.items()),
            *(Used("kwh", "a", 1), Used("kwh", "b", 6), Used("present", "a", 10), Used("present", "c", 30)),
            *(Used("visits", "a", 9), Used("visits", "b", 7), Used("calls", "b", 4), Used("calls", "d", 2)),
            *(Used("before", "a", 2, "2025-11"), Used("before", "e", 5, "2025-11"), Used("lines", "b", -1)),
            *(Used("tied", "a", 2), Used("tied", "b", 98)),  # half a cent each: the larger quantity has it
            *(Used("minutes", "a", 900, "2026-03"), Used("lines", "z", 5, "2026-03")),
        ],
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a release's Parquet files, and nothing of the project beside them."""
    folder = tmp_path_factory.mktemp("made")
    write(company(tmp_path_factory.mktemp("company")), folder)
    return folder


def write(connection, folder):
    connection.execute(WATERFALL)
    for table, relation in TABLES.items():
        connection.execute(f"copy {relation} to '{folder / table}.parquet' (format parquet)")
    (folder / "check.py").write_text(SCRIPT.read_text())


@pytest.fixture
def folder(made, tmp_path):
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def differences(folder):
    """What the script finds, without a process of its own."""
    module = runpy.run_path(str(SCRIPT))
    module["main"](folder)
    return module["wrong"]


def run(folder, *arguments, script=None):
    """As an auditor runs it: another process, away from the project."""
    command = [sys.executable, "-I", str(script or folder / "check.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)


def change(folder, table, query):
    """Replace the published table by what the query makes of `published`."""
    file = folder / f"{table}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"create table published as from '{file}'")
        connection.execute(f"copy ({query}) to '{file}' (format parquet)")


def test_it_finds_nothing_wrong_with_what_the_engine_made(folder, made):
    done = run(folder)
    assert (done.stdout.splitlines()[-1], done.returncode) == ("No difference.", 0), done.stdout + done.stderr
    lines = sum(
        duckdb.sql(f"from '{folder / table}.parquet'").shape[0]
        for table in ("customer_cost_lines", "residual_cost_lines")
    )
    residual_lines = duckdb.sql(f"select distinct residual_line from '{folder}/residual_cost_lines.parquet'").fetchall()
    reasons = ("UNMATCHED_CUSTOMER", "ZERO_DRIVER", "NO_RULE", "CLOSED_LOOP")
    assert {line for (line,) in residual_lines} >= {
        *("UNUSED:it", "UNUSED:power", "VARIANCE:visits", "VARIANCE:calls", "SUSTAINING:facility"),
        *(f"UNALLOCATED:{reason}" for reason in reasons),
    }
    factorised = duckdb.sql(f"from '{folder}/allocation_lines.parquet'").shape[0]
    assert done.stdout.startswith(f"{lines:,} cost lines and {factorised:,} allocation lines recomputed")
    assert run(folder, made, script=SCRIPT).stdout == done.stdout


def replaced(column, by, where="true"):
    return f"select * replace (case when {where} then {by} else {column} end as {column}) from published"


LINES, RESIDUALS, LINE = "customer_cost_lines", "residual_cost_lines", "customer_id = 'b' and pool_id = 'desk'"
CHANGES = {
    "a cent more": (LINES, replaced("amount", "amount + 0.01", f"{LINE} and month = driver_month")),
    "a cent from one to the other": (
        LINES,
        replaced(
            "amount", "amount + if(customer_id = 'a', 0.01, -0.01)", "pool_id = 'dock' and customer_id in ('a', 'b')"
        ),
    ),
    "the rounding cent on another": (
        LINES,
        replaced("rounding_cents", "if(customer_id = 'a', 1, 0)", "pool_id = 'dock'"),
    ),
    "a quantity": (LINES, replaced("driver_quantity", "driver_quantity + 1", LINE)),
    "a total quantity": (LINES, replaced("total_driver_quantity", "total_driver_quantity + 1", LINE)),
    "a pool amount": (LINES, replaced("pool_amount", "pool_amount + 0.01", LINE)),
    "a line of a reversal": (LINES, replaced("amount", "amount - 0.01", "month != driver_month and customer_id = 'c'")),
    "a line less": (LINES, f"from published where not ({LINE})"),
    "a line twice": (LINES, f"from published union all from published where {LINE}"),
    "a line of another pool": (LINES, replaced("pool_id", "'dock'", LINE)),
    "a line of no pool": (
        LINES,
        f"from published union all (select * replace ('ghost' as pool_id) from published where {LINE})",
    ),
    "a direct line": (LINES, replaced("customer_id", "'b'", "stage = 'direct'")),
    "unused capacity": (RESIDUALS, replaced("amount", "amount - 0.01", "residual_line = 'UNUSED:power'")),
    "a residual line": (RESIDUALS, replaced("residual_line", "'SUSTAINING:facility'", "residual_line like '%NO_RULE'")),
    "a variance": (RESIDUALS, "from published where residual_line != 'VARIANCE:visits'"),
    "a closed loop": (RESIDUALS, "from published where residual_line not like '%CLOSED_LOOP'"),
    "a factorised quantity": (
        "allocation_lines",
        replaced("driver_quantity", "driver_quantity + 1", "receiver_id = 'a'"),
    ),
    "a factorised cent": ("allocation_lines", replaced("rounding_cents", "(1 - abs(rounding_cents))::tinyint")),
    "a factorised line less": ("allocation_lines", "from published where receiver_id != 'UNUSED:power'"),
    "a ledger line": ("pool_cost_lines", replaced("amount_cents", "amount_cents + 1", "pool_id = 'dock'")),
    "whose a ledger line is": ("pool_cost_lines", replaced("customer_id", "'b'", "pool_id = 'freight'")),
    "a driver row": ("driver_rows", replaced("quantity", "quantity + 1", "customer_id = 'd'")),
    "a driver quantity": ("driver_quantities", replaced("quantity", "quantity + 1", "customer_id = 'd'")),
    "a capacity": ("pool_months", replaced("capacity_quantity", "capacity_quantity + 1")),
    "a stage": ("pool_months", replaced("stage", "'service'", "pool_id = 'board'")),
    "a budget": ("budget_rates", replaced("budget_cents", "budget_cents + 1")),
    "a policy": ("drivers", replaced("zero_policy", "'sustaining'", "driver_id = 'never'")),
    "what a pool charged": ("pool_charges", replaced("charged_cents", "charged_cents + 1")),
    "a pool charge less": ("pool_charges", "from published where pool_id != 'power'"),
    "the unused quantity": ("pool_charges", replaced("unused_quantity", "unused_quantity + 1")),
    "a flow": ("pool_flows", replaced("amount_cents", "amount_cents + 1", "receiver_id = 'desk'")),
    "a flow less": ("pool_flows", "from published where receiver_id != 'board'"),
    "a flow to another pool": ("pool_flows", replaced("receiver_id", "'brand'", "receiver_id = 'board'")),
    "the quantity of a flow": ("pool_flows", replaced("quantity", "quantity * 2")),
    "an origin": ("pool_origins", "from published where origin_pool_id != 'hr'"),
    "a pool's result": ("cost_pools", replaced("given_amount", "given_amount + 0.01")),
    "a cost of the waterfall": (
        "customer_profitability",
        replaced("activity_cost_fixed", "activity_cost_fixed + 0.01"),
    ),
    "a level of the waterfall": ("customer_profitability", replaced("operating_profit", "operating_profit + 0.01")),
    "a customer less": ("customer_profitability", "from published where customer_id != 'd'"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_found(what, folder):
    change(folder, *CHANGES[what])
    wrong = differences(folder)
    assert wrong
    assert all("recomputed" in said or "published twice" in said for said in wrong)


def test_differences_end_with_1_and_are_shown(folder):
    change(folder, *CHANGES["a cent more"])
    done = run(folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert "cost line of 2026-01-01, desk, step_fixed, 2026-01-01: b: recomputed " in done.stdout


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(company=companies(), method=st.sampled_from(["direct", "step_down", "reciprocal"]))
def test_it_agrees_with_the_engine_on_any_company(tmp_path, company, method):
    rules, lines, used = company
    write(run_engine(tmp_path, lines=lines, used=used, method=method, **rules), tmp_path)
    assert differences(tmp_path) == []


def test_a_folder_that_is_no_release_is_said_to_be_none(tmp_path):
    done = run(tmp_path, tmp_path, script=SCRIPT)
    assert (done.returncode, done.stderr) == (1, "")
    assert "cannot be recomputed" in done.stdout


def test_it_shares_nothing_with_the_engine():
    imported = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported - sys.stdlib_module_names == {"duckdb"}
