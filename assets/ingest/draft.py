"""A dialect proposed for files nobody has described: `whalecurve draft-dialect`.

What the file looks like is found by `sniff.py`, what its labels may mean by `knowledge.py`. Here the two are put together:
which entity the rows are, which column is which, how amounts are signed; and every guess is written down as one. The draft
is then tried on the files by the same dry run a person would make.
"""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import itertools
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath

from assets.errors import ConfigurationError, WhalecurveError
from assets.ingest.check import SourceCheck, as_delivery, check_delivery
from assets.ingest.compile import required_labels
from assets.ingest.contract import Column as Canonical
from assets.ingest.contract import Entity, load_contract
from assets.ingest.delivery import DeliveredFile, delivered_files
from assets.ingest.dialect import Dialect, EntityMapping, load_dialect
from assets.ingest.knowledge import Knowledge, Match, choices, knowledge, likeness
from assets.ingest.reading import folded
from assets.ingest.sniff import SURE, Column, Dates, Degree, Guess, Table, column_dates, sniff
from assets.ingest.values import NO_DATE, NOTHING

Option = tuple[float, "Bound", list[Decimal] | None, tuple[str, ...]]
"""A way to sign the amounts: how good, the binding, the signed amounts where they add up to nothing, the columns taken."""

TRIED_ON = datetime.date(2000, 1, 1)
"""The business date of the trial: no more than a name."""

UNRECOGNISED = 2.0
"""A draft that is not loadable and scores less than this is no draft of anything."""

MOST_COLUMNS = 400
"""Columns of a file looked at; a wider file is drafted from its first ones."""

STAND_INS = {
    "invoice_number": "invoice_id",
    "invoice_id": "invoice_number",
    "gross_amount": "net_amount",
    "net_amount": "gross_amount",
    "stage_source": "stage_class",
    "stage_class": "stage_source",
    "customer_name": "customer_id",
    "customer_id": "customer_name",
    "product_name": "product_id",
    "gl_account_name": "gl_account_number",
    "cost_center_name": "cost_center_id",
    "campaign_name": "campaign_id",
}
"""A required column -> the one whose header serves for both where a file has but one of them."""

ASSUMED = {"document_type": "invoice", "status": "approved", "survey_type": "other", "key_kind": "code"}
"""A required choice -> what all rows are taken for where a file does not say."""

CURRENCY_COLUMNS = ("currency_code", "functional_currency_code", "transaction_currency_code")


@dataclasses.dataclass
class Bound:
    """One proposed binding."""

    spec: dict[str, object]
    guess: Guess
    check: tuple[str, ...] = ()
    """What a person has to look at."""


@dataclasses.dataclass
class Drafted:
    """One entity proposed for one file."""

    entity: str
    table: Table
    columns: dict[str, Bound]
    missing: dict[str, str]
    """Required column -> what is missing."""
    extra: list[tuple[str, Bound]]
    """Further keys of the mapping: modified_at, deleted, where."""
    score: float
    others: tuple[str, ...] = ()


def draft_dialect(
    files: Sequence[Path],
    *,
    name: str | None = None,
    entity: str | None = None,
    anew: bool = False,
    without: tuple[str, ...] = (),
) -> str:
    """The text of a dialect for these files, comments and all. `without` leaves built-in dialects out of what is known.

    Raises WhalecurveError for a file that cannot be read at all.
    """
    known = knowledge(without)
    name = name or _slug(files[0].name)
    with as_delivery(files) as folder, tempfile.TemporaryDirectory() as scratch:
        delivered = [file for file in delivered_files(folder, ["*"], "draft-dialect") if file.name != "control.csv"]
        if not delivered:
            raise ConfigurationError("There is no file to draft a dialect from.")
        read = [(file, sniff(file, Path(scratch))) for file in delivered]
        if not anew and entity is None and (fitting := _fitting(folder, read, known, name)):
            return fitting
        dictionary, read = _without_dictionary(read)
        drafts = [_drafted(tables, known, entity) for _, tables in read]
        text = _written(name, drafts, dictionary, known, [file.name for file in delivered])
        return _tried(text, name, folder) + text


# Does a built-in dialect fit?


def _fitting(folder: Path, read: list[tuple[DeliveredFile, list[Table]]], known: Knowledge, name: str) -> str:
    """What to write into company.yml where a built-in dialect reads the files as they are; else nothing."""
    found: list[tuple[int, str]] = []
    for dialect in known.dialects.values():
        check = _check(folder, dialect) if _knows_names(dialect, [file for file, _ in read]) else None
        if check is not None and check.would_load and not check.unmatched and _all_good(check):
            found.append((sum(len(entity.bound) for entity in check.entities), dialect.dialect))
    if found:
        fits = max(found)[1]
        check = _check(folder, known.dialects[fits])
        assert check is not None
        rows = ", ".join(f"{entity.rows_out:,} {entity.entity}" for entity in check.entities if entity.rows_out)
        return (
            f"# dialect: {fits} fits: it reads {rows}, nothing quarantined. Put it into company.yml, and you are done:\n"
            f"#\n#   sources:\n#     {name}: {{dialect: {fits}}}\n#\n"
            "# What follows is only for what this company does differently: entities and columns to bind otherwise.\n"
            f"extends: {fits}\ndialect: {name}\n"
        )
    if len(read) > 1:
        return ""
    file, tables = read[0]
    by_content = max(_by_content(folder, file, tables, known), default=None)
    if by_content is None:
        return ""
    _, fits, entity, rows_out = by_content
    pattern = _pattern(file.name, ())
    return (
        f"# dialect: {fits} fits, though it expects files of another name: it reads {rows_out:,} {entity}, nothing\n"
        f"# quarantined. This dialect is {fits} with the name of your file. Put it into company.yml:\n"
        f"#\n#   sources:\n#     {name}: {{dialect: {name}}}\n"
        f"extends: {fits}\ndialect: {name}\nentities:\n  {entity}:\n    files: {_scalar(pattern)}\n"
    )


