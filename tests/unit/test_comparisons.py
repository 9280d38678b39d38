"""The gate's comparisons: late and quiet sources, rows that come and go, a past that moves; and which release is earlier."""

import datetime
from types import SimpleNamespace

import duckdb
import pytest
from release_fixture import AS_OF, RELATIONS, build, record_passes
from test_release import publish, simple

from assets import gate
from assets.company import Company
from assets.publish import release, report
from assets.publish.comparisons import NOTHING_EARLIER, Now, compare

DAY = datetime.timedelta(days=1)
COMPANY = {
    "company": "test",
    "name": "Test",
    "base_currency": "EUR",
    "first_business_date": "2026-01-01",
    "sources": {"erp": {"dialect": "erp"}},
}


def company(*, source=None, **checks):
    settings = {"dialect": "erp", **(source or {})}
    return Company.model_validate({**COMPANY, "sources": {"erp": settings}, "gate": checks})


def warehouse(deliveries, *, customers=300, revenue=1000, profit="i", tier="'regular'", events="2026-06-30"):
    """Tables of a company that earns `revenue` in each of six months, and of what its one source delivered."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(
        "create table deliveries (source_instance varchar, extract_date date, entity varchar, file_name varchar, "
        "load_id varchar, rows_in bigint)"
    )
    for day, entity, rows in deliveries:  # each load of two files: its rows count once
        for file in ("a.csv", "b.csv"):
            connection.execute(
                "insert into deliveries values ('erp', ?, ?, ?, ?, ?)", [day, entity, file, f"{day}{entity}", rows]
            )
    connection.execute(f"create table invoices as select 'erp' as source_instance, date '{events}' as invoice_date")
    connection.execute("insert into invoices values ('erp', date '2027-01-01')")  # dated ahead: no event yet
    connection.execute(
        "create table customer_profitability as select month::date as month, 'C1' as customer_id, "
        f"({revenue})::decimal(22, 4) as net_revenue, ({revenue} / 10)::decimal(22, 4) as operating_profit "
        "from range(date '2026-01-01', date '2026-07-01', interval 1 month) as months(month)"
    )
    connection.execute(
        f"create table customers as select 'C' || i as customer_id, 3 as orders_12m, {tier} as customer_tier, "
        f"({profit})::decimal(22, 4) as operating_profit_12m from range({customers}) as numbers(i)"
    )
    return connection


TABLES = {"customers": "customers", "customer_profitability": "customer_profitability"}
USUAL = [(AS_OF - DAY * back, "invoice", 100 + back % 7) for back in range(30)]


def released(connection, folder, as_of=AS_OF - DAY):
    """The tables as an earlier release has them."""
    folder.mkdir(exist_ok=True)
    described = {}
    for table in (*TABLES, "deliveries"):
        connection.execute(f"copy {table} to '{folder}/{table}.parquet'")
        columns = [{"name": name} for name in connection.sql(f"from {table}").columns]
        described[table] = {
            "rows": connection.execute(f"select count(*) from {table}").fetchone()[0],
            "columns": columns,
        }
    return release.Release("earlier", folder, as_of, True, manifest={"tables": described})


def results(connection, earlier, settings=None, as_of=AS_OF):
    now = Now(connection, as_of, TABLES, "deliveries", {"invoice": ("invoices", "invoice_date")})
    found = compare(now, earlier, settings or company())
    assert list(found) == ["freshness", "volume", "drift"]
    return {
        (check.check_name, check.table) if check.check_name == "table_rows" else check.check_name: check
        for checks in found.values()
        for check in checks
    }


def test_a_first_release_has_nothing_to_be_compared_with_and_says_so():
    found = results(warehouse(USUAL[:3]), None)
    assert all(check.passed for check in found.values())
    assert found["late_deliveries__erp"].observed == "latest delivery 2026-06-30, 0 days before 2026-06-30"
    assert found["usual_rows__erp"].observed.startswith("2 deliveries before the latest: too few")
    compared = {name for name, check in found.items() if check.observed == NOTHING_EARLIER}
    assert compared == {
        *(("table_rows", table) for table in TABLES),
        *("delivered_rows__erp", "closed_months_net_revenue", "closed_months_operating_profit"),
        *("active_customers", "tier_shares", "profit_distribution"),
    }
    assert {check.severity for check in found.values()} == {"warn"}


def test_nothing_moved_is_said_too(tmp_path):
    connection = warehouse(USUAL)
    found = results(connection, released(connection, tmp_path))
    assert [check for check in found.values() if not check.passed] == []
    assert found["closed_months_net_revenue"].observed == "none of 5 closed months moved (release earlier)"
    assert found["delivered_rows__erp"].observed == "the same rows (release earlier)"


def test_a_source_is_late_or_quiet_from_the_day_after_its_limit():
    limits = company(source={"late_after_days": 2, "quiet_after_days": 5}, late_deliveries={"severity": "error"})
    connection = warehouse(USUAL, events="2026-06-27")
    for days, late, quiet in ((2, True, True), (3, False, False)):
        found = results(connection, None, limits, AS_OF + DAY * days)
        assert (found["late_deliveries__erp"].passed, found["quiet_sources__erp"].passed) == (late, quiet)
    assert found["late_deliveries__erp"].severity == "error"
    assert found["late_deliveries__erp"].reads == ("raw.invoice",)
    assert found["quiet_sources__erp"].observed == "latest business event 2026-06-27, 6 days before 2026-07-03"
    assert not results(warehouse([]), None, limits)["late_deliveries__erp"].passed, "never delivered"
    assert (
        results(warehouse(USUAL), None, limits, AS_OF - DAY * 40)["late_deliveries__erp"].observed == "no delivery yet"
    )


@pytest.mark.parametrize(
    ("rows", "usual"), [(100, True), (50, True), (49, False), (212, True), (213, False), (0, False)]
)
def test_a_delivery_is_held_against_those_before_it(rows, usual):
    check = results(warehouse([(AS_OF, "invoice", rows), *USUAL[1:]]), None)["usual_rows__erp"]
    assert (check.passed, check.observed) == (
        usual,
        f"delivery of 2026-06-30: invoice {rows} rows (100 to 106 before)",
    )


def test_a_delivery_without_an_entity_it_always_has_is_not_usual():
    always = [(day, "payment", 60) for day, _, _ in USUAL[1:]]
    check = results(warehouse(USUAL + always), None)["usual_rows__erp"]
    assert (check.passed, check.observed) == (False, "delivery of 2026-06-30: payment 0 rows (60 to 60 before)")
    now_and_then = [(day, "payment", 60) for day, _, _ in USUAL[1::9]]
    assert results(warehouse(USUAL + now_and_then), None)["usual_rows__erp"].passed
    monthly = [(AS_OF, "trial_balance", 500)]
    check = results(warehouse(USUAL + monthly), None)["usual_rows__erp"]
    assert (check.passed, check.observed) == (True, "delivery of 2026-06-30: invoice 100 rows (100 to 106 before)")


def test_rows_taken_out_of_the_past_are_seen_and_later_ones_are_no_change(tmp_path):
    earlier = released(warehouse(USUAL[1:]), tmp_path)
    assert results(warehouse(USUAL), earlier)["delivered_rows__erp"].passed
    check = results(warehouse([USUAL[0], *USUAL[5:]]), earlier)["delivered_rows__erp"]
    assert not check.passed
    assert check.observed == "invoice 2,985 rows and now 2,575 (release earlier)"


def test_a_table_that_lost_or_doubled_its_rows_is_seen(tmp_path):
    earlier = released(warehouse(USUAL), tmp_path)
    for customers, passed in ((240, True), (239, False), (600, True), (601, False)):
        check = results(warehouse(USUAL, customers=customers), earlier)["table_rows", "customers"]
        assert (check.passed, check.observed) == (passed, f"300 rows and now {customers} (release earlier)")
    strict = company(table_rows={"drop": 0, "severity": "error"})
    check = results(warehouse(USUAL, customers=270), earlier, strict)["table_rows", "customers"]
    assert (check.passed, check.severity, "0% fewer to 100% more" in check.detail) == (False, "error", True)


def test_a_closed_month_does_not_move_silently_and_an_open_one_may(tmp_path):
    earlier = released(warehouse(USUAL), tmp_path)
    open_month = warehouse(USUAL, revenue="case when month = '2026-06-01' then 5000 else 1000 end")
    assert results(open_month, earlier)["closed_months_net_revenue"].observed.startswith("none of 5")
    for moved, passed in (("1005", True), ("1006", False)):
        closed = warehouse(USUAL, revenue=f"case when month = '2026-02-01' then {moved} else 1000 end")
        check = results(closed, earlier)["closed_months_net_revenue"]
        assert check.passed == passed
        assert check.observed == (
            f"1 of 5 closed months moved, by +{int(moved) - 1000}.00 in all, most 2026-02: 1,000.00 and now 1,{moved[1:]}.00 "
            "(release earlier)"
        )
    gone = warehouse(USUAL)
    gone.execute("delete from customer_profitability where month = '2026-01-01'")
    assert not results(gone, earlier)["closed_months_operating_profit"].passed


def test_customers_tiers_and_profits_are_held_against_the_earlier_release(tmp_path):
    earlier = released(warehouse(USUAL), tmp_path)
    fewer = results(warehouse(USUAL, customers=260), earlier)["active_customers"]
    assert (fewer.passed, fewer.observed) == (False, "300 active customers and now 260 (release earlier)")
    tiers = results(warehouse(USUAL, tier="case when i < 45 then 'VIP' else 'regular' end"), earlier)["tier_shares"]
    assert not tiers.passed
    assert "VIP 0.0% and now 15.0%" in tiers.observed
    assert results(warehouse(USUAL, profit="i + 3"), earlier)["profit_distribution"].passed
    assert not results(warehouse(USUAL, profit="i * 2 - 150"), earlier)["profit_distribution"].passed
    few = results(warehouse(USUAL, customers=199, profit="-i"), earlier)
    assert few["profit_distribution"].passed
    assert "chance moves more" in few["tier_shares"].observed


def test_what_cannot_be_compared_says_so_and_what_cannot_be_read_fails(tmp_path):
    connection = warehouse(USUAL)
    earlier = released(connection, tmp_path)
    earlier.manifest["tables"]["customers"]["columns"].remove({"name": "customer_tier"})
    del earlier.manifest["tables"]["deliveries"]
    (tmp_path / "customer_profitability.parquet").write_bytes(b"no parquet")
    found = results(connection, earlier)
    assert found["tier_shares"].observed == "release earlier has no customer_tier in customers"
    assert found["delivered_rows__erp"].observed == "release earlier has no table deliveries"
    assert not found["closed_months_net_revenue"].passed
    assert found["closed_months_net_revenue"].observed.startswith("not evaluated: ")


# What a release is compared with


def test_a_release_is_compared_with_the_last_of_the_day_before_it(tmp_path):
    assert release.earlier(tmp_path, AS_OF) is None
    first = simple(tmp_path, 1)
    assert release.earlier(tmp_path, AS_OF).release_id == first.release_id
    simple(tmp_path, 2)
    assert release.earlier(tmp_path, AS_OF).release_id == first.release_id, "the same one however often it is published"
    third = simple(tmp_path, 3)
    assert release.earlier(tmp_path, AS_OF + DAY).release_id == third.release_id
    assert release.earlier(tmp_path, AS_OF - DAY) is None, "a backfill is not compared with what came after"
    before = simple(tmp_path, 4, as_of=AS_OF - DAY * 3)
    assert release.earlier(tmp_path, AS_OF).release_id == before.release_id
    simple(tmp_path, 5, as_of=AS_OF + DAY)
    release.rollback(tmp_path, third.release_id)
    assert release.earlier(tmp_path, AS_OF + DAY * 2).release_id == third.release_id, (
        "what was rolled back is no measure"
    )


# In a release


def one(passed, severity, observed="1 row and now 2", stage="volume"):
    check = gate.CheckResult("table_rows", "customers", severity, passed, observed, "Rows.")
    return lambda connection: {stage: [check]}


@pytest.fixture(scope="module")
def checked():
    connection = build()
    return connection, record_passes(connection)


def test_comparisons_are_published_and_the_name_of_a_release_does_not_depend_on_them(checked, tmp_path):
    connection, suites = checked
    shown = {"report_html": lambda quality: report.render(connection, quality=quality)}
    protected = SimpleNamespace(names=lambda check, table, reads: [table, *reads, "segment_profitability"]).names
    first = publish(connection, suites, tmp_path / "a", comparisons=one(True, "warn"), protected=protected, **shown)
    other = publish(connection, suites, tmp_path / "b", comparisons=one(False, "warn"), protected=protected, **shown)
    assert first.release_id == other.release_id
    assert release.verify(other.path) == []
    assert (first.path / "report.html").read_text() != (other.path / "report.html").read_text()
    assert "1 row and now 2" in (other.path / "report.html").read_text()
    with duckdb.connect(str(other.path / "whalecurve.duckdb"), read_only=True) as database:
        (row,) = database.execute(
            "select table_name, severity, passed, observed, protects from data_quality where stage = 'volume'"
        ).fetchall()
    assert row == ("customers", "warn", False, "1 row and now 2", "customers, segment_profitability")
    (listed,) = [check for check in other.manifest["checks"] if check["stage"] == "volume"]
    assert listed["protects"] == "customers, segment_profitability"
    whale = next(check for check in other.manifest["checks"] if check["check_name"] == "whale_curve_ends_at_the_total")
    assert "protects" not in whale, "said of what failed; data_quality says it of all"
    again = publish(connection, suites, tmp_path / "a", comparisons=one(False, "warn"), protected=protected, **shown)
    assert not again.created
    fresh = publish(connection, suites, tmp_path / "a", comparisons=one(True, "warn", stage="freshness"), **shown)
    assert fresh.release_id != first.release_id, "how old a source is, is content"


def test_a_comparison_of_severity_error_stops_the_release(checked, tmp_path):
    connection, suites = checked
    with pytest.raises(release.PublishRefused, match="customers: table_rows failed: 1 row and now 2"):
        publish(connection, suites, tmp_path, comparisons=one(False, "error"))
    assert release.releases(tmp_path) == []
    assert publish(connection, suites, tmp_path, comparisons=one(True, "error")).is_current
    assert set(RELATIONS) <= set(release.current(tmp_path).manifest["tables"])


def test_company_yml_says_how_severe_a_check_is_and_keeps_the_other_limits():
    settings = company(table_rows={"severity": "error"}, tier_shares={"tolerance": "0.3"}).gate
    assert (settings.table_rows.severity, settings.table_rows.drop, settings.table_rows.jump) == ("error", 0.2, 1.0)
    assert (settings.tier_shares.severity, settings.tier_shares.tolerance) == ("warn", 0.3)
    for wrong in ({"tabel_rows": {}}, {"table_rows": {"severity": "fatal"}}, {"active_customers": {"drop": 1}}):
        with pytest.raises(ValueError, match="gate"):
            company(**wrong)
