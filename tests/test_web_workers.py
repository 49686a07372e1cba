"""Two web processes behind one port."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from django.utils import timezone
from prometheus_client.mmap_dict import MmapedDict

from apps.devices.services import issue_key
from apps.notifications.tests.receivers import wait_for
from apps.telemetry.models import Reading
from tests.processes import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

SENDERS = 8


@pytest.fixture
def hub(start_hub):
    return start_hub("web", WEB_WORKERS="2")


@pytest.fixture
def key(device) -> str:
    return issue_key(device=device, now=timezone.now())[1]


def taking(hub) -> set[int]:
    """The processes that take requests: the children of the one that was started, but for Python's own helper."""
    found = set()
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == hub.pid("web") and b"spawn_main" in (process / "cmdline").read_bytes():
                found.add(int(process.name))
    return found


class Sender(threading.Thread):
    """Posts one reading after the other, each with a time of its own, until `stop` is set."""

    def __init__(self, hub, key: str, number: int, stop: threading.Event):
        super().__init__()
        self._url, self._headers = f"{hub.url}/api/v1/telemetry/", {"Authorization": f"Token {key}"}
        self._number, self._stop_asked = number, stop
        self.acknowledged: list[int] = []
        self.lost = 0

    def run(self) -> None:
        base = int(time.time() - 3600) * 1000 + self._number
        for place in range(1_000_000):
            if self._stop_asked.is_set():
                return
            at = base + place * SENDERS
            message = {"timestamp": at, "metrics": {"vibration": 5.2}}
            try:
                answer = requests.post(self._url, json=message, headers=self._headers, timeout=10)
            except requests.ConnectionError:
                self.lost += 1
                continue
            assert answer.status_code == 201, answer.text
            self.acknowledged.append(at)


def test_one_that_dies_is_replaced_and_what_was_acknowledged_is_stored(hub, key):
    first = wait_for(lambda: len(taking(hub)) == 2 and taking(hub))
    stop = threading.Event()
    senders = [Sender(hub, key, number, stop) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        for victim in first:
            before = taking(hub)
            wait_for(lambda: all(sender.acknowledged for sender in senders))
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda before=before: len(taking(hub)) == 2 and taking(hub) - before, seconds=20)
        # Both that were there at first are gone: those that came instead take requests.
        told = [len(sender.acknowledged) for sender in senders]
        wait_for(
            lambda: all(len(sender.acknowledged) > so_far for sender, so_far in zip(senders, told, strict=True)),
            seconds=20,
        )
    finally:
        stop.set()
        for sender in senders:
            sender.join()

    stored = {round(at.timestamp() * 1000) for at in Reading.objects.values_list("ts", flat=True)}
    acknowledged = {at for sender in senders for at in sender.acknowledged}
    assert acknowledged <= stored
    assert len(stored) <= len(acknowledged) + sum(sender.lost for sender in senders)


def counting(hub) -> set[str]:
    """The files of the processes that have counted readings."""
    return {
        file.name
        for file in (ROOT / ".local" / "metrics").glob(f"*-{hub.port}/counter_*.db")
        if any("ingest_readings" in key and value for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)))
    }


def test_both_take_requests_and_are_counted_together(hub, key):
    wait_for(lambda: len(taking(hub)) == 2)
    stop = threading.Event()
    senders = [Sender(hub, key, number, stop) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        wait_for(lambda: len(counting(hub)) == 2, seconds=20)
    finally:
        stop.set()
    for sender in senders:
        sender.join()

    acknowledged = sum(len(sender.acknowledged) for sender in senders)
    lines = requests.get(f"{hub.url}/metrics", timeout=10).text.splitlines()
    counted = [line for line in lines if line.startswith("iot_hub_ingest_readings_total")]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counted) == acknowledged, counted
