"""dbt's own unit tests, which stand beside the models they test."""

from __future__ import annotations

import os
import shutil

import pytest

from pipelines import dbt


@pytest.mark.slow
def test_every_dbt_unit_test_passes(small_demo, tmp_path, monkeypatch):
    shutil.copyfile(small_demo.data / "warehouse.duckdb", tmp_path / "warehouse.duckdb")
    monkeypatch.setenv("WHALECURVE_DATA", str(tmp_path))
    result = dbt.invoke(
        ["test", "--quiet", *dbt.project_arguments(), "--select", "test_type:unit"], manifest=dbt.parsed_manifest()
    )
    said = {each.node.name: (str(each.status), each.message) for each in result.result.results}
    assert len(said) >= 15, "the unit tests have gone missing"
    assert {name: what for name, what in said.items() if what[0] != "pass"} == {}
    assert os.environ["WHALECURVE_DATA"] == str(tmp_path)


@pytest.mark.slow
def test_the_file_registry_accounts_for_every_row(small_demo):
    import duckdb

    with duckdb.connect(str(small_demo.data / "warehouse.duckdb"), read_only=True) as connection:
        registered = connection.execute(
            "select count(*), count(distinct sha256), bool_and(length(sha256) = 64), "
            "bool_and(rows_in = rows_out + rows_quarantined + rows_left_out), sum(rows_quarantined) from raw.file_registry"
        ).fetchone()
        entity, source, date, rows_out = connection.execute(
            "select entity, source, extract_date, rows_out from raw.file_registry where rows_out > 50 order by all limit 1"
        ).fetchone()
        kept = connection.execute(
            f"select count(*) from raw.{entity} where source_instance = ? and extract_date = ? and quarantine_reason is null",
            [source, date],
        ).fetchone()
    files = sum(path.is_file() for path in (small_demo.data / "landing").rglob("*"))
    assert registered[0] > 0
    assert registered[1] <= files
    assert registered[2]
    assert registered[3]
    assert registered[4] > 0, "the demo's unreadable rows"
    assert kept == (rows_out,)
