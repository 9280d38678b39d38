"""What the built-in dialects know of words: which label means which canonical column, which value means which choice.

Nobody keeps a list of synonyms here: every label a dialect binds is knowledge for the next system whose labels are like it,
so each dialect that is added makes the drafts (`draft.py`) better.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator

from rapidfuzz import fuzz

from assets.ingest.compile import PLACEHOLDER
from assets.ingest.contract import load_contract
from assets.ingest.dialect import BUILT_IN, Binding, Condition, Dialect, EntityMapping, Strings, load_dialect
from assets.ingest.reading import folded
from assets.ingest.values import FALSE_TOKENS, TRUE_TOKENS

_WHEN = re.compile(r"((?:in \([^)]*\)|= '[^']*')) then '([^']*)'")
"""In an expression of a dialect: these values mean that choice."""

OPPOSITES = (
    ("借", "贷"),
    ("debit", "credit"),
    ("start", "end"),
    ("from", "to"),
    ("开始", "结束"),
    ("created", "modified"),
)
"""Words that make two labels different however alike they look."""


@dataclasses.dataclass(frozen=True)
class Match:
    """How well a label of a file fits a canonical column, between 0 and 1, and by what."""

    score: float
    why: str = ""
    dialect: str = ""


NO_MATCH = Match(0.0)


@dataclasses.dataclass
class Knowledge:
    """Everything the dialects say about labels and values."""

    labels: dict[tuple[str, str], dict[str, str]]
    """(entity, column) -> label -> the dialect that has it. Debit and credit stand as columns `debit` and `credit`."""
    maps: dict[str, dict[str, str]]
    """Column -> folded value -> canonical value."""
    values: dict[str, dict[str, int]]
    """Column -> value a dialect gives all rows -> how many do."""
    parts: dict[str, str]
    """Label -> dialect, of the parts a voucher's id is put together from."""
    sides: dict[str, str]
    """Folded word on an indicator -> debit or credit."""
    indicators: dict[str, str]
    modified: dict[str, str]
    conditions: list[tuple[str, str, Condition]]
    """(entity, deleted or where, condition)."""
    pairs: list[tuple[str, str, Binding]]
    patterns: list[tuple[str, str]]
    """(entity, pattern of file names)."""
    nameless: list[tuple[str, tuple[str, ...]]]
    """(dialect, names of the columns) of files without header."""
    dialects: dict[str, Dialect]

    def match(self, label: str, entity: str, column: str) -> Match:
        """How well a label fits a canonical column of an entity."""
        best = NO_MATCH
        for known, dialect in self.labels.get((entity, column), {}).items():
            best = max(best, _likened(label, known, dialect, 1.0), key=lambda m: m.score)
        if best.score < 1:
            own = column.removeprefix(f"{entity}_")
            for name, weight in ((column, 0.97), (own, 0.95 if own != column else 0.0)):
                best = max(best, _likened(label, name, "", weight), key=lambda m: m.score)
        if best.score < 0.9:
            for (other, name), labels in self.labels.items():
                if name == column and other != entity:
                    for known, dialect in labels.items():
                        # `Id` is a customer's among customers only.
                        if not _is_general(forms(known)[0]):
                            best = max(best, _likened(label, known, dialect, 0.88), key=lambda m: m.score)
        return best

    def likened(self, label: str, known: dict[str, str]) -> Match:
        """How well a label fits any of several known ones."""
        found = [_likened(label, other, dialect, 1.0) for other, dialect in known.items()]
        return max(found, key=lambda m: m.score, default=NO_MATCH)


@functools.cache
def knowledge(without: tuple[str, ...] = ()) -> Knowledge:
    """What the built-in dialects know, but for those named."""
    known = Knowledge({}, {}, {}, {}, {}, {}, {}, [], [], [], [], {})
    for path in sorted(BUILT_IN.glob("*.yml")):
        if path.stem not in without:
            dialect = load_dialect(path.stem, BUILT_IN)
            known.dialects[path.stem] = dialect
            for entity, mappings in dialect.entities.items():
                for mapping in mappings:
                    _learn(known, dialect, entity, mapping)
    return known


