"""What the README shows is what a newcomer gets: every command in it is run, and its output compared to the letter."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ (?P<command>.+)\n(?P<output>(?:.*\n)*?)```", README)


def whalecurve(*arguments: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def test_the_readme_shows_commands_with_their_output():
    shown = [command.split()[0:2] for command, _ in BLOCKS]
    assert shown == [["make", "run"], ["whalecurve", "customer"], ["whalecurve", "explain"]]
    assert all(output.strip() for _, output in BLOCKS)


def test_make_run_is_demo_then_run():
    planned = subprocess.run(
        ["make", "--dry-run", "run"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"whalecurve (\w+)", planned) == ["demo", "run"]


def test_every_make_target_path_and_command_named_in_the_readme_exists():
    help_text = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"`make ([a-z-]+)`", README)):
        assert f"make {target} " in help_text, target
    for path in set(
        re.findall(r"`((?:assets|pipelines|dbt_project|expectations|companies|tests|benchmarks)/[\w/.-]*)`", README)
    ):
        assert (PROJECT / path).exists(), path
    usage = whalecurve("--help")
    for command in set(re.findall(r"`whalecurve ([a-z-]+)", README)):
        assert re.search(rf"^    {command}\s", usage, flags=re.MULTILINE), command


def test_every_published_table_is_explained():
    from assets.publish.tables import PUBLISHED

    explained = set(
        re.findall(
            r"`([a-z_]+)`", README[README.index("| table | one row per") : README.index("Readers should resolve")]
        )
    )
    assert set(PUBLISHED) | {"data_quality", "deliveries"} == explained


@pytest.mark.slow
def test_the_commands_print_what_the_readme_shows(tmp_path):
    folders = ("--company", str(PROJECT / "companies" / "demo"), "--data", str(tmp_path))
    whalecurve("demo", *folders)
    shown = dict(BLOCKS)
    assert whalecurve("run", *folders).startswith(shown.pop("make run"))
    for command, output in shown.items():
        assert whalecurve(*shlex.split(command)[1:], *folders) == output
