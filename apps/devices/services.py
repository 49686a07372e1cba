from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection, transaction

from apps.devices import queries
from apps.devices.models import (
    CatalogChange,
    Device,
    DeviceCommand,
    DeviceKey,
    DeviceMetric,
    Location,
    Metric,
)
from apps.devices.signals import device_deleting, devices_reassigned, metrics_bound

# How long caches of ingest may sleep and still learn of every change.
CATALOG_CHANGES_KEPT = timedelta(days=1)
KEY_OVERLAP = timedelta(days=1)
KEY_OVERLAP_MAX = timedelta(days=365)
COMMAND_LIFETIME = 3600
COMMAND_LIFETIME_MAX = 30 * 24 * 3600


# ---- locations -----------------------------------------------------------------------------------


def create_location(**fields) -> Location:
    return _save_location(Location(), fields)


def update_location(*, location: Location, **changes) -> Location:
    """Raises ValidationError at `parent` if the place would then lie within itself."""
    return _save_location(location, changes)


def _save_location(location: Location, changes: dict) -> Location:
    with transaction.atomic():
        _lock_tree(Location)
        _assign(location, changes)
        location.clean()
        location.save()
    return location


# ---- devices -------------------------------------------------------------------------------------


def create_device(**fields) -> Device:
    """Raises ValidationError at `parent` if the gateway is another owner's."""
    device = Device(**fields)
    with transaction.atomic():
        if device.parent_id:
            _lock_tree(Device)
        device.clean()
        device.save()
    return device


def update_device(*, device: Device, **changes) -> Device:
    """Raises ValidationError at `parent` or `owner` where the tree of gateways would break.

    Only what changes is written, as ingest writes `last_seen` at the same time. A device that changes
    hands loses its keys: its last owner knows them.
    """
    changes_hands = "owner" in changes and changes["owner"].pk != device.owner_id
    with transaction.atomic():
        if "parent" in changes or changes_hands:
            _lock_tree(Device)
        _assign(device, changes)
        device.clean()
        device.save(update_fields=[*changes, "updated_at"])
        if changes_hands:
            device.keys.filter(revoked_at=None).update(revoked_at=device.updated_at)
        if changes_hands or "device_type" in changes:
            transaction.on_commit(partial(_tell_reassigned, [device.pk]), robust=True)
    return device


def _tell_reassigned(device_ids: list[UUID]) -> None:
    devices_reassigned.send(sender=Device, device_ids=device_ids)


def delete_device(*, device: Device) -> None:
    """The device, its series with all their readings, its keys, commands, rules and events."""
    delete_devices(devices=[device])


def delete_devices(*, devices: Iterable[Device]) -> None:
    with transaction.atomic():
        # Locked, so that nothing is bound to them any more.
        locked = Device.objects.select_for_update().filter(pk__in=[device.pk for device in devices])
        found = list(locked.order_by("pk"))
        series = DeviceMetric.objects.filter(device__in=found)
        _tell_deleting(list(series.values_list("pk", flat=True)))
        Device.objects.filter(pk__in=[device.pk for device in found]).delete()


# ---- bindings ------------------------------------------------------------------------------------


def bind_metrics(*, device: Device, metrics: list[tuple[str, str]]) -> list[DeviceMetric]:
    """The bindings of (metric name, data type) pairs, in their order; what is missing is created.

    The data type of a metric that exists wins. Two connections may bind the same at once: both get the
    same rows. They wait for each other's commit, so a caller with several devices takes a transaction each.
    """
    with transaction.atomic():
        found = _metrics(metrics)
        wanted = [found[name].pk for name, _ in metrics]
        _bind(device, wanted)
        bindings = {binding.metric_id: binding for binding in queries.bindings_of(device).filter(metric__in=wanted)}
    return [bindings[metric_id] for metric_id in wanted]


def bind_metric(
    *, device: Device, name: str, data_type: str = "numeric", may_create: bool = True, **fields
) -> DeviceMetric:
    """One new binding with its unit and range. Raises ValidationError at `metric` if it is bound already."""
    with transaction.atomic():
        if not may_create and not queries.metrics_by_name([name]):
            refusal = "There is no such metric, and metrics are not created at first sight here."
            raise ValidationError({"metric": ValidationError(refusal, code="unknown_metric")})
        metric = _metrics([(name, data_type)])[name]
        if not _bind(device, [metric.pk]):
            refusal = "This metric is already bound to the device."
            raise ValidationError({"metric": ValidationError(refusal, code="unique")})
        binding = queries.bindings_of(device).get(metric=metric)
        return update_binding(binding=binding, **fields)


def update_binding(*, binding: DeviceMetric, **changes) -> DeviceMetric:
    """Unit and range only; rules set `is_watched` at the same time."""
    with transaction.atomic():
        _assign(binding, changes)
        binding.save(update_fields=list(changes))
    return binding


def _metrics(wanted: list[tuple[str, str]]) -> dict[str, Metric]:
    """Metrics by the names as given, created where missing: as first spelled, and all callers in one order,
    so that no two wait for each other crosswise.
    """
    names = [name for name, _ in wanted]
    found = queries.metrics_by_name(names)
    missing = {name.lower(): (name, data_type) for name, data_type in reversed(wanted) if name not in found}
    if missing:
        rows = [Metric(name=name, data_type=data_type) for _, (name, data_type) in sorted(missing.items())]
        Metric.objects.bulk_create(rows, ignore_conflicts=True)
        found = queries.metrics_by_name(names)
    return found


