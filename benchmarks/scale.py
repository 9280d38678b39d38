"""What a full build and a daily run take, by number of invoice lines, beside a bare DuckDB script and pandas doing the same.

    python benchmarks/scale.py [--sizes 100000 1000000 ...] [--pandas] [--references PYTHON] [--backfill-days 365]
    python benchmarks/scale.py --table              print what has been measured
    python benchmarks/scale.py --project 1000000000 print what it leads to at another size
    python benchmarks/scale.py --check [--accept]   a small size against benchmarks/baseline.json, as continuous integration does

For each size it writes extracts (benchmarks/extracts.py), runs the pipeline's first delivery and the day after it with the
command a person uses, then that day again, in which nothing has changed; and the bare script (benchmarks/bare.py) on the same
files, each in a process of its own, one after the other. Customer profits of both must be equal to the cent, or the
measurement is an error. Ratios are within one run; processor seconds stand beside the clock's, since they hardly change with
what else runs.

Results are appended to benchmarks/results/scale.json, and what is there for the same commit is not measured again (unless
--again), so a run that was stopped is continued by starting it again. `--work` is where extracts, data and bare results lie;
they are removed when a size is done (unless --keep).
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

import extracts  # noqa: E402

from pipelines.resources import COMPANY_VARIABLE, DATA_VARIABLE, QUIET  # noqa: E402

RESULTS = PROJECT / "benchmarks" / "results" / "scale.json"
BASELINE = PROJECT / "benchmarks" / "baseline.json"
CONTENDERS = tuple(f"benchmarks/{name}.py" for name in ("extracts", "bare", "bare_pandas"))
FULL, DAILY, AGAIN, BACKFILL = "full build", "daily run", "day again", "backfill"
PIPELINE, BARE, PANDAS = "pipeline", "bare DuckDB", "pandas"
IMPORT = "import of the code location"
PANDAS_UP_TO = 1_000_000
MB = 1_000_000
GATE, TESTS = "gate", "dbt tests and what is around them"
CHECKED_LINES, CHECKED_DAY_LINES = 100_000, 2_000

ALLOWED = {"processor_ratio": 1.6, "read_ratio": 1.15, "written_ratio": 1.15, "events": 1.1}
"""What a figure may grow by, as a factor of the baseline, by the end of its name. Bytes and events come out nearly the same each
time; processor seconds within a fifth on a busy machine."""

EQUAL_PROFITS = """
select count(*) from w.marts.customer_profitability as ours
full join {theirs} as theirs on ours.customer_id = theirs.customer_id and ours.month = theirs.month
where ours.operating_profit * 100 is distinct from theirs.operating_profit_cents
"""


def measured(work: Path, module: str, *arguments: object, environment: Mapping[str, str] = {}) -> dict[str, Any]:
    """Run a module in a process of its own; what it took. Raises SystemExit with its last words when it fails."""
    report, log = work / "measured.json", work / "log.txt"
    report.unlink(missing_ok=True)
    command = [sys.executable, str(PROJECT / "benchmarks" / "measured.py"), str(report), module, *map(str, arguments)]
    with log.open("w") as said:
        done = subprocess.run(
            command, cwd=PROJECT, env={**os.environ, **QUIET, **environment}, stdout=said, stderr=subprocess.STDOUT
        )
    if done.returncode != 0 or not report.exists():
        raise SystemExit(f"{module} {' '.join(map(str, arguments))} failed:\n{log.read_text()[-2000:]}")
    found: dict[str, Any] = json.loads(report.read_text())
    return {name: value for name, value in found.items() if name != "status"}


def code_commit() -> str:
    """The last commit that changed what is measured, with a mark where the work tree differs: results and texts do not count."""
    code = ["assets", "pipelines", "dbt_project", "expectations", "benchmarks/company", *CONTENDERS]
    git = ["git", "-C", str(PROJECT)]
    try:
        last = subprocess.run(
            [*git, "log", "-1", "--format=%H", "--", *code], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", *code], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return last.stdout.strip()[:12] + ("+changes" if changed.stdout else "")


def folder_mb(folder: Path) -> int:
    files = [folder] if folder.is_file() else folder.rglob("*")
    return round(sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink()) / MB)


def stages(data: Path) -> tuple[dict[str, float], int]:
    """Seconds of the last run by stage, and the number of its events, from Dagster's event log.

    A stage is a layer of assets. A step of several layers (a dbt pass) is given to them by the seconds of their models; what
    is left of it (tests, reports) is a stage of its own, and so are the expectations of the gate.
    """
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str((data / "dagster").resolve())
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(limit=1)
        lasted = {
            step.step_key: (step.end_time or 0) - (step.start_time or 0)
            for step in instance.get_run_step_stats(run.run_id)
        }
        events = instance.all_logs(run.run_id)
    made: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for event in events:
        if event.dagster_event and event.dagster_event.event_type_value == "ASSET_MATERIALIZATION":
            materialization = event.dagster_event.step_materialization_data.materialization
            seconds = materialization.metadata.get("seconds")
            weight = float(seconds.value) if seconds else 0.0  # type: ignore[arg-type]
            made[event.step_key or ""][materialization.asset_key.path[0]] += weight
    found: collections.Counter[str] = collections.Counter()
    for step, seconds in lasted.items():
        layers = made.get(step)
        if not layers:
            found[GATE] += seconds
        elif len(layers) == 1 and not any(layers.values()):
            found[next(iter(layers))] += seconds
        else:
            together = sum(layers.values())
            for layer, weight in layers.items():
                found[layer] += min(1.0, seconds / together) * weight if together else seconds / len(layers)
            found[TESTS] += max(seconds - together, 0.0) if together else 0.0
    return {stage: round(seconds, 2) for stage, seconds in found.items()}, len(events)


def require_equal_profits(data: Path, theirs: str, **attached: Path) -> None:
    """Raise SystemExit unless the pipeline's profit of every customer and month is, to the cent, that of `theirs`."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{data / 'warehouse.duckdb'}' as w (read_only)")
        for name, path in attached.items():
            connection.execute(f"attach '{path}' as {name} (read_only)")
        different = connection.execute(EQUAL_PROFITS.format(theirs=theirs)).fetchone()
        counted = connection.execute("select count(*) from w.marts.customer_profitability").fetchone()
    if different != (0,) or counted in (None, (0,)):
        raise SystemExit(
            f"{different} of {counted} customer months have another profit than {theirs}: nothing is comparable."
        )


