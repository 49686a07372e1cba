"""Who is left in peace, and why. Rows decide; one place answers for a delivery: tell it now, later, or not at all.

`grouping` says when (dispatch asks it), `silences` and quiet hours say whether (asked when the first attempt
is due), `following` says what more there is to tell of an event. All of it suppresses telling, never remembering.
"""

from datetime import datetime

from apps.events.models import Event
from apps.notifications import hours, queries, results
from apps.notifications.calm.silences import Silences
from apps.notifications.models import NotificationDelivery

Kind = NotificationDelivery.Kind
ONLY_WHILE_NEW = (Kind.REMINDER, Kind.ESCALATION)


def to_tell(
    deliveries: list[NotificationDelivery], events: dict[int, Event], *, now: datetime
) -> list[NotificationDelivery]:
    """Those that may go out. The others are suppressed here, and say by what; the caller holds their locks.

    What was tried once is tried on: a message that may have arrived is not taken back.
    """
    silences, told, quiet = Silences(now=now), [], {}
    for delivery in deliveries:
        event = events.get(delivery.event_id)
        first = delivery.last_attempt_at is None and event is not None
        reason = _reason(delivery, event, silences, now) if first else ""
        if reason:
            quiet[delivery] = reason
        else:
            told.append(delivery)
    _suppress(quiet, now)
    return told


def _reason(delivery: NotificationDelivery, event: Event, silences: Silences, now: datetime) -> str:
    if delivery.kind in ONLY_WHILE_NEW and event.status != Event.Status.NEW:
        return f"The event was {event.status} before."
    return silences.reason_for(event) or _quiet_hours(delivery, event, now)


def _quiet_hours(delivery: NotificationDelivery, event: Event, now: datetime) -> str:
    """The recipient's own, else the template's."""
    entry, template = queries.entry_of(delivery, event), delivery.template
    zone = entry.get("timezone") or (template.timezone if template else "") or "UTC"
    text = entry.get("quiet_hours") or (template.quiet_hours if template else "")
    try:
        return f"Quiet hours {text} ({zone})" if hours.are_quiet(text, zone, now) else ""
    except (ValueError, KeyError):  # hours that nobody can read keep nothing back
        return ""


def _suppress(quiet: dict[NotificationDelivery, str], now: datetime) -> None:
    for delivery, reason in quiet.items():
        delivery.status, delivery.suppressed_by = NotificationDelivery.Status.SUPPRESSED, reason[:255]
    NotificationDelivery.objects.bulk_update(quiet, ["status", "suppressed_by"])
    if quiet:
        results.follow_deliveries(event_ids={delivery.event_id for delivery in quiet}, now=now)
