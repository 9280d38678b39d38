"""The reference of docs/reference as the code has it: ``python -m pipelines.reference`` (or ``make reference``).

Commands come from the parser, settings from the model of company.yml, tables from the contract and dbt's YAML, checks from the
suites, identities and comparisons, alerts and variables from the modules that have them. A test fails when the pages on disk
differ from what this module would write. Not here: what a person has to explain (docs/how-to, docs/runbook.md).
"""

from __future__ import annotations

import argparse
import datetime
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from assets import company, gate
from assets.analytics.kpi_catalogue import KPIS
from assets.publish import contract
from assets.publish.catalogue import MADE_WITH_THE_RELEASE
from assets.publish.tables import PUBLISHED, QUESTIONS
from assets.yaml_files import read_yaml
from pipelines import alerts, cli
from pipelines.resources import DBT_PROJECT, EXPECTATIONS, PROJECT_ROOT, VARIABLES

FOLDER = PROJECT_ROOT / "docs" / "reference"
RUNBOOK = "../runbook.md"
NOTICE = "<!-- Written by `python -m pipelines.reference`: change the code it is read from, then run it. -->\n\n"


def pages() -> dict[str, str]:
    """File name -> text of every page, as it should be on disk."""
    written = {
        "commands.md": commands(),
        "company.md": settings(),
        "tables.md": tables(),
        "checks.md": checks(),
        "alerts.md": told(),
        "environment.md": environment(),
    }
    return {name: f"{NOTICE}{text.rstrip()}\n" for name, text in written.items()}


def write(folder: Path = FOLDER) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


# Commands


def commands() -> str:
    """Every command with its arguments, from the parser."""
    said = [
        "# Commands",
        "Exit status: 0 done, 1 the data or the gate said no, with the reason, 2 wrong call. Every command takes "
        "`--company DIR`, `--data DIR` and `--help`.",
    ]
    shared = {"--help", "--company", "--data"}
    for name, parser in sorted(_commands().items()):
        rows = [
            (f"`{_argument(action)}`", _escaped(action.help or ""))
            for action in parser._actions
            if not shared & set(action.option_strings)
        ]
        said += [
            f"## whalecurve {name}",
            parser.description or "",
            *([_table(("argument", "is"), rows)] if rows else []),
        ]
    return _page(said)


