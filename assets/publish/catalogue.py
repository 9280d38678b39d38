"""The data catalogue: one page that says of every table of a release what it is, how it was made and what was checked of it.

Everything stands somewhere already: grain and columns in dbt's YAML, questions in `tables`, rows and keys in the release's
manifest, checks in the suites and on the release's data_quality, lineage in dbt and in the assets. Belongs here: bringing it
together, the page, and the Data Docs of Great Expectations. Not here: running dbt for its docs (pipelines/catalogue.py).
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from assets import gate
from assets.publish.lineage import IN_PYTHON
from assets.publish.release import DATA_QUALITY, DELIVERIES, Release
from assets.publish.tables import PUBLISHED, QUESTIONS

HERE = Path(__file__).parent

INDEX = "index.html"
DBT_PAGE = "dbt.html"
DATA_DOCS = "data_docs"
DATA_DOCS_PAGE = f"{DATA_DOCS}/{INDEX}"

MADE_WITH_THE_RELEASE = {name: f"release.{name}" for name in (DATA_QUALITY, DELIVERIES)}
"""Tables that publishing adds; dbt describes them as a source."""


@dataclass(frozen=True)
class Column:
    """A column as the release has it, and what dbt's YAML says of it."""

    name: str
    type: str
    description: str
    is_key: bool


@dataclass(frozen=True)
class Check:
    """One check of a table. `passed` is None when the release has no result of it; `observed`, what it found."""

    name: str
    stage: str
    severity: str
    why: str
    passed: bool | None = None
    observed: str = ""
    approved_by: str = ""


@dataclass(frozen=True)
class Table:
    """What the catalogue says of one table. `made_from` are the relations (schema.table) it reads directly, each with the
    published table it is, or an empty text; `dbt_page` is its place in dbt's docs."""

    name: str
    relation: str
    description: str
    question: str
    key: tuple[str, ...]
    rows: int
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]
    made_from: tuple[tuple[str, str], ...]
    dbt_page: str
    has_data_docs: bool = field(default=False)

    @property
    def failed(self) -> int:
        """Checks that said no."""
        return sum(check.passed is False for check in self.checks)


def tables(
    release: Mapping[str, Any],
    quality: Iterable[Mapping[str, Any]],
    dbt: Mapping[str, Any],
    suites: Mapping[str, gate.Suite],
    *,
    validated: Iterable[str] = (),
) -> list[Table]:
    """The tables of a release, by name.

    `release` is its manifest, `quality` the rows of its data_quality, `dbt` dbt's manifest; `validated` names the tables whose
    results are in the Data Docs. What nobody describes has an empty description; a test looks for that.
    """
    relations = {**PUBLISHED, **MADE_WITH_THE_RELEASE}
    names = {relation: name for name, relation in relations.items()}
    nodes = _nodes(dbt)
    parents = _parents(dbt)
    tests = _tests(dbt)
    recorded = defaultdict(list)
    for row in quality:
        recorded[row["table_name"]].append(row)
    with_data_docs = frozenset(validated)
    found = []
    for name, described in sorted(release["tables"].items()):
        relation = relations.get(name, name)
        unique_id, node = nodes.get(relation, ("", {}))
        said = {column: entry["description"] for column, entry in node.get("columns", {}).items()}
        kind = unique_id.partition(".")[0]
        found.append(
            Table(
                name=name,
                relation=relation,
                description=" ".join(node.get("description", "").split()),
                question=QUESTIONS.get(name, ""),
                key=tuple(described["key"]),
                rows=int(described["rows"]),
                columns=tuple(
                    Column(each["name"], each["type"], said.get(each["name"], ""), each["name"] in described["key"])
                    for each in described["columns"]
                ),
                checks=tuple(_checks(recorded[name], suites.get(name), tests.get(relation, {}))),
                made_from=tuple((parent, names.get(parent, "")) for parent in sorted(parents.get(relation, ()))),
                dbt_page=f"{DBT_PAGE}#!/{kind}/{unique_id}" if unique_id else DBT_PAGE,
                has_data_docs=name in with_data_docs,
            )
        )
    return found


