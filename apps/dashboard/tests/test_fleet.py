"""The admin's first page: the fleet at a glance."""

import json
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from apps.dashboard import fleet
from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory
from apps.events.tests.factories import EventFactory
from apps.notifications.tests.factories import DeliveryFactory
from apps.telemetry.models import Reading

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _nothing_remembered():
    cache.delete("dashboard:readings")
    yield
    cache.delete("dashboard:readings")


@pytest.fixture
def home(client, admin):
    client.force_login(admin)
    return lambda: client.get("/admin/")


def numbers(page) -> dict[str, dict[str, int]]:
    return {
        card["title"]: {entry["name"]: entry["number"] for entry in card["entries"]} for card in page.context["cards"]
    }


def test_devices_are_counted_by_when_they_were_last_heard_of(home, db):
    now = timezone.now()
    for heard in (now, now - timedelta(minutes=1), now - HOUR, now - timedelta(days=2), None):
        DeviceFactory(last_seen=heard)
    DeviceFactory(status="inactive", last_seen=now)

    assert numbers(home())["Devices"] == {"online": 2, "silent": 1, "offline": 2}


def test_open_events_and_messages_are_counted(home, device):
    event = EventFactory(device=device, severity="critical")
    EventFactory(device=device, status="acknowledged")
    EventFactory(device=device, severity="critical", status="resolved", message="Long over")
    DeliveryFactory(event=event, status="failed")
    page = home()

    assert numbers(page)["Open events"] == {"critical": 1, "warning": 1, "info": 0}
    assert numbers(page)["Messages"] == {"sent": 0, "failed": 1, "pending": 0}
    assert event.message in page.content.decode().replace("&gt;", ">")
    assert "Long over" not in page.content.decode()


def test_readings_are_counted_by_hour_of_the_last_day(home, device):
    series = DeviceMetricFactory(device=device)
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for at in (this_hour, this_hour - HOUR, this_hour - HOUR + timedelta(minutes=1), this_hour - 24 * HOUR):
        Reading.objects.create(device_metric=series, ts=at, value_numeric=1, quality=1, received_at=at)
    chart = json.loads(home().context["readings_chart"])

    assert chart["datasets"][0]["data"] == [0] * 22 + [2, 1]
    assert chart["labels"][-1] == f"{this_hour:%H:%M}"


def test_page_does_without_what_takes_too_long(home, db, monkeypatch):
    monkeypatch.setattr(fleet, "_READINGS", "SELECT pg_sleep(60), %s")

    page = home()
    assert page.status_code == 200
    assert "Too many to be counted" in page.content.decode()


def test_first_page_takes_few_queries(home, device, django_assert_max_num_queries):
    for _ in range(20):
        EventFactory(device=device)
        DeviceFactory(owner=device.owner)

    with django_assert_max_num_queries(12):
        home()
