"""Keys over their life: rotated with overlap, limited by admins, and when they were last used."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import transaction

from apps.devices import services
from apps.devices.models import DeviceKey
from apps.devices.tests.factories import DeviceFactory, DeviceKeyFactory

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _time_stands_still():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def key(device):
    return DeviceKeyFactory(device=device, name="gateway", scope="owner", messages_per_minute=600)


def path_of(key: DeviceKey, action: str = "") -> str:
    return f"/api/v1/devices/{key.device_id}/keys/{key.pk}/{action}"


# ---- rotation


def test_new_key_takes_over_and_the_old_one_works_for_another_day(api, alex, key):
    answer = api(alex).post(path_of(key, "rotate/"))
    assert answer.status_code == 201
    new = DeviceKey.objects.get(pk=answer.json()["id"])
    assert new.digest == DeviceKey.digest_of(answer.json()["key"])
    assert (new.name, new.scope, new.owner, new.device) == ("gateway", "owner", key.owner, key.device)
    assert (new.messages_per_minute, new.readings_per_minute, new.expires_at) == (600, None, None)
    key.refresh_from_db()
    assert key.expires_at == NOW + DAY
    usable = DeviceKey.objects.usable
    assert set(usable(now=NOW + DAY - timedelta(seconds=1))) == {key, new}
    assert set(usable(now=NOW + DAY)) == {new}


@pytest.mark.parametrize(
    ("overlap", "length"),
    [
        (0, timedelta()),
        (90, timedelta(seconds=90)),
        ("90", timedelta(seconds=90)),
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("24h", DAY),
        ("7d", 7 * DAY),
        ("365d", 365 * DAY),
    ],
)
def test_overlap_is_seconds_or_a_number_with_a_unit(api, alex, key, overlap, length):
    assert api(alex).post(path_of(key, "rotate/"), {"overlap": overlap}).status_code == 201
    key.refresh_from_db()
    assert key.expires_at == NOW + length


@pytest.mark.parametrize(
    ("overlap", "code"),
    [
        (-1, "invalid"),
        ("-1h", "invalid"),
        ("soon", "invalid"),
        ("", "invalid"),
        ("h", "invalid"),
        ("1.5h", "invalid"),
        ("²h", "invalid"),
        (True, "invalid"),
        (None, "null"),
        ([1], "invalid"),
        ("366d", "out_of_range"),
        (10**30, "out_of_range"),
        ("9" * 400 + "d", "out_of_range"),
    ],
)
def test_overlap_that_makes_no_sense_is_refused(api, alex, key, overlap, code, error_of):
    assert error_of(api(alex).post(path_of(key, "rotate/"), {"overlap": overlap})) == ("overlap", code)
    assert DeviceKey.objects.count() == 1


def test_old_key_never_lives_longer_than_it_would_have(api, alex, key):
    DeviceKey.objects.update(expires_at=NOW + timedelta(hours=1))
    api(alex).post(path_of(key, "rotate/"), {"overlap": "24h"})
    key.refresh_from_db()
    assert key.expires_at == NOW + timedelta(hours=1)


def test_new_key_may_have_an_end_of_its_own(api, alex, key, error_of):
    answer = api(alex).post(path_of(key, "rotate/"), {"expires_at": (NOW + 90 * DAY).isoformat()})
    assert DeviceKey.objects.get(pk=answer.json()["id"]).expires_at == NOW + 90 * DAY
    passed = api(alex).post(path_of(key, "rotate/"), {"expires_at": NOW.isoformat()})
    assert error_of(passed) == ("expires_at", "in_the_past")


@pytest.mark.parametrize("change", [{"revoked_at": NOW}, {"expires_at": NOW}])
def test_key_that_works_no_more_is_not_rotated(api, alex, key, change):
    DeviceKey.objects.update(**change)
    answer = api(alex).post(path_of(key, "rotate/"))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "not_usable"
    assert DeviceKey.objects.count() == 1


def test_answer_that_was_lost_can_be_asked_for_again(api, alex, key):
    first, second = (api(alex).post(path_of(key, "rotate/")).json() for _ in range(2))
    assert first["id"] != second["id"]
    assert second["expires_at"] is None
    assert DeviceKey.objects.usable(now=NOW).count() == 3


def test_key_of_another_owner_does_not_exist(api, jordan, key):
    assert api(jordan).post(path_of(key, "rotate/")).status_code == 404
    assert api(jordan).patch(path_of(key), {"name": "mine"}).status_code == 404
    mine = DeviceFactory(owner=jordan)
    assert api(jordan).post(f"/api/v1/devices/{mine.pk}/keys/{key.pk}/rotate/").status_code == 404


# ---- limits


def test_admin_sets_limits_and_owner_sees_them(api, admin, alex, key):
    limits = {"messages_per_minute": 60, "readings_per_minute": 0}
    assert api(admin).patch(path_of(key), limits).status_code == 200
    [listed] = api(alex).get(f"/api/v1/devices/{key.device_id}/keys/").json()["results"]
    assert limits.items() <= listed.items()
    assert api(admin).patch(path_of(key), {"messages_per_minute": None}).json()["messages_per_minute"] is None


def test_admin_issues_a_key_with_limits(api, admin, device):
    issued = api(admin).post(f"/api/v1/devices/{device.pk}/keys/", {"readings_per_minute": 60_000})
    assert DeviceKey.objects.get(pk=issued.json()["id"]).readings_per_minute == 60_000


@pytest.mark.parametrize("value", [1, 0, None])
def test_owner_sets_no_limits(api, alex, key, value, error_of):
    patched = api(alex).patch(path_of(key), {"messages_per_minute": value})
    issued = api(alex).post(f"/api/v1/devices/{key.device_id}/keys/", {"messages_per_minute": value})
    assert error_of(patched) == error_of(issued) == ("messages_per_minute", "admins_only")
    key.refresh_from_db()
    assert key.messages_per_minute == 600


def test_owner_renames_a_key_and_changes_nothing_else(api, alex, key):
    answer = api(alex).patch(path_of(key), {"name": "roof", "scope": "device", "expires_at": NOW.isoformat()})
    assert answer.status_code == 200
    key.refresh_from_db()
    assert (key.name, key.scope, key.expires_at) == ("roof", "owner", None)


@pytest.mark.parametrize("value", [-1, "many", 2**31])
def test_limit_that_makes_no_sense_is_refused(api, admin, alex, key, value):
    for path in (path_of(key), f"/api/v1/users/{alex.pk}/"):
        answer = api(admin).patch(path, {"messages_per_minute": value})
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["messages_per_minute"]


def test_limits_of_an_owner_are_set_by_admins_only(api, admin, alex):
    assert api(admin).patch(f"/api/v1/users/{alex.pk}/", {"messages_per_minute": 60}).status_code == 200
    me = api(alex).patch("/api/v1/users/me/", {"messages_per_minute": 6000, "first_name": "Alex"})
    assert (me.json()["messages_per_minute"], me.json()["first_name"]) == (60, "Alex")


def test_admin_sets_limits_on_the_page_of_a_key(client, admin, key):
    client.force_login(admin)
    page = f"/admin/devices/devicekey/{key.pk}/set-limits/"
    assert client.get(page).status_code == 200
    sent = {"_form_submitted": "1", "messages_per_minute": "", "readings_per_minute": "5000"}
    assert client.post(page, sent).status_code == 200
    key.refresh_from_db()
    assert (key.messages_per_minute, key.readings_per_minute) == (None, 5000)


# ---- last use


def test_last_use_is_written_for_many_keys_at_once_and_never_goes_back(device, django_assert_num_queries):
    keys = [DeviceKeyFactory(device=device) for _ in range(3)]
    with django_assert_num_queries(1):
        services.note_key_uses(uses={key.pk: NOW for key in keys})
    services.note_key_uses(uses={keys[0].pk: NOW + DAY, keys[1].pk: NOW - DAY, 999_999: NOW})
    assert list(DeviceKey.objects.order_by("pk").values_list("last_used_at", flat=True)) == [NOW + DAY, NOW, NOW]


@pytest.mark.django_db(transaction=True)
def test_key_that_is_being_changed_holds_up_nobody(device, at_once):
    one, two = DeviceKeyFactory(device=device), DeviceKeyFactory(device=device)
    with transaction.atomic():
        services.revoke_key(key=one, now=NOW)
        assert at_once(lambda: services.note_key_uses(uses={one.pk: NOW, two.pk: NOW})) == [None]
    assert list(DeviceKey.objects.order_by("pk").values_list("last_used_at", flat=True)) == [None, NOW]
