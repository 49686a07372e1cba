"""The contract of POST /api/v1/telemetry/, through Django's test client."""

import gzip
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from apps.devices.models import Device, DeviceKey, DeviceMetric, Metric
from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.telemetry.ingest import tables
from apps.telemetry.ingest.formats.json_messages import JsonMessages
from apps.telemetry.ingest.http import Request
from apps.telemetry.models import Reading
from apps.telemetry.tests.conftest import issue, stored

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC).replace(microsecond=0)


def message(**fields) -> dict:
    return {
        "serial_number": "VIB-SN-001",
        "timestamp": NOW.isoformat(),
        "metrics": {"vibration": 5.2},
    } | fields


def codes(answer) -> list[str]:
    return [rejection["code"] for rejection in answer.json()["rejected"]]


class TestReceipts:
    def test_message_with_several_metrics_is_stored_and_counted(self, post):
        answer = post(message(version="0.0.1", metrics={"vibration": 5.2, "door_open": False, "state": "ok", "n": 3}))

        assert answer.status_code == 201
        assert answer.json() == {
            "accepted": 4,
            "duplicates": 0,
            "updated": 0,
            "rejected_count": 0,
            "rejected": [],
        }
        assert sorted(stored(), key=str) == [
            ("VIB-SN-001", "door_open", False),
            ("VIB-SN-001", "n", 3.0),
            ("VIB-SN-001", "state", "ok"),
            ("VIB-SN-001", "vibration", 5.2),
        ]

    def test_repeated_reading_is_stored_once(self, post):
        post(message())
        answer = post(message(metrics={"vibration": 9.9}))

        assert answer.status_code == 201
        assert answer.json()["accepted"] == 0
        assert answer.json()["duplicates"] == 1
        assert stored() == [("VIB-SN-001", "vibration", 5.2)]

    def test_reading_repeated_within_one_request_counts_the_first(self, post):
        answer = post([message(), message(metrics={"vibration": 9.9, "temperature": 20.0})])

        assert answer.json()["accepted"] == 2
        assert answer.json()["duplicates"] == 1
        assert ("VIB-SN-001", "vibration", 5.2) in stored()

    def test_overwrite_replaces_and_counts_as_updated(self, post):
        post(message())
        answer = post(message(metrics={"vibration": 9.9, "temperature": 20.0}), query="?on_conflict=overwrite")

        assert answer.status_code == 201
        assert (answer.json()["accepted"], answer.json()["updated"]) == (1, 1)
        assert stored() == [("VIB-SN-001", "vibration", 9.9), ("VIB-SN-001", "temperature", 20.0)]

    def test_overwrite_within_one_request_keeps_the_last(self, post):
        answer = post([message(), message(metrics={"vibration": 9.9})], query="?on_conflict=overwrite")

        assert (answer.json()["accepted"], answer.json()["updated"]) == (1, 1)
        assert stored() == [("VIB-SN-001", "vibration", 9.9)]

    def test_unknown_conflict_mode_is_refused(self, post):
        assert post(message(), query="?on_conflict=ask").status_code == 400

    def test_some_rejected_answers_207_and_stores_the_rest(self, post):
        post(message())
        answer = post([message(timestamp=1000 * (NOW.timestamp() - 1)), message(metrics={"vibration": "high"})])

        assert answer.status_code == 207
        assert answer.json()["accepted"] == 1
        assert answer.json()["rejected_count"] == 1
        assert answer.json()["rejected"][0] | {"message": ""} == {
            "index": 1,
            "metric": "vibration",
            "code": "type_mismatch",
            "message": "",
        }

    def test_all_rejected_answers_400_as_a_problem(self, post):
        answer = post(message(serial_number="VIB-SN-001", metrics={"vibration": None}))

        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["title"] == "Bad Request"
        assert codes(answer) == ["invalid_value"]

    def test_first_hundred_rejections_are_listed_and_all_are_counted(self, post):
        answer = post([message(timestamp="yesterday") for _ in range(150)] + [message()])

        assert answer.status_code == 207
        assert answer.json()["rejected_count"] == 150
        assert len(answer.json()["rejected"]) == 100

    def test_metric_names_match_whatever_their_case(self, post):
        post(message())
        post(message(timestamp=None, metrics={"Vibration": 6.0}))

        assert Metric.objects.count() == 1
        assert [value for _, _, value in stored()] == [5.2, 6.0]


