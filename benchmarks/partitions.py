"""How quick the UI is with thousands of business dates: the time of the GraphQL queries its pages make.

    python benchmarks/partitions.py [--dates 3000] [--rounds 5] [--folder FOLDER]

A company of as many business dates as asked for, each partitioned asset materialised on every one of them and a run for each
date, as years of daily runs leave them. Then the web server is started as `whalecurve ui` starts it, and asked over HTTP
what a page asks. WHALECURVE_INSTANCE chooses where runs and events are kept, as everywhere.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

import extracts  # noqa: E402

STARTS_WITHIN = 180

PAGES = {
    "runs": """{ runsOrError(limit: 25) { __typename ... on Runs { results {
        id status jobName tags { key value } startTime endTime assetSelection { path } } } } }""",
    "asset graph": """{ assetNodes { id assetKey { path } groupName kinds isPartitioned isMaterializable
        dependencyKeys { path } dependedByKeys { path } partitionDefinition { type description } owners { __typename } } }""",
    "graph, what is up to date": """{ assetNodes { id staleStatus assetMaterializations(limit: 1) { timestamp runId }
        partitionStats { numMaterialized numMaterializing numPartitions numFailed } } }""",
    "asset, partitions": """{ assetNodeOrError(assetKey: {path: ["raw", "invoice_line"]}) { __typename ... on AssetNode {
        partitionKeysByDimension { name partitionKeys }
        partitionStats { numMaterialized numPartitions numFailed }
        assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } } } } }""",
    "asset, one partition": """{ assetNodeOrError(assetKey: {path: ["raw", "invoice_line"]}) { __typename ... on AssetNode {
        assetMaterializations(partitions: ["%(date)s"], limit: 5) { timestamp runId } } } }""",
    "asset, events": """{ assetOrError(assetKey: {path: ["raw", "invoice_line"]}) { __typename ... on Asset {
        assetMaterializations(limit: 100) { timestamp partition runId } } } }""",
    "job, dates to launch": """{ partitionSetsOrError(pipelineName: "daily_run", repositorySelector: {
        repositoryName: "__repository__", repositoryLocationName: "pipelines.definitions"}) {
        __typename ... on PartitionSets { results { name partitionsOrError {
        __typename ... on Partitions { results { name } } } } } } }""",
    "job, state of its dates": """{ partitionSetsOrError(pipelineName: "daily_run", repositorySelector: {
        repositoryName: "__repository__", repositoryLocationName: "pipelines.definitions"}) {
        __typename ... on PartitionSets { results { name partitionStatusesOrError {
        __typename ... on PartitionStatuses { results { partitionName runStatus } } } } } } }""",
}
"""Page -> query. Written for this benchmark: the fields the page shows."""


def seed(dates: int) -> int:
    """A run for every business date and a materialisation of every partitioned asset on it; returns the events."""
    import dagster as dg
    from dagster._core.storage.tags import PARTITION_NAME_TAG

    from pipelines.definitions import defs
    from pipelines.event_log import quick_event_log
    from pipelines.jobs import DAILY_RUN
    from pipelines.runs import prepare_instance

    prepare_instance()
    graph = defs.resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if graph.get(key).partitions_def is not None]
    days = graph.get(keys[0]).partitions_def.get_partition_keys()[-dates:]  # type: ignore[union-attr]
    with quick_event_log(), dg.DagsterInstance.get() as instance:
        for day in days:
            tags = {PARTITION_NAME_TAG: day}
            instance.add_run(
                dg.DagsterRun(
                    job_name=DAILY_RUN, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.SUCCESS, tags=tags
                )
            )
            for key in keys:
                instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day))
    return len(keys) * len(days)


def ask(port: int, query: str) -> float:
    """Seconds of one query over HTTP. Raises RuntimeError when the server answers with an error."""
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", data=body, headers={"Content-Type": "application/json"}
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=STARTS_WITHIN) as answer:
        said = json.loads(answer.read())
    took = time.perf_counter() - began
    if "errors" in said or re.search(r'"__typename": "\w*(Error|NotFound)', json.dumps(said)):
        raise RuntimeError(json.dumps(said)[:1000])
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dates", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep instance and company here, and use what is there")
    options = parser.parse_args()
    scratch = tempfile.TemporaryDirectory()
    folder = options.folder or Path(scratch.name)
    last = datetime.date(2026, 5, 31)
    first = last - datetime.timedelta(days=options.dates - 1)
    company = folder / "company"
    seeded = folder / "seeded"
    if not seeded.exists():
        shutil.copytree(extracts.COMPANY, company, dirs_exist_ok=True)
        settings = (company / "company.yml").read_text()
        known = next(line for line in settings.splitlines() if line.startswith("first_business_date"))
        dated = f"first_business_date: {first}\nlast_business_date: {last}"
        (company / "company.yml").write_text(settings.replace(known, dated))

    from pipelines.resources import configure_environment

    configure_environment(company, folder / "data")
    if not seeded.exists():
        began = time.perf_counter()
        events = seed(options.dates)
        print(
            f"{events:,} events of {options.dates:,} dates written in {time.perf_counter() - began:.0f} s", flush=True
        )
        seeded.touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "dagster_webserver",
        "-m",
        "pipelines.definitions",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    began = time.perf_counter()
    with (folder / "webserver.txt").open("w") as said:
        server = subprocess.Popen(command, cwd=PROJECT, env=os.environ, stdout=said, stderr=said)
    try:
        while True:
            try:
                ask(port, "{ version }")
                break
            except OSError:
                if time.perf_counter() - began > STARTS_WITHIN or server.poll() is not None:
                    raise SystemExit((folder / "webserver.txt").read_text()[-2000:]) from None
                time.sleep(0.2)
        print(f"The web server answered after {time.perf_counter() - began:.1f} s", flush=True)
        print("| page | first s | then, median s |\n| --- | ---: | ---: |")
        for page, query in PAGES.items():
            took = [
                ask(port, query % {"date": last} if "%(date)s" in query else query) for _ in range(options.rounds + 1)
            ]
            print(f"| {page} | {took[0]:.2f} | {statistics.median(took[1:]):.2f} |", flush=True)
    finally:
        server.terminate()
        server.wait(timeout=30)


if __name__ == "__main__":
    main()
