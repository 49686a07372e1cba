from celery import shared_task
from django.utils import timezone

from apps.events import severity


@shared_task(name="events.raise_severities", expires=30)
def raise_severities() -> None:
    """Safe to run twice and at once; beat repeats it, which makes up for a lost or failed run."""
    severity.raise_severities(now=timezone.now())
