"""Alerts as servers on this machine receive them: each service's format and signature, and never a word of what a step said."""

from __future__ import annotations

import base64
import datetime
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import shutil
import socketserver
import threading
import urllib.parse
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
import yaml

from assets.company import load_company
from assets.errors import GateClosed
from assets.publish.release import Release
from pipelines import alert_sensors, alerts, channels, launchpad, runs
from pipelines.alerts import Alert, of_failure, of_release, tell

NOW = datetime.datetime(2026, 7, 1, 5, tzinfo=ZoneInfo("Asia/Shanghai"))
PERSON = "Erika Mustermann"
SECRETS = (PERSON, "C00042", "erika@example.org", "hunter2", "王小明")
"""What no alert and no log of one may hold."""
SAID = f"customer C00042 ({PERSON}, 王小明, erika@example.org) in /srv/landing/Mustermann.csv; key hunter2"
SETTINGS = {
    "company": "tea",
    "name": f"{PERSON}, tea",
    "base_currency": "EUR",
    "timezone": "Asia/Shanghai",
    "first_business_date": "2026-06-01",
    "sources": {"till": {"dialect": "quickbooks"}, "ledger": {"dialect": "xero"}},
}


class Hooks(http.server.BaseHTTPRequestHandler):
    """Takes what is posted; answers as the test says."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))
        status, answer = self.server.answer
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as a message needs; `extensions` are what it offers."""

    def handle(self):
        self.say(b"220 here")
        for line in self.rfile:
            word = line.strip().upper()[:4]
            if word == b"EHLO":
                offered = [b"here", *self.server.extensions]
                self.say(b"\r\n".join(b"250%s%s" % (b" " if one is offered[-1] else b"-", one) for one in offered))
            elif word == b"RCPT" and self.server.refuses:
                self.say(b"550 5.1.1 no such person: erika@example.org")
            elif word == b"DATA":
                self.say(b"354 go on")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text)
                self.server.got.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))
                self.say(b"250 taken")
            elif word == b"QUIT":
                self.say(b"221 bye")
                return
            else:
                self.server.commands.append(line)
                self.say(b"250 well")

    def say(self, line):
        self.wfile.write(line + b"\r\n")


def serving(server, **state):
    for name, value in state.items():
        setattr(server, name, value)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def hooks():
    with serving(
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hooks), got=[], answer=(200, b'{"errcode":0}')
    ) as up:
        yield up
        up.shutdown()


@pytest.fixture
def mail():
    made = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    with serving(made, got=[], commands=[], extensions=[b"SIZE"], refuses=False) as up:
        yield up
        up.shutdown()


@pytest.fixture
def company(tmp_path, monkeypatch):
    """Makes a company with alert targets, each with its address in the environment."""
    (tmp_path / "company").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("WHALECURVE_COMPANY", str(tmp_path / "company"))
    monkeypatch.setenv("WHALECURVE_DATA", str(tmp_path / "data"))

    def make(targets, addresses=None, **more):
        settings = {**SETTINGS, "alerts": targets, **more}
        (tmp_path / "company" / "company.yml").write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False))
        for name, value in (addresses or {}).items():
            monkeypatch.setenv(f"WHALECURVE_ALERT_{name}", value)
        return load_company(tmp_path / "company")

    return make


def url(server, path=""):
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


FAILED = Alert("failed_run", "tea", "2026-06-30", ("raw.invoice",), "0123456789")


# Each service


def test_every_robot_gets_its_own_format(company, hooks):
    kinds = ("slack", "wecom", "dingtalk", "feishu")
    addresses = {f"{kind.upper()}_URL": url(hooks, f"/{kind}?key=hunter2") for kind in kinds}
    asks = company({kind: {"kind": kind} for kind in kinds}, addresses)
    said = []
    hooks.answer = (200, b'{"code":0}')
    assert tell(asks, [FAILED], said.append, NOW) == list(kinds)
    assert said == []
    text = (
        "Whalecurve tea: Run failed\nThe run for 2026-06-30 stopped: raw.invoice. Readers have the release before it. "
    )
    text += "Why: run 01234567 in the Dagster UI; `whalecurve doctor` looks at the rest. "
    text += "What to do: docs/runbook.md#failed_run"
    assert dict(hooks.got) == {
        "/slack?key=hunter2": {"text": text},
        "/wecom?key=hunter2": {"msgtype": "text", "text": {"content": text}},
        "/dingtalk?key=hunter2": {"msgtype": "text", "text": {"content": text}},
        "/feishu?key=hunter2": {"msg_type": "text", "content": {"text": text}},
    }


