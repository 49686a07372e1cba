"""GET /api/v1/telemetry/export/ and `manage.py export_telemetry`."""

import csv
import gzip
import io
import json
import threading
import time
from datetime import UTC, datetime
from io import StringIO
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.notifications.tests.receivers import wait_for
from apps.telemetry.export import streaming
from apps.telemetry.export.encoder import GROUP_ROWS
from apps.telemetry.tests.test_reads import store

# The export reads with a connection of its own.
pytestmark = pytest.mark.django_db(transaction=True)

EXPORT = "/api/v1/telemetry/export/"
HARD = 'a "quote", a\nnew line, a \\ and \\n, \t, é, '
BINDINGS = {"door": "boolean", "state": "str", "vibration": "numeric"}


@pytest.fixture
def readings(device):
    """Of every kind; texts that are hard to write among them."""
    made = {
        name: DeviceMetricFactory(device=device, metric=MetricFactory(name=name, data_type=kind))
        for name, kind in BINDINGS.items()
    }
    store(made["door"], (0, True), (1, False))
    store(made["state"], (0, HARD), (1, ""), (2, "\\."))
    store(made["vibration"], (0, 0.1), (1, -1e-7), (2, 1e20, 0.5))
    return [True, False, HARD, "", "\\.", 0.1, -1e-7, 1e20]


@pytest.fixture
def get(api, alex):
    def ask(user=alex, headers=None, **query):
        answer = api(user).get(f"{EXPORT}?{urlencode(query, doseq=True)}", headers=headers)
        assert answer.status_code == 200, answer.content
        body = b"".join(answer.streaming_content)
        answer.close()
        return answer, body

    return ask


def rows_of_csv(body: bytes) -> list[dict]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def many(device, count: int) -> None:
    series = DeviceMetricFactory(device=device)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry (device_metric_id, ts, value_numeric)"
            " SELECT %s, '2026-03-01Z'::timestamptz + n * interval '1 second', random() FROM generate_series(1, %s) n",
            [series.pk, count],
        )


class TestForms:
    def test_csv(self, readings, device, get):
        answer, body = get(format="csv")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        rows = rows_of_csv(body)
        assert list(rows[0]) == ["device", "serial_number", "metric", "timestamp", "value", "quality", "received_at"]
        assert (rows[0]["device"], rows[0]["serial_number"]) == (str(device.pk), "VIB-SN-001")
        texts = [row["value"] for row in rows]
        assert texts[:5] == ["true", "false", *readings[2:5]]
        assert [float(text) for text in texts[5:]] == readings[5:]
        assert datetime.fromisoformat(rows[1]["timestamp"]) == datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)
        assert rows[7]["quality"] == "0.5"

    def test_ndjson(self, readings, device, get):
        _, body = get(format="ndjson")
        rows = [json.loads(line) for line in body.splitlines()]
        assert [row["value"] for row in rows] == readings
        assert rows[7] == {
            "device": str(device.pk),
            "serial_number": "VIB-SN-001",
            "metric": "vibration",
            "timestamp": "2026-03-01T00:00:02.000000Z",
            "value": 1e20,
            "quality": 0.5,
            "received_at": rows[7]["received_at"],
        }

    def test_parquet(self, readings, device, get):
        _, body = get(format="parquet")
        table = pq.read_table(io.BytesIO(body))
        values = zip(*(table[name].to_pylist() for name in ("value", "value_bool", "value_text")), strict=True)
        assert [next(value for value in row if value is not None) for row in values] == readings
        assert table["metric"].to_pylist() == ["door"] * 2 + ["state"] * 3 + ["vibration"] * 3
        assert set(table["device"].to_pylist()) == {str(device.pk)}
        assert table["timestamp"][7].as_py() == datetime(2026, 3, 1, 0, 0, 2, tzinfo=UTC)
        assert str(table.schema.field("timestamp").type) == "timestamp[us, tz=UTC]"

    @pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
    def test_nothing_is_a_whole_file_too(self, device, get, form):
        DeviceMetricFactory(device=device)
        _, body = get(format=form)
        if form == "parquet":
            assert pq.read_table(io.BytesIO(body)).num_rows == 0
        else:
            assert body.count(b"\n") == (form == "csv")

    def test_gzip_is_a_file_or_on_the_way_as_asked(self, readings, get):
        _, plain = get()
        answer, body = get(compression="gzip")
        assert answer["Content-Disposition"] == 'attachment; filename="telemetry.csv.gz"'
        assert gzip.decompress(body) == plain
        answer, body = get(headers={"Accept-Encoding": "br, gzip;q=0.5"})
        assert answer["Content-Encoding"] == "gzip"
        assert gzip.decompress(body) == plain
        answer, body = get(headers={"Accept-Encoding": "gzip;q=0"})
        assert body == plain

    @pytest.mark.parametrize("form", ["csv", "parquet"])
    def test_blocks_are_put_together_without_a_seam(self, device, get, form):
        many(device, GROUP_ROWS + 20_000)
        _, body = get(format=form)
        if form == "csv":
            assert len(rows_of_csv(body)) == GROUP_ROWS + 20_000
        else:
            times = pq.read_table(io.BytesIO(body))["timestamp"].to_pylist()
            assert times == sorted(set(times))
            assert len(times) == GROUP_ROWS + 20_000