class TestRejections:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"metrics": {"vibration": [1]}}, "invalid_value"),
            ({"metrics": {"vibration": {"x": 1}}}, "invalid_value"),
            ({"metrics": {"vibration": float("nan")}}, "not_finite"),
            ({"metrics": {"vibration": float("inf")}}, "not_finite"),
            ({"metrics": {"vibration": 10**400}}, "not_finite"),
            ({"metrics": {"note": "x\u0000y"}}, "invalid_value"),
            ({"metrics": {"note": "x" * 5000}}, "invalid_value"),
            ({"metrics": {}}, "invalid_value"),
            ({"metrics": {"": 1.0}}, "unknown_metric"),
            ({"metrics": {"x" * 101: 1.0}}, "unknown_metric"),
            ({"metrics": {"new\nline": 1.0}}, "unknown_metric"),
            ({"metrics": "vibration"}, "invalid_value"),
            ({"quality": 1.5}, "invalid_value"),
            ({"quality": "good"}, "invalid_value"),
            ({"timestamp": "yesterday"}, "invalid_timestamp"),
            ({"timestamp": "2026-11-20T10:00:00"}, "invalid_timestamp"),
            ({"timestamp": True}, "invalid_timestamp"),
            ({"timestamp": 1e300}, "timestamp_in_future"),
            ({"timestamp": (NOW + timedelta(hours=1)).isoformat()}, "timestamp_in_future"),
            ({"timestamp": (NOW - timedelta(days=400)).isoformat()}, "timestamp_too_old"),
            ({"timestamp": -(10**17)}, "timestamp_too_old"),
            ({"metrics": {"vibration": 1e200}}, "invalid_value"),
            ({"serial_number": 7}, "unknown_device"),
        ],
    )
    def test_bad_reading_is_rejected_by_its_code_and_its_neighbour_is_stored(self, post, change, code):
        answer = post([message(**change), message(metrics={"temperature": 20.0})])

        assert answer.status_code == 207
        assert codes(answer) == [code]
        assert stored() == [("VIB-SN-001", "temperature", 20.0)]

    def test_unknown_device_is_rejected_per_reading(self, post, owner_key):
        answer = post([message(serial_number="NO-SUCH", metrics={"a": 1.0, "b": 2.0}), message()], key=owner_key)

        assert answer.status_code == 207
        assert codes(answer) == ["unknown_device", "unknown_device"]

    def test_device_of_another_owner_looks_unknown(self, post, owner_key, jordan):
        DeviceFactory(owner=jordan, serial_number="JOR-1")
        strange = post(message(serial_number="JOR-1"), key=owner_key)
        missing = post(message(serial_number="NO-1"), key=owner_key)

        assert strange.status_code == missing.status_code == 400
        assert (
            strange.json()["rejected"][0]["message"].replace("JOR", "NO") == (missing.json()["rejected"][0]["message"])
        )

    def test_rejections_come_in_the_order_of_the_messages(self, post):
        sent = [message(timestamp=at) for at in ("yesterday", True, "2026-11-20T10:00:00", [])]

        rejected = post([*sent, message()]).json()["rejected"]

        assert [(one["index"], one["code"]) for one in rejected] == [(at, "invalid_timestamp") for at in range(4)]

    def test_inactive_device_is_rejected(self, post, device):
        Device.objects.update(status="inactive")

        assert codes(post(message())) == ["device_inactive"]

    def test_unknown_metric_is_rejected_where_binding_is_off(self, post, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"AUTO_REGISTER": False}

        assert codes(post(message())) == ["unknown_metric"]
        assert not Metric.objects.exists()

    def test_metric_bound_by_hand_is_taken_where_binding_is_off(self, post, ingesting, device, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"AUTO_REGISTER": False}
        post(message())
        DeviceMetricFactory(device=device, metric__name="vibration")
        ingesting.watcher.poll()

        assert post(message()).status_code == 201

    def test_metric_that_was_null_at_first_is_bound_by_its_first_value(self, post):
        post(message(metrics={"vibration": None}))

        assert post(message()).status_code == 201

    def test_device_binds_a_limited_number_of_metrics(self, post, settings):
        settings.TELEMETRY = settings.TELEMETRY | {"MAX_METRICS_PER_DEVICE": 3}
        answer = post(message(metrics={f"m{n}": 1.0 for n in range(5)}))

        assert answer.status_code == 207
        assert codes(answer) == ["unknown_metric", "unknown_metric"]

    def test_boolean_is_no_number(self, post, device):
        post(message())

        assert codes(post(message(metrics={"vibration": True}))) == ["type_mismatch"]


