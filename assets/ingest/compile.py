"""From a dialect and the contract to SQL: one statement per entity does all the reading, converting and judging of rows.

The statement has four steps. `source` is the file or the dialect's select. `bound` takes each canonical column's text
from where the dialect says it stands, and `converted` turns it into the contract's type. `judged` says what is wrong: a
text that does not convert, a required column without a value and a value outside the allowed ones become
`quarantine_reason`, and the row stays, with its original beside it. So rows in = rows out + rows quarantined holds by
construction.
"""

from __future__ import annotations

import dataclasses
import difflib
import unicodedata

from assets.errors import DeliveryError
from assets.ingest.contract import Column, Entity
from assets.ingest.dialect import Binding, Dialect, EntityMapping, Reading
from assets.ingest.reading import column_expression
from assets.ingest.sql import identifier, literal

ISO_FORMATS = "ISO 8601"
THOUSANDS = r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"
TRUE_TOKENS = ("1", "true", "t", "yes", "y", "是", "√")
FALSE_TOKENS = ("0", "false", "f", "no", "n", "否", "×")


@dataclasses.dataclass(frozen=True)
class Header:
    """The columns of one file and how a dialect's labels find them."""

    columns: tuple[str, ...]
    reading: Reading
    shown: str
    """The file, source and dialect, for errors."""

    def find(self, labels: tuple[str, ...]) -> list[str]:
        """The file's columns that carry one of the labels, in the order of the labels."""
        if self.reading.format == "jsonl":
            return list(labels)
        by_folded = {folded(column): column for column in self.columns}
        return [by_folded[folded(label)] for label in labels if folded(label) in by_folded]

    def nearest(self, labels: tuple[str, ...], taken: set[str]) -> str:
        """The header most like one of the labels, for the error about a missing one; one that is not `taken`, if any."""
        close = [
            (column not in taken, difflib.SequenceMatcher(None, folded(label), folded(column)).ratio(), column)
            for label in labels
            for column in self.columns
        ]
        return max(close)[2] if close else "(none)"


def folded(label: str) -> str:
    """A header without the differences people do not see: full-width forms, case, blanks around it."""
    return unicodedata.normalize("NFKC", label).strip().casefold()


def compile_entity(
    dialect: Dialect, entity_name: str, entity: Entity, mapping: EntityMapping, header: Header, source: str
) -> tuple[str, list[str]]:
    """Return the SELECT that turns `source` (SQL of the rows) into canonical rows, and the headers it leaves unread.

    `source` has a column source_row. The result has the entity's columns, source_row, source_modified_at, is_deleted,
    quarantine_reason and source_record. Raises DeliveryError for a required column whose header the file does not have.
    """
    compiler = _Compiler(dialect, entity_name, mapping, header)
    bound = {name: compiler.text(name, spec) for name, spec in entity.columns.items()}
    modified = compiler.binding_text("modified_at", mapping.modified_at) if mapping.modified_at else "null"
    reasons = [reason for name, spec in entity.columns.items() for reason in compiler.reasons(name, spec)]
    if header.reading.format == "jsonl" and mapping.select is None:
        reasons.insert(0, "case when record is null then 'the line is not JSON' end")
        original = "coalesce(cast(record as varchar), line)"
    else:
        columns = ", ".join(f"{identifier(c)} := {identifier(c)}" for c in header.columns)
        original = f"cast(to_json(struct_pack({columns})) as varchar)"
    converted = ",\n    ".join(
        f"{compiler.converted(name, spec)} as {_value(name)}" for name, spec in entity.columns.items()
    )
    values = ",\n    ".join(f"{_value(name)} as {identifier(name)}" for name in entity.columns)
    texts = ",\n    ".join(f"{text} as {_text(name)}" for name, text in bound.items())
    where = f"\n  where {mapping.where}" if mapping.where else ""
    deleted = f"coalesce(cast(({mapping.deleted}) as boolean), false)" if mapping.deleted else "false"
    modified_at = _timestamp(
        _text("modified_at"), _formats(mapping.modified_at), compiler.timezone(mapping.modified_at)
    )
    judged = ",\n      ".join(reasons) or "null"
    sql = f"""with source as (
  select * from ({source}) as delivered{where}
),
bound as (
  select *,
    {texts},
    {modified} as {_text("modified_at")},
    {deleted} as "is_deleted!"
  from source
),
converted as (
  select *,
    {converted},
    {modified_at} as "source_modified_at!"
  from bound
),
judged as (
  select *,
    nullif(concat_ws('; ',
      {judged}
    ), '') as "reason!"
  from converted
)
select
    {values},
    source_row,
    "source_modified_at!" as source_modified_at,
    "is_deleted!" as is_deleted,
    "reason!" as quarantine_reason,
    case when "reason!" is not null then {original} end as source_record
from judged"""
    return sql, compiler.unread()


