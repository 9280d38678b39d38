"""Service quality: how fast cases are answered and closed in each channel, how satisfied customers were, and what a case costs.

Belongs here: the cases opened in a month, by the channel they came in by. Not here: what good service is worth to one customer
(`relationship`), and how the cost of a pool comes to customers (the costing).

Cost is divided in whole cents; hours and rates are floats.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

from assets.analytics.features import COMPLAINT
from assets.analytics.history import as_of_column, month_number
from assets.company import Service
from assets.costing.cents import largest_remainder

CASES = f"""
    select
        cases.source_instance,
        cases.case_id,
        cases.origin,
        cases.opened_at,
        cases.first_response_at,
        cases.closed_at,
        cases.status_class,
        cases.is_escalated,
        cases.handling_minutes,
        regexp_matches(lower(concat_ws(' ', cases.case_type, cases.category)), '{COMPLAINT}') as is_complaint
    from facts.fct_service_cases as cases
"""

SURVEYS = """
    select source_instance, case_id, responded_on, score_normalized as score
    from facts.fct_survey_responses
    where survey_type = 'csat' and case_id is not null and score_normalized is not null
"""

CASE_DRIVERS = """
    select distinct driver_id, cast(null as varchar) as term
    from rules.drivers
    where measure in ('service_cases', 'handling_minutes')
    union
    select distinct driver_id, term
    from rules.time_equations
    where measure in ('service_cases', 'handling_minutes')
"""

COSTS = f"""
    select month, driver_id, quantity_month, sum(amount) as cost
    from marts.customer_cost_lines
    where driver_id in (select driver_id from ({CASE_DRIVERS}))
    group by month, driver_id, quantity_month
"""
"""What customers bear of the pools that cases drive, by driver. Unused capacity is no cost of a case."""

QUANTITIES = f"""
    select rows.month, rows.driver_id, cases.origin, sum(rows.quantity) as quantity, false as is_other
    from pools.driver_rows as rows
    inner join ({CASE_DRIVERS}) as drivers
        on rows.driver_id = drivers.driver_id and rows.term is not distinct from drivers.term
    inner join facts.fct_service_cases as cases
        on rows.source_instance = cases.source_instance and rows.source_record_id = cases.case_id
    where cases.customer_id <> 'UNMATCHED'
    group by rows.month, rows.driver_id, cases.origin
    union all
    select rows.month, rows.driver_id, cast(null as varchar) as origin, sum(rows.quantity) as quantity, true as is_other
    from pools.driver_rows as rows
    left join ({CASE_DRIVERS}) as drivers
        on rows.driver_id = drivers.driver_id and rows.term is not distinct from drivers.term
    where rows.driver_id in (select driver_id from ({CASE_DRIVERS})) and drivers.driver_id is null
        and rows.customer_id <> 'UNMATCHED'
    group by rows.month, rows.driver_id
