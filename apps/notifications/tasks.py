"""Nudges and sweepers. The rows say what is to be done, so a task may be lost, late, or run twice."""

import logging
import time
from typing import Any

from celery import Task, shared_task
from django.utils import timezone

from apps.notifications import queries, services
from apps.notifications.calm import following
from apps.notifications.sender import Sender

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 45
# A receiver that sends a byte now and then outlives every timeout; the claim must outlive its send.
SEND_SECONDS = queries.lease().total_seconds() * 0.8
STALE_SECONDS = 30  # a task that waited longer has been overtaken by the sweepers
BROKER_REST_SECONDS = 5.0

_broker_away_until = 0.0


@shared_task(name="notifications.dispatch_pending", expires=STALE_SECONDS)
def dispatch_pending() -> None:
    """Turn undispatched events into deliveries, and have a worker send them."""
    created = sum(len(delivery_ids) for delivery_ids in services.dispatch_pending(now=timezone.now()))
    if created:
        _enqueue(send_due)


@shared_task(name="notifications.follow_up", expires=STALE_SECONDS)
def follow_up() -> None:
    """Reminders, escalations, recoveries: whatever has become due. The next sweep makes up for a lost one."""
    if following.follow_up(now=timezone.now()):
        _enqueue(send_due)


@shared_task(name="notifications.send_due", expires=STALE_SECONDS)
def send_due() -> None:
    """Send what is due, most urgent first, until nothing is left or the next sweep takes over.

    Retries are rows too: `next_attempt_at` says when.
    """
    Sender().run(seconds=SWEEP_SECONDS, grace=SEND_SECONDS)


def nudge(**_: Any) -> None:
    """Ask a worker to dispatch new events. Never raises, and never keeps the caller waiting for long."""
    _enqueue(dispatch_pending)


def _enqueue(task: Task, *args: Any) -> None:
    """After a failure the broker is left alone for a while: a caller with a thousand nudges waits once."""
    global _broker_away_until
    if time.monotonic() < _broker_away_until:
        return
    try:
        task.apply_async(args, retry=False)
    except Exception as error:
        _broker_away_until = time.monotonic() + BROKER_REST_SECONDS
        logger.warning("The broker is away, the sweepers will do it: %s", error)
