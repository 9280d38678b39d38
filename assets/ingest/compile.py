"""From a dialect and the contract to SQL: one statement per file does all the converting and judging of rows.

The statement has four steps. `source` is the rows of the file or of the dialect's select. `bound` takes each canonical
column's text from where the dialect says it stands, and `converted` turns it into the contract's type. `judged` says what
is wrong: a text that does not convert, a required column without a value and a value outside the allowed ones become
`quarantine_reason`, and the row stays, with its original beside it. So rows in = rows out + rows quarantined holds by
construction.
"""

from __future__ import annotations

import dataclasses
import re

from assets.errors import DeliveryError
from assets.ingest import values
from assets.ingest.contract import Column, Entity
from assets.ingest.dialect import EVERYTHING, Binding, Condition, Dialect, EntityMapping, Pairs, Test
from assets.ingest.reading import Frame, json_place, json_text
from assets.ingest.sql import identifier, literal
from assets.ingest.values import tokens

PLACEHOLDER = re.compile(r"\{\{\s*(.+?)\s*\}\}")
"""`{{ Amount | 金额 }}` in an SQL expression of a dialect: the text under one of these labels, null where there is none."""

CURRENCIES = ("currency_code", "functional_currency_code")
"""Columns a source's own currency fills where the row says none."""

SAYS_NOTHING = {
    "boolean": (),
    "date": (*values.NOTHING, *values.NO_DATE),
    "timestamp": (*values.NOTHING, *values.NO_DATE),
}
"""Texts that say there is no value, by the contract's type; of any other type `values.NOTHING`."""

ABSENT = "cast(null as varchar)"
"""SQL of the text of a column the file does not have."""

EXPECTED = {"date": "a date", "timestamp": "a time", "boolean": "yes or no"}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """One file's rows as canonical rows."""

    sql: str
    bound: dict[str, str]
    """Canonical column -> what it is read from, in the words of the file."""
    unread: tuple[str, ...]
    """Columns of the file no binding reads."""
    numbered: dict[str, str]
    """Canonical column -> the column its rows are numbered within, once all files of the delivery are together."""
    source: str
    """SQL of the rows of the file the dialect takes, as they stand there."""
    texts: dict[str, str]
    """Canonical column -> SQL over `source` of the text it is made from."""
    mapping: EntityMapping


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How one canonical column is made."""

    texts: dict[str, str]
    """Suffix -> SQL of a text over the source; '' is the text shown to people."""
    value: str
    """SQL of the value over the texts."""
    complaints: tuple[tuple[str, str], ...]
    """(SQL condition, SQL of a sentence or null) over texts and value. The condition is cheap: it is computed for every
    row, the sentence only where it holds."""


def compile_entity(
    dialect: Dialect,
    entity_name: str,
    entity: Entity,
    mapping: EntityMapping,
    frame: Frame,
    *,
    deletes: bool = False,
) -> Compiled:
    """Return the SELECT that turns a frame's rows into canonical rows.

    The result has the entity's columns, source_file, source_row, source_modified_at, is_deleted, restates, quarantine_reason and
    source_record. With `deletes` every row is a deletion and only the key is required. Raises DeliveryError for a required
    column whose header the file does not have.
    """
    compiler = _Compiler(dialect, entity_name, entity, mapping, frame, deletes)
    plans = {name: compiler.plan(name, spec) for name, spec in entity.columns.items()}
    modified = compiler.modified_at()
    complaints = [complaint for plan in (*plans.values(), modified) for complaint in plan.complaints]
    complaints += compiler.restated_without_scope()
    if frame.kind == "json":
        broken = "case when json_valid(line) then 'the record has no list to read' else 'the line is not JSON' end"
        complaints.insert(0, ("record is null", broken))
        original = "coalesce(cast(record as varchar), line)"
    else:
        columns = ", ".join(f"{identifier(c)} := {identifier(c)}" for c in frame.columns)
        original = frame.original or f"cast(to_json(struct_pack({columns})) as varchar)"
    texts = {_text(name, suffix): sql for name, plan in plans.items() for suffix, sql in plan.texts.items()}
    texts[_text("modified_at", "")] = modified.texts[""]
    bound = ",\n    ".join(f"{sql} as {name}" for name, sql in texts.items())
    plain, written = (_and(columns) for columns in (compiler.plain, compiler.written))
    converted = ",\n    ".join(f"{plan.value} as {_value(name)}" for name, plan in plans.items())
    wrong = "\n    or ".join(f"({condition})" for condition, _ in complaints) or "false"
    sentences = ",\n      ".join(f"case when {condition} then {sentence} end" for condition, sentence in complaints)
    selected = ",\n    ".join(
        f"{_plausible(name, spec)} as {identifier(name)}" for name, spec in entity.columns.items()
    )
    where = " and ".join(f"({compiler.predicate(test)})" for test in mapping.where)
    if where and frame.kind == "json":
        # A line that is no JSON says nothing a condition could be held against: it is quarantined, not left out.
        where = f"({where}) or case when record is null then not json_valid(line) else false end"
    position = f',\n    {frame.position} as "position!"' if compiler.numbered else ""
    deleted = compiler.deleted()
    source = f"select * from ({compiler.relation()}) as delivered{f' where {where}' if where else ''}"
    sql = f"""with source as (
  {source}
),
bound as (
  select *,
    {bound},
    {deleted} as "is_deleted!"
  from source
),
plain as (
  select *{plain} from bound
),
written as (
  select *{written} from plain
),
converted as (
  select *,
    {converted},
    {modified.value} as "source_modified_at!"
  from written
),
judged as (
  select *,
    case when {wrong}
    then nullif(concat_ws('; ',
      {sentences or "null"}
    ), '') end as "reason!"
  from converted
)
select
    {selected},
    {frame.source_file or literal(frame.name)} as source_file,
    cast(source_row as bigint) as source_row,
    "source_modified_at!" as source_modified_at,
    "is_deleted!" as is_deleted,
    {compiler.restates()} as restates,
    "reason!" as quarantine_reason,
    case when "reason!" is not null then {original} end as source_record{position}