class TestRequests:
    def test_malformed_json_is_refused_whole(self, post):
        answer = post(b'[{"serial_number": "VIB-SN-001", ')

        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == 400

    @pytest.mark.parametrize("body", [b"", b"[]", b"7", b'"x"', b"[" * 100_000, b"\xff\xfe"])
    def test_body_without_messages_is_refused(self, post, body):
        assert post(body).status_code == 400

    def test_gzip_body_is_taken(self, post):
        body = gzip.compress(b'{"metrics": {"vibration": 5.2}}')

        assert post(body, headers={"Content-Encoding": "gzip"}).status_code == 201

    @pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b'{"metrics": {"vibration": 5.2}}')[:-6]])
    def test_broken_gzip_is_refused(self, post, body):
        assert post(body, headers={"Content-Encoding": "gzip"}).status_code == 400

    def test_gzip_bomb_is_too_large(self, post):
        bomb = gzip.compress(bytes(64 * 1024 * 1024))

        assert post(bomb, headers={"Content-Encoding": "gzip"}).status_code == 413

    def test_large_body_is_too_large(self, post):
        assert post(b" " * (20 * 1024 * 1024)).status_code == 413

    def test_other_encodings_and_types_are_refused(self, post):
        assert post(message(), headers={"Content-Encoding": "br"}).status_code == 415
        assert post(b"<xml/>", content_type="application/xml").status_code == 415

    def test_timestamp_may_be_left_out_or_be_epoch_milliseconds(self, post):
        post({"metrics": {"vibration": 1.0}})
        post({"metrics": {"vibration": 2.0}, "timestamp": int(NOW.timestamp() * 1000) - 60_000})

        newest, older = Reading.objects.order_by("-ts")
        assert abs(newest.ts - datetime.now(UTC)) < timedelta(minutes=1)
        assert older.ts == NOW - timedelta(minutes=1)

    def test_offset_is_respected(self, post):
        post(message(timestamp=NOW.astimezone(tz=None).isoformat()))

        assert Reading.objects.get().ts == NOW

    def test_reading_out_of_the_expected_range_has_a_lower_quality(self, post, device):
        type(device.device_type).objects.update(metric_max=10)
        post(message(metrics={"vibration": 50.0, "temperature": 50.0}, quality=0.9))

        qualities = {row.device_metric.metric.name: row.quality for row in Reading.objects.all()}
        assert qualities == {"vibration": 0.5, "temperature": pytest.approx(0.9)}

    def test_last_seen_is_when_it_came_in(self, post, device):
        post(message(timestamp=(NOW - timedelta(days=3)).isoformat()))

        device.refresh_from_db()
        assert abs(device.last_seen - datetime.now(UTC)) < timedelta(minutes=1)


class TestCredentials:
    def test_no_key_and_a_wrong_key_are_unauthorized(self, post):
        for answer in (post(message(), key=None), post(message(), key="iot_wrong"), post(message(), key="x.y.z")):
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Token"
            assert answer.headers["Content-Type"] == "application/problem+json"

    def test_key_is_taken_as_bearer_too(self, post, key):
        assert post(message(), key=None, headers={"Authorization": f"Bearer {key}"}).status_code == 201

    def test_key_for_one_device_may_not_write_for_another(self, post, alex):
        DeviceFactory(owner=alex, serial_number="OTHER")
        answer = post([message(), message(serial_number="OTHER")])

        assert answer.status_code == 403
        assert stored() == []

    def test_key_of_an_owner_writes_for_all_devices_of_the_owner(self, post, owner_key, alex):
        DeviceFactory(owner=alex, serial_number="OTHER")

        assert post([message(), message(serial_number="OTHER")], key=owner_key).json()["accepted"] == 2

    def test_expired_key_is_unauthorized(self, post, device):
        expired = issue(device, expires_at=NOW - timedelta(seconds=1))

        assert post(message(), key=expired).status_code == 401

    def test_revoked_key_is_unauthorized_after_the_caches_heard_of_it(self, post, ingesting):
        assert post(message()).status_code == 201
        DeviceKey.objects.update(revoked_at=NOW)
        ingesting.watcher.poll()

        assert post(message()).status_code == 401

    def test_key_of_a_deactivated_owner_is_unauthorized(self, post, ingesting, alex):
        assert post(message()).status_code == 201
        type(alex).objects.update(is_active=False)
        ingesting.watcher.poll()

        assert post(message()).status_code == 401

    def test_person_writes_for_own_devices_with_an_access_token(self, post, alex, jordan):
        DeviceFactory(owner=jordan, serial_number="JOR-1")
        login = Client().post(
            "/api/v1/auth/token/", {"username": "alex", "password": "a-Long-passw0rd"}, "application/json"
        )
        token = login.json()["access"]

        assert post(message(), key=None, headers={"Authorization": f"Bearer {token}"}).status_code == 201
        foreign = post(message(serial_number="JOR-1"), key=None, headers={"Authorization": f"Bearer {token}"})
        assert codes(foreign) == ["unknown_device"]


