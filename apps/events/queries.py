from django.db.models import QuerySet

from apps.events.models import Event, EventComment
from apps.users.models import User


def events_for(user: User) -> QuerySet[Event]:
    """The events that a person may see, with all that a list shows of them."""
    shown = ("rule", "device", "device_metric__metric", "acknowledged_by", "resolved_by")
    return Event.objects.visible_to(user).select_related(*shown)


def comments_of(event: Event) -> QuerySet[EventComment]:
    return event.comments.select_related("author")