def _commands() -> Mapping[str, argparse.ArgumentParser]:
    (chosen,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return typing.cast(Mapping[str, argparse.ArgumentParser], chosen.choices)


def _argument(action: argparse.Action) -> str:
    """`--date DATE`, `FILE ...`, `[release]`: how the argument is written."""
    values = (
        f"{{{','.join(map(str, action.choices))}}}" if action.choices else str(action.metavar or action.dest).upper()
    )
    if action.nargs == "+":
        values += " ..."
    if not action.option_strings:
        return f"[{values}]" if action.nargs == "?" else values
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {values}"


# Settings


def settings() -> str:
    """Every key of company.yml, from its model."""
    said = [
        "# company.yml",
        "What one company says of itself, beside `dialects/`, `costing/`, `customers/` and `playbook.yml` in its folder. "
        "A key that is not listed here is refused. `<name>` is a name of yours. "
        "[The demo company's](../../companies/demo/company.yml) is an example.",
    ]
    places: dict[type[BaseModel], list[str]] = {}
    for path, model in _models(company.Company, ""):
        places.setdefault(model, []).append(path)
    for model, paths in places.items():
        # A comparison of the gate has its defaults where it stands, in the table of `gate`.
        above = "as above" if issubclass(model, company.GateCheck) else ""
        rows = [
            (
                f"`{field.alias or name}`",
                _escaped(_kind(field.annotation, field)),
                above or _escaped(_default(field)),
                _escaped(_described(model, name, field)),
            )
            for name, field in model.model_fields.items()
        ]
        title = ", ".join(f"`{path}`" for path in paths) if paths != [""] else "The file"
        meaning = " ".join((model.__doc__ or "").split())
        said += [f"## {title}", _escaped(meaning), _table(("key", "value", "default", "means"), rows)]
    figures = [(f"`{name}`", figure.unit, figure.direction, _escaped(figure.formula)) for name, figure in KPIS.items()]
    return _page([*said, "## Key figures of `kpis`", _table(("key figure", "unit", "better", "is"), figures)])


def _described(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    if not field.description:
        raise ValueError(f"{model.__name__}.{name} has no description: write one at the field.")
    return field.description


def _models(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and all below it, each with the path of its keys; of a choice between models, every one."""
    yield path, model
    for name, field in model.model_fields.items():
        key = field.alias or name
        for below, is_named in _below(field.annotation):
            where = f"{path}.{key}".strip(".") + (".<name>" if is_named else "")
            kind = next((each for each in ("kind", "connector") if each in below.model_fields), None)
            if kind:
                where += f" ({kind}: {', '.join(get_args(below.model_fields[kind].annotation))})"
            yield from _models(below, where)


def _below(annotation: Any, *, is_named: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models in a type, and whether they stand below names of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, is_named
        return
    origin = get_origin(annotation)
    for part in get_args(annotation)[:1] if origin is Annotated else get_args(annotation):
        yield from _below(part, is_named=is_named or origin is dict)


WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    datetime.date: "date",
    datetime.time: 'time, as "05:00"',
    datetime.timedelta: "duration",
}


def _kind(annotation: Any, field: FieldInfo | None = None) -> str:
    """A type in words, with the bounds of the field."""
    bounds = _bounds(field) if field else ""
    if annotation in WORDS:
        return WORDS[annotation] + bounds
    if annotation is company.Name:
        return "name"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(parts[0]) + bounds
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in parts)
    if origin in (Union, types.UnionType):
        said = dict.fromkeys(_kind(part) for part in parts if part is not type(None))
        return " or ".join(said) + bounds
    if origin is tuple:
        return f"list of {_kind(parts[0]).replace(' or ', ', ')}"
    if origin is dict:
        return f"by name: {_kind(parts[1])}"
    return "keys, below"


def _bounds(field: FieldInfo) -> str:
    """`, 0 to 1`, `, above 0`: what the field allows."""
    found = {
        name: getattr(each, name)
        for each in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(each, name, None) is not None
    }
    low = f"above {found['gt']}" if "gt" in found else f"{found['ge']}" if "ge" in found else ""
    high = f"below {found['lt']}" if "lt" in found else f"{found['le']}" if "le" in found else ""
    if low and high:
        return f", {low} to {high}"
    return f", {low}{' or more' if 'ge' in found else ''}" if low else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, BaseModel):
        given = value.model_dump() if isinstance(value, company.GateCheck) else {}
        return ", ".join(f"{name} {each}" for name, each in given.items())
    if isinstance(value, datetime.time):
        return f"{value:%H:%M}"
    if isinstance(value, datetime.timedelta):
        return f"{value // datetime.timedelta(hours=1)}h"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


# Published tables


def tables() -> str:
    """Every table of a release with its key and columns, from the contract and dbt's YAML."""
    declared = contract.declared()
    said = [
        "# Published tables",
        f"Contract {declared['version']}: {len(declared['tables'])} tables of `releases/current/`, each as "
        "`<table>.parquet` and in `whalecurve.duckdb`. A breaking change raises the contract's first number and stands in the "
        "[changelog](../../CHANGELOG.md). Money is in base currency unless the column says otherwise. Columns of the key are "
        "**bold**. `whalecurve docs` writes the same for a release, with rows, checks and lineage.",
        ", ".join(f"[{name}](#{name})" for name in sorted(declared["tables"])),
    ]
    described = _dbt_descriptions()
    for name, table in sorted(declared["tables"].items()):
        node = described[name]
        columns = {column["name"]: " ".join(column["description"].split()) for column in node["columns"]}
        rows = [
            (f"**`{column}`**" if column in table["key"] else f"`{column}`", kind, _escaped(columns[column]))
            for column, kind in table["columns"].items()
        ]
        said += [
            f"## {name}",
            f"*{QUESTIONS[name][0].upper()}{QUESTIONS[name][1:]}* {_escaped(' '.join(node['description'].split()))}",
            _table(("column", "type", "is"), rows),
        ]
    return _page(said)


def _dbt_descriptions() -> dict[str, Any]:
    """Published table -> what dbt's YAML says of its model or source."""
    relations = {relation: name for name, relation in {**PUBLISHED, **MADE_WITH_THE_RELEASE}.items()}
    found: dict[str, Any] = {}
    for path in sorted((DBT_PROJECT / "models").rglob("*.yml")):
        read = read_yaml(path)
        said = [(path.parent.name, model) for model in read.get("models", [])]
        said += [
            (source.get("schema", source["name"]), table)
            for source in read.get("sources", [])
            for table in source["tables"]
        ]
        found |= {
            relations[f"{schema}.{one['name']}"]: one for schema, one in said if f"{schema}.{one['name']}" in relations
        }
    return found


# Checks


def checks() -> str:
    """Every check that may stop a release or be shown with it, except dbt's, which stand beside their models."""
    suites = gate.load_suites(EXPECTATIONS)
    reconciled = [
        (f"`{name}`", "error, always" if name in company.ALWAYS_BLOCKING else "error, or as company.yml says", meaning)
        for name, meaning in company.RECONCILIATION_CHECKS.items()
    ]
    compared = [
        (f"`{name}`", _default(field), _escaped(field.description or ""))
        for name, field in company.Gate.model_fields.items()
    ]
    identities = [
        (f"`{name}`", ", ".join(f"`{table}`" for table in read), _escaped(meaning))
        for name, read, meaning, _ in gate.IDENTITIES
    ]
    said = [
        "# Checks",
        "A check of severity `error` stops the release, one that warns is shown with it. All results are in the published table "
        f"`data_quality`. What to do about one that says no: [runbook]({RUNBOOK}#blocked_release).",
        "## Reconciliation",
        "Per month, in `reconciliation`; above the tolerance the check `status__no_failure` of that table fails. Severity and "
        "tolerance: `reconciliation:` in `company.yml`.",
        _table(("check", "severity", "has to be so"), reconciled),
        "## Comparisons with what came before",
        "Stages `freshness`, `volume` and `drift`; `gate:` in `company.yml` sets severity and limits. The first four are made "
        "of each source, as `late_deliveries__<source>`.",
        _table(("check", "default", "asks"), compared),
        "## Identities between tables",
        "Stage `consistency`, severity `error`: they bind the tables of one release together.",
        _table(("check", "tables", "has to be so"), identities),
        "## dbt tests",
        f"Stage `dbt`: keys, relationships and conservation of money, beside the models in `dbt_project/models` and in "
        f"`dbt_project/tests`. Those named `warn_...` warn: {', '.join(f'`{name}`' for name in _warning_tests())}.",
        "## Expectations",
        f"Stage `expectations`: {sum(len(suite.expectations) for suite in suites.values())} checks in "
        "`expectations/<table>.json`. *May be approved* marks those that `whalecurve approve` may "
        "let pass; comparisons may be approved as well.",
    ]
    for name, suite in sorted(suites.items()):
        rows = [
            (
                f"`{each.check_name}`",
                each.severity + (", may be approved" if each.is_approvable else ""),
                _escaped(each.why),
            )
            for each in suite.expectations
        ]
        said += [f"### {name}", _table(("check", "severity", "why"), rows)]
    return _page(said)


def _warning_tests() -> list[str]:
    return sorted(path.stem for path in (DBT_PROJECT / "tests").glob("warn_*.sql"))


# Alerts and environment


def told() -> str:
    """What people are told of, in both languages, and what to do."""
    said = [
        "# Alerts",
        "`alerts:` in [company.yml](company.md) says who is told, how and in which language; addresses come from the "
        "[environment](environment.md). An alert holds names of steps, checks, tables, sources and features, dates and the run's "
        "id, and nothing a step said. These are examples.",
    ]
    for event in company.ALERTS:
        example = EXAMPLES[event]
        both = "\n\n".join(f"> **{example.subject(each)}**\\\n> {example.text(each)}" for each in ("en", "zh"))
        said += [f"## [{event}]({RUNBOOK}#{event})", both]
    return _page(said)


EXAMPLES = {
    "failed_run": alerts.Alert("failed_run", "tea", "2026-06-30", ("raw.invoice",), "5d0c9a7b"),
    "blocked_release": alerts.Alert(
        "blocked_release", "tea", "2026-06-30", ("marts.reconciliation expectations",), "5d0c9a7b"
    ),
    "late_data": alerts.Alert("late_data", "tea", "2026-06-30", ("till",), until="09:00 Europe/Berlin"),
    "drift": alerts.Alert("drift", "tea", "2026-06-30", ("frequency", "days_since_last_purchase"), "5d0c9a7b"),
}


def environment() -> str:
    """Every variable of the environment."""
    rows = [(f"`{name}`", _escaped(meaning)) for name, meaning in VARIABLES.items()]
    return _page(
        [
            "# Environment",
            "The environment chooses folders and holds all secrets; nothing secret stands in `company.yml`, and none is logged "
            "or stored. `<SOURCE>` and `<NAME>` are the names of `company.yml` in capitals. `whalecurve doctor` says which are "
            "missing.",
            _table(("variable", "is"), rows),
        ]
    )


# Markdown


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in lines)


def _escaped(text: str) -> str:
    """Text in a cell of a table: no bar ends it, and no <name> is taken for HTML (in code it is not)."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(parts)


if __name__ == "__main__":
    write()