def test_dingtalk_and_feishu_are_signed_as_their_robots_check_it(company, hooks):
    secret = "SEChunter2/+="
    addresses = {"DING_URL": url(hooks, "/ding?access_token=t"), "FEI_URL": url(hooks, "/fei")}
    addresses |= {"DING_SECRET": secret, "FEI_SECRET": secret}
    asks = company({"ding": {"kind": "dingtalk"}, "fei": {"kind": "feishu"}}, addresses)
    tell(asks, [FAILED], pytest.fail, NOW)
    (ding, _), (_, fei) = hooks.got
    asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(ding).query))
    assert asked["access_token"] == "t"
    assert asked["timestamp"] == str(int(NOW.timestamp()) * 1000), "milliseconds"
    wanted = hmac.digest(secret.encode(), f"{asked['timestamp']}\n{secret}".encode(), hashlib.sha256)
    assert base64.b64decode(asked["sign"]) == wanted
    assert fei["timestamp"] == str(int(NOW.timestamp())), "seconds"
    assert base64.b64decode(fei["sign"]) == hmac.digest(f"{fei['timestamp']}\n{secret}".encode(), b"", hashlib.sha256)


def test_slack_s_own_signs_are_written_as_text():
    message = channels.Message("a <b> & c", "<!channel>")
    assert channels.webhook("slack", "u", None, message, NOW)[1] == {"text": "a &lt;b&gt; &amp; c\n&lt;!channel&gt;"}


def test_mail_goes_to_all_who_are_named(company, mail):
    target = {
        "kind": "email",
        "sender": "whale@example.org",
        "to": ["a@example.org", "b@example.org"],
        "language": "zh",
    }
    asks = company({"ops": target}, {"OPS_URL": url(mail).replace("http", "smtp")})
    assert tell(asks, [FAILED], pytest.fail, NOW) == ["ops"]
    (got,) = mail.got
    assert (got["From"], got["To"]) == ("whale@example.org", "a@example.org, b@example.org")
    assert got["Subject"] == "Whalecurve tea: 运行失败"
    assert got.get_content().startswith("运行（2026-06-30）已中断：raw.invoice。")
    assert email.utils.parsedate_to_datetime(got["Date"]) == NOW


def test_a_password_does_not_travel_in_clear(company, mail):
    target = {"kind": "email", "sender": "whale@example.org", "to": ["a@example.org"]}
    address = url(mail).replace("http://", "smtp://user:hunter2@")
    said = []
    assert tell(company({"ops": target}, {"OPS_URL": address}), [FAILED], said.append, NOW) == []
    assert len(said) == 1
    assert "to ops: the mail server offers no encryption, and the password is not sent without." in said[0]
    assert mail.got == []
    assert not any(b"AUTH" in line for line in mail.commands)


# What goes wrong


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, b"hunter2"), "the service answered 500."),
        ((302, b""), "the service answered 302."),
        ((200, b'{"errcode":310000,"errmsg":"sign hunter2"}'), "refused it (code 310000)"),
        ((200, b"<html>hunter2"), "refused it (code none)"),
    ],
)
def test_a_service_that_says_no_is_logged_without_its_address(company, hooks, answer, why):
    hooks.answer = answer
    asks = company({"robot": {"kind": "wecom"}}, {"ROBOT_URL": url(hooks, "/hunter2")})
    said = []
    assert tell(asks, [FAILED], said.append, NOW) == []
    assert why in said[0]
    assert "hunter2" not in said[0]
    assert len(hooks.got) == 1, "neither followed nor repeated"


def test_who_cannot_be_reached_does_not_keep_the_others_from_it(company, hooks, mail, monkeypatch):
    person = {"kind": "email", "sender": "whale@example.org", "to": ["erika@example.org"]}
    targets = {
        "unset": {"kind": "slack"},
        "gone": {"kind": "slack"},
        "file": {"kind": "slack"},
        "odd": person,
        "off": person,
    }
    mail.refuses = True
    addresses = {
        "GONE_URL": "http://127.0.0.1:9/hunter2",
        "FILE_URL": "file:///etc/hunter2",
        "ODD_URL": "imap://hunter2",
        "OFF_URL": url(mail).replace("http", "smtp"),
        "LAST_URL": url(hooks),
    }
    said = []
    asks = company({**targets, "last": {"kind": "slack"}}, addresses)
    assert tell(asks, [FAILED], said.append, NOW) == ["last"]
    assert [line.split("sent to ")[1].split(":")[0] for line in said] == list(targets)
    assert not any(secret in line for secret in SECRETS for line in said)
    monkeypatch.setattr(channels, "send", lambda *_: 1 / 0)
    said.clear()
    assert tell(asks, [FAILED], said.append, NOW) == []
    assert said[-1].endswith("last: ZeroDivisionError.")


