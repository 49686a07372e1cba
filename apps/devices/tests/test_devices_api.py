import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apps.devices.models import Device, DeviceKey
from apps.devices.signals import device_deleting
from apps.devices.tests.factories import (
    DeviceFactory,
    DeviceKeyFactory,
    DeviceMetricFactory,
    DeviceTypeFactory,
    LocationFactory,
)
from apps.users.tests.factories import UserFactory

DEVICES = "/api/v1/devices/"
FIELDS = {
    "id",
    "serial_number",
    "name",
    "description",
    "device_type",
    "owner",
    "location",
    "parent",
    "status",
    "last_seen",
    "clock_skew_ms",
    "metadata",
    "created_at",
    "updated_at",
}


@pytest.fixture
def body(db):
    kind = DeviceTypeFactory()
    return {"serial_number": "SN-NEW", "name": "Press 9", "device_type": str(kind.pk)}


def path_of(device) -> str:
    return f"{DEVICES}{device.pk}/"


def found(client, query: str = "") -> set[str]:
    answer = client.get(f"{DEVICES}?{query}")
    assert answer.status_code == 200, answer.content
    return {device["name"] for device in answer.json()["results"]}


def test_client_registers_a_device_and_owns_it(api, alex, body):
    answer = api(alex).post(DEVICES, body | {"metadata": {"floor": 2}})
    assert answer.status_code == 201
    assert set(answer.json()) == FIELDS
    assert answer.json()["owner"] == alex.pk
    assert answer.json()["status"] == "active"
    assert answer.json()["metadata"] == {"floor": 2}


def test_admin_registers_a_device_for_somebody_else(api, admin, alex, body):
    assert api(admin).post(DEVICES, body | {"owner": alex.pk}).json()["owner"] == alex.pk


@pytest.mark.parametrize("known", [True, False])
def test_client_gives_no_device_to_somebody_else_whether_known_or_not(api, alex, jordan, body, known, error_of):
    other = jordan.pk if known else 999_999
    answer = api(alex).post(DEVICES, body | {"owner": other})
    assert error_of(answer) == ("owner", "not_yours_to_give")
    assert answer.json()["detail"] == "Only an admin can set another owner."


def test_client_does_not_give_a_device_away_later(api, alex, jordan, device, error_of):
    answer = api(alex).patch(path_of(device), {"owner": jordan.pk})
    assert error_of(answer) == ("owner", "not_yours_to_give")


def test_serial_number_of_another_owner_is_refused_without_saying_whose(api, jordan, device, body, error_of):
    answer = api(jordan).post(DEVICES, body | {"serial_number": device.serial_number})
    assert error_of(answer) == ("serial_number", "unique")
    assert "alex" not in answer.content.decode()
    assert str(device.pk) not in answer.content.decode()


def test_one_serial_number_registered_twice_at_once_is_one_device(api, at_once):
    alex, kind = UserFactory(), DeviceTypeFactory()
    body = {"serial_number": "SN-1", "name": "Press", "device_type": str(kind.pk)}
    answers = at_once(*[lambda: api(alex).post(DEVICES, body)] * 4)
    assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400]
    refused = [answer.json()["errors"][0] for answer in answers if answer.status_code == 400]
    assert {(error["field"], error["code"]) for error in refused} == {("serial_number", "unique")}


def test_owner_changes_a_device_and_ingest_keeps_its_own_columns(api, alex, device):
    seen = datetime(2026, 11, 20, tzinfo=UTC)
    Device.objects.filter(pk=device.pk).update(last_seen=seen)
    answer = api(alex).patch(path_of(device), {"name": "Press 2", "last_seen": None, "status": "inactive"})
    assert (answer.json()["name"], answer.json()["status"]) == ("Press 2", "inactive")
    device.refresh_from_db()
    assert device.last_seen == seen


def test_whole_device_is_replaced_by_put(api, alex, device, body):
    answer = api(alex).put(path_of(device), body)
    assert answer.status_code == 200
    assert answer.json()["serial_number"] == "SN-NEW"
    assert answer.json()["owner"] == alex.pk


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_device_of_another_owner_does_not_exist(api, jordan, device, method):
    answer = getattr(api(jordan), method)(path_of(device))
    nowhere = getattr(api(jordan), method)(f"{DEVICES}{uuid.uuid4()}/")
    assert answer.status_code == nowhere.status_code == 404
    assert answer.json() == nowhere.json()
    assert Device.objects.filter(pk=device.pk).exists()


def test_clients_list_their_own_devices_and_admins_all(api, alex, jordan, admin, device):
    DeviceFactory(owner=jordan, name="Pump 1")
    assert found(api(alex)) == {"Press 1"}
    assert found(api(jordan)) == {"Pump 1"}
    assert found(api(admin)) == {"Press 1", "Pump 1"}
    assert found(api(alex), f"owner={jordan.pk}") == set()


def test_list_takes_one_query(api, alex, django_assert_num_queries):
    DeviceFactory.create_batch(5, owner=alex)
    with django_assert_num_queries(1):
        assert len(found(api(alex))) == 5


def test_devices_are_filtered(api, alex, admin, device):
    hall, kind = LocationFactory(), DeviceTypeFactory()
    long_ago = timezone.now() - timedelta(days=2)
    DeviceFactory(owner=alex, name="Silent", status="error", location=hall, device_type=kind, last_seen=long_ago)
    DeviceFactory(owner=alex, name="Busy", last_seen=timezone.now())
    client = api(alex)
    assert found(client, "status=error") == {"Silent"}
    assert found(client, f"location={hall.pk}") == {"Silent"}
    assert found(client, f"device_type={kind.pk}") == {"Silent"}
    assert found(client, "search=vib-sn") == {"Press 1"}
    assert found(client, "search=SILE") == {"Silent"}
    yesterday = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert found(client, f"last_seen_before={yesterday}") == {"Silent"}
    assert found(api(admin), f"owner={alex.pk}") == {"Silent", "Busy", "Press 1"}


