"""Tasks carry the work from hand to hand; without a broker, nudges are lost and nobody waits for them."""

import os
import socket
import subprocess
import sys

import pytest
from celery import current_app
from django.conf import settings as django_settings

from apps.events.tests.factories import EventFactory
from apps.notifications import tasks
from apps.notifications.models import NotificationDelivery
from apps.notifications.tests.factories import TemplateFactory
from apps.notifications.tests.receivers import free_port

NUDGES = """
import time, django
django.setup()
from apps.notifications import tasks
started = time.monotonic()
for _ in range(1000):
    tasks.nudge()
print(time.monotonic() - started)
"""


@pytest.fixture
def undispatched(device, hook):
    template = TemplateFactory(recipients=[{"type": "webhook", "url": hook.url}])
    action = {"type": "notification", "template_id": template.pk, "status": "pending"}
    return EventFactory(device=device, execution_results=[action])


@pytest.fixture
def eager_worker():
    """Tasks run where they are called."""
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = False


def test_nudge_brings_an_event_to_its_recipient(undispatched, hook, eager_worker):
    tasks.nudge()

    assert hook.requests[0].json["event"]["id"] == undispatched.pk
    undispatched.refresh_from_db()
    assert undispatched.execution_results[0]["status"] == "completed"


def test_sweepers_do_it_without_any_nudge(undispatched, hook, monkeypatch):
    monkeypatch.setattr(tasks, "_enqueue", lambda *_: None)  # every nudge is lost
    tasks.dispatch_pending()
    assert NotificationDelivery.objects.get().status == "pending"

    tasks.send_due()
    assert len(hook.requests) == 1


def seconds_for_a_thousand_nudges(port: int) -> float:
    environment = os.environ | {"CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/0"}
    environment["DJANGO_SETTINGS_MODULE"] = "iot_hub.settings"
    done = subprocess.run(
        [sys.executable, "-c", NUDGES],
        env=environment,
        cwd=django_settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout)


def test_nudges_to_an_absent_broker_return_at_once():
    assert seconds_for_a_thousand_nudges(free_port()) < 2


def test_nudges_to_a_silent_broker_wait_for_it_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert seconds_for_a_thousand_nudges(silent.getsockname()[1]) < 8
