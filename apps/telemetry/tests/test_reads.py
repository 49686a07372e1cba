"""GET /api/v1/telemetry/ and /messages/: pages, filters, whose readings, what it costs."""

import random
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.devices.tests.factories import DeviceFactory, DeviceMetricFactory, MetricFactory
from apps.telemetry.api.serializers import ReadingSerializer
from apps.telemetry.models import Reading
from apps.telemetry.reads.filters import ReadingFilter
from apps.telemetry.reads.pages import WINDOWS, Place, read_rows, rows_query, windows

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, tzinfo=UTC)
SERIES, MESSAGES = "/api/v1/telemetry/", "/api/v1/telemetry/messages/"
COLUMNS = {float: "value_numeric", int: "value_numeric", bool: "value_bool", str: "value_str"}


def store(series, *readings) -> None:
    """Readings as (seconds after START, value) or (seconds, value, quality)."""
    Reading.objects.bulk_create(
        Reading(
            device_metric=series,
            ts=START + timedelta(seconds=seconds),
            quality=quality[0] if quality else 1.0,
            **{COLUMNS[type(value)]: value},
        )
        for seconds, value, *quality in readings
    )


def store_new(series, times) -> None:
    """A reading at each of the times, unless there is one."""
    readings = [Reading(device_metric=series, ts=ts, value_numeric=1) for ts in times]
    Reading.objects.bulk_create(readings, ignore_conflicts=True)


@pytest.fixture
def vibration(device):
    return DeviceMetricFactory(device=device, metric=MetricFactory(name="vibration"))


@pytest.fixture
def get(api, alex):
    def ask(path=SERIES, user=alex, **query):
        answer = api(user).get(f"{path}?{urlencode(query, doseq=True)}")
        assert answer.status_code == 200, answer.content
        return answer.json()

    return ask


def values(page: dict) -> list:
    return [row["value"] for row in page["results"]]


def walk(api, user, url: str, way: str = "next") -> list[dict]:
    """All pages from `url` on."""
    pages = []
    while url:
        pages.append(api(user).get(url).json())
        url = pages[-1][way]
    return pages


