"""Telling people and machines: from an event to deliveries, from a delivery to a message that went out.

The rows are the queue. Whatever runs here may die at any line and be run again by another worker.
"""

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from django.db import InterfaceError, OperationalError, transaction

from apps.events.models import Event
from apps.notifications import actions, channels, queries, recipients, rendering
from apps.notifications.channels import Message
from apps.notifications.models import NotificationTemplate
from apps.notifications.sending import attempt, deliver, retry

logger = logging.getLogger(__name__)

EVENTS_AT_ONCE = 1000
TESTS_AT_ONCE = 8

__all__ = ["channels", "deliver", "dispatch", "dispatch_pending", "retry", "send_test"]


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
    for index, entry in enumerate(event.execution_results):
        entry |= _perform(event, index, now)
    event.dispatched_at = now
    event.save(update_fields=["execution_results", "dispatched_at"])
    return list(event.deliveries.order_by("priority", "pk").values_list("pk", flat=True))


def _lock_undispatched(event_id: int) -> Event | None:
    waiting = Event.objects.filter(pk=event_id, dispatched_at__isnull=True)
    related = waiting.select_related("device__owner", *queries.CONTEXT_ROWS)
    return related.select_for_update(skip_locked=True, of=("self",), no_key=True).first()


def _perform(event: Event, index: int, now: datetime) -> dict:
    """One action that can't be done must not keep the others from being done."""
    if event.metadata.get("retroactive"):
        return {"status": "skipped", "error": "The readings came late: remembered, not told."}
    try:
        with transaction.atomic():
            return actions.perform(event=event, index=index, now=now)
    except actions.CannotDo as reason:
        return {"status": "failed", "error": str(reason)}
    except (OperationalError, InterfaceError):
        raise  # the database's trouble, not the action's: the whole dispatch is tried again
    except Exception:
        logger.exception("Action %s of event %s failed", index, event.pk)
        return {"status": "failed", "error": "The hub failed on this action; its log has the details."}


# ---- the preview ---------------------------------------------------------------------------------


def preview(
    *,
    template: NotificationTemplate,
    event: Event | None = None,
    subject_template: str | None = None,
    message_template: str | None = None,
    timezone: str = "",
) -> rendering.Rendered:
    """What the template says of an event, or of a sample; with other texts than its own, if they are given."""
    zone = timezone or template.timezone or "UTC"
    return rendering.render(
        subject=template.subject_template if subject_template is None else subject_template,
        message=template.message_template if message_template is None else message_template,
        context=queries.context_of(event, zone) if event else rendering.SAMPLE,
    )


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
    if failure := attempt(recipient["type"], message).failure:
        return _test_result(address, str(failure))
    return _test_result(address, rendered.error, status="sent")


def _test_result(recipient: str, error: str, *, status: str = "failed") -> dict:
    return {"recipient": recipient, "status": status, "error": error or None}
