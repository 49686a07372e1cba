"""What messages of known devices come to, as columns.

A large request has a thousand messages of some hundred devices. What the catalog knows of these lies all over the
memory, and between two requests PostgreSQL has had the processor's caches: fetching it anew costs more than all the
reckoning. Here it is one row of a table for each device, and one step for all messages of a request.
"""

from math import inf

import numpy as np

from apps.telemetry.ingest.presence import Presence

# Series in all rows together; each takes 21 bytes, and as much again in rows that are not used yet.
MAX_SERIES = 1_000_000
MAX_TABLES = 1_000


class Table:
    """Devices that send the same metrics in the same order, all of them numeric series; `places` are their rows by
    serial number, and `presences` goes with the rows.

    Rows are never changed but for `due_at` and `least_lag`, which repeat the presence's as it was last seen.
    """

    def __init__(self, width: int):
        self.rows = np.empty(1, _row_type(width))
        self.places: dict[str, int] = {}
        self.presences: list[Presence] = []

    def add(self, serial_number: str, row: tuple, presence: Presence) -> None:
        place = len(self.presences)
        if place == len(self.rows):
            self.rows = np.concatenate([self.rows, np.empty_like(self.rows)])
        self.rows[place] = (*row, 0.0, inf)
        self.presences.append(presence)
        self.places[serial_number] = place  # last: whoever finds it finds its row

    def hear(self, place: int, lag: float) -> Presence:
        presence = self.presences[place]
        presence.hear(lag)
        self.rows["due_at"][place], self.rows["least_lag"][place] = presence.due_at, presence.least_lag
        return presence


def _row_type(width: int) -> np.dtype:
    """`low` and `high` bound what is expected of the series, `is_watched` by some rule."""
    return np.dtype(
        [
            *[("series", np.int32, (width,)), ("low", np.float64, (width,)), ("high", np.float64, (width,))],
            *[("is_watched", np.bool_, (width,)), ("shard", np.int32), ("owner_id", np.int64)],
            *[("due_at", np.float64), ("least_lag", np.float64)],
        ],
        align=True,
    )


class Tables:
    """By the names of the metrics. Any thread may read, the catalog changes them under its lock. Rows of devices that
    were dropped stay until there are too many: some request may be at them.
    """

    def __init__(self):
        self._tables: dict[tuple[str, ...], Table] = {}
        self._series = 0

    @property
    def is_full(self) -> bool:
        return self._series >= MAX_SERIES or len(self._tables) >= MAX_TABLES

    def get(self, names: tuple[str, ...]) -> Table | None:
        return self._tables.get(names)

    def add(self, names: tuple[str, ...], serial_number: str, row: tuple, presence: Presence) -> None:
        if names not in self._tables:
            self._tables[names] = Table(len(names))
        self._tables[names].add(serial_number, row, presence)
        self._series += len(names)

    def drop(self, serial_number: str) -> None:
        for table in self._tables.values():
            table.places.pop(serial_number, None)

    def clear(self) -> None:
        self._tables, self._series = {}, 0
