"""When a business date is run by itself: what has arrived, what is late, and how long to wait for it.

Belongs here: decisions, made from what lies in the landing folder, company.yml and a given time. Not here: the schedule and the
sensor that ask for them (`schedules.py`, `sensors.py`).

A business date is due when it has ended in the company's time zone. It is run as soon as all its deliveries are whole, at the
latest at the time company.yml names, then with what is there; and again when a delivery of it comes later or changes.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.company import Company
from assets.ingest.arrivals import Delivery, is_whole, look

LOOK_BACK = 7
"""Days before the date that is due for which a late delivery still starts a run by itself."""
LATE_TAG = "whalecurve/late"
DELIVERIES_TAG = "whalecurve/deliveries"
"""Tag of a run: the business date and the deliveries it was started for, so that the same ones start one run only."""


@dataclass(frozen=True)
class Day:
    """What has arrived of one business date.

    - whole: sources whose delivery is complete. late: sources that should have one and have none, or an unfinished one.
    - anything: whether there is anything to read. settling: whether something changed since the last look, or is looked at first.
    - tag: the date and a hash of the deliveries that are whole, the value of `DELIVERIES_TAG`.
    """

    date: datetime.date
    whole: tuple[str, ...]
    late: tuple[str, ...]
    anything: bool
    settling: bool
    tag: str


def last_ended(company: Company, now: datetime.datetime) -> datetime.date:
    """The last business date that has ended in the company's time zone."""
    yesterday = now.astimezone(ZoneInfo(company.timezone)).date() - datetime.timedelta(days=1)
    return min(yesterday, company.last_business_date or yesterday)


def is_over(company: Company, date: datetime.date, now: datetime.datetime) -> bool:
    """Whether a date that has ended is not the day to be run today: the company's last business date lies behind it."""
    return date + datetime.timedelta(days=1) < now.astimezone(ZoneInfo(company.timezone)).date()


def deliveries(company: Company, landing: Path, date: datetime.date) -> dict[str, Delivery]:
    """Source -> its delivery of the date as it lies there now."""
    return {name: look(landing, name, date, source.arrival) for name, source in company.sources.items()}


def day(
    company: Company, date: datetime.date, found: Mapping[str, Delivery], before: Mapping[str, str] | None = None
) -> Day:
    """What has arrived. `before` is the state of each delivery at an earlier look; without one all is taken for stable."""
    seen = {name: one.state for name, one in found.items()} if before is None else before
    whole = tuple(sorted(name for name, one in found.items() if is_whole(one, seen.get(name))))
    late = tuple(
        sorted(name for name, source in company.sources.items() if source.arrival.expects(date) and name not in whole)
    )
    content = hashlib.sha256(repr([(name, found[name].state) for name in whole]).encode()).hexdigest()[:16]
    anything = any(one.is_there for one in found.values())
    settling = any(one.is_there and one.state != seen.get(name) for name, one in found.items() if name not in whole)
    return Day(date, whole, late, anything, settling, f"{date}:{content}")


def waits_until(company: Company, date: datetime.date) -> datetime.datetime:
    """Until when sources that are late are waited for: the last moment at which the day is run with what is there."""
    plan = company.schedule
    at = plan.wait_until if plan.late == "wait" and plan.wait_until else plan.at
    return datetime.datetime.combine(date + datetime.timedelta(days=1), at, tzinfo=ZoneInfo(company.timezone))


def may_run(company: Company, now_there: Day, now: datetime.datetime) -> bool:
    """Whether to run the day now: all is there and whole, or something is and the waiting is over; never while a file grows."""
    over = not now_there.late or now >= waits_until(company, now_there.date)
    return now_there.anything and not now_there.settling and over


def tags(now_there: Day) -> dict[str, str]:
    """The tags of a run for the day: what it was started for, and whom it did not wait for."""
    return {DELIVERIES_TAG: now_there.tag} | ({LATE_TAG: ", ".join(now_there.late)} if now_there.late else {})


def waiting_for(company: Company, now_there: Day) -> str:
    """Whom a day waits for, and how long: for a person."""
    if now_there.settling:
        return f"{now_there.date}: files are coming in; they are looked at again until they no longer change."
    until = waits_until(company, now_there.date)
    return f"{now_there.date} waits for {', '.join(now_there.late)} until {until:%Y-%m-%d %H:%M} ({company.timezone})."


@dataclass(frozen=True)
class Memory:
    """What the sensor remembers between two looks: the first date it answers for, and each delivery's state then."""

    first: datetime.date
    seen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, cursor: str | None) -> Memory | None:
        """From a cursor; None from one that is missing or not ours."""
        try:
            written = json.loads(cursor or "")
            return cls(datetime.date.fromisoformat(written["first"]), written["seen"])
        except (ValueError, KeyError, TypeError):
            return None

    def write(self) -> str:
        return json.dumps({"first": self.first.isoformat(), "seen": self.seen})


def due(
    company: Company, landing: Path, memory: Memory | None, now: datetime.datetime, was_run: Callable[[str], bool]
) -> tuple[list[Day], list[Day], Memory]:
    """The days to run now, oldest first, those still waited for, and what to remember until the next look.

    `was_run` says whether a run was started for the deliveries of a tag. Dates before the first look are left to a person: who
    turns the sensor on beside years of deliveries does not want a run for each of them.
    """
    ended = last_ended(company, now)
    memory = memory or Memory(ended)
    first = max(memory.first, ended - datetime.timedelta(days=LOOK_BACK), company.first_business_date)
    run, waiting, seen = [], [], {}
    for date in _days(first, ended):
        found = deliveries(company, landing, date)
        now_there = day(company, date, found, memory.seen.get(date.isoformat(), {}))
        seen[date.isoformat()] = {name: one.state for name, one in found.items()}
        if may_run(company, now_there, now):
            if not was_run(now_there.tag):
                run.append(now_there)
        elif now_there.late:
            waiting.append(now_there)
    return run, waiting, Memory(min(memory.first, ended), seen)


def _days(first: datetime.date, last: datetime.date) -> Iterator[datetime.date]:
    for offset in range((last - first).days + 1):
        yield first + datetime.timedelta(days=offset)
