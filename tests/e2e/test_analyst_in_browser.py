"""An analyst's day in the Dagster UI, in headless Chromium, against a webserver, a daemon and the code as `whalecurve serve` runs
them: a range in one run, a bad day again, a date as known then, what if, a restatement; and the published numbers after each.

Everything is clicked and typed; GraphQL is asked only whether a run has ended and which runs there are. Needs Chromium on the
machine; without it this is skipped and says so. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from decimal import Decimal
from types import SimpleNamespace

import duckdb
import pytest
from harness import DAYS, DEMO, PROJECT, Company, environment

from assets import registers, restatements
from pipelines.definitions import LAYERS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the UI was not looked at")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: the UI was not looked at"),
]

FIRST, SECOND, THIRD = DAYS
RULES = ("customer_service,16500,2026-01-01,", "customer_service,14500,2026-01-01,")
"""A row of the demo's capacities.csv, and what it becomes: more of the cost of that pool is on customers."""
A_MINUTE = 60_000
RUN_WITHIN = 400
"""Seconds for a run, on a machine that does other things as well."""
RUNS = """
    query ($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs {
        results { runId jobName status tags { key value } } } } }
"""


@pytest.fixture(scope="module")
def delivered(landing, two_days, tmp_path_factory):
    """The company after its second date; the third lies there without one source's files, which are kept aside."""
    folder = tmp_path_factory.mktemp("analyst")
    company = Company(two_days.warm, folder / "company", folder / "data")
    shutil.copytree(DEMO, company.company)
    shutil.copytree(two_days.data, company.data, symlinks=True)
    company.deliver(landing, THIRD)
    late = company.data / "landing" / "crm_china" / THIRD
    shutil.move(late, folder / "late")
    return SimpleNamespace(company=company, aside=folder / "late", place=late)


@pytest.fixture(scope="module")
def reports(delivered):
    """The folder of releases as a web server shows it, and company.yml saying so."""
    folder = delivered.company.data / "releases"
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with (delivered.company.company / "company.yml").open("a") as settings:
            settings.write(f"\nreport: {{address: '{address}'}}\n")
        yield address
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


@pytest.fixture(scope="module")
def ui(delivered, reports, tmp_path_factory):
    """The address of a webserver, with code and daemon beside it."""
    code, web = free_port(), free_port()
    beside = ["--code", f"127.0.0.1:{code}"]
    company = delivered.company
    folders = ["--company", str(company.company), "--data", str(company.data)]
    log = tmp_path_factory.mktemp("services")
    started = []
    for part, options in (
        ("code", ["--port", str(code)]),
        ("daemon", beside),
        ("webserver", ["--port", str(web), *beside]),
    ):
        with (log / part).open("w") as said:
            command = [sys.executable, "-m", "pipelines.cli", "serve", part, *options, *folders]
            options = {"cwd": PROJECT, "env": environment(), "stdout": said, "stderr": said}
            started.append(subprocess.Popen(command, start_new_session=True, **options))
        if part == "code":  # the others would ask again and again, which costs them more than it costs to wait
            wait_for(functools.partial(is_open, code), 180, lambda: (log / "code").read_text()[-3000:])
    address = f"http://127.0.0.1:{web}"
    wait_for(functools.partial(is_open, web), 180, lambda: (log / "webserver").read_text()[-3000:])
    yield address
    for sent in (signal.SIGTERM, signal.SIGKILL):  # to what they have started as well
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sent)
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)


