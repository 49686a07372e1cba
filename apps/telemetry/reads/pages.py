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
    ){horizon}
    SELECT id, ts, value_numeric, value_bool, value_str, quality, received_at{cut_at}
    FROM found{whole} ORDER BY ts {direction}, device {direction}, id {direction} LIMIT %(limit)s
"""
_KEYSET = """
              AND ts {operator}= %(at)s::timestamptz
              AND (ts, series.device, series.id)
                  {operator} (%(at)s::timestamptz, %(at_device)s::uuid, %(at_series)s::int)"""
# How far the answer is whole: until then no series was cut off at its share.
_HORIZON = """, horizon AS (
        SELECT {farthest}(last) AS cut_at FROM (
            SELECT {nearest}(ts) AS last FROM found GROUP BY id HAVING count(*) = %(share)s) AS cut
    )"""
_WHOLE = ", horizon WHERE cut_at IS NULL OR ts {operator}= cut_at"

LEAST_SHARE = 8
# So many times as much is read at the most after what was not enough.
GROWTH = 8
# Two chunks or three, as they are by default; then many; then all that there are.
WINDOWS = (timedelta(days=14), timedelta(days=182))
MICROSECOND, A_MINUTE, TEN_YEARS = timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=3650)


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
    Of many series each is first read for its fair share only. From the time which that covers follows how much further
    the rest is to be looked for: busy and quiet series are read as far as is needed, and nothing twice.
    """
    rows: list[tuple] = []
    cut_at = None
    share = limit if len(series) == 1 else max(LEAST_SHARE, limit // max(1, len(series)))
    ahead = list(windows(where, ascending=ascending, after=after, now=now))[::-1] if series else []
    while ahead and len(rows) < limit:
        window, rest = ahead.pop(), limit - len(rows)
        # Time without an end could be split for ever; so only where there are known to be more readings.
        if rows and len(series) > 1 and (cut_at is not None or None not in (window.start, window.end)):
            farther, window = _split(window, _time_of(rest, rows, window, ascending), ascending)
            ahead += farther
        found, cut_at = _read(series, window, rest, min(share, rest), ascending, after)
        rows += found
        share *= GROWTH
        if cut_at is not None:
            left = {"start": cut_at + MICROSECOND} if ascending else {"end": cut_at}
            ahead.append(replace(window, **left))
    return rows


def windows(where: ReadingFilter, *, ascending: bool, after: Place | None, now: datetime) -> Iterator[ReadingFilter]:
    """The time asked for in parts that follow each other in the order of reading, each longer than the one before."""
    if ascending:
        begin = max((moment for moment in (where.start, after and after.at) if moment), default=None)
        edges = [begin + width for width in WINDOWS] if begin else []
        edges = [*(edge for edge in edges if edge < now), now]
        edges = [edge for edge in edges if (begin is None or edge > begin) and (where.end is None or edge < where.end)]
        pairs = pairwise([where.start, *edges, where.end])
        return (replace(where, start=start, end=end) for start, end in pairs)
    known = [moment for moment in (where.end, after and after.at) if moment]
    edges = [min([now, *known]) - width for width in WINDOWS]
    edges = [edge for edge in edges if where.start is None or edge > where.start]
    pairs = pairwise([where.end, *edges, where.start])
    return (replace(where, start=start, end=end) for end, start in pairs)


def _time_of(rest: int, rows: list[tuple], window: ReadingFilter, ascending: bool) -> timedelta:
    """That the rest should take, with something to spare, after what was read before the window."""
    read = window.start - rows[0][1] if ascending else rows[0][1] - window.end
    return min(max(read, A_MINUTE) * max(1, min(GROWTH, 1.5 * rest / len(rows))), TEN_YEARS)


def _split(window: ReadingFilter, width: timedelta, ascending: bool) -> tuple[list[ReadingFilter], ReadingFilter]:
    """What is farther on, if anything, and the part to be read first."""
    if ascending:
        middle, far_end = window.start + width, window.end
    else:
        middle, far_end = window.end - width, window.start
    if far_end is not None and (middle >= far_end if ascending else middle <= far_end):
        return [], window
    before, behind = replace(window, end=middle), replace(window, start=middle)
    return ([behind], before) if ascending else ([before], behind)


def _read(series, where, limit, share, ascending, after) -> tuple[list[tuple], datetime | None]:
    """Rows as far as they are whole, and until when, if a series was cut off at its share."""
    sql, params = rows_query(series=series, where=where, limit=limit, share=share, ascending=ascending, after=after)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows = cursor.fetchall()
    if share < limit and rows:
        return [row[:7] for row in rows], rows[0][7]
    return rows, None


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
    is_cut = share < limit
    sql = _ROWS.format(
        direction="ASC" if ascending else "DESC",
        conditions=conditions,
        keyset="" if after is None else _KEYSET.format(operator=">" if ascending else "<"),
        materialized="MATERIALIZED" if is_cut else "NOT MATERIALIZED",
        horizon=_horizon(ascending) if is_cut else "",
        cut_at=", cut_at" if is_cut else "",
        whole=_WHOLE.format(operator="<" if ascending else ">") if is_cut else "",
    )
    return sql, params


def _horizon(ascending: bool) -> str:
    farthest, nearest = ("min", "max") if ascending else ("max", "min")
    return _HORIZON.format(farthest=farthest, nearest=nearest)