def _text(name: str) -> str:
    """Name of the column that holds a canonical column's text before conversion; no source can have such a header."""
    return identifier(f"{name}!text")


def _value(name: str) -> str:
    """Name of the column that holds a canonical column's converted value."""
    return identifier(f"{name}!value")


class _Compiler:
    """Expressions for one entity and one file."""

    def __init__(self, dialect: Dialect, entity_name: str, mapping: EntityMapping, header: Header) -> None:
        self._dialect = dialect
        self._entity_name = entity_name
        self._mapping = mapping
        self._header = header
        self._read: set[str] = set()

    def text(self, name: str, spec: Column) -> str:
        """SQL of the column's text."""
        binding = self._mapping.columns.get(name)
        if binding is not None:
            return self.binding_text(name, binding, required=spec.required or binding.required)
        if self._mapping.select is not None and name in self._header.columns:
            self._read.add(name)
            return _cleaned(f"cast({identifier(name)} as varchar)")
        if spec.required:
            self._missing(name, (name,))
        return "cast(null as varchar)"

    def binding_text(self, name: str, binding: Binding, required: bool = False) -> str:
        if binding.value is not None:
            text = literal(binding.value)
        elif binding.sql is not None:
            text = _cleaned(f"cast(({binding.sql}) as varchar)")
        else:
            labels = binding.source or ()
            found = self._header.find(labels)
            if not found and required and binding.default is None:
                self._missing(name, labels)
            self._read.update(found)
            candidates = [_cleaned(column_expression(column, self._header.reading)) for column in found]
            text = f"coalesce({', '.join(candidates)})" if candidates else "cast(null as varchar)"
        if binding.null_if:
            sentinels = ", ".join(literal(value) for value in binding.null_if)
            text = f"(case when {text} in ({sentinels}) then null else {text} end)"
        if binding.default is not None:
            text = f"coalesce({text}, {literal(binding.default)})"
        return text

    def converted(self, name: str, spec: Column) -> str:
        """SQL of the column in the contract's type; null when the text does not convert."""
        binding = self._mapping.columns.get(name)
        text = self._mapped(name, binding)
        if spec.type == "text":
            return f"cast({text} as varchar)"
        if spec.type == "boolean":
            lowered = f"lower({text})"
            return (
                f"(case when {lowered} in ({_tokens(TRUE_TOKENS)}) then true "
                f"when {lowered} in ({_tokens(FALSE_TOKENS)}) then false end)"
            )
        if spec.type == "timestamp":
            return _timestamp(text, _formats(binding), self.timezone(binding))
        if spec.type == "date":
            return f"cast({_moment(text, _formats(binding), self.timezone(binding), local=True)} as date)"
        number = _number(text)
        if spec.type == "integer":
            exact = _decimal(number, 38, 6)
            return f"(case when {exact} = trunc({exact}) then try_cast({exact} as bigint) end)"
        if binding and binding.scale is not None:
            scaled = f"{_decimal(number, 28, 8)} * cast({binding.scale!r} as decimal(20, 10))"
            return f"try_cast({scaled} as {spec.sql_type})"
        precision, decimals = spec.sql_type.removeprefix("DECIMAL(").removesuffix(")").split(",")
        return _decimal(number, int(precision), int(decimals))

    def reasons(self, name: str, spec: Column) -> list[str]:
        """SQL expressions, each null or a sentence on what is wrong with the row's column."""
        binding = self._mapping.columns.get(name)
        required = spec.required or bool(binding and binding.required)
        text, value = _text(name), _value(name)
        reasons = []
        if required:
            reasons.append(f"case when {text} is null then '{name} is empty' end")
        if spec.type != "text":
            expected = {"date": "a date", "timestamp": "a time", "boolean": "yes or no"}.get(spec.type, "a number")
            reasons.append(_complaint(f"{text} is not null and {value} is null", name, f"is not {expected}"))
        elif binding and binding.map is not None and binding.otherwise == "error":
            keys = _tokens(tuple(binding.map))
            reasons.append(_complaint(f"{text} not in ({keys})", name, "is not a value the dialect maps"))
        elif spec.allowed:
            problem = f"is none of {', '.join(spec.allowed)}"
            reasons.append(_complaint(f"{value} not in ({_tokens(spec.allowed)})", name, problem))
        if binding and binding.map is not None and spec.type == "text" and binding.otherwise == "null" and required:
            reasons.append(_complaint(f"{text} is not null and {value} is null", name, "has no mapped value"))
        return reasons

    def timezone(self, binding: Binding | None) -> str:
        return (binding.timezone if binding else None) or self._dialect.timezone

    def unread(self) -> list[str]:
        """Headers no binding reads. Expressions may use them unseen, so they are reported, not refused."""
        expressions = [self._mapping.where, self._mapping.deleted]
        expressions += [binding.sql for binding in self._mapping.columns.values()]
        if self._mapping.select is not None:
            return []
        used = " ".join(text for text in expressions if text)
        return [column for column in self._header.columns if column not in self._read and column not in used]

    def _mapped(self, name: str, binding: Binding | None) -> str:
        text = _text(name)
        if binding is None or binding.map is None:
            return text
        cases = " ".join(f"when {literal(key)} then {literal(value)}" for key, value in binding.map.items())
        return f"(case {text} {cases} else {text if binding.otherwise == 'keep' else 'null'} end)"

    def _missing(self, name: str, labels: tuple[str, ...]) -> None:
        others = [binding.source or () for column, binding in self._mapping.columns.items() if column != name]
        taken = {found for source in others for found in self._header.find(source)}
        raise DeliveryError(
            f"{self._header.shown}: {self._entity_name}.{name} is required and no column is headed "
            f"{' or '.join(repr(label) for label in labels)}. The nearest header found is "
            f"'{self._header.nearest(labels, taken)}'. Correct the file, or add the header to the dialect's "
            f"entities.{self._entity_name}.columns.{name}. Nothing of it was taken."
        )


