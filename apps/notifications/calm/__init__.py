"""Who is left in peace, and why. Rows decide; one place answers for a delivery: tell it now, later, or not at all.

`grouping` says when (dispatch asks it), `silences` and quiet hours say whether (asked when the first attempt
is due), `outages` says what a gateway's silence explains, `following` says what more there is to tell of an event.
All of it suppresses telling, never remembering.
"""

from datetime import datetime

from django.db.models import QuerySet

from apps.events.models import Event
from apps.notifications import hours, queries, results
from apps.notifications.calm import grouping, outages
from apps.notifications.calm.outages import Outage, Outages
from apps.notifications.calm.silences import Silences
from apps.notifications.models import NotificationDelivery

Kind, Status = NotificationDelivery.Kind, NotificationDelivery.Status
ONLY_WHILE_NEW = (Kind.REMINDER, Kind.ESCALATION)


class Calm:
    """Answers for a batch of deliveries, whose locks the caller holds. What was tried once is tried on: a message
    that may have arrived is not taken back.
    """

    def __init__(self, events: dict[int, Event], *, now: datetime):
        self._events, self._now = events, now
        self._silences, self._outages = Silences(now=now), Outages(events.values())

    def to_tell(self, deliveries: list[NotificationDelivery]) -> list[NotificationDelivery]:
        """Those that may go out. The others are suppressed or held back here, and say by what."""
        may, quiet, held = [], {}, {}
        for delivery in deliveries:
            outage = self._outage(delivery)
            if reason := self._reason(delivery):
                quiet[delivery] = reason
            elif outage is None:
                may.append(delivery)
            elif self._outages.is_ours and (told := outage.told_by(delivery)):
                later = held if delivery.kind == Kind.OPENED else quiet
                later[delivery] = outages.reason_for(outage, told)
            elif self._outages.is_ours:
                may.append(delivery)
        _suppress(quiet, self._now)
        _hold(held, self._now)
        return sorted(may, key=lambda delivery: not self._is_of_the_gateway(delivery))

    def gather(self, leader: NotificationDelivery) -> set[int]:
        """Put what waits for the same recipient into this message, which is about to go out for the first time."""
        if not self._is_first(leader):
            return set()
        along = set()
        if outage := self._outage(leader):
            along |= self._join(leader, self._may_join(outage.waiting(leader)))
            outages.write(leader, outage, self._zone(leader))
        if leader.is_grouped and (members := self._may_join(grouping.waiting(leader), beside_outages=True)):
            grouping.write(leader, members)
            along |= self._join(leader, members)
        return along

    def _may_join(self, waiting: QuerySet, *, beside_outages: bool = False) -> list[NotificationDelivery]:
        rows = waiting.select_for_update(skip_locked=True, of=("self",), no_key=True).select_related("template")
        found = list(rows.order_by("pk"))
        if not found:
            return []
        calm = Calm(queries.events_of(found), now=self._now)
        return [row for row in calm.to_tell(found) if not (beside_outages and calm._outage(row))]

    @staticmethod
    def _join(leader: NotificationDelivery, members: list[NotificationDelivery]) -> set[int]:
        ids = {member.pk for member in members}
        NotificationDelivery.objects.filter(pk__in=ids).update(leader=leader, suppressed_by="")
        return ids

    def _is_first(self, delivery: NotificationDelivery) -> bool:
        return delivery.last_attempt_at is None and delivery.event_id in self._events

    def _outage(self, delivery: NotificationDelivery) -> Outage | None:
        tells_of_silence = self._is_first(delivery) and delivery.kind != Kind.RECOVERY
        return self._outages.of(self._events[delivery.event_id]) if tells_of_silence else None

    def _is_of_the_gateway(self, delivery: NotificationDelivery) -> bool:
        """Its message leads, and those behind it go along."""
        outage = self._outage(delivery)
        return outage is not None and outage.gateway.pk == self._events[delivery.event_id].device_id

    def _reason(self, delivery: NotificationDelivery) -> str:
        if not self._is_first(delivery):
            return ""
        event = self._events[delivery.event_id]
        if delivery.suppressed_by and event.status != Event.Status.NEW:
            return f"{delivery.suppressed_by} The event was {event.status} meanwhile."
        if delivery.kind in ONLY_WHILE_NEW and event.status != Event.Status.NEW:
            return f"The event was {event.status} before."
        return self._silences.reason_for(event) or self._quiet_hours(delivery)

    def _quiet_hours(self, delivery: NotificationDelivery) -> str:
        """The recipient's own, else the template's."""
        template = delivery.template
        text = self._entry(delivery).get("quiet_hours") or (template.quiet_hours if template else "")
        if not text:
            return ""
        zone = self._zone(delivery)
        try:
            return f"Quiet hours {text} ({zone})" if hours.are_quiet(text, zone, self._now) else ""
        except (ValueError, KeyError):  # hours that nobody can read keep nothing back
            return ""

    def _entry(self, delivery: NotificationDelivery) -> dict:
        return queries.entry_of(delivery, self._events[delivery.event_id])

    def _zone(self, delivery: NotificationDelivery) -> str:
        address = {"type": delivery.recipient_type, "address": delivery.recipient_address}
        return queries.zones_of([self._entry(delivery) | address], delivery.template)[0]


def _suppress(quiet: dict[NotificationDelivery, str], now: datetime) -> None:
    for delivery, reason in quiet.items():
        delivery.status, delivery.suppressed_by = Status.SUPPRESSED, reason[:255]
    NotificationDelivery.objects.bulk_update(quiet, ["status", "suppressed_by"])
    if quiet:
        results.follow_deliveries(event_ids={delivery.event_id for delivery in quiet}, now=now)


def _hold(held: dict[NotificationDelivery, str], now: datetime) -> None:
    for delivery, reason in held.items():
        delivery.next_attempt_at, delivery.suppressed_by = outages.look_again(now), reason[:255]
    NotificationDelivery.objects.bulk_update(held, ["next_attempt_at", "suppressed_by"])
