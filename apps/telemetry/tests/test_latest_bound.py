"""How old a latest value may be, whatever dies: the writer, Redis, or the way between them."""

import os
import shutil
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.db import transaction

from apps.devices.models import DeviceMetric
from apps.devices.services import unbind_metrics
from apps.notifications.tests.receivers import wait_for
from apps.telemetry import services
from apps.telemetry.latest import entries
from apps.telemetry.latest.cache import LIFETIME_MS, LatestCache
from apps.telemetry.models import Reading
from apps.telemetry.tests.conftest import NOW, at

pytestmark = pytest.mark.django_db(transaction=True)

LIFETIME = LIFETIME_MS / 1000
SERVICES = Path(__file__).resolve().parents[3] / "scripts" / "services"


def store(device, seconds: float, value: float) -> None:
    """A reading that nobody tells Redis of: its writer died after the commit."""
    series = DeviceMetric.objects.get(device=device, metric__name="vibration")
    Reading.objects.create(device_metric=series, ts=NOW - timedelta(seconds=seconds), value_numeric=value)


class TestBound:
    """What Redis is never told, it does not know for longer than an entry lives."""

    def test_reading_of_a_writer_that_died_is_seen_when_the_entry_ends(self, post, value, device):
        post(at(60))
        assert value() == 60
        store(device, 30, 30.0)
        acknowledged = time.monotonic()

        assert value() == 60
        time.sleep(acknowledged + LIFETIME - time.monotonic())
        assert value() == 30

    def test_new_readings_do_not_lengthen_the_life_of_an_entry(self, post, value, device):
        """A late reading moves the entry on, and there is a newer one that Redis was not told of."""
        post(at(60))
        assert value() == 60
        store(device, 10, 10.0)
        acknowledged = time.monotonic()

        for seconds in (50, 40, 30):
            time.sleep(0.5)
            post(at(seconds))
        time.sleep(max(0.0, acknowledged + LIFETIME - time.monotonic()))
        assert value() == 10

    def test_what_was_read_from_the_database_too_long_ago_is_not_held(self, settings):
        cache = LatestCache(settings.REDIS_URL)
        _, ends_at = cache.read([2_000_000_002])
        cache.fill(entries.record(2_000_000_002, entries.NOTHING), ends_at - LIFETIME_MS - 1)

        assert cache.read([2_000_000_002])[0] == {}

    def test_deleted_reading_is_gone_when_the_entry_ends(self, post, latest):
        post(at(60))
        assert len(latest()) == 1
        Reading.objects.all().delete()

        time.sleep(LIFETIME)
        assert latest() == []

    def test_forgotten_series_has_no_latest_value(self, post, latest):
        post(at(60))
        assert len(latest()) == 1
        with transaction.atomic():
            services.forget_series(device_metric_ids=[DeviceMetric.objects.get().pk])

        assert latest() == []

    def test_metric_that_is_bound_anew_starts_without_a_value(self, post, latest, ingesting):
        post(at(60))
        assert len(latest()) == 1
        unbind_metrics(bindings=DeviceMetric.objects.all())
        ingesting.watcher.poll()
        assert latest() == []
        post(at(90))

        assert [row["value"] for row in latest()] == [90]

    def test_emptied_redis_is_filled_again(self, post, value, settings):
        post(at(60))
        assert value() == 60
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            client.delete(*client.keys("latest:*"))

        assert value() == value() == 60


class OwnRedis:
    """A Redis that a test may kill; it writes down what it holds, and comes back with it."""

    def __init__(self, url: str):
        self.url = url

    def start(self) -> None:
        subprocess.run([SERVICES, "start", "redis"], check=True, capture_output=True, timeout=120)

    def signal(self, number: int) -> None:
        with redis.Redis.from_url(self.url) as client:
            self._pid = client.info("server")["process_id"]
        os.kill(self._pid, number)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


@pytest.fixture
def own_redis(monkeypatch, settings):
    if shutil.which("apt-get") is None:
        pytest.skip("A private Redis comes from Debian's packages.")
    monkeypatch.setenv("IOT_HUB_INSTANCE", "latest-values")
    printed = subprocess.run([SERVICES, "env"], check=True, capture_output=True, text=True).stdout
    own = OwnRedis(dict(line.split("=", 1) for line in printed.splitlines())["REDIS_URL"])
    own.start()
    settings.REDIS_URL = own.url
    yield own
    subprocess.run([SERVICES, "wipe"], check=True, capture_output=True, timeout=120)


class TestOutages:
    def test_without_redis_readings_are_taken_and_latest_values_are_right(self, post, value, settings):
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        begin = time.monotonic()

        for seconds in (60, 30, 10):
            assert post(at(seconds)).status_code == 201
            assert value() == seconds
        assert time.monotonic() - begin < 3

    def test_killed_redis_that_comes_back_with_old_values_is_believed_for_their_life_only(self, own_redis, post, value):
        post(at(60))
        assert value() == 60
        own_redis.signal(signal.SIGKILL)
        assert post(at(30)).status_code == 201
        acknowledged = time.monotonic()
        assert value() == 30

        own_redis.start()
        for _ in range(30):
            asked, answer = time.monotonic(), value()
            assert answer == 30 or asked < acknowledged + LIFETIME
            time.sleep(0.1)
        post(at(10))
        wait_for(lambda: value() == 10, seconds=LIFETIME)

    def test_frozen_redis_slows_and_breaks_nothing(self, own_redis, post, value):
        post(at(60))
        assert value() == 60
        own_redis.signal(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            assert post(at(30)).status_code == 201
            assert time.monotonic() - begin < 0.5
            assert value() == 30
            assert time.monotonic() - begin < 1.5
        finally:
            own_redis.go_on()
        time.sleep(LIFETIME)
        assert value() == 30

    def test_device_is_deleted_without_redis(self, post, api, alex, device, settings):
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        post(at(60))

        assert api(alex).delete(f"/api/v1/devices/{device.pk}/").status_code == 204
