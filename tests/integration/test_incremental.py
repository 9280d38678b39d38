"""What is brought up to date holds what is built in full from the same raw layer: model by model, row by row.

Raw layers are invented here load by load, because no dialect of a real system mixes everything that can change a record:
versions, deletions, restated scopes and snapshots, rows that cannot be read, late and replaced and withdrawn loads,
foreign currencies and their rates, costs of products, links between customers, and rules.
"""

from __future__ import annotations

import datetime
import random
import shutil

import duckdb
import pytest
from command import PROJECT

from assets import gate
from assets.company import load_company
from assets.costing.rule_tables import write_rules
from assets.costing.service_charges import write_service_charges
from assets.ingest import storage
from assets.ingest.contract import load_contract
from pipelines import dbt
from pipelines.resources import Workspace

DEMO = PROJECT / "companies" / "demo"
DAYS = [datetime.date(2026, 5, 28) + datetime.timedelta(days=number) for number in range(8)]
LAYERS = (*dbt.PASSES["dbt_pools"], *dbt.PASSES["dbt_marts"])
SCOPE = {"gl_entry": "journal_id", "invoice_line": "invoice_id"}
"""What a load of these may state anew: a voucher, a document."""


def records(entity, chance):
    """The columns of one row of an entity, from few ids, so that versions of one record meet."""

    def pick(*values):
        return chance.choice(values)

    def some(prefix, count=6):
        return f"{prefix}{chance.randrange(count)}"

    amount = chance.randrange(-300, 3000)
    day = pick("2026-03-30", "2026-04-15", "2026-05-02", "2026-05-29", "2026-06-01")
    who = {"customer_id": pick("A1", "A2", "A3", "A9", None), "customer_name": pick("Ada", "Bob Ltd", "Nobody", None)}
    currency = pick("CNY", "USD", "EUR", None)
    if entity == "invoice":
        return {
            **who,
            **{"invoice_id": some("I", 9), "invoice_number": some("N"), "order_id": pick("O1", "O2", "O3", None)},
            **{"document_type": pick("invoice", "invoice", "credit_note", "proforma"), "invoice_date": day},
            **{"net_amount": amount, "tax_amount": 0, "gross_amount": amount, "currency_code": currency},
            **{"status": pick("approved", "paid", "void"), "sales_channel": pick("EDI", "shop")},
        }
    if entity == "invoice_line":
        line = {"invoice_id": some("I", 9), "line_number": chance.randrange(3), "product_id": some("P", 3)}
        return {**line, "quantity": chance.randrange(9), "line_net_amount": amount, "line_cost_amount": pick(None, 7)}
    if entity == "payment":
        return {**who, "payment_id": some("Y"), "payment_date": day, "amount": amount, "currency_code": currency}
    if entity == "gl_entry":
        return {
            **who,
            **{"journal_id": some("J"), "journal_line_number": chance.randrange(3), "effective_date": day},
            **{"gl_account_number": pick("660101", "660105", "6001", "1122", "660201"), "functional_amount": amount},
            **{"functional_currency_code": currency, "cost_center_id": pick("10", None)},
            "reversal_journal_id": pick(None, None, "J1"),
        }
    if entity == "activity":
        return {**who, "activity_id": some("V"), "activity_type": pick("visit", "call"), "activity_date": day}
    if entity == "service_case":
        return {**who, "case_id": some("S"), "status_class": "open", "opened_at": day, "handling_minutes": amount % 90}
    if entity == "campaign_member":
        who.pop("customer_name")
        return {**who, "campaign_member_id": some("M"), "campaign_id": "X", "has_responded": True, "created_on": day}
    if entity == "product":
        product = {"product_id": some("P", 3), "product_name": "P", "product_family": pick("F", "G")}
        return {**product, "standard_cost": chance.randrange(3)}
    if entity == "customer":
        code = pick("K1", "K2", None)
        return {"customer_id": some("A", 4), "customer_name": pick("Ada", "Bob Ltd"), "customer_account_id": code}
    if entity == "customer_xref":
        link = {"source_customer_key": pick("A1", "A9", "Nobody"), "key_kind": pick("id", "name")}
        return {**link, "customer_account_id": pick("K1", "K2"), "valid_from": pick("2026-05-01", "2026-06-01")}
    if entity == "fx_rate":
        pair = {"from_currency": pick("USD", "EUR"), "to_currency": "CNY", "rate_type": "spot"}
        return {**pair, "rate_date": pick("2026-03-29", "2026-05-01", "2026-05-20"), "rate": chance.randrange(1, 9)}
    assert entity == "gl_account"
    number = pick("660101", "660105", "6001", "1122", "660201")
    return {"gl_account_number": number, "gl_account_name": "A", "account_type": pick("expense", "asset", "revenue")}


