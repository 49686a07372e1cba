"""Work of telemetry that beat starts."""

import logging

from celery import shared_task
from django.conf import settings
from django.db import OperationalError, connection
from django.utils import timezone

from apps.telemetry.timescale import retention

logger = logging.getLogger(__name__)


@shared_task(
    name="telemetry.apply_retention",
    autoretry_for=(OperationalError,),  # a lock that was not to be had in time
    retry_backoff=30,
    max_retries=3,
)
def apply_retention() -> None:
    """Drops chunks older than TELEMETRY_RETENTION. Safe to run twice: the second finds nothing."""
    dropped = retention.apply(connection, settings.TELEMETRY, now=timezone.now())
    if dropped:
        logger.info("Dropped %d chunks older than %s.", len(dropped), settings.TELEMETRY["RETENTION"])
