"""A whole hub on stores of its own: everything in it may be killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import requests

from apps.notifications.tests.receivers import wait_for
from tests.faults.stores import Stores
from tests.processes import HubProcesses

INSTANCE = os.environ.get("IOT_HUB_INSTANCE", "test") + "-faults"
STORES = ("postgres", "redis")
PROCESSES = ("web", "worker", "beat")
PASSWORD = "a-Long-passw0rd"
SETTLED_IN = 120
UNSETTLED = {
    "batches are not judged": "watched_batches",
    "events are not dispatched": "events WHERE dispatched_at IS NULL",
    "deliveries are not sent": "notification_deliveries WHERE status <> 'sent'",
}


class Hub:
    """`kill` and `start` take the names of STORES and PROCESSES."""

    def __init__(self, log_dir: Path):
        self.stores = Stores(INSTANCE)
        self.processes = HubProcesses(
            log_dir,
            **self.stores.urls,
            CELERY_BROKER_URL="",
            DATABASE_REPLICA_URL="",
            ENABLE_SEED_DATA="false",
            DJANGO_SUPERUSER_PASSWORD=PASSWORD,
            WEBHOOK_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
            NOTIFICATION_TIMEOUT="1",
            # Each event is told by itself, that they can be counted.
            NOTIFICATION_GROUP_WAIT="0",
            NOTIFICATION_DIGEST_ABOVE="1000000",
        )
        self.url = self.processes.url
        self.port = self.processes.port

    def set_up(self) -> None:
        self.stores.wipe()
        self.start(*STORES)
        self.processes.run("prepare")
        self.start(*PROCESSES)
        self.processes.run(
            *("python", "manage.py", "createsuperuser", "--noinput", "--username=chief", "--email=chief@example.com")
        )
        self.processes.wait_until_live()

    def kill(self, *names: str) -> None:
        for name in names:
            (self.stores if name in STORES else self.processes).kill(name)

    def start(self, *names: str) -> None:
        """A store answers when this returns, a process only soon after."""
        for name in names:
            (self.stores if name in STORES else self.processes).start(name)

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        self.kill(*names)
        try:
            yield
        finally:
            self.start(*names)

    def restart_web(self) -> None:
        with self.without("web"):
            pass
        self.processes.wait_until_live()

    def count_readings(self, device: str) -> int:
        series = "SELECT id FROM device_metrics WHERE device_id = %s"
        return self.sql(f"SELECT count(*) FROM telemetry WHERE device_metric_id IN ({series})", device)[0][0]

    def sql(self, query: str, *parameters: Any) -> list[tuple]:
        connection = psycopg2.connect(self.stores.urls["DATABASE_URL"])
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query, parameters)
                return cursor.fetchall()
        finally:
            connection.close()

    def stream(self, query: str, *parameters: Any) -> Iterator[tuple]:
        """The same for more rows than one wants to hold."""
        connection = psycopg2.connect(self.stores.urls["DATABASE_URL"])
        try:
            with connection, connection.cursor(name="stream") as cursor:
                cursor.itersize = 50_000
                cursor.execute(query, parameters)
                yield from cursor
        finally:
            connection.close()

    def settle(self) -> list[str]:
        """Waits until all readings are judged and all events told of. Returns what was not, in sentences."""
        with suppress(AssertionError):
            wait_for(lambda: not any(self._unsettled().values()), seconds=SETTLED_IN)
        found = [f"{count} {what} after {SETTLED_IN} seconds" for what, count in self._unsettled().items() if count]
        return found + [f"the {name} process ended by itself" for name in self.processes.ended()]

    def _unsettled(self) -> dict[str, int]:
        return {what: self.sql(f"SELECT count(*) FROM {rows}")[0][0] for what, rows in UNSETTLED.items()}


class Chief:
    """The administrator at a terminal: `chief.post("rules/", {...})`."""

    def __init__(self, hub: Hub):
        self._url = f"{hub.url}/api/v1"
        self._headers: dict[str, str] = {}
        token = self.post("auth/token/", {"username": "chief", "password": PASSWORD})["access"]
        self._headers = {"Authorization": f"Bearer {token}"}
        kind = {"name": "sensor", "metric_name": "load", "metric_unit": "kN"}
        self._type = self.post("device-types/", kind)["id"]

    def post(self, path: str, document: dict) -> dict:
        answer = requests.post(f"{self._url}/{path}", json=document, headers=self._headers, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def add_device(self, serial_number: str) -> tuple[str, str]:
        """Its id and a key of its own."""
        document = {"serial_number": serial_number, "name": serial_number, "device_type": self._type}
        device = self.post("devices/", document)["id"]
        return device, self.post(f"devices/{device}/keys/", {})["key"]