class TestPages:
    def test_newest_comes_first_unless_asked_otherwise(self, vibration, get):
        store(vibration, (0, 1.0), (1, 2.0), (2, 3.0))
        assert values(get(limit=2)) == [3.0, 2.0]
        assert values(get(limit=2, order="asc")) == [1.0, 2.0]

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("path", [SERIES, MESSAGES])
    def test_pages_hold_everything_once_in_both_directions(self, device, alex, api, order, path):
        other = DeviceFactory(owner=alex)
        for owner_device in (device, other):
            for _ in range(3):
                store(DeviceMetricFactory(device=owner_device), *((n // 2 * 2, float(n)) for n in range(0, 40, 2)))
        whole = api(alex).get(f"{path}?order={order}&limit=1000").json()["results"]
        pages = walk(api, alex, f"{path}?order={order}&limit=7")
        back = walk(api, alex, pages[-1]["previous"], "previous")

        assert [row for page in pages for row in page["results"]] == whole
        assert pages[0]["previous"] is None
        before_last = [row for page in reversed(back) for row in page["results"]]
        assert before_last == whole[: len(whole) - len(pages[-1]["results"])]

    def test_order_is_that_of_all_series_together(self, device, get):
        """Busy and quiet series, so that a fair share of each does not do at first."""
        stored = []
        for number in range(60):
            series = DeviceMetricFactory(device=device)
            seconds = random.sample(range(100_000), 300 if number == 0 else 5)
            store(series, *((second + number / 100, float(second)) for second in seconds))
            stored += [(second + number / 100, float(second)) for second in seconds]
        oldest = [value for _, value in sorted(stored)]
        for limit in (10, 100, 500, 1000):
            assert values(get(limit=limit)) == oldest[::-1][:limit]
            assert values(get(limit=limit, order="asc")) == oldest[:limit]

    def test_reading_at_the_very_end_of_a_window_is_followed_by_older_ones(self, device):
        """All that was read is of one moment, which tells nothing of how far back the rest may be."""
        pair = [DeviceMetricFactory(device=device) for _ in range(2)]
        for series in pair:
            store(series, (0, 2.0), (-1, 1.0), (-1_000_000, 0.0))
        rows = read_rows(series=pair, where=ReadingFilter(), limit=10, now=START + WINDOWS[0])
        assert [row[2] for row in rows] == [2.0, 2.0, 1.0, 1.0, 0.0, 0.0]

    @pytest.mark.parametrize("limit", [1, 3, 100])
    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("path", [SERIES, MESSAGES])
    def test_pages_go_on_where_a_window_ends(self, device, alex, api, path, order, limit):
        """Readings before, at and after the ends of the windows in which pages are read, and in the future."""
        now = datetime.now(UTC)
        moments = [now + timedelta(days=1), now, now - timedelta(days=900)]
        moments += [now - width + timedelta(seconds=n) for width in WINDOWS for n in (-1, 0, 1)]
        for _ in range(2):
            series = DeviceMetricFactory(device=device)
            Reading.objects.bulk_create(Reading(device_metric=series, ts=at, value_numeric=1) for at in moments)
        for within in ({}, {"start": moments[2]}, {"end": moments[0] + timedelta(days=1)}, {"start": moments[4]}):
            query = {"order": order, "limit": limit} | {name: at.isoformat() for name, at in within.items()}
            pages = walk(api, alex, f"{path}?{urlencode(query)}")
            found = [row["timestamp"] for page in pages for row in page["results"]]
            expected = [at for at in moments if at >= within.get("start", at)]
            expected = sorted(expected * (2 if path == SERIES else 1), reverse=order == "desc")
            assert [datetime.fromisoformat(text) for text in found] == expected

    @given(
        bursts=st.lists(
            st.tuples(
                st.integers(0, 3),  # of which series
                st.integers(0, 500 * 24),  # hours after START
                st.integers(1, 60),  # so many readings
                st.sampled_from([0.001, 1, 600, 86_400]),  # seconds between them
            ),
            min_size=1,
            max_size=8,
        ),
        limit=st.integers(1, 100),
        ascending=st.booleans(),
        bounds=st.tuples(*[st.none() | st.integers(0, 550)] * 2),
        after=st.none() | st.integers(0, 400),
    )
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_page_is_the_first_of_all_sorted(self, device, bursts, limit, ascending, bounds, after):
        """However unevenly readings lie in time and among series, and wherever the page begins."""
        Reading.objects.all().delete()
        series = [DeviceMetricFactory(device=device) for _ in range(4)]
        for which, hours, count, seconds in bursts:
            begin = 3600 * hours
            store_new(series[which], [START + timedelta(seconds=begin + seconds * n) for n in range(count)])
        keys = sorted((reading.ts, device.pk, reading.device_metric_id) for reading in Reading.objects.all().only("pk"))
        start, end = (None if days is None else START + timedelta(days=days) for days in bounds)
        place = None if after is None else keys[after % len(keys)]
        expected = [
            key
            for key in (keys if ascending else keys[::-1])
            if (start is None or key[0] >= start)
            and (end is None or key[0] < end)
            and (place is None or (key > place if ascending else key < place))
        ]
        rows = read_rows(
            series=series,
            where=ReadingFilter(start=start, end=end),
            limit=limit,
            now=START + timedelta(days=400),
            ascending=ascending,
            after=place and Place(*place),
        )
        assert [(row[1], row[0]) for row in rows] == [(ts, number) for ts, _, number in expected[:limit]]

    def test_forged_cursor_is_refused(self, api, alex, device):
        answer = api(alex).get(f"{SERIES}?cursor=abc")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "cursor"


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"value_gt": 2}, [4.0, 3.0]),
            ({"value_gte": 2}, [4.0, 3.0, 2.0]),
            ({"value_lt": 2}, [1.0]),
            ({"value_lte": 2, "value_gt": 1}, [2.0]),
            ({"value": "3"}, [3.0]),
            ({"value": "nothing"}, []),
            ({"quality_gte": 0.9}, [4.0, 2.0, 1.0]),
            ({"start": "2026-03-01T00:00:01Z", "end": "2026-03-01T00:00:03Z"}, [3.0, 2.0]),
        ],
    )
    def test_numbers(self, vibration, get, query, expected):
        store(vibration, (0, 1.0), (1, 2.0, 0.9), (2, 3.0, 0.5), (3, 4.0))
        assert values(get(device="VIB-SN-001", **query)) == expected

    def test_value_is_a_truth_or_a_text_where_it_reads_as_one(self, device, get):
        store(DeviceMetricFactory(device=device), (0, True), (1, False))
        store(DeviceMetricFactory(device=device), (2, "true"), (3, "ok"), (4, "1"))
        assert values(get(value="true")) == ["true", True]
        assert values(get(value="ok")) == ["ok"]

    @pytest.mark.parametrize("query", [{"value_gt": "nan"}, {"order": "up"}, {"limit": 10_001}, {"value": "\0"}])
    def test_what_makes_no_sense_is_refused(self, api, alex, device, query):
        answer = api(alex).get(f"{SERIES}?{urlencode(query)}")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == next(iter(query))

    def test_devices_of_others_are_as_if_not_there(self, vibration, api, jordan, admin, get):
        store(vibration, (0, 1.0))
        assert values(get(user=jordan)) == []
        assert len(values(get(user=admin))) == 1
        for path in (SERIES, MESSAGES):
            assert api(jordan).get(f"{path}?device=VIB-SN-001").status_code == 404


