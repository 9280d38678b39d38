"""Scenarios: what one may say, the company folder that follows, and what it changes, to the cent and to nobody else."""

import datetime
from decimal import Decimal
from types import SimpleNamespace

import duckdb
import pytest
from command import PROJECT

from assets.company import load_company
from assets.costing.rule_files import load_rules
from assets.costing.scenario import ATTRIBUTES, PriceChange, RuleChange, Scenario, lay_over, load_scenario
from assets.errors import ConfigurationError
from assets.publish.what_if import PRICE, TABLES, curves_of, outcome, outcome_text

DEMO = PROJECT / "companies" / "demo"
CAPACITY = {"file": "capacities.csv", "where": {"pool_id": "customer_service"}, "set": {"capacity": "14500"}}


def scenario(**parts):
    return Scenario.model_validate({"name": "asked", **parts})


# What a scenario may say


def test_a_scenario_is_read_from_a_file(tmp_path):
    (tmp_path / "asked.yml").write_text(
        "name: asked\n"
        "rules: [{file: capacities.csv, where: {pool_id: customer_service}, set: {capacity: 14500}}]\n"
        "settings: {credit.cost_of_capital: 0.10}\n"
        "prices: [{percent: 5, customer: C1}, {percent: -2.5, attribute: industry, value: Retail}, {percent: 1}]\n"
        "months: 3\n"
    )
    read = load_scenario(tmp_path / "asked.yml")
    assert read == scenario(
        rules=[CAPACITY],
        settings={"credit.cost_of_capital": "0.10"},
        prices=[
            {"percent": 5, "customer": "C1"},
            {"percent": "-2.5", "attribute": "industry", "value": "Retail"},
            {"percent": 1},
        ],
        months=3,
    )
    assert [str(price) for price in read.prices] == ["+5% for C1", "-2.5% for industry Retail", "+1% for all customers"]


def test_the_scenario_of_the_how_to_fits_the_demo(tmp_path):
    text = (PROJECT / "docs" / "how-to" / "ask-what-if.md").read_text(encoding="utf-8")
    (tmp_path / "shown.yml").write_text(text.partition("```text\n")[2].partition("```")[0])
    read = load_scenario(tmp_path / "shown.yml")
    assert (len(read.rules), len(read.settings), len(read.prices)) == (1, 1, 2)
    assert len(lay_over(read, DEMO, tmp_path / "company")) == 4


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "a scenario changes something"),
        ({"name": "../x", "settings": {"credit.x": "1"}}, "'name'"),
        ({"rules": [{**CAPACITY, "file": "../company.yml"}]}, "rules.0.file"),
        ({"rules": [{**CAPACITY, "where": {}}]}, "rules.0.where"),
        ({"settings": {"privacy.publish": "customer_name"}}, "begin with costing. or credit., such as"),
        ({"settings": {"credit": "1"}}, "is not a setting a scenario may change"),
        ({"prices": [{"percent": -100}]}, "prices.0.percent"),
        ({"prices": [{"percent": 1, "customer": "C1", "attribute": "level", "value": "A"}]}, "not both"),
        ({"prices": [{"percent": 1, "attribute": "level"}]}, "go together"),
        ({"prices": [{"percent": 1, "attribute": "customer_name", "value": "A"}]}, "prices.0.attribute"),
        ({"prices": [{"percent": 1}], "months": 0}, "'months'"),
    ],
)
def test_what_a_scenario_cannot_say_is_refused(tmp_path, parts, said):
    import json

    (tmp_path / "asked.yml").write_text(json.dumps({"name": "asked", **parts}))
    with pytest.raises(ConfigurationError) as refused:
        load_scenario(tmp_path / "asked.yml")
    assert said in str(refused.value)
    assert "asked.yml" in str(refused.value)


# The company folder that follows