def test_each_target_hears_of_what_it_asked_for(company, hooks):
    targets = {"all": {"kind": "slack"}, "data": {"kind": "slack", "on": ["late_data"]}}
    asks = company(targets, {"ALL_URL": url(hooks, "/all"), "DATA_URL": url(hooks, "/data")})
    assert tell(asks, [FAILED, Alert("late_data", "tea", "2026-06-30", ("till",))], pytest.fail, NOW) == [
        "all",
        "all",
        "data",
    ]


# What is said


def test_a_name_that_is_none_is_withheld():
    told = Alert("late_data", "tea", "2026-06-30", ("till", "erika@example.org", "王小明", "a\nb"))
    for language in ("en", "zh"):
        text = told.text(language)
        assert text.count(alerts.WITHHELD) == 3
        assert "till" in text
        assert not any(secret in text for secret in SECRETS)
    many = Alert("drift", "tea", names=tuple(f"f{number}" for number in range(11)))
    assert "f7, +3" in many.text()


@dg.op(name="raw__invoice")
def fails():
    try:
        raise ValueError(SAID)
    except ValueError as error:
        raise RuntimeError(SAID) from error


@dg.op(name="release__current")
def refused():
    raise GateClosed(SAID)


@dg.job(tags={"dagster/partition": "2026-06-30"})
def broken():
    fails()


@dg.job
def closed():
    refused()


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def ended(job, instance, **tags):
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def told_of_failure(result, instance):
    (event,) = [entry for entry in result.all_events if entry.event_type_value == "PIPELINE_FAILURE"]
    context = dg.build_run_status_sensor_context(
        sensor_name="x", dagster_event=event, dagster_instance=instance, dagster_run=result.dagster_run
    ).for_run_failure()
    return alert_sensors.failed_run_alerts(context)


@pytest.mark.parametrize(
    ("job", "said"), [(broken, "The run for 2026-06-30 stopped: raw.invoice."), (closed, "The quality gate said no")]
)
def test_a_failed_run_of_the_ui_is_told_without_what_the_step_said(company, hooks, instance, job, said):
    company({"room": {"kind": "slack"}}, {"ROOM_URL": url(hooks)})
    result = ended(job, instance)
    told_of_failure(result, instance)
    ((_, body),) = hooks.got
    assert said in body["text"]
    assert result.run_id[:8] in body["text"]
    assert not any(secret in str(body) for secret in SECRETS)


def test_a_run_of_the_command_is_told_by_the_command_alone(company, hooks, instance):
    company({"room": {"kind": "slack"}}, {"ROOM_URL": url(hooks)})
    result = ended(broken, instance, **{runs.PID_TAG: "1"})
    assert "tells of it itself" in told_of_failure(result, instance).skip_message
    assert hooks.got == []
    said = []
    runs._tell([], result, None, said.append)
    runs._tell([result.dagster_run], None, None, said.append)
    assert ["stopped: raw.invoice" in body["text"] for _, body in hooks.got] == [True, False]
    assert said == []
    hooks.answer = (500, b"")
    runs._tell([], result, None, said.append)
    assert said == ["The alert 'failed_run' could not be sent to room: the service answered 500."]


def test_who_started_a_job_with_a_launchpad_sees_how_it_ends(company, hooks, instance):
    company({"room": {"kind": "slack"}}, {"ROOM_URL": url(hooks)})
    result = ended(broken, instance, **launchpad.ASKED)
    assert "A person started it" in told_of_failure(result, instance).skip_message
    assert hooks.got == []
    assert all(launchpad.ASKED.items() <= job.tags.items() for job in launchpad.JOBS)


def test_an_alert_that_breaks_does_not_break_the_run(company, instance, monkeypatch):
    company({"room": {"kind": "slack"}})
    monkeypatch.setattr(alerts, "of_failure", lambda *_: 1 / 0)
    said = []
    runs._tell([], ended(broken, instance), None, said.append)
    assert said == ["No alert was sent: ZeroDivisionError."]


