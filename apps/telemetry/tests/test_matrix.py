"""GET /api/v1/telemetry/matrix/ and `manage.py export_training_set`."""

import io
import random
from datetime import timedelta
from io import StringIO
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from apps.devices.tests.factories import DeviceMetricFactory, MetricFactory
from apps.telemetry.matrix import files
from apps.telemetry.tests.test_reads import START, store

pytestmark = pytest.mark.django_db

MATRIX = "/api/v1/telemetry/matrix/"
WINDOW = {"start": START.isoformat(), "end": (START + timedelta(seconds=60)).isoformat(), "step": "10s"}


@pytest.fixture
def series(device):
    """In the order in which they are answered."""
    kinds = {"busy": "numeric", "door": "boolean", "quiet": "numeric", "state": "str"}
    return {
        name: DeviceMetricFactory(device=device, metric=MetricFactory(name=name, data_type=kind))
        for name, kind in kinds.items()
    }


@pytest.fixture
def filled(series):
    store(series["busy"], *((n, float(n)) for n in range(60)))
    store(series["door"], (5, True), (45, False))
    store(series["state"], (0, "ok"))
    return series


@pytest.fixture
def get(api, alex):
    def ask(user=alex, status=200, **query):
        answer = api(user).get(f"{MATRIX}?{urlencode(query, doseq=True)}")
        assert answer.status_code == status, answer.content
        return answer

    return ask


def test_last_readings_of_many_series(filled, get, django_assert_num_queries):
    with django_assert_num_queries(2):
        answer = get(last=3).json()
    assert [one["metric"] for one in answer["series"]] == ["busy", "door", "quiet"]
    assert answer["values"] == [[57, 58, 59], [None, 1, 0], [None, None, None]]
    assert answer["timestamps"][1] == [None, "2026-03-01T00:00:05Z", "2026-03-01T00:00:45Z"]
    assert [one["metric"] for one in answer["left_out"]] == ["state"]


@pytest.mark.parametrize(
    ("fill", "door"),
    [
        ("none", [1, None, None, None, 0, None]),
        ("previous", [1, 1, 1, 1, 0, 0]),
        ("linear", [1, 0.75, 0.5, 0.25, 0, None]),
    ],
)
def test_window_is_resampled(filled, get, fill, door):
    answer = get(**WINDOW, fill=fill).json()
    assert answer["timestamps"] == [f"2026-03-01T00:00:{n}0Z" if n else "2026-03-01T00:00:00Z" for n in range(6)]
    assert answer["values"] == [[n * 10 + 4.5 for n in range(6)], door, [None] * 6]


def test_parquet_has_a_column_for_each_series(filled, get):
    table = pq.read_table(io.BytesIO(get(**WINDOW, format="parquet", function="max").content))
    assert table.column_names == ["timestamp", "VIB-SN-001.busy", "VIB-SN-001.door", "VIB-SN-001.quiet"]
    assert table["VIB-SN-001.busy"].to_pylist() == [9, 19, 29, 39, 49, 59]
    assert table["VIB-SN-001.door"].null_count == 4


def test_others_see_nothing(filled, get, jordan):
    assert get(user=jordan, last=3).json()["series"] == []
    get(user=jordan, status=404, last=3, device="VIB-SN-001")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "step"),
        ({"last": 3, "step": "10s"}, "step"),
        ({"last": 3, "format": "parquet"}, "format"),
        ({"step": "10s"}, "start"),
        (WINDOW | {"step": "0s"}, "step"),
        (WINDOW | {"value_gt": 3}, "step"),
        (WINDOW | {"end": "2027-01-01T00:00Z", "step": "1s"}, "step"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(filled, get, query, field):
    assert get(status=400, **query).json()["errors"][0]["field"] == field


class TestTrainingSet:
    def export(self, tmp_path, *arguments):
        call_command(
            "export_training_set",
            str(tmp_path / "set.parquet"),
            f"--start={WINDOW['start']}",
            f"--end={WINDOW['end']}",
            *arguments,
            stdout=StringIO(),
        )
        return pq.read_table(tmp_path / "set.parquet")

    def test_slices_are_the_whole(self, filled, tmp_path, monkeypatch):
        store(filled["quiet"], *((n, random.random()) for n in random.sample(range(60), 7)))
        whole = self.export(tmp_path, "--step=3 seconds", "--fill=previous")
        monkeypatch.setattr(files, "CELLS", 12)
        assert self.export(tmp_path, "--step=3 seconds", "--fill=previous").equals(whole)
        assert whole.num_rows == 20

    def test_says_what_it_can_not_do(self, filled, tmp_path):
        for arguments in (["--device=NO-1"], ["--step=0 seconds"], ["--metric=state"]):
            with pytest.raises(CommandError):
                self.export(tmp_path, *arguments)