class TestMessages:
    def test_readings_of_one_time_are_a_message_as_devices_post_it(self, device, get):
        for name, value in (("vibration", 5.2), ("door_open", False), ("state", "ok")):
            store(DeviceMetricFactory(device=device, metric=MetricFactory(name=name)), (0, value))
        assert get(MESSAGES, device=device.pk)["results"] == [
            {
                "version": "0.0.1",
                "serial_number": "VIB-SN-001",
                "timestamp": "2026-03-01T00:00:00Z",
                "metrics": {"door_open": False, "state": "ok", "vibration": 5.2},
            }
        ]

    def test_quality_is_that_of_the_worst_reading(self, device, vibration, get):
        store(vibration, (0, 1.0, 0.5))
        store(DeviceMetricFactory(device=device), (0, 1.0, 0.75))
        assert get(MESSAGES)["results"][0]["quality"] == 0.5


class TestCost:
    @pytest.fixture
    def ten_weeks(self, vibration):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO telemetry (device_metric_id, ts, value_numeric)"
                " SELECT %s, %s::timestamptz + n * interval '5 minutes', n FROM generate_series(1, 20000) n",
                [vibration.pk, START],
            )
            cursor.execute("ANALYZE telemetry")
        return vibration

    @pytest.mark.parametrize("limit", [100, 1000])
    def test_newest_readings_are_index_scans_of_the_newest_chunks(self, ten_weeks, limit):
        """Of three of the ten chunks, as many as two weeks touch; the others are not even planned for."""
        now = START + timedelta(weeks=10)
        newest = next(windows(ReadingFilter(), ascending=False, after=None, now=now))
        sql, params = rows_query(series=[ten_weeks], where=newest, limit=limit, share=limit)
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
            plan = cursor.fetchone()[0][0]["Plan"]
        scans = [node for node in nodes(plan) if node.get("Relation Name", "").startswith("_hyper")]

        assert 1 <= len(scans) <= 3
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Scan Backward", "Index Only Scan"}
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= limit
        assert not any("Sort" in node["Node Type"] for node in below(plan, "Limit"))

    def test_page_costs_four_queries_at_most(self, ten_weeks, api, alex, django_assert_num_queries):
        """One for the series, and one for each window down to readings of half a year ago."""
        with django_assert_num_queries(4):
            answer = api(alex).get(f"{SERIES}?device=VIB-SN-001&limit=10000")
        rows = answer.json()["results"]
        assert len(rows) == 10_000
        assert rows[0].keys() == ReadingSerializer().fields.keys()

    def test_busy_and_quiet_series_together_are_read_in_few_steps(self, ten_weeks, django_assert_max_num_queries):
        """And as far as they are needed: not ten weeks of the quiet ones for two of the busy one."""
        quiet = [DeviceMetricFactory() for _ in range(20)]
        for series in quiet:
            store(series, *((3600 * n, float(n)) for n in range(1, 24 * 70)))
        everything, now = [ten_weeks, *quiet], START + timedelta(weeks=10)
        read: list[int] = []

        def count(execute, sql, params, many, context):
            execute(sql, params, many, context)
            read.append(context["cursor"].rowcount)

        with django_assert_max_num_queries(4), connection.execute_wrapper(count):
            rows = read_rows(series=everything, where=ReadingFilter(), limit=5000, now=now)
        assert len(rows) == sum(read) == 5000


def nodes(plan: dict):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def below(plan: dict, kind: str):
    """Nodes under the innermost of the kind: the limit of the lateral part."""
    inner = [node for node in nodes(plan) if node["Node Type"] == kind][-1]
    return list(nodes(inner))
