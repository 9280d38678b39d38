"""Live pull from Salesforce: against a small server that answers as the REST API is documented to.

Login by SOAP and as a connected app, describe, query and queryAll in pages, deleted records, a session that ends on the
way, a busy moment. The files are read with the built-in dialect.
"""

from __future__ import annotations

import csv
import datetime
import http.server
import json
import re
import threading
import urllib.parse

import pytest

pytest.importorskip("dlt", reason="the optional extra whalecurve[pull] is not installed")
pytest.importorskip("simple_salesforce", reason="the optional extra whalecurve[pull] is not installed")

import requests.adapters

from assets.ingest import pull_salesforce
from pipelines.cli import main

USER, PASSWORD, TOKEN = "ann@example.com", "pa<ss&word", "t0ken"
FIRST, SECOND = "2026-03-31", "2026-04-01"
COMPANY = """
company: mini
name: Mini & Co
base_currency: EUR
first_business_date: 2026-03-31
last_business_date: 2026-04-30
sources:
  crm:
    dialect: salesforce
    pull: {connector: salesforce, objects: [Account, Opportunity]}
"""
ACCOUNT = {
    "Id": "id", "IsDeleted": "boolean", "MasterRecordId": "reference", "Name": "string", "AnnualRevenue": "currency",
    "BillingAddress": "address", "BillingCity": "string", "CreatedDate": "datetime", "SystemModstamp": "datetime",
}  # fmt: skip
OPPORTUNITY = {
    "Id": "id", "IsDeleted": "boolean", "AccountId": "reference", "Name": "string", "StageName": "picklist",
    "Amount": "currency", "Probability": "percent", "CloseDate": "date", "IsClosed": "boolean", "IsWon": "boolean",
    "CreatedDate": "datetime", "SystemModstamp": "datetime",
}  # fmt: skip


def account(number, name, changed, deleted=False, **more):
    return {
        "Id": f"0015g00000Z9xY{number}AAJ", "IsDeleted": deleted, "MasterRecordId": None, "Name": name,
        "AnnualRevenue": None, "BillingAddress": {"city": "Kiel"}, "BillingCity": "Kiel",
        "CreatedDate": "2026-01-10T02:15:00.000+0000", "SystemModstamp": changed, **more,
    }  # fmt: skip


def stamp(text):
    return f"2026-03-{text}.000+0000"


class Org:
    """What the org holds, and how its server behaves."""

    page = 2

    def __init__(self):
        self.fields = {"Account": ACCOUNT, "Opportunity": OPPORTUNITY}
        self.records = {
            "Account": [
                account(1, "Northwind", stamp("05T02:12:05"), AnnualRevenue=12345678901234.57),
                account(2, 'Quote "and" comma,', stamp("06T00:00:00")),
                account(3, "Two\nlines 云杉", stamp("30T10:00:00")),
                account(4, "Merged", stamp("30T10:00:00"), deleted=True, MasterRecordId="0015g00000Z9xY1AAJ"),
                account(5, "Tie", stamp("30T10:00:00")),
            ],
            "Opportunity": [],
        }
        self.sessions, self.logins, self.asked = set(), 0, []
        self.expire_after = None  # requests until the session ends
        self.busy = 0  # answers of 503 before the next
        self.cursors = {}

    def login(self):
        self.logins += 1
        self.sessions = {f"session-{self.logins}"}
        return f"session-{self.logins}"

    def select(self, soql, deleted_too):
        found = re.fullmatch(r"SELECT (.+) FROM (\w+)(?: WHERE (\w+) >= (\S+))?", soql)
        fields, name, cursor, since = found.groups()
        rows = [row for row in self.records[name] if deleted_too or not row["IsDeleted"]]
        if since:
            start = datetime.datetime.fromisoformat(since)
            rows = [row for row in rows if datetime.datetime.fromisoformat(row[cursor]) >= start]
        about = {"type": name, "url": f"/services/data/v59.0/sobjects/{name}/x"}
        return [{"attributes": about, **{field: row[field] for field in fields.split(", ")}} for row in rows]


