from celery import shared_task
from django.utils import timezone

from apps.devices import command_queue, services


@shared_task(name="devices.forget_catalog_changes")
def forget_catalog_changes() -> None:
    """Safe to repeat; the next hour's run makes up for a lost one."""
    services.forget_catalog_changes(now=timezone.now())


@shared_task(name="devices.expire_commands", expires=30)
def expire_commands() -> None:
    """Safe to repeat; the next sweep makes up for a lost one."""
    while command_queue.expire(now=timezone.now()) == command_queue.EXPIRED_AT_ONCE:
        pass
