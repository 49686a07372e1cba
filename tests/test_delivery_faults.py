"""Senders killed in the middle of sending, to peers that fail, hang and reset connections: late, never lost."""

import pytest
from django.utils import timezone

from apps.events.models import Event
from apps.events.tests.factories import EventFactory
from apps.notifications.models import NotificationAttempt, NotificationDelivery
from apps.notifications.tests.factories import TemplateFactory
from apps.notifications.tests.receivers import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

EVENTS = 20


JUDGE = "worker --exclude-queues sending --concurrency 1"


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


def test_killed_senders_and_failing_peers_delay_and_lose_nothing(start_hub, telling, events, mail, hook):
    hook.statuses = iter([503] * 3)
    hook.delay = 0.3
    hub = start_hub(JUDGE, "sender", "beat", **telling)
    wait_for(lambda: len(hook.requests) > 3, seconds=30)
    hub.kill("sender")

    hook.resets = True
    hub.start("sender")
    seen = len(hook.requests)
    wait_for(lambda: len(hook.requests) > seen, seconds=60)
    hub.kill("sender")

    hook.resets, hook.delay = False, 0
    hub.start("sender")
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


def test_receiver_that_hangs_keeps_nobody_from_judging(start_hub, telling, events, hook, device):
    hook.delay = 3600
    hub = start_hub(JUDGE, "sender", "beat", **telling | {"NOTIFICATION_TIMEOUT": "3600"})
    wait_for(lambda: hook.requests, seconds=30)
    later = EventFactory(device=device)
    wait_for(lambda: Event.objects.filter(pk=later.pk, dispatched_at__isnull=False).exists(), seconds=30)

    assert not NotificationAttempt.objects.filter(delivery__recipient_type="webhook", outcome="sent").exists()
    hub.kill("sender")