class TestWhat:
    def test_filters_are_those_of_readings(self, readings, get):
        start = "2026-03-01T00:00:01Z"
        assert len(rows_of_csv(get(start=start, metric=["state", "Vibration"])[1])) == 4
        assert len(rows_of_csv(get(value_gt=0)[1])) == 2
        assert len(rows_of_csv(get(device="VIB-SN-001", quality_gte=0.9)[1])) == 7

    def test_only_what_the_user_may_see(self, readings, get, api, jordan, admin):
        assert rows_of_csv(get(user=jordan)[1]) == []
        assert len(rows_of_csv(get(user=admin)[1])) == 8
        assert api(jordan).get(f"{EXPORT}?device=VIB-SN-001").status_code == 404

    def test_unknown_form_is_refused_as_a_problem(self, api, alex, device):
        answer = api(alex).get(f"{EXPORT}?format=xlsx")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "format"

    def test_stranger_is_asked_to_log_in(self, api):
        assert api().get(f"{EXPORT}?format=csv").status_code == 401


class TestEnds:
    def test_client_that_goes_away_ends_the_query(self, device, api, alex):
        many(device, 200_000)
        answer = api(alex).get(f"{EXPORT}?format=ndjson")
        next(iter(answer.streaming_content))
        assert exporting() == 1
        answer.close()
        wait_for(lambda: exporting() == 0, seconds=5)
        wait_for(lambda: not any(thread.name == "export" for thread in threading.enumerate()), seconds=5)

    def test_too_many_at_once_are_asked_to_come_back(self, device, api, alex):
        many(device, 200_000)
        open_ones = [api(alex).get(EXPORT) for _ in range(streaming.AT_ONCE)]
        refused = api(alex).get(EXPORT)
        assert (refused.status_code, refused["Retry-After"]) == (429, "10")
        for one in open_ones:
            one.close()
        wait_for(lambda: api(alex).get(f"{EXPORT}?value_gt=2").status_code == 200, seconds=5)
        time.sleep(0.1)

    def test_failure_midway_is_no_whole_file(self, readings, get, monkeypatch):
        def fail(order, sink, **_):
            sink.write(b"begun")
            raise OSError("the disk is full")

        monkeypatch.setattr(streaming, "export", fail)
        with pytest.raises(OSError, match="disk is full"):
            get()


class TestCommand:
    @pytest.mark.parametrize("ending", ["csv", "csv.gz", "ndjson", "parquet"])
    def test_writes_the_same_as_the_api(self, readings, get, tmp_path, ending):
        out = StringIO()
        call_command("export_telemetry", str(tmp_path / f"all.{ending}"), stdout=out)
        written = (tmp_path / f"all.{ending}").read_bytes()
        _, body = get(format=ending.partition(".")[0])
        if ending == "parquet":
            assert pq.read_table(io.BytesIO(written)).equals(pq.read_table(io.BytesIO(body)))
        else:
            assert (gzip.decompress(written) if ending.endswith("gz") else written) == body
        assert "8 readings of 3 series" in out.getvalue()
        assert len(list(tmp_path.iterdir())) == 1

    def test_takes_devices_metrics_and_times(self, readings, alex, tmp_path):
        store(DeviceMetricFactory(device=DeviceFactory(owner=alex)), (0, 1.0))
        file = tmp_path / "some.csv"
        call_command(
            "export_telemetry",
            str(file),
            "--device=VIB-SN-001",
            "--metric=vibration",
            "--start=2026-03-01T00:00:01Z",
            "--end=2026-03-01T00:00:02Z",
            stdout=StringIO(),
        )
        assert [row["value"] for row in rows_of_csv(file.read_bytes())] == ["-1e-07"]

    @pytest.mark.parametrize("arguments", [["a.xlsx"], ["a.csv", "--device=NO-1"], ["a.csv", "--start=yesterday"]])
    def test_says_what_it_can_not_do(self, readings, tmp_path, arguments):
        with pytest.raises(CommandError):
            call_command("export_telemetry", str(tmp_path / arguments[0]), *arguments[1:], stdout=StringIO())
        assert list(tmp_path.iterdir()) == []


def exporting() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'COPY (%' AND state = 'active'"
        )
        return cursor.fetchone()[0]
