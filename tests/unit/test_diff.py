"""Two releases compared: every cent that moved is named, with the customer, the pool and the cause."""

import dataclasses
from decimal import Decimal

import duckdb
import pytest
from release_fixture import build, record_passes
from test_release import publish

from assets.publish.changes import changed_since
from assets.publish.diff import compare, diff_text, rule_changes, rules_text
from assets.publish.release import ReleaseError, find

HASHES = {"company.yml": "123"}
MONTH, POOL, FROM, TO = "2024-08-01", "support", "C003", "C009"

MOVE_FIVE = f"""
    update marts.customer_cost_lines set amount = amount + case customer_id when '{TO}' then 5 else -5 end
        where month = '{MONTH}' and pool_id = '{POOL}' and customer_id in ('{FROM}', '{TO}');
    update marts.customer_profitability set
            activity_cost_fixed = activity_cost_fixed + case customer_id when '{TO}' then 5 else -5 end,
            contribution_after_cost_to_serve = contribution_after_cost_to_serve - case customer_id when '{TO}' then 5 else -5 end,
            operating_profit = operating_profit - case customer_id when '{TO}' then 5 else -5 end
        where month = '{MONTH}' and customer_id in ('{FROM}', '{TO}');
    update overview.customers
        set operating_profit_total = operating_profit_total - case customer_id when '{TO}' then 5 else -5 end
        where customer_id in ('{FROM}', '{TO}');
"""

DELIVERED = """(
    select 'erp' as source_instance, date '2026-06-30' as extract_date, 'invoice' as entity, 'a.csv' as file_name, {} as sha256,
        'load' as load_id, 3 as rows_in
    {}
)"""


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Two releases; the second has five of one pool moved from one customer to another, a file changed and one added."""
    folder = tmp_path_factory.mktemp("releases")
    connection = build()
    first = publish(connection, record_passes(connection), folder, deliveries=DELIVERED.format("'1'", ""))
    connection.execute(MOVE_FIVE)
    added = "union all select 'erp', date '2026-06-30', 'gl_entry', 'b.csv', '1', 'load', 4"
    suites = record_passes(connection)
    options = {"deliveries": DELIVERED.format("'2'", added), "git_sha": "def"}
    second = publish(connection, suites, folder, **options)
    return folder, first.release_id, second.release_id


def test_every_cent_that_moved_is_on_a_customer_and_has_a_cause(releases):
    folder, first, second = releases
    found = compare(folder, first)
    assert found.after.release_id == second
    assert [(each.customer_id, each.change, each.parts) for each in found.moved] == [
        (FROM, Decimal(5), ((POOL, Decimal(5)),)),
        (TO, Decimal(-5), ((POOL, Decimal(-5)),)),
    ]
    back = compare(folder, second, first)
    assert [each.change for each in back.moved] == [Decimal(-5), Decimal(5)]


def test_the_parts_of_a_change_add_up_to_it(releases, tmp_path):
    """Against a release of nothing that moved: everything of every customer is a change."""
    folder, first, _ = releases
    connection = build()
    connection.execute(MOVE_FIVE)
    for table in ("customer_profitability", "customer_cost_lines", "residual_cost_lines", "whale_curve"):
        connection.execute(f"delete from marts.{table}")
    connection.execute("delete from pools.pool_cost_lines")
    connection.execute("update overview.customers set operating_profit_total = 0")
    empty = publish(connection, record_passes(connection), folder)
    moved = compare(folder, empty.release_id, first).moved
    assert len(moved) > 20
    for each in moved:
        assert each.change == each.after - each.before == sum(change for _, change in each.parts)


def test_causes_are_told_apart(releases):
    folder, first, second = releases
    found = compare(folder, first, second)
    assert found.deliveries == (
        ("added", "erp gl_entry 2026-06-30 b.csv"),
        ("changed", "erp invoice 2026-06-30 a.csv"),
    )
    assert (found.is_ruled_alike, found.is_programmed_alike) == (True, False)
    named = {table for table, *_ in found.tables}
    assert named >= {"customer_cost_lines", "customer_profitability", "customers", "deliveries"}
    assert "whale_curve" not in named
    assert ("customer_cost_lines", 2, 2) in {(table, gone, new) for table, _, _, gone, new in found.tables}
    said = diff_text(found)
    for part in (
        first,
        second,
        "1 added, 1 changed deliveries",
        "abc and def",
        f"{POOL} +5.00",
        "moved by +0.00 on 2 customers",
    ):
        assert part in said


def test_a_release_is_the_same_as_itself(releases):
    folder, first, _ = releases
    found = compare(folder, first, first)
    assert (found.deliveries, found.tables, found.moved) == ((), (), ())
    assert "No cent moved" in diff_text(found)


def test_the_company_s_files_that_changed_are_named():
    before = {"company": "1", "company.yml": "a", "costing/pools.csv": "b", "dialects/till.yml": "c"}
    after = {"company": "2", "company.yml": "a", "costing/pools.csv": "d", "costing/drivers.csv": "e"}
    changes = rule_changes(before, after)
    assert changes == [
        ("added", "costing/drivers.csv"),
        ("changed", "costing/pools.csv"),
        ("removed", "dialects/till.yml"),
    ]
    assert rules_text(changes, before, after)[0] == "rules   the company folder differs"
    assert rules_text(rule_changes(before, before), before, before) == ["rules   the same company folder"]
    older = {"company": "1"}  # releases knew the folder as a whole only
    assert rules_text(rule_changes(older, before), older, before) == ["rules   the same company folder"]
    assert rules_text(rule_changes(older, after), older, after) == ["rules   the company folder differs"]


@pytest.mark.parametrize("name", ["2031-01-01", "2026-06-30-"])
def test_a_name_of_none_or_several_is_refused(releases, name):
    with pytest.raises(ReleaseError, match="whalecurve releases"):
        compare(releases[0], name)


# What came since the release readers have


def test_what_came_since_the_last_release_is_told_apart(releases):
    folder, first, _ = releases
    last = find(folder, first)
    two_files = "union all select 'erp', date '2026-07-01', 'invoice', unnest(['c.csv', 'd.csv']), '1', 'new', 2500"
    now = {"deliveries": DELIVERED.format("'2'", two_files), "hashes": {"company.yml": "456"}, "git_sha": "abc-dirty"}
    with duckdb.connect() as connection:
        said = changed_since(connection, last, **now)
        same = changed_since(connection, last, deliveries=DELIVERED.format("'1'", ""), hashes=HASHES, git_sha="abc")
        assert changed_since(connection, None, **now) == ""
    assert said.splitlines() == [
        f"Since release {first}, as of 2026-06-30:",
        "data    2 added, 1 changed deliveries",
        "  changed  erp invoice 2026-06-30 a.csv, 3 rows and now 3 rows",
        "  added    erp invoice 2026-07-01 c.csv and 1 more, 2,500 rows",
        "rules   the company folder differs",
        "  changed  company.yml",
        "code    abc and abc-dirty",
    ]
    assert same.splitlines()[1:] == [
        "data    the same deliveries",
        "rules   the same company folder",
        "code    the same",
    ]


def test_a_release_that_cannot_be_read_does_not_hide_why_the_gate_said_no(releases, tmp_path):
    folder, first, _ = releases
    last = find(folder, first)
    broken = dataclasses.replace(last, path=tmp_path)
    (tmp_path / "deliveries.parquet").write_bytes(b"no parquet")
    with duckdb.connect() as connection:
        for odd in (broken, dataclasses.replace(last, manifest={})):
            assert "cannot be said" in changed_since(connection, odd, hashes=HASHES, git_sha="abc", deliveries="x")
