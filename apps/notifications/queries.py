"""What is told and to whom, read from the rows."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac
from django.utils.dateparse import parse_datetime

from apps.events.models import Event
from apps.notifications import recipients
from apps.notifications.channels import Message
from apps.notifications.models import NotificationDelivery, NotificationTemplate
from apps.telemetry.models import Reading
from apps.users.models import User

CONTEXT_ROWS = ("rule", "device__device_type", "device__location", "device_metric__metric")


def templates_for(user: User) -> QuerySet[NotificationTemplate]:
    return NotificationTemplate.objects.visible_to(user).select_related("owner")


class TemplateNames:
    """Templates by name and back, read once: one's own come before shared ones of the same name."""

    def __init__(self):
        rows = list(NotificationTemplate.objects.values_list("pk", "owner_id", "name"))
        self._ids = {(owner_id, name): pk for pk, owner_id, name in rows}
        self._names = {pk: name for pk, _, name in rows}

    def id_of(self, name: str, owner_id: int | None) -> int | None:
        """What somebody (None: nobody in particular) means by a name."""
        return self._ids.get((owner_id, name), self._ids.get((None, name)))

    def name_of(self, template_id: int, owner_id: int | None) -> str | None:
        """The name by which somebody means this template; None if there is none."""
        name = self._names.get(template_id)
        return name if name is not None and self.id_of(name, owner_id) == template_id else None


def deliveries_for(user: User) -> QuerySet[NotificationDelivery]:
    return NotificationDelivery.objects.visible_to(user)


def event_for(user: User, event_id: int) -> Event | None:
    return Event.objects.visible_to(user).select_related(*CONTEXT_ROWS).filter(pk=event_id).first()


def undispatched_events(*, limit: int) -> list[int]:
    """Events that nobody was told of yet, oldest first."""
    waiting = Event.objects.filter(dispatched_at__isnull=True).order_by("created_at", "pk")
    return list(waiting.values_list("pk", flat=True)[:limit])


def lease() -> timedelta:
    """How long a claim holds: longer than the slowest send, whose every step may take the whole timeout."""
    return timedelta(seconds=12 * settings.NOTIFICATIONS["TIMEOUT"])


def due(*, now: datetime) -> QuerySet[NotificationDelivery]:
    """Deliveries to send now: their time has come, and no worker that may still be alive holds them."""
    unclaimed = Q(claimed_at__isnull=True) | Q(claimed_at__lt=now - lease())
    pending = NotificationDelivery.objects.filter(status=NotificationDelivery.Status.PENDING)
    return pending.filter(unclaimed, next_attempt_at__lte=now, leader=None)


def next_due(*, now: datetime, limit: int, blocked_lanes: Iterable[str] = ()) -> QuerySet[NotificationDelivery]:
    """The most urgent ones, leaving out lanes that can't take more at present."""
    rows = due(now=now).exclude(lane__in=list(blocked_lanes)).order_by("priority", "next_attempt_at", "pk")
    return rows[:limit]


def events_of(deliveries: list[NotificationDelivery]) -> dict[int, Event]:
    rows = Event.objects.select_related("device__owner", *CONTEXT_ROWS)
    return rows.in_bulk([delivery.event_id for delivery in deliveries])


def context_of(event: Event, zone: str = "UTC") -> dict[str, dict[str, Any]]:
    """What a message can speak of: plain values in four groups, times as ISO 8601 text in this time zone."""
    device, rule = event.device, event.rule
    return {
        "event": {
            "id": event.pk,
            "severity": event.severity,
            "status": event.status,
            "message": event.message,
            "timestamp": event.timestamp.astimezone(ZoneInfo(zone)).isoformat(),
            "url": f"{settings.PUBLIC_URL}/events/{event.pk}/",
        },
        "rule": {
            "id": str(rule.pk) if rule else None,
            "name": event.rule_name,
            "description": rule.description if rule else "",
        },
        "device": {
            "id": str(device.pk),
            "name": device.name,
            "serial_number": device.serial_number,
            "type": device.device_type.name,
            "location": device.location.name if device.location else "",
        },
        "reading": _in_zone(reading_of(event), zone),
    }


