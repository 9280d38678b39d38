"""Finding one person in the raw layer: every record, key, name and text by which any source knows them.

A person is looked up by a customer id (a source's own, or the account code all sources share), an e-mail address or their
exact name. From the records found, declared links lead to the others: the same account code, the same tax id, records
merged into each other, entries of customer_xref. A name alone joins nothing to a record that has a key of its own: two
people may bear it, and which of them is meant is for a person to say.

Belongs here: the search, in clear, in memory. Not here: what is written down of it (`erasure`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from assets.errors import WhalecurveError
from assets.ingest import storage
from assets.ingest.contract import CUSTOMER_REFERENCES, load_contract
from assets.ingest.erasure import ANYWHERE, TOKEN, Kind, normalised
from assets.ingest.sql import identifier, insert_rows, literal

SHORTEST_WORD = 3
"""Letters a name in a phonetic script must have to be looked for inside texts: 'Li' is in every other sentence."""

NAMED_FACTS = (
    ("invoice", "fct_invoices", "invoice_id"),
    ("payment", "fct_payments", "payment_id"),
    ("activity", "fct_activities", "activity_id"),
    ("service_case", "fct_service_cases", "case_id"),
)
"""(entity, its table of facts, the key of both) where a row may know its customer by name alone."""


@dataclass
class Person:
    """Everything the raw layer calls one person by."""

    records: set[tuple[str, str]] = field(default_factory=set)
    """(source, customer_id) of their own records."""
    golden: set[str] = field(default_factory=set)
    """The customer ids of the warehouse."""
    keys: set[tuple[str, str]] = field(default_factory=set)
    """(source or *, key) by which rows point to them."""
    names: set[str] = field(default_factory=set)
    """Names, as written, that nobody else bears."""
    shared_names: set[str] = field(default_factory=set)
    """Names, as written, that another customer bears too."""
    contacts: set[str] = field(default_factory=set)
    """E-mail addresses, telephone numbers and tax ids."""
    texts: set[str] = field(default_factory=set)
    """Whole texts of rows that name them."""
    namesakes: set[str] = field(default_factory=set)
    """Customer ids of others who bear one of their names."""

    def marks(self) -> list[tuple[Kind, str, str]]:
        """What the register is to know of them: (kind, scope, value)."""
        ids = self.golden | {key for _, key in self.records | self.keys}
        return [
            *(("key", scope, key) for scope, key in sorted(self.keys)),
            *(("name", ANYWHERE, name) for name in sorted(self.names)),
            *(("text", "", text) for text in sorted(self.texts)),
            *(("golden", "", golden) for golden in sorted(self.golden)),
            *(("known", "", value) for value in sorted(ids | self.names | self.shared_names | self.contacts)),
        ]


def find(
    connection: duckdb.DuckDBPyConnection, raw: Path, who: str, source: str | None = None, warehouse: Path | None = None
) -> Person | None:
    """The person `who` stands for, or None when the raw layer holds nobody of that id, e-mail address or name.

    The warehouse, where there is one, says which records its matching made one customer. Raises WhalecurveError when `who`
    stands for several customers.
    """
    who = who.strip()
    _expose(connection, raw, _matched(warehouse))
    person = Person()
    start = _customers_called(connection, who, source)
    if len(start) > 1:
        shown = "\n".join(f"  {golden}  ({sources})" for golden, sources in sorted(start.items()))
        raise WhalecurveError(
            f"What was asked for stands for {len(start)} customers:\n{shown}\n"
            "Name one of them by this id, or the source with --source. Nothing was changed."
        )
    person.golden = set(start)
    if person.golden:
        _follow_links(connection, person)
    else:
        _without_record(connection, who, source, person)
    if not person.golden and not person.keys and not person.names:
        return None
    _names_and_contacts(connection, person)
    _keys_in_facts(connection, person)
    _texts(connection, raw, person)
    person.golden |= _ids_by_name(raw, warehouse, person)
    return person


def _matched(warehouse: Path | None) -> list[tuple[str, str, str]]:
    """(source, customer_id, customer id of the warehouse) of every record, as the last run matched them."""
    if warehouse is None or not warehouse.exists():
        return []
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            return connection.execute(
                "select source_instance, customer_id, golden_id from facts.customer_records"
            ).fetchall()
    except duckdb.CatalogException:
        return []  # no run has come so far


def _ids_by_name(raw: Path, warehouse: Path | None, person: Person) -> set[str]:
    """The warehouse's customer ids of rows that know the person by name alone."""
    found: set[str] = set()
    if warehouse is None or not warehouse.exists() or not person.names:
        return found
    contract = load_contract()
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        names = [_plain(connection, name) for name in sorted(person.names)]
        for entity, table, key in NAMED_FACTS:
            with contextlib.suppress(duckdb.CatalogException):
                found |= _column(
                    connection,
                    f"select facts.customer_id from facts.{table} as facts "
                    f"join ({storage.relation(raw, contract, entity)}) as said using (source_instance, {key}) "
                    f"where said.customer_id is null and list_contains($names, {normalised('said.customer_name')}) "
                    "and facts.customer_id like 'name:%'",
                    {"names": names},
                )
    return found


