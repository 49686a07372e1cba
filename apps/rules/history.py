"""Stored readings as samples, oldest first, in portions that fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, groupby
from operator import itemgetter

from django.db import connection, transaction

from apps.rules.conditions import Several, Value
from apps.rules.machine import Samples, Terms

AT_ONCE = 20_000

_MICROS = "(extract(epoch FROM ts) * 1000000)::bigint"
_VALUES = "value_numeric, value_bool, value_str"
# µs are converted as intervals: a timestamp made of a float is not always the same µs.
_RANGE = """
    device_metric_id = ANY(%(series)s)
    AND ts >= '1970-01-01Z'::timestamptz + %(start)s * interval '1 microsecond'
    AND ts < '1970-01-01Z'::timestamptz + %(end)s * interval '1 microsecond'
"""
_READINGS = f"SELECT {_MICROS}, device_metric_id, {_VALUES} FROM telemetry WHERE {_RANGE} ORDER BY ts"
_NUMBERS = (
    f"SELECT {_MICROS}, value_numeric FROM telemetry WHERE {_RANGE} AND value_numeric IS NOT NULL "
    "ORDER BY device_metric_id, ts"
)
_COUNT = f"SELECT count(*) FROM (SELECT FROM telemetry WHERE {_RANGE} LIMIT %(limit)s) AS counted"
_LATEST = f"""
    SELECT {_MICROS}, device_metric_id, {_VALUES}, (extract(epoch FROM received_at) * 1000000)::bigint
    FROM telemetry WHERE {_RANGE} ORDER BY ts {{order}} LIMIT %(limit)s
"""

_cursors = count(1)


@dataclass(frozen=True, slots=True)
class Reading:
    """`is_late` where a newer reading of the series had come in before it."""

    ts: int
    series_id: int
    value: Value
    received_at: int
    is_late: bool = False


def count_readings(series: list[int], start: int, end: int, *, limit: int) -> int:
    """How many there are, counted up to `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"series": series, "start": start, "end": end, "limit": limit})
        return cursor.fetchone()[0]


def stream(terms: Terms, parts: dict[int, str], start: int, end: int, *, numeric: bool) -> Iterator[Samples]:
    """The samples of the series `parts` (what the condition calls them, by id) from `start` to before `end`, in µs."""
    params = {"series": list(parts), "start": start, "end": end}
    if isinstance(terms.condition, Several):
        return _together(_portions(_READINGS, params), parts)
    if numeric:
        return _portions(_NUMBERS, params)
    return ([(row[0], value_of(*row[2:])) for row in rows] for rows in _portions(_READINGS, params))


def latest(series: list[int], start: int, end: int, *, limit: int) -> list[Reading]:
    """The newest `limit` before `end`, oldest first."""
    params = {"series": series, "start": start, "end": end, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_LATEST.format(order="DESC"), params)
        rows = cursor.fetchall()
    found, earliest = [], {}
    for ts, series_id, number, truth, text, received_at in rows:
        is_late = received_at > earliest.get(series_id, received_at)
        earliest[series_id] = min(received_at, earliest.get(series_id, received_at))
        found.append(Reading(ts, series_id, value_of(number, truth, text), received_at, is_late))
    return found[::-1]


def following(series: list[int], start: int, end: int, *, limit: int) -> list[Reading]:
    params = {"series": series, "start": start, "end": end, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_LATEST.format(order="ASC"), params)
        return [Reading(row[0], row[1], value_of(*row[2:5]), row[5]) for row in cursor.fetchall()]


def value_of(number: float | None, truth: bool | None, text: str | None) -> Value:
    if number is not None:
        return number
    return truth if truth is not None else text


def _portions(sql: str, params: dict) -> Iterator[list[tuple]]:
    """By a cursor of the server's: a year of readings is never in memory at once."""
    with transaction.atomic():
        connection.ensure_connection()
        with connection.connection.cursor(name=f"history_{next(_cursors)}") as cursor:
            cursor.execute(sql, params)
            while rows := cursor.fetchmany(AT_ONCE):
                yield rows


def _together(portions: Iterator[list[tuple]], parts: dict[int, str]) -> Iterator[Samples]:
    """One sample for each time, also where a portion ends between two values of it."""
    rest: list[tuple] = []
    for rows in portions:
        rows = rest + rows
        cut = next((place for place in range(len(rows) - 1, 0, -1) if rows[place - 1][0] != rows[-1][0]), 0)
        rest = rows[cut:]
        yield _by_time(rows[:cut], parts)
    yield _by_time(rest, parts)


def _by_time(rows: list[tuple], parts: dict[int, str]) -> Samples:
    return [
        (ts, {parts[row[1]]: value_of(*row[2:]) for row in group}) for ts, group in groupby(rows, key=itemgetter(0))
    ]
