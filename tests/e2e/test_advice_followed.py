"""What a release advised is remembered, and a later one says what became of it."""

from __future__ import annotations

import shutil

import duckdb
import pytest
from command import Whalecurve
from harness import DEMO, Company

FIRST, LAST = "2026-05-31", "2026-06-30"


@pytest.mark.slow
def test_a_later_release_says_what_became_of_the_advice(warm, small_demo: Whalecurve, tmp_path):
    company = Company(warm, DEMO, tmp_path / "data")
    shutil.copytree(small_demo.data / "landing", company.data / "landing")
    company("run", "--date", FIRST)
    with duckdb.connect(str(company.data / "releases" / "current" / "whalecurve.duckdb"), read_only=True) as release:
        advised = release.execute(
            "select customer_id, action, expected_effect from customer_actions order by all"
        ).fetchall()
        assert advised
        assert release.execute("select count(*) from action_outcomes").fetchone() == (0,), "there was no earlier advice"

    company("run")  # all dates; the last is 30 days later
    with duckdb.connect(str(company.data / "releases" / "current" / "whalecurve.duckdb"), read_only=True) as release:
        outcomes = release.execute(
            "select customer_id, action, expected_effect from action_outcomes where advised_on = ?::date order by all",
            [FIRST],
        ).fetchall()
        assert outcomes == advised
        said = dict(release.execute("select outcome, count(*) from action_outcomes group by all").fetchall())
        assert set(said) <= {"achieved", "improving", "no_change", "worsened", "customer_lost", "too_early"}
        still, now = release.execute(
            "select count(*) filter (still_advised), "
            "count(*) filter ((customer_id, action) in (select (customer_id, action) from customer_actions)) "
            "from action_outcomes"
        ).fetchone()
        assert still == now

    again = company.release_id
    company("run", "--date", LAST)
    assert company.release_id == again, "the same date published again finds the same advice before it"
    with duckdb.connect() as connection:
        dates = connection.execute(
            f"select distinct advised_on::varchar from '{company.data}/advice/*.parquet'"
        ).fetchall()
    assert sorted(dates) == [(FIRST,), (LAST,)]
