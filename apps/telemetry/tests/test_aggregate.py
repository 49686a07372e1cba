"""GET /api/v1/telemetry/aggregate/, compared with a plain computation over the same readings."""

import random
import statistics
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.telemetry import services
from apps.telemetry.aggregates.grid import grid_of
from apps.telemetry.aggregates.sources import existing
from apps.telemetry.models import Reading
from apps.telemetry.rollups import continuous
from apps.telemetry.tests.test_rollups import clear, is_community
from apps.telemetry.tests.test_timescale_community_sql import make_plain_views

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
AGGREGATE = "/api/v1/telemetry/aggregate/"
COLUMNS = {float: "value_numeric", bool: "value_bool", str: "value_str"}

# Than all readings of these tests.
LATER = datetime(2027, 2, 1, tzinfo=UTC)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def store(series, *readings) -> None:
    """Readings as (time, value)."""
    Reading.objects.bulk_create(
        Reading(device_metric=series, ts=ts, **{COLUMNS[type(value)]: value}) for ts, value in readings
    )
    if not connection.in_atomic_block:
        times = [ts for ts, _ in readings]
        services.note_changed(device_metric_ids=[series.pk], start=min(times), end=max(times))
        refresh()


def refresh() -> None:
    services.refresh_rollups(now=LATER)
    if is_community():
        with connection.cursor() as cursor:
            for name in continuous.NAMES:
                cursor.execute("CALL refresh_continuous_aggregate(%s, NULL, %s)", [name, LATER])


def every(minutes: float, start: datetime, end: datetime, value=lambda n: float(n)) -> list[tuple]:
    count = int((end - start) / timedelta(minutes=minutes))
    return [(start + timedelta(minutes=minutes) * n, value(n)) for n in range(count)]


# Continuous aggregates are not refreshed within a transaction.
@pytest.fixture(params=["raw", "views", pytest.param("kept", marks=pytest.mark.django_db(transaction=True))])
def source(request):
    """Without rollups; with rollups as plain views over the readings; and with those that the edition keeps."""
    existing.forget()
    if request.param == "kept":
        clear()
        refresh()
        yield request.param
        clear()
        existing.forget()
        return
    make_plain_views()
    if request.param == "raw":
        existing.pretend_none()
    yield request.param
    existing.forget()


@pytest.fixture
def series(device):
    return DeviceMetricFactory(device=device, metric=MetricFactory(name="vibration", unit="mm/s"))


@pytest.fixture
def get(api, alex):
    def ask(user=alex, status=200, **query):
        answer = api(user).get(f"{AGGREGATE}?{urlencode(query, doseq=True)}")
        assert answer.status_code == status, answer.content
        return answer.json()

    return ask


def points(answer: dict, number: int = 0) -> list[dict]:
    return answer["series"][number]["points"]


