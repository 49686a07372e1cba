"""The device's side of commands: take, acknowledge, never lose and never mix up."""

import asyncio
import json
import uuid
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from rest_framework.test import APIClient

from apps.devices import asgi, command_queue, services
from apps.devices.models import DeviceCommand, DeviceKey
from apps.devices.tests.factories import DeviceFactory, DeviceKeyFactory

PATH = "/api/v1/device/commands/"


@pytest.fixture
def key(device):
    return services.issue_key(device=device, now=timezone.now())[1]


@pytest.fixture
def gateway_key(device):
    return services.issue_key(device=device, scope="owner", now=timezone.now())[1]


def client(secret):
    return APIClient(headers={"Authorization": f"Token {secret}"})


def queue(device, name="stop", **fields):
    return services.queue_command(device=device, name=name, now=fields.pop("now", timezone.now()), **fields)


def names(answer):
    assert answer.status_code == 200, answer.content
    return [command["name"] for command in answer.json()["results"]]


def acknowledge(secret, command, status="completed", **fields):
    return client(secret).post(f"{PATH}{command.pk}/acknowledge/", {"status": status, **fields})


# ---- keys


def test_use_of_a_key_is_noted_at_most_once_a_minute(device, key):
    acknowledge(key, queue(device))
    (used,) = DeviceKey.objects.values_list("last_used_at", flat=True)
    assert used is not None

    names(client(key).get(PATH))
    assert DeviceKey.objects.get().last_used_at == used

    DeviceKey.objects.update(last_used_at=used - timedelta(minutes=1))
    names(client(key).get(PATH))
    assert DeviceKey.objects.get().last_used_at > used


# ---- taking


def test_device_takes_what_is_queued_oldest_first_and_once(device, key):
    first, _ = queue(device, "first", params={"line": 3}), queue(device, "second")

    answer = client(key).get(PATH)

    assert names(answer) == ["first", "second"]
    assert answer.json()["results"][0] == {
        "id": str(first.pk),
        "name": "first",
        "params": {"line": 3},
        "created_at": answer.json()["results"][0]["created_at"],
        "expires_at": answer.json()["results"][0]["expires_at"],
    }
    first.refresh_from_db()
    assert first.status == "delivered"
    assert names(client(key).get(PATH)) == []


def test_command_that_nobody_acknowledged_is_handed_out_again_under_its_id(device, key):
    command = queue(device)
    client(key).get(PATH)
    DeviceCommand.objects.update(delivered_at=timezone.now() - command_queue.REDELIVER_AFTER)

    (again,) = client(key).get(PATH).json()["results"]

    assert again["id"] == str(command.pk)


def test_expired_command_is_not_handed_out(device, key):
    queue(device, now=timezone.now() - timedelta(hours=2))

    assert names(client(key).get(PATH)) == []


def test_device_gets_nothing_of_other_devices(device, key, alex):
    queue(DeviceFactory(owner=alex))

    assert names(client(key).get(PATH)) == []


def test_gateway_takes_for_the_device_that_it_names(device, alex, gateway_key):
    behind = DeviceFactory(owner=alex, serial_number="M-1")
    queue(behind)

    assert client(gateway_key).get(PATH).status_code == 400
    assert names(client(gateway_key).get(PATH, {"serial_number": "M-1"})) == ["stop"]


def test_devices_of_other_owners_do_not_exist_for_a_gateway(gateway_key):
    DeviceFactory(serial_number="THEIRS")

    assert client(gateway_key).get(PATH, {"serial_number": "THEIRS"}).status_code == 404


def test_key_of_one_device_does_not_open_another(device, key, alex):
    DeviceFactory(owner=alex, serial_number="M-1")

    assert client(key).get(PATH, {"serial_number": "M-1"}).status_code == 403


def test_unknown_and_revoked_keys_and_people_are_refused(api, alex, device):
    revoked = DeviceKeyFactory(device=device, secret="iot_revoked", revoked_at=timezone.now())
    assert revoked.digest
    for stranger in (client("iot_wrong"), client("iot_revoked"), APIClient()):
        answer = stranger.get(PATH)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Token")


@pytest.mark.django_db(transaction=True)
def test_two_polls_at_once_get_a_command_once(device, at_once):
    for number in range(20):
        queue(device, f"c{number}")

    def poll():
        return [command.pk for command in command_queue.take(device_id=device.pk, now=timezone.now())]

    taken = [pk for result in at_once(poll, poll, poll) for pk in result]

    assert len(taken) == len(set(taken)) == 20


# ---- acknowledging


def test_device_says_what_became_of_it(api, alex, device, key):
    command = queue(device)
    client(key).get(PATH)

    answer = acknowledge(key, command, result={"stopped": True})

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    (seen,) = api(alex).get(f"/api/v1/devices/{device.pk}/commands/").json()["results"]
    assert (seen["status"], seen["result"]) == ("completed", {"stopped": True})
    assert seen["finished_at"]