def page(release: Release, found: list[Table]) -> str:
    """The catalogue as one HTML page that needs no network; every value is escaped."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("catalogue.html.j2").render(
        release=release,
        company=release.manifest.get("company", ""),
        contract=release.manifest.get("contract", ""),
        tables=found,
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        dbt_page=DBT_PAGE,
        data_docs_page=DATA_DOCS_PAGE,
        data_docs=DATA_DOCS,
    )


def write_data_docs(folder: Path, release: Release, suites: Mapping[str, gate.Suite]) -> list[str]:
    """Great Expectations' Data Docs of the suites below `folder`, and the tables whose results are in them.

    Tables of at most `gate.FRAME_ROWS` rows are checked again to show the results; of larger ones, which the gate checks
    inside DuckDB, the suite alone is there. What counts is data_quality.
    """
    gx = gate.great_expectations()
    shown = []
    with tempfile.TemporaryDirectory() as aside, duckdb.connect() as connection:
        context = gx.get_context(mode="file", project_root_dir=aside)
        context.variables.progress_bars = {"globally": False}
        # One asset for all: every further one would be written with all before it.
        batch = (
            context.data_sources.add_pandas("release")
            .add_dataframe_asset("table")
            .add_batch_definition_whole_dataframe("rows")
        )
        for name, suite in sorted(suites.items()):
            written = context.suites.add(gx.ExpectationSuite(name=name, expectations=_with_notes(suite)))
            rows = release.manifest["tables"].get(name, {}).get("rows")
            if rows is None or rows > gate.FRAME_ROWS:
                continue
            definition = context.validation_definitions.add(
                gx.ValidationDefinition(name=name, data=batch, suite=written)
            )
            table = connection.read_parquet(str(release.path / f"{name}.parquet")).df()
            definition.run(batch_parameters={"dataframe": table}, run_id=gx.RunIdentifier(run_name=release.release_id))
            shown.append(name)
        context.build_data_docs()
        (built,) = Path(aside).glob("*/uncommitted/data_docs/local_site")
        shutil.copytree(built, folder / DATA_DOCS)
    return shown


def read_quality(release: Release) -> list[dict[str, Any]]:
    """The rows of the release's data_quality."""
    with duckdb.connect() as connection:
        found = connection.read_parquet(str(release.path / f"{DATA_QUALITY}.parquet"))
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _with_notes(suite: gate.Suite) -> list[dict[str, Any]]:
    return [
        {
            "type": each.type,
            "kwargs": dict(each.kwargs),
            "meta": {
                "check_name": each.check_name,
                "notes": {"format": "string", "content": [f"{each.severity}: {each.why}"]},
            },
        }
        for each in suite.expectations
    ]


def _relation(unique_id: str, node: Mapping[str, Any]) -> str:
    return f"{node['source_name' if unique_id.startswith('source.') else 'schema']}.{node['name']}"


def _nodes(dbt: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Relation -> unique id and node of the model or source."""
    models = {key: node for key, node in dbt["nodes"].items() if node["resource_type"] == "model"}
    return {_relation(key, node): (key, node) for key, node in {**dbt["sources"], **models}.items()}


def _parents(dbt: Mapping[str, Any]) -> dict[str, set[str]]:
    """Relation -> the relations it is made from directly, by dbt and by the assets written in Python."""
    parents: dict[str, set[str]] = defaultdict(set)
    every = {**dbt["nodes"], **dbt["sources"]}
    for key, node in dbt["nodes"].items():
        if node["resource_type"] == "model":
            parents[_relation(key, node)] |= {
                _relation(parent, every[parent]) for parent in node["depends_on"]["nodes"]
            }
    for definition in IN_PYTHON:
        for spec in definition.specs:
            parents[".".join(spec.key.path)] |= {".".join(each.asset_key.path) for each in spec.deps}
    return parents


def _tests(dbt: Mapping[str, Any]) -> dict[str, dict[str, Check]]:
    """Relation -> the dbt tests filed under it, by name."""
    found: dict[str, dict[str, Check]] = defaultdict(dict)
    for node in dbt["nodes"].values():
        models = [parent for parent in node["depends_on"]["nodes"] if parent.startswith("model.")]
        if node["resource_type"] != "test" or not models:
            continue
        under = node.get("attached_node") or models[-1]
        severity = "warn" if str(node["config"]["severity"]).lower() == "warn" else "error"
        check = Check(node["name"], "dbt", severity, " ".join((node.get("description") or "").split()))
        found[_relation(under, dbt["nodes"][under])][node["name"]] = check
    return found


def _checks(recorded: Iterable[Mapping[str, Any]], suite: gate.Suite | None, tests: Mapping[str, Check]) -> list[Check]:
    """What the suite and dbt demand and what the release recorded, with the result where there is one."""
    declared = {("dbt", name): check for name, check in tests.items()}
    for each in suite.expectations if suite else ():
        declared[gate.EXPECTATIONS, each.check_name] = Check(
            each.check_name, gate.EXPECTATIONS, each.severity, each.why
        )
    for row in recorded:
        place = (row["stage"], row["check_name"])
        why = declared[place].why if place in declared else ""
        declared[place] = Check(
            row["check_name"],
            row["stage"],
            row["severity"],
            why or row["detail"],
            bool(row["passed"]),
            row["observed"],
            row.get("approved_by") or "",
        )
    return [declared[place] for place in sorted(declared)]