class Results:
    """What was measured, on disk after every measurement."""

    def __init__(self, path: Path, *, again: bool) -> None:
        self.path, self.again = path, again
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        self.commit = code_commit()

    def has(self, **key: object) -> bool:
        key |= {"commit": self.commit}
        return not self.again and any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, **row: Any) -> None:
        row = {"commit": self.commit, **machine(), **row}
        key = ("commit", "machine", "lines", "who", "what")
        self.rows = [old for old in self.rows if any(old.get(name) != row.get(name) for name in key)] + [row]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("[\n" + ",\n".join(json.dumps(each) for each in self.rows) + "\n]\n")
        said = f"{row.get('wall_seconds', 0):>9.1f} s {row.get('processor_seconds', 0):>9.1f} s processor"
        print(
            f"{row['lines']:>13,}  {row['who']:<12} {row['what']:<28}{said} {row.get('peak_mb', 0):>7,} MB", flush=True
        )


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GB",
        "load": round(os.getloadavg()[0], 1),
        "measured_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("duckdb", "dagster", "dbt-core", "dbt-duckdb", "pandas")},
        },
    }


def measure_size(lines: int, options: argparse.Namespace, results: Results) -> None:
    """All measurements of one size that are not there yet."""
    wanted = [(PIPELINE, FULL), (PIPELINE, DAILY), (PIPELINE, AGAIN), (BARE, FULL), (BARE, DAILY)]
    if options.pandas and lines <= PANDAS_UP_TO:
        wanted.append((PANDAS, FULL))
    if all(results.has(lines=lines, who=who, what=what) for who, what in wanted):
        return
    folder = options.work / f"{lines}"
    made = folder / "extracts.json"
    if not made.exists():
        extracts.make(folder, lines=lines, customers=options.customers, days=1, day_lines=options.day_lines)
    written = json.loads(made.read_text())
    data, landing = folder / "data", folder / "data" / "landing"
    first, day = written["first_delivery"], written["last_delivery"]
    folders = ("--company", folder / "company", "--data", data)
    size = {"lines": lines, "customers": written["customers"], "day_lines": written["day_lines"]}
    if not results.has(lines=lines, who=BARE, what=FULL):
        took = bare(folder, landing, first, options)
        results.add(**size, who=BARE, what=FULL, **took)
    if not results.has(lines=lines, who=PIPELINE, what=FULL) or not (data / "releases" / "current").exists():
        for made_by_runs in (path for path in data.iterdir() if path.name != "landing"):
            shutil.rmtree(made_by_runs) if made_by_runs.is_dir() else made_by_runs.unlink()
        took = measured(folder, "pipelines.cli", "run", *folders, "--date", first)
        seconds, events = stages(data)
        results.add(**size, who=PIPELINE, what=FULL, **took, stages=seconds, events=events, disk_mb=disk(data))
        require_equal_profits(data, "b.customer_profitability", b=folder / "bare" / "bare.duckdb")
        if (PANDAS, FULL) in wanted:
            took = measured(folder, "bare_pandas", landing, folder / "pandas.parquet", "--until", first)
            require_equal_profits(data, f"'{folder / 'pandas.parquet'}'")
            results.add(**size, who=PANDAS, what=FULL, **took)
    if not results.has(lines=lines, who=PIPELINE, what=AGAIN):
        for what in (DAILY, AGAIN):
            took = measured(folder, "pipelines.cli", "run", *folders, "--date", day)
            seconds, events = stages(data)
            results.add(**size, who=PIPELINE, what=what, **took, stages=seconds, events=events, disk_mb=disk(data))
    if not results.has(lines=lines, who=BARE, what=DAILY):
        took = bare(folder, landing, day, options)
        require_equal_profits(data, "b.customer_profitability", b=folder / "bare" / "bare.duckdb")
        results.add(**size, who=BARE, what=DAILY, **took)
    if not options.keep:
        shutil.rmtree(folder)


