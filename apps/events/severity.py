"""Severity that rises with duration. It never falls, and nobody is told of it anew: the event is the same one."""

from datetime import datetime, timedelta

from django.db import transaction

from apps.events.models import Event

RANK = {severity: rank for rank, severity in enumerate(("info", "warning", "critical"))}
EVENTS_AT_ONCE = 500

# `[{"after": 600, "severity": "critical"}]`, in seconds of event time since the event's `timestamp`.
Steps = list[dict]


def rises_at(*, severity: str, timestamp: datetime, steps: Steps) -> datetime | None:
    """When the next of `steps` lifts an event that has this severity; None if none does."""
    higher = [step["after"] for step in steps if RANK[step["severity"]] > RANK[severity]]
    return timestamp + timedelta(seconds=min(higher)) if higher else None


def raise_severities(*, now: datetime) -> int:
    """Raise what has been open for long enough. Returns how many events were raised; safe to run at once."""
    raised = 0
    while count := _raise_next(now):
        raised += count
    return raised


@transaction.atomic
def _raise_next(now: datetime) -> int:
    """Rows that others hold are being resolved or raised this moment; the next sweep sees what became of them."""
    due = Event.objects.open().filter(severity_rises_at__lte=now).order_by("severity_rises_at", "pk")
    events = list(due.select_for_update(skip_locked=True, no_key=True)[:EVENTS_AT_ONCE])
    for event in events:
        _raise(event, now)
    Event.objects.bulk_update(events, ["severity", "severity_rises_at", "metadata"])
    return len(events)


def _raise(event: Event, now: datetime) -> None:
    steps = event.metadata.get("severity_after", [])
    passed = [step for step in steps if event.timestamp + timedelta(seconds=step["after"]) <= now]
    for step in sorted(passed, key=lambda step: step["after"]):
        if RANK[step["severity"]] <= RANK[event.severity]:
            continue
        change = {"from": event.severity, "to": step["severity"], "after": step["after"], "at": now.isoformat()}
        event.metadata.setdefault("severity_changes", []).append(change)
        event.severity = step["severity"]
    event.severity_rises_at = rises_at(severity=event.severity, timestamp=event.timestamp, steps=steps)
