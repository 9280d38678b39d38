"""Runs a module of Python as a command in this process, and writes down what the process took.

    python benchmarks/measured.py REPORT MODULE [ARGUMENT ...]

REPORT becomes JSON: exit status, seconds by the clock, processor seconds (children included), the peak of memory in MB, and the
MB that were read from and written to files (what read and write calls moved, whether from disk or from the system's cache).
"""

from __future__ import annotations

import json
import resource
import runpy
import sys
import time
import traceback
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
KIB, MB = 1024, 1_000_000


def moved() -> dict[str, int]:
    """Bytes read and written by this process so far; nothing where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return {"rchar": 0, "wchar": 0}
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def main() -> None:
    report, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]
    began = time.perf_counter()
    try:
        runpy.run_module(module, run_name="__main__")
        status: object = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    bytes_moved = moved()
    measured = {
        "status": status,
        "wall_seconds": round(time.perf_counter() - began, 2),
        "processor_seconds": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 2),
        "peak_mb": round(own.ru_maxrss * KIB / MB),
        "read_mb": round(bytes_moved["rchar"] / MB, 1),
        "written_mb": round(bytes_moved["wchar"] / MB, 1),
    }
    Path(report).write_text(json.dumps(measured) + "\n")
    sys.stdout.flush()
    raise SystemExit(0 if status == 0 else 1)


if __name__ == "__main__":
    main()
