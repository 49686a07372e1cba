"""The contract of POST /api/v2/write and POST /write, through Django's test client."""

import gzip
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.test import Client

from apps.devices.models import Device, Metric
from apps.devices.tests.factories import DeviceFactory
from apps.telemetry.ingest.errors import Busy, TooManyRequests
from apps.telemetry.ingest.formats.line_protocol import LineProtocol
from apps.telemetry.ingest.http import refuse
from apps.telemetry.models import Reading
from apps.telemetry.tests.conftest import issue, stored

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC).replace(microsecond=0)
NS = int(NOW.timestamp()) * 1_000_000_000
V1, V2 = "/write?db=hub", "/api/v2/write?bucket=hub&org=us"


@pytest.fixture
def write(ingesting, key):
    """Writes as a client of InfluxDB would: `write("m f=1")`, `write(bytes, path=V1, key=None, headers={…})`."""

    def send(body, *, path=V2, key=key, headers=None, content_type="text/plain; charset=utf-8"):
        headers = ({"Authorization": f"Token {key}"} if key else {}) | (headers or {})
        content = body.encode() if isinstance(body, str) else body
        return Client().post(path, content, content_type=content_type, headers=headers)

    return send


def basic(key: str, user: str = "any") -> dict:
    return {"Authorization": "Basic " + b64encode(f"{user}:{key}".encode()).decode()}


def values() -> set[tuple]:
    return {(metric, value) for _, metric, value in stored()}


class TestWriting:
    @pytest.mark.parametrize("path", [V1, V2])
    def test_points_are_stored_and_answered_without_a_body(self, write, path):
        answer = write(
            "# from the gateway\n"
            f'vibration,serial_number=VIB-SN-001,site=north speed=5.2,rpm=1480i,ticks=7u,open=f,state="ok" {NS}\n\n'
            f"vibration,serial_number=VIB-SN-001 speed=5.3 {NS - 1_000_000_000}\r\n",
            path=path,
        )

        assert (answer.status_code, answer.content) == (204, b"")
        assert values() == {
            ("speed", 5.2),
            ("speed", 5.3),
            ("rpm", 1480),
            ("ticks", 7),
            ("open", False),
            ("state", "ok"),
        }
        assert Reading.objects.order_by("-ts").first().ts == NOW

    def test_escaped_names_and_texts_are_stored_unescaped(self, write):
        line = (
            r'my\ line,serial_number=VIB-SN-001 oil\ level=1,a\,b=2,c\=d=3,note="say \"hi\" \\ 日本",' + f'"q"=4 {NS}'
        )

        assert write(line).status_code == 204
        assert values() == {("oil level", 1), ("a,b", 2), ("c=d", 3), ("note", 'say "hi" \\ 日本'), ('"q"', 4)}

    def test_text_may_have_line_ends(self, write):
        answer = write(f'm note="one\ntwo" {NS}\nm speed=1 {NS}')

        assert answer.status_code == 204
        assert values() == {("note", "one\ntwo"), ("speed", 1)}

    def test_point_without_a_time_is_of_now_and_without_a_device_of_the_key(self, write):
        assert write("m speed=1").status_code == 204
        reading = Reading.objects.get()
        assert abs(reading.ts - datetime.now(UTC)) < timedelta(minutes=1)
        assert stored() == [("VIB-SN-001", "speed", 1)]

    def test_same_point_overwrites(self, write):
        write(f"m speed=1,load=1 {NS}")
        answer = write(f"other speed=2 {NS}\nm speed=3 {NS + 999}")

        assert answer.status_code == 204
        assert values() == {("speed", 3), ("load", 1)}

    def test_fields_are_metrics_whatever_their_case(self, write):
        write(f"m Speed=1 {NS}\nm SPEED=2i {NS + 1000}")

        assert Metric.objects.get().name == "Speed"

    def test_device_may_be_named_by_other_tags(self, write, owner_key, alex):
        DeviceFactory(owner=alex, serial_number="B-1")
        answer = write("m,sensor_id=VIB-SN-001 a=1\nm,device=B-1 a=2", key=owner_key)

        assert answer.status_code == 204
        assert {(serial, value) for serial, _, value in stored()} == {("VIB-SN-001", 1), ("B-1", 2)}

    def test_reading_out_of_the_expected_range_has_a_lower_quality(self, write, device):
        type(device.device_type).objects.update(metric_name="speed", metric_max=10)
        write(f"m speed=50i {NS}")

        assert Reading.objects.get().quality == 0.5


