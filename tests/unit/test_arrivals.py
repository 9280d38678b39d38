"""When a delivery is complete: by its own word, or because nothing about it changes any more."""

from __future__ import annotations

import datetime
import os
import zipfile

import pytest

from assets.company import Arrival
from assets.ingest.arrivals import is_whole, look

DAY = datetime.date(2026, 6, 30)
STABLE, CONTROL = Arrival(), Arrival(complete="control")
MARKED = Arrival(complete="marker", marker="*.done")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "erp" / str(DAY)
    made.mkdir(parents=True)
    return made


def seen(folder, arrival=STABLE):
    return look(folder.parents[1], "erp", DAY, arrival)


def test_nothing_is_no_delivery(folder, tmp_path):
    for arrival in (STABLE, CONTROL, MARKED):
        now = seen(folder, arrival)
        assert not now.is_there
        assert not is_whole(now, now.state)
    assert not look(tmp_path, "another", DAY, STABLE).is_there
    folder.rmdir()
    folder.write_text("a file where a folder should be")
    assert not seen(folder).is_there


def test_stable_is_the_same_at_two_looks(folder):
    (folder / "sales.csv").write_text("id\n1\n")
    first = seen(folder)
    assert not is_whole(first, None), "one look tells nothing"
    assert is_whole(seen(folder), first.state)
    with (folder / "sales.csv").open("a") as file:
        file.write("2\n")
    second = seen(folder)
    assert not is_whole(second, first.state), "it grew"
    (folder / "customers.csv").write_text("id\n")
    third = seen(folder)
    assert not is_whole(third, second.state), "another file came"
    os.utime(folder / "sales.csv", (1, 1))
    assert not is_whole(seen(folder), third.state), "written again with the same size"


def test_a_transfer_that_goes_on_is_never_whole(folder):
    (folder / "sales.csv").write_text("id\n1\n")
    (folder / "customers.csv.part").write_text("id")
    now = seen(folder)
    assert now.unfinished == ("customers.csv.part",)
    assert list(now.files) == ["sales.csv"]
    assert not is_whole(now, now.state)
    (folder / "customers.csv.part").rename(folder / "customers.csv")
    assert seen(folder).state != now.state


def test_a_marker_says_so_at_once_and_its_absence_says_no(folder):
    (folder / "sales.csv").write_text("id\n1\n")
    now = seen(folder, MARKED)
    assert not is_whole(now, now.state), "stable is not enough where a marker is promised"
    (folder / "all.done").touch()
    assert is_whole(seen(folder, MARKED), None)
    assert seen(folder, MARKED).damaged == (), "a marker may be empty"


def test_a_hidden_marker_is_seen_and_a_marker_alone_is_a_delivery_of_nothing(folder):
    (folder / "sales.csv").write_text("id\n")
    (folder / ".done").touch()
    assert is_whole(seen(folder, MARKED), None)
    (folder / "sales.csv").unlink()
    (folder / "all.done").touch()
    assert is_whole(seen(folder, MARKED), None)


def test_a_control_file_wants_all_it_names(folder):
    (folder / "sales.csv").write_text("id\n1\n")
    now = seen(folder, CONTROL)
    assert not is_whole(now, now.state)
    (folder / "control.csv").write_text("file,rows\nsales.csv,1\ncustomers.csv,7\n")
    now = seen(folder, CONTROL)
    assert not is_whole(now, now.state)
    assert now.damaged == ("line 3 of control.csv names the file 'customers.csv', which was not delivered",)
    (folder / "customers.csv").write_text("id\n")
    assert is_whole(seen(folder, CONTROL), None)


def test_what_was_cut_off_is_named(folder):
    (folder / "empty.csv").touch()
    (folder / "nothing_that_day.jsonl").touch()
    with zipfile.ZipFile(folder / "whole.zip", "w") as archive:
        archive.writestr("a.csv", "id\n" * 1000)
    (folder / "half.zip").write_bytes((folder / "whole.zip").read_bytes()[:200])
    assert seen(folder).damaged == ("empty.csv is empty", "half.zip has no end, as when a transfer broke off")


def test_weekdays_are_those_of_the_business_date():
    assert Arrival(weekdays=("tue",)).expects(DAY)
    assert not Arrival(weekdays=("mon", "wed")).expects(DAY)
