from collections import Counter
from typing import Any

from django.db.models import Count, QuerySet

from apps.events.models import Event, EventComment
from apps.users.models import User


def events_for(user: User) -> QuerySet[Event]:
    """The events that a person may see, with all that a list shows of them."""
    shown = ("rule", "device", "device_metric__metric", "acknowledged_by", "resolved_by")
    return Event.objects.visible_to(user).select_related(*shown)


def comments_of(event: Event) -> QuerySet[EventComment]:
    return event.comments.select_related("author")


def counts(events: QuerySet[Event]) -> dict[str, Any]:
    """How many of `events` there are, by status and severity, in one query. What there is none of counts 0."""
    rows = events.order_by().values_list("status", "severity").annotate(count=Count("pk"))
    by_status, by_severity, open_by_severity = (Counter() for _ in range(3))
    for status, severity, count in rows:
        by_status[status] += count
        by_severity[severity] += count
        open_by_severity[severity] += count if status != Event.Status.RESOLVED else 0
    total = by_status.total()
    return {
        "total": total,
        "open": total - by_status[Event.Status.RESOLVED],
        "status": {status: by_status[status] for status in Event.Status.values},
        "severity": {severity: by_severity[severity] for severity in Event.Severity.values},
        "open_severity": {severity: open_by_severity[severity] for severity in Event.Severity.values},
    }
