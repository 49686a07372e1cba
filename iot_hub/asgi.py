"""What the web server runs: ingest ahead of Django, Django for the rest."""

import os

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")
django.setup()

from apps.telemetry.ingest.asgi import ahead_of  # noqa: E402 - needs the settings

application = ahead_of(ASGIHandler())
