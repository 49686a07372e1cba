"""From a delivery to a message that went out: at least once, and by one worker at a time."""

from datetime import timedelta

import pytest
from django.utils import timezone
from standardwebhooks import Webhook

from apps.events.models import Event
from apps.events.tests.concurrency import at_once
from apps.events.tests.factories import EventFactory
from apps.notifications import lanes, queries, services, tasks
from apps.notifications.channels import DeliveryFailed
from apps.notifications.models import NotificationDelivery
from apps.notifications.tests.factories import DeliveryFactory, TemplateFactory

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RESULT = {"type": "notification", "status": "pending", "recipient_count": 1, "sent_count": 0}


@pytest.fixture
def event(device):
    return EventFactory(device=device, execution_results=[dict(RESULT)])


@pytest.fixture
def webhook(event, hook):
    """A delivery to the receiver `hook`."""
    template = TemplateFactory(retry_count=1, retry_delay_minutes=10)
    return DeliveryFactory(event=event, template=template, recipient_type="webhook", recipient_address=hook.url)


def deliver(delivery, now=None):
    attempted = services.deliver(delivery_id=delivery.pk, now=now or timezone.now())
    if NotificationDelivery.objects.filter(pk=delivery.pk).exists():
        delivery.refresh_from_db()
    return attempted


def result_of(event):
    event.refresh_from_db()
    return event.execution_results[0]


def test_email_is_sent(event, mail):
    delivery = DeliveryFactory(event=event)

    assert deliver(delivery)

    (message,) = mail.messages
    assert message["subject"] == delivery.rendered_subject
    assert message["x-iot-hub-delivery"] == str(delivery.pk)
    assert (delivery.status, delivery.attempt_count, delivery.claimed_at) == ("sent", 1, None)
    assert delivery.sent_at >= delivery.last_attempt_at


def test_webhook_tells_event_rule_device_and_reading(webhook, hook, event):
    deliver(webhook)

    body = hook.requests[0].json
    assert body["event"]["id"] == event.pk
    assert body["device"]["serial_number"] == "VIB-SN-001"
    assert body["message"] == webhook.rendered_message
    assert set(body) == {"delivery", "event", "rule", "device", "reading", "subject", "message"}


def test_webhook_is_signed_with_the_secret_of_its_recipient(webhook, hook):
    webhook.template.recipients = [{"type": "webhook", "url": hook.url, "secret": SECRET}]
    webhook.template.save()
    deliver(webhook)

    (request,) = hook.requests
    assert Webhook(SECRET).verify(request.body, request.headers)


def test_sent_delivery_is_not_sent_again(webhook, hook):
    deliver(webhook)

    assert not deliver(webhook)
    assert len(hook.requests) == 1


def test_event_learns_that_its_message_was_sent(webhook, event):
    deliver(webhook)

    result = result_of(event)
    assert (result["status"], result["sent_count"]) == ("completed", 1)
    assert result["completed_at"]


def test_event_waits_for_all_recipients(webhook, event, mail):
    DeliveryFactory(event=event)
    deliver(webhook)

    assert (result_of(event)["status"], result_of(event)["sent_count"]) == ("pending", 1)


def test_failed_attempt_is_repeated_later(webhook, hook):
    hook.status = 503
    deliver(webhook)

    assert (webhook.status, webhook.attempt_count) == ("pending", 1)
    assert "503" in webhook.error_message
    wait = (webhook.next_attempt_at - webhook.last_attempt_at).total_seconds() / 60
    assert 10 <= wait <= 12.1
    assert not deliver(webhook)

    hook.status = 200
    assert deliver(webhook, now=webhook.next_attempt_at)
    assert (webhook.status, webhook.attempt_count) == ("sent", 2)
    assert hook.requests[0].headers["webhook-id"] == hook.requests[1].headers["webhook-id"]


def test_delivery_fails_when_its_retries_are_used_up(webhook, hook, event):
    hook.status = 503
    deliver(webhook)
    deliver(webhook, now=webhook.next_attempt_at)

    assert (webhook.status, webhook.attempt_count) == ("failed", 2)
    result = result_of(event)
    assert (result["status"], result["sent_count"], result["failed_count"]) == ("failed", 0, 1)
    assert "503" in result["error"]


