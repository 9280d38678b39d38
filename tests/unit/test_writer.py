"""One writer of a data folder: commands, runs of the UI and other machines, held against each other in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import dagster as dg
import pytest
from command import PROJECT

from assets.errors import WhalecurveError
from pipelines import writer
from pipelines.writer import HOLDER, LOCK, OtherMachine, holder, is_locked, one_writer, single_writer

PATIENCE = 60
HOLDS = """
import sys, time
from pipelines.writer import single_writer
with single_writer(lambda said: print(said, file=sys.stderr), "whalecurve run"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("WHALECURVE_DATA", str(tmp_path))
    monkeypatch.setenv("WHALECURVE_MACHINE", "here")
    return tmp_path


@pytest.fixture
def other():
    """Starts processes that hold the data folder until they get a line; `machine` is what theirs is called."""
    started = []

    def start(machine="here"):
        environment = {**os.environ, "WHALECURVE_MACHINE": machine, "PYTHONPATH": str(PROJECT)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", HOLDS], env=environment, **pipes)
        started.append(process)
        assert process.stdout.readline() == "held\n", process.stderr.read()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_second_waits_says_for_whom_and_goes_on(data, other):
    first, said, done = other(), [], threading.Event()
    assert is_locked(data)

    def second():
        with single_writer(said.append, "whalecurve pull"):
            done.set()

    waiting = in_background(second)
    assert not done.wait(1)
    assert len(said) == 1, "said once, not at every look"
    assert f"whalecurve run (process {first.pid} on here, since " in said[0]
    assert said[0].endswith("waiting for it to end.")
    first.communicate("\n")
    assert done.wait(PATIENCE)
    waiting.join()
    assert not is_locked(data)
    assert holder(data) is None


def test_a_killed_writer_of_this_machine_keeps_nobody_out(data, other):
    first = other()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert holder(data).pid == first.pid
    assert not is_locked(data)
    said = []
    with single_writer(said.append):
        assert holder(data).pid == os.getpid()
    assert said == []
    assert sorted(path.name for path in data.iterdir()) == [LOCK]


def test_a_second_machine_is_refused_while_the_first_writes(data, other):
    """Both where the lock is seen across machines, and where it is not."""
    other(machine="elsewhere")
    for seen in (True, False):
        if not seen:
            (data / LOCK).unlink()  # as on a share whose locks stay on each machine
        with pytest.raises(OtherMachine, match=r"in use by whalecurve run .* on elsewhere") as refused:
            single_writer(print).__enter__()
        assert str(data / HOLDER) in str(refused.value)
    assert holder(data).machine == "elsewhere"


def test_a_machine_that_died_is_refused_until_a_person_says_so(data, other):
    first = other(machine="elsewhere")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    with pytest.raises(OtherMachine, match="delete"):
        single_writer(print).__enter__()
    (data / HOLDER).unlink()
    with single_writer(print):
        assert holder(data).machine == "here"


def test_of_two_machines_that_begin_in_the_same_moment_one_is_refused(data, monkeypatch):
    """The other signs between our look and our signature."""
    theirs = writer.Holder("elsewhere", 1, "whalecurve run", "now")
    real = os.fsync

    def meanwhile(descriptor):
        (data / HOLDER).write_text(json.dumps(vars(theirs)))
        real(descriptor)

    monkeypatch.setattr(writer.os, "fsync", meanwhile)
    with pytest.raises(OtherMachine):
        single_writer(print).__enter__()
    assert holder(data) == theirs
    assert not is_locked(data)


def test_a_lock_file_that_was_deleted_meanwhile_is_not_held(data, monkeypatch):
    real, times = writer._try_lock, []

    def deleted_in_between(lock):
        got = real(lock)
        times.append(got)
        if len(times) == 1:
            (data / LOCK).unlink()
        return got

    monkeypatch.setattr(writer, "_try_lock", deleted_in_between)
    monkeypatch.setattr(writer, "LOOK_AGAIN", 0)
    with single_writer(lambda said: None):
        monkeypatch.undo()
        assert is_locked(data)
    assert times == [True, True]


def test_an_unreadable_name_keeps_out(data):
    (data / HOLDER).write_text("half a na")
    with pytest.raises(OtherMachine, match="an unknown machine"):
        single_writer(print).__enter__()


def test_a_folder_that_cannot_be_written_is_said(data, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(data / HOLDER))

    monkeypatch.setattr(writer.os, "fsync", full)
    with pytest.raises(WhalecurveError, match="No space left on device"):
        single_writer(print).__enter__()
    assert sorted(path.name for path in data.iterdir()) == [LOCK]


# Runs of the UI


@dg.op
def note_holder():
    from pipelines.resources import data_folder

    found = holder(data_folder())
    (data_folder() / "seen").write_text(found.what)


@dg.job(executor_def=one_writer)
def noted():
    note_holder()


def run_as_the_ui_does(instance):
    run = instance.create_run_for_job(noted)
    from dagster._core.execution.api import execute_run

    return run, lambda: execute_run(dg.reconstructable(noted), run, instance, raise_on_error=False)


def test_a_run_of_the_ui_waits_for_a_command_and_says_so_in_its_log(data, other, tmp_path_factory):
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as instance:
        first = other()
        run, execute = run_as_the_ui_does(instance)
        waiting = in_background(execute)
        deadline = time.monotonic() + PATIENCE

        def said():
            return [entry.user_message for entry in instance.all_logs(run.run_id)]

        while not any("whalecurve run (process" in line for line in said()):
            assert time.monotonic() < deadline, said()
            time.sleep(0.05)
        assert not (data / "seen").exists()
        first.communicate("\n")
        waiting.join(PATIENCE)
        assert (data / "seen").read_text() == f"run {run.run_id[:8]} of the Dagster UI or its schedule"
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.SUCCESS
    assert holder(data) is None


def test_a_waiting_run_can_be_cancelled(data, other, monkeypatch, tmp_path_factory):
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as instance:
        first = other()
        monkeypatch.setattr(writer, "check_captured_interrupt", lambda: True)
        run, execute = run_as_the_ui_does(instance)
        execute()
        assert instance.get_run_by_id(run.run_id).is_finished
        assert not (data / "seen").exists()
        assert holder(data).pid == first.pid, "the one that writes is left alone"


def test_a_run_of_a_second_machine_fails_with_the_sentence(data, other, tmp_path_factory):
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("home"))) as instance:
        other(machine="elsewhere")
        run, execute = run_as_the_ui_does(instance)
        execute()
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
        assert any("one machine at a time" in str(entry) for entry in instance.all_logs(run.run_id))


def test_the_runs_of_the_code_location_wait():
    from pipelines.definitions import defs
    from pipelines.jobs import DAILY_RUN

    assert defs.resolve_job_def(DAILY_RUN).executor_def is one_writer
