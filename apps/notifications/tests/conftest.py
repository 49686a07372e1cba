import pytest

from apps.notifications.tests.receivers import SmtpSink, WebhookReceiver


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
