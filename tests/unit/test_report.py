"""The report: complete, safe against names from outside, and true to the tables."""

import re
from html.parser import HTMLParser

import contract_tables
import pytest
import yaml
from release_fixture import AS_OF, RELATIONS, build, record_passes

from assets.company import load_company
from assets.errors import ConfigurationError
from assets.publish import numbers, page, report


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
        self.text += " " if tag in ("th", "td") else ""

    def handle_data(self, data):
        self.text += data


def number(connection, query):
    return connection.execute(query).fetchone()[0]


def test_the_page_is_whole_and_says_what_the_tables_say(warehouse):
    shown = Page(report.render(warehouse))
    assert shown.open == []
    assert shown.tags.count("h1") == 1
    assert shown.tags.count("svg") == 6 + 4 * 2  # a trend each, and four pictures for a desk and for a phone
    assert shown.tags.count("desc") == 4 * 2
    assert "Harbour Pine <Trading> & Sons" in shown.text
    assert "2026-06-30" in shown.text
    assert "CNY" in shown.text
    for query in (
        "select sum(net_revenue_12m) from overview.customers",
        "select sum(gross_margin_12m) from overview.customers",
        "select sum(operating_profit_12m) from overview.customers",
        "select min(operating_profit_12m) from overview.customers",
        "select max(expected_profit_lost) from analytics.churn_risk",
        "select sum(actual_amount) from overview.cost_pools where pool_id = 'support' and month >= '2025-07-01'",
    ):
        assert report.money(number(warehouse, query)) in shown.text, query
    ledger = number(warehouse, "select sum(amount_cents) / 100 from pools.pool_cost_lines where month >= '2025-07-01'")
    assert f"Ledger cost {report.cents(ledger)} = " in shown.text
    assert "Difference 0.00." in shown.text
    assert "Freight is booked with goods." in shown.text
    assert "10.50" in shown.text
    checks = number(warehouse, "select count(*) from quality.check_results")
    assert f"{checks} of {checks} checks passed." in shown.text


def test_names_from_outside_are_text_and_nothing_else(warehouse):
    html = report.render(warehouse)
    shown = Page(html)
    assert "<script>alert('stolen')</script>" in shown.text  # shown as it is written
    assert "script" not in shown.tags
    assert "<script" not in html
    assert not [name for name, _ in shown.attributes if name.startswith("on")]


def test_a_hostile_unit_reason_or_observation_is_text_too(warehouse):
    hostile = "</td></svg><img src=x onerror=alert(1)>"
    warehouse.execute("update overview.cost_pools set pool_name = ?, stage = ?", [hostile, hostile])
    warehouse.execute("update marts.reconciliation set reason = ? where status = 'warn'", [hostile])
    warehouse.execute("update quality.check_results set passed = false, observed = ?, detail = ?", [hostile] * 2)
    warehouse.execute("update overview.customers set owner_ref = ?, segment = ?, source_customer_id = ?", [hostile] * 3)
    warehouse.execute("update rules.company set company_name = ?, base_currency = ?", [hostile] * 2)
    warehouse.execute("update analytics.break_even set sentence = ?", [hostile])
    warehouse.execute("update analytics.credit_risk set explanation = ?", [hostile])
    warehouse.execute("update analytics.cost_anomalies set explanation = ?, pool_name = ?", [hostile] * 2)
    warehouse.execute("update analytics.acquisition_channels set channel = ?", [hostile])
    warehouse.execute("update analytics.service_quality set channel = ?", [hostile])
    warehouse.execute("update analytics.customer_stage_flows set from_stage = ?, to_stage = ? || 'x'", [hostile] * 2)
    warehouse.execute("update analytics.kpis set title = ?", [hostile])
    warehouse.execute("update analytics.model_drift set feature = ?", [hostile])
    warehouse.execute("update raw.file_registry set source = ?", [hostile])
    warehouse.execute("update analytics.customer_rfm set rfm_tier = ?", [hostile])
    warehouse.execute("update analytics.profitability_matrix set strategy = ?", [hostile])
    shown = Page(report.render(warehouse))
    assert "img" not in shown.tags
    assert shown.text.count(hostile) > 40