from judged"""
    shown = {name: plan.texts[""] for name, plan in plans.items() if "" in plan.texts}
    return Compiled(sql, compiler.bound, compiler.unread(), compiler.numbered, source, shown, mapping)


def required_labels(entity: Entity, mapping: EntityMapping) -> tuple[tuple[str, ...], ...]:
    """The labels of columns a file of this mapping must have: a header is known by them."""
    columns = mapping.columns.items()
    bindings = [b for name, b in columns if b.required or (name in entity.columns and entity.columns[name].required)]
    return tuple(b.source for b in bindings if b.source and b.default is None)


def _text(name: str, suffix: str = "") -> str:
    """Name of the column that holds a canonical column's text before conversion; no source can have such a header."""
    return identifier(f"{name}!{suffix or 'text'}")


def _value(name: str) -> str:
    """Name of the column that holds a canonical column's converted value."""
    return identifier(f"{name}!value")


class _Compiler:
    """Expressions for one entity and one file."""

    def __init__(
        self, dialect: Dialect, entity_name: str, entity: Entity, mapping: EntityMapping, frame: Frame, deletes: bool
    ) -> None:
        self.bound: dict[str, str] = {}
        self.numbered: dict[str, str] = {}
        self.plain: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self._dialect = dialect
        self._entity_name = entity_name
        self._entity = entity
        self._mapping = mapping
        self._frame = frame
        self._deletes = deletes
        self._read: set[str] = set()
        self._places: dict[str, str] = {}
        self._expressions: dict[str, str] = {}

    # Texts

    def plan(self, name: str, spec: Column) -> _Plan:
        binding = self._mapping.columns.get(name)
        required = bool((spec.required and not self._deletes) or (binding and binding.required) or self._is_key(name))
        if binding is None:
            return self._unbound(name, spec, required and spec.required)
        if binding.number_within is not None:
            self.numbered[name] = binding.number_within
            self.bound[name] = f"numbered within {binding.number_within}"
            return _Plan({}, f"cast(null as {spec.sql_type})", ())
        if binding.debit is not None:
            return self._two_columns(name, spec, binding, required)
        plan = self._one_text(name, spec, binding, required)
        if binding.indicator is not None:
            return self._sided(name, plan, binding.indicator.source, binding.indicator.debit, binding.indicator.credit)
        if binding.natural_sign is not None:
            natural = binding.natural_sign
            return self._sided(name, plan, natural.source, natural.debit, natural.credit, what="account type")
        return plan

    def _is_key(self, name: str) -> bool:
        return self._deletes and name in self._entity.key and name in self._mapping.columns

    def _unbound(self, name: str, spec: Column, required: bool) -> _Plan:
        """A column no binding names: of a select the column of the same name, else nothing."""
        if self._mapping.select is not None and (found := self._frame.find((name,))):
            return self._one_text(name, spec, Binding.model_validate({"from": found[0]}), required)
        if self._mapping.select is not None and required:
            self._missing(name, (name,))
        text = "cast(null as varchar)"
        if name in CURRENCIES and self._dialect.currency and not self._deletes:
            text = literal(self._dialect.currency)
        return _Plan({}, f"cast({text} as {spec.sql_type})", ())

    def _one_text(self, name: str, spec: Column, binding: Binding, required: bool) -> _Plan:
        text = self._text_of(name, binding, required)
        if name in CURRENCIES and self._dialect.currency:
            text = f"coalesce({text}, {literal(self._dialect.currency)})"
        if text == ABSENT and not required:
            return _Plan({"": text}, f"cast(null as {spec.sql_type})", ())
        value = self._converted(spec, binding, _text(name))
        return _Plan({"": text}, value, tuple(self._complaints(name, spec, binding, required)))

    def _text_of(self, name: str, binding: Binding, required: bool = False) -> str:
        """SQL of the text a binding gives, before its type is applied."""
        if binding.value is not None:
            text, words = literal(binding.value), f"always {binding.value!r}"
        elif binding.sql is not None:
            text, words = f"cleaned({self._named(self.expanded(binding.sql))})", f"SQL {binding.sql}"
        elif binding.concat is not None:
            texts = [self._labelled((label,), name, required) for label in binding.concat]
            some = " or ".join(f"{part} is not null" for part in texts)
            joined = f" || {literal(binding.separator)} || ".join(f"coalesce({part}, '')" for part in texts)
            text, words = f"case when {some} then {joined} end", binding.separator.join(binding.concat)
        elif binding.pairs is not None:
            text, words = self._paired(binding.pairs), f"{binding.pairs.code} where {binding.pairs.kind} is so"
        else:
            labels = binding.source or ()
            text = self._labelled(labels, name, required and binding.default is None)
            words = " or ".join(self._frame.find(labels)) or f"(none of {', '.join(labels)})"
        if binding.capture is not None:
            text = f"nullif(regexp_extract({text}, {literal(binding.capture)}, 1), '')"
        if binding.remove is not None:
            text = f"nullif(translate({text}, {literal(binding.remove)}, ''), '')"
        if binding.strip_zeros:
            text = f"case when regexp_full_match({text}, '0+\\d+') then ltrim({text}, '0') else {text} end"
        if binding.null_if:
            text = f"case when {values.one_of(text, binding.null_if)} then null else {text} end"
        if binding.default is not None:
            text = f"coalesce({text}, {literal(binding.default)})"
        self.bound[name] = words
        return text

    def _labelled(self, labels: tuple[str, ...], name: str, required: bool = False) -> str:
        found = self._frame.find(labels)
        if not found and required:
            self._missing(name, labels)
        self._read.update(found)
        texts = [self._at(column) for column in found]
        if not texts:
            return ABSENT
        return texts[0] if len(texts) == 1 else f"coalesce({', '.join(texts)})"

    def _at(self, name: str) -> str:
        """SQL of the text under a name the frame found. What is asked of a JSON record is read in one go by `relation`."""
        if self._frame.kind == "columns":
            return self._frame.text(name)
        place = self._places.setdefault(name, f"at!{len(self._places) + 1}")
        return f"{self._frame.cleaner}({identifier(place)})"

    def _named(self, expression: str) -> str:
        """An expression under a name, computed once however often it is written."""
        return identifier(self._expressions.setdefault(expression, f"sql!{len(self._expressions) + 1}"))

    def relation(self) -> str:
        """SQL of the frame's rows with what `_at` and `_named` gave a name. All plans are made before it is asked for."""
        relation = self._frame.relation
        if self._places:
            lists: dict[str, list[str]] = {}
            texts = []
            for name, column in self._places.items():
                place = json_place(name)
                if place is None:
                    texts.append(f"{json_text(name)} as {identifier(column)}")
                    continue
                paths = lists.setdefault(place[0], [])
                paths.append(place[1])
                texts.append(f"{identifier(f'{place[0]}!')}[{len(paths)}] as {identifier(column)}")
            read = [
                f"json_extract_string({document}, [{tokens(tuple(paths))}]) as {identifier(f'{document}!')}"
                for document, paths in lists.items()
            ]
            relation = f"select *, {', '.join(texts)} from (select {', '.join(['*', *read])} from ({relation}))"
        if self._expressions:
            named = ", ".join(
                f"cast(({sql}) as varchar) as {identifier(name)}" for sql, name in self._expressions.items()
            )
            relation = f"select *, {named} from ({relation})"
        return relation

    def _paired(self, pairs: Pairs) -> str:
        cases = []
        for number in range(1, pairs.up_to + 1):
            kind = self._labelled((pairs.kind.replace("{n}", str(number)),), "")
            code = self._labelled((pairs.code.replace("{n}", str(number)),), "")
            cases.append(f"when {values.one_of(kind, pairs.among)} then {code}")
        return f"case {' '.join(cases)} end"

    def expanded(self, sql: str) -> str:
        """A dialect's SQL with the texts its placeholders name."""
        labels = [tuple(part.strip() for part in match.split("|")) for match in PLACEHOLDER.findall(sql)]
        texts = iter([self._labelled(names, "") for names in labels])
        return PLACEHOLDER.sub(lambda _: f"({next(texts)})", sql)

    def predicate(self, test: Test) -> str:
        """SQL of one condition of the dialect; compared without case, null counts as not in and as empty."""
        if isinstance(test, str):
            return self.expanded(test)
        return self._condition(test)

    def _condition(self, condition: Condition) -> str:
        text = self._labelled(condition.source, "")
        if condition.among is not None:
            return (
                f"case when {text} is null then {_has_empty(condition.among)} else {_one_of(text, condition.among)} end"
            )
        if condition.not_among is not None:
            unlike = f"not {_one_of(text, condition.not_among)}"
            return f"case when {text} is null then {_has_no_empty(condition.not_among)} else {unlike} end"
        if condition.matches is not None:
            return f"coalesce(regexp_matches({text}, {literal(condition.matches)}), false)"
        return f"{text} is {'null' if condition.empty else 'not null'}"

    # Values

    def _converted(self, spec: Column, binding: Binding, text: str) -> str:
        """SQL of a text in the contract's type; null when it does not convert."""
        if binding.id18:
            text = _id18(text)
        if binding.map is not None:
            cases = " ".join(f"when {literal(key)} then {literal(value)}" for key, value in binding.map.items())
            text = f"(case {text} {cases} else {text if binding.otherwise == 'keep' else 'null'} end)"
        mark, zone = self._frame.decimal, binding.timezone or self._dialect.timezone
        if spec.type == "text":
            return f"cast({text} as varchar)"
        if spec.type == "boolean":
            return values.boolean(text)
        if spec.type == "timestamp":
            return values.timestamp(text, binding.format, zone)
        if spec.type == "date":
            return values.date(text, binding.format, zone)
        if spec.type == "integer":
            return values.integer_of(*self._number(text, 38, 4))
        if binding.scale is not None:
            scaled = f"{values.number(text, 28, 8, mark)} * cast({binding.scale!r} as decimal(20, 10))"
            return f"try(cast({scaled} as {spec.sql_type}))"
        precision, decimals = (int(part) for part in re.findall(r"\d+", spec.sql_type))
        if spec.type == "ratio":
            return values.ratio(text, precision, decimals, mark)
        return values.number_of(*self._number(text, precision, decimals), precision, decimals)

    def _number(self, text: str, precision: int, decimals: int) -> tuple[str, str]:
        """Two columns a number is made of, as `values.plain` and `values.written` find it.

        They are columns because DuckDB would compute an expression again wherever it stands in a CASE, and plan it again.
        """
        plain, written = (identifier(f"{len(self.plain) + 1}!{part}") for part in ("plain", "written"))
        self.plain[plain] = values.plain(text, decimals, self._frame.decimal)
        self.written[written] = values.written(text, plain, precision, decimals, self._frame.decimal)
        return plain, written

    def _two_columns(self, name: str, spec: Column, binding: Binding, required: bool) -> _Plan:
        """Debit less credit; either may be empty or negative, and a row with neither has no amount."""
        debit = self._labelled(binding.debit or (), name, required)
        credit = self._labelled(binding.credit or (), name, required)
        precision, decimals = (int(part) for part in re.findall(r"\d+", spec.sql_type))
        shown = f"coalesce({debit}, '') || ' / ' || coalesce({credit}, '')"
        texts = {
            "debit": debit,
            "credit": credit,
            "": f"case when {debit} is not null or {credit} is not null then {shown} end",
        }
        sides = [
            values.number_of(*self._number(_text(name, side), precision, decimals), precision, decimals)
            for side in ("debit", "credit")
        ]
        unread = [
            f"({_text(name, side)} is not null and {number} is null and not {values.one_of(_text(name, side), values.NOTHING)})"
            for side, number in zip(("debit", "credit"), sides, strict=True)
        ]
        value = (
            f"(case when {_text(name)} is null or {' or '.join(unread)} then null else "
            f"try_cast(coalesce({sides[0]}, 0) - coalesce({sides[1]}, 0) as {spec.sql_type}) end)"
        )
        self.bound[name] = f"{' or '.join(binding.debit or ())} less {' or '.join(binding.credit or ())}"
        complaints = [_unread(name, "is not debit and credit", required)]
        return _Plan(texts, value, tuple(complaints))

    def _sided(
        self,
        name: str,
        plan: _Plan,
        source: tuple[str, ...],
        debit: tuple[str, ...],
        credit: tuple[str, ...],
        what: str = "side",
    ) -> _Plan:
        """An amount whose sign another column says."""
        side = self._labelled(source, name, required=True)
        self.bound[name] += f", sign by {' or '.join(source)}"
        if plan.texts[""] == ABSENT and not plan.complaints:
            return plan
        text = _text(name, "side")
        is_debit, is_credit = (values.same_word(text, words) for words in (debit, credit))
        value = f"(case when {is_debit} then {plan.value} when {is_credit} then -{plan.value} end)"
        words = ", ".join((*debit, *credit))
        unknown = (
            f"{literal(f'{name}: the {what} is ')} || coalesce('''' || left({text}, 80) || '''', 'empty') || "
            f"{literal(f', and should be one of {words}')}"
        )
        complaints = [
            (
                condition,
                f"case when {_text(name)} is null or {is_debit} or {is_credit} then {sentence} else {unknown} end",
            )
            for condition, sentence in plan.complaints
        ]
        return _Plan({**plan.texts, "side": side}, value, tuple(complaints))

    def _complaints(self, name: str, spec: Column, binding: Binding, required: bool) -> list[tuple[str, str]]:
        """What can be wrong with a column: (condition, sentence)."""
        value = _value(name)
        if spec.type != "text":
            problem = f"is not {EXPECTED.get(spec.type, 'a number')}"
            found = [_unread(name, problem, required, nothing=SAYS_NOTHING.get(spec.type, values.NOTHING))]
            if spec.type in ("date", "timestamp"):
                none = "is a placeholder for no date, and one is needed"
                sentence = _quoted(name, none) if required else "null"
                written = values.one_of(_text(name), values.NO_DATE)
                elsewhen = _quoted(name, "lies outside of any plausible time")
                found.append((values.implausible(value), f"case when {written} then {sentence} else {elsewhen} end"))
            return found
        mapped = binding.map is not None and binding.otherwise
        if mapped == "error":
            return [_unread(name, "is not a value the dialect maps", required)]
        if mapped == "null":
            return [_unread(name, "has no mapped value", required)] if required else []
        found = [_unread(name, "", required)] if required else []
        if spec.allowed:
            problem = f"is none of {', '.join(spec.allowed)}"
            found.append((f"not {values.one_of(value, spec.allowed)} and {value} is not null", _quoted(name, problem)))
        return found

    # The row

    def modified_at(self) -> _Plan:
        binding = self._mapping.modified_at
        if binding is None:
            return _Plan({"": "cast(null as varchar)"}, "cast(null as timestamp)", ())
        zone = binding.timezone or self._dialect.timezone
        text = self._text_of("source_modified_at", binding)
        value, text_name = '"source_modified_at!"', _text("modified_at")
        nothing = values.one_of(text_name, (*values.NOTHING, *values.NO_DATE))
        problem = f"'source_modified_at: ''' || left({text_name}, 80) || ''' is not a time'"
        unread = f"({value} is null or {values.implausible(value)})"
        complaint = (f"{text_name} is not null and {unread} and not {nothing}", problem)
        return _Plan({"": text}, values.timestamp(text_name, binding.format, zone), (complaint,))

    def deleted(self) -> str:
        if self._deletes:
            return "true"
        tests = " or ".join(
            f"coalesce(cast(({self.predicate(test)}) as boolean), false)" for test in self._mapping.deleted
        )
        return tests or "false"

    def restates(self) -> str:
        columns = self._mapping.restates
        if not columns or self._deletes:
            return "cast(null as varchar)"
        if columns == (EVERYTHING,):
            return literal(EVERYTHING)
        return " || '-' || ".join(f"cast({_value(column)} as varchar)" for column in columns)

    def restated_without_scope(self) -> list[tuple[str, str]]:
        """A row that does not say which scope it belongs to would stay for ever: no later delivery replaces it."""
        columns = () if self._deletes or EVERYTHING in self._mapping.restates else self._mapping.restates
        problem = "is empty, and says which of the delivery's rows a later one replaces"
        return [(f"{_value(column)} is null", literal(f"{column} {problem}")) for column in columns]

    def unread(self) -> tuple[str, ...]:
        """Headers no binding reads. Expressions may use them unseen, so they are reported, not refused."""
        expressions = [test for test in (*self._mapping.where, *self._mapping.deleted) if isinstance(test, str)]
        expressions += [binding.sql for binding in self._mapping.columns.values() if binding.sql]
        if self._mapping.select is not None:
            return ()
        used = " ".join(expressions)
        read = self._read | {re.split(r"[.\[]", name)[0] for name in self._read}
        return tuple(column for column in self._frame.columns if column not in read and column not in used)

    def _missing(self, name: str, labels: tuple[str, ...]) -> None:
        others = [binding.source or () for column, binding in self._mapping.columns.items() if column != name]
        taken = {found for source in others for found in self._frame.find(source)}
        raise DeliveryError(
            f"{self._frame.shown} (dialect '{self._dialect.dialect}'): {self._entity_name}.{name} is required and no column "
            f"is headed {' or '.join(repr(label) for label in labels)}. The nearest header found is "
            f"'{self._frame.nearest(labels, taken)}'. Correct the file, or add the header to the dialect's "
            f"entities.{self._entity_name}.columns.{name}. Nothing of it was taken."
        )


