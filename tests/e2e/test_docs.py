"""Every command the pages of docs/ show is run, in the order of the pages, on the company that the tutorial makes.

In a block `console` each line that begins with `$` is run, and what stands below it is what it prints, `...` standing for lines
left out. A block `python` or `sql` is run as well, the latter on the current release; a block `text` right behind it is what it
prints. What cannot be run here (setting up services, say) stands in a block `sh`; that its commands exist is asked in
tests/unit/test_pages.py.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from command import PROJECT

pytestmark = pytest.mark.slow

DOCS = PROJECT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md")), DOCS / "runbook.md"]
BLOCK = re.compile(r"^```(console|python|sql)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", flags=re.DOTALL | re.MULTILINE)
RELEASE = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{12}")
MADE_BEFORE = {
    "whalecurve demo --customers 60 --lines 4000": None,  # fixture small_demo has done it, and the first run
    "whalecurve run": "whalecurve summary",
}


class Walk:
    """One reader, who follows all pages. `releases` are the ids of releases in the pages and those that were made."""

    def __init__(self, warm, small_demo, root: Path) -> None:
        self.warm, self.root = warm, root
        self.data = root / "tutorial"
        self.releases: dict[str, str] = {}
        shutil.copytree(small_demo.data, self.data, symlinks=True)
        (root / "companies").symlink_to(PROJECT / "companies")

    def run(self, command: str) -> str | None:
        """What the command prints; None when it was run before."""
        command = MADE_BEFORE.get(command, command)
        if command is None:
            return None
        command = RELEASE.sub(lambda found: self.releases.get(found[0], found[0]), command)
        words = shlex.split(command)
        if words[0] == "whalecurve":
            done = self.warm.start(*words[1:], "--data", "tutorial", cwd=self.root).wait()
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stderr}"
            return done.stdout
        ours = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        called = subprocess.run(
            command, shell=True, cwd=self.root, env={**os.environ, "PATH": ours}, capture_output=True, text=True
        )
        assert called.returncode == 0, f"{command}: {called.returncode}\n{called.stderr}"
        return called.stdout

    def run_python(self, program: str) -> str:
        printed = io.StringIO()
        with contextlib.chdir(self.root), contextlib.redirect_stdout(printed):
            exec(compile(program, "a page of docs", "exec"), {"__name__": "__main__"})
        return printed.getvalue()

    def ask(self, query: str) -> str:
        database = (self.data / "releases" / "current").resolve() / "whalecurve.duckdb"
        with duckdb.connect(str(database), read_only=True) as connection:
            return str(connection.sql(query))

    def compare(self, command: str, shown: str, printed: str) -> None:
        """Every shown line is printed, and no other but where `...` stands."""
        lines = [line.rstrip() for line in printed.replace(f"{self.root}/", "").rstrip().splitlines()]
        at, may_skip = 0, False
        for line in (line.rstrip() for line in shown.rstrip().splitlines()):
            if line == "...":
                may_skip = True
                continue
            while may_skip and at < len(lines) and not self.is_same(line, lines[at]):
                at += 1
            assert at < len(lines), f"{command} does not print:\n{line}\nbut\n" + "\n".join(lines)
            assert self.is_same(line, lines[at]), f"{command} prints\n{lines[at]}\nand not\n{line}"
            for ours, made in zip(RELEASE.findall(line), RELEASE.findall(lines[at]), strict=True):
                assert self.releases.setdefault(ours, made) == made, f"{command} says {made}, and {ours} is another"
            at, may_skip = at + 1, False
        assert may_skip or at == len(lines), f"{command} also prints:\n" + "\n".join(lines[at:])

    @staticmethod
    def is_same(shown: str, printed: str) -> bool:
        return RELEASE.sub("ID", shown) == RELEASE.sub("ID", printed)


@pytest.fixture(scope="module")
def walk(warm, small_demo, tmp_path_factory):
    return Walk(warm, small_demo, tmp_path_factory.mktemp("docs").resolve())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_shows_what_its_commands_print(walk, page):
    for kind, body, said in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "console":
            for command, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", body, flags=re.MULTILINE):
                printed = walk.run(command)
                if printed is not None:
                    walk.compare(command, shown, printed)
        else:
            printed = walk.run_python(body) if kind == "python" else walk.ask(body)
            if said:
                walk.compare(body, said, printed)


def test_a_page_that_shows_something_else_is_found(walk):
    walk.compare("x", "a\n...\nd\n", "a\nb\nc\nd\n")
    for shown in ("a\nd\n", "...\ne\n", "a\nb\nc\n", "a\nb\nc\nd\ne\n", "...\nb\nd\n"):
        with pytest.raises(AssertionError):
            walk.compare("x", shown, "a\nb\nc\nd\n")
