"""The report: complete, safe against names from outside, and true to the tables."""

import re
from html.parser import HTMLParser

import pytest
import yaml
from release_fixture import RELATIONS, build, record_passes

from assets.publish import report


@pytest.fixture
def warehouse():
    connection = build()
    record_passes(connection)
    return connection


class Page(HTMLParser):
    """The tags and the text of a page."""

    VOID = frozenset({"meta", "br", "circle", "line", "path"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def number(connection, query):
    return connection.execute(query).fetchone()[0]


def test_the_page_is_whole_and_says_what_the_tables_say(warehouse):
    page = Page(report.render(warehouse))
    assert page.open == []
    assert page.tags.count("h1") == 1
    assert page.tags.count("svg") == 2
    assert page.tags.count("desc") == 2
    assert "Harbour Pine <Trading> & Sons" in page.text
    assert "2026-06-30" in page.text
    assert "CNY" in page.text
    for query in (
        "select sum(net_revenue_12m) from overview.customers",
        "select sum(gross_margin_12m) from overview.customers",
        "select sum(operating_profit_12m) from overview.customers",
        "select min(operating_profit_12m) from overview.customers",
        "select max(expected_profit_lost) from analytics.churn_risk",
        "select sum(actual_amount) from overview.cost_pools where pool_id = 'support' and month >= '2025-07-01'",
    ):
        assert report.money(number(warehouse, query)) in page.text, query
    ledger = number(warehouse, "select sum(amount_cents) / 100 from pools.pool_cost_lines where month >= '2025-07-01'")
    assert f"Ledger cost {report.cents(ledger)} = " in page.text
    assert "Difference 0.00." in page.text
    assert "Freight is booked with goods." in page.text
    assert "10.50" in page.text
    checks = number(warehouse, "select count(*) from quality.check_results")
    assert f"{checks} of {checks} checks passed." in page.text


def test_names_from_outside_are_text_and_nothing_else(warehouse):
    html = report.render(warehouse)
    page = Page(html)
    assert "<script>alert('stolen')</script>" in page.text  # shown as it is written
    assert "script" not in page.tags
    assert "<script" not in html
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_a_hostile_unit_reason_or_observation_is_text_too(warehouse):
    hostile = "</td></svg><img src=x onerror=alert(1)>"
    warehouse.execute("update overview.cost_pools set pool_name = ?, stage = ?", [hostile, hostile])
    warehouse.execute("update marts.reconciliation set reason = ? where status = 'warn'", [hostile])
    warehouse.execute("update quality.check_results set passed = false, observed = ?, detail = ?", [hostile] * 2)
    warehouse.execute("update overview.customers set owner_ref = ?, segment = ?, source_customer_id = ?", [hostile] * 3)
    warehouse.execute("update rules.company set company_name = ?, base_currency = ?", [hostile] * 2)
    page = Page(report.render(warehouse))
    assert "img" not in page.tags
    assert page.text.count(hostile) > 20


def test_the_page_refers_to_nothing_outside_and_runs_nothing(warehouse):
    html = report.render(warehouse)
    names = {name for name, _ in Page(html).attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "poster"}
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html


def test_the_same_tables_give_the_same_page(warehouse):
    first = report.render(warehouse)
    for relation in RELATIONS.values():
        warehouse.execute(
            f"create or replace table {relation} as select * from {relation} order by md5(rowid::varchar)"
        )
    assert report.render(warehouse) == first


def test_both_languages_say_everything(warehouse):
    languages = yaml.safe_load((report.HERE / "labels.yml").read_text(encoding="utf-8"))
    assert set(languages["en"]) == set(languages["zh"])
    assert set(languages["en"]["codes"]) == set(languages["zh"]["codes"])
    for name, english in languages["en"].items():
        if isinstance(english, str):
            assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", languages["zh"][name])), name
    html = report.render(warehouse, language="zh")
    assert '<html lang="zh">' in html
    assert "客户盈利分析" in html
    assert "重要价值客户" in html
    with pytest.raises(ValueError, match="no language 'fr'"):
        report.render(warehouse, language="fr")


def test_the_curve_is_drawn_from_the_mart(warehouse):
    peak_rank, share = warehouse.execute(
        "select customer_rank, cumulative_share from marts.whale_curve "
        "where period = 'last_12_months' and profit_level = 'operating_profit' and is_peak"
    ).fetchone()
    customers = number(
        warehouse,
        "select count(*) from marts.whale_curve where period = 'last_12_months' and profit_level = 'operating_profit'",
    )
    html = report.render(warehouse)
    assert f"Peak {report.percent(share)} after {peak_rank} of {customers} customers" in html
    assert f"the other {customers - peak_rank} bring it down to {report.percent(1)}" in html


def test_a_company_that_loses_money_is_drawn_in_money(warehouse):
    warehouse.execute(
        "update marts.whale_curve set cumulative_profit = cumulative_profit - 500 * customer_rank * customer_rank, "
        "cumulative_share = null where profit_level = 'operating_profit'"
    )
    end = number(
        warehouse,
        "select min_by(cumulative_profit, -customer_rank) from marts.whale_curve "
        "where profit_level = 'operating_profit' and period = 'last_12_months'",
    )
    html = report.render(warehouse)
    assert f"bring it down to {report.money(end)}" in html
    assert "nan" not in html
    assert "inf" not in html.replace("info", "")


def test_a_company_where_nobody_earns_says_so(warehouse):
    warehouse.execute("update marts.whale_curve set cumulative_profit = -customer_rank")
    warehouse.execute("update overview.customers set operating_profit_12m = -1")
    page = Page(report.render(warehouse))
    assert "No customer makes money: together they lose −" in page.text
    assert "No customer makes money." in page.text


@pytest.mark.parametrize(
    ("emptied", "said"),
    [
        ("marts.whale_curve", "No customer has sales or cost in the period."),
        ("analytics.churn_risk", "No customer with profit is at risk."),
        ("quality.check_results", "No check is recorded."),
        ("marts.customer_cost_lines", "0.00 on customers"),
        ("pools.pool_cost_lines", "Ledger cost 0.00"),
        ("marts.customer_profitability", "List revenue"),
        ("overview.cost_pools", "What the cost is made of"),
        ("marts.reconciliation", "Reconciled with the ledger"),
        ("marts.residual_cost_lines", "0.00 that stays with the company"),
    ],
)
def test_an_empty_table_is_a_sentence_and_no_crash(warehouse, emptied, said):
    warehouse.execute(f"delete from {emptied}")
    assert said in Page(report.render(warehouse)).text


def test_unpublished_names_and_missing_values_leave_ids_and_dashes(warehouse):
    warehouse.execute("update overview.customers set customer_name = null, segment = null, source_customer_id = null")
    warehouse.execute("update overview.cost_pools set budget_amount = null, pool_name = null, stage = null")
    page = Page(report.render(warehouse))
    assert "None" not in page.text
    assert "C000" in page.text
    assert "–" in page.text


def test_nothing_to_report_on_is_said(warehouse):
    warehouse.execute("delete from overview.customers")
    with pytest.raises(ValueError, match=r"overview\.customers is empty"):
        report.render(warehouse)


def test_a_million_customers_make_no_larger_picture():
    profits = [0.0]
    for rank in range(1, 100_001):
        profits.append(profits[-1] + 50_000 - rank + 0.5)
    curve = report.Curve(range(100_001), profits, profits.index(max(profits)))
    texts = {"title": "a", "description": "b", "peak": "c", "end": "d", "axis": "e"}
    assert (
        report.draw(curve, None, texts, in_percent=False, name="n", width=900, height=400, font=14).count("L")
        >= 100_000
    )
    connection = build()
    connection.execute("delete from marts.whale_curve")
    connection.execute(
        "insert into marts.whale_curve by name select 'operating_profit' as profit_level, 'last_12_months' as period, "
        "i as customer_rank, i::varchar as customer_id, 0 as profit, i * (60000 - i / 2) as cumulative_profit, "
        "0 as total_profit, null as cumulative_share, false as is_peak from range(1, 100001) as r(i)"
    )
    html = report.render(connection)
    assert len(html) < 80_000
    assert "after 60,000 of 100,000 customers" in html


@pytest.mark.parametrize(
    ("lowest", "highest", "ticks"),
    [
        (0, 1.17, [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]),
        (-30, 95, [-50, -25, 0, 25, 50, 75, 100]),
        (0, 0, [0, 0.2]),
        (-9_000_000, 0, [-10_000_000, -8_000_000, -6_000_000, -4_000_000, -2_000_000, 0]),
    ],
)
def test_ticks_are_round_and_include_zero(lowest, highest, ticks):
    assert report._ticks(lowest, highest) == pytest.approx(ticks)


def test_numbers_as_text():
    assert report.money(-1234.5) == "−1,234"
    assert report.money(-0.2) == "0"
    assert report.money(None) == "–"
    assert report.cents(-0.001) == "0.00"
    assert report.cents(1234.567) == "1,234.57"
    assert report.signed(12) == "+12"
    assert report.signed(-12) == "−12"
    assert report.signed(0) == "0"
    assert report.share(1, 0) == "–"
    assert report.share(1, 8) == "12.5\u202f%"
    assert report.percent(1.173) == "117\u202f%"


def test_advice_is_shown_by_what_it_brings_and_escaped(warehouse):
    html = report.render(warehouse)
    page = Page(html)
    assert "<them>" not in html
    assert page.text.count("Call <them>") == report.LISTED
    first = number(warehouse, "select expected_effect from overview.customer_actions where priority_rank = 1")
    after = number(
        warehouse, f"select expected_effect from overview.customer_actions where priority_rank = {report.LISTED + 1}"
    )
    assert report.signed(first) in page.text
    assert report.signed(after) not in page.text
    assert "致电<客户>" in Page(report.render(warehouse, language="zh")).text


def test_each_quadrant_and_each_model_in_use_is_a_row(warehouse):
    page = Page(report.render(warehouse))
    losing = number(warehouse, "select sum(profit_12m) from analytics.profitability_matrix where strategy = 'reprice'")
    assert report.money(losing) in page.text
    assert "average of logit and boosting" in page.text
    assert "logistic regression" not in page.text  # measured, and not used
    assert "0.812" in page.text
    assert "\u22122\u202f%" in page.text  # bias
    assert "+30\u202f%" in page.text
    assert page.text.count("fallback") == 1


def test_the_churn_list_says_when_it_is_a_rule_of_thumb(warehouse):
    rule = "Too little history to learn from"
    assert rule not in Page(report.render(warehouse)).text
    warehouse.execute("update analytics.churn_risk set model = 'silence_ratio'")
    assert rule in Page(report.render(warehouse)).text


@pytest.mark.parametrize(
    ("language", "said"), [("en", "till_7 is late: last delivery none."), ("zh", "till_7 数据未到")]
)
def test_a_source_that_is_late_is_named(warehouse, language, said):
    late = [{"source": "till_7", "last_delivery": None}, {"source": "<b>x", "last_delivery": "2026-06-28"}]
    html = report.render(warehouse, language=language, late=late)
    assert said in html
    assert "<b>x" not in html
    assert "2026-06-28" in html
    assert "till_7" not in report.render(warehouse, language=language)
