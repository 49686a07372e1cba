"""A gateway that is down tells once, and says what it holds back."""

from contextlib import closing
from datetime import timedelta

import pytest
from django.db import connection

from apps.devices.models import Device
from apps.devices.tests.factories import DeviceFactory
from apps.events import services as event_services
from apps.notifications.calm import following
from apps.notifications.models import NotificationDelivery, Silence
from apps.notifications.tests.story import MINUTE, NOW, delivery_of, send_due

NO_DATA = {"rule": {"name": "Silent", "condition": {"type": "no_data", "after": "1m"}}}
LATER = NOW + 6 * MINUTE  # by then what is held back has been looked at again


@pytest.fixture
def gateway(alex):
    return DeviceFactory(owner=alex, name="Hall 2", serial_number="GW-2")


@pytest.fixture
def behind(gateway):
    """A device that reports through the gateway (or another one), last heard of two minutes ago."""

    def make(parent=gateway, **fields):
        return DeviceFactory(owner=gateway.owner, parent=parent, last_seen=NOW - 2 * MINUTE, **fields)

    return make


@pytest.fixture
def fall_silent(happen, clock):
    def make(device, now=NOW):
        clock(now)
        return happen(now, device=device, metadata=NO_DATA, created_at=now)

    return make


def heard(device, now):
    Device.objects.filter(pk=device.pk).update(last_seen=now)


def test_gateway_that_takes_its_devices_down_is_told_once(fall_silent, behind, gateway, hook):
    devices = [behind(name=f"Press {number}") for number in range(3)]
    events = [fall_silent(device) for device in devices]

    assert send_due() == 1
    (request,) = hook.requests
    assert request.json["subject"] == "[warning] Nothing comes through Hall 2: 3 devices are silent"
    assert all(f"- {device}" in request.json["message"] for device in devices)
    assert request.json["gateway"] == {"id": str(gateway.pk)}
    assert [event["id"] for event in request.json["events"]] == [event.pk for event in events]
    for event in events:
        event.refresh_from_db()
        assert (delivery_of(event).status, event.execution_results[0]["status"]) == ("sent", "completed")


def test_message_about_the_gateway_itself_leads(fall_silent, behind, gateway, hook):
    fall_silent(behind())
    own = fall_silent(gateway)
    assert send_due() == 1

    assert hook.requests[0].json["event"]["id"] == own.pk


def test_what_falls_silent_later_is_held_back_and_says_by_what(fall_silent, behind, hook):
    first, _ = fall_silent(behind()), fall_silent(behind())
    send_due()
    late = fall_silent(behind(), NOW + MINUTE)

    assert [send_due(NOW + minutes * MINUTE) for minutes in (1, 7, 13)] == [0, 0, 0]
    delivery = delivery_of(late)
    assert (delivery.status, len(hook.requests)) == ("pending", 1)
    assert delivery.suppressed_by == f"Gateway GW-2 is silent, as event {first.pk} told."


def test_device_that_stays_silent_when_the_gateway_is_back_is_told(fall_silent, behind, hook):
    back, _ = behind(), fall_silent(behind())
    fall_silent(back)
    send_due()
    late = fall_silent(behind(), NOW + MINUTE)
    send_due(NOW + MINUTE)
    heard(back, NOW + 2 * MINUTE)

    assert send_due(LATER) == 1
    assert hook.requests[-1].json["event"]["id"] == late.pk
    assert "gateway" not in hook.requests[-1].json
    assert (delivery_of(late).status, delivery_of(late).suppressed_by) == ("sent", "")


def test_device_that_comes_back_with_the_gateway_is_not_told(fall_silent, behind, hook, alex):
    fall_silent(behind()), fall_silent(behind())
    send_due()
    late = fall_silent(behind(), NOW + MINUTE)
    send_due(NOW + MINUTE)
    event_services.resolve(event=late, user=alex, now=NOW + 2 * MINUTE)

    assert send_due(LATER) == 0
    assert delivery_of(late).status == "suppressed"
    assert delivery_of(late).suppressed_by.endswith("The event was resolved meanwhile.")


def test_devices_fall_silent_by_themselves_while_others_report(fall_silent, behind, hook):
    heard(behind(), NOW + MINUTE)
    fall_silent(behind()), fall_silent(behind())

    assert send_due() == 2
    assert all("Nothing comes through" not in request.json["subject"] for request in hook.requests)


