"""GET /api/v1/telemetry/latest/, with a real Redis, warm and cold."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.devices.models import DeviceMetric, Metric
from apps.devices.tests.factories import DeviceFactory
from apps.notifications.tests.receivers import wait_for
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.ingest.http import Request, Service
from apps.telemetry.latest import entries
from apps.telemetry.latest.cache import LIFETIME_MS, LatestCache, latest_cache
from apps.telemetry.tests.conftest import at, issue

pytestmark = pytest.mark.django_db(transaction=True)

LATEST = "/api/v1/telemetry/latest/"
LIFETIME = LIFETIME_MS / 1000
# Seconds in which a healthy writer has told Redis.
TOLD = 0.2


@contextmanager
def round_trips(monkeypatch):
    """How often this thread writes to Redis within the block."""
    sent, me, send = [], threading.get_ident(), redis.connection.AbstractConnection.send_packed_command

    def counted(self, *args, **kwargs):
        if threading.get_ident() == me:
            sent.append(args)
        return send(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "send_packed_command", counted)
        yield sent


class TestContract:
    def test_newest_reading_of_each_metric_is_a_row_as_in_telemetry(self, post, latest, api, alex):
        post([at(60, 1.0), at(0, quality=0.98, metrics={"vibration": 5.25, "door_open": False, "state": "ok"})])
        listed = api(alex).get("/api/v1/telemetry/?device=VIB-SN-001&limit=3").json()["results"]
        by_metric = sorted(listed, key=lambda row: row["metric"])

        cold, warm = latest(device="VIB-SN-001"), latest(device="VIB-SN-001")

        assert cold == warm == by_metric
        assert [row["value"] for row in warm] == [False, "ok", 5.25]

    def test_devices_are_named_by_id_or_serial_number(self, post, owner_key, latest, device, alex):
        DeviceFactory(owner=alex, serial_number="OTHER")
        DeviceFactory(owner=alex, serial_number="THIRD")
        post([at(0, serial_number=name) for name in ("VIB-SN-001", "OTHER", "THIRD")], key=owner_key)

        assert len(latest(device=[device.pk, "OTHER"])) == 2
        assert len(latest(device=[device.pk, "VIB-SN-001"])) == 1
        assert len(latest()) == 3

    def test_metrics_are_named_whatever_their_case(self, post, latest):
        post(at(0, metrics={"vibration": 1.0, "temperature": 2.0, "pressure": 3.0}))
        rows = latest(device="VIB-SN-001", metric=["Vibration", "PRESSURE", "none"])

        assert [row["metric"] for row in rows] == ["pressure", "vibration"]

    def test_device_of_another_owner_is_as_if_not_there(self, post, latest, api, alex, jordan, admin):
        foreign = DeviceFactory(owner=jordan, serial_number="JOR-1")
        post(at(0, serial_number="JOR-1"), key=issue(foreign))
        post(at(0))

        strange, missing = (api(alex).get(f"{LATEST}?device={name}") for name in ("JOR-1", "NO-1"))
        assert strange.status_code == missing.status_code == 404
        assert strange.json() == missing.json()
        assert len(latest(device=["JOR-1", "VIB-SN-001"])) == 1
        assert len(latest()) == 1
        assert len(latest(user=admin)) == 2

    def test_stranger_is_asked_to_log_in(self, api):
        assert api().get(LATEST).status_code == 401

    def test_metric_without_readings_has_no_row(self, post, latest, device):
        post(at(0))
        unmeasured = Metric.objects.create(name="pressure")
        DeviceMetric.objects.create(device=device, metric=unmeasured)

        assert [row["metric"] for row in latest()] == [row["metric"] for row in latest()] == ["vibration"]

    def test_too_many_series_at_once_are_refused(self, device, alex, api):
        metrics = Metric.objects.bulk_create([Metric(name=f"m{n}") for n in range(10_001)])
        DeviceMetric.objects.bulk_create([DeviceMetric(device=device, metric=metric) for metric in metrics])
        answer = api(alex).get(LATEST)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "device"


class TestCost:
    @pytest.fixture(autouse=True)
    def _fifty_series(self, post, latest):
        """Asked for once, so that Redis has the script and we a connection, which nobody else is using."""
        post(at(0, metrics={f"m{n}": 1.0 for n in range(50)}))
        latest(device="VIB-SN-001")
        time.sleep(TOLD)

    def test_missing_values_cost_one_query_and_a_second_round_trip(self, latest, monkeypatch):
        latest_cache().forget([series.pk for series in DeviceMetric.objects.all()])
        with CaptureQueriesContext(connection) as queries, round_trips(monkeypatch) as sent:
            assert len(latest(device="VIB-SN-001")) == 50

        assert ["LATERAL" in query["sql"] for query in queries] == [False, True]
        assert len(sent) == 2

    def test_values_in_redis_cost_no_telemetry_query_and_one_round_trip(self, latest, monkeypatch):
        latest(device="VIB-SN-001")
        with CaptureQueriesContext(connection) as queries, round_trips(monkeypatch) as sent:
            assert len(latest(device="VIB-SN-001")) == 50

        assert ["LATERAL" in query["sql"] for query in queries] == [False]
        assert len(sent) == 1

    def test_nothing_is_kept_of_series_that_nobody_asks_for(self, post):
        post(at(0, metrics={"unasked": 1.0}))
        series = DeviceMetric.objects.get(metric__name="unasked").pk
        time.sleep(TOLD)

        assert latest_cache().read([series])[0] == {}


class TestForward:
    """With the value in Redis: what is new is seen long before the entry ends."""

    def seen(self, value, expected) -> None:
        wait_for(lambda: value() == expected, seconds=LIFETIME / 2)

    def test_new_reading_is_seen_at_once(self, post, value):
        post(at(60))
        assert value() == 60
        post(at(30))

        self.seen(value, 30)

    @pytest.mark.parametrize(("first", "second"), [(False, True), ("off", "on")])
    def test_truths_and_texts_move_too(self, post, value, first, second):
        post(at(60, first))
        assert value() == first
        post(at(30, second))

        self.seen(value, second)

    def test_first_reading_of_a_series_is_seen_at_once(self, post, latest, device):
        DeviceMetric.objects.create(device=device, metric=Metric.objects.create(name="vibration"))
        assert latest() == []
        post(at(30))

        wait_for(lambda: len(latest()) == 1, seconds=LIFETIME / 2)

    def test_late_reading_changes_nothing(self, post, value):
        post(at(30))
        assert value() == 30
        time.sleep(TOLD)
        post([at(60), at(90)])
        time.sleep(TOLD)

        assert value() == 30

    def test_repeated_reading_changes_nothing(self, post, value):
        post(at(30))
        assert value() == 30
        time.sleep(TOLD)
        post([at(30, 99.0), at(90)])
        time.sleep(TOLD)

        assert value() == 30

    def test_overwritten_newest_reading_is_seen_at_once(self, post, value):
        post(at(30))
        assert value() == 30
        time.sleep(TOLD)
        post([at(30, 98.0), at(30, 99.0), at(60)], query="?on_conflict=overwrite")

        self.seen(value, 99.0)

    def test_two_writers_never_move_a_value_back(self, settings):
        """Each from its own connection, one going up and one down, while a third looks on."""
        series, writers = 2_000_000_001, [LatestCache(settings.REDIS_URL) for _ in range(2)]
        reader = LatestCache(settings.REDIS_URL)
        times = range(1, 2001)

        def tell(cache, order):
            for ts in order:
                cache.forward([entries.record(series, entries.pack(entries.Entry(ts, float(ts), 1.0, ts)))])

        _, ends_at = reader.read([series])
        reader.fill(entries.record(series, entries.NOTHING), ends_at + 60_000)
        orders = (times, reversed(times))
        threads = [threading.Thread(target=tell, args=pair) for pair in zip(writers, orders, strict=True)]
        seen = [0]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            entry = entries.unpack(reader.read([series])[0][series])
            seen.append(entry.ts if entry else 0)
        seen.append(entries.unpack(reader.read([series])[0][series]).ts)
        reader.forget([series])

        assert seen == sorted(seen)
        assert seen[-1] == 2000

    def test_two_processes_agree_on_the_newest(self, ingesting, key, value, post):
        """Each with a writer and caches of its own, their readings interleaved and out of order."""
        post(at(500))
        assert value() == 500
        processes = [Service(), Service()]

        def send(process: Service, seconds: int) -> None:
            body = json.dumps(at(seconds)).encode()
            request = Request(format=JsonMessages(), body=body, authorization=f"Token {key}")
            assert process.respond(request).status == 201

        def send_all(process, order):
            for seconds in order:
                send(process, seconds)
            process.writer.close_connections()
            connection.close()

        orders = (range(1, 40, 2), range(40, 1, -2))
        threads = [threading.Thread(target=send_all, args=pair) for pair in zip(processes, orders, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.seen(value, 1)
