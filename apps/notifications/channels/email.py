"""Email through the hub's mailer (`EMAIL_URL`)."""

import smtplib
from contextlib import suppress
from email.utils import formataddr
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, mailers
from django.core.validators import validate_email

from apps.notifications.channels.base import DeliveryFailed, Message

ADDRESS = "address"
OPTIONS = frozenset()


def check(recipient: dict) -> None:
    try:
        validate_email(recipient[ADDRESS])
    except ValidationError as error:
        raise ValueError(f"{recipient[ADDRESS]!r} is not an email address") from error


def lane(recipient: dict) -> str:
    return "email"


def send(message: Message) -> None:
    mailer = mailers.default
    try:
        mailer.open()
        mailer.send_messages([_compose(message)])
    except smtplib.SMTPRecipientsRefused as error:
        code, reply = next(iter(error.recipients.values()))
        raise DeliveryFailed(f"Recipient refused: {_reply(code, reply)}", permanent=code >= 500, status=code) from error
    except smtplib.SMTPAuthenticationError as error:  # the operator's to mend, not the recipient's
        raise DeliveryFailed(f"Mail server refused our login: {error.smtp_code}", status=error.smtp_code) from error
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        answer = _reply(error.smtp_code, error.smtp_error)
        permanent, status = error.smtp_code >= 500, error.smtp_code
        raise DeliveryFailed(f"Mail server refused: {answer}", permanent=permanent, status=status) from error
    except ValueError as error:  # an address or header that can't be written down
        raise DeliveryFailed(f"Can't be sent: {error}", permanent=True) from error
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryFailed(f"Mail server not reached: {error}") from error
    finally:
        with suppress(OSError):  # what was accepted is sent, however the server says goodbye
            mailer.close()


def _compose(message: Message) -> EmailMessage:
    host = urlsplit(settings.PUBLIC_URL).hostname
    name = " ".join(message.name.split())
    return EmailMessage(
        # A device's name may hold a line break; in a header that would be another header.
        subject=" ".join(message.subject.split()),
        body=message.text,
        to=[formataddr((name, message.address)) if name else message.address],
        headers={
            "Message-ID": f"<{message.key}@{host}>",
            "X-IoT-Hub-Delivery": message.delivery,
            "Auto-Submitted": "auto-generated",
        },
    )


def _reply(code: int, reply: bytes | str) -> str:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return f"{code} {text}"[:500]
