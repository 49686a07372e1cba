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


def failed_with(text: str, kind: str) -> bool:
    attempts = NotificationAttempt.objects.filter(delivery__recipient_type=kind, outcome="failed")
    return attempts.filter(error__icontains=text).exists()


def test_killed_senders_and_failing_peers_delay_and_lose_nothing(start_hub, telling, events, mail, hook):
    hook.delay = mail.delay = 0.9
    hub = start_hub(JUDGE, "sender", "beat", **telling)
    wait_for(lambda: hook.requests and mail.messages, seconds=30)
    hub.kill("sender")

    # They fail, …
    hook.delay = mail.delay = 0
    hook.status, mail.replies["crew@example.com"] = 503, "451 later"
    hub.start("sender")
    wait_for(lambda: failed_with("503", "webhook") and failed_with("451", "email"), seconds=30)
    hub.kill("sender")

    # … reset connections …
    hook.status, hook.resets, mail.resets = 204, True, True
    mail.replies.clear()
    hub.start("sender")
    wait_for(lambda: failed_with("ConnectionError", "webhook") and failed_with("closed", "email"), seconds=60)
    hub.kill("sender")

    # … and hang for longer than anybody waits.
    hook.resets, mail.resets, hook.delay, mail.delay = False, False, 2, 2
    hub.start("sender")
    wait_for(lambda: failed_with("ReadTimeout", "webhook") and failed_with("timed out", "email"), seconds=60)
    hub.kill("sender")

    hook.delay, mail.delay = 0, 0
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
