"""Severity rises while an event stays open, and never falls."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.devices.tests.factories import DeviceMetricFactory
from apps.events import services, severity
from apps.events.models import Event
from apps.events.tasks import raise_severities
from apps.events.tests.concurrency import at_once
from apps.events.tests.factories import EventFactory, RuleFactory

TEN = datetime(2026, 11, 20, 10, tzinfo=UTC)
STEPS = [{"after": 600, "severity": "warning"}, {"after": 3600, "severity": "critical"}]


@pytest.fixture
def event(device):
    """An event that opened at ten as an info."""
    return EventFactory(
        device=device,
        severity="info",
        timestamp=TEN,
        metadata={"severity_after": STEPS},
        severity_rises_at=TEN + timedelta(minutes=10),
    )


def sweep(event, minutes: int) -> int:
    count = severity.raise_severities(now=TEN + timedelta(minutes=minutes))
    event.refresh_from_db()
    return count


def test_severity_rises_once_its_time_has_come(event):
    assert sweep(event, 9) == 0
    assert event.severity == "info"
    assert sweep(event, 10) == 1
    assert sweep(event, 11) == 0

    assert (event.severity, event.severity_rises_at) == ("warning", TEN + timedelta(hours=1))
    changed_at = (TEN + timedelta(minutes=10)).isoformat()
    assert event.metadata["severity_changes"] == [{"from": "info", "to": "warning", "after": 600, "at": changed_at}]


def test_steps_that_were_missed_are_all_taken(event):
    sweep(event, 90)

    assert (event.severity, event.severity_rises_at) == ("critical", None)
    assert [change["to"] for change in event.metadata["severity_changes"]] == ["warning", "critical"]


def test_severity_never_falls(device):
    steps = [{"after": 60, "severity": "info"}]
    event = EventFactory(device=device, severity="critical", metadata={"severity_after": steps}, severity_rises_at=TEN)
    sweep(event, 30)

    assert (event.severity, event.severity_rises_at) == ("critical", None)
    assert "severity_changes" not in event.metadata


def test_resolved_events_stay_as_they_were(event, alex):
    services.resolve(event=event, user=alex, now=TEN)

    assert sweep(event, 90) == 0
    assert event.severity == "info"


def test_acknowledged_events_rise_too(event, alex):
    services.acknowledge(event=event, user=alex, now=TEN)
    sweep(event, 10)

    assert (event.severity, event.status) == ("warning", "acknowledged")


def test_task_looks_at_the_clock(event):
    raise_severities()

    assert Event.objects.get().severity == "critical"


def test_sweep_that_finds_nothing_takes_one_query(db, django_assert_num_queries):
    with django_assert_num_queries(3):  # the query, and its savepoint
        assert severity.raise_severities(now=TEN) == 0


def test_opened_event_keeps_its_steps(device):
    rule = RuleFactory(device=device)
    opening = services.Opening(
        rule_id=rule.pk,
        device_id=device.pk,
        device_metric_id=DeviceMetricFactory(device=device, metric=rule.metric).pk,
        severity="warning",
        message="m",
        timestamp=TEN,
        reading_ts=TEN,
        actions=[],
        metadata={},
        severity_after=STEPS,
    )
    services.open_events(openings=[opening], now=TEN)

    opened = Event.objects.get()
    assert opened.metadata == {"severity_after": STEPS}
    assert opened.severity_rises_at == TEN + timedelta(hours=1)


@pytest.mark.django_db(transaction=True)
def test_sweeps_at_once_raise_an_event_once(event):
    raised = at_once(lambda: severity.raise_severities(now=TEN + timedelta(minutes=10)), times=4)

    event.refresh_from_db()
    assert sum(raised) == 1
    assert len(event.metadata["severity_changes"]) == 1