class TestNumbers:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("bucket", ["15m", "1h", "6h", "1d"])
    def test_functions_are_those_of_a_plain_computation(self, source, series, get, seed, bucket):
        rng = random.Random(seed)
        start, end = at("2026-05-01T00:17:30"), at("2026-05-03T05:41:00")
        before, after = start - timedelta(hours=3), end + timedelta(hours=3)
        times = {before + (after - before) * rng.random() for _ in range(400)}
        readings = sorted((ts.replace(microsecond=0), rng.uniform(-50, 50)) for ts in times)
        readings = list(dict(readings).items())
        store(series, *readings)
        answer = get(
            start=start.isoformat(),
            end=end.isoformat(),
            bucket=bucket,
            functions="avg,min,max,sum,count,first,last,stddev",
        )

        width = timedelta(minutes={"15m": 15, "1h": 60, "6h": 360, "1d": 1440}[bucket])
        midnight = at("2026-05-01T00:00:00")
        expected: dict[datetime, list[float]] = {}
        for ts, value in readings:
            if start <= ts < end:
                expected.setdefault(midnight + (ts - midnight) // width * width, []).append(value)
        assert [at(point["bucket"][:19]) for point in points(answer)] == list(expected)
        for point, values in zip(points(answer), expected.values(), strict=True):
            assert point["count"] == len(values)
            assert [point[name] for name in ("min", "max", "first", "last")] == [
                min(values),
                max(values),
                values[0],
                values[-1],
            ]
            assert point["avg"] == pytest.approx(statistics.fmean(values))
            assert point["sum"] == pytest.approx(sum(values), abs=1e-9)
            deviation = statistics.stdev(values) if len(values) > 1 else None
            assert point["stddev"] == (pytest.approx(deviation) if deviation is not None else None)
        expected_source = {"15m": "raw", "1h": "hourly", "6h": "hourly", "1d": "daily"}[bucket]
        assert answer["source"] == (expected_source if source != "raw" else "raw")

    def test_percentiles_come_from_readings(self, source, series, get):
        store(series, *every(1, at("2026-05-01T00:00"), at("2026-05-01T01:41")))
        answer = get(start="2026-05-01T00:00Z", end="2026-05-02T00:00Z", bucket="1d", functions="p50,p90,p95,p99")
        assert answer["source"] == "raw"
        assert [points(answer)[0][name] for name in ("p50", "p90", "p95", "p99")] == [50, 90, 95, 99]

    def test_many_series_in_one_call(self, source, device, alex, get, django_assert_max_num_queries):
        other = DeviceFactory(owner=alex, serial_number="Z-2")
        for number, owner_device in enumerate((device, other, other)):
            metric = MetricFactory(name=f"metric-{number}")
            store(DeviceMetricFactory(device=owner_device, metric=metric), (at("2026-05-01T00:00"), float(number)))
        with django_assert_max_num_queries(6):
            answer = get(start="2026-05-01T00:00Z", end="2026-05-02T00:00Z", bucket="1d", functions="avg")
        assert [points(answer, number)[0]["avg"] for number in range(3)] == [0, 1, 2]
        assert [one["metric"] for one in get(device="Z-2", start="2026-05-01T00:00Z")["series"]] == [
            "metric-1",
            "metric-2",
        ]

    def test_filter_by_value_is_answered_from_readings(self, source, series, get):
        store(series, *every(60, at("2026-05-01T00:00"), at("2026-05-02T00:00")))
        answer = get(start="2026-05-01T00:00Z", end="2026-05-02T00:00Z", bucket="1d", value_gte=12)
        assert (answer["source"], points(answer)[0]["count"]) == ("raw", 12)


class TestOtherTypes:
    def test_truths_have_the_share_true(self, source, device, get):
        series = DeviceMetricFactory(device=device, metric=MetricFactory(name="door", data_type="boolean"))
        store(series, *every(15, at("2026-05-01T00:00"), at("2026-05-01T01:00"), lambda n: n == 3))
        answer = get(start="2026-05-01T00:00Z", end="2026-05-01T01:00Z", bucket="1h", functions="avg,first,last")
        point = points(answer)[0]
        assert (point["avg"], point["first"], point["last"], point["count"]) == (0.25, False, True, 4)

    def test_texts_have_count_first_and_last(self, source, device, get):
        series = DeviceMetricFactory(device=device, metric=MetricFactory(name="state", data_type="str"))
        store(series, (at("2026-05-01T00:00"), "ok"), (at("2026-05-01T00:30"), "fault"))
        answer = get(start="2026-05-01T00:00Z", end="2026-05-01T01:00Z", bucket="1h", functions="avg,first,last")
        point = points(answer)[0]
        assert (point["avg"], point["first"], point["last"], point["count"]) == (None, "ok", "fault", 2)


class TestTimeZones:
    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Africa/Casablanca"])
    @pytest.mark.parametrize("bucket", ["15m", "1h", "6h"])
    def test_buckets_follow_each_other_by_the_clock(self, zone, bucket):
        """Through a year with all its changes: at whole widths of the wall clock, and as long as those."""
        start, end = at("2026-01-01T00:10", zone), at("2026-12-31T23:50", zone)
        width = timedelta(minutes={"15m": 15, "1h": 60, "6h": 360}[bucket])
        edges = grid_of(bucket=bucket, start=start, end=end, zone=ZoneInfo(zone)).edges
        assert edges[0] <= start < edges[1]
        assert edges[-2] < end <= edges[-1]
        local = [edge.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for edge in edges]
        assert {(moment - moment.replace(hour=0, minute=0)) % width for moment in local} == {timedelta()}
        lengths = {later - earlier for earlier, later in pairwise(edges)}
        assert lengths <= {width} | ({width + HOUR, width - HOUR} if bucket == "6h" else set())

    @pytest.mark.parametrize(
        ("zone", "day", "hours"),
        [
            ("Europe/Berlin", "2026-03-29", 23),
            ("Europe/Berlin", "2026-10-25", 25),
            ("Asia/Kolkata", "2026-03-29", 24),
            ("Australia/Sydney", "2026-04-05", 25),
            ("Australia/Sydney", "2026-10-04", 23),
            ("Australia/Lord_Howe", "2026-04-05", 24.5),
            ("America/Santiago", "2026-09-06", 23),  # has no midnight
        ],
    )
    def test_a_day_is_as_long_as_it_is(self, source, series, get, zone, day, hours):
        noon = at(f"{day}T12:00", zone)
        store(series, *every(15, noon - timedelta(days=2), noon + timedelta(days=2)))
        answer = get(
            start=(noon - timedelta(days=1)).isoformat(),
            end=(noon + timedelta(days=1)).isoformat(),
            bucket="1d",
            functions="count",
            timezone=zone,
        )
        middle = next(point for point in points(answer) if point["bucket"].startswith(day))
        assert middle["count"] == hours * 4
        assert middle["coverage"] == 1
        assert "partial" not in middle
        assert [point.get("partial") for point in points(answer)] == [True, None, True]
        by_whole_hours = zone not in ("Asia/Kolkata", "Australia/Lord_Howe")
        assert answer["source"] == ("hourly" if source != "raw" and by_whole_hours else "raw")

    def test_hour_that_comes_twice_is_two_buckets(self, source, series, get):
        start, end = at("2026-10-25T00:00", "Europe/Berlin"), at("2026-10-25T05:00", "Europe/Berlin")
        store(series, *every(10, start, end))
        answer = get(start=start.isoformat(), end=end.isoformat(), bucket="1h", timezone="Europe/Berlin")
        assert [point["bucket"] for point in points(answer)] == [
            f"2026-10-25T{text}:00"
            for text in ("00:00:00+02", "01:00:00+02", "02:00:00+02", "02:00:00+01", "03:00:00+01", "04:00:00+01")
        ]
        assert {point["count"] for point in points(answer)} == {6}

    @pytest.mark.parametrize(("day", "counts"), [("2026-03-29", [5, 6, 6, 6]), ("2026-10-25", [7, 6, 6, 6])])
    def test_quarters_of_a_day_keep_to_the_wall_clock(self, source, series, get, day, counts):
        start = at(f"{day}T00:00", "Europe/Berlin")
        end = start + timedelta(hours=sum(counts))
        store(series, *every(60, start, end))
        answer = get(start=start.isoformat(), end=end.isoformat(), bucket="6h", timezone="Europe/Berlin")
        assert [point["count"] for point in points(answer)] == counts
        assert [point["bucket"][11:16] for point in points(answer)] == ["00:00", "06:00", "12:00", "18:00"]

    def test_hours_of_a_zone_half_an_hour_off_begin_at_its_hours(self, source, series, get):
        store(series, *every(10, at("2026-05-01T00:00"), at("2026-05-01T03:00")))
        answer = get(start="2026-05-01T00:30Z", end="2026-05-01T02:30Z", bucket="1h", timezone="Asia/Kolkata")
        assert [point["bucket"] for point in points(answer)] == [
            "2026-05-01T06:00:00+05:30",
            "2026-05-01T07:00:00+05:30",
        ]
        assert answer["source"] == "raw"

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Auckland"])
    @pytest.mark.parametrize("bucket", ["1w", "1mo"])
    def test_weeks_and_months_are_those_of_the_calendar(self, source, series, get, zone, bucket):
        start, end = at("2026-01-01T00:00", zone), at("2026-12-31T00:00", zone)
        readings = every(60 * 7, start, end)
        store(series, *readings)
        answer = get(start=start.isoformat(), end=end.isoformat(), bucket=bucket, timezone=zone, functions="sum")
        expected: dict[str, float] = {}
        for ts, value in readings:
            day = ts.astimezone(ZoneInfo(zone)).date()
            begin = day.replace(day=1) if bucket == "1mo" else day - timedelta(days=day.weekday())
            expected[begin.isoformat()] = expected.get(begin.isoformat(), 0) + value
        assert {point["bucket"][:10]: point["sum"] for point in points(answer)} == expected


class TestGaps:
    @pytest.fixture
    def gap(self, series):
        store(series, (at("2026-05-01T01:00"), 1.0), (at("2026-05-01T01:30"), 3.0), (at("2026-05-01T04:00"), 5.0))

    @pytest.mark.parametrize(
        ("fill", "expected"),
        [
            ("none", [2, 5]),
            ("null", [None, 2, None, None, 5, None]),
            ("previous", [None, 2, 2, 2, 5, 5]),
            ("linear", [None, 2, 3, 4, 5, None]),
        ],
    )
    def test_fill(self, source, gap, get, fill, expected):
        answer = get(start="2026-05-01T00:00Z", end="2026-05-01T06:00Z", bucket="1h", fill=fill)
        assert [point["avg"] for point in points(answer)] == expected
        assert [point["count"] for point in points(answer) if point["count"]] == [2, 1]

    def test_series_without_readings_has_empty_buckets_if_asked_for(self, source, series, get):
        query = {"start": "2026-05-01T00:00Z", "end": "2026-05-01T03:00Z", "bucket": "1h"}
        assert points(get(**query)) == []
        assert [point["avg"] for point in points(get(**query, fill="linear"))] == [None] * 3

    def test_coverage_tells_how_much_of_the_bucket_has_data(self, source, series, get):
        store(series, *every(1, at("2026-05-01T00:00"), at("2026-05-01T01:30")))
        answer = get(start="2026-05-01T00:00Z", end="2026-05-01T03:00Z", bucket="1h", fill="null")
        assert [point["coverage"] for point in points(answer)] == [1.0, 0.5, 0.0]
        assert answer["series"][0]["interval_seconds"] == 60

    def test_bucket_that_is_not_over_is_partial(self, source, series, get):
        now = datetime.now(UTC)
        store(series, (now - timedelta(minutes=1), 1.0))
        answer = get(
            start=(now - timedelta(days=2)).isoformat(), end=(now + timedelta(days=3)).isoformat(), bucket="1mo"
        )
        assert points(answer)[-1]["partial"] is True


class TestChoice:
    @pytest.mark.parametrize(
        ("days", "max_points", "bucket", "chosen"),
        [
            (1, 2000, "1m", "raw"),
            (1, 100, "15m", "raw"),
            (7, 200, "1h", "hourly"),
            (365, 400, "1d", "daily"),
            (365, 20, "1mo", "daily"),
        ],
    )
    def test_auto_chooses_bucket_and_source_and_says_which(self, source, series, get, days, max_points, bucket, chosen):
        start = at("2026-01-01T00:00")
        store(series, (start, 1.0), (start + timedelta(days=days, minutes=-1), 2.0))
        answer = get(
            start=start.isoformat(), end=(start + timedelta(days=days)).isoformat(), max_points=max_points, fill="null"
        )
        assert answer["bucket"] == bucket
        assert len(points(answer)) <= max_points
        assert answer["source"] == (chosen if source != "raw" else "raw")
        assert sum(point["count"] for point in points(answer)) == 2

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"bucket": "1m"}, "bucket"),
            ({"bucket": "2h"}, "bucket"),
            ({"functions": "avg,median"}, "functions"),
            ({"timezone": "Mars/Olympus"}, "timezone"),
            ({"timezone": "../etc"}, "timezone"),
            ({"timezone": "Europe"}, "timezone"),
            ({"end": "2020-01-01T00:00Z"}, "end"),
            ({"max_points": 0}, "max_points"),
        ],
    )
    def test_what_makes_no_sense_is_refused_by_name(self, series, get, query, field):
        answer = get(status=400, **({"start": "2026-01-01T00:00Z", "end": "2026-12-31T00:00Z"} | query))
        assert answer["errors"][0]["field"] == field

    def test_device_of_another_owner_is_as_if_not_there(self, series, get, jordan):
        store(series, (at("2026-05-01T00:00"), 1.0))
        get(user=jordan, status=404, device="VIB-SN-001", start="2026-05-01T00:00Z")
        assert get(user=jordan, start="2026-05-01T00:00Z")["series"] == []
