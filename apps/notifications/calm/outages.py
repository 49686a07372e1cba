"""A gateway that is down: whatever reports through it falls silent, and one message is enough.

A gateway counts as down if two or more devices of its tree, itself among them, are silent (an open event of a
`no_data` rule) since it last let anything through. The first such message names it and takes the others along. What
falls silent later is held back, and looked at again now and then: as soon as anything comes through, whatever is
still silent is told of by itself.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection
from django.db.models import Max

from apps.devices import queries as device_queries
from apps.devices.models import Device
from apps.events.models import Event
from apps.notifications.models import NotificationDelivery

LISTED = 50  # silent devices in a message; the rest is counted
SEVERITIES = [Event.Severity.CRITICAL, Event.Severity.WARNING, Event.Severity.INFO]

Status = NotificationDelivery.Status


@dataclass(frozen=True)
class Outage:
    gateway: Device
    heard: datetime | None
    silent: tuple[Event, ...]

    def told_by(self, delivery: NotificationDelivery) -> NotificationDelivery | None:
        """The message by which this recipient learned, or is about to learn, that the gateway is down."""
        others = _to_the_same(delivery).filter(gateway=self.gateway, event__in=self.silent)
        return others.filter(status__in=[Status.PENDING, Status.SENT]).order_by("pk").first()

    def waiting(self, delivery: NotificationDelivery):
        """What goes along with this one."""
        waiting = _to_the_same(delivery).filter(event__in=self.silent, status=Status.PENDING)
        return waiting.filter(last_attempt_at=None, leader=None)


class Outages:
    """Found once for a batch of deliveries."""

    def __init__(self, events: Iterable[Event]):
        self._devices = {event.device_id for event in events if is_silence(event)}
        self._by_gateway: dict[UUID, Outage | None] = {}

    def of(self, event: Event) -> Outage | None:
        """That of the highest gateway through which nothing comes; None if this device is silent by itself."""
        if not is_silence(event):
            return None
        found = (self._outage(gateway_id) for gateway_id in self._above[event.device_id])
        return next((outage for outage in found if outage), None)

    @cached_property
    def is_ours(self) -> bool:
        """Whether we may decide, until the end of the transaction: two workers at once would tell twice."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('notifications.outages'))")
            return cursor.fetchone()[0]

    @cached_property
    def _above(self) -> dict[UUID, list[UUID]]:
        chains = defaultdict(list)
        for device_id, gateway_id in device_queries.ways_up(self._devices):
            chains[device_id].append(gateway_id)
        return chains

    def _outage(self, gateway_id: UUID) -> Outage | None:
        if gateway_id not in self._by_gateway:
            self._by_gateway[gateway_id] = _find(gateway_id)
        return self._by_gateway[gateway_id]


def is_silence(event: Event) -> bool:
    rule = event.metadata.get("rule") or {}
    return (rule.get("condition") or {}).get("type") == "no_data"


def _find(gateway_id: UUID) -> Outage | None:
    tree = device_queries.reporting_through(gateway_id)
    if len(tree) < 2:
        return None
    silent = Event.objects.open().filter(device__in=tree, metadata__rule__condition__type="no_data")
    heard = Device.objects.filter(pk__in=tree).aggregate(at=Max("last_seen"))["at"]
    if heard:
        silent = silent.filter(created_at__gte=heard)
    events = tuple(silent.select_related("device").order_by("created_at", "pk"))
    if len({event.device_id for event in events}) < 2:
        return None
    return Outage(Device.objects.get(pk=gateway_id), heard, events)


def _to_the_same(delivery: NotificationDelivery):
    return NotificationDelivery.objects.filter(
        recipient_type=delivery.recipient_type,
        recipient_address=delivery.recipient_address,
        kind=delivery.kind,
        sequence=delivery.sequence,
    ).exclude(pk=delivery.pk)


def reason_for(outage: Outage, told: NotificationDelivery) -> str:
    return f"Gateway {outage.gateway.serial_number} is silent, as event {told.event_id} told."


def look_again(now: datetime) -> datetime:
    return now + timedelta(seconds=max(settings.NOTIFICATIONS["GROUP_INTERVAL"], 60))


def write(leader: NotificationDelivery, outage: Outage, zone: str) -> None:
    """The message about the gateway in front of that about the device. It is kept, so that a repeat says the same."""
    names = sorted({str(event.device) for event in outage.silent})
    severity = min((event.severity for event in outage.silent), key=SEVERITIES.index)
    subject = f"[{severity}] Nothing comes through {outage.gateway.name}: {len(names)} devices are silent"
    lines = [f"Nothing comes through {outage.gateway}{_since(outage, zone)}. Silent are:"]
    lines += [f"- {name}" for name in names[:LISTED]]
    if len(names) > LISTED:
        lines.append(f"… and {len(names) - LISTED} more")
    lines.append("What else falls silent behind it is held back until something comes through again.")
    leader.gateway, leader.is_grouped, leader.suppressed_by = outage.gateway, True, ""
    leader.rendered_message = "\n".join(lines) + f"\n\nThe first of them:\n{leader.rendered_message}"
    leader.rendered_subject = subject[:255]
    leader.save(update_fields=["gateway", "is_grouped", "suppressed_by", "rendered_subject", "rendered_message"])


def _since(outage: Outage, zone: str) -> str:
    if outage.heard is None:
        return ""
    return f" since {outage.heard.astimezone(ZoneInfo(zone)).isoformat(sep=' ', timespec='seconds')}"
