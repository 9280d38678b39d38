"""The erasure register: who was erased, as salted hashes, and the SQL that keeps them out of the raw layer.

    <data>/erasures.jsonl      {"salt": ...}                                          first line
                               {"action": "erase", "token", "date", "reason", "marks"}  one per erasure
                               {"action": "done", "token", "release"}                  when nothing was left to do

An erased person is one token (`erased:` and 12 hex digits) in place of every key by which a source knows them, so that
their money stays where it was, on a customer nobody can name. Their own records have it as account code, and as id with
four more digits, so that two records stay two. A mark is the salted hash of such a key, of a name, or of a
text that named them; the register holds nothing in clear. `redacted` rewrites the rows of any raw file by the register: the
erasure itself uses it, and so does every later load, so that an old delivery read again does not bring anybody back.

Belongs here: the register and that SQL. Not here: finding a person (`person`), and what follows of an erasure (warehouse,
releases).
"""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import duckdb

from assets.errors import WhalecurveError
from assets.ingest import storage
from assets.ingest.contract import CUSTOMER_REFERENCES, Column, load_contract
from assets.ingest.sql import identifier, literal

REGISTER = "erasures.jsonl"
TOKEN = re.compile(r"erased:[0-9a-f]{12}(\.[0-9a-f]{4})?")
ANYWHERE = "*"
"""The scope of a mark that holds whatever the source; else it is the source's name."""

OF_THE_PERSON = ("name", "email", "phone", "tax_id", "bank_reference", "free_text")
"""Classes of personal data that are the customer's own. internal_user is somebody else: the employee who did the work."""

Kind = Literal["key", "name", "text", "known", "golden"]
"""What a mark is the hash of: a key of the customer in a source, their name, a whole text that named them, anything a
person may be asked for by (`forget` run again must know them), their customer id in published tables."""


@dataclass(frozen=True)
class Register:
    """All erasures: mark -> token, under one salt."""

    salt: str
    marks: Mapping[str, str] = field(default_factory=dict)
    finished: frozenset[str] = frozenset()

    @property
    def tokens(self) -> list[str]:
        return sorted(set(self.marks.values()))

    def mark(self, kind: Kind, value: str, scope: str = "") -> str:
        """SQL of the mark of the SQL expression `value`; `scope` is an expression too."""
        plain = {"key": f"trim({value})", "text": f"trim({value})", "golden": f"trim({value})"}
        shown = plain.get(kind) or normalised(value)
        return f"sha256({literal(self.salt + kind)} || chr(31) || {scope or literal('')} || chr(31) || {shown})"


WIDE, NARROW = "".join(map(chr, range(0xFF01, 0xFF5F))), "".join(map(chr, range(0x21, 0x7F)))
"""Full-width letters, digits and signs, and their ASCII ones."""


def normalised(expression: str) -> str:
    """SQL of a text without its ways of writing: case, width, blanks, punctuation, composed characters."""
    narrow = f"translate(nfc_normalize({expression}), {literal(WIDE)}, {literal(NARROW)})"
    return f"nullif(regexp_replace(lower({narrow}), '[\\s\\pZ\\pC\\pP]', '', 'g'), '')"


def register_path(raw: Path) -> Path:
    """The register lies beside the raw layer: whoever rebuilds one from the deliveries needs the other."""
    return raw.parent / REGISTER


def load_register(raw: Path) -> Register | None:
    """The register of a data folder, or None when nobody was ever erased."""
    path = register_path(raw)
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return _read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, modified: int, size: int) -> Register:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        salt = str(lines[0]["salt"])
        marks: dict[str, str] = {}
        for line in lines[1:]:
            marks.update(dict.fromkeys(line.get("marks", ()), str(line["token"])))
        finished = frozenset(line["token"] for line in lines if line.get("action") == "done")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WhalecurveError(
            f"The erasure register {path} cannot be read ({type(error).__name__}). It says whom no delivery may bring back, "
            "so nothing is read without it: put the last good copy back. Nothing was changed."
        ) from None
    return Register(salt, marks, finished)