def test_only_the_cells_named_change(tmp_path):
    asked = scenario(
        rules=[{**CAPACITY, "where": {"pool_id": "customer_service", "valid_from": "2026-01-01"}}],
        settings={
            "credit.cost_of_capital": "0.10",
            "costing.service_method": "direct",
            "credit.loss_rates.not_due": "0.01",
        },
    )
    said = lay_over(asked, DEMO, tmp_path / "company")
    assert said == [
        "capacities.csv, customer_service, 2026-01-01: capacity 16500 -> 14500",
        "credit.cost_of_capital 0.08 -> 0.10",
        "costing.service_method as by default -> direct",
        "credit.loss_rates.not_due 0.004 -> 0.01",
    ]
    before, after = load_rules(DEMO), load_rules(tmp_path / "company")
    changed = [(a, b) for a, b in zip(before.capacities, after.capacities, strict=True) if a != b]
    assert [(b.pool_id, str(b.valid_from), b.capacity) for _, b in changed] == [
        ("customer_service", "2026-01-01", Decimal("14500"))
    ]
    assert before.model_copy(update={"capacities": after.capacities}) == after
    was, now = load_company(DEMO), load_company(tmp_path / "company")
    assert (now.credit.cost_of_capital, now.costing.service_method, now.credit.loss_rates.not_due) == (
        0.1,
        "direct",
        0.01,
    )
    rates = was.credit.loss_rates.model_copy(update={"not_due": 0.01})
    credit = was.credit.model_copy(update={"cost_of_capital": 0.1, "loss_rates": rates})
    costing = was.costing.model_copy(update={"service_method": "direct"})
    assert was.model_copy(update={"credit": credit, "costing": costing}) == now


def test_every_row_that_fits_is_changed_and_told_apart(tmp_path):
    said = lay_over(scenario(rules=[CAPACITY]), DEMO, tmp_path / "company")
    assert said == [
        "capacities.csv, customer_service, from 2024-07-01: capacity 19000 -> 14500",
        "capacities.csv, customer_service, from 2026-01-01: capacity 16500 -> 14500",
    ]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"rules": [{**CAPACITY, "where": {"pool_id": "warehouse"}}]},
            "no row with pool_id warehouse; pool_id is one of cust",
        ),
        (
            {"rules": [{**CAPACITY, "where": {"pool_id": "it", "valid_from": "2026-01-01"}}]},
            "no row with pool_id it, valid_from 2026-01-01; no row has all of these",
        ),
        (
            {"rules": [{**CAPACITY, "set": {"capcity": "1"}}]},
            "capacities.csv has no column 'capcity'; its columns are pool_id,",
        ),
        ({"rules": [{**CAPACITY, "set": {"capacity": "many"}}]}, "column capacity: "),
        (
            {"rules": [{"file": "pools.csv", "where": {"pool_id": "order_entry"}, "set": {"driver_id": "wishes"}}]},
            "there is no driver 'wishes'",
        ),
        ({"settings": {"credit.cost_of_money": "0.1"}}, "'credit.cost_of_money': is not a key known here"),
        ({"settings": {"credit.cost_of_capital.low": "0.1"}}, "cost_of_capital in"),
    ],
)
def test_a_change_that_fits_nothing_or_cannot_be_is_refused(tmp_path, parts, said):
    with pytest.raises(ConfigurationError) as refused:
        lay_over(scenario(**parts), DEMO, tmp_path / "company")
    assert said in str(refused.value)


def test_only_what_a_company_is_made_of_is_copied(tmp_path):
    lay_over(scenario(rules=[CAPACITY]), DEMO, tmp_path / "company")
    copied = {
        path.relative_to(tmp_path / "company").as_posix()
        for path in (tmp_path / "company").rglob("*")
        if path.is_file()
    }
    assert {"company.yml", "playbook.yml", "costing/pools.csv", "dialects/salesforce.yml"} <= copied
    assert not {name for name in copied if name.endswith(".py")}


# What it changes

LAST = datetime.date(2026, 6, 30)


@pytest.fixture
def sides():
    """Two customers over 14 months: 1,000 and 500 a month, each with 100 of one pool; under the scenario ten of it go from the
    second to the first in 2026, and five to nobody."""
    connection = duckdb.connect()
    connection.execute("create table customers as select * from (values ('C1', 'One', 'Retail'), ('C2', 'Two', null)) "
                       "as names(customer_id, customer_name, industry)")  # fmt: skip
    for attribute in set(ATTRIBUTES) - {"industry"}:
        connection.execute(f"alter table customers add column {attribute} varchar")
    months = "range(date '2025-05-01', date '2026-07-01', interval 1 month) as months(month)"
    for side, more in (("published", 0), ("scenario", 1)):
        connection.execute(
            f"create table {side}_lines as select customer_id, month::date as month, 'support' as pool_id, "
            f"(100 + case when month < '2026-01-01' then 0 when customer_id = 'C1' then 10 else -15 end * {more})"
            f"::decimal(22, 2) as amount from customers, {months}"
        )
        connection.execute(
            f"create table {side}_months as select customer_id, month, revenue as net_revenue, 0::decimal(22, 4) as "
            "cost_of_goods_sold, 0::decimal(22, 2) as expected_credit_loss, 0::decimal(22, 2) as financing_cost, "
            "(revenue - amount)::decimal(22, 4) as operating_profit from (select *, "
            f"case customer_id when 'C1' then 1000 else 500 end::decimal(22, 4) as revenue from {side}_lines)"
        )
        connection.execute(
            f"create table {side}_residual as select month::date as month, 'UNUSED:support' as residual_line, "
            f"(20 + case when month < '2026-01-01' then 0 else 5 end * {more})::decimal(22, 2) as amount from {months}"
        )
    names = dict(zip(TABLES, ("months", "lines", "residual"), strict=True))
    tables = [{table: f"{side}_{name}" for table, name in names.items()} for side in ("published", "scenario")]
    return SimpleNamespace(connection=connection, published={**tables[0], "customers": "customers"}, scenario=tables[1])


