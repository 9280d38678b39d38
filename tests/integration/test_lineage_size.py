"""The factorised lineage is small: what it takes as a release writes it, on more lines than most companies have."""

from __future__ import annotations

import json

import duckdb
import pytest
from command import PROJECT

from assets import gate
from assets.publish.release import _write_table

LINES = """
    create table lines as
    with receivers as (select 'C' || lpad(i::varchar, 6, '0') as receiver_id from range(20_000) as t(i)),
    pools as (
        select 'pool_' || p as pool_id, ['variable', 'fixed', 'step_fixed'][p % 3 + 1] as behaviour from range(40) as t(p)
    ),
    months as (select (date '2025-01-01' + to_months(m))::date as month from range(6) as t(m))
    select receiver_id, month, month as driver_month, pool_id, behaviour,
        (1 + floor({scale} * exp(1.2 * sqrt(-2 * ln(random())) * cos(2 * pi() * random()))))::bigint as driver_quantity,
        (random() < 0.5)::tinyint as rounding_cents
    from receivers cross join pools cross join months
    where random() < 0.3
"""


@pytest.mark.slow
@pytest.mark.parametrize("scale", [4.5, 300], ids=["counts", "minutes"])
def test_an_allocation_line_takes_less_than_five_bytes(scale, tmp_path):
    """20,000 customers x 40 pools x 6 months, 30 % filled; every second line has a rounding cent, as is usual."""
    suite = json.loads((PROJECT / "expectations" / "allocation_lines.json").read_text())
    key = suite["expectations"][0]["kwargs"]["column_list"]
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("select setseed(0.5)")
        connection.execute(LINES.format(scale=scale))
        content = gate.fingerprint(connection, "lines")
        written = _write_table(connection, "lines", tmp_path / "lines.parquet", tuple(key), content)
    assert written["rows"] > 1_400_000
    assert (tmp_path / "lines.parquet").stat().st_size <= 5 * written["rows"]