def _knows_names(dialect: Dialect, files: Sequence[DeliveredFile]) -> bool:
    """Whether each of the files is called like one the dialect reads."""
    patterns: list[str] = []
    for mapping in itertools.chain(*dialect.entities.values()):
        dictionary = dialect.reading(mapping.read).dictionary
        patterns += [*mapping.files, *(dictionary.files if dictionary else ())]
        patterns += [pattern for spec in mapping.inputs.values() for pattern in spec.files]
        patterns += mapping.deletions.files if mapping.deletions else ()
    names = [PurePosixPath(file.member or file.name).name.removesuffix(".gz") for file in files]
    return all(any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns) for name in names)


def _by_content(
    folder: Path, file: DeliveredFile, tables: Sequence[Table], known: Knowledge
) -> Iterator[tuple[float, str, str, int]]:
    """Mappings that read a file though their pattern does not name it: (columns found, dialect, entity, rows)."""
    base = PurePosixPath(file.member or file.name.removesuffix(".gz")).name
    for dialect in known.dialects.values():
        for entity, mappings in dialect.entities.items():
            mapping = mappings[0]
            if len(mappings) > 1 or mapping.select is not None or dialect.reading(mapping.read).dictionary is not None:
                continue
            if not any(_has_labels(table, mapping, entity) for table in tables):
                continue
            alone = dialect.model_copy(update={"entities": {entity: (mapping.model_copy(update={"files": (base,)}),)}})
            check = _check(folder, alone)
            if check is None or not check.would_load or not _all_good(check):
                continue
            only = check.entities[0]
            found = [column for column in only.bound if column not in only.without_value]
            labelled = [column for column, binding in mapping.columns.items() if binding.value is None]
            if len(found) >= max(4, 0.6 * len(labelled)) and only.rows_out:
                yield len(found), dialect.dialect, entity, only.rows_out


def _has_labels(table: Table, mapping: EntityMapping, entity: str) -> bool:
    """Whether a file has the labels a mapping needs and most of those it knows."""
    present = {folded(column.name) for column in table.columns}
    required = required_labels(load_contract().entities[entity], mapping)
    if not all(any(folded(label) in present for label in labels) for labels in required):
        return False
    labelled = [binding.source for binding in mapping.columns.values() if binding.source]
    found = sum(any(folded(label) in present for label in labels) for labels in labelled)
    return found >= max(4, 0.6 * len(labelled))


def _check(folder: Path, dialect: Dialect) -> SourceCheck | None:
    try:
        return check_delivery(folder, "draft", dialect, TRIED_ON, max_share=0.0)
    except WhalecurveError:
        return None


def _all_good(check: SourceCheck) -> bool:
    balanced = all(
        control.holds is not False
        for entity in check.entities
        for control in entity.controls
        if control.name in ("voucher balance", "revenue side")
    )
    return balanced and not any(entity.rows_quarantined for entity in check.entities)


# What a file is


def _without_dictionary(
    read: list[tuple[DeliveredFile, list[Table]]],
) -> tuple[dict[str, object] | None, list[tuple[DeliveredFile, list[Table]]]]:
    """A file that says what the columns of another are called by people, apart from the rest."""
    for file, tables in read:
        for table in tables:
            for key, label in itertools.permutations(table.columns[:12], 2):
                names = set(key.filled)
                for other, others in read:
                    columns = {column.name for column in others[0].columns}
                    if other is not file and len(names & columns) >= max(2, 0.5 * len(names)) and label.is_unique:
                        labels = {column: text for column, text in zip(key.values, label.values, strict=True) if text}
                        if set(labels.values()) == names:
                            continue
                        for alternative in others:
                            for column in alternative.columns:
                                column.name = labels.get(column.name, column.name)
                        spec: dict[str, object] = {"files": _pattern(file.name, ())}
                        if "records" in table.reading:
                            spec["records"] = table.reading["records"]
                        spec |= {"name": key.name, "label": label.name}
                        return spec, [pair for pair in read if pair[0] is not file]
    return None, read


def _drafted(tables: list[Table], known: Knowledge, wanted: str | None) -> Drafted:
    """The best entity for a file, over the ways it can be read."""
    contract = load_contract()
    drafts = []
    for table in tables:
        table.columns = table.columns[:MOST_COLUMNS]
        for name, spec in contract.entities.items():
            if wanted in (None, name):
                drafts.append(_Drafting(table, name, spec, known).drafted())
    drafts.sort(key=lambda draft: -draft.score)
    best = drafts[0]
    others = [draft.entity for draft in drafts[1:] if not draft.missing and draft.score >= 0.8 * best.score]
    return dataclasses.replace(best, others=tuple(dict.fromkeys(name for name in others if name != best.entity))[:2])


