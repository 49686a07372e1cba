"""The results of an event's actions follow what became of them elsewhere."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Count, Max, Q, QuerySet

from apps.devices.models import DeviceCommand
from apps.events import services as event_services
from apps.events.models import Event
from apps.notifications.models import NotificationDelivery

Status = DeviceCommand.Status


def follow_commands(*, commands: list[DeviceCommand]) -> None:
    """In the transaction that changed the commands. Events are locked in one order, whatever the commands'."""
    found = [place for command in commands for place in _places(command)]
    for event_id, index, command in sorted(found, key=lambda place: place[:2]):
        event_services.record_result(event_id=event_id, index=index, **_result(command))


def _places(command: DeviceCommand) -> list[tuple[int, int, DeviceCommand]]:
    """Where this command stands among the results of events; nowhere if a person queued it."""
    command_id = str(command.pk)
    events = Event.objects.filter(execution_results__contains=[{"command_id": command_id}])
    return [
        (event.pk, index, command)
        for event in events.only("pk", "execution_results")
        for index, entry in enumerate(event.execution_results)
        if entry.get("command_id") == command_id
    ]


def _result(command: DeviceCommand) -> dict:
    result = {"status": command.status, "error": _error(command)}
    if command.delivered_at:
        result["delivered_at"] = command.delivered_at.isoformat()
    if command.finished_at:
        result |= {"completed_at": command.finished_at.isoformat(), "result": command.result}
    return result


def _error(command: DeviceCommand) -> str | None:
    if command.status == Status.FAILED:
        said = (command.result or {}).get("error")
        return str(said)[:500] if said else "The machine answered that it failed."
    if command.status == Status.EXPIRED:
        taken = command.delivered_at is not None
        return "The machine took it and never answered." if taken else "The machine did not take it in time."
    return None


# ---- deliveries ----------------------------------------------------------------------------------


def follow_deliveries(*, event_ids: Iterable[int], now: datetime) -> None:
    """In the transaction that settled deliveries of these events. Counted under the events' locks, so the last
    to come counts them all."""
    rows = Event.objects.select_for_update(no_key=True).filter(pk__in=event_ids)
    events = {event.pk: event for event in rows.only("pk", "execution_results").order_by("pk")}
    for count in _counts(events):
        entries = events[count["event_id"]].execution_results
        if count["action_index"] < len(entries):
            entry = entries[count["action_index"]]
            entry |= _outcome(count, entry, now)
    Event.objects.bulk_update(events.values(), ["execution_results"])


def _counts(event_ids: Iterable[int]) -> QuerySet:
    first = NotificationDelivery.objects.filter(event__in=list(event_ids), kind=NotificationDelivery.Kind.OPENED)
    per_status = {status: Count("pk", filter=Q(status=status)) for status in NotificationDelivery.Status.values}
    return first.values("event_id", "action_index").annotate(
        **per_status,
        error=Max("error_message", filter=Q(status=NotificationDelivery.Status.FAILED)),
        because=Max("suppressed_by"),
    )


def _outcome(count: dict, entry: dict, now: datetime) -> dict:
    failed = count["failed"] > 0 or bool(entry.get("refused"))
    result = {"sent_count": count["sent"], "failed_count": count["failed"], "error": count["error"]}
    if count["suppressed"]:
        result |= {"suppressed_count": count["suppressed"], "suppressed_by": count["because"]}
    if count["pending"]:
        return result | {"status": "pending", "completed_at": None}
    status = "failed" if failed else "completed" if count["sent"] else "suppressed"
    return result | {"status": status, "completed_at": now.isoformat()}