def test_permanent_failure_stops_at_once(webhook, hook):
    hook.status = 410
    deliver(webhook)

    assert (webhook.status, webhook.attempt_count) == ("failed", 1)


def test_hub_that_fails_on_a_delivery_tries_again(webhook, monkeypatch):
    monkeypatch.setattr(services.channels, "send", lambda *_: 1 / 0)
    deliver(webhook)

    assert webhook.status == "pending"
    assert "ZeroDivisionError" in webhook.error_message


def test_delivery_survives_its_template(webhook, hook):
    webhook.template.delete()

    assert deliver(webhook)
    assert webhook.status == "sent"


def test_delivery_of_a_deleted_event_is_nothing_to_send(webhook, hook):
    Event.objects.all().delete()

    assert not deliver(webhook)
    assert hook.requests == []


def test_event_deleted_while_its_message_goes_out_does_no_harm(webhook, monkeypatch):
    monkeypatch.setattr(services.channels, "send", lambda *_: Event.objects.all().delete())

    assert deliver(webhook)


# ---- claims --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_workers_send_a_delivery_once(webhook, hook):
    hook.delay = 0.3
    attempts = at_once(lambda: services.deliver(delivery_id=webhook.pk, now=timezone.now()), times=4)

    assert sorted(attempts) == [False, False, False, True]
    assert len(hook.requests) == 1


def test_claimed_delivery_is_left_to_its_worker(webhook, hook):
    NotificationDelivery.objects.update(claimed_at=timezone.now() - queries.lease() / 2)

    assert not deliver(webhook)


def test_delivery_of_a_dead_worker_is_taken_over(webhook, hook):
    NotificationDelivery.objects.update(claimed_at=timezone.now() - queries.lease(), attempt_count=1)

    assert deliver(webhook)
    assert (webhook.status, webhook.attempt_count) == ("sent", 2)


def test_delivery_that_kills_its_workers_is_given_up(webhook, hook):
    NotificationDelivery.objects.update(claimed_at=timezone.now() - queries.lease(), attempt_count=2)
    deliver(webhook)

    assert webhook.status == "failed"
    assert "workers died" in webhook.error_message
    assert hook.requests == []


def test_late_failure_of_a_slow_worker_does_not_undo_the_success_of_another(webhook, monkeypatch):
    def overtaken(*_):
        NotificationDelivery.objects.update(status="sent", claimed_at=None)
        raise DeliveryFailed("timeout", permanent=True)

    monkeypatch.setattr(services.channels, "send", overtaken)
    deliver(webhook)

    assert webhook.status == "sent"


@pytest.mark.django_db(transaction=True)
def test_event_counts_all_that_are_sent_at_once(event, hook):
    addresses = [f"{hook.url}/{n}" for n in range(4)]
    deliveries = iter(
        [DeliveryFactory(event=event, recipient_type="webhook", recipient_address=url).pk for url in addresses]
    )
    at_once(lambda: services.deliver(delivery_id=next(deliveries), now=timezone.now()), times=4)

    assert (result_of(event)["status"], result_of(event)["sent_count"]) == ("completed", 4)


# ---- the queue -----------------------------------------------------------------------------------


def test_queue_is_emptied_most_urgent_first(event, hook, monkeypatch):
    monkeypatch.setattr(lanes, "AT_ONCE", 1)  # else all three are under way together
    for priority in (5, 1, 3):
        DeliveryFactory(
            event=event,
            recipient_type="webhook",
            recipient_address=f"{hook.url}/{priority}",
            lane="hook",
            priority=priority,
        )
    tasks.send_due()

    assert [request.path for request in hook.requests] == ["/hook/1", "/hook/3", "/hook/5"]


def test_delivery_is_not_sent_before_its_time(webhook, hook):
    NotificationDelivery.objects.update(next_attempt_at=timezone.now() + timedelta(minutes=1))
    tasks.send_due()

    assert hook.requests == []
