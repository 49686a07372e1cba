"""Many at once, each in its lane; every attempt is written down."""

import pytest

from apps.events.tests.factories import EventFactory
from apps.notifications import lanes, tasks
from apps.notifications.lanes import Lanes
from apps.notifications.models import NotificationAttempt, NotificationDelivery
from apps.notifications.sender import Sender
from apps.notifications.tests.factories import DeliveryFactory, TemplateFactory
from apps.notifications.tests.receivers import WebhookReceiver


@pytest.fixture
def event(device):
    return EventFactory(device=device, execution_results=[{"type": "notification", "status": "pending"}])


def to(event, url, lane="webhook", **fields):
    return DeliveryFactory(event=event, recipient_type="webhook", recipient_address=url, lane=lane, **fields)


def attempts(delivery):
    fields = ("outcome", "response_status")
    return list(NotificationAttempt.objects.filter(delivery=delivery).order_by("pk").values_list(*fields))


def test_every_attempt_is_written_down_with_the_answer(event, hook):
    delivery = to(event, hook.url, template=TemplateFactory(retry_delay_minutes=0))
    hook.statuses = iter([503, 200])
    tasks.send_due()

    assert attempts(delivery) == [("failed", 503), ("sent", 200)]


def test_permanent_failure_is_shown_on_the_template_until_a_success(event, hook):
    template = TemplateFactory()
    hook.status = 410
    to(event, hook.url, template=template)
    tasks.send_due()
    template.refresh_from_db()
    assert "410" in template.failing_recipients[hook.url]["error"]

    hook.status = 200
    delivery = to(EventFactory(device=event.device), hook.url, template=template)
    tasks.send_due()
    template.refresh_from_db()
    assert (template.failing_recipients, attempts(delivery)) == ({}, [("sent", 200)])


def test_attempt_of_a_dead_worker_is_lost_and_the_next_one_counts(event, hook):
    delivery = to(event, hook.url, attempt_count=1)
    NotificationAttempt.objects.create(delivery=delivery, started_at=delivery.created_at)
    tasks.send_due()

    assert attempts(delivery) == [("lost", None), ("sent", 204)]


def test_many_are_under_way_at_once(event, hook):
    hook.delay = 0.2
    for number in range(lanes.AT_ONCE):
        to(event, f"{hook.url}/{number}")
    tasks.send_due()

    assert hook.most_at_once > 1
    event.refresh_from_db()
    assert event.execution_results[0]["sent_count"] == lanes.AT_ONCE


def test_receiver_that_hangs_does_not_hold_up_others(event, hook, settings):
    answered = []
    with WebhookReceiver(delay=0.5) as slow:
        settings.NOTIFICATIONS["ALLOWED_PRIVATE_HOSTS"].append(slow.address)
        hook.on_answer, slow.on_answer = (lambda: answered.append("fast")), (lambda: answered.append("slow"))
        for number in range(4):
            to(event, f"{slow.url}/{number}", lane="slow", priority=0)
            to(event, f"{hook.url}/{number}", lane="fast", priority=9)
        tasks.send_due()

    assert answered == ["fast"] * 4 + ["slow"] * 4


def test_breaker_opens_after_failures_in_a_row_and_lets_one_try_after_a_rest():
    clock = [0.0]
    breaker = Lanes(clock=lambda: clock[0])
    for _ in range(lanes.FAILURES):
        assert breaker.enter("host")
        breaker.leave("host", reached=False)
    assert (breaker.enter("host"), breaker.enter("other")) == (False, True)
    assert breaker.blocked() == ["host"]

    clock[0] = lanes.REST_SECONDS
    assert (breaker.enter("host"), breaker.enter("host")) == (True, False)
    breaker.leave("host", reached=True)
    assert breaker.enter("host")


def test_lane_holds_claims_in_reserve_only_while_it_answers():
    def take_all(lane):
        return sum(1 for _ in iter(lambda: held.enter(lane), False))

    held = Lanes()
    assert take_all("host") == lanes.AT_ONCE
    for _ in range(lanes.AT_ONCE):
        held.leave("host", reached=True)
    assert take_all("host") == 2 * lanes.AT_ONCE

    held.leave("host", reached=False)
    for _ in range(lanes.AT_ONCE):
        held.leave("host", reached=True)
    held.leave("host", reached=False)
    assert take_all("host") == 2


def test_what_waits_for_a_dead_receiver_spends_no_attempts(event, hook):
    template = TemplateFactory(retry_count=9)
    dead = [to(event, f"http://{hook.address}/{number}", template=template) for number in range(2 * lanes.QUEUED)]
    hook.resets = True
    Sender(Lanes()).run(seconds=5)

    tried = NotificationDelivery.objects.filter(attempt_count__gt=0).count()
    assert lanes.FAILURES <= tried < len(dead)