@pytest.mark.parametrize(
    "query", ["status=broken", "location=1", "device_type=x", "last_seen_before=soon", "search=%00"]
)
def test_filters_that_make_no_sense_are_refused(api, alex, query):
    assert api(alex).get(f"{DEVICES}?{query}").status_code == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": [1]},
        {"metadata": None},
        {"metadata": "text"},
        {"status": "broken"},
        {"device_type": "nonsense"},
        {"device_type": str(uuid.uuid4())},
        {"location": str(uuid.uuid4())},
        {"owner": True},
        {"serial_number": ""},
    ],
)
def test_values_that_cannot_be_stored_are_refused(api, alex, body, wrong):
    answer = api(alex).post(DEVICES, body | wrong)
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["field"].split(".")[0] in wrong


@pytest.mark.parametrize(
    "text",
    [
        r'{"metadata": {"note": "nul \u0000"}}',
        r'{"metadata": {"note": ["half \ud800"]}}',
        r'{"metadata": {"nul \u0000": 1}}',
        r'{"status": "half \ud800"}',
        '{"metadata": {"high": 1e999}}',
        '{"metadata": {"not a number": NaN}}',
        '{"metadata": ' + '{"a":' * 100_000,
        '{"metadata": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "{",
        "[]",
        "null",
        "",
    ],
)
def test_bodies_that_cannot_be_read_or_stored_are_refused(api, alex, device, text):
    answer = api(alex).put(path_of(device), text, content_type="application/json")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_body_that_is_not_json_is_refused(api, alex):
    answer = api(alex).post(DEVICES, "name=Press", content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 415


def test_device_reports_through_a_gateway_of_its_owner(api, alex, device):
    gateway = DeviceFactory(owner=alex)
    answer = api(alex).patch(path_of(device), {"parent": str(gateway.pk)})
    assert answer.json()["parent"] == str(gateway.pk)
    assert api(alex).patch(path_of(device), {"parent": None}).json()["parent"] is None


def test_gateway_of_another_owner_does_not_exist(api, jordan, device, error_of):
    mine = DeviceFactory(owner=jordan)
    answer = api(jordan).patch(path_of(mine), {"parent": str(device.pk)})
    assert error_of(answer) == ("parent", "does_not_exist")


def test_admin_does_not_mix_owners_under_one_gateway(api, admin, jordan, device, error_of):
    mine = DeviceFactory(owner=jordan, parent=DeviceFactory(owner=jordan))
    answer = api(admin).patch(path_of(mine), {"parent": str(device.pk)})
    assert error_of(answer) == ("parent", "invalid")
    answer = api(admin).patch(path_of(mine.parent), {"owner": device.owner_id})
    assert error_of(answer) == ("owner", "invalid")


def test_gateways_do_not_report_through_themselves(api, alex, device, error_of):
    child = DeviceFactory(owner=alex, parent=device)
    for parent in (device, child):
        answer = api(alex).patch(path_of(device), {"parent": str(parent.pk)})
        assert error_of(answer) == ("parent", "invalid")


def test_two_gateways_attached_to_each_other_at_once_do_not_close_a_circle(api, at_once):
    alex = UserFactory()
    one, two = DeviceFactory(owner=alex), DeviceFactory(owner=alex)
    answers = at_once(
        lambda: api(alex).patch(path_of(one), {"parent": str(two.pk)}),
        lambda: api(alex).patch(path_of(two), {"parent": str(one.pk)}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400]


def test_device_that_changes_hands_loses_its_keys(api, admin, jordan, device):
    key = DeviceKeyFactory(device=device)
    answer = api(admin).patch(path_of(device), {"owner": jordan.pk})
    assert answer.json()["owner"] == jordan.pk
    assert not DeviceKey.objects.usable(now=timezone.now()).filter(pk=key.pk).exists()


def test_deleting_a_device_tells_which_series_go_with_it(api, alex, device):
    series = DeviceMetricFactory.create_batch(2, device=device)
    DeviceMetricFactory()
    told = []

    def listener(device_metric_ids, **kwargs):
        told.append((sorted(device_metric_ids), Device.objects.filter(pk=device.pk).exists()))

    device_deleting.connect(listener)
    try:
        assert api(alex).delete(path_of(device)).status_code == 204
    finally:
        device_deleting.disconnect(listener)
    assert told == [(sorted(binding.pk for binding in series), True)]
    assert api(alex).get(path_of(device)).status_code == 404


def test_device_stays_when_its_readings_cannot_be_deleted(api, alex, device):
    DeviceMetricFactory(device=device)

    def listener(**kwargs):
        raise RuntimeError("no")

    device_deleting.connect(listener)
    client = api(alex)
    client.raise_request_exception = False
    try:
        assert client.delete(path_of(device)).status_code == 500
    finally:
        device_deleting.disconnect(listener)
    assert Device.objects.filter(pk=device.pk).exists()
    assert device.metrics.count() == 1


def test_devices_behind_a_deleted_gateway_stay(api, alex, device):
    child = DeviceFactory(owner=alex, parent=device)
    assert api(alex).delete(path_of(device)).status_code == 204
    child.refresh_from_db()
    assert child.parent is None
