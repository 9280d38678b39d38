"""A customer's page: true to the release, whole where little is known, safe against names, and one answer to any id."""

import datetime
import os
import re
import stat
from decimal import Decimal

import pytest
from contract_tables import insert, released
from test_report import Page

from assets.errors import WhalecurveError
from assets.publish import customer_page as pages

AS_OF = datetime.date(2026, 6, 30)
MONTHS = [datetime.date(2026, month, 1) for month in range(1, 7)]
HOSTILE = "</td></svg><script>alert(1)</script>\x1b[2J"


def page(connection, asked="C1", language="en"):
    return pages.customer_page(connection, asked, company="Tea & <Sons>", currency="EUR", language=language)


class Words(Page):
    """A page whose elements' texts stand apart."""

    def handle_data(self, data):
        self.text += f" {data}"


def words(html):
    return " ".join(Words(html).text.split())


@pytest.fixture
def release():
    """C1 loses 50 a month: 1000 list, 100 discount, 700 goods, 230 cost to serve, 20 of credit. C2 is only known by name."""
    connection = released()
    insert(
        *(connection, "customers"), customer_id="C1", as_of_date=AS_OF, customer_name="Birch <Stores>", segment="Retail",
        city="Porto", country="Portugal", owner_ref="U7", source_instance="crm", source_customer_id="0015g1",
        orders_12m=12, net_revenue_12m=5400, gross_margin_12m=1200, cost_to_serve_12m=1380, credit_cost_12m=120,
        allocated_sustaining_12m=0, operating_profit_12m=-300, customer_tier="VIP", rfm_tier="Champions",
        lifecycle_stage="active", value_tier="low", is_deleted=False,
    )  # fmt: skip
    insert(
        *(connection, "customers"), customer_id="C2", as_of_date=AS_OF, net_revenue_12m=0, gross_margin_12m=0,
        cost_to_serve_12m=0, credit_cost_12m=0, allocated_sustaining_12m=0, operating_profit_12m=0, orders_12m=0,
    )  # fmt: skip
    for month in MONTHS:
        insert(
            *(connection, "customer_profitability"), customer_id="C1", month=month, order_count=2, list_revenue=1000,
            discounts=100, net_revenue=900, cost_of_goods_sold=700, gross_margin=200, direct_cost_to_serve=30,
            activity_cost_variable=120, activity_cost_step_fixed=0, activity_cost_fixed=80, expected_credit_loss=5,
            financing_cost=15, contribution_after_cost_to_serve=-50, allocated_sustaining=0, operating_profit=-50,
        )  # fmt: skip
        for behaviour, amount in (("variable", 120), ("fixed", 80)):
            insert(
                *(connection, "customer_cost_lines"), customer_id="C1", month=month, driver_month=month, pool_id="visits",
                behaviour=behaviour, pool_name="Field visits", stage="activity", driver_unit="visit",
                driver_quantity=4, amount=amount,
            )  # fmt: skip
        insert(
            *(connection, "customer_cost_lines"), customer_id="C1", month=month, driver_month=month, pool_id="freight",
            behaviour="unassigned", pool_name="Freight", stage="direct", amount=30,
        )  # fmt: skip
    levers = (
        ("full_cost", "price", 1, True, 82.98931, 91.28824, "Profitable if the net price rises."),
        ("full_cost", "payment_terms", None, False, 63.1, None, "Not by payment terms."),
        ("avoidable", "cost_to_serve", 1, True, 1380, 1080, "Profitable if the cost to serve falls."),
    )
    for horizon, lever, rank, feasible, now, target, sentence in levers:
        insert(
            *(connection, "break_even"), customer_id="C1", as_of_date=AS_OF, horizon=horizon, lever=lever, profit_now=-300,
            is_profitable=False, is_feasible=feasible, lever_rank=rank, unit="money", current_value=now,
            target_value=target, sentence=sentence,
        )  # fmt: skip
    insert(
        connection,
        "customer_rfm",
        customer_id="C1",
        rfm_tier="Champions",
        rfm_tier_zh="重要价值客户",
        customer_tier="VIP",
    )
    insert(
        *(connection, "customer_clv"), customer_id="C1", clv=-812, clv_low=-1430, clv_high=-95, clv_model="pareto_nbd",
        horizon_months=36, expected_orders=17.25, expected_profit_per_order=-47, months_observed=6,
    )  # fmt: skip
    insert(
        *(connection, "churn_risk"), customer_id="C1", horizon_days=90, churn_probability=0.27, expected_profit_lost=33,
        days_since_last_purchase=41, reason_1="complaints", reason_1_text="9 complaints", model="average",
    )  # fmt: skip
    insert(
        *(connection, "credit_risk"), customer_id="C1", exposure=1234.5, overdue=234.25, suggestion="prepay", rule_id="CR-1",
        explanation="CR-1: pays late.", credit_limit=5000, recommended_limit=0, expected_credit_loss=61.72, dso=52.2,
    )  # fmt: skip
    insert(
        *(connection, "relationship_strength"), customer_id="C1", strength=61.5, strength_class="strong", coverage=0.8,
        loyalty_score=97.6, explanation="62 of 100: satisfaction not known.",
    )  # fmt: skip
    insert(
        *(connection, "customer_actions"), customer_id="C1", action="reprice", action_rank=1, title="Agree on a price",
        title_zh="商定价格", reason="Lost EUR 300.00.", reason_zh="亏损300欧元。", expected_effect=310,
        due_date=datetime.date(2026, 7, 30), owner_role="pricing",
    )  # fmt: skip
    insert(
        *(connection, "profit_sensitivity"), customer_id="C1", lowest_profit=-320, highest_profit=-280,
        loss_probability_25=0.93,
    )  # fmt: skip
    return connection


