"""Classes of personal data, keyed pseudonyms, and what the manifest says became of each personal column."""

from __future__ import annotations

import hmac
import json
import re
import typing

import duckdb
import jinja2
import pytest
import yaml

from assets.company import PUBLISHABLE, Privacy
from assets.errors import ConfigurationError
from assets.ingest.contract import DROPPED, PiiClass, load_contract
from assets.ingest.erasure import OF_THE_PERSON
from assets.publish.privacy import PERSONAL, fingerprint, key_changed, notes, privacy
from assets.publish.release import HISTORY, ReleaseError, current, erase, point_to, releases, rollback
from assets.publish.tables import PUBLISHED
from pipelines.pseudonyms import set_key
from pipelines.resources import DBT_PROJECT, pseudonym_key

KEY = b"a key of a test, long enough"
SMELLS = re.compile(
    r"(customer|contact|employee|full|first|last)_name|mail|phone|mobile|fax|address|tin$|tax_id|iban|bank|birth|"
    r"subject|description|comment|note|owner|manager_ref|entered_by|approved_by|posted_by|employee_id|opportunity_name"
)


class Raised(Exception):
    pass


def macro(name):
    """A macro of the dbt project, rendered as dbt would."""

    class Errors:
        @staticmethod
        def raise_compiler_error(text):
            raise Raised(text)

    folder = DBT_PROJECT / "macros"
    text = "".join(
        (folder / file).read_text(encoding="utf-8") for file in ("dialect.sql", "exact_match.sql", "pseudonym.sql")
    )
    return getattr(
        jinja2.Environment(extensions=["jinja2.ext.do"])
        .from_string(text, {"exceptions": Errors, "target": {"type": "duckdb"}})
        .module,
        name,
    )


@pytest.fixture
def session():
    with duckdb.connect() as connection:
        yield connection


def pseudonyms(session, pii, *values):
    rendered = str(macro("pseudonym")(pii, "value"))
    return [
        session.execute(f"select {rendered} from (select ?::varchar as value)", [value]).fetchone()[0]
        for value in values
    ]


def test_every_column_that_smells_personal_is_classed():
    for entity, spec in load_contract().entities.items():
        for name, column in spec.columns.items():
            if SMELLS.search(name):
                assert column.pii, f"{entity}.{name} can name a person: give it a pii class in contract.yml"


def test_the_classes_are_the_ones_everything_else_knows():
    classes = set(typing.get_args(PiiClass))
    used = {column.pii for spec in load_contract().entities.values() for column in spec.columns.values()} - {None}
    assert used == classes, "a class nobody uses says nothing"
    assert set(OF_THE_PERSON) | {"internal_user"} == classes
    letters = {str(macro("pseudonym")(pii, "x")).split()[0] for pii in classes - set(DROPPED)}
    assert letters == {"'n-'", "'e-'", "'p-'", "'t-'", "'b-'", "'u-'"}
    with pytest.raises(Raised, match="no pseudonym of the class"):
        macro("pseudonym")("free_text", "x")


def test_a_pseudonym_is_an_hmac_by_another_hand(session):
    set_key(session, KEY)
    digest = hmac.new(KEY, "name:王伟andco.".encode(), "sha256").hexdigest()
    assert pseudonyms(session, "name", " 王伟\u3000and\tCo. ") == [f"n-{digest[:12]}"]


def test_pseudonyms_are_stable_and_differ_by_value_class_and_key(session):
    set_key(session, KEY)
    (first, other_spelling, other), again = (
        pseudonyms(session, "name", "Ada K", "ADA  k", "Bo"),
        pseudonyms(session, "name", "Ada K"),
    )
    assert [first] == again
    assert first == other_spelling
    assert first != other
    assert pseudonyms(session, "email", "Ada K")[0][2:] != first[2:]
    assert pseudonyms(session, "phone", "+48 601", "(48) 601") == pseudonyms(session, "phone", "48601", "48601")
    set_key(session, KEY + b"!")
    assert pseudonyms(session, "name", "Ada K")[0] != first


def test_long_keys_are_hmac_keys_too(session):
    set_key(session, b"k" * 100)
    digest = hmac.new(b"k" * 100, b"name:ada", "sha256").hexdigest()
    assert pseudonyms(session, "name", "Ada") == [f"n-{digest[:12]}"]


def test_without_a_key_a_value_is_withheld(session):
    set_key(session, None)
    assert pseudonyms(session, "name", "Ada", None) == [None, None]
    with duckdb.connect() as untouched:
        assert pseudonyms(untouched, "name", "Ada") == [None]


def test_the_id_of_a_customer_known_by_name_alone_is_keyed_where_there_is_a_key(session):
    rendered = str(macro("name_key")("'Ada Kowalski'"))
    set_key(session, None)
    plain = session.execute(f"select {rendered}").fetchone()[0]
    assert plain.startswith("name:")
    set_key(session, KEY)
    keyed = session.execute(f"select {rendered}").fetchone()[0]
    assert keyed.startswith("name:")
    assert len(keyed) == len(plain)
    assert keyed != plain


