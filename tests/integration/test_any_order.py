"""Order does not matter: dates in any order, reloads, repeats and changed deliveries end in the same warehouse as one
full rebuild over the same files.

The warehouse is a function of the raw layer, so many sequences compare that, and a few are taken through dbt.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.util
import random
import shutil
import sys

import duckdb
import pytest
from command import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import gate
from assets.company import load_company
from assets.costing.rule_tables import write_rules
from assets.costing.service_charges import write_service_charges
from assets.errors import DeliveryError
from assets.ingest import engine, storage
from assets.ingest.dialect import Dialect
from assets.ingest.raw import source_dialects
from pipelines import dbt
from pipelines.resources import Workspace


def load(landing, raw, dialects, dates):
    """Read the dates as a run does: entity by entity, each source and date."""
    entities = sorted({entity for dialect in dialects.values() for entity in dialect.entities})
    for entity in entities:
        with engine.reading_connection() as connection:
            for source, dialect in dialects.items():
                if entity in dialect.entities:
                    for date in dates:
                        engine.load_delivery(connection, landing, raw, source, dialect, entity, date)


def raw_content(raw):
    """Path of every load -> its registry entry and its rows; and nothing else may lie there."""
    content = {}
    with duckdb.connect() as connection:
        for path in sorted(path for path in raw.rglob("*") if path.is_file()):
            found = storage.read_registry(connection, path)
            assert found is not None, f"{path} is no load"
            rows = connection.execute(f"select * from read_parquet('{path}', hive_partitioning = false)").fetchall()
            content[path.relative_to(raw).as_posix()] = (dataclasses.asdict(found), rows)
    return content


# Many sequences, on two small sources

DATES = tuple(datetime.date(2026, 6, 1) + datetime.timedelta(days=number) for number in range(4))

BANK = Dialect.model_validate(
    {
        "dialect": "bank",
        "entities": {
            "payment": {
                "files": "pay*.csv",
                "where": "Kind = 'in'",
                "columns": {
                    "payment_id": {"from": "Id"},
                    "payment_date": {"from": "Date"},
                    "amount": {"from": "Amount"},
                    "customer_id": {"from": "Who"},
                },
            }
        },
    }
)
SHOP = Dialect.model_validate(
    {
        "dialect": "shop",
        "read": {"format": "jsonl"},
        "entities": {
            "payment": {
                "files": "money*.jsonl",
                "deleted": "record ->> '$.gone' = 'true'",
                "columns": {
                    "payment_id": {"from": "id"},
                    "payment_date": {"from": "at"},
                    "amount": {"from": "amount"},
                    "customer_id": {"from": "who"},
                },
            },
            "product": {
                "files": "things.jsonl",
                "columns": {"product_id": {"from": "sku"}, "product_name": {"from": "sku"}},
            },
        },
    }
)
DIALECTS = {"bank": BANK, "shop": SHOP}

HEADER = "Id,Date,Amount,Who,Kind\n"
VERSIONS = {
    "bank": (
        {"pay.csv": HEADER + "P1,2026-05-31,10.00,C1,in\nP2,2026-05-31,20.00,C2,in\nF1,2026-05-31,1.00,,out\n"},
        {"pay.csv": HEADER + "P1,2026-05-31,11.00,C1,in\nP2,2026-05-31,unknown,C2,in\n"},
        {"pay1.csv": HEADER + "P1,2026-05-31,10.00,C1,in\n", "pay2.csv": HEADER + "P2,2026-05-31,20.00,C2,in\nP3\n"},
        {"pay.csv": HEADER},
        {},
        {"pay.csv": "Id,Date,Sum,Who,Kind\nP1,2026-05-31,10.00,C1,in\n"},
    ),
    "shop": (
        {
            "money.jsonl": '{"id": "S1", "at": "2026-05-31", "amount": 5, "who": "C1"}\n',
            "things.jsonl": '{"sku": "X"}\n',
        },
        {"money.jsonl": '{"id": "S1", "at": "2026-05-31", "amount": 5, "who": "C1", "gone": true}\n{"id": \n'},
        {"things.jsonl": '{"sku": "X"}\n{"sku": "Y"}\n'},
    ),
}
"""What a source may deliver for a date. The empty one takes the day back, and the last of the bank's cannot be read."""

UNREADABLE = ("bank", 5)

STEPS = st.one_of(
    st.tuples(st.just("bank"), st.sampled_from(DATES), st.integers(0, len(VERSIONS["bank"]) - 1)),
    st.tuples(st.just("shop"), st.sampled_from(DATES), st.integers(0, len(VERSIONS["shop"]) - 1)),
    st.tuples(st.just("run"), st.lists(st.sampled_from(DATES), min_size=1, max_size=3, unique=True)),
)


def write(landing, source, date, version):
    folder = landing / source / date.isoformat()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in VERSIONS[source][version].items():
        (folder / name).write_text(text)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEPS, min_size=4, max_size=14), last=st.permutations(DATES))
