"""What the pages show, of what a person may see."""

from typing import Any

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from apps.events import queries as event_queries
from apps.events.masking import masked
from apps.events.models import Event
from apps.notifications import queries as notification_queries
from apps.notifications.models import NotificationDelivery
from apps.users.models import User

LISTED = 100


def open_events(user: User) -> QuerySet[Event]:
    """What somebody should take care of, newest first."""
    return event_queries.events_for(user).open().order_by("-timestamp", "-pk")[:LISTED]


def event_for(user: User, pk: int) -> Event | None:
    return event_queries.events_for(user).select_related("device__location").filter(pk=pk).first()


def story_of(event: Event) -> dict[str, Any]:
    """All that is known of an event."""
    deliveries = event.deliveries.order_by("-pk")
    return {
        "event": event,
        "reading": reading_of(event),
        "results": [_result(entry) for entry in masked(event.execution_results)],
        "deliveries": deliveries[:LISTED],
        "more_deliveries": max(0, deliveries.count() - LISTED),
        "comments": event_queries.comments_of(event).order_by("created_at", "pk"),
    }


def reading_of(event: Event) -> dict[str, Any]:
    """The reading that decided, as messages tell of it, with a time that the page can put into the viewer's zone."""
    reading = notification_queries.reading_of(event)
    if isinstance(reading["timestamp"], str):
        reading["timestamp"] = parse_datetime(reading["timestamp"])
    return reading


def _result(entry: dict) -> dict[str, Any]:
    """What an action was to do, and what became of it."""
    counts = [f"{entry[f'{name}_count']} {name}" for name in NotificationDelivery.Status.values if _some(entry, name)]
    return {
        "name": str(entry.get("type", "?")).replace("_", " "),
        "machine": entry.get("machine_id", ""),
        "status": entry.get("status", "?"),
        "details": [*counts, *filter(None, [entry.get("error"), entry.get("suppressed_by")])],
    }


def _some(entry: dict, name: str) -> bool:
    return bool(entry.get(f"{name}_count"))
