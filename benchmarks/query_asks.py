"""What is asked: each question of the hub's own code, of a whole request, of readings alone, and of InfluxDB."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import query_influx
from query_store import Store

BERLIN = "Europe/Berlin"
_NEWEST_BY_SORTING = """
    SELECT DISTINCT ON (device_metric_id) device_metric_id, ts, value_numeric
    FROM telemetry ORDER BY device_metric_id, ts DESC
"""


@dataclass(frozen=True, slots=True)
class Question:
    """`path` is the request, `influx` its query; where `from_readings` is None, nothing but readings could answer."""

    name: str
    hub: Callable[[], object]
    path: str | None = None
    from_readings: Callable[[], object] | None = None
    influx: str | None = None
    is_dashboard: bool = False


def questions(store: Store) -> list[Question]:
    often, rare, everything = [store.frequent], [store.rare], store.series
    return [
        _last_readings(store),
        _aggregate(store, "a month by hour, one of 10-second readings", often, "1h", 30, is_dashboard=True),
        _aggregate(store, "a month by hour, one of 15-minute readings", rare, "1h", 30),
        _aggregate(store, "a year by day, one of 10-second readings", often, "1d", 365, is_dashboard=True),
        _aggregate(store, "the same by days of Berlin", often, "1d", 365, zone=BERLIN, is_dashboard=True),
        _aggregate(store, "a year by day, one of 15-minute readings", rare, "1d", 365),
        _aggregate(store, "a day by hour, all series", everything, "1h", 1),
        *_latest(store),
    ]


def _last_readings(store: Store) -> Question:
    from apps.telemetry.reads.filters import ReadingFilter
    from apps.telemetry.reads.pages import read_rows

    return Question(
        "last 1,000 of a series",
        hub=lambda: read_rows(series=[store.frequent], where=ReadingFilter(), limit=1000, now=datetime.now(UTC)),
        path=f"?{urlencode({'device': store.frequent.device_id, 'limit': 1000})}",
        influx=query_influx.newest(store.frequent.pk, 1000),
    )


def _aggregate(
    store: Store, name: str, series: list, bucket: str, days: int, zone: str = "UTC", is_dashboard: bool = False
) -> Question:
    from apps.telemetry.aggregates.grid import grid_of
    from apps.telemetry.aggregates.query import Aggregation, aggregate
    from apps.telemetry.aggregates.sources import existing

    start, end = store.year.end - timedelta(days=days), store.year.end

    def ask() -> None:
        grid = grid_of(bucket=bucket, start=start, end=end, zone=ZoneInfo(zone))
        functions = ["avg", "min", "max", "count"]
        aggregation = Aggregation(series=series, grid=grid, zone=ZoneInfo(zone), functions=functions)
        aggregate(aggregation, now=datetime.now(UTC))

    def ask_readings() -> None:
        existing.pretend_none()
        try:
            ask()
        finally:
            existing.forget()

    asked = {"start": start.isoformat(), "end": end.isoformat(), "bucket": bucket, "timezone": zone}
    of = [one.device_id for one in series] if len(series) == 1 else []
    return Question(
        name,
        hub=ask,
        path=f"aggregate/?{urlencode(asked | {'device': of}, doseq=True)}",
        from_readings=ask_readings,
        influx=query_influx.by_time(
            bucket, start=start, end=end, series_id=series[0].pk if of else None, zone="" if zone == "UTC" else zone
        ),
        is_dashboard=is_dashboard,
    )


def _latest(store: Store) -> list[Question]:
    from django.db import connection

    from apps.telemetry import queries
    from apps.telemetry.latest.cache import latest_cache

    ids = [one.pk for one in store.series]

    def sorting() -> None:
        with connection.cursor() as cursor:
            cursor.execute(_NEWEST_BY_SORTING)
            cursor.fetchall()

    def not_in_redis() -> None:
        latest_cache().forget(ids)
        queries.latest_readings(series=store.series)

    def ask() -> None:
        queries.latest_readings(series=store.series)

    name = f"latest of {len(ids):,} devices"
    return [
        Question(name, hub=ask, path="latest/", from_readings=sorting, influx=query_influx.LATEST),
        Question(f"{name}, none in Redis", hub=not_in_redis),
    ]
