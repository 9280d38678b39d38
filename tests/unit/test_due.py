"""When a day runs by itself: deliveries that arrive in every order, late ones waited for or not, and each set run once.

The schedule and the sensor are asked by Dagster's own contexts, at times that are given.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import yaml

from assets.company import load_company
from assets.errors import ConfigurationError, DeliveryError
from assets.ingest import raw
from assets.ingest.arrivals import late
from pipelines import schedules, sensors
from pipelines.due import DELIVERIES_TAG, LATE_TAG, Memory, due
from pipelines.resources import Workspace, business_dates

DAY = datetime.date(2026, 6, 30)  # a Tuesday
ZONE = ZoneInfo("Asia/Shanghai")
SETTINGS = {
    "company": "tea",
    "name": "Birch & Sons, tea",
    "base_currency": "EUR",
    "timezone": "Asia/Shanghai",
    "first_business_date": "2026-06-01",
    "sources": {"till": {"dialect": "quickbooks"}, "ledger": {"dialect": "xero"}},
}
MARKED = {"complete": "marker", "marker": "*.done"}
WAIT = {"at": "05:00", "late": "wait", "wait_until": "09:00"}


def at(hour, minute=0, day=1):
    return datetime.datetime(2026, 7, day, hour, minute, tzinfo=ZONE)


class Place:
    """A company, its landing folder, and the sensor's memory and runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.memory: Memory | None = None
        self.ran: list[str] = []
        (folder / "company").mkdir()
        self.settings()

    def settings(self, arrival=None, **more):
        sources = {name: dict(source) for name, source in SETTINGS["sources"].items()}
        for name, said in (arrival or {}).items():
            sources[name]["arrival"] = said
        (self.folder / "company" / "company.yml").write_text(yaml.safe_dump({**SETTINGS, "sources": sources, **more}))
        self.company = load_company(self.folder / "company")

    def deliver(self, source, name="sales.csv", text="id\n1\n", date=DAY):
        folder = self.data / "landing" / source / str(date)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def look(self, now):
        """What the sensor would start at this time: (date, sources it does not wait for)."""
        landing = self.data / "landing"
        run, self.waiting, memory = due(self.company, landing, self.memory, now, self.ran.__contains__)
        self.memory = Memory.read(memory.write())
        self.ran += [one.tag for one in run]
        return [(one.date, one.late) for one in run]


@pytest.fixture
def place(tmp_path, monkeypatch):
    made = Place(tmp_path)
    monkeypatch.setenv("WHALECURVE_COMPANY", str(tmp_path / "company"))
    monkeypatch.setenv("WHALECURVE_DATA", str(made.data))
    return made


ALL, NOTHING = [(DAY, ())], []


# The decision


def test_a_day_starts_when_all_of_it_is_whole_and_once(place):
    place.deliver("till")
    assert place.look(at(1)) == NOTHING
    assert place.look(at(1, 1)) == NOTHING
    assert [one.late for one in place.waiting] == [("ledger",)]
    place.deliver("ledger")
    assert place.look(at(1, 2)) == NOTHING, "the ledger was not there at the last look: it may be growing"
    assert place.look(at(1, 3)) == ALL
    assert place.look(at(1, 4)) == NOTHING
    assert place.look(at(12)) == NOTHING


def test_a_file_that_grows_is_waited_for_also_after_the_time(place):
    place.deliver("till")
    place.deliver("ledger")
    for minute in range(4):
        place.deliver("ledger", text="id\n" + "1\n" * (minute + 1))
        assert place.look(at(5, minute)) == NOTHING
    assert place.look(at(5, 5)) == ALL


def test_whom_the_company_does_not_wait_for_is_late_and_starts_the_day_again(place):
    place.deliver("till")
    assert place.look(at(4, 58)) == NOTHING
    assert place.look(at(4, 59)) == NOTHING
    assert place.look(at(5)) == [(DAY, ("ledger",))]
    assert place.look(at(5, 1)) == NOTHING
    place.deliver("ledger")
    assert place.look(at(14)) == NOTHING
    assert place.look(at(14, 1)) == ALL


def test_a_company_that_waits_does_so_until_its_time(place):
    place.settings(schedule=WAIT)
    place.deliver("till")
    place.look(at(4))
    assert place.look(at(5)) == NOTHING
    assert place.look(at(8, 59)) == NOTHING
    assert place.look(at(9)) == [(DAY, ("ledger",))]


def test_nothing_at_all_starts_nothing(place):
    assert place.look(at(5)) == NOTHING
    assert place.look(at(23)) == NOTHING


