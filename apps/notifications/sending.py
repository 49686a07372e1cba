"""From a delivery to a message that went out: claim, attempt, settle.

Claiming and settling are short transactions over a batch; the attempt between them touches no database, so
many can be under way in threads. Whatever runs here may die at any line and be run again by another worker.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from apps.events.models import Event
from apps.notifications import channels, queries, results
from apps.notifications.calm import Calm
from apps.notifications.channels import DeliveryFailed, Message
from apps.notifications.models import NotificationAttempt, NotificationDelivery, NotificationTemplate

logger = logging.getLogger(__name__)

RETRY_COUNT, RETRY_DELAY_MINUTES = 3, 5  # where the template is gone, or none was named
JITTER = 0.2  # of the delay; what failed together need not come back together

# One statement for all that a claim writes: three of the ORM's took longer than the sending.
BEGIN_ATTEMPTS = """
    WITH claimed AS (
        UPDATE notification_deliveries
        SET claimed_at = %(now)s, last_attempt_at = %(now)s, attempt_count = attempt_count + 1, suppressed_by = ''
        WHERE id = ANY(%(ids)s::bigint[])
    ), lost AS (
        UPDATE notification_attempts SET outcome = 'lost'
        WHERE delivery_id = ANY(%(ids)s::bigint[]) AND outcome = 'under_way'
    )
    INSERT INTO notification_attempts (delivery_id, started_at, outcome, error)
    SELECT id, %(now)s, 'under_way', '' FROM unnest(%(ids)s::bigint[]) AS id
    RETURNING delivery_id, id
"""

RECORD_ATTEMPTS = """
    UPDATE notification_attempts SET finished_at = ended.finished_at, outcome = ended.outcome, error = ended.error,
           response_status = ended.response_status
    FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::int[])
         AS ended(id, finished_at, outcome, error, response_status)
    WHERE notification_attempts.id = ended.id
