"""How an alert travels: mail over SMTP, and the robots of Slack, 企业微信 (WeCom), 钉钉 (DingTalk) and 飞书 (Feishu).

Belongs here: each service's format, signature and way of saying no. Not here: what is said (`alerts.py`). Addresses and secrets
come from the environment and are in no error: a webhook's address is its password.

Sources: the services' own pages on incoming webhooks and custom robots.
"""

from __future__ import annotations

import base64
import datetime
import email.utils
import hashlib
import hmac
import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any, NamedTuple

from assets.company import EmailAlert, WebhookAlert
from assets.publish.targets.delivery import Secrets

PATIENCE = 10
"""Seconds a service may take to answer: whoever tells is a run or a sensor, and both have other things to do."""
DEFAULT_PORTS = {"smtp": 587, "smtps": 465}


class Message(NamedTuple):
    """What is sent: one line, and plain text."""

    subject: str
    text: str


class NotSent(Exception):
    """An alert that did not arrive; the message says why without address, secret or what a server wrote."""


def send(target: EmailAlert | WebhookAlert, secrets: Secrets, message: Message, now: datetime.datetime) -> None:
    """Send it. Raises NotSent."""
    url = secrets.get("URL")
    if not url:
        raise NotSent(f"{secrets.prefix}URL is not set.")
    if isinstance(target, EmailAlert):
        _mail(target, url, secrets.prefix, message, now)
    else:
        address, body = webhook(target.kind, url, secrets.get("SECRET"), message, now)
        _post(target.kind, address, body, secrets.prefix)


def webhook(
    kind: str, url: str, secret: str | None, message: Message, now: datetime.datetime
) -> tuple[str, Mapping[str, Any]]:
    """The address to post to and the body, as each service wants them."""
    text = f"{message.subject}\n{message.text}"
    if kind == "slack":
        for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(sign, written)
        return url, {"text": text}
    if kind == "feishu":
        body: dict[str, Any] = {"msg_type": "text", "content": {"text": text}}
        if secret:
            stamp = str(int(now.timestamp()))
            # Signed with stamp and secret as the key, over nothing.
            body |= {"timestamp": stamp, "sign": _sign(f"{stamp}\n{secret}", "")}
        return url, body
    if kind == "dingtalk" and secret:
        stamp = str(int(now.timestamp() * 1000))
        signed = urllib.parse.urlencode({"timestamp": stamp, "sign": _sign(secret, f"{stamp}\n{secret}")})
        url += ("&" if urllib.parse.urlsplit(url).query else "?") + signed
    return url, {"msgtype": "text", "text": {"content": text}}


def _sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _post(kind: str, url: str, body: Mapping[str, Any], prefix: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise NotSent(f"{prefix}URL is no address of a webhook (https://...).")
    request = urllib.request.Request(
        url, json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": "application/json; charset=utf-8"}
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=PATIENCE) as answer:
            said = answer.read(1 << 16)
    except urllib.error.HTTPError as error:
        raise NotSent(f"the service answered {error.code}.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NotSent(f"the service cannot be reached ({type(reason).__name__}).") from None
    if kind != "slack" and (code := _refusal(said)) is not None:
        raise NotSent(
            f"the service refused it (code {code}); is {prefix}SECRET right, and the robot's own rule of keywords met?"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A webhook that moved is asked for anew by a person: following it would turn the message into a question for a page."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _refusal(said: bytes) -> str | None:
    """The code by which WeCom, DingTalk and Feishu say no with an HTTP status of 200; None when they took it."""
    try:
        answer = json.loads(said)
        code = next(answer[name] for name in ("errcode", "code", "StatusCode") if name in answer)
    except (ValueError, TypeError, StopIteration):
        return "none"
    return None if code == 0 else str(int(code)) if str(code).lstrip("-").isdigit() else "unknown"


def _mail(target: EmailAlert, url: str, prefix: str, message: Message, now: datetime.datetime) -> None:
    try:
        address = urllib.parse.urlsplit(url)
        host, port = address.hostname, address.port or DEFAULT_PORTS.get(address.scheme, 0)
    except ValueError:
        host, port = None, 0
    if host is None or not port:
        raise NotSent(f"{prefix}URL is no address of a mail server (smtp://user:password@host:587, smtps://...).")
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message.subject, target.sender, ", ".join(target.to)
    mail["Date"] = email.utils.format_datetime(now)
    mail["Message-ID"] = email.utils.make_msgid(domain=target.sender.partition("@")[2])
    mail.set_content(message.text)
    context = ssl.create_default_context()
    try:
        server = (
            smtplib.SMTP_SSL(host, port, timeout=PATIENCE, context=context)
            if address.scheme == "smtps"
            else smtplib.SMTP(host, port, timeout=PATIENCE)
        )
        with server:
            server.ehlo()
            if address.scheme == "smtp" and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif address.scheme == "smtp" and address.password:
                raise NotSent("the mail server offers no encryption, and the password is not sent without.")
            if address.username:
                user, password = (urllib.parse.unquote(part or "") for part in (address.username, address.password))
                server.login(user, password)
            refused = server.send_message(mail)
    except (OSError, smtplib.SMTPException) as error:
        code = f" {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else ""
        raise NotSent(f"the mail server said no or cannot be reached ({type(error).__name__}{code}).") from None
    if refused:
        raise NotSent(f"the mail server took it for {len(target.to) - len(refused)} of {len(target.to)} addresses.")
