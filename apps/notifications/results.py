"""The results of an event's actions follow what became of them elsewhere."""

from apps.devices.models import DeviceCommand
from apps.events import services as event_services
from apps.events.models import Event

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
