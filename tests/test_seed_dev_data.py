"""`manage.py seed_dev_data`: the demo world is complete, true to the hub's own rules, and goes away again."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count
from django.utils import timezone

from apps.devices.models import Device, DeviceCommand, DeviceMetric, Location
from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.events.models import Event
from apps.notifications.models import NotificationDelivery
from apps.rules.models import Rule
from apps.telemetry.models import Reading
from apps.users.models import User
from apps.users.tests.factories import UserFactory
from iot_hub.checks import demo_accounts

KINDS = (User, Device, DeviceMetric, Rule, Event, Reading)


def seed(*flags: str) -> str:
    out = StringIO()
    call_command("seed_dev_data", *flags, stdout=out)
    return out.getvalue()


def counts() -> dict:
    return {kind: kind.objects.count() for kind in KINDS}


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker):
    """Seeded once for this file; what a test changes is rolled back."""
    with django_db_blocker.unblock():
        out = seed()
        yield out
        seed("--remove")


@pytest.fixture
def seeded(world, db):
    return world


@pytest.fixture
def empty(world, db):
    seed("--remove")


class TestWorld:
    @pytest.mark.parametrize(
        ("username", "password", "role"),
        [
            ("dev_admin", "DevSecurePass", "admin"),
            ("alex_client", "ClientAccess1", "client"),
            ("jordan_client", "ClientAccess2", "client"),
        ],
    )
    def test_accounts_can_log_in(self, seeded, api, username, password, role):
        answer = api().post("/api/v1/auth/token/", {"username": username, "password": password})
        assert answer.status_code == 200
        assert User.objects.get(username=username).role == role

    def test_two_people_own_devices_and_a_gateway_has_children(self, seeded):
        assert Device.objects.get(serial_number="VIB-SN-001").owner.username == "alex_client"
        assert Device.objects.filter(owner__username="jordan_client").count() >= 3
        assert Device.objects.get(serial_number="GW-SN-001").children.count() >= 3

    def test_a_week_of_every_type_of_value(self, seeded):
        readings = Reading.objects.all()
        assert readings.count() > 100_000
        assert readings.filter(value_bool=True).exists()
        assert readings.filter(value_str="stopped").exists()
        assert not readings.filter(ts__gt=timezone.now()).exists()
        assert readings.filter(ts__lt=timezone.now() - timedelta(days=6, hours=23)).exists()

    def test_series_are_watched_as_the_rules_want(self, seeded):
        watched = DeviceMetric.objects.filter(is_watched=True).values_list("device__serial_number", "metric__name")
        assert set(watched) == {
            ("VIB-SN-001", "vibration"),
            ("VIB-SN-001", "temperature"),
            ("PRS-SN-001", "pressure"),
            ("TMP-SN-001", "temperature"),
            ("TMP-SN-001", "door_open"),
            ("TMP-SN-002", "door_open"),
            ("ENV-SN-001", "battery_level"),
        }

    def test_every_event_stands_on_a_reading(self, seeded):
        for event in Event.objects.all():
            reading = Reading.objects.get(device_metric=event.device_metric, ts=event.reading_ts)
            assert event.metadata["reading"]["value"] == reading.value

    def test_every_working_rule_has_found_something(self, seeded):
        assert not Rule.objects.filter(is_enabled=True, events=None).exists()
        assert not Rule.objects.filter(is_enabled=False).exclude(events=None).exists()

    def test_events_are_in_every_state(self, seeded):
        states = dict(Event.objects.values_list("rule__name", "status").exclude(status="resolved"))
        assert states == {"Pressure drop": "new", "Battery low": "acknowledged"}
        for event in Event.objects.filter(status="resolved"):
            assert event.created_at < event.resolved_at < timezone.now()
            assert event.acknowledged_at is None or event.acknowledged_at < event.resolved_at

    def test_nobody_is_mailed_about_history(self, seeded):
        assert not Event.objects.filter(dispatched_at=None).exists()
        assert set(NotificationDelivery.objects.values_list("status", flat=True)) == {"sent"}
        tries = NotificationDelivery.objects.annotate(count=Count("attempts")).values_list("attempt_count", "count")
        assert set(tries) == {(1, 1)}

    def test_actions_are_told_as_completed(self, seeded):
        results = [entry for event in Event.objects.all() for entry in event.execution_results]
        assert {entry["status"] for entry in results} == {"completed"}
        assert {entry["type"] for entry in results} == {"notification", "stop_machine"}
        assert DeviceCommand.objects.get(name="stop_machine").status == "completed"

    def test_rules_go_on_from_where_they_stand(self, seeded):
        """A rule with an open event is firing, so that the event resolves when the readings recover."""
        for event in Event.objects.open():
            assert event.rule.states.get(device_metric=event.device_metric).state == "firing"
        vibration = Rule.objects.get(name="Excessive vibration").states.get()
        assert vibration.state == "normal"
        assert vibration.last_opened < timezone.now() - timedelta(hours=1)

    def test_the_command_says_how_to_log_in(self, seeded):
        assert "dev_admin / DevSecurePass" in seeded


class TestAgain:
    def test_without_force_it_refuses(self, seeded):
        with pytest.raises(CommandError, match="--force"):
            seed()

    def test_if_empty_it_says_one_sentence_and_leaves_all_as_it_is(self, seeded):
        before = set(Device.objects.values_list("pk", flat=True))
        assert seed("--if-empty") == "Demo data is there already.\n"
        assert set(Device.objects.values_list("pk", flat=True)) == before

    def test_force_replaces_it(self, seeded):
        before = counts()
        old = set(Device.objects.values_list("pk", flat=True))
        assert "Removed" in seed("--force")
        assert counts().keys() == before.keys()
        assert counts()[Device] == before[Device]
        assert not old & set(Device.objects.values_list("pk", flat=True))
        assert not Reading.objects.exclude(device_metric__in=DeviceMetric.objects.values("pk")).exists()

    def test_dry_run_says_what_it_would_do_and_writes_nothing(self, empty):
        before = counts()
        out = seed("--dry-run")
        assert out.startswith("Would create 3 users, 9 devices")
        assert counts() == before

    def test_dry_run_with_force_tells_of_both(self, seeded):
        before = set(Device.objects.values_list("pk", flat=True))
        out = seed("--dry-run", "--force")
        assert "Would remove 3 users" in out
        assert "Would create 3 users" in out
        assert set(Device.objects.values_list("pk", flat=True)) == before


class TestRemoving:
    def test_nothing_of_the_demo_stays(self, empty):
        assert set(counts().values()) == {0}
        assert not Location.objects.exists()

    def test_what_others_have_stays(self, seeded):
        other = UserFactory(username="somebody")
        place = Location.objects.get(name="Hall A")
        device = DeviceFactory(owner=other, location=place)
        metric = DeviceMetric.objects.filter(metric__name="vibration").first().metric
        series = DeviceMetricFactory(device=device, metric=metric)
        Reading.objects.create(device_metric=series, ts=timezone.now(), value_numeric=1)
        seed("--force")
        seed("--remove")
        device.refresh_from_db()
        assert device.location == place
        assert Reading.objects.count() == 1
        assert list(User.objects.all()) == [other]

    def test_where_no_demo_is_nothing_goes(self, empty):
        mine = MetricFactory(name="vibration")
        seed("--remove")
        mine.refresh_from_db()


class TestRefusals:
    def test_switched_off_it_writes_nothing(self, empty, settings):
        settings.ENABLE_SEED_DATA = False
        for flags in [(), ("--force",), ("--if-empty",)]:
            with pytest.raises(CommandError, match="ENABLE_SEED_DATA=false"):
                seed(*flags)
        assert not User.objects.exists()

    def test_switched_off_the_demo_can_still_be_removed(self, seeded, settings):
        settings.ENABLE_SEED_DATA = False
        seed("--remove")
        assert not User.objects.exists()

    def test_demo_accounts_on_a_hub_without_demo_are_warned_of(self, seeded, settings):
        settings.ENABLE_SEED_DATA = False
        assert [warning.id for warning in demo_accounts(None, databases=["default"])] == ["iot_hub.W002"]
        seed("--remove")
        assert demo_accounts(None, databases=["default"]) == []

    @pytest.mark.parametrize("taken", ["serial number", "email", "metric of another type"])
    def test_what_is_taken_by_others_is_told_and_nothing_is_written(self, empty, taken):
        if taken == "serial number":
            DeviceFactory(serial_number="VIB-SN-001")
        elif taken == "email":
            UserFactory(email="Alex_Client@example.com")
        else:
            MetricFactory(name="Vibration", data_type="str")
        before = counts()
        with pytest.raises(CommandError, match="Nothing was written"):
            seed()
        assert counts() == before
        assert not User.objects.filter(username="dev_admin").exists()


def test_demo_accounts_log_in_only_where_demo_data_is_switched_on(seeded, client, settings):
    login = {"username": "alex_client", "password": "ClientAccess1"}
    tokens = client.post("/api/v1/auth/token/", login, "application/json").json()
    settings.ENABLE_SEED_DATA = False

    again = client.post("/api/v1/auth/token/", login, "application/json")
    refreshed = client.post("/api/v1/auth/token/refresh/", {"refresh": tokens["refresh"]}, "application/json")
    assert again.status_code == refreshed.status_code == 401
