import json

import pytest
from django.test import Client

from apps.devices.models import DeviceKey
from apps.devices.tests.factories import DeviceKeyFactory
from apps.telemetry.models import Reading


@pytest.fixture
def key(device) -> str:
    """The secret of a key for alex's device."""
    return issue(device)


@pytest.fixture
def owner_key(device) -> str:
    """The secret of a gateway's key, good for all of alex's devices."""
    return issue(device, scope=DeviceKey.Scope.OWNER)


@pytest.fixture
def post(ingesting, key):
    """Posts to ingest as a device would: `post({...})`, `post([...], key=other, gzip bytes …)`."""

    def send(content, *, key=key, query="", headers=None, content_type="application/json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Authorization": f"Token {key}"} | (headers or {}) if key else headers
        return Client().post(f"/api/v1/telemetry/{query}", body, content_type=content_type, headers=headers)

    return send


def issue(device, **fields) -> str:
    secret = DeviceKey.new_secret()
    DeviceKeyFactory(device=device, secret=secret, **fields)
    return secret


def stored() -> list[tuple]:
    """(serial number, metric, value) of every reading, oldest first."""
    readings = Reading.objects.select_related("device_metric__device", "device_metric__metric")
    return [
        (reading.device_metric.device.serial_number, reading.device_metric.metric.name, reading.value)
        for reading in readings.order_by("ts", "device_metric_id")
    ]
