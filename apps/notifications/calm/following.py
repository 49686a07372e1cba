"""What more is told of an event: reminders and escalation while nobody has acknowledged it, its recovery.

The delivery that told of the event first is followed until there is nothing more to tell. A reminder's number
is how often its time has come, so a sweep that runs twice or late makes each at most once.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from apps.events.models import Event
from apps.notifications import composing, queries, recipients
from apps.notifications.models import NotificationDelivery, NotificationTemplate

AT_ONCE = 500

Kind, Status = NotificationDelivery.Kind, NotificationDelivery.Status


@transaction.atomic
def follow_up(*, now: datetime) -> int:
    """Queue what is to be told by now. How many deliveries were looked at."""
    over = Q(event__status=Event.Status.RESOLVED) & ~Q(status=Status.PENDING)
    neglected = Q(event__status=Event.Status.NEW, follow_up_at__lte=now)
    rows = NotificationDelivery.objects.filter(is_followed=True).filter(over | neglected).order_by("pk")
    rows = rows.select_for_update(skip_locked=True, of=("self",), no_key=True).select_related("template")
    found = list(rows[:AT_ONCE])
    events = queries.events_of(found)
    for delivery in found:
        _follow(delivery, events[delivery.event_id], now)
    NotificationDelivery.objects.bulk_update(found, ["is_followed", "follow_up_at"])
    return len(found)


def _follow(delivery: NotificationDelivery, event: Event, now: datetime) -> None:
    template = delivery.template
    if template is None or not template.is_active:
        delivery.is_followed = False
    elif event.status == Event.Status.RESOLVED:
        delivery.is_followed = False
        if template.tell_recovery and delivery.status == Status.SENT:
            _tell(event, delivery, [_recipient(delivery, event)], Kind.RECOVERY, 0, now)
    else:
        _urge(delivery, event, template, now)


def _urge(delivery: NotificationDelivery, event: Event, template: NotificationTemplate, now: datetime) -> None:
    since = event.dispatched_at or event.created_at
    repeat, escalate = _minutes(template.repeat_minutes), _minutes(template.escalate_after_minutes)
    if repeat and now >= since + repeat and delivery.kind == Kind.OPENED:
        _tell(event, delivery, [_recipient(delivery, event)], Kind.REMINDER, (now - since) // repeat, now)
    if escalate and now >= since + escalate:
        good, _ = recipients.sort_out(template.escalation_recipients)
        _tell(event, delivery, good, Kind.ESCALATION, 0, now)
    delivery.follow_up_at = next_look(template, since=since, now=now)
    delivery.is_followed = delivery.follow_up_at is not None or template.tell_recovery


def next_look(template: NotificationTemplate, *, since: datetime, now: datetime) -> datetime | None:
    repeat, escalate = _minutes(template.repeat_minutes), _minutes(template.escalate_after_minutes)
    looks = [since + repeat * ((now - since) // repeat + 1)] if repeat else []
    looks += [since + escalate] if escalate and since + escalate > now else []
    return min(looks, default=None)


def _tell(event: Event, delivery: NotificationDelivery, to: list[dict], kind: Kind, number: int, now: datetime):
    composing.create(
        event=event,
        index=delivery.action_index,
        template=delivery.template,
        to=to,
        kind=kind,
        sequence=number,
        now=now,
    )


def _recipient(delivery: NotificationDelivery, event: Event) -> dict:
    address = recipients.CHANNELS[delivery.recipient_type].ADDRESS
    known = {"type": delivery.recipient_type, address: delivery.recipient_address, "name": delivery.recipient_name}
    return queries.entry_of(delivery, event) | known


def _minutes(number: int) -> timedelta:
    return timedelta(minutes=number)
