"""A hub of real processes, and those whom it tells."""

import pytest

from apps.notifications.tests.receivers import SmtpSink, WebhookReceiver
from tests.processes import HubProcesses


@pytest.fixture
def mail():
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def hook():
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def telling(mail) -> dict[str, str]:
    """Settings of a hub that tells `mail` and `hook`.

    Two are not the default: NOTIFICATION_TIMEOUT is a second, so the claim of a worker that died lapses after 12
    seconds instead of two minutes; NOTIFICATION_GROUP_WAIT is 0, so nobody waits for more to come.
    """
    return {
        "EMAIL_URL": f"smtp://{mail.address}",
        "WEBHOOK_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        "NOTIFICATION_TIMEOUT": "1",
        "NOTIFICATION_GROUP_WAIT": "0",
    }


@pytest.fixture
def start_hub(tmp_path):
    """`start_hub("web", "worker", NOTIFICATION_TIMEOUT="1")`: a hub that ends with the test; its pages answer."""
    hubs = []

    def start(*commands: str, **environment: str) -> HubProcesses:
        hubs.append(HubProcesses(tmp_path, **environment))
        hubs[-1].start(*commands)
        if "web" in commands:
            hubs[-1].wait_until_live()
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.stop()
