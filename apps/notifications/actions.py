"""What a rule's actions do when an event opens. Each handler works inside the dispatch transaction.

A handler gets the event, the action's index and entry, and the time; it answers with the fields of the
execution result, or raises `CannotDo` with the reason.
"""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError

from apps.devices import queries as device_queries
from apps.devices import services as device_services
from apps.devices.models import Device
from apps.events.models import Event
from apps.notifications import composing, recipients
from apps.notifications.models import NotificationTemplate


class CannotDo(Exception):
    """The action is impossible as it is written; trying again would not help."""


def perform(*, event: Event, index: int, now: datetime) -> dict[str, Any]:
    action = event.execution_results[index]
    kind = action.get("type")
    if kind in HANDLERS:
        return HANDLERS[kind](event, index, action, now)
    if "machine_id" in action:
        return _command(event, index, action, now)
    raise CannotDo(f"Unknown action {kind!r}: a notification, or an action with a machine_id.")


def _notify(event: Event, index: int, action: dict, now: datetime) -> dict[str, Any]:
    """A delivery per recipient; the action's recipients take the place of the template's."""
    template = _template(action, event)
    entries = action.get("recipients") or (template.recipients if template else [])
    good, refused = recipients.sort_out(entries)
    if not good:
        raise CannotDo("; ".join(refused.values()) or "There are no recipients.")
    composing.create(event=event, index=index, template=template, to=good, now=now)
    result = {"status": "pending", "recipient_count": len(good), "sent_count": 0}
    return result | ({"refused": list(refused.values())} if refused else {})


def _template(action: dict, event: Event) -> NotificationTemplate | None:
    """The template that the action names; None if it names none and the plain text will do."""
    template_id = action.get("template_id")
    if template_id is None:
        return None
    usable = NotificationTemplate.objects.visible_to(event.device.owner)
    template = usable.filter(pk=template_id).first() if isinstance(template_id, int) else None
    if template is None:
        raise CannotDo(f"There is no template {template_id} that the device's owner may use.")
    if not template.is_active:
        raise CannotDo(f"Template {template_id} is not active.")
    return template


def _command(event: Event, index: int, action: dict, now: datetime) -> dict[str, Any]:
    """Queue a command, named like the action, for a machine of the same owner."""
    machine = _machine(str(action["machine_id"]), event.device.owner_id)
    params = action.get("params") or {}
    expires_in = action.get("expires_in") or device_services.COMMAND_LIFETIME
    if not isinstance(params, dict) or not isinstance(expires_in, int):
        raise CannotDo("params must be an object and expires_in a number of seconds.")
    try:
        command = device_services.queue_command(
            device=machine, name=action["type"], params=params, expires_in=expires_in, now=now
        )
    except ValidationError as error:
        raise CannotDo("; ".join(error.messages)) from error
    return {"status": "queued", "command_id": str(command.pk)}


def _machine(machine_id: str, owner_id: int) -> Device:
    machine = device_queries.devices_named(machine_id).filter(owner=owner_id).first()
    if machine is None:
        raise CannotDo(f"The device's owner has no machine {machine_id!r}.")
    return machine


HANDLERS = {"notification": _notify}