def _and(columns: dict[str, str]) -> str:
    """SQL of more columns of a SELECT."""
    return "".join(f",\n    {sql} as {name}" for name, sql in columns.items())


def _one_of(text: str, words: tuple[str, ...]) -> str:
    return values.one_of(f"lower({text})", tuple(word.lower() for word in words))


def _has_empty(words: tuple[str, ...]) -> str:
    return "true" if "" in words else "false"


def _has_no_empty(words: tuple[str, ...]) -> str:
    return "false" if "" in words else "true"


def _plausible(name: str, spec: Column) -> str:
    """SQL of a value as it is kept: what systems write for no date is none."""
    if spec.type not in ("date", "timestamp"):
        return _value(name)
    return f"case when {values.implausible(_value(name))} then null else {_value(name)} end"


def _quoted(name: str, problem: str) -> str:
    """SQL of a sentence about a column's text."""
    return f"{literal(f'{name}: ')} || '''' || left({_text(name)}, 80) || '''' || {literal(f' {problem}')}"


def _unread(name: str, problem: str, required: bool, *, nothing: tuple[str, ...] = values.NOTHING) -> tuple[str, str]:
    """The complaint about a column without a value: empty though required, or a text that does not convert.

    A text of `nothing` says that there is no value: a complaint only where one is needed.
    """
    text = _text(name)
    condition = f"{_value(name)} is null" + ("" if required else f" and {text} is not null")
    cases = f"when {text} is null then {literal(f'{name} is empty')}"
    if nothing:
        sentence = _quoted(name, "says there is none, and one is needed") if required else "null"
        cases += f" when {values.one_of(text, nothing)} then {sentence}"
    return condition, f"case {cases} else {_quoted(name, problem)} end"


def _id18(text: str) -> str:
    """SQL of a Salesforce id in its form without regard to case: 15 characters get their check characters.

    Each of the three says which of five characters are upper-case letters, as a number in base 32 written A-Z, 0-5.
    """
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    bits = " + ".join(
        f"(case when substr({text}, {{start}} + {position}, 1) between 'A' and 'Z' then {1 << position} else 0 end)"
        for position in range(5)
    )
    checks = " || ".join(f"substr('{alphabet}', 1 + {bits.format(start=start)}, 1)" for start in (1, 6, 11))
    return f"case when strlen({text}) = 15 then {text} || {checks} else {text} end"
