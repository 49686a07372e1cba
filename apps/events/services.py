"""What can be done with events. One event is open per rule and series, whoever opens it and how often."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from psycopg2.extras import execute_values

from apps.events import signals
from apps.events.models import Event, EventComment
from apps.events.severity import Steps, rises_at
from apps.users.models import User

_COLUMNS = """
    rule_id, device_id, device_metric_id, severity, message, timestamp, reading_ts, execution_results, metadata,
    created_at, severity_rises_at, status, resolved_at
"""
# The ORM's `ignore_conflicts` does not say whether the row went in; this does, in one statement, and waits
# for a concurrent transaction that is opening the same event.
_INSERT_UNLESS_OPEN = f"""
    INSERT INTO events ({_COLUMNS}) VALUES %s
    ON CONFLICT (rule_id, device_metric_id) WHERE NOT (status = 'resolved') DO NOTHING
    RETURNING rule_id, device_metric_id
"""
_INSERT_RESOLVED = f"INSERT INTO events ({_COLUMNS}) VALUES %s"
_RESOLVE = """
    UPDATE events SET status = 'resolved', resolved_at = over.now,
        metadata = metadata || jsonb_build_object('cleared', over.cleared)
    FROM (VALUES %s) AS over (rule_id, device_metric_id, cleared, now)
    WHERE events.rule_id = over.rule_id AND events.device_metric_id = over.device_metric_id
        AND NOT (events.status = 'resolved')
"""
_RESOLVE_OF_RULE = """
    UPDATE events SET status = 'resolved', resolved_at = %(now)s,
        metadata = metadata || jsonb_build_object('cleared', %(cleared)s)
    WHERE rule_id = %(rule)s AND NOT (status = 'resolved')
"""
ROWS_AT_ONCE = 1000

# (rule, series): of these one event is open.
Key = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class Opening:
    """What an event says when it opens.

    `timestamp` is event time. `actions` are the rule's as they are at this moment: a later edit of the rule does not
    change what this event does. `metadata` may hold `{"rule": {"name"}, "reading": {"metric", "value", "unit"}}`,
    which messages are written from. `severity_after`, as `[{"after": seconds, "severity": …}]`, says when the
    event's severity rises.
    """

    rule_id: UUID
    device_id: UUID
    device_metric_id: int
    severity: str
    message: str
    timestamp: datetime
    reading_ts: datetime | None
    actions: list[dict]
    metadata: dict
    severity_after: Steps = field(default_factory=list)

    @property
    def key(self) -> Key:
        return self.rule_id, self.device_metric_id


class EventIsResolved(Exception):
    """The event is over: there is nothing left to acknowledge."""


def open_events(*, openings: list[Opening], now: datetime) -> set[Key]:
    """Open events in the caller's transaction; `now` is when the hub knew. At most one of each rule and series.

    Returns of which they were opened: where one is open already, none is.
    """
    rows = []
    for one in sorted(openings, key=lambda one: (one.device_metric_id, one.rule_id)):  # so that nobody waits crosswise
        rises = rises_at(severity=one.severity, timestamp=one.timestamp, steps=one.severity_after)
        metadata = {"severity_after": one.severity_after} if one.severity_after else {}
        rows.append(_row(one, one.metadata | metadata, now, rises, "new", None))
    opened = set(_write(_INSERT_UNLESS_OPEN, rows, fetch=True))
    if opened:
        transaction.on_commit(_announce, robust=True)
    return opened


def remember_events(*, remembered: list[tuple[Opening, datetime]], now: datetime) -> None:
    """Events that were over, at the time beside each, when the hub learned of them from readings that came late:
    resolved, and nobody is told.
    """
    rows = []
    for one, cleared in remembered:
        metadata = one.metadata | {"retroactive": True, "cleared": cleared.isoformat()}
        rows.append(_row(one, metadata, now, None, "resolved", now))
    _write(_INSERT_RESOLVED, rows)


def _row(
    one: Opening, metadata: dict, now: datetime, rises: datetime | None, status: str, resolved_at: datetime | None
) -> tuple:
    """In the order of `_COLUMNS`."""
    actions = json.dumps([{**action, "status": "pending"} for action in one.actions])
    return (
        *(str(one.rule_id), str(one.device_id), one.device_metric_id),
        *(one.severity, one.message, one.timestamp, one.reading_ts),
        *(actions, json.dumps(metadata), now, rises, status, resolved_at),
    )


_TEMPLATE = (
    "(%s::uuid, %s::uuid, %s, %s, %s, %s, %s::timestamptz, %s::jsonb, %s::jsonb, %s, %s::timestamptz, %s, "
    "%s::timestamptz)"
)


def _write(sql: str, rows: list[tuple], *, fetch: bool = False) -> list[tuple]:
    with connection.cursor() as cursor:
        return execute_values(cursor.cursor, sql, rows, _TEMPLATE, page_size=ROWS_AT_ONCE, fetch=fetch) or []


def _announce() -> None:
    signals.events_opened.send_robust(sender=Event)


def resolve_cleared(*, cleared: Mapping[Key, datetime], now: datetime) -> None:
    """Resolve what is open of these rules and series because its condition cleared, at the time beside each.

    In the caller's transaction.
    """
    rows = [(str(rule_id), series_id, at.isoformat(), now) for (rule_id, series_id), at in cleared.items()]
    with connection.cursor() as cursor:
        execute_values(cursor.cursor, _RESOLVE, rows, "(%s::uuid, %s, %s, %s::timestamptz)", page_size=ROWS_AT_ONCE)


def resolve_of_rule(*, rule_id: UUID, now: datetime) -> None:
    """Resolve all that a rule holds open, as it judges otherwise from now on. In the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_RESOLVE_OF_RULE, {"rule": rule_id, "now": now, "cleared": now.isoformat()})


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