def _bind(device: Device, metric_ids: list[int]) -> list[int]:
    """The ids of the bindings that are new."""
    bound = set(device.metrics.filter(metric__in=metric_ids).values_list("metric_id", flat=True))
    missing = sorted(set(metric_ids) - bound)
    if not missing:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO device_metrics (device_id, metric_id, unit, is_watched, created_at)
            SELECT %s, unnest(%s), '', false, now() ON CONFLICT (device_id, metric_id) DO NOTHING
            RETURNING id
            """,
            [device.pk, missing],
        )
        created = [row[0] for row in cursor.fetchall()]
    if created:
        metrics_bound.send(sender=DeviceMetric, device_metric_ids=created)
    return created


def unbind_metrics(*, bindings: Iterable[DeviceMetric]) -> None:
    """The series go, with all their readings."""
    with transaction.atomic():
        series = [binding.pk for binding in bindings]
        _tell_deleting(series)
        DeviceMetric.objects.filter(pk__in=series).delete()


def _tell_deleting(device_metric_ids: list[int]) -> None:
    if device_metric_ids:
        device_deleting.send(sender=DeviceMetric, device_metric_ids=device_metric_ids)


# ---- keys ----------------------------------------------------------------------------------------


def issue_key(
    *,
    device: Device,
    name: str = "",
    scope: str = "device",
    expires_at: datetime | None = None,
    messages_per_minute: int | None = None,
    readings_per_minute: int | None = None,
    now: datetime,
) -> tuple[DeviceKey, str]:
    """A new key and its secret, which is kept nowhere. Other keys go on working, so keys can be rotated."""
    if expires_at is not None and expires_at <= now:
        raise ValidationError({"expires_at": ValidationError("This time has passed.", code="in_the_past")})
    secret = DeviceKey.new_secret()
    key = DeviceKey.objects.create(
        owner_id=device.owner_id,
        device=device,
        name=name,
        scope=scope,
        expires_at=expires_at,
        messages_per_minute=messages_per_minute,
        readings_per_minute=readings_per_minute,
        prefix=secret[: DeviceKey._meta.get_field("prefix").max_length],
        digest=DeviceKey.digest_of(secret),
    )
    return key, secret


def rotate_key(
    *, key: DeviceKey, overlap: timedelta, expires_at: datetime | None = None, now: datetime
) -> tuple[DeviceKey, str]:
    """A new key in the place of `key`, with its name, scope and limits. The old one goes on working for `overlap`,
    but never beyond its own end. Raises ValidationError where it does not work any more.
    """
    with transaction.atomic():
        key = DeviceKey.objects.select_for_update(of=["self"]).select_related("device").get(pk=key.pk)
        if not DeviceKey.objects.usable(now=now).filter(pk=key.pk).exists():
            raise ValidationError("This key does not work any more; issue a new one.", code="not_usable")
        new, secret = issue_key(
            device=key.device,
            name=key.name,
            scope=key.scope,
            expires_at=expires_at,
            messages_per_minute=key.messages_per_minute,
            readings_per_minute=key.readings_per_minute,
            now=now,
        )
        if key.expires_at is None or key.expires_at > now + overlap:
            key.expires_at = now + overlap
            key.save(update_fields=["expires_at"])
    return new, secret


def update_key(*, key: DeviceKey, **changes) -> DeviceKey:
    """Its name and limits; scope and device are what the key is."""
    with transaction.atomic():
        _assign(key, changes)
        key.save(update_fields=list(changes))
    return key


def revoke_key(*, key: DeviceKey, now: datetime) -> None:
    """Revoking again changes nothing."""
    DeviceKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)


def note_key_uses(*, uses: dict[int, datetime]) -> None:
    """When keys were used, by their ids; only ever forward. A key that is being changed is left out: the next
    use will tell, and nobody should wait here.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE device_keys SET last_used_at = used.at
            FROM (
                SELECT id, at FROM unnest(%s::bigint[], %s::timestamptz[]) AS noted (id, at) JOIN device_keys USING (id)
                WHERE last_used_at IS NULL OR last_used_at < at
                ORDER BY id FOR UPDATE OF device_keys SKIP LOCKED
            ) AS used
            WHERE device_keys.id = used.id
            """,
            [list(uses), list(uses.values())],
        )


# ---- commands ------------------------------------------------------------------------------------


def queue_command(
    *,
    device: Device,
    name: str,
    params: dict | None = None,
    expires_in: int = COMMAND_LIFETIME,
    now: datetime,
) -> DeviceCommand:
    """`expires_in` is in seconds, from 1 to 30 days; a command not taken by then is never delivered."""
    if not 1 <= expires_in <= COMMAND_LIFETIME_MAX:
        raise ValidationError({"expires_in": f"From 1 to {COMMAND_LIFETIME_MAX} seconds."})
    return DeviceCommand.objects.create(
        device=device,
        name=name,
        params=params or {},
        expires_at=now + timedelta(seconds=expires_in),
    )


# ---- the catalogue's changes ---------------------------------------------------------------------


def forget_catalog_changes(*, now: datetime) -> int:
    """How many were forgotten."""
    return CatalogChange.objects.filter(changed_at__lt=now - CATALOG_CHANGES_KEPT).delete()[0]


def _assign(row, changes: dict) -> None:
    for name, value in changes.items():
        setattr(row, name, value)


def _lock_tree(model) -> None:
    """Two moves that are each right alone can close a circle together; so one at a time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"tree of {model._meta.db_table}"])