def test_a_marker_is_waited_for_and_needs_no_second_look(place):
    place.settings(arrival={"till": MARKED, "ledger": {"complete": "control"}})
    place.deliver("till")
    place.deliver("ledger")
    place.look(at(1))
    assert place.look(at(1, 1)) == NOTHING
    place.deliver("till", name="all.done", text="")
    place.deliver("ledger", name="control.csv", text="file,rows\nsales.csv,1\n")
    assert place.look(at(1, 2)) == ALL


def test_a_source_is_not_late_on_days_it_does_not_deliver(place):
    place.settings(arrival={"ledger": {"weekdays": ["mon"]}})
    place.deliver("till")
    place.look(at(1))
    assert place.look(at(1, 1)) == ALL


def test_a_new_delivery_of_the_last_days_starts_its_day_again_and_an_older_one_does_not(place):
    for source in ("till", "ledger"):
        for date in (DAY, DAY - datetime.timedelta(days=1)):
            place.deliver(source, date=date)
    place.look(at(1))
    assert place.look(at(1, 1)) == ALL, "the day before was there before the sensor was turned on"
    place.deliver("till", text="id\n2\n", date=DAY - datetime.timedelta(days=1))
    place.deliver("till", text="id\n3\n")
    place.look(at(2, day=4))
    assert place.look(at(2, 1, day=4)) == ALL
    place.deliver("till", text="id\n4\n")
    place.look(at(2, day=9))
    assert place.look(at(2, 1, day=9)) == NOTHING, "longer ago than the sensor looks back"


def test_days_that_were_missed_start_in_their_order(place):
    place.look(at(1))
    for date in (DAY + datetime.timedelta(days=1), DAY):
        for source in ("till", "ledger"):
            place.deliver(source, date=date)
    assert place.look(at(1, day=2)) == NOTHING
    assert [date for date, _ in place.look(at(1, 1, day=2))] == [DAY, DAY + datetime.timedelta(days=1)]


def test_a_day_that_has_not_ended_where_the_company_is_does_not_start(place):
    for source in ("till", "ledger"):
        place.deliver(source)
    before = (at(0) - datetime.timedelta(minutes=2)).astimezone(datetime.UTC)
    assert place.look(before) == place.look(before + datetime.timedelta(minutes=1)) == NOTHING
    assert place.look(before + datetime.timedelta(minutes=2)) == NOTHING
    assert place.look(before + datetime.timedelta(minutes=3)) == ALL


def test_a_clock_that_jumps_starts_nothing_twice(place):
    for source in ("till", "ledger"):
        place.deliver(source)
    place.look(at(1))
    assert place.look(at(1, 1)) == ALL
    for hour, day in ((1, 20), (1, 1), (3, 1), (4, 1), (0, 2)):
        assert place.look(at(hour, day=day)) == NOTHING


def test_a_cursor_that_is_not_ours_is_as_none():
    assert Memory.read(None) is Memory.read("{}") is Memory.read("7") is Memory.read("not json") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"late": "wait"},
        {"wait_until": "09:00"},
        {**WAIT, "wait_until": "04:00"},
        {"at": "05:00:07"},
        {"at": "5 o'clock"},
    ],
)
def test_a_schedule_that_cannot_be_is_refused(place, wrong):
    with pytest.raises(ConfigurationError, match="schedule"):
        place.settings(schedule=wrong)


# Dagster


@pytest.fixture
def job(place):
    @dg.asset(partitions_def=business_dates(place.company))
    def anything():
        pass

    return dg.define_asset_job("daily_run", [anything]), anything


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def asked(place, job, instance, now):
    """What the schedule answers at a tick."""
    schedule = schedules.daily_schedule(job[0], place.company)
    defs = dg.Definitions(assets=[job[1]], jobs=[job[0]], schedules=[schedule])
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=now, repository_def=defs.get_repository_def()
    )
    data = schedule.evaluate_tick(context)
    return (data.run_requests or [None])[0], data.skip_message


def test_the_schedule_has_the_company_s_times(place, job):
    schedule = schedules.daily_schedule(job[0], place.company)
    assert (schedule.cron_schedule, schedule.execution_timezone) == (["0 5 * * *"], "Asia/Shanghai")
    place.settings(schedule={**WAIT, "wait_until": "09:30"})
    assert schedules.daily_schedule(job[0], place.company).cron_schedule == ["0 5 * * *", "30 9 * * *"]


def test_the_schedule_runs_with_what_is_there_and_names_who_is_late(place, job, instance):
    place.deliver("till")
    request, _ = asked(place, job, instance, at(5))
    assert request.partition_key == "2026-06-30"
    assert request.tags[LATE_TAG] == "ledger"
    place.deliver("ledger")
    request, _ = asked(place, job, instance, at(5))
    assert LATE_TAG not in request.tags