def new_register() -> Register:
    return Register(secrets.token_hex(16))


def new_token() -> str:
    return f"erased:{secrets.token_hex(6)}"


def with_marks(
    connection: duckdb.DuckDBPyConnection, register: Register, token: str, values: Iterable[tuple[Kind, str, str]]
) -> Register:
    """The register with the marks of `values` (kind, scope, value) under `token`."""
    known = dict(register.marks)
    for kind, scope, value in values:
        row = connection.execute(f"select {register.mark(kind, '?', literal(scope))}", [value]).fetchone()
        if row and row[0]:
            known.setdefault(row[0], token)
    return replace(register, marks=known)


def write_entry(raw: Path, register: Register, entry: Mapping[str, Any]) -> None:
    """Add one line to the register on disk: all of it or nothing, and it survives a power cut."""
    path = register_path(raw)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else json.dumps({"salt": register.salt}) + "\n"
    aside = path.with_name(f".{path.name}.tmp")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(before + json.dumps(dict(entry), ensure_ascii=False, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(aside, path)
    storage.flush(path.parent)


# Rewriting rows


def redacted(raw: Path, entity: str, select: str) -> str:
    """`select`, which gives the rows of a raw file in the contract's columns, without the people of the register.

    The very text it was given when nobody was ever erased.
    """
    register = load_register(raw)
    if register is None or not register.marks:
        return select
    return redacted_by(register, entity, select, list(load_contract().raw_columns(entity)))


def redacted_by(register: Register, entity: str, select: str, columns: Sequence[str]) -> str:
    """SQL of the rows of `select` (a raw file of the entity, with `columns`) as the register lets them be."""
    common, expressions = _rules(register, entity, select, columns)
    shown = ", ".join(f"{expressions.get(name, identifier(name))} as {identifier(name)}" for name in columns)
    order = [identifier(name) for name in ("source_file", "source_row") if name in columns]
    return f"{common} select {shown} from marked" + (f" order by {', '.join(order)}" if order else "")


def touched_by(register: Register, entity: str, select: str, columns: Sequence[str]) -> str:
    """SQL of what would change in `select`: rows of erased people, all rows, and the delivered files they came from."""
    common, expressions = _rules(register, entity, select, columns)
    changes = [f"{expression} is distinct from {identifier(name)}" for name, expression in expressions.items()]
    changed = " or ".join(changes) or "false"
    counts = f"count(*) filter (row_token is not null and ({changed})), count(*) filter ({changed})"
    return f"{common} select {counts}, coalesce(list(distinct source_file) filter ({changed}), []) from marked"


def _rules(register: Register, entity: str, select: str, columns: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The common part of the SQL, up to the relation `marked`, and an expression for every column that may change."""
    contract = load_contract()
    spec: dict[str, Column] = {**contract.entities[entity].columns, **contract.lineage_columns}
    references = [name for name in columns if name in CUSTOMER_REFERENCES]
    personal = [
        name
        for name in columns
        if spec[name].pii in OF_THE_PERSON and name not in (*references, "quarantine_reason", "source_record")
    ]
    tokens: dict[str, str] = {}
    joins = []

    def token_of(name: str, mark: str) -> str:
        joins.append(f"left join erased as {identifier(name)} on {identifier(name)}.mark = {mark}")
        return f"{identifier(name)}.token"

    for name in references:
        value = f"delivered.{identifier(name)}"
        found = [
            token_of(f"{name} here", register.mark("key", value, "delivered.source_instance")),
            token_of(f"{name} anywhere", register.mark("key", value, literal(ANYWHERE))),
        ]
        if name == "source_customer_key":  # it may be a name
            found.append(token_of(f"{name} name", register.mark("name", value, literal(ANYWHERE))))
        tokens[f"token of {name}"] = f"coalesce({', '.join(found)})"
    # A name stands for a person only where no key does: two customers may bear the same one.
    named = [
        name for name in personal if spec[name].pii == "name" and entity != "customer" and "customer_id" in references
    ]
    for name in named:
        mark = register.mark("name", f"delivered.{identifier(name)}", literal(ANYWHERE))
        tokens[f"token of {name}"] = token_of(f"{name} name", mark)
    for name in personal:
        if spec[name].pii in ("free_text", "bank_reference"):
            mark = register.mark("text", f"delivered.{identifier(name)}")
            tokens[f"token of {name}"] = token_of(f"{name} text", mark)
    tokens["row_token"] = _row_token(references, named, tokens)
    if "source_record" in columns:
        whole = token_of("source_record text", register.mark("text", "delivered.source_record"))
        tokens["token of source_record"] = f"coalesce({whole}, {_token_in_record(register)})"

    values = ", ".join(f"({literal(mark)}, {literal(token)})" for mark, token in sorted(register.marks.items()))
    shown = ", ".join(f"{expression} as {identifier(name)}" for name, expression in tokens.items())
    common = (
        f"with erased (mark, token) as (values {values}), delivered as ({select}), "
        f"marked as (select delivered.*, {shown} from delivered {' '.join(joins)})"
    )
    return common, _expressions(register, entity, spec, references, personal, columns)


def _row_token(references: Sequence[str], named: Sequence[str], tokens: Mapping[str, str]) -> str:
    """The person a row is about: by its own keys, and by its name alone where it has no key."""
    own = [name for name in references if name != "parent_customer_id"]
    found = [tokens[f"token of {name}"] for name in own]
    found += [f"case when delivered.customer_id is null then {tokens[f'token of {name}']} end" for name in named]
    return f"coalesce({', '.join(found)})" if found else "cast(null as varchar)"


def _token_in_record(register: Register) -> str:
    """The person one of the cells of an unreadable row names."""
    record = "delivered.source_record"
    cells = f"case when json_valid({record}) then json_extract_string({record}, '$.*') end"
    known = ", ".join(literal(mark) for mark in sorted(register.marks))
    found = f"list_filter({cells}, lambda cell: {register.mark('known', 'cell')} in ({known}))"
    return f"case when len({found}) > 0 then {literal('someone')} end"


def _expressions(
    register: Register,
    entity: str,
    spec: Mapping[str, Column],
    references: Sequence[str],
    personal: Sequence[str],
    columns: Sequence[str],
) -> dict[str, str]:
    """The value of every column that may change, over `marked`."""
    expressions = {}
    for name in references:
        own = identifier(f"token of {name}")
        expressions[name] = f"coalesce({own}, {identifier(name)})"
        if entity == "customer" and name == "customer_id":
            record = f"row_token || '.' || left({register.mark('key', 'customer_id', 'source_instance')}, 4)"
            expressions[name] = f"case when row_token is null then customer_id else {record} end"
        elif (entity == "customer" and name == "customer_account_id") or name == "customer_id":
            expressions[name] = f"coalesce({own}, row_token, {identifier(name)})"
    for name in personal:
        conditions = ["row_token is not null"]
        if spec[name].pii in ("free_text", "bank_reference"):
            conditions.append(f"{identifier(f'token of {name}')} is not null")
        kept = "row_token" if spec[name].required else "null"
        expressions[name] = (
            f"case when {identifier(name)} is not null and ({' or '.join(conditions)}) then {kept} else {identifier(name)} end"
        )
    if "source_record" in columns:
        gone = f"(row_token is not null or {identifier('token of source_record')} is not null)"
        expressions["source_record"] = f"case when not {gone} then source_record end"
        masked = "regexp_replace(quarantine_reason, '''.*''', '''erased''', 's')"
        expressions["quarantine_reason"] = f"case when {gone} then {masked} else quarantine_reason end"
    return expressions
