"""Who and what the demo's rows are, and how to take them away again without touching anybody else's."""

from django.db.models import Q, QuerySet

from apps.devices import services as device_services
from apps.devices.models import Device, DeviceMetric, DeviceType, Location, Metric
from apps.events.models import Event
from apps.notifications.models import NotificationTemplate
from apps.rules.models import Rule
from apps.telemetry.models import Reading
from apps.users.models import User
from iot_hub.demo import fleet, rulebook
from iot_hub.demo.people import USERNAMES


def users() -> QuerySet[User]:
    return User.objects.filter(username__in=USERNAMES)


def devices() -> QuerySet[Device]:
    """All that the demo's people own, also what they registered themselves."""
    return Device.objects.filter(owner__in=users())


def templates() -> QuerySet[NotificationTemplate]:
    shared = Q(owner__isnull=True, name=rulebook.SHARED)
    return NotificationTemplate.objects.filter(shared | Q(owner__in=users()))


def rules() -> QuerySet[Rule]:
    return Rule.objects.filter(owner__in=users())


def count() -> dict[str, int]:
    """How many rows of each kind there are."""
    series = DeviceMetric.objects.filter(device__in=devices())
    return {
        "users": users().count(),
        "devices": devices().count(),
        "series": series.count(),
        "readings": Reading.objects.filter(device_metric__in=list(series)).count(),
        "templates": templates().count(),
        "rules": rules().count(),
        "events": Event.objects.filter(device__in=devices()).count(),
    }


def remove() -> None:
    """What others use too stays: a location, type or metric of the demo's with somebody else's device."""
    device_services.delete_devices(devices=list(devices()))
    rules().delete()
    templates().delete()
    users().delete()
    _remove_metrics()
    _remove_locations()
    _unused(DeviceType.objects.filter(name__in=[name for name, *_ in fleet.DEVICE_TYPES]), "devices").delete()


def _unused(rows: QuerySet, *relations: str) -> QuerySet:
    return rows.filter(**{f"{relation}__isnull": True for relation in relations})


def _remove_metrics() -> None:
    demo = Metric.objects.filter(name__in=[name for name, *_ in fleet.METRICS])
    _unused(demo, "bindings", "rules").delete()


def _remove_locations() -> None:
    """Leaves first, so that a place goes after those within it."""
    for name, parent, *_ in reversed(fleet.LOCATIONS):
        places = Location.objects.filter(name=name, parent__name=parent)
        if parent is None:
            places = Location.objects.filter(name=name, parent__isnull=True)
        _unused(places, "devices", "children").delete()