class _Drafting:
    """One entity tried on one table."""

    def __init__(self, table: Table, entity: str, spec: Entity, known: Knowledge) -> None:
        self.table = table
        self.entity = entity
        self.spec = spec
        self.known = known
        self.mark = table.decimal
        self.columns: dict[str, Bound] = {}
        self.source: dict[str, Column] = {}
        self.used: dict[str, str] = {}
        self.signed: list[Decimal] | None = None
        self.dates: dict[str, Dates | None] = {c.name: column_dates(c, table.month_first) for c in table.columns}
        self.numeric = {c.name for c in table.columns if c.is_number(self.mark)}
        self.matches: dict[tuple[str, str], Match] = {}

    def drafted(self) -> Drafted:
        if self.entity == "gl_entry":
            self._ledger_amount()
        if self.entity == "invoice":
            self._invoice_amounts()
        self._by_label()
        if self.entity == "gl_entry":
            self._account()
            self._voucher()
        self._pairs()
        missing = dict(self._fill_required())
        extra = list(self._extras())
        return Drafted(self.entity, self.table, self._ordered(), missing, extra, self._score(missing))

    def _ordered(self) -> dict[str, Bound]:
        return {name: self.columns[name] for name in self.spec.columns if name in self.columns}

    def _score(self, missing: dict[str, str]) -> float:
        degrees = {"sure": 1.0, "likely": 0.7, "guess": 0.25}
        total = 0.0
        for name, bound in self.columns.items():
            if "value" in bound.spec or "number_within" in bound.spec:
                continue
            total += degrees[bound.guess.degree] * (
                2 if self.spec.columns[name].required or name in self.spec.key else 1
            )
        if self.signed is not None and self.entity == "gl_entry":
            total += 3
        if self.table.reading.get("each"):
            total -= 0.5
        return total + self._name_hint() - 2.5 * len(missing)

    def _name_hint(self) -> float:
        """What the file's name says: as the patterns of the dialects do, or the entity's own name."""
        base = PurePosixPath(self.table.name).name
        if any(entity == self.entity and fnmatch.fnmatchcase(base, pattern) for entity, pattern in self.known.patterns):
            return 3.0
        plain = re.sub(r"[\W_]+", "", folded(base))
        stems = [
            re.sub(r"[\W_]+", "", folded(pattern.split(".")[0]))
            for entity, pattern in self.known.patterns
            if entity == self.entity
        ]
        own = self.entity.replace("_", "")
        return (
            3.0
            if any(
                len(stem) >= (2 if stem and ord(stem[0]) > 0x2E80 else 5) and stem in plain for stem in (*stems, own)
            )
            else 0.0
        )

    # Labels

    def _match(self, column: Column, canonical: str) -> Match:
        key = (column.name, canonical)
        if key not in self.matches:
            self.matches[key] = self.known.match(column.name, self.entity, canonical)
        return self.matches[key]

    def _by_label(self) -> None:
        """Columns whose labels are known, the best likeness first; each column of the file is taken once."""
        pairs: list[tuple[float, int, str, Column, Match]] = []
        for order, (name, canonical) in enumerate(self.spec.columns.items()):
            if name in self.columns:
                continue
            for column in self.table.columns:
                match = self._match(column, name)
                if canonical.allowed and canonical.required:
                    match = self._with_values(column, name, match)
                if match.score < (0.55 if canonical.required else 0.6) or not self._can_be(column, name, canonical):
                    continue
                weight = match.score - (0.15 if not column.filled else 0)
                pairs.append((weight, -order, name, column, match))
        pairs.sort(key=lambda pair: (-pair[0], -pair[1]))
        for _, _, name, column, match in pairs:
            if name in self.columns:
                continue
            if column.name in self.used:
                before = self.matches.get((column.name, self.used[column.name]), match)
                if min(match.score, before.score) < 1 or match.dialect != before.dialect:
                    continue
            self._bind(name, column, _degree(match, column))

    def _with_values(self, column: Column, name: str, match: Match) -> Match:
        """A column of choices is known by its values, too."""
        said = [value for value in column.distinct if not re.fullmatch(r"\d+|[A-Za-z]{1,2}", value)]
        known = [
            value for value in said if folded(value) in self.known.maps.get(name, {}) or folded(value) in choices(name)
        ]
        if not column.is_choice or column.is_boolean() or not known or len(known) < 0.5 * len(column.distinct):
            return match
        return Match(
            min(1.0, max(match.score, 0.6) + 0.15), match.why or f"by its values, such as {known[0]}", match.dialect
        )

    def _can_be(self, column: Column, name: str, canonical: Canonical) -> bool:
        """Whether the values of a column are of the kind the canonical one wants."""
        if not column.filled:
            return True
        if canonical.type in ("date", "timestamp"):
            return self.dates[column.name] is not None
        if canonical.type in ("money", "quantity", "ratio"):
            return column.name in self.numeric
        if canonical.type == "integer":
            values = [value for value in column.numbers(self.mark) if value is not None]
            return column.name in self.numeric and all(value == int(value) for value in values)
        if canonical.type == "boolean":
            return column.is_boolean()
        if name in CURRENCY_COLUMNS:
            return all(len(value) <= 12 for value in column.distinct) and column.name not in self.numeric
        if canonical.allowed:
            return column.is_choice
        if self.spec.key == (name,):
            return len(column.distinct) == len(column.filled)
        return self.dates[column.name] is None or column.is_unique or column.name in self.numeric

    def _bind(self, name: str, column: Column, guess: Guess) -> None:
        canonical = self.spec.columns[name]
        spec: dict[str, object] = {"from": column.name}
        checks: list[str] = []
        if canonical.required and column.filled and len(column.filled) < len(column.values):
            checks.append(f"{len(column.values) - len(column.filled)} rows have none and would be quarantined")
        if canonical.type in ("date", "timestamp"):
            dates = self.dates[column.name]
            if dates is not None:
                if dates.formats:
                    spec["format"] = dates.formats[0]
                guess = _weaker(guess, dates.guess)
        elif name == "gl_account_number":
            guess = self._account_number(column, spec, guess)
        elif canonical.allowed:
            guess = self._choice(name, column, spec, guess, checks)
        elif name in CURRENCY_COLUMNS:
            self._currency(name, column, spec, checks)
        elif canonical.type == "ratio" and name == "probability":
            numbers = [value for value in column.numbers(self.mark) if value is not None]
            if numbers and max(numbers) > 1:
                spec["scale"] = "0.01"
        self.columns[name] = Bound(spec, guess, tuple(checks))
        self.source[name] = column
        self.used[column.name] = name

    def _choice(self, name: str, column: Column, spec: dict[str, object], guess: Guess, checks: list[str]) -> Guess:
        """The map of a column of choices, of the values seen."""
        allowed, words = choices(name), self.known.maps.get(name, {})
        mapped: dict[str, str] = {}
        for value, count in column.distinct.most_common():
            canonical = words.get(folded(value)) or (folded(value) if folded(value) in allowed else "")
            if not canonical:
                near = max(
                    (
                        (likeness(value, other), target)
                        for other, target in (*words.items(), *((a, a) for a in allowed))
                    ),
                    default=(0.0, ""),
                )
                if near[0] >= 0.7:
                    canonical = near[1]
                    guess = _weaker(guess, Guess("guess", f"{value} is taken for {canonical}"))
            if not canonical and "open" in allowed:
                canonical = "open"
                guess = _weaker(guess, Guess("guess", "what is not known as an end is taken for open"))
            if canonical:
                mapped[value] = canonical
            else:
                checks.append(f"add {_scalar(value)} ({count} rows) to the map: one of {', '.join(allowed)}")
        if mapped != {value: value for value in mapped} or checks:
            spec["map"] = mapped or {"???": allowed[0]}
        return guess if mapped or not column.filled else Guess("guess", "none of its values is known")

    def _currency(self, name: str, column: Column, spec: dict[str, object], checks: list[str]) -> None:
        words = {key: value for other in CURRENCY_COLUMNS for key, value in self.known.maps.get(other, {}).items()}
        odd = [value for value in column.distinct if not re.fullmatch("[A-Z]{3}", value) or folded(value) in words]
        if not odd:
            return
        mapped = {value: words[folded(value)] for value in odd if folded(value) in words}
        spec |= {"map": mapped or {odd[0]: "???"}, "else": "keep"}
        unknown = [value for value in odd if value not in mapped]
        if unknown:
            checks.append(f"say the ISO 4217 code of {', '.join(unknown[:5])}")

    def _invoice_amounts(self) -> None:
        """Net, tax and gross of a document: the columns of which two add up to the third in every row."""
        numbers = {c.name: c.numbers(self.mark) for c in self.table.columns if c.name in self.numeric}
        whole = {name: values for name, values in numbers.items() if None not in values and any(values)}
        names = ("net_amount", "tax_amount", "gross_amount")
        best: tuple[float, tuple[Column, ...]] | None = None
        for some in itertools.permutations(list(whole)[:16], 3):
            rows = list(zip(*(whole[name] for name in some), strict=True))
            if not all(net + tax == gross and abs(net) >= abs(tax) for net, tax, gross in rows):
                continue
            columns = tuple(self.table.column(name) for name in some)
            score = sum(self._match(column, name).score for column, name in zip(columns, names, strict=True))
            if len(rows) > 1 and (best is None or score > best[0]):
                best = score, columns
        if best is not None:
            for name, column in zip(names, best[1], strict=True):
                self._bind(name, column, Guess("sure", "net + tax = gross in every row"))

    # The ledger

    def _ledger_amount(self) -> None:
        """How the amounts are signed: two columns, an indicator beside one, or a sign of their own."""
        numbers = {name: self.table.column(name).numbers(self.mark) for name in self.numeric}
        amounts = {
            name: [value or Decimal(0) for value in values]
            for name, values in ((c.name, numbers[c.name]) for c in self.table.columns if c.name in numbers)
            if self.dates[name] is None and any(values)
        }
        options = [*self._two_sides(amounts), *self._indicated(amounts), *self._with_sign(amounts)]
        options.sort(key=lambda option: -option[0])
        if not options:
            return
        # A way to sign the amounts that makes vouchers balance is the right one, whatever the labels are like.
        # So are columns that look like amounts, which numbers of vouchers do not.
        best = max(
            options[:12],
            key=lambda option: (
                option[0] + 2 * (self._vouchers_under(option) > 1) + 0.5 * _is_amount(self.table.column(option[3][0]))
            ),
        )
        _, bound, signed, names = best
        self.columns["functional_amount"] = bound
        self.signed = signed
        for name in names:
            self.used[name] = "functional_amount"

    def _vouchers_under(self, option: Option) -> int:
        """How many vouchers balance when the amounts are signed so."""
        _, _, self.signed, names = option
        if self.signed is None:
            return 0
        self.used = dict.fromkeys(names, "functional_amount")
        found = self._best_voucher(self._voucher_parts(), [c for c in self.table.columns if self.dates[c.name]][:2])
        self.used = {}
        return found[0] if found else 0

    def _two_sides(self, amounts: dict[str, list[Decimal]]) -> Iterator[Option]:
        sides = {
            side: {name: self.known.match(name, "gl_entry", f"functional_amount {side}") for name in amounts}
            for side in ("debit", "credit")
        }
        for debit, credit in itertools.permutations(amounts, 2):
            left, right = amounts[debit], amounts[credit]
            both = sum(bool(a) and bool(b) for a, b in zip(left, right, strict=True))
            if both > 0.02 * len(left) or not any(left) or not any(right):
                continue
            labels = min(sides["debit"][debit].score, sides["credit"][credit].score)
            own = min(likeness(debit, "debit"), likeness(credit, "credit")) * 0.95
            equal = sum(left) == sum(right)
            if max(labels, own) < 0.55 and not (equal and list(amounts).index(debit) < list(amounts).index(credit)):
                continue
            signed = [a - b for a, b in zip(left, right, strict=True)]
            words = "debits equal credits" if equal else "but debits and credits differ in this file"
            if max(labels, own) >= 0.95:
                guess = Guess("sure" if equal else "likely", words)
            elif max(labels, own) >= 0.55:
                guess = Guess("likely", f"{words}; {sides['debit'][debit].why or 'by the labels'}")
            else:
                guess = Guess("guess", f"{words}, and a row has one of the two; look which side is debit")
            spec: dict[str, object] = {"debit": debit, "credit": credit}
            yield (
                2.0 * equal + 2 * max(labels, own) + 0.5,
                Bound(spec, guess),
                signed if equal else None,
                (debit, credit),
            )

    def _indicated(self, amounts: dict[str, list[Decimal]]) -> Iterator[Option]:
        for column in self.table.columns:
            said = column.distinct
            if len(said) != 2 or len(column.filled) < len(column.values) or column.name in amounts:
                continue
            sides = {word: self.known.sides.get(folded(word)) or _own_side(word) for word in said}
            label = self.known.likened(column.name, self.known.indicators).score
            for name, values in amounts.items():
                first, second = said
                totals = {
                    word: sum(v for v, w in zip(values, column.values, strict=True) if w == word) for word in said
                }
                equal = totals[first] == totals[second] != 0 and min(values) >= 0
                if not equal and not (label >= 0.9 and set(sides.values()) == {"debit", "credit"}):
                    continue
                debit = next((word for word in said if sides[word] == "debit"), None)
                credit = next((word for word in said if sides[word] == "credit"), None)
                known = (debit is None) != (credit is None) or (debit != credit and None not in (debit, credit))
                if len(set(sides.values())) == 1:
                    known, debit, credit = False, None, None
                debit = debit or next(word for word in (column.values[0], first, second) if word and word != credit)
                credit = credit or next(word for word in said if word != debit)
                why = "both sides add up to the same" if equal else "by the label"
                guess = Guess("sure" if known and equal and label >= 0.9 else "likely" if known else "guess", why)
                if not known:
                    guess = Guess("guess", f"{why}; look whether {debit} is debit")
                side: dict[str, object] = {"from": column.name, "debit": debit, "credit": credit}
                amount = max(self.known.match(name, "gl_entry", "functional_amount").score, 0.3)
                signed = [value if word == debit else -value for value, word in zip(values, column.values, strict=True)]
                yield (
                    2.0 * equal + amount + label + (1.0 if known else 0),
                    Bound({"from": name, "indicator": side}, guess),
                    signed if equal else None,
                    (name, column.name),
                )

    def _with_sign(self, amounts: dict[str, list[Decimal]]) -> Iterator[Option]:
        for name, values in amounts.items():
            match = self.known.match(name, "gl_entry", "functional_amount")
            balanced = sum(values) == 0 and min(values) < 0
            if not balanced and match.score < 0.9:
                continue
            if balanced:
                guess = Guess(
                    "sure" if match.score >= 0.95 else "likely", "the amounts carry a sign and add up to nothing"
                )
            else:
                guess = Guess("guess", "by the label; look how debit and credit are told apart")
            score = 2.2 * balanced + max(match.score, 0.3) + (0.3 if match.score >= 0.95 else 0)
            yield (score, Bound({"from": name}, guess), values if balanced else None, (name,))

    def _account(self) -> None:
        """The account, by its values where no label says it."""
        if "gl_account_number" in self.columns or self.signed is None:
            return
        coded = [
            column
            for column in self.table.columns
            if column.name not in self.used
            and self.dates[column.name] is None
            and len(column.filled) == len(column.values)
            and all(re.fullmatch(r"\d{3,10}([.-]\d+)*(\s.*)?", value) for value in column.distinct)
            and 1 < len(column.distinct) < max(3, len(column.values))
        ]
        if coded:
            best = max(coded, key=lambda column: len(column.distinct))
            self._bind("gl_account_number", best, Guess("guess", "codes that come again, as accounts do"))

    def _account_number(self, column: Column, spec: dict[str, object], guess: Guess) -> Guess:
        values = column.filled
        if values and all(re.match(r"[\d.]+\s*[-–—_ ]\s*\D", value) for value in values):
            spec["capture"] = "^([0-9.]+)"
            return _weaker(guess, Guess("likely", "the number is the part before the name"))
        if values and all(len(value) >= 8 and value.isdigit() and value.startswith("0") for value in values):
            spec["strip_zeros"] = "true"
            return _weaker(guess, Guess("likely", "numbers filled up with zeros"))
        return guess

    def _voucher(self) -> None:
        """The voucher's id: the columns that divide the rows into most vouchers, each of which balances."""
        parts = self._voucher_parts()
        if self.signed is None or not parts:
            if parts and "journal_id" not in self.columns:
                self._bind("journal_id", parts[0], Guess("guess", "by the label; look whether vouchers balance"))
            self._line_number()
            return
        dated = [
            self.source[name] for name in ("effective_date", "fiscal_year", "period_number") if name in self.source
        ]
        found = self._best_voucher(parts, dated)
        self.columns.pop("journal_id", None)
        if found is None:
            self._bind("journal_id", parts[0], Guess("guess", "no column found under which every voucher balances"))
            self._line_number()
            return
        groups, best = found
        why = f"{groups} vouchers, each balances"
        known = all(
            self.known.likened(column.name, self.known.parts).score >= 0.95 for column in best if column not in dated
        )
        guess = Guess("sure" if known and groups > 1 else "likely", why)
        if len(best) == 1:
            self._bind("journal_id", best[0], guess)
        else:
            self.columns["journal_id"] = Bound({"concat": [column.name for column in best], "separator": "-"}, guess)
        self._line_number()

    def _best_voucher(self, parts: list[Column], dated: list[Column]) -> tuple[int, list[Column]] | None:
        """The columns that divide the rows into most groups, each adding up to nothing."""
        assert self.signed is not None
        candidates: list[tuple[tuple[float, ...], list[Column]]] = []
        for size in (1, 2, 3, 4):
            for some in itertools.combinations([*dated, *(part for part in parts if part not in dated)], size):
                if not set(map(id, some)) & set(map(id, parts)):
                    continue
                groups: dict[tuple[str | None, ...], Decimal] = {}
                keys = list(zip(*(column.values for column in some), strict=True))
                for key, amount in zip(keys, self.signed, strict=True):
                    groups[key] = groups.get(key, Decimal(0)) + amount
                if any(groups.values()) or any(not any(key) for key in groups):
                    continue
                numbered = any(
                    re.search(r"\d", value) for column in some if column not in dated for value in column.filled[:50]
                )
                likes = max(self.known.match(column.name, "gl_entry", "journal_id").score for column in some)
                candidates.append(((len(groups), numbered, -size, likes), list(some)))
        if not candidates:
            return None
        rank, best = max(candidates, key=lambda candidate: candidate[0])
        return int(rank[0]), best

    def _voucher_parts(self) -> list[Column]:
        """Columns a voucher's id may be made of: by their labels, else by having values that come again."""
        labelled = []
        for column in self.table.columns:
            score = max(
                self.known.likened(column.name, self.known.parts).score,
                self._match(column, "journal_id").score,
                self._match(column, "journal_number").score,
            )
            if score >= 0.6 and len(column.distinct) > 1 and self.dates[column.name] is None:
                labelled.append((score, column))
        parts = [column for _, column in sorted(labelled, key=lambda pair: -pair[0])][:6]
        if self.signed is None or any(re.search(r"\d", value) for column in parts for value in column.filled[:50]):
            return parts
        taken = {name for name, canonical in self.used.items() if canonical != "journal_id"}
        others = [
            column
            for column in self.table.columns
            if column.name not in taken
            and len(column.filled) == len(column.values)
            and not column.is_unique
            and self.dates[column.name] is None
            and column not in parts
        ]
        return [*parts, *others[:6]]

    def _line_number(self) -> None:
        if "journal_id" not in self.columns:
            return
        spec = self.columns["journal_id"].spec
        names = spec.get("concat") or [spec["from"]]
        assert isinstance(names, list)
        own = self.source.get("journal_line_number")
        if own is not None:
            keys = list(zip(*(self.table.column(str(name)).values for name in names), own.values, strict=True))
            if len(set(keys)) == len(keys) and None not in own.values:
                return
            self.used.pop(own.name, None)
        self.columns["journal_line_number"] = Bound(
            {"number_within": "journal_id"}, Guess("sure", "no line number in the file: counted")
        )

    def _pairs(self) -> None:
        """Numbered pairs of columns as a known dialect reads them."""
        names = {folded(column.name) for column in self.table.columns}
        for entity, name, binding in self.known.pairs:
            pairs = binding.pairs
            if entity != self.entity or pairs is None or name in self.columns:
                continue
            if all(folded(text.replace("{n}", "1")) in names for text in (pairs.kind, pairs.code)):
                spec = {"kind": pairs.kind, "code": pairs.code, "up_to": str(pairs.up_to), "is": list(pairs.among)}
                self.columns[name] = Bound({"pairs": spec}, Guess("likely", "numbered pairs of kind and code"))

    # What is left

    def _fill_required(self) -> Iterator[tuple[str, str]]:
        """Required columns without a label of their own: by a column that serves for both, by values, by assumption."""
        for name, canonical in self.spec.columns.items():
            if name in self.columns or not canonical.required:
                continue
            if canonical.type == "money" and (column := self._only_one(name, canonical)):
                self._bind(name, column, Guess("guess", "the only amount left"))
                continue
            other = STAND_INS.get(name)
            if other in self.source and (canonical.type == "text" or self._can_be(self.source[other], name, canonical)):
                why = f"the file has one column for this and {other}"
                degree: Degree = "guess" if canonical.type == "money" else "likely"
                self._bind(name, self.source[other], _weaker(Guess(degree, why), self.columns[other].guess))
                continue
            if name == "line_number" and "invoice_id" in self.columns:
                self.columns[name] = Bound({"number_within": "invoice_id"}, Guess("sure", "no line number: counted"))
                continue
            if column := self._only_one(name, canonical):
                self._bind(name, column, Guess("guess", f"by its values{self._alternatives(canonical, column)}"))
                continue
            given = self.known.values.get(name)
            if name in ASSUMED or (given and canonical.allowed):
                value = ASSUMED.get(name) or max(given or {}, key=lambda text: (given or {})[text])
                self.columns[name] = Bound(
                    {"value": value}, Guess("guess", f"no column says it; all rows are taken for {value}")
                )
                continue
            yield name, self._what_is_missing(name, canonical)

    def _only_one(self, name: str, canonical: Canonical) -> Column | None:
        free = [column for column in self.table.columns if column.name not in self.used and column.filled]
        if canonical.type in ("date", "timestamp"):
            # Of several dates the one every row has; of several such the first, to be looked at.
            found = [c for c in free if self.dates[c.name] and not any(v is None or v in NO_DATE for v in c.values)][:1]
        elif canonical.type in ("money", "quantity"):
            found = [c for c in free if c.name in self.numeric and self.dates[c.name] is None and _is_amount(c)]
        elif self.spec.key == (name,):
            found = [
                column for column in free if column.is_unique and len(column.values) > 1 and not self.dates[column.name]
            ]
            found = found[:1]
        else:
            return None
        return found[0] if len(found) == 1 else None

    def _alternatives(self, canonical: Canonical, taken: Column) -> str:
        """Other columns whose values would do as well."""
        if canonical.type not in ("date", "timestamp"):
            return ""
        others = [
            c.name for c in self.table.columns if self.dates[c.name] and c is not taken and c.name not in self.used
        ]
        return f"; {', '.join(others[:4])} would do as well" if others else ""

    def _what_is_missing(self, name: str, canonical: Canonical) -> str:
        near = [
            (likeness(column.name, name), column.name) for column in self.table.columns if column.name not in self.used
        ]
        close = max(near, default=(0.0, ""))
        hint = f"; nearest header: {close[1]}" if close[0] > 0 else ""
        wanted = {"date": "a date", "timestamp": "a time", "money": "an amount", "text": "a text"}.get(
            canonical.type, "a number"
        )
        return f"required, {wanted}: {canonical.description}{hint}"

    def _extras(self) -> Iterator[tuple[str, Bound]]:
        stamps = [column for column in self.table.columns if self.dates[column.name]]
        matched = [(self.known.likened(column.name, self.known.modified), column) for column in stamps]
        best = max(matched, key=lambda pair: pair[0].score, default=None)
        if best is not None and best[0].score >= 0.75 and self.entity != "gl_entry":
            dates = self.dates[best[1].name]
            assert dates is not None
            spec: dict[str, object] = {"from": best[1].name}
            if dates.formats:
                spec["format"] = dates.formats[0]
            yield "modified_at", Bound(spec, _weaker(_degree(best[0], best[1]), dates.guess))
        yield from self._conditions()
        for name, value, guess in self.table.left_out:
            condition: dict[str, object] = (
                {"from": name, "not_in": [value]} if value else {"from": name, "empty": "false"}
            )
            yield "where", Bound(condition, guess)

    def _conditions(self) -> Iterator[tuple[str, Bound]]:
        """What other dialects know of deleted and voided rows, where this file has such a column."""
        done: set[str] = set()
        for entity, kind, condition in self.known.conditions:
            column = next(
                (c for label in condition.source for c in self.table.columns if likeness(label, c.name) >= 0.96), None
            )
            if column is None or column.name in done or not column.is_choice:
                continue
            if entity != self.entity and (kind == "where" or not column.is_boolean()):
                continue
            for key, words in (("in", condition.among), ("not_in", condition.not_among)):
                if words is not None:
                    done.add(column.name)
                    seen = any(value.lower() in [word.lower() for word in words] for value in column.distinct)
                    guess = Guess(
                        "likely", "as a known system marks them" if seen else "as a known system marks them; none here"
                    )
                    yield kind, Bound({"from": column.name, key: list(words)}, guess)


