import asyncio
import json
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.db import connections
from django.test import Client

from apps.devices.models import DeviceKey
from apps.devices.tests.factories import DeviceKeyFactory
from apps.telemetry.ingest import intake
from apps.telemetry.ingest.batch import Batch
from apps.telemetry.ingest.http import Request, Response
from apps.telemetry.ingest.receipt import Receipt
from apps.telemetry.models import Reading

NOW = datetime.now(UTC).replace(microsecond=0)


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


@pytest.fixture
def latest(api, alex):
    """What alex, or another user, is answered: `latest(device="VIB-SN-001")`."""

    def get(user=alex, **query) -> list[dict]:
        answer = api(user).get(f"/api/v1/telemetry/latest/?{urlencode(query, doseq=True)}")
        assert answer.status_code == 200, answer.content
        return answer.json()["results"]

    return get


@pytest.fixture
def value(latest):
    """The newest value of the device's vibration."""
    return lambda: latest(device="VIB-SN-001", metric="vibration")[0]["value"]


def at(seconds: float, value=None, **fields) -> dict:
    """A message of so many seconds before NOW."""
    when = NOW - timedelta(seconds=seconds)
    return {"timestamp": when.isoformat(), "metrics": {"vibration": seconds if value is None else value}} | fields


def issue(device, **fields) -> str:
    secret = DeviceKey.new_secret()
    DeviceKeyFactory(device=device, secret=secret, **fields)
    return secret


def commit(ingesting, batch: Batch) -> Receipt:
    """Hands a batch to the writer and waits for its receipt."""
    outcome: Future = Future()
    ingesting.writer.submit(batch, outcome.set_result)
    receipt = outcome.result(timeout=60)
    assert isinstance(receipt, Receipt), receipt
    return receipt


def answer_to(request: Request) -> Response:
    """The way that the fast edge takes, in an event loop of its own."""

    async def scenario():
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        intake.Intake(loop).take(request, answer.set_result)
        return await answer

    try:
        return asyncio.run(scenario())
    finally:
        close_connections_of_intake()


def close_connections_of_intake() -> None:
    """Its threads keep them for the next request; the test database is to go without them."""
    for _ in range(intake._threads._max_workers * 4):
        intake._threads.submit(connections.close_all).result()


def stored() -> list[tuple]:
    """(serial number, metric, value) of every reading, oldest first."""
    readings = Reading.objects.select_related("device_metric__device", "device_metric__metric")
    return [
        (reading.device_metric.device.serial_number, reading.device_metric.metric.name, reading.value)
        for reading in readings.order_by("ts", "device_metric_id")
    ]