def _expose(connection: duckdb.DuckDBPyConnection, raw: Path, matched: Sequence[tuple[str, str, str]]) -> None:
    """Temporary tables `people`, `pointers` and `links`: what the raw layer says of who is who, each thing once."""
    contract = load_contract()
    connection.execute(
        "create or replace temp table matched (source_instance varchar, customer_id varchar, golden_id varchar)"
    )
    insert_rows(connection, "matched", matched)
    connection.execute(
        "create or replace temp table people as select distinct source_instance, customer_id, customer_account_id, "
        "coalesce(golden_id, customer_account_id, customer_id) as golden, customer_name, customer_tin, email, "
        f"phone, merged_into, {normalised('customer_name')} as plain_name "
        f"from ({storage.relation(raw, contract, 'customer')}) left join matched using (source_instance, customer_id) "
        "where customer_id is not null"
    )
    pointing = []
    for entity, spec in contract.entities.items():
        if entity != "customer" and "customer_id" in spec.columns:
            name = "customer_name" if "customer_name" in spec.columns else "cast(null as varchar)"
            pointing.append(
                f"select distinct source_instance, customer_id as customer_key, {name} as customer_name "
                f"from ({storage.relation(raw, contract, entity)})"
            )
    connection.execute(
        f"create or replace temp table pointers as select *, {normalised('customer_name')} as plain_name from "
        f"({' union '.join(pointing)}) where customer_key is not null or customer_name is not null"
    )
    connection.execute(
        "create or replace temp table links as select distinct source_instance, source_customer_key, customer_account_id "
        f"from ({storage.relation(raw, contract, 'customer_xref')}) where source_customer_key is not null"
    )


def _customers_called(connection: duckdb.DuckDBPyConnection, who: str, source: str | None) -> dict[str, str]:
    """Customer id -> sources, of the records that bear the id, code, address or name; ids come before names."""
    for condition in (
        "customer_id = $who or customer_account_id = $who or golden = $who",
        "lower(trim(email)) = lower($who)",
        f"plain_name = {normalised('$who')}",
    ):
        rows = connection.execute(
            "select golden, string_agg(distinct source_instance, ', ' order by source_instance) from people "
            f"where ({condition}) and ($source is null or source_instance = $source) group by golden",
            {"who": who, "source": source},
        ).fetchall()
        if rows:
            return dict(rows)
    row = connection.execute(
        "select golden, people.source_instance from links join people on people.customer_account_id = "
        "links.customer_account_id or people.customer_id = links.customer_account_id "
        "where source_customer_key = $who and ($source is null or links.source_instance = $source)",
        {"who": who, "source": source},
    ).fetchall()
    return dict(row)


