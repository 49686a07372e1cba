from datetime import UTC, datetime, timedelta

import pytest

from apps.devices.tests.factories import DeviceFactory, LocationFactory
from apps.events.models import Event
from apps.events.tests.factories import EventFactory, RuleFactory

URL = "/api/v1/events/"
TEN = datetime(2026, 11, 20, 10, tzinfo=UTC)


@pytest.fixture
def event(device):
    return EventFactory(device=device, rule=RuleFactory(device=device))


def ids(response):
    assert response.status_code == 200, response.data
    return [row["id"] for row in response.data["results"]]


def test_events_come_newest_first(api, alex, device):
    old, new, middle = (EventFactory(device=device, timestamp=TEN + timedelta(minutes=at)) for at in (0, 20, 10))

    assert ids(api(alex).get(URL)) == [new.pk, middle.pk, old.pk]


def test_pages_follow_each_other(api, alex, device):
    events = [EventFactory(device=device) for _ in range(3)]
    client = api(alex)

    first = client.get(URL, {"page_size": 2})
    second = client.get(first.data["next"])

    assert ids(first) + ids(second) == [event.pk for event in reversed(events)]


def test_list_of_events_takes_one_query(api, alex, device, django_assert_num_queries):
    for _ in range(5):
        EventFactory(device=device, rule=RuleFactory(device=device), acknowledged_by=alex, resolved_by=alex)
    client = api(alex)

    with django_assert_num_queries(1):
        assert len(ids(client.get(URL))) == 5


def test_event_tells_what_it_is_about(api, alex, event, django_assert_num_queries):
    client = api(alex)
    with django_assert_num_queries(1):
        body = client.get(f"{URL}{event.pk}/").data

    assert body["rule_name"] == "Hot bearing"
    assert body["serial_number"] == "VIB-SN-001"
    assert body["metric"] == event.device_metric.metric.name
    assert body["status"] == "new"


def test_event_keeps_the_name_of_a_deleted_rule(api, alex, device):
    event = EventFactory(device=device, rule=None, metadata={"rule": {"name": "Gone rule"}})

    assert api(alex).get(f"{URL}{event.pk}/").data["rule_name"] == "Gone rule"


def test_event_without_series_is_shown(api, alex, device):
    event = EventFactory(device=device, device_metric=None)

    assert api(alex).get(f"{URL}{event.pk}/").data["metric"] is None


def test_secrets_in_actions_are_not_shown(api, alex, device):
    recipient = {"type": "webhook", "url": "https://example.com/", "secret": "whsec_dGVzdA=="}
    event = EventFactory(device=device, execution_results=[{"recipients": [recipient]}])

    assert "whsec" not in api(alex).get(f"{URL}{event.pk}/").content.decode()


@pytest.mark.parametrize("path", ["", "acknowledge/", "resolve/", "comments/"])
def test_event_of_another_owner_is_not_found(api, jordan, event, path):
    client, url = api(jordan), f"{URL}{event.pk}/{path}"

    assert (client.post if path else client.get)(url, {"body": "hi"}).status_code == 404
    event.refresh_from_db()
    assert event.status == "new"


def test_clients_list_their_own_events_and_admins_all(api, alex, jordan, admin, event):
    other = EventFactory(device=DeviceFactory(owner=jordan))

    assert ids(api(alex).get(URL)) == [event.pk]
    assert ids(api(jordan).get(URL)) == [other.pk]
    assert set(ids(api(admin).get(URL))) == {event.pk, other.pk}


def test_strangers_see_nothing(api, db):
    assert api().get(URL).status_code == 401


def test_filters_narrow_the_list(api, alex, device, event):
    other = EventFactory(device=DeviceFactory(owner=alex), severity="critical", status="resolved")
    client = api(alex)

    assert ids(client.get(URL, {"status": "resolved"})) == [other.pk]
    assert ids(client.get(URL, {"severity": "warning"})) == [event.pk]
    assert ids(client.get(URL, {"device": str(device.pk)})) == [event.pk]
    assert ids(client.get(URL, {"rule": str(event.rule_id)})) == [event.pk]
    assert len(ids(client.get(URL + "?status=new&status=resolved"))) == 2


