"""What the environment may say."""

import pytest
from django.core.exceptions import ImproperlyConfigured

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
