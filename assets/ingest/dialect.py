"""A dialect: how one system writes its files, as a model. The SQL made of it is in `compile.py`.

    dialect: salesforce
    read: {encoding: [utf-8, cp1252]}
    entities:
      customer:
        files: "Account*.csv"
        deleted: {from: IsDeleted, in: ["1", "true"]}
        columns:
          customer_id: {from: [Id, Account ID], required: true}

Built-in dialects lie in `assets/ingest/dialects/`, a company's own in `<company>/dialects/`; a company's may `extends:`
another of its own or a built-in one, entity by entity and column by column.
"""

from __future__ import annotations

import codecs
import difflib
import functools
import hashlib
import re
import string
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from assets.company import Name
from assets.errors import ConfigurationError
from assets.ingest.contract import Contract, load_contract
from assets.yaml_files import read_yaml, shown_path, validated

BUILT_IN = Path(__file__).with_name("dialects")

EVERYTHING = "*"
"""`restates: "*"`: each delivery is the whole of the entity."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Strings = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One string or several, always kept as several."""


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    return value


Pattern = Annotated[str, BeforeValidator(_pattern)]


@functools.lru_cache(maxsize=512)
def _searched(value: str) -> str:
    """A pattern that DuckDB searches with: its regular expressions know neither lookarounds nor back references."""
    _pattern(value)
    with duckdb.connect() as connection:
        try:
            connection.execute("select regexp_matches('', ?)", [value])
        except duckdb.Error as error:
            reason = str(error).removeprefix("Invalid Input Error: ")
            raise ValueError(f"is not a regular expression DuckDB knows ({reason})") from None
    return value


def _captured(value: str) -> str:
    if re.compile(_searched(value)).groups < 1:
        raise ValueError("has no group; the part to keep stands in parentheses")
    return value


SearchPattern = Annotated[str, BeforeValidator(_searched)]
CapturePattern = Annotated[str, BeforeValidator(_captured)]


def _encoding(value: str) -> str:
    try:
        is_text = getattr(codecs.lookup(value), "_is_text_encoding", True)  # base64 and rot13 are codecs, too
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        raise ValueError("is not an encoding; usual ones are utf-8, gb18030, cp1252 and utf-16")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone; write it as in Asia/Shanghai") from None
    return value


Encodings = Annotated[tuple[Annotated[str, AfterValidator(_encoding)], ...], BeforeValidator(_listed)]
TimeZone = Annotated[str, AfterValidator(_timezone)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Section(_Strict):
    """Rows that open a section, as reports have them: their text in column `source` holds for the rows below.

    `source` is a label or the position of the column; `name` is the column the text is given under; a text that matches
    `ends` closes the section.
    """

    source: str = Field(alias="from")
    name: str = Field(alias="as")
    ends: SearchPattern = "^$"


class Dictionary(_Strict):
    """A file of the same delivery that says what the columns of the others are called by people."""

    files: Strings
    records: str = ""
    name: str
    label: str
    items: str | None = None
    """The list of a column's own columns, where a column holds a list of records."""


class Reading(_Strict):
    """How a file is read before its columns mean anything. Encodings are tried strictly, in order.

    Group 1 of `header_name` is the part of a header that is its name; what it does not match is a name as it stands.
    """

    format: Literal["auto", "csv", "xlsx", "json", "jsonl", "xml", "parquet"] = "auto"
    encoding: Encodings = ("utf-8",)
    delimiter: Strings = (",",)
    quote: str = Field(default='"', max_length=1)
    decimal: Literal[".", ","] = "."
    first_line: Pattern | None = None
    header: tuple[int, ...] | Literal["none"] | None = None
    header_has: Strings = ()
    header_name: Pattern | None = None
    names: tuple[str, ...] = ()
    ragged: bool = False
    sheet: Pattern | None = None
    records: Strings = ()
    each: Strings = ()
    fill_down: Strings = ()
    section: Section | None = None
    dictionary: Dictionary | None = None

    @field_validator("header", mode="before")
    @classmethod
    def _rows(cls, value: Any) -> Any:
        if value is None or value == "none":
            return value
        try:
            rows = tuple(int(row) for row in _listed(value))
        except (TypeError, ValueError):
            raise ValueError("give the number of the header row, several of them, or none") from None
        if not rows or min(rows) < 1 or list(rows) != sorted(set(rows)):
            raise ValueError("header rows are numbered from 1, each once, in order")
        return rows

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(delimiter) != 1 or delimiter in "\r\n\0" for delimiter in value):
            raise ValueError("a delimiter is one character, and not a line end")
        return value

    @field_validator("quote")
    @classmethod
    def _one_byte(cls, value: str) -> str:
        if len(value.encode()) > 1 or value in ("\r", "\n", "\0"):
            raise ValueError("a quote is one character of ASCII, or nothing")
        return value

    @model_validator(mode="after")
    def _names_without_header(self) -> Reading:
        if (self.header == "none") != bool(self.names):
            raise ValueError(
                "a file without header (header: none) needs the names of its columns, and only such a file"
            )
        if self.quote in self.delimiter:
            raise ValueError(f"{self.quote!r} cannot be delimiter and quote at once")
        return self

    def over(self, base: Reading) -> Reading:
        """This reading laid over `base`: what it says itself holds, the rest is the base's."""
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


