"""Which of apprise's many schemes the hub takes, and the sending through it.

Apprise guards nothing, so a scheme is taken if its messages go to a fixed public host. Those of servers of one's
own are taken if the operator allows the host. Parameters are refused, since some of them change the host. Apprise
takes most of a second to import, so only what sends imports it.
"""

import logging
import re
import threading
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urlsplit

from django.conf import settings

from apps.notifications.channels.base import DeliveryFailed

FIXED_HOST = frozenset({"discord", "gchat", "msgbird", "opsgenie", "pagerduty", "pover"})
FIXED_HOST |= {"slack", "tgram", "twilio", "vonage", "wxteams"}
OWN_HOST = frozenset({"gotify", "gotifys", "matrix", "matrixs", "mmost", "mmosts", "ntfy", "ntfys"})
OWN_HOST |= {"rocket", "rockets", "workflow", "workflows"}
# The token is wrong, or what it leads to is gone: that is for whoever wrote the URL.
HOPELESS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
TEAMS = ("workflow", "workflows")
TEAMS_HOSTS = (".logic.azure.com", ".api.powerplatform.com")  # where Teams has its workflows
CLOUD_TOPIC = "ntfy"  # ntfy://topic goes to the public service, ntfy://host/topic to a server of one's own


def check(url: str) -> None:
    """Raises ValueError with a sentence that does not repeat the URL: it holds a password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ValueError("the secret is not a URL such as slack://TokenA/TokenB/TokenC") from error
    if parts.scheme not in FIXED_HOST | OWN_HOST:
        raise ValueError(f"services are: {', '.join(sorted(FIXED_HOST | OWN_HOST))}; not {parts.scheme!r}")
    if not host or not url.isprintable() or "?" in url or "#" in url or "?" in unquote(url):
        raise ValueError("the secret is a URL such as slack://TokenA/TokenB/TokenC, without parameters")
    if _goes_to_a_host_of_ones_own(parts):
        place = parts.netloc.rpartition("@")[2].lower()
        if not {host, place} & set(settings.NOTIFICATIONS["ALLOWED_CHAT_HOSTS"]):
            raise ValueError(f"an administrator has to allow the host {host!r} first (CHAT_ALLOWED_HOSTS)")


def _goes_to_a_host_of_ones_own(parts: SplitResult) -> bool:
    if parts.scheme not in OWN_HOST:
        return False
    if parts.scheme in TEAMS and (parts.hostname or "").endswith(TEAMS_HOSTS):
        return False
    only_a_topic = not parts.path.strip("/") and ":" not in parts.netloc
    return not (parts.scheme == CLOUD_TOPIC and only_a_topic)


def send(url: str, *, subject: str, text: str) -> None:
    import apprise

    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        raise DeliveryFailed("The service's URL can't be used as it is.", permanent=True)
    timeout = settings.NOTIFICATIONS["TIMEOUT"]
    service.socket_connect_timeout = service.socket_read_timeout = float(timeout)
    service.redirects = False
    with _Answers() as answers:
        taken = service.notify(title=subject, body=text)
    if not taken:
        said = f" ({answers.status})" if answers.status else ""
        hopeless = answers.status in HOPELESS
        raise DeliveryFailed(f"The service did not take the message{said}.", permanent=hopeless, status=answers.status)


class _Answers(logging.Handler):
    """Apprise only says that it failed; why, its services write to the log, as `error=404`. A service that writes
    otherwise is tried again as if it had not answered.
    """

    STATUS = re.compile(r"\berror=([1-5]\d\d)\b")

    def __init__(self):
        super().__init__(logging.WARNING)
        self.status: int | None = None
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and (found := self.STATUS.search(record.getMessage())):
            self.status = int(found[1])

    def __enter__(self):
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_):
        logging.getLogger("apprise").removeHandler(self)