def found(sides, *prices, months=12):
    return outcome(
        *(sides.connection, sides.published, sides.scenario),
        prices=[PriceChange.model_validate(price) for price in prices],
        changes=["asked"],
        until=LAST,
        months=months,
    )


def test_what_moves_is_on_a_customer_or_a_line_and_adds_up(sides):
    told = found(sides)
    assert told.months == (datetime.date(2025, 7, 1), datetime.date(2026, 6, 1))
    assert [(each.customer_id, each.change, each.parts) for each in told.moved] == [
        ("C2", Decimal(90), (("support", Decimal(90)),)),
        ("C1", Decimal(-60), (("support", Decimal(-60)),)),
    ]
    assert told.profit == (Decimal(12 * 1300), Decimal(12 * 1300 + 30))
    assert told.lines == (("UNUSED:support", Decimal(240), Decimal(270)),)
    assert told.profit[1] - told.residual[1] == told.profit[0] - told.residual[0], "no cent came or went"
    assert list(told.customers["customer_id"]) == ["C2", "C1"]
    assert list(told.customers["change"]) == [Decimal(90), Decimal(-60)]
    (c1,) = told.customers[told.customers["customer_id"] == "C1"].to_dict("records")
    assert (c1["customer_name"], c1["net_revenue"]) == ("One", Decimal(12000))
    assert (c1["profit_published"], c1["profit_scenario"]) == (Decimal(10800), Decimal(10740))
    assert found(sides, months=3).profit == (Decimal(3 * 1300), Decimal(3 * 1300 + 15))


def test_prices_move_revenue_of_those_meant_and_add_up(sides):
    told = found(sides, {"percent": "1.5"}, {"percent": 2, "attribute": "industry", "value": "Retail"})
    assert {each.customer_id: dict(each.parts)[PRICE] for each in told.moved} == {"C1": Decimal(420), "C2": Decimal(90)}
    assert told.moved[0].change == Decimal(420 - 60)
    assert told.profit[1] - told.profit[0] == Decimal(30 + 420 + 90)
    alone = found(sides, {"percent": -10, "customer": "C2"})
    assert {each.customer_id: dict(each.parts).get(PRICE) for each in alone.moved} == {"C1": None, "C2": Decimal(-600)}


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ({"percent": 1, "customer": "C9"}, r"Price \+1% for C9: no customer of the release is meant"),
        ({"percent": 1, "attribute": "industry", "value": "Mining"}, "industry is one of Retail"),
        ({"percent": 1, "attribute": "level", "value": "A"}, "level is nowhere filled in"),
    ],
)
def test_a_price_for_nobody_is_refused(sides, price, said):
    with pytest.raises(ConfigurationError, match=said):
        found(sides, price)


def test_the_text_says_what_changed_and_that_nothing_was_published(sides):
    text = outcome_text("asked", "2026-06-30-abc", found(sides))
    assert text.startswith(
        "Scenario asked beside release 2026-06-30-abc, 2025-07 to 2026-06; nothing was published.\n  asked\n"
    )
    assert "operating profit on customers              15,600.00         15,630.00            +30.00" in text
    assert "after residual lines                       15,360.00         15,360.00             +0.00" in text
    assert "Operating profit moved by +30.00 on 2 customers:" in text


def test_the_curves_end_at_the_totals(sides):
    told = found(sides)
    (_, published), (_, under) = curves_of(told)
    assert published[0] == under[0] == (0, 0.0)
    assert (published[-1], under[-1]) == ((2, 15600.0), (2, 15630.0))
    assert published[1] == (1, 10800.0)


def test_rule_changes_name_every_file_that_is_read():
    for file in ("pools.csv", "drivers.csv", "time_equations.csv", "acquisition.csv"):
        assert RuleChange.model_validate({**CAPACITY, "file": file}).file == file
