"""What the times in messages tell of a device's clock, and that they are stored as sent."""

import threading
import time
from datetime import UTC, datetime, timedelta
from math import inf
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.urls import reverse

from apps.devices.admin.device import clock_label
from apps.devices.models import Device
from apps.notifications.tests.receivers import wait_for
from apps.telemetry.ingest import presence
from apps.telemetry.models import Reading

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = 1_000_000  # µs


def sent(ahead: float | None = 0.0, **metrics) -> dict:
    """A message from a clock that runs so many seconds ahead."""
    time_of = {} if ahead is None else {"timestamp": (time.time() + ahead) * 1000}
    return time_of | {"metrics": metrics or {"vibration": 5.2}}


def close_to(seconds: float):
    """In ms, less what a slow machine takes from clock to clock."""
    return pytest.approx(seconds * 1000 - 250, abs=260)


@pytest.fixture
def skew(api, alex, device):
    """The device's clock skew in ms, as the API tells it."""
    return lambda: api(alex).get(f"/api/v1/devices/{device.pk}/").json()["clock_skew_ms"]


@pytest.fixture
def write(device):
    """`write(lag in s, at)` as a writer of some process does."""

    def commit(lag: float, at: float = 1000.0) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(presence.writing(cursor, [(device.pk, lag * SECOND)], at))
        return Device.objects.get(pk=device.pk).clock_skew_ms

    return commit


class TestEstimate:
    @pytest.mark.parametrize("ahead", [12.0, 0.0, -30.0])
    def test_clock_ahead_or_behind_is_shown_on_the_device(self, post, skew, ahead):
        assert post(sent(ahead)).status_code == 201

        assert skew() == close_to(ahead)

    def test_backlog_does_not_look_like_a_clock_behind(self, post, skew):
        post([sent(-3600), sent(-1800), sent(3), sent(-600)])

        assert skew() == close_to(3)

    def test_device_that_sends_no_times_has_no_skew(self, post, skew, device):
        assert post(sent(None)).status_code == 201
        device.refresh_from_db()

        assert device.last_seen is not None
        assert skew() is None

    def test_clock_so_far_ahead_that_all_is_rejected_is_shown(self, post, skew):
        assert post(sent(3600)).status_code == 400

        wait_for(lambda: skew() == close_to(3600), seconds=5)

    def test_clock_that_was_never_set_is_shown(self, post, skew):
        behind = close_to(-time.time())
        assert post({"timestamp": 0, "metrics": {"vibration": 5.2}}).status_code == 400

        wait_for(lambda: skew() == behind, seconds=5)

    @pytest.mark.parametrize("timestamp", [1e300, -1e17, "yesterday"])
    def test_time_that_no_clock_shows_tells_nothing(self, post, skew, timestamp):
        post([sent(2), sent(0) | {"timestamp": timestamp}])

        assert skew() == close_to(2)

    def test_skew_does_not_change_what_is_stored(self, post):
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=300)
        post({"timestamp": at.isoformat(), "metrics": {"vibration": 5.2}})

        reading = Reading.objects.get()
        assert reading.ts == at
        assert abs(reading.received_at - datetime.now(UTC)) < timedelta(minutes=1)

    def test_client_can_not_set_it(self, post, skew, api, alex, device):
        post(sent(12))
        api(alex).patch(f"/api/v1/devices/{device.pk}/", {"clock_skew_ms": 7})

        assert skew() == close_to(12)


class TestWindow:
    def test_smallest_lag_of_the_window_counts(self, write):
        assert write(-12, at=1000) == 12_000
        assert write(3, at=1100) == 12_000
        assert write(-13, at=1200) == 13_000

    def test_clock_that_was_set_right_is_noticed_after_the_window(self, write):
        write(-12, at=1000)

        assert write(0.1, at=1000 + 599) == 12_000
        assert write(0.1, at=1000 + 601) == -100

    def test_clock_that_stays_wrong_stays_shown(self, write):
        for minute in range(0, 60, 5):
            assert write(-12, at=1000 + minute * 60) == 12_000

    def test_lag_of_a_process_that_got_the_backlog_loses_to_another_at_the_same_time(self, write, device):
        """Both have read the row before either wrote it."""
        held, release = threading.Event(), threading.Event()

        def first():
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(presence.writing(cursor, [(device.pk, -12 * SECOND)], 1000.0))
                held.set()
                release.wait(10)
            connection.close()

        def second():
            write(1800, at=1001.0)
            connection.close()

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        threads[0].start()
        held.wait(10)
        threads[1].start()
        time.sleep(0.3)
        release.set()
        for thread in threads:
            thread.join()

        device.refresh_from_db()
        assert device.clock_skew_ms == 12_000
        assert device.last_seen.timestamp() == 1001

    def test_last_seen_is_never_moved_back(self, write, device):
        write(0, at=2000)
        write(0, at=1000)

        device.refresh_from_db()
        assert device.last_seen.timestamp() == 2000


class TestRhythm:
    def test_device_is_written_at_once_and_then_every_few_seconds_with_the_smallest_lag_between(self):
        device = presence.Presence(uuid4())

        def taken(lag, now):
            device.hear(lag)
            return presence.taken(presence.due([device], now), now)

        assert taken(5, now=100) == [(device.device_id, 5)]
        assert taken(2, now=101) == taken(9, now=104) == []
        assert taken(7, now=105) == [(device.device_id, 2)]
        assert taken(presence.NO_LAG, now=110) == [(device.device_id, inf)]

    def test_device_heard_by_two_requests_of_a_commit_is_written_once(self):
        device = presence.Presence(uuid4())

        assert presence.taken([device, device], now=100) == [(device.device_id, inf)]

    def test_device_that_could_not_be_written_is_due_again(self):
        device = presence.Presence(uuid4())
        presence.taken([device], now=100)

        presence.give_back([device])

        assert presence.due([device], now=100) == [device]


class TestAdmin:
    def test_device_page_tells_how_its_clock_goes(self, client, admin, post, device):
        post(sent(12.9))
        admin.is_staff = admin.is_superuser = True
        admin.save()
        client.force_login(admin)

        page = client.get(reverse("admin:devices_device_change", args=[device.pk])).content.decode()
        assert "12 s ahead" in page

    @pytest.mark.parametrize(
        ("skew_ms", "label"),
        [
            (None, "-"),
            (0, "in step"),
            (-999, "in step"),
            (1500, "1 s ahead"),
            (-90_000, "90 s behind"),
            (3_600_000, "60 min ahead"),
            (-90_000_000, "25 h behind"),
            (1_795_219_200_000, "20778 d ahead"),
        ],
    )
    def test_skew_is_told_in_a_fitting_unit(self, skew_ms, label):
        assert clock_label(skew_ms) == label


class TestLimits:
    def test_kept_for_ever_takes_readings_of_any_age(self, post, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"RETENTION": ""}

        assert post({"timestamp": "1987-06-05T04:03:02+02:00", "metrics": {"vibration": 5.2}}).status_code == 201
        assert Reading.objects.get().ts == datetime(1987, 6, 5, 2, 3, 2, tzinfo=UTC)

    def test_reading_at_the_edge_of_the_future_is_taken(self, post, settings):
        ahead = settings.TELEMETRY["MAX_FUTURE_SECONDS"]

        assert post(sent(ahead - 5)).status_code == 201
        assert post(sent(ahead + 5)).status_code == 400