ENTITIES = (
    *(
        "invoice",
        "invoice",
        "invoice_line",
        "invoice_line",
        "gl_entry",
        "gl_entry",
        "payment",
        "activity",
        "service_case",
    ),
    *("campaign_member", "product", "customer", "customer_xref", "fx_rate", "gl_account"),
)


def invented_load(raw, entity, source, day, chance):
    """One load of a source's day: some rows, of which a few are deletions and a few cannot be read."""
    snapshot = chance.random() < 0.04
    rows = []
    for _ in range(chance.randrange(1, 12)):
        row = records(entity, chance)
        row["is_deleted"] = chance.random() < 0.15
        if snapshot:
            row["restates"] = "*"
        elif entity in SCOPE and chance.random() < 0.5:
            row["restates"] = row[SCOPE[entity]]
        if chance.random() < 0.15:
            row["quarantine_reason"] = "unreadable"
        rows.append(row)
    write_load(raw, entity, source, day, rows)


def write_load(raw, entity, source, day, rows):
    """Put one load in its place."""
    types = load_contract().raw_columns(entity)
    selects = []
    for number, said in enumerate(rows):
        row = {
            "source_instance": source,
            "extract_date": day,
            "source_file": "f",
            "source_row": number,
            "load_id": "x",
        } | said
        cells = ", ".join(
            f"cast({'null' if row.get(name) is None else repr(str(row[name]))} as {sql_type}) as {name}"
            for name, sql_type in types.items()
        )
        selects.append(f"select {cells}")
    entry = storage.Entry("x", entity, source, day.isoformat(), "none", [], None, [])
    with duckdb.connect() as connection:
        storage.write_load(connection, " union all ".join(selects), entry, storage.load_path(raw, entity, source, day))


class Company:
    """A company folder of its own and a data folder whose raw layer is written to directly."""

    def __init__(self, root, company=None):
        shutil.copytree(company or DEMO, root / "company", ignore=shutil.ignore_patterns("harbour_pine", "__pycache__"))
        self.workspace = Workspace(company_path=str(root / "company"), data_path=str(root / "data"))

    def build(self, monkeypatch, *, layers=LAYERS, succeeds=True):
        """Bring the warehouse up to date, or its first layers; returns model -> how it was built."""
        write_rules(load_company(self.workspace.company_folder), self.workspace.company_folder, self.workspace.rules)
        self.workspace.expose_sources()
        monkeypatch.setenv("WHALECURVE_DATA", str(self.workspace.data))
        written = ["--no-write-json", "--target-path", str(self.workspace.data / "dbt")]
        for step in ("dbt_pools", "dbt_marts"):
            chosen = [f"fqn:whalecurve.{layer}" for layer in dbt.PASSES[step] if layer in layers]
            if not chosen:
                break
            arguments = ["run", "--quiet", *dbt.project_arguments(), *written, "--select", *chosen]
            result = dbt.invoke(arguments, manifest=dbt.parsed_manifest())
            assert result.success == succeeds, [(each.node.name, each.message) for each in result.result.results]
            if step == "dbt_pools" and layers == LAYERS:
                write_service_charges(self.workspace)
        with self.workspace.warehouse(read_only=True) as connection:
            return dict(connection.execute("select model, mode from builds.plans").fetchall())

    def content(self):
        """Table -> fingerprint of its rows."""
        with self.workspace.warehouse(read_only=True) as connection:
            tables = connection.execute(
                "select schema_name, table_name from duckdb_tables() where list_contains(?, schema_name)", [LAYERS]
            ).fetchall()
            return {f"{schema}.{name}": gate.fingerprint(connection, f'{schema}."{name}"') for schema, name in tables}

    def edit(self, name, old, new):
        """Replace a text in a file of the company."""
        path = self.workspace.company_folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def step(self, chance):
        """Something happens to the raw layer or the rules."""
        raw, kind = self.workspace.raw, chance.random()
        loads = sorted(raw.glob(f"*/*/*/{storage.LOAD_FILE}"))
        if kind < 0.08 and loads:
            storage.remove_load(chance.choice(loads))
        elif kind < 0.16:
            minutes = chance.randrange(1, 60)
            path = self.workspace.company_folder / "costing" / "time_equations.csv"
            lines = path.read_text().splitlines()
            path.write_text(
                "\n".join([*lines[:1], f"order_minutes,order,orders,,{minutes},minutes,2024-07-01,"]) + "\n"
            )
        else:
            invented_load(raw, chance.choice(ENTITIES), chance.choice(["one", "two"]), chance.choice(DAYS), chance)