def _follow_links(connection: duckdb.DuckDBPyConnection, person: Person) -> None:
    """Add the customers that declared links make the same one, until there are no more."""
    while True:
        found = _column(
            connection,
            """
            with own as (select * from people where list_contains($golden, golden))
            select golden from own
            union select others.golden from people as others join own using (source_instance)
                where others.merged_into = own.customer_id or own.merged_into = others.customer_id
            union select others.golden from people as others join own on others.customer_tin = own.customer_tin
            union select others.golden from people as others join own on others.customer_account_id = own.customer_id
                and own.customer_account_id is null
            union select others.golden from links
                join own on links.customer_account_id in (own.golden, own.customer_id)
                join people as others on others.customer_id = links.source_customer_key
                    and others.source_instance = links.source_instance
            """,
            {"golden": sorted(person.golden)},
        )
        if found <= person.golden:
            break
        person.golden |= found
    person.records = set(
        connection.execute(
            "select distinct source_instance, customer_id from people where list_contains($golden, golden)",
            {"golden": sorted(person.golden)},
        ).fetchall()
    )


def _without_record(connection: duckdb.DuckDBPyConnection, who: str, source: str | None, person: Person) -> None:
    """Someone only facts know: by a key no customer record has, or by a name without any key."""
    called = {"who": who, "source": source}
    keys = connection.execute(
        "select distinct source_instance, customer_key from pointers where customer_key is not null and "
        f"(customer_key = $who or plain_name = {normalised('$who')}) and ($source is null or source_instance = $source) "
        "and customer_key not in (select customer_id from people) "
        "and customer_key not in (select customer_account_id from people where customer_account_id is not null)",
        called,
    ).fetchall()
    if len({key for _, key in keys}) > 1:
        raise WhalecurveError(
            f"What was asked for stands for {len(keys)} keys of customers: {', '.join(sorted({key for _, key in keys}))}. "
            "Name one of them. Nothing was changed."
        )
    person.keys = set(keys)
    person.golden = {key for _, key in keys}
    person.names = _column(
        connection,
        f"select customer_name from pointers where plain_name = {normalised('$who')} and customer_key is null "
        "and ($source is null or source_instance = $source)",
        called,
    )


def _names_and_contacts(connection: duckdb.DuckDBPyConnection, person: Person) -> None:
    golden = {"golden": sorted(person.golden)}
    own = "list_contains($golden, golden)"
    keys = {"keys": sorted(key for _, key in person.keys)}
    names = (
        person.names
        | _column(connection, f"select customer_name from people where {own}", golden)
        | _column(connection, "select customer_name from pointers where list_contains($keys, customer_key)", keys)
    )
    names = {name for name in names if name.strip() and not TOKEN.fullmatch(name.strip())}
    for name in names:
        others = _column(
            connection,
            f"select golden from people where plain_name = {normalised('$name')} and not ({own})",
            {**golden, "name": name},
        )
        person.namesakes |= others
        (person.shared_names if others else person.names).add(name)
    person.names &= names - person.shared_names
    for column in ("email", "phone", "customer_tin"):
        person.contacts |= _column(connection, f"select trim({column}) from people where {own}", golden)
    person.contacts.discard("")


def _keys_in_facts(connection: duckdb.DuckDBPyConnection, person: Person) -> None:
    """The keys by which each source's rows point to the person: their own first, then those nobody else has."""
    sources = _column(connection, "select source_instance from people union select source_instance from pointers", {})
    golden = {"golden": sorted(person.golden)}
    own_codes = _column(
        connection, "select customer_account_id from people where list_contains($golden, golden)", golden
    )
    codes = person.golden | own_codes | {key for _, key in person.records}
    taken = connection.execute(
        "select source_instance, customer_id from people where not list_contains($golden, golden)",
        {"golden": sorted(person.golden)},
    ).fetchall()
    taken_here = set(taken)
    taken_anywhere = {key for _, key in taken} | _column(
        connection,
        "select customer_account_id from people where not list_contains($golden, golden)",
        {"golden": sorted(person.golden)},
    )
    linked = set(
        connection.execute(
            "select source_instance, source_customer_key from links where list_contains($codes, customer_account_id)",
            {"codes": sorted(codes)},
        ).fetchall()
    )
    person.keys |= person.records | linked
    for key in codes:
        if key not in taken_anywhere:
            person.keys.add((ANYWHERE, key))
        elif key not in {own for _, own in person.records}:
            person.keys |= {(source, key) for source in sources if (source, key) not in taken_here}
    if person.names:
        known = taken_anywhere | codes
        plain = [_plain(connection, name) for name in sorted(person.names)]
        beside = connection.execute(
            "select distinct source_instance, customer_key from pointers "
            "where list_contains($names, plain_name) and customer_key is not null",
            {"names": plain},
        ).fetchall()
        person.keys |= {(source, key) for source, key in beside if key not in known}
    person.keys = {(scope, key) for scope, key in person.keys if not TOKEN.fullmatch(key)}
    person.golden |= {key for _, key in person.keys if not person.records}