def _cleaned(expression: str) -> str:
    return f"nullif(trim({expression}), '')"


def _tokens(values: tuple[str, ...]) -> str:
    return ", ".join(literal(value) for value in values)


def _complaint(condition: str, name: str, problem: str) -> str:
    shown = f"'{name}: ''' || left({_text(name)}, 80) || ''' {problem.replace(chr(39), chr(39) * 2)}'"
    return f"case when {condition} then {shown} end"


def _number(text: str) -> str:
    """Text of a number without its thousands commas; `1,5` is not one, and stays as it is, to be refused."""
    return (
        f"(case when contains({text}, ',') and regexp_full_match({text}, {literal(THOUSANDS)}) "
        f"then replace({text}, ',', '') else {text} end)"
    )


def _decimal(text: str, precision: int, decimals: int) -> str:
    """Text as a decimal, null when it is none.

    DuckDB reads text into decimals of up to 18 digits some hundred times faster than into wider ones, so the wide cast is
    left to the rare number that needs it.
    """
    narrow = f"cast(try_cast({text} as decimal(18, {decimals})) as decimal({precision}, {decimals}))"
    return f"coalesce({narrow}, try_cast({text} as decimal({precision}, {decimals})))"


def _formats(binding: Binding | None) -> tuple[str, ...]:
    return binding.format if binding else ()


def _moment(text: str, formats: tuple[str, ...], timezone: str, *, local: bool) -> str:
    """SQL of the timestamp a text says: in the source's own zone when `local`, else as it stands.

    An epoch is an instant, so its date depends on the zone; a written date or time does not.
    """
    if formats == ("epoch_ms",):
        instant = f"make_timestamp(try_cast({text} as bigint) * 1000)"
        return f"timezone({literal(timezone)}, timezone('UTC', {instant}))" if local and timezone != "UTC" else instant
    if not formats:
        return f"try_cast({text} as timestamp)"
    return f"try_strptime({text}, [{_tokens(formats)}])"


def _timestamp(text: str, formats: tuple[str, ...], timezone: str) -> str:
    """SQL of a timestamp in UTC."""
    moment = _moment(text, formats, timezone, local=False)
    if formats == ("epoch_ms",) or timezone == "UTC":
        return f"cast({moment} as timestamp)"
    return f"cast(timezone('UTC', timezone({literal(timezone)}, {moment})) as timestamp)"
