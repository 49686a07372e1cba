from contextlib import suppress
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.devices.models import Device, DeviceMetric, Metric


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
