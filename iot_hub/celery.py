"""The Celery application. Tasks are nudges: whatever matters is a row first, so results are not kept."""

import gc
import os

from celery import Celery
from celery.signals import task_postrun, task_prerun, worker_process_init
from django.db import close_old_connections
from kombu.transport.redis import Channel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")

# Where Redis dies while tasks are in hand, kombu 5.7 fails on putting them back, and the worker ends. They are only
# nudges: the sweepers find what they were about.
Channel.do_restore = False

app = Celery("iot_hub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def settle_in(**_) -> None:
    """In each of a worker's processes, before its first task."""
    # Code and models stay for good; to look through them for garbage takes longer than to judge a thousand readings.
    gc.freeze()
    # Celery would close the connection after every task, and a new one costs the database more than most tasks do.
    # Here it is kept as the web keeps it (see CELERY_DB_REUSE_MAX): until it is old or broken.
    task_prerun.connect(close_old_connections)
    task_postrun.connect(close_old_connections)
