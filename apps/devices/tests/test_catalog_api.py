"""Locations, metrics and device types: everybody reads, admins write."""

import uuid

import pytest

from apps.devices.models import Location
from apps.devices.tests.factories import (
    DeviceFactory,
    DeviceMetricFactory,
    DeviceTypeFactory,
    LocationFactory,
    MetricFactory,
)
from apps.users.tests.factories import UserFactory

LOCATIONS, METRICS, TYPES = "/api/v1/locations/", "/api/v1/metrics/", "/api/v1/device-types/"
TYPE = {"name": "press", "metric_name": "vibration", "metric_unit": "mm/s"}


@pytest.mark.parametrize(("path", "body"), [(LOCATIONS, {"name": "Hall"}), (METRICS, {"name": "heat"}), (TYPES, TYPE)])
def test_admin_creates_changes_and_deletes_and_a_client_only_reads(api, admin, alex, path, body):
    created = api(admin).post(path, body)
    assert created.status_code == 201
    one = f"{path}{created.json()['id']}/"
    assert api(admin).patch(one, {"description": "changed"}).json()["description"] == "changed"
    assert api(alex).get(one).json()["name"] == body["name"]
    assert api(alex).get(path).json()["results"][0]["name"] == body["name"]
    assert api(alex).post(path, body).status_code == 403
    assert api(alex).patch(one, {"description": "mine"}).status_code == 403
    assert api(alex).delete(one).status_code == 403
    assert api(admin).delete(one).status_code == 204


@pytest.mark.parametrize("path", [LOCATIONS, METRICS, TYPES])
def test_strangers_read_nothing(api, db, path):
    assert api().get(path).status_code == 401


@pytest.mark.parametrize(
    ("path", "factory"), [(LOCATIONS, LocationFactory), (METRICS, MetricFactory), (TYPES, DeviceTypeFactory)]
)
def test_lists_take_one_query(api, alex, django_assert_num_queries, path, factory):
    factory.create_batch(3)
    with django_assert_num_queries(1):
        assert len(api(alex).get(path).json()["results"]) == 3


def test_metric_names_are_unique_whatever_their_case(api, admin, error_of):
    MetricFactory(name="Vibration")
    assert error_of(api(admin).post(METRICS, {"name": "VIBRATION"})) == ("name", "unique")


def test_two_locations_of_one_name_lie_in_different_places(api, admin, error_of):
    site = LocationFactory(name="Site")
    room = {"name": "Room 1"}
    assert api(admin).post(LOCATIONS, room).status_code == 201
    assert api(admin).post(LOCATIONS, room | {"parent": str(site.pk)}).status_code == 201
    assert error_of(api(admin).post(LOCATIONS, room)) == ("name", "unique")
    assert error_of(api(admin).post(LOCATIONS, room | {"parent": str(site.pk)})) == ("name", "unique")


def test_location_does_not_lie_within_itself(api, admin, error_of):
    site = LocationFactory()
    hall = LocationFactory(parent=site)
    room = LocationFactory(parent=hall)
    for parent in (site, hall, room):
        answer = api(admin).patch(f"{LOCATIONS}{site.pk}/", {"parent": str(parent.pk)})
        assert error_of(answer) == ("parent", "invalid")


def test_two_moves_at_once_do_not_close_a_circle(api, at_once):
    admin = UserFactory(role="admin")
    one, two = LocationFactory(), LocationFactory()
    answers = at_once(
        lambda: api(admin).patch(f"{LOCATIONS}{one.pk}/", {"parent": str(two.pk)}),
        lambda: api(admin).patch(f"{LOCATIONS}{two.pk}/", {"parent": str(one.pk)}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert Location.objects.filter(parent=None).count() == 1


@pytest.mark.parametrize("place", [{"latitude": 91}, {"longitude": -181}, {"latitude": "nan"}, {"latitude": "inf"}])
def test_coordinates_are_on_earth(api, admin, place):
    assert api(admin).post(LOCATIONS, {"name": "Hall"} | place).status_code == 400


def test_location_that_holds_others_is_not_deleted(api, admin):
    site = LocationFactory()
    LocationFactory(parent=site)
    assert api(admin).delete(f"{LOCATIONS}{site.pk}/").status_code == 409


def test_expected_range_does_not_end_before_it_begins(api, admin, error_of):
    answer = api(admin).post(TYPES, TYPE | {"metric_min": 5, "metric_max": 1})
    assert error_of(answer) == ("metric_min", "invalid")


def test_what_devices_use_is_not_deleted(api, admin):
    binding = DeviceMetricFactory()
    assert api(admin).delete(f"{METRICS}{binding.metric_id}/").status_code == 409
    assert api(admin).delete(f"{TYPES}{binding.device.device_type_id}/").status_code == 409


def test_type_of_a_metric_that_devices_have_is_settled(api, admin, error_of):
    metric = DeviceMetricFactory().metric
    answer = api(admin).patch(f"{METRICS}{metric.pk}/", {"data_type": "str"})
    assert error_of(answer) == ("data_type", "invalid")


def test_device_keeps_living_when_its_location_goes(api, admin):
    device = DeviceFactory(location=LocationFactory())
    assert api(admin).delete(f"{LOCATIONS}{device.location_id}/").status_code == 204
    device.refresh_from_db()
    assert device.location is None


def test_pages_follow_one_another(api, alex):
    LocationFactory.create_batch(5)
    seen, path = [], f"{LOCATIONS}?page_size=2"
    while path:
        page = api(alex).get(path).json()
        seen += [place["name"] for place in page["results"]]
        path = page["next"]
    assert seen == sorted(Location.objects.values_list("name", flat=True))


@pytest.mark.parametrize("cursor", ["nonsense", "bz1ub25zZW5zZQ==", "cD1ub25zZW5zZQ=="])
def test_nonsense_as_cursor_is_refused(api, alex, cursor):
    assert api(alex).get(f"/api/v1/devices/?cursor={cursor}").status_code in (400, 404)


def test_unknown_and_malformed_ids_are_not_found(api, alex):
    for path in (f"{LOCATIONS}{uuid.uuid4()}/", f"{LOCATIONS}nonsense/", f"{METRICS}99999999999999999999/"):
        answer = api(alex).get(path)
        assert answer.status_code == 404
        assert answer["Content-Type"] == "application/problem+json"
