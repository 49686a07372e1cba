"""A year of readings of a fleet: of fifty series one measures every ten seconds, the others every quarter of an hour.

Stored as by devices that report once an hour: what a series measured within an hour lies together, then comes the
next series. That is kind to reads from readings alone; live readings of a series lie scattered between those of others.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np
from copying import HEADER, POSTGRES_EPOCH_MS, ROW, SQL, TRAILER
from progress import Bar

DAYS = 365
HOUR_MS = 3_600_000
FREQUENT_EVERY = 50
TIMES_RARER = 90
# So many rows in one COPY: their bytes, 62 each, are held twice.
ROWS_AT_ONCE = 300_000


class Year:
    """`times(…)` and `values(…)` of `count` series before `end`; about `readings` in all."""

    def __init__(self, *, count: int, readings: int, end: datetime):
        self.asked, self.end = readings, end
        self.start = end - timedelta(days=DAYS)
        frequent = -(-count // FREQUENT_EVERY)
        share = frequent + (count - frequent) / TIMES_RARER
        interval = max(1, int(DAYS * 24 * HOUR_MS * share / readings))
        self.intervals = np.full(count, interval * TIMES_RARER)
        self.intervals[::FREQUENT_EVERY] = interval
        self._phases = np.random.default_rng(1).integers(0, self.intervals)
        self._start_ms = int(self.start.timestamp()) * 1000

    @property
    def readings(self) -> int:
        return int(-(-(DAYS * 24 * HOUR_MS - self._phases) // self.intervals).sum())

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(number of the series, ms since 1970), sorted by hour, series, time; some hours at a time."""
        edges = np.arange(DAYS * 24 + 1) * HOUR_MS
        hours = max(1, int(ROWS_AT_ONCE / (self.readings / (DAYS * 24))))
        for first in range(0, DAYS * 24, hours):
            yield self._between(edges[first : first + hours + 1])

    def _between(self, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        begin = np.maximum(-(-(edges[:, None] - self._phases) // self.intervals), 0)
        counts = np.diff(begin, axis=0).ravel()
        ends = np.cumsum(counts)
        series = np.repeat(np.tile(np.arange(len(self.intervals)), len(edges) - 1), counts)
        place = np.arange(ends[-1]) - np.repeat(ends - counts, counts) + np.repeat(begin[:-1].ravel(), counts)
        return series, self._start_ms + self._phases[series] + place * self.intervals[series]


def fill(connection, year: Year, series_ids: list[int]) -> int:
    """By binary COPY, a transaction for each part. Returns the number of readings."""
    ids, done, bar = np.array(series_ids), 0, Bar("readings", year.readings)
    rng = np.random.default_rng(2)
    with connection.cursor() as cursor:
        for series, times in year.parts():
            cursor.copy_expert(SQL, BytesIO(_packed(ids[series], times, rng)), size=1 << 20)
            connection.commit()
            done += len(times)
            bar(done)
    return done


def _packed(series: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> bytes:
    rows = np.full(len(series), np.array((7, 4, 0, 8, 0, 8, 0, 4, 1.0, 8, 0, -1, -1), dtype=ROW))
    rows["series"] = series
    rows["ts"] = rows["received_at"] = (times - POSTGRES_EPOCH_MS) * 1000
    daily = 5 * np.sin(times * (2 * np.pi / (24 * HOUR_MS)) + series)
    rows["value"] = (20 + daily + rng.normal(0, 0.5, len(series))).round(2)
    return HEADER + rows.tobytes() + TRAILER


def last_minute() -> datetime:
    return datetime.fromtimestamp(time.time() // 60 * 60, UTC)
