"""`manage.py simulate_devices` against a running hub."""

import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from random import Random

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.devices.models import DeviceKey
from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.telemetry import simulation
from apps.telemetry.models import Reading

pytestmark = pytest.mark.django_db(transaction=True)


def simulate(url: str, **options) -> str:
    out = StringIO()
    call_command("simulate_devices", url=url, interval=0, stdout=out, stderr=out, **({"count": 1} | options))
    return out.getvalue()


@pytest.fixture
def hub(ingesting, live_server):
    return live_server.url


@pytest.fixture
def series(device):
    return DeviceMetricFactory(device=device, metric=MetricFactory(name="vibration"))


def test_readings_arrive_and_every_round_is_told(hub, series):
    out = simulate(hub, count=2)
    assert Reading.objects.filter(device_metric=series).count() == 2
    assert out.count("alex, 1 devices: 1 readings stored") == 2


def test_the_key_is_for_the_owner_and_revoked_at_the_end(hub, series):
    simulate(hub)
    key = DeviceKey.objects.get()
    assert (key.name, key.scope, key.owner) == ("simulator", "owner", series.device.owner)
    assert key.revoked_at is not None


def test_every_owner_speaks_with_a_key_of_their_own(hub, device, jordan):
    DeviceFactory(owner=jordan)
    simulate(hub)
    assert DeviceKey.objects.values("owner").distinct().count() == 2
    assert Reading.objects.count() == 2  # the primary metrics, bound at first sight


def test_one_device_can_be_chosen(hub, series):
    DeviceFactory(owner=series.device.owner)
    simulate(hub, serial=["VIB-SN-001"])
    assert Reading.objects.count() == 1


def test_unknown_device_is_told(hub, device):
    with pytest.raises(CommandError, match="NIX"):
        simulate(hub, serial=["NIX"])


def test_without_devices_it_says_what_to_do(db):
    with pytest.raises(CommandError, match="seed_dev_data"):
        simulate("http://127.0.0.1:1")


def test_an_answer_that_is_no_hub_s_is_told_and_the_key_revoked(series):
    class Stranger(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(418, "a teapot")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(CommandError, match="418: a teapot"):
            simulate(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert DeviceKey.objects.get().revoked_at is not None


def test_a_hub_that_is_away_is_tried_again_and_then_given_up(series, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(CommandError, match=r"does not answer.*Connection refused.*Given up"):
        simulate("http://127.0.0.1:1")
    assert DeviceKey.objects.get().revoked_at is not None


class TestValues:
    def test_readings_carry_on_from_the_recent_ones(self, series):
        _store(series, [3.0, 3.2, 2.9, 3.1, 3.0])
        [source] = simulation.sources_of(series.device, now=timezone.now())
        random = Random(1)
        values = [source.next(random, anomaly=False) for _ in range(100)]
        assert 2 < min(values) < max(values) < 4
        assert len(set(values)) > 50

    def test_an_anomaly_lies_beyond_all_that_was_seen(self, series):
        _store(series, [3.0, 7.5, 2.9, 3.1, 3.0])
        [source] = simulation.sources_of(series.device, now=timezone.now())
        assert source.next(Random(1), anomaly=True) > 7.5

    def test_a_counter_does_not_go_back(self, series):
        _store(series, [1250.0, 1250.1, 1250.2, 1250.3])
        [source] = simulation.sources_of(series.device, now=timezone.now())
        assert source.next(Random(1), anomaly=False) == 1250.3

    @pytest.mark.parametrize(("data_type", "kind"), [("boolean", bool), ("str", str), ("numeric", float)])
    def test_a_series_without_readings_gets_values_of_its_type(self, device, data_type, kind):
        DeviceMetricFactory(device=device, metric=MetricFactory(data_type=data_type))
        [source] = simulation.sources_of(device, now=timezone.now())
        assert type(source.next(Random(1), anomaly=False)) is kind


def _store(series, values: list[float]) -> None:
    now = timezone.now()
    Reading.objects.bulk_create(
        Reading(device_metric=series, ts=now - timedelta(minutes=len(values) - age), value_numeric=value)
        for age, value in enumerate(values)
    )
