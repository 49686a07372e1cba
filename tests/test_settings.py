"""What the environment may say."""

import pytest
from celery.fixups.django import DjangoWorkerFixup
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from iot_hub.celery import app
from iot_hub.settings import _per_minute


@pytest.mark.parametrize(("text", "per_minute"), [("off", 0), ("OFF", 0), ("0", 0), ("600", 600), ("", 1000)])
def test_limits_are_read_from_the_environment(monkeypatch, text, per_minute):
    monkeypatch.setenv("INGEST_TEST_LIMIT", text)
    assert _per_minute("INGEST_TEST_LIMIT", "1000") == per_minute


@pytest.mark.parametrize("text", ["fast", "-1", "1.5", "10/s"])
def test_limit_that_makes_no_sense_stops_the_start(monkeypatch, text):
    monkeypatch.setenv("INGEST_TEST_LIMIT", text)
    with pytest.raises(ImproperlyConfigured, match="INGEST_TEST_LIMIT"):
        _per_minute("INGEST_TEST_LIMIT", "off")


def test_workers_keep_their_connection_between_tasks():
    """Celery reads this setting by a name that is older than its others."""
    assert DjangoWorkerFixup(app).db_reuse_max == settings.CELERY_DB_REUSE_MAX > 1