def _in_zone(reading: dict, zone: str) -> dict:
    moment = parse_datetime(reading["timestamp"]) if isinstance(reading["timestamp"], str) else None
    return reading | ({"timestamp": moment.astimezone(ZoneInfo(zone)).isoformat()} if moment else {})


def reading_of(event: Event) -> dict[str, Any]:
    """As the rule noted it when it decided; else as it is stored."""
    blank = {"metric": "", "value": None, "unit": "", "timestamp": None}
    if noted := event.metadata.get("reading"):
        return blank | {key: noted[key] for key in blank if key in noted}
    series = event.device_metric
    if series is None:
        return blank
    stored = Reading.objects.filter(device_metric=series, ts=event.reading_ts).first()
    return {
        "metric": series.metric.name,
        "value": stored.value if stored else None,
        "unit": series.unit or series.metric.unit,
        "timestamp": event.reading_ts.isoformat() if event.reading_ts else None,
    }


def message_of(delivery: NotificationDelivery, event: Event) -> Message:
    texts = {"subject": delivery.rendered_subject, "message": delivery.rendered_message}
    entry = entry_of(delivery, event)
    payload = {"delivery": delivery.pk, **context_of(event), **texts}
    if delivery.kind != NotificationDelivery.Kind.OPENED:
        payload["kind"] = delivery.kind
    if delivery.gateway_id:
        payload["gateway"] = {"id": str(delivery.gateway_id)}
    if delivery.is_grouped:
        payload["events"] = [_in_brief(member, member.event) for member in _with_members(delivery)]
    return Message(
        key=f"{hub_id()}.{delivery.pk}",
        delivery=str(delivery.pk),
        address=delivery.recipient_address,
        name=delivery.recipient_name,
        subject=delivery.rendered_subject,
        text=delivery.rendered_message,
        secret=entry.get("secret", ""),
        previous_secret=entry.get("previous_secret", ""),
        payload=payload,
    )


def entry_of(delivery: NotificationDelivery, event: Event) -> dict:
    """What is written of this recipient. Looked up at every attempt, so that a secret can be changed while a
    message waits.
    """
    action = event.execution_results[delivery.action_index : delivery.action_index + 1]
    own = action[0].get("recipients") if action else None
    template = delivery.template
    shared = [*template.recipients, *template.escalation_recipients] if template else []
    return recipients.entry_for(delivery.recipient_type, delivery.recipient_address, [*(own or []), *shared])


def zones_of(to: list[dict], template: NotificationTemplate | None) -> list[str]:
    """The time zone of each recipient: as it is written there; else that of the person whose email address it is; else
    the template's.
    """
    addresses = {_email(recipient) for recipient in to if not recipient.get("timezone")} - {""}
    people = User.objects.annotate(address=Lower("email")).filter(address__in=addresses).exclude(timezone="")
    own = dict(people.values_list("address", "timezone")) if addresses else {}
    usual = (template.timezone if template else "") or "UTC"
    return [recipient.get("timezone") or own.get(_email(recipient)) or usual for recipient in to]


def _email(recipient: dict) -> str:
    return recipient["address"].lower() if recipient.get("type") == "email" else ""


def _with_members(delivery: NotificationDelivery) -> list[NotificationDelivery]:
    together = NotificationDelivery.objects.filter(Q(pk=delivery.pk) | Q(leader=delivery))
    return list(together.select_related("event__device").order_by("pk"))


def _in_brief(delivery: NotificationDelivery, event: Event) -> dict[str, Any]:
    return {
        "id": event.pk,
        "delivery": delivery.pk,
        "severity": event.severity,
        "status": event.status,
        "message": event.message,
        "device": event.device.serial_number,
        "timestamp": event.timestamp.isoformat(),
    }


@cache
def hub_id() -> str:
    """Tells the messages of this hub from those of another, such as a copy made for tests."""
    return salted_hmac("apps.notifications.hub_id", "", algorithm="sha256").hexdigest()[:16]
