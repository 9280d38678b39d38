"""A dialect: how one system writes its files, as a model. The SQL made of it is in `compile.py`.

    dialect: salesforce
    read: {format: csv, encoding: [utf-8, cp1252]}
    entities:
      customer:
        files: "Account*.csv"
        deleted: "IsDeleted in ('1', 'true')"
        columns:
          customer_id: {from: Id, required: true}

Built-in dialects lie in `assets/ingest/dialects/`, a company's own in `<company>/dialects/`; a company's may `extends:`
another of its own or a built-in one, entity by entity and column by column.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from assets.company import Name
from assets.errors import ConfigurationError
from assets.ingest.contract import Contract, load_contract
from assets.yaml_files import read_yaml, shown_path, validated

BUILT_IN = Path(__file__).with_name("dialects")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Strings = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One string or several, always kept as several."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Reading(_Strict):
    """How a file is read before its columns mean anything. Encodings are tried strictly, in order."""

    format: Literal["csv", "jsonl", "parquet"] = "csv"
    encoding: Strings = ("utf-8",)
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)


class Binding(_Strict):
    """Where a canonical column comes from: exactly one of `from`, `sql` and `value`."""

    source: Strings | None = Field(default=None, alias="from")
    sql: str | None = None
    value: str | None = None
    format: Strings = ()
    timezone: str | None = None
    map: dict[str, str] | None = None
    otherwise: Literal["error", "keep", "null"] = Field(default="error", alias="else")
    null_if: Strings = ()
    default: str | None = None
    scale: float | None = None
    required: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> Binding:
        given = [name for name in ("source", "sql", "value") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of from, sql and value")
        return self


class Input(_Strict):
    """One of the files an entity is joined from; the key it stands under is its name in the `select`."""

    files: str
    read: Reading | None = None


class EntityMapping(_Strict):
    """How one canonical entity is read: from `files`, or from a `select` over several `inputs`."""

    files: str | None = None
    inputs: dict[Name, Input] = {}
    select: str | None = None
    read: Reading | None = None
    where: str | None = None
    deleted: str | None = None
    modified_at: Binding | None = None
    columns: dict[str, Binding] = {}

    @model_validator(mode="after")
    def _files_or_select(self) -> EntityMapping:
        if (self.files is None) == (self.select is None):
            raise ValueError("give either files (one kind of file) or inputs with a select")
        if self.select is not None and not self.inputs:
            raise ValueError("a select needs inputs: name -> files")
        return self


class Dialect(_Strict):
    """All that is known of one system's files."""

    dialect: Name
    title: str = ""
    version: str = "1"
    read: Reading = Reading()
    timezone: str = "UTC"
    entities: dict[str, EntityMapping]

    @field_validator("entities")
    @classmethod
    def _canonical(cls, entities: dict[str, EntityMapping], info: ValidationInfo) -> dict[str, EntityMapping]:
        contract = load_contract()
        for name, mapping in entities.items():
            if name not in contract.entities:
                raise ValueError(f"'{name}' is not an entity of the contract ({', '.join(contract.entities)})")
            _check_columns(contract, name, mapping)
        return entities

    def reading(self, entity: str) -> Reading:
        return self.entities[entity].read or self.read

    def fingerprint(self, entity: str) -> str:
        """Hash of all that decides how one entity is read."""
        parts = [self.dialect, self.version, self.timezone, self.read.model_dump_json()]
        return hashlib.sha256("\0".join([*parts, self.entities[entity].model_dump_json()]).encode()).hexdigest()


def _check_columns(contract: Contract, name: str, mapping: EntityMapping) -> None:
    entity = contract.entities[name]
    unknown = [column for column in mapping.columns if column not in entity.columns]
    if unknown:
        raise ValueError(f"{name}: not columns of the contract: {', '.join(unknown)}")
    unbound = [c for c, spec in entity.columns.items() if spec.required and c not in mapping.columns]
    if unbound and mapping.select is None:
        raise ValueError(f"{name}: the contract requires {', '.join(unbound)}; bind them")


def load_dialect(name: str, company_folder: Path) -> Dialect:
    """Return the dialect `name`: the company's own if it has one, else the built-in one.

    Raises ConfigurationError naming the file and the key, or the dialects that exist.
    """
    path = _find(name, company_folder)
    return validated(Dialect, _extended(path, company_folder, seen=()), path)


def _find(name: str, company_folder: Path) -> Path:
    for folder in (company_folder / "dialects", BUILT_IN):
        if (folder / f"{name}.yml").exists():
            return folder / f"{name}.yml"
    known = sorted({path.stem for folder in (company_folder / "dialects", BUILT_IN) for path in folder.glob("*.yml")})
    raise ConfigurationError(
        f"{shown_path(company_folder / 'company.yml')}: there is no dialect '{name}'. "
        f"Known are {', '.join(known)}; a new one goes to {shown_path(company_folder / 'dialects')}/{name}.yml."
    )


def _extended(path: Path, company_folder: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The content of a dialect file laid over the one it extends."""
    content = read_yaml(path)
    base_name = content.pop("extends", None)
    if base_name is None:
        return content
    built_in = BUILT_IN / f"{base_name}.yml"
    base = built_in if path.stem == base_name and built_in.exists() else _find(base_name, company_folder)
    if base in (*seen, path):
        raise ConfigurationError(f"{shown_path(path)}: key 'extends': '{base_name}' extends itself in a circle.")
    return _merged(_extended(base, company_folder, (*seen, path)), content)


def _merged(base: dict[str, Any], over: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """`over` laid on `base`. Entities and their columns merge; a single binding is replaced whole."""
    result = dict(base)
    for key, value in over.items():
        merges = isinstance(value, dict) and isinstance(result.get(key), dict)
        is_binding = merges and bool({"from", "sql", "value"} & value.keys())
        result[key] = _merged(result[key], value, depth + 1) if merges and not is_binding else value
    return result
