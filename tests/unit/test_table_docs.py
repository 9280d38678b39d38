"""Whoever reads a release finds every table and column described, in dbt's YAML, and a question for each table."""

import re
from pathlib import Path
from typing import Any

import pytest

from assets.publish import contract
from assets.publish.tables import PUBLISHED, QUESTIONS
from assets.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
TABLES = contract.declared()["tables"]


@pytest.fixture(scope="module")
def described() -> dict[str, dict[str, Any]]:
    """Table -> what dbt's YAML says of it."""
    relations = {**PUBLISHED, "data_quality": "release.data_quality", "deliveries": "release.deliveries"}
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / "dbt_project" / "models").rglob("*.yml")):
        written = read_yaml(path)
        said = [(path.parent.name, model) for model in written.get("models", [])]
        said += [
            (source.get("schema", source["name"]), table)
            for source in written.get("sources", [])
            for table in source["tables"]
        ]
        for schema, one in said:
            if relations.get(one["name"]) == f"{schema}.{one['name']}":
                assert one["name"] not in found, f"{path} describes {one['name']} a second time"
                found[one["name"]] = one
    return found


@pytest.mark.parametrize("table", sorted(TABLES))
def test_table_and_its_columns_are_described_as_they_are_published(
    table: str, described: dict[str, dict[str, Any]]
) -> None:
    assert table in described, "describe it in dbt_project/models, beside its model or as a source"
    assert described[table]["description"].startswith("One row per ")
    columns = {column["name"]: column for column in described[table]["columns"]}
    assert set(columns) == set(TABLES[table]["columns"])
    for name, kind in TABLES[table]["columns"].items():
        said = columns[name].get("description", "")
        assert len(said) > 3, f"{table}.{name} has no description"
        assert columns[name]["data_type"].upper().replace(" ", "") == kind.replace(" ", ""), f"{table}.{name}"


def test_sources_of_the_analytics_layer_are_what_it_publishes(described: dict[str, dict[str, Any]]) -> None:
    layer = next(iter(read_yaml(ROOT / "dbt_project/models/overview/_analytics__sources.yml")["sources"]))
    named = {table["name"] for table in layer["tables"]}
    assert {name for name, relation in PUBLISHED.items() if relation.startswith("analytics.")} <= named


def test_readme_asks_the_same_question_of_each_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What is published")[2]
    rows = re.findall(r"^\| (`[^|]+`) \| [^|]+ \| ([^|]+) \|$", readme.partition("\n## ")[0], re.MULTILINE)
    asked = {name: question for names, question in rows for name in re.findall(r"`(\w+)`", names)}
    assert asked == QUESTIONS
    assert set(QUESTIONS) == set(TABLES)
