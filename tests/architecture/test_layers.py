"""The tree tells the truth: data flows one way, every table says what it is, and modules import only what they may."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml

from pipelines.definitions import LAYERS, defs
from pipelines.resources import DBT_MANIFEST, DBT_PROJECT, PROJECT_ROOT

GRAPH = defs.resolve_asset_graph()


def layer(key):
    return key.path[0]


def test_every_asset_lies_in_a_layer_and_no_edge_goes_backwards():
    position = {name: index for index, name in enumerate(LAYERS)}
    for key in GRAPH.get_all_asset_keys():
        assert layer(key) in position, f"{key.to_user_string()}: add its layer to LAYERS in pipelines/definitions.py"
        for parent in GRAPH.get(key).parent_keys:
            assert position[layer(parent)] <= position[layer(key)], (
                f"{key.to_user_string()} reads {parent.to_user_string()}: data flows only down {' -> '.join(LAYERS)}"
            )


def test_the_graph_holds_exactly_these_assets():
    """An import that goes wrong drops assets without a word; a rename shows here."""
    contract = yaml.safe_load((PROJECT_ROOT / "assets/ingest/contract.yml").read_text())
    models = {f"{path.parent.name}/{path.stem}" for path in DBT_PROJECT.glob("models/*/*.sql")}
    expected = {
        "landing/deliveries",
        *(f"raw/{entity}" for entity in contract["entities"]),
        *(
            f"rules/{t}"
            for t in (
                *("pools", "drivers", "capacities", "ledger_scope", "reconciliation_policies", "company"),
                *("behaviours", "time_equations", "stated_quantities", "pool_budgets", "pool_targets"),
                *("acquisition_costs", "matching_order", "customer_links"),
            )
        ),
        *("service_pools/pool_flows", "service_pools/pool_origins"),
        *models,
        *(
            f"analytics/{table}"
            for table in (
                *("customer_rfm", "customer_clv", "churn_risk", "customer_match_suggestions", "credit_risk"),
                *("break_even", "profit_sensitivity", "cost_anomalies", "cost_driver_analysis"),
                *("acquisition_channels", "resource_shares", "price_sensitivity"),
                *("model_quality", "model_parameters", "model_drift"),
                *("relationship_strength", "service_quality", "customer_potential", "kpis"),
                *("customer_lifecycle", "customer_stage_flows", "profitability_matrix"),
                *("advised_actions", "action_outcomes"),
            )
        ),
        "release/current",
    }
    assert {key.to_user_string() for key in GRAPH.get_all_asset_keys()} == expected


def test_every_asset_says_who_owns_it_what_it_is_made_with_and_what_a_row_is():
    for key in GRAPH.get_all_asset_keys():
        node = GRAPH.get(key)
        name = key.to_user_string()
        assert node.owners, f"{name} has no owner"
        assert node.kinds, f"{name} has no kind"
        assert node.group_name == layer(key), f"{name} is in the group {node.group_name}"
        assert node.description, f"{name} has no description"
        if layer(key) not in ("landing", "release"):
            assert node.description.startswith("One row"), (
                f"{name}: begin the description with its grain, 'One row per ...'"
            )
            assert node.metadata["dagster/column_schema"].columns, f"{name} shows no columns"


def test_every_dbt_model_and_column_is_described():
    manifest = json.loads(DBT_MANIFEST.read_text())
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert nodes
    for node in [*nodes, *manifest["sources"].values()]:
        assert node["description"], f"{node['unique_id']} has no description"
        assert node["columns"], f"{node['unique_id']} declares no columns"
        for column in node["columns"].values():
            assert column["description"], f"{node['unique_id']}.{column['name']} has no description"


def test_published_marts_have_enforced_contracts():
    manifest = json.loads(DBT_MANIFEST.read_text())
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and node["schema"] in ("marts", "overview"):
            assert node["contract"]["enforced"], f"{node['name']} is published without an enforced contract"


def test_dbt_project_lists_its_layers_in_the_same_order():
    layers = list(yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text())["models"]["whalecurve"])
    assert layers == [name for name in LAYERS if name in layers]


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(
    "package", ["assets", "assets/ingest", "assets/costing", "assets/analytics", "assets/publish", "pipelines"]
)
def test_package_files_hold_a_docstring_only(package):
    body = ast.parse((PROJECT_ROOT / package / "__init__.py").read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr), "imports here half-load modules and silently drop assets"


def test_assets_know_of_pipelines_only_its_resources():
    for path in (PROJECT_ROOT / "assets").rglob("*.py"):
        for module in imports(path):
            assert not module.startswith("pipelines") or module == "pipelines.resources", (
                f"{path.name} imports {module}"
            )


def test_only_resources_read_the_environment():
    for folder in ("assets", "pipelines"):
        for path in (PROJECT_ROOT / folder).rglob("*.py"):
            text = path.read_text()
            if path.name != "resources.py":
                assert "getenv" not in text, path
                assert "os.environ" not in text or path.name == "gate.py", path


def test_no_wall_clock_in_logic():
    """Everything is as of a date that is given. The one clock is the note of when a release was made."""
    for path in (PROJECT_ROOT / "assets").rglob("*.py"):
        if path.name == "release_asset.py":
            continue
        text = path.read_text()
        for clock in ("datetime.now(", "date.today(", "time.time(", "utcnow("):
            assert clock not in text, f"{path} reads the clock"
    for path in DBT_PROJECT.glob("models/**/*.sql"):
        text = path.read_text().lower()
        for clock in ("now()", "current_date", "current_timestamp", "today()"):
            assert clock not in text, f"{path} reads the clock"


def test_the_code_knows_no_company():
    names = {path.name for path in (PROJECT_ROOT / "companies").iterdir()} - {"demo"}
    for folder in ("assets", "pipelines", "dbt_project/models", "dbt_project/macros"):
        for path in (PROJECT_ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in (".py", ".sql", ".yml"):
                text = path.read_text().lower()
                for name in names:
                    assert name not in text, f"{path} names the company {name}"