def test_the_page_says_what_the_release_says(release):
    shown = Page(page(release).html)
    assert shown.open == []
    assert shown.tags.count("h1") == 1
    text = words(page(release).html)
    for said in (
        "Tea & <Sons>",
        "Birch <Stores>",
        "−5.6 % of revenue",
        "80 %: −1,430 to −95",
        "27 % 33 at risk in 90 days",
        "Porto, Portugal",
        "crm · 0015g1",
        # a month in cents, then the waterfall of the year
        "2026-06 2 900.00 200.00 230.00 20.00 0.00 −50.00",
        "Gross margin 1,200.00 22.2 %",
        "Profit −300.00 −5.6 %",
        # 6 months x (120 + 80), 4 visits each, counted once though two behaviours divide by them
        "Field visits activity 1,200.00 100.0 % 24 visit whalecurve explain C1 --month 2026-06 --pool visits",
        "Freight direct 180.00 15.0 % whalecurve explain C1 --month 2026-06 --pool freight",
        "Profitable if the net price rises. 82.99 91.29 yes",
        "Not by payment terms. 63.1 – no",
        "complaints: 9 complaints",
        "1,234.50",
        "5,000 → 0",
        "Agree on a price Lost EUR 300.00. pricing 2026-07-30 +310",
        "the profit is between −320 and −280",
    ):
        assert said in text, said


def test_the_console_says_it_in_short(release):
    text = page(release).text
    assert text.startswith(
        "C1 Birch <Stores>, as of 2026-06-30, in EUR\n  Retail, Porto, Portugal, VIP, Champions, active\n"
    )
    for said in (
        "      5,400.00  net revenue",
        "       -300.00  profit",
        "      1,200.00  Field visits: whalecurve explain C1 --month 2026-06 --pool visits",
        "worth -812 over 36 months (80 %: -1,430 to -95), by pareto_nbd",
        "27 % likely to buy nothing in 90 days, 33 of profit at risk: 9 complaints",
        "owes 1,234.50, 234.25 of it overdue; ask for payment in advance",
        "  Profitable if the net price rises.",
        "Agree on a price (by 2026-07-30): Lost EUR 300.00.",
    ):
        assert said in text, said
    assert "sustaining" not in text
    assert max(len(line) for line in text.splitlines()) <= pages.WIDTH


def test_a_customer_of_whom_little_is_known_has_a_whole_page(release):
    shown = page(release, "C2")
    html = Page(shown.html)
    assert html.open == []
    assert "None" not in html.text
    assert "No sales and no cost in the last 24 months." in html.text
    assert "Who has never bought cannot leave." in html.text
    assert "No invoice is known." in html.text
    assert "None" not in shown.text
    assert "What costs most" not in shown.text
    assert "What to do" not in shown.text


def test_a_customer_can_be_asked_for_by_the_id_of_the_crm(release):
    assert page(release, "0015g1").customer_id == "C1"
    insert(release, "customers", customer_id="C3", as_of_date=AS_OF, source_customer_id="0015g1")
    with pytest.raises(WhalecurveError, match=r"several customers: C1, C3"):
        page(release, "0015g1")


