"""Restated months: named and reasoned, for exactly their figures, published with every later release; nothing else is excused."""

import datetime
from decimal import Decimal

import pytest
from release_fixture import AS_OF, build, record_passes
from test_comparisons import DAY, company, released, warehouse
from test_release import publish

from assets import registers
from assets.errors import WhalecurveError
from assets.publish import report
from assets.publish.comparisons import Now, compare
from assets.publish.release import _Check, _data_quality
from assets.publish.summary import _restated
from assets.restatements import REGISTER, STAGE, Restatement, Restatements, restate

MAY = datetime.date(2026, 5, 1)


def enter(data, month=MAY, *, as_of=AS_OF, revenue="1100", profit="110", by="C. Ontroller", reason="A late voucher."):
    figures = {"net_revenue": Decimal(revenue), "operating_profit": Decimal(profit)}
    return restate(data, month, as_of=as_of, by=by, reason=reason, at="2026-07-01T08:00:00+00:00", **figures)


def moved(tmp_path, months, restated=None):
    """The check of closed months' revenue where these months (of 2026) earn 1,100 instead of 1,000."""
    earlier = released(warehouse([]), tmp_path / "earlier")
    changed = " or ".join(f"month = date '2026-{month:02}-01'" for month in months)
    now = warehouse([], revenue=f"case when {changed} then 1100 else 1000 end")
    settings = company(closed_months_net_revenue={"severity": "error", "tolerance": 0})
    looked = Now(now, AS_OF, {"customer_profitability": "customer_profitability"}, "deliveries", {})
    found = compare(looked, earlier, settings, restated or Restatements())
    return {check.check_name: check for check in found["drift"]}


def test_a_restated_month_may_have_moved_and_no_other(tmp_path):
    enter(tmp_path)
    known = Restatements.read(tmp_path, AS_OF)
    assert not moved(tmp_path, [5])["closed_months_net_revenue"].passed
    alone = moved(tmp_path, [5], known)
    assert alone["closed_months_net_revenue"].passed
    assert alone["closed_months_operating_profit"].passed
    said = "none of 5 closed months moved unsaid; restated: 2026-05 (release earlier)"
    assert alone["closed_months_net_revenue"].observed == said
    other = moved(tmp_path, [4, 5], known)["closed_months_net_revenue"]
    assert not other.passed
    assert other.observed == (
        "1 of 5 closed months moved, by +100.00 in all, most 2026-04: 1,000.00 and now 1,100.00; restated: 2026-05 "
        "(release earlier)"
    )


@pytest.mark.parametrize(
    ("figures", "as_of", "excused"),
    [
        ({}, AS_OF, True),
        ({"revenue": "1100.01"}, AS_OF, False),
        ({}, AS_OF - DAY, True),  # of the release it is compared with
        ({}, AS_OF - DAY * 2, False),
        ({}, AS_OF + DAY, False),
    ],
)
def test_a_restatement_is_of_one_figure_and_from_its_date_on(tmp_path, figures, as_of, excused):
    enter(tmp_path, as_of=as_of, **figures)
    check = moved(tmp_path, [5], Restatements.read(tmp_path, AS_OF))["closed_months_net_revenue"]
    assert check.passed == excused


def test_the_register_only_grows_and_the_same_again_is_one_line(tmp_path):
    first = enter(tmp_path, by=" C.\nOntroller ")
    assert (first.restated_by, first.net_revenue) == ("C. Ontroller", "1100.0000")
    written = (tmp_path / REGISTER).read_text()
    assert enter(tmp_path) == first
    assert (tmp_path / REGISTER).read_text() == written
    (tmp_path / REGISTER).write_text(written + '{"month": "2026-0')  # a writer was killed
    enter(tmp_path, revenue="1200")
    assert (tmp_path / REGISTER).read_text().startswith(written)
    assert [each.net_revenue for each in registers.lines(tmp_path / REGISTER, Restatement)] == [
        "1100.0000",
        "1200.0000",
    ]


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("A", " \n")])
def test_nobody_restates_without_name_and_reason(tmp_path, by, reason):
    with pytest.raises(WhalecurveError, match="needs the name of who restates and a reason"):
        enter(tmp_path, by=by, reason=reason)
    assert not (tmp_path / REGISTER).exists()


def test_a_release_says_what_was_restated_up_to_its_date(tmp_path):
    connection = build()
    suites = record_passes(connection)
    plain = publish(connection, suites, tmp_path / "releases")
    enter(tmp_path)
    known = Restatements.read(tmp_path, AS_OF)
    assert Restatements.read(tmp_path, AS_OF - DAY).results() == {}
    told = publish(connection, suites, tmp_path / "releases", comparisons=lambda _: known.results())
    assert told.release_id != plain.release_id, "it is content: readers see that the month is not what it was"
    again = publish(connection, suites, tmp_path / "releases", comparisons=lambda _: known.results())
    assert again.release_id == told.release_id
    (row,) = connection.execute(
        f"select stage, check_name, table_name, passed, observed, detail from '{told.path}/data_quality.parquet' "
        f"where stage = '{STAGE}'"
    ).fetchall()
    said = "2026-05 restated as of 2026-06-30: net revenue 1,100.00, operating profit 110.00"
    assert row == (
        STAGE, "restated__2026-05__1", "customer_profitability", True, said, "C. Ontroller: A late voucher.",
    )  # fmt: skip
    assert _restated(told.manifest["checks"]) == f"RESTATED  {said}.\n          C. Ontroller: A late voucher."


@pytest.mark.parametrize(("language", "title"), [("en", "Restated months"), ("zh", "已重述的月份")])
def test_the_report_names_restated_months(tmp_path, language, title):
    enter(tmp_path, reason="Late <voucher>.")
    (check,) = Restatements.read(tmp_path, AS_OF).results()[STAGE]
    quality = _data_quality([_Check(STAGE, check, None)], lambda *_: [], AS_OF)
    connection = build()
    page = report.render(connection, language=language, quality=quality)
    assert title in page
    assert "C. Ontroller: Late &lt;voucher&gt;." in page
    assert title not in report.render(connection, language=language)
