"""Tells Redis the newest of what was stored, in a thread of its own: neither writer nor device waits for it.

While nobody asks for latest values this is one EXISTS per pause. What it loses (Redis away, too much waiting,
a process that dies) costs no truth: entries in Redis end by themselves (see apps/telemetry/latest).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator

import numpy as np

from apps.telemetry.ingest.nudges import Nudger
from apps.telemetry.ingest.store import Columns, Row, columns_of_rows
from apps.telemetry.latest import entries
from apps.telemetry.latest.cache import latest_cache

logger = logging.getLogger(__name__)

PAUSE = 0.05  # seconds; many commits make one round trip
MAX_WAITING = 200_000  # readings
# Records in one call of the script: 2 ms of Redis's time.
CHUNK = 2000

Stored = Columns | list[Row]


class LatestValues:
    """`offer` what was committed. Of equal times the one that was received later counts, whatever the order."""

    def __init__(self):
        self._nudger = Nudger(self._tell, name="latest-values")
        self._waiting: deque[Stored] = deque()
        self._readings = 0
        self._lock = threading.Lock()

    def offer(self, stored: Stored) -> None:
        with self._lock:
            if self._readings + len(stored) > MAX_WAITING:
                self._waiting.clear()
                self._readings = 0
            self._waiting.append(stored)
            self._readings += len(stored)
        self._nudger.nudge()

    def _tell(self) -> None:
        time.sleep(PAUSE)
        with self._lock:
            waiting, self._waiting, self._readings = self._waiting, deque(), 0
        try:
            cache = latest_cache()
            if cache.is_asked():
                cache.forward(records_of(waiting))
        except Exception:
            # The thread must live on; entries that were not moved end by themselves.
            logger.exception("Telling the latest values failed")


def records_of(stored: list[Stored]) -> Iterator[bytes]:
    """The newest reading of each series, as chunks of records. Of equal times the one stored last."""
    parts = [part if isinstance(part, Columns) else columns_of_rows(part) for part in stored]
    numbers = _newest_numbers(parts)
    for start in range(0, len(numbers), CHUNK):
        yield numbers[start : start + CHUNK].tobytes()
    others = _newest_others(parts)
    for start in range(0, len(others), CHUNK):
        yield b"".join(others[start : start + CHUNK])


def _newest_numbers(parts: list[Columns]) -> np.ndarray:
    picked = [_last_of_each(part.series) for part in parts]

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name)[rows] for part, rows in zip(parts, picked, strict=True)])

    series, ts = column("series"), column("ts")
    order = np.lexsort((ts, series))
    order = order[_last_of_each(series[order])]
    received_at, quality, values = column("received_at"), column("quality"), column("numbers")
    return entries.number_records(series[order], ts[order], received_at[order], quality[order], values[order])


def _last_of_each(series: np.ndarray) -> np.ndarray:
    """Places of the last row of each series, in rows sorted by series."""
    return np.flatnonzero(np.append(series[1:] != series[:-1], True)) if len(series) else np.empty(0, np.intp)


def _newest_others(parts: list[Columns]) -> list[bytes]:
    newest: dict[int, Row] = {}
    for part in parts:
        for row in part.others:
            held = newest.get(row[0])
            if held is None or row[1] >= held[1]:
                newest[row[0]] = row
    return [
        entries.record(series_id, entries.pack(entries.Entry(ts, value, quality, received_at)))
        for series_id, ts, value, quality, received_at in newest.values()
    ]
