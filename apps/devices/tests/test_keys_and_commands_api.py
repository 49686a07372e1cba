from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from apps.devices import services
from apps.devices.models import CatalogChange, DeviceCommand, DeviceKey
from apps.devices.tests.factories import DeviceFactory, DeviceKeyFactory

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


@pytest.fixture
def keys(device):
    return f"/api/v1/devices/{device.pk}/keys/"


@pytest.fixture
def commands(device):
    return f"/api/v1/devices/{device.pk}/commands/"


# ---- keys


def test_secret_of_a_key_is_shown_once(api, alex, device, keys):
    issued = api(alex).post(keys, {}).json()
    assert issued["key"].startswith("iot_")
    assert (issued["scope"], issued["name"], issued["expires_at"]) == ("device", "", None)
    key = DeviceKey.objects.get()
    assert key.digest == DeviceKey.digest_of(issued["key"])
    assert (key.owner, key.device) == (alex, device)
    [listed] = api(alex).get(keys).json()["results"]
    assert "key" not in listed
    assert "digest" not in listed
    assert listed["prefix"] == issued["key"][:12]


def test_gateway_key_with_a_name_and_an_end(api, alex, keys):
    end = timezone.now() + timedelta(days=30)
    answer = api(alex).post(keys, {"name": "gateway", "scope": "owner", "expires_at": end.isoformat()})
    assert answer.status_code == 201
    key = DeviceKey.objects.get()
    assert (key.name, key.scope, key.expires_at) == ("gateway", "owner", end)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"expires_at": "2020-01-01T00:00:00Z"}, ("expires_at", "in_the_past")),
        ({"expires_at": "soon"}, ("expires_at", "invalid")),
        ({"scope": "everything"}, ("scope", "invalid_choice")),
    ],
)
def test_key_that_makes_no_sense_is_refused(api, alex, keys, wrong, error, error_of):
    assert error_of(api(alex).post(keys, wrong)) == error


def test_admin_issues_a_key_of_the_owner(api, admin, alex, keys):
    api(admin).post(keys, {})
    assert DeviceKey.objects.get().owner == alex


def test_keys_work_side_by_side_until_one_is_revoked(api, alex, keys):
    old, new = (api(alex).post(keys, {}).json()["id"] for _ in range(2))
    usable = DeviceKey.objects.usable(now=timezone.now())
    assert usable.count() == 2
    assert api(alex).delete(f"{keys}{old}/").status_code == 204
    assert [key.pk for key in usable.all()] == [new]
    listed = api(alex).get(keys).json()["results"]
    assert {key["id"]: key["revoked_at"] is not None for key in listed} == {old: True, new: False}


def test_revoking_again_changes_nothing(api, alex, device, keys):
    key = DeviceKeyFactory(device=device)
    api(alex).delete(f"{keys}{key.pk}/")
    key.refresh_from_db()
    first = key.revoked_at
    assert api(alex).delete(f"{keys}{key.pk}/").status_code == 204
    key.refresh_from_db()
    assert key.revoked_at == first


def test_keys_of_another_owner_do_not_exist(api, jordan, device, keys):
    key = DeviceKeyFactory(device=device)
    mine = DeviceFactory(owner=jordan)
    client = api(jordan)
    assert client.get(keys).status_code == 404
    assert client.post(keys, {}).status_code == 404
    assert client.delete(f"{keys}{key.pk}/").status_code == 404
    assert client.delete(f"/api/v1/devices/{mine.pk}/keys/{key.pk}/").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None
    assert DeviceKey.objects.count() == 1


def test_lists_of_keys_and_commands_take_two_queries(api, alex, device, keys, commands, django_assert_num_queries):
    for number in range(3):
        services.issue_key(device=device, now=NOW)
        services.queue_command(device=device, name=f"c{number}", now=NOW)
    for path in (keys, commands):
        with django_assert_num_queries(2):
            assert len(api(alex).get(path).json()["results"]) == 3


# ---- commands


def test_owner_queues_a_command(api, alex, device, commands):
    with time_machine.travel(NOW, tick=False):
        answer = api(alex).post(commands, {"name": "stop", "params": {"line": 3}, "expires_in": 60})
    assert answer.status_code == 201
    command = DeviceCommand.objects.get()
    assert (command.device, command.name, command.params) == (device, "stop", {"line": 3})
    assert command.expires_at == NOW + timedelta(seconds=60)
    assert answer.json()["status"] == "queued"
    assert "expires_in" not in answer.json()


def test_command_waits_for_an_hour_unless_told_otherwise(api, alex, commands):
    with time_machine.travel(NOW, tick=False):
        api(alex).post(commands, {"name": "stop"})
    command = DeviceCommand.objects.get()
    assert (command.params, command.expires_at) == ({}, NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_in": 0},
        {"expires_in": 30 * 24 * 3600 + 1},
        {"params": [1]},
        {"name": ""},
        {"name": None},
    ],
)
def test_command_that_makes_no_sense_is_refused(api, alex, commands, wrong):
    answer = api(alex).post(commands, {"name": "stop"} | wrong)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] in wrong


def test_commands_are_listed_newest_first(api, alex, device, commands):
    for name in ("first", "second"):
        services.queue_command(device=device, name=name, now=NOW)
    results = api(alex).get(commands).json()["results"]
    assert [command["name"] for command in results] == ["second", "first"]


def test_commands_of_another_owner_do_not_exist(api, jordan, commands):
    assert api(jordan).get(commands).status_code == 404
    assert api(jordan).post(commands, {"name": "stop"}).status_code == 404
    assert not DeviceCommand.objects.exists()


# ---- the catalogue's changes


def test_changes_that_every_cache_has_seen_are_forgotten(db):
    for age in (timedelta(hours=1), timedelta(days=2)):
        CatalogChange.objects.create(xid=1, changed_at=NOW - age)
    assert services.forget_catalog_changes(now=NOW) == 1
    assert CatalogChange.objects.get().changed_at == NOW - timedelta(hours=1)
