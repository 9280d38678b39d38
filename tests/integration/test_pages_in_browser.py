"""The pages people read, in headless Chromium: quiet, accessible, nothing cut off, on desk, phone and paper, light and dark.

Needs Chromium on the machine; without it these tests are skipped and say so. Nothing is downloaded.
"""

from __future__ import annotations

import shutil

import duckdb
import pytest

from assets.publish import report
from assets.publish.customer_page import customer_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no page was looked at")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: no page was looked at")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: no page was looked at"),
]

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 720, "height": 1020}
"""A4 less its margins, in CSS pixels."""
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>" + "Unbreakable" * 30
LOOKS = [
    ("report-en", DESK, "light"),
    ("report-en", PHONE, "dark"),
    ("report-zh", PHONE, "light"),
    ("report-zh", DESK, "dark"),
    ("customer-en", DESK, "dark"),
    ("customer-en", PHONE, "light"),
    ("customer-zh", PHONE, "dark"),
    ("customer-hostile", PHONE, "light"),
]
JUDGED = [LOOKS[0], LOOKS[1], LOOKS[4], LOOKS[5]]
"""What axe looks at: both pages, wide and narrow, light and dark."""


def label(value: object) -> str:
    return "phone" if value == PHONE else "desk" if value == DESK else str(value)


CUT_OFF = """
    () => [...document.querySelectorAll('svg.chart')].filter(chart => chart.getBoundingClientRect().width).flatMap(chart => {
        const place = chart.getBoundingClientRect();
        return [...chart.querySelectorAll('text')].filter(text => {
            const own = text.getBoundingClientRect();
            return own.left < place.left - 4 || own.right > place.right + 4 || own.top < place.top - 4
                || own.bottom > place.bottom + 4;
        }).map(text => text.textContent);
    })
"""


@pytest.fixture(scope="module")
def pages(small_demo, tmp_path_factory):
    """Name -> file: the report of a release, a customer in loss, and one whose name is an attack; Chinese and English."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"report-en": (small_demo.release / "report.html").read_text(encoding="utf-8")}
    with duckdb.connect(str(small_demo.data / "warehouse.duckdb"), read_only=True) as warehouse:
        made["report-zh"] = report.render(warehouse, language="zh")
    with duckdb.connect() as connection:
        connection.execute(f"attach '{small_demo.release / 'whalecurve.duckdb'}' as released (read_only)")
        for (table,) in connection.execute(
            "select table_name from duckdb_tables() where database_name = 'released'"
        ).fetchall():
            connection.execute(f"create view {table} as select * from released.{table}")
        (worst,) = connection.execute("select min_by(customer_id, operating_profit_12m) from customers").fetchone()
        for language in ("en", "zh"):
            shown = customer_page(connection, worst, company="Harbour Pine", currency="CNY", language=language)
            made[f"customer-{language}"] = shown.html
        connection.execute(
            "create or replace table hostile as select * replace (? as customer_name) from customers", [HOSTILE]
        )
        connection.execute("create or replace view customers as select * from hostile")
        made["customer-hostile"] = customer_page(connection, worst, company=HOSTILE, currency="CNY").html
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # The sandbox needs rights that a container does not give; only our own files are opened.
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser, pages):
    """Opens a page; at the end nothing may have been said, asked for or run."""
    contexts, heard = [], []

    def opened(name, viewport=DESK, scheme="light", **options):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (heard.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith("file:") or heard.append(f"request: {request.url}"))
        page.goto(pages[name].as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert heard == []


@pytest.mark.parametrize(("name", "viewport", "scheme"), LOOKS, ids=label)
def test_a_page_is_quiet_and_nothing_is_cut_off(open_page, tmp_path, name, viewport, scheme):
    page = open_page(name, viewport, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(CUT_OFF) == []
    shown = {size: page.locator(f"svg.chart.{size}:visible").count() > 0 for size in ("broad", "narrow")}
    assert shown == {"broad": viewport is DESK, "narrow": viewport is PHONE}
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in background[4:-1].split(",")) < 200) is (scheme == "dark")
    page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
    assert (tmp_path / f"{name}.png").stat().st_size > 30_000


@pytest.mark.parametrize(("name", "viewport", "scheme"), JUDGED, ids=label)
def test_axe_finds_nothing(open_page, name, viewport, scheme):
    page = open_page(name, viewport, scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 30
    assert [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ] == []


def test_the_keyboard_gets_past_the_contents(open_page):
    page = open_page("report-en")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("name", ["report-en", "customer-en"])
def test_paper_is_white_and_has_every_column(open_page, name):
    page = open_page(name, PAPER, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(
        "[...document.querySelectorAll('th.extra')].every(cell => getComputedStyle(cell).display != 'none')"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
    assert page.locator("nav").count() == 0 or not page.locator("nav").is_visible()
    assert page.locator("svg.chart.broad:visible").count() > 0
    assert page.pdf(format="A4").startswith(b"%PDF")
