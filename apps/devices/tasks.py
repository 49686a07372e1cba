from celery import shared_task
from django.utils import timezone

from apps.devices import services


@shared_task(name="devices.forget_catalog_changes")
def forget_catalog_changes() -> None:
    """Safe to repeat; the next hour's run makes up for a lost one."""
    services.forget_catalog_changes(now=timezone.now())