def _learn(known: Knowledge, dialect: Dialect, entity: str, mapping: EntityMapping) -> None:
    name = dialect.dialect
    known.patterns += [(entity, pattern) for pattern in mapping.files]
    reading = dialect.reading(mapping.read)
    if reading.names:
        known.nameless.append((name, reading.names))
    for column, binding in mapping.columns.items():
        labels = known.labels.setdefault((entity, column), {})
        for label in _labels(binding):
            labels.setdefault(label, name)
        for side, texts in (("debit", binding.debit), ("credit", binding.credit)):
            for label in texts or ():
                known.labels.setdefault((entity, f"{column} {side}"), {}).setdefault(label, name)
        for value, canonical in (binding.map or {}).items():
            known.maps.setdefault(column, {}).setdefault(folded(value), canonical)
        if binding.value is not None:
            given = known.values.setdefault(column, {})
            given[binding.value] = given.get(binding.value, 0) + 1
        if column == "journal_id":
            known.parts.update(dict.fromkeys((*(binding.concat or ()), *(binding.source or ())), name))
        for words_of, canonical in _WHEN.findall(binding.sql or ""):
            if canonical in choices(column):
                for value in re.findall("'([^']+)'", words_of):
                    if folded(value) not in (*TRUE_TOKENS, *FALSE_TOKENS) and not value.isdigit():
                        known.maps.setdefault(column, {}).setdefault(folded(value), canonical)
        if binding.indicator is not None and (entity, column) == ("gl_entry", "functional_amount"):
            known.indicators.update(dict.fromkeys(binding.indicator.source, name))
            known.sides.update({folded(word): "debit" for word in binding.indicator.debit})
            known.sides.update({folded(word): "credit" for word in binding.indicator.credit})
        if binding.pairs is not None:
            known.pairs.append((entity, column, binding))
    if mapping.modified_at is not None:
        known.modified.update(dict.fromkeys(mapping.modified_at.source or (), name))
    for kind, tests in (("where", mapping.where), ("deleted", mapping.deleted)):
        known.conditions += [(entity, kind, test) for test in tests if isinstance(test, Condition)]


def _labels(binding: Binding) -> Iterator[str]:
    """Labels that alone mean the column; of an expression only where it has a single one."""
    yield from binding.source or ()
    if binding.sql is not None:
        placeholders = PLACEHOLDER.findall(binding.sql)
        if len(set(placeholders)) == 1:
            yield from (part.strip() for part in placeholders[0].split("|"))


def choices(column: str) -> Strings:
    """The values the contract allows in a column, whatever the entity."""
    for entity in load_contract().entities.values():
        if column in entity.columns and entity.columns[column].allowed:
            return entity.columns[column].allowed
    return ()


# How alike two labels are


def words(label: str) -> str:
    """A label as lower-case words: `PostingDate`, `posting_date` and `Posting date` are one."""
    label = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", label)
    return " ".join(re.findall(r"[^\W_]+", folded_words(label)))


def folded_words(label: str) -> str:
    return " ".join(folded(word) for word in re.split(r"[\s_]+", label) if word)


@functools.lru_cache(maxsize=100_000)
def forms(label: str) -> tuple[str, ...]:
    """What a label says without its dressing: as it stands, without brackets, without the part of a path above it."""
    bare = re.sub(r"[（(【\[][^）)】\]]*[）)】\]]", "", label)
    last = re.split(r"[./]", label.removeprefix("$."))[-1]
    stem = re.split(r"[#（(]", bare)[0]
    found = [re.sub(r"[\W_]+", "", folded(text)) for text in (label, bare, last, stem)]
    # The end of a path says little by itself when it is `id` or `name`: of what, the part above says.
    general = [position in (2, 3) and text != found[0] and _is_general(text) for position, text in enumerate(found)]
    return tuple(dict.fromkeys(text for text, left_out in zip(found, general, strict=True) if text and not left_out))


def _is_general(form: str) -> bool:
    return len(form) < (3 if any(ord(character) > 0x2E80 for character in form) else 7)


@functools.lru_cache(maxsize=500_000)
def likeness(one: str, other: str) -> float:
    """Likeness of two labels between 0 and 1; 1 for the same label, dressing apart."""
    first, second = forms(one), forms(other)
    if not first or not second:
        return 0.0
    if first[0] == second[0]:
        return 1.0
    if set(first) & set(second):
        # The last step of a path says less than the whole of it.
        return 0.88 if any(mark in label for label in (one, other) for mark in "./") else 0.96
    for left, right in OPPOSITES:
        sides = [(left in a[0], right in a[0]) for a in (first, second)]
        if sides[0] != sides[1] and any(sides[0]) and any(sides[1]):
            return 0.0
    shortest = min(len(first[0]), len(second[0]))
    chinese = any(ord(character) > 0x2E80 for character in one + other)
    if shortest < (3 if chinese else 4):
        return 0.0
    if not chinese and (inner := _within(words(one), words(other))):
        return inner
    ratio = max(fuzz.ratio(first[0], second[0]), 0.97 * fuzz.token_sort_ratio(words(one), words(other))) / 100
    return ratio if ratio >= (0.66 if chinese else 0.8) else 0.0


def _within(one: str, other: str) -> float:
    """Likeness of two labels when the words of one are among those of the other: `sales stage` and `stage`."""
    short, long = sorted((one.split(), other.split()), key=len)
    return 0.8 if short != long and set(short) <= set(long) and len("".join(short)) >= 5 else 0.0


def _likened(label: str, known: str, dialect: str, weight: float) -> Match:
    alike = likeness(label, known)
    why = f"{known} in {dialect}" if dialect else f"the contract's {known}"
    if not alike or not weight:
        return NO_MATCH
    # Labels that are only alike never weigh as much as one that is the same.
    return Match(weight * (alike if alike > 0.95 else alike * 0.85), why if alike > 0.95 else f"like {why}", dialect)
