"""The files of deploy/ against the command they call and against each other; no container and no systemd is started."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
import yaml
from command import PROJECT

from pipelines import cli, services
from pipelines.resources import PULL_VARIABLES
from pipelines.runs import INSTANCES
from pipelines.services import PARTS, service

DEPLOY = PROJECT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"] == "whalecurve"}


def unit(part):
    read = configparser.ConfigParser(interpolation=None, strict=True)
    read.optionxform = str
    read.read(DEPLOY / "systemd" / f"whalecurve-{part}.service")
    return read


def called(*arguments):
    """What a call of the command would start."""
    parsed = cli._parser().parse_args(["serve", *arguments])
    options = {"host": parsed.host, "port": parsed.port, "read_only": parsed.read_only, "code": parsed.code}
    return parsed.part, *service(parsed.part, **options)


def listens(arguments):
    return arguments[arguments.index("--host") + 1], int(arguments[arguments.index("--port") + 1])


def test_every_part_has_a_unit_that_starts_it_on_this_machine_only():
    assert {path.stem for path in (DEPLOY / "systemd").glob("*.service")} == {f"whalecurve-{part}" for part in PARTS}
    for part in PARTS:
        of_service = unit(part)["Service"]
        program, serve, *arguments = shlex.split(of_service["ExecStart"])
        assert (program, serve) == ("/opt/whalecurve/.venv/bin/whalecurve", "serve")
        started, command, _ = called(*arguments)
        assert started == part
        assert "--host" not in command or listens(command)[0] == "127.0.0.1"
        assert of_service["User"] == "whalecurve"
        assert of_service["EnvironmentFile"] == "/etc/whalecurve/whalecurve.env"
        assert of_service["ProtectSystem"] == "strict"
        assert unit(part)["Install"]["WantedBy"] == "multi-user.target"
    for part in ("webserver", "daemon"):
        assert "whalecurve-code.service" in unit(part)["Unit"]["After"].split()


def test_what_a_service_writes_is_open_to_it():
    written = dict(
        line.split("=", 1)
        for line in (DEPLOY / "systemd" / "whalecurve.env").read_text().splitlines()
        if line and line[0] != "#"
    )
    for part in PARTS:
        assert written["WHALECURVE_DATA"] in unit(part)["Service"]["ReadWritePaths"].split()
        assert "/opt/whalecurve/dbt_project" in unit(part)["Service"]["ReadWritePaths"].split(), "dbt's manifest"
    assert all(not value for name, value in written.items() if re.search("PASSWORD|KEY", name)), (
        "a secret in the repository"
    )


@pytest.mark.parametrize("environment", ["systemd", "compose"])
def test_the_chosen_instance_finds_all_it_asks_for(environment):
    if environment == "compose":
        known = OURS["daemon"]["environment"]
    else:
        lines = (DEPLOY / "systemd" / "whalecurve.env").read_text().splitlines()
        known = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    asked = re.findall(r"\{env: (\w+)\}", (INSTANCES / f"{known['WHALECURVE_INSTANCE']}.yaml").read_text())
    assert len(asked) == 4
    assert set(asked) <= set(known)


def test_containers_start_every_part_and_know_each_other():
    started = {}
    for name, one in OURS.items():
        serve, *arguments = one["command"]
        assert serve == "serve"
        part, command, environment = called(*arguments)
        started.setdefault(part, []).append((name, command, environment))
    assert set(started) == set(PARTS)
    ((code, command, _),) = started["code"]
    for part in ("webserver", "daemon"):
        for _, _, environment in started[part]:
            assert (environment["WHALECURVE_CODE_HOST"], int(environment["WHALECURVE_CODE_PORT"])) == (
                code,
                listens(command)[1],
            )
    read_only = {name: "--read-only" in command for name, command, _ in started["webserver"]}
    assert read_only == {"webserver": False, "viewer": True}


def test_only_web_pages_are_reached_from_outside_and_from_this_machine_alone():
    ports = {name: one.get("ports", []) for name, one in COMPOSE["services"].items()}
    assert {name for name, open_ in ports.items() if open_} == {"webserver", "viewer"}
    assert all(port.startswith("127.0.0.1:") and port.endswith(":3000") for open_ in ports.values() for port in open_)
    assert len({port for open_ in ports.values() for port in open_}) == 2


def test_containers_share_data_and_are_one_machine_to_it():
    assert {one["environment"]["WHALECURVE_MACHINE"] for one in OURS.values()} == {"compose"}
    for one in OURS.values():
        mounted = dict(
            volume.rsplit(":", 1) if not volume.endswith(":ro") else (volume[:-3].rsplit(":", 1))
            for volume in one["volumes"]
        )
        assert mounted["data"] == one["environment"]["WHALECURVE_DATA"]
        assert one["environment"]["WHALECURVE_COMPANY"] in mounted.values()
    assert set(COMPOSE["volumes"]) == {"data", "database"}


def test_no_secret_stands_in_a_file_and_only_the_code_is_given_the_company_s():
    given = {
        name for name, one in OURS.items() if "WHALECURVE_PSEUDONYM_KEY" in one["environment"] or "env_file" in one
    }
    assert given == {"code"}
    for one in COMPOSE["services"].values():
        for name, value in one["environment"].items():
            assert not re.search("PASSWORD|KEY", name) or str(value).startswith("${"), name
    assert PULL_VARIABLES in (DEPLOY / "compose" / "compose.yaml").read_text()


def test_the_image_installs_the_lock_and_runs_as_nobody_special():
    lines = (DEPLOY / "compose" / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in lines
    assert re.search(r"^USER (?!root)", lines, flags=re.MULTILINE)
    copied = re.search(r"^COPY ([\w. -]+) \./$", lines, flags=re.MULTILINE)
    assert all((PROJECT / name).exists() for name in copied[1].split())
    build = OURS["code"]["build"]
    assert (DEPLOY / "compose" / build["context"]).resolve() == PROJECT
    assert (PROJECT / build["dockerfile"]).exists()


def test_the_workspace_asks_the_environment_for_what_serve_sets():
    (entry,) = yaml.safe_load(services.WORKSPACE.read_text())["load_from"]
    _, _, environment = called("daemon", "--code", "here:1234")
    assert environment == {"WHALECURVE_CODE_HOST": "here", "WHALECURVE_CODE_PORT": "1234"}
    assert {entry["grpc_server"]["host"]["env"], entry["grpc_server"]["port"]["env"]} == set(environment)
    assert entry["grpc_server"]["location_name"] == services.LOCATION


def test_serve_becomes_the_service_in_its_prepared_instance(tmp_path, monkeypatch):
    became = []
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster"))
    monkeypatch.setattr(services.os, "execve", lambda *call: became.append(call))
    monkeypatch.chdir(tmp_path)
    cli.main(["serve", "webserver", "--read-only", "--port", "3001", "--data", str(tmp_path / "data")])
    ((_, arguments, environment),) = became
    assert arguments[1:3] == ["-m", "dagster_webserver"]
    assert "--read-only" in arguments
    assert listens(arguments) == ("127.0.0.1", 3001)
    assert environment["DAGSTER_HOME"] == str(tmp_path / "data" / "dagster")
    assert environment["DAGSTER_DISABLE_TELEMETRY"] == "1"
    assert (tmp_path / "data" / "dagster" / "dagster.yaml").exists()
    assert Path.cwd() == PROJECT