def test_filters_know_the_device_and_what_is_open(api, alex, device, event):
    place = LocationFactory()
    other_device = DeviceFactory(owner=alex, location=place, name="Compressor")
    other = EventFactory(device=other_device, rule=None, message="No air", status="resolved")
    client = api(alex)

    assert ids(client.get(URL, {"open": "true"})) == [event.pk]
    assert ids(client.get(URL, {"open": "false"})) == [other.pk]
    assert ids(client.get(URL, {"device_type": str(device.device_type_id)})) == [event.pk]
    assert ids(client.get(URL, {"location": str(place.pk)})) == [other.pk]
    for term, found in [("compress", other), ("no AIR", other), ("VIB-SN", event), ("bearing", event)]:
        assert ids(client.get(URL, {"search": term})) == [found.pk]


def test_time_range_is_half_open(api, alex, device):
    at_ten, at_eleven = (EventFactory(device=device, timestamp=TEN + timedelta(hours=h)) for h in (0, 1))
    client = api(alex)

    assert ids(client.get(URL, {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T11:00:00Z"})) == [at_ten.pk]
    assert ids(client.get(URL, {"start": "2026-11-20T11:00:00+00:00"})) == [at_eleven.pk]


@pytest.mark.parametrize("wrong", [{"status": "open"}, {"severity": "bad"}, {"device": "x"}, {"start": "yesterday"}])
def test_wrong_filter_is_named(api, alex, wrong):
    response = api(alex).get(URL, wrong)

    assert response.status_code == 400
    assert response.data["errors"][0]["field"] == next(iter(wrong))


def test_acknowledging_names_who_and_when(api, alex, event):
    response = api(alex).post(f"{URL}{event.pk}/acknowledge/")

    assert response.status_code == 200
    assert (response.data["status"], response.data["acknowledged_by_name"]) == ("acknowledged", "alex")
    assert response.data["acknowledged_at"]


def test_acknowledging_again_changes_nothing(api, alex, admin, event):
    api(alex).post(f"{URL}{event.pk}/acknowledge/")
    response = api(admin).post(f"{URL}{event.pk}/acknowledge/")

    assert (response.status_code, response.data["acknowledged_by"]) == (200, alex.pk)


def test_acknowledging_a_resolved_event_conflicts(api, alex, device):
    event = EventFactory(device=device, status="resolved")
    response = api(alex).post(f"{URL}{event.pk}/acknowledge/")

    assert response.status_code == 409
    assert response.headers["Content-Type"] == "application/problem+json"


def test_resolving_twice_is_fine(api, alex, event):
    client = api(alex)

    assert client.post(f"{URL}{event.pk}/resolve/").data["status"] == "resolved"
    assert client.post(f"{URL}{event.pk}/resolve/").status_code == 200
    assert Event.objects.get().resolved_by == alex


def test_comment_is_kept_with_its_author(api, alex, event):
    client = api(alex)
    posted = client.post(f"{URL}{event.pk}/comments/", {"body": "Bearing ordered."})

    assert posted.status_code == 201
    assert client.get(f"{URL}{event.pk}/comments/").data["results"] == [posted.data]
    assert (posted.data["body"], posted.data["author_name"]) == ("Bearing ordered.", "alex")


def test_empty_comment_is_refused(api, alex, event):
    response = api(alex).post(f"{URL}{event.pk}/comments/", {"body": " "})

    assert response.status_code == 400
    assert response.data["errors"][0]["field"] == "body"


def test_events_are_not_made_or_edited_by_hand(api, admin, event):
    client = api(admin)

    assert client.post(URL, {}).status_code == 405
    assert client.patch(f"{URL}{event.pk}/", {"status": "new"}).status_code == 405
    assert client.delete(f"{URL}{event.pk}/").status_code == 405
