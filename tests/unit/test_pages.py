"""The pages people read beside the code: what they name exists, what they link to is there, and what they owe is in them.

That the commands print what is shown is asked in tests/e2e/test_docs.py and test_readme.py.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from command import PROJECT

from assets.company import ALERTS, RECONCILIATION_CHECKS, Gate, load_company
from pipelines import alerts, cli, doctor

DOCS = PROJECT / "docs"
READMES = sorted(PROJECT.glob("README*.md"))
PAGES = [*READMES, *sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "reference")]
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^ *```([\w-]*)\n(.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)
KINDS = {"console", "shell-session", "sh", "python", "sql", "text", "yaml", "csv", ""}
FOREIGN = {"git", "cd", "make", ".", "export", "useradd", "install", "cp", "systemctl", "spark-submit", "pip"}
"""What a block `sh` may call that the tests do not run."""

(CHOSEN,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
OPTIONS = {
    name: {option for action in parser._actions for option in action.option_strings}
    for name, parser in CHOSEN.choices.items()
}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def headings(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}


@pages
def test_every_link_leads_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pages
def test_every_command_it_names_is_one(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"whalecurve ([a-z]+(?:-[a-z]+)*)((?: [^`\n#]*)?)", text)
    for name, rest in named:
        if name in OPTIONS:
            unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)) - OPTIONS[name]
            assert not unknown, f"whalecurve {name} has no {', '.join(unknown)}"
        else:
            assert f"`whalecurve {name}" not in text, f"there is no whalecurve {name}"


@pages
def test_every_line_of_a_shell_block_calls_something_that_is_there(page):
    targets = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for kind, body in FENCE.findall(page.read_text(encoding="utf-8")):
        assert kind in KINDS, kind
        if kind != "sh":
            continue
        for line in body.replace("\\\n", " ").splitlines():
            for call in re.split(r"&&", line):
                words = shlex.split(call, comments=True)
                if words and words[0] == "whalecurve":
                    cli._parser().parse_args(words[1:])
                elif words:
                    assert words[0] in FOREIGN, call
                    if words[0] == "make":
                        assert f"make {words[-1]} " in targets, call


@pages
def test_its_pieces_of_company_yml_are_understood(page, tmp_path):
    """Each block `yaml` is a piece of company.yml, or all of it."""
    base = {"company": "tea", "name": "tea", "base_currency": "EUR", "first_business_date": "2026-01-31"}
    for kind, body in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind != "yaml":
            continue
        keys = set(re.findall(r"^(\w+):", body, flags=re.MULTILINE))
        lines = [f"{key}: {value}" for key, value in base.items() if key not in keys]
        sources = [] if "sources" in keys else ["sources: {till: {dialect: till}}"]
        (tmp_path / "company.yml").write_text("\n".join([*lines, *sources, body]), encoding="utf-8")
        load_company(tmp_path)


def test_every_alert_has_its_entry_and_names_it():
    assert alerts.RUNBOOK == "docs/runbook.md"
    for event in ALERTS:
        _, _, entry = RUNBOOK.partition(f"\n## {event}\n")
        entry = entry.partition("\n## ")[0]
        for part in ("**Means:**", "**Look:**", "**Do:**", "**Who:**"):
            assert part in entry, f"{event}: {part}"
        for language in ("en", "zh"):
            assert alerts.Alert(event, "tea").text(language).endswith(f"docs/runbook.md#{event}")


def test_every_check_has_its_entry():
    generic = {f"{path.stem}_..." for path in (PROJECT / "dbt_project/tests/generic").glob("*.sql")}
    singular = {path.stem for path in (PROJECT / "dbt_project/tests").glob("*.sql")}
    rows = "\n".join(re.findall(r"^\| .*", RUNBOOK, flags=re.MULTILINE))
    first = set(re.findall(r"`([\w.]+)`", " ".join(re.findall(r"^\| ([^|]+) \|", rows, flags=re.MULTILINE))))
    missing = {*RECONCILIATION_CHECKS, *Gate.model_fields, *generic, *singular} - first
    assert not missing, "say in docs/runbook.md what to do when they say no"


def test_everything_the_doctor_looks_at_has_its_entry():
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    subjects = set(re.findall(r"\((?:OK|WARNING|PROBLEM), \"([\w ]+)\"", source))
    subjects |= set(re.findall(r"^ {8}\"([\w ]+)\": lambda", source, flags=re.MULTILINE))
    assert {"disk", "writer", "landing", "cost rules", "Dagster"} <= subjects
    entry = RUNBOOK.partition("## What the doctor finds")[2]
    assert not {subject for subject in subjects if f"`{subject}`" not in entry}


def consoles(page: Path) -> list[str]:
    """What a page shows of commands and their output."""
    shown = FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for kind, body in shown if kind in ("console", "sh")]


@pytest.mark.parametrize("page", [*PROJECT.glob("*.zh-CN.md"), *DOCS.rglob("*.zh-CN.md")], ids=lambda page: page.name)
def test_the_chinese_page_shows_the_same_commands(page):
    english = page.with_name(page.name.replace(".zh-CN", ""))
    assert consoles(page) == consoles(english)
    assert f"]({english.name})" in page.read_text(encoding="utf-8")
    assert f"]({page.name})" in english.read_text(encoding="utf-8")