def test_the_page_refers_to_nothing_outside_and_runs_nothing(warehouse):
    html = report.render(warehouse)
    attributes = Page(html).attributes
    assert not {name for name, _ in attributes} & {"src", "srcset", "action", "data", "poster", "xlink:href"}
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    pointed_at = {value for name, value in attributes if name == "href"}
    assert len(pointed_at) > 10
    assert pointed_at <= {f"#{identifier}" for identifier in ids}
    named_by = {value for name, value in attributes if name == "aria-labelledby"}
    assert {identifier for value in named_by for identifier in value.split()} <= set(ids)


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
        if isinstance(english, dict):
            assert set(english) == set(languages["zh"][name]), name
        else:
            assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", languages["zh"][name])), name
    html = report.render(warehouse, language="zh")
    assert '<html lang="zh">' in html
    assert "客户盈利分析" in html
    assert "重要价值客户" in html
    assert set(languages) == set(page.LANGUAGES)
    with pytest.raises(ValueError, match="in the language 'fr'"):
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
    shown = Page(report.render(warehouse))
    assert "No customer makes money: together they lose −" in shown.text
    assert "No customer makes money." in shown.text


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
        ("analytics.kpis", "The company in six numbers"),
        ("analytics.break_even", "No single change that could be asked for makes this customer profitable."),
        ("analytics.credit_risk", "0 is owed, 0 of it overdue"),
        ("analytics.cost_anomalies", "No month of the last 12 is unusual"),
        ("analytics.acquisition_channels", "No channel is known"),
        ("analytics.service_quality", "No service case is known."),
        ("analytics.customer_stage_flows", "Tiers now"),
        ("analytics.profitability_matrix", "Profit against relationship"),
        ("analytics.relationship_strength", "Profit against relationship"),
        ("analytics.customer_rfm", "never bought"),
        ("analytics.model_drift", "How good the forecasts were"),
        ("raw.file_registry", "Checked before it was shown"),
    ],
)
def test_an_empty_table_is_a_sentence_and_no_crash(warehouse, emptied, said):
    warehouse.execute(f"delete from {emptied}")
    html = report.render(warehouse)
    assert said in Page(html).text or said in html


def test_unpublished_names_and_missing_values_leave_ids_and_dashes(warehouse):
    warehouse.execute("update overview.customers set customer_name = null, segment = null, source_customer_id = null")
    warehouse.execute("update overview.cost_pools set budget_amount = null, pool_name = null, stage = null")
    shown = Page(report.render(warehouse))
    assert "None" not in shown.text
    assert "C000" in shown.text
    assert "–" in shown.text


def test_nothing_to_report_on_is_said(warehouse):
    warehouse.execute("delete from overview.customers")
    with pytest.raises(ValueError, match=r"overview\.customers is empty"):
        report.render(warehouse)


def test_a_million_customers_make_no_larger_page(warehouse):
    usual = len(report.render(warehouse))
    connection = build()
    connection.execute("delete from marts.whale_curve")
    connection.execute(
        "insert into marts.whale_curve by name select 'operating_profit' as profit_level, 'last_12_months' as period, "
        "i as customer_rank, i::varchar as customer_id, 0 as profit, i * (60000 - i / 2) as cumulative_profit, "
        "0 as total_profit, null as cumulative_share, false as is_peak from range(1, 100001) as r(i)"
    )
    connection.execute(
        "insert into analytics.profitability_matrix by name select 'X' || i as customer_id, date '2026-06-30' as "
        "as_of_date, i::decimal(22, 4) as net_revenue_12m, (i - 50000)::decimal(22, 4) as profit_12m, 'protect' as strategy, "
        "'保护' as strategy_zh, (i % 100)::double as relationship_strength from range(100000) as r(i)"
    )
    html = report.render(connection)
    assert len(html) < usual + 20_000
    assert "after 60,000 of 100,000 customers" in html
    assert "for the 300 customers with most revenue of 100,060" in html


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
    assert numbers.change(-0.0004) == "0.0\u202f%"
    assert numbers.change(0.0312) == "+3.1\u202f%"
    assert numbers.decimal(1200) == "1,200"
    assert numbers.in_unit(-0.0912, "share") == "−9.1\u202f%"
    assert numbers.in_unit(None, "share") == "–"
    assert numbers.in_unit(4, "hours") == "4"


