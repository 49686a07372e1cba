import pytest

from apps.events.tests.factories import EventFactory
from apps.notifications import sender, services
from apps.notifications.tests.factories import TemplateFactory
from apps.notifications.tests.receivers import SmtpSink, WebhookReceiver
from apps.notifications.tests.story import NOW


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


@pytest.fixture
def template(hook):
    return TemplateFactory(recipients=[{"type": "webhook", "url": hook.url}])


@pytest.fixture
def happen(device, template):
    """An event of alex's device that tells by the template, dispatched."""

    def make(now=NOW, **fields):
        action = {"type": "notification", "template_id": template.pk, "status": "pending"}
        event = EventFactory(**{"device": device, "execution_results": [action]} | fields)
        services.dispatch(event_id=event.pk, now=now)
        event.refresh_from_db()
        return event

    return make


@pytest.fixture
def clock(monkeypatch):
    """Rows are created when the story has them created: `clock(later)` puts it on."""

    def put_on(now):
        monkeypatch.setattr("django.utils.timezone.now", lambda: now)

    put_on(NOW)
    return put_on
