"""Who is left in peace, and that nothing is forgotten meanwhile."""

from datetime import timedelta

import pytest

from apps.devices.tests.factories import DeviceFactory, LocationFactory
from apps.events import services as event_services
from apps.events.tests.factories import RuleFactory
from apps.notifications import hours
from apps.notifications.calm import following
from apps.notifications.models import NotificationDelivery, Silence
from apps.notifications.tests.story import MINUTE, NOW, delivery_of, send_due

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def grouping(settings):
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"GROUP_WAIT": 30, "GROUP_INTERVAL": 300}


def silence(**fields):
    return Silence.objects.create(
        **{"reason": "maintenance", "starts_at": NOW - MINUTE, "ends_at": NOW + 60 * MINUTE} | fields
    )


# ---- groups


def test_events_within_the_group_wait_are_told_in_one_message(happen, hook, grouping):
    events = [happen(), happen(NOW + timedelta(seconds=10))]
    assert send_due(NOW + timedelta(seconds=29)) == 0

    assert send_due(NOW + timedelta(seconds=30)) == 1

    (request,) = hook.requests
    assert request.json["subject"].startswith("[2 events]")
    assert [event["id"] for event in request.json["events"]] == [event.pk for event in events]
    for event in events:
        event.refresh_from_db()
        assert delivery_of(event).status == "sent"
        assert event.execution_results[0]["status"] == "completed"


def test_next_message_of_a_group_waits_for_the_interval(happen, hook, grouping):
    happen()
    told = NOW + timedelta(seconds=30)
    send_due(told)
    NotificationDelivery.objects.update(created_at=NOW)

    later = happen(NOW + timedelta(seconds=60))

    assert delivery_of(later).next_attempt_at == told + timedelta(seconds=300)


def test_repeat_of_a_grouped_message_says_the_same(happen, hook, grouping):
    happen(), happen()
    hook.status = 503
    send_due(NOW + timedelta(seconds=30))
    hook.status = 204
    happen(NOW + timedelta(seconds=31))
    leader = NotificationDelivery.objects.get(attempt_count=1)
    NotificationDelivery.objects.filter(pk=leader.pk).update(next_attempt_at=NOW)
    send_due(NOW + timedelta(seconds=40))

    first, second = hook.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_group_whose_message_fails_for_good_has_failed_whole(happen, hook, grouping):
    events = [happen(), happen()]
    hook.status = 410
    send_due(NOW + timedelta(seconds=30))

    for event in events:
        event.refresh_from_db()
        assert (delivery_of(event).status, event.execution_results[0]["status"]) == ("failed", "failed")


def test_storm_is_told_in_a_digest_that_lists_what_it_held_back(happen, hook, settings):
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"DIGEST_ABOVE": 3}
    for _ in range(10):
        happen()
    NotificationDelivery.objects.update(created_at=NOW)

    assert send_due() == 3
    assert send_due(NOW + MINUTE) == 1
    assert len(hook.requests) == 4
    assert len(hook.requests[-1].json["events"]) == 7
    assert "7 events" in hook.requests[-1].json["message"]
    assert set(NotificationDelivery.objects.values_list("status", flat=True)) == {"sent"}


# ---- silences


def test_silenced_event_is_remembered_and_not_told(happen, hook):
    silence()
    event = happen()
    assert send_due() == 0

    delivery = delivery_of(event)
    assert (delivery.status, hook.requests) == ("suppressed", [])
    assert "maintenance" in delivery.suppressed_by
    event.refresh_from_db()
    result = event.execution_results[0]
    assert (event.status, result["status"], result["suppressed_count"]) == ("new", "suppressed", 1)
    assert "maintenance" in result["suppressed_by"]


def test_silence_that_is_over_or_of_others_suppresses_nothing(happen, jordan, device):
    silence(starts_at=NOW - 2 * MINUTE, ends_at=NOW)
    silence(owner=jordan)
    silence(device=DeviceFactory())
    silence(severity="critical")
    silence(rule=RuleFactory())
    silence(location=LocationFactory())
    happen(severity="warning")

    assert send_due() == 1


def test_silence_of_a_building_counts_in_its_rooms(happen, device):
    building = LocationFactory()
    device.location = LocationFactory(parent=building)
    device.save()
    silence(location=building)
    happen()

    assert send_due() == 0


