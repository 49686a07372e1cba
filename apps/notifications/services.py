"""Telling people and machines: from an event to deliveries, from a delivery to a message that went out.

The rows are the queue. Whatever runs here may die at any line and be run again by another worker.
"""

import logging
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Count, F, Max, Q

from apps.events import services as event_services
from apps.events.models import Event
from apps.notifications import actions, channels, queries, recipients, rendering
from apps.notifications.channels import DeliveryFailed, Message
from apps.notifications.models import NotificationDelivery, NotificationTemplate

logger = logging.getLogger(__name__)

EVENTS_AT_ONCE = 1000
RETRY_COUNT, RETRY_DELAY_MINUTES = 3, 5  # where the template is gone, or none was named
JITTER = 0.2  # of the delay; what failed together need not come back together
TESTS_AT_ONCE = 8

Status = NotificationDelivery.Status


# ---- events become deliveries and commands -------------------------------------------------------


def dispatch_pending(*, now: datetime) -> Iterator[list[int]]:
    """Dispatch what waits, oldest first. Yields the new deliveries of each event once they are committed."""
    for event_id in queries.undispatched_events(limit=EVENTS_AT_ONCE):
        try:
            yield dispatch(event_id=event_id, now=now)
        except Exception:  # it stays in the queue, and those behind it have their turn
            logger.exception("Event %s could not be dispatched", event_id)


@transaction.atomic
def dispatch(*, event_id: int, now: datetime) -> list[int]:
    """Create the deliveries and commands of an event, once. Returns deliveries to send, most urgent first.

    Whoever comes second finds the row locked or dispatched, and has nothing to do.
    """
    event = _lock_undispatched(event_id)
    if event is None:
        return []
    context = queries.context_of(event)
    for index, entry in enumerate(event.execution_results):
        entry |= _perform(event, index, context, now)
    event.dispatched_at = now
    event.save(update_fields=["execution_results", "dispatched_at"])
    return list(event.deliveries.order_by("priority", "pk").values_list("pk", flat=True))


def _lock_undispatched(event_id: int) -> Event | None:
    waiting = Event.objects.filter(pk=event_id, dispatched_at__isnull=True)
    related = waiting.select_related("device__owner", *queries.CONTEXT_ROWS)
    return related.select_for_update(skip_locked=True, of=("self",), no_key=True).first()


def _perform(event: Event, index: int, context: dict, now: datetime) -> dict:
    """One action that can't be done must not keep the others from being done."""
    if event.metadata.get("retroactive"):
        return {"status": "skipped", "error": "The readings came late: remembered, not told."}
    try:
        with transaction.atomic():
            return actions.perform(event=event, index=index, context=context, now=now)
    except actions.CannotDo as reason:
        return {"status": "failed", "error": str(reason)}
    except (OperationalError, InterfaceError):
        raise  # the database's trouble, not the action's: the whole dispatch is tried again
    except Exception:
        logger.exception("Action %s of event %s failed", index, event.pk)
        return {"status": "failed", "error": "The hub failed on this action; its log has the details."}


# ---- deliveries are sent -------------------------------------------------------------------------


def deliver(*, delivery_id: int, now: datetime) -> bool:
    """Send one delivery if it is due and nobody else is at it. True if an attempt was made.

    Not to be called in a transaction: the claim must be seen by others while the message goes out.
    """
    delivery = _claim(delivery_id, now)
    if delivery is None:
        return False
    started = time.monotonic()
    failure = _attempt(delivery)
    _settle(delivery, failure, now + timedelta(seconds=time.monotonic() - started))
    return True


def _claim(delivery_id: int, now: datetime) -> NotificationDelivery | None:
    due = queries.due(now=now).filter(pk=delivery_id)
    if not due.update(claimed_at=now, last_attempt_at=now, attempt_count=F("attempt_count") + 1):
        return None
    return NotificationDelivery.objects.select_related("template").filter(pk=delivery_id).first()


def _attempt(delivery: NotificationDelivery) -> DeliveryFailed | None:
    if delivery.attempt_count > _attempts_allowed(delivery):
        return DeliveryFailed("Given up: workers died while sending this.", permanent=True)
    try:
        message = queries.message_of(delivery)
    except Event.DoesNotExist:  # deleted a moment ago, and the delivery with it
        return DeliveryFailed("The event is gone.", permanent=True)
    return _send(delivery.recipient_type, message)


def _send(channel: str, message: Message) -> DeliveryFailed | None:
    try:
        channels.send(channel, message)
    except DeliveryFailed as failure:
        return failure
    except Exception as error:  # a channel's mistake must not stop the queue
        logger.exception("Channel %s failed on %s", channel, message.key)
        return DeliveryFailed(f"The hub failed on this message: {type(error).__name__}")
    return None


