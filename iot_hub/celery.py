"""The Celery application. Tasks are nudges: whatever matters is a row first, so results are not kept."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")

app = Celery("iot_hub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