def rebuilt(company, root, monkeypatch):
    """The content of a warehouse built in full from the same raw layer and rules."""
    other = Company(root, company.workspace.company_folder)
    shutil.copytree(company.workspace.raw, other.workspace.raw)
    other.build(monkeypatch)
    return other.content()


def differing(one, other):
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_bringing_up_to_date_ends_where_a_full_build_does(seed, tmp_path, monkeypatch):
    chance = random.Random(seed)
    company = Company(tmp_path / "run")
    for _ in range(40):
        company.step(chance)
    company.build(monkeypatch)
    modes = set()
    for round_ in range(4):
        for _ in range(chance.randrange(1, 12)):
            company.step(chance)
        if chance.random() < 0.5:  # the last day alone, as on most days
            day = DAYS[-1] + datetime.timedelta(days=round_ + 1)
            for entity in sorted(set(ENTITIES)):
                invented_load(company.workspace.raw, entity, "one", day, chance)
        modes |= set(company.build(monkeypatch).items())
    assert differing(company.content(), rebuilt(company, tmp_path / "rebuilt", monkeypatch)) == []
    assert {("stg_invoices", "whole"), ("fct_invoice_lines", "touched"), ("driver_quantities", "touched")} <= modes


# What must reach what, each on records of its own, so that a way left out shows


def invoice(number, **said):
    return {
        **{"invoice_id": number, "invoice_number": number, "document_type": "invoice", "invoice_date": "2026-04-15"},
        **{"net_amount": 100, "tax_amount": 0, "gross_amount": 100, "status": "approved", "customer_id": "A1", **said},
    }


def line(number, **said):
    return {"invoice_id": number, "line_number": 1, "quantity": 2, "line_net_amount": 100, "product_id": "P1", **said}


def entry(journal, **said):
    return {
        **{
            "journal_id": journal,
            "journal_line_number": 1,
            "effective_date": "2026-04-15",
            "gl_account_number": "660101",
        },
        **{"functional_amount": 500, **said},
    }


RATE = {"from_currency": "USD", "to_currency": "CNY", "rate_type": "spot", "rate_date": "2026-04-15"}
PRODUCT = {"product_id": "P1", "product_name": "P", "product_family": "F"}
FIRST, SECOND, LAST = DAYS[0], DAYS[1], DAYS[4]


def before(raw):
    """The warehouse has seen all this."""
    customers = [{"customer_id": name, "customer_name": name} for name in ("A1", "A2", "A3")]
    write_load(raw, "customer", "one", FIRST, customers)
    write_load(raw, "product", "one", FIRST, [{**PRODUCT, "standard_cost": 1}])
    write_load(raw, "fx_rate", "one", FIRST, [{**RATE, "rate": 7}])
    account = {"gl_account_number": "660101", "gl_account_name": "A", "account_type": "expense"}
    write_load(raw, "gl_account", "one", FIRST, [account])
    numbers = ("late", "deleted", "reloaded", "withdrawn", "moved", "costed")
    linked = (
        invoice("linked", customer_id="A2"),
        invoice("dollar", currency_code="USD"),
        invoice("named", customer_name="Nobody"),
    )
    write_load(raw, "invoice", "one", FIRST, [*map(invoice, numbers), *linked])
    write_load(raw, "invoice_line", "one", FIRST, [line(number) for number in (*numbers, "linked", "dollar")])
    write_load(raw, "gl_entry", "one", FIRST, [entry(name, restates="4") for name in ("stated", "left out", "seen")])
    write_load(
        raw,
        "payment",
        "one",
        FIRST,
        [{"payment_id": "Y", "payment_date": "2026-04-15", "amount": 5, "customer_id": "A2"}],
    )
    write_load(raw, "invoice", "one", SECOND, [invoice("reloaded", net_amount=200, gross_amount=200)])
    write_load(raw, "payment", "two", SECOND, [{"payment_id": "Z", "payment_date": "2026-05-29", "amount": 9}])
    write_load(raw, "invoice", "two", SECOND, [invoice("withdrawn", net_amount=300, gross_amount=300)])
    write_load(
        raw, "activity", "one", SECOND, [{"activity_id": "V", "activity_type": "visit", "activity_date": "2026-05-02"}]
    )