def _texts(connection: duckdb.DuckDBPyConnection, raw: Path, person: Person) -> None:
    """Whole texts, of any row, in which a name, contact or id of the person stands."""
    contract = load_contract()
    ids = {key for _, key in person.keys if len(key) > SHORTEST_WORD}
    pattern = mention_pattern(sorted(person.names | person.contacts | ids))
    if pattern is None:
        return
    for entity, spec in contract.entities.items():
        columns = [name for name, column in spec.columns.items() if column.pii in ("free_text", "bank_reference")]
        for name in [*columns, "source_record"]:
            person.texts |= _column(
                connection,
                f"select {identifier(name)} from ({storage.relation(raw, contract, entity)}) "
                f"where regexp_matches({identifier(name)}, $pattern, 'i')",
                {"pattern": pattern},
            )


def mention_pattern(values: Sequence[str]) -> str | None:
    """A regular expression that finds any of the values in a text: as whole words where the script has words."""
    words = [re.escape(value) for value in values if value.isascii() and len(value) >= SHORTEST_WORD]
    others = [re.escape(value) for value in values if not value.isascii() and len(value) > 1]
    parts = [f"(?:^|[^\\pL\\pN])(?:{'|'.join(words)})(?:$|[^\\pL\\pN])"] if words else []
    return "|".join([*parts, *others]) or None


def left_in_clear(connection: duckdb.DuckDBPyConnection, raw: Path, person: Person) -> list[tuple[str, str, int]]:
    """(entity, column, rows) that still name the person: columns the contract does not call personal."""
    contract = load_contract()
    pattern = mention_pattern(sorted(person.names | person.contacts))
    if pattern is None:
        return []
    found = []
    for entity in contract.entities:
        texts = [name for name, kind in contract.raw_columns(entity).items() if kind == "VARCHAR"]
        counts = ", ".join(f"count(*) filter (regexp_matches({identifier(name)}, $pattern, 'i'))" for name in texts)
        row = connection.execute(
            f"select {counts} from ({storage.relation(raw, contract, entity)})", {"pattern": pattern}
        ).fetchone()
        found += [(entity, name, count) for name, count in zip(texts, row or (), strict=True) if count]
    return found


def delivered_files(
    connection: duckdb.DuckDBPyConnection, raw: Path, tokens: Sequence[str]
) -> list[tuple[str, str, str]]:
    """(source, date, file) of every delivery that brought rows of the people behind the tokens."""
    contract = load_contract()
    shown = ", ".join(literal(token) for token in tokens)
    parts = []
    for entity, spec in contract.entities.items():
        columns = [name for name in spec.columns if name in CUSTOMER_REFERENCES]
        if columns:
            held = " or ".join(f"{identifier(name)} in ({shown})" for name in columns)
            parts.append(
                "select source_instance, cast(extract_date as varchar) as extract_date, source_file "
                f"from ({storage.relation(raw, contract, entity)}) where {held}"
            )
    rows = connection.execute(f"select distinct * from ({' union all '.join(parts)}) order by all").fetchall()
    return [(source, date, name) for source, date, files in rows for name in str(files).split(", ")]


def _plain(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    row = connection.execute(f"select {normalised('?')}", [name]).fetchone()
    return str(row[0]) if row else name


def _column(connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object]) -> set[str]:
    used = {name: value for name, value in parameters.items() if f"${name}" in query}
    return {str(row[0]) for row in connection.execute(query, used).fetchall() if row[0] is not None}
