"""How fast ingest reads, against DuckDB doing nothing but reading the same file and writing Parquet.

    python benchmarks/ingest.py [--lines 150000] [--rounds 5]

All are measured in turn in one run, so the ratios hold where the machine's speed drifts; the best round of each counts, because
other work only ever adds. Processor seconds stand beside: they count what a second thread takes, and hardly change with
what else runs. The references convert nothing to the contract, check nothing and keep no lineage; they are the floor, not
rivals. `text` reads every column as text, as ingest has to; `typed` lets DuckDB guess the types, with all its defaults.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from assets.ingest.dialect import load_dialect  # noqa: E402
from assets.ingest.engine import load_delivery, reading_connection  # noqa: E402

DEMO = PROJECT / "companies" / "demo"
FIRST_DAY = datetime.date(2026, 5, 31)
CASES = (
    ("ledger", "aicpa_ads", "gl_entry", "GL_Detail_*.txt", "utf-8"),
    ("billing", "billing", "invoice_line", "发票明细.csv", "gb18030"),
)
"""Source, dialect, entity, file and its encoding."""

Seconds = tuple[float, float]
"""Wall time and processor time."""


def write_demo(landing: Path, lines: int) -> None:
    spec = importlib.util.spec_from_file_location("write_extracts", DEMO / "write_extracts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.write_extracts(landing, invoice_lines=lines)


def bare(path: Path, encoding: str, target: Path, *, typed: bool = False) -> None:
    """Read and write Parquet; what is not UTF-8 is decoded first, as ingest has to."""
    if encoding != "utf-8":
        decoded = target.with_suffix(".utf8")
        decoded.write_text(path.read_text(encoding=encoding), encoding="utf-8")
        path = decoded
    read, form = "all_varchar = true, header = true", "format parquet, compression zstd"
    if typed:
        read, form = "auto_detect = true", "format parquet"
    with duckdb.connect() as connection:
        connection.execute(f"copy (select * from read_csv('{path}', {read})) to '{target}' ({form})")


def seconds(action: Callable[[], object]) -> Seconds:
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    action()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def best(measured: list[Seconds]) -> Seconds:
    return min(wall for wall, _ in measured), min(processor for _, processor in measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'':<34}{'wall s':>24}{'rate against':>17}{'processor s':>24}{'rate against':>17}")
    print(f"{'entity':<14}{'rows':>10}{'rows/s':>10}" + f"{'own':>8}{'text':>8}{'typed':>8}{'text':>9}{'typed':>8}" * 2)
    with tempfile.TemporaryDirectory() as folder, reading_connection() as connection:
        landing, raw, target = Path(folder) / "landing", Path(folder) / "raw", Path(folder) / "bare.parquet"
        write_demo(landing, options.lines)
        for source, name, entity, pattern, encoding in CASES:
            dialect = load_dialect(name, DEMO)
            file = next((landing / source / FIRST_DAY.isoformat()).glob(pattern))
            arguments = (connection, landing, raw, source, dialect, entity, FIRST_DAY)
            actions: tuple[Callable[[], object], ...] = (
                lambda arguments=arguments: load_delivery(*arguments),
                lambda file=file, encoding=encoding: bare(file, encoding, target),
                lambda file=file, encoding=encoding: bare(file, encoding, target, typed=True),
            )
            measured: list[list[Seconds]] = [[] for _ in actions]
            for _ in range(options.rounds):
                shutil.rmtree(raw, ignore_errors=True)
                for action, found in zip(actions, measured, strict=True):
                    found.append(seconds(action))
            rows = load_delivery(*arguments).load.rows_in  # type: ignore[union-attr]
            walls, processors = zip(*(best(found) for found in measured), strict=True)
            line = f"{entity:<14}{rows:>10,}{rows / walls[0]:>10,.0f}"
            for own, text, typed in (walls, processors):
                line += f"{own:>8.2f}{text:>8.2f}{typed:>8.2f}{text / own:>9.0%}{typed / own:>8.0%}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
