"""How much of a bucket is covered by data.

coverage = readings in the bucket × the series' usual interval ÷ the bucket's length, at most 1. The usual interval is
the median of the gaps between its newest readings of the last two weeks asked for, or where these are few, of all the
time asked for. It is a share of the whole bucket, so one that reaches beyond the time asked for, or is not over yet,
has less. With fewer than two readings: null.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from statistics import median

from django.db import connection

from apps.telemetry.reads.filters import ReadingFilter

# Of each of a few series so many newest readings are looked at; of many series fewer, down to the least.
MOST, LEAST, IN_ALL = 100, 20, 10_000
# To plan a look at a few chunks takes a tenth of what it takes to plan a look at those of a year.
NEWEST = timedelta(days=14)

_TIMES = """
    SELECT series.id, array(
        SELECT extract(epoch FROM ts)::float8 FROM telemetry
        WHERE device_metric_id = series.id{conditions} ORDER BY ts DESC LIMIT %(sample)s)
    FROM unnest(%(series)s::int[]) AS series (id)
"""


def usual_intervals(series_ids: list[int], where: ReadingFilter) -> dict[int, float | None]:
    """Seconds, by series."""
    times = _newest_times(series_ids, replace(where, start=max(where.start, where.end - NEWEST)))
    few = [series_id for series_id, found in times.items() if len(found) < LEAST]
    if few and where.start < where.end - NEWEST:
        times |= _newest_times(few, where)
    return {series_id: _usual(found) for series_id, found in times.items()}


def _newest_times(series_ids: list[int], where: ReadingFilter) -> dict[int, list[float]]:
    conditions, params = where.sql()
    params |= {"series": series_ids, "sample": max(LEAST, min(MOST, IN_ALL // max(1, len(series_ids))))}
    with connection.cursor() as cursor:
        cursor.execute(_TIMES.format(conditions=conditions), params)
        return dict(cursor.fetchall())


def _usual(times: list[float]) -> float | None:
    gaps = [later - earlier for later, earlier in pairwise(times)]
    return round(median(gaps), 6) if gaps else None


def coverage(count: int, interval: float | None, seconds: float) -> float | None:
    if interval is None:
        return None
    covered = count * interval
    return 1.0 if covered >= seconds else round(covered / seconds, 4)
