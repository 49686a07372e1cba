"""A change by one web process holds in another one within five seconds, with Redis and without."""

import time

import pytest
import requests

from apps.notifications.tests.receivers import free_port, wait_for
from tests.processes import HubProcesses

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

PASSWORD = "a-Long-passw0rd"
SECONDS = 5


@pytest.fixture(params=["Redis up", "Redis down"])
def hubs(request, tmp_path):
    """Two web processes on one database."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    stores = {"REDIS_URL": nowhere, "CELERY_BROKER_URL": nowhere} if request.param == "Redis down" else {}
    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        both.append(HubProcesses(tmp_path / name, **stores))
    try:
        for hub in both:
            hub.start("web")
        for hub in both:
            hub.wait_until_live()
        yield both
    finally:
        for hub in both:
            hub.stop()


def call(hub, method: str, path: str, token: str = "", document: dict | None = None) -> requests.Response:
    headers = {"Authorization": token} if token else {}
    return requests.request(method, f"{hub.url}/api/v1/{path}", json=document, headers=headers, timeout=10)


def login(hub, user) -> str:
    answer = call(hub, "post", "auth/token/", document={"username": user.username, "password": PASSWORD})
    return f"Bearer {answer.json()['access']}"


def send(hub, key: str) -> int:
    return call(hub, "post", "telemetry/", f"Token {key}", {"metrics": {"vibration": 5.2}}).status_code


def test_key_revoked_in_one_process_is_refused_by_the_other(hubs, alex, device):
    one, two = hubs
    person, keys = login(one, alex), f"devices/{device.pk}/keys/"
    issued, other = (call(one, "post", keys, person, {}).json() for _ in range(2))
    assert [send(hub, issued["key"]) for hub in (one, two, one, two)] == [201] * 4

    assert call(one, "delete", f"{keys}{issued['id']}/", person).status_code == 204
    for hub in hubs:
        # It goes on sending all the while, so what is refused is a key that was in use and cached.
        wait_for(lambda hub=hub: send(hub, issued["key"]) == 401, seconds=SECONDS)
        assert send(hub, issued["key"]) == 401
        assert send(hub, other["key"]) == 201
    used = {key["id"]: key["last_used_at"] for key in call(one, "get", keys, person).json()["results"]}
    assert used[issued["id"]] is not None


def test_limit_set_in_one_process_holds_in_the_other(hubs, admin, device):
    one, two = hubs
    person, keys = login(one, admin), f"devices/{device.pk}/keys/"
    issued = call(one, "post", keys, person, {}).json()
    assert [send(hub, issued["key"]) for hub in (one, two) * 3] == [201] * 6

    assert call(one, "patch", f"{keys}{issued['id']}/", person, {"messages_per_minute": 1}).status_code == 200
    began = time.monotonic()
    wait_for(lambda: send(two, issued["key"]) == 429, seconds=SECONDS)
    wait_for(lambda: send(one, issued["key"]) == 429, seconds=SECONDS - (time.monotonic() - began))
