"""Devices that wait for commands at a real web process: many at once, and nobody else is held up."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.utils import timezone

from apps.devices import services
from apps.devices.models import DeviceCommand
from apps.devices.tests.factories import DeviceFactory
from apps.notifications.tests.receivers import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

DEVICES = 100


@pytest.fixture
def web(start_hub):
    return start_hub("web")


def test_a_hundred_devices_wait_at_one_process_and_each_gets_its_own_command(web, alex):
    devices = [DeviceFactory(owner=alex) for _ in range(DEVICES)]
    keys = [services.issue_key(device=device, now=timezone.now())[1] for device in devices]
    path = f"{web.url}/api/v1/device/commands/"

    def poll(key):
        return requests.get(f"{path}?wait=60", headers={"Authorization": f"Token {key}"}, timeout=90).json()["results"]

    with ThreadPoolExecutor(DEVICES) as pool:
        answers = [pool.submit(poll, key) for key in keys]
        # Django answers while they all wait.
        assert requests.get(f"{web.url}/healthz", timeout=20).status_code == 200
        commands = [services.queue_command(device=device, name="blink", now=timezone.now()) for device in devices]
        taken = [answer.result() for answer in answers]

    assert [[row["id"] for row in rows] for rows in taken] == [[str(command.pk)] for command in commands]
    for key, command in zip(keys, commands, strict=True):
        said = {"status": "completed", "result": {"blinked": 3}}
        address = f"{path}{command.pk}/acknowledge/"
        answer = requests.post(address, json=said, headers={"Authorization": f"Token {key}"}, timeout=20)
        assert answer.status_code == 200, answer.text
    assert set(DeviceCommand.objects.values_list("status", flat=True)) == {"completed"}


def test_device_that_hangs_up_leaves_its_command_in_the_queue(web, device):
    key = services.issue_key(device=device, now=timezone.now())[1]
    path, headers = f"{web.url}/api/v1/device/commands/", {"Authorization": f"Token {key}"}
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{path}?wait=60", headers=headers, timeout=1)
    services.queue_command(device=device, name="stop", now=timezone.now())

    rows = wait_for(lambda: requests.get(path, headers=headers, timeout=20).json()["results"])
    assert [row["name"] for row in rows] == ["stop"]