def bare(folder: Path, landing: Path, until: str, options: argparse.Namespace) -> dict[str, Any]:
    target = folder / "bare"
    took = measured(
        folder, "bare", landing, target, "--until", until, "--memory", options.memory, "--threads", options.threads
    )
    said = json.loads((folder / "log.txt").read_text().splitlines()[-1])
    return {**took, "stages": said, "disk_mb": {"bare.duckdb": folder_mb(target / "bare.duckdb")}}


def disk(data: Path) -> dict[str, int]:
    parts = ("landing", "raw", "warehouse.duckdb", "releases", "models", "dagster")
    return {part: folder_mb(data / part) for part in parts if (data / part).exists()}


def measure_backfill(lines: int, options: argparse.Namespace, results: Results) -> None:
    """History handed over day by day, all its days in one run."""
    what = f"{BACKFILL} of {options.backfill_days} days in one run"
    if results.has(lines=lines, who=PIPELINE, what=what):
        return
    folder = options.work / f"{lines}-by-day"
    if not (folder / "extracts.json").exists():
        extracts.make(folder, lines=lines, customers=options.customers, days=0, delivered_daily=options.backfill_days)
    data = folder / "data"
    written = json.loads((folder / "extracts.json").read_text())
    took = measured(folder, "pipelines.cli", "run", "--company", folder / "company", "--data", data)
    seconds, events = stages(data)
    results.add(
        lines=lines,
        customers=written["customers"],
        who=PIPELINE,
        what=what,
        **took,
        stages=seconds,
        events=events,
        disk_mb=disk(data),
    )
    if not options.keep:
        shutil.rmtree(folder)


def measure_import(options: argparse.Namespace, results: Results) -> None:
    """The code location with a manifest that is there, as each start of the UI and of a run imports it."""
    if results.has(lines=0, who=PIPELINE, what=IMPORT):
        return
    options.work.mkdir(parents=True, exist_ok=True)
    environment = {COMPANY_VARIABLE: str(extracts.COMPANY), DATA_VARIABLE: str(options.work / "import")}
    for _ in range(2):  # the first one parses the dbt project, where nobody has
        took = measured(options.work, "pipelines.definitions", environment=environment)
    results.add(lines=0, who=PIPELINE, what=IMPORT, **took)