def test_a_value_to_reach_is_rounded_so_that_it_suffices():
    assert numbers.reached(3.548, 33.29) == "3.54"  # a discount of 3.55 would be too much
    assert numbers.reached(131.4712, 129.18) == "131.48"
    assert numbers.reached(0.07, 0.29) == "0.07"
    assert numbers.reached(None, 1) == "–"


def test_advice_is_shown_by_what_it_brings_and_escaped(warehouse):
    html = report.render(warehouse)
    shown = Page(html)
    assert "<them>" not in html
    assert shown.text.count("Call <them>") == report.LISTED
    first = number(warehouse, "select expected_effect from overview.customer_actions where priority_rank = 1")
    after = number(
        warehouse, f"select expected_effect from overview.customer_actions where priority_rank = {report.LISTED + 1}"
    )
    assert report.signed(first) in shown.text
    assert report.signed(after) not in shown.text
    assert "致电<客户>" in Page(report.render(warehouse, language="zh")).text


def test_each_quadrant_and_each_model_in_use_is_a_row(warehouse):
    shown = Page(report.render(warehouse))
    losing = number(warehouse, "select sum(profit_12m) from analytics.profitability_matrix where strategy = 'reprice'")
    assert report.money(losing) in shown.text
    assert "average of logit and boosting" in shown.text
    assert "logistic regression" not in shown.text  # measured, and not used
    assert "0.812" in shown.text
    assert "\u22122\u202f%" in shown.text  # bias
    assert "+30\u202f%" in shown.text
    assert shown.text.count("fallback") == 1


def test_the_churn_list_says_when_it_is_a_rule_of_thumb(warehouse):
    rule = "Too little history to learn from"
    assert rule not in Page(report.render(warehouse)).text
    warehouse.execute("update analytics.churn_risk set model = 'silence_ratio'")
    assert rule in Page(report.render(warehouse)).text


def test_six_numbers_are_set_against_the_months_before_and_the_targets(warehouse):
    text = Page(report.render(warehouse)).text
    before = "from marts.customer_profitability where month between '2024-07-01' and '2025-06-01'"
    now = number(warehouse, "select sum(net_revenue_12m) from overview.customers")
    change = float(now / number(warehouse, f"select sum(net_revenue) {before}") - 1)
    assert f"{numbers.change(change)} on the 12 months before" in text
    lost = "select coalesce(sum(p) filter (p < 0), 0) from (select sum(operating_profit) as p {} group by customer_id)"
    lost_before = number(warehouse, lost.format(before))
    lost_now = number(warehouse, "select sum(least(operating_profit_12m, 0)) from overview.customers")
    assert f"{report.signed(lost_now - lost_before)} on the 12 months before" in text
    assert "operating margin 9.1\u202f%, target 10.0\u202f% missed" in text
    warehouse.execute("delete from marts.customer_profitability where month = '2024-07-01'")
    assert "on the 12 months before" not in Page(report.render(warehouse)).text


def test_targets_are_listed_missed_ones_first_and_figures_without_one_left_out(warehouse):
    text = Page(report.render(warehouse)).text
    assert "2 of 3 targets are missed: operating margin, New <figure>." in text
    table = text[text.index("Against targets") : text.index("From list price to profit")]
    assert table.index("operating margin") < table.index("New <figure>") < table.index("first response, hours")
    assert "≥ 10.0\u202f%" in table
    assert "≤ 4" in table
    assert "acquisition cost" not in table


def test_each_customer_in_loss_has_the_nearest_way_out(warehouse):
    losing = warehouse.execute(
        "select customer_id from overview.customers where operating_profit_12m < 0 order by operating_profit_12m limit 10"
    ).fetchall()
    assert losing
    text = Page(report.render(warehouse)).text
    for (customer,) in losing:
        assert f"Profitable if the <discount_ceiling> of {customer} changes, counting full_cost." in text
    assert "counting avoidable" not in text
    assert text.count("Profitable if") == len(losing)
    chinese = Page(report.render(warehouse, language="zh")).text
    assert chinese.count("若折扣由 33.29% 变为 3.54%，即可盈利（按全部成本计）。") == len(losing)
    warehouse.execute("update analytics.break_even set is_feasible = false")
    assert "Profitable if" not in Page(report.render(warehouse)).text


