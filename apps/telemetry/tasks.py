"""Work of telemetry that beat starts."""

import logging

from celery import shared_task
from django.conf import settings
from django.db import OperationalError, connection
from django.utils import timezone

from apps.telemetry import services
from apps.telemetry.timescale import retention

logger = logging.getLogger(__name__)


@shared_task(name="telemetry.refresh_rollups")
def refresh_rollups() -> None:
    """Takes new and changed hours into the rollups. Safe to run twice, and two at once take turns."""
    services.refresh_rollups(now=timezone.now())


@shared_task(
    name="telemetry.apply_retention",
    autoretry_for=(OperationalError,),  # a lock that was not to be had in time
    retry_backoff=30,
    max_retries=3,
)
def apply_retention() -> None:
    """Archives and drops what is older than it is kept. Safe to run twice: the second finds nothing."""
    services.refresh_rollups(now=timezone.now())
    for line in retention.apply(connection, settings.TELEMETRY, now=timezone.now()):
        logger.info(line)
