"""Puts the demo world into the database, all of it or nothing, and takes it out."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from apps.devices import services as device_services
from apps.devices.models import Device, DeviceMetric, DeviceType, Location, Metric
from apps.notifications.models import NotificationTemplate
from apps.rules import services as rule_services
from apps.rules.models import Rule
from apps.users.models import User
from iot_hub.demo import fleet, history, people, rulebook, telemetry, world
from iot_hub.demo.rulebook import DemoRule

type Progress = Callable[[str, int, int], None]


class DemoError(Exception):
    """Why the demo can't be put in; nothing was changed."""


class AlreadySeeded(DemoError):
    """Some of the demo's people are there."""


def seed(*, now: datetime, force: bool, dry_run: bool, on_progress: Progress) -> tuple[dict, dict]:
    """Counts by kind of what was removed and of what was created. Raises DemoError.

    A dry run does all of it and rolls back, so that what it says is true.
    """
    with transaction.atomic():
        _lock()
        if world.users().exists() and not force:
            raise AlreadySeeded("Demo data is there already; --force replaces it with fresh data.")
        removed = _remove()
        _refuse_strangers()
        _create(now, on_progress)
        created = world.count()
        transaction.set_rollback(dry_run)
    return removed, created


def remove(*, dry_run: bool) -> dict:
    """Counts by kind of what was removed."""
    with transaction.atomic():
        _lock()
        removed = _remove()
        transaction.set_rollback(dry_run)
    return removed


def _remove() -> dict:
    removed = world.count()
    if removed["users"]:  # else whatever has a name of the demo's is somebody else's
        world.remove()
    return removed


def _lock() -> None:
    """Of two containers that start at once, the second waits and then finds the data there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('seed_dev_data'))")


def _refuse_strangers() -> None:
    """What is left under the demo's names belongs to somebody else."""
    taken = Device.objects.filter(serial_number__in=[device.serial_number for device in fleet.DEVICES])
    if serial_number := taken.values_list("serial_number", flat=True).first():
        raise DemoError(f"Somebody else's device has the serial number {serial_number} of a demo device.")
    for person in people.PEOPLE:
        if User.objects.filter(email__iexact=person.email).exists():
            raise DemoError(f"Another account has the email address {person.email} of a demo account.")


def _create(now: datetime, on_progress: Progress) -> None:
    try:
        users = _create_people(on_progress)
        bindings = _create_fleet(users, now)
        _create_rules(users, now)
        watched = DeviceMetric.objects.in_bulk([binding.pk for binding in bindings.values()])
        samples = telemetry.store_week(
            bindings={key: watched[binding.pk] for key, binding in bindings.items()},
            now=now,
            on_progress=lambda done, total: on_progress("readings", done, total),
        )
        history.write(samples=samples, now=now)
    except (IntegrityError, ValidationError) as error:
        raise DemoError(f"The demo data does not fit what is there: {error}") from error


# ---- people and fleet ----------------------------------------------------------------------------


def _create_people(on_progress: Progress) -> dict[str, User]:
    users = {}
    for done, person in enumerate(people.PEOPLE, start=1):
        users[person.username] = User.objects.create_user(
            person.username,
            person.email,
            person.password,
            role=person.role,
            first_name=person.first_name,
            last_name=person.last_name,
        )
        on_progress("accounts", done, len(people.PEOPLE))
    return users


def _create_fleet(users: dict[str, User], now: datetime) -> dict[tuple[str, str], DeviceMetric]:
    """The bindings by (serial number, metric)."""
    locations, types = _create_locations(), _create_types()
    _create_metrics()
    devices, bindings = {}, {}
    for demo in fleet.DEVICES:
        device = devices[demo.serial_number] = device_services.create_device(
            serial_number=demo.serial_number,
            name=demo.name,
            device_type=types[demo.device_type],
            owner=users[demo.owner.username],
            location=locations[demo.location],
            parent=devices.get(demo.parent),
            status=demo.status,
            metadata=demo.metadata,
            last_seen=now - timedelta(minutes=max(1, demo.silent_for)),
        )
        metrics = [(name, fleet.DATA_TYPES[name]) for name in demo.signals]
        for binding in device_services.bind_metrics(device=device, metrics=metrics):
            bindings[demo.serial_number, binding.metric.name.lower()] = binding
    return bindings


def _create_locations() -> dict[str, Location]:
    """Those that others use are still there, and are used again."""
    places = {}
    for name, parent, latitude, longitude in fleet.LOCATIONS:
        places[name], _ = Location.objects.get_or_create(
            name=name,
            parent=places.get(parent),
            defaults={"latitude": latitude, "longitude": longitude},
        )
    return places


def _create_types() -> dict[str, DeviceType]:
    types = {}
    for name, description, metric, unit, least, most in fleet.DEVICE_TYPES:
        expected = {"metric_name": metric, "metric_unit": unit, "metric_min": least, "metric_max": most}
        types[name], _ = DeviceType.objects.get_or_create(name=name, defaults={"description": description, **expected})
    return types


def _create_metrics() -> None:
    for name, data_type, unit, description in fleet.METRICS:
        metric, _ = Metric.objects.get_or_create(
            name__iexact=name,
            defaults={"name": name, "data_type": data_type, "unit": unit, "description": description},
        )
        if metric.data_type != data_type:
            raise DemoError(f"The metric {name} is there as {metric.data_type}; the demo's is {data_type}.")


# ---- rules ---------------------------------------------------------------------------------------


def _create_rules(users: dict[str, User], now: datetime) -> None:
    if NotificationTemplate.objects.filter(owner__isnull=True, name=rulebook.SHARED).exists():
        raise DemoError(f"There is a shared template {rulebook.SHARED!r} already.")
    templates = {
        rulebook.SHARED: NotificationTemplate.objects.create(**rulebook.TEMPLATE),
        rulebook.COLD_CHAIN: NotificationTemplate.objects.create(
            owner=users[people.JORDAN.username], **rulebook.OWN_TEMPLATE
        ),
    }
    for demo in rulebook.RULES:
        notification = {"type": "notification", "template_id": templates[demo.tells].pk}
        rule_services.save_rule(rule=_rule(demo, users, [notification, *demo.actions]), now=now)


def _rule(demo: DemoRule, users: dict[str, User], actions: list[dict]) -> Rule:
    device, device_type = demo.serial_number, demo.device_type
    return Rule(
        name=demo.name,
        description=demo.description,
        owner=users[demo.owner.username],
        device=Device.objects.get(serial_number=device) if device else None,
        device_type=DeviceType.objects.get(name=device_type) if device_type else None,
        metric=Metric.objects.get(name__iexact=demo.metric),
        severity=demo.severity,
        condition=demo.condition,
        action_config=actions,
        cooldown_minutes=demo.cooldown_minutes,
        is_enabled=demo.is_enabled,
    )
