"""What the web server runs: ingest and long polls ahead of Django, Django for the rest."""

import os

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")
django.setup()

from apps.devices import asgi as commands  # noqa: E402 - needs the settings
from apps.telemetry.ingest import asgi as ingest  # noqa: E402

application = ingest.ahead_of(commands.ahead_of(ASGIHandler()))
