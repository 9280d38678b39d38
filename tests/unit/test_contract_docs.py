"""The staging documentation of dbt says what the canonical contract says, and nothing else."""

from __future__ import annotations

import pytest
import yaml

from assets.ingest.contract_docs import (
    COUNTED_TABLES,
    STAGING_FOLDER,
    read_contract,
    sources_yaml,
    staging_model_name,
    staging_sql,
    staging_yaml,
)

CONTRACT = read_contract()
ADVICE = "run `python -m assets.ingest.contract_docs`"


def test_the_sources_on_disk_are_the_generated_ones():
    assert (STAGING_FOLDER / "_raw__sources.yml").read_text(encoding="utf-8") == sources_yaml(CONTRACT), ADVICE


def test_the_staging_models_on_disk_are_the_generated_ones():
    assert (STAGING_FOLDER / "_staging__models.yml").read_text(encoding="utf-8") == staging_yaml(CONTRACT), ADVICE


@pytest.mark.parametrize("entity", CONTRACT["entities"])
def test_each_entity_has_a_staging_model_with_the_key_of_the_contract(entity):
    model = STAGING_FOLDER / f"{staging_model_name(entity)}.sql"
    assert model.read_text(encoding="utf-8") == staging_sql(entity, CONTRACT)


def test_there_is_no_staging_model_without_an_entity():
    expected = {staging_model_name(entity) for entity in CONTRACT["entities"]} | set(COUNTED_TABLES)
    assert {path.stem for path in STAGING_FOLDER.glob("*.sql")} == expected


@pytest.mark.parametrize("counted", COUNTED_TABLES)
def test_models_over_all_entities_name_every_entity(counted):
    sql = (STAGING_FOLDER / f"{counted}.sql").read_text(encoding="utf-8")
    assert [entity for entity in CONTRACT["entities"] if f"'{entity}'" not in sql] == []


def test_every_column_is_described_and_personal_data_is_marked():
    models = yaml.safe_load(staging_yaml(CONTRACT))["models"]
    assert all(column["description"] for model in models for column in model["columns"])
    customers = next(model for model in models if model["name"] == "stg_customers")
    marked = [column["name"] for column in customers["columns"] if "config" in column]
    assert marked == ["customer_name", "customer_tin", "email", "phone", "owner_ref"]
