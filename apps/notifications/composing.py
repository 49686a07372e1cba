"""Deliveries as they are written into the queue: one for each recipient, in words and times of the recipient."""

from datetime import datetime, timedelta

from apps.events.models import Event
from apps.notifications import queries, recipients, rendering
from apps.notifications.calm import grouping
from apps.notifications.models import NotificationDelivery, NotificationTemplate

Kind = NotificationDelivery.Kind
PREFIX = {Kind.REMINDER: "Reminder: ", Kind.ESCALATION: "Nobody has acknowledged: ", Kind.RECOVERY: "Resolved: "}


def create(
    *,
    event: Event,
    index: int,
    template: NotificationTemplate | None,
    to: list[dict],
    kind: Kind = Kind.OPENED,
    sequence: int = 0,
    now: datetime,
) -> None:
    """In the caller's transaction. What is in the queue already is not written twice."""
    keys = [_group_key(template, kind, recipient) for recipient in to]
    plans = grouping.plan(keys=keys, now=now)
    zones = queries.zones_of(to, template)
    texts = {zone: _render(event, template, kind, zone) for zone in set(zones)}
    rows = [
        NotificationDelivery(
            event=event,
            action_index=index,
            template=template,
            kind=kind,
            sequence=sequence,
            group_key=key,
            is_grouped=plans[key].is_grouped,
            next_attempt_at=plans[key].at,
            priority=template.priority if template else 1,
            **_of_recipient(recipient),
            **texts[zone],
            **_following(template, kind, now),
        )
        for key, zone, recipient in zip(keys, zones, to, strict=True)
    ]
    NotificationDelivery.objects.bulk_create(rows, ignore_conflicts=True)


def _group_key(template: NotificationTemplate | None, kind: Kind, recipient: dict) -> str:
    address = recipients.address_of(recipient)
    template_id = template.pk if template else None
    return grouping.key_of(template_id=template_id, kind=kind, recipient_type=recipient["type"], address=address)


def _of_recipient(recipient: dict) -> dict:
    return {
        "recipient_type": recipient["type"],
        "recipient_address": recipients.address_of(recipient),
        "recipient_name": recipient.get("name", ""),
        "lane": recipients.lane_of(recipient),
    }


def _render(event: Event, template: NotificationTemplate | None, kind: Kind, zone: str) -> dict:
    context = queries.context_of(event, zone)
    if template is None:
        rendered = rendering.plain_text(context)
    else:
        subject, message = template.subject_template, template.message_template
        rendered = rendering.render(subject=subject, message=message, context=context)
    prefix = PREFIX.get(kind, "")
    return {
        "rendered_subject": f"{prefix}{rendered.subject}"[: rendering.MAX_SUBJECT],
        "rendered_message": f"{prefix}{rendered.text}",
        "error_message": rendered.error,
    }


def _following(template: NotificationTemplate | None, kind: Kind, now: datetime) -> dict:
    """When to look whether somebody has taken care; an escalation is followed to its recovery only."""
    if template is None or kind not in (Kind.OPENED, Kind.ESCALATION):
        return {}
    minutes = [template.repeat_minutes, template.escalate_after_minutes] if kind == Kind.OPENED else []
    looks = [now + timedelta(minutes=number) for number in minutes if number]
    return {"is_followed": bool(looks) or template.tell_recovery, "follow_up_at": min(looks, default=None)}