def test_two_levers_together_are_one_sentence_in_chinese():
    pair = {
        "lever": "cheapest_pair", "first_lever": "price", "second_lever": "other_cost_to_serve", "unit": "money per unit",
        "current_value": 82.98931, "target_value": 91.28824, "second_unit": "money", "second_current_value": 105602.75,
        "second_target_value": 6147.0812, "sentence": "Profitable if ...",
    }  # fmt: skip
    labels = yaml.safe_load((report.HERE / "labels.yml").read_text(encoding="utf-8"))
    assert report.profitable_if(pair, "zh", labels["zh"]) == (
        "若净价由 82.99 变为 91.29，且订单以外的服务成本由 105,602.75 变为 6,147.08，即可盈利（按全部成本计）。"
    )
    assert report.profitable_if(pair, "en", labels["en"]) == "Profitable if ..."


def test_lists_of_credit_flows_anomalies_channels_service_and_deliveries(warehouse):
    text = " ".join(Page(report.render(warehouse)).text.split())
    owed, overdue = warehouse.execute("select sum(exposure), sum(overdue) from analytics.credit_risk").fetchone()
    assert f"{report.money(owed)} is owed, {report.money(overdue)} of it overdue" in text
    advised = number(warehouse, "select count(*) from analytics.credit_risk where suggestion = 'prepay'")
    assert f"{report.money(overdue)} is overdue; the terms of {advised} customers should change." in text
    assert text.count("CR-1: <") == report.LISTED
    # Before, moves of twelve months, now: three a month went from new to active, two a month came.
    assert "new 3 36 2 active 42 12 44 at risk 1 12 1" in text
    assert "largest is Customer support in 2026-02, +1,234" in text
    assert "<Web> 12 480 40 +37 % 2025-06 (4) in 7 months" in text
    assert "<Fax> 120 12 75 % 50 % 80 % 24 13.00" in text
    assert "1 of 2 inputs and scores are distributed as they were" in text
    assert "Those that moved: complaint_rate." in text
    assert "billing 3 300 3 2026-06-30" in text


def test_the_waterfall_adds_up_to_the_profit_of_the_company(warehouse):
    labels = yaml.safe_load((report.HERE / "labels.yml").read_text(encoding="utf-8"))["en"]
    steps = report.waterfall_steps(report._profit_and_loss(warehouse, AS_OF), labels)
    level = 0
    for step in steps:
        level = level + step["amount"] if not step["is_total"] or step is steps[0] else level
        assert level == step["amount"] or not step["is_total"]
    assert steps[-1]["label"] == "Company profit"
    assert "Allocated sustaining cost" not in {step["label"] for step in steps}


def test_company_yml_says_the_language(tmp_path):
    text = "company: tea\nname: Tea\nbase_currency: EUR\nfirst_business_date: 2026-01-31\nsources: {till: {dialect: till}}\n"
    (tmp_path / "company.yml").write_text(text)
    assert load_company(tmp_path).report.language == "en"
    (tmp_path / "company.yml").write_text(text + "report: {language: zh}\n")
    assert load_company(tmp_path).report.language == "zh"
    (tmp_path / "company.yml").write_text(text + "report: {language: fr}\n")
    with pytest.raises(ConfigurationError, match=r"report\.language"):
        load_company(tmp_path)


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


def test_every_column_the_report_reads_is_in_the_contract():
    connection = contract_tables.warehouse()
    connection.execute("create schema rules; create schema raw")
    connection.execute("create table rules.company as select 'Tea' as company_name, 'EUR' as base_currency")
    connection.execute(
        "create table raw.file_registry (source varchar, file_name varchar, extract_date date, rows_in bigint, "
        "rows_quarantined bigint)"
    )
    contract_tables.insert(
        connection, "overview.customers", customer_id="C1", as_of_date=AS_OF, operating_profit_12m=-1
    )
    shown = Page(report.render(connection))
    assert shown.open == []
    assert "None" not in shown.text
    assert "No check is recorded." in shown.text