"""
"""Driver quantity by the channel of the case it comes from; `is_other` is what else the driver counts, such as orders."""

UNKNOWN_CHANNEL = "Unknown"
"""The channel of cases whose source does not say."""

TYPES = {
    "channel": "VARCHAR",
    "month": "DATE",
    "as_of_date": "DATE",
    **dict.fromkeys(("case_count", "open_case_count", "responded_case_count", "closed_case_count"), "BIGINT"),
    **dict.fromkeys(("median_response_hours", "mean_response_hours"), "DOUBLE"),
    **dict.fromkeys(("median_resolution_hours", "mean_resolution_hours"), "DOUBLE"),
    **dict.fromkeys(("response_target_hours", "response_within_target_share"), "DOUBLE"),
    **dict.fromkeys(("resolution_target_hours", "resolution_within_target_share"), "DOUBLE"),
    "csat": "DOUBLE",
    "csat_answers": "BIGINT",
    "complaint_count": "BIGINT",
    "escalated_case_count": "BIGINT",
    "handling_minutes": "DOUBLE",
    "cost": "DECIMAL(22,2)",
    "cost_per_case": "DECIMAL(22,4)",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)

ChannelMonth = tuple[str, int]
"""A channel, and a month as a consecutive whole number."""


def quality(
    cases: pd.DataFrame,
    surveys: pd.DataFrame,
    costs: pd.DataFrame,
    quantities: pd.DataFrame,
    as_of: datetime.date,
    service: Service,
) -> pd.DataFrame:
    """One row per channel and month with cases opened or cost; nothing dated after `as_of` is seen.

    `cases` has one row per case: source_instance, case_id, origin, opened_at, first_response_at, closed_at (UTC; all but
    opened_at may be missing), status_class, is_escalated, is_complaint, handling_minutes. `surveys` has one row per CSAT
    answer: source_instance, case_id, responded_on, score (0 to 1). `costs`: month, driver_id, quantity_month, cost (base
    currency). `quantities`: month, driver_id, origin, quantity, is_other, which divide the costs.

    Everything is about the cases opened in the month, whenever they were answered, closed or asked about:

    - channel: origin of the case, spelled as the first of its spellings; Unknown where the source says none.
    - open_case_count: not closed by `as_of`. A case closed on a day nobody noted is not open, and has no hours.
    - median and mean hours to the first response (where recorded) and to closing: of those that had it by `as_of`.
    - response_within_target_share, resolution_within_target_share: of the cases that had it or are open beyond the target, the
      share within the declared hours (response: of sources that record responses at all); missing without a target.
    - csat (0 to 1), csat_answers: answers about these cases.
    - escalated_case_count: escalated as the record stands; sources do not say when.
    - handling_minutes: worked on them; 0 where not recorded.
    - cost, cost_per_case: what customers bear of the pools whose driver counts cases or their minutes, in the month of the cost,
      divided by the driver quantity of the channel; missing when no pool is driven by cases. cost_per_case is missing without
      cases in the month.
    """
    known = _known(cases, as_of)
    names = _channel_names(known["origin"], quantities["origin"])
    known["channel"] = [names[_key(origin)] for origin in known["origin"]]
    answers = _answers(surveys, known, as_of)
    cost_of = _cost_of_channels(costs, quantities, as_of, names)
    groups = _by_channel_month(known)
    rows = [
        {
            "channel": channel,
            "month": datetime.date((month - 1) // 12, (month - 1) % 12 + 1, 1),
            **_measures(groups.get((channel, month), known.iloc[:0]), service),
            **_csat(answers.get((channel, month), np.empty(0))),
            **_cost(cost_of, (channel, month), len(groups.get((channel, month), ()))),
        }
        for channel, month in sorted({*groups, *(cost_of or {})})
    ]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "as_of_date"])
    table["as_of_date"] = as_of_column(as_of, len(table))
    for name, kind in TYPES.items():
        if kind != "VARCHAR" and kind != "DATE":  # nothing to measure is null in the warehouse, not "not a number"
            table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table[list(COLUMNS)]


def _known(cases: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """The cases opened by the end of `as_of`, with what was known of them then."""
    end = pd.Timestamp(as_of) + pd.Timedelta(days=1)
    opened = pd.to_datetime(cases["opened_at"])
    known = cases.assign(opened=opened)[opened < end].copy()
    for name in ("first_response_at", "closed_at"):
        times = pd.to_datetime(known[name])
        known[name] = times.where(times < end)
        seconds = (known[name] - known["opened"]).dt.total_seconds()
        known[f"{name}_hours"] = seconds.clip(lower=0).astype("float64") / 3600
    was_dated = pd.to_datetime(cases["closed_at"]).notna().reindex(known.index)
    known["is_open"] = known["closed_at"].isna() & ((known["status_class"] != "closed") | was_dated)
    known["age_hours"] = (end - known["opened"]).dt.total_seconds() / 3600
    answering = known.loc[known["first_response_at"].notna(), "source_instance"].unique()
    known["is_answer_recorded"] = known["source_instance"].isin(answering)
    known["month"] = month_number(known["opened"])
    known["minutes"] = known["handling_minutes"].astype("float64").fillna(0.0)
    return known.sort_values(["source_instance", "case_id"], kind="stable").reset_index(drop=True)


def _measures(cases: pd.DataFrame, service: Service) -> dict[str, Any]:
    responses = cases["first_response_at_hours"].dropna()
    resolutions = cases["closed_at_hours"].dropna()
    unanswered = cases[cases["is_open"] & cases["first_response_at"].isna() & cases["is_answer_recorded"]]["age_hours"]
    return {
        "case_count": len(cases),
        "open_case_count": int(cases["is_open"].sum()),
        "responded_case_count": len(responses),
        "closed_case_count": int((~cases["is_open"].astype("bool")).sum()),
        "median_response_hours": _median(responses),
        "mean_response_hours": _mean(responses),
        "median_resolution_hours": _median(resolutions),
        "mean_resolution_hours": _mean(resolutions),
        "response_target_hours": service.response_hours,
        "response_within_target_share": _within(responses, unanswered, service.response_hours),
        "resolution_target_hours": service.resolution_hours,
        "resolution_within_target_share": _within(
            resolutions, cases[cases["is_open"]]["age_hours"], service.resolution_hours
        ),
        "complaint_count": int(cases["is_complaint"].sum()),
        "escalated_case_count": int(cases["is_escalated"].fillna(False).sum()),
        "handling_minutes": round(float(np.sort(cases["minutes"].to_numpy()).sum()), 6),
    }


def _median(hours: pd.Series) -> float | None:
    return round(float(np.median(hours.to_numpy())), 4) if len(hours) else None


def _mean(hours: pd.Series) -> float | None:
    # In the order of the values: a sum of floats depends on its order, and the result must not depend on the rows'.
    return round(float(np.sort(hours.to_numpy()).sum()) / len(hours), 4) if len(hours) else None


def _within(hours: pd.Series, ages_of_waiting: pd.Series, target: float | None) -> float | None:
    if target is None:
        return None
    decided = len(hours) + int((ages_of_waiting > target).sum())
    return round(int((hours <= target).sum()) / decided, 6) if decided else None


def _answers(surveys: pd.DataFrame, known: pd.DataFrame, as_of: datetime.date) -> dict[ChannelMonth, np.ndarray]:
    in_time = surveys[(pd.to_datetime(surveys["responded_on"]) <= pd.Timestamp(as_of)) & surveys["score"].notna()]
    about = in_time.merge(known[["source_instance", "case_id", "channel", "month"]], on=["source_instance", "case_id"])
    return {key: group["score"].to_numpy(dtype="float64") for key, group in _by_channel_month(about).items()}


def _by_channel_month(frame: pd.DataFrame) -> dict[ChannelMonth, pd.DataFrame]:
    keys = zip(frame["channel"], frame["month"], strict=True)
    places: dict[ChannelMonth, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return {key: frame.iloc[rows] for key, rows in places.items()}


def _csat(scores: np.ndarray) -> dict[str, Any]:
    mean = round(float(np.sort(scores).sum()) / len(scores), 6) if len(scores) else None
    return {"csat": mean, "csat_answers": len(scores)}


def _cost_of_channels(
    costs: pd.DataFrame, quantities: pd.DataFrame, as_of: datetime.date, names: dict[str, str]
) -> dict[ChannelMonth, int] | None:
    """Cents per channel and month, to the cent; None when no pool is driven by cases."""
    if costs.empty:
        return None
    this_month = as_of.year * 12 + as_of.month
    other = "\0"  # no channel is called that
    weights: dict[tuple[str, int], dict[str, int]] = {}
    for month, driver, origin, quantity, is_other in zip(
        month_number(quantities["month"]),
        quantities["driver_id"],
        quantities["origin"],
        quantities["quantity"],
        quantities["is_other"],
        strict=True,
    ):
        of_driver = weights.setdefault((driver, month), {})
        channel = other if is_other else names[_key(origin)]
        of_driver[channel] = of_driver.get(channel, 0) + int(quantity)
    spent: dict[ChannelMonth, int] = {}
    cost_months = zip(
        month_number(costs["month"]),
        costs["driver_id"],
        month_number(costs["quantity_month"].fillna(costs["month"])),
        costs["cost"],
        strict=True,
    )
    for month, driver, quantity_month, cost in cost_months:
        shares = {name: max(quantity, 0) for name, quantity in weights.get((driver, quantity_month), {}).items()}
        if month > this_month or not any(shares.values()):
            continue
        for channel, cents in largest_remainder(round(float(cost) * 100), shares).items():
            if channel != other and cents:
                spent[channel, month] = spent.get((channel, month), 0) + cents
    return spent


def _cost(cost_of: dict[ChannelMonth, int] | None, key: ChannelMonth, case_count: int) -> dict[str, Any]:
    if cost_of is None:
        return {"cost": None, "cost_per_case": None}
    cents = cost_of.get(key, 0)
    return {"cost": cents / 100, "cost_per_case": round(cents / 100 / case_count, 4) if case_count else None}


def _key(origin: Any) -> str:
    """What two spellings of a channel have in common; empty when there is none."""
    return "" if pd.isna(origin) else " ".join(str(origin).split()).casefold()


def _channel_names(*origins: pd.Series) -> dict[str, str]:
    """The name of each channel: of several spellings the one that sorts first."""
    names = {"": UNKNOWN_CHANNEL}
    for origin in pd.concat(origins, ignore_index=True).dropna().unique():
        spelled = " ".join(str(origin).split())
        if spelled:
            names[_key(origin)] = min(names.get(_key(origin), spelled), spelled)
    return names
