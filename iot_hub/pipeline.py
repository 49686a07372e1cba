"""The hand-overs between apps, on one screen. Receivers only nudge: what matters is already a row.

readings stored  →  rules are judged          (row: watched_batches)
events opened    →  notifications are queued  (row: events without dispatched_at)
command changed  →  the event's result follows it (same transaction)
metric bound     →  rules say whether they watch it
device moved     →  rules of its old type or owner let go of it, those of the new watch it
device deleted   →  its readings go with it
"""

from django.utils import timezone

from apps.devices.signals import commands_changed, device_deleting, devices_reassigned, metrics_bound
from apps.events.signals import events_opened
from apps.notifications import results
from apps.notifications import tasks as notification_tasks
from apps.rules import services as rule_services
from apps.rules import tasks as rule_tasks
from apps.telemetry import services as telemetry_services
from apps.telemetry.signals import watched_readings_stored


def connect() -> None:
    metrics_bound.connect(mark_watched, dispatch_uid="pipeline.mark_watched")
    devices_reassigned.connect(settle_rules, dispatch_uid="pipeline.settle_rules")
    device_deleting.connect(forget_readings, dispatch_uid="pipeline.forget_readings")
    commands_changed.connect(follow_commands, dispatch_uid="pipeline.follow_commands")
    watched_readings_stored.connect(evaluate_rules, dispatch_uid="pipeline.evaluate_rules")
    events_opened.connect(dispatch_notifications, dispatch_uid="pipeline.dispatch_notifications")


def mark_watched(*, device_metric_ids, **_):
    rule_services.mark_watched(device_metric_ids=device_metric_ids)


def settle_rules(*, device_ids, **_):
    rule_services.settle(device_ids=device_ids, now=timezone.now())


def forget_readings(*, device_metric_ids, **_):
    telemetry_services.forget_series(device_metric_ids=device_metric_ids)


def follow_commands(*, commands, **_):
    results.follow_commands(commands=commands)


def evaluate_rules(**_):
    rule_tasks.nudge()


def dispatch_notifications(**_):
    notification_tasks.nudge()
