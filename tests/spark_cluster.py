"""A Spark standalone cluster on loopback (one master, two workers, a Connect server), out of the pyspark package."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCAL = "127.0.0.1"
READY_WITHIN = 120
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def java_home() -> Path | None:
    """A Java that Spark 4 runs on (17 or 21): $JAVA_HOME, what `java` is, or one of the usual folder."""
    found = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    program = shutil.which("java")
    found += [Path(program).resolve().parents[1]] if program else []
    found += sorted(Path("/usr/lib/jvm").glob("*"))
    return next((home for home in found if _version(home) in ("17", "21")), None)


def _version(home: Path) -> str | None:
    try:
        release = (home / "release").read_text()
    except OSError:
        return None
    line = next((line for line in release.splitlines() if line.startswith("JAVA_VERSION=")), "")
    return line.partition('"')[2].partition(".")[0] or None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


@contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """The address of the Connect server; what it keeps lies in `folder`."""
    import pyspark

    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ,
        "JAVA_HOME": str(java_home()),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": LOCAL,
        "SPARK_WORKER_DIR": str(folder / "work"),
    }
    master, connect = free_port(), free_port()
    url = f"spark://{LOCAL}:{master}"
    metastore = f"jdbc:derby:;databaseName={folder / 'metastore'};create=true"
    settings = {
        "spark.sql.catalogImplementation": "hive",
        "spark.hadoop.javax.jdo.option.ConnectionURL": metastore,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.connect.grpc.binding.address": LOCAL,
        "spark.connect.grpc.binding.port": str(connect),
        "spark.driver.host": LOCAL,
        "spark.driver.memory": "1500m",
        "spark.executor.memory": "512m",
        # Most code runs a few times only: what the second compiler would gain is less than it takes.
        "spark.driver.extraJavaOptions": QUICK_START,
        "spark.executor.extraJavaOptions": QUICK_START,
        "spark.ui.enabled": "false",
    }
    conf = [text for name, value in settings.items() for text in ("--conf", f"{name}={value}")]
    spark_class, deploy = str(home / "bin" / "spark-class"), "org.apache.spark.deploy"
    worker = [
        spark_class,
        f"{deploy}.worker.Worker",
        "--host",
        LOCAL,
        "-c",
        "1",
        "-m",
        "600m",
        "--webui-port",
        "0",
        url,
    ]
    commands = [
        [spark_class, f"{deploy}.master.Master", "--host", LOCAL, "--port", str(master), "--webui-port", "0"],
        worker,
        worker,
        [
            str(home / "bin" / "spark-submit"),
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", url),
            *conf,
            "spark-internal",
        ],
    ]
    ready = [master, None, None, connect]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number, (command, port) in enumerate(zip(commands, ready, strict=True)):
            log = (folder / f"{number}.log").open("wb")
            started.append(
                subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
            )
            if port:
                _wait_for(port, started[-1], folder / f"{number}.log")
        yield f"sc://{LOCAL}:{connect}"
    finally:
        for process in reversed(started):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        with socket.socket() as probe:
            if probe.connect_ex((LOCAL, port)) == 0:
                return
        time.sleep(0.3)
    raise AssertionError(f"nothing listens on {port}: {log.read_text(errors='replace')[-3000:]}")
