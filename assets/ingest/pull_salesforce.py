"""The connector to Salesforce: each object as <Object>.csv with API names, as the built-in dialect reads it.

Records come through the REST API's queryAll, so deleted and merged ones come with their mark. dlt has no Salesforce source
in its library, only one to copy; of dlt is used the HTTP session that waits and asks again. Imported only when a pull runs:
its libraries are an optional extra.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from dlt.sources.helpers.requests import Client
from simple_salesforce.api import Salesforce, SFType
from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceError, SalesforceResourceNotFound

from assets.company import ObjectPull, SalesforcePull
from assets.ingest.pull import Credentials, Landed, PullError, Reached, Say

CURSORS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")
"""Fields that grow with every change, best first. SystemModstamp also grows when a process changes a record."""

ALWAYS = ("Id", "IsDeleted", "MasterRecordId")
NO_COLUMN = ("address", "location", "base64", "complexvalue")
"""Types of fields that repeat others, or that are no cell of a table."""

ASK_AGAIN = (429, 502, 503, 504)
"""Not 500: that is how a failed login is answered, and asking again would lock the user out."""

LONGEST_ADDRESS = 16_000
KIND = "time with zone"


def land_objects(
    setting: SalesforcePull, aside: Path, since: Mapping[str, Reached], credentials: Credentials, say: Say
) -> dict[str, Landed]:
    """Write <Object>.csv into `aside` for every object of the setting."""
    assert isinstance(setting.overlap, datetime.timedelta)
    with session() as http:
        org = _login(credentials, http)
        fields = {name: _fields(org, name, asked) for name, asked in setting.objects.items()}
        landed = {}
        for name in setting.objects:
            landed[name] = _land(org, name, fields[name], since.get(name), setting.overlap, aside, say)
        return landed


def session() -> requests.Session:
    """A session with timeouts that waits and asks again where the server asks for it."""
    made: requests.Session = Client(raise_for_status=False, status_codes=ASK_AGAIN).session
    return made


def _login(credentials: Credentials, http: requests.Session) -> Salesforce:
    """By user name and password (with security token), or as a connected app (client credentials)."""
    domain = (credentials.get("DOMAIN") or "login").removeprefix("https://").strip("/").removesuffix(".salesforce.com")
    app = {"consumer_key": credentials.get("CONSUMER_KEY"), "consumer_secret": credentials.get("CONSUMER_SECRET")}
    by_app = all(app.values())
    if by_app and domain in ("login", "test"):
        raise PullError(
            f"A connected app logs in at the org's own domain: set {credentials.prefix}DOMAIN to it, such as acme.my. "
            "Nothing was pulled."
        )
    who = app if by_app else {
        "username": credentials.require("USERNAME", "the name of the Salesforce user"),
        "password": credentials.require("PASSWORD", "the Salesforce user's password"),
        "security_token": credentials.get("TOKEN") or "",
    }  # fmt: skip
    try:
        return Salesforce(domain=domain, session=http, parse_float=decimal.Decimal, **who)  # type: ignore[arg-type]
    except SalesforceAuthenticationFailed as error:
        raise PullError(
            f"Salesforce at {domain}.salesforce.com refused the login: {error.code}, {error.auth_message}. Look at "
            f"{credentials.prefix}USERNAME, _PASSWORD, _TOKEN and _DOMAIN (test for a sandbox). Nothing was pulled."
        ) from None


def _fields(org: Salesforce, name: str, setting: ObjectPull) -> dict[str, str]:
    """Field -> its type, of those that the user may read and a table can hold."""
    try:
        described = SFType.describe(getattr(org, name))
    except SalesforceResourceNotFound:
        raise PullError(
            f"There is no object '{name}' in this Salesforce org, or the user may not read it. Use its API name; own "
            "objects end in __c. Nothing was pulled."
        ) from None
    known = {field["name"]: field["type"] for field in described["fields"] if field["type"] not in NO_COLUMN}
    unknown = [field for field in setting.fields if field not in known]
    if unknown:
        raise PullError(f"The object '{name}' has no field {', '.join(unknown)} to read. Nothing was pulled.")
    wanted = {*setting.fields, *ALWAYS, _cursor(known)} if setting.fields else set(known)
    return {field: type_ for field, type_ in known.items() if field in wanted}


def _cursor(fields: Mapping[str, str]) -> str | None:
    return next((field for field in CURSORS if fields.get(field) == "datetime"), None)


def _land(
    org: Salesforce,
    name: str,
    fields: dict[str, str],
    since: Reached | None,
    overlap: datetime.timedelta,
    aside: Path,
    say: Say,
) -> Landed:
    cursor = _cursor(fields)
    if since and (since.cursor, since.kind) != (cursor, KIND):
        since = None
    start = f"{_time(since.value) - overlap:%Y-%m-%dT%H:%M:%SZ}" if since else None
    query = f"SELECT {', '.join(fields)} FROM {name}" + (f" WHERE {cursor} >= {start}" if start else "")
    if len(urllib.parse.quote_plus(query)) > LONGEST_ADDRESS:
        raise PullError(
            f"The object '{name}' has {len(fields)} fields, more than Salesforce lets ask for at once. Name those you need "
            f"in company.yml: objects: {{{name}: {{fields: [...]}}}}. Nothing was pulled."
        )
    path, rows, highest = aside / f"{name}.csv", 0, ""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(fields)
        for record in _records(org, query):
            writer.writerow([_cell(record.get(field), type_) for field, type_ in fields.items()])
            rows += 1
            highest = max(highest, record.get(cursor) or "") if cursor else ""
    say(f"  {name:<36}{rows:>12,} rows  {f'changed since {start}' if start else 'whole'}")
    if not cursor:
        return Landed(path.name, rows, None)
    return Landed(path.name, rows, Reached(cursor, KIND, highest) if highest else since)


def _records(org: Salesforce, query: str) -> Iterator[dict[str, Any]]:
    """The records, page by page, deleted ones too; a session that ends on the way is begun anew by the library."""
    try:
        page = org.query(query, include_deleted=True)
        while True:
            yield from page["records"]
            if page["done"]:
                return
            page = org.query_more(page["nextRecordsUrl"], identifier_is_url=True)
    except SalesforceError as error:
        content: Any = error.content
        said = content[0] if isinstance(content, list) and content else content
        said = said.get("message", said) if isinstance(said, dict) else said
        raise PullError(f"Salesforce answered {error.status}: {said}. The landing folder is as it was.") from None


def _time(text: str) -> datetime.datetime:
    """The API writes 2026-03-05T02:12:05.000+0000, always in UTC."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(datetime.UTC)


def _cell(value: Any, type_: str) -> str:
    """A value as Data Loader writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    text = str(value)
    return text.removesuffix("+0000") + "Z" if type_ == "datetime" and text.endswith("+0000") else text