def test_an_unknown_customer_is_a_sentence_with_near_ids(release):
    with pytest.raises(WhalecurveError, match=r"no customer 'C11' .* nearest ids are C1 \(Birch <Stores>\), C2\."):
        page(release, "C11")
    with pytest.raises(WhalecurveError, match=r"nearest ids are C1 "):
        page(release, "birch <stores>")
    release.execute("delete from customers")
    with pytest.raises(WhalecurveError, match="no customer at all"):
        page(release, "C11'; drop table customers; --")


def test_a_release_without_a_table_is_a_sentence(release):
    release.execute("drop table break_even")
    with pytest.raises(WhalecurveError, match=r"earlier version .*break_even"):
        page(release)


def test_no_value_becomes_a_tag_and_none_reaches_the_terminal_as_a_command(release):
    for table, columns in {
        "customers": "customer_name segment level industry city owner_ref source_customer_id acquisition_source lifecycle_stage",
        "customer_cost_lines": "pool_name stage driver_unit",
        "break_even": "sentence lever",
        "customer_rfm": "rfm_tier customer_tier",
        "customer_clv": "clv_model",
        "churn_risk": "reason_1 reason_1_text",
        "credit_risk": "suggestion explanation",
        "relationship_strength": "explanation strength_class",
        "customer_actions": "title reason owner_role",
    }.items():
        for column in columns.split():
            release.execute(f"update {table} set {column} = ?", [HOSTILE])
    found = page(release)
    shown = Page(found.html)
    assert "script" not in shown.tags
    assert "<script" not in found.html
    assert shown.text.count(HOSTILE) > 15
    assert not [name for name, _ in shown.attributes if name.startswith("on")]
    assert "\x1b" not in found.text
    assert "<script>alert(1)</script>" in found.text


def test_the_page_refers_to_nothing_outside_and_is_always_the_same(release):
    html = page(release).html
    attributes = Page(html).attributes
    assert not {name for name, _ in attributes} & {"src", "srcset", "action", "data", "poster", "xlink:href"}
    assert {value for name, value in attributes if name == "href"} == {"#main"}
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert page(release).html == html


def test_chinese_labels_and_figures(release):
    shown = Page(page(release, language="zh").html)
    assert ("lang", "zh") in shown.attributes
    text = words(page(release, language="zh").html)
    assert "重要价值客户" in text
    assert "商定价格 亏损300欧元。" in text
    assert "若净价由 82.99 变为 91.29，即可盈利（按全部成本计）。" in text
    assert "Profitable if" not in text


def test_how_far_a_profitable_customer_is_from_a_loss_is_rounded_to_the_safe_side(release):
    release.execute("update break_even set is_profitable = true, target_value = 71.2342 where lever = 'price'")
    text = words(page(release).html)
    assert "82.99 71.24 yes" in text  # at 71.23 it would be a loss
    release.execute("update break_even set is_profitable = false, target_value = 91.2812 where lever = 'price'")
    assert "82.99 91.29 yes" in words(page(release).html)


def test_the_page_is_written_for_its_reader_alone_and_never_into_a_release(tmp_path):
    releases = tmp_path / "releases"
    (releases / "2026-06-30-abc").mkdir(parents=True)
    (releases / "current").symlink_to("2026-06-30-abc")
    file = tmp_path / "C1.html"
    file.write_text("what was there before, and longer")
    file.chmod(0o644)
    pages.write_page("<!doctype html>", file, releases)
    assert file.read_text() == "<!doctype html>"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    with pytest.raises(WhalecurveError, match="among the releases"):
        pages.write_page("x", releases / "current" / "report.html", releases)
    with pytest.raises(WhalecurveError, match="cannot be written"):
        pages.write_page("x", tmp_path / "nowhere" / "C1.html", releases)
    with pytest.raises(WhalecurveError, match="cannot be written"):
        pages.write_page("x", tmp_path, releases)


def test_amounts_of_cost_lines_of_another_month_keep_their_quantity_out(release):
    """Cost taken back for an earlier month is divided by that month's quantities: they are not used once more."""
    insert(
        *(release, "customer_cost_lines"), customer_id="C1", month=MONTHS[5], driver_month=MONTHS[4], pool_id="visits",
        behaviour="variable", pool_name="Field visits", stage="activity", driver_unit="visit", driver_quantity=9,
        amount=Decimal("-20.00"),
    )  # fmt: skip
    assert "Field visits activity 1,180.00 98.3 % 24 visit" in words(page(release).html)
