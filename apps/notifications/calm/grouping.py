"""Many events, few messages: what waits for the same recipient at the same time goes out together.

With a group wait the first message of a group goes out after it, and the next one no sooner than the group
interval after that. Without one everybody is told at once, unless more come within a minute than anybody can
read: then the rest is held back, and listed in one digest.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Max, Min, Q, QuerySet

from apps.notifications.models import NotificationDelivery

MINUTE = timedelta(minutes=1)
LISTED = 50  # events in a digest's text; the rest is counted

Status = NotificationDelivery.Status


@dataclass(frozen=True)
class Plan:
    at: datetime
    is_grouped: bool


def key_of(*, template_id: int | None, kind: str, recipient_type: str, address: str) -> str:
    return hashlib.sha256(f"{template_id}\n{kind}\n{recipient_type}\n{address}".encode()).hexdigest()


def plan(*, keys: Iterable[str], now: datetime) -> dict[str, Plan]:
    """When each of these groups may be told of something more."""
    interval = timedelta(seconds=settings.NOTIFICATIONS["GROUP_INTERVAL"])
    recent = NotificationDelivery.objects.filter(group_key__in=list(keys), created_at__gt=now - interval - MINUTE)
    waits = Q(status=Status.PENDING, is_grouped=True, last_attempt_at=None, leader=None, suppressed_by="")
    history = recent.values("group_key").annotate(
        told=Max("last_attempt_at"),
        waiting=Min("next_attempt_at", filter=waits),
        within_a_minute=Count("pk", filter=Q(created_at__gt=now - MINUTE)),
    )
    known = {row["group_key"]: row for row in history}
    return {key: _plan(known.get(key), now, interval) for key in keys}


def _plan(history: dict | None, now: datetime, interval: timedelta) -> Plan:
    wait = timedelta(seconds=settings.NOTIFICATIONS["GROUP_WAIT"])
    if history and history["waiting"]:
        return Plan(history["waiting"], True)
    if wait:
        after_the_last = history["told"] + interval if history and history["told"] else now
        return Plan(max(now + wait, after_the_last), True)
    storm = history is not None and history["within_a_minute"] >= settings.NOTIFICATIONS["DIGEST_ABOVE"]
    return Plan(now + min(interval, MINUTE), True) if storm else Plan(now, False)


def waiting(leader: NotificationDelivery) -> QuerySet[NotificationDelivery]:
    """What goes along with this one. What a gateway's silence holds back does not."""
    return NotificationDelivery.objects.filter(
        group_key=leader.group_key,
        is_grouped=True,
        status=Status.PENDING,
        last_attempt_at=None,
        leader=None,
        suppressed_by="",
    ).exclude(pk=leader.pk)


def write(leader: NotificationDelivery, members: list[NotificationDelivery]) -> None:
    """The text is kept, so that a repeat says the same."""
    subjects = [row.rendered_subject for row in [leader, *members]]
    lines = [f"- {subject}" for subject in subjects[:LISTED]]
    if len(subjects) > LISTED:
        lines.append(f"… and {len(subjects) - LISTED} more")
    text = f"{len(subjects)} events:\n" + "\n".join(lines) + f"\n\nThe first of them:\n{leader.rendered_message}"
    leader.rendered_subject = f"[{len(subjects)} events] {leader.rendered_subject}"[:255]
    leader.rendered_message = text
    leader.save(update_fields=["rendered_subject", "rendered_message"])