def _own_side(word: str) -> str | None:
    """The side a word or its first letters name in the contract's own language."""
    return next((side for side in ("debit", "credit") if word and side.startswith(folded(word))), None)


def _is_amount(column: Column) -> bool:
    """Whether numbers look like amounts rather than like numbers of things: some have cents."""
    return any(re.search(r"[.,]\d{1,2}$", value) for value in column.filled if value not in NOTHING)


def _degree(match: Match, column: Column) -> Guess:
    if not column.filled:
        return Guess("likely" if match.score >= 0.95 else "guess", f"{match.why}; no value in this file")
    if match.score >= 0.95:
        return SURE if match.score == 1 else Guess("sure", match.why)
    return Guess("likely" if match.score >= 0.72 else "guess", match.why)


def _weaker(one: Guess, other: Guess) -> Guess:
    order = ("sure", "likely", "guess")
    if order.index(other.degree) > order.index(one.degree):
        return other
    if other.degree == one.degree != "sure" and other.why and other.why not in one.why:
        return Guess(one.degree, "; ".join(filter(None, (one.why, other.why))))
    return one


# The text


def _written(
    name: str, drafts: list[Drafted], dictionary: dict[str, object] | None, known: Knowledge, names: list[str]
) -> str:
    lines = [
        "#",
        "# sure: seen and checked by the values. likely: for the reason given. guess: look before you believe it.",
        "",
    ]
    lines += [f"dialect: {name}", f"title: {_scalar(f'Drafted from {drafts[0].table.name}')}", 'version: "1"']
    lines += _time_zone(drafts)
    lines.append("entities:")
    entities: dict[str, list[Drafted]] = {}
    for draft in drafts:
        if draft.missing and draft.score < UNRECOGNISED:
            labels = ", ".join(column.name for column in draft.table.columns[:12])
            lines.append(f"  # {draft.table.name}: its labels say too little of what a row is. Name it with --entity")
            lines.append(f"  # (entities stand in assets/ingest/contract.yml). Labels: {labels}")
            continue
        entities.setdefault(draft.entity, []).append(draft)
    for entity, several in entities.items():
        lines += ["", f"  {entity}:"]
        for draft in several:
            body = _mapping(draft, dictionary, names)
            if len(several) > 1:
                body = [f"  - {body[0].strip()}", *body[1:]]
            lines += body
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _mapping(draft: Drafted, dictionary: dict[str, object] | None, names: list[str]) -> list[str]:
    table = draft.table
    pattern = _pattern(table.name, [name for name in names if name != table.name])
    lines = [f"    files: {_scalar(pattern)}"]
    if draft.others:
        lines.append(f"    # The same file may hold {' and '.join(draft.others)} as well: draft with --entity to see.")
    reading = dict(table.reading)
    if dictionary is not None:
        reading["dictionary"] = dictionary
    if reading:
        lines.append("    read:")
        for key, value in reading.items():
            guess = table.guesses.get(key)
            lines.append(_line(f"      {key}: {_flow(value)}", str(guess) if guess else ""))
    if "header_row" in table.guesses:
        lines.append(f"    # {table.guesses['header_row']}; it is found by its labels")
    for key in ("where", "deleted"):
        bounds = [bound for kind, bound in draft.extra if kind == key]
        if bounds:
            lines.append(f"    {key}:")
            lines += [_line(f"      - {_flow(bound.spec)}", str(bound.guess)) for bound in bounds]
    lines += [
        _line(f"    modified_at: {_flow(bound.spec)}", str(bound.guess))
        for kind, bound in draft.extra
        if kind == "modified_at"
    ]
    lines.append("    columns:")
    required = load_contract().entities[draft.entity].columns
    for column in required:
        if column in draft.columns:
            bound = draft.columns[column]
            spec = dict(bound.spec)
            lines.append(_line(f"      {column}: {_flow(spec)}", str(bound.guess)))
            lines += [f"      # ^ check: {check}" for check in bound.check]
        elif column in draft.missing:
            lines.append(f"      # {column}: {{from: ???}}  # missing: {draft.missing[column]}")
    read = {name for bound in draft.columns.values() for name in _names_in(bound.spec)}
    read |= {name for _, bound in draft.extra for name in _names_in(bound.spec)}
    unread = [column.name for column in table.columns if column.name not in read]
    if unread:
        shown = ", ".join(unread[:12]) + (f" and {len(unread) - 12} more" if len(unread) > 12 else "")
        lines.append(f"    # Not used: {shown}")
    return lines