class TestCatalog:
    def test_change_of_a_device_reaches_ingest(self, post, ingesting, device):
        post(message())
        Device.objects.filter(pk=device.pk).update(status="inactive")
        ingesting.watcher.poll()

        assert codes(post(message())) == ["device_inactive"]

    def test_change_of_a_device_reaches_large_requests(self, post, ingesting, device):
        for _ in range(2):  # the second one finds the device in the tables
            assert post([message()] * 20).status_code == 201
        Device.objects.filter(pk=device.pk).update(status="inactive")
        ingesting.watcher.poll()

        assert codes(post([message()] * 20)) == ["device_inactive"] * 20

    def test_more_devices_than_the_tables_hold_are_forgotten_and_found_again(
        self, post, ingesting, alex, owner_key, monkeypatch
    ):
        monkeypatch.setattr(tables, "MAX_SERIES", 2)
        names = [DeviceFactory(owner=alex, serial_number=f"OTHER-{number}").serial_number for number in range(3)]
        for some in (names, names, names[:1], names[:1]):
            assert post([message(serial_number=name) for name in some] * 20, key=owner_key).status_code == 201

        assert set(ingesting.catalog.tables.get(("vibration",)).places) == {"OTHER-0"}

    def test_large_request_with_the_key_of_one_device_is_for_that_only(self, post, alex, device):
        DeviceFactory(owner=alex, serial_number="OTHER")
        own = [message(serial_number=device.serial_number), {"metrics": {"vibration": 5.2}}] * 10
        for _ in range(2):
            assert post(own).status_code == 201

        assert post([*own, message(serial_number="OTHER")]).status_code == 403

    def test_change_that_commits_after_a_later_one_is_not_missed(self, post, ingesting, device, alex):
        """Ids and clocks may run ahead of commits; the watcher goes by what had not ended."""
        other = DeviceFactory(owner=alex, serial_number="OTHER")
        post(message())
        updated, commit = threading.Event(), threading.Event()

        def slow_change():
            from django.db import connection, transaction

            with transaction.atomic():
                Device.objects.filter(pk=device.pk).update(status="inactive")
                updated.set()
                commit.wait(10)
            connection.close()

        thread = threading.Thread(target=slow_change)
        thread.start()
        updated.wait(10)
        Device.objects.filter(pk=other.pk).update(status="error")
        ingesting.watcher.poll()
        commit.set()
        thread.join()
        ingesting.watcher.poll()

        assert codes(post(message())) == ["device_inactive"]

    def test_first_sight_of_a_metric_in_two_processes_binds_it_once(self, post, ingesting, device):
        post(message())
        MetricFactory(name="Pressure")
        ingesting.catalog.drop()
        post(message(metrics={"pressure": 1.0}))

        assert DeviceMetric.objects.filter(device=device).count() == 2


class TestGroups:
    def test_overwriting_request_does_not_take_its_neighbours_readings_along(self, post, ingesting, key):
        """Both find readings there already, so both go through the temporary table of one transaction."""
        post(message(metrics={"vibration": 1.0, "temperature": 1.0}))
        told = []
        group = [
            (self.prepared(ingesting, key, "", {"vibration": 9.0}), told.append),
            (self.prepared(ingesting, key, "overwrite", {"temperature": 9.0}), told.append),
        ]
        ingesting.writer._store(group)

        assert [(receipt.duplicates, receipt.updated) for receipt in told] == [(1, 0), (0, 1)]
        assert sorted(stored()) == [("VIB-SN-001", "temperature", 9.0), ("VIB-SN-001", "vibration", 1.0)]

    @staticmethod
    def prepared(ingesting, key, on_conflict, metrics):
        body = json.dumps(message(metrics=metrics)).encode()
        request = Request(JsonMessages(), body, authorization=f"Token {key}", on_conflict=on_conflict)
        return ingesting.prepare(request, may_block=True)