class TestRequests:
    @pytest.mark.parametrize(
        ("path", "unit"),
        [
            (f"{V2}&precision=ns", 10**9),
            (f"{V2}&precision=us", 10**6),
            (f"{V2}&precision=ms", 1000),
            (f"{V2}&precision=s", 1),
            (f"{V1}&precision=n&rp=autogen&consistency=one", 10**9),
            (f"{V1}&precision=u", 10**6),
            (f"{V1}&precision={quote('µ')}", 10**6),
            (f"{V1}&precision=ms", 1000),
            (f"{V1}&precision=m", 1 / 60),
            (f"{V1}&precision=h", 1 / 3600),
        ],
    )
    def test_precision_says_what_timestamps_count(self, write, path, unit):
        at = NOW.replace(minute=0, second=0)

        assert write(f"m speed=1 {round(at.timestamp() * unit)}", path=path).status_code == 204
        assert Reading.objects.get().ts == at

    @pytest.mark.parametrize("path", [f"{V2}&precision=m", f"{V2}&precision=x", f"{V1}&precision=days"])
    def test_unknown_precision_is_refused(self, write, path):
        answer = write("m speed=1", path=path)

        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid"
        assert "precision" in answer.json()["message"]

    def test_gzip_body_is_taken_and_a_bomb_is_too_large(self, write):
        headers = {"Content-Encoding": "gzip"}

        assert write(gzip.compress(b"m speed=1"), headers=headers).status_code == 204
        assert write(b"no gzip", headers=headers).status_code == 400
        bomb = write(gzip.compress(bytes(64 * 1024 * 1024)), headers=headers)
        assert (bomb.status_code, bomb.json()["code"]) == (413, "request too large")
        other = write(b"m speed=1", headers={"Content-Encoding": "br"})
        assert (other.status_code, other.json()["code"]) == (415, "unsupported media type")

    @pytest.mark.parametrize(
        "content_type", ["application/octet-stream", "application/x-www-form-urlencoded", "application/json", "x/y"]
    )
    def test_any_content_type_is_taken(self, write, content_type):
        assert write("m speed=1", content_type=content_type, headers={"Accept": "text/csv"}).status_code == 204

    def test_body_without_points_has_nothing_to_store(self, write):
        assert write("\n# nothing\n").status_code == 204
        assert write("").status_code == 400


