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


def write_load(raw, entity, source, day, chance):
    """One load of a source's day: some rows, of which a few are deletions and a few cannot be read."""
    types = load_contract().raw_columns(entity)
    snapshot = chance.random() < 0.04
    selects = []
    for number in range(chance.randrange(1, 12)):
        row = records(entity, chance)
        row |= {
            "source_instance": source,
            "extract_date": day,
            "source_file": "f",
            "source_row": number,
            "load_id": "x",
        }
        row["is_deleted"] = chance.random() < 0.15
        if snapshot:
            row["restates"] = "*"
        elif entity in SCOPE and chance.random() < 0.5:
            row["restates"] = row[SCOPE[entity]]
        if chance.random() < 0.15:
            row["quarantine_reason"] = "unreadable"
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

    def build(self, monkeypatch, *options):
        """Bring the warehouse up to date; returns model -> how it was built."""
        write_rules(load_company(self.workspace.company_folder), self.workspace.company_folder, self.workspace.rules)
        self.workspace.expose_sources()
        monkeypatch.setenv("WHALECURVE_DATA", str(self.workspace.data))
        written = ["--no-write-json", "--target-path", str(self.workspace.data / "dbt")]
        for step in ("dbt_pools", "dbt_marts"):
            selected = ["--select", *(f"fqn:whalecurve.{layer}" for layer in dbt.PASSES[step])]
            arguments = ["run", "--quiet", *dbt.project_arguments(), *written, *selected, *options]
            result = dbt.invoke(arguments, manifest=dbt.parsed_manifest())
            assert result.success, [(each.node.name, each.message) for each in result.result.results if each.message]
            if step == "dbt_pools":
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
            write_load(raw, chance.choice(ENTITIES), chance.choice(["one", "two"]), chance.choice(DAYS), chance)


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
            for entity in set(ENTITIES):
                write_load(company.workspace.raw, entity, "one", day, chance)
        modes |= set(company.build(monkeypatch).items())
    assert differing(company.content(), rebuilt(company, tmp_path / "rebuilt", monkeypatch)) == []
    assert {("stg_invoices", "whole"), ("fct_invoice_lines", "touched"), ("driver_quantities", "touched")} <= modes
