"""InfluxDB's official client libraries, unchanged, write to a real web process."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import influxdb
import influxdb_client
import pytest
import requests
from influxdb.exceptions import InfluxDBClientError
from influxdb_client import Point, WriteOptions, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from apps.devices.tests.factories import DeviceFactory
from apps.telemetry.models import Reading
from apps.telemetry.tests.conftest import issue, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def hub(start_hub):
    return start_hub("web")


@pytest.fixture
def key(device):
    return issue(device, scope="owner")


@pytest.fixture
def v2(hub, key):
    with influxdb_client.InfluxDBClient(url=hub.url, token=key, org="any") as client:
        yield client


@pytest.fixture
def v1(hub, key):
    """As `influxdb.InfluxDBClient(...)`, with the key as password."""
    address = urlsplit(hub.url)

    def connect(password=key, **options) -> influxdb.InfluxDBClient:
        return influxdb.InfluxDBClient(address.hostname, address.port, "any", password, "hub", **options)

    return connect


def point(serial_number: str = "VIB-SN-001", *, seconds: int = 0, **fields) -> Point:
    made = Point("vibration").tag("serial_number", serial_number).tag("site", "hall 1, north")
    for name, value in fields.items():
        made.field(name, value)
    return made.time(NOW - timedelta(seconds=seconds))


class TestV2:
    def test_client_finds_the_hub(self, v2):
        assert v2.ping() is True
        assert v2.version()
        assert v2.ready().status == "ready"
        with pytest.warns(DeprecationWarning, match="ping"):
            assert v2.health().status == "pass"

    def test_points_of_all_kinds_are_stored_at_once(self, v2, alex):
        DeviceFactory(owner=alex, serial_number="Press 2, left")
        writing = v2.write_api(write_options=SYNCHRONOUS)
        text = 'say "hi" \\ 日本\nand go'
        writing.write("bucket", record=point(speed=5.2, rpm=1480, open=False, note=text))
        writing.write("bucket", record=[point("Press 2, left", speed=1.0), point(seconds=1, speed=5.3)])
        in_milliseconds = f"m,serial_number=VIB-SN-001 speed=5.4 {int(NOW.timestamp() * 1000) - 2000}"
        writing.write("bucket", record=in_milliseconds, write_precision=WritePrecision.MS)

        assert sorted(stored(), key=str) == [
            ("Press 2, left", "speed", 1.0),
            ("VIB-SN-001", "note", text),
            ("VIB-SN-001", "open", False),
            ("VIB-SN-001", "rpm", 1480),
            ("VIB-SN-001", "speed", 5.2),
            ("VIB-SN-001", "speed", 5.3),
            ("VIB-SN-001", "speed", 5.4),
        ]
        assert set(Reading.objects.values_list("ts", flat=True)) == {NOW - timedelta(seconds=s) for s in range(3)}

    def test_batches_of_a_background_thread_are_stored(self, hub, key):
        failures = []
        options = WriteOptions(batch_size=500, flush_interval=200)
        with (
            influxdb_client.InfluxDBClient(url=hub.url, token=key, org="any", enable_gzip=True) as client,
            client.write_api(options, error_callback=lambda *failure: failures.append(failure)) as writing,
        ):
            for n in range(2_250):
                writing.write("bucket", record=point(seconds=n, speed=n / 10, load=n))

        assert failures == []
        assert Reading.objects.count() == 4_500

    def test_what_is_wrong_reaches_the_caller(self, v2):
        writing = v2.write_api(write_options=SYNCHRONOUS)
        with pytest.raises(ApiException, match="Line 2 can't be parsed") as malformed:
            writing.write("bucket", record=["m speed=1", "m speed=fast"])
        with pytest.raises(ApiException, match="Line 2, speed: timestamp_in_future") as partly:
            writing.write("bucket", record=[point(speed=1.0), point(seconds=-9999, speed=2.0)])

        assert malformed.value.status == 400
        assert (partly.value.status, partly.value.message.split(",")[0]) == (422, "1 of 2 readings were rejected")
        assert [value for _, _, value in stored()] == [1.0]

    def test_batch_that_fails_is_told_to_the_callback(self, v2):
        failures = []
        options = WriteOptions(batch_size=2, flush_interval=100)
        with v2.write_api(options, error_callback=lambda *failure: failures.append(failure)) as writing:
            writing.write("bucket", record=[point(speed=1.0), point("NO-SUCH", speed=2.0)])

        ((_, _, error),) = failures
        assert (error.status, "unknown_device" in error.message) == (422, True)


class TestV1:
    def test_client_finds_the_hub(self, v1):
        assert v1().ping()

    @pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
    def test_points_are_stored(self, v1, zipped):
        points = [
            {
                "measurement": "vibration",
                "tags": {"serial_number": "VIB-SN-001"},
                "time": NOW - timedelta(minutes=n),
                "fields": {"speed": 5.2, "rpm": n, "open": True, "note": 'say "hi" \\ 日本'},
            }
            for n in range(25)
        ]
        assert v1(gzip=zipped).write_points(points, time_precision="ms", batch_size=10) is True

        assert Reading.objects.count() == 100
        assert ("VIB-SN-001", "note", 'say "hi" \\ 日本') in stored()
        assert set(Reading.objects.values_list("ts", flat=True)) == {NOW - timedelta(minutes=n) for n in range(25)}

    def test_lines_are_stored_and_nothing_is_nothing(self, v1):
        line = f"m,serial_number=VIB-SN-001 speed=1 {int(NOW.timestamp())}"

        assert v1().write_points([line], protocol="line", time_precision="s") is True
        assert v1().write_points([]) is True
        assert stored() == [("VIB-SN-001", "speed", 1.0)]

    def test_what_is_wrong_reaches_the_caller(self, v1):
        with pytest.raises(InfluxDBClientError, match="Line 1 can't be parsed") as malformed:
            v1().write_points(["m speed=fast"], protocol="line")
        with pytest.raises(InfluxDBClientError) as unauthorized:
            v1("iot_wrong").write_points(["m speed=1"], protocol="line")

        assert (malformed.value.code, unauthorized.value.code) == (400, 401)

    def test_key_may_stand_in_the_url(self, hub, device, key):
        answer = requests.post(
            f"{hub.url}/write",
            params={"db": "hub", "u": "any", "p": key},
            data="m,device=VIB-SN-001 speed=1",
            timeout=10,
        )

        assert (answer.status_code, answer.content) == (204, b"")
        assert "Content-Length" not in answer.headers
