"""The life of an event, through the public services."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from apps.devices.tests.factories import DeviceMetricFactory
from apps.events import services, signals
from apps.events.models import Event
from apps.events.tests.concurrency import at_once
from apps.events.tests.factories import EventFactory, RuleFactory

NOW = datetime(2026, 11, 20, 10, 0, 5, tzinfo=UTC)
READ_AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
NOTIFY = {"type": "notification", "template_id": 5, "recipients": ["admin@company.com"]}


@pytest.fixture
def open_event(device):
    """Opens an event of one rule and one series, as often as it is called."""
    rule = RuleFactory(device=device)
    series = DeviceMetricFactory(device=device, metric=rule.metric)
    fields = {
        **{"rule_id": rule.pk, "device_id": device.pk, "device_metric_id": series.pk},
        "severity": "critical",
        "message": "Hot bearing: temperature > 80 °C, measured 85.5",
        "timestamp": READ_AT,
        "reading_ts": READ_AT,
        "actions": [NOTIFY],
        "metadata": {"rule": {"name": rule.name}},
    }

    def call():
        opened = services.open_events(openings=[call.opening()], now=NOW)
        return Event.objects.open().get(rule=rule) if opened else None

    call.rule, call.series = rule, series
    call.opening = lambda **changes: services.Opening(**fields | changes)
    return call


def test_opened_event_is_stored_as_told(open_event, device):
    event = Event.objects.get(pk=open_event().pk)

    assert (event.status, event.severity, event.device) == ("new", "critical", device)
    assert (event.timestamp, event.reading_ts, event.created_at) == (READ_AT, READ_AT, NOW)
    assert event.metadata == {"rule": {"name": "Hot bearing"}}
    assert event.dispatched_at is None


def test_actions_are_kept_as_pending_results(open_event):
    assert open_event().execution_results == [{**NOTIFY, "status": "pending"}]


def test_second_event_of_an_open_one_is_not_opened(open_event):
    open_event()

    assert open_event() is None
    assert Event.objects.count() == 1


def test_event_opens_again_after_the_first_is_resolved(open_event, alex):
    services.resolve(event=open_event(), user=alex, now=NOW)

    assert open_event() is not None


def test_acknowledged_event_is_still_open(open_event, alex):
    services.acknowledge(event=open_event(), user=alex, now=NOW)

    assert open_event() is None


def test_of_many_at_once_those_open_when_none_is_open(open_event):
    open_event()
    other = DeviceMetricFactory(device=open_event.series.device)
    first, second = (open_event.opening(device_metric_id=one.pk) for one in (open_event.series, other))

    assert services.open_events(openings=[first, second], now=NOW) == {(open_event.rule.pk, other.pk)}
    assert Event.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_workers_open_one_event(open_event):
    opened = at_once(lambda: open_event(), times=4)

    assert len([event for event in opened if event]) == 1
    assert Event.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_opened_event_is_announced_after_the_commit(open_event):
    heard = []
    signals.events_opened.connect(listener := lambda **_: heard.append(Event.objects.count()))
    try:
        with transaction.atomic():
            open_event()
            assert heard == []
        assert heard == [1]
    finally:
        signals.events_opened.disconnect(listener)


@pytest.mark.django_db(transaction=True)
def test_failing_listener_does_not_harm_the_commit(open_event):
    def listener(**_):
        raise RuntimeError("nobody listens")

    signals.events_opened.connect(listener)
    try:
        with transaction.atomic():
            open_event()
    finally:
        signals.events_opened.disconnect(listener)
    assert Event.objects.count() == 1


def test_cleared_condition_resolves_the_open_event(open_event):
    event = open_event()
    cleared_at = READ_AT + timedelta(minutes=3)

    services.resolve_cleared(cleared={(open_event.rule.pk, open_event.series.pk): cleared_at}, now=NOW)

    event.refresh_from_db()
    assert (event.status, event.resolved_at, event.resolved_by) == ("resolved", NOW, None)
    assert event.metadata == {"rule": {"name": "Hot bearing"}, "cleared": cleared_at.isoformat()}


def test_cleared_condition_leaves_what_a_person_resolved(open_event, alex):
    event = services.resolve(event=open_event(), user=alex, now=NOW)
    later = NOW + timedelta(minutes=1)

    services.resolve_cleared(cleared={(open_event.rule.pk, open_event.series.pk): later}, now=later)

    event.refresh_from_db()
    assert (event.resolved_at, event.resolved_by) == (NOW, alex)
    assert "cleared" not in event.metadata


def test_first_to_acknowledge_stays_named(alex, admin, device):
    event = EventFactory(device=device)

    services.acknowledge(event=event, user=alex, now=NOW)
    services.acknowledge(event=event, user=admin, now=NOW + timedelta(minutes=1))

    event.refresh_from_db()
    assert (event.status, event.acknowledged_by, event.acknowledged_at) == ("acknowledged", alex, NOW)


def test_resolved_event_is_not_acknowledged(alex, device):
    event = EventFactory(device=device)
    services.resolve(event=event, user=alex, now=NOW)

    with pytest.raises(services.EventIsResolved):
        services.acknowledge(event=event, user=alex, now=NOW)
    event.refresh_from_db()
    assert event.status == "resolved"


def test_first_to_resolve_stays_named(alex, admin, device):
    event = EventFactory(device=device)

    services.resolve(event=event, user=alex, now=NOW)
    services.resolve(event=event, user=admin, now=NOW + timedelta(minutes=1))

    event.refresh_from_db()
    assert (event.resolved_by, event.resolved_at) == (alex, NOW)


def test_result_of_one_action_leaves_the_others(device):
    results = [{"type": "notification", "status": "pending"}, {"type": "stop_machine", "status": "queued"}]
    event = EventFactory(device=device, execution_results=results)

    services.record_result(event_id=event.pk, index=0, status="completed", sent_count=3)

    event.refresh_from_db()
    assert event.execution_results == [
        {"type": "notification", "status": "completed", "sent_count": 3},
        {"type": "stop_machine", "status": "queued"},
    ]


def test_result_of_a_deleted_event_is_nothing_to_record(db):
    services.record_result(event_id=404, index=0, status="completed")


@pytest.mark.django_db(transaction=True)
def test_results_written_at_once_are_all_kept(device):
    event = EventFactory(device=device, execution_results=[{}, {}, {}, {}])
    indexes = iter(range(4))

    at_once(lambda: services.record_result(event_id=event.pk, index=next(indexes), status="done"), times=4)

    event.refresh_from_db()
    assert event.execution_results == [{"status": "done"}] * 4
