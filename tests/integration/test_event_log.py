"""Events written quickly are there for the next process, also when the writing one is killed."""

from __future__ import annotations

import signal
import subprocess
import sys

import dagster as dg
from command import PROJECT

WRITES_AND_DIES = """
import os, signal, sys
import dagster as dg
from pipelines.event_log import quick_event_log

with quick_event_log(), dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    for number in range(20):
        instance.report_runless_asset_event(dg.AssetMaterialization("table", partition=str(number)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_event_is_lost_when_the_writer_is_killed(tmp_path):
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    writer = subprocess.run([sys.executable, "-c", WRITES_AND_DIES, str(tmp_path)], cwd=PROJECT, check=False)
    assert writer.returncode == -signal.SIGKILL
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey("table"))) == 20


def test_connections_are_as_before_afterwards(tmp_path):
    import sqlite3

    from sqlalchemy import create_engine, text

    from pipelines.event_log import quick_event_log

    engine = create_engine(f"sqlite:///{tmp_path / 'log.db'}")

    def waits_for_the_disk() -> int:
        engine.dispose()
        with engine.connect() as connection:
            return int(connection.execute(text("pragma synchronous")).scalar_one())

    usual = waits_for_the_disk()
    with quick_event_log():
        assert waits_for_the_disk() == 1 != usual
    assert waits_for_the_disk() == usual
    with sqlite3.connect(tmp_path / "log.db") as alone:  # nobody holds the file any more
        alone.execute("pragma locking_mode = exclusive")
        alone.execute("create table t (x)")
