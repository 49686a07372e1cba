"""How long reads take: `python benchmarks/queries.py [--readings 100_000_000]`.

Median of seven, in the process of the hub and over its own connection, from the call to the rows or points in Python;
beside the same from readings alone, and beside InfluxDB 1 over HTTP where it is installed.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

import query_influx
from query_store import END, START, Instance, prepare

TIMES = 7
LONG_ENOUGH = 20  # seconds
_NEWEST_BY_SORTING = """
    SELECT DISTINCT ON (device_metric_id) device_metric_id, ts, value_numeric
    FROM telemetry ORDER BY device_metric_id, ts DESC
"""


def main() -> None:
    asked = _arguments()
    with Instance(keep=asked.keep):
        begin = time.monotonic()
        series = prepare(asked.series, asked.readings)
        print(f"{asked.readings:,} readings of {asked.series:,} series, made in {time.monotonic() - begin:.0f} s")
        rows = _measure(series)
        if not asked.no_influx and query_influx.is_there():
            _compare(rows, series[0].pk)
    print(_table(rows))
    if asked.json:
        print(json.dumps({"readings": asked.readings, "series": asked.series, "ms": rows}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--readings", type=int, default=10_000_000, help="How many in all (%(default)s).")
    parser.add_argument("--series", type=int, default=1000, help="Of how many series (%(default)s).")
    parser.add_argument("--json", action="store_true", help="Print the figures as JSON too.")
    parser.add_argument("--no-influx", action="store_true", help="Leave InfluxDB out.")
    parser.add_argument("--keep", action="store_true", help="Leave the instance `queries` running, with its data.")
    return parser.parse_args()


def _measure(series: list) -> dict[str, dict[str, float | None]]:
    """Milliseconds, by query and store."""
    from django.db import connection

    from apps.telemetry import queries
    from apps.telemetry.reads.filters import ReadingFilter
    from apps.telemetry.reads.pages import read_rows

    def sorting() -> None:
        with connection.cursor() as cursor:
            cursor.execute(_NEWEST_BY_SORTING)
            cursor.fetchall()

    month, day = END - timedelta(days=30), END - timedelta(days=1)
    last = _timed(lambda: read_rows(series=series[:1], where=ReadingFilter(), limit=1000))
    return {
        "last 1,000 of a series": {"hub": last, "readings alone": None},
        "one series by hour, a month": _both(series[:1], "1h", month),
        "all series by hour, a day": _both(series, "1h", day),
        "latest of all series": {
            "hub": _timed(lambda: queries.latest_readings(series=series)),
            "readings alone": _timed(sorting),
        },
        "one series by day, a year": _both(series[:1], "1d", START),
        "100 series by day, a year": _both(series[:100], "1d", START),
    }


def _both(series: list, bucket: str, start: datetime) -> dict[str, float]:
    from apps.telemetry.aggregates.grid import grid_of
    from apps.telemetry.aggregates.query import Aggregation, aggregate
    from apps.telemetry.aggregates.sources import existing

    def ask() -> str:
        zone = ZoneInfo("UTC")
        grid = grid_of(bucket=bucket, start=start, end=END, zone=zone)
        functions = ["avg", "min", "max", "count"]
        return aggregate(Aggregation(series=series, grid=grid, zone=zone, functions=functions), now=datetime.now(UTC))[
            0
        ]

    existing.forget()
    from_rollups = _timed(ask)
    existing.pretend_none()
    from_readings = _timed(ask)
    existing.forget()
    return {"hub": from_rollups, "readings alone": from_readings}


def _compare(rows: dict, series_id: int) -> None:
    with query_influx.Influx() as influx:
        influx.fill()
        for name, query in influx.queries(series_id).items():
            rows[name]["InfluxDB"] = _timed(lambda query=query: influx.ask(query))


def _timed(ask: Callable) -> float:
    """Milliseconds, the first time left out; of what takes long, fewer than seven."""
    ask()
    taken: list[float] = []
    while len(taken) < TIMES and sum(taken) < LONG_ENOUGH:
        begin = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begin)
    return round(median(taken) * 1000, 2)


def _table(rows: dict) -> str:
    stores = list(dict.fromkeys(store for row in rows.values() for store in row))
    lines = [f"{'ms, median of 7':<30}" + "".join(f"{store:>16}" for store in stores) + f"{'times faster':>14}"]
    for name, row in rows.items():
        cells = "".join(f"{'–' if row.get(store) is None else format(row[store], ',.2f'):>16}" for store in stores)
        alone = row["readings alone"]
        lines.append(f"{name:<30}{cells}{'–' if alone is None else format(alone / row['hub'], ',.1f'):>14}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