def test_silence_of_a_gateway_counts_for_what_reports_through_it(happen, device):
    device.parent = DeviceFactory(owner=device.owner)
    device.save()
    silence(device=device.parent)
    happen()

    assert send_due() == 0


# ---- quiet hours


@pytest.mark.parametrize(
    ("text", "zone", "quiet"),
    [
        ("", "UTC", False),
        ("10:00-11:00", "UTC", True),
        ("11:00-10:00", "UTC", False),
        ("22:00-10:01", "UTC", True),
        ("12:00-13:00", "Europe/Kyiv", True),
        ("12:00-13:00", "UTC", False),
    ],
)
def test_hours_are_quiet_where_the_recipient_lives(text, zone, quiet):
    assert hours.are_quiet(text, zone, NOW) is quiet


def test_nobody_is_told_in_quiet_hours_of_the_template(happen, template):
    template.quiet_hours, template.timezone = "12:00-13:00", "Europe/Kyiv"
    template.save()
    event = happen()

    assert send_due() == 0
    assert delivery_of(event).suppressed_by == "Quiet hours 12:00-13:00 (Europe/Kyiv)"


def test_quiet_hours_of_one_recipient_are_no_others(happen, template, hook):
    night = {"type": "webhook", "url": f"{hook.url}/night", "quiet_hours": "09:00-11:00", "timezone": "UTC"}
    template.recipients = [night, {"type": "webhook", "url": f"{hook.url}/day"}]
    template.save()
    happen()
    send_due()

    assert [request.path for request in hook.requests] == ["/hook/day"]


def test_quiet_hours_are_those_of_the_place_where_the_person_lives(happen, template, alex, mail):
    alex.timezone = "Asia/Tokyo"
    alex.save()
    template.quiet_hours = "18:00-20:00"
    template.recipients = [{"type": "email", "address": alex.email}]
    template.save()

    event = happen()

    assert send_due() == 0
    assert delivery_of(event).suppressed_by == "Quiet hours 18:00-20:00 (Asia/Tokyo)"


# ---- reminders, escalation, recovery


def follow_up(now):
    following.follow_up(now=now)
    return send_due(now)


def test_event_that_nobody_acknowledges_is_told_again(happen, template, hook, alex):
    template.repeat_minutes = 10
    template.save()
    event = happen()
    send_due()

    assert [follow_up(NOW + minutes * MINUTE) for minutes in (9, 10, 11, 20)] == [0, 1, 0, 1]
    assert hook.requests[-1].json["kind"] == "reminder"
    assert hook.requests[-1].json["subject"].startswith("Reminder: ")

    event_services.acknowledge(event=event, user=alex, now=NOW)
    assert follow_up(NOW + 30 * MINUTE) == 0


def test_reminder_of_an_event_acknowledged_meanwhile_is_suppressed(happen, template, alex):
    template.repeat_minutes = 10
    template.save()
    event = happen()
    send_due()
    following.follow_up(now=NOW + 10 * MINUTE)
    event_services.acknowledge(event=event, user=alex, now=NOW)

    assert send_due(NOW + 10 * MINUTE) == 0
    assert delivery_of(event, "reminder").suppressed_by == "The event was acknowledged before."


def test_escalation_reaches_further_recipients_once(happen, template, hook):
    template.escalate_after_minutes = 15
    template.escalation_recipients = [{"type": "webhook", "url": f"{hook.url}/boss"}]
    template.save()
    happen()
    send_due()

    assert [follow_up(NOW + minutes * MINUTE) for minutes in (14, 15, 60)] == [0, 1, 0]
    assert hook.requests[-1].path == "/hook/boss"


def test_recovery_is_told_to_whom_the_event_was_told(happen, template, hook, alex):
    template.tell_recovery = True
    template.save()
    event = happen()
    send_due()
    event_services.resolve(event=event, user=alex, now=NOW)

    assert [follow_up(NOW + MINUTE), follow_up(NOW + 2 * MINUTE)] == [1, 0]
    assert hook.requests[-1].json["kind"] == "recovery"
    assert hook.requests[-1].json["event"]["status"] == "resolved"


def test_recovery_of_what_was_never_told_is_not_told_either(happen, template, alex):
    template.tell_recovery = True
    template.save()
    silence()
    event = happen()
    send_due()
    event_services.resolve(event=event, user=alex, now=NOW)
    Silence.objects.all().delete()

    assert follow_up(NOW + MINUTE) == 0