def _names_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _names_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names_in(inner)
    elif isinstance(value, str):
        yield value


def _time_zone(drafts: list[Drafted]) -> list[str]:
    """The zone in which moments fall on days: where they all are of one hour, that hour is midnight there."""
    hours: Counter[int] = Counter()
    moments = False
    for draft in drafts:
        for name, canonical in load_contract().entities[draft.entity].columns.items():
            bound = draft.columns.get(name)
            source = bound.spec.get("from") if bound is not None else None
            if canonical.type not in ("date", "timestamp") or not isinstance(source, str):
                continue
            column = draft.table.column(source)
            dates = column_dates(column, draft.table.month_first)
            if dates is not None and dates.instants:
                moments = True
                if canonical.type == "date":
                    hours.update(hour for value in column.filled if (hour := _utc_hour(value)) is not None)
    chinese = any(
        ord(c) > 0x2E80 for draft in drafts for column in draft.table.columns for c in "".join(column.filled[:5])
    )
    if hours and len(hours) == 1:
        hour = next(iter(hours))
        if hour == 16:
            return ["timezone: Asia/Shanghai  # likely: every day begins at 16:00 UTC, midnight in China"]
        if hour == 0:
            return ["timezone: UTC  # likely: every day begins at 00:00 UTC"]
    if moments:
        zone = "Asia/Shanghai" if chinese else "UTC"
        why = "the texts are Chinese" if chinese else "nothing says it"
        return [f"timezone: {zone}  # guess: {why}; a moment falls on another day in another zone"]
    return []