def after(company):
    """And then this happens."""
    raw = company.workspace.raw
    link = {"source_customer_key": "A2", "key_kind": "id", "customer_account_id": "K9", "valid_from": "2026-01-01"}
    write_load(raw, "customer_xref", "one", LAST, [link])
    write_load(raw, "product", "one", LAST, [{**PRODUCT, "standard_cost": 3}])
    write_load(raw, "fx_rate", "one", LAST, [{**RATE, "rate": 8}])
    write_load(
        raw,
        "invoice",
        "one",
        LAST,
        [{**invoice("deleted"), "is_deleted": True}, invoice("moved", invoice_date="2026-05-29")],
    )
    write_load(raw, "invoice_line", "one", LAST, [line("late", line_number=2)])
    unreadable = {**entry("seen"), "quarantine_reason": "unreadable"}
    write_load(raw, "gl_entry", "one", LAST, [entry("stated", functional_amount=700, restates="4"), unreadable])
    write_load(raw, "invoice", "one", SECOND, [invoice("reloaded", net_amount=250, gross_amount=250)])
    storage.remove_load(storage.load_path(raw, "invoice", "two", SECOND))
    storage.remove_load(storage.load_path(raw, "payment", "two", SECOND))
    write_load(
        raw, "activity", "one", DAYS[2], [{"activity_id": "V", "activity_type": "call", "activity_date": "2026-03-30"}]
    )
    company.edit("costing/capacities.csv", "order_entry,31000", "order_entry,30000")


@pytest.mark.slow
def test_every_kind_of_change_reaches_what_depends_on_it(tmp_path, monkeypatch):
    company = Company(tmp_path / "run")
    before(company.workspace.raw)
    company.build(monkeypatch)
    first = company.content()
    after(company)
    modes = company.build(monkeypatch)
    full = rebuilt(company, tmp_path / "rebuilt", monkeypatch)
    assert differing(company.content(), full) == []
    changed = differing(first, full)
    assert {"facts.fct_invoice_lines", "facts.fct_ledger", "facts.fct_activities", "pools.driver_quantities"} <= set(
        changed
    )
    assert modes["stg_invoices"] == modes["stg_payments"] == "whole", "a load was replaced, and one withdrawn"
    assert modes["driver_quantities"] == "touched"
    assert modes["stg_gl_entries"] == "touched", "only a later day was added"
    assert {modes[name] for name in ("fct_invoices", "fct_invoice_lines", "fct_ledger", "fct_orders")} == {"touched"}
    assert company.build(monkeypatch)["stg_invoices"] == "touched"
    assert differing(company.content(), full) == [], "nothing happened, and nothing changed"


@pytest.mark.slow
def test_a_run_that_dies_between_layers_or_within_a_model_leaves_nothing_out(tmp_path, monkeypatch):
    company = Company(tmp_path / "run")
    before(company.workspace.raw)
    company.build(monkeypatch)
    after(company)
    company.edit("costing/time_equations.csv", "order_minutes,order,orders,,11,", "order_minutes,order,orders,,12,")
    company.build(monkeypatch, layers=("staging",))
    write_load(company.workspace.raw, "invoice", "one", DAYS[5], [invoice("next")])
    with company.workspace.warehouse() as connection:  # what a model writes last cannot be written
        connection.execute("alter table builds.loads add column another integer")
        invoices = connection.execute("select invoice_id from staging.stg_invoices order by all").fetchall()
    company.build(monkeypatch, layers=("staging", "facts"), succeeds=False)
    with company.workspace.warehouse() as connection:
        assert connection.execute("select invoice_id from staging.stg_invoices order by all").fetchall() == invoices
        connection.execute("alter table builds.loads drop column another")
    modes = company.build(monkeypatch)
    assert modes["fct_invoices"] == "touched"
    assert differing(company.content(), rebuilt(company, tmp_path / "rebuilt", monkeypatch)) == []


@pytest.mark.slow
def test_other_code_or_another_table_is_built_in_full(tmp_path, monkeypatch):
    company = Company(tmp_path / "run")
    before(company.workspace.raw)
    company.build(monkeypatch, layers=("staging", "facts"))
    with company.workspace.warehouse() as connection:
        connection.execute("update builds.models set code = 'earlier' where model = 'stg_payments'")
        connection.execute("create or replace table staging.stg_activities as from staging.stg_activities limit 0")
    modes = company.build(monkeypatch, layers=("staging", "facts"))
    anew = {"stg_payments", "fct_payments", "stg_activities", "fct_activities"}
    assert {name for name, mode in modes.items() if mode == "full"} == anew
    company.edit("costing/pools.csv", "premises,Premises,", "premises,Premises and yard,")
    modes = company.build(monkeypatch, layers=("staging", "facts"))
    assert {name for name, mode in modes.items() if mode == "full"} == {"fct_ledger"}, "it reads the pools of the rules"
