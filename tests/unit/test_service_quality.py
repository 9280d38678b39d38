"""Service quality: hours, shares within target, satisfaction and cost of the cases opened in a month, by channel."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import service_quality
from assets.company import Service

AS_OF = datetime.date(2026, 6, 30)
END = pd.Timestamp("2026-07-01")
JUNE, MAY = datetime.date(2026, 6, 1), datetime.date(2026, 5, 1)
TARGETS = Service(response_hours=4, resolution_hours=48)

CASES = [
    *("source_instance", "case_id", "origin", "opened_at", "first_response_at", "closed_at"),
    *("status_class", "is_escalated", "handling_minutes", "is_complaint"),
]
SURVEYS = ["source_instance", "case_id", "responded_on", "score"]
COSTS = ["month", "driver_id", "quantity_month", "cost"]
QUANTITIES = ["month", "driver_id", "origin", "quantity", "is_other"]


def case(
    number, origin, opened, *, answered=None, closed=None, status=None, escalated=False, minutes=10, complaint=False
):
    """A case opened at a time, answered and closed so many hours later."""
    opened = pd.Timestamp(opened)
    later = [None if hours is None else opened + pd.Timedelta(hours=hours) for hours in (answered, closed)]
    state = status or ("open" if closed is None else "closed")
    return "crm", f"c{number}", origin, opened, *later, state, escalated, minutes, complaint


def quality(cases=(), surveys=(), costs=(), quantities=(), as_of=AS_OF, service=TARGETS):
    frames = (
        rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=columns)
        for rows, columns in ((cases, CASES), (surveys, SURVEYS), (costs, COSTS), (quantities, QUANTITIES))
    )
    table = service_quality.quality(*frames, as_of, service)
    assert list(table.columns) == list(service_quality.COLUMNS)
    return table.set_index(["channel", "month"])


def test_hours_shares_and_counts_of_a_channel_and_month():
    cases = [
        case(1, "Phone", "2026-06-01 08:00", answered=1, closed=10, complaint=True),
        case(2, "Phone", "2026-06-02 08:00", answered=2, closed=30, escalated=True, minutes=None),
        case(3, " phone ", "2026-06-03 08:00", answered=9, closed=50),
        case(4, "Phone", "2026-06-30 20:00"),  # open for four hours: not late yet
        case(5, "Phone", "2026-06-27 08:00"),  # open for 88 hours, never answered: late on both
        case(6, None, "2026-05-01 08:00", closed=48),
        case(7, "Phone", "2026-06-05 08:00", status="closed"),  # closed on a day nobody noted
    ]
    result = quality(cases)
    june = result.loc[("Phone", JUNE)]
    assert june[["case_count", "open_case_count", "responded_case_count", "closed_case_count"]].tolist() == [6, 2, 3, 4]
    assert june[["median_response_hours", "mean_response_hours"]].tolist() == [2.0, 4.0]
    assert june[["median_resolution_hours", "mean_resolution_hours"]].tolist() == [30.0, 30.0]
    assert june["response_within_target_share"] == 0.5  # two of four: case 5 is late
    assert june["resolution_within_target_share"] == 0.5  # two of four: case 3 took 50 hours, case 5 is late
    assert june[["complaint_count", "escalated_case_count", "handling_minutes"]].tolist() == [1, 1, 50.0]
    unknown = result.loc[("Unknown", MAY)]
    assert (unknown["response_within_target_share"], unknown["resolution_within_target_share"]) == (None, 1.0)
    assert unknown["median_response_hours"] is None
    assert len(result) == 2


def test_without_targets_no_share_is_known():
    result = quality([case(1, "Phone", "2026-06-01 08:00", answered=1, closed=10)], service=Service())
    columns = [name for name in result if "target" in name]
    assert len(columns) == 4
    assert result[columns].isna().all(axis=None)


def test_satisfaction_is_of_the_answers_about_the_cases():
    cases = [case(1, "Phone", "2026-05-31 08:00", closed=2), case(2, "Web", "2026-06-01 08:00", closed=2)]
    surveys = [
        ("crm", "c1", datetime.date(2026, 6, 3), 0.5),
        ("crm", "c1", datetime.date(2026, 6, 4), 1.0),
        ("crm", "c1", datetime.date(2026, 7, 1), 0.0),
        ("desk", "c1", datetime.date(2026, 6, 3), 0.0),
        ("crm", "c9", datetime.date(2026, 6, 3), 0.0),
    ]
    result = quality(cases, surveys)
    assert result.loc[("Phone", MAY), ["csat", "csat_answers"]].tolist() == [0.75, 2]
    assert result.loc[("Web", JUNE), ["csat", "csat_answers"]].tolist() == [None, 0]


def test_cost_is_divided_by_the_driver_to_the_cent():
    cases = [case(1, "Phone", "2026-06-01 08:00", closed=2), case(2, "WEB", "2026-06-02 08:00", closed=2)]
    costs = [
        (JUNE, "minutes", JUNE, 100.0),
        (JUNE, "desk", MAY, 30.01),  # divided by the quantities of the month before
        (datetime.date(2026, 7, 1), "minutes", datetime.date(2026, 7, 1), 999.0),
        (MAY, "nothing", MAY, 5.0),
    ]
    quantities = [
        (JUNE, "minutes", "Phone", 1, False),
        (datetime.date(2026, 7, 1), "minutes", "Phone", 1, False),
        (JUNE, "minutes", "Web", 1, False),
        (JUNE, "minutes", "web", 1, False),
        (MAY, "desk", "Phone", 1, False),
        (MAY, "desk", None, 3, True),  # orders at the same desk bear the rest
    ]
    result = quality(cases, costs=costs, quantities=quantities)
    # Phone: 33.33 + 7.50; Web: 66.67
    assert result["cost"].to_dict() == {("Phone", JUNE): 40.83, ("WEB", JUNE): 66.67}
    assert result["cost_per_case"].to_dict() == {("Phone", JUNE): 40.83, ("WEB", JUNE): 66.67}


def test_cost_without_cases_has_a_row_and_no_cost_per_case():
    result = quality(costs=[(JUNE, "m", JUNE, 7)], quantities=[(JUNE, "m", "Fax", 2, False)])
    row = result.loc[("Fax", JUNE)]
    assert (row["case_count"], row["cost"], row["cost_per_case"], row["median_response_hours"]) == (0, 7.0, None, None)


def test_where_no_pool_is_driven_by_cases_a_case_costs_nobody_knows_what():
    result = quality([case(1, "Phone", "2026-06-01 08:00", closed=2)])
    assert result[["cost", "cost_per_case"]].isna().all(axis=None)


@pytest.mark.parametrize("cases", [[], [case(1, "Phone", "2026-07-01 00:00", closed=2)]])
def test_nothing_known_gives_no_rows(cases):
    assert quality(cases).empty


moments = st.integers(0, 90 * 24).map(lambda hours: pd.Timestamp("2026-04-15") + pd.Timedelta(hours=hours))
hours = st.none() | st.integers(-5, 1500)
drawn_cases = st.lists(
    st.tuples(st.sampled_from(["Phone", "phone", "Web", None, " "]), moments, hours, hours, st.booleans()), max_size=12
)


def build(drawn):
    return pd.DataFrame(
        [
            case(number, origin, opened, answered=answered, closed=closed, complaint=complaint)
            for number, (origin, opened, answered, closed, complaint) in enumerate(drawn)
        ],
        columns=CASES,
    )


@settings(max_examples=25, deadline=None)
@given(drawn=drawn_cases, seed=st.integers(0, 1000))
def test_neither_row_order_nor_the_future_moves_a_figure(drawn, seed):
    cases = build(drawn)
    opened = zip(cases["case_id"], cases["opened_at"], strict=True)
    answers = [("crm", case_id, at.date() + datetime.timedelta(days=9), 0.37) for case_id, at in opened]
    surveys = pd.DataFrame(answers, columns=SURVEYS)
    past = cases[cases["opened_at"] < END].copy()
    past.loc[pd.to_datetime(past["closed_at"]) >= END, "status_class"] = "open"
    for name in ("first_response_at", "closed_at"):
        times = pd.to_datetime(past[name])
        past[name] = times.where(times < END)
    known_answers = [answer for answer in answers if answer[2] <= AS_OF]
    shuffled = quality(cases.sample(frac=1, random_state=seed), surveys.sample(frac=1, random_state=seed))
    pd.testing.assert_frame_equal(shuffled, quality(past, known_answers))


@settings(max_examples=25, deadline=None)
@given(drawn=drawn_cases, cost=st.integers(-500, 10**6))
def test_every_case_and_every_cent_is_in_one_row(drawn, cost):
    cases = build(drawn)
    quantities = [(JUNE, "m", "Web", 2, False), (JUNE, "m", None, 1, False), (JUNE, "m", "Fax", 4, False)]
    result = quality(cases, costs=[(JUNE, "m", JUNE, cost / 100)], quantities=quantities)
    known = cases[cases["opened_at"] < END]
    assert result["case_count"].sum() == len(known)
    assert round(result["cost"].astype("float64").sum() * 100) == cost
    shares = result[["response_within_target_share", "resolution_within_target_share"]].astype("float64")
    assert shares.stack().dropna().between(0, 1).all()
    assert not np.isinf(result["mean_response_hours"].astype("float64")).any()
    assert result.index.is_unique