def test_one_silent_device_says_nothing_of_its_gateway(fall_silent, behind, hook):
    behind()
    fall_silent(behind())
    send_due()

    assert "gateway" not in hook.requests[0].json


def test_readings_behind_a_silent_gateway_are_judged_and_told_as_ever(fall_silent, behind, happen, hook):
    fall_silent(behind()), fall_silent(behind())
    hot = happen(device=behind())

    assert send_due() == 2
    assert delivery_of(hot).leader is None


def test_site_gateway_is_named_when_nothing_comes_through_it(fall_silent, behind, gateway, hook):
    site = DeviceFactory(owner=gateway.owner, name="Site")
    Device.objects.filter(pk=gateway.pk).update(parent=site)
    fall_silent(behind()), fall_silent(behind(site))
    assert send_due() == 1

    assert "Nothing comes through Site" in hook.requests[0].json["subject"]


def test_gateway_within_a_site_is_named_while_the_site_reports(fall_silent, behind, gateway, hook):
    site = DeviceFactory(owner=gateway.owner, name="Site", last_seen=NOW + MINUTE)
    Device.objects.filter(pk=gateway.pk).update(parent=site)
    fall_silent(behind()), fall_silent(behind())
    send_due()

    assert "Nothing comes through Hall 2" in hook.requests[0].json["subject"]


def test_somebody_else_is_told_of_the_gateway_too(fall_silent, behind, template, hook):
    template.recipients = [{"type": "webhook", "url": f"{hook.url}/{name}"} for name in ("ops", "crew")]
    template.save()
    fall_silent(behind()), fall_silent(behind())

    assert send_due() == 2
    assert {request.path for request in hook.requests} == {"/hook/ops", "/hook/crew"}


def test_message_that_failed_for_good_holds_nothing_back(fall_silent, behind, hook):
    fall_silent(behind()), fall_silent(behind())
    hook.status = 410
    send_due()
    hook.status = 204
    late = fall_silent(behind(), NOW + MINUTE)

    assert send_due(NOW + MINUTE) == 1
    assert delivery_of(late).status == "sent"


def test_silenced_device_is_not_listed_among_what_goes_along(fall_silent, behind, hook):
    quiet = behind()
    Silence.objects.create(reason="repair", device=quiet, starts_at=NOW - MINUTE, ends_at=NOW + MINUTE)
    events = [fall_silent(behind()), fall_silent(behind()), fall_silent(quiet)]
    send_due()

    assert [delivery_of(event).status for event in events] == ["sent", "sent", "suppressed"]


def test_reminders_of_an_outage_come_in_one_message(fall_silent, behind, template, hook):
    template.repeat_minutes = 10
    template.save()
    fall_silent(behind()), fall_silent(behind())
    send_due()
    following.follow_up(now=NOW + 10 * MINUTE)

    assert send_due(NOW + 10 * MINUTE) == 1
    assert hook.requests[-1].json["kind"] == "reminder"


def test_reminders_of_what_is_held_back_are_suppressed(fall_silent, behind, template, hook):
    template.repeat_minutes = 10
    template.save()
    fall_silent(behind()), fall_silent(behind())
    send_due()
    late = fall_silent(behind(), NOW + 30 * timedelta(seconds=1))
    send_due(NOW + MINUTE)
    following.follow_up(now=NOW + 10 * MINUTE)
    send_due(NOW + 10 * MINUTE)
    following.follow_up(now=NOW + 11 * MINUTE)
    send_due(NOW + 11 * MINUTE)

    assert delivery_of(late, "reminder").status == "suppressed"


@pytest.mark.django_db(transaction=True)
def test_only_one_worker_at_a_time_decides_about_outages(fall_silent, behind, hook):
    fall_silent(behind()), fall_silent(behind())
    other = connection.copy()
    with closing(other), other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('notifications.outages'))")
        assert send_due() == 0

    assert send_due() == 1


def test_held_back_delivery_keeps_no_others_of_its_template_waiting(fall_silent, behind, happen, settings, hook):
    fall_silent(behind()), fall_silent(behind())
    send_due()
    held = fall_silent(behind(), NOW + MINUTE)
    send_due(NOW + MINUTE)
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"GROUP_WAIT": 30, "GROUP_INTERVAL": 60}
    NotificationDelivery.objects.update(is_grouped=True)
    hot = happen(NOW + 2 * MINUTE, device=behind())

    assert send_due(NOW + 3 * MINUTE) == 1
    assert [delivery_of(event).status for event in (hot, held)] == ["sent", "pending"]