class Handler(http.server.BaseHTTPRequestHandler):
    org: Org

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.endswith("/oauth2/token"):
            granted = "client_credentials" in text and self.headers["Authorization"].startswith("Basic ")
            session = {"access_token": self.org.login(), "instance_url": "https://acme.my.salesforce.com"}
            return self.answer(200, session) if granted else self.answer(400, {"error": "invalid_grant"})
        given = re.search("<n1:username>(.*)</n1:username>.*<n1:password>(.*)</n1:password>", text, re.DOTALL)
        if given.groups() != (USER, f"pa&lt;ss&amp;word{TOKEN}"):
            # A server may repeat what it was given.
            fault = (
                "<E xmlns:sf='urn:fault.partner.soap.sforce.com'><sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode>"
                f"<sf:exceptionMessage>Invalid username, password, security token; or user locked out: {given[2]}"
                "</sf:exceptionMessage></E>"
            )
            self.org.logins += 1
            return self.answer(500, fault, "text/xml")
        instance = "https://acme.my.salesforce.com/services/Soap/u/59.0/00D"
        said = f"<r><sessionId>{self.org.login()}</sessionId><serverUrl>{instance}</serverUrl></r>"
        return self.answer(200, said, "text/xml")

    def do_GET(self):
        org, address = self.org, urllib.parse.urlsplit(self.path)
        org.asked.append(self.path)
        if org.expire_after is not None:
            org.expire_after -= 1
            if org.expire_after < 0:
                org.sessions, org.expire_after = set(), None
        if org.busy:
            org.busy -= 1
            return self.answer(503, [{"message": "try again", "errorCode": "SERVER_UNAVAILABLE"}])
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in org.sessions:
            return self.answer(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        described = re.fullmatch(r"/services/data/v[\d.]+/sobjects/(\w+)/describe", address.path)
        if described:
            if described[1] not in org.fields:
                return self.answer(
                    404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
                )
            fields = [{"name": name, "type": type_} for name, type_ in org.fields[described[1]].items()]
            return self.answer(200, {"name": described[1], "fields": fields})
        asked = re.fullmatch(r"/services/data/v[\d.]+/(query|queryAll)/?(01g\w+-\d+)?", address.path)
        if asked[2]:
            rows = org.cursors[asked[2]]
        else:
            soql = urllib.parse.parse_qs(address.query)["q"][0]
            if "Secret__c" in soql:
                problem = {"message": "No such column 'Secret__c'", "errorCode": "INVALID_FIELD"}
                return self.answer(400, [problem])
            rows = org.select(soql, deleted_too=asked[1] == "queryAll")
        page = {"totalSize": len(rows), "done": len(rows) <= org.page, "records": rows[: org.page]}
        if not page["done"]:
            cursor = f"01gRO0000016PIA-{2000 + len(org.cursors)}"
            org.cursors[cursor] = rows[org.page :]
            page["nextRecordsUrl"] = f"/services/data/v59.0/query/{cursor}"
        return self.answer(200, page)


class ToTheServer(requests.adapters.HTTPAdapter):
    """Sends what is meant for Salesforce's hosts to the server on this machine."""

    def __init__(self, port):
        super().__init__()
        self._port = port

    def send(self, request, **kwargs):
        address = urllib.parse.urlsplit(request.url)
        assert address.hostname.endswith(".salesforce.com")
        request.url = f"http://127.0.0.1:{self._port}{address.path}{'?' if address.query else ''}{address.query}"
        return super().send(request, **kwargs)


@pytest.fixture
def org(monkeypatch):
    org = Org()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OrgHandler", (Handler,), {"org": org}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = pull_salesforce.session

    def session():
        redirected = made()
        redirected.mount("https://", ToTheServer(server.server_port))
        return redirected

    monkeypatch.setattr(pull_salesforce, "session", session)
    yield org
    server.shutdown()
    server.server_close()


class Crm:
    """The command in this process."""

    def __init__(self, folder, capsys):
        self.company, self.data, self._capsys = folder / "company", folder / "data", capsys
        self.write(COMPANY)

    def write(self, text):
        self.company.mkdir(exist_ok=True)
        (self.company / "company.yml").write_text(text)

    def __call__(self, date=FIRST):
        status = main(["pull", "crm", "--date", date, "--company", str(self.company), "--data", str(self.data)])
        said = self._capsys.readouterr()
        assert PASSWORD not in said.out + said.err
        assert TOKEN not in said.out + said.err
        return status, said.out + said.err

    def pull(self, date=FIRST):
        status, said = self(date)
        assert status == 0, said

    def rows(self, name="Account", date=FIRST):
        with (self.data / "landing" / "crm" / date / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def names(self, date=FIRST):
        return [row["Name"] for row in self.rows(date=date)]


@pytest.fixture
def crm(org, tmp_path, monkeypatch, capsys):
    for name in ("WHALECURVE_COMPANY", "WHALECURVE_DATA", "DAGSTER_HOME", "DLT_DATA_DIR"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    for name, value in {"USERNAME": USER, "PASSWORD": PASSWORD, "TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"WHALECURVE_PULL_CRM_{name}", value)
    return Crm(tmp_path, capsys)


def test_an_object_is_a_file_as_the_export_service_and_data_loader_write_it(crm):
    crm.pull()
    rows = crm.rows()
    assert list(rows[0]) == [name for name in ACCOUNT if name != "BillingAddress"]
    assert rows[0] == {
        "Id": "0015g00000Z9xY1AAJ", "IsDeleted": "false", "MasterRecordId": "", "Name": "Northwind",
        "AnnualRevenue": "12345678901234.57", "BillingCity": "Kiel", "CreatedDate": "2026-01-10T02:15:00.000Z",
        "SystemModstamp": "2026-03-05T02:12:05.000Z",
    }  # fmt: skip
    assert crm.names() == ["Northwind", 'Quote "and" comma,', "Two\nlines 云杉", "Merged", "Tie"]
    assert crm.rows("Opportunity") == []


def test_deleted_and_merged_records_come_with_their_mark(crm):
    crm.pull()
    merged = crm.rows()[3]
    assert (merged["IsDeleted"], merged["MasterRecordId"]) == ("true", "0015g00000Z9xY1AAJ")


def test_the_next_pull_asks_for_what_changed_and_loses_no_tie(crm, org):
    """Three records share the last value; a fourth of the same moment was committed after the first pull."""
    crm.pull()
    org.records["Account"].append(account(6, "Late tie", stamp("30T10:00:00")))
    org.records["Account"].append(account(7, "Late, within the hour", stamp("30T09:00:00")))
    org.records["Account"].append(account(8, "New", stamp("31T00:00:00")))
    crm.pull(SECOND)
    assert crm.names(SECOND) == ["Two\nlines 云杉", "Merged", "Tie", "Late tie", "Late, within the hour", "New"]
    assert any("SystemModstamp+%3E%3D+2026-03-30T09%3A00%3A00Z" in asked for asked in org.asked)


def test_an_object_without_changes_keeps_where_it_was(crm, org):
    crm.pull()
    org.records["Account"].clear()
    crm.pull(SECOND)
    assert crm.names(SECOND) == []
    state = json.loads((crm.data / "pull" / "crm.json").read_text())
    assert state["reached"]["Account"]["value"] == stamp("30T10:00:00")


@pytest.mark.parametrize("requests_until", [0, 1, 2, 3, 4])
def test_a_session_that_ends_on_the_way_is_begun_anew(crm, org, requests_until):
    org.expire_after = requests_until
    crm.pull()
    assert org.logins == 2
    assert len(crm.names()) == 5


def test_a_busy_moment_is_waited_for(crm, org):
    org.busy = 1
    crm.pull()
    assert len(crm.names()) == 5


def test_a_refused_login_is_said_once_and_without_the_password(crm, org, monkeypatch):
    monkeypatch.setenv("WHALECURVE_PULL_CRM_PASSWORD", "wr0ng<pass")
    status, said = crm()
    assert status == 1
    assert "login.salesforce.com refused the login: INVALID_LOGIN, Invalid username, password" in said
    assert "wr0ng" not in said
    assert org.logins == 1, "asking again would lock the user out"
    assert not (crm.data / "landing" / "crm" / FIRST).exists()


def test_a_connected_app_logs_in_at_the_org_s_own_domain(crm, org, monkeypatch):
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"WHALECURVE_PULL_CRM_{name}")
    monkeypatch.setenv("WHALECURVE_PULL_CRM_CONSUMER_KEY", "key")
    monkeypatch.setenv("WHALECURVE_PULL_CRM_CONSUMER_SECRET", "c0nsumer-secret")
    status, said = crm()
    assert status == 1
    assert "set WHALECURVE_PULL_CRM_DOMAIN" in said
    monkeypatch.setenv("WHALECURVE_PULL_CRM_DOMAIN", "https://acme.my.salesforce.com/")
    org.expire_after = 3
    crm.pull()
    assert org.logins == 2
    assert len(crm.names()) == 5


def test_without_credentials_it_says_which_variable_to_set(crm, monkeypatch):
    monkeypatch.delenv("WHALECURVE_PULL_CRM_PASSWORD")
    status, said = crm()
    assert status == 1
    assert "Set the environment variable WHALECURVE_PULL_CRM_PASSWORD to the Salesforce user's password" in said


def test_an_object_that_does_not_exist_is_named(crm):
    crm.write(COMPANY.replace("Opportunity", "Oportunity"))
    status, said = crm()
    assert status == 1
    assert "There is no object 'Oportunity' in this Salesforce org" in said
    assert not (crm.data / "landing" / "crm" / FIRST).exists()


def test_fields_can_be_chosen_and_what_reading_needs_comes_with_them(crm):
    crm.write(COMPANY.replace("[Account, Opportunity]", "{Account: {fields: [Name]}, Opportunity: }"))
    crm.pull()
    assert list(crm.rows()[0]) == ["Id", "IsDeleted", "MasterRecordId", "Name", "SystemModstamp"]
    crm.write(COMPANY.replace("[Account, Opportunity]", "{Account: {fields: [Nme]}}"))
    assert "The object 'Account' has no field Nme" in crm()[1]


def test_more_fields_than_one_question_holds_says_what_to_do(crm, org):
    many = {f"A_rather_long_name_of_a_custom_field_{number}__c": "string" for number in range(500)}
    org.fields["Account"] = {**ACCOUNT, **many}
    status, said = crm()
    assert status == 1
    assert "The object 'Account' has 508 fields, more than Salesforce lets ask for at once" in said


def test_what_the_server_refuses_is_said_in_its_words(crm, org):
    org.fields["Account"] = {**ACCOUNT, "Secret__c": "string"}
    status, said = crm()
    assert status == 1
    assert "crm: Salesforce answered 400: No such column 'Secret__c'. The landing folder is as it was." in said


def test_the_built_in_dialect_reads_what_was_pulled(crm):
    import duckdb

    from assets.ingest.dialect import load_dialect
    from assets.ingest.engine import load_delivery, reading_connection

    crm.pull()
    with reading_connection() as connection:
        outcome = load_delivery(
            connection, crm.data / "landing", crm.data / "raw", "crm", load_dialect("salesforce", crm.company),
            "customer", datetime.date.fromisoformat(FIRST), max_share=0,
        )  # fmt: skip
    assert (outcome.load.rows_out, outcome.load.rows_quarantined) == (5, 0)
    loaded = str(crm.data / "raw" / "customer" / "*" / "*" / "load.parquet")
    read = duckdb.sql(
        "select customer_name, is_deleted, annual_revenue::varchar, source_modified_at::varchar, created_at::varchar "
        f"from read_parquet('{loaded}') order by customer_id"
    ).fetchall()
    assert read[0] == ("Northwind", False, "12345678901234.5700", "2026-03-05 02:12:05", "2026-01-10 02:15:00")
    assert [deleted for _, deleted, *_ in read] == [False, False, False, True, False]
