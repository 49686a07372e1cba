from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from apps.devices.models import Device, DeviceMetric, Metric

WAYS_UP = """
    WITH RECURSIVE way (device_id, id, parent_id, height) AS (
        SELECT id, id, parent_id, 0 FROM devices WHERE id = ANY(%s::uuid[])
        UNION ALL
        SELECT way.device_id, devices.id, devices.parent_id, height + 1
        FROM way JOIN devices ON devices.id = way.parent_id
    )
    SELECT device_id, id FROM way ORDER BY device_id, height DESC
"""
REPORTING_THROUGH = """
    WITH RECURSIVE through (id) AS (
        SELECT %s::uuid
        UNION
        SELECT devices.id FROM through JOIN devices ON devices.parent_id = through.id
    )
    SELECT id FROM through
"""


def metrics_by_name(names: list[str]) -> dict[str, Metric]:
    """The metrics that exist, by the names as given. The database folds the case, as its unique index does."""
    rows = Metric.objects.raw(
        """
        SELECT metrics.*, wanted.name AS wanted
        FROM unnest(%s::text[]) AS wanted(name) JOIN metrics ON lower(metrics.name) = lower(wanted.name)
        """,
        [names],
    )
    return {metric.wanted: metric for metric in rows}


def bindings_of(device) -> QuerySet[DeviceMetric]:
    return DeviceMetric.objects.filter(device=device).select_related("metric")


def devices_named(name: str) -> QuerySet[Device]:
    """The device that people mean by this text: its serial number or its id."""
    named = Q(serial_number=name)
    with suppress(ValueError):
        named |= Q(pk=UUID(name))
    return Device.objects.filter(named)


def ways_up(device_ids: Iterable[UUID]) -> list[tuple[UUID, UUID]]:
    """Pairs of a device and what it reports through, the farthest gateway first and the device itself last."""
    with connection.cursor() as cursor:
        cursor.execute(WAYS_UP, [[str(device_id) for device_id in device_ids]])
        return cursor.fetchall()


def reporting_through(gateway_id: UUID) -> list[UUID]:
    """The gateway and all devices that report through it, directly or by way of others."""
    with connection.cursor() as cursor:
        cursor.execute(REPORTING_THROUGH, [str(gateway_id)])
        return [row[0] for row in cursor.fetchall()]