class TestRefusals:
    def test_syntax_error_writes_nothing_and_names_the_line(self, write):
        answer = write(f"m speed=1 {NS}\nm speed=fast {NS}\nm ")

        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/json"
        told = answer.json()
        assert told["code"] == "invalid"
        assert told["message"] == told["error"]
        assert "Line 2 " in told["message"]
        assert "speed=fast" in told["message"]
        assert stored() == []

    def test_some_points_rejected_by_meaning_are_named_and_the_rest_is_stored(self, write):
        write(f"m speed=1 {NS}")
        answer = write(f'# hi\nm speed="fast",load=1 {NS}\nm speed=2 {NS + 10**13}\nm speed=3 {NS - 10**9}')

        assert answer.status_code == 422
        told = answer.json()
        assert told["code"] == "unprocessable entity"
        assert told["message"].startswith(
            "2 of 4 readings were rejected, the rest is stored. Line 2, speed: type_mismatch"
        )
        rejected = [(one["line"], one["metric"], one["code"]) for one in told["rejected"]]
        assert rejected == [(2, "speed", "type_mismatch"), (3, "speed", "timestamp_in_future")]
        assert values() == {("speed", 1), ("speed", 3), ("load", 1)}

    def test_all_points_rejected_by_meaning_is_400(self, write, owner_key):
        answer = write("m,serial_number=NO-SUCH speed=1\nm speed=2", key=owner_key)

        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid"
        assert [one["code"] for one in answer.json()["rejected"]] == ["unknown_device", "unknown_device"]
        assert "nothing was written" in answer.json()["message"]

    def test_hundred_rejections_are_listed_and_the_message_stays_short(self, write):
        answer = write("m speed=1\n" + "\n".join(f"m speed=1 {n}" for n in range(150)))

        assert answer.status_code == 422
        assert len(answer.json()["rejected"]) == 100
        assert answer.json()["message"].startswith("150 of 151 ")
        assert len(answer.json()["message"]) < 2000

    def test_unbound_metric_is_rejected_where_binding_is_off(self, write, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"AUTO_REGISTER": False}

        assert write("m speed=1").json()["rejected"][0]["code"] == "unknown_metric"

    def test_inactive_device_is_rejected(self, write):
        Device.objects.update(status="inactive")

        assert write("m speed=1").json()["rejected"][0]["code"] == "device_inactive"

    @pytest.mark.parametrize("path", [V1, V2])
    def test_no_key_and_a_wrong_key_are_unauthorized(self, write, path):
        for answer in (write("m f=1", path=path, key=None), write("m f=1", path=path, key="iot_wrong")):
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Token"
            assert answer.json()["code"] == "unauthorized"

    def test_key_for_one_device_may_not_write_for_another(self, write, alex):
        DeviceFactory(owner=alex, serial_number="OTHER")
        answer = write("m f=1\nm,serial_number=OTHER f=1")

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert stored() == []

    def test_being_busy_says_when_to_come_back(self):
        too_many = TooManyRequests(of="key", unit="messages", per_minute=60, retry_after=7)
        for error, code in ((Busy("later", retry_after=2), "unavailable"), (too_many, "too many requests")):
            answer = refuse(LineProtocol(), error)
            assert answer.headers["Retry-After"] == str(error.retry_after)
            assert f'"code":"{code}"'.encode() in answer.body


class TestCredentials:
    @pytest.mark.parametrize("path", [V1, V2])
    def test_key_is_taken_as_bearer_and_as_the_password_of_basic(self, write, key, path):
        for headers in ({"Authorization": f"Bearer {key}"}, basic(key), basic(key, user="")):
            assert write("m f=1", path=path, key=None, headers=headers).status_code == 204

    def test_key_in_the_url_is_taken_where_clients_of_v1_send_it(self, write, key):
        assert write("m f=1", path=f"{V1}&u=any&p={key}", key=None).status_code == 204
        assert write("m f=1", path=f"{V2}&u=any&p={key}", key=None).status_code == 401

    @pytest.mark.parametrize("credentials", ["Basic", "Basic !", "Basic YQ==", "Basic YTo=", "Basic /w==", "Digest x"])
    def test_broken_credentials_are_unauthorized(self, write, credentials):
        assert write("m f=1", path=V1, key=None, headers={"Authorization": credentials}).status_code == 401

    def test_expired_key_is_unauthorized(self, write, device):
        assert write("m f=1", key=issue(device, expires_at=NOW - timedelta(seconds=1))).status_code == 401


class TestIsSomebodyThere:
    def test_ping_has_a_version_and_no_body(self):
        for method in ("get", "head"):
            answer = getattr(Client(), method)("/ping")
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["X-Influxdb-Version"]

    def test_health_passes_and_the_hub_is_ready(self):
        assert Client().get("/health").json() | {"message": ""} == {
            "name": "iot-hub",
            "status": "pass",
            "message": "",
            "checks": [],
        }
        assert Client().get("/ready").json() == {"status": "ready"}


def test_no_body_makes_the_hub_stumble(write):
    """Values and names that parse, but mean nothing; the syntax has its own tests."""
    nasty = [
        *[
            "m f=1e308",
            "m f=1 -9223372036854775806",
            "m f=1 9223372036854775806",
            'm f="\x01"',
            "m \x7f=1",
            "m \u202e=1",
        ],
        *["m " + "x" * 101 + "=1", 'm f="' + "x" * 5000 + '"', "m,serial_number=" + "x" * 60_000 + " f=1"],
        *["{}", '{"metrics": {"f": 1}}', "\x00", "m f=1\x00", '"', "\\", "m f=\\", "m \\ =1", "m  \\\t=1", "m '=1"],
    ]
    for body in nasty:
        assert write(body).status_code in {204, 400, 403, 422}, body
