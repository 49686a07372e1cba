"""What can be done with events. One event is open per rule and series, whoever opens it and how often."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.events import signals
from apps.events.models import Event, EventComment
from apps.events.severity import Steps, rises_at
from apps.users.models import User

# The ORM's `ignore_conflicts` does not say whether the row went in; this does, in one statement, and waits
# for a concurrent transaction that is opening the same event.
INSERT_UNLESS_OPEN = """
    INSERT INTO events (rule_id, device_id, device_metric_id, severity, message, timestamp, reading_ts,
                        execution_results, metadata, status, created_at, severity_rises_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'new', %s, %s)
    ON CONFLICT (rule_id, device_metric_id) WHERE NOT (status = 'resolved') DO NOTHING
    RETURNING *
"""

INSERT_RESOLVED = """
    INSERT INTO events (rule_id, device_id, device_metric_id, severity, message, timestamp, reading_ts,
                        execution_results, metadata, status, created_at, resolved_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'resolved', %s, %s)
    RETURNING *
"""


class EventIsResolved(Exception):
    """The event is over: there is nothing left to acknowledge."""


def open_event(
    *,
    rule_id: UUID,
    device_id: UUID,
    device_metric_id: int,
    severity: str,
    message: str,
    timestamp: datetime,
    reading_ts: datetime | None,
    actions: list[dict],
    metadata: dict,
    now: datetime,
    severity_after: Steps | None = None,
) -> Event | None:
    """Open an event in the caller's transaction; None if one of this rule and series is open already.

    `timestamp` is event time, `now` is when the hub knew. `actions` are the rule's as they are at this
    moment: a later edit of the rule does not change what this event does. `metadata` may hold
    `{"rule": {"name"}, "reading": {"metric", "value", "unit"}}`, which messages are written from.
    `severity_after`, as `[{"after": seconds, "severity": …}]`, says when the event's severity rises.
    """
    if severity_after:
        metadata = metadata | {"severity_after": severity_after}
    row = [rule_id, device_id, device_metric_id, severity, message, timestamp, reading_ts]
    row += [_pending(actions), json.dumps(metadata), now]
    row += [rises_at(severity=severity, timestamp=timestamp, steps=severity_after or [])]
    opened = next(iter(Event.objects.raw(INSERT_UNLESS_OPEN, row)), None)
    if opened is not None:
        transaction.on_commit(_announce, robust=True)
    return opened


def remember_event(
    *,
    rule_id: UUID,
    device_id: UUID,
    device_metric_id: int,
    severity: str,
    message: str,
    timestamp: datetime,
    reading_ts: datetime | None,
    actions: list[dict],
    metadata: dict,
    cleared: datetime,
    now: datetime,
) -> Event:
    """An event that was over when the hub learned of it, for readings that came late: resolved, and nobody is told."""
    metadata = metadata | {"retroactive": True, "cleared": cleared.isoformat()}
    row = [rule_id, device_id, device_metric_id, severity, message, timestamp, reading_ts]
    row += [_pending(actions), json.dumps(metadata), now, now]
    return next(iter(Event.objects.raw(INSERT_RESOLVED, row)))


def _pending(actions: list[dict]) -> str:
    return json.dumps([{**action, "status": "pending"} for action in actions])


def _announce() -> None:
    signals.events_opened.send_robust(sender=Event)


def resolve_cleared(*, rule_id: UUID, device_metric_id: int, timestamp: datetime, now: datetime) -> Event | None:
    """Resolve the open event of this rule and series because its condition cleared at `timestamp`.

    In the caller's transaction. None if no event was open.
    """
    open_ones = Event.objects.open().filter(rule=rule_id, device_metric=device_metric_id)
    event = open_ones.select_for_update(no_key=True).first()
    if event is None:
        return None
    event.status = Event.Status.RESOLVED
    event.resolved_at = now
    event.metadata["cleared"] = timestamp.isoformat()
    event.save(update_fields=["status", "resolved_at", "metadata"])
    return event


def acknowledge(*, event: Event, user: User, now: datetime) -> Event:
    """Somebody takes care of it. The first to say so stays named; raises `EventIsResolved` if it is over."""
    take_care(event_id=event.pk, user=user, now=now)
    event.refresh_from_db()
    if event.status == Event.Status.RESOLVED:
        raise EventIsResolved(f"Event {event.pk} is resolved already.")
    return event


def take_care(*, event_id: int, user: User, now: datetime) -> bool:
    """Whether it was this call that acknowledged the event."""
    new = Event.objects.filter(pk=event_id, status=Event.Status.NEW)
    return bool(new.update(status=Event.Status.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=user))


def resolve(*, event: Event, user: User, now: datetime) -> Event:
    """Somebody declares it over. Who resolved it first stays named."""
    declare_over(event_id=event.pk, user=user, now=now)
    event.refresh_from_db()
    return event


def declare_over(*, event_id: int, user: User, now: datetime) -> bool:
    """Whether it was this call that resolved the event."""
    still_open = Event.objects.open().filter(pk=event_id)
    return bool(still_open.update(status=Event.Status.RESOLVED, resolved_at=now, resolved_by=user))


def comment(*, event: Event, user: User, body: str, now: datetime) -> EventComment:
    return EventComment.objects.create(event=event, author=user, body=body, created_at=now)


@transaction.atomic
def record_result(*, event_id: int, index: int, **fields: Any) -> None:
    """Update one entry of `execution_results`. The row lock keeps entries written at once from being lost."""
    event = Event.objects.select_for_update(no_key=True).filter(pk=event_id).first()
    if event is None or index >= len(event.execution_results):
        return
    event.execution_results[index] |= fields
    event.save(update_fields=["execution_results"])
