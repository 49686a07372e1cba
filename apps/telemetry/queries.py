"""Reads across series."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from apps.devices.models import Device, DeviceMetric
from apps.telemetry.latest import entries
from apps.telemetry.latest.cache import latest_cache
from apps.users.models import User

# One index scan per series that ends at its first row.
_LATEST = """
    SELECT series.id, r.ts, r.value_numeric, r.value_bool, r.value_str, r.quality, r.received_at
    FROM unnest(%s::int[]) AS series (id)
    CROSS JOIN LATERAL (SELECT * FROM telemetry WHERE device_metric_id = series.id ORDER BY ts DESC LIMIT 1) AS r
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StoredReading:
    device_metric: DeviceMetric
    timestamp: datetime
    value: float | bool | str
    quality: float
    received_at: datetime


def visible_series(
    *,
    user: User,
    devices: list[str] = (),
    metrics: list[str] = (),
    limit: int | None = None,
    with_device: bool = False,
) -> list[DeviceMetric]:
    """Series that the user may read, of `devices` (ids or serial numbers) and `metrics` (names) where any are given,
    sorted by both; the first `limit` of them.
    """
    series = _named(devices, metrics, with_device=with_device)
    if not user.is_admin:
        series = series.filter(device__owner=user)
    return list(series[:limit])


def every_series(*, devices: list[str] = (), metrics: list[str] = ()) -> list[DeviceMetric]:
    """The same for operators, who may read all; with their devices."""
    return list(_named(devices, metrics, with_device=True))


def _named(devices: list[str], metrics: list[str], *, with_device: bool) -> QuerySet[DeviceMetric]:
    related = ["metric", "device"] if with_device else ["metric"]
    series = DeviceMetric.objects.select_related(*related).order_by("device__serial_number", "metric__name")
    if devices:
        series = series.filter(device__in=_devices_named(devices))
    if metrics:
        series = series.filter(Q.create([("metric__name__iexact", name) for name in metrics], Q.OR))
    return series


def latest_readings(*, series: list[DeviceMetric]) -> list[StoredReading]:
    """The newest reading of each series that has one, in their order; how old it may be: see apps/telemetry/latest.

    With everything in Redis one round trip there and no query; for what is missing one query and one round trip more.
    """
    if not series:
        return []
    held, ends_at = latest_cache().read([one.pk for one in series])
    missing = [one.pk for one in series if one.pk not in held]
    if missing:
        held |= _read_latest(missing, ends_at)
    found = [(one, entries.unpack(held[one.pk])) for one in series]
    return [
        StoredReading(one, _datetime(entry.ts), entry.value, entry.quality, _datetime(entry.received_at))
        for one, entry in found
        if entry is not None
    ]


def _read_latest(series_ids: list[int], ends_at: int | None) -> dict[int, bytes]:
    """From the database, as entries, which Redis gets too if it was there before the database was asked.

    The default connection, as a replica may be further behind than an entry is allowed to be.
    """
    found = dict.fromkeys(series_ids, entries.NOTHING)
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, [series_ids])
        for series_id, ts, number, truth, text, quality, received_at in cursor.fetchall():
            entry = entries.Entry(_micros(ts), value_of(number, truth, text), quality, _micros(received_at))
            found[series_id] = entries.pack(entry)
    if ends_at is not None:
        latest_cache().fill(b"".join(entries.record(*one) for one in found.items()), ends_at)
    return found


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _datetime(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def value_of(number: float | None, truth: bool | None, text: str | None) -> float | bool | str:
    if number is not None:
        return number
    return truth if truth is not None else text


def _devices_named(names: list[str]):
    """By serial number, and by id where a name reads as one."""
    return Device.objects.filter(Q(serial_number__in=names) | Q(pk__in=_ids_among(names))).values("pk")


def _ids_among(names: list[str]) -> list[UUID]:
    ids = []
    for name in names:
        with suppress(ValueError):
            ids.append(UUID(name))
    return ids
