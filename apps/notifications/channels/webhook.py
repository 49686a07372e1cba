"""JSON by HTTP POST, signed after the Standard Webhooks specification (standardwebhooks.com).

Whoever may write a template may name any URL, so a request goes to public addresses only, unless the
operator allows a host. The address that was checked is the address that is connected to, and redirects
are not followed.
"""

import base64
import binascii
import json
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
from django.conf import settings
from requests_hardened import Config, Manager
from requests_hardened.ip_filter import InvalidIPAddress
from standardwebhooks import Webhook

from apps.notifications.channels.base import DeliveryFailed, Message

ADDRESS = "url"
OPTIONS = frozenset({"secret", "previous_secret"})

MAX_URL = 2000
SECRET_BYTES = range(16, 65)
ANSWER_BYTES = 300  # of a refusal, for the error message
TRY_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def check(recipient: dict) -> None:
    _check_url(recipient[ADDRESS])
    if recipient.get("previous_secret") and not recipient.get("secret"):
        raise ValueError("a previous_secret goes with the secret that takes its place")
    for key in OPTIONS:
        if recipient.get(key):
            _check_secret(recipient[key])


def lane(recipient: dict) -> str:
    return f"webhook {urlsplit(recipient[ADDRESS]).netloc.lower()}"


def send(message: Message) -> int:
    body = json.dumps(message.payload)
    try:
        with _session(message.address) as session:
            answer = session.post(
                message.address,
                data=body.encode(),
                headers=_headers(message, body),
                stream=True,  # nothing is read that we don't ask for
            )
            with answer:
                _judge(answer)
                return answer.status_code
    except InvalidIPAddress as error:
        raise DeliveryFailed("The URL leads into a private network; no request was made.", permanent=True) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise DeliveryFailed(f"Not a usable URL: {error}", permanent=True) from error
    except requests.RequestException as error:
        raise DeliveryFailed(f"Not reached: {type(error).__name__}") from error


def _session(url: str) -> requests.Session:
    timeout = settings.NOTIFICATIONS["TIMEOUT"]
    session = Manager(
        Config(
            ip_filter_enable=not _allowed(url),
            ip_filter_allow_loopback_ips=False,
            never_redirect=True,
            default_timeout=(timeout, timeout),
            user_agent_override="IoT-Hub",
        )
    ).get_session()
    session.trust_env = False  # a proxy would connect where we may not
    return session


def _allowed(url: str) -> bool:
    """Did the operator allow this host (`host`, or `host:port`) although it is private?"""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    allowed = settings.NOTIFICATIONS["ALLOWED_PRIVATE_HOSTS"]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host in allowed or f"{host}:{port}" in allowed


def _headers(message: Message, body: str) -> dict[str, str]:
    at = datetime.now(UTC)  # receivers compare it with their own clock
    headers = {
        "Content-Type": "application/json",
        "X-IoT-Hub-Delivery": message.delivery,
        "webhook-id": message.key,
        "webhook-timestamp": str(int(at.timestamp())),
    }
    if message.secret:
        # While a secret is being changed, receivers may know the old one or the new one: either signature will do.
        secrets = [secret for secret in (message.secret, message.previous_secret) if secret]
        signatures = [Webhook(secret).sign(message.key, at, body) for secret in secrets]
        headers["webhook-signature"] = " ".join(signatures)
    return headers


def _judge(answer: requests.Response) -> None:
    if 200 <= answer.status_code < 300:
        return
    permanent = 400 <= answer.status_code < 500 and answer.status_code not in TRY_AGAIN
    said = answer.raw.read1(ANSWER_BYTES).decode(errors="replace").replace("\0", "").strip()
    text = f"The receiver answered {answer.status_code}. {said}".strip()
    raise DeliveryFailed(text, permanent=permanent, status=answer.status_code)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} is not an http or https URL")
    if parts.username or parts.password:
        raise ValueError("a URL with a password in it would be shown to others; sign with a secret instead")
    if len(url) > MAX_URL:
        raise ValueError(f"the URL is longer than {MAX_URL} characters")


def _check_secret(secret: str) -> None:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError('a secret is base64, such as "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"') from error
    if len(key) not in SECRET_BYTES:
        raise ValueError("a secret is 16 to 64 bytes, in base64")
