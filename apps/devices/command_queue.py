"""The device's side of its commands: take what waits, say what became of it.

A command is delivered at least once: one that was taken and not acknowledged is handed out again after
`REDELIVER_AFTER`, under the same id, by which the device tells a repeat.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.devices.models import DeviceCommand
from apps.devices.signals import commands_changed

REDELIVER_AFTER = timedelta(seconds=60)
TAKEN_AT_ONCE = 100
EXPIRED_AT_ONCE = 1000

Status = DeviceCommand.Status
OPEN = (Status.QUEUED, Status.DELIVERED)


class NotAcknowledgeable(Exception):
    """The command was never handed out, or something else was said of it before."""


def waiting(*, now: datetime) -> QuerySet[DeviceCommand]:
    """What a device is to be handed now: new commands, and those that it has left unanswered for too long."""
    unanswered = Q(status=Status.DELIVERED, delivered_at__lte=now - REDELIVER_AFTER)
    return DeviceCommand.objects.filter(Q(status=Status.QUEUED) | unanswered, expires_at__gt=now)


def devices_with_commands(*, device_ids: Iterable[UUID], now: datetime) -> set[UUID]:
    """Which of these devices have something waiting: one query, however many devices listen."""
    return set(waiting(now=now).filter(device__in=device_ids).values_list("device_id", flat=True).distinct())


@transaction.atomic
def take(*, device_id: UUID, now: datetime) -> list[DeviceCommand]:
    """Hand the device what waits, oldest first. Two polls at once never get the same command."""
    rows = waiting(now=now).filter(device=device_id).order_by("created_at", "pk")
    taken = list(rows.select_for_update(skip_locked=True, no_key=True)[:TAKEN_AT_ONCE])
    for command in taken:
        command.status, command.delivered_at = Status.DELIVERED, now
    DeviceCommand.objects.filter(pk__in=[command.pk for command in taken]).update(
        status=Status.DELIVERED, delivered_at=now
    )
    _tell(taken)
    return taken


@transaction.atomic
def acknowledge(
    *, device_id: UUID, command_id: UUID, status: str, result: dict | None, now: datetime
) -> DeviceCommand | None:
    """What the device says became of a command; None if it has no such command.

    Saying the same again changes nothing. What was done late was done: an answer after the expiry counts, if
    the command had been handed out.
    """
    rows = DeviceCommand.objects.select_for_update(no_key=True)
    command = rows.filter(pk=command_id, device=device_id).first()
    if command is None or command.status == status:
        return command
    if command.delivered_at is None or command.status not in (Status.DELIVERED, Status.EXPIRED):
        raise NotAcknowledgeable(f"This command is {command.status}.")
    command.status, command.result, command.finished_at = status, result, now
    command.save(update_fields=["status", "result", "finished_at"])
    _tell([command])
    return command


@transaction.atomic
def expire(*, now: datetime) -> int:
    """Close what nobody answered in time. How many there were."""
    overdue = DeviceCommand.objects.filter(status__in=OPEN, expires_at__lte=now).order_by("expires_at", "pk")
    rows = list(overdue.select_for_update(skip_locked=True, no_key=True)[:EXPIRED_AT_ONCE])
    for command in rows:
        command.status, command.finished_at = Status.EXPIRED, now
    DeviceCommand.objects.bulk_update(rows, ["status", "finished_at"])
    _tell(rows)
    return len(rows)


def _tell(commands: list[DeviceCommand]) -> None:
    if commands:
        commands_changed.send(sender=DeviceCommand, commands=commands)