def test_saying_it_again_changes_nothing_and_the_contrary_is_refused(device, key):
    command = queue(device)
    client(key).get(PATH)

    assert [acknowledge(key, command).status_code for _ in range(2)] == [200, 200]
    assert acknowledge(key, command, "failed").status_code == 409
    command.refresh_from_db()
    assert command.status == "completed"


def test_command_that_was_not_handed_out_can_not_be_acknowledged(device, key):
    assert acknowledge(key, queue(device)).status_code == 409


def test_commands_of_others_do_not_exist(device, key):
    theirs = queue(DeviceFactory())

    assert acknowledge(key, theirs).status_code == 404
    assert client(key).post(f"{PATH}{uuid.uuid4()}/acknowledge/", {"status": "failed"}).status_code == 404


@pytest.mark.parametrize("wrong", [{}, {"status": "queued"}, {"status": "completed", "result": [1]}])
def test_acknowledgement_that_makes_no_sense_is_refused(device, key, wrong):
    command = queue(device)
    client(key).get(PATH)

    assert client(key).post(f"{PATH}{command.pk}/acknowledge/", wrong).status_code == 400


# ---- expiry


def test_command_that_nobody_took_expires(device):
    command = queue(device, expires_in=10, now=timezone.now() - timedelta(seconds=11))

    assert command_queue.expire(now=timezone.now()) == 1
    command.refresh_from_db()
    assert (command.status, command.finished_at is not None) == ("expired", True)


def test_answer_after_the_expiry_still_counts(device, key):
    command = queue(device, expires_in=10)
    client(key).get(PATH)
    command_queue.expire(now=timezone.now() + timedelta(seconds=11))

    assert acknowledge(key, command).status_code == 200


# ---- the long poll ahead of Django


class Poll:
    """One request to the ASGI edge: `await Poll(key, wait=5)` in a running loop answers (status, document)."""

    def __init__(self, application, secret, **query):
        self._application = application
        self.left = asyncio.Event()
        text = "&".join(f"{name}={value}" for name, value in query.items())
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "query_string": text.encode(),
            "headers": [(b"authorization", f"Token {secret}".encode())],
        }
        self.sent = []

    async def answer(self):
        async def receive():
            if not hasattr(self, "_begun"):
                self._begun = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            self.sent.append(message)

        await self._application(self._scope, receive, send)
        return (self.sent[0]["status"], json.loads(self.sent[1]["body"])) if self.sent else None


@pytest.fixture
def edge(transactional_db):
    async def django(scope, receive, send):
        raise AssertionError("not for Django")

    yield asgi.ahead_of(django)
    # Its threads keep connections for the next poll; the test database is to go without them.
    for _ in range(asgi._threads._max_workers * 4):
        asgi._threads.submit(connections.close_all).result()


def test_poll_ends_when_a_command_comes(edge, device, key):
    async def story():
        waiting = asyncio.create_task(Poll(edge, key, wait=30).answer())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await asyncio.to_thread(_in_own_connection, lambda: queue(device))
        return await waiting

    status, document = asyncio.run(story())

    assert (status, [row["name"] for row in document["results"]]) == (200, ["stop"])


def test_poll_without_a_command_ends_empty(edge, key, device):
    assert asyncio.run(Poll(edge, key, wait=0.2).answer()) == (200, {"next": None, "previous": None, "results": []})


def test_device_that_hung_up_is_handed_nothing(edge, device, key):
    async def story():
        poll = Poll(edge, key, wait=30)
        waiting = asyncio.create_task(poll.answer())
        await asyncio.sleep(0.1)
        poll.left.set()
        return await waiting

    assert asyncio.run(story()) is None
    assert queue(device).status == "queued"


def test_key_revoked_while_its_device_waits_gets_nothing(edge, device, key):
    def revoke():
        device.keys.update(revoked_at=timezone.now())
        queue(device)

    async def story():
        waiting = asyncio.create_task(Poll(edge, key, wait=30).answer())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(_in_own_connection, revoke)
        return await waiting

    status, document = asyncio.run(story())
    assert (status, document["status"]) == (401, 401)
    assert DeviceCommand.objects.get().status == "queued"


@pytest.mark.parametrize(("query", "status"), [({"wait": "soon"}, 400), ({"serial_number": "OTHER"}, 403)])
def test_poll_that_makes_no_sense_is_a_problem(edge, key, device, query, status):
    answered, document = asyncio.run(Poll(edge, key, **query).answer())
    assert (answered, document["status"], document["type"]) == (status, status, "about:blank")


def _in_own_connection(work):
    try:
        return work()
    finally:
        connections.close_all()
