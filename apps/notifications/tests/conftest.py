import pytest

from apps.notifications import sender
from apps.notifications.tests.receivers import SmtpSink, WebhookReceiver


@pytest.fixture(autouse=True)
def _told_at_once(settings):
    """Tests of grouping say otherwise."""
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"GROUP_WAIT": 0}


@pytest.fixture(autouse=True)
def _fresh_lanes():
    """Other tests' receivers were others."""
    sender.LANES._lanes.clear()


@pytest.fixture
def mail(settings):
    """The mail server that the hub sends through."""
    with SmtpSink() as sink:
        settings.MAILERS = sink.mailers
        yield sink


@pytest.fixture
def hook(settings):
    """A webhook receiver that the hub may reach although it is private."""
    with WebhookReceiver() as receiver:
        settings.NOTIFICATIONS = settings.NOTIFICATIONS | {
            "ALLOWED_PRIVATE_HOSTS": [receiver.address],
            "TIMEOUT": 1,
        }
        yield receiver
