"""What happened in the demo's week: found by the hub's own rules, told by its own dispatch, all in the past.

Nobody is mailed about it: the deliveries are sent, each at its first attempt, before anybody can see them.
"""

from datetime import datetime, timedelta

from apps.devices.models import DeviceCommand
from apps.events import services as event_services
from apps.events.models import Event
from apps.notifications import services as notification_services
from apps.notifications.models import NotificationAttempt, NotificationDelivery
from apps.rules import evaluation
from apps.users.models import User
from iot_hub.demo import people, world
from iot_hub.demo.telemetry import Samples

NOTICED = timedelta(seconds=1)
TOLD = timedelta(seconds=3)
STOPPED = timedelta(minutes=2)
NOTED = timedelta(minutes=2)

# Who said what about which event, by the rule's name.
REMARKS = {
    "Excessive vibration": (people.ALEX, "Bearing greased and tightened, press released after 45 minutes."),
    "Cold room too warm": (people.JORDAN, "A delivery stood in the doorway. Goods checked, all fine."),
}


def write(*, samples: Samples, now: datetime) -> None:
    """In the caller's transaction: events with their deliveries and commands, states of the rules."""
    evaluation.judge(samples=samples, now=now)
    for event in Event.objects.filter(device__in=world.devices()).order_by("timestamp", "pk"):
        _date_back(event)
        notification_services.dispatch(event_id=event.pk, now=event.timestamp + NOTICED)
        event.refresh_from_db()
        _finish(event)
        _remark(event)
    _acknowledge("Battery low", by=people.JORDAN)


def _date_back(event: Event) -> None:
    event.created_at = event.timestamp + NOTICED
    if event.resolved_at:
        event.resolved_at = datetime.fromisoformat(event.metadata["cleared"]) + NOTICED
    event.save(update_fields=["created_at", "resolved_at"])


def _finish(event: Event) -> None:
    """As if mail server and machine had answered."""
    sent, done = event.timestamp + TOLD, event.timestamp + STOPPED
    deliveries = event.deliveries.filter(status=NotificationDelivery.Status.PENDING)
    began = event.timestamp + NOTICED
    attempt = {"started_at": began, "finished_at": sent, "outcome": NotificationAttempt.Outcome.SENT}
    NotificationAttempt.objects.bulk_create(NotificationAttempt(delivery=row, **attempt) for row in deliveries)
    deliveries.update(
        status=NotificationDelivery.Status.SENT,
        attempt_count=1,
        created_at=event.created_at,
        last_attempt_at=began,
        sent_at=sent,
    )
    for entry in event.execution_results:
        if command_id := entry.get("command_id"):
            _complete(command_id, event, done)
            entry |= {"status": "completed", "completed_at": done.isoformat()}
        elif entry["status"] == "pending":
            count = {"sent_count": entry["recipient_count"], "failed_count": 0}
            entry |= {"status": "completed", "completed_at": sent.isoformat(), **count}
    event.save(update_fields=["execution_results"])


def _complete(command_id: str, event: Event, done: datetime) -> None:
    DeviceCommand.objects.filter(pk=command_id).update(
        status=DeviceCommand.Status.COMPLETED,
        result={"stopped": True},
        created_at=event.created_at,
        delivered_at=event.timestamp + TOLD,
        finished_at=done,
    )


def _remark(event: Event) -> None:
    person, body = REMARKS.get(event.rule_name, (None, ""))
    if person is None or not event.resolved_at:
        return
    user = User.objects.get(username=person.username)
    event.acknowledged_by, event.acknowledged_at = user, event.timestamp + NOTED
    event.save(update_fields=["acknowledged_by", "acknowledged_at"])
    event_services.comment(event=event, user=user, body=body, now=event.resolved_at + timedelta(hours=1))


def _acknowledge(rule_name: str, *, by: people.Person) -> None:
    """Somebody knows, but it is not over."""
    user = User.objects.get(username=by.username)
    for event in Event.objects.open().filter(rule__in=world.rules(), rule__name=rule_name):
        at = event.timestamp + timedelta(minutes=25)
        event_services.acknowledge(event=event, user=user, now=at)
        event_services.comment(event=event, user=user, body="Spare battery ordered.", now=at)
