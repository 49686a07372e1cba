"""The settings of ingest as a dictionary: each request asks for several, and Django looks them up by a function."""

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

OPTIONS = dict(settings.TELEMETRY)


@receiver(setting_changed)
def follow(setting: str, **_) -> None:
    """As tests change settings."""
    if setting == "TELEMETRY":
        OPTIONS.clear()
        OPTIONS.update(settings.TELEMETRY)
