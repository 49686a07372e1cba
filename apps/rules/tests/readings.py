"""Readings for tests: stored ones, and ones that wait in the outbox."""

from datetime import UTC, datetime, timedelta

from django.db import connection

from apps.telemetry.ingest import store
from apps.telemetry.models import Reading, WatchedBatch

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = 60_000_000


def readings_come_in(series, *samples, also=()):
    """One batch of the outbox, as the writer makes it. `samples` are (minute after NOW, value) of the series,
    `also` are (series, minute, value) of others.
    """
    at = int(NOW.timestamp() * 1_000_000)
    listed = [(series, minute, value) for minute, value in samples] + list(also)
    watched = [
        (WatchedBatch.shard_of(one.device_id), one.pk, at + round(minute * MINUTE), value)
        for one, minute, value in listed
    ]
    with connection.cursor() as cursor:
        cursor.execute(store.adding_watched(cursor.cursor, watched))


def readings_are_stored(series, *samples, start=NOW, received=None):
    """`samples` are (minute after `start`, value); received when taken, or `received` minutes after start."""
    rows = []
    for minute, value in samples:
        ts = start + timedelta(minutes=minute)
        kind = {float: "value_numeric", bool: "value_bool", str: "value_str"}[type(value)]
        arrived = ts if received is None else start + timedelta(minutes=received)
        rows.append(Reading(ts=ts, device_metric=series, received_at=arrived, quality=1.0, **{kind: value}))
    Reading.objects.bulk_create(rows)
