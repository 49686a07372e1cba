"""Workers killed in the middle of sending, to peers that fail, hang and reset connections: late, never lost.

NOTIFICATION_TIMEOUT is a second, so the claims of a worker that died lapse after 12 seconds.
"""

import pytest
from django.utils import timezone

from apps.events.models import Event
from apps.events.tests.factories import EventFactory
from apps.notifications.models import NotificationAttempt, NotificationDelivery
from apps.notifications.tests.factories import TemplateFactory
from apps.notifications.tests.receivers import SmtpSink, WebhookReceiver, wait_for
from tests.processes import HubProcesses

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

EVENTS = 20


@pytest.fixture
def mail():
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def hook():
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def hub(tmp_path, mail):
    processes = HubProcesses(
        tmp_path,
        EMAIL_URL=f"smtp://{mail.address}",
        WEBHOOK_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
        NOTIFICATION_TIMEOUT="1",
        NOTIFICATION_GROUP_WAIT="0",
    )
    try:
        yield processes
    finally:
        processes.stop()


@pytest.fixture
def events(device, hook):
    """Each tells by mail and by webhook."""
    recipients = [{"type": "email", "address": "crew@example.com"}, {"type": "webhook", "url": hook.url}]
    template = TemplateFactory(recipients=recipients, retry_delay_minutes=0, retry_count=50)
    action = {"type": "notification", "template_id": template.pk, "status": "pending"}
    return [EventFactory(device=device, execution_results=[dict(action)]) for _ in range(EVENTS)]


def settled() -> bool:
    statuses = list(NotificationDelivery.objects.values_list("status", flat=True))
    return len(statuses) == 2 * EVENTS and set(statuses) == {"sent"}


def test_killed_workers_and_failing_peers_delay_and_lose_nothing(hub, events, mail, hook):
    hook.statuses = iter([503] * 3)
    hook.delay = 0.3
    hub.start("worker", "beat")
    wait_for(lambda: len(hook.requests) > 3, seconds=30)
    hub.kill("worker")

    hook.resets = True
    hub.start("worker")
    seen = len(hook.requests)
    wait_for(lambda: len(hook.requests) > seen, seconds=60)
    hub.kill("worker")

    hook.resets, hook.delay = False, 0
    hub.start("worker")
    wait_for(settled, seconds=120)

    # Everybody was told, repeats went under the id of the first, and each try is on record.
    told = {request.headers["webhook-id"] for request in hook.requests}
    assert len(told) == len({message["Message-ID"] for message in mail.messages}) == EVENTS
    outcomes = NotificationAttempt.objects.values_list("outcome", flat=True)
    assert outcomes.filter(outcome="sent").count() == 2 * EVENTS
    assert outcomes.filter(outcome="lost").exists()
    assert not outcomes.filter(outcome="under_way").exists()
    # Never twice for one attempt: the receivers saw no more than was begun.
    begun = NotificationAttempt.objects.filter(started_at__lte=timezone.now())
    assert len(hook.requests) <= begun.filter(delivery__recipient_type="webhook").count()
    assert len(mail.messages) <= begun.filter(delivery__recipient_type="email").count()
    assert {event.execution_results[0]["status"] for event in Event.objects.all()} == {"completed"}