def _utc_hour(value: str) -> int | None:
    if re.fullmatch(r"\d{13}", value):
        seconds = int(value) // 1000
        return seconds % 86400 // 3600 if seconds % 3600 == 0 else -1
    if match := re.fullmatch(r"/Date\((\d+)(?:[+-]\d{4})?\)/", value):
        seconds = int(match[1]) // 1000
        return seconds % 86400 // 3600 if seconds % 3600 == 0 else -1
    if match := re.fullmatch(r"\d{4}-\d\d-\d\dT(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|\+00:00)", value):
        return int(match[1]) if match[2] == match[3] == "00" else -1
    return None


def _line(text: str, comment: str) -> str:
    return f"{text}  # {' '.join(comment.split())}" if comment else text


def _flow(value: object) -> str:
    """A value in YAML's flow style; every scalar is a string to the loader."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    return _scalar(str(value))


def _scalar(text: str) -> str:
    if re.fullmatch(r"[\w$][\w .$/()（）%-]*", text) and text == text.strip() and " #" not in text:
        return text
    return json.dumps(text, ensure_ascii=False)


def _pattern(name: str, others: Sequence[str]) -> str:
    """A pattern for the next deliveries of a file: numbers and dates in its name may differ."""
    base = PurePosixPath(name).name.removesuffix(".gz")
    stem, dot, suffix = base.rpartition(".")
    stem, suffix = (stem, f".{suffix}") if dot else (base, "")
    changing = re.sub(r"\d{2,}([-_.]?\d+)*", "*", stem)
    pattern = re.sub(r"\*+", "*", f"{changing}*") + suffix
    if changing.strip("*_- ") == "" or any(fnmatch.fnmatchcase(PurePosixPath(other).name, pattern) for other in others):
        return base
    return pattern


def _slug(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"\d{4,}", "", PurePosixPath(name).stem.lower())).strip("_")
    return plain if re.match("[a-z]", plain) else f"source_{plain}".strip("_")


def _tried(text: str, name: str, folder: Path) -> str:
    """The first lines of a draft: what came of reading the files by it."""
    with tempfile.TemporaryDirectory() as company:
        (Path(company) / "dialects").mkdir()
        (Path(company) / "dialects" / f"{name}.yml").write_text(text, encoding="utf-8")
        try:
            dialect = load_dialect(name, Path(company))
        except WhalecurveError:
            return "# A draft that does not load yet: required columns are missing below.\n"
        check = _check(folder, dialect)
    if check is None:
        return "# A draft; the files could not be read by it.\n"
    told = []
    for entity in check.entities:
        if entity.status == "absent":
            continue
        words = f"{entity.rows_out:,} of {entity.rows_in:,} rows read as {entity.entity}"
        words += f", {entity.rows_quarantined:,} quarantined" if entity.rows_quarantined else ""
        told.append(f"# Tried on the file: {words}.")
        told += [f"#   {reason.rows} rows: {reason.words}" for reason in entity.reasons[:3]]
        if entity.problem and not entity.files:
            told.append(f"#   {' '.join(entity.problem.split())}")
        told += [
            f"#   {control.name}: {control.words}"
            for control in entity.controls
            if control.holds is False and control.name != "dates"
        ]
    return "\n".join(told or ["# A draft; it reads nothing of the files."]) + "\n"