class Condition(_Strict):
    """What a row says in one column; without column the value is null."""

    source: Strings = Field(alias="from")
    among: Strings | None = Field(default=None, alias="in")
    not_among: Strings | None = Field(default=None, alias="not_in")
    matches: SearchPattern | None = None
    empty: bool | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Condition:
        given = [name for name in ("among", "not_among", "matches", "empty") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of in, not_in, matches and empty")
        return self


Test = str | Condition
"""A condition, or an SQL expression over the file's columns."""
Tests = Annotated[tuple[Test, ...], BeforeValidator(_listed)]


class Indicator(_Strict):
    """The column that says on which side an unsigned amount stands, and its words for the two sides."""

    source: Strings = Field(alias="from")
    debit: Strings
    credit: Strings


class NaturalSign(_Strict):
    """An amount that grows on the account's own side: `source` says the account's type, `credit` the types that grow in
    credit and `debit` those that grow in debit."""

    source: Strings = Field(alias="from")
    debit: Strings
    credit: Strings


class Pairs(_Strict):
    """Numbered pairs of columns, one saying the kind of a dimension and one its code: `{n}` stands for the number."""

    kind: str
    code: str
    up_to: int = Field(ge=1, le=99)
    among: Strings = Field(alias="is")


class Binding(_Strict):
    """Where a canonical column comes from: exactly one of `from`, `sql`, `value`, `concat`, `debit` with `credit`, `pairs`
    and `number_within`; and what is done to the text before the contract's type is applied."""

    source: Strings | None = Field(default=None, alias="from")
    sql: str | None = None
    value: str | None = None
    concat: tuple[str, ...] | None = None
    separator: str = "-"
    debit: Strings | None = None
    credit: Strings | None = None
    pairs: Pairs | None = None
    number_within: str | None = None
    indicator: Indicator | None = None
    natural_sign: NaturalSign | None = None
    capture: CapturePattern | None = None
    remove: str | None = None
    strip_zeros: bool = False
    id18: bool = False
    format: Strings = ()
    timezone: TimeZone | None = None
    map: dict[str, str] | None = None
    otherwise: Literal["error", "keep", "null"] = Field(default="error", alias="else")
    null_if: Strings = ()
    default: str | None = None
    scale: float | None = None
    required: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> Binding:
        origins = ("source", "sql", "value", "concat", "debit", "pairs", "number_within")
        given = [name for name in origins if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of from, sql, value, concat, debit with credit, pairs and number_within")
        if (self.debit is None) != (self.credit is None):
            raise ValueError("debit and credit go together")
        if (self.indicator or self.natural_sign) and self.source is None:
            raise ValueError("indicator and natural_sign go with the column of the amount: from")
        return self


class Input(_Strict):
    """One of the files an entity is joined from; the key it stands under is its name in the `select`.

    With `columns` (name -> labels) the input has exactly those columns, empty where the file has none of the labels.
    """

    files: Strings
    read: Reading | None = None
    columns: dict[Name, Strings] = {}


class Deletions(_Strict):
    """Files that say which records are gone: key columns only."""

    files: Strings
    read: Reading | None = None
    where: Tests = ()
    modified_at: Binding | None = None
    columns: dict[str, Binding]


class Totals(_Strict):
    """Where a document states its own totals, so that a file cut off is found: paths from its root."""

    rows: str | None = None
    vouchers: str | None = None
    debit: str | None = None
    credit: str | None = None


class EntityMapping(_Strict):
    """How one canonical entity is read: from `files`, or from a `select` over several `inputs`."""

    files: Strings = ()
    inputs: dict[Name, Input] = {}
    select: str | None = None
    read: Reading | None = None
    where: Tests = ()
    deleted: Tests = ()
    deletions: Deletions | None = None
    modified_at: Binding | None = None
    restates: Strings = ()
    totals: Totals | None = None
    columns: dict[str, Binding] = {}

    @model_validator(mode="after")
    def _files_or_select(self) -> EntityMapping:
        if bool(self.files) == (self.select is not None):
            raise ValueError("give either files (what the files are called) or inputs with a select")
        if self.select is not None and not self.inputs:
            raise ValueError("a select needs inputs: name -> files")
        return self

    @property
    def names_above(self) -> frozenset[str]:
        """The names in all labels that lead above a record (`../Header.Company`)."""
        labels = re.findall(r"(?:\.\./)+([^\s|}\"\\]+)", self.model_dump_json())
        return frozenset(name for label in labels for name in re.split(r"[.\[\]=]", label))


EXPORTED_LISTS = ("actions",)
"""The lists a source's own CRM can import."""

EXPORTED_FIELDS = (
    *("source_customer_id", "customer_id", "customer_name", "owner_ref", "owner_role"),
    *("action", "action_rank", "priority_rank", "rule_id", "title", "title_zh", "reason", "reason_zh"),
    *("expected_effect", "effect_basis", "effect_basis_zh", "due_date", "as_of_date"),
)
"""What a column of an exported list may hold."""


def fields_of(template: str) -> list[str]:
    """The fields in braces of a template, in order. Raises ValueError for what is not a template of EXPORTED_FIELDS."""
    found = []
    for _, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if name not in EXPORTED_FIELDS:
            near = difflib.get_close_matches(name, EXPORTED_FIELDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(EXPORTED_FIELDS)}"
            raise ValueError(f"'{name}' is not a field of the list{hint}")
        if form or conversion:
            raise ValueError(f"write {{{name}}} without a format")
        found.append(name)
    return found


class Export(_Strict):
    """A list in the form this system imports: its own column names, each with a text that names fields in braces."""

    dates: str = "%Y-%m-%d"
    columns: dict[Annotated[str, Field(min_length=1)], str] = Field(min_length=1)

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, value: dict[str, str]) -> dict[str, str]:
        for header, template in value.items():
            try:
                fields_of(template)
            except ValueError as error:
                raise ValueError(f"column '{header}': {error}") from None
        return value


class Dialect(_Strict):
    """All that is known of one system's files. An entity delivered in several kinds of file has several mappings."""

    dialect: Name
    title: str = ""
    version: str = "1"
    read: Reading = Reading()
    timezone: TimeZone = "UTC"
    currency: str | None = None
    entities: dict[str, Annotated[tuple[EntityMapping, ...], BeforeValidator(_listed)]]
    export: dict[Literal[EXPORTED_LISTS], Export] = {}  # type: ignore[valid-type]

    @field_validator("entities")
    @classmethod
    def _canonical(
        cls, entities: dict[str, tuple[EntityMapping, ...]], info: ValidationInfo
    ) -> dict[str, tuple[EntityMapping, ...]]:
        contract = load_contract()
        for name, mappings in entities.items():
            if name not in contract.entities:
                raise ValueError(f"'{name}' is not an entity of the contract ({', '.join(contract.entities)})")
            for mapping in mappings:
                _check_columns(contract, name, mapping)
        return entities

    def reading(self, own: Reading | None, *outer: Reading | None) -> Reading:
        """How a file is read: what stands nearest to it holds, the rest is the dialect's."""
        result = self.read
        for reading in (*outer, own):
            if reading is not None:
                result = reading.over(result)
        return result

    def fingerprint(self, entity: str) -> str:
        """Hash of all that decides how one entity is read."""
        parts = [self.dialect, self.version, self.timezone, self.currency or "", self.read.model_dump_json()]
        parts += [mapping.model_dump_json() for mapping in self.entities[entity]]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _check_columns(contract: Contract, name: str, mapping: EntityMapping) -> None:
    entity = contract.entities[name]
    deleted = mapping.deletions.columns if mapping.deletions else {}
    named = {*mapping.columns, *deleted}
    named |= {binding.number_within for binding in mapping.columns.values() if binding.number_within}
    named |= set(mapping.restates) - {EVERYTHING}
    unknown = sorted(column for column in named if column not in entity.columns)
    if unknown:
        raise ValueError(f"{name}: not columns of the contract: {', '.join(unknown)}")
    unbound = [c for c, spec in entity.columns.items() if spec.required and c not in mapping.columns]
    if unbound and mapping.select is None:
        raise ValueError(f"{name}: the contract requires {', '.join(unbound)}; bind them")
    if mapping.deletions:
        missing = [key for key in entity.key if key not in deleted]
        if missing:
            raise ValueError(f"{name}: deletions must bind the key: {', '.join(missing)}")


def load_dialect(
    name: str, company_folder: Path, *, timezone: str | None = None, currency: str | None = None
) -> Dialect:
    """Return the dialect `name`: the company's own if it has one, else the built-in one.

    `timezone` and `currency` are those of the source that speaks it, where they differ from the dialect's. Raises
    ConfigurationError naming the file and the key, or the dialects that exist.
    """
    path = _find(name, company_folder)
    dialect = validated(Dialect, _extended(path, company_folder, seen=()), path)
    own = {"timezone": timezone, "currency": currency}
    return dialect.model_copy(update={key: value for key, value in own.items() if value})


def known_dialects(company_folder: Path) -> list[str]:
    """Names of all dialects a source of this company can speak."""
    return sorted({path.stem for folder in (company_folder / "dialects", BUILT_IN) for path in folder.glob("*.yml")})


def _find(name: str, company_folder: Path) -> Path:
    for folder in (company_folder / "dialects", BUILT_IN):
        if (folder / f"{name}.yml").exists():
            return folder / f"{name}.yml"
    raise ConfigurationError(
        f"{shown_path(company_folder / 'company.yml')}: there is no dialect '{name}'. Known are "
        f"{', '.join(known_dialects(company_folder))}; a new one goes to {shown_path(company_folder / 'dialects')}/{name}.yml."
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


_WHOLE = {"from", "sql", "value", "concat", "debit", "pairs", "number_within"}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`. Entities and their columns merge; a binding, a condition or a list is replaced whole."""
    result = dict(base)
    for key, value in over.items():
        merges = isinstance(value, dict) and isinstance(result.get(key), dict) and not _WHOLE & value.keys()
        result[key] = _merged(result[key], value) if merges else value
    return result
