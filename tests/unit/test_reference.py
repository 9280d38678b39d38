"""The pages of docs/reference are what the code says, and the code says something of everything a person may set."""

from __future__ import annotations

import re

import pytest
from command import PROJECT
from pydantic import BaseModel

from pipelines import reference
from pipelines.resources import VARIABLES

PAGES = reference.pages()


def test_there_is_no_other_page():
    assert {path.name for path in reference.FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_page_is_what_the_code_says(page):
    on_disk = (reference.FOLDER / page).read_text(encoding="utf-8")
    assert on_disk == PAGES[page], "run `make reference` and commit what it writes"


def test_a_setting_without_a_description_is_found():
    class Silent(BaseModel):
        limit: int = 3

    with pytest.raises(ValueError, match=r"Silent\.limit has no description"):
        reference._described(Silent, "limit", Silent.model_fields["limit"])


def test_no_cell_breaks_its_table():
    assert reference._escaped("a | b\n<name> and `<name>`") == "a \\| b &lt;name> and `<name>`"
    for text in PAGES.values():
        for table in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1, table


def test_every_variable_the_project_reads_is_explained():
    """Also those that stand only in instances and units; a prefix stands for the names below it."""
    places = [PROJECT / "pipelines", PROJECT / "assets", PROJECT / "deploy"]
    files = [
        path for place in places for path in place.rglob("*") if path.suffix in {".py", ".yaml", ".env", ".service"}
    ]
    named = {name for path in files for name in re.findall(r"\bWHALECURVE_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))}
    assert len(named) > 15
    explained = " ".join([*VARIABLES, *VARIABLES.values()])
    # Set by `serve` and `bi` for what they start.
    ours = {"WHALECURVE_CODE_HOST", "WHALECURVE_CODE_PORT", "WHALECURVE_BI_HOME"}
    missing = []
    for name in named - ours:
        name = re.sub(r"(PULL|TARGET|ALERT)_(?!<)\w+?_(?=URL|SECRET|ACCESS)", r"\1_<NAME>_", name)
        ends = ("_DATABASE", "_USER", "_PASSWORD")
        last = next((end for end in ends if name.endswith(end)), None)
        if name not in explained and not (last and f"`{last}`" in explained):
            missing.append(name)
    assert not missing, "explain them in VARIABLES of pipelines/resources.py"