def test_a_key_is_read_from_the_environment_and_a_short_one_is_refused(monkeypatch):
    monkeypatch.delenv("WHALECURVE_PSEUDONYM_KEY", raising=False)
    assert pseudonym_key() is None
    monkeypatch.setenv("WHALECURVE_PSEUDONYM_KEY", "x" * 15)
    with pytest.raises(ConfigurationError, match="has 15 characters and needs at least 16") as refused:
        pseudonym_key()
    assert "x" * 15 not in str(refused.value)
    monkeypatch.setenv("WHALECURVE_PSEUDONYM_KEY", "x" * 16)
    assert pseudonym_key() == b"x" * 16


def test_a_company_may_publish_the_personal_columns_there_are_and_no_others():
    assert Privacy(publish=PUBLISHABLE).publish == PUBLISHABLE
    with pytest.raises(ValueError, match="publish"):
        Privacy(publish=("email",))


SAID_BY_THE_COMPANY = {("pool_months", "approved_by")}
"""Not from a source: the company writes into its own rules who answers for them, so that an auditor can read it."""


def test_every_personal_column_of_a_published_table_is_a_known_one():
    """By the contract's names, over the documented columns of what is published: a new one has to be thought about."""
    personal = {n for spec in load_contract().entities.values() for n, column in spec.columns.items() if column.pii}
    models = {}
    for file in DBT_PROJECT.glob("models/*/_*__models.yml"):
        for model in yaml.safe_load(file.read_text(encoding="utf-8"))["models"]:
            models[f"{file.parent.name}.{model['name']}"] = [column["name"] for column in model["columns"]]
    for table, relation in PUBLISHED.items():
        for column in models.get(relation, []):
            known = column in PERSONAL or (table, column) in SAID_BY_THE_COMPANY
            assert column not in personal or known, f"{table}.{column} is published in clear"


@pytest.fixture
def warehouse(session):
    session.execute("create schema facts; create schema overview")
    session.execute("create table facts.dim_customers as select 'Ada' as customer_name, 'Mia' as owner_ref")
    session.execute("create table facts.fct_ledger as select 'Rent' as je_line_description")
    session.execute("create table overview.customers as select 'K-1' as customer_id")
    return session


def test_the_manifest_says_what_became_of_each_column(warehouse):
    noted = privacy(warehouse, ["customer_name"], KEY)
    assert noted == {
        "in_clear": ["customer_name"],
        "pseudonyms": ["owner_ref"],
        "withheld": [],
        "dropped": ["je_line_description"],
        "guessable_ids": False,
        "key_fingerprint": fingerprint(KEY),
    }
    assert notes(noted) == []
    withheld = privacy(warehouse, [], None)
    assert withheld["withheld"] == ["customer_name", "owner_ref"]
    assert notes(withheld)[0].startswith(
        "Withheld: names of customers and account managers. Set WHALECURVE_PSEUDONYM_KEY"
    )
    warehouse.execute("update facts.dim_customers set customer_name = null, owner_ref = null")
    assert notes(privacy(warehouse, [], None)) == [], "nothing to withhold, nothing to say"


def test_ids_that_can_be_guessed_are_said_to_be(warehouse):
    warehouse.execute("insert into overview.customers values ('name:0123456789abcdef')")
    assert "can be found by trying names" in notes(privacy(warehouse, [], None))[-1]
    assert not privacy(warehouse, ["customer_name"], None)["guessable_ids"]
    assert not privacy(warehouse, [], KEY)["guessable_ids"]


def test_another_key_is_noticed_by_its_fingerprint():
    one, other = {"key_fingerprint": fingerprint(KEY)}, {"key_fingerprint": fingerprint(KEY + b"!")}
    assert key_changed(one, one) is None
    assert key_changed(one, {}) is None
    assert fingerprint(KEY) in key_changed(other, one)
    assert fingerprint(None) is None


def test_releases_that_may_not_be_kept_go_and_the_history_says_so(tmp_path):
    names = [f"2026-01-0{day}-{'0' * 12}" for day in (1, 2, 3)]
    for name in names:
        (tmp_path / name).mkdir()
        point_to(tmp_path, name, action="publish", run_id="", at=None)
    assert erase(tmp_path, names, at="2026-02-01") == names[:2], "never the current one"
    assert [release.release_id for release in releases(tmp_path)] == [names[2]]
    assert current(tmp_path).release_id == names[2]
    last = json.loads((tmp_path / HISTORY).read_text().splitlines()[-1])
    assert (last["action"], last["removed"], last["at"]) == ("erase", names[:2], "2026-02-01")
    assert erase(tmp_path, names) == []
    with pytest.raises(ReleaseError, match="nothing to go back to"):
        rollback(tmp_path)
