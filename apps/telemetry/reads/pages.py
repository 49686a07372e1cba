"""Pages of readings in the order of time, over any number of series, by keyset."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

from django.db import connection

from apps.devices.models import DeviceMetric
from apps.telemetry.reads.filters import ReadingFilter

# One index scan per series that ends after `share` rows, merged: the cost is the rows asked for, whatever the table's
# size. `ts` is bounded by itself too, as the comparison of whole keys is no condition that an index could use.
_ROWS = """
    WITH found AS {materialized} (
        SELECT series.id, series.device, r.*
        FROM unnest(%(series)s::int[], %(devices)s::uuid[]) AS series (id, device)
        CROSS JOIN LATERAL (
            SELECT ts, value_numeric, value_bool, value_str, quality, received_at
            FROM telemetry
            WHERE device_metric_id = series.id{conditions}{keyset}
            ORDER BY ts {direction} LIMIT %(share)s
        ) AS r
    )
    SELECT id, ts, value_numeric, value_bool, value_str, quality, received_at{horizon}
    FROM found ORDER BY ts {direction}, device {direction}, id {direction} LIMIT %(limit)s
"""
_KEYSET = """
              AND ts {operator}= %(at)s::timestamptz
              AND (ts, series.device, series.id)
                  {operator} (%(at)s::timestamptz, %(at_device)s::uuid, %(at_series)s::int)"""
# How far the answer is whole: until then no series was cut off at its share.
_HORIZON = """,
        (SELECT {farthest}(last) FROM (
            SELECT {nearest}(ts) AS last FROM found GROUP BY id HAVING count(*) = %(share)s) AS cut)"""

LEAST_SHARE = 32
# Two chunks or three, as they are by default; then many; then all that there are.
WINDOWS = (timedelta(days=14), timedelta(days=182))


@dataclass(frozen=True, slots=True)
class Place:
    """Between two readings; pages begin after it, in the order of time, device, series."""

    at: datetime
    device: UUID
    series: int


def read_rows(
    *,
    series: list[DeviceMetric],
    where: ReadingFilter,
    limit: int,
    now: datetime,
    ascending: bool = False,
    after: Place | None = None,
) -> list[tuple]:
    """(series id, ts, number, truth, text, quality, received_at) of the first `limit` readings after the place.

    Read window by window: PostgreSQL then plans and opens the few chunks that hold the answer, not those of years.
    """
    rows: list[tuple] = []
    for window in windows(where, ascending=ascending, after=after, now=now):
        rows += _read_window(series, window, limit - len(rows), ascending, after)
        if len(rows) == limit:
            break
    return rows


def windows(where: ReadingFilter, *, ascending: bool, after: Place | None, now: datetime) -> Iterator[ReadingFilter]:
    """The time asked for in parts that follow each other in the order of reading, each longer than the one before."""
    if ascending:
        known = [moment for moment in (where.start, after and after.at) if moment]
        edges = [max(known) + width for width in WINDOWS] if known else []
        edges = [edge for edge in edges if edge < min(where.end or now, now)]
        pairs = pairwise([where.start, *edges, where.end])
        return (replace(where, start=start, end=end) for start, end in pairs)
    known = [moment for moment in (where.end, after and after.at) if moment]
    edges = [min([now, *known]) - width for width in WINDOWS]
    edges = [edge for edge in edges if where.start is None or edge > where.start]
    pairs = pairwise([where.end, *edges, where.start])
    return (replace(where, start=start, end=end) for end, start in pairs)


def _read_window(
    series: list[DeviceMetric], where: ReadingFilter, limit: int, ascending: bool, after: Place | None
) -> list[tuple]:
    """Of many series, each is first read for its fair share only, and more of each where that was not enough."""
    if not series:
        return []
    share = limit if len(series) == 1 else min(limit, max(LEAST_SHARE, 4 * limit // len(series)))
    while True:
        rows = _read(series, where, limit, share, ascending, after)
        if share == limit or _is_whole(rows, limit, ascending):
            return [row[:7] for row in rows]
        share = min(limit, share * 8)


def _is_whole(rows: list[tuple], limit: int, ascending: bool) -> bool:
    if not rows or rows[-1][7] is None:
        return True
    last, horizon = rows[-1][1], rows[-1][7]
    return len(rows) == limit and (last <= horizon if ascending else last >= horizon)


def _read(series, where, limit, share, ascending, after) -> list[tuple]:
    sql, params = rows_query(series=series, where=where, limit=limit, share=share, ascending=ascending, after=after)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def rows_query(*, series, where, limit, share, ascending=False, after=None) -> tuple[str, dict]:
    conditions, params = where.sql()
    params |= {
        "series": [one.pk for one in series],
        "devices": [str(one.device_id) for one in series],
        "limit": limit,
        "share": share,
    }
    if after is not None:
        params |= {"at": after.at, "at_device": str(after.device), "at_series": after.series}
    sql = _ROWS.format(
        direction="ASC" if ascending else "DESC",
        conditions=conditions,
        keyset="" if after is None else _KEYSET.format(operator=">" if ascending else "<"),
        materialized="NOT MATERIALIZED" if share == limit else "MATERIALIZED",
        horizon="" if share == limit else _horizon(ascending),
    )
    return sql, params


def _horizon(ascending: bool) -> str:
    return (
        _HORIZON.format(farthest="min", nearest="max") if ascending else _HORIZON.format(farthest="max", nearest="min")
    )