"""

Status = NotificationDelivery.Status
Outcome = NotificationAttempt.Outcome


@dataclass(frozen=True)
class Claimed:
    """A delivery that is ours to send, the id of this attempt, and the message, or why there is none."""

    delivery: NotificationDelivery
    attempt_id: int
    message: Message | None
    hopeless: DeliveryFailed | None = None


@dataclass(frozen=True)
class Result:
    failure: DeliveryFailed | None = None
    status: int | None = None
    claimed: Claimed | None = None
    finished_at: datetime | None = None


def deliver(*, delivery_id: int, now: datetime) -> bool:
    """Send one delivery if it is due and nobody else is at it. True if an attempt was made.

    Not to be called in a transaction: the claim must be seen by others while the message goes out.
    """
    began = timezone.now()
    mine = claim(now=now, limit=1, ids=[delivery_id])
    done = [send(claimed) for claimed in mine]
    settle([replace(result, finished_at=now + (result.finished_at - began)) for result in done])
    return bool(mine)


# ---- claim ---------------------------------------------------------------------------------------


@transaction.atomic
def claim(
    *,
    now: datetime,
    limit: int,
    blocked_lanes: list[str] = (),
    ids: list[int] | None = None,
    enter: Callable[[str], bool] = lambda lane: True,
) -> list[Claimed]:
    """Take the most urgent deliveries that are due, for whose lane `enter` makes room.

    What calm keeps back is settled here: suppressed, or told along with another.
    """
    rows = queries.due(now=now).filter(pk__in=ids) if ids is not None else None
    rows = rows if rows is not None else queries.next_due(now=now, limit=limit, blocked_lanes=blocked_lanes)
    found = list(rows.select_for_update(skip_locked=True, of=("self",), no_key=True).select_related("template"))
    if not found:
        return []
    events = queries.events_of(found)
    mine = _entering(Calm(events, now=now), found, enter)
    attempt_ids = _begin_attempts(mine, now)
    return [_claimed(row, events.get(row.event_id), attempt_ids[row.pk]) for row in mine]


def _begin_attempts(deliveries: list[NotificationDelivery], now: datetime) -> dict[int, int]:
    """The id of the new attempt, by delivery. An attempt that is still under way is one whose worker died."""
    with connection.cursor() as cursor:
        cursor.execute(BEGIN_ATTEMPTS, {"ids": [delivery.pk for delivery in deliveries], "now": now})
        begun = dict(cursor.fetchall())
    for delivery in deliveries:
        delivery.claimed_at = delivery.last_attempt_at = now
        delivery.attempt_count += 1
    return begun


def _entering(
    calm: Calm, found: list[NotificationDelivery], enter: Callable[[str], bool]
) -> list[NotificationDelivery]:
    """Those that may go out and for which there is room, each with what goes along in the same message."""
    mine, along = [], set()
    for row in calm.to_tell(found):
        if row.pk not in along and enter(row.lane):
            along |= calm.gather(row)
            mine.append(row)
    return mine


def _claimed(delivery: NotificationDelivery, event: Event | None, attempt_id: int) -> Claimed:
    if event is None:  # deleted a moment ago, and the delivery with it
        return Claimed(delivery, attempt_id, None, DeliveryFailed("The event is gone.", permanent=True))
    if delivery.attempt_count > _attempts_allowed(delivery):
        gave_up = DeliveryFailed("Given up: workers died while sending this.", permanent=True)
        return Claimed(delivery, attempt_id, None, gave_up)
    return Claimed(delivery, attempt_id, queries.message_of(delivery, event))


# ---- attempt -------------------------------------------------------------------------------------


def send(claimed: Claimed) -> Result:
    if claimed.message is None:
        result = Result(failure=claimed.hopeless)
    else:
        result = attempt(claimed.delivery.recipient_type, claimed.message)
    return replace(result, claimed=claimed, finished_at=timezone.now())


def attempt(channel: str, message: Message) -> Result:
    try:
        status = channels.send(channel, message)
    except DeliveryFailed as failure:
        return Result(failure, failure.status)
    except Exception as error:  # a channel's mistake must not stop the queue
        logger.exception("Channel %s failed on %s", channel, message.key)
        return Result(DeliveryFailed(f"The hub failed on this message: {type(error).__name__}"))
    return Result(status=status if isinstance(status, int) else None)


# ---- settle --------------------------------------------------------------------------------------


@transaction.atomic
def settle(done: list[Result]) -> None:
    """Write down what became of attempts, on deliveries, templates and events.

    What went out is sent, whoever holds the claim by now; a failure counts only if the claim is still ours.
    Rows are locked in one order: deliveries, then templates, then events.
    """
    if not done:
        return
    done = sorted(done, key=lambda result: result.claimed.delivery.pk)
    now = max(result.finished_at for result in done)
    sent = [result.claimed.delivery for result in done if result.failure is None]
    failed = [result for result in done if result.failure is not None]
    _mark_sent(sent, now)
    given_up = [result for result in failed if _mark_failed(result)]
    _record_attempts(done)
    _show_on_templates(sent, given_up)
    settled = [*sent, *(result.claimed.delivery for result in given_up)]
    results.follow_deliveries(event_ids=_event_ids(settled), now=now)


def _mark_sent(sent: list[NotificationDelivery], now: datetime) -> None:
    ids = [delivery.pk for delivery in sent]
    rows = NotificationDelivery.objects.filter(pk__in=ids)
    rows.exclude(status=Status.SENT).update(status=Status.SENT, sent_at=now, claimed_at=None)
    if together := [delivery.pk for delivery in sent if delivery.is_grouped]:
        NotificationDelivery.objects.filter(leader__in=together).update(status=Status.SENT, sent_at=now)


def _mark_failed(result: Result) -> bool:
    """True if it is over with this delivery."""
    delivery, failure = result.claimed.delivery, result.failure
    logger.warning("Delivery %s, attempt %s: %s", delivery.pk, delivery.attempt_count, failure)
    final = failure.permanent or delivery.attempt_count >= _attempts_allowed(delivery)
    rows = NotificationDelivery.objects.filter(pk=delivery.pk)
    ours = rows.filter(status=Status.PENDING, claimed_at=delivery.claimed_at).update(
        status=Status.FAILED if final else Status.PENDING,
        error_message=str(failure),
        next_attempt_at=result.finished_at + _delay(delivery),
        claimed_at=None,
    )
    if not (final and ours):
        return False
    if delivery.is_grouped:
        members = NotificationDelivery.objects.filter(leader=delivery.pk, status=Status.PENDING)
        members.update(status=Status.FAILED, error_message=str(failure))
    return True


def _record_attempts(done: list[Result]) -> None:
    """One statement for all; the ORM's `bulk_update` took longer than the sending."""
    columns = zip(*(_attempt_row(result) for result in done), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(RECORD_ATTEMPTS, [list(column) for column in columns])


def _attempt_row(result: Result) -> tuple:
    outcome = Outcome.SENT
    if result.failure is not None:
        outcome = Outcome.REFUSED if result.failure.permanent else Outcome.FAILED
    return result.claimed.attempt_id, result.finished_at, outcome.value, str(result.failure or ""), result.status


def _show_on_templates(sent: list[NotificationDelivery], given_up: list[Result]) -> None:
    """Who can't be reached stands on the template, until somebody reaches them."""
    touched = {result.claimed.delivery.template_id for result in given_up}
    touched |= {
        delivery.template_id
        for delivery in sent
        if delivery.template and delivery.recipient_address in delivery.template.failing_recipients
    }
    rows = NotificationTemplate.objects.select_for_update(no_key=True).filter(pk__in=touched - {None})
    templates = {template.pk: template for template in rows.order_by("pk")} if touched - {None} else {}
    for delivery in sent:
        if template := templates.get(delivery.template_id):
            template.failing_recipients.pop(delivery.recipient_address, None)
    for result in given_up:
        delivery = result.claimed.delivery
        if template := templates.get(delivery.template_id):
            about = {"error": str(result.failure), "at": result.finished_at.isoformat()}
            template.failing_recipients[delivery.recipient_address] = {"type": delivery.recipient_type} | about
    NotificationTemplate.objects.bulk_update(templates.values(), ["failing_recipients"])


def _event_ids(deliveries: list[NotificationDelivery]) -> set[int]:
    leaders = [delivery.pk for delivery in deliveries if delivery.is_grouped]
    members = NotificationDelivery.objects.filter(leader__in=leaders) if leaders else ()
    return {delivery.event_id for delivery in [*deliveries, *members]}


def _attempts_allowed(delivery: NotificationDelivery) -> int:
    return 1 + (delivery.template.retry_count if delivery.template else RETRY_COUNT)


def _delay(delivery: NotificationDelivery) -> timedelta:
    minutes = delivery.template.retry_delay_minutes if delivery.template else RETRY_DELAY_MINUTES
    return timedelta(minutes=minutes * (1 + random.uniform(0, JITTER)))  # noqa: S311 - no secret


@transaction.atomic
def retry(*, delivery: NotificationDelivery, now: datetime) -> bool:
    """A failed delivery is tried afresh, alone if it was to go along with another. False if it has not failed."""
    failed = NotificationDelivery.objects.filter(pk=delivery.pk, status=Status.FAILED)
    again = failed.update(status=Status.PENDING, attempt_count=0, next_attempt_at=now, claimed_at=None, leader=None)
    if again:
        members = NotificationDelivery.objects.filter(leader=delivery.pk, status=Status.FAILED)
        members.update(status=Status.PENDING)
        results.follow_deliveries(event_ids=_event_ids([delivery]), now=now)
    delivery.refresh_from_db()
    return bool(again)