def test_the_schedule_waits_at_the_first_tick_and_not_at_the_second(place, job, instance):
    place.settings(schedule=WAIT)
    place.deliver("till")
    request, said = asked(place, job, instance, at(5))
    assert request is None
    assert said == "2026-06-30 waits for ledger until 2026-07-01 09:00 (Asia/Shanghai)."
    assert asked(place, job, instance, at(9))[0].tags[LATE_TAG] == "ledger"


def test_the_schedule_does_not_repeat_a_run_of_the_same_deliveries_unless_it_failed(place, job, instance):
    for source in ("till", "ledger"):
        place.deliver(source)
    tag = asked(place, job, instance, at(5))[0].tags[DELIVERIES_TAG]
    run = instance.add_run(
        dg.DagsterRun(
            job_name="daily_run", run_id="a" * 8, status=dg.DagsterRunStatus.STARTED, tags={DELIVERIES_TAG: tag}
        )
    )
    request, said = asked(place, job, instance, at(5))
    assert request is None
    assert "have had their run" in said
    instance.report_run_failed(run)
    assert asked(place, job, instance, at(5))[0] is not None


def test_a_day_without_any_delivery_runs_into_its_error_unless_nobody_delivers_then(place, job, instance):
    assert asked(place, job, instance, at(5))[0] is not None
    never = {"weekdays": ["sun"]}
    place.settings(arrival={"till": never, "ledger": never})
    assert asked(place, job, instance, at(5)) == (None, "No source delivers for 2026-06-30.")


def test_nothing_runs_before_the_first_and_after_the_last_business_date(place, job, instance):
    place.settings(last_business_date="2026-06-30")
    assert asked(place, job, instance, at(5))[0].partition_key == "2026-06-30"
    assert asked(place, job, instance, at(5, day=2)) == (None, "The company's last business date, 2026-06-30, is over.")
    place.settings(first_business_date="2026-07-01")
    assert asked(place, job, instance, at(5))[0] is None


def test_the_sensor_starts_a_day_and_remembers(place, job, instance, monkeypatch):
    sensor = sensors.delivery_sensor(job[0])
    repository = dg.Definitions(assets=[job[1]], jobs=[job[0]], sensors=[sensor]).get_repository_def()
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED, "nothing runs before somebody turns it on"
    cursor = None

    def tick(now):
        nonlocal cursor
        monkeypatch.setattr(sensors, "_now", lambda: now)
        context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository)
        data = sensor.evaluate_tick(context)
        cursor = data.cursor
        return data.run_requests or [], data.skip_message

    assert tick(at(1)) == ([], "Nothing new was delivered.")
    place.deliver("till")
    tick(at(1, 1))
    assert tick(at(1, 2)) == ([], "2026-06-30 waits for ledger until 2026-07-01 05:00 (Asia/Shanghai).")
    place.deliver("ledger")
    requests, said = tick(at(1, 3))
    assert requests == []
    assert said.startswith("2026-06-30: files are coming in")
    (request,), _ = tick(at(1, 4))
    assert (request.partition_key, request.run_key) == ("2026-06-30", request.tags[DELIVERIES_TAG])
    instance.add_run(
        dg.DagsterRun(job_name="daily_run", run_id="b" * 8, status=dg.DagsterRunStatus.FAILURE, tags=request.tags)
    )
    assert tick(at(1, 5)) == ([], "Nothing new was delivered."), "the same deliveries would fail again"


# What a run reads


def test_a_delivery_without_its_marker_is_not_read(place):
    place.settings(arrival={"till": MARKED})
    place.deliver("till")
    context = dg.build_asset_context(partition_key=str(DAY))
    landing = raw.landing_assets(business_dates(place.company))
    workspace = Workspace(company_path=str(place.folder / "company"), data_path=str(place.data))
    with pytest.raises(DeliveryError, match=r"till, 2026-06-30: the delivery is not complete \(no file \*.done yet\)"):
        landing(context, workspace)
    place.deliver("ledger")
    landing(context, workspace)
    place.deliver("till", name="all.done", text="")
    landing(context, workspace)


def test_who_is_late_is_what_was_read(place):
    said = late(place.company, {"till": DAY, "ledger": DAY - datetime.timedelta(days=2)}, DAY)
    assert said == [{"source": "ledger", "last_delivery": "2026-06-28"}]
    assert late(place.company, {"till": DAY}, DAY) == [{"source": "ledger", "last_delivery": None}]
    assert late(place.company, {"till": DAY, "ledger": DAY}, DAY) == []
    place.settings(arrival={"ledger": {"weekdays": ["mon"]}})
    assert late(place.company, {"till": DAY}, DAY) == []
