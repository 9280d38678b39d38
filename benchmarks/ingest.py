"""How fast ingest reads, against DuckDB doing nothing but reading the same file and writing Parquet.

    python benchmarks/ingest.py [--lines 150000] [--rounds 5]

Both are measured in turn in one run, so the ratio holds where the machine's speed drifts. The reference converts nothing,
checks nothing and keeps no lineage; it is the floor, not a rival.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
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


def write_demo(landing: Path, lines: int) -> None:
    spec = importlib.util.spec_from_file_location("write_extracts", DEMO / "write_extracts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.write_extracts(landing, invoice_lines=lines)


def bare(path: Path, encoding: str, target: Path) -> None:
    """Read as text and write Parquet; what is not UTF-8 is decoded first, as ingest has to."""
    if encoding != "utf-8":
        decoded = target.with_suffix(".utf8")
        decoded.write_text(path.read_text(encoding=encoding), encoding="utf-8")
        path = decoded
    duckdb.connect().execute(
        f"copy (select * from read_csv('{path}', all_varchar = true, header = true)) "
        f"to '{target}' (format parquet, compression zstd)"
    )


def seconds(action: object, *arguments: object) -> float:
    started = time.perf_counter()
    action(*arguments)  # type: ignore[operator]
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'entity':<14}{'rows':>10}{'ingest s':>10}{'rows/s':>12}{'bare s':>9}{'rate against bare':>20}")
    with tempfile.TemporaryDirectory() as folder, reading_connection() as connection:
        landing, raw = Path(folder) / "landing", Path(folder) / "raw"
        write_demo(landing, options.lines)
        for source, name, entity, pattern, encoding in CASES:
            dialect = load_dialect(name, DEMO)
            file = next((landing / source / FIRST_DAY.isoformat()).glob(pattern))
            ours, floor, rows = [], [], 0
            for _ in range(options.rounds):
                shutil.rmtree(raw, ignore_errors=True)
                arguments = (connection, landing, raw, source, dialect, entity, FIRST_DAY)
                ours.append(seconds(load_delivery, *arguments))
                rows = load_delivery(*arguments).load.rows_in  # type: ignore[union-attr]
                floor.append(seconds(bare, file, encoding, Path(folder) / "bare.parquet"))
            ratio = statistics.median(f / o for o, f in zip(ours, floor, strict=True))
            own, low = statistics.median(ours), statistics.median(floor)
            print(f"{entity:<14}{rows:>10,}{own:>10.2f}{rows / own:>12,.0f}{low:>9.2f}{ratio:>19.0%}")


if __name__ == "__main__":
    main()
