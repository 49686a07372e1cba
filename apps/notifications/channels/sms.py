"""Text messages through the operator's gateway (`SMS_URL`).

Either an http(s) URL, which takes `{"to", "text", "id"}` by POST, or an apprise URL to which the number is
added, such as twilio://SID:TOKEN@+15550100. The URL is the operator's, so it may lead anywhere.
"""

import re
from http import HTTPStatus

import requests
from django.conf import settings

from apps.notifications.channels import apprise_hosts
from apps.notifications.channels.base import DeliveryFailed, Message

ADDRESS = "address"
OPTIONS = frozenset()
NUMBER = re.compile(r"\+[1-9]\d{6,14}")  # E.164
MAX_TEXT = 480  # three messages


def check(recipient: dict) -> None:
    if not NUMBER.fullmatch(recipient[ADDRESS]):
        raise ValueError(f"{recipient[ADDRESS]!r} is not a telephone number such as +380501234567")


def lane(recipient: dict) -> str:
    return "sms"


def send(message: Message) -> int | None:
    gateway = settings.NOTIFICATIONS["SMS_URL"]
    if not gateway:
        raise DeliveryFailed("This hub has no gateway for text messages (SMS_URL).", permanent=True)
    text = f"{message.subject}\n{message.text}"[:MAX_TEXT]
    if gateway.startswith(("http://", "https://")):
        return _post(gateway, {"to": message.address, "text": text, "id": message.key})
    apprise_hosts.send(f"{gateway.rstrip('/')}/{message.address}", subject="", text=text)
    return None


def _post(gateway: str, document: dict) -> int:
    try:
        timeout = settings.NOTIFICATIONS["TIMEOUT"]
        answer = requests.post(gateway, json=document, timeout=timeout, allow_redirects=False)
    except requests.RequestException as error:
        raise DeliveryFailed(f"The gateway was not reached: {type(error).__name__}") from error
    if not 200 <= answer.status_code < 300:
        refused = answer.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
        text = f"The gateway answered {answer.status_code}."
        raise DeliveryFailed(text, permanent=refused, status=answer.status_code)
    return answer.status_code
