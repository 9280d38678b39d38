"""What customers make people do: service cases, visits, calls, surveys, campaigns, opportunities."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harbour_pine.profile import DIRT, FIRST_DAY, LAST_DAY, MONTHS, START, day_number
from harbour_pine.world import World, ids_by_crm, per_archetype


def make_cases(world: World) -> None:
    """Table `cases`: service cases in the days after an order; long ones are escalated. Never for what no CRM knows."""
    rng, customers = world.rng("cases"), world.customers
    documents = world.frame("select customer, day from documents where original < 0 order by number")
    customer = documents["customer"].to_numpy()
    archetype = customers["archetype"].to_numpy()[customer]
    rate = per_archetype("cases_per_order", archetype) * customers["service_factor"].to_numpy()[customer]
    rate[customers["crm"].to_numpy()[customer] == "none"] = 0
    origin = np.repeat(np.arange(len(documents)), rng.poisson(rate))
    opened = documents["day"].to_numpy()[origin] + rng.integers(0, 15, len(origin))
    kept = opened <= LAST_DAY
    origin, opened = origin[kept], opened[kept]
    customer = customer[origin]
    minutes = per_archetype("minutes_per_case", archetype[origin]) * rng.lognormal(-0.18, 0.6, len(origin))
    frame = pd.DataFrame({
        "customer": customer, "opened": opened, "minute": rng.integers(510, 1000, len(origin)),
        "minutes": np.maximum(2, np.round(minutes)).astype(np.int64),
        "closed": opened + rng.integers(0, 9, len(origin)),
        "type": rng.integers(0, 4, len(origin)), "origin": rng.integers(0, 3, len(origin)),
        "first_response": rng.integers(5, 300, len(origin)),
    }).sort_values(["opened", "minute", "customer"], kind="stable", ignore_index=True)  # fmt: skip
    frame["escalated"] = frame["minutes"] > 90
    frame["number"] = np.arange(1, len(frame) + 1)
    frame["crm"] = customers["crm"].to_numpy()[frame["customer"]]
    frame["id"] = ids_by_crm(frame["crm"].to_numpy(), "500", 2)
    frame["account"] = customers["id"].to_numpy()[frame["customer"]]
    world.put("cases", frame)


def make_activities(world: World) -> None:
    """Table `activities`: visits and calls over the time a customer buys, on working days."""
    rng, customers = world.rng("activities"), world.customers
    known = customers[(customers["kind"] == "customer")]
    years = (known["last"] - known["first"] + 1).to_numpy() / 365
    parts = []
    for kind, field, minutes in (("visit", "visits_per_year", 75), ("call", "calls_per_year", 9)):
        rate = per_archetype(field, known["archetype"].to_numpy()) * known["visit_factor"].to_numpy() * years
        who = np.repeat(np.arange(len(known)), rng.poisson(rate))
        first, last = known["first"].to_numpy()[who], known["last"].to_numpy()[who]
        day = first + (rng.random(len(who)) * (last - first + 1)).astype(np.int64)
        weekday = (day + START.weekday()) % 7
        day = np.clip(np.where(weekday > 4, day - 2, day), 0, LAST_DAY)
        spent = np.maximum(1, np.round(minutes * rng.lognormal(-0.08, 0.4, len(who)))).astype(np.int64)
        parts.append(
            pd.DataFrame({"kind": kind, "customer": known["customer"].to_numpy()[who], "day": day, "minutes": spent})
        )
    frame = pd.concat(parts, ignore_index=True).sort_values(
        ["day", "kind", "customer"], kind="stable", ignore_index=True
    )
    frame["minute"] = rng.integers(510, 1050, len(frame))
    frame["crm"] = customers["crm"].to_numpy()[frame["customer"]]
    frame["id"] = ""
    for number, (kind, prefix) in enumerate((("visit", "00U"), ("call", "00T"))):
        rows = (frame["kind"] == kind).to_numpy()
        frame.loc[rows, "id"] = ids_by_crm(frame["crm"].to_numpy()[rows], prefix, 3 + number)
    frame["account"] = customers["id"].to_numpy()[frame["customer"]]
    frame["owner"] = customers["owner"].to_numpy()[frame["customer"]]
    frame["seen"] = np.maximum(frame["day"], FIRST_DAY)
    early_june = frame.index[(frame["kind"] == "visit") & frame["day"].between(FIRST_DAY + 2, FIRST_DAY + 12)]
    late = early_june[: DIRT["late_visits"]]
    frame.loc[late, "seen"] += 11
    world.dirt["late_visits"] = len(late)
    world.put("activities", frame)


def make_surveys(world: World) -> None:
    """Table `surveys`: one closed case in four is scored 1 to 5, long ones worse."""
    rng = world.rng("surveys")
    cases = world.frame("select id as case_id, account, crm, closed as day, minute, minutes from cases order by number")
    chosen = cases[(rng.random(len(cases)) < 0.25) & (cases["day"] < LAST_DAY)].copy()
    chosen["day"] += 1
    score = 4.7 - chosen["minutes"] / 70 + rng.normal(0, 0.7, len(chosen))
    chosen["score"] = np.clip(np.round(score), 1, 5).astype(np.int64)
    chosen["id"] = ids_by_crm(chosen["crm"].to_numpy(), "a0B", 5)
    world.put("surveys", chosen.sort_values(["day", "id"], kind="stable", ignore_index=True))


def make_campaigns(world: World) -> None:
    """Tables `campaigns` (monthly in one CRM, quarterly in the other) and `members` (customers addressed)."""
    rng, customers = world.rng("campaigns"), world.customers
    channels, channels_zh = (
        ("Email", "Trade Show", "Advertisement", "Telemarketing"),
        ("邮件", "展会", "广告", "电话营销"),
    )
    rows = []
    for index, month in enumerate(MONTHS):
        for crm in ("sf", "fx") if index % 3 == 0 else ("sf",):
            channel = index % 4
            label = (channels if crm == "sf" else channels_zh)[channel]
            name = f"{label} {month:%Y-%m}" if crm == "sf" else f"{month:%Y}年{month.month}月{label}活动"
            rows.append(
                {
                    "crm": crm,
                    "name": name,
                    "channel": label,
                    "day": max(0, day_number(month) + 3),
                    "cost": 900_000 + 110_000 * channel,
                }
            )
    campaigns = pd.DataFrame(rows)
    campaigns["id"] = ids_by_crm(campaigns["crm"].to_numpy(), "701", 6)
    world.put("campaigns", campaigns)
    crm, account = customers["crm"].to_numpy(), customers["id"].to_numpy()
    first, last = customers["first"].to_numpy(), customers["last"].to_numpy()
    buys = (customers["kind"] == "customer").to_numpy()
    answers = np.where(customers["segment"] == "Small Business", 0.42, 0.30)
    parts = []
    for campaign in campaigns.itertuples():
        active = np.flatnonzero(buys & (crm == campaign.crm) & (first <= campaign.day) & (last >= campaign.day))
        invited = active[rng.random(len(active)) < 0.45]
        answered = np.minimum(campaign.day + rng.integers(1, 26, len(invited)), LAST_DAY)
        responds = rng.random(len(invited)) < answers[invited]
        parts.append(
            pd.DataFrame(
                {
                    "campaign": campaign.id,
                    "crm": campaign.crm,
                    "account": account[invited],
                    "added": campaign.day,
                    "responded": np.where(responds, answered, -1),
                }
            )
        )
    members = pd.concat(parts, ignore_index=True)
    members["minute"] = rng.integers(510, 1080, len(members))
    members["id"] = ids_by_crm(members["crm"].to_numpy(), "00v", 7)
    world.put("members", members)


def make_opportunities(world: World) -> None:
    """Table `opportunities`: `result` is open, won or lost; prospects have them too."""
    rng = world.rng("opportunities")
    known = world.customers[world.customers["crm"] != "none"]
    years = np.maximum(known["last"] - known["first"], 60).to_numpy() / 365
    who = np.repeat(np.arange(len(known)), rng.poisson(np.where(known["segment"] == "Key Account", 2.5, 0.5) * years))
    first, last = known["first"].to_numpy()[who], known["last"].to_numpy()[who]
    frame = pd.DataFrame({
        "created": np.minimum(first + (rng.random(len(who)) * (last - first + 1)).astype(np.int64), LAST_DAY),
        "account": known["id"].to_numpy()[who], "crm": known["crm"].to_numpy()[who],
        "owner": known["owner"].to_numpy()[who],
        "name": known["name"].to_numpy()[who], "amount": rng.integers(5, 400, len(who)) * 100_000,
        "won": rng.random(len(who)) < 0.42, "minute": rng.integers(510, 1080, len(who)),
        "won_through": known["won_through"].to_numpy()[who],
    })  # fmt: skip
    frame = frame.sort_values(["created", "account"], kind="stable", ignore_index=True)
    frame["close"] = frame["created"] + rng.integers(14, 150, len(frame))
    frame["id"] = ids_by_crm(frame["crm"].to_numpy(), "006", 8)
    world.put("opportunities", frame)
