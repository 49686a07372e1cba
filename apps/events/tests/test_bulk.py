"""Many events in one request."""

from threading import Event as Signal
from threading import Thread

import pytest
from django.db import connection, transaction

from apps.devices.tests.factories import DeviceFactory
from apps.events.models import Event
from apps.events.tests.factories import EventFactory, RuleFactory

URL = "/api/v1/events/"
ACKNOWLEDGE, RESOLVE, COUNTS = f"{URL}acknowledge/", f"{URL}resolve/", f"{URL}counts/"


def statuses() -> dict[int, str]:
    return dict(Event.objects.values_list("pk", "status"))


def test_many_are_acknowledged_at_once(api, alex, device):
    events = [EventFactory(device=device) for _ in range(3)]
    response = api(alex).post(ACKNOWLEDGE, {"ids": [event.pk for event in events[:2]]})

    assert response.status_code == 200
    assert response.data == {"done": 2, "unchanged": 0, "not_possible_count": 0, "not_possible": []}
    assert list(statuses().values()).count("acknowledged") == 2
    assert Event.objects.get(pk=events[0].pk).acknowledged_by == alex


def test_what_can_not_be_acknowledged_is_named(api, alex, jordan, device):
    new, old = EventFactory(device=device), EventFactory(device=device, status="acknowledged", acknowledged_by=jordan)
    over, foreign = EventFactory(device=device, status="resolved"), EventFactory(device=DeviceFactory(owner=jordan))
    body = api(alex).post(ACKNOWLEDGE, {"ids": [new.pk, old.pk, over.pk, foreign.pk, 10**9]}).data

    assert (body["done"], body["unchanged"], body["not_possible_count"]) == (1, 1, 3)
    named = {entry["id"]: entry["code"] for entry in body["not_possible"]}
    assert named == {over.pk: "resolved", foreign.pk: "not_found", 10**9: "not_found"}
    assert statuses()[foreign.pk] == "new"
    assert Event.objects.get(pk=old.pk).acknowledged_by == jordan


def test_a_filter_names_events_too(api, alex, device):
    EventFactory(device=device)
    critical = EventFactory(device=device, severity="critical")

    assert api(alex).post(f"{ACKNOWLEDGE}?severity=critical").data["done"] == 1
    assert [pk for pk, status in statuses().items() if status == "acknowledged"] == [critical.pk]


def test_ids_and_filter_have_both_to_fit(api, alex, device):
    one, other = EventFactory(device=device), EventFactory(device=device, severity="critical")
    body = api(alex).post(f"{RESOLVE}?severity=critical", {"ids": [one.pk, other.pk]}).data

    assert (body["done"], body["not_possible"]) == (1, [{"id": one.pk, "code": "not_found"}])


def test_many_are_resolved_at_once(api, alex, device):
    events = [EventFactory(device=device, status=status) for status in ("new", "acknowledged", "resolved")]
    body = api(alex).post(RESOLVE, {"ids": [event.pk for event in events]}).data

    assert (body["done"], body["unchanged"], body["not_possible"]) == (2, 1, [])
    assert set(statuses().values()) == {"resolved"}


@pytest.mark.parametrize(
    ("query", "body", "field"),
    [
        ("", {}, "ids"),
        ("?severity=", {}, "ids"),
        ("?sevrity=critical", {}, "sevrity"),
        ("?severity=bad", {}, "severity"),
        ("", {"ids": []}, "ids"),
        ("", {"ids": ["x"]}, "ids.0"),
    ],
)
def test_careless_request_changes_nothing(api, alex, device, query, body, field):
    EventFactory(device=device)
    response = api(alex).post(ACKNOWLEDGE + query, body)

    assert response.status_code == 400
    assert response.data["errors"][0]["field"] == field
    assert set(statuses().values()) == {"new"}


@pytest.mark.parametrize("url", [ACKNOWLEDGE, RESOLVE])
def test_bulk_change_takes_the_same_number_of_queries_for_all(api, alex, device, url, django_assert_num_queries):
    ids = [EventFactory(device=device).pk for _ in range(20)]
    client = api(alex)

    with django_assert_num_queries(5):  # select, lock and update; the savepoint around the last two
        assert client.post(url, {"ids": ids}).data["done"] == 20


@pytest.mark.django_db(transaction=True)
def test_event_that_a_rule_resolves_meanwhile_is_waited_for(api, alex, device):
    free, held = EventFactory(device=device), EventFactory(device=device)
    locked, release = Signal(), Signal()

    def rule_at_work():
        with transaction.atomic():
            Event.objects.select_for_update().get(pk=held.pk)
            locked.set()
            release.wait(10)
            Event.objects.filter(pk=held.pk).update(status="resolved")
        connection.close()

    worker = Thread(target=rule_at_work)
    worker.start()
    locked.wait(10)
    Thread(target=lambda: (_until_waiting(), release.set(), connection.close())).start()
    body = api(alex).post(ACKNOWLEDGE, {"ids": [free.pk, held.pk]}).data
    worker.join()

    assert (body["done"], body["not_possible"]) == (1, [{"id": held.pk, "code": "resolved"}])
    assert statuses() == {free.pk: "acknowledged", held.pk: "resolved"}


def _until_waiting() -> None:
    """Returns when some session of this database waits for a lock."""
    with connection.cursor() as cursor:
        waiting = False
        while not waiting:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
                "AND wait_event_type = 'Lock')"
            )
            waiting = cursor.fetchone()[0]


def test_counts_honour_the_filters_and_take_one_query(api, alex, device, django_assert_num_queries):
    rule = RuleFactory(device=device)
    EventFactory(device=device, rule=rule, severity="critical")
    EventFactory(device=device, severity="critical", status="resolved")
    EventFactory(device=device, severity="info", status="acknowledged")
    client = api(alex)

    with django_assert_num_queries(1):
        body = client.get(COUNTS).json()
    assert body == {
        "total": 3,
        "open": 2,
        "status": {"new": 1, "acknowledged": 1, "resolved": 1},
        "severity": {"critical": 2, "warning": 0, "info": 1},
        "open_severity": {"critical": 1, "warning": 0, "info": 1},
    }
    assert client.get(COUNTS, {"search": "hot", "severity": "critical"}).json()["total"] == 2
    assert client.get(COUNTS, {"rule": str(rule.pk)}).json()["total"] == 1


def test_counts_are_of_what_one_may_see(api, alex, jordan, admin, device):
    EventFactory(device=device)
    EventFactory(device=DeviceFactory(owner=jordan))

    assert [api(user).get(COUNTS).json()["total"] for user in (alex, admin)] == [1, 2]


def test_more_than_one_call_may_change_is_refused(api, alex, device, monkeypatch):
    monkeypatch.setattr("apps.events.bulk.MAX_EVENTS", 1)
    ids = [EventFactory(device=device).pk for _ in range(2)]

    assert api(alex).post(RESOLVE, {"ids": ids}).status_code == 400
    assert set(statuses().values()) == {"new"}