def latest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last measurement of each size and kind: those before it were of older code."""
    newest = {(row["lines"], row["who"], row["what"]): row for row in rows}
    order = [IMPORT, FULL, DAILY, AGAIN]

    def place(key: tuple[int, str, str]) -> tuple[int, int, str, str]:
        return (
            key[0],
            order.index(key[2]) if key[2] in order else len(order),
            {PIPELINE: ""}.get(key[1], key[1]),
            key[2],
        )

    return [newest[key] for key in sorted(newest, key=place)]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: what was measured, against the bare script where it did the same."""
    by = {(row["lines"], row["who"], row["what"]): row for row in latest(rows)}
    out = [
        "| lines | who | what | seconds | processor seconds | against bare, clock | processor | peak MB | disk MB | commit |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for (lines, who, what), row in by.items():
        floor = by.get((lines, BARE, FULL if what.startswith(BACKFILL) else DAILY if what == AGAIN else what))
        ratios = ["", ""]
        if floor and who != BARE:
            ratios = [f"{row[name] / max(floor[name], 0.01):.1f}" for name in ("wall_seconds", "processor_seconds")]
        disk_mb = sum(size for part, size in row.get("disk_mb", {}).items() if part != "landing")
        figures = [f"{row['wall_seconds']:,.1f}", f"{row['processor_seconds']:,.1f}", *ratios, f"{row['peak_mb']:,}"]
        cells = [f"{lines:,}", who, what, *figures, f"{disk_mb:,}" if disk_mb else "", row["commit"]]
        out.append("| " + " | ".join(cells) + " |")
    for what in (FULL, DAILY):
        out += ["", *stage_table([row for key, row in by.items() if key[1:] == (PIPELINE, what)], what)]
    if by:
        last = max(by.values(), key=lambda row: row["measured_on"])
        versions = ", ".join(f"{name} {number}" for name, number in last["versions"].items())
        out += [
            "",
            f"{last['machine']}; {versions}; load {', '.join(sorted({str(row['load']) for row in by.values()}))}.",
        ]
    return "\n".join(out)


def stage_table(rows: list[dict[str, Any]], what: str) -> list[str]:
    if not rows:
        return []
    names = list(dict.fromkeys(stage for row in rows for stage in row["stages"]))
    out = [
        f"| stage of a {what}, seconds | " + " | ".join(f"{row['lines']:,}" for row in rows) + " |",
        "| --- |" + " ---: |" * len(rows),
    ]
    out += [f"| {name} | " + " | ".join(f"{row['stages'].get(name, 0):,.1f}" for row in rows) + " |" for name in names]
    apart = [row["wall_seconds"] - sum(row["stages"].values()) for row in rows]
    return [*out, "| between steps, imports | " + " | ".join(f"{seconds:,.1f}" for seconds in apart) + " |"]


def projection(rows: list[dict[str, Any]], lines: int) -> str:
    """Markdown: processor hours by stage at `lines`, on the straight line through the two largest sizes measured.

    A stage's processor seconds are its share of the run's: only its seconds by the clock are in Dagster's events.
    """
    by = {(row["lines"], row["who"], row["what"]): row for row in latest(rows)}
    out = []
    for what in (FULL, DAILY):
        sizes = sorted(row["lines"] for key, row in by.items() if key[1:] == (PIPELINE, what))[-2:]
        if len(sizes) < 2:
            out.append(f"Of a {what} fewer than two sizes are measured.\n")
            continue
        small, large = (by[size, PIPELINE, what] for size in sizes)

        def grown(low: float, high: float, sizes: list[int] = sizes) -> tuple[float, float]:
            slope = max(high - low, 0.0) / (sizes[1] - sizes[0])
            return max(high - slope * sizes[1], 0.0), slope

        processor = [row["processor_seconds"] / row["wall_seconds"] for row in (small, large)]
        head = f"| stage of a {what} | fixed, processor s | for each million lines | processor hours at {lines:,} |"
        out += [head, "| --- | ---: | ---: | ---: |"]
        for stage in dict.fromkeys([*large["stages"], *small["stages"]]):
            seconds = [
                row["stages"].get(stage, 0.0) * part for row, part in zip((small, large), processor, strict=True)
            ]
            fixed, slope = grown(*seconds)
            out.append(f"| {stage} | {fixed:,.1f} | {slope * 1e6:,.2f} | {(fixed + slope * lines) / 3600:,.1f} |")
        fixed, slope = grown(small["processor_seconds"], large["processor_seconds"])
        out.append(f"| together | {fixed:,.1f} | {slope * 1e6:,.2f} | {(fixed + slope * lines) / 3600:,.1f} |")
        parts = {part: grown(small["disk_mb"].get(part, 0), size) for part, size in large["disk_mb"].items()}
        disk_gb = ", ".join(f"{part} {(base + step * lines) / 1000:,.0f}" for part, (base, step) in parts.items())
        base, step = grown(small["peak_mb"], large["peak_mb"])
        out += ["", f"From {sizes[0]:,} and {sizes[1]:,} lines. Disk, GB: {disk_gb}."]
        out += [f"Memory: {base:,.0f} MB and {step * 1e6:,.0f} MB for each million lines.", ""]
    return "\n".join(out)


def check() -> dict[str, float]:
    """The figures that continuous integration holds against the baseline; see `outside`.

    Up to the marts only: the models of customer value take their time whatever the size.
    """
    with tempfile.TemporaryDirectory(prefix="scale-check-") as scratch:
        work = Path(scratch)
        written = extracts.make(work, lines=CHECKED_LINES, days=1, day_lines=CHECKED_DAY_LINES)
        data, landing = work / "data", work / "data" / "landing"
        took = {}
        options = argparse.Namespace(memory="2GB", threads=1)
        for what, day in ((FULL, written["first_delivery"]), (DAILY, written["last_delivery"])):
            took[PIPELINE, what] = measured(work, "until_marts", work / "company", data, day)
            took[PIPELINE, what]["events"] = stages(data)[1]
            # The least of three: other work only ever adds, and most to what is short.
            rounds = [bare(work, landing, str(day), options) for _ in range(3)]
            took[BARE, what] = min(rounds, key=lambda each: each["processor_seconds"])
            require_equal_profits(data, "b.customer_profitability", b=work / "bare" / "bare.duckdb")
    full, daily = took[PIPELINE, FULL], took[PIPELINE, DAILY]
    return {
        "full_processor_ratio": round(full["processor_seconds"] / took[BARE, FULL]["processor_seconds"], 2),
        "daily_processor_ratio": round(daily["processor_seconds"] / took[BARE, DAILY]["processor_seconds"], 2),
        "full_read_ratio": round(full["read_mb"] / took[BARE, FULL]["read_mb"], 2),
        "full_written_ratio": round(full["written_mb"] / took[BARE, FULL]["written_mb"], 2),
        "daily_read_ratio": round(daily["read_mb"] / full["read_mb"], 3),
        "daily_written_ratio": round(daily["written_mb"] / full["written_mb"], 3),
        "full_events": full["events"],
        "daily_events": daily["events"],
    }


def outside(found: Mapping[str, float], baseline: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence for each figure above what the baseline allows; a figure the baseline does not know is one too."""
    said = [
        f"{name} is {value:g}; the baseline is {baseline[name]['is']:g} and allows {baseline[name]['at_most']:g}"
        for name, value in found.items()
        if name in baseline and value > baseline[name]["at_most"]
    ]
    return said + [f"{name} is not in the baseline" for name in set(found) ^ set(baseline)]


def accepted(found: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """A baseline of these figures."""
    factors = {name: next(factor for ending, factor in ALLOWED.items() if name.endswith(ending)) for name in found}
    return {name: {"is": value, "at_most": round(value * factors[name], 3)} for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000], help="invoice lines of history")
    parser.add_argument("--customers", type=int, help="default: one for every hundred lines")
    parser.add_argument("--day-lines", type=int, default=5_000, help="invoice lines of the day, whatever the size")
    parser.add_argument("--pandas", action="store_true", help=f"pandas too, up to {PANDAS_UP_TO:,} lines")
    parser.add_argument("--references", help="an interpreter that has cloud-cost-allocation")
    parser.add_argument("--backfill-days", type=int, default=0, help="also history day by day, in one run")
    parser.add_argument("--memory", default="8GB", help="what the bare script may take")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2, help="of the bare script")
    parser.add_argument("--work", type=Path, default=PROJECT / "data" / "benchmarks")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure anew what was measured")
    parser.add_argument("--keep", action="store_true", help="keep the data of each size")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--project", type=int, metavar="LINES")
    parser.add_argument("--check", action="store_true", help="fail where a figure is above what the baseline allows")
    parser.add_argument("--accept", action="store_true", help="with --check: make what is found the baseline")
    options = parser.parse_args()
    results = Results(options.results, again=options.again)
    if options.check:
        found = check()
        print(json.dumps(found, indent=2))
        if options.accept:
            lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in accepted(found).items())
            BASELINE.write_text(f"{{\n{lines}\n}}\n")
            return
        if said := outside(found, json.loads(BASELINE.read_text()) if BASELINE.exists() else {}):
            raise SystemExit("\n".join(said))
        return
    if options.project:
        print(projection(results.rows, options.project))
        return
    if not options.table:
        options.work = options.work.resolve()
        measure_import(options, results)
        for lines in options.sizes:
            measure_size(lines, options, results)
            if options.backfill_days:
                measure_backfill(lines, options, results)
        if options.references:
            import allocation

            allocation.compare(options.references, [10_000, 100_000], 8)
    print(table(results.rows))


if __name__ == "__main__":
    main()
