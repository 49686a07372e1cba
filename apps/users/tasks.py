from celery import shared_task
from django.core.management import call_command


@shared_task(name="users.forget_expired_tokens")
def forget_expired_tokens() -> None:
    """Every login leaves a row. Safe to repeat; the next day's run makes up for a lost one."""
    call_command("flushexpiredtokens", verbosity=0)
