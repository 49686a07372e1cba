"""Reads across series."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from apps.devices.models import Device, DeviceMetric
from apps.users.models import User

# One index scan per series, merged: the cost is the rows asked for, whatever the table's size.
_NEWEST = """
    SELECT series.id, r.ts, r.value_numeric, r.value_bool, r.value_str, r.quality, r.received_at
    FROM unnest(%(series)s::int[]) AS series (id)
    CROSS JOIN LATERAL (
        SELECT * FROM telemetry
        WHERE device_metric_id = series.id
          AND ts >= coalesce(%(start)s::timestamptz, '-infinity') AND ts < coalesce(%(end)s::timestamptz, 'infinity')
          AND (%(before_ts)s::timestamptz IS NULL
               OR (ts, device_metric_id) < (%(before_ts)s::timestamptz, %(before_series)s::int))
        ORDER BY ts DESC LIMIT %(limit)s
    ) AS r
    ORDER BY r.ts DESC, series.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class StoredReading:
    device_metric: DeviceMetric
    timestamp: datetime
    value: float | bool | str
    quality: float
    received_at: datetime


def visible_series(*, user: User, device: str | None = None, metric: str | None = None) -> list[DeviceMetric]:
    """Series that the user may read; `device` is an id or a serial number, `metric` a name."""
    series = DeviceMetric.objects.select_related("device", "metric").order_by("id")
    if not user.is_admin:
        series = series.filter(device__owner=user)
    if device is not None:
        series = series.filter(device__in=_devices_named(device))
    if metric is not None:
        series = series.filter(metric__name__iexact=metric)
    return list(series)


def newest_readings(
    *,
    series: list[DeviceMetric],
    limit: int,
    start: datetime | None = None,
    end: datetime | None = None,
    before: tuple[datetime, int] | None = None,
) -> list[StoredReading]:
    """Newest first, `start` ≤ t < `end`, after the cursor `before` = (time, series id)."""
    by_id = {one.pk: one for one in series}
    before_ts, before_series = before or (None, None)
    params = {
        "series": list(by_id),
        "start": start,
        "end": end,
        "before_ts": before_ts,
        "before_series": before_series,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, params)
        return [StoredReading(by_id[row[0]], row[1], _value(*row[2:5]), row[5], row[6]) for row in cursor.fetchall()]


def _value(number: float | None, truth: bool | None, text: str | None) -> float | bool | str:
    if number is not None:
        return number
    return truth if truth is not None else text


def _devices_named(device: str):
    """By serial number, or by id where it reads as one."""
    try:
        return Device.objects.filter(pk=UUID(device)).values("pk")
    except ValueError:
        return Device.objects.filter(serial_number=device).values("pk")