@pytest.fixture(scope="module")
def page():
    with playwright.sync_playwright() as driver:
        # The sandbox needs rights that a container does not give; only our own pages are opened.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1600, "height": 1000})
        opened.set_default_timeout(A_MINUTE)
        yield opened
        browser.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_open(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def wait_for(found, seconds, otherwise):
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until, otherwise()
        time.sleep(0.5)
    return value


def runs(ui, **wanted):
    """Runs of the instance, newest first."""
    body = json.dumps({"query": RUNS, "variables": {"filter": wanted}}).encode()
    asked = urllib.request.Request(f"{ui}/graphql", body, {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)["data"]["runsOrError"]["results"]


def ended(ui, **wanted):
    """The one run that fits, when it has succeeded."""

    def look():
        found = runs(ui, **wanted)
        return found if found and found[0]["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

    (run,) = wait_for(look, RUN_WITHIN, lambda: f"no run has ended: {runs(ui)}")
    assert run["status"] == "SUCCESS", run
    return run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}}


def materialize(page, ui, partitions, button):
    """Choose partitions of the daily run in the UI's dialog and press the button."""
    page.goto(f"{ui}/locations/whalecurve/jobs/daily_run")
    page.get_by_role("button", name="Materialize all").first.click()
    dialog = page.get_by_role("dialog")
    chosen = dialog.get_by_role("textbox").first
    chosen.fill(partitions)
    chosen.press("Enter")
    dialog.get_by_role("button", name=button).click()
    dialog.wait_for(state="detached")


def launch(page, ui, job, config):
    """Type a launchpad's config, launch, and return the run when it has succeeded; the page shows it."""
    page.goto(f"{ui}/locations/whalecurve/jobs/{job}/playground")
    editor = page.locator(".CodeMirror")
    editor.wait_for()
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(config)
    button = page.get_by_role("button", name="Launch Run")
    playwright.expect(button).to_be_enabled(timeout=A_MINUTE)
    button.click()
    page.wait_for_url("**/runs/*")
    run = ended(ui, runIds=[page.url.rpartition("/")[2].partition("?")[0]])
    page.get_by_text("STEP_OUTPUT").first.wait_for()
    return run


def rows(company, query, table=None):
    with duckdb.connect() as connection:
        release = company.data / "releases" / "current"
        return connection.execute(
            query.format(f"read_parquet('{release / (table or 'customers')}.parquet')")
        ).fetchall()


@pytest.mark.timeout(1800)
def test_an_analyst_s_day(page, ui, delivered, reports, two_days, three_days):
    company = delivered.company
    before = {run["runId"] for run in runs(ui)}

    # A range in one run. The third date lacks a source; it is published, and is not what it should be.
    materialize(page, ui, f"[{SECOND}...{THIRD}]", "Launch backfill")
    wait_for(lambda: {run["runId"] for run in runs(ui)} - before, 120, lambda: "no run was started")
    (started,) = {run["runId"] for run in runs(ui)} - before
    run = ended(ui, runIds=[started])
    ends = [run["tags"][f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert ends == [SECOND, THIRD]
    assert len(runs(ui)) == len(before) + 1, "one run for the range"
    bad = company.release_id
    assert bad.startswith(THIRD)
    assert bad != three_days.release_id

    # The bad day again, when its files are there: what a run of all three dates publishes, to the byte.
    shutil.move(delivered.aside, delivered.place)
    materialize(page, ui, THIRD, "Launch 1 run")
    wait_for(lambda: len(runs(ui)) == len(before) + 2, 120, lambda: "no run was started")
    run = ended(ui, runIds=[runs(ui)[0]["runId"]])
    assert run["tags"]["dagster/partition"] == THIRD
    assert company.release_id == three_days.release_id

    # As it was known then.
    launch(page, ui, "as_known_then", f'ops: {{make_as_known_then: {{config: {{date: "{SECOND}"}}}}}}')
    page.get_by_text(f"It is release {two_days.release_id} of {SECOND}, byte for byte").first.wait_for()
    assert (company.data / "as_known" / SECOND / "releases" / two_days.release_id / "report.html").exists()
    assert company.release_id == three_days.release_id

    # What if: told beside the published figures, which stay.
    was, now = (row.split(",")[1] for row in RULES)
    where = "{pool_id: customer_service, valid_from: '2026-01-01'}"
    launch(
        *(page, ui, "what_if"),
        f"ops: {{compute_what_if: {{config: {{name: less_capacity, rules: [{{file: capacities.csv, where: {where}, "
        f"set: {{capacity: '{now}'}}}}]}}}}}}",
    )
    page.get_by_text("customers_moved").first.wait_for()
    answer = company.data / "scenarios" / "less_capacity"
    assert {path.name for path in answer.iterdir()} == {"scenario.yml", "customers.csv", "outcome.txt"}
    assert (
        f"capacities.csv, customer_service, 2026-01-01: capacity {was} -> {now}" in (answer / "outcome.txt").read_text()
    )
    with duckdb.connect() as connection:
        told = connection.execute(
            "select customer_id, profit_published::decimal(22, 4), profit_scenario::decimal(22, 4) "
            f"from read_csv('{answer / 'customers.csv'}', all_varchar = true)"
        ).fetchall()
    profits = "select customer_id, operating_profit_12m from {} where operating_profit_12m <> 0"
    assert {customer: profit for customer, profit, _ in told if profit} == dict(rows(company, profits))
    assert {customer for customer, profit, other in told if profit != other}, "the scenario changes somebody"
    assert company.release_id == three_days.release_id

    # The rule is changed for good, and May restated: what the scenario said, cent by cent.
    rules = company.company / "costing" / "capacities.csv"
    rules.write_text(rules.read_text().replace(*RULES))
    launch(
        *(page, ui, "restate_months"),
        'ops: {publish_restated: {config: {months: ["2026-05"], by: "C. Ontroller", reason: "The capacity was wrong."}}}',
    )
    page.get_by_text("profit_moved").first.wait_for()
    assert company.release_id not in (three_days.release_id, bad)
    assert {customer: profit for customer, _, profit in told if profit} == dict(rows(company, profits))
    (line,) = registers.lines(company.data / restatements.REGISTER, restatements.Restatement)
    assert (line.month, line.as_of_date, line.restated_by) == ("2026-05", THIRD, "C. Ontroller")
    figures = "select sum(net_revenue), sum(operating_profit) from {} where month = '2026-05-01'"
    (published,) = rows(company, figures, "customer_profitability")
    assert published == (Decimal(line.net_revenue), Decimal(line.operating_profit))
    said = rows(company, "select detail from {} where stage = 'restatement'", "data_quality")
    assert said == [("C. Ontroller: The capacity was wrong.",)]

    looks_at_the_assets(page, ui, company, reports)


def looks_at_the_assets(page, ui, company, reports):
    """Groups in the order of the flow; an asset's owner, grain, columns, rows and plot; the way to the report."""
    page.goto(f"{ui}/asset-groups")
    places = {}
    for layer in LAYERS:
        name = page.locator("foreignObject").get_by_text(layer, exact=True)
        name.first.wait_for()
        places[layer] = name.first.bounding_box()["x"]
    flow = [layer for layer in LAYERS if layer not in ("rules", "credit")]  # they join in from beside
    assert sorted(flow, key=places.get) == flow
    assert places["facts"] < places["credit"] < places["marts"]
    assert places["rules"] < places["pools"]

    page.goto(f"{ui}/assets/marts/whale_curve")
    (count,) = rows(company, "select count(*) from {}", "whale_curve")
    for text in (
        "One row per profit level, period and customer",
        "controlling",
        f"{count[0]:,}",
        "Profit of this and all better customers.",
    ):
        page.get_by_text(text).first.wait_for()
    sees_a_plot(page)

    page.goto(f"{ui}/assets/analytics/customer_rfm")
    page.get_by_text("days_since_last_purchase").first.wait_for()

    page.goto(f"{ui}/assets/release/current")
    page.get_by_text(company.release_id).first.wait_for()
    link = page.locator(f"a[href='{reports}/{company.release_id}/report.html']").first
    with page.context.expect_page() as opened:
        link.click()
    playwright.expect(opened.value.locator("h1")).to_have_text(re.compile("Harbour Pine"))


def sees_a_plot(page):
    """Opens what the page says as a picture, and sees that there is one."""
    page.get_by_text("Show Markdown").or_(page.get_by_text("[Show Markdown]")).first.click()
    picture = page.locator("img[src^='data:image/png;base64,']").first
    picture.wait_for()
    assert picture.evaluate("picture => picture.naturalWidth") > 500
