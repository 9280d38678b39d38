"""The canonical contract as a model: entities, columns, types. The words are in contract.yml, the only home of both."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from assets.yaml_files import read_yaml, validated

CONTRACT_FILE = Path(__file__).with_name("contract.yml")

SQL_TYPES = {
    "text": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
    "money": "DECIMAL(22,4)",
    "quantity": "DECIMAL(20,6)",
    "ratio": "DECIMAL(20,10)",
}
"""DuckDB type of each contract type. Money is in major units of the base currency."""

PiiClass = Literal["name", "email", "phone", "tax_id", "bank_reference", "internal_user", "free_text"]
"""The classes of personal data. What becomes of a column in published tables, when company.yml does not list it:

    class            published as   of whom
    name             pseudonym      the customer, who may be a natural person
    email            pseudonym      the customer
    phone            pseudonym      the customer
    tax_id           pseudonym      the customer
    bank_reference   pseudonym      the customer; people also write their name into it
    internal_user    pseudonym      an employee of the company itself
    free_text        dropped        anybody: it can name any person, so no part of it is kept

A pseudonym is keyed (WHALECURVE_PSEUDONYM_KEY) and the same in every table and release; without the key the column is
withheld. The pseudonyms are made by the dbt macro `pseudonym`; what publishes them is `assets/publish/privacy.py`.
"""

DROPPED: tuple[PiiClass, ...] = ("free_text",)

CUSTOMER_REFERENCES = (
    "customer_id",
    "customer_account_id",
    "parent_customer_id",
    "merged_into",
    "source_customer_key",
)
"""Columns of any entity that hold a key of a customer: the erasure of a person replaces it there."""


class Column(BaseModel):
    """One canonical column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text", "date", "timestamp", "boolean", "integer", "money", "quantity", "ratio"]
    description: str
    required: bool = False
    pii: PiiClass | None = None
    allowed: tuple[str, ...] = ()

    @property
    def sql_type(self) -> str:
        return SQL_TYPES[self.type]


class Entity(BaseModel):
    """One canonical entity: its grain, the key of a record within one source, its columns in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grain: str
    key: tuple[str, ...]
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _key_is_known(self) -> Entity:
        unknown = [column for column in self.key if column not in self.columns]
        if unknown:
            raise ValueError(f"the key names columns that do not exist: {', '.join(unknown)}")
        return self


class Contract(BaseModel):
    """All entities and the lineage columns that ingest adds to each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entities: dict[str, Entity]
    lineage_columns: dict[str, Column]

    def raw_columns(self, entity: str) -> dict[str, str]:
        """Column -> DuckDB type of one raw file, in order."""
        columns = {**self.entities[entity].columns, **self.lineage_columns}
        return {name: column.sql_type for name, column in columns.items()}


@functools.cache
def load_contract(path: Path = CONTRACT_FILE) -> Contract:
    """Read the contract. Raises ConfigurationError naming key and reason."""
    return validated(Contract, read_yaml(path), path)


@functools.cache
def contract_hash(entity: str) -> str:
    """Hash of one entity's contract: a changed contract makes a changed load."""
    text = load_contract().entities[entity].model_dump_json()
    return hashlib.sha256(text.encode()).hexdigest()