@transaction.atomic
def _settle(delivery: NotificationDelivery, failure: DeliveryFailed | None, now: datetime) -> None:
    """Write down what became of an attempt, on the delivery and on its event.

    What went out is sent, whoever holds the claim by now; a failure counts only if the claim is still ours.
    """
    rows = NotificationDelivery.objects.filter(pk=delivery.pk)
    if failure is None:
        rows.exclude(status=Status.SENT).update(status=Status.SENT, sent_at=now, claimed_at=None)
        _tell_event(delivery, now)
        return
    logger.warning("Delivery %s, attempt %s: %s", delivery.pk, delivery.attempt_count, failure)
    final = failure.permanent or delivery.attempt_count >= _attempts_allowed(delivery)
    rows.filter(status=Status.PENDING, claimed_at=delivery.claimed_at).update(
        status=Status.FAILED if final else Status.PENDING,
        error_message=str(failure),
        next_attempt_at=now + _delay(delivery),
        claimed_at=None,
    )
    if final:
        _tell_event(delivery, now)


def _attempts_allowed(delivery: NotificationDelivery) -> int:
    return 1 + (delivery.template.retry_count if delivery.template else RETRY_COUNT)


def _delay(delivery: NotificationDelivery) -> timedelta:
    minutes = delivery.template.retry_delay_minutes if delivery.template else RETRY_DELAY_MINUTES
    return timedelta(minutes=minutes * (1 + random.uniform(0, JITTER)))  # noqa: S311 - no secret


def _tell_event(delivery: NotificationDelivery, now: datetime) -> None:
    """The event's execution result follows its deliveries. Counted under the event's lock, so the last to
    come counts them all."""
    event = Event.objects.select_for_update(no_key=True).filter(pk=delivery.event_id).first()
    if event is None or delivery.action_index >= len(event.execution_results):
        return
    entry = event.execution_results[delivery.action_index]
    of_action = NotificationDelivery.objects.filter(event=event, action_index=delivery.action_index)
    count = of_action.aggregate(
        sent=Count("pk", filter=Q(status=Status.SENT)),
        failed=Count("pk", filter=Q(status=Status.FAILED)),
        pending=Count("pk", filter=Q(status=Status.PENDING)),
        error=Max("error_message", filter=Q(status=Status.FAILED)),
    )
    event_services.record_result(event_id=event.pk, index=delivery.action_index, **_result(count, entry, now))


def _result(count: dict, entry: dict, now: datetime) -> dict:
    failed = count["failed"] > 0 or bool(entry.get("refused"))
    result = {"sent_count": count["sent"], "failed_count": count["failed"], "error": count["error"]}
    if count["pending"]:
        return result | {"status": "pending", "completed_at": None}
    return result | {"status": "failed" if failed else "completed", "completed_at": now.isoformat()}


@transaction.atomic
def retry(*, delivery: NotificationDelivery, now: datetime) -> bool:
    """A failed delivery is tried afresh. False if it has not failed."""
    failed = NotificationDelivery.objects.filter(pk=delivery.pk, status=Status.FAILED)
    again = failed.update(status=Status.PENDING, attempt_count=0, next_attempt_at=now, claimed_at=None)
    if again:
        _tell_event(delivery, now)
    delivery.refresh_from_db()
    return bool(again)


# ---- the test button -----------------------------------------------------------------------------


def send_test(*, template: NotificationTemplate) -> list[dict]:
    """Send to the template's recipients with sample values: `[{"recipient", "status", "error"}]`."""
    rendered = rendering.render(
        subject=template.subject_template, message=template.message_template, context=rendering.SAMPLE
    )
    good, refused = recipients.sort_out(template.recipients)
    with ThreadPoolExecutor(TESTS_AT_ONCE) as pool:
        results = list(pool.map(lambda recipient: _send_test(recipient, rendered), good))
    return results + [_test_result(f"#{index + 1}", error) for index, error in refused.items()]


def _send_test(recipient: dict, rendered: rendering.Rendered) -> dict:
    address = recipients.address_of(recipient)
    texts = {"subject": rendered.subject, "message": rendered.text}
    message = Message(
        key=f"{queries.hub_id()}.test.{uuid.uuid4().hex}",
        delivery="test",
        address=address,
        name=recipient.get("name", ""),
        subject=f"[test] {rendered.subject}",
        text=rendered.text,
        secret=recipient.get("secret", ""),
        payload={"delivery": None, "test": True, **rendering.SAMPLE, **texts},
    )
    if failure := _send(recipient["type"], message):
        return _test_result(address, str(failure))
    return _test_result(address, rendered.error, status="sent")


def _test_result(recipient: str, error: str, *, status: str = "failed") -> dict:
    return {"recipient": recipient, "status": status, "error": error or None}
