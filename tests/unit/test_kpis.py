"""Key figures by hand, their targets and status, what cannot be measured, and blindness to the future."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import kpis
from assets.analytics.kpi_catalogue import KPIS
from assets.company import load_company
from assets.errors import ConfigurationError

AS_OF = datetime.date(2026, 6, 30)
END = pd.Timestamp("2026-07-01")

COLUMNS = {
    "orders": ["customer_id", "order_date", "net_revenue"],
    "monthly": ["customer_id", "month", "net_revenue", "operating_profit", "cost_to_serve", "credit_cost"],
    "surveys": ["responded_on", "survey_type", "score"],
    "cases": ["opened_at", "first_response_at", "closed_at", "status_class", "is_of_customer", "is_complaint"],
    "receivables": ["month", "balance", "sales", "days"],
    "acquisition": ["channel", "month", "cost", "new_customers", "payback_months", "payback_status"],
    "pools": ["month", "cost", "unallocated", "unused", "budgeted_actual", "budget"],
    "churn": ["customer_id", "churn_probability"],
    "lifetime_values": ["customer_id", "clv"],
}


def month(back):
    """The first day of the month so many months before June 2026."""
    return (pd.Timestamp(2026, 6, 1) - pd.DateOffset(months=back)).date()


def day(text):
    return datetime.date.fromisoformat(text)


def history(**rows):
    return kpis.History(
        *(
            rows[name]
            if isinstance(rows.get(name), pd.DataFrame)
            else pd.DataFrame(rows.get(name, []), columns=columns)
            for name, columns in COLUMNS.items()
        )
    )


def measured(known, as_of=AS_OF, targets=None, referral_sources=()):
    table = kpis.kpis(known, as_of, targets=targets or {}, referral_sources=referral_sources)
    assert list(table.columns) == list(kpis.COLUMNS)
    assert table["kpi"].tolist() == list(KPIS)
    return table.set_index("kpi")


def value(known, name, **arguments):
    return measured(known, **arguments).loc[name, "value"]


def test_every_figure_of_the_catalogue_is_measured_and_has_a_formula():
    assert list(kpis._MEASURES) == list(KPIS)
    assert all(kpi.formula.endswith(".") and kpi.title for kpi in KPIS.values())


def pnl(customer, back, revenue, profit, serve=0.0, credit=0.0):
    return customer, month(back), revenue, profit, serve, credit


def test_profit_whale_curve_and_shares_of_revenue():
    monthly = [
        pnl("A", 0, 600.0, 80.0, serve=90.0, credit=10.0),
        pnl("A", 11, 400.0, 40.0),
        pnl("B", 3, 300.0, -20.0, serve=50.0),
        pnl("C", 3, 200.0, 30.0),
        pnl("D", 3, 0.0, 0.0),
        pnl("UNMATCHED", 2, 500.0, 70.0),
        pnl("A", 12, 9999.0, 9999.0),
    ]
    result = measured(
        history(monthly=monthly), targets={"operating_margin_12m": 0.1, "loss_making_customer_share": 0.2}
    )
    assert result["value"].dropna().to_dict() == pytest.approx(
        {
            "operating_profit_12m": 200.0,
            "operating_margin_12m": 0.1,
            "loss_making_customer_share": 0.25,
            "whale_peak_share": 150 / 130,
            "loss_destroyed_12m": 20.0,
            "top_fifth_revenue_share": 1000 / 1500,
            "credit_cost_share": 0.005,
            "cost_to_serve_share": 0.07,
        },
        abs=1e-6,
    )
    status = result["status"].to_dict()
    assert status["operating_margin_12m"] == "met"  # the target itself is met
    assert status["loss_making_customer_share"] == "missed"
    assert status["loss_destroyed_12m"] == "no_target"
    assert status["nps"] == "not_measurable"
    assert result["previous_value"].isna().all()


def test_the_value_of_a_year_before_stands_beside_it_where_the_record_reaches_back():
    monthly = [pnl("A", 23, 100.0, 5.0), pnl("A", 12, 100.0, 5.0), pnl("A", 0, 100.0, 30.0)]
    row = measured(history(monthly=monthly)).loc["operating_margin_12m"]
    assert row[["value", "previous_value", "change"]].tolist() == [0.3, 0.05, 0.25]
    assert row["previous_date"] == day("2025-06-30")
    assert pd.isna(measured(history(monthly=monthly[1:])).loc["operating_margin_12m", "previous_value"])
    young = measured(history(monthly=monthly[2:])).loc["operating_margin_12m"]
    assert (young["value"], young["note"]) == (0.3, "The record covers 1 of the 12 months.")


def test_retention_repeat_purchases_and_orders():
    orders = [
        ("kept", day("2024-07-01"), 10),
        ("kept", day("2025-07-01"), 10),
        ("kept", day("2026-06-30"), 10),
        ("lost", day("2025-06-30"), 10),
        ("new", day("2026-06-30"), 10),
        ("took all back", day("2026-06-30"), 0),
        ("UNMATCHED", day("2026-06-30"), 10),
        ("later", day("2026-07-01"), 10),
    ]
    result = measured(history(orders=orders))["value"]
    assert result["active_customers_12m"] == 2
    assert result["retention_rate"] == 0.5
    assert result["repeat_purchase_rate"] == 0.5
    assert result["average_orders_12m"] == 1.5
    short = measured(history(orders=orders[1:])).loc["retention_rate"]
    assert (short["status"], short["note"]) == ("not_measurable", "Needs orders of 24 months; the record is shorter.")


def test_scores_are_of_today_and_have_no_past():
    known = history(
        orders=[("A", day("2024-01-01"), 1), ("A", AS_OF, 1), ("B", AS_OF, 1), ("old", day("2024-01-01"), 1)],
        monthly=[pnl("A", 23, 1.0, 1.0), pnl("A", 0, 100.0, 1.0), pnl("B", 0, -50.0, 1.0), pnl("C", 0, 10.0, 1.0)],
        churn=[("A", 0.25), ("B", 0.9), ("old", 1.0)],
        lifetime_values=[("A", 100.0), ("B", -40.0), ("old", 7000.0)],
    )
    result = measured(known)
    assert result.loc["average_clv", ["value", "previous_value"]].tolist() == [30.0, None]
    assert result.loc["revenue_at_churn_risk", ["value", "previous_value"]].tolist() == [25.0, None]


def test_surveys():
    surveys = [
        (day("2026-06-30"), "csat", 0.75),
        (day("2025-07-01"), "csat", 0.25),
        (day("2025-06-30"), "csat", 1.0),
        *[(day("2026-06-01"), "nps", score) for score in (1.0, 0.9, 0.8, 0.7, 0.6)],
        (day("2026-07-01"), "nps", 0.0),
    ]
    result = measured(history(surveys=surveys))
    assert result.loc["csat", ["value", "previous_value"]].tolist() == [0.5, 1.0]
    assert result.loc["nps", "value"] == 20.0


def case(opened, *, answered=None, closed=None, complaint=False, status=None, customer=True):
    opened = pd.Timestamp(opened)
    later = [None if hours is None else opened + pd.Timedelta(hours=hours) for hours in (answered, closed)]
    return opened, *later, status or ("open" if closed is None else "closed"), customer, complaint


def test_complaints_and_hours():
    cases = [
        case("2026-04-01", answered=2, closed=10, complaint=True),
        case("2026-04-02", answered=4, closed=30),
        case("2026-06-29", answered=6),
        case("2026-06-29", status="closed"),
        case("2026-04-02", answered=1, closed=1, complaint=True, customer=False),
        case("2026-07-01", answered=0, closed=0, complaint=True),
    ]
    orders = [("A", day("2026-04-10"), 1)] * 8 + [("A", day("2026-03-10"), 1)] * 90
    result = measured(history(cases=cases, orders=orders))
    # One complaint of a customer in eight orders since cases are on record.
    assert result.loc["complaints_per_100_orders", ["value", "note"]].tolist() == [
        12.5,
        "The record covers 3 of the 12 months.",
    ]
    assert result.loc["first_response_hours", "value"] == 3.0  # of 1, 2, 4 and 6
    assert result.loc["resolution_hours", "value"] == 20.0  # of 1, 10, 30 and one still open
    waiting = measured(history(cases=[*cases, *[case("2026-06-29")] * 4])).loc["resolution_hours"]
    assert (waiting["value"], waiting["note"]) == (None, "More than half of the cases of the last 12 months are open.")


def test_dso_is_the_balance_in_days_of_three_months_of_sales():
    receivables = [(month(back), 900.0 if back == 0 else 5.0, 600.0, 30) for back in range(5)]
    assert value(history(receivables=receivables), "dso") == 45.0
    assert value(history(receivables=receivables[1:]), "dso") is None


def test_acquisition_cost_payback_and_referrals():
    acquisition = [
        ("Word of  mouth", month(2), 100.0, 3, None, "not_yet"),
        ("Web", month(1), 300.0, 1, None, "not_yet"),
        ("Unattributed", month(1), 100.0, 6, None, "not_yet"),
        ("Web", month(12), 80.0, 2, 5, "paid_back"),
        ("Web", month(13), 80.0, 3, 9, "paid_back"),
        ("Web", month(14), 80.0, 4, None, "not_yet"),
        ("Web", month(23), 80.0, 0, None, "no_customers"),
        ("Web", month(24), 80.0, 50, 1, "paid_back"),
    ]
    result = measured(history(acquisition=acquisition), referral_sources=["word of mouth"])
    assert result.loc["new_customers_12m", "value"] == 10
    assert result.loc["cac", "value"] == 50.0
    assert result.loc["payback_months", "value"] == 9.0  # of two 5, three 9, four never
    assert result.loc["referral_rate", "value"] == 0.75
    assert measured(history(acquisition=acquisition)).loc["referral_rate", "status"] == "not_measurable"
    unpaid = [("Web", month(13), 80.0, 1, 20, "paid_back"), ("Web", month(14), 1.0, 1, None, "never")]
    assert value(history(acquisition=unpaid), "payback_months") is None


def test_cost_pools():
    pools = [
        (month(0), 700.0, 35.0, 70.0, 330.0, 300.0),
        (month(11), 300.0, 15.0, 0.0, None, None),
        (month(12), 9.0, 9.0, 9.0, 9.0, 1.0),
    ]
    result = measured(history(pools=pools), targets={"budget_deviation": 0.05})
    assert result.loc["unallocated_cost_share", "value"] == 0.05
    assert result.loc["unused_capacity_share", "value"] == 0.07
    assert result.loc["budget_deviation", ["value", "status"]].tolist() == [0.1, "missed"]


def test_a_company_of_which_nothing_is_known_gets_a_reason_for_every_figure():
    result = measured(history(), targets={"nps": 30})
    assert (result["status"] == "not_measurable").all()
    assert result["note"].str.endswith(".").all()
    assert result.loc["nps", "target"] == 30


def test_a_whale_that_earns_nothing_has_no_peak_share_but_its_loss_in_money():
    known = history(monthly=[pnl("A", 11, 10.0, -5.0), pnl("B", 11, 10.0, 5.0)])
    assert value(known, "whale_peak_share") is None
    assert value(known, "loss_destroyed_12m") == 5.0


def test_a_target_of_an_unknown_figure_is_refused_with_the_nearest_one(tmp_path):
    text = (
        "company: c\nname: C\nbase_currency: EUR\nfirst_business_date: 2026-01-01\nsources: {s: {dialect: d}}\n"
        "kpis: {retention: 0.8}\n"
    )
    (tmp_path / "company.yml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"'retention' is not a key figure; the nearest is 'retention_rate'"):
        load_company(tmp_path)
    with pytest.raises(ValueError, match="no key figure 'retention'"):
        kpis.kpis(history(), AS_OF, targets={"retention": 0.8})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("kpis: {csat: high}", "kpis.csat"),
        ("kpis: {csat: nan}", "kpis.csat"),
        ("relationship: {strong_from: 101}", "relationship.strong_from"),
        ("relationship: {weights: {loyalty: -1}}", "relationship.weights.loyalty"),
        (
            "relationship: {weights: {satisfaction: 0, loyalty: 0, complaints: 0, service: 0, engagement: 0}}",
            "are all 0",
        ),
        ("service: {response_hours: 0}", "service.response_hours"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, line, problem):
    text = "company: c\nname: C\nbase_currency: EUR\nfirst_business_date: 2026-01-01\nsources: {s: {dialect: d}}\n"
    (tmp_path / "company.yml").write_text(f"{text}{line}\n")
    with pytest.raises(ConfigurationError, match=problem):
        load_company(tmp_path)


dates = st.dates(datetime.date(2024, 1, 1), datetime.date(2027, 1, 1))
months = st.integers(-8, 30).map(month)
customers = st.sampled_from(["A", "B", "UNMATCHED"])
amounts = st.integers(-(10**6), 10**9).map(lambda cents: cents / 100)
times = dates.map(pd.Timestamp)
histories = st.fixed_dictionaries(
    {
        "orders": st.lists(st.tuples(customers, dates, amounts), max_size=10),
        "monthly": st.lists(st.tuples(customers, months, amounts, amounts, amounts, amounts), max_size=10),
        "surveys": st.lists(st.tuples(dates, st.sampled_from(["nps", "csat", "ces"]), st.floats(0, 1)), max_size=5),
        "cases": st.lists(
            st.tuples(
                times, st.none() | times, st.none() | times, st.sampled_from(["open", "closed"]), st.booleans(), st.booleans()
            ),
            max_size=6,
        ),
        "receivables": st.lists(st.tuples(months, amounts, amounts, st.just(30)), max_size=5),
        "acquisition": st.lists(
            st.tuples(
                st.sampled_from(["Web", "Unattributed"]),
                months,
                amounts,
                st.integers(0, 5),
                st.none() | st.integers(1, 20),
                st.just("not_yet"),
            ),
            max_size=6,
        ),
        "pools": st.lists(st.tuples(months, amounts, amounts, amounts, amounts, amounts), max_size=5),
        "churn": st.just([("A", 0.5)]),
        "lifetime_values": st.just([("A", -3.0), ("B", 9.0)]),
    }
)  # fmt: skip

DATED_BY = {
    **dict.fromkeys(("monthly", "receivables", "acquisition", "pools"), "month"),
    **{"orders": "order_date", "surveys": "responded_on", "cases": "opened_at"},
}


@settings(max_examples=25, deadline=None)
@given(drawn=histories, seed=st.integers(0, 1000))
def test_neither_row_order_nor_the_future_moves_a_figure(drawn, seed):
    known = history(**drawn)
    past = {}
    for name, column in DATED_BY.items():
        frame = getattr(known, name)
        past[name] = frame[pd.to_datetime(frame[column]) < END].copy()
    cases = past["cases"]
    cases.loc[pd.to_datetime(cases["closed_at"]) >= END, "status_class"] = "open"
    for name in ("first_response_at", "closed_at"):
        stamps = pd.to_datetime(cases[name])
        cases[name] = stamps.where(stamps < END)
    shuffled = kpis.History(*(frame.sample(frac=1, random_state=seed) for frame in known))
    pd.testing.assert_frame_equal(
        measured(shuffled, referral_sources=["web"]), measured(known._replace(**past), referral_sources=["web"])
    )


@settings(max_examples=25, deadline=None)
@given(drawn=histories)
def test_figures_are_finite_and_a_missing_one_says_why(drawn):
    result = measured(history(**drawn), targets=dict.fromkeys(KPIS, 0.5), referral_sources=["Web"])
    for column in ("value", "previous_value", "change"):
        numbers = result[column].dropna().astype("float64")
        assert np.isfinite(numbers).all()
    missing = result["value"].isna()
    assert result.loc[missing, "note"].str.len().gt(10).all()
    assert (result.loc[missing, "status"] == "not_measurable").all()
    assert result.loc[~missing, "status"].isin(["met", "missed"]).all()
