"""What tests of calm tell: when it happens, and what goes out by then."""

from datetime import UTC, datetime, timedelta

from apps.notifications import sending
from apps.notifications.models import NotificationDelivery

NOW = datetime(2026, 11, 20, 10, 0, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def send_due(now=NOW):
    claimed = sending.claim(now=now, limit=100)
    sending.settle([sending.send(one) for one in claimed])
    return len(claimed)


def delivery_of(event, kind="opened"):
    return NotificationDelivery.objects.get(event=event, kind=kind)