def test_any_sequence_of_deliveries_and_runs_ends_in_the_raw_layer_of_one_rebuild(steps, last, tmp_path_factory):
    root = tmp_path_factory.mktemp("sequence")
    landing, delivered, stale = root / "landing", {}, set()
    for what, *arguments in steps:
        if what == "run":
            (dates,) = arguments
            try:
                load(landing, root / "raw", DIALECTS, dates)
                stale.difference_update(dates)
            except DeliveryError:
                assert any(delivered.get(("bank", date)) == UNREADABLE[1] for date in dates)
        else:
            date, version = arguments
            write(landing, what, date, version)
            delivered[what, date] = version
            stale.add(date)
    for (source, date), version in delivered.items():
        if (source, version) == UNREADABLE:
            write(landing, source, date, 0)
            stale.add(date)
    for date in last:
        if date in stale:
            load(landing, root / "raw", DIALECTS, [date])

    load(landing, root / "rebuilt", DIALECTS, DATES)
    assert raw_content(root / "raw") == raw_content(root / "rebuilt")


# A few sequences, on the demo company and through dbt

DEMO = PROJECT / "companies" / "demo"


@pytest.fixture(scope="module")
def demo_landing(tmp_path_factory):
    """The demo's deliveries of four dates: the full extract and three days of changes, late and corrected ones too."""
    landing = tmp_path_factory.mktemp("demo") / "landing"
    spec = importlib.util.spec_from_file_location("write_extracts", DEMO / "write_extracts.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.write_extracts(landing, seed=7, customers=40, invoice_lines=1500, progress=lambda text: None)
    dates = ("2026-05-31", "2026-06-09", "2026-06-18", "2026-06-30")
    for folder in landing.glob("*/*"):
        if folder.name not in dates:
            shutil.rmtree(folder)
    return landing


class Warehouse:
    """The demo company on a data folder, run at the level of functions."""

    def __init__(self, data):
        self.workspace = Workspace(company_path=str(DEMO), data_path=str(data))
        self.dialects = source_dialects(self.workspace.company(), DEMO)

    def load(self, *dates):
        days = [datetime.date.fromisoformat(date) for date in dates]
        load(self.workspace.landing, self.workspace.raw, self.dialects, days)

    def build(self, monkeypatch):
        write_rules(load_company(DEMO), DEMO, self.workspace.rules)
        self.workspace.expose_sources()
        monkeypatch.setenv("WHALECURVE_DATA", str(self.workspace.data))
        written = ["--no-write-json", "--target-path", str(self.workspace.data / "dbt")]
        for step in ("dbt_pools", "dbt_marts"):
            selected = [f"fqn:whalecurve.{layer}" for layer in dbt.PASSES[step]]
            arguments = ["run", "--quiet", *dbt.project_arguments(), *written, "--select", *selected]
            assert dbt.invoke(arguments, manifest=dbt.parsed_manifest()).success
            if step == "dbt_pools":
                write_service_charges(self.workspace)

    def fingerprints(self):
        with self.workspace.warehouse(read_only=True) as connection:
            tables = connection.execute(
                "select table_schema, table_name from information_schema.tables where table_schema in "
                "('raw', 'rules', 'staging', 'facts', 'credit', 'pools', 'service_pools', 'costing', 'marts')"
            ).fetchall()
            found = {f"{schema}.{name}": gate.fingerprint(connection, f'{schema}."{name}"') for schema, name in tables}
            rows = {name: int(content.partition("-")[0]) for name, content in found.items()}
        for table in (
            "raw.gl_entry",
            "facts.fct_invoice_lines",
            "costing.allocated_costs",
            "marts.customer_cost_lines",
        ):
            assert rows[table] > 100, f"{table} holds too little to prove anything"
        return found


def spoil(file, chance):
    """Another version of a delivered file: a line lost, a line twice, or the file not there at all."""
    lines = file.read_bytes().splitlines(keepends=True)
    kind = chance.choice(["lost", "twice", "absent"]) if len(lines) > 2 else "absent"
    if kind == "absent":
        file.unlink()
    elif kind == "lost":
        del lines[chance.randrange(1, len(lines))]
    else:
        lines.append(lines[chance.randrange(1, len(lines))])
    if kind != "absent":
        file.write_bytes(b"".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_warehouse_after_any_sequence_is_that_of_one_rebuild(seed, demo_landing, tmp_path, monkeypatch):
    chance = random.Random(seed)
    run, rebuilt = Warehouse(tmp_path / "run"), Warehouse(tmp_path / "rebuilt")
    shutil.copytree(demo_landing, run.workspace.landing)
    dates = sorted({folder.name for folder in demo_landing.glob("*/*")})
    files = sorted(path for path in demo_landing.glob("*/*/*") if path.is_file())

    order = chance.sample(dates, len(dates)) + chance.choices(dates, k=2)
    for position, date in enumerate(order):
        run.load(date)
        redelivered = chance.choice([path for path in files if path.parent.name in order[: position + 1]])
        here = run.workspace.landing / redelivered.relative_to(demo_landing)
        if here.exists():
            spoil(here, chance)
        if chance.random() < 0.5:  # the source corrects itself
            shutil.copyfile(redelivered, here)
        if chance.random() < 0.5:
            run.load(redelivered.parent.name)
        if position == 1:  # on half of the dates: what is built later has to know of the others
            run.build(monkeypatch)
    for date in chance.sample(dates, len(dates)):
        run.load(date)
    run.build(monkeypatch)

    shutil.copytree(run.workspace.landing, rebuilt.workspace.landing)
    rebuilt.load(*dates)
    rebuilt.build(monkeypatch)
    assert run.fingerprints() == rebuilt.fingerprints()
    differs = [path for path in files if not same(path, run.workspace.landing / path.relative_to(demo_landing))]
    assert differs, "the sequence has to end on files that are not the first ones"


def same(one, other):
    return other.exists() and one.read_bytes() == other.read_bytes()