def test_a_blocked_release_names_its_checks(company, instance):
    @dg.asset(key=["marts", "reconciliation"])
    def table():
        pass

    @dg.asset_check(asset=table, blocking=True, name="expectations")
    def expectations():
        return dg.AssetCheckResult(passed=False, metadata={"said_no": SAID})

    @dg.asset(deps=[table], key=["release", "current"])
    def release():
        pass

    result = dg.materialize([table, expectations, release], instance=instance, raise_on_error=False)
    told = of_failure(company({}), result.dagster_run, result.all_events)
    assert (told.event, told.names) == ("blocked_release", ("marts.reconciliation expectations",))
    assert not any(secret in told.text() for secret in SECRETS)


def release(folder: Path, drifted, run_id="r1", late=()):
    """A release folder with a table of drift alone."""
    folder.mkdir()
    rows = ", ".join(f"('{name}', 'drifted')" for name in drifted) or "('frequency', 'steady')"
    duckdb.execute(f"copy (from (values {rows}) as t(feature, status)) to '{folder}/model_drift.parquet'")
    manifest = {"run_id": run_id, "late_sources": [{"source": name, "last_delivery": None} for name in late]}
    return Release(folder.name, folder, datetime.date(2026, 6, 30), True, manifest=manifest)


def test_drift_is_told_when_it_begins_and_late_data_with_the_release(company, tmp_path):
    asks, run = company({}), SimpleNamespace(run_id="r1", tags={})
    before = release(tmp_path / "a", ["frequency"])
    made = release(tmp_path / "b", ["frequency", "p_alive"], late=["till"])
    told = list(of_release(asks, run, made, before, late=True))
    assert [(one.event, one.names) for one in told] == [("late_data", ("till",)), ("drift", ("p_alive",))]
    assert [one.event for one in of_release(asks, run, made, None, late=False)] == ["drift"]
    assert list(of_release(asks, run, made, made, late=False)) == []
    other = SimpleNamespace(run_id="r2", tags={})
    assert list(of_release(asks, other, made, before, late=True)) == [], "the content was there before this run"
    shutil.rmtree(made.path)
    assert list(of_release(asks, run, made, None, late=False)) == [], "a release from before there was such a table"


def test_a_finished_run_of_the_ui_tells_of_drift(company, hooks, instance, tmp_path, monkeypatch):
    company({"room": {"kind": "slack"}}, {"ROOM_URL": url(hooks)})

    @dg.job
    def well():
        pass

    result = ended(well, instance)
    monkeypatch.setattr(alert_sensors, "current", lambda _: release(tmp_path / "b", ["p_alive"], result.run_id))
    (event,) = [entry for entry in result.all_events if entry.event_type_value == "PIPELINE_SUCCESS"]
    context = dg.build_run_status_sensor_context(
        sensor_name="x", dagster_event=event, dagster_instance=instance, dagster_run=result.dagster_run
    )
    alert_sensors.finished_run_alerts(context)
    assert ["Models drift" in body["text"] for _, body in hooks.got] == [True]


def test_late_data_is_told_once_a_day_at_the_company_s_time(company, hooks, tmp_path, monkeypatch):
    wait = {"at": "05:00", "late": "wait", "wait_until": "09:00"}
    company({"room": {"kind": "slack"}}, {"ROOM_URL": url(hooks)}, schedule=wait)
    folder = tmp_path / "data" / "landing" / "till" / "2026-06-30"
    folder.mkdir(parents=True)
    (folder / "Mustermann.csv").write_text("id\n")
    cursor = None

    def tick(hour, day=1):
        nonlocal cursor
        monkeypatch.setattr(alert_sensors, "_now", lambda: NOW.replace(hour=hour, day=day))
        with dg.build_sensor_context(cursor=cursor) as context:
            cursor = alert_sensors.late_data_alerts.evaluate_tick(context).cursor
        return [body["text"] for _, body in hooks.got]

    assert tick(4) == []
    (text,) = tick(5)
    assert "Not delivered for 2026-06-30: ledger. The run waits for it until 09:00 Asia/Shanghai. " in text
    assert len(tick(6)) == 1
    assert len(tick(4, day=2)) == 1
    assert "till, ledger" in tick(5, day=2)[1] or "ledger, till" in tick(5, day=2)[1]
    company({"room": {"kind": "slack"}}, last_business_date="2026-06-30")
    assert len(tick(5, day=3)) == 2, "nothing is awaited after the last business date"


def test_a_company_without_alerts_has_no_sensors_for_them(company):
    assert alert_sensors.alert_sensors(company({})) == []
    named = [sensor.name for sensor in alert_sensors.alert_sensors(company({"room": {"kind": "slack"}}))]
    assert named == ["failed_run_alerts", "finished_run_alerts", "late_data_alerts"]
