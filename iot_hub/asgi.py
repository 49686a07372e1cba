"""What the web server runs: ingest and long polls ahead of Django, Django for the rest."""

import os
import warnings

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")
django.setup()
# WhiteNoise's, of static files: small, and in memory of the kernel.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from apps.devices import asgi as commands  # noqa: E402 - needs the settings
from apps.telemetry.ingest.edge import Edge  # noqa: E402, F401 - the protocol of its connections

application = commands.ahead_of(ASGIHandler())
