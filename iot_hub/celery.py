"""The Celery application. Tasks are nudges: whatever matters is a row first, so results are not kept."""

import gc
import os

from celery import Celery
from celery.signals import worker_process_init
from kombu.transport.redis import Channel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")

# Where Redis dies while tasks are in hand, kombu 5.7 fails on putting them back, and the worker ends. They are only
# nudges: the sweepers find what they were about.
Channel.do_restore = False

app = Celery("iot_hub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def keep_what_is_loaded(**_) -> None:
    """Code and models stay for good. Looking through them for garbage takes longer than judging a thousand readings."""
    gc.freeze()
