"""The fleet at a glance, for the admin's first page. Whatever it costs, it costs a page at most once a minute."""

from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Q

from apps.devices.models import Device
from apps.events import queries as event_queries
from apps.events.models import Event
from apps.notifications.models import NotificationDelivery

ONLINE, OFFLINE = timedelta(minutes=15), timedelta(days=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEPT_SECONDS = 60
LATEST = 8

_READINGS = "SELECT bucket, sum(count) FROM telemetry_hourly WHERE bucket >= %s GROUP BY bucket"


def at_a_glance(*, now: datetime) -> dict[str, Any]:
    return {
        "devices": _devices(now),
        "events": event_queries.counts(Event.objects.open()),
        "deliveries": _deliveries(now),
        "latest": Event.objects.open().select_related("device").order_by("-timestamp", "-pk")[:LATEST],
        "readings": cache.get_or_set("dashboard:readings", lambda: _readings_by_hour(now), KEPT_SECONDS),
    }


def _devices(now: datetime) -> dict[str, int]:
    """Of the active ones, by when they were last heard of."""
    heard, long_ago = Q(last_seen__gte=now - ONLINE), Q(last_seen__lt=now - OFFLINE) | Q(last_seen=None)
    return Device.objects.filter(status=Device.Status.ACTIVE).aggregate(
        online=Count("pk", filter=heard),
        silent=Count("pk", filter=~heard & ~long_ago),
        offline=Count("pk", filter=long_ago),
    )


def _deliveries(now: datetime) -> dict[str, int]:
    recent = NotificationDelivery.objects.filter(created_at__gte=now - DAY)
    states = ("sent", "failed", "pending")
    return recent.aggregate(**{name: Count("pk", filter=Q(status=name)) for name in states})


def _readings_by_hour(now: datetime) -> list[tuple[datetime, int]] | None:
    """How many readings there are of each of the last 24 hours; None if that takes too long to say."""
    last = now.replace(minute=0, second=0, microsecond=0)
    hours = [last - HOUR * number for number in range(23, -1, -1)]
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '2s'")
            cursor.execute(_READINGS, [hours[0]])
            found = dict(cursor.fetchall())
    except DatabaseError:  # too many, or setup_timescaledb has not run yet
        return None
    return [(hour, int(found.get(hour, 0))) for hour in hours]
